"""Tagging: what sounds in a clip, whatever the time. Average precision, ROC AUC, lwlrap, F1.

Every function takes `weights` (clips, resamples), how often each clip counts, and returns one value a
resample, so the figure itself (all weights 1) and its bootstrap are the same code. Scores are sorted once; a
resample is then one product with a sparse matrix. Ties are handled at distinct scores, as scikit-learn does.

A class without positives has no average precision: its own figure is undefined (NaN here, null in JSON) and
it is left out of macro means. A class without negatives likewise has no AUC. Micro figures keep the scores of
such a class, which are false alarms like any other. scikit-learn differs only there: it counts a class
without positives as AP 0 with a warning, and macro AUC fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from remixbench.scoring.events import BoolArray, FloatArray, IntArray

AT_ONCE = 32
"""Resamples worked on together; more of them leave the processor's cache and are slower."""


_ROWS = 100_000
_EXACT_HALVES = 2**23
Counted = npt.NDArray[np.floating[Any]]
"""Whole numbers, kept as floats for the sake of sparse products."""


@dataclass(frozen=True)
class Ranking:
    """One list of (target, score) pairs, sorted by falling score; only scores that a positive has are kept.

    Attributes
    ----------
    every : (thresholds, clips) sparse; how many pairs of the clip lie between the last threshold and this one
    positive : the same for pairs whose target is true
    above : the same for pairs whose target is false, those that tie with the threshold counted half here and
    half
        at the next one
    pairs, negatives : (clips,) how many pairs, and how many whose target is false
    thresholds : (thresholds,) the scores, falling
    """

    every: sparse.csr_matrix
    positive: sparse.csr_matrix
    above: sparse.csr_matrix
    pairs: FloatArray
    negatives: FloatArray
    thresholds: FloatArray


def rank(target: BoolArray, score: npt.NDArray[np.floating[Any]], clip: IntArray, clips: int) -> Ranking:
    """Sort pairs for the figures below.

    Parameters
    ----------
    target, score, clip : (pairs,) whether it is so, what the system said, and in which of the `clips` clips
    """
    distinct, level = np.unique(-score, return_inverse=True)
    holds = np.bincount(level, weights=target, minlength=len(distinct)) > 0
    row_of_level: IntArray = np.cumsum(holds) - holds  # the first kept threshold at or below this level
    row: IntArray = row_of_level[level]
    tied, rows = holds[level], int(holds.sum())

    def counts(pairs: BoolArray, at: IntArray, value: float) -> sparse.csr_matrix:
        inside = pairs & (at < rows)
        entries = np.full(int(inside.sum()), value)
        return sparse.csr_matrix((entries, (at[inside], clip[inside])), shape=(rows, clips))

    false = ~target
    above = counts(false & ~tied, row, 1.0) + counts(false & tied, row, 0.5) + counts(false & tied, np.add(row, 1), 0.5)
    negatives = np.bincount(clip[false], minlength=clips).astype(np.float64)
    pairs = np.bincount(clip, minlength=clips).astype(np.float64)
    every = counts(np.ones_like(target), row, 1.0)
    return Ranking(
        every,
        counts(target, row, 1.0),
        sparse.csr_matrix(above),
        pairs,
        negatives,
        -distinct[holds].astype(np.float64),
    )


def rank_classes(weak: BoolArray, scores: FloatArray) -> list[Ranking]:
    """Return one ranking of the clips for each class."""
    clips = np.arange(len(weak))
    return [rank(weak[:, k], scores[:, k], clips, len(weak)) for k in range(weak.shape[1])]


def rank_pairs(weak: BoolArray, scores: FloatArray) -> Ranking:
    """Return the ranking of all (clip, class) pairs together, for micro averages."""
    clip = np.repeat(np.arange(len(weak)), weak.shape[1])
    return rank(weak.reshape(-1), scores.reshape(-1), clip, len(weak))


