"""Means over folds and seeds: their standard deviation, and intervals that allow for recordings and for seeds.

A mean is over folds, of the mean over each fold's seeds: a fold counts once, however many seeds it was trained with.

Another drawing of event recordings would have given another mean, and so would another training. The first variance is
that of the bootstrap samples, which seeds of a fold share; folds have different clips, so theirs are independent. The
second is the variance of the seeds' values within folds, pooled over folds. It also holds how differently the
recordings suit each seed's network, which the variance of the mean's bootstrap samples holds too and which is taken off
there. Systems that are compared share recordings, not trainings.

With two to five seeds a variance over seeds is known badly, so its quantile is that of Student's t. The degrees of
freedom of a difference of two systems are Satterthwaite's (Welch 1947). The quantile of the interval is the mean of the
quantiles for recordings and for seeds, weighted by their variances (Cochran and Cox 1957, section 4.14): the degrees of
freedom that Satterthwaite's formula gives to a sum of a well known and a badly known variance are too many where the
badly known one happens to come out small. `benchmarks/seeds.py` measures both.

With one seed per fold the variance over seeds is unknown, and intervals hold for that training only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit

from remixbench.leaderboard.record import Record
from remixbench.scoring.bootstrap import LEVEL

MIN_DEFINED = 0.5
"""The least share of bootstrap samples in which a value must be defined to have an interval."""
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class FoldRuns:
    """A metric of one system on one fold, by seed.

    Attributes
    ----------
    values : (seeds,)
    samples : (seeds, resamples), the bootstrap samples; column by column on the same resampled recordings
    recordings : number of event recordings of the fold
    """

    values: FloatArray
    samples: FloatArray
    recordings: int


Runs = Mapping[int, FoldRuns]
"""A metric of one system, by fold."""


@dataclass(frozen=True)
class Interval:
    """A mean, or a difference of two, and how certain it is.

    Attributes
    ----------
    value : the mean or difference
    variances : its variance over recordings, and over seeds
    freedoms : the degrees of freedom of either
    resamples : number of bootstrap samples in which it is defined
    """

    value: float
    variances: tuple[float, float]
    freedoms: tuple[float, float]
    resamples: int

    @property
    def ends(self) -> tuple[float, float]:
        """The 95 % interval."""
        half = self._quantile((1 + LEVEL) / 2) * self._deviation
        return self.value - half, self.value + half

    @property
    def superiority(self) -> float:
        """The probability that the value is above zero: the level at which a one-sided interval would end there."""
        if self._deviation == 0:
            return 0.5 + 0.5 * float(np.sign(self.value))
        ratio = abs(self.value) / self._deviation
        last = 1 - 1e-12
        level = 1.0 if ratio >= self._quantile(last) else brentq(lambda p: self._quantile(p) - ratio, 0.5, last)
        return float(level if self.value > 0 else 1 - level)

    @property
    def _deviation(self) -> float:
        return float(np.sqrt(sum(self.variances)))

    def _quantile(self, level: float) -> float:
        if not sum(self.variances):
            return 0.0
        return float(np.average([stdtrit(freedom, level) for freedom in self.freedoms], weights=self.variances))


def by_fold(records: Sequence[Record]) -> dict[int, list[Record]]:
    """Return the records of each fold, folds ascending."""
    folds: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.system.fold):
        folds.setdefault(record.system.fold, []).append(record)
    return folds


def mean_over_folds(values: Mapping[int, Sequence[float]]) -> float:
    """Return the mean over folds of the mean over each fold's seeds.

    Parameters
    ----------
    values : of every fold, those of its seeds.
    """
    return float(np.mean([np.mean(of_seeds) for of_seeds in values.values()]))


def standard_deviation(values: Mapping[int, Sequence[float]]) -> float:
    """Return the standard deviation over seeds within folds, or over folds where each has one seed.

    Parameters
    ----------
    values : of every fold, those of its seeds; two or more altogether. Denominators are n - 1.
    """
    variances = [np.var(of_seeds, ddof=1) for of_seeds in values.values() if len(of_seeds) > 1]
    if variances:
        return float(np.sqrt(np.mean(variances)))
    return float(np.std([of_seeds[0] for of_seeds in values.values()], ddof=1))


def runs_of(
    records: Sequence[Record], values: Sequence[float | None], samples: Sequence[NDArray[np.floating] | None]
) -> Runs | None:
    """Return a value of every record and its bootstrap samples, by fold; None where one is missing.

    Parameters
    ----------
    samples : (resamples,) of each record.
    """
    if any(each is None or not len(each) for each in samples) or any(value is None for value in values):
        return None
    if len({len(each) for each in samples if each is not None}) != 1:
        return None
    folds: dict[int, list[int]] = {}
    for place, record in enumerate(records):
        folds.setdefault(record.system.fold, []).append(place)
    return {
        fold: FoldRuns(
            np.array([values[place] for place in places], np.float64),
            np.array([samples[place] for place in places], np.float64),
            records[places[0]].provenance.groups,
        )
        for fold, places in sorted(folds.items())
    }


def metric_runs(name: str, records: Sequence[Record]) -> Runs | None:
    """Return a metric of every record, by fold; None where one lacks it or its bootstrap samples."""
    return runs_of(
        records, [record.metrics.get(name) for record in records], [record.samples(name) for record in records]
    )


def mean_interval(first: Runs, second: Runs | None = None) -> Interval | None:
    """Return the mean of a metric over folds and seeds, or its difference between two systems on the same folds.

    None where most bootstrap samples leave it undefined.
    """
    systems = [first] if second is None else [first, second]
    means = [np.mean([runs.samples.mean(axis=0) for runs in system.values()], axis=0) for system in systems]
    values = [mean_over_folds({fold: runs.values.tolist() for fold, runs in system.items()}) for system in systems]
    samples = means[0] if second is None else means[0] - means[1]
    defined = ~np.isnan(samples)
    if defined.sum() < max(2, MIN_DEFINED * len(samples)):
        return None
    seeds = [_between_seeds(system, defined) for system in systems]
    variance = float(np.var(samples[defined], ddof=1)) - sum(part.counted_twice for part in seeds)
    recordings = min(int(defined.sum()), sum(runs.recordings for runs in first.values()))
    over_seeds = sum(part.variance for part in seeds)
    squares = sum(part.variance**2 / part.freedom for part in seeds if part.freedom)
    return Interval(
        value=values[0] if second is None else values[0] - values[1],
        variances=(max(variance, 0.0), over_seeds),
        freedoms=(max(recordings - 1.0, 1.0), over_seeds**2 / squares if squares else 1.0),
        resamples=int(defined.sum()),
    )


@dataclass(frozen=True)
class _BetweenSeeds:
    """What the seeds of a system add to the variance of its mean.

    `counted_twice` is the part of it that the mean's bootstrap samples hold too.
    """

    variance: float
    counted_twice: float
    freedom: int


def _between_seeds(system: Runs, defined: NDArray[np.bool_]) -> _BetweenSeeds:
    freedom = sum(len(runs.values) - 1 for runs in system.values())
    if not freedom:
        return _BetweenSeeds(0.0, 0.0, 0)
    squares = sum(((runs.values - runs.values.mean()) ** 2).sum() for runs in system.values())
    deviations = [(runs.samples - runs.samples.mean(axis=0))[:, defined] for runs in system.values()]
    interaction = sum(np.var(each, axis=1, ddof=1).sum() for each in deviations)
    of_mean = sum(1 / len(runs.values) for runs in system.values()) / len(system) ** 2
    return _BetweenSeeds(float(squares / freedom * of_mean), float(interaction / freedom * of_mean), freedom)
