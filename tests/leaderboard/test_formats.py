"""The leaderboard in every format: nothing that a name holds breaks a table, and the figures survive."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_dataset import fake_dataset
from fake_runs import fake_run, tags_text
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT
from rich.cells import cell_len

from remixbench import score
from remixbench.dataset.info import DatasetInfo
from remixbench.errors import InputError
from remixbench.leaderboard import tables
from remixbench.leaderboard.board_tables import make_tables
from remixbench.leaderboard.discover import name_folder
from remixbench.leaderboard.leaderboard import FLOATS, TIDY_COLUMNS, TRUTHS, Leaderboard
from remixbench.leaderboard.record import Evidence, Record, check_system_name
from remixbench.leaderboard.renderers import render, render_summary
from remixbench.leaderboard.renderers.terminal import to_terminal
from remixbench.leaderboard.renderers.text import _LATEX, escape_latex, escape_markdown
from remixbench.leaderboard.report import _write_page
from remixbench.leaderboard.rows import Estimate
from remixbench.leaderboard.tables import Block, Cell, Column, Line, Table, TextColumn, estimate_cell, numbered
from remixbench.progress import SILENT
from remixbench.scoring import SCORING_VERSION
from remixbench.training.run_files import RunInfo

NASTY = r"A|B_$%&#{}~^\ <b>[red]*x*`y` " "quoted" " 系统 ÿ -- €"
BACKSLASHED = re.compile(r"\\([\\`*_{}\[\]<>#+!|~$&@-])")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    workspace = tmp_path_factory.mktemp("workspace")
    dataset = fake_dataset(workspace)
    for system in ("gap", "2ap-aux"):
        for snr in (0.0, 20.0):
            fake_run(workspace, dataset, system, snr=snr, frames=True)
    fake_run(workspace, dataset, seed=1, select="paper")
    file = workspace / "tags.csv"
    file.write_text(tags_text(dataset, 4, noise=0.2, seed=3))
    score(workspace=workspace, bootstrap=30)
    return score(file, workspace=workspace, name=NASTY, snr=20, fold=4, bootstrap=30)


def test_csv_has_one_figure_a_line(board: Leaderboard) -> None:
    lines = list(csv.DictReader(io.StringIO(render(board, "csv"))))
    ours = [line for line in lines if line["name"] == NASTY and line["metric"] == "micro_ap" and not line["class"]]
    figure = next(row for row in board.rows if row.name == NASTY).conditions[20.0].metrics["micro_ap"]
    (line,) = ours
    assert (float(line["value"]), float(line["low"]), float(line["high"])) == (figure.value, figure.low, figure.high)
    assert (line["kind"], line["snr"], line["folds"], line["clips"]) == ("predictions", "20.0", "4", "12")
    published = [line for line in lines if line["kind"] == "published"]
    assert len(published) == 5 * 3 * 3 + 3 * 3 + 3 * 4 + 4
    assert all(line["source"] and line["dataset"] in ("remix2019", "Kong et al. 2019") for line in published)


WITH_ANOTHER_COLUMN = """
import json, sys
from pathlib import Path

from remixbench.leaderboard import rows

rows.ROW_COLUMNS = (*rows.ROW_COLUMNS, rows.RowColumn("licence_key", "licence", lambda row: ("CC0", row.name)))

from remixbench import report, score
from remixbench.leaderboard.renderers import render, render_summary

