"""The registry of metrics: what is computed is in it, and nothing else."""

import numpy as np
import pytest

from remixbench.errors import InputError
from remixbench.scoring import Masks, Predictions, event_table, make_reference, score_predictions
from remixbench.scoring.metrics import METRICS, find_metric, metrics_shown, paired_metrics
from remixbench.scoring.separation import Separation


def everything():
    """Return the scores of predictions that can express every metric."""
    rng = np.random.default_rng(0)
    table = event_table([0, 1, 2], [0, 1, 0], [0.0, 1.0, 2.0], [2.0, 3.0, 4.0])
    reference = make_reference(["a.wav", "b.wav", "c.wav"], ["dog", "door"], table, 5.0)
    scores = rng.random((3, 50, 2)).astype(np.float32)
    predictions = Predictions(scores.max(1).astype(np.float64), scores, np.arange(51) / 10)
    clip, label = np.nonzero(reference.weak)
    maps = rng.integers(0, 256, (3, 10, 4)).astype(np.uint8)
    masks = Masks(clip, label, maps, maps > 100, np.full((3, 2), 20))
    separation = Separation(clip, label, *rng.normal(size=(3, 3)), rng.normal(size=3))
    return score_predictions(reference, predictions, masks=masks, separation=separation, bootstrap=20)


def test_every_metric_is_computed_and_every_computed_one_is_registered():
    scores = everything()
    computed = {*scores.values, *(name.removeprefix("") for name in scores.per_class)}
    assert computed == set(METRICS)


def test_values_lie_in_the_registered_range():
    for name, value in everything().values.items():
        low, high = METRICS[name].range
        assert low <= value <= high, name


def test_metrics_that_are_compared_have_bootstrap_samples():
    samples = everything().samples
    assert all(len(samples[name]) == 20 for name in paired_metrics())


def test_metrics_are_found_by_name():
    assert find_metric("segment_er").direction == "lower"
    with pytest.raises(InputError, match="micro_ap"):
        find_metric("micro_app")
    assert [metric.title for metric in metrics_shown("tagging", "main")] == ["micro-AP", "macro-AP", "AUC"]