def average_precision(ranking: Ranking, weights: FloatArray) -> FloatArray:
    """Return Σ (R_n − R_{n−1}) P_n over distinct scores, (resamples,); NaN where nothing is positive."""

    def part(ranking: Ranking, some: Counted) -> FloatArray:
        new = ranking.positive @ some
        precision = divide(_running(new), _running(ranking.every @ some), 0.0)
        return divide((new * precision).sum(axis=0), new.sum(axis=0, dtype=np.float64))

    return _by_parts(part, ranking, weights)


def best_f1(ranking: Ranking, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the greatest F1 over all thresholds and that threshold (the highest one), each (resamples,)."""

    def part(ranking: Ranking, some: Counted) -> FloatArray:
        hits = _running(ranking.positive @ some)
        f1 = divide(2 * hits, _running(ranking.every @ some) + hits[-1], 0.0)
        best = f1.argmax(axis=0)
        none = np.where(hits[-1] > 0, 0.0, np.nan)
        return np.stack((f1[best, np.arange(f1.shape[1])], ranking.thresholds[best])) + none

    best = _by_parts(part, ranking, weights, 2)
    return best[0], best[1]


def area_under_roc(ranking: Ranking, weights: FloatArray) -> FloatArray:
    """Return the probability that a positive outscores a negative, ties counted half, (resamples,)."""

    def part(ranking: Ranking, some: Counted) -> FloatArray:
        new = ranking.positive @ some
        lost = (new * _running(ranking.above @ some)).sum(axis=0)
        pairs = new.sum(axis=0, dtype=np.float64) * (ranking.negatives @ some)
        return divide(pairs - lost, pairs)

    return _by_parts(part, ranking, weights)


def _running(counts: Counted) -> FloatArray:
    """Return sums over thresholds from the highest down."""
    return np.cumsum(counts, axis=0).astype(np.float64)


def _by_parts(
    part: Callable[[Ranking, Counted], FloatArray], ranking: Ranking, weights: FloatArray, rows: int = 1
) -> FloatArray:
    """Apply `part` to a few resamples at a time, as many as stay in a processor's cache.

    Counts are whole or half numbers, which 32-bit floats hold exactly up to 2**23; more than that takes 64
    bits.
    """
    made = np.full((rows, weights.shape[1]), np.nan)
    if not len(ranking.thresholds):
        return made if rows > 1 else made[0]
    counted: Counted = weights
    if float((ranking.pairs @ weights).max()) < _EXACT_HALVES:
        ranking = replace(
            ranking,
            every=ranking.every.astype(np.float32),
            positive=ranking.positive.astype(np.float32),
            above=ranking.above.astype(np.float32),
        )
        counted = weights.astype(np.float32)
    for start in range(0, weights.shape[1], AT_ONCE):
        some = slice(start, start + AT_ONCE)
        made[:, some] = part(ranking, np.ascontiguousarray(counted[:, some]))
    return made if rows > 1 else made[0]


def label_ranking(weak: BoolArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return for each clip the summed precision at the rank of its true labels, and how many there are.

    The ratio of the two sums over clips is lwlrap (label-weighted label-ranking average precision, DCASE 2019
    Task 2).
    """
    clips = len(weak)
    row, column = np.nonzero(weak)
    total = np.zeros(clips)
    for start in range(0, len(row), _ROWS):
        r, c = row[start : start + _ROWS], column[start : start + _ROWS]
        ahead = scores[r] >= scores[r, c][:, None]
        total += np.bincount(r, weights=(ahead & weak[r]).sum(1) / ahead.sum(1), minlength=clips)
    return total, weak.sum(1).astype(np.float64)


def mean_defined(values: FloatArray, axis: int = 0) -> FloatArray:
    """Return the mean over `axis` of the values that are defined; NaN only where none is."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=axis), defined.sum(axis=axis).astype(np.float64))


def divide(above: FloatArray, below: FloatArray, undefined: float = np.nan) -> FloatArray:
    """Return above / below, and `undefined` where below is zero."""
    out: FloatArray = np.full(np.shape(above), undefined)
    return np.divide(above, below, out=out, where=below != 0)
