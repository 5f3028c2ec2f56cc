"""Segment-based scores (Mesaros, Heittola, Virtanen 2016): a class sounds in a segment of time or it does not.

A class sounds in a segment if any part of an event does. The error rate is substitutions, deletions and
insertions of a segment, max(true, said) - right, over all that is true; it may exceed 1. Equal to sed_eval's
with the length of the clip as evaluated length.
"""

from __future__ import annotations

import numpy as np

from remixbench.scoring.counting import Counts
from remixbench.scoring.events import BoolArray, EventTable, FloatArray, IntArray

SEGMENT = 1.0


def segment_counts(
    reference: EventTable,
    estimate: EventTable,
    durations: FloatArray,
    classes: int,
    *,
    seconds: float = SEGMENT,
) -> tuple[Counts, FloatArray]:
    """Return counts of segments for each clip and class, and the errors of each clip (clips,)."""
    lengths = np.ceil(np.round(durations / seconds, 6)).astype(np.int64)
    truth = segments(reference, lengths, classes, seconds)
    said = segments(estimate, lengths, classes, seconds)
    right = truth & said
    errors = (np.maximum(truth.sum(2), said.sum(2)) - right.sum(2)).sum(1)
    counts = Counts(*(part.sum(1).astype(np.float64) for part in (right, truth, said)))
    return counts, errors.astype(np.float64)


def segments(events: EventTable, lengths: IntArray, classes: int, seconds: float) -> BoolArray:
    """Return (clips, segments, classes): whether the class sounds; short clips end in silence."""
    first = np.floor(np.round(events.onset / seconds, 6)).astype(np.int64)
    last = np.ceil(np.round(events.offset / seconds, 6)).astype(np.int64)
    return fill(events, first, np.minimum(last, lengths[events.clip]), (len(lengths), int(lengths.max()), classes))


def fill(events: EventTable, first: IntArray, last: IntArray, shape: tuple[int, int, int]) -> BoolArray:
    """Return a (clips, steps, classes) array that is true on the steps first..last-1 of each event."""
    clips, steps, classes = shape
    some = last > first
    clip, label = events.clip[some], events.label[some]
    change = np.zeros((clips, steps + 1, classes), np.int16)
    np.add.at(change, (clip, first[some], label), 1)
    np.add.at(change, (clip, last[some], label), -1)
    return np.cumsum(change[:, :-1], axis=1, dtype=np.int16) > 0
