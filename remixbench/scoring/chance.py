"""What a system scores that knows nothing of the clips: one that gives every clip and frame the same score.

Only metrics over all thresholds have such a value; those at a threshold depend on which side of it the score lies. The
area under the ROC curve is 1/2 and an average precision the share of positives, since all scores tie. lwlrap ranks all
classes of a clip alike, so the precision of a label is the share of the clip's classes. PSDS counts one detection of
every class per clip, from its start to its end.
"""

from __future__ import annotations

import numpy as np

from remixbench.scoring.bootstrap import MetricValues, divide, mean_defined
from remixbench.scoring.detection import active_frames
from remixbench.scoring.psds_exact import PSDS, of_variant, psds_of_scores
from remixbench.scoring.types import FloatArray, Reference


def chance_values(reference: Reference, frame_edges: FloatArray) -> MetricValues:
    """Return the metrics of a constant score, (1,), and the average precision of each class, (classes, 1).

    Parameters
    ----------
    frame_edges : (frames + 1,) seconds; the frames that frame average precision is over.
    """
    weak = reference.weak.astype(np.float64)
    clips, classes = weak.shape
    labels = weak.sum(axis=1)
    precision = _shares(weak.mean(axis=0))
    frame_precision = _shares(active_frames(reference.events, frame_edges, clips, classes).mean(axis=(0, 1)))
    values = MetricValues(
        {
            "micro_ap": np.array([weak.mean()]),
            "macro_ap": mean_defined(precision),
            "macro_auc": np.array([0.5]),
            "lwlrap": divide(np.array([(labels**2).sum() / classes]), np.array([labels.sum()])),
            "frame_ap": mean_defined(frame_precision),
        },
        {"ap": precision, "frame_ap": frame_precision},
    )
    constant = np.full((clips, 1, classes), 0.5, np.float32)
    edges = np.array([0.0, reference.durations.max()])
    # a median filter leaves a constant as it is, and its bounding box is the whole clip
    criteria = PSDS | of_variant("median") | of_variant("sebb")
    psds = psds_of_scores(reference, constant, edges, np.ones((clips, 1)), criteria)
    values.update(MetricValues(psds.overall))
    return values


def _shares(positive: FloatArray) -> FloatArray:
    """Return the shares of positives by class, (classes, 1), NaN for a class without any."""
    return np.where(positive > 0, positive, np.nan)[:, None]