board = score(workspace=sys.argv[1], bootstrap=0)
texts = {style: render(board, style, width=200) for style in ("table", "md", "csv", "json", "latex")}
texts |= {"summary": render_summary(board, width=200), "notebook": board._repr_html_()}
texts["page"] = report(workspace=sys.argv[1], clips=0).read_text()
print(json.dumps(texts))
"""


def test_a_column_that_is_no_metric_is_declared_once_for_every_format(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path)
    fake_run(tmp_path, dataset, "gap", snr=0)
    command = [sys.executable, "-c", WITH_ANOTHER_COLUMN, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    texts = json.loads(done.stdout)
    for style in ("table", "md", "latex", "summary", "notebook", "page"):
        assert "licence" in texts[style].lower(), style
        assert "CC0; gap" in texts[style], style
    lines = csv.DictReader(io.StringIO(texts["csv"]))
    assert {line["licence_key"] for line in lines if line["name"] == "gap"} == {"CC0; gap"}
    assert json.loads(texts["json"])["rows"][0]["licence_key"] == ["CC0", "gap"]


def test_json_holds_the_figures_and_their_origin(board: Leaderboard) -> None:
    value = json.loads(render(board, "json"))
    assert value["dataset"]["comparable"] is False
    assert value["scoring_version"] == SCORING_VERSION
    names = [row["name"] for row in value["rows"]]
    assert NASTY in names
    for row in value["rows"]:
        for column in row["conditions"]:
            assert set(column["metrics"]) >= {"micro_ap", "macro_ap", "macro_auc"}
            assert all(len(made["predictions_digest"]) == 64 for made in column["provenance"])


def test_markdown_tables_are_whole_whatever_names_hold(board: Leaderboard) -> None:
    text = render(board, "md")
    tables = [block for block in re.split(r"\n\n", text) if block.startswith("|")]
    assert len(tables) == 6
    for table in tables:
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert escape_markdown(NASTY) in text


def test_markdown_escapes_are_undone_by_a_reader() -> None:
    assert BACKSLASHED.sub(r"\1", escape_markdown(NASTY)) == " ".join(NASTY.split())


@given(st.text(st.characters(blacklist_categories=("Cs",)), max_size=40))
def test_latex_escapes_leave_nothing_that_tex_obeys(text: str) -> None:
    left = escape_latex(text)
    for escape in {*_LATEX.values(), "-{}-"}:
        left = left.replace(escape, "")
    left = re.sub(r"\\texttt\{U\+[0-9A-F]{4,6}\}", "", left)
    assert not set(left) & set("\\{}$&#%_^~")
    assert "\n" not in left


def test_latex_rows_have_as_many_cells_as_columns(board: Leaderboard) -> None:
    text = render(board, "latex")
    assert text.count("{") == text.count("}")
    for table in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in table[1].splitlines() if line.endswith(r"\\") and r"\multicolumn" not in line]
        assert rows
        assert {len(re.split(r"(?<!\\)&", line)) for line in rows} == {len(table[0])}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_as_it_is(board: Leaderboard, tmp_path: Path) -> None:
    (tmp_path / "table.tex").write_text(render(board, "latex"))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


@pytest.mark.parametrize("width", [80, 100, None])
def test_a_terminal_gets_tables_of_its_width(board: Leaderboard, width: int | None) -> None:
    text = render(board, "table", width=width)
    assert NASTY.split()[0] in text  # not taken for markup
    main = text.split("Average precision of single classes")[0]
    widest = max(cell_len(line) for line in main.splitlines())
    assert widest <= (width or 1000)
    for name in ("micro-AP", "macro-AP", "AUC", "20 dB", "0 dB"):
        assert name in main


def test_colours_only_where_asked_for(board: Leaderboard) -> None:
    assert "\x1b[" not in render(board, "table")
    assert "\x1b[1m" in render(board, "table", colour=True)


def test_a_column_of_texts_is_in_every_table_of_every_format(
    board: Leaderboard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("jinja2", reason="the page needs jinja2")
    column = TextColumn("checked by", lambda line: "lab seven" if line.evidence else "")
    monkeypatch.setattr(tables, "OPTIONAL", (*tables.OPTIONAL, column))
    count = len(make_tables(board))
    for style in ("md", "latex", "table"):
        text = render(board, style, width=400)
        assert text.count("checked by") == count
        assert text.count("lab seven") >= 3 * count
    short = render_summary(board, width=100)
    assert "checked" in short
    assert short.count("lab seven") == sum(len(row.conditions) for row in board.rows)
    _write_page(tmp_path / "page.html", board, "", [], SILENT)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    shown = [table for table in re.findall(r"<table.*?</table>", page, re.DOTALL) if "Evidence</th>" in table]
    of_rows = [table for table in shown if "Predictions (SHA-256)" not in table]
    assert len(of_rows) >= 4
    assert all("Checked by</th>" in table and "lab seven</td>" in table for table in of_rows)


CASES: dict[str, Callable[[str, Estimate], Estimate]] = {
    "as it is": lambda name, estimate: estimate,
    "no signs": lambda name, estimate: Estimate(estimate.value),
    "deviations alone": lambda name, estimate: Estimate(estimate.value, std=0.1),
    "all signs": lambda name, estimate: replace(
        estimate, at_chance=name == "micro_ap", verified=name != "macro_ap", best=name == "frame_ap", std=0.1
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_notes_explain_the_signs_that_stand_in_the_tables_and_no_other(
    board: Leaderboard, case: str, tmp_path: Path
) -> None:
    rows = [
        replace(
            row,
            kind="added" if case == "all signs" else row.kind,
            conditions={
                snr: replace(
                    c,
                    metrics={name: CASES[case](name, estimate) for name, estimate in c.metrics.items()},
                    evidence=(Evidence("recomputed"),) * len(c.records) if case == "all signs" else (),
                )
                for snr, c in row.conditions.items()
            },
        )
        for row in board.rows
    ]
    marked = replace(board, rows=tuple(rows))
    parts = [part.splitlines() for part in render(marked, "md").replace(escape_markdown(NASTY), "x").split("## ")[1:]]
    notes = [" ".join(line for line in part if line.startswith("- ")) for part in parts]
    bodies = [" ".join(line for line in part if line.startswith("|")) for part in parts]
    for body, below in zip(bodies, notes, strict=True):
        assert ("≈" in body) == ("≈: not above chance" in below)
        assert ("segment ER" in body) == ("ER: error rate" in below)
    for sign, start in (("**", "Bold: no row"), ("–", "low–high: "), ("±", "±: standard"), ("?", "?: not verified")):
        assert any(sign in body for body in bodies) == (start in notes[0]), sign
    pytest.importorskip("jinja2", reason="the page needs jinja2")
    _write_page(tmp_path / "page.html", marked, "", [], SILENT)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    tables = " ".join(re.findall(r'<table class="sortable".*?</table>', page, re.DOTALL))
    below = page.split('<div class="notes">')[1].split("</div>")[0]
    for sign, start in (
        ("≈</abbr>", "≈: not above chance"), ('class="number best"', "<b>Bold</b>"), ("± ", "±: standard"),
        ('class="whisker"', "Below a value is its 95 % interval"), ("?</abbr>", "?: not verified"),
        ("not available", "Empty cells"), (">chance", "Chance: a system"),
    ):  # fmt: skip
        assert (sign in tables) == (start in below), sign


def test_columns_stand_in_line_with_wide_letters() -> None:
    lines = (Line("系统", (Cell("1"),)), Line("xy", (Cell("22"),)))
    table = Table("T", "system", (("", (Column("a"),)),), (Block("", lines),))
    rows = [line for line in to_terminal([table]).splitlines() if line.strip().startswith(("系", "xy"))]
    assert len({cell_len(line.rstrip()) for line in rows}) == 1


@pytest.mark.parametrize(
    ("estimates", "places"),
    [
        ([Estimate(0.3, 0.2, 0.4)], [(0.5, 0.75, 1.0)]),
        ([Estimate(0.6, 0.5, 0.8)], [(0.5, 0.6, 0.8)]),
        ([Estimate(1.0, 0.5, 2.0)], [(0.25, 0.5, 1.0)]),
        ([Estimate(-5, -6, -4), Estimate(-3, -3.5, -2)], [(0.0, 0.25, 0.5), (0.625, 0.75, 1.0)]),
        ([Estimate(0.5, -1, 0.75)], [(0.0, 6 / 7, 1.0)]),
        ([Estimate(0.0, 0.0, 0.0)], [(0.0, 0.0, 0.0)]),
    ],
)
def test_where_whiskers_lie(estimates: list[Estimate], places: list[tuple[float, float, float]]) -> None:
    lines = tuple(Line("x", (estimate_cell(each),)) for each in estimates)
    table = Table("T", "system", (("", (Column("a"),)),), (Block("", lines),))
    found = [tuple(table.place(0, end) for end in (each.low, each.value, each.high)) for each in estimates]  # type: ignore[arg-type]  # all have ends
    assert found == [pytest.approx(each) for each in places]


def test_an_unknown_format_names_the_nearest(board: Leaderboard) -> None:
    with pytest.raises(InputError, match=r"unknown table format 'latx' \(did you mean 'latex'\?\)"):
        render(board, "latx")


def test_a_notebook_shows_a_table_and_a_screen_of_text(board: Leaderboard) -> None:
    assert board._repr_html_().count("<tr>") == 3 + len(board.rows)
    assert len(repr(board).splitlines()) < 25
    estimate = board.find_row("2ap-aux").estimate(20.0, "micro_ap")
    assert estimate is not None
    assert f"{estimate.value:.4f}" in board._repr_html_()


def test_the_tidy_table_is_the_csv(board: Leaderboard) -> None:
    frame = board.to_dataframe()
    lines = list(csv.DictReader(io.StringIO(render(board, "csv"))))
    assert list(frame.columns) == list(lines[0])
    assert len(frame) == len(lines)
    for name in frame.columns:
        texts = [line[name] for line in lines]
        if name in FLOATS:
            np.testing.assert_array_equal(frame[name], [float(text or "nan") for text in texts])
        elif name in (*TRUTHS, "comparable"):
            assert texts == ["" if pd.isna(value) else str(value).lower() for value in frame[name]]
        else:
            values = ["" if pd.isna(value) else str(value) for value in frame[name]]
            assert [text.removeprefix("'") for text in texts] == [value.removeprefix("'") for value in values]


@pytest.mark.parametrize(
    ("figure", "text", "beside"),
    [
        (Estimate(0.5067), "0.5067", ""),
        (Estimate(0.5, 0.4, 0.6), "0.5000", ".400–.600"),
        (Estimate(1.2, 0.9996, 1.4), "1.2000", "1.000–1.400"),
        (Estimate(0.5, 0.4, 0.6, std=0.01), "0.5000", ".400–.600 ±.010"),
        (Estimate(0.5, std=0.01), "0.5000", "±.010"),
    ],
)
def test_how_figures_are_written(figure: Estimate, text: str, beside: str) -> None:
    cell = estimate_cell(figure)
    assert (cell.text, cell.below) == (text, beside)


def test_how_folds_are_named() -> None:
    assert numbered([4], "fold") == "fold 4"
    assert numbered([1, 2, 3, 4], "fold") == "folds 1-4"
    assert numbered([0, 2], "seed") == "seeds 0, 2"


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[31m", "x" * 101, "gap", " GAP ", "gap,alpha=1", "gap (x)"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="--name"):
        check_system_name(name, ["gap"])


@given(st.text(min_size=1, max_size=100))
def test_every_name_gets_a_harmless_name_folder_its_own(name: str) -> None:
    try:
        clean = check_system_name(name, ["gap"])
    except InputError:
        return
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{8}", name_folder(clean))
    assert name_folder(clean) != name_folder(clean + "!")
    assert np.all([part not in name_folder(clean) for part in ("..", "/", "\\")])


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("## The leaderboard", TIDY_COLUMNS),
        ("### `metrics.json`", ("digest", *Record.model_fields)),
        ("### `dataset.json`", ("digest", *DatasetInfo.model_fields)),
        ("### `run.json`", ("content_digest", *RunInfo.model_fields)),
    ],
)
def test_the_documentation_lists_what_files_hold(section: str, names: Sequence[str]) -> None:
    part = (ROOT / "docs" / "formats.md").read_text().split(f"{section}\n", 1)[1].split("\n#", 1)[0]
    rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`([^`]+)`", row)) == sorted(names)
