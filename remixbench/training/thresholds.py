"""From scores to decisions: thresholds found on weak labels, and events from frame scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RELEASE = 0.5
"""An event lasts while its score stays above this part of the threshold that begins it (Kong et al.: 0.1 to 0.2)."""
LONGEST_GAP = 0.32
"""Seconds; shorter gaps in an event are closed (Kong et al.: 10 frames of 32 ms)."""
SHORTEST_EVENT = 0.32
"""Seconds; shorter events are dropped (likewise)."""
LOWEST = float(np.finfo(np.float32).tiny)
"""No threshold is lower, so that a score of 0 is never a detection."""


@dataclass(frozen=True)
class Event:
    """A detected event: onset and offset in seconds, label, and score, the highest frame score in it, in [0, 1]."""

    onset: float
    offset: float
    label: str
    score: float


def best_thresholds(weak: NDArray[np.bool_], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each class the threshold at or above which the F1 against the weak labels is highest.

    It lies half way between the lowest score that is accepted and the next one below, and always above 0: a score of
    0 is never accepted. A class that is in no clip, or in all, or has no other score than 0, says nothing about its
    threshold and gets that of all classes together.

    Parameters
    ----------
    weak, scores : (clips, classes)
    """
    together = _best(weak.reshape(-1), scores.reshape(-1))
    each = [
        _best(weak[:, k], scores[:, k])
        if weak[:, k].any() and not weak[:, k].all() and (scores[:, k] > 0).any()
        else together
        for k in range(weak.shape[1])
    ]
    return np.array(each, dtype=np.float32)


def _best(weak: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    if not weak.any() or not (scores > 0).any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order].astype(np.float64), np.cumsum(weak[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + hits[-1])
    last_of_its_score = np.append(falling[:-1] != falling[1:], True)
    best = int(np.where(last_of_its_score & (falling > 0), f1, -1).argmax())
    below = falling[best + 1] if best + 1 < len(falling) else 0.0
    return max(float((falling[best] + below) / 2), LOWEST)


def events(
    frames: NDArray[np.float32], thresholds: NDArray[np.float32], classes: tuple[str, ...], frame_seconds: float
) -> list[Event]:
    """Return the events in frame scores (frames, classes), by onset; frame i lasts from i to i + 1 times
    `frame_seconds`.

    An event begins where the threshold is reached and reaches out to both sides as long as half of it is;
    then gaps are closed and what is short is dropped.
    """
    found = []
    gap, shortest = (round(seconds / frame_seconds) for seconds in (LONGEST_GAP, SHORTEST_EVENT))
    for k, label in enumerate(classes):
        sure = frames[:, k] >= thresholds[k]
        if not sure.any():
            continue
        spans = [
            (start, stop) for start, stop in _spans(frames[:, k] >= RELEASE * thresholds[k]) if sure[start:stop].any()
        ]
        for start, stop in _joined(spans, gap):
            if stop - start >= shortest:
                score = float(frames[start:stop, k].max())
                found.append(Event(start * frame_seconds, stop * frame_seconds, label, score))
    return sorted(found, key=lambda event: (event.onset, event.label))


def _spans(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, one past the last) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _joined(spans: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in spans:
        if joined and start - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined
