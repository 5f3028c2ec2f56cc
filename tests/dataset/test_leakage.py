"""The leak report: what is known of remix2019, nothing for remix2019-strict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from remixbench.cli import run
from remixbench.dataset.plan import plan

PAIRS = ("test and train", "test and validation", "validation and train")


@pytest.fixture(scope="module")
def reports(published: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    found = {}
    for name in ("remix2019", "remix2019-strict"):
        out = tmp_path_factory.mktemp("report")
        _, report = plan(recipe=name, out=out, sources=published, report=True)
        assert report is not None
        assert json.loads((out / "report.json").read_text())["manifest_digest"] == report["manifest_digest"]
        found[name] = report
    return found


def test_remix2019_has_the_known_leaks(reports: dict[str, dict[str, Any]]) -> None:
    report = reports["remix2019"]
    folds = report["folds"]
    assert [fold["test has"]["places"] for fold in folds] == [485, 492, 484, 491]
    assert [fold["shared by test and train"]["places"] for fold in folds] == [485, 490, 484, 491]
    assert [fold["test has"]["event files"] for fold in folds] == [925, 952, 906, 927]
    assert [fold["shared by test and train"]["event files"] for fold in folds] == [0, 0, 0, 0]
    assert all(fold["shared by test and train"]["event origins"] > 0 for fold in folds)
    assert [fold["shared by test and train"]["scene files"] for fold in folds] == [0, 0, 0, 0]
    assert [fold["different event combinations in test"] for fold in folds] == [925, 952, 302, 309]
    assert [fold["clips"] for fold in folds] == [{"train": 6000, "validation": 0, "test": 2000}] * 4
    assert report["clips_by_number_of_classes"] == {1: 8, 2: 686, 3: 7306}
    assert (report["onsets"]["different"], report["onsets"]["latest"]) == (3, 5.5)
    # nothing is ever active after 7.5 s
    assert list(report["onsets"].values())[-1][15:] == [0, 0, 0, 0, 0]
    assert len(report["classes"]) == 41


def test_strict_has_none(reports: dict[str, dict[str, Any]]) -> None:
    report = reports["remix2019-strict"]
    for fold in report["folds"]:
        for pair in PAIRS:
            assert set(fold[f"shared by {pair}"].values()) == {0}
        assert fold["clips"] == {"train": 5400, "validation": 600, "test": 2000}
        assert all(count > 0 for count in fold["test has"].values())
    assert min(list(report["onsets"].values())[-1]) > 0
    # of these two labels the verified recordings come from three origins, which cannot be in four folds
    missing = {label: counts.index(0) + 1 for label, counts in report["classes"].items() if 0 in counts}
    assert missing == {"Oboe": 3, "Glockenspiel": 4}


def test_the_command_prints_the_report(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "manifest"
    assert run(["plan", "--recipe", "remix2019", "--sources", str(corpus), "--out", str(out), "--report"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"{out}: 8000 clips in 4 folds, digest ")
    assert [line for line in lines if line.startswith("fold 4 tested (6000 train, 2000 test; ")]
    assert (out / "report.json").exists()
