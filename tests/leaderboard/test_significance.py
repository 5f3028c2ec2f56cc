"""Comparing systems on the same samples: from hand-made samples, whose answers are known."""

from __future__ import annotations

import csv
import json
import runpy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT
from scipy import stats

from remixbench.leaderboard.board_tables import shift_table
from remixbench.leaderboard.comparisons import render_comparison
from remixbench.leaderboard.grouping import group_records, make_condition, metric_runs
from remixbench.leaderboard.leaderboard import Leaderboard, make_leaderboard
from remixbench.leaderboard.record import (
    Entry,
    Flag,
    ProbeRecord,
    Provenance,
    Record,
    SystemInfo,
    files_digest,
    pack,
    unpack,
)
from remixbench.leaderboard.rows import Chance, Condition, Estimate, Row
from remixbench.leaderboard.significance import compare_conditions, compare_rows, mark_best, mark_chance
from remixbench.leaderboard.table_maker import TableMaker
from remixbench.scoring import Scores, compare
from remixbench.scoring.bootstrap import mean_interval, paired_difference, standard_deviation

SIMULATION = runpy.run_path(str(ROOT / "benchmarks" / "seeds.py"))
SAMPLES = np.linspace(0.3, 0.5, 101)


def record(
    value: float,
    samples: Sequence[float],
    *,
    fold: int = 4,
    seed: int = 0,
    reference: str = "1" * 64,
    predictions: str = "2" * 64,
    groups: int = 1000,
) -> Record:
    made = Provenance(
        remixbench="0", scoring_version="1", dataset="x", manifest_digest="0" * 64, reference_digest=reference,
        audio_digest="3" * 64, predictions={"tags.csv": predictions},
        predictions_digest=predictions, clips=10, groups=groups, resamples=len(samples),
        bootstrap_seed=0,
    )  # fmt: skip
    return Record(
        system=SystemInfo(name="gap", kind="run", registry_name="gap", snr=0.0, fold=fold, seed=seed),
        provenance=made,
        metrics={"micro_ap": value},
        intervals={},
        per_class={"ap": {"Bark": value}},
        settings={},
        bootstrap_samples={"micro_ap": pack(np.array(samples, np.float64))},
    )


def condition_of(*records: Record) -> Condition:
    """The mean of records at 0 dB."""
    return make_condition(0.0, list(map(Entry, records)))


def column(*records: Record) -> Condition:
    value = float(np.mean([each.metrics["micro_ap"] for each in records if each.metrics["micro_ap"] is not None]))
    return Condition(0.0, {"micro_ap": Estimate(value)}, {}, records)


def test_a_constant_lead_is_certain() -> None:
    found = compare_conditions(column(record(0.5, SAMPLES + 0.1)), column(record(0.4, SAMPLES)), "micro_ap")
    assert found is not None
    assert (found.difference, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1), abs=1e-6)
    assert (found.superiority, found.folds, found.resamples) == (1.0, (4,), 101)
    assert found.significant


def test_the_pairing_counts_not_the_intervals() -> None:
    # both spread over 0.2, far more than they differ by; draw by draw the first leads by 0.01
    found = compare_conditions(column(record(0.41, SAMPLES + 0.01)), column(record(0.4, SAMPLES)), "micro_ap")
    assert found is not None
    assert found.significant
    # dealt out the other way round they cannot be told apart
    found = compare_conditions(column(record(0.41, SAMPLES[::-1] + 0.01)), column(record(0.4, SAMPLES)), "micro_ap")
    assert found is not None
    assert not found.significant


def test_equal_samples_count_half() -> None:
    found = compare_conditions(column(record(0.4, SAMPLES)), column(record(0.4, SAMPLES)), "micro_ap")
    assert found is not None
    assert (found.difference, found.superiority, found.significant) == (0.0, 0.5, False)


