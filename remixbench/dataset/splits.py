"""Which clips a run trains on, chooses its epoch on, and is tested on.

All choices are orders by a hash of seed, purpose and clip, so that they are the same on every machine and with every
version of every library, that no two choices depend on one another, and that a smaller part is always contained in a
larger one.

The validation part shares no event recording with the training part. Where the manifest has no such part, whole
connected components of clips that share event recordings are taken, about a tenth of the training clips. Where the
components are too large for that, validation clips are drawn one by one, and the clips that share a recording with
them are left out of training; where that would cost more than a third of the training clips, they stay, and the split
is flagged.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.groups import connected

Rows = NDArray[np.int64]
VALIDATION_SHARE = 0.1
"""Share of the training clips that is kept for choosing the epoch, where the manifest has no validation part."""
FEWEST, MOST = 0.05, 0.2
"""Between which shares a validation part of whole components must lie."""
MOST_LEFT_OUT = 1 / 3
"""Share of the training clips that may be left out because they share a recording with a validation clip."""
SHARED = "validation shares recordings with training"


@dataclass(frozen=True)
class Split:
    """Rows of the manifest, ascending; `validation` is empty where nothing is chosen on such a part.

    Attributes
    ----------
    origin : where the validation part comes from: `manifest`, `training clips`, or `none`
    flag : why the validation part is not as it should be; empty where it is
    """

    train: Rows
    validation: Rows
    test: Rows
    origin: str
    flag: str = ""


def splits(dataset: Dataset, fold: int, seed: int = 0) -> dict[str, Rows]:
    """Return the rows of the manifest to train on, to choose on, and to test on when `fold` is tested.

    They are those of `train --fold FOLD --seed SEED`: see `split`.

    Raises
    ------
    InputError
        If the data set has no such fold, or no other one to train on.
    """
    parts = split(dataset, fold, seed=seed)
    return {"train": parts.train, "validation": parts.validation, "test": parts.test}


def split(dataset: Dataset, fold: int, *, seed: int = 0, select: str = "validation", fraction: float = 1.0) -> Split:
    """Divide the clips for a run that is tested on `fold`.

    With `select="validation"` the manifest's validation part is used, or else one is taken from the training clips
    (module docstring). Otherwise all training clips are trained on.

    `fraction` is what a run sees in all: of the training clips and of the validation part alike the first
    part of a seeded, class-balanced order, so that little data means few labels for choosing the epoch too.
    The test clips are never thinned.

    Raises
    ------
    InputError
        If the data set has no such fold, or no other one to train on.
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
        chosen, left_out = validation_part(ids, recordings, dataset.weak[train], seed)
        flag = SHARED if _used(recordings, chosen) & _used(recordings, ~chosen & ~left_out) else ""
        train, validation, origin = train[~chosen & ~left_out], train[chosen], "training clips"
    return Split(
        _first(dataset, train, seed, fraction), _first(dataset, validation, seed, fraction), test, origin, flag
    )


def validation_part(
    ids: Sequence[str], recordings: Sequence[set[str]], weak: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Choose which training clips to validate on, and which to leave out of training.

    Parameters
    ----------
    ids : names of the training clips
    recordings : the event recordings of each
    weak : (clips, classes), which classes are in which clip

    Returns
    -------
    Two masks of the clips: the validation part, and the clips that are in neither part.
    """
    members = _components(ids, recordings)
    order = sorted(members, key=lambda name: _hash(seed, "validation", name))
    chosen = _whole_components([members[name] for name in order], weak, math.ceil(VALIDATION_SHARE * len(ids)))
    nobody = np.zeros(len(ids), dtype=bool)
    if FEWEST * len(ids) <= chosen.sum() <= MOST * len(ids):
        return chosen, nobody
    chosen = nobody.copy()
    alone = sorted(range(len(ids)), key=lambda place: _hash(seed, "validation", f"clip {ids[place]}"))
    chosen[alone[: min(math.ceil(VALIDATION_SHARE * len(ids)), len(ids) - 1)]] = True
    used = _used(recordings, chosen)
    left_out = np.array([bool(files & used) for files in recordings], dtype=bool) & ~chosen
    return chosen, left_out if left_out.sum() <= MOST_LEFT_OUT * len(ids) else nobody


def _components(ids: Sequence[str], recordings: Sequence[set[str]]) -> dict[str, list[int]]:
    """Return the places of the clips of each connected component, by its first recording, or its only clip."""
    keys = [sorted(files) or [f"clip {clip}"] for clip, files in zip(ids, recordings, strict=True)]
    members: dict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(connected(keys)):
        members[group].append(place)
    return {min(keys[place][0] for place in places): places for places in members.values()}


def _whole_components(components: Sequence[list[int]], weak: NDArray[np.bool_], wanted: int) -> NDArray[np.bool_]:
    """Take components in order while they fit into `wanted` clips, first those that bring a class not there yet.

    No component is taken that has the last clips of a class; where none fits, the smallest is taken.
    """
    chosen = np.zeros(len(weak), dtype=bool)
    left = weak.sum(axis=0)
    per_class = [weak[places].sum(axis=0) for places in components]
    covered = np.zeros(weak.shape[1], dtype=bool)

    def choose(k: int, most: int) -> bool:
        nonlocal left, covered
        places, counts = components[k], per_class[k]
        if chosen[places[0]] or chosen.sum() + len(places) > most or np.any((counts > 0) & (counts >= left)):
            return False
        chosen[places] = True
        left, covered = left - counts, covered | (counts > 0)
        return True

    for k in range(len(components)):
        if np.any((per_class[k] > 0) & ~covered):
            choose(k, wanted)
    for k in range(len(components)):
        choose(k, wanted)
    smallest = sorted(range(len(components)), key=lambda k: len(components[k]))
    if not chosen.any():
        next((k for k in smallest if choose(k, len(weak) - 1)), None)
    return chosen


def _used(recordings: Sequence[set[str]], part: NDArray[np.bool_]) -> set[str]:
    """Return the recordings of the clips of a part."""
    return set().union(*(files for files, in_part in zip(recordings, part, strict=True) if in_part))


def balanced_order(ids: Sequence[str], weak: NDArray[np.bool_], seed: int) -> Rows:
    """Return an order of the clips every beginning of which has its classes as evenly as they come.

    Again and again the class that has been taken least gives its next clip, in an order by hash; all classes
    of that clip count. Clips without events count as one more class.

    Parameters
    ----------
    ids : names of the clips.
    weak : (clips, classes), which classes are in which clip.
    """
    shuffled = sorted(range(len(ids)), key=lambda place: _hash(seed, "fraction", ids[place]))
    present = np.column_stack([weak, ~weak.any(axis=1)])
    waiting = [[place for place in reversed(shuffled) if present[place, k]] for k in range(present.shape[1])]
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
        place = queue.pop()
        ordered[place] = True
        counts += present[place]
        order.append(place)
    return np.array(order, dtype=np.int64)


def _first(dataset: Dataset, rows: Rows, seed: int, fraction: float) -> Rows:
    if fraction == 1 or not len(rows):
        return rows
    order = balanced_order([dataset.clips[row].id for row in rows], dataset.weak[rows], seed)
    return np.sort(rows[order[: math.ceil(fraction * len(rows) - 1e-9)]])


def _hash(seed: int, purpose: str, name: str) -> bytes:
    return hashlib.sha256(f"{purpose}\n{seed}\n{name}".encode()).digest()
