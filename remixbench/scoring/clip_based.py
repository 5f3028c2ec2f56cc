"""Tagging: which classes occur in a clip, whatever the time. Average precision, ROC AUC, lwlrap, F1.

Every function takes `weights` (clips, samples), how often each clip counts in each bootstrap sample, and returns one
value per sample, so the metric itself (all weights 1) and its bootstrap are the same code. Scores are sorted once; a
bootstrap sample is then one product with a sparse matrix. Ties are handled at distinct scores, as scikit-learn does.

A class without positives has no average precision: its own value is undefined (NaN here, null in JSON) and
it is left out of macro means. A class without negatives likewise has no AUC. Micro averages keep the scores of
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

from remixbench.scoring.detection import KONG_THRESHOLD, Counts, active_frames, f1_values, kong_mean_f1
from remixbench.scoring.types import (
    BoolArray,
    FloatArray,
    Inputs,
    IntArray,
    MetricValues,
    Reference,
    divide,
    mean_defined,
)

TAGGING_THRESHOLD = 0.5

AT_ONCE = 32
"""Bootstrap samples worked on together; more of them leave the processor's cache and are slower."""
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
    above : the same for pairs whose target is false, those that tie with the threshold counted half here and half at
        the next one
    pairs, negatives : (clips,) how many pairs, and how many whose target is false
    thresholds : (thresholds,) the scores, falling
    """

    every: sparse.csr_matrix
    positive: sparse.csr_matrix
    above: sparse.csr_matrix
    pairs: FloatArray
    negatives: FloatArray
    thresholds: FloatArray


def tagging_metrics(inputs: Inputs, weights: FloatArray) -> MetricValues:
    """Return the metrics of clip scores for weights (clips, samples); {} without clip scores."""
    weak, scores = inputs.reference.weak, inputs.predictions.clip_scores
    if scores is None:
        return MetricValues()
    pairs = rank_pairs(weak, scores)
    rankings = rank_classes(weak, scores)
    ap = np.stack([ranked_average_precision(ranking, weights) for ranking in rankings])
    auc = np.stack([area_under_roc(ranking, weights) for ranking in rankings])
    best, threshold = best_f1(pairs, weights)
    precision_sums, labels = label_precisions(weak, scores)
    values = MetricValues(
        {
            "micro_ap": ranked_average_precision(pairs, weights),
            "macro_ap": mean_defined(ap),
            "macro_auc": mean_defined(auc),
            "lwlrap": divide(precision_sums @ weights, labels @ weights),
            "tagging_f1_oracle": best,
            "tagging_f1_oracle_threshold": threshold,
            "tagging_f1_macro[kong]": kong_mean_f1(_tag_counts(weak, scores, KONG_THRESHOLD), weights),
        },
        {"ap": ap, "auc": auc},
    )
    values.update(f1_values("tagging_f1", _tag_counts(weak, scores, TAGGING_THRESHOLD), weights))
    return values


def micro_ap_by_snr(reference: Reference, scores: FloatArray) -> dict[str, float]:
    """Return micro-AP over the clips of each bin of SNRs; NaN where no class occurs in them."""
    pairs = rank_pairs(reference.weak, scores)
    return {
        name: float(ranked_average_precision(pairs, clips[:, None].astype(np.float64))[0])
        for name, clips in reference.snr_bins.items()
    }


def _tag_counts(weak: BoolArray, scores: FloatArray, threshold: float) -> Counts:
    detected = (scores >= threshold).astype(np.float64)
    return Counts(detected * weak, weak.astype(np.float64), detected)


def frame_average_precision(inputs: Inputs, weights: FloatArray) -> MetricValues:
    """Return the average precision of frames, its mean over classes and that of each class; {} without frame scores.

    One class is sorted at a time, so memory is that of one class. `weights` are (clips, samples).
    """
    scores, edges = inputs.predictions.frame_scores, inputs.predictions.frame_edges
    if scores is None or edges is None:
        return MetricValues()
    clips, frames, classes = scores.shape
    clip = np.repeat(np.arange(clips), frames)
    active = active_frames(inputs.reference.events, edges, clips, classes)
    by_class = np.empty((classes, weights.shape[1]))
    for k in range(classes):
        ranking = rank(active[:, :, k].reshape(-1), scores[:, :, k].reshape(-1), clip, clips)
        by_class[k] = ranked_average_precision(ranking, weights)
    return MetricValues({"frame_ap": mean_defined(by_class)}, {"frame_ap": by_class})


def rank(target: BoolArray, score: npt.NDArray[np.floating[Any]], clip: IntArray, clips: int) -> Ranking:
    """Sort pairs for the metrics below.

    Parameters
    ----------
    target, score, clip : (pairs,) whether the class occurs, the system's score, and in which of the `clips` clips
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
        every, counts(target, row, 1.0), sparse.csr_matrix(above), pairs, negatives, -distinct[holds].astype(np.float64)
    )


