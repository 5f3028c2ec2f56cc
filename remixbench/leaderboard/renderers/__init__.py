"""A leaderboard as text in every format, and the files it is written to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from remixbench.errors import unknown
from remixbench.files import write_text
from remixbench.leaderboard.board_tables import make_tables
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.renderers.data import (
    to_csv,
    to_every_eval_ever,
    to_json,
)
from remixbench.leaderboard.renderers.terminal import to_compact, to_terminal
from remixbench.leaderboard.renderers.text import to_latex, to_markdown
from remixbench.leaderboard.summary import LEVELS, matrix, ranking
from remixbench.leaderboard.table_maker import TableMaker
from remixbench.leaderboard.tables import Table

EVERY_EVAL_EVER = "every-eval-ever"
TABLE_FORMATS = ("table", "md", "csv", "json", "latex")
FORMATS = (*TABLE_FORMATS, EVERY_EVAL_EVER)
MAX_LINES = 30
"""A longer ranking is replaced by a table with one line per row."""


SUFFIXES = ("csv", "md", "json", "tex")
"""Of the leaderboard's files."""


def leaderboard_texts(leaderboard: Leaderboard) -> dict[str, str]:
    """Return the content of the leaderboard's files by their suffixes."""
    tables = make_tables(leaderboard)
    texts = to_csv(leaderboard), to_markdown(tables), to_json(leaderboard), to_latex(tables)
    return dict(zip(SUFFIXES, texts, strict=True))


def write_leaderboard(workspace: Path, leaderboard: Leaderboard, texts: Mapping[str, str] | None = None) -> None:
    """Write the leaderboard's files where they differ from what is there.

    `texts` is what `leaderboard_texts` returned, where that was called before.
    """
    for suffix, text in (texts or leaderboard_texts(leaderboard)).items():
        file = workspace / "leaderboard" / f"{leaderboard.dataset}.{suffix}"
        if not (file.is_file() and file.read_bytes() == text.encode("utf-8")):
            write_text(file, text)


def remove_leaderboard(workspace: Path, dataset: str) -> None:
    """Remove the leaderboard's files and page."""
    for suffix in (*SUFFIXES, "html"):
        (workspace / "leaderboard" / f"{dataset}.{suffix}").unlink(missing_ok=True)


def render(leaderboard: Leaderboard, style: str = "table", *, width: int | None = None, colour: bool = False) -> str:
    """Return the leaderboard as text.

    Parameters
    ----------
    style : `table` for a terminal, `md`, `csv`, `json`, `latex` as its files are, or `every-eval-ever`, JSON lines in
        that schema.
    width, colour : of the terminal.

    Raises
    ------
    InputError
        For another format.
    """
    if style == "csv":
        return to_csv(leaderboard)
    if style == "json":
        return to_json(leaderboard)
    if style == EVERY_EVAL_EVER:
        return to_every_eval_ever(leaderboard, time.time())
    return render_tables(make_tables(leaderboard), style, width=width, colour=colour)


def render_summary(leaderboard: Leaderboard, *, files: str = "", width: int | None = None, colour: bool = False) -> str:
    """Return one table of at most 100 columns for a terminal: rows ranked, or where these are many, a line per row.

    Parameters
    ----------
    files : where the leaderboard's files are.
    width, colour : of the terminal.
    """
    maker = TableMaker(leaderboard)
    where = f"All metrics, classes, probes, ablations and cost: --details{f' or {files}' * bool(files)}"

    def text(table_of: Callable[[TableMaker, int], Table]) -> str:
        versions = (table_of(maker, level) for level in LEVELS)
        with_files = (replace(table, notes=(*table.notes, where)) for table in versions)
        return to_compact(with_files, width=width, colour=colour)

    ranked = text(ranking)
    return ranked if len(ranked.splitlines()) <= MAX_LINES or len(leaderboard.snrs) == 1 else text(matrix)


def render_tables(
    tables: tuple[Table, ...] | list[Table], style: str, *, width: int | None = None, colour: bool = False
) -> str:
    """Return tables as text; parameters and errors as in `render`."""
    if style == "table":
        return to_terminal(tables, width=width, colour=colour)
    if style == "md":
        return to_markdown(tables)
    if style == "latex":
        return to_latex(tables)
    raise unknown("table format", style, TABLE_FORMATS)
