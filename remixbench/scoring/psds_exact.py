"""PSDS (Bilen et al. 2020), exact over all thresholds as Ebbers et al. 2022 define it, with bootstrap samples of clips.

A detection is relevant if at least `dtc` of it lies on reference events of its class; else it is a false alarm,
and also a cross trigger of every other class whose events cover at least `cttc` of it. A reference event is found
if relevant detections cover at least `gtc` of it. For each class the found share is drawn over the effective
false positive rate, false alarms per hour plus `alpha_ct` times the mean over the other classes of cross triggers
per hour of their events. PSDS is the area under the mean of these staircases less `alpha_st` times their
standard deviation, not below 0, up to `max_efpr` per hour, over `max_efpr`.

Lengths are whole microseconds. A class without events in the fold takes no part, neither as a class nor as
one to be triggered. With that the values equal those of sed_scores_eval, which refuses such a class, and
those of psds_eval when it is given every threshold, to 1e-9; with 50 thresholds psds_eval underestimates
(0.302 for 0.310 on 200 clips). With a single class there is nothing to trigger: PSDS 2 counts no cross
triggers, where sed_scores_eval fails and psds_eval gives 0.

How it is computed: as the threshold falls, detections appear at a frame's score and vanish when they grow into a
longer one, at the higher of the two scores beside them. A sequence of T frames thus has at most T different detections
over all thresholds (`Detections`), and counting each once where it appears and once where it vanishes is exact. Kept
apart by clip (`Curve`), the counts of any bootstrap sample are one sparse product away.

In a bootstrap sample, thresholds at which the whole fold has over twice the largest rate (and ten) are passed over:
they could matter only if a sample held less than half of the false alarms. The value itself is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from remixbench.scoring.postprocessing import POSTPROCESSINGS, median_filtered
from remixbench.scoring.types import (
    FloatArray,
    Inputs,
    IntArray,
    MetricValues,
    Reference,
    ScoreArray,
    divide,
    expand,
    merge_events,
    metric_name,
    microseconds,
    select_class,
)


@dataclass(frozen=True)
class Criteria:
    """The criteria of PSDS.

    Attributes
    ----------
    dtc, gtc, cttc : detection, ground truth and cross-trigger tolerance criterion, shares in [0, 1]
    alpha_ct, alpha_st : weight of cross triggers (0 for none) and of the standard deviation over classes
    max_efpr : effective false positives per hour up to which the area is taken
    """

    dtc: float
    gtc: float
    cttc: float
    alpha_ct: float
    alpha_st: float
    max_efpr: float = 100.0


_SCENARIOS = {
    "psds1": Criteria(dtc=0.7, gtc=0.7, cttc=0.3, alpha_ct=0.0, alpha_st=1.0),
    "psds2": Criteria(dtc=0.1, gtc=0.1, cttc=0.3, alpha_ct=0.5, alpha_st=1.0),
}
NO_SPREAD = "alpha_st 0"


def of_variant(variant: str = "") -> dict[str, Criteria]:
    """Return the two scenarios of DCASE Task 4, each with and without the penalty for spread over classes.

    Where systems find some classes and not others, the penalty exceeds the mean, and PSDS is 0 for all of them. Their
    names are those of the metrics of a variant, such as "median": `psds1[median]`, `psds1[median alpha_st 0]`.
    """
    return {metric_name(name, variant): criteria for name, criteria in _SCENARIOS.items()} | {
        metric_name(name, f"{variant} {NO_SPREAD}".strip()): replace(criteria, alpha_st=0.0)
        for name, criteria in _SCENARIOS.items()
    }


PSDS = of_variant()
DetectionsOfClass = Callable[[int], "Detections"]


def psds_metrics(inputs: Inputs, weights: FloatArray) -> MetricValues:
    """Return PSDS of frame scores as they are and median-filtered, for weights (clips, samples); {} without any."""
    scores, edges = inputs.predictions.frame_scores, inputs.predictions.frame_edges
    if scores is None or edges is None:
        return MetricValues()
    values = psds_of_scores(inputs.reference, scores, edges, weights)
    filtered = median_filtered(scores, edges, POSTPROCESSINGS["median"].median_filter)
    values.update(psds_of_scores(inputs.reference, filtered, edges, weights, of_variant("median")))
    return values


def psds_of_scores(
    reference: Reference,
    scores: ScoreArray,
    frame_edges: FloatArray,
    weights: FloatArray,
    criteria: Mapping[str, Criteria] = PSDS,
) -> MetricValues:
    """Return PSDS of frame scores by several criteria, and the area under the staircase of each class.

    Parameters
    ----------
    scores : (clips, frames, classes)
    frame_edges : (frames + 1,) seconds, or (clips, frames + 1) where clips have frames of their own; see `padded`.
    weights : (clips, samples)
    criteria : by the name of the metric.
    """
    return psds_of_detections(
        reference,
        lambda label: detections_of(np.ascontiguousarray(scores[:, :, label].T)),
        frame_edges,
        weights,
        criteria,
    )


def psds_of_detections(
    reference: Reference,
    detections: DetectionsOfClass,
    edges: FloatArray,
    weights: FloatArray,
    criteria: Mapping[str, Criteria] = PSDS,
) -> MetricValues:
    """Return PSDS of the detections of each class; one class at a time is in memory.

    Parameters
    ----------
    detections : returns those of a class, by its column in the reference.
    edges, weights, criteria : as in `psds_of_scores`; detections begin and end at these edges.
    """
    reference = replace(reference, events=merge_events(reference.events))
    # criteria that differ in the weight of the spread over classes alone share their staircases
    alphas: dict[Criteria, dict[str, float]] = {}
    for name, parameters in criteria.items():
        alphas.setdefault(replace(parameters, alpha_st=0.0), {})[name] = parameters.alpha_st
    limit = 2 * max(parameters.max_efpr for parameters in alphas) * reference.durations.sum() / 3600 + 10
    grid = _grid(edges, len(reference.filenames))
    pairs = reference_pairs(reference, grid)
    staircases: dict[Criteria, list[Curve]] = {parameters: [] for parameters in alphas}
    for label in np.unique(pairs.label).tolist():
        of_class = detections(label)
        for parameters, curves in staircases.items():
            curves.append(_curve(reference, pairs, of_class, grid, label, parameters, limit))
    values = MetricValues()
    for parameters, curves in staircases.items():
        values.update(_values(parameters, alphas[parameters], reference, pairs, curves, weights))
    return values


def padded(clips: Sequence[tuple[FloatArray, FloatArray]], fill: float = -1.0) -> tuple[FloatArray, FloatArray]:
    """Return scores (clips, frames, classes) and edges (clips, frames + 1) of clips with frames of their own.

    Each of `clips` has its edges (frames + 1,) and scores (frames, classes). Shorter clips get frames of no length
    whose score `fill` is below all others, which add no time to any detection.
    """
    frames = max(len(scores) for _, scores in clips)
    edges = np.stack([np.pad(grid, (0, frames + 1 - len(grid)), mode="edge") for grid, _ in clips])
    scores = np.stack(
        [np.pad(scores, ((0, frames - len(scores)), (0, 0)), constant_values=fill) for _, scores in clips]
    )
    return scores, edges


def _values(
    criteria: Criteria,
    alphas: Mapping[str, float],
    reference: Reference,
    pairs: ReferencePairs,
    staircases: list[Curve],
    weights: FloatArray,
) -> MetricValues:
    """Return PSDS and the area under the staircase of each class, for weights (clips, samples).

    Undefined (NaN) for a class, or a bootstrap sample, without reference events. `alphas` has the weight of the spread
    over classes for each metric.
    """
    samples = weights.shape[1]
    by_class = np.full((len(reference.classes), samples), np.nan)
    overall = {name: np.full(samples, np.nan) for name in alphas}
    labels = np.unique(pairs.label)
    widest = max((curve.false.shape[0] for curve in staircases), default=1)
    at_once = max(1, min(128, 8_000_000 // max(1, widest)))
    for start in range(0, samples, at_once):
        part = slice(start, start + at_once)
        if staircases:
            areas, values = _areas(criteria, alphas, reference, pairs, labels, staircases, weights[:, part])
            by_class[labels, part] = areas
            for name, value in values.items():
                overall[name][part] = value
    return MetricValues(overall, dict.fromkeys(alphas, by_class))


def _areas(
    criteria: Criteria,
    alphas: Mapping[str, float],
    reference: Reference,
    pairs: ReferencePairs,
    labels: IntArray,
    staircases: list[Curve],
    weights: FloatArray,
) -> tuple[FloatArray, dict[str, FloatArray]]:
    weights = np.ascontiguousarray(weights)
    hours = reference.durations @ weights / 3600
    by_class = sparse.csr_matrix((np.ones(len(pairs.label)), (pairs.label, np.arange(len(pairs.label)))))
    on_pairs = weights[pairs.clip]
    events = by_class @ (on_pairs * pairs.events[:, None])
    active = by_class @ (on_pairs * pairs.seconds[:, None]) / 3600
    taking_part = events[labels] > 0
    classes = taking_part.sum(0)
    crossing = divide(on_pairs, active[pairs.label], 0.0)
    areas = np.full((len(labels), weights.shape[1]), np.nan)
    rates: list[FloatArray] = []
    rises: list[FloatArray] = []
    squares: list[FloatArray] = []
    for k, (label, curve) in enumerate(zip(labels, staircases, strict=True)):
        share, rate = _staircase(curve, criteria, weights, crossing, hours, np.maximum(classes - 1, 1))
        share = np.where(taking_part[k], divide(share, np.broadcast_to(events[label], share.shape)), 0.0)
        order = np.argsort(rate, axis=1)
        rate = np.minimum(np.take_along_axis(rate, order, 1), criteria.max_efpr)
        share = np.maximum.accumulate(np.take_along_axis(share.T, order, 1), axis=1)
        width = np.diff(rate, axis=1, append=criteria.max_efpr)
        areas[k] = np.where(taking_part[k], (share * width).sum(1) / criteria.max_efpr, np.nan)
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
    width = np.diff(rate, axis=1, append=criteria.max_efpr)
    overall = {}
    for name, alpha_st in alphas.items():
        height = np.maximum(mean - alpha_st * spread, 0.0)
        overall[name] = np.where(classes > 0, (height * width).sum(1) / criteria.max_efpr, np.nan)
    return areas, overall


def _staircase(
    curve: Curve,
    criteria: Criteria,
    weights: FloatArray,
    crossing: FloatArray,
    hours: FloatArray,
    others: npt.NDArray[np.int64],
) -> tuple[FloatArray, FloatArray]:
    """Return found events (steps, samples) and the lowest effective rate (samples, steps) for them.

    Between two changes of what is found only the lowest rate matters, so a step is a run of such points.
    """
    if not len(curve.opening):
        return np.zeros((1, weights.shape[1])), np.zeros((weights.shape[1], 1))
    rate = np.cumsum(curve.false @ weights, axis=0) / hours
    if criteria.alpha_ct > 0:
        rate += criteria.alpha_ct * np.cumsum(curve.crossed @ crossing, axis=0) / others
    lowest = np.minimum.reduceat(rate, curve.opening, axis=0)
    detected = np.cumsum(curve.detected @ weights, axis=0)
    return detected, np.ascontiguousarray(np.maximum(lowest, 0.0).T)


@dataclass(frozen=True)
class Curve:
    """How counts of one class change as the threshold falls.

    Attributes
    ----------
    opening : (steps,) the change points at which another number of events is found, and the first of all
    detected : (steps, clips) sparse; change of found events at these
    false : (points, clips) sparse; change of false alarms at every change point
    crossed : (points, pairs) sparse; change of cross triggers of each other class in each clip (`ReferencePairs`)
    """

    opening: IntArray
    detected: sparse.csr_matrix
    false: sparse.csr_matrix
    crossed: sparse.csr_matrix


@dataclass(frozen=True)
class ReferencePairs:
    """Reference events by pairs of clip and class that have any, in the order of clip and class.

    Attributes
    ----------
    clip, label : (pairs,)
    seconds : (pairs,) how long the class is active in the clip
    events : (pairs,) how many events it has there
    cover : (pairs, frames + 1) microseconds of it before each frame edge
    first : (clips + 1,) the first pair of each clip
    """

    clip: IntArray
    label: IntArray
    seconds: FloatArray
    events: FloatArray
    cover: IntArray
    first: IntArray


def reference_pairs(reference: Reference, grid: IntArray) -> ReferencePairs:
    """Return the reference events by pairs of clip and class; those of one class in one clip must not overlap.

    Parameters
    ----------
    grid : (clips, frames + 1) microseconds of the frame edges.
    """
    events = reference.events
    clips, classes = reference.weak.shape
    keys, pair = np.unique(events.clip * classes + events.label, return_inverse=True)
    onset, offset = microseconds(events.onset), microseconds(events.offset)
    cover = np.zeros((len(keys), grid.shape[1]), np.int64)
    np.add.at(cover, pair, np.clip(grid[events.clip] - onset[:, None], 0, (offset - onset)[:, None]))
    clip = keys // classes
    length = np.bincount(pair, weights=events.offset - events.onset, minlength=len(keys)).astype(np.float64)
    number = np.bincount(pair, minlength=len(keys)).astype(np.float64)
    return ReferencePairs(clip, keys % classes, length, number, cover, np.searchsorted(clip, np.arange(clips + 1)))


def _grid(edges: FloatArray, clips: int) -> IntArray:
    """Return the frame edges of each clip in microseconds, (clips, frames + 1)."""
    return np.broadcast_to(microseconds(edges), (clips, edges.shape[-1]))


def _curve(
    reference: Reference,
    pairs: ReferencePairs,
    detections: Detections,
    grid: IntArray,
    label: int,
    criteria: Criteria,
    limit: float,
) -> Curve:
    clips, levels = len(reference.filenames), len(detections.scores)
    length = grid[detections.clip, detections.stop] - grid[detections.clip, detections.start]
    pair_of = np.full(clips, -1)
    of_class = np.flatnonzero(pairs.label == label)
    pair_of[pairs.clip[of_class]] = of_class
    at = pair_of[detections.clip]
    relevant = np.zeros(len(length), bool)
    active = np.flatnonzero(at >= 0)
    relevant[active] = _overlap(pairs, at[active], detections, active) >= np.rint(criteria.dtc * length[active])
    if criteria.dtc <= 0:
        relevant[:] = True
    false_alarms = np.flatnonzero(~relevant)

    alarms = np.bincount(detections.birth[false_alarms], minlength=levels + 1)
    alarms -= np.bincount(detections.death[false_alarms], minlength=levels + 1)
    within_limit = np.cumsum(alarms[:-1]) <= limit
    # Changes at levels that are passed over are added to the next one that is kept.
    row = np.concatenate((np.cumsum(within_limit) - within_limit, [int(within_limit.sum())]))
    rows = int(within_limit.sum())

    false = _changes(row, rows, detections, false_alarms, detections.clip[false_alarms], clips)
    detected = _detected_events(reference, detections, grid, label, np.flatnonzero(relevant), criteria, row, rows)
    crossed = sparse.csr_matrix((rows, len(pairs.clip)))
    if criteria.alpha_ct > 0:
        # The last row that is kept bounds what has to be looked at.
        false_alarms = false_alarms[row[detections.birth[false_alarms]] < rows]
        ways = pairs.first[detections.clip[false_alarms]]
        until = pairs.first[detections.clip[false_alarms] + 1]
        detection, pair = expand(ways, until)
        other = pairs.label[pair] != label
        detection, pair = false_alarms[detection[other]], pair[other]
        hit = _overlap(pairs, pair, detections, detection) >= np.rint(criteria.cttc * length[detection])
        crossed = _changes(row, rows, detections, detection[hit], pair[hit], len(pairs.clip))
    busy = np.flatnonzero(sum(np.diff(matrix.indptr) for matrix in (false, detected, crossed)))
    detected = detected[busy]
    changing = np.diff(detected.indptr) > 0
    changing[:1] = True
    opening = np.flatnonzero(changing)
    return Curve(opening, detected[opening], false[busy], crossed[busy])


def _overlap(pairs: ReferencePairs, pair: IntArray, detections: Detections, detection: IntArray) -> IntArray:
    """Return for how many microseconds of each detection each pair's class is active."""
    cover = pairs.cover.reshape(-1)
    base = pair * pairs.cover.shape[1]
    overlap: IntArray = cover[base + detections.stop[detection]] - cover[base + detections.start[detection]]
    return overlap


