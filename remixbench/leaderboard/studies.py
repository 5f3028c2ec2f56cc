"""The tables beside the main one: weight of the reconstruction, classes, size of the training data, detection."""

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
from remixbench.leaderboard.published import DetectionRow

EXTREMES = 3
"""How many of the best and of the worst classes are shown beside the paper's four."""
TWO_STEP = {"2ap": "2ap-aux"}
"""A system that is another with the weight of its reconstruction at zero."""
DETECTION = ("segment_f1", "segment_er", "event_f1_onset", "event_f1", "intersection_f1", "frame_f1")
OTHERS = ("hysteresis",)
"""The decodings besides the main one that have columns; CSV and JSON have all."""
OTHER_DECODINGS = ("segment_f1", "event_f1", "frame_f1")
THRESHOLD_FREE = ("psds1", "psds2", "frame_ap", "mask_f1", "mask_auc", "mask_ap")


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
                Line(f"α = {row.alpha:g}", tuple(_number(row.scores.get(snr)) for snr in board.snrs), "", "not said")
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
            tuple(_number(each.get(label), 3) for label in shown),
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
                    Line(row.name, tuple(_number(each.get(label), 3) for label in shown), "", "not said")
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


def detection_grids(board: Board) -> list[Grid]:
    """Return one table of detection figures for each SNR at which there are any."""
    grids = (_detection_grid(board, snr) for snr in board.snrs)
    return [grid for grid in grids if grid is not None]


def _detection_grid(board: Board, snr: float) -> Grid | None:
    rows = {index: row for index, row in enumerate(board.rows) if snr in row.columns}
    there = {name for row in rows.values() for name in row.columns[snr].figures}
    groups = _detection_columns(there)
    if not groups:
        return None
    shown = [name for _, names in groups for name in names]
    notes = Notes()
    lines = {
        index: Line(
            row.name,
            tuple(words.cell(row.columns[snr].figures.get(name)) for name in shown),
            notes.letters(row.marks),
            words.runs([row.columns[snr]]),
        )
        for index, row in rows.items()
    }
    blocks = blocks_of(board, lines)
    table = board.published.detection
    published = tuple(
        Line(_with_rest(row, shown), tuple(_number(row.scores.get(name), 3) for name in shown), "", "not said")
        for row in table.rows
        if snr == table.snr and set(row.scores) & set(shown)
    )
    if published:
        name = board.published.sources[table.source].name
        blocks.append(
            Block(f"Published: {name} (on a mixing of their own; not comparable with the rows above)", published)
        )
    return Grid(
        f"Detection at {words.decibel(snr)}",
        "system",
        tuple((name, tuple(map(words.title, metrics))) for name, metrics in groups),
        tuple(blocks),
        (
            *notes.lines(),
            *_decodings(list(rows.values()), snr),
            "Blank: the form of the predictions cannot express it.",
        ),
        "tested on",
    )


def _with_rest(row: DetectionRow, shown: Sequence[str]) -> str:
    """Return the name of a published row, with those of its figures that have no column."""
    rest = [f"{words.title(name)} {value:g}" for name, value in row.scores.items() if name not in shown]
    return f"{row.name} ({', '.join(rest)})" if rest else row.name


def _detection_columns(there: set[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the groups of columns: the main decoding, each other one, and what needs no threshold."""
    others = [name for name in OTHERS if any(f"[{name}]" in metric for metric in there)]
    groups = [("decided events", tuple(name for name in DETECTION if name in there))]
    for other in others:
        groups.append((other, tuple(f"{name}[{other}]" for name in OTHER_DECODINGS if f"{name}[{other}]" in there)))
    groups.append(("all thresholds", tuple(name for name in THRESHOLD_FREE if name in there)))
    return [(name, metrics) for name, metrics in groups if metrics]


def _decodings(rows: Sequence[Row], snr: float) -> list[str]:
    """Say with which thresholds events were decided."""
    said: dict[str, None] = {}
    for row in rows:
        for record in row.columns[snr].records:
            main = record.settings.get("main_decoding")
            decodings = record.settings.get("decodings")
            for name, how in decodings.items() if isinstance(decodings, dict) else ():
                values = how.items() if isinstance(how, dict) else ()
                given = ", ".join(f"{key} {value:g}" for key, value in values if isinstance(value, (int, float)))
                if given:
                    said[f"{name}{' (decided events)' if name == main else ''}: {given}"] = None
    lines = ["Decodings: " + "; ".join(said) + "."] if said else []
    return [
        *lines,
        "Decided events are those of an event list, or the frame scores' main decoding. ER: error rate, lower is"
        " better; it may exceed 1.",
    ]


def _snr_groups(board: Board) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("", tuple(words.decibel(snr) for snr in board.snrs)),)


def _across(board: Board, row: Row, metric: str) -> tuple[Cell, ...]:
    figures = [row.columns[snr].figures.get(metric) if snr in row.columns else None for snr in board.snrs]
    return tuple(replace(words.cell(figure), bold=False) for figure in figures)


def _number(value: float | None, digits: int = 4) -> Cell:
    return Cell() if value is None else Cell(f"{value:.{digits}f}")
