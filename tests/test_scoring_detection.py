"""Detection figures on cases small enough to count by hand."""

import numpy as np
import pytest

from remixbench.scoring import Predictions, event_table, make_reference, psds, score_predictions
from remixbench.scoring.decoding import DECODINGS, Decoding, decode
from remixbench.scoring.event_based import event_counts
from remixbench.scoring.frames import frame_truth
from remixbench.scoring.intersection import intersection_counts
from remixbench.scoring.psds_points import curves as curves_of
from remixbench.scoring.psds_points import truth_of
from remixbench.scoring.segment import segment_counts
from remixbench.scoring.stretches import stretches_of


def events(*rows):
    return event_table(*(zip(*rows, strict=True) if rows else ([], [], [], [])))


def reference_of(table, clips=1, classes=2, seconds=10.0):
    return make_reference([f"{i}.wav" for i in range(clips)], [f"c{k}" for k in range(classes)], table, seconds)


def test_events_of_a_class_that_touch_are_merged():
    table = events((0, 0, 1.0, 2.0), (0, 0, 2.0, 3.0), (0, 1, 2.0, 3.0), (1, 0, 2.5, 4.0), (0, 0, 3.0000004, 3.5))
    assert table.clip.tolist() == [0, 0, 1]
    assert table.onset.tolist() == [1.0, 2.0, 2.5]
    assert table.offset.tolist() == [3.5, 3.0, 4.0]


def test_a_short_event_within_a_long_one_does_not_end_it():
    assert events((0, 0, 1.0, 9.0), (0, 0, 2.0, 3.0), (0, 0, 8.0, 9.5)).offset.tolist() == [9.5]


def test_an_event_on_the_collar_is_found():
    truth = events((0, 0, 3.0, 5.0))
    for onset, found in ((3.2, 1), (100 * 0.032, 1), (3.200001, 0), (2.8, 1), (2.799999, 0)):
        assert event_counts(truth, events((0, 0, onset, 5.0)), 1, 1, offsets=False).hits.sum() == found


def test_the_offset_may_be_off_by_a_fifth_of_a_long_event():
    truth = events((0, 0, 1.0, 6.0))  # a fifth is 1 s
    for offset, found in ((7.0, 1), (7.000001, 0), (5.0, 1), (4.9, 0)):
        assert event_counts(truth, events((0, 0, 1.0, offset)), 1, 1, offsets=True).hits.sum() == found


def test_each_event_is_matched_once_and_as_many_as_can_be():
    truth = events((0, 0, 1.0, 1.1), (0, 0, 1.3, 1.4))
    # The first answer suits both; a greedy choice would give it to the second and lose one.
    answers = events((0, 0, 1.15, 1.2), (0, 0, 0.85, 0.9))
    assert event_counts(truth, answers, 1, 1, offsets=False).hits.sum() == 2
    assert event_counts(truth, events((0, 0, 1.15, 1.2)), 1, 1, offsets=False).hits.sum() == 1


def test_segments():
    truth = events((0, 0, 0.5, 2.0), (0, 1, 3.2, 3.3))  # seconds 0, 1 of the first, 3 of the second class
    answers = events((0, 0, 1.0, 2.000001), (0, 0, 3.9, 4.0))  # seconds 1, 2 and 3
    counts, errors = segment_counts(truth, answers, np.array([5.0]), 2)
    assert (counts.hits.tolist(), counts.truth.tolist(), counts.answers.tolist()) == ([[1, 0]], [[2, 1]], [[3, 0]])
    assert errors.tolist() == [3]  # one missed, one too many, one class for another


def test_intersections():
    truth = events((0, 0, 1.0, 3.0))
    half = intersection_counts(truth, events((0, 0, 2.0, 4.0)), 1, 1)  # half of it right, half of the truth: enough
    assert (half.hits.sum(), half.answers.sum()) == (1, 1)
    less = intersection_counts(truth, events((0, 0, 2.1, 4.1)), 1, 1)
    assert (less.hits.sum(), less.answers.sum()) == (0, 1)
    pieces = intersection_counts(truth, events((0, 0, 1.0, 1.5), (0, 0, 2.0, 2.5), (0, 0, 8.0, 9.0)), 1, 1)
    assert (pieces.hits.sum(), pieces.answers.sum()) == (1, 2)


