"""The tables of probes: micro-AP on rolled clips, and at SNRs other than that of the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from remixbench.dataset.probes import no_shift
from remixbench.leaderboard.evaluate import METRIC
from remixbench.leaderboard.rows import Condition, Estimate
from remixbench.leaderboard.table_maker import KIND_HEADINGS, TableMaker
from remixbench.leaderboard.tables import (
    EVIDENCE,
    TESTED,
    Block,
    Cell,
    Column,
    Table,
    difference_cell,
    estimate_cell,
    numbered,
    title,
)


def probe_tables(maker: TableMaker) -> tuple[Table, ...]:
    """Return the tables of the probes that were made."""
    return tuple(table for table in (shift_table(maker), trained_and_tested_table(maker)) if table is not None)


def shift_table(maker: TableMaker) -> Table | None:
    """Return micro-AP beside micro-AP on rolled clips: mean and worst over the shifts, and the difference."""
    board = maker.leaderboard
    probed = [
        (row, condition)
        for row in board.rows
        for condition in row.conditions.values()
        if condition.probes is not None and condition.probes.shifts is not None
    ]
    if not probed:
        return None
    snrs = [snr for snr in board.snrs if any(condition.snr == snr for _, condition in probed)]
    blocks = maker.blocks(
        lambda row: (
            [cell for snr in snrs for cell in _shift_cells(row.conditions.get(snr))]
            if any(row is other for other, _ in probed)
            else None
        ),
        snrs,
        lambda folds: [*maker.chance_cells(folds, [METRIC] * 3), Cell()] * len(snrs),  # rolling keeps the labels
    )
    notes = [*maker.line_notes(blocks), *_shift_notes([condition for _, condition in probed])]
    columns = ("unshifted", "mean", "worst")
    return Table(
        f"{title(METRIC)}, shifted: test clips rolled in time",
        "system",
        tuple(
            (board.snr_text(snr), (*(Column(heading, "higher") for heading in columns), Column("difference")))
            for snr in snrs
        ),
        tuple(blocks),
        tuple(notes),
        texts=(EVIDENCE,),
    )


def _shift_notes(conditions: Sequence[Condition]) -> list[str]:
    """Say by how much the clips of each fold were rolled, and what the columns are."""
    folds: dict[tuple[float, ...], set[int]] = {}
    for record in (record for condition in conditions for record in condition.records):
        folds.setdefault(record.shifts or (), set()).add(record.system.fold)
    without = sorted(folds.pop((), ()))
    notes = []
    for shifts, of_shifts in folds.items():
        where = f" in {numbered(sorted(of_shifts), 'fold')}" if without or len(folds) > 1 else ""
        seconds = ", ".join(f"{shift:g}" for shift in shifts)
        notes.append(f"Rolled by {seconds} s{where}, which keeps every event whole.")
    notes += [f"{no_shift(fold)[:1].upper()}{no_shift(fold)[1:]}." for fold in without]
    if len(folds) > 1:
        notes.append("Mean: over each fold's own shifts. Worst: of the shifts that all folds of a row have, if any.")
    if folds:
        notes.append(
            "Difference: mean over the shifts minus unshifted, with its 95 % interval from paired bootstrap samples."
            " A system that detects events loses little; one that has learned when they occur loses much."
        )
    return notes


def _shift_cells(condition: Condition | None) -> list[Cell]:
    """Return micro-AP unshifted, its mean and worst over the shifts, and the difference of the mean."""
    probes = None if condition is None else condition.probes
    if condition is None or probes is None or probes.shifts is None:
        return [Cell()] * 4
    unmoved = replace(estimate_cell(condition.metrics.get(METRIC)), bold=False, below="")
    worst = probes.worst
    return [
        unmoved,
        estimate_cell(probes.mean),
        Cell() if worst is None else replace(estimate_cell(worst[1]), below=f"at {worst[0]:g} s", bold=False),
        difference_cell(probes.difference),
    ]


def trained_and_tested_table(maker: TableMaker) -> Table | None:
    """Return micro-AP by the SNR trained at (down) and the SNR tested at (across)."""
    board = maker.leaderboard
    probed = [
        (row, c) for row in board.rows for c in row.conditions.values() if c.probes is not None and c.probes.tested
    ]
    if not probed:
        return None
    tested = sorted({snr for _, c in probed for snr in _tested(c)}, reverse=True)

    def cells(condition: Condition) -> list[Cell]:
        return [replace(estimate_cell(_tested(condition).get(snr)), bold=False) for snr in tested]

    blocks = []
    for kind, heading in KIND_HEADINGS.items():
        lines = tuple(
            replace(maker.line(row, cells(c), [c.snr]), head=f"{row.name}, {board.snr_text(c.snr)}")
            for row, c in sorted(probed, key=lambda pair: (board.rows.index(pair[0]), -pair[1].snr))
            if row.kind == kind
        )
        if lines:
            blocks.append(Block(heading, lines))
    blocks += maker.common_chance([row for row, _ in probed], board.snrs, [METRIC] * len(tested))
    return Table(
        f"{title(METRIC)} by the SNR trained at and the SNR tested at",
        "system, trained at",
        (("tested at", tuple(Column(board.snr_text(snr), "higher") for snr in tested)),),
        tuple(blocks),
        (*maker.line_notes(blocks),),
        (TESTED, EVIDENCE),
    )


def _tested(condition: Condition) -> dict[float, Estimate]:
    """Return micro-AP by the SNR tested at, that of the training among them."""
    tested = {} if condition.probes is None else dict(condition.probes.tested)
    trained = condition.metrics.get(METRIC)
    return tested if trained is None else tested | {condition.snr: trained}
