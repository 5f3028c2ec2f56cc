"""Is one system better than another? Both are compared on the same bootstrap samples, which records hold.

Only rows that were tested on the same folds and as many clips are ranked, marked as best, and compared. A pair that
cannot be compared is neither better nor worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from remixbench.errors import InputError
from remixbench.leaderboard.grouping import metric_runs
from remixbench.leaderboard.record import CHANCE
from remixbench.leaderboard.rows import Chance, Condition, Estimate, Row, Tested
from remixbench.scoring.bootstrap import Difference, FoldRuns, Runs, paired_difference
from remixbench.scoring.metrics import METRICS, paired_metrics

if TYPE_CHECKING:
    from remixbench.leaderboard.leaderboard import Leaderboard


@dataclass(frozen=True, kw_only=True)
class RowDifference(Difference):
    """How much higher a metric of one row is than that of another at one SNR.

    Attributes
    ----------
    significant : whether the interval excludes zero, and not both rows are at chance
    one_training : whether a row has one training per fold, so that the interval holds for that training only
    verified : whether both values were computed in this workspace
    """

    snr: float
    metric: str
    significant: bool
    one_training: bool
    folds: tuple[int, ...]
    verified: bool

    @property
    def low(self) -> float | None:
        """The lower end of the interval; None where there is none."""
        return None if self.interval is None else self.interval[0]

    @property
    def high(self) -> float | None:
        """The upper end of the interval; None where there is none."""
        return None if self.interval is None else self.interval[1]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, None for what is undefined."""
        return {
            "snr": self.snr, "metric": self.metric, "difference": self.difference, "low": self.low, "high": self.high,
            "superiority": None if self.interval is None else self.superiority, "significant": self.significant,
            "one_training": self.one_training, "folds": self.folds, "resamples": self.resamples,
            "verified": self.verified,
        }  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """The differences of two rows, by SNR and metric."""

    first: str
    second: str
    differences: tuple[RowDifference, ...]


def compare_conditions(
    first: Condition | None, second: Condition | None, metric: str, chance: Chance | None = None
) -> RowDifference | None:
    """Compare two rows at one SNR; one of them may be None, which stands for chance.

    None where they were not tested on the same clips or lack the metric or common bootstrap samples.
    """
    conditions = [condition for condition in (first, second) if condition is not None]
    if len({condition.tested for condition in conditions}) != 1 or not _same_samples(conditions):
        return None
    systems = [metric_runs(metric, condition.records) for condition in conditions]
    if len(conditions) == 1 and systems[0] is not None:
        level = None if chance is None else chance.metrics(conditions[0].folds).get(metric)
        systems.insert(0 if first is None else 1, None if level is None else _constant_runs(level, systems[0]))
    if systems[0] is None or systems[-1] is None:
        return None
    difference = paired_difference(systems[0], systems[-1])
    estimates = [condition.metrics.get(metric) for condition in conditions]
    at_chance = len(conditions) == 2 and all(estimate is not None and estimate.at_chance for estimate in estimates)
    return RowDifference(
        **asdict(difference),
        snr=conditions[0].snr,
        metric=metric,
        significant=difference.excludes_zero and not at_chance,
        one_training=any(condition.one_training for condition in conditions),
        folds=conditions[0].folds,
        verified=all(condition.verified(metric) for condition in conditions),
    )


def _constant_runs(value: float, runs: Runs) -> Runs:
    """Return a system with one value on every fold of some runs, in every bootstrap sample."""
    return {
        fold: FoldRuns(np.array([value]), np.full((1, of_fold.samples.shape[1]), value), of_fold.recordings)
        for fold, of_fold in runs.items()
    }


def _same_samples(conditions: Sequence[Condition]) -> bool:
    """Say whether all rows have the same bootstrap samples of the same labels on every fold."""
    drawn: dict[int, set[tuple[str, int, int]]] = {}
    for record in (record for condition in conditions for record in condition.records):
        provenance = record.provenance
        drawn.setdefault(record.system.fold, set()).add(
            (provenance.reference_digest, provenance.resamples, provenance.bootstrap_seed)
        )
    return all(len(of_fold) == 1 for of_fold in drawn.values())


