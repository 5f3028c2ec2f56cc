"""From frame scores to events: the one post-processing of `predict` and `score`. All durations are seconds.

In this order: scores are median-filtered; a run of frames that reach the low threshold is an event if one of its frames
reaches the threshold (hysteresis; without a low threshold the two are one); gaps of up to `max_gap` between events of a
class are closed; events shorter than `min_duration` are dropped. Where a clip threshold is given, only classes whose
clip score reaches it have events.

Three post-processings are scored: "median" (the main one; a threshold of 0.5 on scores filtered over 0.48 s),
"threshold" (0.5 alone), and "hysteresis", that of Kong et al. 2019, who state it in frames of 32 ms. `predict` uses the
last one with the thresholds of the run, one per class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from remixbench.scoring.types import BoolArray, EventTable, FloatArray, IntArray, Predictions, ScoreArray, event_table


@dataclass(frozen=True)
class PostProcessing:
    """How frame scores become events.

    Attributes
    ----------
    threshold, low_threshold : an event is a run of frames that reach `low_threshold`, one of which reaches
        `threshold`; one value, or one per class. `low_threshold` is by default `threshold`.
    clip_threshold : what the clip score must reach; None asks for no clip score
    median_filter : seconds; the filter covers the nearest odd number of frames (`filter_frames`)
    max_gap : seconds; longer gaps within an event are not closed
    min_duration : seconds; shorter events are dropped
    """

    threshold: float | tuple[float, ...]
    low_threshold: float | tuple[float, ...] | None = None
    clip_threshold: float | None = None
    median_filter: float = 0.0
    max_gap: float = 0.0
    min_duration: float = 0.0


MAIN = "median"
POSTPROCESSINGS = {
    "median": PostProcessing(threshold=0.5, median_filter=0.48),
    "threshold": PostProcessing(threshold=0.5),
    "hysteresis": PostProcessing(
        threshold=0.2, low_threshold=0.1, clip_threshold=0.1, max_gap=0.32, min_duration=0.352
    ),
}


RELEASE = 0.5
"""Where thresholds are given per class, an event lasts while its score stays above this part of the one that begins it,
as in Kong et al. (0.2 and 0.1)."""


def hysteresis(thresholds: Sequence[float]) -> PostProcessing:
    """Return the post-processing "hysteresis" with a threshold for each class, and no clip threshold."""
    return replace(
        POSTPROCESSINGS["hysteresis"],
        threshold=tuple(thresholds),
        low_threshold=tuple(RELEASE * threshold for threshold in thresholds),
        clip_threshold=None,
    )


def detections(predictions: Predictions) -> dict[str, EventTable]:
    """Return the events by each post-processing for which the predictions have the scores; {} for an event list."""
    scores, edges, tags = predictions.frame_scores, predictions.frame_edges, predictions.clip_scores
    if scores is None or edges is None:
        return {}
    return {
        name: detect_events(scores, edges, how, tags)
        for name, how in POSTPROCESSINGS.items()
        if tags is not None or how.clip_threshold is None
    }


def detect_events(
    frame_scores: ScoreArray, frame_edges: FloatArray, how: PostProcessing, clip_scores: FloatArray | None = None
) -> EventTable:
    """Return the events in frame scores.

    Parameters
    ----------
    frame_scores : (clips, frames, classes)
    frame_edges : (frames + 1,) seconds, where each frame begins and ends
    clip_scores : (clips, classes), needed where `how` has a clip threshold
    """
    frames, classes = frame_scores.shape[1:]
    step = float(np.median(np.diff(frame_edges)))
    filter_length = filter_frames(how.median_filter, frame_edges)
    max_gap, min_frames = int(how.max_gap / step + 1e-6), int(np.ceil(how.min_duration / step - 1e-6))
    # (clips, classes, frames + 1): the frame added at the end is inactive, so that runs never join two sequences.
    high = _reached(frame_scores, how.threshold, filter_length)
    low = high if how.low_threshold is None else _reached(frame_scores, how.low_threshold, filter_length)
    if how.clip_threshold is not None:
        if clip_scores is None:
            raise ValueError("this post-processing needs clip scores")
        low = low & (clip_scores >= how.clip_threshold)[:, :, None]
    first, last = runs(low.reshape(-1))
    if low is not high:
        count = np.concatenate(([0], np.cumsum(high.reshape(-1), dtype=np.int64)))
        reached = count[last] > count[first]
        first, last = first[reached], last[reached]
    sequence = first // (frames + 1)
    apart = (sequence[1:] != sequence[:-1]) | (first[1:] - last[:-1] > max_gap)
    edge = np.ones(min(1, len(first)), bool)
    first, last = first[np.concatenate((edge, apart))], last[np.concatenate((apart, edge))]
    long_enough = last - first >= min_frames
    first, last = first[long_enough], last[long_enough]
    sequence = first // (frames + 1)
    start, stop = first - sequence * (frames + 1), last - sequence * (frames + 1)
    return event_table(sequence // classes, sequence % classes, frame_edges[start], frame_edges[stop])


def median_filtered(frame_scores: ScoreArray, frame_edges: FloatArray, seconds: float) -> ScoreArray:
    """Return frame scores (clips, frames, classes) median-filtered along frames, mirrored at the ends.

    Thresholds on these give the decisions that `detect_events` takes with `median_filter=seconds`.
    """
    length = filter_frames(seconds, frame_edges)
    if length == 1:
        return frame_scores
    filtered = np.empty_like(frame_scores)
    frames = mirrored(frame_scores.shape[1], length // 2)
    for k in range(frame_scores.shape[2]):  # one class at a time, since every window is copied
        windows = np.lib.stride_tricks.sliding_window_view(frame_scores[:, frames, k], length, axis=1)
        filtered[:, :, k] = np.partition(windows, length // 2, axis=-1)[..., length // 2]
    return filtered


def filter_frames(seconds: float, frame_edges: FloatArray) -> int:
    """Return the odd number of frames nearest to a median filter of `seconds`; halfway, the larger one.

    A filter has a middle frame. 0.48 s are 15 frames of 32 ms, and 5 frames of 0.12 s, which last 0.6 s.
    """
    return 2 * int(seconds / float(np.median(np.diff(frame_edges))) / 2 + 1e-6) + 1


def runs(active: BoolArray) -> tuple[IntArray, IntArray]:
    """Return where each run of true values begins, and one past where it ends."""
    change = np.flatnonzero(active[1:] != active[:-1]) + 1
    if len(active) and active[0]:
        change = np.concatenate(([0], change))
    if len(active) and active[-1]:
        change = np.concatenate((change, [len(active)]))
    return change[0::2], change[1::2]


def _reached(scores: ScoreArray, threshold: float | tuple[float, ...], filter_length: int) -> BoolArray:
    active = _filtered(scores >= np.asarray(threshold, scores.dtype), filter_length)
    clips, frames, classes = active.shape
    padded = np.zeros((clips, classes, frames + 1), bool)
    padded[:, :, :frames] = active.transpose(0, 2, 1)
    return padded


def _filtered(active: BoolArray, length: int) -> BoolArray:
    """Median-filter decisions along frames: for odd lengths the decision on median-filtered scores."""
    if length == 1:
        return active
    frames, half = active.shape[1], length // 2
    sums = np.cumsum(active[:, mirrored(frames, half)], axis=1, dtype=np.int32)
    sums[:, length:] -= sums[:, :-length].copy()
    return sums[:, length - 1 :] > half


def mirrored(frames: int, half: int) -> IntArray:
    """Return frame numbers with `half` more at each end, mirrored with the end repeated (c b a | a b c | c b a)."""
    numbers = np.arange(-half, frames + half) % (2 * frames)  # as scipy.ndimage does by default
    return np.minimum(numbers, 2 * frames - 1 - numbers)
