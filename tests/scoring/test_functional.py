"""Metrics in one line: their examples run, they are the kernels' values, and what is wrong is named."""

import doctest
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scoring_cases import make_case
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from remixbench import scoring
from remixbench.errors import InputError
from remixbench.scoring import functional, score_predictions

COLUMNS = ["filename", "onset", "offset", "event_label"]


def frame_of(reference, events):
    """Return events as a DCASE table; clips without events have a row with their name alone."""
    rows = [
        (reference.filenames[clip], onset, offset, reference.classes[label])
        for clip, label, onset, offset in zip(events.clip, events.label, events.onset, events.offset, strict=True)
    ]
    named = {name for name, *_ in rows}
    rows += [(name, np.nan, np.nan, "") for name in reference.filenames if name not in named]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_the_examples_of_the_docstrings_run():
    found = doctest.testmod(functional)
    assert found.attempted > 20
    assert found.failed == 0


@pytest.mark.parametrize("seed", range(20))
def test_tagging_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.random((30, 4)), 1 if seed % 2 else 6)
    weak = (rng.random((30, 4)) < 0.3).astype(int)
    for average in ("micro", "macro"):
        expected = average_precision_score(weak, scores, average=average)
        assert scoring.average_precision(weak, scores, average=average) == pytest.approx(expected, abs=1e-12)
    lines = weak.any(1)
    expected = label_ranking_average_precision_score(weak[lines], scores[lines], sample_weight=weak[lines].sum(1))
    assert scoring.lwlrap(weak, scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "scores",
    [
        [2**53 + 1, 2**53],
        np.array([2**63 + 1, 2**63], np.uint64),
        np.array([-(2**62), -(2**62) - 1]),
        1 + np.array([1, 0], np.longdouble) * np.finfo(np.longdouble).eps,
    ],
)
def test_scores_that_doubles_cannot_tell_apart_are_ranked(scores):
    assert scoring.average_precision([1, 0], scores) == 1
    assert scoring.average_precision([0, 1], scores) == 0.5
    assert scoring.lwlrap([[1, 0]], [scores]) == 1


def test_a_class_alone_and_a_class_that_never_occurs():
    assert scoring.average_precision([1, 0, 1], [0.9, 0.5, 0.4]) == pytest.approx((1 + 2 / 3) / 2)
    assert scoring.average_precision([[1, 0], [0, 0]], [[0.9, 0.5], [0.1, 0.8]]) == 1
    assert np.isnan(scoring.average_precision([[0, 0]], [[0.1, 0.2]]))
    assert np.isnan(scoring.lwlrap([[0, 0]], [[0.1, 0.2]]))


@pytest.mark.parametrize("seed", [0, 2, 5, 7, 8])
def test_one_line_and_all_metrics_at_once_are_the_same(seed, tmp_path):
    reference, predictions, decided = make_case(seed)
    truth, found = frame_of(reference, reference.events), frame_of(reference, decided)
    truth.to_csv(tmp_path / "strong.tsv", sep="\t", index=False)
    whole = score_predictions(reference, scoring.Predictions(events=decided), bootstrap=0).values
    for function, name in (
        (scoring.segment_based, "segment_f1"),
        (scoring.event_based, "event_f1"),
        (scoring.intersection_based, "intersection_f1"),
    ):
        made = function(tmp_path / "strong.tsv", found)
        assert (made.f1, made.f1_macro) == pytest.approx((whole[name], whole[f"{name}_macro"]), nan_ok=True)
    assert scoring.segment_based(truth, found).error_rate == pytest.approx(whole["segment_er"])

    tables = {
        name: pd.DataFrame(scores, columns=list(reference.classes))
        for name, scores in zip(reference.filenames, predictions.frame_scores, strict=True)
    }
    edges = predictions.frame_edges
    for name, table in tables.items():
        table.insert(0, "onset", edges[:-1])
        table.insert(1, "offset", edges[1:])
        table.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
    (tmp_path / "strong.tsv").rename(tmp_path / "strong.txt")
    durations = pd.DataFrame({"filename": reference.filenames, "duration": reference.durations})
    psds = score_predictions(reference, scoring.Predictions(None, predictions.frame_scores, edges), bootstrap=0).values
    assert scoring.psds(truth, tables, durations) == pytest.approx(psds["psds1"], abs=1e-12)
    two = {"dtc": 0.1, "gtc": 0.1, "cttc": 0.3, "alpha_ct": 0.5}
    assert scoring.psds(tmp_path / "strong.txt", tmp_path, durations, **two) == pytest.approx(psds["psds2"], abs=1e-12)


