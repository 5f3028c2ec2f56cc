"""The training, validation and test clips of a run.

All choices sort by a hash of seed, purpose and clip. So they are the same on every machine and with every library
version, they are independent of one another, and a smaller part is always a subset of a larger one.

The validation part shares no event recording with the training part. If the manifest has no validation part, about a
tenth of the training clips is taken, as whole connected components of clips that share event recordings. If components
are too large for that, validation clips are drawn one by one, and clips that share a recording with them are left out
of training; if that would cost more than a third of the training clips, they are kept, and the split is flagged.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.groups import connected

Rows = NDArray[np.int64]
VALIDATION_SHARE = 0.1
"""Share of the training clips used for validation if the manifest has no validation part."""
FEWEST, MOST = 0.05, 0.2
"""Smallest and largest share of a validation part of whole components."""
MOST_LEFT_OUT = 1 / 3
"""Largest share of training clips left out because they share a recording with a validation clip."""
SHARED = "validation shares recordings with training"


@dataclass(frozen=True)
class Split:
    """Rows of the manifest, ascending; `validation` is empty if the run has no validation part.

    Attributes
    ----------
    origin : where the validation part comes from: `manifest`, `training clips`, or `none`
    flag : what is wrong with the validation part; empty if nothing is
    """

    train: Rows
    validation: Rows
    test: Rows
    origin: str
    flag: str = ""


def splits(dataset: Dataset | str | Path, fold: int, seed: int = 0) -> dict[str, Rows]:
    """Return the manifest rows of the training, validation and test clips, as in `train --fold FOLD --seed SEED`.

    `dataset` may be the path of a data set, as for `ClipDataset`.

    Raises
    ------
    InputError
        If the data set has no such fold, or no other one to train on.
    """
    parts = split(find_dataset(".", dataset), fold, seed=seed)
    return {"train": parts.train, "validation": parts.validation, "test": parts.test}


def split(dataset: Dataset, fold: int, *, seed: int = 0, select: str = "validation", fraction: float = 1.0) -> Split:
    """Split the clips for a run that is tested on `fold`.

    With `select="validation"` the validation part is that of the manifest, or else taken from the training clips (see
    the module docstring). Otherwise all training clips are used for training.

    `fraction` reduces both the training and the validation part to the start of a seeded, class-balanced order: with
    little data, few labels are available for choosing the epoch too. The test clips are never reduced. Raises
    `InputError` if the data set has no such fold, or no other one to train on.
    """
    roles = dataset.roles(fold)
    train, validation, test = (np.flatnonzero(roles == role) for role in ("train", "validation", "test"))
    flag = ""
    if select != "validation":
        validation, origin = validation[:0], "none"
    elif len(validation):
        origin = "manifest"
    else:
        ids = [dataset.clips[row].id for row in train]
        recordings = [{event.file for event in dataset.clips[row].events} for row in train]
        in_validation, left_out = validation_part(ids, recordings, dataset.weak[train], seed)
        flag = SHARED if _used(recordings, in_validation) & _used(recordings, ~in_validation & ~left_out) else ""
        train, validation, origin = train[~in_validation & ~left_out], train[in_validation], "training clips"
    return Split(
        _first(dataset, train, seed, fraction), _first(dataset, validation, seed, fraction), test, origin, flag
    )


def validation_part(
    ids: Sequence[str], recordings: Sequence[set[str]], weak: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Choose validation clips among the training clips, and clips to leave out of training.

    Parameters
    ----------
    ids : names of the training clips
    recordings : event recordings of each clip
    weak : (clips, classes), weak labels

    Returns
    -------
    Two masks, (clips,): the validation part, and the clips that are in neither part.
    """
    members = _components(ids, recordings)
    order = sorted(members, key=lambda name: _hash(seed, "validation", name))
    in_validation = _choose_components([members[name] for name in order], weak, math.ceil(VALIDATION_SHARE * len(ids)))
    none = np.zeros(len(ids), dtype=bool)
    if FEWEST * len(ids) <= in_validation.sum() <= MOST * len(ids):
        return in_validation, none
    in_validation = none.copy()
    shuffled = sorted(range(len(ids)), key=lambda row: _hash(seed, "validation", f"clip {ids[row]}"))
    in_validation[shuffled[: min(math.ceil(VALIDATION_SHARE * len(ids)), len(ids) - 1)]] = True
    used = _used(recordings, in_validation)
    left_out = np.array([bool(files & used) for files in recordings], dtype=bool) & ~in_validation
    return in_validation, left_out if left_out.sum() <= MOST_LEFT_OUT * len(ids) else none


