"""Event-based scores (Mesaros, Heittola, Virtanen 2016): found is what begins, and ends, close enough.

The onset must lie within a collar; the offset within the collar or a share of the true length, whichever is
more. Each event is matched once: the largest matching counts, as sed_eval's default.

Times are compared as whole microseconds; the figures equal those of sed_scores_eval to 1e-9. sed_eval
compares floats and misses events exactly on the collar, such as the frame edge 3.2 s for the onset 3.0 s: on
the noisy scores of benchmarks/score.py its onset F1 is 0.1927 where ours is 0.1946, with offsets 0.0122 where
ours is 0.0134. Where no event lies exactly on the collar the two are equal. Its `percentage_of_length` is 0.5
by default; DCASE's is 0.2.
"""

from __future__ import annotations

import numpy as np

from remixbench.scoring.counting import Counts
from remixbench.scoring.events import EventTable, FloatArray
from remixbench.scoring.matching import micro, onset_pairs

COLLAR = 0.2
SHARE = 0.2


def event_counts(
    reference: EventTable,
    estimate: EventTable,
    clips: int,
    classes: int,
    *,
    offsets: bool,
    collar: float = COLLAR,
    share: float = SHARE,
) -> Counts:
    """Count found events for each clip and class.

    Parameters
    ----------
    offsets : whether the offset must be right too
    collar : seconds
    share : of the true length that the offset may be off
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    within = round(collar * 1_000_000)
    left, right = onset_pairs(reference, estimate, classes, within)
    if offsets:
        allowed = np.maximum(within, np.rint(share * micro(reference.offset - reference.onset)))
        close = np.abs(micro(reference.offset)[left] - micro(estimate.offset)[right]) <= allowed[left]
        left, right = left[close], right[close]
    graph = csr_matrix((np.ones(len(left), np.int8), (left, right)), shape=(len(reference), max(1, len(estimate))))
    found = maximum_bipartite_matching(graph, "column") >= 0 if len(left) else np.zeros(len(reference), bool)
    shape = (clips, classes)
    return Counts(tally(reference, shape, found), tally(reference, shape), tally(estimate, shape))


def tally(events: EventTable, shape: tuple[int, int], keep: np.ndarray | slice = slice(None)) -> FloatArray:
    """Return how many events (of those kept) each clip has of each class."""
    cell = (events.clip * shape[1] + events.label)[keep]
    return np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
