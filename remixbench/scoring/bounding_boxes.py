"""Sound event bounding boxes (SEBBs; Ebbers, Germain, Wichern, Le Roux, Interspeech 2024): extent without confidence.

A box has an onset, an offset and one confidence. A threshold on confidences chooses boxes and never moves their ends,
as a threshold on frame scores does. Boxes are found class by class by the changes of frame scores, as that paper
describes it; details that it leaves open are ours:

1. The change at a frame edge is the mean score of the `step` / 2 seconds after it less that of as many before it;
   beyond the clip scores are 0. Where the change is positive, its maximum is an onset; where it is negative, its
   minimum is an offset. Between an onset and the next offset lies a box, between an offset and the next onset a gap.
2. The confidence of a box is the mean score in it.
3. A gap is closed where its mean score lies less than `merge_absolute` below the higher confidence beside it, which is
   less than `merge_relative` times the gap's. The shallowest gaps go first; what was merged has a new confidence.

Boxes of a class never touch, so that a score which is constant in each box and 0 elsewhere stands for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from remixbench.scoring.psds_exact import PSDS, Criteria, Detections, of_variant, psds_of_detections
from remixbench.scoring.types import (
    FloatArray,
    Inputs,
    IntArray,
    MetricValues,
    Reference,
    ScoreArray,
    SebbParameters,
    select_class,
)

DEFAULT = SebbParameters()
STEPS = (0.64, 0.32, 1.28)
MERGES = ((1.0, 2.0), (1.0, 1.5), (1.0, 3.0), (0.2, 1000.0), (0.0, 1.0))
GRID = tuple(SebbParameters(step, *merge) for step, merge in product(STEPS, MERGES))
"""What `tune` tries; the first of equally good ones is chosen."""


@dataclass(frozen=True)
class Boxes:
    """Boxes of one class, by clip and time.

    Attributes
    ----------
    clip : (boxes,)
    start, stop : (boxes,) the first frame of each, and the frame after its last
    confidence : (boxes,) in [0, 1]
    """

    clip: IntArray
    start: IntArray
    stop: IntArray
    confidence: FloatArray

    def detections(self) -> Detections:
        """Return them as PSDS takes them: a box appears at its confidence and never grows."""
        distinct, rising = np.unique(self.confidence, return_inverse=True)
        levels = len(distinct)
        return Detections(
            distinct[::-1],
            self.clip,
            self.start.astype(np.int32),
            self.stop.astype(np.int32),
            levels - 1 - rising,
            np.full(len(self.clip), levels),
        )


def boxes_of(scores: ScoreArray, frame_seconds: float, parameters: SebbParameters) -> Boxes:
    """Return the boxes of one class in clips of equal length.

    Parameters
    ----------
    scores : (clips, frames) in [0, 1]
    frame_seconds : length of a frame
    """
    return _merged(*_changes(scores, frame_seconds, parameters.step), parameters)


def half_step(step: float, frame_seconds: float) -> int:
    """Return the frames on either side of an edge that a change over `step` seconds is taken of: at least one."""
    return max(1, round(step / frame_seconds / 2))


def _changes(scores: ScoreArray, frame_seconds: float, step: float) -> tuple[IntArray, IntArray, FloatArray]:
    """Return clips and frame edges of onset, offset, onset, offset, ..., and sums of scores before each edge."""
    clips, frames = scores.shape
    half = half_step(step, frame_seconds)
    sums = np.zeros((clips, frames + 1))
    np.cumsum(scores, axis=1, dtype=np.float64, out=sums[:, 1:])
    after = np.minimum(np.arange(frames + 1) + half, frames)
    before = np.maximum(np.arange(frames + 1) - half, 0)
    change = (sums[:, after] - sums) - (sums - sums[:, before])
    change[np.abs(change) < 1e-12] = 0.0  # rounding of sums is no change
    # runs of one sign, clip by clip; where nothing changes, the previous sign continues
    sign = np.sign(change).astype(np.int8)
    place = np.where(sign != 0, np.arange(frames + 1), -1)
    last = np.maximum.accumulate(place, axis=1)
    sign = np.where(last >= 0, np.take_along_axis(sign, np.maximum(last, 0), 1), 0)
    opens = np.ones(sign.shape, bool)
    opens[:, 1:] = sign[:, 1:] != sign[:, :-1]
    first = np.flatnonzero(opens)
    size = np.abs(change).reshape(-1)
    highest = np.maximum.reduceat(size, first)
    run = np.cumsum(opens.reshape(-1)) - 1
    # the first edge of each run that has its highest change
    at = np.flatnonzero(size == highest[run])
    _, first_of_run = np.unique(run[at], return_index=True)
    edge, rises = at[first_of_run], sign.reshape(-1)[first]
    edge, rises = edge[rises != 0], rises[rises != 0] > 0
    clip = edge // (frames + 1)
    # scores are 0 beyond a clip, so that it begins with a rise and ends with a fall, unless these are within rounding
    apart = clip[1:] != clip[:-1]
    end = np.ones(min(1, len(clip)), bool)
    kept = ~((np.concatenate((end, apart)) & ~rises) | (np.concatenate((apart, end)) & rises))
    return clip[kept], edge[kept] % (frames + 1), sums


def _merged(clip: IntArray, edge: IntArray, sums: FloatArray, parameters: SebbParameters) -> Boxes:
    """Return the boxes between alternating onsets and offsets, after closing shallow gaps."""
    clip, start, stop = clip[::2], edge[::2], edge[1::2]
    while True:
        confidence = (sums[clip, stop] - sums[clip, start]) / (stop - start)
        same = clip[1:] == clip[:-1]
        gap = (sums[clip[1:], start[1:]] - sums[clip[:-1], stop[:-1]]) / np.maximum(start[1:] - stop[:-1], 1)
        higher = np.maximum(confidence[1:], confidence[:-1])
        depth = higher - gap
        closes = same & (depth < parameters.merge_absolute) & (higher < parameters.merge_relative * gap)
        # of gaps side by side the shallowest alone, or else the first, so that each sees the confidences of its time
        rank = np.where(closes, depth, np.inf)
        closes &= (rank < np.concatenate(([np.inf], rank[:-1]))) & (rank <= np.concatenate((rank[1:], [np.inf])))
        if not closes.any():
            return Boxes(clip, start, stop, np.clip(confidence, 0.0, 1.0))
        first = np.concatenate(([True], ~closes))
        last = np.concatenate((~closes, [True]))
        clip, start, stop = clip[first], start[first], stop[last]


def tune(reference: Reference, scores: ScoreArray, frame_edges: FloatArray) -> tuple[SebbParameters, ...]:
    """Return for each class the parameters of `GRID` with the highest PSDS 1 on some clips; never on test clips.

    Strong labels of these clips are used. A class without events in them gets the parameters that are best for the mean
    over the classes that have some.

    Parameters
    ----------
    reference : the labels of the clips, such as those of a run's validation part.
    scores : (clips, frames, classes)
    frame_edges : (frames + 1,) seconds, of equal frames but for the last
    """
    once = np.ones((len(reference.filenames), 1))
    step = frame_length(frame_edges)
    areas = np.full((len(reference.classes), len(GRID)), np.nan)
    for label in np.unique(reference.events.label).tolist():
        of_class = replace(reference, events=select_class(reference.events, label))
        changes = {seconds: _changes(scores[:, :, label], step, seconds) for seconds in STEPS}
        for column, parameters in enumerate(GRID):
            boxes = _merged(*changes[parameters.step], parameters)
            criteria = {"psds1": PSDS["psds1"]}
            values = psds_of_boxes(of_class, {label: boxes}, frame_edges, once, criteria)
            areas[label, column] = values.per_class["psds1"][label, 0]
    has_events = ~np.isnan(areas[:, 0])
    on_average = GRID[int(areas[has_events].mean(axis=0).argmax())] if has_events.any() else GRID[0]
    best = areas.argmax(axis=1).tolist()
    return tuple(GRID[index] if tuned else on_average for index, tuned in zip(best, has_events.tolist(), strict=True))


def psds_of_boxes(
    reference: Reference,
    boxes: Mapping[int, Boxes],
    frame_edges: FloatArray,
    weights: FloatArray,
    criteria: Mapping[str, Criteria],
) -> MetricValues:
    """Return PSDS of boxes by class; arguments as in `psds_of_scores`."""
    return psds_of_detections(reference, lambda label: boxes[label].detections(), frame_edges, weights, criteria)


def sebb_metrics(inputs: Inputs, weights: FloatArray) -> MetricValues:
    """Return PSDS of the boxes in frame scores, for weights (clips, samples); {} where there are no parameters."""
    scores, edges = inputs.predictions.frame_scores, inputs.predictions.frame_edges
    parameters = inputs.sebbs
    if scores is None or edges is None or parameters is None:
        return MetricValues()
    step = frame_length(edges)
    return psds_of_detections(
        inputs.reference,
        lambda label: boxes_of(scores[:, :, label], step, parameters[label]).detections(),
        edges,
        weights,
        of_variant("sebb"),
    )


def frame_length(frame_edges: FloatArray) -> float:
    """Return the length of a frame in seconds; the last one of a clip may be shorter."""
    return float(np.median(np.diff(frame_edges)))
