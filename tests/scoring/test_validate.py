"""What was not made for a reference is refused, whichever way it came into memory."""

import numpy as np
import pytest

from remixbench.errors import InputError
from remixbench.scoring import (
    EventTable,
    Masks,
    Predictions,
    SebbParameters,
    Separation,
    event_table,
    make_reference,
    score_predictions,
)
from remixbench.scoring.validate import fit_edges

ONE = event_table([0], [0], [1.0], [2.0])
REFERENCE = make_reference(["a.wav", "b.wav"], ["x", "y"], ONE, 10.0)


def events(clip=0, label=0, onset=1.0, offset=2.0):
    return EventTable(*(np.array([value]) for value in (clip, label, onset, offset)))


WRONG_EVENTS = [
    (events(label=-1), "event 0 is of class -1, expected one from 0 to 1"),
    (events(label=2), "event 0 is of class 2, expected one from 0 to 1"),
    (events(clip=-1), "event 0 is of clip -1, expected one from 0 to 1"),
    (events(clip=2), "event 0 is of clip 2, expected one from 0 to 1"),
    (events(onset=-0.5), "event 0 lasts from -0.5 to 2 s, expected 0 <= onset < offset"),
    (events(offset=1.0), "event 0 lasts from 1 to 1 s"),
    (events(offset=np.nan), "event 0 lasts from 1 to nan s"),
    (events(offset=np.inf), "event 0 lasts from 1 to inf s"),
    (events(onset=9.0, offset=10.2), "event 0 lasts from 9 to 10.2 s, .* within its clip of 10 s"),
    (events(onset=10.0, offset=10.05), "event 0 lasts from 10 to 10.05 s, .* within its clip of 10 s"),
    (EventTable(np.array([1, 0]), np.array([0, 0]), np.zeros(2), np.ones(2)), "not in the order of clip, class and on"),
    (EventTable(np.array([0, 0]), np.array([0]), np.zeros(2), np.ones(2)), "columns that are not arrays of one length"),
    (EventTable(*map(np.array, (0, 0, 1.0, 2.0))), "columns that are not arrays of one length"),
    (events(onset="1", offset="2"), "times that are not numeric"),
]


@pytest.mark.parametrize(("table", "message"), WRONG_EVENTS, ids=[message for _, message in WRONG_EVENTS])
def test_events_of_other_clips_or_classes_or_out_of_order_are_refused(table, message):
    with pytest.raises(InputError, match=f"the predicted events.*{message}"):
        score_predictions(REFERENCE, Predictions(events=table), bootstrap=0)
    with pytest.raises(InputError, match=f"the reference's events.*{message}"):
        make_reference(["a.wav", "b.wav"], ["x", "y"], table, 10.0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0], [0], [np.nan], [1.0]), "event 0 lasts from nan to 1 s, expected onset <= offset"),
        (([0, 0], [0, 0], [0.0, 3.0], [1.0, 2.0]), "event 1 lasts from 3 to 2 s"),
        (([0], [0], [0.0], [np.inf]), "event 0 lasts from 0 to inf s"),
        (([0.5], [0], [0.0], [1.0]), "the clip of events is of type float64, expected whole numbers"),
        (([0], ["x"], [0.0], [1.0]), "the label of events is of type <U1, expected whole numbers"),
        (([0, 1], [0], [0.0], [1.0]), "events have 2 clips, 1 labels, 1 onsets and 1 offsets"),
    ],
)
def test_a_table_of_events_that_cannot_be_is_refused_and_not_cut(columns, message):
    with pytest.raises(InputError, match=message):
        event_table(*columns)


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (Predictions(), "hold neither clip scores, frame scores nor events"),
        (Predictions(frame_edges=np.arange(3.0)), "hold neither clip scores, frame scores nor events"),
        (Predictions(np.ones((2, 2), bool)), "clip scores are of type bool, expected float32 or float64"),
        (Predictions([[0.5, 0.5], [0.5, 0.5]]), "clip scores are of type list, expected a NumPy array"),
        (Predictions(None, np.ones((2, 3, 2)), [0.0, 1.0, 2.0, 10.0]), "frame edges are of type list"),
        (Predictions(np.ones((2, 2), np.uint8)), "clip scores are of type uint8"),
        (Predictions(None, np.ones((2, 3, 2), np.int64), np.arange(4.0)), "frame scores are of type int64"),
        (Predictions(None, np.ones((2, 3, 2), np.float16), np.arange(4.0)), "frame scores are of type float16"),
        (Predictions(None, np.ones((2, 3, 2)), None), "and their edges in seconds"),
        (
            Predictions(None, np.ones((2, 3, 2)), np.array([0.0, 1.0, 2.0, np.inf])),
            "4 frame edges, expected 4 numbers that rise",
        ),
        (
            Predictions(None, np.ones((2, 1, 2)), np.array(["0", "10"])),
            "2 frame edges, expected 2 numbers that rise",
        ),
        (Predictions(None, np.ones((2, 3, 2)), np.array(10.0)), "1 frame edges, expected 4 numbers that rise"),
        (Predictions(None, np.ones((2, 2, 2)), np.array([8.0, 9.0, 10.0])), "first frame begins at 8 s, expected 0"),
        (Predictions(None, np.ones((2, 2, 2)), np.array([-5.0, 5.0, 10.0])), "first frame begins at -5 s, expected 0"),
        (Predictions(np.ma.masked_array(np.ones((2, 2)), mask=np.eye(2))), "clip scores are of type MaskedArray"),
        (Predictions(events=[(0, 0, 1.0, 2.0)]), "events are of type list; make a table with event_table"),
        (Predictions(events=EventTable([0], [0], [1.0], [2.0])), "columns that are not arrays of one length"),
        (np.ones((2, 2)), r"found Reference and ndarray, expected a Reference \(of make_reference\) and Predictions"),
        (None, "found Reference and NoneType"),
        (Predictions(None, np.ones((2, 3, 2)), np.arange(4.0)), "3 frames end at 3 s but the clips last 10 s"),
        (Predictions(None, np.ones((2, 3, 2)), np.array([0.0, 4.0, 4.0, 10.0])), "each ending after it begins"),
        (Predictions(events=events(clip=0.5)), "the clip of events is of type float64, expected whole numbers"),
        (Predictions(np.full((2, 2), np.nan)), "nan is not finite"),
    ],
)
def test_predictions_that_cannot_be_scored_are_refused(predictions, message):
    with pytest.raises(InputError, match=message):
        score_predictions(REFERENCE, predictions, bootstrap=0)


