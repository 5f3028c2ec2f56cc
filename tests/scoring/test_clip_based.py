"""Tagging figures against scikit-learn, with weights, ties and classes without positives."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, roc_auc_score

from remixbench.scoring import Predictions, clip_based, event_table, make_reference, score_predictions


def random_case(seed, clips=60, classes=5):
    rng = np.random.default_rng(seed)
    weak = rng.random((clips, classes)) < rng.uniform(0.05, 0.5)
    scores = rng.random((clips, classes)) * 0.7 + 0.3 * weak
    if seed % 2:
        scores = np.round(scores, 1)  # many ties
    return weak, scores


def reference_of(weak):
    clip, label = np.nonzero(weak)
    events = event_table(clip, label, np.full(len(clip), 1.0), np.full(len(clip), 2.0))
    names = [f"{i:05d}.wav" for i in range(len(weak))]
    return make_reference(names, [f"c{k}" for k in range(weak.shape[1])], events, 10.0)


def test_worked_example():
    weak = np.array([[1, 0], [0, 1], [1, 0], [0, 0]], bool)
    scores = np.array([[0.9, 0.8], [0.8, 0.7], [0.3, 0.2], [0.1, 0.1]])
    figures = score_predictions(reference_of(weak), Predictions(scores), bootstrap=0)
    assert figures.per_class["ap"] == pytest.approx({"c0": (1 + 2 / 3) / 2, "c1": 1 / 2})
    assert figures.values["macro_auc"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    # 0.9 is a hit, both 0.8 are false, 0.7 and 0.3 are hits
    assert figures.values["micro_ap"] == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)
    assert figures.values["tagging_f1"] == pytest.approx(2 * 2 / (4 + 3))
    assert figures.values["tagging_f1_oracle"] == pytest.approx(2 * 3 / (5 + 3))
    assert figures.values["tagging_f1_oracle_threshold"] == 0.3


@pytest.mark.parametrize("seed", range(20))
def test_every_figure_is_that_of_scikit_learn(seed):
    weak, scores = random_case(seed)
    weights = np.random.default_rng(seed).integers(0, 4, (60, 4)).astype(float)
    classes, pairs = clip_based.rank_classes(weak, scores), clip_based.rank_pairs(weak, scores)
    sums, positives = clip_based.label_precisions(weak, scores)
    for r, w in enumerate(weights.T):
        micro = average_precision_score(weak.ravel(), scores.ravel(), sample_weight=np.repeat(w, 5))
        assert clip_based.ranked_average_precision(pairs, weights)[r] == pytest.approx(micro, abs=1e-12)
        for k, ranking in enumerate(classes):
            if not 0 < (w * weak[:, k]).sum() < w.sum():
                assert np.isnan(clip_based.area_under_roc(ranking, weights)[r])
                continue
            ap = average_precision_score(weak[:, k], scores[:, k], sample_weight=w)
            auc = roc_auc_score(weak[:, k], scores[:, k], sample_weight=w)
            assert clip_based.ranked_average_precision(ranking, weights)[r] == pytest.approx(ap, abs=1e-12)
            assert clip_based.area_under_roc(ranking, weights)[r] == pytest.approx(auc, abs=1e-12)
        lwlrap = label_ranking_average_precision_score(weak, scores, sample_weight=w * weak.sum(1))
        assert (sums @ w) / (positives @ w) == pytest.approx(lwlrap, abs=1e-12)


def test_a_class_without_positives_is_left_out_and_counted():
    weak, scores = random_case(0)
    weak[:, 2] = False
    result = score_predictions(reference_of(weak), Predictions(scores), bootstrap=0)
    used = [0, 1, 3, 4]
    expected = np.mean([average_precision_score(weak[:, k], scores[:, k]) for k in used])
    assert result.values["macro_ap"] == pytest.approx(expected)
    assert result.per_class["ap"]["c2"] is None
    assert result.per_class["auc"]["c2"] is None
    assert result.settings["classes_used"] == 4


def test_without_any_positive_nothing_is_claimed():
    result = score_predictions(reference_of(np.zeros((4, 2), bool)), Predictions(np.full((4, 2), 0.5)), bootstrap=10)
    assert result.values["micro_ap"] is None
    assert result.values["macro_ap"] is None
    assert result.intervals["micro_ap"] is None