def test_turned_round_the_difference_changes_its_sign() -> None:
    samples = np.random.default_rng(0).normal(0.4, 0.05, (2, 400))
    pair = [column(record(float(each.mean()), each)) for each in samples]
    there, back = compare_conditions(*pair, "micro_ap"), compare_conditions(*pair[::-1], "micro_ap")
    assert there is not None
    assert back is not None
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)
    assert there.superiority == pytest.approx(1 - back.superiority)


def test_the_interval_of_few_seeds_allows_for_seeds_and_recordings() -> None:
    rng = np.random.default_rng(0)
    recordings = rng.normal(0, 0.02, 4000)
    # recordings that suit one seed's network more than another's
    suited = rng.normal(0, 0.01, (3, 4000))
    seeds = [
        record(0.5 + shift, 0.5 + shift + recordings + suited[i], seed=i, groups=5000)
        for i, shift in enumerate((-0.03, 0.0, 0.03))
    ]
    runs = metric_runs("micro_ap", seeds)
    assert runs is not None
    interval = mean_interval(runs)
    assert interval is not None
    # of the mean of three seeds whose values have a variance of 0.03**2, which holds how recordings suit the seeds
    assert interval.variances == pytest.approx((0.02**2, 0.03**2 / 3), rel=0.1)
    assert interval.freedoms == (3999, 2)
    z, t = 1.960, 4.303  # 97.5 % points of the normal distribution, and of Student's t with 2 degrees of freedom
    common, own = interval.variances
    share = own / (common + own)
    half = (z + (t - z) * share**1.25) * np.sqrt(common + own)
    assert interval.ends == pytest.approx((0.5 - half, 0.5 + half), rel=1e-3)
    # each fold has trainings of its own: the mean of two folds has half the variance over seeds, known better
    again = [each.model_copy(update={"system": each.system.model_copy(update={"fold": 3})}) for each in seeds]
    runs = metric_runs("micro_ap", seeds + again)
    assert runs is not None
    both = mean_interval(runs)
    assert both is not None
    assert both.variances[1] == pytest.approx(0.03**2 / 3 / 2, rel=0.1)
    assert both.freedoms[1] == 4


def test_with_one_seed_the_interval_is_of_the_recordings() -> None:
    samples = np.random.default_rng(0).normal(0.5, 0.02, 4000)
    runs = metric_runs("micro_ap", [record(0.5, samples, groups=5000)])
    assert runs is not None
    interval = mean_interval(runs)
    assert interval is not None
    assert interval.ends == pytest.approx((0.5 - 1.96 * 0.02, 0.5 + 1.96 * 0.02), abs=0.001)


def test_degrees_of_freedom_of_a_difference_are_those_of_welch() -> None:
    rng = np.random.default_rng(0)
    systems = [
        [record(value, np.full(200, value), seed=i) for i, value in enumerate(rng.normal(0.5, spread, n))]
        for spread, n in ((0.01, 3), (0.05, 5))
    ]
    runs = [metric_runs("micro_ap", records) for records in systems]
    assert runs[0] is not None
    assert runs[1] is not None
    compared = paired_difference(runs[0], runs[1])
    values = [[each.metrics["micro_ap"] for each in records] for records in systems]
    expected = stats.ttest_ind(*values, equal_var=False)
    ends = expected.confidence_interval(0.95)
    assert compared.interval == pytest.approx((ends.low, ends.high), abs=1e-6)
    above = stats.ttest_ind(*values, equal_var=False, alternative="greater").pvalue
    assert compared.superiority == pytest.approx(1 - above, abs=1e-6)


@pytest.mark.parametrize(("seeds", "folds", "trials"), [(2, 1, 1200), (5, 1, 600), (2, 4, 400)])
def test_few_seeds_cover_the_true_value_and_equal_systems_rarely_differ(seeds: int, folds: int, trials: int) -> None:
    """In small; benchmarks/seeds.py does it at full size."""
    cases = [SIMULATION["Case"](seeds, folds, share, own) for share, own in ((0.2, 0.0), (0.5, 1.0), (1.0, 1.0))]
    rows, differences = np.transpose([SIMULATION["shares"](case, trials, samples=100) for case in cases])
    assert min(*rows, *differences) >= 0.93  # also at most 7 % false significance
    assert max(*rows, *differences) <= 0.98  # Cochran and Cox's weights have 98.3 % of differences with two seeds