@pytest.mark.parametrize("number", [-1, 2.5, "10", True])
def test_what_is_no_number_of_bootstrap_samples_is_refused(number):
    with pytest.raises(InputError, match=f"bootstrap {number}: expected a number"):
        score_predictions(REFERENCE, Predictions(events=ONE), bootstrap=number)


@pytest.mark.parametrize("seed", [-1, 2.5, "10", True])
def test_what_is_no_seed_of_the_bootstrap_is_refused(seed):
    with pytest.raises(InputError, match=f"seed {seed}: expected a whole number of 0 or more"):
        score_predictions(REFERENCE, Predictions(events=ONE), seed=seed)


def masks(clip=0, label=0, ideal=bool, active_bins=None):
    pair = np.array([clip]), np.array([label])
    return Masks(*pair, np.zeros((1, 4, 3), np.uint8), np.ones((1, 4, 3), ideal), active_bins)


def separation(clip=0, label=0, values=(1.0,), clips=None, name="sdr"):
    of_clips = {} if clips is None else {"ca_sdr_improvement": clips}
    return Separation(np.array([clip]), np.array([label]), {name: np.array(values)}, of_clips)


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ({"masks": masks(label=-1)}, "the maps: pair 0 is of class -1, expected one from 0 to 1"),
        ({"masks": masks(label=2)}, "the maps: pair 0 is of class 2"),
        ({"masks": masks(clip=-1)}, "the maps: pair 0 is of clip -1"),
        ({"masks": masks(ideal=int)}, "ideal masks are int64, expected bool"),
        ({"masks": masks(active_bins=np.zeros((1, 2), int))}, r"active bins have shape \(1, 2\), expected \(2, 2\)"),
        ({"separation": separation(label=-1)}, "the separated events: event 0 is of class -1"),
        ({"separation": separation(clip=2)}, "the separated events: event 0 is of clip 2"),
        ({"separation": separation(values=(1.0, 2.0))}, "the measures of separation differ in length"),
        ({"separation": separation(clips=np.ones(1))}, "the measures of separation differ in length"),
        ({"separation": separation(values=(np.inf,))}, "a measure of separation is infinite"),
        ({"separation": separation(clips=np.array([0, np.inf]))}, "a measure of separation is infinite"),
        ({"separation": separation(name="micro_ap")}, "'micro_ap' is no measure of separated events, expected sdr, "),
        (
            {"separation": separation(name="ca_sdr_improvement")},
            "'ca_sdr_improvement' is no measure of separated events",
        ),
        ({"separation": separation(values=(1j,))}, "the values of 'sdr' are not a NumPy array of real numbers"),
        ({"separation": separation(clips=[1.0, 2.0])}, "'ca_sdr_improvement' are not a NumPy array of real numbers"),
        ({"sebbs": [SebbParameters()]}, "there are 1 parameters of bounding boxes, expected SebbParameters for each"),
        ({"sebbs": ["x", "y"]}, "there are 2 parameters of bounding boxes, expected SebbParameters for each"),
    ],
)
def test_measures_of_other_clips_or_classes_are_refused(measures, message):
    frames = Predictions(None, np.full((2, 2, 2), 0.5), np.array([0.0, 5.0, 10.0]))
    with pytest.raises(InputError, match=message):
        score_predictions(REFERENCE, frames, bootstrap=0, **measures)


@pytest.mark.parametrize(
    ("end", "duration", "milliseconds"),
    [(5.6, 5.0, False), (56.0, 5.0, False), (5000.0, 5.0, True), (9920.0, 10.0, True), (500.0, 5.0, False)],
)
def test_frames_are_said_to_be_in_milliseconds_only_where_they_then_fit(end, duration, milliseconds):
    with pytest.raises(InputError) as error:
        fit_edges(np.linspace(0, end, 400), duration, "scores")
    assert ("milliseconds" in str(error.value)) == milliseconds
