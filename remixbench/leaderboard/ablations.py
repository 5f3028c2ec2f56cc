"""The tables beside the main one: weight of the reconstruction, size of the training data, single classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from remixbench.leaderboard.leaderboard import Row
from remixbench.leaderboard.record import class_values
from remixbench.leaderboard.tables import (
    EVIDENCE,
    NOT_REPORTED,
    TESTED,
    Block,
    Cell,
    Column,
    Line,
    Table,
    TableMaker,
    estimate_cell,
    marked,
    value_cell,
)
from remixbench.leaderboard.tables import KINDS as BLOCK_HEADINGS

METRIC = "micro_ap"
EXTREMES = 3
"""How many of the best and of the worst classes are shown beside the paper's four."""
WITHOUT_RECONSTRUCTION = {"2ap": "2ap-aux"}
"""A system that is another with the weight of its reconstruction at zero."""


def alpha_table(maker: TableMaker) -> Table | None:
    """Return the paper's Table 2: micro-AP by the weight α of the reconstruction, where there are several."""
    series = _series(
        (row for row in maker.leaderboard.rows if row.settings.get("options") is not None),
        "alpha",
        lambda row: WITHOUT_RECONSTRUCTION.get(row.system or "", row.system),
    )
    if not series:
        return None
    blocks = [
        Block(
            f"{group[-1].system}, {BLOCK_HEADINGS[group[-1].kind].lower()}",
            tuple(_series_line(maker, row, f"α = {_value(row, 'alpha'):g}") for row in group),
        )
        for group in series
    ]
    snrs, table = maker.leaderboard.snrs, maker.leaderboard.published.table2
    lines = [
        Line(f"α = {row.alpha:g}", tuple(value_cell(row.scores.get(snr)) for snr in snrs), (), NOT_REPORTED)
        for row in table.rows
    ]
    blocks += maker.common_chance([row for group in series for row in group], snrs, ["micro_ap"] * len(snrs))
    blocks += maker.published_block(table.source, lines)
    return Table(
        "Weight of the reconstruction (α), micro-AP", "weight", _snr_groups(maker), tuple(blocks),
        maker.line_notes(blocks), (TESTED, EVIDENCE),
    )  # fmt: skip


def fraction_table(maker: TableMaker) -> Table | None:
    """Return micro-AP by the part of the training clips that was used, where there are several."""
    series = _series(maker.leaderboard.rows, "fraction", lambda row: row.system)
    if not series:
        return None
    blocks = [
        Block(
            f"{group[-1].name}, {BLOCK_HEADINGS[group[-1].kind].lower()}",
            tuple(
                replace(_series_line(maker, row, f"{_percent(row)} % of the training clips"), letters=())
                for row in group
            ),
        )
        for group in series
    ]
    snrs = maker.leaderboard.snrs
    blocks += maker.common_chance([row for group in series for row in group], snrs, ["micro_ap"] * len(snrs))
    return Table(
        "Size of the training data, micro-AP", "trained on", _snr_groups(maker), tuple(blocks),
        maker.line_notes(blocks), (TESTED, EVIDENCE),
    )  # fmt: skip