def test_a_lead_within_the_spread_of_seeds_is_not_significant() -> None:
    first = column(record(0.46, SAMPLES + 0.06), record(0.38, SAMPLES - 0.02, seed=1))
    theirs = [(0.45, SAMPLES + 0.05), (0.35, SAMPLES - 0.05)]
    second = column(*(record(*each, seed=seed, predictions="3" * 64) for seed, each in enumerate(theirs)))
    found = compare_conditions(first, second, "micro_ap")
    assert found is not None
    assert found.difference == pytest.approx(0.02)
    assert not found.significant  # with the seeds' mean alone, every sample would agree


def test_the_standard_deviation_is_over_seeds_or_else_over_folds() -> None:
    assert standard_deviation({4: [0.4, 0.6]}) == pytest.approx(np.sqrt(0.02))
    assert standard_deviation({3: [0.1, 0.3], 4: [0.9, 0.9]}) == pytest.approx(np.sqrt(0.02 / 2))
    assert standard_deviation({3: [0.1], 4: [0.3]}) == pytest.approx(np.sqrt(0.02))


def test_rows_tested_on_other_folds_are_neither_better_nor_worse() -> None:
    """A is high on an easy fold alone; B is better there, and lower on the mean of four."""
    first = condition_of(record(0.6, SAMPLES + 0.2))
    second = condition_of(
        *(record(0.5 + 0.2 * (fold == 4), SAMPLES + 0.1 + 0.2 * (fold == 4), fold=fold) for fold in (1, 2, 3, 4))
    )
    assert compare_conditions(first, second, "micro_ap") is None
    third = condition_of(record(0.58, SAMPLES + 0.1))
    marked = mark_best(rows(first, second, third))
    assert best(marked) == [True, False, False]  # the best of its own two
    fewer = third.records[0].provenance.model_copy(update={"clips": 9})
    fewer_clips = condition_of(third.records[0].model_copy(update={"provenance": fewer}))
    assert compare_conditions(first, fewer_clips, "micro_ap") is None


def test_a_fold_counts_once_however_many_seeds_it_has() -> None:
    uneven = [
        *(record(0.2, SAMPLES - 0.2, fold=1, seed=seed) for seed in range(3)),
        record(0.8, SAMPLES + 0.4, fold=4),
    ]
    even = [record(0.3, SAMPLES - 0.1, fold=1), record(0.6, SAMPLES + 0.2, fold=4)]
    boards = [condition_of(*records) for records in (uneven, even)]
    estimates = [board.metrics["micro_ap"] for board in boards]
    assert [each.value for each in estimates] == pytest.approx([0.5, 0.45])
    half = stats.t(100).ppf(0.975) * SAMPLES.std(ddof=1)
    assert [(each.low, each.high) for each in estimates] == [
        pytest.approx((0.5 - half, 0.5 + half), abs=1e-6),
        pytest.approx((0.45 - half, 0.45 + half), abs=1e-6),
    ]
    assert [board.per_class["ap"]["Bark"] for board in boards] == pytest.approx([0.5, 0.45])
    found = compare_conditions(*boards, "micro_ap")
    assert found is not None
    assert found.difference == pytest.approx(estimates[0].value - estimates[1].value)


def with_probe(each: Record, shift: float, loss: float) -> Record:
    """A record whose micro-AP, and all of its bootstrap samples, are lower by `loss` on clips rolled by `shift`."""
    samples = each.samples("micro_ap")
    assert samples is not None
    probe = ProbeRecord(
        probe="shift", value=shift, predictions_digest="4" * 64,
        metrics={"micro_ap": (each.metrics["micro_ap"] or 0.0) - loss},
        bootstrap_samples={"micro_ap": pack(samples.astype(np.float64) - loss)},
    )  # fmt: skip
    return each.model_copy(update={"shifts": (*(each.shifts or ()), shift), "probes": (*each.probes, probe)})


