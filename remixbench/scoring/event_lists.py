"""Reading an event list (`filename onset offset event_label`, seconds): one row an event, any order."""

from __future__ import annotations

import numpy as np

from remixbench.errors import InputError, nearest
from remixbench.scoring.events import EventTable, event_table
from remixbench.scoring.predictions import clip_rows
from remixbench.scoring.reference import Reference
from remixbench.scoring.tables import Table, number

COLUMNS = ("filename", "onset", "offset", "event_label")
OVERHANG = 0.1
"""Seconds that an event may stand over the end of its clip, as the last frame of a padded transform does; cut off."""


def read_events(table: Table, reference: Reference) -> EventTable:
    """Return the events of a list; a clip without rows, or with a row that has only its name, has no events.

    Raises
    ------
    InputError
        Names file, line and column: unknown clip or class, times that are not numbers, not in order, not
        within the clip, or in milliseconds.
    """
    for name in table.header:
        if name not in COLUMNS:
            raise InputError(
                f"{table.path}: column '{name}' is not one of {', '.join(COLUMNS)}{nearest(name, COLUMNS)}"
            )
    missing = [name for name in COLUMNS if name not in table.header]
    if missing:
        raise InputError(f"{table.path}: no column '{missing[0]}'; an event list has {', '.join(COLUMNS)}")
    order = [table.header.index(name) for name in COLUMNS]
    rows = [[row[i] for i in order] for row in table.rows]
    clips = clip_rows([row[0] for row in rows], reference, str(table.path), [f"line {line}" for line in table.lines])
    labels = {name: k for k, name in enumerate(reference.classes)}
    found: list[tuple[int, int, float, float]] = []
    for (_, onset, offset, label), clip, line in zip(rows, clips.tolist(), table.lines, strict=True):
        if not (onset or offset or label):
            continue
        start = number(onset, table.path, line, "onset")
        stop = number(offset, table.path, line, "offset")
        _check_times(f"{table.path}: line {line}", start, stop, float(reference.durations[clip]))
        if label not in labels:
            raise InputError(
                f"{table.path}: line {line}, column 'event_label': '{label}' is no class of this data set"
                f"{nearest(label, labels)}"
            )
        found.append((clip, labels[label], start, min(stop, float(reference.durations[clip]))))
    columns = np.array(found, np.float64).reshape(-1, 4).T
    return event_table(columns[0], columns[1], columns[2], columns[3])


def _check_times(at: str, onset: float, offset: float, duration: float) -> None:
    if onset < 0:
        raise InputError(f"{at}, column 'onset': {onset:g} is before the start of the clip")
    if offset <= onset:
        raise InputError(f"{at}, column 'offset': {offset:g} is not after the onset {onset:g}")
    if onset >= duration or offset > duration + OVERHANG:
        name, value = ("onset", onset) if onset >= duration else ("offset", offset)
        remedy = "milliseconds? divide them by 1000" if offset / 1000 <= duration + OVERHANG else "give seconds"
        raise InputError(f"{at}, column '{name}': {value:g} is after the end of the clip, {duration:g} s ({remedy})")
