"""The frozen plans of the published tables, and the leak report: what is known of remix2019, nothing for strict."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
from paths import ROOT

from remixbench.cli import run
from remixbench.dataset.plan import plan
from remixbench.recipe import data_folder, load_recipe
from remixbench.sources import load_catalogues

PAIRS = ("test and train", "test and validation", "validation and train")


@pytest.fixture(scope="module")
def planned(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the manifests of the two published recipes and their reports."""
    folder = tmp_path_factory.mktemp("planned")
    for name in ("remix2019", "remix2019-strict"):
        manifest, report = plan(recipe=name, out=folder / name, sources=published, report=True)
        assert report is not None
        assert report["manifest_digest"] == manifest.digest
    return folder


@pytest.fixture(scope="module")
def reports(planned: Path) -> dict[str, dict[str, Any]]:
    return {folder.name: json.loads((folder / "report.json").read_text()) for folder in planned.iterdir()}


@pytest.mark.parametrize("name", ["remix2019", "remix2019-strict"])
def test_the_frozen_manifests_are_what_plan_writes(name: str, planned: Path) -> None:
    frozen = {path.name: path.read_bytes() for path in (data_folder("manifests") / name).iterdir()}
    written = {path.name: path.read_bytes() for path in (planned / name).iterdir()}
    del written["report.json"]
    assert written == frozen


def test_remix2019_has_the_known_leaks(reports: dict[str, dict[str, Any]]) -> None:
    report = reports["remix2019"]
    folds = report["folds"]
    assert [fold["test has"]["locations"] for fold in folds] == [485, 492, 484, 491]
    assert [fold["shared by test and train"]["locations"] for fold in folds] == [485, 490, 484, 491]
    assert [fold["test has"]["event files"] for fold in folds] == [925, 952, 906, 927]
    assert [fold["shared by test and train"]["event files"] for fold in folds] == [0, 0, 0, 0]
    assert all(fold["shared by test and train"]["event origins"] > 0 for fold in folds)
    assert [fold["shared by test and train"]["scene files"] for fold in folds] == [0, 0, 0, 0]
    assert [fold["different event combinations in test"] for fold in folds] == [925, 952, 302, 309]
    assert [fold["clips"] for fold in folds] == [{"train": 6000, "validation": 0, "test": 2000}] * 4
    assert report["clips_by_number_of_classes"] == {"1": 8, "2": 686, "3": 7306}
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


