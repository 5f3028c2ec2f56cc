"""Time-frequency maps against ideal masks, held against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from remixbench.errors import InputError
from remixbench.scoring import Masks, Predictions, event_table, ideal_mask, make_reference, score_predictions


@pytest.fixture
def reference():
    events = event_table([0, 0, 1, 2], [0, 1, 1, 0], [1.0] * 4, [2.0] * 4)
    return make_reference(["a", "b", "c"], ["c0", "c1", "c2"], events, 10.0)


def masks_of(reference, seed=0):
    rng = np.random.default_rng(seed)
    clip, label = np.nonzero(reference.weak)
    ideal = rng.random((len(clip), 20, 6)) < 0.3
    maps = np.round(rng.random(ideal.shape) * 0.7 + 0.3 * ideal, 2).astype(np.float32)
    return Masks(clip, label, maps, ideal)


def test_bins_are_pooled_by_class(reference):
    masks = masks_of(reference)
    made = score_predictions(reference, Predictions(), masks=masks, resamples=10)
    pooled = [(masks.ideal[masks.label == k].ravel(), masks.maps[masks.label == k].ravel()) for k in (0, 1)]
    assert made.figures["mask_ap"] == pytest.approx(np.mean([average_precision_score(*p) for p in pooled]), abs=1e-9)
    assert made.figures["mask_auc"] == pytest.approx(np.mean([roc_auc_score(*p) for p in pooled]), abs=1e-9)
    said = masks.maps >= 0.5
    assert made.figures["mask_f1"] == pytest.approx(f1_score(masks.ideal.ravel(), said.ravel()))
    assert made.figures["mask_f1_macro"] == pytest.approx(np.mean([f1_score(y, s >= 0.5) for y, s in pooled]))
    assert made.per_class["per_class_mask_ap"]["c2"] is None
    assert made.intervals["mask_f1"] is not None
    assert made.intervals["mask_ap"] is None
    assert made.settings["mask_threshold"] == 0.5


def test_the_ideal_mask_allows_events_5_db_below_the_scene():
    scene = np.ones(3)
    events = 10 ** (np.array([-4.9, -5.1, 0.0]) / 20)
    assert ideal_mask(events, scene).tolist() == [True, False, True]
    assert ideal_mask(np.zeros(1), np.zeros(1)).tolist() == [False]


def test_maps_of_another_shape_or_range_are_refused(reference):
    masks = masks_of(reference)
    with pytest.raises(InputError, match=r"expected \(4, frames, bands\)"):
        score_predictions(
            reference, Predictions(), masks=Masks(masks.clip, masks.label, masks.maps[:, 1:], masks.ideal)
        )
    with pytest.raises(InputError, match="apply a sigmoid"):
        score_predictions(reference, Predictions(), masks=Masks(masks.clip, masks.label, masks.maps * 3, masks.ideal))
