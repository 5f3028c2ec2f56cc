"""Which clips a run learns from, chooses its epoch on, and is tested on.

All choices are orders by a hash of seed and clip, so that they are the same on every machine and with every
version of every library, and a smaller part is always contained in a larger one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from remixbench.dataset.dataset import Dataset

Rows = NDArray[np.int64]
VALIDATION_PART = 10
"""One of how many training clips is kept for choosing the epoch, where the manifest has no validation part."""


@dataclass(frozen=True)
class Split:
    """Rows of the manifest, ascending; `validation` is empty where nothing is chosen on such a part.

    `origin` says where the validation part comes from: `manifest`, `training clips`, or `none`.
    """

    train: Rows
    validation: Rows
    test: Rows
    origin: str


def split(dataset: Dataset, fold: int, *, seed: int, select: str, fraction: float) -> Split:
    """Divide the clips for a run that is tested on `fold`.

    With `select="validation"` the manifest's validation part is used, or else a seeded tenth of the training
    clips. Clips with the same events (the released plan repeats its triplets on other scenes) go to one side
    together; single recordings may still occur on both. Otherwise all training clips are learned from.

    `fraction` is what a run sees in all: of the training clips and of the validation part alike the first
    part of a seeded, class-balanced order, so that little data means few labels for choosing the epoch too.
    The test clips are never thinned.
    """
    roles = dataset.roles(fold)
    train, validation, test = (np.flatnonzero(roles == role) for role in ("train", "validation", "test"))
    if select != "validation":
        validation, origin = validation[:0], "none"
    elif len(validation):
        origin = "manifest"
    else:
        events = [tuple(sorted(event.file for event in dataset.clips[row].events)) for row in train]
        ids = [dataset.clips[row].id for row in train]
        chosen = grouped_part(ids, events, seed)
        train, validation, origin = train[~chosen], train[chosen], "training clips"
    return Split(_first(dataset, train, seed, fraction), _first(dataset, validation, seed, fraction), test, origin)


def grouped_part(ids: Sequence[str], groups: Sequence[tuple[str, ...]], seed: int) -> NDArray[np.bool_]:
    """Choose about a tenth of the clips, whole groups at a time; a clip without events is a group of its own.

    Groups are taken in a seeded order as long as the tenth is not exceeded; where even the first is too
    large, the smallest is taken. At least one clip is left.
    """
    members: dict[str, list[int]] = {}
    for place, (clip, group) in enumerate(zip(ids, groups, strict=True)):
        members.setdefault("\n".join(group) or f"clip {clip}", []).append(place)
    if len(members) == 1:  # one group only: no way to keep it together
        members = {f"clip {ids[place]}": [place] for place in next(iter(members.values()))}
    chosen = np.zeros(len(ids), dtype=bool)
    wanted = math.ceil(len(ids) / VALIDATION_PART)
    order = sorted(members, key=lambda name: _hash(seed, "validation", name))
    for name in order:
        if chosen.sum() + len(members[name]) <= wanted:
            chosen[members[name]] = True
    if not chosen.any() and len(members) > 1:
        chosen[min((members[name] for name in order), key=len)] = True
    return chosen if not chosen.all() else np.zeros(len(ids), dtype=bool)


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
    taken = np.zeros(len(ids), dtype=bool)
    counts = np.where([bool(queue) for queue in waiting], 0, len(ids) * present.shape[1] + 1)
    order: list[int] = []
    while len(order) < len(ids):
        k = int(counts.argmin())
        queue = waiting[k]
        while queue and taken[queue[-1]]:
            queue.pop()
        if not queue:
            counts[k] = len(ids) * present.shape[1] + 1
            continue
        place = queue.pop()
        taken[place] = True
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