def _changes(
    row: IntArray, rows: int, detections: Detections, detection: IntArray, column: IntArray, columns: int
) -> sparse.csr_matrix:
    """Return (rows, columns): +1 where each of the detections appears, -1 where it vanishes."""
    at = np.concatenate((row[detections.birth[detection]], row[detections.death[detection]]))
    sign = np.repeat([1.0, -1.0], len(detection))
    return _matrix(at, np.concatenate((column, column)), sign, rows, columns)


def _matrix(row: IntArray, column: IntArray, value: FloatArray, rows: int, columns: int) -> sparse.csr_matrix:
    inside = row < rows
    matrix = sparse.csr_matrix((value[inside], (row[inside], column[inside])), shape=(rows, columns))
    matrix.eliminate_zeros()
    return matrix


def _detected_events(
    reference: Reference,
    detections: Detections,
    grid: IntArray,
    label: int,
    relevant: IntArray,
    criteria: Criteria,
    row: IntArray,
    rows: int,
) -> sparse.csr_matrix:
    """Return (rows, clips): how many reference events become found, less those no longer found."""
    events = select_class(reference.events, label)
    onset, offset = microseconds(events.onset), microseconds(events.offset)
    clip = detections.clip[relevant]
    detection, event = expand(np.searchsorted(events.clip, clip), np.searchsorted(events.clip, clip, "right"))
    detection = relevant[detection]
    clip = detections.clip[detection]
    overlap = np.minimum(grid[clip, detections.stop[detection]], offset[event])
    overlap -= np.maximum(grid[clip, detections.start[detection]], onset[event])
    touching = overlap > 0
    detection, event, overlap = detection[touching], event[touching], overlap[touching]

    level = np.concatenate((detections.birth[detection], detections.death[detection]))
    amount = np.concatenate((overlap, -overlap))
    event = np.concatenate((event, event))
    order = np.lexsort((level, event))
    level, amount, event = level[order], amount[order], event[order]
    # Each event's changes sum to what never vanishes; its own sum starts again at zero.
    total = np.cumsum(amount)
    opening = np.concatenate(([True], event[1:] != event[:-1]))[: len(event)]
    before = (total - amount)[opening]
    covered = total - np.repeat(before, np.diff(np.concatenate((np.flatnonzero(opening), [len(event)]))))
    closing = np.concatenate(((event[1:] != event[:-1]) | (level[1:] != level[:-1]), [True]))[: len(event)]
    level, event, covered = level[closing], event[closing], covered[closing]
    met = (covered >= np.rint(criteria.gtc * (offset - onset))[event]).astype(np.float64)
    same = np.concatenate(([False], event[1:] == event[:-1]))[: len(event)]
    change = met - np.where(same, np.concatenate(([0.0], met[:-1]))[: len(met)], 0.0)
    return _matrix(row[level], events.clip[event], change, rows, len(reference.filenames))