def frame(*rows):
    return pd.DataFrame(rows, columns=COLUMNS)


TOUCHING = {
    "touching": [("a", 0, 1, "x"), ("a", 1, 2, "x")],
    "overlapping": [("a", 0, 2, "x"), ("a", 1, 3, "x")],
    "nested": [("a", 0, 3, "x"), ("a", 1, 2, "x")],
    "twice the same": [("a", 0, 2, "x"), ("a", 0, 2, "x")],
    "touching within rounding": [("a", 0, 1.0000004, "x"), ("a", 0.9999996, 2, "x")],
    "in two clips": [("a", 0, 1, "x"), ("b", 1, 2, "x"), ("a", 1, 2, "y")],
}


@pytest.mark.parametrize("rows", TOUCHING.values(), ids=TOUCHING)
def test_the_reference_itself_scores_one(rows, tmp_path):
    events = frame(*rows)
    events.to_csv(tmp_path / "events.tsv", sep="\t", index=False)
    for estimate in (events, tmp_path / "events.tsv", events.iloc[::-1]):
        for metric in (scoring.event_based, scoring.segment_based, scoring.intersection_based):
            scores = metric(events, estimate)
            assert (scores.f1, scores.f1_macro, scores.precision, scores.recall) == (1, 1, 1, 1)
        assert scoring.event_based(events, estimate, evaluate_offset=False).f1 == 1


@pytest.mark.parametrize(
    ("labels", "others"),
    [
        ([0, 1], [0, 1, np.nan]),  # pandas turns the integers into floats
        ([0, 1], ["0", "1", None]),
        ([0, 1], pd.array([0, 1, None], dtype="Int64")),
        ([0.0, 1.0], np.array([0, 1, None], object)),
        ([True, False], ["True", "False", ""]),
        (["a", "b"], pd.Categorical(["a", "b", None])),
        (["a", "b"], pd.array(["a ", " b", pd.NA], dtype="string")),
        ([1, 2], np.array([1, 2, np.nan], np.float32)),
    ],
)
def test_labels_are_compared_as_text_whatever_their_type(labels, others):
    times = {"onset": [0.0, 1.0], "offset": [1.0, 3.0]}
    reference = pd.DataFrame({"filename": ["a", "b"], **times, "event_label": labels})
    estimate = pd.DataFrame({"filename": ["a", "b", "a"], "event_label": others})
    estimate["onset"], estimate["offset"] = [0.0, 1.0, np.nan], [1.0, 3.0, np.nan]
    for metric in (scoring.event_based, scoring.segment_based, scoring.intersection_based):
        assert metric(reference, estimate).f1_macro == metric(reference, estimate).f1 == 1
        assert metric(reference, estimate.assign(filename=["a", "b", "c"])).f1 == 1  # c has no event in either
    assert metric(estimate, reference).f1 == 1


