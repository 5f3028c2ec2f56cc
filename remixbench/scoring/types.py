"""What is scored: event lists as arrays, the reference of a fold, a system's predictions for it; values of metrics.

All times are seconds from the start of the clip, rounded to 6 decimals as sed_scores_eval does, and compared as
whole microseconds, so that a frame boundary that falls exactly on a collar (3.2 s on an onset of 3.0 s) is not
lost to the last bit of a float.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError, is_whole

IntArray = npt.NDArray[np.int64]
ScoreArray = npt.NDArray[np.floating[Any]]
"""Frame scores, float32 or float64 as they were handed in; thresholds and ranks are those of this precision."""
MaskArray = npt.NDArray[np.uint8]
MapArray = npt.NDArray[np.uint16]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

OVERHANG = 0.1
"""Seconds that an event may last beyond its clip, as the last frame of a padded transform does; readers cut it."""
DECIMALS = 6
MAX_SECONDS = 100_000.0
"""The latest time of an event, and the longest clip: 28 hours."""
MASK_STEPS = 255
"""Mask metrics are of maps in steps of 1/255."""
MAP_STEPS = 65535
"""Maps are read and stored in steps of 1/65535: sounds separated by coarser ones are worse by tenths of a decibel."""


@dataclass(frozen=True)
class EventTable:
    """Events of many clips, ordered by clip, class, onset.

    Attributes
    ----------
    clip, label : (events,) int
        Row of the clip and column of the class in the `Reference` that the table belongs to.
    onset, offset : (events,) float
        Seconds, rounded to 6 decimals; onset < offset. Events of one class in one clip may touch or overlap.
    """

    clip: IntArray
    label: IntArray
    onset: FloatArray
    offset: FloatArray

    def __len__(self) -> int:
        return len(self.clip)


def event_table(
    clip: npt.ArrayLike, label: npt.ArrayLike, onset: npt.ArrayLike, offset: npt.ArrayLike, *, merge: bool = True
) -> EventTable:
    """Make an event table from four columns of equal length: rounded and ordered, events of no length dropped.

    With `merge`, events of one class in one clip that touch or overlap become one.

    Raises
    ------
    InputError
        If columns differ in length, a clip or label is not a whole number, a time is not finite or beyond
        `MAX_SECONDS`, or an offset lies before its onset.
    """
    clips, labels = _whole_numbers(clip, "clip"), _whole_numbers(label, "label")
    onsets = np.round(np.asarray(onset, np.float64).reshape(-1), DECIMALS)
    offsets = np.round(np.asarray(offset, np.float64).reshape(-1), DECIMALS)
    if not len(clips) == len(labels) == len(onsets) == len(offsets):
        raise InputError(
            f"events have {len(clips)} clips, {len(labels)} labels, {len(onsets)} onsets and {len(offsets)} offsets,"
            " expected the same number of each"
        )
    times = (onsets >= -MAX_SECONDS) & (onsets <= offsets) & (offsets <= MAX_SECONDS)  # false for NaN
    if not times.all():
        first = int(times.argmin())
        raise InputError(
            f"event {first} lasts from {onsets[first]:g} to {offsets[first]:g} s, expected onset <= offset, and at"
            f" most {MAX_SECONDS:g} s"
        )
    keep = offsets > onsets
    clips, labels, onsets, offsets = clips[keep], labels[keep], onsets[keep], offsets[keep]
    order = np.lexsort((onsets, labels, clips))
    clips, labels, onsets, offsets = clips[order], labels[order], onsets[order], offsets[order]
    table = EventTable(clips, labels, onsets, offsets)
    return merge_events(table) if merge else table


def _whole_numbers(values: npt.ArrayLike, name: str) -> IntArray:
    array = np.asarray(values).reshape(-1)
    if len(array) and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"the {name} of events is of type {array.dtype}, expected whole numbers")
    return array.astype(np.int64)


def check_events(events: EventTable, durations: FloatArray, classes: int, place: str) -> None:
    """Refuse a table that `event_table` would not make, or whose events are not of these clips and classes.

    Parameters
    ----------
    durations : (clips,) seconds, beyond which no event may last for more than `OVERHANG`.
    classes : their number.
    place : what the table is called in messages.
    """
    if not isinstance(events, EventTable):
        raise InputError(f"{place} are of type {type(events).__name__}; make a table with event_table")
    columns = (events.clip, events.label, events.onset, events.offset)
    if not all(isinstance(column, np.ndarray) and column.shape == (np.size(columns[0]),) for column in columns):
        raise InputError(f"{place} have columns that are not arrays of one length; make the table with event_table")
    if any(times.dtype.kind not in "iuf" for times in columns[2:]):
        raise InputError(f"{place} have times that are not numeric; make the table with event_table")
    check_places(events.clip, events.label, (len(durations), classes), f"{place}: event")
    ends = durations[events.clip]
    inside = (events.onset >= 0) & (events.offset > events.onset)
    inside &= ~beyond_clips(events.onset, events.offset, ends)
    if not inside.all():
        first = int(inside.argmin())
        raise InputError(
            f"{place}: event {first} lasts from {events.onset[first]:g} to {events.offset[first]:g} s, expected"
            f" 0 <= onset < offset, in seconds within its clip of {ends[first]:g} s"
        )
    if (np.lexsort((events.onset, events.label, events.clip)) != np.arange(len(events.clip))).any():
        raise InputError(f"{place} are not in the order of clip, class and onset; make the table with event_table")


def check_places(clip: IntArray, label: IntArray, shape: tuple[int, ...], place: str) -> None:
    """Refuse rows of clips and columns of classes, of events or pairs, that a reference does not have.

    A negative one would count for another clip or class.

    Parameters
    ----------
    shape : (clips, classes) of the reference.
    place : what has them in messages, before its number.
    """
    for name, values, count in (("clip", clip, shape[0]), ("class", label, shape[1])):
        _whole_numbers(values, name)
        outside = np.flatnonzero((values < 0) | (values >= count))
        if len(outside):
            raise InputError(
                f"{place} {outside[0]} is of {name} {values[outside[0]]}, expected one from 0 to {count - 1}"
            )


def beyond_clips(onsets: FloatArray, offsets: FloatArray, ends: FloatArray) -> BoolArray:
    """Return which events begin after the end of their clip, or last for more than `OVERHANG` beyond it."""
    beyond: BoolArray = (onsets >= ends) | (offsets > ends + OVERHANG)
    return beyond


def merge_events(events: EventTable) -> EventTable:
    """Merge events of one class in one clip that touch or overlap."""
    clips, labels, onsets, offsets = events.clip, events.label, events.onset, events.offset
    if not len(clips):
        return events
    # The latest offset so far within a (clip, class) run: a cumulative maximum after lifting each run above
    # the last.
    run = np.concatenate(([0], np.cumsum((np.diff(clips) != 0) | (np.diff(labels) != 0))))
    # The lift is a cumulative maximum over integers (microseconds), so no precision is lost however many runs
    # there are.
    ends = microseconds(offsets)
    lift = int(ends.max() - min(0, ends.min())) + 1
    latest = np.maximum.accumulate(ends + run * lift) - run * lift
    starts = microseconds(onsets)
    first = np.concatenate(([True], (run[1:] != run[:-1]) | (starts[1:] > latest[:-1])))
    last = np.concatenate((first[1:], [True]))
    return EventTable(clips[first], labels[first], onsets[first], latest[last] / 10**DECIMALS)


def microseconds(seconds: FloatArray) -> IntArray:
    """Return whole microseconds."""
    rounded: IntArray = np.round(seconds * 10**DECIMALS).astype(np.int64)
    return rounded


def expand(first: IntArray, last: IntArray) -> tuple[IntArray, IntArray]:
    """Return every element of the ranges first..last-1, one range after another: its range's number and its value."""
    length = np.maximum(last - first, 0)
    number = np.repeat(np.arange(len(length)), length)
    position = np.arange(len(number)) - np.repeat(np.cumsum(length) - length, length)
    return number, first[number] + position