def mark_best(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows with their best values marked: no row tested on the same clips is significantly better.

    A value is not marked if it has no interval, or a higher one cannot be compared with it, such as one with other
    bootstrap samples. Only verified values of metrics with bootstrap samples are marked, and only where two rows or
    more have one.
    """
    best: set[tuple[int, float, str]] = set()
    for snr in {snr for row in rows for snr in row.conditions}:
        for metric in paired_metrics():
            best |= {(index, snr, metric) for index in _best(rows, snr, metric)}

    def marked(index: int, row: Row) -> Row:
        return _with_metrics(row, lambda condition, metric, _: {"best": (index, condition.snr, metric) in best})

    return tuple(marked(index, row) for index, row in enumerate(rows))


def _with_metrics(row: Row, change: Callable[[Condition, str, Estimate], Mapping[str, bool]]) -> Row:
    """Return a row with some fields of its metrics changed."""
    conditions = {}
    for snr, condition in row.conditions.items():
        metrics = {name: replace(value, **change(condition, name, value)) for name, value in condition.metrics.items()}
        conditions[snr] = replace(condition, metrics=metrics)
    return replace(row, conditions=conditions)


def _best(rows: Sequence[Row], snr: float, metric: str) -> list[int]:
    """Return the rows above chance that no row tested on the same clips beats, or may beat, significantly."""
    groups: dict[Tested, list[int]] = {}
    for index, row in enumerate(rows):
        estimate = row.estimate(snr, metric)
        if row.kind != "ideal" and estimate is not None and estimate.verified:
            condition = row.conditions[snr]
            if any(record.samples(metric) is not None for record in condition.records):
                groups.setdefault(condition.tested, []).append(index)
    best = []
    for group in groups.values():
        conditions = {index: rows[index].conditions[snr] for index in group}
        sign = 1 if METRICS[metric].direction == "higher" else -1
        values = {index: sign * conditions[index].metrics[metric].value for index in group}
        ranked = sorted(group, key=lambda index: -values[index])
        if len(group) < 2 or not any(values.values()):
            continue
        for rank, index in enumerate(ranked):
            pairs = (compare_conditions(conditions[other], conditions[index], metric) for other in ranked[:rank])
            beaten_or_unknown = any(pair is None or pair.interval is None or pair.significant for pair in pairs)
            samples = [record.samples(metric) for record in conditions[index].records]
            known = any(of_record is not None and np.isfinite(of_record).any() for of_record in samples)
            if known and not beaten_or_unknown and not conditions[index].metrics[metric].at_chance:
                best.append(index)
    return best


def mark_chance(rows: Sequence[Row], chance: Chance) -> tuple[Row, ...]:
    """Return the rows with the values marked that are not above chance."""

    levels = cache(chance.metrics)

    def at_chance(condition: Condition, name: str, estimate: Estimate) -> dict[str, bool]:
        level = levels(condition.folds).get(name)
        lowest = estimate.value if estimate.low is None else estimate.low
        return {"at_chance": level is not None and lowest <= level}

    return tuple(_with_metrics(row, at_chance) for row in rows)


def compare_rows(leaderboard: Leaderboard, first: str, second: str, snr: float | None = None) -> Comparison:
    """Compare two rows of a leaderboard, or a row and chance, by their names.

    They are compared by every metric, at each SNR that both have (or at one).

    InputError if a name is unknown or that of several rows, the two are the same, or were not tested on the same clips
    or have no bootstrap samples in common.
    """
    has_chance = leaderboard.chance.by_fold and all(row.name != CHANCE for row in leaderboard.rows)
    rows = [None if has_chance and name == CHANCE else leaderboard.find_row(name) for name in (first, second)]
    compared = [row for row in rows if row is not None]
    if not compared or rows[0] is rows[1]:
        name = CHANCE if rows[0] is None else rows[0].name
        raise InputError(f"--compare {first} {second}: both are the row '{name}'; name two")
    common = [decibels for decibels in leaderboard.snrs if all(decibels in row.conditions for row in compared)]
    if snr is not None:
        if snr not in common:
            snrs = ", ".join(f"{decibels:g}" for decibels in common) or "none"
            raise InputError(f"--compare {first} {second}: --snr {snr:g} is not an SNR of both rows (common: {snrs})")
        common = [snr]
    differences = []
    for decibels in common:
        first_at, second_at = (None if row is None else row.conditions[decibels] for row in rows)
        for metric in paired_metrics():
            difference = compare_conditions(first_at, second_at, metric, leaderboard.chance)
            if difference is not None:
                differences.append(difference)
    if not differences:
        raise InputError(f"--compare {first} {second}: {_why_not_compared(compared, common)}")
    names = [CHANCE if row is None else row.name for row in rows]
    return Comparison(names[0], names[1], tuple(differences))


def _why_not_compared(rows: Sequence[Row], common: Sequence[float]) -> str:
    """Say why two rows have no difference."""
    if not common:
        return "they have no SNR in common"
    conditions = [row.conditions[common[0]] for row in rows]
    if len({condition.tested for condition in conditions}) > 1:
        texts = [
            f"'{row.name}' on {', '.join(map(str, condition.folds))} ({condition.clips} clips)"
            for row, condition in zip(rows, conditions, strict=True)
        ]
        return f"they were tested on different folds ({'; '.join(texts)}); test both on the same folds"
    return "they have no metric with the same bootstrap samples; score both with the same --bootstrap above 0"
