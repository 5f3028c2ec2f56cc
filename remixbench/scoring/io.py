"""Readers of references and predictions: formats are recognised by name and content, checked, and put in order."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError, nearest, unknown
from remixbench.files import check_regular, read_bytes
from remixbench.scoring.npz import CHUNK, name_bytes, read_npz, strings
from remixbench.scoring.types import (
    DECIMALS,
    EventTable,
    Float32Array,
    FloatArray,
    IntArray,
    Predictions,
    Reference,
    event_table,
    make_reference,
)
from remixbench.scoring.validate import check_scores, clip_rows, fit_edges, match_classes, match_clips
from remixbench.tables import Table, decode, number, parse_table, read_table

FRAME_KEYS = ("scores", "filename", "classes", "frame_seconds")
MAPS_HINT = "a file of time-frequency maps must be called maps.npz"
MAX_FRAME_RATE = 1000
"""Frames per second that frame scores may have at most."""
EVENT_COLUMNS = ("filename", "onset", "offset", "event_label")
EVENT_FILE = "events.tsv"
"""The event list in a folder of predictions, as `remixbench predict` writes it."""
FRAME_FOLDER = "frames"
"""The folder of frame scores in it, one TSV per clip, as `remixbench predict --frames` writes it."""
FORMS = (
    "tags.csv, frames.npz, a folder of one TSV per clip, an event list (events.tsv in a folder), maps.npz, or a folder"
    " of waveforms <clip>/<class>.wav"
)
OVERHANG = 0.1
"""Seconds that an event may stand over the end of its clip, as the last frame of a padded transform does; cut off."""


def read_reference(
    labels: Path,
    filenames: Sequence[str],
    classes: Sequence[str],
    *,
    recordings: Iterable[Iterable[Hashable]] | None = None,
) -> Reference:
    """Read the reference of the clips `filenames` from a folder with strong.tsv, weak.tsv and durations.tsv.

    Rows of other clips are passed over, so one folder serves every fold.

    Raises
    ------
    InputError
        If a file or column is missing, a label is unknown, a time is broken, or a clip has no row, or two in
        durations.tsv or weak.tsv.
    """
    row = {name: index for index, name in enumerate(filenames)}
    column = {name: index for index, name in enumerate(classes)}

    durations = np.zeros(len(row))
    table = _select(labels / "durations.tsv", ("filename", "duration"))
    for name, (seconds, line) in _once(table, filenames).items():
        durations[row[name]] = number(seconds, table.path, line, "duration")
        if durations[row[name]] <= 0:
            raise InputError(f"{table.path}: line {line}, column 'duration': {seconds}, expected seconds above 0")

    weak = np.zeros((len(row), len(column)), bool)
    table = _select(labels / "weak.tsv", ("filename", "event_labels"))
    for name, (joined, _) in _once(table, filenames).items():
        for label in filter(None, joined.split(",")):
            weak[row[name], _class(label, column, table)] = True

    table = _select(labels / "strong.tsv", ("filename", "onset", "offset", "event_label"))
    found: list[tuple[int, int, float, float]] = []
    for (name, onset, offset, label), line in zip(table.rows, table.lines, strict=True):
        if name in row and (onset or offset or label):
            times = (number(onset, table.path, line, "onset"), number(offset, table.path, line, "offset"))
            if times[0] == times[1]:  # of a recording that ends where its excerpt begins: nothing to detect
                continue
            _check_times(f"{table.path}: line {line}", *times, float(durations[row[name]]))
            found.append((row[name], _class(label, column, table), *times))
    events = event_table(*(list(zip(*found, strict=True)) or ([], [], [], [])))
    return make_reference(filenames, classes, events, durations, weak=weak, recordings=recordings)


def _select(path: Path, names: tuple[str, ...]) -> Table:
    table = read_table(path, lenient=True)
    if set(names) - set(table.header):
        raise InputError(f"{path}: has columns {', '.join(table.header)}; expected {', '.join(names)}")
    order = [table.header.index(name) for name in names]
    return Table(path, names, [[row[index] for index in order] for row in table.rows], table.lines, table.digest)


def _class(label: str, column: dict[str, int], table: Table) -> int:
    if label not in column:
        raise InputError(f"{table.path}: {unknown('class', label, column)}")
    return column[label]


def _once(table: Table, filenames: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return the second column and the line of every clip of `filenames`; InputError for one without a row, or two."""
    found: dict[str, tuple[str, int]] = {}
    wanted = set(filenames)
    for (name, value), line in zip(table.rows, table.lines, strict=True):
        if name in found:
            raise InputError(f"{table.path}: line {line}: clip '{name}' comes twice; leave one")
        if name in wanted:
            found[name] = value, line
    if missing := [name for name in filenames if name not in found]:
        raise InputError(f"{table.path}: has no row for clip '{missing[0]}'")
    return found