def _components(ids: Sequence[str], recordings: Sequence[set[str]]) -> dict[str, list[int]]:
    """Return the rows of each connected component of clips, by the name of its first recording or its only clip."""
    keys = [sorted(files) or [f"clip {clip}"] for clip, files in zip(ids, recordings, strict=True)]
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(connected(keys)):
        members[group].append(row)
    return {min(keys[row][0] for row in rows): rows for rows in members.values()}


def _choose_components(components: Sequence[list[int]], weak: NDArray[np.bool_], most_clips: int) -> NDArray[np.bool_]:
    """Choose components in order while they fit into `most_clips` clips, first those that add a class.

    A component with the last clips of a class is never chosen; if no component fits, the smallest is chosen.
    """
    mask = np.zeros(len(weak), dtype=bool)
    remaining = weak.sum(axis=0)
    per_class = [weak[rows].sum(axis=0) for rows in components]
    covered = np.zeros(weak.shape[1], dtype=bool)

    def choose(k: int, most: int) -> bool:
        nonlocal remaining, covered
        rows, counts = components[k], per_class[k]
        if mask[rows[0]] or mask.sum() + len(rows) > most or np.any((counts > 0) & (counts >= remaining)):
            return False
        mask[rows] = True
        remaining, covered = remaining - counts, covered | (counts > 0)
        return True

    for k in range(len(components)):
        if np.any((per_class[k] > 0) & ~covered):
            choose(k, most_clips)
    for k in range(len(components)):
        choose(k, most_clips)
    smallest = sorted(range(len(components)), key=lambda k: len(components[k]))
    if not mask.any():
        next((k for k in smallest if choose(k, len(weak) - 1)), None)
    return mask


def _used(recordings: Sequence[set[str]], part: NDArray[np.bool_]) -> set[str]:
    return set().union(*(files for files, in_part in zip(recordings, part, strict=True) if in_part))


def balanced_order(ids: Sequence[str], weak: NDArray[np.bool_], seed: int) -> Rows:
    """Return an order of the clips whose every prefix is as balanced over classes as possible.

    The rarest class so far repeatedly provides the next clip, in an order by hash; all classes of the clip are counted.
    Clips without events count as one more class.

    Parameters
    ----------
    ids : names of the clips.
    weak : (clips, classes), weak labels.
    """
    shuffled = sorted(range(len(ids)), key=lambda row: _hash(seed, "fraction", ids[row]))
    present = np.column_stack([weak, ~weak.any(axis=1)])
    waiting = [[row for row in reversed(shuffled) if present[row, k]] for k in range(present.shape[1])]
    ordered = np.zeros(len(ids), dtype=bool)
    counts = np.where([bool(queue) for queue in waiting], 0, len(ids) * present.shape[1] + 1)
    order: list[int] = []
    while len(order) < len(ids):
        k = int(counts.argmin())
        queue = waiting[k]
        while queue and ordered[queue[-1]]:
            queue.pop()
        if not queue:
            counts[k] = len(ids) * present.shape[1] + 1
            continue
        row = queue.pop()
        ordered[row] = True
        counts += present[row]
        order.append(row)
    return np.array(order, dtype=np.int64)


def _first(dataset: Dataset, rows: Rows, seed: int, fraction: float) -> Rows:
    if fraction == 1 or not len(rows):
        return rows
    order = balanced_order([dataset.clips[row].id for row in rows], dataset.weak[rows], seed)
    return np.sort(rows[order[: math.ceil(fraction * len(rows) - 1e-9)]])


def _hash(seed: int, purpose: str, name: str) -> bytes:
    return hashlib.sha256(f"{purpose}\n{seed}\n{name}".encode()).digest()
