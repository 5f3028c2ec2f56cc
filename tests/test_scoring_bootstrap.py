"""Intervals: groups are drawn whole, draws are shared between systems, and coverage is near what is claimed."""

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from remixbench.errors import InputError
from remixbench.scoring import Predictions, compare, event_table, groups_of, make_reference, score_predictions
from remixbench.scoring.bootstrap import bootstrap_weights, interval


def fold(seed, clips=200, classes=4, skill=0.5, groups=None):
    rng = np.random.default_rng(seed)
    weak = rng.random((clips, classes)) < 0.2
    clip, label = np.nonzero(weak)
    events = event_table(clip, label, np.ones(len(clip)), np.full(len(clip), 2.0))
    names = [f"{i}.wav" for i in range(clips)]
    reference = make_reference(names, [f"c{k}" for k in range(classes)], events, 10.0, groups=groups)
    return reference, Predictions(rng.random((clips, classes)) * (1 - skill * ~weak))


def test_groups_are_drawn_whole_and_as_many_as_there_are():
    groups = groups_of([("a", "b"), ("c",), ("a", "b"), ("d",), ("c",)])
    assert groups.tolist() == [0, 1, 0, 2, 1]
    weights = bootstrap_weights(groups, 500, 0)
    assert (weights[0] == weights[2]).all()
    assert (weights[1] == weights[4]).all()
    assert (weights[0] + weights[1] + weights[3] == 3).all()
    assert weights.mean(1) == pytest.approx(np.ones(5), abs=0.15)


def test_a_seed_gives_the_same_draws():
    groups = np.arange(10)
    assert (bootstrap_weights(groups, 20, 3) == bootstrap_weights(groups, 20, 3)).all()
    assert (bootstrap_weights(groups, 20, 3) != bootstrap_weights(groups, 20, 4)).any()


def test_the_interval_is_that_of_a_plain_loop():
    reference, predictions = fold(0)
    made = score_predictions(reference, predictions, bootstrap=200, seed=5)
    weights = bootstrap_weights(reference.groups, 200, 5).astype(int)
    values = []
    for draw in weights.T:
        rows = np.repeat(np.arange(200), draw)
        values.append(
            np.mean(
                [average_precision_score(reference.weak[rows, k], predictions.clip_scores[rows, k]) for k in range(4)]
            )
        )
    assert made.samples["macro_ap"] == pytest.approx(np.array(values), abs=1e-12)
    assert made.intervals["macro_ap"] == pytest.approx(interval(made.values["macro_ap"], np.array(values)))


def test_an_interval_lies_about_its_figure_within_what_was_seen():
    values = np.arange(1001) / 1000
    assert interval(0.5, values) == pytest.approx((0.025, 0.975))
    assert interval(0.6, values) == pytest.approx((0.125, 1.0))
    assert interval(0.5, np.full(5, np.nan)) is None
    assert interval(float("nan"), values) is None


def test_grouped_clips_give_wider_intervals_than_single_ones():
    grouped, predictions = fold(1, groups=np.arange(200) // 20)
    # Whole groups of clips that are good or bad together.
    scores = np.where(grouped.weak, 0.2 + 0.6 * (grouped.groups % 2 == 0)[:, None], predictions.clip_scores / 2)
    single, _ = fold(1)
    widths = []
    for reference in (grouped, single):
        low, high = score_predictions(reference, Predictions(scores), bootstrap=300).intervals["micro_ap"]
        widths.append(high - low)
    assert widths[0] > 1.5 * widths[1]


def test_about_95_in_100_intervals_hold_the_true_figure():
    truth = np.mean(
        [score_predictions(*fold(seed, clips=4000), bootstrap=0).values["micro_ap"] for seed in range(1000, 1005)]
    )
    held = 0
    for seed in range(60):
        low, high = score_predictions(*fold(seed), bootstrap=200, seed=seed).intervals["micro_ap"]
        held += low <= truth <= high
    assert 51 <= held <= 60


def test_comparison_is_paired():
    reference, better = fold(2, skill=0.6)
    noise = np.random.default_rng(0).random(better.clip_scores.shape)
    worse = Predictions(0.8 * better.clip_scores + 0.2 * noise)
    first, second = (score_predictions(reference, p, bootstrap=300) for p in (better, worse))
    result = compare(first, second)["micro_ap"]
    assert result.difference == pytest.approx(first.values["micro_ap"] - second.values["micro_ap"])
    paired = first.samples["micro_ap"] - second.samples["micro_ap"]
    assert result.superiority == pytest.approx((paired > 0).mean())
    apart = np.hypot(first.samples["micro_ap"].std(), second.samples["micro_ap"].std())
    assert (result.interval[1] - result.interval[0]) < 2 * 1.96 * apart
    back = compare(second, first)["micro_ap"]
    assert back.superiority == pytest.approx(1 - result.superiority)
    assert compare(first, first)["micro_ap"].superiority == 0.5


def test_scores_on_other_bootstrap_samples_are_not_compared():
    reference, predictions = fold(3)
    first = score_predictions(reference, predictions, bootstrap=10, seed=0)
    with pytest.raises(ValueError, match="same bootstrap samples"):
        compare(first, score_predictions(reference, predictions, bootstrap=10, seed=1))


def test_all_but_the_samples_can_be_written_as_json():
    reference, predictions = fold(4)
    scores = score_predictions(reference, predictions, bootstrap=10)
    for part in (scores.values, scores.per_class, scores.intervals, scores.settings):
        json.dumps(part, allow_nan=False)
    assert scores.settings["groups"] == 200


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: Predictions(p.clip_scores[1:]), r"clip scores have shape \(199, 4\), expected \(200, 4\)"),
        (lambda p: Predictions(p.clip_scores - 3), "clip scores: 0.wav, c0: -.* apply a sigmoid"),
        (lambda p: Predictions(p.clip_scores * np.nan), "nan is not finite"),
        (lambda p: Predictions(None, np.zeros((200, 5, 4), np.float32)), "expected .* and their edges"),
        (lambda p: Predictions(None, np.zeros((200, 5, 4), np.float32), np.arange(5.0)), "5 frame edges, expected 6"),
        (lambda p: Predictions(events=event_table([200], [0], [0.0], [1.0])), "beyond the 200 clips"),
    ],
)
def test_predictions_for_another_reference_are_refused(change, expected):
    reference, predictions = fold(5)
    with pytest.raises(InputError, match=expected):
        score_predictions(reference, change(predictions), bootstrap=0)
