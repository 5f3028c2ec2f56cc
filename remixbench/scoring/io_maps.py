"""Reader of time-frequency maps (maps.npz): checked, and put in the order of the reference."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError, unknown
from remixbench.scoring.io import load_arrays, opened_arrays, read_array_header, strings
from remixbench.scoring.types import MAP_STEPS, FloatArray, IntArray, MapArray, Reference
from remixbench.scoring.validate import check_scores, clip_rows, match_classes, match_clips

MAPS = "maps.npz"
MAP_KEYS = ("clip", "label", "maps")
MEMBER = "maps.npy"
THRESHOLD_KEYS = ("thresholds", "classes")
BIN_KEYS = ("active_bins", "filename", "classes")


def read_maps(path: Path, reference: Reference, size: tuple[int, int]) -> tuple[IntArray, IntArray, MapArray]:
    """Return clip and class of every pair that the weak labels have, and the maps in steps of 1/255.

    Parameters
    ----------
    path : an .npz with `clip` (file names), `label` (classes), and `maps` (pairs, frames, bands), uint8 in steps of
        1/255 or floats in [0, 1], which are rounded to such steps. Nothing pickled is ever loaded.
    size : frames and bands of the data set's log-mel.

    Returns
    -------
    clip, label, maps : (pairs,), (pairs,) and (pairs, frames, bands), by clip and then class. Maps of classes that
        do not occur in their clip are passed over.

    Raises
    ------
    InputError
        If an array is missing or of another shape or type, a name is unknown, or a pair comes twice or not at all.
    """
    most = reference.weak.size * math.prod(size) * 8
    with (
        opened_arrays(path, MAP_KEYS, most) as arrays,
        zipfile.ZipFile(path) as archive,
        archive.open(MEMBER) as member,
    ):
        shape, fortran_order, dtype = read_array_header(member)
        if shape[1:] != size or not (dtype == np.uint8 or dtype.kind == "f"):
            raise InputError(
                f"{path}: 'maps' has shape {shape} and type {dtype}, expected uint8 or floats of"
                f" (pairs, {size[0]} frames, {size[1]} bands)"
            )
        names, labels = (_names(path, key, arrays[key], shape[0]) for key in MAP_KEYS[:2])
        clips, classes, order = _rows_of_pairs(path, names, labels, reference)
        maps = np.empty((len(order), *size), np.uint8)
        target = dict(zip(order.tolist(), range(len(order)), strict=True))
        where = ([f"frame {i}" for i in range(size[0])], [f"band {i}" for i in range(size[1])])
        # in Fortran order a map is spread over the whole member
        for row, one in enumerate(arrays[MAP_KEYS[2]] if fortran_order else _rows(member, shape, dtype)):
            at = ([f"clip '{names[row]}', class '{labels[row]}'"], *where)
            steps = _in_steps(one, f"{path}: 'maps'", at)
            if row in target:
                maps[target[row]] = steps
    return clips, classes, maps


def _rows(member: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
    """Yield the map of one pair after the other as the archive is unpacked, (frames, bands) each."""
    size = math.prod(shape[1:]) * dtype.itemsize
    for row in range(shape[0]):
        data = member.read(size)
        if len(data) < size:
            raise ValueError(f"'maps' ends in row {row} of {shape[0]}")
        yield np.frombuffer(data, dtype).reshape(shape[1:])


def _rows_of_pairs(
    path: Path, names: list[str], labels: list[str], reference: Reference
) -> tuple[IntArray, IntArray, IntArray]:
    """Return clip and class of every pair that the weak labels have, and its row in the file.

    Raises
    ------
    InputError
        If a name is unknown, or a pair comes twice or not at all.
    """
    column = {label: k for k, label in enumerate(reference.classes)}
    for row, label in enumerate(labels):
        if label not in column:
            raise InputError(f"{path}: 'label': row {row}: {unknown('class', label, column)}")
    place = np.full(reference.weak.shape, -1)
    rows = clip_rows(names, reference, f"{path}: 'clip'", [f"row {row}" for row in range(len(names))])
    for row, (clip, label) in enumerate(zip(rows, labels, strict=True)):
        before = place[clip, column[label]]
        if before >= 0:
            raise InputError(f"{path}: row {row}: '{names[row]}', '{label}' comes twice (before at row {before})")
        place[clip, column[label]] = row
    clips, classes = np.nonzero(reference.weak)
    order = place[clips, classes]
    missing = np.flatnonzero(order < 0)
    if len(missing):
        first = missing[0]
        raise InputError(
            f"{path}: {len(missing)} of {len(order)} maps missing, first of class"
            f" '{reference.classes[classes[first]]}' in clip '{reference.filenames[clips[first]]}'; give one for"
            " every class of every clip"
        )
    return clips, classes, order


def read_active_bins(path: Path, reference: Reference) -> IntArray | None:
    """Return how many bins of each map reach 0.1, (clips, classes), from a maps.npz; None where it does not tell.

    Parameters
    ----------
    path : an .npz with `active_bins` (clips, classes), whole numbers, and `filename` and `classes`, their rows and
        columns.

    Raises
    ------
    InputError
        If an array is missing or of another shape or type, or rows or columns are not those of the reference.
    """
    with np.load(path, allow_pickle=False) as archive:
        if BIN_KEYS[0] not in archive.files:
            return None
    arrays = load_arrays(path, BIN_KEYS, max(1 << 20, reference.weak.size * 64))
    counts = arrays["active_bins"]
    if counts.ndim != 2 or counts.dtype.kind not in "iu" or (counts.size and counts.min() < 0):
        raise InputError(
            f"{path}: 'active_bins' has shape {counts.shape} and type {counts.dtype}, expected whole numbers"
            " (clips, classes), none below 0"
        )
    names = _names(path, "filename", arrays["filename"], counts.shape[0])
    rows = match_clips(names, reference, f"{path}: 'filename'", [f"row {row}" for row in range(len(names))])
    columns = match_classes(
        _names(path, "classes", arrays["classes"], counts.shape[1]), reference, f"{path}: 'classes'"
    )
    return counts[np.ix_(rows, columns)].astype(np.int64)


def read_thresholds(path: Path, reference: Reference) -> FloatArray | None:
    """Return from which clip score on each class is detected, (classes,), from a maps.npz; None where it names none.

    Raises
    ------
    InputError
        If `thresholds` are not numbers in [0, 1], one for each of `classes`, or these are not the reference's.
    """
    with np.load(path, allow_pickle=False) as archive:
        if THRESHOLD_KEYS[0] not in archive.files:
            return None
    arrays = load_arrays(path, THRESHOLD_KEYS, max(1 << 20, len(reference.classes) * 64))
    values = arrays["thresholds"]
    if values.ndim != 1 or values.dtype.kind != "f":
        raise InputError(
            f"{path}: 'thresholds' has shape {values.shape} and type {values.dtype}, expected floats, one per class"
        )
    names = _names(path, "classes", arrays["classes"], len(values))
    check_scores(values, f"{path}: 'thresholds'", [[f"class '{name}'" for name in names]])
    return values[match_classes(names, reference, f"{path}: 'classes'")].astype(np.float64)


def _names(path: Path, key: str, array: npt.NDArray[Any], count: int) -> list[str]:
    if array.dtype.kind not in "US" or array.shape != (count,):
        raise InputError(
            f"{path}: '{key}' has shape {array.shape} and type {array.dtype}, expected {count} strings as in 'maps'"
        )
    return strings(array)


def _in_steps(one: npt.NDArray[Any], at: str, where: tuple[list[str], list[str], list[str]]) -> npt.NDArray[np.uint8]:
    """Return a map in steps of 1/255; InputError where it is of floats outside [0, 1]."""
    if one.dtype == np.uint8:
        return one
    check_scores(one[None], at, where)
    return np.rint(one.astype(np.float64) * MAP_STEPS).astype(np.uint8)
