"""The metrics of Kong et al. 2019, computed as their released code does, to stand beside their published values.

All four are means over all classes of the data set, an undefined F1 counting as 0:

* tagging: F1 of clip scores at 0.1;
* frame: F1 of frame scores at 0.1, of the classes only whose clip score reaches 0.1 (no hysteresis);
* event: event-based F1 of the events that their post-processing detects (`POSTPROCESSINGS["hysteresis"]`), with a
  collar of 0.2 s and an offset tolerance of 50 % of the length, the default of sed_eval;
* mask: F1 of the bins of the maps at 0.1 against the ideal binary mask, over the maps of all classes in all clips. The
  bins of classes that do not occur in a clip are false positives; `Masks.active_bins` counts them.

Their values are in `leaderboard/published.yaml`; they are on other scenes, so ours are not to be compared with them.
Their thresholds are exclusive, ours inclusive, which differs only for scores of exactly 0.1.
"""

from __future__ import annotations

import math

import numpy as np

from remixbench.scoring.bootstrap import MetricFunction, MetricValues, divide
from remixbench.scoring.detection import Counts, active_frames, event_counts, frame_counts
from remixbench.scoring.postprocessing import POSTPROCESSINGS, detect_events
from remixbench.scoring.tf_masks import Masks
from remixbench.scoring.types import MAP_STEPS, FloatArray, Predictions, Reference

THRESHOLD = 0.1
PERCENTAGE_OF_LENGTH = 0.5
FIRST_STEP = math.ceil(THRESHOLD * MAP_STEPS)
"""The lowest step of a map that reaches the threshold."""
SETTINGS = "kong"
"""How names of these metrics end: `event_f1_macro[kong]`."""


def kong_metrics(reference: Reference, predictions: Predictions, masks: Masks | None = None) -> MetricFunction:
    """Return those of the four metrics that the predictions can express."""
    tags, scores, edges = predictions.clip_scores, predictions.frame_scores, predictions.frame_edges
    counts: dict[str, Counts] = {}
    if tags is not None:
        tagged, weak = tags >= THRESHOLD, reference.weak
        counts["tagging_f1_macro"] = Counts(*(part.astype(np.float64) for part in (tagged & weak, weak, tagged)))
        if scores is not None and edges is not None:
            shape = weak.shape
            detected = (scores >= scores.dtype.type(THRESHOLD)) & tagged[:, None]
            counts["frame_f1_macro"] = frame_counts(active_frames(reference.events, edges, *shape), detected)
            events = detect_events(scores, edges, POSTPROCESSINGS["hysteresis"], tags)
            counts["event_f1_macro"] = event_counts(
                reference.events, events, *shape, percentage_of_length=PERCENTAGE_OF_LENGTH
            )
    if masks is not None and masks.active_bins is not None:
        counts["mask_f1_macro"] = mask_counts(masks, masks.active_bins.astype(np.float64))

    def compute(weights: FloatArray) -> MetricValues:
        return MetricValues({f"{name}[{SETTINGS}]": mean_f1(each, weights) for name, each in counts.items()})

    return compute


def mask_counts(masks: Masks, active_bins: FloatArray) -> Counts:
    """Count the bins of each clip and class; those of classes that do not occur in a clip are false alarms."""
    found = masks.maps >= FIRST_STEP
    tp, n_ref, n_sys = np.zeros(active_bins.shape), np.zeros(active_bins.shape), active_bins.copy()
    pairs = (masks.clip, masks.label)
    n_sys[pairs] = 0  # counted by the maps that were handed in
    for table, bins in ((tp, found & masks.ideal), (n_ref, masks.ideal), (n_sys, found)):
        np.add.at(table, pairs, bins.sum(axis=(1, 2)))
    return Counts(tp, n_ref, n_sys)


def mean_f1(counts: Counts, weights: FloatArray) -> FloatArray:
    """Return the mean over all classes of F1, an undefined one counting as 0, for weights (clips, samples)."""
    tp, n_ref, n_sys = (part.T @ weights for part in (counts.tp, counts.n_ref, counts.n_sys))
    mean: FloatArray = divide(2 * tp, n_ref + n_sys, 0.0).mean(axis=0)
    return mean
