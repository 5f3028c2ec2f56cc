"""Licences: what a name or an address allows, and what several allow together."""

from __future__ import annotations

from pathlib import Path

import pytest

from remixbench.sources import tau2019
from remixbench.sources.licences import Terms, joint_terms, read_notices, terms_of

BY, NC, SA = Terms(attribution=True), Terms(attribution=True, noncommercial=True), Terms(True, share_alike=True)
CLOSED, UNKNOWN = Terms(forbidden=True), Terms(unknown=True)


@pytest.mark.parametrize(
    ("licence", "terms"),
    [
        ("Creative Commons 0", Terms()),
        ("CC0", Terms()),
        ("CC0-1.0", Terms()),
        ("http://creativecommons.org/publicdomain/zero/1.0/", Terms()),
        ("Public Domain", Terms()),
        ("Attribution", BY),
        ("CC BY 4.0", BY),
        ("cc-by-3.0", BY),
        ("https://creativecommons.org/licenses/by/4.0/", BY),
        ("MIT", BY),
        ("Attribution Noncommercial", NC),
        ("Attribution NonCommercial", NC),
        ("CC BY-NC 4.0", NC),
        ("http://creativecommons.org/licenses/by-nc/3.0/", NC),
        (tau2019.LICENCE, NC),
        ("CC BY-SA 3.0", SA),
        ("GPL-2+", SA),
        ("CC BY-NC-SA 4.0", Terms(True, True, True)),
        ("CC BY-ND 4.0", Terms(True, forbidden=True)),
        ("CC BY-NC-ND 4.0", Terms(True, noncommercial=True, forbidden=True)),
        ("ALL RIGHTS RESERVED", CLOSED),
        ("(c) 2020 Ann, all rights reserved", CLOSED),
        ("no licence", CLOSED),
        ("internal use only", CLOSED),
        ("Creative Commons", UNKNOWN),
        ("ask Bob", UNKNOWN),
        ("unknown", UNKNOWN),
        ("", UNKNOWN),
        ("Sampling+", UNKNOWN),
        ("standby", UNKNOWN),
        ("MIT License", BY),
        ("BSD 3-Clause", BY),
        ("Apache-2.0", BY),
        ("by-nc-sa 4.0", Terms(True, True, True)),
        ("mit Genehmigung des Museums", UNKNOWN),
        ("by permission of the author", UNKNOWN),
        ("Apache helicopter, recorded by Ann", UNKNOWN),
        ("not CC0", UNKNOWN),
        ("not in the public domain", UNKNOWN),
        ("CC BY 4.0, redistribution prohibited", CLOSED),
        ("CC0, not for redistribution", CLOSED),
        ("free to use, do not distribute", CLOSED),
        ("may not be redistributed", CLOSED),
        ("CC BY, no commercial use", NC),
        ("CC BY 4.0, may not be used for commercial purposes", NC),
        ("CC BY, not for commercial use", NC),
        ("Attribution, commercial use prohibited", UNKNOWN),
        ("CC BY 4.0; derivatives not allowed", UNKNOWN),
        ("CC BY 4.0, no modifications", UNKNOWN),
        ("CC0 except for the scenes", UNKNOWN),
        ("CC0-like", UNKNOWN),
        ("Public domain in the USA only", UNKNOWN),
        ("GPL-3.0-only", SA),
        ("CC0, no rights reserved", Terms()),
        ("CC BY-NC 4.0, non-commercial use only", NC),
    ],
)
def test_what_a_licence_asks_for(licence: str, terms: Terms) -> None:
    assert terms_of(licence) == terms


def test_the_strictest_of_each_kind_decides() -> None:
    assert joint_terms(["CC0", "CC0"]) == Terms()
    assert str(joint_terms(["CC0", "CC BY 4.0", "CC BY-NC 4.0"])) == "non-commercial, with attribution"
    assert str(joint_terms(["CC0", "all rights reserved"])) == "not to be passed on in clips"
    assert str(joint_terms(["CC0", "CC BY-ND", "?"])) == "unknown"


def test_licence_files_of_a_source_are_its_notice(tmp_path: Path) -> None:
    assert read_notices(tmp_path / "nowhere") == ""
    (tmp_path / "LICENSE.txt").write_text("keep this\n")
    (tmp_path / "EULA.pdf").write_bytes(b"%PDF\xff\xfe")
    (tmp_path / "COPYING").write_text("x" * (300 << 10))
    (tmp_path / "licences").mkdir()
    (tmp_path / "readme.md").write_text("not this")
    elsewhere = "not copied here (no text, or too long); see the source"
    expected = f"COPYING: {elsewhere}\n\nEULA.pdf: {elsewhere}\n\nLICENSE.txt:\n\nkeep this\n"
    assert read_notices(tmp_path) == expected
