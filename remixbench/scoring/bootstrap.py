"""How certain a metric is: intervals from a bootstrap over event recordings, of one run and of means over several.

Clips that share an event recording are not independent: a recording that a system detects well is detected well in each
of its clips. So weights are drawn for recordings, not for clips, and a clip's weight is made of those of its
recordings. The variance that such weights give counts pairs of clips that share recordings as often as they share one,
and every clip's own noise as often as it has recordings. Cluster-robust variance for several memberships (Cameron,
Gelbach, Miller 2011) corrects this by inclusion and exclusion over the sets of recordings that a clip contains: with
C_j the weights drawn for every set of j recordings, Var = Var(C_1) - Var(C_2) + Var(C_3) - ..., in which two clips
with s recordings in common count s - s(s - 1)/2 + ... = 1 time. The sets of odd size make the bootstrap samples; those
of even size make further ones, whose variance gives the scale of the deviations of the first.

How often each class occurs is part of the design of a fold, the same whichever recordings are drawn, so the weights are
calibrated to it (Deville and Särndal 1992): their deviations are made orthogonal to the weak labels, and every class
has in each sample as many clips as in the fold. The class means that are subtracted in this way contain the recordings
themselves, and so take up a part of each recording's deviation: its leverage, the part of the indicator of its clips
that the weak labels explain. What is drawn for a recording is divided by the part that is left, as in a jackknife over
clusters (HC3 of MacKinnon and White 1985; CR3 of Bell and McCaffrey 2002). Where a fold has less than two clips or
recordings per class, weights are not calibrated, and intervals are wider. Means over classes have no interval where
more than a tenth of the classes have a single recording (`MOST_SINGLE`).

Weights are 1 + STEP · g with g of mean 0 (a rescaling bootstrap, Rao and Wu 1988; Gaussian multipliers), and deviations
from the metric are divided by STEP. Samples thus never lack a class, and the repetition of clips does not shift the
metric, so that their standard deviation about the metric, times the quantile of Student's t, is the interval. All
metrics use the same weights, and so do all systems that are scored on a fold with the same seed, which makes
comparisons paired: the interval of a difference comes from the differences of the samples.

Means are over folds, of the mean over each fold's seeds: a fold counts once, however many seeds it was trained with.
Another drawing of event recordings would have given another mean, and so would another training. The first variance is
that of the bootstrap samples, which seeds of a fold share; folds have different clips, so theirs are independent. The
second is the variance of the seeds' values within folds, pooled over folds. It also contains how differently the
recordings suit each seed's network; so does the variance of the mean's bootstrap samples, from which that part is
subtracted. Systems that are compared share recordings, not trainings.

With two to five seeds the variance over seeds is poorly known, so its quantile is that of Student's t. The degrees of
freedom of a difference of two systems are Satterthwaite's (Welch 1947). The quantile of the interval lies between those
for recordings and for seeds, the nearer to the second the larger its share of the variance (after Cochran and Cox 1957,
section 4.14; `SHARE_EXPONENT`): for the sum of a well-known and a poorly known variance, Satterthwaite's formula gives
too many degrees of freedom where the poorly known one happens to be small. With one seed per fold the variance over
seeds is unknown, and intervals hold for that training only.

Coverage of 95 % intervals is measured by benchmarks/intervals.py, over seeds by benchmarks/seeds.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import stdtrit

from remixbench.scoring.types import FloatArray, Reference

LEVEL = 0.95
MIN_DEFINED = 0.5
"""The least share of bootstrap samples in which a value must be defined to have an interval."""
SHARE_EXPONENT = 1.25
"""The quantile of a sum of two variances is as near to that of the second as its share to this power.

1 is Cochran and Cox's approximation, which covers more than 98 % where two systems with two seeds are compared.
"""
STEP = 0.25
"""How far weights stray from 1, as a part of the standard deviation of the full bootstrap."""
GRID = 8
"""Weights are whole numbers with mean GRID, so that counts stay exact in 32-bit floats; no metric depends on it."""
CORRECTION = 0.5
"""Samples for the correction, per bootstrap sample."""
ROUNDING = 1e-9
"""Deviations of a value up to this are errors of rounding."""
MIN_KEPT = 0.5
"""The least part of a deviation that calibration may leave; where it would leave less, there is none."""


MOST_SINGLE = 0.1
"""The largest part of the classes of a fold that may have a single recording for means over classes to have intervals.

