"""Intervals: recordings are resampled, samples are shared between systems, and coverage is near 95 %."""

import json
import runpy
from itertools import combinations

import numpy as np
import pytest
from paths import ROOT
from scipy import stats

from remixbench.errors import InputError
from remixbench.scoring import Predictions, Scores, compare, event_table, make_reference, score_predictions
from remixbench.scoring.bootstrap import GRID, STEP, _clusters, interval_of, make_bootstrap
from remixbench.scoring.metrics import METRICS

SETTINGS = dict.fromkeys(("scoring_version", "clips", "recordings", "bootstrap_samples", "bootstrap_seed"), 2)
SIMULATION = runpy.run_path(str(ROOT / "benchmarks" / "intervals.py"))


def fold(seed, clips=200, classes=4, skill=0.5, recordings=None):
    rng = np.random.default_rng(seed)
    weak = rng.random((clips, classes)) < 0.2
    clip, label = np.nonzero(weak)
    events = event_table(clip, label, np.ones(len(clip)), np.full(len(clip), 2.0))
    names = [f"{i}.wav" for i in range(clips)]
    reference = make_reference(names, [f"c{k}" for k in range(classes)], events, 10.0, recordings=recordings)
    return reference, Predictions(rng.random((clips, classes)) * (1 - skill * ~weak))


def of_recordings(recordings):
    """Return a reference whose clips contain these recordings."""
    names = [f"{i}.wav" for i in range(len(recordings))]
    return make_reference(names, ["c"], event_table([], [], [], []), 10.0, recordings=recordings)


def total(recordings, clip_values, samples=20_000):
    """Return the variance that the bootstrap gives to a sum over clips."""
    drawn = make_bootstrap(of_recordings(recordings), samples, 0)
    weights = drawn.weights.copy()
    weights[:, 1:] /= GRID
    return drawn.samples_of(np.array(clip_values) @ weights).var()


@pytest.mark.parametrize(
    ("recordings", "pairs"),
    [
        ([["a"], ["b"], ["c"], []], 0),  # nothing shared: each clip's own square
        ([["a"], ["a"], ["b"]], 1),
        ([["a", "b"], ["a", "b"], ["c", "d"]], 1),  # two recordings shared, counted once
        ([["a", "b"], ["b", "c"], ["c", "d"]], 2),
        ([["a", "b", "c"], ["b", "c", "d"], ["c", "d", "e"], ["x", "y", "z"]], 3),
    ],
)
def test_the_variance_of_a_sum_counts_clips_that_share_a_recording_together_once(recordings, pairs):
    # Σ over clips of 1, and over ordered pairs of clips that share a recording of 1.
    assert total(recordings, np.ones(len(recordings))) == pytest.approx(len(recordings) + 2 * pairs, rel=0.1)


def clusters_of_all_sets(recordings):
    """Return {clips: count} by the definition, in the order in which weights are drawn."""
    clips_with = {}
    for clip, mine in enumerate(recordings):
        for size in range(1, len(mine) + 1):
            for each in combinations(mine, size):
                clips_with.setdefault(each, []).append(clip)
    count = {(clip,): 1 for clip, mine in enumerate(recordings) if not mine}
    for each, clips in clips_with.items():
        count[tuple(clips)] = count.get(tuple(clips), 0) + (1 if len(each) % 2 else -1)
    return count


@pytest.mark.parametrize("seed", range(200))
def test_clusters_are_those_of_all_sets_of_recordings(seed):
    rng = np.random.default_rng(seed)
    pool, most = rng.integers(1, 20), rng.integers(1, 7)
    recordings = [sorted({*rng.integers(0, pool, rng.integers(0, most + 1)).tolist()}) for _ in range(20)]
    expected = clusters_of_all_sets(recordings)
    for sign, found in zip((1, -1), _clusters(recordings), strict=True):
        columns = found.members.tocsc()
        members = [tuple(columns.indices[columns.indptr[k] : columns.indptr[k + 1]]) for k in range(columns.shape[1])]
        kept = {clips: sign * times for clips, times in expected.items() if sign * times > 0}
        assert list(zip(members, found.variance, strict=True)) == list(kept.items())


