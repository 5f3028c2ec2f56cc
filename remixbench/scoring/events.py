"""The one reader of event lists: labels of a data set, predictions, and DCASE tables handed to a metric.

A list has the columns `filename`, `onset`, `offset` and `event_label`; other columns are ignored. Times are seconds. A
clip without events has no row, or one row with its name alone. Names and labels are compared as text: the integer 1,
and 1.0 in a column that a missing value turned into floats, also in a file that such a column was written to, are "1".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from remixbench.errors import InputError, nearest, shortened
from remixbench.scoring.types import MAX_SECONDS, OVERHANG, EventTable, FloatArray, IntArray, beyond_clips, event_table
from remixbench.tables import Table, parse_number, read_table

if TYPE_CHECKING:
    import pandas as pd

EVENT_COLUMNS = ("filename", "onset", "offset", "event_label")
MILLISECONDS = 20
"""Times beyond this many clip lengths are taken for milliseconds, if that puts them into the clip."""
MILLISECONDS_OF_REFERENCE = 100
"""As above, of a reference next to an estimate, which may have found only short events at the start of long clips."""


@dataclass(frozen=True)
class EventList:
    """The rows of an event list as text and numbers.

    Attributes
    ----------
    place : name of the list in messages
    rows : (rows,) names of the rows in messages: "line 3" of a file, "row 3" of a DataFrame
    filenames : (rows,) of rows with and without an event
    event : (events,) the rows that have an event
    labels : (events,)
    onset, offset : (events,) seconds, 0 <= onset < offset
    """

    place: str
    rows: Sequence[str]
    filenames: Sequence[str]
    event: IntArray
    labels: Sequence[str]
    onset: FloatArray
    offset: FloatArray

    def table(
        self,
        clips: IntArray,
        classes: Sequence[str],
        durations: FloatArray | None = None,
        *,
        classes_of: str = "this data set",
    ) -> EventTable:
        """Return the events of the list, as handed in, with rows of clips and columns of classes.

        Parameters
        ----------
        clips : (rows,) the row of each row's clip in the reference.
        durations : seconds of the clips in the reference; events up to `OVERHANG` longer are cut there.
        classes_of : what has the classes, for messages.
        """
        column = {_plain(label): k for k, label in enumerate(classes)} | {label: k for k, label in enumerate(classes)}
        of_label = {label: column[key] for label in self.labels for key in (_plain(label), label) if key in column}
        for index, label in enumerate(self.labels):
            if label not in of_label:
                raise InputError(
                    f"{self.at(index)}, column 'event_label': '{label}' is not a class of {classes_of}"
                    f"{nearest(label, classes)}"
                )
        clip, offset = clips[self.event], self.offset
        if durations is not None:
            ends = durations[clip]
            if (beyond := beyond_clips(self.onset, offset, ends)).any():
                raise self._beyond(int(beyond.argmax()), float(ends[beyond.argmax()]))
            offset = np.minimum(offset, ends)
        labels = [of_label[label] for label in self.labels]
        return event_table(clip, labels, self.onset, offset, merge=False)

    def _beyond(self, index: int, duration: float) -> InputError:
        """Return the error for an event beyond the end of its clip."""
        onset, offset = self.onset[index], self.offset[index]
        name, value = ("onset", onset) if onset >= duration else ("offset", offset)
        in_milliseconds = offset >= MILLISECONDS * duration and offset / 1000 <= duration + OVERHANG
        remedy = "milliseconds? divide them by 1000" if in_milliseconds else "give seconds from the start of the clip"
        return InputError(
            f"{self.at(index)}, column '{name}': {value:g} is after the end of the clip, {duration:g} s ({remedy})"
        )

    def at(self, index: int) -> str:
        """Return the place of an event, for messages."""
        return f"{self.place}: {self.rows[self.event[index]]}"


def read_event_list(source: pd.DataFrame | str | Path, name: str) -> EventList:
    """Read an event list; `name` is that of a DataFrame in messages.

    Raises
    ------
    InputError
        Naming the row and column: a column is missing, a time is not a number, or an offset is not after its onset.
    """
    place, rows, (filenames, onsets, offsets, labels) = read_columns(source, name, EVENT_COLUMNS)
    return _parse(place, rows, (filenames, onsets, offsets, list(map(_plain, labels))))


def refuse_milliseconds(estimate: EventList, reference: EventList) -> None:
    """Refuse a list whose times look like milliseconds next to the other, where the durations of clips are not known.

    Most of its events begin and last far longer than any of the other list, all of which they would fit as
    milliseconds. Detections in the silence of a long clip are late, too, but not hundreds of times as long.
    """
    if not (len(estimate.event) and len(reference.event)):
        return
    for events, others, times, name in (
        (estimate, reference, MILLISECONDS, "reference"),
        (reference, estimate, MILLISECONDS_OF_REFERENCE, "estimate"),
    ):
        last, longest = others.offset.max(), (others.offset - others.onset).max()
        late = float(np.median(events.offset)) >= times * last
        long = float(np.median(events.offset - events.onset)) >= times * longest
        if late and long and events.offset.max() / 1000 <= last + OVERHANG:
            row = int(events.offset.argmax())
            raise InputError(
                f"{events.at(row)}, column 'offset': {events.offset[row]:g} is far after the last event of the"
                f" {name}, {last:g} s (milliseconds? divide them by 1000)"
            )


def event_list_of(table: Table, *, skip_empty: bool = False) -> EventList:
    """Return the event list in a table that was read; errors as in `read_event_list`.

    With `skip_empty`, events that end where they begin are skipped: labels of recordings that end where their excerpt
    begins.
    """
    _require(EVENT_COLUMNS, table.header, str(table.path))
    columns = [table.column(name) for name in EVENT_COLUMNS]
    return _parse(str(table.path), [f"line {line}" for line in table.lines], columns, skip_empty=skip_empty)


def read_columns(
    source: pd.DataFrame | str | Path, name: str, columns: Sequence[str]
) -> tuple[str, list[str], list[list[str]]]:
    """Return the names of a table and of its rows in messages, and some columns as text."""
    if isinstance(source, str | Path):
        table = read_table(Path(source), lenient=True)
        _require(columns, table.header, str(source))
        return str(source), [f"line {line}" for line in table.lines], [table.column(column) for column in columns]
    header = list(getattr(source, "columns", ()))
    if not hasattr(source, "columns"):
        raise InputError(f"{name}: found {type(source).__name__}, expected a DataFrame or path")
    _require(columns, list(map(str, header)), name)
    refuse_doubles(header, name)
    return name, [f"row {row}" for row in source.index], [_texts(source[column], name) for column in columns]


def refuse_doubles(header: Sequence[Any], place: str) -> None:
    """Raise InputError if two columns have one name."""
    for index, name in enumerate(header):
        if name in header[:index]:
            raise InputError(f"{place}: two columns are named '{name}'; keep one")


def _require(columns: Sequence[str], header: Sequence[str], place: str) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        quoted = ", ".join(f"'{name}'" for name in missing)
        raise InputError(
            f"{place}: no column{'s' * (len(missing) > 1)} {quoted}; expected {', '.join(columns)}, found"
            f" {shortened(header)}"
        )


def _texts(column: pd.Series[Any], place: str) -> list[str]:
    """Return the values of a column as text: "" where missing, whole floats without their ".0"."""
    values = []
    for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True):
        if missing:
            values.append("")
        elif isinstance(value, float) and value.is_integer():
            values.append(str(int(value)))
        elif isinstance(value, bytes):  # as text, b'dog' would be another class than dog
            raise InputError(f"{place}: column '{column.name}': found the bytes {value!r}, expected text; decode them")
        else:
            values.append(str(value).strip())
    return values


def _plain(label: str) -> str:
    """Return a label, if it is a whole number without ".0"."""
    return label.removesuffix(".0") if re.fullmatch(r"-?\d+\.0", label) else label


def _parse(place: str, rows: Sequence[str], columns: Sequence[Sequence[str]], *, skip_empty: bool = False) -> EventList:
    filenames, onsets, offsets, labels = columns
    event, times = [], []
    for row, (onset, offset, label) in enumerate(zip(onsets, offsets, labels, strict=True)):
        if not (onset or offset or label):
            continue
        at = f"{place}: {rows[row]}"
        start, stop = (
            parse_number(text, f"{at}, column '{name}'") for text, name in ((onset, "onset"), (offset, "offset"))
        )
        if not label:
            raise InputError(f"{at}, column 'event_label': empty, expected a class")
        if start < 0:
            raise InputError(f"{at}, column 'onset': {start:g} is before the start of the clip")
        if skip_empty and start == stop:
            continue
        if stop <= start:
            raise InputError(f"{at}, column 'offset': {stop:g} is not after the onset {start:g}")
        if stop > MAX_SECONDS:
            raise InputError(
                f"{at}, column 'offset': {stop:g} is beyond {MAX_SECONDS:g} s; give seconds from the start of the clip"
            )
        event.append(row)
        times.append((start, stop))
    seconds = np.array(times, np.float64).reshape(-1, 2)
    return EventList(
        place, rows, filenames, np.array(event, np.int64), [labels[row] for row in event], seconds[:, 0], seconds[:, 1]
    )


def read_durations(source: pd.DataFrame | str | Path, name: str = "durations") -> dict[str, float]:
    """Return the seconds of each clip from a table of `filename` and `duration`."""
    place, rows, (names, texts) = read_columns(source, name, ("filename", "duration"))
    durations: dict[str, float] = {}
    for clip, text, row in zip(names, texts, rows, strict=True):
        at = f"{place}: {row}"
        seconds = parse_number(text, f"{at}, column 'duration'")
        if seconds <= 0:
            raise InputError(f"{at}, column 'duration': {text}, expected seconds above 0")
        if seconds > MAX_SECONDS:
            raise InputError(f"{at}, column 'duration': {text}, expected at most {MAX_SECONDS:g} seconds")
        if clip in durations:
            raise InputError(f"{at}: clip '{clip}' appears twice; keep one")
        durations[clip] = seconds
    return durations
