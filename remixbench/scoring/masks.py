"""Time-frequency segmentation: a system's maps against the ideal binary mask (Kong et al. 2019).

The mask is true where the events' mel magnitude, raised by 5 dB, exceeds the scene's
(`remixbench.dataset.masks.ideal_binary_mask`); of it a class has the frames in which it is active by the strong labels.
Maps are in steps of 1/255, as they are handed in: scores of one step tie. Bins of all given pairs of clip and class are
pooled by class; the pairs are the classes that occur in each clip. F1 at 0.5 is given over all bins together, and as
the mean over classes; AP and AUC, with millions of bins a class, are means over classes and come without resamples. A
class without a true bin is left out of the means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError
from remixbench.scoring.bootstrap import Figures
from remixbench.scoring.counting import Counts, f1_figures
from remixbench.scoring.events import BoolArray, FloatArray, IntArray
from remixbench.scoring.reference import Reference
from remixbench.scoring.tagging import mean_defined

MASK_THRESHOLD = 0.5
MAP_STEPS = 255
MapArray = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Masks:
    """Maps and ideal masks of pairs of clip and class.

    Attributes
    ----------
    clip, label : (pairs,) row and column in the `Reference`
    maps : (pairs, frames, bands) uint8, what the system said in steps of 1/255
    ideal : (pairs, frames, bands) bool
    """

    clip: IntArray
    label: IntArray
    maps: MapArray
    ideal: BoolArray


def mask_figures(reference: Reference, masks: Masks, weights: FloatArray) -> Figures:
    """Return F1 at 0.5, AP and AUC of bins for weights (clips, resamples).

    The first column must be 1 for every clip: AP and AUC are given for it alone and are NaN in the others.

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
    shape = reference.weak.shape
    hits, truth, said = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    true, false = (np.zeros((shape[1], MAP_STEPS + 1)) for _ in range(2))
    for clip, label, steps, ideal in zip(masks.clip, masks.label, masks.maps, masks.ideal, strict=True):
        heard = steps >= MASK_THRESHOLD * MAP_STEPS
        hits[clip, label] += np.count_nonzero(heard & ideal)
        truth[clip, label] += np.count_nonzero(ideal)
        said[clip, label] += np.count_nonzero(heard)
        true[label] += np.bincount(steps[ideal], minlength=MAP_STEPS + 1)
        false[label] += np.bincount(steps[~ideal], minlength=MAP_STEPS + 1)
    ap, auc = (np.full((shape[1], weights.shape[1]), np.nan) for _ in range(2))
    for label in range(shape[1]):
        ap[label, 0], auc[label, 0] = curve_areas(true[label], false[label])
    return {
        **f1_figures("mask_f1", Counts(hits, truth, said), weights),
        "mask_ap": mean_defined(ap),
        "mask_auc": mean_defined(auc),
        "per_class_mask_ap": ap,
        "per_class_mask_auc": auc,
    }


def curve_areas(true: FloatArray, false: FloatArray) -> tuple[float, float]:
    """Return average precision Σ (R_n − R_{n−1}) P_n and the area under ROC from counts at each score, ascending.

    NaN where there is nothing true; AUC also where there is nothing false. Equal scores count half in AUC.
    """
    positives, negatives = true.sum(), false.sum()
    if not positives:
        return np.nan, np.nan
    hits, all_said = np.cumsum(true[::-1]), np.cumsum((true + false)[::-1])
    precision = np.divide(hits, all_said, out=np.zeros_like(hits), where=all_said > 0)
    ap = float((true[::-1] * precision).sum() / positives)
    below = np.cumsum(false) - false / 2
    return ap, float((true * below).sum() / (positives * negatives)) if negatives else np.nan
