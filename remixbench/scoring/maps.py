"""Reader of maps.npz: a system's time-frequency maps, checked, and put in order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError, unknown
from remixbench.scoring.npz import CHUNK, checked_names, name_bytes, open_npz
from remixbench.scoring.types import MAP_STEPS, MASK_STEPS, FloatArray, IntArray, MapArray, MaskArray, Reference
from remixbench.scoring.validate import check_scores, clip_rows, match_classes, match_clips


@dataclass(frozen=True)
class Maps:
    """A system's maps of every pair of clip and class that the weak labels have, by clip and then class.

    Attributes
    ----------
    clip, label : (pairs,) row and column in the `Reference`
    maps : (pairs, frames, bands) uint16, in steps of 1/65535
    active_bins : (clips, classes) how many bins of each map reach 0.1; None where the file does not say
    thresholds : (classes,) the clip score from which on each class is detected; None where the file does not say
    """

    clip: IntArray
    label: IntArray
    maps: MapArray
    active_bins: IntArray | None = None
    thresholds: FloatArray | None = None

    def in_mask_steps(self) -> MaskArray:
        """Return the maps in steps of 1/255, as `Masks` has them."""
        step = MAP_STEPS // MASK_STEPS
        steps = np.empty(self.maps.shape, np.uint8)
        for rounded, values in zip(steps, self.maps, strict=True):
            rounded[:] = values // step + (values % step > step // 2)
        return steps


def read_maps(path: Path, reference: Reference, size: tuple[int, int]) -> Maps:
    """Read a maps.npz; maps of classes that do not occur in their clip are ignored.

    Parameters
    ----------
    path : an .npz with `clip` (file names), `label` (classes), and `maps` (pairs, frames, bands), uint16 in steps of
        1/65535, uint8 in steps of 1/255, or floats in [0, 1], which are rounded to steps of 1/65535. It may have
        `active_bins` (clips, classes), whole numbers, and `thresholds` (classes,) in [0, 1], with `filename` and
        `classes` that name their rows and columns.
    size : frames and bands of the data set's log-mel.

    Raises
    ------
    InputError
        If an array is missing, not expected, or of another shape or type, a name is unknown, or a pair appears twice or
        not at all.
    """
    clips, classes = reference.weak.shape
    pair_names = name_bytes(clips * classes)
    required = {"clip": pair_names, "label": pair_names, "maps": clips * classes * math.prod(size) * 8}
    optional = {
        "filename": name_bytes(clips),
        "classes": name_bytes(classes),
        "active_bins": max(CHUNK, clips * classes * 64),
        "thresholds": name_bytes(classes),
    }
    with open_npz(path, required, optional) as arrays:
        header = arrays.headers["maps"]
        in_steps = header.dtype.newbyteorder("=") in (np.uint8, np.uint16)
        if header.shape[1:] != size or not (in_steps or header.dtype.kind == "f"):
            raise InputError(
                f"{path}: 'maps' has shape {header.shape} and type {header.dtype}, expected uint8, uint16 or floats of"
                f" (pairs, {size[0]} frames, {size[1]} bands)"
            )
        names, labels = (checked_names(path, key, arrays.read(key), header.shape[0]) for key in ("clip", "label"))
        clip, label, order = _rows_of_pairs(path, names, labels, reference)
        maps = np.empty((len(order), *size), np.uint16)
        target = dict(zip(order.tolist(), range(len(order)), strict=True))
        where = ([f"frame {i}" for i in range(size[0])], [f"band {i}" for i in range(size[1])])
        for row, values in enumerate(arrays.rows("maps")):
            at = ([f"clip '{names[row]}', class '{labels[row]}'"], *where)
            steps = _in_steps(values, f"{path}: 'maps'", at)
            if row in target:
                maps[target[row]] = steps
        extra = {key: arrays.read(key) for key in optional if key in arrays}
    active_bins = _active_bins(path, extra, reference, math.prod(size))
    return Maps(clip, label, maps, active_bins, _thresholds(path, extra, reference))


def _rows_of_pairs(
    path: Path, names: list[str], labels: list[str], reference: Reference
) -> tuple[IntArray, IntArray, IntArray]:
    """Return clip and class of every pair that the weak labels have, and its row in the file."""
    column = {label: k for k, label in enumerate(reference.classes)}
    for row, label in enumerate(labels):
        if label not in column:
            raise InputError(f"{path}: 'label': row {row}: {unknown('class', label, column)}")
    place = np.full(reference.weak.shape, -1)
    rows = clip_rows(names, reference.filenames, f"{path}: 'clip'")
    for row, (clip, label) in enumerate(zip(rows, labels, strict=True)):
        before = place[clip, column[label]]
        if before >= 0:
            raise InputError(f"{path}: row {row}: '{names[row]}', '{label}' appears twice (before at row {before})")
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


def _active_bins(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], reference: Reference, bins: int
) -> IntArray | None:
    """Return how many of the `bins` of each map reach 0.1, (clips, classes); None where the file does not say."""
    counts = arrays.get("active_bins")
    if counts is None:
        return None
    if counts.ndim != 2 or counts.dtype.kind not in "iu":
        raise InputError(
            f"{path}: 'active_bins' has shape {counts.shape} and type {counts.dtype}, expected whole numbers"
            " (clips, classes)"
        )
    if counts.size and not 0 <= int(counts.min()) <= int(counts.max()) <= bins:
        raise InputError(
            f"{path}: 'active_bins' has counts from {counts.min()} to {counts.max()}, expected 0 to {bins}, the bins of"
            " a map"
        )
    names = _names_beside(path, arrays, "active_bins", "filename", counts.shape[0])
    rows = match_clips(names, reference.filenames, f"{path}: 'filename'")
    labels = _names_beside(path, arrays, "active_bins", "classes", counts.shape[1])
    return counts[np.ix_(rows, match_classes(labels, reference.classes, f"{path}: 'classes'"))].astype(np.int64)


def _thresholds(path: Path, arrays: Mapping[str, npt.NDArray[Any]], reference: Reference) -> FloatArray | None:
    values = arrays.get("thresholds")
    if values is None:
        return None
    if values.ndim != 1 or values.dtype.kind != "f":
        raise InputError(
            f"{path}: 'thresholds' has shape {values.shape} and type {values.dtype}, expected floats, one per class"
        )
    labels = _names_beside(path, arrays, "thresholds", "classes", len(values))
    check_scores(values, f"{path}: 'thresholds'", [[f"class '{label}'" for label in labels]])
    return values[match_classes(labels, reference.classes, f"{path}: 'classes'")].astype(np.float64)


def _names_beside(path: Path, arrays: Mapping[str, npt.NDArray[Any]], values: str, key: str, count: int) -> list[str]:
    """Return the names of the rows or columns of an optional array, which must be there with it."""
    if key not in arrays:
        raise InputError(f"{path}: has '{values}' but no array '{key}', which names its entries")
    return checked_names(path, key, arrays[key], count, values)


def _in_steps(values: npt.NDArray[Any], at: str, where: tuple[list[str], list[str], list[str]]) -> MapArray:
    """Return a map in steps of 1/65535; InputError where it is of floats outside [0, 1]."""
    if values.dtype == np.uint8:
        return values.astype(np.uint16) * np.uint16(MAP_STEPS // MASK_STEPS)
    if values.dtype.kind == "u":
        return values.astype(np.uint16, copy=False)
    check_scores(values[None], at, where)
    return np.rint(values.astype(np.float64) * MAP_STEPS).astype(np.uint16)
