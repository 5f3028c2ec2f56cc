"""From scores to decisions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remixbench.inference.system import Event, events
from remixbench.training.evaluate import FLOOR, PRIOR, fit_thresholds


def f1(weak: np.ndarray, decided: np.ndarray) -> float:
    hits = (weak & decided).sum()
    return float(2 * hits / (weak.sum() + decided.sum()))


def test_the_threshold_lies_between_the_clips_with_and_without_the_class() -> None:
    weak = np.repeat(np.array([[1, 0], [1, 1], [0, 0], [0, 0]], dtype=bool), 10_000, axis=0)
    scores = np.repeat(np.array([[0.9, 0.2], [0.7, 0.4], [0.3, 0.1], [0.1, 0.0]], dtype=np.float32), 10_000, axis=0)
    np.testing.assert_allclose(fit_thresholds(weak, scores), [0.5, 0.3], rtol=1e-3)


def test_a_class_with_few_positives_gets_a_threshold_near_that_of_all() -> None:
    weak, scores = np.zeros((400, 2), bool), np.tile(np.float32([0.05, 0.02]), (400, 1))
    weak[:200, 0], scores[:200, 0] = True, 0.75  # of all together: (0.75 + 0.05) / 2
    weak[0, 1], scores[0, 1] = True, 0.04  # of its own: (0.04 + 0.02) / 2, from a single clip
    together, own = np.log(0.4 / 0.6), np.log(0.03 / 0.97)
    expected = 1 / (1 + np.exp(-(own + PRIOR * together) / (1 + PRIOR)))
    assert fit_thresholds(weak, scores) == pytest.approx([0.4, expected], rel=1e-5)


def test_no_threshold_is_below_the_floor() -> None:
    weak, scores = np.array([[True], [False]]), np.array([[0.0002], [0.0001]], np.float32)
    assert fit_thresholds(weak, scores) == np.float32(FLOOR)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.8, 1.0])), min_size=2, max_size=12).filter(
        lambda pairs: any(true for true, _ in pairs) and not all(true for true, _ in pairs)
    )
)
def test_no_threshold_is_better(pairs: list[tuple[bool, float]]) -> None:
    weak = np.array([[true] for true, _ in pairs])
    scores = np.array([[score] for _, score in pairs], dtype=np.float32)
    found = f1(weak, scores >= fit_thresholds(weak, scores))
    assert found == pytest.approx(max((f1(weak, scores >= t) for t in np.unique(scores) if t > 0), default=0))


def test_a_score_of_0_is_never_accepted() -> None:
    weak = np.array([[True, True, True], [True, False, False], [False, True, False]])
    scores = np.array([[0.0, 0.0, 0.8], [0.0, 0.4, 1e-45], [0.0, 0.0, 0.2]], np.float32)
    thresholds = fit_thresholds(weak, scores)
    assert (thresholds > 0).all()
    silent = np.zeros((100, 3), np.float32)
    assert events(silent, thresholds, ("dead", "shy", "sure"), 0.032) == []


def test_a_class_that_says_nothing_gets_the_threshold_of_all_together() -> None:
    weak = np.array([[1, 0, 1], [0, 0, 1]], dtype=bool)
    scores = np.array([[0.8, 0.1, 0.9], [0.2, 0.0, 0.7]], dtype=np.float32)
    thresholds = fit_thresholds(weak, scores)
    assert thresholds[1] == thresholds[2] == pytest.approx((0.7 + 0.2) / 2)


def test_an_event_reaches_out_to_half_its_threshold_and_gaps_are_closed() -> None:
    frames = np.zeros((40, 2), dtype=np.float32)
    frames[5:10, 0] = 0.3  # not sure, but beside what is
    frames[10:15, 0] = 0.7
    frames[18:22, 0] = 0.9  # after a gap of three frames
    frames[30:32, 0] = 0.9  # too short
    frames[10:20, 1] = 0.4  # never reaches its threshold
    found = events(frames, np.array([0.6, 0.6], np.float32), ("Bark", "Bell"), 0.1)
    assert found == [Event(0.5, pytest.approx(2.2), "Bark", pytest.approx(0.9))]


def test_events_come_by_onset() -> None:
    frames = np.zeros((30, 2), dtype=np.float32)
    frames[20:30, 0] = 1
    frames[0:10, 1] = 1
    assert [event.label for event in events(frames, np.full(2, 0.5, np.float32), ("Bark", "Bell"), 0.1)] == [
        "Bell",
        "Bark",
    ]