def test_a_frame_is_true_if_its_centre_is():
    truth = frame_truth(events((0, 0, 0.25, 0.75)), np.array([0.0, 0.5, 1.0, 1.5]), 1, 1)
    assert truth[0, :, 0].tolist() == [True, False, False]


@pytest.mark.parametrize("seed", range(30))
def test_stretches_are_what_each_threshold_cuts_out(seed):
    scores = np.random.default_rng(seed).integers(0, 6, (12, 3)).astype(np.float32)
    made = stretches_of(scores)
    for level, threshold in enumerate(made.scores):
        for clip in range(3):
            change = np.diff(np.concatenate(([0], scores[:, clip] >= threshold, [0])).astype(int))
            expected = set(zip(np.flatnonzero(change == 1), np.flatnonzero(change == -1), strict=True))
            there = (made.clip == clip) & (made.birth <= level) & (made.death > level)
            assert sorted(zip(made.start[there], made.stop[there], strict=True)) == sorted(expected)


def test_psds_by_hand():
    """Two clips of 18 s: 100 false alarms an hour are one in 36 s, so the axis ends at the first false alarm."""
    edges = np.arange(19.0)
    table = events((0, 0, 2.0, 4.0), (1, 0, 2.0, 4.0))
    reference = reference_of(table, clips=2, classes=1, seconds=18.0)
    scores = np.zeros((2, 18, 1), np.float32)
    scores[0, 2:4], scores[1, 10:12], scores[1, 2:4] = 0.9, 0.5, 0.3
    truth = truth_of(reference, edges)
    curves = curves_of(reference, truth, scores, edges, [psds.PSDS["psds1"]])
    value = psds.psds_figures("psds1", psds.PSDS["psds1"], reference, truth, curves[0], np.ones((2, 1)))["psds1"]
    # One event is found without, the other only with one false alarm, which is just at the end of the axis.
    assert value == pytest.approx([0.5])
    twice = psds.psds_figures("psds1", psds.PSDS["psds1"], reference, truth, curves[0], np.array([[3.0], [1.0]]))[
        "psds1"
    ]
    # Four clips, 72 s: the false alarm of the clip counted once is at 50 an hour. 3 of 4, then all.
    assert twice == pytest.approx([0.75 * 0.5 + 0.5])


def test_cross_triggers_are_false_alarms_that_cost_more():
    """In 360 s, 10 false alarms an hour are one; a cross trigger in 5 s of sound is 720."""
    edges = np.arange(361.0)
    table = events((0, 0, 0.0, 5.0), (0, 1, 5.0, 10.0))
    reference = reference_of(table, seconds=360.0)
    scores = np.zeros((3, 1, 360, 2), np.float32)
    scores[:, 0, 0:5, 0] = scores[:, 0, 5:10, 1] = 0.8
    scores[1, 0, 50:55, 0] = 0.9  # a false alarm elsewhere
    scores[2, 0, 5:9, 0], scores[2, 0, 4, 0] = 0.9, 0.0  # one on the other class, apart from the event
    alone, elsewhere, across = (
        score_predictions(reference, Predictions(None, each, edges), resamples=0).per_class for each in scores
    )
    assert [alone[f"per_class_psds{i}"]["c0"] for i in (1, 2)] == [1, 1]
    assert [elsewhere[f"per_class_psds{i}"]["c0"] for i in (1, 2)] == pytest.approx([0.9, 0.9])
    assert [across[f"per_class_psds{i}"]["c0"] for i in (1, 2)] == pytest.approx([0.9, 0.0])


def frames(*values):
    return np.array(values, np.float32)[None, :, None]


def decoded(scores, decoding, tag=1.0):
    edges = np.arange(scores.shape[1] + 1.0)
    table = decode(Predictions(np.full((1, 1), tag), scores, edges), decoding)
    return list(zip(table.onset.tolist(), table.offset.tolist(), strict=True))