def test_twenty_events_per_clip_take_no_time_for_their_million_sets():
    rng = np.random.default_rng(0)
    recordings = [sorted(rng.choice(2000, 20, replace=False).tolist()) for _ in range(200)]
    counted, taken_off = _clusters(recordings)
    assert len(counted.variance) + len(taken_off.variance) < 10_000
    sets_of_a_clip = counted.clip_variance - taken_off.clip_variance
    assert sets_of_a_clip.tolist() == [1.0] * 200


def test_a_seed_gives_the_same_weights_and_folds_differ():
    ten, others = of_recordings([[i] for i in range(10)]), of_recordings([[i] for i in range(11)])
    first = make_bootstrap(ten, 20, 3).weights
    assert (first == make_bootstrap(ten, 20, 3).weights).all()
    assert (first != make_bootstrap(ten, 20, 4).weights).any()
    assert (first[:, 1:] != make_bootstrap(others, 20, 3).weights[:10, 1:]).any()
    assert (first[:, 0] == 1).all()


def test_samples_are_those_of_a_plain_loop():
    from sklearn.metrics import average_precision_score

    reference, predictions = fold(0)
    made = score_predictions(reference, predictions, bootstrap=50, seed=5)
    values = [
        np.mean(
            [
                average_precision_score(reference.weak[:, k], predictions.clip_scores[:, k], sample_weight=weights)
                for k in range(4)
            ]
        )
        for weights in make_bootstrap(reference, 50, 5).weights.T
    ]
    expected = values[0] + (np.array(values[1:]) - values[0]) / STEP
    assert made.samples["macro_ap"] == pytest.approx(expected, abs=1e-9)
    half = stats.t(49).ppf(0.975) * expected.std(ddof=1)
    assert made.intervals["macro_ap"] == pytest.approx((values[0] - half, values[0] + half))


def test_every_class_occurs_as_often_in_each_sample_as_in_the_fold():
    rng = np.random.default_rng(0)
    reference, _ = fold(3, recordings=rng.integers(0, 60, (200, 3)).tolist())
    totals = reference.weak.T @ make_bootstrap(reference, 50, 0).weights[:, 1:] / GRID
    # weights are whole numbers, so not quite; weights that are not calibrated are off by 10 % and more
    assert totals == pytest.approx(np.tile(reference.weak.sum(0)[:, None], totals.shape[1]), rel=0.04)


