"""Means over folds and seeds: standard deviation, intervals that allow for recordings and seeds, paired differences.

A mean is over folds, of the mean over each fold's seeds: a fold counts once, however many seeds it was trained with.

Another drawing of event recordings would have given another mean, and so would another training. The first variance is
that of the bootstrap samples, which seeds of a fold share; folds have different clips, so theirs are independent. The
second is the variance of the seeds' values within folds, pooled over folds. It also holds how differently the
recordings suit each seed's network, which the variance of the mean's bootstrap samples holds too and which is taken off
there. Systems that are compared share recordings, not trainings.

With two to five seeds a variance over seeds is known badly, so its quantile is that of Student's t. The degrees of
freedom of a difference of two systems are Satterthwaite's (Welch 1947). The quantile of the interval lies between those
for recordings and for seeds, the nearer to the second the larger its share of the variance (after Cochran and Cox 1957,
section 4.14; `scoring.bootstrap.SHARE_EXPONENT`): the degrees of freedom that Satterthwaite's formula gives to a sum of
a well known and a badly known variance are too many where the badly known one happens to come out small.
`benchmarks/seeds.py` measures both.

With one seed per fold the variance over seeds is unknown, and intervals hold for that training only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from remixbench.scoring.bootstrap import Interval, interval_of
from remixbench.scoring.types import FloatArray


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


@dataclass(frozen=True)
class Difference:
    """How much higher a metric of one system is than that of another on the same bootstrap samples.

    Attributes
    ----------
    difference : value of the first minus that of the second
    interval : its 95 % interval; None where most bootstrap samples leave either value undefined
    superiority : probability that the first value is higher; NaN where there is no interval
    resamples : number of bootstrap samples in which both values are defined
    """

    difference: float
    interval: tuple[float, float] | None
    superiority: float
    resamples: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero; False where there is none."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


def mean_interval(runs: Runs) -> Interval | None:
    """Return the mean of a metric over folds and seeds; None where most bootstrap samples leave it undefined."""
    return _interval(_mean(runs), _mean_samples(runs), [runs])


def paired_difference(first: Runs, second: Runs) -> Difference:
    """Compare a metric of two systems on the same folds, each fold with the same bootstrap samples for both.

    A bootstrap sample counts if the metric is defined in it for every run of both systems. Where fewer than half of
    them count, the difference is that of two known values all the same; only how certain it is cannot be told.
    """
    value, samples = _mean(first) - _mean(second), _mean_samples(first) - _mean_samples(second)
    interval = _interval(value, samples, [first, second])
    if interval is None:
        return Difference(value, None, float("nan"), int((~np.isnan(samples)).sum()))
    return Difference(value, interval.ends, interval.superiority, interval.resamples)


def _mean(runs: Runs) -> float:
    return mean_over_folds({fold: of_fold.values.tolist() for fold, of_fold in runs.items()})


def _mean_samples(runs: Runs) -> FloatArray:
    """Return the mean over folds and seeds in every bootstrap sample, (resamples,); NaN where a run is undefined."""
    samples: FloatArray = np.mean([of_fold.samples.mean(axis=0) for of_fold in runs.values()], axis=0)
    return samples


def _interval(value: float, samples: FloatArray, systems: Sequence[Runs]) -> Interval | None:
    """Return how certain a mean of one system, or the difference of two, is over recordings and seeds."""
    interval = interval_of(value, samples, sum(runs.recordings for runs in systems[0].values()))
    if interval is None:
        return None
    seeds = [_between_seeds(system, ~np.isnan(samples)) for system in systems]
    over_recordings = interval.variances[0] - sum(part.counted_twice for part in seeds)
    over_seeds = sum(part.variance for part in seeds)
    squares = sum(part.variance**2 / part.freedom for part in seeds if part.freedom)
    return replace(
        interval,
        variances=(max(over_recordings, 0.0), over_seeds),
        freedoms=(interval.freedoms[0], over_seeds**2 / squares if squares else 1.0),
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
    interaction = sum(np.var(deviation, axis=1, ddof=1).sum() for deviation in deviations)
    of_mean = sum(1 / len(runs.values) for runs in system.values()) / len(system) ** 2
    return _BetweenSeeds(float(squares / freedom * of_mean), float(interaction / freedom * of_mean), freedom)
