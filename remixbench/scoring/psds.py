"""PSDS (Bilen et al. 2020), exact over all thresholds as Ebbers et al. 2022 define it, with resampled clips.

A detection is relevant if at least `dtc` of it lies on true events of its class; else it is a false alarm,
and also a cross trigger of every other class whose events cover at least `cttc` of it. A true event is found
if relevant detections cover at least `gtc` of it. For each class the found share is drawn over the effective
false alarm rate, false alarms an hour plus `alpha_ct` times the mean over the other classes of cross triggers
an hour of their sound. PSDS is the area under the mean of these staircases less `alpha_st` times their
standard deviation, not below 0, up to 100 false alarms an hour, over 100.

Lengths are whole microseconds. A class without events in the fold takes no part, neither as a class nor as
one to be triggered. With that the figures equal those of sed_scores_eval, which refuses such a class, and
those of psds_eval when it is given every threshold, to 1e-9; with 50 thresholds psds_eval underestimates
(0.302 for 0.310 on 200 clips). With a single class there is nothing to trigger: PSDS 2 counts no cross
triggers, where sed_scores_eval fails and psds_eval gives 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from remixbench.scoring.bootstrap import Figures
from remixbench.scoring.events import FloatArray, IntArray
from remixbench.scoring.psds_points import MAX_RATE, Criteria, Curve, Truth
from remixbench.scoring.reference import Reference
from remixbench.scoring.tagging import divide

PSDS = {
    "psds1": Criteria(dtc=0.7, gtc=0.7, cttc=0.3, alpha_ct=0.0, alpha_st=1.0),
    "psds2": Criteria(dtc=0.1, gtc=0.1, cttc=0.3, alpha_ct=0.5, alpha_st=1.0),
}


def psds_figures(
    name: str,
    criteria: Criteria,
    reference: Reference,
    truth: Truth,
    made: list[Curve],
    weights: FloatArray,
) -> Figures:
    """Return PSDS `name` and the area under the staircase of each class, for weights (clips, resamples).

    Undefined (NaN) for a class, or a resample, without true events.
    """
    classes = len(reference.classes)
    each = np.full((classes, weights.shape[1]), np.nan)
    overall = np.full(weights.shape[1], np.nan)
    labels = np.unique(truth.label)
    widest = max((curve.found.shape[0] for curve in made), default=1)
    at_once = max(1, min(128, 8_000_000 // max(1, widest)))
    for start in range(0, weights.shape[1], at_once):
        part = slice(start, start + at_once)
        if made:
            each[labels, part], overall[part] = _areas(criteria, reference, truth, labels, made, weights[:, part])
    return {name: overall, f"per_class_{name}": each}


def _areas(
    criteria: Criteria,
    reference: Reference,
    truth: Truth,
    labels: IntArray,
    made: list[Curve],
    weights: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    weights = np.ascontiguousarray(weights)
    hours = reference.durations @ weights / 3600
    by_class = sparse.csr_matrix((np.ones(len(truth.label)), (truth.label, np.arange(len(truth.label)))))
    on_pairs = weights[truth.clip]
    events = by_class @ (on_pairs * truth.events[:, None])
    sound = by_class @ (on_pairs * truth.seconds[:, None]) / 3600
    taking_part = events[labels] > 0
    classes = taking_part.sum(0)
    crossing = divide(on_pairs, sound[truth.label], 0.0)
    areas = np.full((len(labels), weights.shape[1]), np.nan)
    rates: list[FloatArray] = []
    rises: list[FloatArray] = []
    squares: list[FloatArray] = []
    for k, (label, curve) in enumerate(zip(labels, made, strict=True)):
        share, rate = _staircase(curve, criteria, weights, crossing, hours, np.maximum(classes - 1, 1))
        share = np.where(taking_part[k], divide(share, np.broadcast_to(events[label], share.shape)), 0.0)
        order = np.argsort(rate, axis=1)
        rate = np.minimum(np.take_along_axis(rate, order, 1), MAX_RATE)
        share = np.maximum.accumulate(np.take_along_axis(share.T, order, 1), axis=1)
        width = np.diff(rate, axis=1, append=MAX_RATE)
        areas[k] = np.where(taking_part[k], (share * width).sum(1) / MAX_RATE, np.nan)
        rates.append(rate)
        rises.append(np.diff(share, axis=1, prepend=0.0))
        squares.append(np.diff(share**2, axis=1, prepend=0.0))
    rate, rise, square = (np.concatenate(parts, axis=1) for parts in (rates, rises, squares))
    order = np.argsort(rate, axis=1)
    rate = np.take_along_axis(rate, order, 1)
    number = np.maximum(classes, 1)[:, None]
    mean = np.cumsum(np.take_along_axis(rise, order, 1), axis=1) / number
    variance = np.cumsum(np.take_along_axis(square, order, 1), axis=1) / number - mean**2
    # Shares are fractions of whole events, so a variance this small is rounding of zero.
    spread = np.sqrt(np.where(variance > 1e-13, variance, 0.0))
    height = np.maximum(mean - criteria.alpha_st * spread, 0.0)
    area = (height * np.diff(rate, axis=1, append=MAX_RATE)).sum(1) / MAX_RATE
    return areas, np.where(classes > 0, area, np.nan)


def _staircase(
    curve: Curve,
    criteria: Criteria,
    weights: FloatArray,
    crossing: FloatArray,
    hours: FloatArray,
    others: npt.NDArray[np.int64],
) -> tuple[FloatArray, FloatArray]:
    """Return found events (steps, resamples) and the lowest effective rate (resamples, steps) for them.

    Between two changes of what is found only the lowest rate matters, so a step is a run of such points.
    """
    if not curve.found.shape[0]:
        return np.zeros((1, weights.shape[1])), np.zeros((weights.shape[1], 1))
    first = np.diff(curve.found.indptr) > 0
    first[0] = True
    opening = np.flatnonzero(first)
    rate = np.cumsum(curve.false @ weights, axis=0) / hours
    if criteria.alpha_ct > 0:
        rate += criteria.alpha_ct * np.cumsum(curve.crossed @ crossing, axis=0) / others
    lowest = np.minimum.reduceat(rate, opening, axis=0)
    found = np.cumsum(curve.found[opening] @ weights, axis=0)
    return found, np.ascontiguousarray(np.maximum(lowest, 0.0).T)
