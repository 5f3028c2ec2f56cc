"""Time-frequency segmentation: a system's maps against the ideal binary mask (Kong et al. 2019).

The mask is true where the events' mel magnitude, raised by 5 dB, exceeds the scene's. Bins of all given pairs
of clip and class are pooled by class; usually the pairs are the classes that occur in each clip. A class
without a true bin is left out of the means. AP and AUC, with millions of bins a class, come without
resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError
from remixbench.scoring.bootstrap import Figures
from remixbench.scoring.counting import Counts, f1_figures
from remixbench.scoring.events import BoolArray, FloatArray, IntArray
from remixbench.scoring.predictions import Float32Array
from remixbench.scoring.reference import Reference
from remixbench.scoring.tagging import area_under_roc, average_precision, mean_defined, rank

MARGIN_DB = 5.0
MASK_THRESHOLD = 0.5


@dataclass(frozen=True)
class Masks:
    """Maps and ideal masks of pairs of clip and class.

    Attributes
    ----------
    clip, label : (pairs,) row and column in the `Reference`
    maps : (pairs, frames, bands) float32 in [0, 1], what the system said
    ideal : (pairs, frames, bands) bool
    """

    clip: IntArray
    label: IntArray
    maps: Float32Array
    ideal: BoolArray


def ideal_mask(events: npt.NDArray[np.floating], scene: npt.NDArray[np.floating]) -> BoolArray:
    """Return where 20 log10(events / scene) + 5 dB > 0, for mel magnitudes of any one shape."""
    mask: BoolArray = events * 10 ** (MARGIN_DB / 20) > scene
    return mask


def mask_figures(reference: Reference, masks: Masks, weights: FloatArray) -> Figures:
    """Return F1 at 0.5, AP and AUC of bins for weights (clips, resamples).

    The first column must be 1 for every clip: AP and AUC are given for it alone and are NaN in the others.

    Raises
    ------
    InputError
        If shapes do not agree or maps leave [0, 1].
    """
    pairs = len(masks.clip)
    if masks.maps.shape != masks.ideal.shape or masks.maps.ndim != 3 or masks.maps.shape[0] != pairs:
        raise InputError(
            f"maps have shape {masks.maps.shape} and ideal masks {masks.ideal.shape}, "
            f"expected ({pairs}, frames, bands) for both"
        )
    if pairs and not (masks.maps.min() >= 0 and masks.maps.max() <= 1):
        raise InputError("maps are not all within [0, 1]; apply a sigmoid before scoring them")
    shape = reference.weak.shape
    said = masks.maps >= MASK_THRESHOLD
    tallies = []
    for part in (said & masks.ideal, masks.ideal, said):
        tally = np.zeros(shape)
        np.add.at(tally, (masks.clip, masks.label), part.sum((1, 2)))
        tallies.append(tally)
    ap, auc = (np.full((shape[1], weights.shape[1]), np.nan) for _ in range(2))
    for label in np.unique(masks.label):
        mine = masks.label == label
        target = masks.ideal[mine].reshape(-1)
        ranking = rank(target, masks.maps[mine].reshape(-1), np.zeros(len(target), np.int64), 1)
        ap[label, 0] = average_precision(ranking, np.ones((1, 1)))[0]
        auc[label, 0] = area_under_roc(ranking, np.ones((1, 1)))[0]
    return {
        **f1_figures("mask_f1", Counts(*tallies), weights),
        "mask_ap": mean_defined(ap),
        "mask_auc": mean_defined(auc),
        "per_class_mask_ap": ap,
        "per_class_mask_auc": auc,
    }
