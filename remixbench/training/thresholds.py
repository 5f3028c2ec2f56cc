"""From scores to decisions: a threshold per class, fitted to weak labels.

Thresholds are fitted to the validation clips (to the training clips where there are none). A class with few positives
says little about its own threshold, so thresholds are shrunk to the one of all classes together, and none is lower than
`FLOOR`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PRIOR = 5.0
"""Positives that the threshold of all classes together counts as, beside those of the class."""
FEW_CLIPS = 100
"""Thresholds from fewer clips are rough."""
FLOOR = 0.01
"""The lowest threshold; lower ones rest on the order of scores that are all near 0."""


def fit_thresholds(weak: NDArray[np.bool_], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a threshold for each class, at which the F1 against the weak labels is high.

    The best one lies half way between the lowest score that is accepted and the next one below. In logits, the best one
    of the class is averaged with that of all classes together, weighted by the number of its positives and by `PRIOR`.
    A class that is in no clip, or in all, or has no other score than 0, gets that of all classes together.

    Parameters
    ----------
    weak, scores : (clips, classes)
    """
    together = _best(weak.reshape(-1), scores.reshape(-1))
    found = np.full(weak.shape[1], together)
    for k in range(weak.shape[1]):
        mine, positives = weak[:, k], int(weak[:, k].sum())
        if 0 < positives < len(mine) and (scores[:, k] > 0).any():
            own = _logit(_best(mine, scores[:, k]))
            found[k] = _sigmoid((positives * own + PRIOR * _logit(together)) / (positives + PRIOR))
    fitted: NDArray[np.float32] = np.maximum(found, FLOOR).astype(np.float32)
    return fitted


def _best(weak: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    """Return the threshold of the highest F1; a score of 0 is never accepted."""
    if not weak.any() or not (scores > 0).any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order].astype(np.float64), np.cumsum(weak[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + hits[-1])
    last_of_its_score = np.append(falling[:-1] != falling[1:], True)
    best = int(np.where(last_of_its_score & (falling > 0), f1, -1).argmax())
    below = falling[best + 1] if best + 1 < len(falling) else 0.0
    return float((falling[best] + below) / 2)


def _logit(score: float) -> float:
    inside = min(max(score, 1e-9), 1 - 1e-9)
    return float(np.log(inside / (1 - inside)))


def _sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def describe_thresholds(
    tags: NDArray[np.float32], frames: NDArray[np.float32], clips: int | None = None, origin: str | None = None
) -> str:
    """Return the range of the thresholds of clip and frame scores as text, and the number of clips they come from."""
    ranges = [
        f"{name} scores {each.min():.3f} to {each.max():.3f}" for name, each in (("clip", tags), ("frame", frames))
    ]
    source = "" if clips is None else f", from {clips} {origin}"
    rough = "; so few make rough thresholds" if clips is not None and clips < FEW_CLIPS else ""
    return f"thresholds per class: {', '.join(ranges)}{source}{rough}"
