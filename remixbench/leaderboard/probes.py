"""The probes in a leaderboard: micro-AP on rolled clips, and at SNRs other than that of the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from remixbench.dataset.probes import Probe, no_shift
from remixbench.leaderboard.evaluate import METRIC
from remixbench.leaderboard.grouping import runs_by_fold
from remixbench.leaderboard.record import Record, probe_value, unpack
from remixbench.leaderboard.rows import Condition, Estimate, Probes, Row
from remixbench.leaderboard.table_maker import KIND_HEADINGS, TableMaker
from remixbench.leaderboard.tables import (
    EVIDENCE,
    TESTED,
    Block,
    Cell,
    Column,
    Table,
    estimate_cell,
    marked,
    numbered,
    signed,
    title,
)
from remixbench.scoring.bootstrap import limited, mean_interval, mean_over_folds, standard_deviation
from remixbench.scoring.metrics import METRICS
from remixbench.scoring.types import FloatArray

Scored = tuple[float, FloatArray | None]
"""A value and its bootstrap samples, (resamples,)."""
RANGE = METRICS[METRIC].range


def with_probes(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows with their probes summarised."""
    return tuple(
        replace(
            row,
            conditions={
                snr: replace(condition, probes=summarise(condition)) for snr, condition in row.conditions.items()
            },
        )
        for row in rows
    )


def summarise(condition: Condition) -> Probes | None:
    """Average the probes of a row's records at one SNR, over the conditions that all of them have; None without any.

    The mean over the shifts is that of each record's own, since folds can have different ones. Differences are taken
    record by record and bootstrap sample by bootstrap sample, so that their intervals are paired.
    """
    records = condition.records
    shifts = None
    if all(record.shifts is not None for record in records):
        shifts = tuple(sorted({value for record in records for value in record.shifts or ()}))
    tested = _common(records, "snr")
    if shifts is None and not tested:
        return None
    common = () if shifts is None else _common(records, "shift")

    def at(probe: Probe, value: float) -> Estimate:
        estimate = average(records, [_scored(record, probe, value) for record in records], *RANGE)
        return replace(estimate, verified=condition.verified(probe_value(probe, value, METRIC)))

    probes = Probes(
        shifts=shifts,
        shifted={value: at("shift", value) for value in common},
        tested={value: at("snr", value) for value in tested},
    )
    own = [sorted(_defined(record, "shift")) for record in records]
    if not shifts or not all(own):
        return probes
    means = [
        _mean([_scored(record, "shift", value) for value in values])
        for record, values in zip(records, own, strict=True)
    ]
    verified = all(
        condition.verified(probe_value("shift", value, METRIC))
        for value in {value for values in own for value in values}
    )
    probes = replace(probes, mean=replace(average(records, means, *RANGE), verified=verified))
    if any(record.metrics.get(METRIC) is None for record in records):
        return probes
    differences = [_minus(mean, _unmoved(record)) for mean, record in zip(means, records, strict=True)]
    verified = verified and condition.verified(METRIC)
    return replace(probes, difference=replace(average(records, differences), verified=verified))


def average(
    records: Sequence[Record], scored: Sequence[Scored], lowest: float = -np.inf, highest: float = np.inf
) -> Estimate:
    """Average values of records as the other tables do: over seeds, then over folds, with the mean's interval.

    Parameters
    ----------
    lowest, highest : possible values; the interval ends there.
    """
    values: dict[int, list[float]] = {}
    for record, (value, _) in zip(records, scored, strict=True):
        values.setdefault(record.system.fold, []).append(value)
    std = standard_deviation(values) if len(records) > 1 else None
    runs = runs_by_fold(records, [value for value, _ in scored], [samples for _, samples in scored])
    interval = None if runs is None else mean_interval(runs)
    low, high = (None, None) if interval is None else limited(interval.ends, lowest, highest)
    return Estimate(mean_over_folds(values), low, high, std)


def _common(records: Sequence[Record], probe: Probe) -> tuple[float, ...]:
    """Return the conditions under which every record has a score, ascending."""
    values = [_defined(record, probe) for record in records]
    return tuple(sorted(set.intersection(*values))) if values else ()


def _defined(record: Record, probe: Probe) -> set[float]:
    """Return the conditions under which a record has a score."""
    return {
        scores.value for scores in record.probes if scores.probe == probe and scores.metrics.get(METRIC) is not None
    }


def _scored(record: Record, probe: Probe, value: float) -> Scored:
    scores = next(scores for scores in record.probes if (scores.probe, scores.value) == (probe, value))
    samples = scores.bootstrap_samples.get(METRIC)
    return scores.metrics[METRIC] or 0.0, None if samples is None else unpack(samples).astype(np.float64)


def _unmoved(record: Record) -> Scored:
    samples = record.samples(METRIC)
    return record.metrics[METRIC] or 0.0, None if samples is None else samples.astype(np.float64)


def _mean(scored: Sequence[Scored]) -> Scored:
    samples = [sample for _, sample in scored if sample is not None]
    paired = len(samples) == len(scored) and len({len(sample) for sample in samples}) == 1
    return float(np.mean([value for value, _ in scored])), np.mean(samples, axis=0) if paired else None


def _minus(first: Scored, second: Scored) -> Scored:
    paired = first[1] is not None and second[1] is not None and len(first[1]) == len(second[1])
    return first[0] - second[0], first[1] - second[1] if paired else None  # type: ignore[operator]  # neither is None


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
        _difference_cell(probes.difference),
    ]


def _difference_cell(difference: Estimate | None) -> Cell:
    if difference is None:
        return Cell()
    below = ""
    if difference.low is not None and difference.high is not None:
        below = f"{signed(difference.low, 3)} to {signed(difference.high, 3)}"
    return Cell(marked(signed(difference.value), difference.verified), below)


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
    own = condition.metrics.get(METRIC)
    return tested if own is None else tested | {condition.snr: own}