def read_predictions(path: Path, reference: Reference) -> Predictions:
    """Read predictions in any of the accepted forms, aligned with `reference`.

    A table with one column per class is read as clip scores, one with an `event_label` column as an event list, an .npz
    as frame scores. A folder holds tags.csv, frame scores (frames.npz, or one TSV per clip in it or in its folder
    `frames`) and events.tsv, or some of these, as `remixbench predict --out` writes them; where a clip is named
    `events`, that file has its frame scores. Maps and waveforms, which say nothing without the data set's stems, are
    passed over beside others.

    Raises
    ------
    InputError
        One line with file, row and column, what was found, what was expected, and the remedy.
    """
    try:
        return _read(path, reference)
    except InputError as error:
        # Names from the file stand in the message; what cannot be printed in them is escaped.
        message = str(error)
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
        raise InputError(shown) from None


def _read(path: Path, reference: Reference) -> Predictions:
    if path.is_dir():
        return _read_folder(path, reference)
    if not path.exists():
        raise InputError(f"{path}: no such file; expected {FORMS}")
    check_regular(path)
    if path.suffix.lower() == ".npz":
        return Predictions(None, *read_frames(path, reference))
    data = read_bytes(path)
    if data.startswith(b"PK"):
        raise InputError(f"{path}: an archive, not a table; name frame scores .npz")
    table = parse_table(path, data, lenient=True)
    if {"onset", "offset", "event_label"} & set(table.header):
        return Predictions(events=read_events(table, reference))
    return Predictions(read_tags(table, reference))


def holds_scores(folder: Path) -> bool:
    """Say whether a folder holds a file that `read_predictions` reads."""
    return (folder / "tags.csv").is_file() or (folder / "frames.npz").is_file() or bool(_frame_paths(folder))


def _read_folder(folder: Path, reference: Reference) -> Predictions:
    if not holds_scores(folder):
        raise InputError(f"{folder}: holds no tags.csv, frames.npz or .tsv; expected {FORMS}")
    tags, frames, events = folder / "tags.csv", folder / "frames.npz", folder / EVENT_FILE
    tables = _frame_paths(folder)
    listed = events in tables and not any(PurePath(name).stem == events.stem for name in reference.filenames)
    if listed:
        tables.remove(events)
    if tables and frames.is_file():
        raise InputError(f"{tables[0]}: {frames.name} beside it gives frame scores already; leave one of them out")
    clip_scores = read_tags(read_table(tags, lenient=True), reference) if tags.is_file() else None
    scores, edges = None, None
    if frames.is_file():
        scores, edges = read_frames(frames, reference)
    elif tables:
        scores, edges = _read_frame_tables(tables, reference, str(folder))
    found = read_events(read_table(events, lenient=True), reference) if listed else None
    return Predictions(clip_scores, scores, edges, found)


def read_tags(table: Table, reference: Reference) -> FloatArray:
    """Return (clips, classes) from a table of `filename` and one column per class."""
    header = table.header
    if "filename" not in header:
        raise InputError(
            f"{table.path}: no column 'filename' in its first line{nearest('filename', header)}; expected {FORMS}"
        )
    key = header.index("filename")
    labels = [name for name in header if name != "filename"]
    columns = match_classes(labels, reference, str(table.path))
    where = [f"line {line}" for line in table.lines]
    at = match_clips([row[key] for row in table.rows], reference, str(table.path), where)
    values = np.array(
        [
            [number(field, table.path, line, header[i]) for i, field in enumerate(row) if i != key]
            for row, line in zip(table.rows, table.lines, strict=True)
        ]
    )
    check_scores(values, str(table.path), (where, [f"column '{name}'" for name in labels]))
    return values[np.ix_(at, columns)]