def test_probes_are_averaged_as_metrics_are() -> None:
    runs = [
        *(record(0.3 + shift, SAMPLES - 0.1 + shift, fold=1, seed=seed) for seed, shift in enumerate((-0.1, 0.1))),
        record(0.8, SAMPLES + 0.4, fold=4),
    ]
    condition = condition_of(*runs)
    unmoved = condition.metrics["micro_ap"]
    found = condition_of(*(with_probe(each, 0.5, 0.0) for each in runs)).probes
    assert found is not None
    assert found.difference is not None
    assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)  # the same seeds drawn
    for each in (found.mean, found.shifted[0.5]):
        assert each is not None
        assert (each.value, each.std) == pytest.approx((0.55, np.sqrt(0.02)))
        assert (each.value, each.low, each.high, each.std) == (unmoved.value, unmoved.low, unmoved.high, unmoved.std)


def test_folds_with_different_shifts_are_averaged_over_their_own() -> None:
    first = with_probe(with_probe(record(0.5, SAMPLES + 0.1, fold=1), 0.48, 0.1), 0.96, 0.3)
    second = with_probe(record(0.4, SAMPLES, fold=2), 0.32, 0.1)
    found = condition_of(first, second).probes
    assert found is not None
    assert (found.shifts, found.shifted, found.worst) == ((0.32, 0.48, 0.96), {}, None)
    assert found.mean is not None
    assert found.difference is not None
    assert found.mean.value == pytest.approx((0.3 + 0.3) / 2)
    assert (found.difference.value, found.difference.low, found.difference.high) == pytest.approx((-0.15,) * 3)
    table = shift_table(TableMaker(board_of(first, second)))
    assert table is not None
    assert [cell.text for cell in table.lines[0].cells] == ["0.4500", "0.3000", "", "-0.1500"]
    assert table.notes[:3] == (
        "Rolled by 0.48, 0.96 s in fold 1, which keeps every event whole.",
        "Rolled by 0.32 s in fold 2, which keeps every event whole.",
        "Mean: over each fold's own shifts. Worst: of the shifts that all folds of a row have, if any.",
    )


def test_where_a_fold_has_no_shift_only_that_fold_is_named() -> None:
    first = with_probe(record(0.5, SAMPLES + 0.1, fold=1), 0.48, 0.1)
    second = record(0.4, SAMPLES, fold=2).model_copy(update={"shifts": ()})
    table = shift_table(TableMaker(board_of(first, second)))
    assert table is not None
    assert [cell.text for cell in table.lines[0].cells] == ["0.4500", "", "", ""]
    assert table.notes[:2] == (
        "Rolled by 0.48 s in fold 1, which keeps every event whole.",
        "No shift in time keeps every event of the test clips of fold 2 whole, so there is no shift probe.",
    )


def test_no_two_rows_have_one_name() -> None:
    """Rows that differ in what names do not say; flags alone, which a fold can have for itself, make no other row."""
    plain = record(0.5, SAMPLES)
    other = plain.model_copy(update={"system": plain.system.model_copy(update={"pretrained_on": ("X",)})})
    assert [row.name for row in board_of(plain, other).rows] == ["gap #1", "gap #2"]
    flag = Flag(code="setting", text="epochs 4")
    flagged = plain.model_copy(update={"system": plain.system.model_copy(update={"flags": (flag,)})})
    assert [row.name for row in board_of(plain, flagged).rows] == ["gap"]


def board_of(*records: Record) -> Leaderboard:
    """A leaderboard of some records."""
    return make_leaderboard(
        group_records(map(Entry, records)),
        dataset="x", recipe="x", manifest_digest="0" * 64, classes=(), reasons=("made up",),
    )  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        record(0.4, SAMPLES, fold=3),
        record(0.4, SAMPLES[:50]),
        record(0.4, SAMPLES, reference="3" * 64),
        record(0.4, SAMPLES).model_copy(update={"bootstrap_samples": {}}),
    ],
    ids=["other fold", "other resamples", "other labels", "no samples"],
)
def test_what_was_not_drawn_alike_is_not_compared(other: Record) -> None:
    assert compare_conditions(column(record(0.5, SAMPLES)), column(other), "micro_ap") is None