@pytest.mark.parametrize(
    "recordings", [[[i] for i in range(12)], [[i // 3] for i in range(12)], [[min(i, 7)] for i in range(12)]]
)
def test_what_class_means_take_up_is_given_back_by_leverage(recordings):
    """The variance of a sum is HC3: Σ over recordings of (Σ of its clips' residuals / (1 − leverage))²."""
    values = np.random.default_rng(1).normal(size=12)
    weak = np.ones((12, 1), bool)  # one class, so residuals are deviations from the mean
    names = [f"{i}.wav" for i in range(12)]
    reference = make_reference(names, ["c"], event_table([], [], [], []), 10.0, weak=weak, recordings=recordings)
    drawn = make_bootstrap(reference, 20_000, 0)
    weights = drawn.weights / np.where(np.arange(drawn.weights.shape[1]) == 0, 1, GRID)
    of = np.array(recordings)[:, 0]
    expected = sum(
        ((values - values.mean())[of == each].sum() / (1 - np.mean(of == each))) ** 2 for each in np.unique(of)
    )
    assert drawn.samples_of(values @ weights).var() == pytest.approx(expected, rel=0.1)


def test_with_as_many_classes_as_clips_there_is_an_interval_still():
    reference, predictions = fold(0, clips=16, classes=12)
    scores = score_predictions(reference, predictions, bootstrap=200)
    low, high = scores.intervals["micro_ap"]
    assert high - low > 0.05


def test_an_interval_is_that_of_students_t():
    samples = np.random.default_rng(0).normal(0.4, 0.1, 1000)
    for recordings in (5, 5000):
        found = interval_of(0.4, samples, recordings)
        t = stats.t(min(1000, recordings) - 1, 0.4, samples.std(ddof=1))
        assert found.ends == pytest.approx((t.ppf(0.025), t.ppf(0.975)))
        assert found.superiority == pytest.approx(t.sf(0.0), abs=1e-9)
    assert interval_of(0.4, np.where(np.arange(1000) < 600, np.nan, samples), 50) is None
    assert interval_of(0.4, np.where(np.arange(1000) < 400, np.nan, samples), 50).resamples == 600
    assert interval_of(0.0, np.zeros(10), 50).superiority == 0.5


def test_intervals_end_where_values_do():
    reference, predictions = fold(1, clips=12, skill=0.9)
    scores = score_predictions(reference, predictions)
    assert any(each.min() < 0 or each.max() > 1 for name, each in scores.samples.items() if name != "segment_er")
    assert all(0 <= ends[0] <= ends[1] <= 1 for ends in scores.intervals.values() if ends is not None)


def test_a_threshold_fitted_on_the_clips_has_no_interval():
    reference, predictions = fold(1)
    scores = score_predictions(reference, predictions)
    fitted = {name for name, metric in METRICS.items() if metric.fitted}
    assert fitted == {"tagging_f1_oracle", "tagging_f1_oracle_threshold"}
    assert fitted <= scores.values.keys()
    assert not fitted & {*scores.intervals, *scores.samples}


@pytest.mark.parametrize(
    "recordings",
    [
        [["a"]] * 30,
        [[0]] * 30,
        [["a", "b"]] * 30,
        [["a", "b", "c"]] * 29 + [["c"]],
        [["everywhere", f"own {i}"] for i in range(30)],
    ],
)
def test_where_all_clips_share_one_recording_there_is_no_interval(recordings):
    reference, predictions = fold(1, clips=30, recordings=recordings)
    scores = score_predictions(reference, predictions)
    assert not scores.intervals
    assert not scores.samples
    assert scores.values["micro_ap"] > 0
    two, predictions = fold(1, clips=30, recordings=[[i % 2] for i in range(30)])
    low, high = score_predictions(two, predictions).intervals["micro_ap"]
    assert high - low > 0.3  # little is known from two recordings


def test_where_each_class_has_one_recording_a_value_that_none_changes_has_no_interval():
    """The AUC between two classes is that of their two recordings, however often either counts."""
    labels = np.arange(60) % 2
    events = event_table(np.arange(60), labels, np.ones(60), np.full(60, 2.0))
    names = [f"{i}.wav" for i in range(60)]
    reference = make_reference(names, ["a", "b"], events, 10.0, recordings=[[label] for label in labels])
    scores = np.random.default_rng(0).random((60, 2))
    intervals = score_predictions(reference, Predictions(scores)).intervals
    assert intervals["macro_auc"] is None
    assert intervals["macro_ap"] is None
    low, high = intervals["micro_ap"]
    assert high - low > 0.1
    perfect = score_predictions(reference, Predictions(reference.weak.astype(float)))
    assert perfect.intervals["macro_auc"] is None
    assert perfect.intervals["micro_ap"] == (1, 1)


@pytest.mark.parametrize(("single", "known"), [(0, True), (2, True), (3, False), (20, False)])
def test_means_over_classes_have_no_interval_where_many_classes_have_one_recording(single, known):
    labels = np.arange(200) % 20
    events = event_table(np.arange(200), labels, np.ones(200), np.full(200, 2.0))
    recordings = [[label + 20 * (label >= single and i >= 100)] for i, label in enumerate(labels)]
    names = [f"{i}.wav" for i in range(200)]
    reference = make_reference(names, [str(k) for k in range(20)], events, 10.0, recordings=recordings)
    rng = np.random.default_rng(0)
    predictions = Predictions(rng.random((200, 20)), rng.random((200, 5, 20)), np.arange(0.0, 11.0, 2.0))
    scores = score_predictions(reference, predictions, bootstrap=50)
    intervals = scores.intervals
    assert [intervals[name] is not None for name in ("micro_ap", "lwlrap", "tagging_f1")] == [True] * 3
    assert [intervals[name] is not None for name in ("macro_ap", "macro_auc", "frame_ap")] == [known] * 3
    assert np.isfinite(scores.samples["macro_ap"]).all() == known


def test_shared_recordings_give_wider_intervals():
    shared, predictions = fold(1, recordings=[[i // 20] for i in range(200)])
    # The clips of a recording are good or bad together.
    good = np.arange(200) // 20 % 2 == 0
    scores = np.where(shared.weak, 0.2 + 0.6 * good[:, None], predictions.clip_scores / 2)
    single, _ = fold(1)
    widths = []
    for reference in (shared, single):
        low, high = score_predictions(reference, Predictions(scores), bootstrap=300).intervals["micro_ap"]
        widths.append(high - low)
    assert widths[0] > 1.5 * widths[1]


@pytest.mark.slow
def test_intervals_hold_the_true_value_about_as_often_as_they_claim():
    """In small; benchmarks/intervals.py does it at full size."""
    found = SIMULATION["coverage"](SIMULATION["small_design"](), trials=40, samples=60)
    assert {METRICS[name].family for name in found} == {"tagging", "detection", "time-frequency", "separation"}
    assert [name for name, each in found.items() if each.share < 0.85] == []
    assert np.mean([each.share for each in found.values()]) == pytest.approx(0.95, abs=0.03)


def test_a_design_is_read_from_a_manifest():
    design = SIMULATION["read_design"]("mini", 4)
    assert design.shape[0] == len(design.recordings()) == len(design.clip) / 3


def test_comparison_is_paired():
    reference, better = fold(2, skill=0.6)
    noise = np.random.default_rng(0).random(better.clip_scores.shape)
    worse = Predictions(0.8 * better.clip_scores + 0.2 * noise)
    first, second = (score_predictions(reference, p, bootstrap=300) for p in (better, worse))
    result = compare(first, second)["micro_ap"]
    assert result.difference == pytest.approx(first.values["micro_ap"] - second.values["micro_ap"])
    paired = first.samples["micro_ap"] - second.samples["micro_ap"]
    assert result.superiority == pytest.approx((paired > 0).mean(), abs=0.02)
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


def test_scores_of_different_folds_are_not_compared():
    scores = []
    for seed in (1, 2):  # of as many clips and recordings, with other labels
        reference, predictions = fold(seed)
        scores.append(score_predictions(reference, predictions, bootstrap=10))
    with pytest.raises(ValueError, match="same bootstrap samples"):
        compare(*scores)


def test_samples_in_which_a_metric_is_undefined_are_not_counted_against_it():
    first, second = (Scores({"f1": v}, {}, {}, SETTINGS, {"f1": np.array([v, v, np.nan])}) for v in (0.6, 0.4))
    found = compare(first, second)["f1"]
    assert found.interval == pytest.approx((0.2, 0.2))
    assert found.superiority == 1
    undefined = Scores({"f1": 0.4}, {}, {}, SETTINGS, {"f1": np.array([np.nan] * 3)})
    assert np.isnan(compare(first, undefined)["f1"].superiority)


def test_all_but_the_samples_can_be_written_as_json():
    reference, predictions = fold(4)
    scores = score_predictions(reference, predictions, bootstrap=10)
    for part in (scores.values, scores.per_class, scores.intervals, scores.settings):
        json.dumps(part, allow_nan=False)
    assert scores.settings["recordings"] == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: Predictions(p.clip_scores[1:]), r"clip scores have shape \(199, 4\), expected \(200, 4\)"),
        (lambda p: Predictions(p.clip_scores - 3), "clip scores: 0.wav, c0: -.* apply a sigmoid"),
        (lambda p: Predictions(p.clip_scores * np.nan), "nan is not finite"),
        (lambda p: Predictions(None, np.zeros((200, 5, 4), np.float32)), "expected .* and their edges"),
        (lambda p: Predictions(None, np.zeros((200, 5, 4), np.float32), np.arange(5.0)), "5 frame edges, expected 6"),
        (
            lambda p: Predictions(events=event_table([200], [0], [0.0], [1.0])),
            "is of clip 200, expected one",
        ),
    ],
)
def test_predictions_for_another_reference_are_refused(change, expected):
    reference, predictions = fold(5)
    with pytest.raises(InputError, match=expected):
        score_predictions(reference, change(predictions), bootstrap=0)