How much another recording of such a class would change the mean is unknown: intervals of macro-AP hold the true value
in 55 % of trials where each of 20 classes has one recording, and in 83 % where a quarter of them has.
"""


@dataclass(frozen=True)
class Bootstrap:
    """Weights of clips, and how values under these weights become bootstrap samples of a metric.

    Attributes
    ----------
    weights : (clips, columns); in the first column each clip counts once, then come the bootstrap samples, then
        those of the correction
    samples : number of bootstrap samples
    smallest : the least scale that the correction may give: that of clips that share nothing but their weights
    recordings : number of event recordings; a clip without any counts as one
    """

    weights: FloatArray
    samples: int
    smallest: float
    recordings: int

    def samples_of(self, values: FloatArray) -> FloatArray:
        """Return the bootstrap samples (samples,) of a metric from its values (columns,), NaN where undefined.

        They may lie outside the range of the metric, so that their variance is not cut. They are also undefined where
        no weights change the value, unless it is at the end of its range, such as 1: it has an interval of no width.
        """
        value, deviations = values[0], (values[1:] - values[0]) / STEP
        spread, correction = deviations[: self.samples], deviations[self.samples :]
        if not (np.abs(spread) > ROUNDING).any() and not float(value).is_integer():
            return np.full_like(spread, np.nan)  # such as where each class has one recording
        scale = 1.0
        if len(correction) and np.mean(spread**2) > 0:
            scale = float(np.sqrt(max(1 - np.mean(correction**2) / np.mean(spread**2), self.smallest**2)))
        samples: FloatArray = value + scale * spread
        return samples


def make_bootstrap(reference: Reference, samples: int, seed: int) -> Bootstrap:
    """Draw the weights of a fold's clips; each fold draws its own, the same for every system.

    Parameters
    ----------
    samples : number of bootstrap samples; 0 for none. There are none where all clips share one recording.
    """
    fold = zlib.crc32("\0".join(reference.filenames).encode())
    rng = np.random.default_rng([seed, fold])
    clips = len(reference.filenames)
    parts = [np.full((clips, 1), 1.0)]
    smallest = 1.0
    first, *others = map(set, reference.recordings)
    recordings = len(first.union(*others)) + sum(not of_clip for of_clip in reference.recordings)
    if recordings < 2 or first.intersection(*others):  # all clips share one: no two are independent
        samples = 0
    if samples:
        counted, taken_off = _clusters(reference.recordings)
        classes = _orthonormal(reference.weak.astype(np.float64))
        if 1 - classes.shape[1] / min(clips, recordings) < MIN_KEPT:
            classes = classes[:, :0]  # as many classes as clips would leave no deviation at all
        parts.append(_weights(counted, classes, samples, rng))
        smallest = float(1 / np.sqrt(counted.clip_variance.mean()))
        if len(taken_off.variance):
            parts.append(_weights(taken_off, classes, max(2, round(CORRECTION * samples)), rng))
    return Bootstrap(np.concatenate(parts, axis=1), samples, smallest, recordings)


def too_few_recordings(reference: Reference) -> bool:
    """Return whether more than `MOST_SINGLE` of the classes that occur have a recording that is in all their clips."""
    single = []
    for of_class in reference.weak.T[reference.weak.any(0)]:
        first, *others = (set(reference.recordings[clip]) for clip in np.flatnonzero(of_class))
        single.append(not others or bool(first.intersection(*others)))
    return bool(np.mean(single or [False]) > MOST_SINGLE)


def _orthonormal(columns: FloatArray) -> FloatArray:
    """Return an orthonormal basis of the span of columns, (rows, rank)."""
    basis, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    spanning: FloatArray = basis[:, sizes > 1e-9 * max(columns.shape)]
    return spanning


@dataclass(frozen=True)
class _Clusters:
    """Sets of clips that share weights.

    Attributes
    ----------
    members : (clips, clusters), 1 where the clip belongs to the cluster
    variance : (clusters,) of the weights of each
    """

    members: sparse.csr_matrix
    variance: FloatArray

    @property
    def clip_variance(self) -> FloatArray:
        """Variance of each clip's sum of weights, (clips,)."""
        variance: FloatArray = self.members @ self.variance
        return variance