def select_class(events: EventTable, label: int) -> EventTable:
    """Return the events of one class."""
    of_class = events.label == label
    return EventTable(events.clip[of_class], events.label[of_class], events.onset[of_class], events.offset[of_class])


@dataclass(frozen=True)
class Predictions:
    """A system's predictions; what their format cannot express is None and stays blank in every table.

    Attributes
    ----------
    clip_scores : (clips, classes) float64 in [0, 1]
    frame_scores : (clips, frames, classes) float32 or float64 in [0, 1]
    frame_edges : (frames + 1,) seconds, where each frame begins and ends
    events : events as handed in; those of one class may touch or overlap
    """

    clip_scores: FloatArray | None = None
    frame_scores: ScoreArray | None = None
    frame_edges: FloatArray | None = None
    events: EventTable | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to score."""
        return self.clip_scores is None and self.frame_scores is None and self.events is None


@dataclass(frozen=True)
class Reference:
    """The reference of a fold; rows are clips in the order of the manifest, columns classes.

    Attributes
    ----------
    filenames : names such as '06000.wav', each once
    classes : labels in the order of the data set
    weak : (clips, classes) bool, whether the class occurs in the clip
    events : the strong labels; intersection-based metrics and PSDS take events of one class that touch as one
    durations : (clips,) seconds
    recordings : for each clip the numbers of the event recordings in it, ascending, each once; the bootstrap draws
        weights for recordings, since clips that share one are not independent
    snr_bins : {bin of SNRs: (clips,) bool, which clips are in it}; empty where all have one SNR
    """

    filenames: tuple[str, ...]
    classes: tuple[str, ...]
    weak: BoolArray
    events: EventTable
    durations: FloatArray
    recordings: tuple[tuple[int, ...], ...]
    snr_bins: Mapping[str, BoolArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Masks:
    """Maps and ideal masks of pairs of clip and class.

    Attributes
    ----------
    clip, label : (pairs,) row and column in the `Reference`
    maps : (pairs, frames, bands) uint8, the system's maps in steps of 1/255
    ideal : (pairs, frames, bands) bool
    active_bins : (clips, classes) how many bins of the map of each clip and class reach 0.1, for classes that do not
        occur in the clip too; None where this is not known
    """

    clip: IntArray
    label: IntArray
    maps: MaskArray
    ideal: BoolArray
    active_bins: IntArray | None = None


@dataclass(frozen=True)
class Separation:
    """How well the events of some clips were separated; in dB, NaN where undefined.

    Attributes
    ----------
    clip, label : (events,) row and column in the `Reference`
    of_events : {metric: (events,)}
    of_clips : {metric: (clips,)} for every clip of the reference; empty where it is not known which classes are
        detected
    """

    clip: IntArray
    label: IntArray
    of_events: Mapping[str, FloatArray]
    of_clips: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class SebbParameters:
    """How frame scores become boxes.

    Attributes
    ----------
    step : seconds that the change of scores is taken over, half before and half after a frame edge; in whole frames, at
        least one on either side (`sebb_step_frames` in `settings` has their number).
    merge_absolute : gaps are closed that lie less than this below the boxes beside them, in [0, 1]; 0 closes none.
    merge_relative : and whose score is more than the boxes' divided by this, of 1 or more; 1 closes none.
    """

    step: float = 0.64
    merge_absolute: float = 1.0
    merge_relative: float = 2.0

    def __post_init__(self) -> None:
        require_number("step", self.step, TINY)
        require_number("merge_absolute", self.merge_absolute, 0, 1)
        require_number("merge_relative", self.merge_relative, 1, np.inf)


@dataclass(frozen=True)
class Inputs:
    """All that the metrics of one system on one fold are computed from; None for what is missing.

    Attributes
    ----------
    reference : the labels of the fold
    predictions : what the system says of its clips
    masks : its time-frequency maps beside ideal masks, where the data set has stems
    separation : how well it separated the events, where the data set has stems
    sebbs : how the frame scores of each class become bounding boxes, where it has scores of validation clips
    """

    reference: Reference
    predictions: Predictions = field(default_factory=Predictions)
    masks: Masks | None = None
    separation: Separation | None = None
    sebbs: Sequence[SebbParameters] | None = None


@dataclass
class MetricValues:
    """Values of metrics by their names, one per bootstrap sample.

    Attributes
    ----------
    overall : {name: (samples,)}, NaN where undefined
    per_class : {name: (classes, samples)}, NaN where undefined
    """

    overall: dict[str, FloatArray] = field(default_factory=dict)
    per_class: dict[str, FloatArray] = field(default_factory=dict)

    def update(self, other: MetricValues) -> None:
        """Add the values of other metrics."""
        self.overall.update(other.overall)
        self.per_class.update(other.per_class)

    def renamed(self, variant: str) -> MetricValues:
        """Return the same values under the names that they have in a variant."""
        return MetricValues(
            {metric_name(name, variant): values for name, values in self.overall.items()},
            {metric_name(name, variant): values for name, values in self.per_class.items()},
        )


def metric_name(quantity: str, variant: str = "") -> str:
    """Return the name of a metric in records and tables: `psds1`, or `psds1[median]` of a variant."""
    return f"{quantity}[{variant}]" if variant else quantity


TINY, HUGE = float(np.nextafter(0, 1)), float(np.finfo(np.float64).max)
"""The smallest number above 0, and the largest that is finite."""


def require_number(name: str, value: object, low: float, high: float = HUGE) -> None:
    """Refuse a parameter that is not a number from `low` to `high`."""
    number = value.item() if isinstance(value, np.number) else value  # float32 cannot hold the bounds
    if not (isinstance(number, int | float) and not isinstance(number, bool) and low <= number <= high):
        expected = "above 0" if low == TINY else f"of {low:g} or more"
        if high < HUGE:
            expected = f"{expected}, at most {high:g}" if low == TINY else f"from {low:g} to {high:g}"
        raise InputError(f"{name} {value}: expected a number {expected}")


def is_count(value: object) -> bool:
    """Say whether a value is a whole number of 0 or more."""
    return is_whole(value) and value >= 0


def mean_defined(values: FloatArray, axis: int = 0) -> FloatArray:
    """Return the mean over `axis` of the values that are defined; NaN only where none is."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=axis), defined.sum(axis=axis).astype(np.float64))


