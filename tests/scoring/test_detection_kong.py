"""The metrics of Kong et al. 2019 on a case that can be counted by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from remixbench.scoring import Masks, Predictions, event_table, make_reference, score_predictions


@pytest.fixture
def reference():
    """Two clips of 100 frames of 0.1 s: class 0 in both, class 1 in the first, class 2 in none."""
    events = event_table([0, 0, 1], [0, 1, 0], [1.0, 4.0, 2.0], [3.0, 8.0, 4.0])
    return make_reference(["a", "b"], ["c0", "c1", "c2"], events, 10.0)


def predictions():
    tags = np.array([[0.9, 0.2, 0.05], [0.1, 0.1, 0.05]])
    frames = np.zeros((2, 100, 3), np.float32)
    frames[0, 10:30, 0] = 0.8  # found
    frames[0, 40:62, 1] = 0.8  # onset right, offset 1.8 s early: within half of 4 s, not within a fifth
    frames[0, :, 2] = 0.9  # not tagged, so left out
    frames[1, 20:40, 0] = 0.15  # reaches 0.1 but never 0.2
    return Predictions(tags, frames, np.arange(101) / 10)


def values(reference, **given):
    return score_predictions(reference, predictions(), bootstrap=0, **given).values


def test_all_classes_count_and_an_undefined_f1_counts_as_0(reference):
    found = values(reference)
    # tagging: class 0 twice of twice, class 1 with one false alarm, class 2 nowhere
    assert found["tagging_f1_macro[kong]"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    # events: class 0 one of two, class 1 one of one
    assert found["event_f1_macro[kong]"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["event_f1_macro[hysteresis]"] == pytest.approx((2 / 3 + 0) / 2)  # a fifth of the length, two classes
    # frames: class 0 all 40 of 40 at the threshold of 0.1; class 1 22 of 40
    assert found["frame_f1_macro[kong]"] == pytest.approx((1 + 2 * 22 / (22 + 40) + 0) / 3)
    assert "mask_f1_macro[kong]" not in found


def test_masks_of_classes_that_do_not_occur_are_false_alarms(reference):
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 256, (2, 3, 20, 4)).astype(np.uint8)  # of every clip and class
    clip, label = np.nonzero(reference.weak)
    ideal = np.zeros(maps.shape, bool)
    ideal[clip, label] = rng.random((3, 20, 4)) < 0.4
    active_bins = (maps >= 0.1 * 255).sum(axis=(2, 3))
    masks = Masks(clip, label, maps[clip, label], ideal[clip, label], active_bins)
    expected = [f1_score(ideal[:, k].ravel(), maps[:, k].ravel() >= 0.1 * 255) for k in range(3)]
    assert expected[2] == 0
    assert values(reference, masks=masks)["mask_f1_macro[kong]"] == pytest.approx(np.mean(expected), abs=1e-12)