def _clusters(recordings: Sequence[Sequence[int]]) -> tuple[_Clusters, _Clusters]:
    """Return the clusters that are added and those that are subtracted, by inclusion and exclusion.

    The clips that contain a set of recordings are a cluster, added for sets of odd size and subtracted for even ones;
    sets with the same clips cancel. Only sets that two clips share are enumerated: the counts of all sets of a clip
    sum to 1, so the cluster of the clip alone gets the rest.
    """
    shared = _shared_sets(recordings)
    first_in: list[list[tuple[int, ...]]] = [[] for _ in recordings]
    for subset, clips in shared.items():
        first_in[clips[0]].append(subset)
    # clusters are in the order in which the sets of the clips, clip by clip, first give them
    count: dict[tuple[int, ...], int] = {(clip,): 1 for clip, of_clip in enumerate(recordings) if not of_clip}
    for clip, of_clip in enumerate(recordings):
        unshared = next(
            (
                subset
                for size in range(1, len(of_clip) + 1)
                for subset in combinations(of_clip, size)
                if subset not in shared
            ),
            None,
        )
        for subset in sorted(
            [*first_in[clip], *([] if unshared is None else [unshared])], key=lambda subset: (len(subset), subset)
        ):
            members = (clip,) if subset == unshared else tuple(shared[subset])
            count[members] = count.get(members, 0) + (1 if len(subset) % 2 else -1)
    rest = [1] * len(recordings)
    for members, times in count.items():
        if len(members) > 1:
            for clip in members:
                rest[clip] -= times
    count.update({members: rest[members[0]] for members in count if len(members) == 1})
    parts = []
    for sign in (1, -1):
        counts = {members: sign * times for members, times in count.items() if sign * times > 0}
        row = np.fromiter((clip for members in counts for clip in members), np.int64)
        column = np.repeat(np.arange(len(counts)), [len(members) for members in counts])
        matrix = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(len(recordings), len(counts)))
        parts.append(_Clusters(matrix, np.array(list(counts.values()), np.float64)))
    return parts[0], parts[1]


def _shared_sets(recordings: Sequence[Sequence[int]]) -> dict[tuple[int, ...], list[int]]:
    """Return every set of recordings that two clips or more contain, and these clips, ascending."""
    shared: dict[tuple[int, ...], list[int]] = {}
    grown: list[list[tuple[int, ...]]] = [[()] for _ in recordings]
    while any(grown):
        # a set is shared only where its subsets are: those of one size grow from those of the size before
        clips_with: dict[tuple[int, ...], list[int]] = {}
        for clip, of_clip in enumerate(recordings):
            for subset in grown[clip]:
                for recording in of_clip:
                    if not subset or (recording > subset[-1] and (*subset[1:], recording) in shared):
                        clips_with.setdefault((*subset, recording), []).append(clip)
        larger = {subset: clips for subset, clips in clips_with.items() if len(clips) > 1}
        grown = [[] for _ in recordings]
        for subset, clips in larger.items():
            for clip in clips:
                grown[clip].append(subset)
        shared |= larger
    return shared


def _weights(clusters: _Clusters, classes: FloatArray, samples: int, rng: np.random.Generator) -> FloatArray:
    """Return (clips, samples): whole numbers, not below 0, with mean GRID, their deviations orthogonal to `classes`."""
    explained = np.square(clusters.members.T @ classes).sum(axis=1)
    share = np.maximum(1 - explained / np.asarray(clusters.members.sum(axis=0)).ravel(), MIN_KEPT)
    scale = np.sqrt(clusters.variance) / share
    drawn = rng.standard_normal((len(clusters.variance), samples)) * scale[:, None]
    deviations = clusters.members @ drawn
    deviations -= classes @ (classes.T @ deviations)
    weights: FloatArray = np.maximum(np.rint(GRID * (1 + STEP * deviations)), 0.0)
    return weights