def rank_classes(weak: BoolArray, scores: FloatArray) -> list[Ranking]:
    """Return one ranking of the clips for each class."""
    clips = np.arange(len(weak))
    return [rank(weak[:, k], scores[:, k], clips, len(weak)) for k in range(weak.shape[1])]


def rank_pairs(weak: BoolArray, scores: FloatArray) -> Ranking:
    """Return the ranking of all (clip, class) pairs together, for micro averages."""
    clip = np.repeat(np.arange(len(weak)), weak.shape[1])
    return rank(weak.reshape(-1), scores.reshape(-1), clip, len(weak))


def ranked_average_precision(ranking: Ranking, weights: FloatArray) -> FloatArray:
    """Return Σ (R_n − R_{n−1}) P_n over distinct scores, (samples,); NaN where nothing is positive."""

    def part(ranking: Ranking, counted: Counted) -> FloatArray:
        new = ranking.positive @ counted
        precision = divide(_running(new), _running(ranking.every @ counted), 0.0)
        return divide((new * precision).sum(axis=0), new.sum(axis=0, dtype=np.float64))

    return _in_blocks(part, ranking, weights)


def best_f1(ranking: Ranking, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the greatest F1 over all thresholds and that threshold (the highest one), each (samples,)."""

    def part(ranking: Ranking, counted: Counted) -> FloatArray:
        tp = _running(ranking.positive @ counted)
        f1 = divide(2 * tp, _running(ranking.every @ counted) + tp[-1], 0.0)
        best = f1.argmax(axis=0)
        none = np.where(tp[-1] > 0, 0.0, np.nan)
        return np.stack((f1[best, np.arange(f1.shape[1])], ranking.thresholds[best])) + none

    best = _in_blocks(part, ranking, weights, 2)
    return best[0], best[1]


def area_under_roc(ranking: Ranking, weights: FloatArray) -> FloatArray:
    """Return the probability that a positive outscores a negative, ties counted half, (samples,)."""

    def part(ranking: Ranking, counted: Counted) -> FloatArray:
        new = ranking.positive @ counted
        lost = (new * _running(ranking.above @ counted)).sum(axis=0)
        pairs = new.sum(axis=0, dtype=np.float64) * (ranking.negatives @ counted)
        return divide(pairs - lost, pairs)

    return _in_blocks(part, ranking, weights)


def _running(counts: Counted) -> FloatArray:
    """Return sums over thresholds from the highest down."""
    return np.cumsum(counts, axis=0).astype(np.float64)


def _in_blocks(
    part: Callable[[Ranking, Counted], FloatArray], ranking: Ranking, weights: FloatArray, rows: int = 1
) -> FloatArray:
    """Apply `part` to a few bootstrap samples at a time, as many as stay in a processor's cache.

    Counts are whole or half numbers, which 32-bit floats hold exactly up to 2**23; more than that takes 64
    bits.
    """
    values = np.full((rows, weights.shape[1]), np.nan)
    if not len(ranking.thresholds):
        return values if rows > 1 else values[0]
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
        samples = slice(start, start + AT_ONCE)
        values[:, samples] = part(ranking, np.ascontiguousarray(counted[:, samples]))
    return values if rows > 1 else values[0]


def label_precisions(weak: BoolArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return for each clip the summed precision at the rank of its labels, and how many labels it has.

    The quotient of the two sums over clips is lwlrap (label-weighted label-ranking average precision, DCASE 2019
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