def class_table(maker: TableMaker) -> Table | None:
    """Return the paper's Table 3: AP of single classes at 0 dB: the paper's four, the worst, the best."""
    board = maker.leaderboard
    table = board.published.table3
    snr = table.snr if table.snr in board.snrs else min(board.snrs)
    rows = [row.conditions[snr].per_class.get("ap", {}) for row in board.rows if snr in row.conditions]
    labels = [label for label in board.classes if any(label in each for each in rows)]
    if not labels:
        return None
    mean = {label: float(np.mean([each[label] for each in rows if label in each])) for label in labels}
    paper = tuple(label for label in table.classes if label in board.classes)
    ranked = sorted((label for label in labels if label not in paper), key=lambda label: mean[label])
    worst = tuple(ranked[:EXTREMES])
    best = tuple(ranked[max(len(worst), len(ranked) - EXTREMES) :][::-1])
    groups = [
        (name, chosen) for name, chosen in (("the paper's classes", paper), ("worst", worst), ("best", best)) if chosen
    ]
    shown = [label for _, chosen in groups for label in chosen]

    def cells_of(row: Row) -> list[Cell] | None:
        found = row.conditions[snr].per_class.get("ap") if snr in row.conditions else None
        verified = snr in row.conditions and row.conditions[snr].verified(class_values("ap"))
        return [value_cell(found.get(label), 3, verified=verified) for label in shown] if found else None

    def chance_cells(folds: tuple[int, ...]) -> list[Cell]:
        values = board.chance.classes(folds)
        return [value_cell(values.get(label), 3) for label in shown]

    blocks = maker.blocks(cells_of, [snr], chance_cells)
    if snr == table.snr and paper:
        published = [dict(zip(table.classes, row.scores, strict=True)) for row in table.rows]
        lines = [
            Line(row.name, tuple(value_cell(each.get(label), 3) for label in shown), (), NOT_REPORTED)
            for row, each in zip(table.rows, published, strict=True)
        ]
        blocks += maker.published_block(table.source, lines)
    return Table(
        f"Average precision of single classes at {board.snr_text(snr)}",
        "system",
        tuple((name, tuple(Column(label, "higher") for label in chosen)) for name, chosen in groups),
        tuple(blocks),
        (
            *maker.line_notes(blocks),
            "Worst and best by the mean over the rows of this data set. Classes that do not occur in the fold are"
            " left out.",
        ),
        (TESTED, EVIDENCE),
    )


def snr_table(maker: TableMaker, snr: float) -> Table | None:
    """Return micro-AP by the SNR of the clips, where that is drawn from a range."""
    board = maker.leaderboard
    conditions = [row.conditions[snr] for row in board.rows if snr in row.conditions]
    bins = list(dict.fromkeys(name for condition in conditions for name in condition.by_snr.get(METRIC, {})))
    if not bins:
        return None

    def cells_of(row: Row) -> list[Cell] | None:
        values = row.conditions[snr].by_snr.get(METRIC) if snr in row.conditions else None
        return [value_cell(values.get(name)) for name in bins] if values else None

    blocks = maker.blocks(cells_of, [snr])
    return Table(
        f"micro-AP by the SNR of the clips, drawn from {board.snr_text(snr)}",
        "system",
        (("", tuple(Column(name, "higher") for name in bins)),),
        tuple(blocks),
        (*maker.line_notes(blocks), "Of the test clips with that SNR alone; clips without events are in no column."),
        (TESTED, EVIDENCE),
    )


def _series(rows: Iterable[Row], setting: str, family: Callable[[Row], str | None]) -> list[list[Row]]:
    """Return the groups of rows that differ in one setting only, where it has two values or more."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if isinstance(row.settings.get(setting), (int, float)):
            rest = {key: value for key, value in row.settings.items() if key != setting}
            groups.setdefault(json.dumps([family(row), rest, row.kind], sort_keys=True), []).append(row)
    series = [sorted(group, key=lambda row: _value(row, setting)) for group in groups.values()]
    return [group for group in series if len({_value(row, setting) for row in group}) > 1]


def _series_line(maker: TableMaker, row: Row, head: str) -> Line:
    snrs = maker.leaderboard.snrs
    cells = [replace(estimate_cell(row.estimate(snr, "micro_ap")), bold=False) for snr in snrs]
    return replace(maker.line(row, cells, snrs), head=marked(head, not row.submission))


def _value(row: Row, setting: str) -> Any:
    return row.settings[setting]


def _percent(row: Row) -> str:
    return f"{_value(row, 'fraction'):.4%}".rstrip("0%").rstrip(".")


def _snr_groups(maker: TableMaker) -> tuple[tuple[str, tuple[Column, ...]], ...]:
    board = maker.leaderboard
    return (("", tuple(Column(board.snr_text(snr), "higher") for snr in board.snrs)),)
