"""Pairs of events of two tables that are of one clip and class and lie close in time, found without a loop.

Times are compared as whole microseconds, so nothing depends on the last bit of a float.
"""

from __future__ import annotations

import numpy as np

from remixbench.scoring.events import DECIMALS, EventTable, FloatArray, IntArray

_SPAN = 1 << 36
"""Microseconds between the keys of two groups; 19 hours, longer than any clip."""


def micro(seconds: FloatArray) -> IntArray:
    """Return whole microseconds."""
    whole: IntArray = np.round(seconds * 10**DECIMALS).astype(np.int64)
    return whole


def group(events: EventTable, classes: int) -> IntArray:
    """Return one number for each clip and class of the events."""
    return events.clip * classes + events.label


def onset_pairs(reference: EventTable, estimate: EventTable, classes: int, collar: int) -> tuple[IntArray, IntArray]:
    """Return the pairs (rows of reference and estimate) whose onsets are within `collar` microseconds."""
    starts = micro(estimate.onset) + group(estimate, classes) * _SPAN
    wanted = micro(reference.onset) + group(reference, classes) * _SPAN
    return expand(np.searchsorted(starts, wanted - collar), np.searchsorted(starts, wanted + collar, "right"))


def overlapping_pairs(reference: EventTable, estimate: EventTable, classes: int) -> tuple[IntArray, IntArray, IntArray]:
    """Return the pairs that overlap and by how many microseconds."""
    start, stop = micro(estimate.onset), micro(estimate.offset)
    lift, wanted = group(estimate, classes) * _SPAN, group(reference, classes) * _SPAN
    onset, offset = micro(reference.onset), micro(reference.offset)
    first = np.searchsorted(stop + lift, onset + wanted, "right")
    last = np.searchsorted(start + lift, offset + wanted, "left")
    left, right = expand(first, last)
    return left, right, np.minimum(offset[left], stop[right]) - np.maximum(onset[left], start[right])


def expand(first: IntArray, last: IntArray) -> tuple[IntArray, IntArray]:
    """Return for ranges first..last the number of the range and the place in it, range after range."""
    length = np.maximum(last - first, 0)
    number = np.repeat(np.arange(len(length)), length)
    place = np.arange(len(number)) - np.repeat(np.cumsum(length) - length, length)
    return number, first[number] + place