@pytest.mark.parametrize("others", [(0, 1), (1, 2), (0, -1)])
def test_labels_keep_their_meaning_in_a_file_that_a_table_with_an_empty_clip_is_written_to(others, tmp_path):
    """pandas writes "0.0" and "1.0" there, and "0" and "1" where no row lacks a label."""
    times = {"onset": [0.0, 1.0], "offset": [1.0, 3.0]}
    reference = pd.DataFrame({"filename": ["a", "b"], **times, "event_label": others})
    estimate = pd.concat([reference, pd.DataFrame({"filename": ["a"]})])
    assert estimate["event_label"].dtype == float
    for separator, name in ((",", "{}.csv"), ("\t", "{}.tsv")):
        for table, stem in ((reference, "reference"), (estimate, "estimate")):
            table.to_csv(tmp_path / name.format(stem), sep=separator, index=False)
        truth, found = (tmp_path / name.format(stem) for stem in ("reference", "estimate"))
        for pair in ((truth, found), (found, truth), (reference, found), (truth, estimate)):
            assert scoring.event_based(*pair).f1 == scoring.segment_based(*pair).f1_macro == 1
            assert set(scoring.event_based(*pair).per_class) == set(map(str, others))


def test_labels_that_are_no_whole_numbers_stay_as_they_are(tmp_path):
    """Also where the other table has some of them alone."""
    rows = "filename,onset,offset,event_label\na,0,1,1.0\na,2,3,2.5\na,4,5,v1.0\n"
    (tmp_path / "reference.csv").write_text(rows)
    (tmp_path / "estimate.csv").write_text("".join(rows.splitlines(keepends=True)[:2]))
    scores = scoring.event_based(tmp_path / "reference.csv", tmp_path / "estimate.csv")
    assert scores.per_class == {"1": 1, "2.5": 0, "v1.0": 0}


def test_names_of_clips_are_matched_as_in_files(tmp_path):
    reference = frame(("00000.wav", 0, 1, "x"), ("00001.wav", 1, 2, "x"))
    for names in (["00000", "00001"], ["audio/00000.flac", "audio/00001.wav"]):
        assert scoring.event_based(reference, reference.assign(filename=names)).f1 == 1
    numbers = frame((1, 0, 1, "x"), (2, 1, 2, "x"))
    assert scoring.event_based(numbers.assign(filename=[1.0, 2.0]), numbers).f1 == 1
    with pytest.raises(InputError, match="estimate: row 0: no clip '0' in the reference"):
        scoring.event_based(reference, reference.assign(filename=[0, 1]))


def psds_case(scores, dtype=float):
    """Return the arguments of `psds`: three clips, the class active in frames 2 and 3 of the first."""
    names = ["a", "b", "c"]
    tables = {
        name: pd.DataFrame({"onset": range(10), "offset": range(1, 11), "x": np.asarray(values, dtype)})
        for name, values in zip(names, scores, strict=True)
    }
    return frame(("a", 2, 4, "x")), tables, pd.DataFrame({"filename": names, "duration": 10.0})


def test_scores_that_differ_in_the_last_bits_of_a_double_are_ranked(tmp_path):
    high, low = 1 - 1e-9, 1 - 2e-9
    assert np.float32(high) == np.float32(low)
    scores = [[low] * 2 + [high] * 2 + [low] * 6, [low] * 10, [low] * 10]
    reference, tables, durations = psds_case(scores)
    assert scoring.psds(reference, tables, durations) == 1
    assert scoring.psds(*psds_case(scores, np.float32)) == 0
    for name, table in tables.items():
        table.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
    assert scoring.psds(reference, tmp_path, durations) == 1


