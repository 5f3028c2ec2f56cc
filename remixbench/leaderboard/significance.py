"""Is one system better than another? A paired bootstrap: both on the same bootstrap samples of the same clips.

The samples are in the records, so no predictions are needed. Two rows are compared on the folds that both were tested
on. Where a row has several seeds, these are drawn in every bootstrap sample too (averages.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from remixbench.errors import InputError
from remixbench.leaderboard.averages import by_fold, mean_samples
from remixbench.leaderboard.leaderboard import Condition, Leaderboard, Row
from remixbench.scoring.bootstrap import percentile_interval, superiority
from remixbench.scoring.metrics import METRICS, paired_metrics

MIN_DEFINED = 0.5
"""The least share of bootstrap samples in which a difference of two systems must be defined to be reported."""


@dataclass(frozen=True)
class Difference:
    """How much better the first of two systems is.

    Attributes
    ----------
    difference : mean of the first minus that of the second, over the common folds
    low, high : 95 % interval of the difference
    superiority : share of the bootstrap samples in which the first is better, ties counted half
    verified : whether both values were computed in this workspace
    """

    snr: float
    metric: str
    difference: float
    low: float
    high: float
    superiority: float
    folds: tuple[int, ...]
    resamples: int
    verified: bool = True

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero, and all but 2.5 % of the samples agree on which is better."""
        return (self.low > 0 and self.superiority >= 0.975) or (self.high < 0 and self.superiority <= 0.025)


@dataclass(frozen=True)
class Comparison:
    """The differences of two rows, by SNR and metric."""

    first: str
    second: str
    differences: tuple[Difference, ...]


def compare_conditions(first: Condition, second: Condition, metric: str) -> Difference | None:
    """Compare two rows at one SNR; None where they have no fold, no metric or no bootstrap samples in common."""
    ours, theirs = by_fold(first.records), by_fold(second.records)
    folds = tuple(sorted(ours.keys() & theirs.keys()))
    differences, samples = [], []
    for fold in folds:
        pair = (ours[fold], theirs[fold])
        alike = {
            (r.provenance.reference_digest, r.provenance.resamples, r.provenance.bootstrap_seed)
            for records in pair
            for r in records
        }
        means = [mean_samples(metric, records) for records in pair]
        values = [[record.metrics.get(metric) for record in records] for records in pair]
        if len(alike) > 1 or means[0] is None or means[1] is None or any(None in each for each in values):
            return None
        differences.append(np.mean(values[0]) - np.mean(values[1]))  # type: ignore[arg-type]  # no None is left
        samples.append(means[0] - means[1])
    if not folds:
        return None
    every = np.mean(samples, axis=0)
    change = every[~np.isnan(every)]
    if len(change) < MIN_DEFINED * len(every):
        return None
    mean = float(np.mean(differences))
    ends = percentile_interval(change)
    if ends is None:
        return None
    verified = first.verified(metric) and second.verified(metric)
    return Difference(first.snr, metric, mean, *ends, superiority(change), folds, len(change), verified)


def mark_best(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows with the best value of each column marked, and those not significantly different from it.

    Only metrics with bootstrap samples are marked, only what was verified, and only where two rows or more have that.
    """
    best: set[tuple[int, float, str]] = set()
    for snr in {snr for row in rows for snr in row.conditions}:
        for metric in paired_metrics():
            best |= {(index, snr, metric) for index in _best(rows, snr, metric)}
    marked = []
    for index, row in enumerate(rows):
        conditions = {
            snr: replace(
                condition,
                metrics={
                    name: replace(estimate, best=(index, snr, name) in best)
                    for name, estimate in condition.metrics.items()
                },
            )
            for snr, condition in row.conditions.items()
        }
        marked.append(replace(row, conditions=conditions))
    return tuple(marked)


def _best(rows: Sequence[Row], snr: float, metric: str) -> list[int]:
    values = {
        index: estimate.value
        for index, row in enumerate(rows)
        if row.kind != "ideal" and (estimate := row.estimate(snr, metric)) is not None and estimate.verified
    }
    if len(values) < 2 or not any(values.values()):
        return []
    choose = max if METRICS[metric].direction == "higher" else min
    top = choose(values, key=lambda index: values[index])
    found = [top]
    for index in values:
        if index != top:
            pair = compare_conditions(rows[top].conditions[snr], rows[index].conditions[snr], metric)
            if pair is not None and not pair.significant:
                found.append(index)
    return found


def compare_rows(leaderboard: Leaderboard, first: str, second: str, snr: float | None = None) -> Comparison:
    """Compare two rows of a leaderboard by their names, metric by metric at every SNR that both have (or at one).

    Raises
    ------
    InputError
        If a name is unknown or that of several rows, the two are one, or they have no clips or samples in common.
    """
    rows = [leaderboard.find_row(first), leaderboard.find_row(second)]
    if rows[0] is rows[1]:
        raise InputError(f"--compare {first} {second}: both are the row '{rows[0].name}'; name two")
    common = [each for each in leaderboard.snrs if all(each in row.conditions for row in rows)]
    if snr is not None:
        if snr not in common:
            there = ", ".join(f"{each:g}" for each in common) or "none"
            raise InputError(f"--compare {first} {second}: --snr {snr:g} is not an SNR of both rows (common: {there})")
        common = [snr]
    made = [
        difference
        for each in common
        for metric in paired_metrics()
        if (difference := compare_conditions(rows[0].conditions[each], rows[1].conditions[each], metric)) is not None
    ]
    if not made:
        raise InputError(
            f"--compare {first} {second}: no fold, SNR and metric in common with the same bootstrap samples;"
            " score both with the same --bootstrap above 0"
        )
    return Comparison(rows[0].name, rows[1].name, tuple(made))
