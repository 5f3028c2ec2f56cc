"""Frame-wise scores: a frame is true for a class if its centre lies in an event."""

from __future__ import annotations

import numpy as np

from remixbench.scoring.bootstrap import Figures
from remixbench.scoring.counting import Counts
from remixbench.scoring.events import BoolArray, EventTable, FloatArray
from remixbench.scoring.predictions import Float32Array
from remixbench.scoring.segment import fill
from remixbench.scoring.tagging import average_precision, mean_defined, rank


def frame_truth(events: EventTable, edges: FloatArray, clips: int, classes: int) -> BoolArray:
    """Return (clips, frames, classes): which frames are true."""
    centres = np.round((edges[:-1] + edges[1:]) / 2, 6)
    first, last = np.searchsorted(centres, events.onset), np.searchsorted(centres, events.offset)
    return fill(events, first, last, (clips, len(centres), classes))


def frame_counts(truth: BoolArray, said: BoolArray) -> Counts:
    """Count frames for each clip and class from two (clips, frames, classes) arrays."""
    return Counts(*(part.sum(1).astype(np.float64) for part in (truth & said, truth, said)))


def frame_precision(truth: BoolArray, scores: Float32Array, weights: FloatArray) -> Figures:
    """Return the average precision of frames, macro mean and per class, for weights (clips, resamples).

    One class is sorted at a time, so memory is that of one class.
    """
    clips, frames, classes = scores.shape
    clip = np.repeat(np.arange(clips), frames)
    each = np.empty((classes, weights.shape[1]))
    for k in range(classes):
        ranking = rank(truth[:, :, k].reshape(-1), scores[:, :, k].reshape(-1), clip, clips)
        each[k] = average_precision(ranking, weights)
    return {"frame_ap": mean_defined(each), "per_class_frame_ap": each}