def test_clips_may_differ_in_length_and_in_frames():
    """A folder of DESED, say: clips of 1 to 10 s, and one made at another frame rate."""
    rng = np.random.default_rng(0)
    seconds = {"a": 10.0, "b": 4.5, "c": 1.03, "d": 7.3}
    tables = {}
    for name, step in zip(seconds, (0.1, 0.1, 0.1, 0.025), strict=True):
        edges = np.minimum(np.round(np.arange(np.ceil(seconds[name] / step) + 1) * step, 6), seconds[name])
        scores = rng.random((len(edges) - 1, 2))
        tables[name] = pd.DataFrame({"onset": edges[:-1], "offset": edges[1:], "x": scores[:, 0], "y": scores[:, 1]})
    events = frame(("a", 8.0, 9.5, "x"), ("b", 0.0, 1.0, "x"), ("c", 0.5, 1.03, "y"), ("d", 2.0, 7.3, "y"))
    for _, clip, onset, offset, label in events.itertuples():
        inside = (tables[clip].onset >= onset - 1e-6) & (tables[clip].offset <= offset + 1e-6)
        tables[clip].loc[inside, label] = 1.0
    durations = pd.DataFrame({"filename": list(seconds), "duration": list(seconds.values())})
    assert scoring.psds(events, tables, durations) == 1
    tables["c"].loc[0, "x"] = 1.0  # one false alarm in 22.83 s, beyond the end of the axis
    assert scoring.psds(events, tables, durations, max_efpr=200, alpha_st=0) == pytest.approx(
        (1 + (200 - 3600 / 22.83) / 200) / 2
    )


def test_a_short_clip_may_lack_part_of_its_last_frame():
    frames = pd.DataFrame({"onset": [0.0, 0.064], "offset": [0.064, 0.128], "x": [0.1, 0.9]})
    durations = pd.DataFrame({"filename": ["a"], "duration": [0.17]})
    assert scoring.psds(frame(("a", 0.064, 0.128, "x")), {"a": frames}, durations) == 1
    with pytest.raises(InputError, match=r"scores of 'a': 2 frames end at 0\.128 s but the clips last 0\.3 s$"):
        scoring.psds(frame(("a", 0.064, 0.128, "x")), {"a": frames}, durations.assign(duration=0.3))


def test_tolerances_and_units():
    truth = pd.DataFrame([["a", 1.0, 2.0, "dog"]], columns=COLUMNS)
    late = pd.DataFrame([["a", 1.3, 2.5, "dog"]], columns=COLUMNS)
    assert scoring.event_based(truth, late).f1 == 0
    assert scoring.event_based(truth, late, collar=0.5).f1 == 1
    assert scoring.event_based(truth, late, collar=0.3, evaluate_offset=False).f1 == 1
    assert scoring.event_based(truth, late, collar=0.3, percentage_of_length=0.5).f1 == 1
    assert scoring.intersection_based(truth, late, dtc=0.5, gtc=0.8).f1 == 0
    assert scoring.segment_based(truth, late, time_resolution=0.5).f1 == pytest.approx(2 * 2 / (2 + 3))


def table(**changed):
    row = {"filename": "a.wav", "onset": 0.5, "offset": 1.0, "event_label": "dog"} | changed
    return pd.DataFrame([row])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"onset": "half"}, r"estimate: row 0, column 'onset': 'half' is not a number"),
        ({"offset": 0.5}, r"estimate: row 0, column 'offset': 0\.5 is not after the onset 0\.5"),
        ({"onset": np.nan}, r"estimate: row 0, column 'onset': empty"),
        ({"event_label": ""}, r"estimate: row 0, column 'event_label': empty"),
        (
            {"filename": "b.wav"},
            r"estimate: row 0: no clip 'b.wav' in the reference \(did you mean 'a.wav'\?\)",
        ),
    ],
)
def test_what_is_wrong_with_events_is_named(change, message):
    with pytest.raises(InputError, match=message):
        scoring.event_based(table(), table(**change))


METRICS_OF_EVENTS = (scoring.event_based, scoring.segment_based, scoring.intersection_based)


