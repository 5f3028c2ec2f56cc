"""What a row says of its evidence: the same words in every format, and a mark on every value that was not verified."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from fake_dataset import fake_dataset
from fake_runs import fake_run, tags_text

from remixbench import report, score
from remixbench.leaderboard.comparisons import render_comparison
from remixbench.leaderboard.figure import paper_table
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.renderers import render, render_summary
from remixbench.leaderboard.significance import compare_rows
from remixbench.leaderboard.tables import ONE_TRAINING


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of our own; "Good" came with its predictions, "Claim" without and scores highest."""
    theirs, ours = tmp_path_factory.mktemp("theirs"), tmp_path_factory.mktemp("ours")
    dataset = fake_dataset(theirs)
    for name, noise in (("Good", 0.2), ("Claim", 0.01)):
        file = theirs / f"{name}.csv"
        file.write_text(tags_text(dataset, 4, noise=noise, seed=5))
        score(file, workspace=theirs, name=name, snr=0, fold=4, bootstrap=50, submission=theirs / f"{name}.json")
    fake_run(ours, fake_dataset(ours), noise=0.6)
    score(workspace=ours, bootstrap=50)
    score(theirs / "Good.csv", workspace=ours, add=theirs / "Good.json")
    score(workspace=ours, add=theirs / "Claim.json")
    return ours


@pytest.fixture(scope="module")
def board(workspace: Path) -> Leaderboard:
    return score(workspace=workspace, bootstrap=50)


EXPECTED = {"gap": "ours", "Good": "recomputed", "Claim": "self-reported"}


def test_rows_say_what_they_are(board: Leaderboard) -> None:
    assert {row.name: row.evidence for row in board.rows} == EXPECTED
    for row in board.rows:
        (condition,) = row.conditions.values()
        assert bool(condition.not_verified) == (row.name == "Claim")
        assert all(estimate.verified == (row.name != "Claim") for estimate in condition.metrics.values())


@pytest.mark.parametrize("style", ["table", "md", "latex"])
def test_tables_have_the_words_in_one_column_and_mark_values(board: Leaderboard, style: str) -> None:
    text = render(board, style)
    assert "evidence" in text
    for name, word in EXPECTED.items():
        lines = [line for line in text.splitlines() if line.strip("| ").startswith(name)]
        assert lines
        for line in lines:
            assert line.rstrip(" |\\").endswith(word), line
            if "0." in line or "1.0" in line:
                assert ("?" in line) == (word == "self-reported"), line


def test_the_short_table_ranks_what_was_verified_first(board: Leaderboard) -> None:
    lines = [line for line in render_summary(board).splitlines() if line.split()[2:3] in (["1"], ["2"], ["3"])]
    assert [line.split()[3] for line in lines] == ["Good", "gap", "Claim"]
    assert [[word for word in EXPECTED.values() if word in line] for line in lines] == [
        ["recomputed"], ["ours"], ["self-reported"]
    ]  # fmt: skip
    assert ["?" in line for line in lines] == [False, False, True]


def test_csv_and_json_have_the_evidence_of_every_value(board: Leaderboard) -> None:
    rows = [
        row for row in csv.DictReader(io.StringIO(render(board, "csv"))) if row["kind"] not in ("chance", "published")
    ]
    assert {(row["name"], row["evidence"]) for row in rows} == set(EXPECTED.items())
    assert not any(row["best"] == "true" for row in rows if row["evidence"] == "self-reported")
    value = json.loads(render(board, "json"))
    assert {row["name"]: row["evidence"] for row in value["rows"]} == EXPECTED
    for row in value["rows"]:
        (condition,) = row["conditions"]
        claimed = {*condition["metrics"], *(f"{name} of classes" for name in condition["per_class"])}
        assert set(condition["not_verified"]) - {"scoring settings"} == (claimed if row["name"] == "Claim" else set())


def test_the_page_has_the_words_and_marks(workspace: Path) -> None:
    pytest.importorskip("jinja2", reason="the page needs jinja2")
    page = report(workspace=workspace, clips=0).read_text(encoding="utf-8")
    for word in EXPECTED.values():
        assert f"<td>{word}</td>" in page
    assert '<abbr title="not verified">?</abbr>' in page
    assert "Claim (self-reported)" in page


def test_a_self_reported_value_is_never_bold(board: Leaderboard) -> None:
    values = {row.name: row.conditions[0.0].metrics["micro_ap"] for row in board.rows}
    assert values["Claim"].value > values["Good"].value
    assert {name: estimate.best for name, estimate in values.items()} == {"gap": False, "Good": True, "Claim": False}


def test_a_comparison_with_a_self_reported_row_is_marked(board: Leaderboard) -> None:
    comparison = compare_rows(board, "Claim", "gap")
    assert not any(difference.verified for difference in comparison.differences)
    text = render_comparison(comparison, board, "md")
    assert "**" not in text
    assert "not verified" in text
    assert "?" not in render_comparison(compare_rows(board, "Good", "gap"), board, "md")
    assert all(not each["verified"] for each in json.loads(render_comparison(comparison, board, "json"))["differences"])


def test_a_notebook_shows_the_words(board: Leaderboard) -> None:
    for text in (repr(board), board._repr_html_()):
        assert [word for word in EXPECTED.values() if word not in text] == []


def test_figures_for_a_paper_say_so_behind_the_name(board: Leaderboard) -> None:
    lines = [line for block in paper_table(board, ["micro_ap"]).blocks for line in block.lines]
    heads = {line.head.removesuffix(ONE_TRAINING): line.cells[0] for line in lines}
    assert {"gap", "Good (recomputed)", "Claim (self-reported)"} <= heads.keys()
    assert heads["Claim (self-reported)"].text.endswith("?")
    assert not heads["Claim (self-reported)"].bold
