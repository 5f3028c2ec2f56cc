"""Detection figures on cases small enough to count by hand."""

import numpy as np
import pytest

from remixbench.scoring import Predictions, event_table, make_reference, score_predictions
from remixbench.scoring.detection import active_frames, event_counts, intersection_counts, segment_counts
from remixbench.scoring.postprocessing import (
    POSTPROCESSINGS,
    PostProcessing,
    detect_events,
    detections,
    median_filtered,
)
from remixbench.scoring.psds_exact import detections_of, psds_of_scores


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
        assert event_counts(truth, events((0, 0, onset, 5.0)), 1, 1, evaluate_offset=False).tp.sum() == found


def test_the_offset_may_be_off_by_a_fifth_of_a_long_event():
    truth = events((0, 0, 1.0, 6.0))  # a fifth is 1 s
    for offset, found in ((7.0, 1), (7.000001, 0), (5.0, 1), (4.9, 0)):
        assert event_counts(truth, events((0, 0, 1.0, offset)), 1, 1, evaluate_offset=True).tp.sum() == found


def test_each_event_is_matched_once_and_as_many_as_can_be():
    truth = events((0, 0, 1.0, 1.1), (0, 0, 1.3, 1.4))
    # The first answer suits both; a greedy choice would give it to the second and lose one.
    answers = events((0, 0, 1.15, 1.2), (0, 0, 0.85, 0.9))
    assert event_counts(truth, answers, 1, 1, evaluate_offset=False).tp.sum() == 2
    assert event_counts(truth, events((0, 0, 1.15, 1.2)), 1, 1, evaluate_offset=False).tp.sum() == 1


def test_estimates_that_touch_are_not_merged():
    truth = events((0, 0, 1.0, 3.0))
    split = event_table([0, 0], [0, 0], [1.0, 2.0], [2.0, 3.0], merge=False)
    counts = event_counts(truth, split, 1, 1)  # as sed_eval counts: none ends where the reference event does
    assert (counts.tp.sum(), counts.n_sys.sum()) == (0, 2)
    assert intersection_counts(truth, split, 1, 1).tp.sum() == 1  # on their union


def test_segments():
    truth = events((0, 0, 0.5, 2.0), (0, 1, 3.2, 3.3))  # seconds 0, 1 of the first, 3 of the second class
    answers = events((0, 0, 1.0, 2.000001), (0, 0, 3.9, 4.0))  # seconds 1, 2 and 3
    counts, errors = segment_counts(truth, answers, np.array([5.0]), 2)
    assert (counts.tp.tolist(), counts.n_ref.tolist(), counts.n_sys.tolist()) == ([[1, 0]], [[2, 1]], [[3, 0]])
    assert errors.tolist() == [3]  # one missed, one too many, one class for another


def test_intersections():
    truth = events((0, 0, 1.0, 3.0))
    half = intersection_counts(truth, events((0, 0, 2.0, 4.0)), 1, 1)  # half of it right, half of the truth: enough
    assert (half.tp.sum(), half.n_sys.sum()) == (1, 1)
    less = intersection_counts(truth, events((0, 0, 2.1, 4.1)), 1, 1)
    assert (less.tp.sum(), less.n_sys.sum()) == (0, 1)
    pieces = intersection_counts(truth, events((0, 0, 1.0, 1.5), (0, 0, 2.0, 2.5), (0, 0, 8.0, 9.0)), 1, 1)
    assert (pieces.tp.sum(), pieces.n_sys.sum()) == (1, 2)


def test_a_frame_is_true_if_its_centre_is():
    truth = active_frames(events((0, 0, 0.25, 0.75)), np.array([0.0, 0.5, 1.0, 1.5]), 1, 1)
    assert truth[0, :, 0].tolist() == [True, False, False]


@pytest.mark.parametrize("seed", range(30))
def test_detections_are_what_each_threshold_cuts_out(seed):
    scores = np.random.default_rng(seed).integers(0, 6, (12, 3)).astype(np.float32)
    made = detections_of(scores)
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
    value = psds_of_scores(reference, scores, edges, np.ones((2, 1))).overall["psds1"]
    # One event is found without, the other only with one false alarm, which is just at the end of the axis.
    assert value == pytest.approx([0.5])
    twice = psds_of_scores(reference, scores, edges, np.array([[3.0], [1.0]])).overall["psds1"]
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
        score_predictions(reference, Predictions(None, each, edges), bootstrap=0).per_class for each in scores
    )
    assert [alone[f"psds{i}"]["c0"] for i in (1, 2)] == [1, 1]
    assert [elsewhere[f"psds{i}"]["c0"] for i in (1, 2)] == pytest.approx([0.9, 0.9])
    assert [across[f"psds{i}"]["c0"] for i in (1, 2)] == pytest.approx([0.9, 0.0])


