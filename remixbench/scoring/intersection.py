"""Intersection-based scores (Bilen et al. 2020): found is what enough of the truth, and of the detection, covers.

A detection is relevant if at least `dtc` of it lies on true events of its class, otherwise a false alarm; a
true event is found if relevant detections cover at least `gtc` of it. Lengths are whole microseconds, as
rounded by sed_scores_eval.
"""

from __future__ import annotations

import numpy as np

from remixbench.scoring.counting import Counts
from remixbench.scoring.event_based import tally
from remixbench.scoring.events import EventTable
from remixbench.scoring.matching import micro, overlapping_pairs

DTC = GTC = 0.5


def intersection_counts(
    reference: EventTable,
    estimate: EventTable,
    clips: int,
    classes: int,
    *,
    dtc: float = DTC,
    gtc: float = GTC,
) -> Counts:
    """Count found events, true events, and found events plus false alarms for each clip and class."""
    left, right, overlap = overlapping_pairs(reference, estimate, classes)
    on_truth = np.bincount(right, weights=overlap, minlength=len(estimate))
    relevant = on_truth >= np.rint(dtc * (micro(estimate.offset) - micro(estimate.onset)))
    covered = np.bincount(left, weights=overlap * relevant[right], minlength=len(reference))
    found = covered >= np.rint(gtc * (micro(reference.offset) - micro(reference.onset)))
    shape = (clips, classes)
    hits = tally(reference, shape, found)
    return Counts(hits, tally(reference, shape), hits + tally(estimate, shape, ~relevant))
