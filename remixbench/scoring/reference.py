"""What is true of the clips of one fold: the ground truth that predictions are scored against."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError, unknown
from remixbench.scoring.events import BoolArray, EventTable, FloatArray, IntArray, event_table, tags_of
from remixbench.scoring.tables import Table, number, read_table


@dataclass(frozen=True)
class Reference:
    """The ground truth of a fold; rows are clips in the order of the manifest, columns classes.

    Attributes
    ----------
    filenames : names such as '06000.wav', each once
    classes : labels in the order of the data set
    weak : (clips, classes) bool, whether the class occurs in the clip
    events : the strong labels, same-class events that touch merged
    durations : (clips,) seconds
    groups : (clips,) int from 0; clips with the same event recordings share a group and are resampled
    together
    """

    filenames: tuple[str, ...]
    classes: tuple[str, ...]
    weak: BoolArray
    events: EventTable
    durations: FloatArray
    groups: IntArray


def make_reference(
    filenames: Sequence[str],
    classes: Sequence[str],
    events: EventTable,
    durations: npt.ArrayLike,
    *,
    weak: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
) -> Reference:
    """Make a reference from plain arrays.

    Without `weak` it follows from the events; without `groups` each clip is a group of its own.

    Raises
    ------
    InputError
        If names repeat, shapes do not agree, a duration is not above zero, or there is no clip or class.
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
    tags = tags_of(events, *shape) if weak is None else np.asarray(weak, bool)
    group = np.arange(shape[0]) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if tags.shape != shape or group.shape != shape[:1]:
        raise InputError(f"the reference's labels have shape {tags.shape}, expected {shape} (clips, classes)")
    return Reference(names, labels, tags, events, seconds, group.astype(np.int64))


def groups_of(keys: Iterable[Hashable]) -> IntArray:
    """Number clips by what they are made of: equal keys (such as sets of recordings) share a number."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def read_reference(
    labels: Path,
    filenames: Sequence[str],
    classes: Sequence[str],
    *,
    groups: npt.ArrayLike | None = None,
) -> Reference:
    """Read the reference of the clips `filenames` from a folder with strong.tsv, weak.tsv and durations.tsv.

    Rows of other clips are passed over, so one folder serves every fold.

    Raises
    ------
    InputError
        If a file or column is missing, a label is unknown, a time is broken, or a clip has no row.
    """
    row = {name: index for index, name in enumerate(filenames)}
    column = {name: index for index, name in enumerate(classes)}

    durations = np.full(len(row), np.nan)
    table = _columns(labels / "durations.tsv", ("filename", "duration"))
    for (name, seconds), line in zip(table.rows, table.lines, strict=True):
        if name in row:
            durations[row[name]] = number(seconds, table.path, line, "duration")
    _all_named(table, durations, filenames)

    weak = np.full((len(row), len(column)), np.nan)
    table = _columns(labels / "weak.tsv", ("filename", "event_labels"))
    for name, joined in table.rows:
        if name in row:
            weak[row[name]] = 0
            for label in filter(None, joined.split(",")):
                weak[row[name], _class(label, column, table)] = 1
    _all_named(table, weak[:, 0], filenames)

    table = _columns(labels / "strong.tsv", ("filename", "onset", "offset", "event_label"))
    found: list[tuple[int, int, float, float]] = []
    for (name, onset, offset, label), line in zip(table.rows, table.lines, strict=True):
        if name in row and (onset or offset or label):
            times = (number(onset, table.path, line, "onset"), number(offset, table.path, line, "offset"))
            found.append((row[name], _class(label, column, table), *times))
    events = event_table(*(list(zip(*found, strict=True)) or ([], [], [], [])))
    return make_reference(filenames, classes, events, durations, weak=weak == 1, groups=groups)


def _columns(path: Path, names: tuple[str, ...]) -> Table:
    table = read_table(path)
    if set(names) - set(table.header):
        raise InputError(f"{path}: has columns {', '.join(table.header)}; expected {', '.join(names)}")
    order = [table.header.index(name) for name in names]
    return Table(path, names, [[row[index] for index in order] for row in table.rows], table.lines)


def _class(label: str, column: dict[str, int], table: Table) -> int:
    if label not in column:
        raise InputError(f"{table.path}: {unknown('class', label, column)}")
    return column[label]


def _all_named(table: Table, values: FloatArray, filenames: Sequence[str]) -> None:
    if np.isnan(values).any():
        raise InputError(f"{table.path}: has no row for clip '{filenames[int(np.isnan(values).argmax())]}'")
