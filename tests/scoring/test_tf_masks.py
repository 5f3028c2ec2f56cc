"""Time-frequency maps against ideal masks, held against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from remixbench.errors import InputError
from remixbench.scoring import Inputs, Masks, Predictions, event_table, make_reference, score_predictions
from remixbench.scoring.tf_masks import curve_areas, mask_metrics


@pytest.fixture
def reference():
    events = event_table([0, 0, 1, 2], [0, 1, 1, 0], [1.0] * 4, [2.0] * 4)
    return make_reference(["a", "b", "c"], ["c0", "c1", "c2"], events, 10.0)


def masks_of(reference, seed=0):
    rng = np.random.default_rng(seed)
    clip, label = np.nonzero(reference.weak)
    ideal = rng.random((len(clip), 20, 6)) < 0.3
    maps = np.rint(255 * (rng.random(ideal.shape) * 0.7 + 0.3 * ideal)).astype(np.uint8)
    return Masks(clip, label, maps, ideal)


def test_bins_are_pooled_by_class(reference):
    masks = masks_of(reference)
    made = score_predictions(reference, Predictions(), masks=masks, bootstrap=10)
    pooled = [(masks.ideal[masks.label == k].ravel(), masks.maps[masks.label == k].ravel()) for k in (0, 1)]
    assert made.values["mask_ap"] == pytest.approx(np.mean([average_precision_score(*p) for p in pooled]), abs=1e-9)
    assert made.values["mask_auc"] == pytest.approx(np.mean([roc_auc_score(*p) for p in pooled]), abs=1e-9)
    said = masks.maps / 255 >= 0.5
    assert made.values["mask_f1"] == pytest.approx(f1_score(masks.ideal.ravel(), said.ravel()))
    assert made.values["mask_f1_macro"] == pytest.approx(np.mean([f1_score(y, s / 255 >= 0.5) for y, s in pooled]))
    assert made.per_class["mask_ap"]["c2"] is None
    assert made.intervals["mask_f1"] is not None
    assert made.settings["mask_threshold"] == 0.5


def test_areas_of_curves_where_a_side_is_missing():
    one, none = np.array([0.0, 1.0]), np.zeros(2)
    assert np.isnan(curve_areas(none, one)).all()
    assert curve_areas(one, none)[0] == 1
    assert np.isnan(curve_areas(one, none)[1])
    assert curve_areas(one, one) == (0.5, 0.5)  # a tie


def test_a_resample_counts_the_bins_of_a_clip_as_often_as_it_was_drawn(reference):
    masks = masks_of(reference)
    twice_a_never_c = np.array([[1.0, 2.0], [1.0, 1.0], [1.0, 0.0]])
    found = mask_metrics(Inputs(reference, masks=masks), twice_a_never_c)
    for label in (0, 1):
        drawn = [k for k in np.flatnonzero(masks.label == label) for _ in range(int(twice_a_never_c[masks.clip[k], 1]))]
        bins = masks.ideal[drawn].ravel(), masks.maps[drawn].ravel()
        assert found.per_class["mask_ap"][label, 1] == pytest.approx(average_precision_score(*bins), abs=1e-12)
        assert found.per_class["mask_auc"][label, 1] == pytest.approx(roc_auc_score(*bins), abs=1e-12)


def test_areas_have_intervals(reference):
    made = score_predictions(reference, Predictions(), masks=masks_of(reference), bootstrap=50)
    for name in ("mask_ap", "mask_auc"):
        low, high = made.intervals[name]
        assert low <= made.values[name] <= high
        assert low < high


def test_maps_of_another_shape_or_type_are_refused(reference):
    masks = masks_of(reference)
    with pytest.raises(InputError, match=r"expected \(4, frames, bands\)"):
        score_predictions(
            reference, Predictions(), masks=Masks(masks.clip, masks.label, masks.maps[:, 1:], masks.ideal)
        )
    with pytest.raises(InputError, match="maps are float64, expected uint8 in steps of 1/255"):
        score_predictions(reference, Predictions(), masks=Masks(masks.clip, masks.label, masks.maps / 255, masks.ideal))
