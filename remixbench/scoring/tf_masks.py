"""Time-frequency segmentation: a system's maps against the ideal binary mask (Kong et al. 2019).

The mask is true where the events' mel magnitude, raised by 5 dB, exceeds the scene's
(`remixbench.dataset.masks.ideal_binary_mask`); of it a class has the frames in which it is active by the strong labels.
Maps are in steps of 1/255: scores of one step tie, so a pair's bins are described by how many
lie at each step, and a bootstrap sample of clips by sums of those. Bins of all given pairs of clip and class are pooled
by class; the pairs are the classes that occur in each clip. F1 at 0.5 is given over all bins together, and as the mean
over classes; AP and AUC are means over classes. A class without a true bin is left out of the means.

With the settings of Kong et al. (see `detection`), F1 is over the maps of all classes in all clips at a threshold of
0.1; `Masks.active_bins` counts the bins of classes that do not occur in a clip, which are false positives.
"""

from __future__ import annotations

import math

import numpy as np

from remixbench.errors import InputError
from remixbench.scoring.detection import KONG_THRESHOLD, Counts, f1_values, kong_mean_f1
from remixbench.scoring.types import MASK_STEPS, FloatArray, Inputs, Masks, MetricValues, mean_defined

MASK_THRESHOLD = 0.5
FIRST_STEP = math.ceil(MASK_THRESHOLD * MASK_STEPS)
KONG_FIRST_STEP = math.ceil(KONG_THRESHOLD * MASK_STEPS)
"""The lowest step of a map that reaches the threshold of Kong et al."""


def mask_metrics(inputs: Inputs, weights: FloatArray) -> MetricValues:
    """Return F1 at 0.5, AP and AUC of bins, and Kong et al.'s F1, for weights (clips, samples); {} without masks."""
    masks, reference = inputs.masks, inputs.reference
    if masks is None:
        return MetricValues()
    pairs = len(masks.clip)
    if masks.maps.shape != masks.ideal.shape or masks.maps.ndim != 3 or masks.maps.shape[0] != pairs:
        raise InputError(
            f"maps have shape {masks.maps.shape} and ideal masks {masks.ideal.shape}, "
            f"expected ({pairs}, frames, bands) for both"
        )
    if masks.maps.dtype != np.uint8:
        raise InputError(f"maps are {masks.maps.dtype}, expected uint8 in steps of 1/{MASK_STEPS}")
    if masks.ideal.dtype != np.bool_:
        raise InputError(f"ideal masks are {masks.ideal.dtype}, expected bool")
    false, true = _bins_at_each_step(masks)
    shape = reference.weak.shape
    true_above, false_above = true[:, FIRST_STEP:].sum(axis=1), false[:, FIRST_STEP:].sum(axis=1)
    tp, n_ref, n_sys = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for table, counts in ((tp, true_above), (n_ref, true.sum(axis=1)), (n_sys, true_above + false_above)):
        np.add.at(table, (masks.clip, masks.label), counts)
    ap, auc = (np.full((shape[1], weights.shape[1]), np.nan) for _ in range(2))
    for label in np.unique(masks.label):
        of_class = masks.label == label
        times = weights[masks.clip[of_class]].T
        ap[label], auc[label] = curve_areas(times @ true[of_class], times @ false[of_class])
    values = f1_values("mask_f1", Counts(tp, n_ref, n_sys), weights)
    areas = {"mask_ap": ap, "mask_auc": auc}
    values.update(MetricValues({name: mean_defined(by_class) for name, by_class in areas.items()}, areas))
    if masks.active_bins is not None:
        counts = kong_mask_counts(masks, masks.active_bins.astype(np.float64))
        values.overall["mask_f1_macro[kong]"] = kong_mean_f1(counts, weights)
    return values


def kong_mask_counts(masks: Masks, active_bins: FloatArray) -> Counts:
    """Count the bins at Kong et al.'s threshold, (clips, classes); those of classes that are not in a clip are false.

    Parameters
    ----------
    active_bins : (clips, classes) how many bins of the map of each clip and class reach the threshold.
    """
    detected = masks.maps >= KONG_FIRST_STEP
    tp, n_ref, n_sys = np.zeros(active_bins.shape), np.zeros(active_bins.shape), active_bins.copy()
    pairs = (masks.clip, masks.label)
    n_sys[pairs] = 0  # counted by the maps that were handed in
    for table, bins in ((tp, detected & masks.ideal), (n_ref, masks.ideal), (n_sys, detected)):
        np.add.at(table, pairs, bins.sum(axis=(1, 2)))
    return Counts(tp, n_ref, n_sys)


def _bins_at_each_step(masks: Masks) -> tuple[FloatArray, FloatArray]:
    """Return for every pair how many of its false and of its true bins lie at each step, (pairs, 256) both."""
    steps = MASK_STEPS + 1
    counts = np.empty((len(masks.clip), 2 * steps))
    for k, (steps_of_map, ideal) in enumerate(zip(masks.maps, masks.ideal, strict=True)):
        counts[k] = np.bincount((steps_of_map + np.where(ideal, steps, 0)).ravel(), minlength=2 * steps)
    return counts[:, :steps], counts[:, steps:]


def curve_areas(true: FloatArray, false: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return average precision Σ (R_n − R_{n−1}) P_n and the area under ROC from counts at each score.

    Scores ascend along the last axis; equal ones count half in AUC. NaN where there is nothing true; AUC also where
    there is nothing false.
    """
    positives, negatives = true.sum(axis=-1), false.sum(axis=-1)
    tp = np.cumsum(true[..., ::-1], axis=-1)
    n_sys = np.cumsum((true + false)[..., ::-1], axis=-1)
    precision = np.divide(tp, n_sys, out=np.zeros_like(tp), where=n_sys > 0)
    below = np.cumsum(false, axis=-1) - false / 2
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN promised
        ap = (true[..., ::-1] * precision).sum(axis=-1) / positives
        return ap, (true * below).sum(axis=-1) / (positives * negatives)
