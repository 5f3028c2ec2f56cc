"""Time-frequency segmentation: a system's maps against the ideal binary mask (Kong et al. 2019).

The mask is true where the events' mel magnitude, raised by 5 dB, exceeds the scene's
(`remixbench.dataset.masks.ideal_binary_mask`); of it a class has the frames in which it is active by the strong labels.
Maps are in steps of 1/255, as they are handed in: scores of one step tie, so a pair's bins are described by how many
lie at each step, and a bootstrap sample of clips by sums of those. Bins of all given pairs of clip and class are pooled
by class; the pairs are the classes that occur in each clip. F1 at 0.5 is given over all bins together, and as the mean
over classes; AP and AUC are means over classes. A class without a true bin is left out of the means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from remixbench.errors import InputError
from remixbench.scoring.bootstrap import MetricValues, mean_defined
from remixbench.scoring.detection import Counts, f1_values
from remixbench.scoring.types import MAP_STEPS, BoolArray, FloatArray, IntArray, MapArray, Reference

MASK_THRESHOLD = 0.5
FIRST_STEP = math.ceil(MASK_THRESHOLD * MAP_STEPS)


@dataclass(frozen=True)
class Masks:
    """Maps and ideal masks of pairs of clip and class.

    Attributes
    ----------
    clip, label : (pairs,) row and column in the `Reference`
    maps : (pairs, frames, bands) uint8, the system's maps in steps of 1/255
    ideal : (pairs, frames, bands) bool
    active_bins : (clips, classes) how many bins of the map of each clip and class reach 0.1, for classes that do not
        occur in the clip too; None where this is not known
    """

    clip: IntArray
    label: IntArray
    maps: MapArray
    ideal: BoolArray
    active_bins: IntArray | None = None


def mask_metrics(reference: Reference, masks: Masks, weights: FloatArray) -> MetricValues:
    """Return F1 at 0.5, AP and AUC of bins for weights (clips, samples).

    Raises
    ------
    InputError
        If shapes do not agree or maps are not in steps of 1/255.
    """
    pairs = len(masks.clip)
    if masks.maps.shape != masks.ideal.shape or masks.maps.ndim != 3 or masks.maps.shape[0] != pairs:
        raise InputError(
            f"maps have shape {masks.maps.shape} and ideal masks {masks.ideal.shape}, "
            f"expected ({pairs}, frames, bands) for both"
        )
    if masks.maps.dtype != np.uint8:
        raise InputError(f"maps are {masks.maps.dtype}, expected uint8 in steps of 1/{MAP_STEPS}")
    false, true = _bins_at_each_step(masks)
    shape = reference.weak.shape
    true_above, false_above = true[:, FIRST_STEP:].sum(axis=1), false[:, FIRST_STEP:].sum(axis=1)
    tp, n_ref, n_sys = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for table, counts in ((tp, true_above), (n_ref, true.sum(axis=1)), (n_sys, true_above + false_above)):
        np.add.at(table, (masks.clip, masks.label), counts)
    ap, auc = (np.full((shape[1], weights.shape[1]), np.nan) for _ in range(2))
    for label in np.unique(masks.label):
        mine = masks.label == label
        times = weights[masks.clip[mine]].T
        ap[label], auc[label] = curve_areas(times @ true[mine], times @ false[mine])
    values = f1_values("mask_f1", Counts(tp, n_ref, n_sys), weights)
    areas = {"mask_ap": ap, "mask_auc": auc}
    values.update(MetricValues({name: mean_defined(each) for name, each in areas.items()}, areas))
    return values


def _bins_at_each_step(masks: Masks) -> tuple[FloatArray, FloatArray]:
    """Return for every pair how many of its false and of its true bins lie at each step, (pairs, 256) both."""
    steps = MAP_STEPS + 1
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