Indices = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Detections:
    """Detections of one class in many clips over all thresholds; level 0 is the highest score of the class.

    Attributes
    ----------
    scores : (levels,) distinct scores, falling; at level i everything that scores at least scores[i] is on
    clip : (detections,) the clip of each
    start, stop : (detections,) its first frame, and the frame after its last
    birth, death : (detections,) the level at which it appears, and that at which it has become part of a longer one;
        the number of levels where that never happens
    """

    scores: ScoreArray
    clip: IntArray
    start: Indices
    stop: Indices
    birth: IntArray
    death: IntArray


def detections_of(scores: ScoreArray) -> Detections:
    """Return the detections at all thresholds of scores (frames, clips) of one class.

    A clip whose score is constant has one, from its start to its end; most clips of most classes do, in large data
    sets.
    """
    frames = len(scores)
    lowest, highest = scores.min(axis=0), scores.max(axis=0)
    varying, constant = np.flatnonzero(lowest < highest), np.flatnonzero(lowest == highest)
    before, after, kept = _bounds(np.ascontiguousarray(scores[:, varying]))
    distinct, rising = np.unique(
        np.concatenate((scores[:, varying].reshape(-1), lowest[constant])), return_inverse=True
    )
    falling = len(distinct) - 1 - rising
    of_varying, of_constant = np.split(falling, [frames * len(varying)])
    level = np.full((frames + 2, len(varying)), len(distinct))
    level[1:-1] = of_varying.reshape(frames, len(varying))
    start, column = np.nonzero(kept)
    left, right = before[start, column], after[start, column]
    once = np.ones(len(constant), np.int32)
    return Detections(
        distinct[::-1],
        np.concatenate((varying[column], constant)),
        np.concatenate((left, once * 0)),
        np.concatenate((right - 1, once * np.int32(frames))),
        np.concatenate((level[start + 1, column], of_constant)),
        np.concatenate((np.minimum(level[left, column], level[right, column]), np.full(len(constant), len(distinct)))),
    )