def divide(numerator: FloatArray, denominator: FloatArray, undefined: float = np.nan) -> FloatArray:
    """Return the quotient, and `undefined` where the denominator is zero."""
    out: FloatArray = np.full(np.shape(numerator), undefined)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


def make_reference(
    filenames: Sequence[str],
    classes: Sequence[str],
    events: EventTable,
    durations: npt.ArrayLike,
    *,
    weak: npt.ArrayLike | None = None,
    recordings: Iterable[Iterable[Hashable]] | None = None,
) -> Reference:
    """Make a reference from plain arrays.

    Without `weak` it follows from the events; without `recordings` no clip shares one with another.

    Raises
    ------
    InputError
        If names repeat, shapes do not agree, a duration is not above zero, an event is not of these clips and classes,
        or longer than `MAX_SECONDS`, or there is no clip or class.
    """
    names, labels = tuple(filenames), tuple(classes)
    shape = (len(names), len(labels))
    if not all(shape):
        raise InputError(f"a reference needs clips and classes, found {shape[0]} clips and {shape[1]} classes")
    for kind, values in (("clip", names), ("class", labels)):
        if len(set(values)) != len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise InputError(f"the reference names {kind} '{twice}' twice")
    seconds = np.broadcast_to(np.asarray(durations, np.float64), shape[:1]).copy()
    if not (np.isfinite(seconds) & (seconds > 0)).all():
        raise InputError("the reference has a clip whose duration is not above zero")
    if seconds.max() > MAX_SECONDS:
        raise InputError(f"the reference has a clip of {seconds.max():g} s, expected at most {MAX_SECONDS:g}")
    check_events(events, seconds, len(labels), "the reference's events")
    tags = np.zeros(shape, bool) if weak is None else np.asarray(weak, bool)
    if weak is None:
        tags[events.clip, events.label] = True
    numbers: dict[Hashable, int] = {}  # of the recordings, in the order in which they first occur
    numbered = tuple(
        tuple(sorted({numbers.setdefault(recording, len(numbers)) for recording in of_clip}))
        for of_clip in ([()] * len(names) if recordings is None else recordings)
    )
    if tags.shape != shape or len(numbered) != len(names):
        raise InputError(
            f"the reference's labels have shape {tags.shape}, expected {shape} (clips, classes), and recordings of"
            f" {len(numbered)} clips"
        )
    return Reference(names, labels, tags, events, seconds, numbered)


def reference_digest(reference: Reference) -> str:
    """Return a digest of everything that scores depend on besides the predictions.

    Names are taken without their suffix, so that the same clips as WAV and as FLAC have the same digest.
    """
    events = reference.events
    digest = hashlib.sha256()
    for name in reference.filenames:
        digest.update(PurePath(name).stem.encode() + b"\0")
    for label in reference.classes:
        digest.update(label.encode() + b"\0")
    for numbers in reference.recordings:
        digest.update(" ".join(map(str, numbers)).encode() + b"\0")
    for array in (reference.weak, events.clip, events.label, events.onset, events.offset, reference.durations):
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