def read_frames(path: Path, reference: Reference) -> tuple[Float32Array, FloatArray]:
    """Return (clips, frames, classes) and the frames' edges in seconds from an .npz.

    Keys: `scores` (clips, frames, classes), `filename`, `classes`, `frame_seconds`. Frame i lasts from
    i · frame_seconds to (i + 1) · frame_seconds. Nothing pickled is ever loaded.
    """
    clips, classes = reference.weak.shape
    frames = math.ceil(MAX_FRAME_RATE * float(reference.durations.max()))
    sizes = (clips * frames * classes * 8, name_bytes(clips), name_bytes(classes), CHUNK)
    arrays = read_npz(path, dict(zip(FRAME_KEYS, sizes, strict=True)), hint=f"; {MAPS_HINT}")
    scores, names, labels = arrays["scores"], arrays["filename"], arrays["classes"]
    if scores.ndim != 3 or scores.dtype.kind != "f":
        raise InputError(
            f"{path}: 'scores' has shape {scores.shape} and type {scores.dtype}, "
            "expected floats (clips, frames, classes)"
        )
    for key, values, count in (("filename", names, scores.shape[0]), ("classes", labels, scores.shape[2])):
        if values.dtype.kind not in "US" or values.shape != (count,):
            raise InputError(
                f"{path}: '{key}' has shape {values.shape} and type {values.dtype}, "
                f"expected {count} strings as in 'scores'"
            )
    edges = _edges(path, arrays["frame_seconds"], scores.shape[1], float(reference.durations.max()))
    clip_names, class_names = strings(names), strings(labels)
    columns = match_classes(class_names, reference, f"{path}: 'classes'")
    at = match_clips(clip_names, reference, f"{path}: 'filename'", [f"row {i}" for i in range(len(names))])
    axes = (
        [f"clip '{name}'" for name in clip_names],
        [f"frame {i}" for i in range(scores.shape[1])],
        [f"class '{name}'" for name in class_names],
    )
    check_scores(scores, f"{path}: 'scores'", axes)
    if (at != np.arange(len(at))).any():
        scores = scores[at]
    if (columns != np.arange(len(columns))).any():
        scores = scores[:, :, columns]
    return np.ascontiguousarray(scores, np.float32), edges


def _edges(path: Path, frame_seconds: npt.NDArray[Any], frames: int, duration: float) -> FloatArray:
    at = f"{path}: 'frame_seconds'"
    if frame_seconds.size != 1 or frame_seconds.dtype.kind not in "fiu":
        raise InputError(f"{at} has shape {frame_seconds.shape} and type {frame_seconds.dtype}, expected one number")
    step = float(frame_seconds.reshape(()))
    if not (np.isfinite(step) and step > 0):
        raise InputError(f"{at} is {step}, expected seconds above zero")
    edges = np.round(np.arange(frames + 1) * step, DECIMALS)
    return fit_edges(edges, duration, at)


def read_events(table: Table, reference: Reference) -> EventTable:
    """Return the events of a list; a clip without rows, or with a row that has only its name, has no events.

    Raises
    ------
    InputError
        Names file, line and column: unknown clip or class, times that are not numbers, not in order, not
        within the clip, or in milliseconds.
    """
    for name in table.header:
        if name not in (*EVENT_COLUMNS, "score"):
            raise InputError(
                f"{table.path}: column '{name}' is not one of {', '.join(EVENT_COLUMNS)}{nearest(name, EVENT_COLUMNS)}"
            )
    missing = [name for name in EVENT_COLUMNS if name not in table.header]
    if missing:
        raise InputError(f"{table.path}: no column '{missing[0]}'; an event list has {', '.join(EVENT_COLUMNS)}")
    order = [table.header.index(name) for name in EVENT_COLUMNS]
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
    return event_table(columns[0], columns[1], columns[2], columns[3], merge=False)


def _check_times(at: str, onset: float, offset: float, duration: float) -> None:
    if onset < 0:
        raise InputError(f"{at}, column 'onset': {onset:g} is before the start of the clip")
    if offset <= onset:
        raise InputError(f"{at}, column 'offset': {offset:g} is not after the onset {onset:g}")
    if onset >= duration or offset > duration + OVERHANG:
        name, value = ("onset", onset) if onset >= duration else ("offset", offset)
        remedy = "milliseconds? divide them by 1000" if offset / 1000 <= duration + OVERHANG else "give seconds"
        raise InputError(f"{at}, column '{name}': {value:g} is after the end of the clip, {duration:g} s ({remedy})")


def read_frame_tables(folder: Path, reference: Reference) -> tuple[Float32Array, FloatArray]:
    """Return (clips, frames, classes) and the frames' edges in seconds from the .tsv files of a folder.

    Raises
    ------
    InputError
        If a clip has no file or two, a file belongs to no clip, or a file's columns, times or scores are
        wrong: frames must follow each other without gaps and be the same in every file.
    """
    return _read_frame_tables(_frame_paths(folder), reference, str(folder))


def _read_frame_tables(paths: Sequence[Path], reference: Reference, where: str) -> tuple[Float32Array, FloatArray]:
    return stack_frame_tables(
        [str(path) for path in paths],
        [path.stem for path in paths],
        lambda i: _read_numbers(paths[i]),
        reference,
        where,
    )


def first_header(folder: Path) -> tuple[str, ...]:
    """Return the columns of the first table in a folder of frame scores; InputError where there is none."""
    paths = _frame_paths(folder) if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder}: not a folder of frame scores, one TSV per clip")
    return _read_numbers(paths[0])[0]