def frames(*values):
    return np.array(values, np.float32)[None, :, None]


def detected(scores, how, clip_score=1.0):
    edges = np.arange(scores.shape[1] + 1.0)
    table = detect_events(scores, edges, how, np.full((1, 1), clip_score))
    return list(zip(table.onset.tolist(), table.offset.tolist(), strict=True))


def test_a_threshold_is_reached_by_what_equals_it():
    assert detected(frames(0.5, 0.4, 0.6, 0.7), POSTPROCESSINGS["threshold"]) == [(0, 1), (2, 4)]


def test_median_filtering_is_that_of_scipy():
    from scipy.ndimage import median_filter

    scores = np.random.default_rng(0).random((4, 40, 3)).astype(np.float32)
    table = detect_events(scores, np.arange(41.0), PostProcessing(threshold=0.5, median_filter=15.0))
    expected = median_filter(scores, size=(1, 15, 1)) >= 0.5
    assert (active_frames(table, np.arange(41.0), 4, 3) == expected).all()


@pytest.mark.parametrize(
    ("step", "length", "seconds"),
    [
        (0.032, 15, 0.48),
        (0.12, 5, 0.6),
        (0.16, 3, 0.48),
        (0.1, 5, 0.5),
        (0.24, 3, 0.72),
        (0.5, 1, 0.5),
        (0.02, 25, 0.5),
    ],
)
def test_the_median_filter_takes_the_nearest_odd_number_of_frames_and_its_length_is_recorded(step, length, seconds):
    """Also where that is more than the 0.48 s asked for; halfway it takes the larger one."""
    edges = np.arange(101) * step
    reference = reference_of(events((0, 0, 10 * step, 20 * step)), classes=1, seconds=100 * step)

    def values_of(frames_on):
        scores = np.zeros((1, 100, 1))
        scores[0, 10 : 10 + frames_on] = 1
        return score_predictions(reference, Predictions(None, scores, edges), bootstrap=0)

    assert values_of(1).settings["median_filter"] == {"frames": length, "seconds": seconds}
    dropped, kept = values_of((length - 1) // 2), values_of((length + 1) // 2)
    assert (dropped.values["segment_f1"], kept.values["segment_f1"] > 0) == (0, True)


def test_hysteresis():
    kind = PostProcessing(threshold=0.2, low_threshold=0.1, clip_threshold=0.1, max_gap=2.0, min_duration=3.0)
    stretch = [0.1, 0.3, 0.1]
    assert detected(frames(0, *stretch, 0), kind) == [(1, 4)]
    assert detected(frames(0, 0.1, 0.15, 0.1, 0), kind) == []  # never high
    assert detected(frames(*stretch, 0, 0, *stretch), kind) == [(0, 8)]  # a gap of two is closed
    assert detected(frames(*stretch, 0, 0, 0, *stretch), kind) == [(0, 3), (6, 9)]
    assert detected(frames(0.3, 0.3, 0, 0, 0, 0.3), kind) == []  # too short
    assert detected(frames(*stretch), kind, clip_score=0.09) == []  # not tagged
    assert "hysteresis" not in detections(Predictions(None, frames(*stretch), np.arange(4.0)))  # needs clip scores


def test_the_hysteresis_of_kong_closes_10_frames_and_drops_10_of_32_ms():
    def found(*values):
        return len(detect_events(frames(*values), np.arange(len(values) + 1) * 0.032, how, np.ones((1, 1))))

    how = POSTPROCESSINGS["hysteresis"]
    assert (how.threshold, how.low_threshold, how.clip_threshold) == (0.2, 0.1, 0.1)
    on, off = [0.2] * 11, [0.0]
    assert found(*on) == 1
    assert found(*on[1:]) == 0
    assert found(*on, *off * 10, *on) == 1
    assert found(*on, *off * 11, *on) == 2


def test_a_threshold_per_class():
    scores = np.full((1, 4, 2), 0.4, np.float32)
    table = detect_events(scores, np.arange(5.0), PostProcessing(threshold=(0.5, 0.3)))
    assert table.label.tolist() == [1]


def test_durations_are_seconds_whatever_the_frame_rate():
    how = PostProcessing(threshold=0.5, max_gap=0.2, min_duration=0.3)
    for step in (0.02, 0.05, 0.1):
        times = (np.arange(round(3 / step)) + 0.5) * step
        active = ((times > 0.5) & (times < 1.0)) | ((times > 1.2) & (times < 1.5)) | ((times > 2.0) & (times < 2.2))
        table = detect_events(frames(*active), np.arange(len(times) + 1) * step, how)
        assert (table.onset.round(6).tolist(), table.offset.round(6).tolist()) == ([0.5], [1.5])


def test_what_a_format_cannot_express_is_absent():
    reference = reference_of(events((0, 0, 1.0, 2.0)))
    tags = score_predictions(reference, Predictions(np.full((1, 2), 0.5)), bootstrap=0).values
    assert "micro_ap" in tags
    assert not {"event_f1", "psds1", "frame_ap"} & set(tags)
    listed = score_predictions(reference, Predictions(events=events((0, 0, 1.0, 2.0))), bootstrap=0).values
    assert listed["event_f1"] == 1
    assert not {"micro_ap", "psds1", "frame_f1", "frame_ap", "event_f1[threshold]"} & set(listed)
    scored = score_predictions(
        reference, Predictions(None, frames(*[0.5] * 10).repeat(2, 2), np.arange(11.0)), bootstrap=0
    )
    assert {"psds1", "frame_ap", "event_f1", "event_f1[threshold]"} <= set(scored.values)
    assert not {"micro_ap", "event_f1[hysteresis]"} & set(scored.values)


def test_no_reference_events_leave_metrics_undefined_and_no_detections_score_zero():
    said = Predictions(events=events((0, 0, 1.0, 2.0)))
    nothing = score_predictions(reference_of(events(), clips=2), said, bootstrap=5)
    assert set(nothing.values.values()) == {None}
    assert set(nothing.intervals.values()) == {None}
    silent = score_predictions(reference_of(events((0, 0, 1.0, 2.0))), Predictions(events=events()), bootstrap=0).values
    assert silent["event_f1"] == silent["segment_f1"] == silent["intersection_f1"] == 0
    assert silent["segment_er"] == 1


def test_false_alarms_in_a_class_without_events_cost_micro_but_not_macro():
    reference = reference_of(events((0, 0, 1.0, 2.0)))
    made = score_predictions(reference, Predictions(events=events((0, 0, 1.0, 2.0), (0, 1, 1.0, 2.0))), bootstrap=0)
    assert made.values["event_f1"] == pytest.approx(2 / 3)
    assert made.values["event_f1_macro"] == 1
    assert made.per_class["event_f1"] == {"c0": 1, "c1": None}


def test_filtered_scores_are_those_of_scipy_and_decide_as_the_post_processing_does():
    from scipy.ndimage import median_filter

    rng, edges = np.random.default_rng(0), np.arange(41) * 0.1
    scores = rng.random((3, 40, 2)).astype(np.float32)
    filtered = median_filtered(scores, edges, 0.5)
    assert (filtered == median_filter(scores, size=(1, 5, 1), mode="reflect")).all()
    how = PostProcessing(threshold=0.5, median_filter=0.5)
    same, plain = detect_events(filtered, edges, PostProcessing(0.5)), detect_events(scores, edges, how)
    assert (same.onset.tolist(), same.offset.tolist()) == (plain.onset.tolist(), plain.offset.tolist())


def test_psds_of_filtered_scores_is_named_by_the_filter():
    truth = events((0, 0, 1.0, 3.0))
    reference, edges = reference_of(truth, classes=1, seconds=5.0), np.arange(51) / 10
    scores = np.zeros((1, 50, 1), np.float32)
    scores[0, 10:30, 0] = 0.9
    scores[0, 20, 0] = 0.1  # a gap of a frame, which the filter closes
    scores[0, 40, 0] = 0.95  # a click, which it drops
    values = score_predictions(reference, Predictions(None, scores, edges), bootstrap=0).values
    assert values["psds1"] < values["psds1[median]"] == 1