@pytest.mark.parametrize("metric", METRICS_OF_EVENTS)
def test_an_estimate_in_milliseconds_is_called_so_where_no_duration_is_known(metric):
    truth = pd.DataFrame([["a", 1.0, 2.0, "dog"], ["b", 0.5, 3.5, "dog"]], columns=COLUMNS)
    thousand = truth.assign(onset=truth.onset * 1000, offset=truth.offset * 1000)
    with pytest.raises(InputError, match=r"estimate: row 1, column 'offset': 3500 .* 3\.5 s \(milliseconds\? divide"):
        metric(truth, thousand)
    assert metric(thousand, thousand).f1 == 1  # both in one unit: nobody knows
    with pytest.raises(InputError, match=r"reference: row 1, column 'offset': 3500 .* the estimate, 3\.5 s \(millise"):
        metric(thousand, truth)
    # false alarms late in an hour of silence are no milliseconds, nor are long events of which one was found in part
    short = pd.DataFrame([["a", 0.0, 2.0, "dog"]], columns=COLUMNS)
    long = pd.DataFrame([["a", second, second + 90.0, "dog"] for second in (0.0, 100.0, 500.0)], columns=COLUMNS)
    assert metric(long, short).f1 < 0.6
    late = pd.DataFrame([["a", second, second + 2.0, "dog"] for second in (600.0, 1800.0, 3000.0)], columns=COLUMNS)
    assert metric(truth, late).f1 == 0


@pytest.mark.parametrize("metric", METRICS_OF_EVENTS)
@pytest.mark.parametrize("offset", [1.7e9, 1e13, 1e300])
def test_times_no_recording_has_are_refused(metric, offset):
    for events in (table(onset=offset / 2, offset=offset), table(offset=offset)):
        with pytest.raises(InputError, match=r"row 0, column 'offset': .* is beyond 100000 s"):
            metric(events, events)


def test_events_of_a_whole_day_belong_to_their_own_clip_and_class():
    day = pd.DataFrame([["a", 80_000.0, 80_001.0, "dog"], ["b", 10.0, 11.0, "dog"]], columns=COLUMNS)
    other = pd.DataFrame([["a", 10.0, 11.0, "dog"], ["b", 80_000.0, 80_001.0, "dog"]], columns=COLUMNS)
    for metric in METRICS_OF_EVENTS:
        assert metric(day, day).f1 == 1
        assert metric(day, other).f1 == 0


def test_segments_that_no_memory_holds_are_refused():
    with pytest.raises(InputError, match=r"time_resolution 9e-10: 1 clips of up to 1 s .* 1.1e\+09 segments"):
        scoring.segment_based(table(), table(), time_resolution=0.9e-9)


def test_labels_in_milliseconds_are_named_by_their_row():
    frames = {"a": pd.DataFrame({"onset": [0.0, 1.0, 2.0], "offset": [1.0, 2.0, 3.0], "dog": [0.1, 0.9, 0.2]})}
    durations = pd.DataFrame({"filename": ["a"], "duration": [3.0]})
    labels = pd.DataFrame([["a", 1000.0, 2000.0, "dog"]], columns=COLUMNS)
    for metric in (scoring.psds, scoring.tune_sebbs):
        with pytest.raises(InputError, match=r"reference: row 0, column 'onset': 1000 .* \(milliseconds\?"):
            metric(labels, frames, durations)
        with pytest.raises(InputError, match=r"scores of 'a': .* \(are the durations milliseconds\?"):
            metric(labels, frames, durations.assign(duration=3000.0))


