"""Sound event bounding boxes: their ends do not move with the threshold, and they are tuned on other clips."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remixbench import scoring
from remixbench.errors import InputError
from remixbench.scoring import Inputs, Predictions, SebbParameters, event_table, make_reference, score_predictions
from remixbench.scoring.bounding_boxes import DEFAULT, GRID, boxes_of, sebb_metrics, tune
from remixbench.scoring.psds_exact import PSDS, psds_of_scores

STEP = 0.1
NO_MERGING = SebbParameters(step=0.6, merge_absolute=0.0, merge_relative=1.0)


def found(scores, parameters=NO_MERGING):
    boxes = boxes_of(np.atleast_2d(scores), STEP, parameters)
    return [*zip(boxes.clip.tolist(), boxes.start.tolist(), boxes.stop.tolist(), strict=True)], boxes.confidence


def steps(*parts):
    return np.concatenate([np.full(frames, value) for value, frames in parts])


def test_a_box_is_where_the_scores_change_and_its_confidence_their_mean():
    scores = steps((0.0, 20), (0.8, 20), (0.0, 20), (0.3, 10), (0.0, 30))
    places, confidence = found(scores)
    assert places == [(0, 20, 40), (0, 60, 70)]
    assert confidence == pytest.approx([0.8, 0.3])
    assert found(scores / 100)[0] == places  # whatever the height


def test_boxes_reach_the_ends_of_a_clip():
    assert found(steps((0.9, 10), (0.0, 80), (0.7, 10)))[0] == [(0, 0, 10), (0, 90, 100)]
    assert found(np.full(30, 0.5))[0] == [(0, 0, 30)]
    assert found(np.zeros(30))[0] == []
    assert found([0.4])[0] == [(0, 0, 1)]


def test_clips_are_apart():
    scores = np.stack([steps((0.0, 90), (0.7, 10)), steps((0.7, 10), (0.0, 90))])
    everything = SebbParameters(merge_absolute=1.0, merge_relative=np.inf)
    assert found(scores, everything)[0] == [(0, 90, 100), (1, 0, 10)]


def test_shallow_gaps_are_closed_and_deep_ones_are_not():
    scores = steps((0.0, 20), (0.8, 10), (0.7, 10), (0.8, 10), (0.2, 10), (0.8, 10), (0.0, 20))
    closed, confidence = found(scores, SebbParameters(step=0.6, merge_absolute=0.2, merge_relative=2.0))
    assert closed == [(0, 20, 50), (0, 60, 70)]
    assert confidence == pytest.approx([(8 + 7 + 8) / 30, 0.8])
    assert len(found(scores)[0]) == 3
    assert len(found(scores, SebbParameters(step=0.6, merge_absolute=0.05, merge_relative=2.0))[0]) == 3
    assert len(found(scores, SebbParameters(step=0.6, merge_absolute=0.2, merge_relative=1.1))[0]) == 3


def test_an_event_does_not_swallow_the_noise_beside_it():
    rng = np.random.default_rng(0)
    scores = 0.1 * rng.random((50, 100))
    scores[:, 30:60] += 0.8
    boxes = boxes_of(scores, STEP, DEFAULT)
    high = boxes.confidence > 0.5
    assert boxes.clip[high].tolist() == list(range(50))
    assert set(boxes.start[high].tolist()) == {30}
    assert set(boxes.stop[high].tolist()) == {60}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(GRID))
def test_boxes_lie_in_order_within_their_clip_and_never_touch(seed, parameters):
    rng = np.random.default_rng(seed)
    clips, frames = rng.integers(1, 5), rng.integers(1, 80)
    scores = rng.random((clips, frames)) ** rng.integers(1, 6)
    if seed % 3 == 0:
        scores = np.round(scores * 3) / 3  # runs without change
    boxes = boxes_of(scores, 0.032, parameters)
    assert (boxes.start >= 0).all()
    assert (boxes.start < boxes.stop).all()
    assert (boxes.stop <= frames).all()
    same = boxes.clip[1:] == boxes.clip[:-1]
    assert (np.diff(boxes.clip) >= 0).all()
    assert (boxes.start[1:] > boxes.stop[:-1])[same].all()
    for clip, start, stop, confidence in zip(boxes.clip, boxes.start, boxes.stop, boxes.confidence, strict=True):
        assert confidence == pytest.approx(scores[clip, start:stop].mean())


def inputs(reference, scores, edges, parameters):
    return Inputs(reference, Predictions(None, scores, edges), sebbs=parameters)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_scores_within_rounding_of_zero_do_not_shift_other_boxes(seed):
    rng = np.random.default_rng(seed)
    tiny = np.cumsum(rng.uniform(-1, 1, (3, 60)), axis=1) * 10.0 ** rng.uniform(-14, -11)
    scores = np.concatenate((np.abs(tiny), np.zeros((3, 40))), axis=1)
    scores[1, 70:90] = 0.8
    boxes = boxes_of(np.concatenate((scores, scores[1:2])), STEP, NO_MERGING)
    assert (boxes.start < boxes.stop).all()
    high = boxes.confidence > 0.5
    places = zip(boxes.clip[high].tolist(), boxes.start[high].tolist(), boxes.stop[high].tolist(), strict=True)
    assert [*places] == [(1, 70, 90), (3, 70, 90)]


def noisy(seed, clips=80, classes=3):
    """Return a fold whose scores are an event's height times noise, which thresholds cut to pieces."""
    rng = np.random.default_rng(seed)
    clip = np.repeat(np.arange(clips), 2)
    onset = np.tile([1.0, 6.0], clips) + np.round(rng.uniform(0, 1, 2 * clips), 1)
    label = rng.integers(0, classes, 2 * clips)
    events = event_table(clip, label, onset, onset + np.round(rng.uniform(1, 3, 2 * clips), 1))
    edges = np.round(np.arange(101) * STEP, 6)
    scores = 0.3 * rng.random((clips, 100, classes))
    for row, k, start, stop in zip(events.clip, events.label, events.onset, events.offset, strict=True):
        first, last = round(start / STEP), round(stop / STEP)
        scores[row, first:last, k] += rng.uniform(0.2, 0.7) * rng.uniform(0.2, 1.0, last - first)
    names = [f"{i}.wav" for i in range(clips)]
    return make_reference(names, [f"c{k}" for k in range(classes)], events, 10.0), np.clip(scores, 0, 1), edges