def _bounds(scores: ScoreArray) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
    """Return for each frame the nearest lower one before and after it, and whether it stands for its detection.

    Frames are numbered from 1; 0 and frames + 1 stand for the ends. Of frames with one score in one detection
    the last stands for it (only its bounds are right). All sequences go through the stack algorithm side by
    side.
    """
    frames, clips = scores.shape
    values = np.concatenate((np.full((1, clips), -np.inf, scores.dtype), scores)).reshape(-1)
    before = np.zeros((frames + 1) * clips, np.int32)
    after = np.full((frames + 1) * clips, frames + 1, np.int32)
    kept = np.ones((frames + 1) * clips, bool)
    for frame in range(1, frames + 1):
        position = np.arange(frame * clips, (frame + 1) * clips)
        value = values[position]
        candidate = position - clips  # the nearest frame before that may be lower
        candidate_value = values[candidate]
        before[position] = frame - 1
        # Go back over frames that are not lower until each sequence has met one that is.
        open_ = np.flatnonzero(candidate_value >= value)
        while len(open_):
            passed, level = candidate[open_], value[open_]
            equal = candidate_value[open_] == level
            kept[passed[equal]] = False
            after[passed[~equal]] = frame
            back = before[passed] * np.int64(clips) + open_
            candidate[open_] = back
            before[position[open_]] = before[passed]
            candidate_value[open_] = values[back]
            open_ = open_[candidate_value[open_] >= level]
    shape = (frames + 1, clips)
    return before.reshape(shape)[1:], after.reshape(shape)[1:], kept.reshape(shape)[1:]
