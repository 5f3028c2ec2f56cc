"""The leaderboard in every format: which tables it has, who writes them, and the files that they go to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from remixbench.errors import unknown
from remixbench.files import write_text
from remixbench.leaderboard.board import Board, Comparison, Difference
from remixbench.leaderboard.data import to_csv, to_json
from remixbench.leaderboard.detection import detection_grids
from remixbench.leaderboard.grid import Grid
from remixbench.leaderboard.grids import comparison_grid, difference_grid, main_grid
from remixbench.leaderboard.latex import to_latex
from remixbench.leaderboard.markdown import to_markdown
from remixbench.leaderboard.studies import alpha_grid, class_grid, fraction_grid
from remixbench.leaderboard.terminal import to_terminal

FORMATS = ("table", "md", "csv", "json", "latex")
WRITERS: dict[str, Callable[[Board], str]] = {
    "csv": to_csv,
    "md": lambda board: to_markdown(make_grids(board)),
    "json": to_json,
    "tex": lambda board: to_latex(make_grids(board)),
}
"""Suffix of the leaderboard's files, and what writes each."""


def make_grids(board: Board) -> tuple[Grid, ...]:
    """Return every table for which there are figures, the main one first."""
    grids = [
        main_grid(board),
        difference_grid(board),
        alpha_grid(board),
        fraction_grid(board),
        class_grid(board),
        *detection_grids(board),
    ]
    return tuple(grid for grid in grids if grid is not None)


def write_board(workspace: Path, board: Board) -> list[Path]:
    """Write the leaderboard's files where they differ from what is there; returns those written."""
    written = []
    for suffix, writer in WRITERS.items():
        file = workspace / "leaderboard" / f"{board.dataset}.{suffix}"
        text = writer(board)
        if not (file.is_file() and file.read_bytes() == text.encode("utf-8")):
            write_text(file, text)
            written.append(file)
    return written


def render(board: Board, style: str = "table", *, width: int | None = None, colour: bool = False) -> str:
    """Return the leaderboard, or the comparison that was asked for, as text.

    Parameters
    ----------
    style : `table` for a terminal, or `md`, `csv`, `json`, `latex` as its files are.
    width, colour : of the terminal.

    Raises
    ------
    InputError
        For another format.
    """
    if style not in FORMATS:
        raise unknown("format", style, FORMATS)
    grids = make_grids(board) if board.comparison is None else (comparison_grid(board.comparison, board),)
    if style == "table":
        return to_terminal(grids, width=width, colour=colour)
    if style == "md":
        return to_markdown(grids)
    if style == "latex":
        return to_latex(grids)
    if board.comparison is None:
        return to_csv(board) if style == "csv" else to_json(board)
    return _comparison_csv(board.comparison) if style == "csv" else _comparison_json(board.comparison)


def _comparison_json(comparison: Comparison) -> str:
    return json.dumps(asdict(comparison), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _comparison_csv(comparison: Comparison) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Difference)])
    for each in comparison.differences:
        values = asdict(each) | {"folds": "; ".join(map(str, each.folds))}
        writer.writerow([repr(value) if isinstance(value, float) else value for value in values.values()])
    return text.getvalue()
