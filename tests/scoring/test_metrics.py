"""The registry of metrics: what is computed is in it, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from remixbench.errors import InputError
from remixbench.files import sha256
from remixbench.scoring import Inputs, Masks, Predictions, Separation, event_table, make_reference, score_predictions
from remixbench.scoring.bounding_boxes import DEFAULT
from remixbench.scoring.evaluate import FAMILIES, metric_values
from remixbench.scoring.metrics import METRICS, SCORING_VERSION, find_metric, metrics_shown, paired_metrics, scored_with
from remixbench.scoring.separation import OF_CLIPS, OF_EVENTS


def everything() -> Inputs:
    """Return inputs that can express every metric."""
    rng = np.random.default_rng(0)
    table = event_table([0, 1, 2], [0, 1, 0], [0.0, 1.0, 2.0], [2.0, 3.0, 4.0])
    recordings = [(0,), (1,), (2,)]
    reference = make_reference(["a.wav", "b.wav", "c.wav"], ["dog", "door"], table, 5.0, recordings=recordings)
    scores = rng.random((3, 50, 2)).astype(np.float32)
    predictions = Predictions(scores.max(1).astype(np.float64), scores, np.arange(51) / 10)
    clip, label = np.nonzero(reference.weak)
    maps = rng.integers(0, 256, (3, 10, 4)).astype(np.uint8)
    masks = Masks(clip, label, maps, maps > 100, np.full((3, 2), 20))
    separation = Separation(
        clip, label, {name: rng.normal(size=3) for name in OF_EVENTS}, {name: rng.normal(size=3) for name in OF_CLIPS}
    )
    return Inputs(reference, predictions, masks, separation, [DEFAULT] * 2)


def scored():
    """Return the scores of all of these."""
    inputs = everything()
    return score_predictions(
        inputs.reference,
        inputs.predictions,
        masks=inputs.masks,
        separation=inputs.separation,
        sebbs=inputs.sebbs,
        bootstrap=20,
    )


def test_every_metric_is_computed_by_one_family_and_every_computed_one_is_registered():
    names = []
    for family in FAMILIES:
        values = family(everything(), np.ones((3, 1)))
        names += dict.fromkeys([*values.overall, *values.per_class])
    assert sorted(names) == sorted(METRICS)


def test_metrics_come_in_the_order_of_the_registry():
    values = scored().values
    assert list(values) == [name for name in METRICS if name in values]


@pytest.mark.parametrize(
    ("without", "needs"),
    [
        ({"masks": None}, "stems"),
        ({"separation": None}, "event stems"),
        ({"sebbs": None}, "validation clips"),
    ],
)
def test_metrics_say_what_they_need(without, needs):
    names = metric_values(replace(everything(), **without), np.ones((3, 1))).overall.keys()
    every = metric_values(everything(), np.ones((3, 1))).overall.keys()
    assert every - names == {name for name in every if needs in METRICS[name].needs}
    assert scored_with(every, needs)
    assert not scored_with(names, needs)


def test_a_metric_that_is_added_or_removed_is_another_scoring_version():
    metrics = sha256(" ".join(sorted(METRICS)).encode())[:12]
    assert (SCORING_VERSION, metrics) == ("4", "13e2f44a825a")  # where the metrics differ, so must the version


def test_names_and_titles_of_variants():
    metric = METRICS["psds1[median alpha_st 0]"]
    assert (metric.quantity, metric.variant, metric.heading) == ("psds1", "median alpha_st 0", "PSDS 1")
    assert metric.title == "PSDS 1 (median, α_ST = 0)"
    assert METRICS["event_f1[hysteresis]"].title == "micro event F1 (hysteresis)"
    assert METRICS["event_f1"].title == "micro event F1"


def test_values_lie_in_the_registered_range():
    for name, value in scored().values.items():
        low, high = METRICS[name].range
        assert low <= value <= high, name


def test_metrics_that_are_compared_have_bootstrap_samples():
    samples = scored().samples
    assert all(len(samples[name]) == 20 for name in paired_metrics())


def test_metrics_are_found_by_name():
    assert find_metric("segment_er").direction == "lower"
    with pytest.raises(InputError, match="micro_ap"):
        find_metric("micro_app")
    assert [metric.title for metric in metrics_shown("tagging", "main")] == ["micro-AP", "macro-AP", "AUC"]
