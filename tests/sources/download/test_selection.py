"""Which archives a download is about: the registry, names, parts, mirrors and files of checksums."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from download_tools import FSD, TAU, is_one_line, known_md5
from hypothesis import given
from hypothesis import strategies as st

from remixbench.errors import InputError
from remixbench.files import read_sums
from remixbench.sources.download.select import list_urls, parse_parts, select
from remixbench.sources.published import published_source


def test_the_registry_holds_the_two_records() -> None:
    tau, fsd = published_source("tau2019"), published_source("fsdkaggle2018")
    assert (tau.record, fsd.record) == (2589280, 2552860)
    assert tau.parts == tuple(range(1, 22))
    assert fsd.parts == ()
    assert sum(a.size or 0 for a in tau.archives) == 35_622_369_320 + 156_863 + 11_299
    assert {tau.prefix_of(a) for a in tau.archives} == {TAU}
    assert [fsd.prefix_of(a) for a in fsd.archives] == [f"{FSD}.meta", f"{FSD}.audio_train", f"{FSD}.doc"]
    digests = [a.md5 for s in (tau, fsd) for a in s.archives]
    assert all(re.fullmatch(r"[0-9a-f]{32}", digest) for digest in digests)
    assert len(set(digests)) == 26
    # 14,400 recordings of 10 s, 48 kHz, 24 bit, stereo
    assert tau.expansion * 35_622_369_320 == pytest.approx(14_400 * (48_000 * 10 * 6 + 44), rel=0.01)


def test_without_names_both_sources_are_meant() -> None:
    items = select(())
    assert len(items) == 26
    assert items[1].url == f"https://zenodo.org/records/2589280/files/{TAU}.audio.1.zip?download=1"
    assert (items[1].md5, items[1].size) == ("aca4ebfd9ed03d5f747d6ba8c24bc728", 1657550587)


def test_parts_and_names_choose() -> None:
    assert list_urls("tau2019", parts="2,20-21", mirror="http://127.0.0.1:8000/") == [
        f"http://127.0.0.1:8000/records/2589280/files/{TAU}.{x}.zip"
        for x in ["meta", "audio.2", "audio.20", "audio.21", "doc"]
    ]
    assert len(select(("fsdkaggle2018", "fsdkaggle2018"))) == 3


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown source 'tau2109' \(did you mean 'tau2019'\?\)"):
        select(("tau2109",))


@pytest.mark.parametrize("text", ["", "0", "22", "1-", "-3", "3-1", "1-22", "a", "1,,2", "1.5", "²", "1 2", "9" * 50])
def test_strange_parts_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"--parts .* expected numbers or ranges from 1 to 21, such as 1-3,5"):
        select(("tau2019",), parts=text)


@given(st.sets(st.integers(1, 21), min_size=1))
def test_parts_are_read_as_written(parts: set[int]) -> None:
    assert parse_parts(",".join(map(str, parts)), 21) == parts
    assert parse_parts(f"{min(parts)}-{max(parts)}", 21) == set(range(min(parts), max(parts) + 1))


def test_parts_of_a_source_without_parts_are_refused() -> None:
    with pytest.raises(InputError, match="fsdkaggle2018 does not come in parts"):
        select(("fsdkaggle2018",), parts="1")


@pytest.mark.parametrize(
    "mirror",
    ["", "example.org", "ftp://example.org", "file:///tmp", "http://", "http://a:b", "http://a/?x=1", "http://a#b"],
)
def test_a_mirror_is_an_address(mirror: str) -> None:
    with pytest.raises(InputError, match="--mirror"):
        select((), mirror=mirror)


def sums(folder: Path, *lines: str) -> Path:
    path = folder / "md5sums.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_mirror_is_asked_for_what_its_checksums_list(tmp_path: Path) -> None:
    path = sums(
        tmp_path,
        f"{'0' * 32}  records/2589280/files/{TAU}.meta.zip",
        f"{'A' * 32} *./records/2589280/files/{TAU}.audio.2.zip",
        f"{known_md5(f'{TAU}.audio.3.zip')}  {TAU}.audio.3.zip",
        f"{'1' * 32}  records/2589280/files/{TAU}.doc.zip",
    )
    items = select((), "http://m", None, path)
    assert [(item.archive.part, item.md5[:2], item.size) for item in items] == [
        (None, "00", None),
        (2, "aa", None),  # a mirror's own archive: its size is not the published one's
        (3, "c7", 1817901591),
        (None, "11", None),
    ]
    assert len(select(("tau2019",), "http://m", "2", path)) == 3
    with pytest.raises(InputError, match="does not list part 4, which --parts asks for"):
        select((), "http://m", "2-4", path)
    with pytest.raises(InputError, match="lists no archive of fsdkaggle2018"):
        select(("fsdkaggle2018",), "http://m", None, path)


def test_checksums_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lists no archive of any source"):
        select((), "http://m", None, sums(tmp_path, f"{'0' * 32}  other.zip"))
    with pytest.raises(InputError, match=r"md5sums\.txt, line 2: found 'hello', expected a line as `md5sum` writes it"):
        select((), "http://m", None, sums(tmp_path, f"{'0' * 32}  a", "hello"))
    with pytest.raises(InputError, match="a second, different digest of a"):
        select((), "http://m", None, sums(tmp_path, f"{'0' * 32}  a", f"{'1' * 32}  a"))
    with pytest.raises(InputError, match="no such file"):
        select((), "http://m", None, tmp_path / "none.txt")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("sums") / "md5sums.txt"
    path.write_bytes(data)
    try:
        assert all(re.fullmatch(r"[0-9a-f]{32}", digest) for digest in read_sums(path, "md5sum").values())
    except InputError as error:
        is_one_line(error)