def _frame_paths(folder: Path) -> list[Path]:
    """Return the TSV files of a folder, and those of `frames` in it."""
    below = folder / FRAME_FOLDER
    files = [*folder.iterdir(), *(below.iterdir() if below.is_dir() else ())]
    return sorted(path for path in files if path.suffix == ".tsv" and not path.name.startswith("."))


def stack_frame_tables(
    places: Sequence[str],
    names: Sequence[str],
    load: Callable[[int], tuple[tuple[str, ...], FloatArray]],
    reference: Reference,
    where: str,
) -> tuple[Float32Array, FloatArray]:
    """Return (clips, frames, classes) and the frames' edges in seconds from one table of frame scores per clip.

    Parameters
    ----------
    places, names : what messages call each table, and which clip it is of.
    load : returns the columns of table i and its numbers, (frames, columns).
    where : what messages call all of them.

    Raises
    ------
    InputError
        As of `read_frame_tables`.
    """
    at = match_clips(names, reference, where, places)
    header: tuple[str, ...] = ()
    columns: IntArray = np.zeros(0, np.int64)
    edges: FloatArray = np.zeros(0)
    scores: Float32Array = np.zeros((0, 0, 0), np.float32)
    for row, index in enumerate(at):
        place = places[index]
        found, values = load(int(index))
        if found != header:
            columns, header = _columns(place, found, reference), found
        grid = _grid(place, values)
        if row == 0:
            edges = grid
            if len(grid) - 1 > MAX_FRAME_RATE * float(reference.durations.max()):
                raise InputError(
                    f"{place}: has {len(grid) - 1:,} frames, expected at most {MAX_FRAME_RATE} per second; average them"
                )
            scores = np.empty((len(names), len(grid) - 1, len(columns)), np.float32)
        elif len(grid) != len(edges) or (grid != edges).any():
            raise InputError(
                f"{place}: its {len(grid) - 1} frames up to {grid[-1]:g} s are not those of"
                f" {Path(places[at[0]]).name}, {len(edges) - 1} up to {edges[-1]:g} s; give every clip the same frames"
            )
        lines = ([f"line {line + 2}" for line in range(len(values))], [f"column '{name}'" for name in found[2:]])
        check_scores(values[:, 2:], place, lines)
        scores[row] = values[:, 2:][:, columns]
    return scores, fit_edges(edges, float(reference.durations.max()), where)


def _columns(place: str, header: tuple[str, ...], reference: Reference) -> IntArray:
    if header[:2] != ("onset", "offset"):
        raise InputError(
            f"{place}: begins with columns {', '.join(header[:2])}; expected onset, offset and one column per class"
        )
    return match_classes(header[2:], reference, place)


def _grid(place: str, values: FloatArray) -> FloatArray:
    onset, offset = np.round(values[:, 0], DECIMALS), np.round(values[:, 1], DECIMALS)
    if not len(values):
        raise InputError(f"{place}: has no frames")
    wrong = np.flatnonzero(~(np.append(offset[:-1], onset[0]) == np.append(onset[1:], 0.0)))
    if len(wrong):
        first = int(wrong[0])
        if first == len(values) - 1:
            raise InputError(f"{place}: line 2, column 'onset': the first frame begins at {onset[0]:g}, expected 0")
        raise InputError(
            f"{place}: line {first + 3}, column 'onset': {onset[first + 1]:g} is not where the frame before ends, "
            f"{offset[first]:g}; frames must follow each other without gaps"
        )
    return np.append(onset, offset[-1])


def _read_numbers(path: Path) -> tuple[tuple[str, ...], FloatArray]:
    """Return the header and the numbers of a table, by the quick way where its text is plain."""
    data = read_bytes(path)
    text = decode(path, data)
    head, _, body = text.replace("\r\n", "\n").partition("\n")
    header = tuple(name.strip() for name in head.split("\t"))
    lines = body.rstrip("\n").split("\n")
    plain = '"' not in text and "\r" not in body and len(set(header)) == len(header) and all(header)
    if plain and all(line.count("\t") == len(header) - 1 for line in lines) and "\t\t" not in body:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a field that is not a number: the slow way names it
            try:
                values = np.fromstring(body, sep="\t")
                if values.size == len(lines) * len(header):
                    return header, values.reshape(len(lines), len(header))
            except (DeprecationWarning, ValueError):
                pass
    table = parse_table(path, data, lenient=True)
    numbers = [
        [number(field, path, line, name) for field, name in zip(row, table.header, strict=True)]
        for row, line in zip(table.rows, table.lines, strict=True)
    ]
    return table.header, np.array(numbers).reshape(len(numbers), len(table.header))
