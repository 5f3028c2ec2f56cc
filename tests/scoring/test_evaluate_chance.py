"""Chance: what a constant score gives, by formula; held against the metrics themselves."""

from __future__ import annotations

import numpy as np
import pytest

from remixbench.scoring import Predictions, event_table, make_reference, score_predictions
from remixbench.scoring.bounding_boxes import DEFAULT
from remixbench.scoring.evaluate import chance_values
from remixbench.scoring.types import FloatArray, Reference


def reference(clips: int = 60, classes: int = 5) -> Reference:
    """A reference with one to three events per clip, of the first four classes."""
    rng = np.random.default_rng(0)
    clip = np.repeat(np.arange(clips), rng.integers(1, 4, clips))
    onset = rng.uniform(0, 8, len(clip))
    events = event_table(clip, rng.integers(0, classes - 1, len(clip)), onset, onset + rng.uniform(0.2, 2, len(clip)))
    return make_reference([f"{i}.wav" for i in range(clips)], [f"c{k}" for k in range(classes)], events, 10.0)


def test_it_is_what_a_constant_score_gives() -> None:
    labels, edges = reference(), np.linspace(0, 10, 101)
    constant = Predictions(np.full((60, 5), 0.5), np.full((60, 100, 5), 0.5, np.float32), edges)
    scores = score_predictions(labels, constant, sebbs=[DEFAULT] * 5, bootstrap=0)
    chance = chance_values(labels, edges)
    assert {"frame_ap", "psds1[median]", "psds1[sebb]", "psds2[sebb alpha_st 0]"} <= chance.overall.keys()
    for name, value in chance.overall.items():
        assert value.shape == (1,), name
        assert float(value[0]) == pytest.approx(scores.values[name], abs=1e-9), name
    assert np.isnan(chance.per_class["ap"][4, 0])
    expected = list(scores.per_class["ap"].values())[:4]
    assert chance.per_class["ap"][:4, 0] == pytest.approx(expected)


def test_random_scores_give_about_as_much() -> None:
    labels, edges = reference(2000), np.linspace(0, 10, 11)
    draw = np.random.default_rng(1)
    chance = chance_values(labels, edges).overall
    names = ("micro_ap", "macro_ap", "macro_auc", "frame_ap")
    found = score_predictions(
        labels,
        Predictions(draw.random((2000, 5)), draw.random((2000, 10, 5)).astype(np.float32), edges),
        bootstrap=0,
    )
    level: FloatArray = np.array([chance[name][0] for name in names])
    assert [found.values[name] for name in names] == pytest.approx(level, abs=0.02)