def frame_scores(boxes, shape):
    """Return frame scores (clips, frames): the confidence in each box, 0 elsewhere."""
    scores = np.zeros(shape)
    for clip, start, stop, confidence in zip(boxes.clip, boxes.start, boxes.stop, boxes.confidence, strict=True):
        scores[clip, start:stop] = confidence
    return scores


def test_psds_of_boxes_is_that_of_scores_constant_in_each_box():
    reference, scores, edges = noisy(0)
    parameters = [GRID[0], GRID[5], GRID[-1]]
    once = np.ones((80, 1))
    values = sebb_metrics(inputs(reference, scores, edges, parameters), once).overall
    constant = np.stack(
        [frame_scores(boxes_of(scores[:, :, k], STEP, parameters[k]), (80, 100)) for k in range(3)], axis=-1
    )
    expected = psds_of_scores(reference, constant, edges, once).overall
    assert set(values) == {"psds1[sebb]", "psds2[sebb]", "psds1[sebb alpha_st 0]", "psds2[sebb alpha_st 0]"}
    for name in PSDS:
        key = name.replace("[", "[sebb ") if "[" in name else f"{name}[sebb]"
        assert values[key] == pytest.approx(expected[name], abs=1e-12)
        assert values[key] > 0


def test_boxes_tuned_on_some_clips_are_better_on_others():
    tuned = tune(*noisy(1))
    assert len(tuned) == 3
    reference, scores, edges = noisy(2)
    values = score_predictions(reference, Predictions(None, scores, edges), sebbs=tuned, bootstrap=0).values
    assert values["psds1[sebb]"] > values["psds1"] + 0.05
    assert values["psds1[sebb alpha_st 0]"] > values["psds1[alpha_st 0]"] + 0.05
    plain = score_predictions(reference, Predictions(None, scores, edges), bootstrap=0)
    assert not [name for name in plain.values if "sebb" in name]
    assert plain.values == {name: value for name, value in values.items() if "sebb" not in name}


def test_a_class_without_events_takes_the_parameters_that_are_best_on_average():
    reference, scores, edges = noisy(3, classes=2)
    more = make_reference(reference.filenames, [*reference.classes, "c2"], reference.events, 10.0)
    tuned = tune(more, np.concatenate([scores, scores[:, :, :1]], axis=-1), edges)
    assert tuned[:2] == tune(reference, scores, edges)
    assert tuned[2] in GRID
    nothing = make_reference(reference.filenames, reference.classes, event_table([], [], [], []), 10.0)
    assert tune(nothing, scores, edges) == (GRID[0],) * 2


