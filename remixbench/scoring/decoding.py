"""From frame scores to events: the named ways to decide, each with its thresholds.

`threshold`: a frame is on if its score reaches 0.5.
`median`: the same after a median filter of 15 frames (0.48 s) on the scores, mirrored at the ends.
`hysteresis`: Kong et al. 2019: only classes whose clip score reaches 0.1; a stretch of frames of at least 0.1
with one of at least 0.2 in it; gaps of up to 10 frames are closed, then stretches of up to 10 frames dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remixbench.scoring.events import BoolArray, EventTable, IntArray, event_table
from remixbench.scoring.predictions import Predictions


@dataclass(frozen=True)
class Decoding:
    """How scores become decisions.

    Attributes
    ----------
    high, low : a stretch of frames of at least `low` counts if one frame reaches `high`
    tag : what the clip score must reach; None asks for no clip score
    median : length of the median filter in frames, odd; 1 is none
    gap, shortest : gaps of up to `gap` frames are closed, stretches under `shortest` frames dropped
    """

    high: float
    low: float
    tag: float | None = None
    median: int = 1
    gap: int = 0
    shortest: int = 1


DECODINGS = {
    "median": Decoding(high=0.5, low=0.5, median=15),
    "threshold": Decoding(high=0.5, low=0.5),
    "hysteresis": Decoding(high=0.2, low=0.1, tag=0.1, gap=10, shortest=11),
}


def decode(predictions: Predictions, decoding: Decoding) -> EventTable | None:
    """Return the decided events, or None where the predictions lack the scores that the decoding needs."""
    scores, edges, tags = predictions.frame_scores, predictions.frame_edges, predictions.clip_scores
    if scores is None or edges is None or (decoding.tag is not None and tags is None):
        return None
    frames, classes = scores.shape[1:]
    # (clips, classes, frames + 1): the frame added at the end is off, so that stretches never join two
    # sequences.
    high = _padded(_smooth(scores >= np.float32(decoding.high), decoding.median))
    low = (
        high if decoding.low == decoding.high else _padded(_smooth(scores >= np.float32(decoding.low), decoding.median))
    )
    if decoding.tag is not None and tags is not None:
        low = low & (tags >= decoding.tag)[:, :, None]
    first, last = stretches(low.reshape(-1))
    if low is not high:
        ups = np.concatenate(([0], np.cumsum(high.reshape(-1), dtype=np.int64)))
        loud = ups[last] > ups[first]
        first, last = first[loud], last[loud]
    sequence = first // (frames + 1)
    apart = (sequence[1:] != sequence[:-1]) | (first[1:] - last[:-1] > decoding.gap)
    some = np.ones(min(1, len(first)), bool)
    first, last = first[np.concatenate((some, apart))], last[np.concatenate((apart, some))]
    long = last - first >= decoding.shortest
    first, last = first[long], last[long]
    sequence = first // (frames + 1)
    start, stop = first - sequence * (frames + 1), last - sequence * (frames + 1)
    return event_table(sequence // classes, sequence % classes, edges[start], edges[stop])


def stretches(on: BoolArray) -> tuple[IntArray, IntArray]:
    """Return where each stretch of true values begins and where it has ended."""
    change = np.flatnonzero(on[1:] != on[:-1]) + 1
    if len(on) and on[0]:
        change = np.concatenate(([0], change))
    if len(on) and on[-1]:
        change = np.concatenate((change, [len(on)]))
    return change[0::2], change[1::2]


def _smooth(on: BoolArray, length: int) -> BoolArray:
    """Median-filter decisions along frames: for odd lengths the decision on median-filtered scores."""
    if length == 1:
        return on
    half = length // 2
    frames = on.shape[1]
    # Mirrored with the end repeated (d c b a | a b c d | d c b a), as scipy.ndimage does by default.
    place = np.arange(-half, frames + half) % (2 * frames)
    mirrored = on[:, np.minimum(place, 2 * frames - 1 - place)]
    sums = np.cumsum(mirrored, axis=1, dtype=np.int32)
    sums[:, length:] -= sums[:, :-length].copy()
    return sums[:, length - 1 :] > half


def _padded(on: BoolArray) -> BoolArray:
    clips, frames, classes = on.shape
    padded = np.zeros((clips, classes, frames + 1), bool)
    padded[:, :, :frames] = on.transpose(0, 2, 1)
    return padded
