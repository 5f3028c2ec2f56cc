"""Detection: segment-, event- and intersection-based scores of events, and frame-wise scores.

Segment-based (Mesaros, Heittola, Virtanen 2016): a class is active in a segment of time if any part of an event
is. The error rate is substitutions, deletions and insertions of a segment, max(n_ref, n_sys) - tp, over all active
segments of the reference; it may exceed 1. Equal to sed_eval's with the clip's duration as evaluated length.

Event-based (the same): an event is found if its onset lies within a collar, and its offset within the collar or a
percentage of the reference event's length, whichever is more. Each event is matched once, by a largest matching, as
sed_eval does by default; those that touch or overlap stay as they are. Times are compared as whole microseconds; values
equal those of sed_scores_eval to 1e-9. sed_eval compares floats and misses events exactly on the collar, such as the
frame edge 3.2 s for the onset 3.0 s: on the noisy scores of benchmarks/score.py its onset F1 is 0.1927 where ours is
0.1946, with offsets 0.0122 where ours is 0.0134. Where no event lies exactly on the collar the two are equal. Its
`percentage_of_length` is 0.5 by default; DCASE's is 0.2.

Intersection-based (Bilen et al. 2020): a detection is relevant if at least `dtc` of it lies on reference events of its
class, otherwise a false alarm; a reference event is found if relevant detections cover at least `gtc` of it. Events of
a class that touch or overlap are merged on both sides; sed_scores_eval refuses references that have some.

Frame-wise: a frame is active for a class if its centre lies in an event.

A class without events in the fold has no F1 of its own and is left out of the macro mean, as in sed_eval; micro F1
keeps its false alarms. Where the reference has events and nothing was detected F1 is 0; sed_eval's default then is
NaN, and its option `empty_system_output_handling="zero_score"` gives 0.

The settings of Kong et al. 2019 (`[kong]`), as their released code has them, for standing beside their published
values: means over all classes of the data set, an undefined F1 counting as 0. Tagging: clip scores at 0.1. Frame: frame
scores at 0.1, of the classes only whose clip score reaches 0.1 (no hysteresis). Event: event-based F1 of what their
post-processing detects (`POSTPROCESSINGS["hysteresis"]`), with a collar of 0.2 s and an offset tolerance of 50 % of the
length, the default of sed_eval. Mask: see `tf_masks`. Their values are in `leaderboard/published.yaml`; they are on a
mixing of their own. Their thresholds are exclusive, ours inclusive, which differs for scores of exactly 0.1 alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from remixbench.scoring.postprocessing import MAIN, POSTPROCESSINGS, detect_events, detections
from remixbench.scoring.types import (
    DECIMALS,
    BoolArray,
    EventTable,
    FloatArray,
    Inputs,
    IntArray,
    MetricValues,
    Reference,
    ScoreArray,
    divide,
    expand,
    mean_defined,
    merge_events,
    microseconds,
)

TIME_RESOLUTION = 1.0
COLLAR = 0.2
PERCENTAGE_OF_LENGTH = 0.2
DTC = GTC = 0.5
KONG_THRESHOLD = 0.1
KONG_PERCENTAGE_OF_LENGTH = 0.5
_SPAN = 1 << 37
"""Microseconds between the keys of two groups; 38 hours, longer than any clip (`MAX_SECONDS`)."""


@dataclass(frozen=True)
class Counts:
    """Counts for each clip and class, (clips, classes) each.

    Attributes
    ----------
    tp : true positives
    n_ref : true positives and misses
    n_sys : true positives and false alarms
    """

    tp: FloatArray
    n_ref: FloatArray
    n_sys: FloatArray


def f1_values(name: str, counts: Counts, weights: FloatArray) -> MetricValues:
    """Return F1 over all classes (`name`), its mean over classes (`name`_macro) and that of each class.

    Parameters
    ----------
    weights : (clips, samples)
    """
    tp, n_ref, n_sys = (part.T @ weights for part in (counts.tp, counts.n_ref, counts.n_sys))
    all_ref = n_ref.sum(0)
    micro = divide(2 * tp.sum(0), np.where(all_ref > 0, all_ref + n_sys.sum(0), 0))
    by_class = divide(2 * tp, np.where(n_ref > 0, n_ref + n_sys, 0))
    return MetricValues({name: micro, f"{name}_macro": mean_defined(by_class)}, {name: by_class})


def detection_metrics(inputs: Inputs, weights: FloatArray) -> MetricValues:
    """Return metrics of events for weights (clips, samples): of those handed in, or else by each post-processing.

    With frame scores, those with the settings of Kong et al. as well. {} without events and frame scores.
    """
    reference, predictions = inputs.reference, inputs.predictions
    scores, edges = predictions.frame_scores, predictions.frame_edges
    tables = detections(predictions) if predictions.events is None else {MAIN: predictions.events}
    values = MetricValues()
    for variant, events in tables.items():
        of_events = event_metrics(reference, events, edges, weights)
        values.update(of_events.renamed("" if variant == MAIN else variant))
    if scores is not None and edges is not None and predictions.clip_scores is not None:
        values.update(kong_metrics(reference, scores, edges, predictions.clip_scores, weights))
    return values


def event_metrics(
    reference: Reference, events: EventTable, frame_edges: FloatArray | None, weights: FloatArray
) -> MetricValues:
    """Return segment-, event- and intersection-based metrics of events, and frame F1 where there is a frame grid."""
    shape = reference.weak.shape
    segments, errors = segment_counts(reference.events, events, reference.durations, shape[1])
    counts = {
        "segment_f1": segments,
        "event_f1_onset": event_counts(reference.events, events, *shape, evaluate_offset=False),
        "event_f1": event_counts(reference.events, events, *shape),
        "intersection_f1": intersection_counts(reference.events, events, *shape),
    }
    if frame_edges is not None:
        active = active_frames(events, frame_edges, *shape)
        counts["frame_f1"] = frame_counts(active_frames(reference.events, frame_edges, *shape), active)
    values = MetricValues({"segment_er": divide(errors @ weights, segments.n_ref.sum(1) @ weights)})
    for name, of_metric in counts.items():
        values.update(f1_values(name, of_metric, weights))
    return values


def kong_metrics(
    reference: Reference, scores: ScoreArray, frame_edges: FloatArray, clip_scores: FloatArray, weights: FloatArray
) -> MetricValues:
    """Return frame and event F1 with the settings of Kong et al. 2019."""
    shape, tagged = reference.weak.shape, clip_scores >= KONG_THRESHOLD
    detected = (scores >= scores.dtype.type(KONG_THRESHOLD)) & tagged[:, None]
    events = detect_events(scores, frame_edges, POSTPROCESSINGS["hysteresis"], clip_scores)
    counts = {
        "frame_f1_macro[kong]": frame_counts(active_frames(reference.events, frame_edges, *shape), detected),
        "event_f1_macro[kong]": event_counts(
            reference.events, events, *shape, percentage_of_length=KONG_PERCENTAGE_OF_LENGTH
        ),
    }
    return MetricValues({name: kong_mean_f1(of_metric, weights) for name, of_metric in counts.items()})


def kong_mean_f1(counts: Counts, weights: FloatArray) -> FloatArray:
    """Return the mean over all classes of F1, an undefined one counting as 0, for weights (clips, samples)."""
    tp, n_ref, n_sys = (part.T @ weights for part in (counts.tp, counts.n_ref, counts.n_sys))
    mean: FloatArray = divide(2 * tp, n_ref + n_sys, 0.0).mean(axis=0)
    return mean


def segment_counts(
    reference: EventTable,
    estimate: EventTable,
    durations: FloatArray,
    classes: int,
    *,
    time_resolution: float = TIME_RESOLUTION,
) -> tuple[Counts, FloatArray]:
    """Return counts of segments for each clip and class, and the errors of each clip (clips,)."""
    lengths = np.ceil(np.round(durations / time_resolution, 6)).astype(np.int64)
    active = active_segments(reference, lengths, classes, time_resolution)
    detected = active_segments(estimate, lengths, classes, time_resolution)
    both = active & detected
    errors = (np.maximum(active.sum(2), detected.sum(2)) - both.sum(2)).sum(1)
    counts = Counts(*(part.sum(1).astype(np.float64) for part in (both, active, detected)))
    return counts, errors.astype(np.float64)


def active_segments(events: EventTable, lengths: IntArray, classes: int, time_resolution: float) -> BoolArray:
    """Return (clips, segments, classes): whether the class is active; short clips are padded with silence."""
    first = np.floor(np.round(events.onset / time_resolution, 6)).astype(np.int64)
    last = np.ceil(np.round(events.offset / time_resolution, 6)).astype(np.int64)
    return fill(events, first, np.minimum(last, lengths[events.clip]), (len(lengths), int(lengths.max()), classes))


def fill(events: EventTable, first: IntArray, last: IntArray, shape: tuple[int, int, int]) -> BoolArray:
    """Return a (clips, steps, classes) array that is true on the steps first..last-1 of each event."""
    clips, steps, classes = shape
    lasting = last > first
    clip, label = events.clip[lasting], events.label[lasting]
    change = np.zeros((clips, steps + 1, classes), np.int16)
    np.add.at(change, (clip, first[lasting], label), 1)
    np.add.at(change, (clip, last[lasting], label), -1)
    return np.cumsum(change[:, :-1], axis=1, dtype=np.int16) > 0


def event_counts(
    reference: EventTable,
    estimate: EventTable,
    clips: int,
    classes: int,
    *,
    evaluate_offset: bool = True,
    collar: float = COLLAR,
    percentage_of_length: float = PERCENTAGE_OF_LENGTH,
) -> Counts:
    """Count found events for each clip and class.

    Parameters
    ----------
    evaluate_offset : whether the offset must be right too
    collar : seconds
    percentage_of_length : part of the reference event's length, in [0, 1], that the offset may be off
    """
    within = round(collar * 1_000_000)
    left, right = onset_pairs(reference, estimate, classes, within)
    if evaluate_offset:
        allowed = np.maximum(within, np.rint(percentage_of_length * microseconds(reference.offset - reference.onset)))
        close = np.abs(microseconds(reference.offset)[left] - microseconds(estimate.offset)[right]) <= allowed[left]
        left, right = left[close], right[close]
    graph = csr_matrix((np.ones(len(left), np.int8), (left, right)), shape=(len(reference), max(1, len(estimate))))
    matched = maximum_bipartite_matching(graph, "column") >= 0 if len(left) else np.zeros(len(reference), bool)
    shape = (clips, classes)
    return Counts(tally(reference, shape, matched), tally(reference, shape), tally(estimate, shape))


def tally(events: EventTable, shape: tuple[int, int], keep: np.ndarray | slice = slice(None)) -> FloatArray:
    """Return how many events (of those kept) each clip has of each class."""
    cell = (events.clip * shape[1] + events.label)[keep]
    return np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def intersection_counts(
    reference: EventTable, estimate: EventTable, clips: int, classes: int, *, dtc: float = DTC, gtc: float = GTC
) -> Counts:
    """Count found events, reference events, and found events plus false alarms for each clip and class."""
    reference, estimate = merge_events(reference), merge_events(estimate)
    left, right, overlap = overlapping_pairs(reference, estimate, classes)
    on_reference = np.bincount(right, weights=overlap, minlength=len(estimate))
    relevant = on_reference >= np.rint(dtc * (microseconds(estimate.offset) - microseconds(estimate.onset)))
    covered = np.bincount(left, weights=overlap * relevant[right], minlength=len(reference))
    detected = covered >= np.rint(gtc * (microseconds(reference.offset) - microseconds(reference.onset)))
    shape = (clips, classes)
    tp = tally(reference, shape, detected)
    return Counts(tp, tally(reference, shape), tp + tally(estimate, shape, ~relevant))


def active_frames(events: EventTable, frame_edges: FloatArray, clips: int, classes: int) -> BoolArray:
    """Return (clips, frames, classes): in which frames each class is active."""
    centres = np.round((frame_edges[:-1] + frame_edges[1:]) / 2, DECIMALS)
    first, last = np.searchsorted(centres, events.onset), np.searchsorted(centres, events.offset)
    return fill(events, first, last, (clips, len(centres), classes))


def frame_counts(active: BoolArray, detected: BoolArray) -> Counts:
    """Count frames for each clip and class from two (clips, frames, classes) arrays."""
    return Counts(*(part.sum(1).astype(np.float64) for part in (active & detected, active, detected)))


def group(events: EventTable, classes: int) -> IntArray:
    """Return one number for each clip and class of the events."""
    return events.clip * classes + events.label


def onset_pairs(reference: EventTable, estimate: EventTable, classes: int, collar: int) -> tuple[IntArray, IntArray]:
    """Return the pairs (rows of reference and estimate) whose onsets are within `collar` microseconds."""
    starts = microseconds(estimate.onset) + group(estimate, classes) * _SPAN
    onset = microseconds(reference.onset) + group(reference, classes) * _SPAN
    return expand(np.searchsorted(starts, onset - collar), np.searchsorted(starts, onset + collar, "right"))


def overlapping_pairs(reference: EventTable, estimate: EventTable, classes: int) -> tuple[IntArray, IntArray, IntArray]:
    """Return the pairs that overlap, and by how many microseconds; both without overlaps within a class."""
    start, stop = microseconds(estimate.onset), microseconds(estimate.offset)
    lift, ref_lift = group(estimate, classes) * _SPAN, group(reference, classes) * _SPAN
    onset, offset = microseconds(reference.onset), microseconds(reference.offset)
    first = np.searchsorted(stop + lift, onset + ref_lift, "right")
    last = np.searchsorted(start + lift, offset + ref_lift, "left")
    left, right = expand(first, last)
    return left, right, np.minimum(offset[left], stop[right]) - np.maximum(onset[left], start[right])