def as_tables(reference, scores, edges):
    tables = {
        name: pd.DataFrame(rows, columns=list(reference.classes)).assign(onset=edges[:-1], offset=edges[1:])[
            ["onset", "offset", *reference.classes]
        ]
        for name, rows in zip(reference.filenames, scores, strict=True)
    }
    events = reference.events
    truth = pd.DataFrame(
        {
            "filename": [reference.filenames[clip] for clip in events.clip],
            "onset": events.onset,
            "offset": events.offset,
            "event_label": [reference.classes[k] for k in events.label],
        }
    )
    return truth, tables, pd.DataFrame({"filename": reference.filenames, "duration": reference.durations})


def test_in_one_line_they_are_the_same(tmp_path):
    reference, scores, edges = noisy(4, clips=20)
    truth, tables, durations = as_tables(reference, scores, edges)
    tuned = scoring.tune_sebbs(truth, tables, durations)
    assert tuple(tuned.values()) == tune(reference, scores, edges)
    boxes = scoring.sebbs(tables, tuned)
    for k, label in enumerate(reference.classes):
        expected = boxes_of(scores[:, :, k], STEP, tuned[label])
        of_class = boxes[boxes.event_label == label]
        assert of_class.onset.tolist() == edges[expected.start].tolist()
        assert of_class.offset.tolist() == edges[expected.stop].tolist()
        assert of_class.score.tolist() == expected.confidence.tolist()
    value = scoring.psds(truth, tables, durations, boxes=tuned)
    expected = sebb_metrics(inputs(reference, scores, edges, list(tuned.values())), np.ones((20, 1))).overall[
        "psds1[sebb]"
    ]
    assert value == pytest.approx(expected[0], abs=1e-12)
    for name, table in tables.items():
        table.to_csv(tmp_path / name.replace(".wav", ".tsv"), sep="\t", index=False)
    assert scoring.psds(truth, tmp_path, durations, boxes=tuned) == pytest.approx(value, abs=1e-12)
    read = scoring.sebbs(tmp_path, tuned).sort_values(["filename", "event_label", "onset"])
    assert len(read) == len(boxes)
    frames = score_predictions(reference, Predictions(None, np.clip(scores + 0.15, 0, 1), edges), bootstrap=0).values
    kept = boxes[boxes.score > 0.35]  # the same threshold
    assert scoring.event_based(truth, kept).f1 > frames["event_f1[threshold]"] + 0.1


def test_clips_may_differ_in_length():
    reference, scores, edges = noisy(5, clips=20)
    truth, tables, durations = as_tables(reference, scores, edges)
    short = reference.filenames[3]
    tables[short] = tables[short].iloc[:45]
    durations.loc[3, "duration"] = 4.5
    truth = truth[(truth.filename != short) | (truth.offset <= 4.5)]
    tuned = scoring.tune_sebbs(truth, tables, durations)
    boxes = scoring.sebbs(tables, tuned)
    assert boxes[boxes.filename == short].offset.max() <= 4.5
    assert scoring.psds(truth, tables, durations, boxes=tuned) > 0
    tables[short] = tables[short].assign(onset=np.arange(45) * 0.05, offset=np.arange(1, 46) * 0.05)
    durations.loc[3, "duration"] = 2.25
    truth = truth[truth.filename != short]
    assert scoring.psds(truth, tables, durations, boxes=tuned) > 0
    with pytest.raises(InputError, match=r"have frames of 0\.05 to 0\.1 s, expected one length"):
        scoring.tune_sebbs(truth, tables, durations)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"step": 0.0}, "step 0.0: expected a number above 0"),
        ({"step": np.nan}, "step nan"),
        ({"merge_absolute": 1.5}, "merge_absolute 1.5: expected a number from 0 to 1"),
        ({"merge_relative": 0.5}, "merge_relative 0.5: expected a number of 1 or more"),
        ({"merge_relative": "2"}, "merge_relative 2: expected a number"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        SebbParameters(**parameters)


def test_parameters_of_every_class_are_needed():
    frames = pd.DataFrame({"onset": [0.0], "offset": [1.0], "dog": [0.5], "door": [0.5]})
    with pytest.raises(InputError, match=r"parameters: none of class 'door' \(did you mean 'doors'\?\)"):
        scoring.sebbs({"a": frames}, {"dog": DEFAULT, "doors": DEFAULT})