def test_the_report_alone_writes_nothing(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["plan", "--recipe", "remix2019", "--sources", str(corpus), "--report"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("fold 4 tested (6000 train, 2000 test; ")]
    assert lines[-1] == "8000 clips in 4 folds; nothing written"
    assert run(["plan", "--recipe", "remix2019", "--sources", str(corpus)]) == 2
    assert "missing option '--out'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- every recipe of the documentation, its report against a count of our own from the tables alone

DOCS_RECIPES = (ROOT / "docs" / "recipes.md").read_text()
WRITTEN = dict(re.findall(r"<!-- writes: (\S+) -->\n```\w+\n(.*?)^```$", DOCS_RECIPES, re.MULTILINE | re.DOTALL))
EXAMPLES = [name for name in WRITTEN if name.endswith(".yaml")]


def roles_of(folder: Path, fold: int) -> dict[str, str]:
    """Return the role of each clip of a manifest when `fold` is tested."""
    if (folder / "roles.csv").exists():
        with (folder / "roles.csv").open() as file:
            return {row["clip_id"]: row[f"fold_{fold}"] for row in csv.DictReader(file)}
    with (folder / "clips.csv").open() as file:
        return {row["clip_id"]: "test" if row["fold"] == str(fold) else "train" for row in csv.DictReader(file)}


def values_of(folder: Path, fold: int, column: dict[str, str], kind: str = "event") -> dict[str, set[str]]:
    """Return the values of a column of a source's table that the clips of each role have."""
    roles = roles_of(folder, fold)
    values: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    with (folder / ("events.csv" if kind == "event" else "clips.csv")).open() as file:
        for row in csv.DictReader(file):
            values[roles[row["clip_id"]]].add(column[row[f"{kind}_file"]])
    return values


def shared_values(folder: Path, fold: int, column: dict[str, str], pair: str, kind: str = "event") -> int:
    """Count the values of a column of a source's table that clips of two roles have in common."""
    values = values_of(folder, fold, column, kind)
    one, other = pair.split(" and ")
    return len(values[one] & values[other])


@pytest.fixture
def page_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with all files that docs/recipes.md writes, and the sounds that its script makes."""
    for name, text in WRITTEN.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "make_sounds.py"], check=True)
    return tmp_path


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_example_of_the_documentation_leaks(name: str, page_workspace: Path) -> None:
    _, report = plan(recipe=page_workspace / name, out=page_workspace / "m", report=True)
    assert report is not None
    for fold in report["folds"]:
        for pair in PAIRS:
            assert set(fold[f"shared by {pair}"].values()) <= {0, None}
    assert name != "birds.yaml" or "train" not in report["classes without clips"]
    scenes, events = load_catalogues(load_recipe(page_workspace / name), page_workspace / "sources")
    origin = dict(zip(events.table["file"], events.table["origin"], strict=True))
    place = dict(zip(scenes.table["file"], scenes.table["location"], strict=True))
    for fold in report["folds"]:
        for what, column, kind in (("event origins", origin, "event"), ("locations", place, "scene")):
            if fold["test has"][what] is None:  # birds.yaml names no column of locations
                continue
            assert fold["test has"][what] == len(values_of(page_workspace / "m", fold["fold"], column, kind)["test"])
            for pair in PAIRS:
                assert shared_values(page_workspace / "m", fold["fold"], column, pair, kind) == 0


def test_the_report_on_birds_is_what_the_table_says(page_workspace: Path) -> None:
    _, report = plan(recipe=page_workspace / "birds.yaml", out=page_workspace / "m", report=True)
    assert report is not None
    with (page_workspace / "sources" / "calls" / "calls.csv").open() as file:
        who = {row["path"]: row["who"] for row in csv.DictReader(file)}
    for fold in report["folds"]:
        for pair in PAIRS:
            assert shared_values(page_workspace / "m", fold["fold"], who, pair) == 0
        tested = {clip for clip, role in roles_of(page_workspace / "m", fold["fold"]).items() if role == "test"}
        with (page_workspace / "m" / "events.csv").open() as file:
            recordists = {who[row["event_file"]] for row in csv.DictReader(file) if row["clip_id"] in tested}
        assert fold["test has"]["event origins"] == len(recordists)


def test_the_report_counts_the_column_whatever_the_plan_did(page_workspace: Path) -> None:
    text = (page_workspace / "birds.yaml").read_text()
    leaking = text.replace("method: grouped ", "method: released ").replace("validation: 0.2", "")
    leaking = leaking.replace("onsets: drawn", "onsets: [0.5, 2.0]").replace("name: birds", "name: leaking")
    (page_workspace / "leaking.yaml").write_text(leaking)
    _, report = plan(recipe=page_workspace / "leaking.yaml", out=page_workspace / "m", report=True)
    assert report is not None
    with (page_workspace / "sources" / "calls" / "calls.csv").open() as file:
        who = {row["path"]: row["who"] for row in csv.DictReader(file)}
    counts = [fold["shared by test and train"]["event origins"] for fold in report["folds"]]
    assert counts == [shared_values(page_workspace / "m", fold, who, "test and train") for fold in (1, 2)]
    assert max(counts) > 0


def test_the_uploads_of_numbered_origins_are_counted_apart_from_the_plan(published: Path, tmp_path: Path) -> None:
    _, report = plan(recipe="remix2019", out=tmp_path / "m", sources=published, report=True)
    assert report is not None
    with (published / tiny.FSD_TABLE).open() as file:
        rows = sorted((row["label"], int(row["freesound_id"]), row["fname"]) for row in csv.DictReader(file))
    upload: dict[str, str] = {}
    for number, (label, freesound_id, file_name) in enumerate(rows):
        before = rows[number - 1]
        close = number and before[0] == label and freesound_id - before[1] < 100
        upload[file_name] = upload[before[2]] if close else file_name
    for fold in report["folds"]:
        counted = shared_values(tmp_path / "m", fold["fold"], upload, "test and train")
        assert fold["shared by test and train"]["event origins"] == counted