def test_where_few_samples_define_a_metric_the_difference_has_no_interval() -> None:
    sparse = np.where(np.arange(101) < 60, np.nan, SAMPLES)
    difference = compare_conditions(column(record(0.5, SAMPLES + 0.1)), column(record(0.4, sparse)), "micro_ap")
    assert difference is not None
    assert (difference.difference, difference.resamples) == (pytest.approx(0.1), 41)
    assert (difference.interval, difference.low, difference.high) == (None, None, None)
    assert np.isnan(difference.superiority)
    assert not difference.significant  # by the 41 samples that define it, it were certain
    most = np.where(np.arange(101) < 10, np.nan, SAMPLES)
    difference = compare_conditions(column(record(0.5, SAMPLES + 0.1)), column(record(0.4, most)), "micro_ap")
    assert difference is not None
    assert difference.resamples == 91
    assert difference.significant


@pytest.mark.parametrize("undefined", [0, 30, 60, 101])
@pytest.mark.parametrize("seeds", [1, 2])
def test_rows_are_compared_as_scores_are(undefined: int, seeds: int) -> None:
    """The leaderboard's comparison of two runs is `scoring.compare` of their scores; a mean over seeds follows suit."""
    rng = np.random.default_rng(0)
    values = (0.5, 0.4)
    samples = [value + rng.normal(0, 0.03, 101).astype(np.float32).astype(np.float64) for value in values]
    samples[1][:undefined] = np.nan
    systems = [
        column(*(record(value, of_system, seed=seed, groups=50) for seed in range(seeds)))
        for value, of_system in zip(values, samples, strict=True)
    ]
    settings = {
        "scoring_version": "1", "clips": 10, "recordings": 50, "bootstrap_samples": 101, "bootstrap_seed": 0,
    }  # fmt: skip
    scores = [
        Scores({"micro_ap": value}, {}, {}, settings, {"micro_ap": of_system})
        for value, of_system in zip(values, samples, strict=True)
    ]
    of_rows = compare_conditions(*systems, "micro_ap")
    of_scores = compare(*scores)["micro_ap"]
    assert of_rows is not None
    assert of_scores is not None
    assert (of_rows.interval is None) == (of_scores.interval is None) == (undefined > 50)
    assert (of_rows.difference, of_rows.resamples) == (pytest.approx(of_scores.difference), 101 - undefined)
    assert of_rows.superiority == pytest.approx(of_scores.superiority, nan_ok=True)
    if of_rows.interval is not None:
        assert of_rows.interval == pytest.approx(of_scores.interval)


@pytest.mark.parametrize("style", ["table", "md", "latex", "csv", "json"])
def test_a_difference_without_an_interval_is_shown_without_one(style: str) -> None:
    sparse = np.where(np.arange(101) < 60, np.nan, SAMPLES)
    other = record(0.25, sparse).model_copy(
        update={"system": SystemInfo(name="gmp", kind="run", registry_name="gmp", snr=0.0, fold=4, seed=0)}
    )
    board = board_of(record(0.5, SAMPLES + 0.1), other)
    text = render_comparison(compare_rows(board, "gap", "gmp"), board, style)
    assert "nan" not in text.lower()
    assert "0.25" in text
    if style == "json":
        (line,) = json.loads(text)["differences"]
        assert [line[key] for key in ("low", "high", "superiority", "significant")] == [None, None, None, False]
    elif style == "csv":
        (line,) = csv.DictReader(text.splitlines())
        assert [line[key] for key in ("low", "high", "superiority", "significant")] == ["", "", "", "False"]
    else:
        assert "No interval: one row or both lack the metric in most bootstrap samples." in " ".join(text.split())


def rows(*columns: Condition) -> list[Row]:
    return [Row(str(i), "run", None, {}, (), {0.0: each}, False) for i, each in enumerate(columns)]