@pytest.mark.parametrize("padding", [0.0, 1.0, "noise"])
def test_frames_after_the_end_of_a_shorter_clip_count_for_nothing(padding):
    rng = np.random.default_rng(0)
    durations, edges = [5.0, 10.0, 2.5], np.linspace(0, 10, 41)
    events = [(0, 0, 1.0, 3.0), (1, 0, 6.0, 9.0), (1, 1, 1.0, 2.0), (2, 1, 0.5, 2.5), (2, 0, 0.25, 1.0)]
    scores = rng.uniform(0, 0.2, (3, 40, 2))
    for clip, label, onset, offset in events:
        scores[clip, (edges[:-1] < offset) & (edges[1:] > onset), label] += 0.7
    tables = {}
    for clip, duration in enumerate(durations):
        inside = edges[:-1] < duration
        columns = {"onset": edges[:-1][inside], "offset": edges[1:][inside]}
        tables["abc"[clip]] = pd.DataFrame(columns | {label: scores[clip, inside, k] for k, label in enumerate("xy")})
        scores[clip, ~inside] = rng.uniform(0, 1, (int((~inside).sum()), 2)) if padding == "noise" else padding
    truth = pd.DataFrame([("abc"[c], a, b, "xy"[k]) for c, k, a, b in events], columns=COLUMNS)
    lengths = pd.DataFrame({"filename": list("abc"), "duration": durations})
    reference = scoring.make_reference(
        list("abc"), list("xy"), scoring.event_table(*zip(*events, strict=True)), durations
    )
    values = score_predictions(reference, scoring.Predictions(None, scores, edges), bootstrap=0).values
    assert values["psds1"] == pytest.approx(scoring.psds(truth, tables, lengths), abs=1e-12)
    assert values["psds1"] == 1
    assert values["frame_ap"] == values["event_f1[threshold]"] == values["intersection_f1"] == 1


def test_files_are_named_with_line_and_column(tmp_path: Path):
    file = tmp_path / "events.tsv"
    file.write_text("filename\tonset\toffset\tevent_label\n\na.wav\t0.5\t1,5\tdog\n")
    with pytest.raises(InputError, match=r"events\.tsv: line 3, column 'offset': '1,5' has a decimal comma"):
        scoring.segment_based(table(), file)
    with pytest.raises(InputError, match=r"estimate: no column 'event_label'"):
        scoring.segment_based(table(), table().drop(columns="event_label"))
    with pytest.raises(InputError, match=r"absent\.tsv"):
        scoring.segment_based(tmp_path / "absent.tsv", file)