def test_a_threshold_is_reached_by_what_equals_it():
    assert decoded(frames(0.5, 0.4, 0.6, 0.7), DECODINGS["threshold"]) == [(0, 1), (2, 4)]


def test_median_filtering_is_that_of_scipy():
    from scipy.ndimage import median_filter

    scores = np.random.default_rng(0).random((4, 40, 3)).astype(np.float32)
    table = decode(Predictions(None, scores, np.arange(41.0)), DECODINGS["median"])
    expected = median_filter(scores, size=(1, 15, 1)) >= 0.5
    assert (frame_truth(table, np.arange(41.0), 4, 3) == expected).all()


def test_hysteresis():
    kind = Decoding(high=0.2, low=0.1, tag=0.1, gap=2, shortest=3)
    stretch = [0.1, 0.3, 0.1]
    assert decoded(frames(0, *stretch, 0), kind) == [(1, 4)]
    assert decoded(frames(0, 0.1, 0.15, 0.1, 0), kind) == []  # never high
    assert decoded(frames(*stretch, 0, 0, *stretch), kind) == [(0, 8)]  # a gap of two is closed
    assert decoded(frames(*stretch, 0, 0, 0, *stretch), kind) == [(0, 3), (6, 9)]
    assert decoded(frames(0.3, 0.3, 0, 0, 0, 0.3), kind) == []  # too short
    assert decoded(frames(*stretch), kind, tag=0.09) == []  # not tagged
    assert decode(Predictions(None, frames(*stretch), np.arange(4.0)), kind) is None  # needs tags


def test_the_decodings_of_the_field_are_as_stated():
    kong = DECODINGS["hysteresis"]
    assert (kong.high, kong.low, kong.tag, kong.gap, kong.shortest) == (0.2, 0.1, 0.1, 10, 11)


def test_what_a_form_cannot_express_is_absent():
    reference = reference_of(events((0, 0, 1.0, 2.0)))
    tags = score_predictions(reference, Predictions(np.full((1, 2), 0.5)), resamples=0).figures
    assert "micro_ap" in tags
    assert not {"event_f1", "psds1", "frame_ap"} & set(tags)
    listed = score_predictions(reference, Predictions(events=events((0, 0, 1.0, 2.0))), resamples=0).figures
    assert listed["event_f1"] == 1
    assert not {"micro_ap", "psds1", "frame_f1", "frame_ap", "event_f1[threshold]"} & set(listed)
    scored = score_predictions(
        reference, Predictions(None, frames(*[0.5] * 10).repeat(2, 2), np.arange(11.0)), resamples=0
    )
    assert {"psds1", "frame_ap", "event_f1", "event_f1[threshold]"} <= set(scored.figures)
    assert not {"micro_ap", "event_f1[hysteresis]"} & set(scored.figures)


def test_nothing_true_leaves_figures_undefined_and_nothing_said_scores_zero():
    said = Predictions(events=events((0, 0, 1.0, 2.0)))
    nothing = score_predictions(reference_of(events()), said, resamples=5)
    assert set(nothing.figures.values()) == {None}
    assert set(nothing.intervals.values()) == {None}
    silent = score_predictions(
        reference_of(events((0, 0, 1.0, 2.0))), Predictions(events=events()), resamples=0
    ).figures
    assert silent["event_f1"] == silent["segment_f1"] == silent["intersection_f1"] == 0
    assert silent["segment_er"] == 1


def test_false_alarms_in_a_class_without_events_cost_micro_but_not_macro():
    reference = reference_of(events((0, 0, 1.0, 2.0)))
    made = score_predictions(reference, Predictions(events=events((0, 0, 1.0, 2.0), (0, 1, 1.0, 2.0))), resamples=0)
    assert made.figures["event_f1"] == pytest.approx(2 / 3)
    assert made.figures["event_f1_macro"] == 1
    assert made.per_class["per_class_event_f1"] == {"c0": 1, "c1": None}
