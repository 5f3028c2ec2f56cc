"""Readers of references and predictions: formats are recognised by name and content, checked, and put in order."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError, nearest, unknown
from remixbench.files import check_regular, read_bytes
from remixbench.scoring.events import EVENT_COLUMNS, event_list_of, read_durations
from remixbench.scoring.npz import CHUNK, checked_names, name_bytes, open_npz, read_npz, strings
from remixbench.scoring.types import (
    DECIMALS,
    EventTable,
    FloatArray,
    IntArray,
    Predictions,
    Reference,
    ScoreArray,
    make_reference,
)
from remixbench.scoring.validate import check_scores, clip_rows, fit_edges, match_classes, match_clips
from remixbench.tables import Table, decode, number, parse_table, read_table

FRAME_KEYS = ("scores", "filename", "classes", "frame_seconds")
OTHER_ARRAYS = {"maps": "a file of time-frequency maps must be called maps.npz"}
MAX_TABLE_BYTES = 256 << 20
"""The largest table of predictions: tags of 15,000 clips and 400 classes take a fifth of it."""
MAX_FRAME_RATE = 1000
"""The most frames per second of frame scores."""
MAX_CLIP_SECONDS = 3600.0
"""The longest clip with frame scores, where durations are not known yet."""
MAPS = "maps.npz"
VALIDATION = "validation.npz"
"""Frame scores of validation clips, beside predictions: what bounding boxes are tuned on."""
EVENT_FILE = "events.tsv"
"""The event list in a folder of predictions, as `remixbench predict` writes it."""
FRAME_FOLDER = "frames"
"""The folder of frame scores in a folder of predictions, one TSV per clip, as `predict --frames` writes it."""
TIME_WORDS = {"start", "begin", "onset", "end", "stop", "offset", "tmin", "tmax", "duration"}
"""What other programs call the times of an event."""
WAVEFORM_SUFFIXES = (".wav", ".flac")
"""Of separated waveforms, `<clip>/<class>.wav`."""
FORMS = (
    "tags.csv, frames.npz, a folder of one TSV per clip, an event list (events.tsv in a folder), maps.npz, or a folder"
    " of waveforms <clip>/<class>.wav"
)


def read_reference(
    labels: Path,
    filenames: Sequence[str],
    classes: Sequence[str],
    *,
    recordings: Iterable[Iterable[Hashable]] | None = None,
) -> Reference:
    """Read the reference of the clips `filenames` from a folder with strong.tsv, weak.tsv and durations.tsv.

    Rows of other clips are ignored, so one folder serves every fold.

    Raises
    ------
    InputError
        If a file or column is missing, a label is unknown, a time is broken, or a clip has no row or two rows in
        durations.tsv or weak.tsv.
    """
    row = {name: index for index, name in enumerate(filenames)}
    column = {name: index for index, name in enumerate(classes)}

    seconds = read_durations(labels / "durations.tsv")
    _require_rows(labels / "durations.tsv", seconds, filenames)
    durations = np.array([seconds[name] for name in filenames])

    table = read_table(labels / "weak.tsv", ("filename", "event_labels"), lenient=True)
    weak = np.zeros((len(row), len(column)), bool)
    named: set[str] = set()
    for name, joined, line in zip(table.column("filename"), table.column("event_labels"), table.lines, strict=True):
        if name in row:
            if name in named:
                raise InputError(f"{table.path}: line {line}: clip '{name}' appears twice; keep one")
            named.add(name)
            for label in filter(None, joined.split(",")):
                if label not in column:
                    raise InputError(f"{table.path}: line {line}: {unknown('class', label, column)}")
                weak[row[name], column[label]] = True
    _require_rows(table.path, named, filenames)

    table = read_table(labels / "strong.tsv", EVENT_COLUMNS, lenient=True)
    kept = [index for index, name in enumerate(table.column("filename")) if name in row]
    table = replace(table, rows=[table.rows[index] for index in kept], lines=[table.lines[index] for index in kept])
    listed = event_list_of(table, skip_empty=True)
    clips = np.array([row[name] for name in listed.filenames], np.int64)
    events = listed.table(clips, classes, durations)
    return make_reference(filenames, classes, events, durations, weak=weak, recordings=recordings)


def _require_rows(path: Path, named: Container[str], filenames: Sequence[str]) -> None:
    if missing := [name for name in filenames if name not in named]:
        raise InputError(f"{path}: has no row for clip '{missing[0]}'")


def read_predictions(path: Path, reference: Reference) -> Predictions:
    """Read predictions in any of the accepted forms, aligned with `reference`.

    A table with one column per class is read as clip scores, one with an `event_label` column as an event list, an .npz
    as frame scores. A folder holds tags.csv, frame scores (frames.npz, or one TSV per clip in it or in its folder
    `frames`) and events.tsv, or some of these, as `remixbench predict --out` writes them; if a clip is named
    `events`, that file holds its frame scores. Maps and waveforms, which can only be scored with the data set's stems,
    are skipped beside other forms.

    Raises
    ------
    InputError
        One line with file, row and column, what was found, what was expected, and the remedy.
    """
    if path.is_dir():
        return _read_folder(path, reference)
    if not path.exists():
        raise InputError(f"{path}: no such file; expected {FORMS}")
    check_regular(path)
    if path.suffix.lower() == ".npz":
        return Predictions(None, *read_frames(path, reference))
    data = read_bytes(path, MAX_TABLE_BYTES)
    if data.startswith(b"PK"):
        raise InputError(f"{path}: an archive, not a table; name frame scores .npz")
    table = parse_table(path, data, lenient=True)
    if _is_event_list(table.header, reference.classes):
        return Predictions(events=read_events(table, reference))
    return Predictions(read_tags(table, reference))


def _is_event_list(header: Sequence[str], classes: Sequence[str]) -> bool:
    """Say whether a table is meant as an event list, whatever its column names, rather than scores of classes."""
    if set(header) & set(EVENT_COLUMNS[1:]):
        return True
    words = {word for name in header for word in re.split(r"[^a-z]+", name.casefold())}
    return not set(header) & set(classes) and bool(words & TIME_WORDS)


def holds_scores(folder: Path) -> bool:
    """Say whether a folder holds a file that `read_predictions` reads."""
    return (folder / "tags.csv").is_file() or (folder / "frames.npz").is_file() or bool(frame_paths(folder))


def has_waveforms(path: Path) -> bool:
    """Say whether a folder holds waveforms, `<clip>/<class>.wav` or .flac."""
    return path.is_dir() and any(file.suffix.lower() in WAVEFORM_SUFFIXES for file in path.glob("*/*"))


def files_named(paths: Sequence[Path], name: str) -> list[Path]:
    """Return the files of a name among files and folders of predictions."""
    files = [path / name if path.is_dir() else path for path in paths]
    return [file for file in files if file.name == name and file.exists()]


def map_files(paths: Sequence[Path]) -> list[Path]:
    """Return the maps.npz among files and folders of predictions."""
    return files_named(paths, MAPS)


def stems_alone(path: Path) -> bool:
    """Say whether predictions are maps or waveforms only, which are scored against the stems alone."""
    if path.is_dir():
        return (has_waveforms(path) or (path / MAPS).is_file()) and not holds_scores(path)
    return path.name == MAPS


def read_all(paths: Sequence[Path], reference: Reference) -> Predictions:
    """Read what can be scored without stems of one system's predictions, files and folders of different forms.

    InputError if one is not usable, two are of the same form, or all are of validation clips.
    """
    if paths and all(path.name == VALIDATION for path in paths):
        raise InputError(f"{paths[0]}: frame scores of validation clips, for tuning; give predictions with it: {FORMS}")
    forms: dict[str, Any] = {}
    for path in paths:
        if stems_alone(path) or path.name == VALIDATION:
            continue
        predictions = read_predictions(path, reference)
        for form in fields(Predictions):
            if (value := getattr(predictions, form.name)) is None:
                continue
            if form.name in forms:
                what = form.name.replace("_", " ")
                raise InputError(f"{path}: gives {what}, and so does a file before it; leave one out")
            forms[form.name] = value
    return Predictions(**forms)


def _read_folder(folder: Path, reference: Reference) -> Predictions:
    if not holds_scores(folder):
        raise InputError(f"{folder}: holds no tags.csv, frames.npz or .tsv; expected {FORMS}")
    tags, frames, events = folder / "tags.csv", folder / "frames.npz", folder / EVENT_FILE
    tables = frame_paths(folder)
    listed = events in tables and not any(PurePath(name).stem == events.stem for name in reference.filenames)
    if listed:
        tables.remove(events)
    if tables and frames.is_file():
        raise InputError(f"{tables[0]}: {frames.name} beside it gives frame scores already; leave one of them out")
    clip_scores = (
        read_tags(read_table(tags, lenient=True, max_bytes=MAX_TABLE_BYTES), reference) if tags.is_file() else None
    )
    scores, edges = None, None
    if frames.is_file():
        scores, edges = read_frames(frames, reference)
    elif tables:
        scores, edges = _read_frame_tables(tables, reference, str(folder))
    event_list = read_table(events, lenient=True, max_bytes=MAX_TABLE_BYTES) if listed else None
    detected = None if event_list is None else read_events(event_list, reference)
    return Predictions(clip_scores, scores, edges, detected)


def read_tags(table: Table, reference: Reference) -> FloatArray:
    """Return (clips, classes) from a table of `filename` and one column per class."""
    header = table.header
    if "filename" not in header:
        raise InputError(
            f"{table.path}: no column 'filename' in its first line{nearest('filename', header)}; expected {FORMS}"
        )
    key = header.index("filename")
    labels = [name for name in header if name != "filename"]
    columns = match_classes(labels, reference.classes, str(table.path))
    where = [f"line {line}" for line in table.lines]
    at = match_clips([row[key] for row in table.rows], reference.filenames, str(table.path), where)
    values = np.array(
        [
            [number(field, table.path, line, header[i]) for i, field in enumerate(row) if i != key]
            for row, line in zip(table.rows, table.lines, strict=True)
        ]
    )
    check_scores(values, str(table.path), (where, [f"column '{name}'" for name in labels]))
    return values[np.ix_(at, columns)]


def read_frames(path: Path, reference: Reference) -> tuple[ScoreArray, FloatArray]:
    """Return (clips, frames, classes) and the frames' edges in seconds from an .npz.

    Keys: `scores` (clips, frames, classes), `filename`, `classes`, `frame_seconds`. Frame i lasts from
    i · frame_seconds to (i + 1) · frame_seconds. Nothing pickled is ever loaded.
    """
    clips, classes = reference.weak.shape
    sizes = _frame_sizes(clips, classes, float(reference.durations.max()))
    arrays = read_npz(path, sizes, hints=OTHER_ARRAYS)
    scores = arrays["scores"]
    if scores.ndim != 3 or scores.dtype.kind != "f":
        raise InputError(
            f"{path}: 'scores' has shape {scores.shape} and type {scores.dtype}, "
            "expected floats (clips, frames, classes)"
        )
    clip_names = checked_names(path, "filename", arrays["filename"], scores.shape[0], "scores")
    class_names = checked_names(path, "classes", arrays["classes"], scores.shape[2], "scores")
    edges = _edges(path, arrays["frame_seconds"], scores.shape[1], float(reference.durations.max()))
    columns = match_classes(class_names, reference.classes, f"{path}: 'classes'")
    at = match_clips(clip_names, reference.filenames, f"{path}: 'filename'")
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
    # in the precision of the file, as rounding could move a score over a threshold, or make two scores equal
    return np.ascontiguousarray(scores, np.float32 if scores.dtype.itemsize <= 4 else np.float64), edges


def _edges(path: Path, frame_seconds: npt.NDArray[Any], frames: int, duration: float) -> FloatArray:
    at = f"{path}: 'frame_seconds'"
    if frame_seconds.size != 1 or frame_seconds.dtype.kind not in "fiu":
        raise InputError(f"{at} has shape {frame_seconds.shape} and type {frame_seconds.dtype}, expected one number")
    step = float(frame_seconds.reshape(()))
    if not (np.isfinite(step) and step > 0):
        raise InputError(f"{at} is {step}, expected seconds above zero")
    edges = np.round(np.arange(frames + 1) * step, DECIMALS)
    return fit_edges(edges, duration, at)


def read_validation(
    path: Path, labels: Path, clips: Sequence[str], classes: Sequence[str]
) -> tuple[Reference, ScoreArray, FloatArray]:
    """Read frame scores of validation clips and their labels, for tuning a post-processing.

    Parameters
    ----------
    path : an .npz as in `read_frames`, of any of `clips`.
    labels : folder of label files, as in `read_reference`.
    clips : names of the clips that may be tuned on.

    Returns
    -------
    The reference of the clips in the file, their scores (clips, frames, classes), and the frames' edges in seconds.
    """
    with open_npz(path, _frame_sizes(len(clips), len(classes), MAX_CLIP_SECONDS), hints=OTHER_ARRAYS) as arrays:
        named = strings(arrays.read("filename").reshape(-1))
    rows = clip_rows(named, clips, f"{path}: 'filename'", clips_of="the folds that are not tested")
    filenames = [clips[row] for row in dict.fromkeys(rows.tolist())]
    if not filenames:
        raise InputError(f"{path}: holds no clip")
    reference = read_reference(labels, filenames, classes)
    return reference, *read_frames(path, reference)


def _frame_sizes(clips: int, classes: int, seconds: float) -> dict[str, int]:
    """Return the largest sizes of the arrays of frame scores."""
    frames = math.ceil(MAX_FRAME_RATE * seconds)
    return dict(
        zip(FRAME_KEYS, (clips * frames * classes * 8, name_bytes(clips), name_bytes(classes), CHUNK), strict=True)
    )


def read_events(table: Table, reference: Reference) -> EventTable:
    """Return the events of a list; a clip without rows, or with a row that has only its name, has no events."""
    listed = event_list_of(table)
    clips = clip_rows(listed.filenames, reference.filenames, listed.place, listed.rows)
    return listed.table(clips, reference.classes, reference.durations)


def _read_frame_tables(paths: Sequence[Path], reference: Reference, where: str) -> tuple[ScoreArray, FloatArray]:
    """Return (clips, frames, classes) and the frames' edges in seconds from one table of frame scores per clip.

    Frames must be the same in every file.
    """
    first = ""
    edges: FloatArray = np.zeros(0)
    scores: FloatArray = np.zeros((0, 0, 0))
    places, names = [str(path) for path in paths], [path.stem for path in paths]

    def load(index: int) -> tuple[tuple[str, ...], FloatArray]:
        return read_numbers(paths[index])

    tables = frame_tables(places, names, load, reference.filenames, reference.classes, where)
    for row, (place, grid, values) in enumerate(tables):
        if row == 0:
            first, edges = place, grid
            scores = np.empty((len(paths), *values.shape))
        elif len(grid) != len(edges) or (grid != edges).any():
            raise InputError(
                f"{place}: its {len(grid) - 1} frames up to {grid[-1]:g} s are not those of"
                f" {Path(first).name}, {len(edges) - 1} up to {edges[-1]:g} s; give every clip the same frames"
            )
        scores[row] = values
    return scores, fit_edges(edges, float(reference.durations.max()), where)


def frame_paths(folder: Path) -> list[Path]:
    """Return the TSV files of a folder, and those of `frames` in it."""
    below = folder / FRAME_FOLDER
    files = [*folder.iterdir(), *(below.iterdir() if below.is_dir() else ())]
    return sorted(path for path in files if path.suffix == ".tsv" and not path.name.startswith("."))


def frame_tables(
    places: Sequence[str],
    names: Sequence[str],
    load: Callable[[int], tuple[tuple[str, ...], FloatArray]],
    filenames: Sequence[str],
    classes: Sequence[str],
    where: str,
) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    """Yield, for each clip, the name of its table in messages, frame edges in seconds, and scores (frames, classes).

    Frames may differ between clips.

    Parameters
    ----------
    places, names : the name of each table in messages, and its clip.
    load : returns the columns of table i and its numbers, (frames, columns).
    filenames, classes : the expected clips and classes, in the order of the result.
    where : the name of all tables in messages.
    """
    header: tuple[str, ...] = ()
    columns: IntArray = np.zeros(0, np.int64)
    for index in match_clips(names, filenames, where, places):
        place = places[index]
        named, values = load(int(index))
        if named != header:
            if named[:2] != ("onset", "offset"):
                raise InputError(
                    f"{place}: begins with columns {', '.join(named[:2])}; expected onset, offset and one column per"
                    " class"
                )
            columns, header = match_classes(named[2:], classes, place), named
        grid = _grid(place, values)
        if len(grid) - 1 > max(1.0, MAX_FRAME_RATE * grid[-1]):
            raise InputError(
                f"{place}: has {len(grid) - 1:,} frames, expected at most {MAX_FRAME_RATE} per second; average them"
            )
        lines = ([f"line {line + 2}" for line in range(len(values))], [f"column '{name}'" for name in named[2:]])
        check_scores(values[:, 2:], place, lines)
        yield place, grid, values[:, 2:][:, columns]


def _grid(place: str, values: FloatArray) -> FloatArray:
    onset, offset = np.round(values[:, 0], DECIMALS), np.round(values[:, 1], DECIMALS)
    if not len(values):
        raise InputError(f"{place}: has no frames")
    gaps = np.flatnonzero(~(np.append(offset[:-1], onset[0]) == np.append(onset[1:], 0.0)))
    if len(gaps):
        first = int(gaps[0])
        if first == len(values) - 1:
            raise InputError(f"{place}: line 2, column 'onset': the first frame begins at {onset[0]:g}, expected 0")
        raise InputError(
            f"{place}: line {first + 3}, column 'onset': {onset[first + 1]:g} is not where the frame before ends, "
            f"{offset[first]:g}; frames must follow each other without gaps"
        )
    return np.append(onset, offset[-1])


def read_numbers(path: Path) -> tuple[tuple[str, ...], FloatArray]:
    """Return the header and the numbers of a table; plain tables are parsed faster."""
    data = read_bytes(path, MAX_TABLE_BYTES)
    text = decode(path, data)
    head, _, body = text.replace("\r\n", "\n").partition("\n")
    header = tuple(name.strip() for name in head.split("\t"))
    if '"' not in text and len(set(header)) == len(header) and all(header) and body.strip():
        with suppress(ValueError):  # a field that is not a number, or a row too short: the slow way names it
            values = np.loadtxt(body.rstrip("\n").split("\n"), delimiter="\t", comments=None, ndmin=2)
            if values.shape == (body.rstrip("\n").count("\n") + 1, len(header)):
                return header, values
    table = parse_table(path, data, lenient=True)
    numbers = [
        [number(field, path, line, name) for field, name in zip(row, table.header, strict=True)]
        for row, line in zip(table.rows, table.lines, strict=True)
    ]
    return table.header, np.array(numbers).reshape(len(numbers), len(table.header))