def test_what_is_wrong_with_scores_is_named(tmp_path: Path):
    frames = pd.DataFrame({"onset": [0.0], "offset": [2.0], "dog": [0.9]})
    seconds = pd.DataFrame({"filename": ["a.wav"], "duration": [2.0]})
    with pytest.raises(InputError, match="no clip 'b' in this fold"):
        scoring.psds(table(), {"b": frames}, seconds)
    with pytest.raises(InputError, match="column 'event_label': 'dog' is not a class of the scores"):
        scoring.psds(table(), {"a": frames.rename(columns={"dog": "cat"})}, seconds)
    with pytest.raises(InputError, match="these look like logits"):
        scoring.psds(table(), {"a": frames.assign(dog=-3.0)}, seconds)
    with pytest.raises(InputError, match="not a folder of frame scores"):
        scoring.psds(table(), tmp_path, seconds)
    with pytest.raises(InputError, match="something other than 0 and 1"):
        scoring.average_precision([[0.5]], [[0.5]])
    with pytest.raises(InputError, match=r"shape \(1, 1\) and the scores \(1, 2\)"):
        scoring.lwlrap([[1]], [[0.5, 0.1]])
    with pytest.raises(InputError, match="NaN or infinite"):
        scoring.average_precision([[1]], [[np.nan]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scoring.segment_based(table(), table(), time_resolution=0), "time_resolution 0: .* above 0"),
        (lambda: scoring.event_based(table(), table(), collar=np.nan), "collar nan: expected a number from 0 to 100"),
        (lambda: scoring.event_based(table(), table(), collar=-1), "collar -1: expected a number from 0 to 100"),
        (lambda: scoring.event_based(table(), table(), collar="0.2"), "collar 0.2: expected a number from 0 to 100"),
        (
            lambda: scoring.event_based(table(), table(), percentage_of_length=20),
            "percentage_of_length 20: expected a number from 0 to 1",
        ),
        (lambda: scoring.intersection_based(table(), table(), dtc=50), "dtc 50: expected a number from 0 to 1"),
        (lambda: scoring.intersection_based(table(), table(), gtc=np.nan), "gtc nan: expected a number from 0 to 1"),
        (lambda: psds_of(FRAMES, max_efpr=0), "max_efpr 0: expected a number above 0"),
        (lambda: psds_of(FRAMES, alpha_ct=-1), "alpha_ct -1: expected a number from 0 to 1"),
        (lambda: psds_of(FRAMES.assign(dog="loud")), "scores of 'a.wav', column 'dog': not an array of numbers"),
        (lambda: psds_of(FRAMES.to_numpy()), "scores of 'a.wav': found ndarray, expected a DataFrame with onset"),
        (lambda: psds_of(FRAMES[["onset", "offset", "dog", "dog"]]), "'a.wav': two columns are named 'dog'; keep one"),
        (lambda: scoring.psds(table(), FRAMES, SECONDS), "scores: found DataFrame, expected a DataFrame per clip"),
        (
            lambda: scoring.event_based(table()[[*COLUMNS, "onset"]], table()),
            "reference: two columns are named 'onset'; keep one",
        ),
        (lambda: scoring.average_precision([[1, 0], [1]], [[0.1, 0.2], [0.3]]), "the reference: not an array of numb"),
        (lambda: scoring.lwlrap([[1, 0]], [["high", "low"]]), "the scores: not an array of numbers"),
        (lambda: scoring.lwlrap([[1, 0]], [[0.1 + 1j, 0.2]]), "the scores: of type complex128, expected real numbers"),
        (lambda: scoring.lwlrap([[1j, 0]], [[0.1, 0.2]]), "the reference: of type complex128, expected real numbers"),
        (
            lambda: scoring.average_precision([0, 1], np.array([0, 1], "datetime64[D]")),
            r"the scores: of type datetime64\[D\], expected real numbers",
        ),
        (
            lambda: scoring.average_precision([0, 1], np.ma.masked_array([0.1, 0.2], [False, True])),
            "the scores: a masked array, expected numbers",
        ),
        (
            lambda: psds_of(FRAMES.assign(dog=0.9 + 1j)),
            "scores of 'a.wav', column 'dog': of type complex128, expected real numbers",
        ),
        (
            lambda: psds_of(FRAMES[["onset", "offset"]]),
            "scores of 'a.wav': has no column of a class; expected onset, offset and one column per class",
        ),
        (lambda: scoring.psds(table(), {}, SECONDS), "scores: hold no clip"),
        (lambda: psds_of(FRAMES, boxes=5), "parameters: found int, expected SebbParameters, or a dict of them"),
        (lambda: psds_of(FRAMES, boxes={"dog": 5}), "parameters of class 'dog': found int, expected SebbParameters"),
        (
            lambda: scoring.segment_based(table(), table(), time_resolution=1e9),
            r"time_resolution 1000000000.0: expected a number above 0, at most 100000",
        ),
        (lambda: scoring.event_based(table(), table(), collar=1e300), "collar 1e.300: expected a number from 0 to 100"),
        (lambda: scoring.event_based(table(), table(), collar=True), "collar True: expected a number from 0 to 100"),
        (
            lambda: scoring.event_based(table(), table().assign(event_label=b"dog")),
            "estimate: column 'event_label': found the bytes b'dog', expected text; decode them",
        ),
    ],
)
def test_arguments_that_mean_nothing_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


FRAMES = pd.DataFrame({"onset": [0.0], "offset": [2.0], "dog": [0.9]})
SECONDS = pd.DataFrame({"filename": ["a.wav"], "duration": [2.0]})


def psds_of(frames, **parameters):
    return scoring.psds(table(), {"a.wav": frames}, SECONDS, **parameters)


def test_twenty_thousand_clips_take_seconds():
    events = pd.concat([table()] * 20_000).assign(filename=[f"{i}.wav" for i in range(20_000)])
    before = time.process_time()
    assert scoring.event_based(events, events).f1 == 1
    assert time.process_time() - before < 8  # with a list of all names per name it takes minutes
