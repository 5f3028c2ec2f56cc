"""Reading anybody's predictions: told apart by name and content, checked, put in the reference's order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError, nearest
from remixbench.scoring.event_lists import read_events
from remixbench.scoring.events import DECIMALS, FloatArray
from remixbench.scoring.frame_tables import read_frame_tables
from remixbench.scoring.predictions import (
    Float32Array,
    Predictions,
    check_scores,
    fit_edges,
    match_classes,
    match_clips,
)
from remixbench.scoring.reference import Reference
from remixbench.scoring.tables import Table, number, parse_table, read_table, read_text

FRAME_KEYS = ("scores", "filename", "classes", "frame_seconds")
FORMS = "tags.csv, frames.npz, a folder of one TSV a clip, or an event list"


def read_predictions(path: Path, reference: Reference) -> Predictions:
    """Read predictions in any of the accepted forms, aligned with `reference`.

    A table with one column a class is read as clip scores, one with an `event_label` column as an event list,
    an .npz as frame scores. A folder holds tags.csv, frames.npz or both, or else one TSV of frame scores a
    clip.

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
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected {FORMS}")
    if path.suffix.lower() == ".npz":
        return Predictions(None, *read_frames(path, reference))
    text = read_text(path)
    if text.startswith("PK"):
        raise InputError(f"{path}: an archive, not a table; name frame scores .npz")
    table = parse_table(path, text)
    if {"onset", "offset", "event_label"} & set(table.header):
        return Predictions(events=read_events(table, reference))
    return Predictions(read_tags(table, reference))


def _read_folder(folder: Path, reference: Reference) -> Predictions:
    tags, frames = folder / "tags.csv", folder / "frames.npz"
    if tags.is_file() or frames.is_file():
        clip_scores = read_tags(read_table(tags), reference) if tags.is_file() else None
        scores, edges = read_frames(frames, reference) if frames.is_file() else (None, None)
        return Predictions(clip_scores, scores, edges)
    if any(folder.glob("*.tsv")):
        return Predictions(None, *read_frame_tables(folder, reference))
    raise InputError(f"{folder}: holds no tags.csv, frames.npz or .tsv; expected {FORMS}")


def read_tags(table: Table, reference: Reference) -> FloatArray:
    """Return (clips, classes) from a table of `filename` and one column a class."""
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
    arrays = load_arrays(path, FRAME_KEYS)
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


def strings(array: npt.NDArray[Any]) -> list[str]:
    """Return an array of names as text; bytes are UTF-8."""
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in array.tolist()]


def load_arrays(path: Path, keys: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays `keys` of an .npz; InputError where it is none or one is missing."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive.files]
            if missing:
                found = ", ".join(archive.files) or "nothing"
                raise InputError(f"{path}: no array '{missing[0]}' (found {found}); expected {', '.join(keys)}")
            return {key: archive[key] for key in keys}
    except InputError:
        raise
    except Exception as error:  # a broken archive can raise almost anything: zlib, struct, tokenize, memory...
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not readable as an .npz without pickled objects ({reason})") from None


def _edges(path: Path, frame_seconds: npt.NDArray[Any], frames: int, duration: float) -> FloatArray:
    at = f"{path}: 'frame_seconds'"
    if frame_seconds.size != 1 or frame_seconds.dtype.kind not in "fiu":
        raise InputError(f"{at} has shape {frame_seconds.shape} and type {frame_seconds.dtype}, expected one number")
    step = float(frame_seconds.reshape(()))
    if not (np.isfinite(step) and step > 0):
        raise InputError(f"{at} is {step}, expected seconds above zero")
    edges = np.round(np.arange(frames + 1) * step, DECIMALS)
    return fit_edges(edges, duration, at)
