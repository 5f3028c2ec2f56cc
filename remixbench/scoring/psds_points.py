"""How the counts behind PSDS change as the threshold falls: one change point a row, kept apart by clip.

Every detection of `stretches` is counted once where it appears and once where it vanishes. Kept apart by clip, the
counts of any resample are one sparse product away.

In a resample, thresholds at which the whole fold has over twice the largest rate (and ten) are not looked at:
they could matter only if a draw held less than half of the false alarms. The figure itself is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from remixbench.scoring.events import FloatArray, IntArray, select_class
from remixbench.scoring.matching import expand, micro
from remixbench.scoring.predictions import Float32Array
from remixbench.scoring.reference import Reference
from remixbench.scoring.stretches import Stretches, stretches_of

MAX_RATE = 100.0
"""False alarms an hour up to which PSDS takes the area."""


@dataclass(frozen=True)
class Criteria:
    """What PSDS asks for; without cross triggers `alpha_ct` is 0."""

    dtc: float
    gtc: float
    cttc: float
    alpha_ct: float
    alpha_st: float


@dataclass(frozen=True)
class Curve:
    """How counts of one class change as the threshold falls, each change point a row.

    Attributes
    ----------
    found, false : (points, clips) sparse; change of found events and of false alarms
    crossed : (points, pairs) sparse; change of cross triggers of each other class in each clip (`pairs` of
    `Truth`)
    """

    found: sparse.csr_matrix
    false: sparse.csr_matrix
    crossed: sparse.csr_matrix


@dataclass(frozen=True)
class Truth:
    """True events by pairs of clip and class that have any, in the order of clip and class.

    Attributes
    ----------
    clip, label : (pairs,)
    seconds : (pairs,) how long the class sounds in the clip
    events : (pairs,) how many events it has there
    cover : (pairs, frames + 1) microseconds of it before each frame edge
    first : (clips + 1,) the first pair of each clip
    """

    clip: IntArray
    label: IntArray
    seconds: FloatArray
    events: FloatArray
    cover: IntArray
    first: IntArray


def truth_of(reference: Reference, edges: FloatArray) -> Truth:
    """Return the true events by pairs of clip and class, on a grid of frame edges in seconds."""
    events = reference.events
    clips, classes = reference.weak.shape
    keys, pair = np.unique(events.clip * classes + events.label, return_inverse=True)
    onset, offset, grid = micro(events.onset), micro(events.offset), micro(edges)
    cover = np.zeros((len(keys), len(grid)), np.int64)
    np.add.at(cover, pair, np.clip(grid - onset[:, None], 0, (offset - onset)[:, None]))
    clip = keys // classes
    length = np.bincount(pair, weights=events.offset - events.onset, minlength=len(keys)).astype(np.float64)
    number = np.bincount(pair, minlength=len(keys)).astype(np.float64)
    return Truth(clip, keys % classes, length, number, cover, np.searchsorted(clip, np.arange(clips + 1)))


def curves(
    reference: Reference, truth: Truth, scores: Float32Array, edges: FloatArray, criteria: list[Criteria]
) -> list[list[Curve]]:
    """Return for each of the criteria the curves of the classes that have events, in order of class.

    Parameters
    ----------
    scores : (clips, frames, classes)
    edges : (frames + 1,) seconds
    """
    limit = 2 * MAX_RATE * reference.durations.sum() / 3600 + 10
    result: list[list[Curve]] = [[] for _ in criteria]
    for label in np.unique(truth.label):
        detections = stretches_of(np.ascontiguousarray(scores[:, :, label].T))
        for made, each in zip(result, criteria, strict=True):
            made.append(_curve(reference, truth, detections, micro(edges), int(label), each, limit))
    return result


def _curve(
    reference: Reference,
    truth: Truth,
    detections: Stretches,
    grid: IntArray,
    label: int,
    criteria: Criteria,
    limit: float,
) -> Curve:
    clips, levels = len(reference.filenames), len(detections.scores)
    length = grid[detections.stop] - grid[detections.start]
    pair_of = np.full(clips, -1)
    mine = np.flatnonzero(truth.label == label)
    pair_of[truth.clip[mine]] = mine
    at = pair_of[detections.clip]
    relevant = np.zeros(len(length), bool)
    some = np.flatnonzero(at >= 0)
    relevant[some] = _overlap(truth, at[some], detections, some) >= np.rint(criteria.dtc * length[some])
    if criteria.dtc <= 0:
        relevant[:] = True
    wrong = np.flatnonzero(~relevant)

    alarms = np.bincount(detections.birth[wrong], minlength=levels + 1)
    alarms -= np.bincount(detections.death[wrong], minlength=levels + 1)
    kept = np.cumsum(alarms[:-1]) <= limit
    # Changes at levels that are passed over are added to the next one that is kept.
    row = np.concatenate((np.cumsum(kept) - kept, [int(kept.sum())]))
    rows = int(kept.sum())

    false = _changes(row, rows, detections, wrong, detections.clip[wrong], clips)
    found = _found(reference, truth, detections, grid, label, np.flatnonzero(relevant), criteria, row, rows)
    crossed = sparse.csr_matrix((rows, len(truth.clip)))
    if criteria.alpha_ct > 0:
        # The last row that is kept bounds what has to be looked at.
        wrong = wrong[row[detections.birth[wrong]] < rows]
        ways = truth.first[detections.clip[wrong]]
        until = truth.first[detections.clip[wrong] + 1]
        which, pair = expand(ways, until)
        other = truth.label[pair] != label
        which, pair = wrong[which[other]], pair[other]
        hit = _overlap(truth, pair, detections, which) >= np.rint(criteria.cttc * length[which])
        crossed = _changes(row, rows, detections, which[hit], pair[hit], len(truth.clip))
    busy = np.flatnonzero(sum(np.diff(matrix.indptr) for matrix in (false, found, crossed)))
    return Curve(found[busy], false[busy], crossed[busy])


def _overlap(truth: Truth, pair: IntArray, detections: Stretches, which: IntArray) -> IntArray:
    """Return the microseconds of true sound of each pair within each detection."""
    cover = truth.cover.reshape(-1)
    base = pair * truth.cover.shape[1]
    overlap: IntArray = cover[base + detections.stop[which]] - cover[base + detections.start[which]]
    return overlap


def _changes(
    row: IntArray, rows: int, detections: Stretches, which: IntArray, column: IntArray, columns: int
) -> sparse.csr_matrix:
    """Return (rows, columns): +1 where each of the detections appears, -1 where it vanishes."""
    at = np.concatenate((row[detections.birth[which]], row[detections.death[which]]))
    sign = np.repeat([1.0, -1.0], len(which))
    return _matrix(at, np.concatenate((column, column)), sign, rows, columns)


def _matrix(row: IntArray, column: IntArray, value: FloatArray, rows: int, columns: int) -> sparse.csr_matrix:
    inside = row < rows
    matrix = sparse.csr_matrix((value[inside], (row[inside], column[inside])), shape=(rows, columns))
    matrix.eliminate_zeros()
    return matrix


def _found(
    reference: Reference,
    truth: Truth,
    detections: Stretches,
    grid: IntArray,
    label: int,
    relevant: IntArray,
    criteria: Criteria,
    row: IntArray,
    rows: int,
) -> sparse.csr_matrix:
    """Return (rows, clips): how many true events become found, less those no longer found."""
    events = select_class(reference.events, label)
    onset, offset = micro(events.onset), micro(events.offset)
    clip = detections.clip[relevant]
    which, event = expand(np.searchsorted(events.clip, clip), np.searchsorted(events.clip, clip, "right"))
    which = relevant[which]
    overlap = np.minimum(grid[detections.stop[which]], offset[event])
    overlap -= np.maximum(grid[detections.start[which]], onset[event])
    touching = overlap > 0
    which, event, overlap = which[touching], event[touching], overlap[touching]

    level = np.concatenate((detections.birth[which], detections.death[which]))
    amount = np.concatenate((overlap, -overlap))
    event = np.concatenate((event, event))
    order = np.lexsort((level, event))
    level, amount, event = level[order], amount[order], event[order]
    # Each event's changes sum to what never vanishes; its own sum starts again at zero.
    total = np.cumsum(amount)
    opening = np.concatenate(([True], event[1:] != event[:-1]))[: len(event)]
    before = (total - amount)[opening]
    covered = total - np.repeat(before, np.diff(np.concatenate((np.flatnonzero(opening), [len(event)]))))
    closing = np.concatenate(((event[1:] != event[:-1]) | (level[1:] != level[:-1]), [True]))[: len(event)]
    level, event, covered = level[closing], event[closing], covered[closing]
    met = (covered >= np.rint(criteria.gtc * (offset - onset))[event]).astype(np.float64)
    same = np.concatenate(([False], event[1:] == event[:-1]))[: len(event)]
    change = met - np.where(same, np.concatenate(([0.0], met[:-1]))[: len(met)], 0.0)
    return _matrix(row[level], events.clip[event], change, rows, len(reference.filenames))