def best(marked: Sequence[Row]) -> list[bool]:
    return [row.conditions[0.0].metrics["micro_ap"].best for row in marked]


def test_the_best_and_what_is_like_it() -> None:
    noisy = SAMPLES[::-1]
    marked = mark_best(rows(*(column(record(v, d)) for v, d in ((0.2, SAMPLES - 0.2), (0.4, SAMPLES), (0.39, noisy)))))
    assert best(marked) == [False, True, True]


def test_without_samples_nothing_is_best() -> None:
    bare = [replace(each, records=()) for each in (column(record(0.4, SAMPLES)), column(record(0.3, SAMPLES)))]
    assert best(mark_best(rows(*bare))) == [False, False]


def test_nothing_is_bold_where_the_uncertainty_is_unknown() -> None:
    unknown = [column(record(value, np.full_like(SAMPLES, np.nan))) for value in (0.3, 0.4)]
    assert best(mark_best(rows(*unknown))) == [False, False]
    assert best(mark_best(rows(*unknown, column(record(0.2, SAMPLES - 0.2))))) == [False, False, False]


def test_a_value_below_one_that_it_cannot_be_compared_with_is_not_bold() -> None:
    """Whoever hands in other bootstrap samples, or fewer, would be bold below any score."""
    for samples in (np.linspace(0.2, 0.4, 51), SAMPLES[:2]):
        others = column(record(0.3, samples))
        marked = mark_best(rows(column(record(0.4, SAMPLES)), column(record(0.2, SAMPLES - 0.2)), others))
        assert best(marked) == [True, False, False]
        assert best(mark_best(rows(column(record(0.25, SAMPLES - 0.15)), others))) == [False, True]


def test_rows_at_chance_are_marked_and_do_not_differ() -> None:
    chance = Chance({4: {"micro_ap": 0.35}})
    noisy = SAMPLES[::-1]
    columns = [record(0.45, SAMPLES), record(0.4, noisy), record(0.34, noisy - 0.06), record(0.8, SAMPLES + 0.4)]
    columns = [each.model_copy(update={"intervals": {"micro_ap": interval(each)}}) for each in columns]
    marked = mark_best(mark_chance(rows(*(condition_of(each) for each in columns)), chance))
    assert [row.conditions[0.0].metrics["micro_ap"].at_chance for row in marked] == [True, True, True, False]
    first, second, third, fourth = (row.conditions[0.0] for row in marked)
    found = compare_conditions(second, third, "micro_ap")
    assert found is not None
    assert found.low > 0  # by far: without chance it is certain
    assert not found.significant
    found = compare_conditions(fourth, first, "micro_ap")
    assert found is not None
    assert found.significant
    assert best(marked) == [False, False, False, True]
    assert best(mark_best(mark_chance(rows(second, third), chance))) == [False, False]
    board = replace(board_of(*columns[:1]), chance=chance)
    (found,) = compare_rows(board, "gap", "chance").differences
    assert (found.difference, found.significant) == (pytest.approx(0.1), False)
    (back,) = compare_rows(board, "chance", "gap").differences
    assert (back.difference, back.low, back.high) == pytest.approx((-found.difference, -found.high, -found.low))


def interval(each: Record) -> tuple[float, float]:
    samples = each.samples("micro_ap")
    assert samples is not None
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)


def test_nothing_is_best_where_all_are_zero() -> None:
    assert best(mark_best(rows(column(record(0.0, SAMPLES * 0)), column(record(0.0, SAMPLES * 0))))) == [False, False]


@given(st.lists(st.floats(0, 1, width=32), max_size=50))
def test_samples_are_kept_to_the_last_bit_of_float32(values: list[float]) -> None:
    assert unpack(pack(np.array(values))).tolist() == values


def test_the_digest_of_one_file_does_not_depend_on_its_name() -> None:
    assert files_digest({"a.csv": "1" * 64}) == files_digest({"b.csv": "1" * 64}) == "1" * 64
    assert files_digest({"a": "1" * 64, "b": "2" * 64}) != files_digest({"a": "2" * 64, "b": "1" * 64})
