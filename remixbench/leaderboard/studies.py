"""The tables beside the main one: weight of the reconstruction, size of the training data, classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from remixbench.leaderboard import words
from remixbench.leaderboard.board import Board, Row
from remixbench.leaderboard.grid import Block, Cell, Grid, Line, Notes
from remixbench.leaderboard.grids import blocks_of, heading

EXTREMES = 3
"""How many of the best and of the worst classes are shown beside the paper's four."""
TWO_STEP = {"2ap": "2ap-aux"}
"""A system that is another with the weight of its reconstruction at zero."""


def _alike(row: Row, without: Sequence[str], family: str | None) -> str:
    """Return what rows of one study have in common: system and settings, but for what is studied."""
    left = {key: value for key, value in row.settings.items() if key not in without}
    return json.dumps([family, left, row.kind], sort_keys=True)


def _series(rows: Iterable[Row], setting: str, family: Callable[[Row], str | None]) -> list[list[Row]]:
    """Return the groups of rows that differ in one setting only, where it has two values or more."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if isinstance(row.settings.get(setting), (int, float)):
            groups.setdefault(_alike(row, (setting,), family(row)), []).append(row)
    series = [sorted(group, key=lambda row: _value(row, setting)) for group in groups.values()]
    return [group for group in series if len({_value(row, setting) for row in group}) > 1]


def _value(row: Row, setting: str) -> Any:
    return row.settings[setting]


def alpha_grid(board: Board) -> Grid | None:
    """Table 2: micro AP by the weight α of the reconstruction, where there are several."""
    series = _series(
        (row for row in board.rows if row.settings.get("options") is not None),
        "alpha",
        lambda row: TWO_STEP.get(row.system or "", row.system),
    )
    if not series:
        return None
    notes = Notes()
    blocks = [
        Block(
            f"{group[-1].system}, {row_kind(group[-1])}",
            tuple(
                Line(
                    f"α = {_value(row, 'alpha'):g}",
                    _across(board, row, "micro_ap"),
                    notes.letters(row.marks),
                    words.runs(list(row.columns.values())),
                )
                for row in group
            ),
        )
        for group in series
    ]
    table = board.published.table2
    blocks.append(
        Block(
            heading(board, table.source),
            tuple(
                Line(
                    f"α = {row.alpha:g}", tuple(number_cell(row.scores.get(snr)) for snr in board.snrs), "", "not said"
                )
                for row in table.rows
            ),
        )
    )
    return Grid(
        "Weight of the reconstruction (α), micro-AP", "weight", _snr_groups(board), tuple(blocks), notes.lines(),
        "tested on",
    )  # fmt: skip


def row_kind(row: Row) -> str:
    """Say in one word where a row's figures come from."""
    return {"run": "trained here", "predictions": "submitted", "added": "added"}[row.kind]


def fraction_grid(board: Board) -> Grid | None:
    """Micro AP by the part of the training clips that was learned from, where there are several."""
    series = _series(board.rows, "fraction", lambda row: row.system)
    if not series:
        return None
    blocks = tuple(
        Block(
            f"{group[-1].name}, {row_kind(group[-1])}",
            tuple(
                Line(
                    f"{_value(row, 'fraction'):.4%}".rstrip("0%").rstrip(".") + " % of the training clips",
                    _across(board, row, "micro_ap"),
                    "",
                    words.runs(list(row.columns.values())),
                )
                for row in group
            ),
        )
        for group in series
    )
    return Grid("Size of the training data, micro-AP", "learned from", _snr_groups(board), blocks, (), "tested on")


def class_grid(board: Board) -> Grid | None:
    """Table 3: AP of single classes at the lowest SNR: the paper's four, the worst and the best."""
    table = board.published.table3
    snr = table.snr if table.snr in board.snrs else min(board.snrs)
    rows = {
        index: row.columns[snr].per_class["ap"]
        for index, row in enumerate(board.rows)
        if snr in row.columns and row.columns[snr].per_class.get("ap")
    }
    labels = [label for label in board.classes if any(label in each for each in rows.values())]
    if not labels:
        return None
    mean = {label: float(np.mean([each[label] for each in rows.values() if label in each])) for label in labels}
    paper = tuple(label for label in table.classes if label in board.classes)
    ranked = sorted((label for label in labels if label not in paper), key=lambda label: mean[label])
    worst = tuple(ranked[:EXTREMES])
    best = tuple(ranked[max(len(worst), len(ranked) - EXTREMES) :][::-1])
    groups = [
        (name, chosen) for name, chosen in (("the paper's classes", paper), ("worst", worst), ("best", best)) if chosen
    ]
    shown = [label for _, chosen in groups for label in chosen]
    notes = Notes()
    lines = {
        index: Line(
            board.rows[index].name,
            tuple(number_cell(each.get(label), 3) for label in shown),
            notes.letters(board.rows[index].marks),
            words.runs([board.rows[index].columns[snr]]),
        )
        for index, each in rows.items()
    }
    blocks = blocks_of(board, lines)
    if snr == table.snr and paper:
        published = [dict(zip(table.classes, row.scores, strict=True)) for row in table.rows]
        blocks.append(
            Block(
                heading(board, table.source),
                tuple(
                    Line(row.name, tuple(number_cell(each.get(label), 3) for label in shown), "", "not said")
                    for row, each in zip(table.rows, published, strict=True)
                ),
            )
        )
    return Grid(
        f"Average precision of single classes at {words.decibel(snr)}",
        "system",
        tuple(groups),
        tuple(blocks),
        (
            *notes.lines(),
            "Worst and best by the mean over the rows of this data set. Classes that do not occur in the fold are"
            " left out.",
        ),
        "tested on",
    )


def _snr_groups(board: Board) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("", tuple(words.decibel(snr) for snr in board.snrs)),)


def _across(board: Board, row: Row, metric: str) -> tuple[Cell, ...]:
    figures = [row.columns[snr].figures.get(metric) if snr in row.columns else None for snr in board.snrs]
    return tuple(replace(words.cell(figure), bold=False) for figure in figures)


def number_cell(value: float | None, digits: int = 4) -> Cell:
    """Return a published figure, or a blank where there is none."""
    return Cell() if value is None else Cell(f"{value:.{digits}f}")
