"""Event lists as arrays: which class sounds from when to when in which clip.

All times are seconds from the start of the clip, rounded to 6 decimals as sed_scores_eval does, so that a
frame boundary that falls exactly on a collar (3.2 s on an onset of 3.0 s) is not lost to the last bit of a
float.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

DECIMALS = 6


@dataclass(frozen=True)
class EventTable:
    """Events of many clips, ordered by clip, class, onset.

    Attributes
    ----------
    clip, label : (events,) int
        Row of the clip and column of the class in the `Reference` that the table belongs to.
    onset, offset : (events,) float
        Seconds, rounded to 6 decimals; onset < offset. Events of one class in one clip neither touch nor
        overlap.
    """

    clip: IntArray
    label: IntArray
    onset: FloatArray
    offset: FloatArray

    def __len__(self) -> int:
        return len(self.clip)


def event_table(clip: npt.ArrayLike, label: npt.ArrayLike, onset: npt.ArrayLike, offset: npt.ArrayLike) -> EventTable:
    """Make an event table from four columns of equal length: rounded, ordered, same-class events merged.

    Events of one class in one clip that touch or overlap become one. Events of no length are dropped.
    """
    clips, labels = np.asarray(clip, np.int64).reshape(-1), np.asarray(label, np.int64).reshape(-1)
    onsets = np.round(np.asarray(onset, np.float64).reshape(-1), DECIMALS)
    offsets = np.round(np.asarray(offset, np.float64).reshape(-1), DECIMALS)
    keep = offsets > onsets
    clips, labels, onsets, offsets = clips[keep], labels[keep], onsets[keep], offsets[keep]
    order = np.lexsort((onsets, labels, clips))
    clips, labels, onsets, offsets = clips[order], labels[order], onsets[order], offsets[order]
    if not len(clips):
        return EventTable(clips, labels, onsets, offsets)
    # The latest offset so far within a (clip, class) run: a cumulative maximum after lifting each run above
    # the last.
    run = np.concatenate(([0], np.cumsum((np.diff(clips) != 0) | (np.diff(labels) != 0))))
    # The lift is a cumulative maximum over integers (microseconds), so no precision is lost however many runs
    # there are.
    micro = np.round(offsets * 10**DECIMALS).astype(np.int64)
    lift = int(micro.max() - min(0, micro.min())) + 1
    latest = np.maximum.accumulate(micro + run * lift) - run * lift
    starts = np.round(onsets * 10**DECIMALS).astype(np.int64)
    first = np.concatenate(([True], (run[1:] != run[:-1]) | (starts[1:] > latest[:-1])))
    last = np.concatenate((first[1:], [True]))
    return EventTable(clips[first], labels[first], onsets[first], latest[last] / 10**DECIMALS)


def select_class(events: EventTable, label: int) -> EventTable:
    """Return the events of one class."""
    mine = events.label == label
    return EventTable(events.clip[mine], events.label[mine], events.onset[mine], events.offset[mine])


def tags_of(events: EventTable, clips: int, classes: int) -> BoolArray:
    """Return (clips, classes): whether the class has an event in the clip."""
    tags = np.zeros((clips, classes), bool)
    tags[events.clip, events.label] = True
    return tags