@dataclass(frozen=True)
class Interval:
    """A value, or a difference of two, and how certain it is.

    Attributes
    ----------
    value : the value or difference
    variances : its variance over recordings, and over trainings (0 where that is unknown)
    freedoms : the degrees of freedom of each
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
        from scipy.optimize import brentq  # a sixth of the time that `score` takes to start

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
        """Return the quantile: between those of Student's t for either variance, by the share of the second."""
        if not sum(self.variances):
            return 0.0
        of_recordings, of_trainings = (stdtrit(freedom, level) for freedom in self.freedoms)
        share = self.variances[1] / sum(self.variances)
        return float(of_recordings + (of_trainings - of_recordings) * share**SHARE_EXPONENT)


def interval_of(value: float, samples: FloatArray, recordings: int) -> Interval | None:
    """Return how certain a value is by its bootstrap samples (samples,), or None where most are undefined.

    Parameters
    ----------
    recordings : number of event recordings that the samples weigh.
    """
    defined = samples[~np.isnan(samples)]
    if len(defined) < max(2, MIN_DEFINED * len(samples)):
        return None
    freedom = max(min(len(defined), recordings) - 1.0, 1.0)
    return Interval(value, (float(np.var(defined, ddof=1)), 0.0), (freedom, 1.0), len(defined))


def bootstrap_interval(
    bootstrap: Bootstrap, values: FloatArray, lowest: float = -np.inf, highest: float = np.inf
) -> tuple[float, float] | None:
    """Return the 95 % interval of a metric, or None where there are no samples or most are undefined.

    Parameters
    ----------
    values : (columns,), the metric under the weights of `bootstrap`.
    lowest, highest : possible values; the interval ends there.
    """
    interval = interval_of(float(values[0]), bootstrap.samples_of(values), bootstrap.recordings)
    return None if interval is None else limited(interval.ends, lowest, highest)


def limited(ends: tuple[float, float], lowest: float, highest: float) -> tuple[float, float]:
    """Return the ends of an interval within the possible values."""
    low, high = np.clip(ends, lowest, highest) + 0.0
    return float(low), float(high)


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
    them count, the difference has no interval.
    """
    value, samples = _mean(first) - _mean(second), _mean_samples(first) - _mean_samples(second)
    interval = _interval(value, samples, [first, second])
    if interval is None:
        return Difference(value, None, float("nan"), int((~np.isnan(samples)).sum()))
    return Difference(value, interval.ends, interval.superiority, interval.resamples)


def _mean(runs: Runs) -> float:
    return float(np.mean([of_fold.values.mean() for of_fold in runs.values()]))


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
    over_recordings = interval.variances[0] - sum(counted_twice for _, counted_twice, _ in seeds)
    over_seeds = sum(variance for variance, _, _ in seeds)
    squares = sum(variance**2 / freedom for variance, _, freedom in seeds if freedom)
    return replace(
        interval,
        variances=(max(over_recordings, 0.0), over_seeds),
        freedoms=(interval.freedoms[0], over_seeds**2 / squares if squares else 1.0),
    )


def _between_seeds(system: Runs, defined: NDArray[np.bool_]) -> tuple[float, float, int]:
    """Return what the seeds of a system add to the variance of its mean, the part of it that the mean's bootstrap
    samples contain too, and the degrees of freedom.
    """
    freedom = sum(len(runs.values) - 1 for runs in system.values())
    if not freedom:
        return 0.0, 0.0, 0
    squares = sum(((runs.values - runs.values.mean()) ** 2).sum() for runs in system.values())
    deviations = [(runs.samples - runs.samples.mean(axis=0))[:, defined] for runs in system.values()]
    interaction = sum(np.var(deviation, axis=1, ddof=1).sum() for deviation in deviations)
    of_mean = sum(1 / len(runs.values) for runs in system.values()) / len(system) ** 2
    return float(squares / freedom * of_mean), float(interaction / freedom * of_mean), freedom
