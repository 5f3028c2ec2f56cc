"""Comparing systems on the same samples: from hand-made samples, whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remixbench.leaderboard.averages import mean_samples, standard_deviation
from remixbench.leaderboard.leaderboard import (
    Condition,
    Estimate,
    Leaderboard,
    Row,
    assemble,
    group_records,
    make_condition,
)
from remixbench.leaderboard.probes import shift_table, summarise, with_probes
from remixbench.leaderboard.record import Flag, ProbeRecord, Provenance, Record, SystemInfo, files_digest, pack, unpack
from remixbench.leaderboard.significance import compare_conditions, mark_best
from remixbench.leaderboard.tables import TableMaker

SAMPLES = np.linspace(0.3, 0.5, 101)


def record(
    value: float,
    samples: Sequence[float],
    *,
    fold: int = 4,
    seed: int = 0,
    reference: str = "1" * 64,
    predictions: str = "2" * 64,
) -> Record:
    made = Provenance(
        remixbench="0", scoring_version="1", dataset="x", manifest_digest="0" * 64, reference_digest=reference,
        audio_digest="3" * 64, predictions={"tags.csv": predictions},
        predictions_digest=predictions, clips=10, groups=10, resamples=len(samples),
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


def test_seeds_are_drawn_with_the_recordings() -> None:
    rng = np.random.default_rng(0)
    recordings = rng.normal(0, 0.02, 4000)
    seeds = [record(0.5 + shift, 0.5 + shift + recordings, seed=i) for i, shift in enumerate((-0.03, 0.0, 0.03))]
    samples = mean_samples("micro_ap", seeds)
    assert samples is not None
    # of the mean of three seeds with a variance of 0.03**2: a third of it, beside that of the recordings
    assert samples.mean() == pytest.approx(0.5, abs=0.002)
    assert samples.var() == pytest.approx(0.02**2 + 0.03**2 / 3, rel=0.1)
    alone = mean_samples("micro_ap", seeds[:1])
    assert alone is not None
    assert alone.var() == pytest.approx(0.02**2, rel=0.1)
    # each fold draws its seeds for itself: the mean of two folds has half the variance over seeds
    again = [
        record(0.5 + shift, np.full(4000, 0.5 + shift), fold=3, seed=i) for i, shift in enumerate((-0.03, 0.0, 0.03))
    ]
    constant = [each.model_copy(update={"system": each.system.model_copy(update={"fold": 4})}) for each in again]
    both = mean_samples("micro_ap", again + constant)
    assert both is not None
    assert both.var() == pytest.approx(0.03**2 / 3 / 2, rel=0.1)


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


def test_only_common_folds_count_and_seeds_are_averaged() -> None:
    first = column(
        record(0.9, SAMPLES + 0.5, fold=1), record(0.5, SAMPLES + 0.1, seed=0), record(0.6, SAMPLES + 0.2, seed=1)
    )
    second = column(record(0.4, SAMPLES))
    found = compare_conditions(first, second, "micro_ap")
    assert found is not None
    assert found.folds == (4,)
    assert found.difference == pytest.approx(0.15)


def test_a_fold_counts_once_however_many_seeds_it_has() -> None:
    uneven = [
        *(record(0.2, SAMPLES - 0.2, fold=1, seed=seed) for seed in range(3)),
        record(0.8, SAMPLES + 0.4, fold=4),
    ]
    even = [record(0.3, SAMPLES - 0.1, fold=1), record(0.6, SAMPLES + 0.2, fold=4)]
    boards = [make_condition(0.0, records) for records in (uneven, even)]
    estimates = [board.metrics["micro_ap"] for board in boards]
    assert [each.value for each in estimates] == pytest.approx([0.5, 0.45])
    assert [(each.low, each.high) for each in estimates] == [
        pytest.approx((0.405, 0.595)),
        pytest.approx((0.355, 0.545)),
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
    condition = make_condition(0.0, runs)
    unmoved = condition.metrics["micro_ap"]
    found = summarise(make_condition(0.0, [with_probe(each, 0.5, 0.0) for each in runs]))
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
    found = summarise(make_condition(0.0, [first, second]))
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
    flagged = record(0.5, SAMPLES)
    flag = Flag(code="setting", text="epochs 4")
    flagged = flagged.model_copy(update={"system": flagged.system.model_copy(update={"flags": (flag,)})})
    assert [row.name for row in board_of(record(0.5, SAMPLES), flagged).rows] == ["gap #1", "gap #2"]


def board_of(*records: Record) -> Leaderboard:
    """A leaderboard of some records."""
    board = assemble(
        dataset="x", recipe="x", manifest_digest="0" * 64, classes=(), reasons=("made up",),
        groups=group_records(records),
    )  # fmt: skip
    return replace(board, rows=with_probes(board.rows))


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


def test_a_metric_that_few_samples_define_is_not_compared() -> None:
    sparse = np.where(np.arange(101) < 60, np.nan, SAMPLES)
    assert compare_conditions(column(record(0.5, SAMPLES + 0.1)), column(record(0.4, sparse)), "micro_ap") is None
    most = np.where(np.arange(101) < 10, np.nan, SAMPLES)
    found = compare_conditions(column(record(0.5, SAMPLES + 0.1)), column(record(0.4, most)), "micro_ap")
    assert found is not None
    assert found.resamples == 91


def rows(*columns: Condition) -> list[Row]:
    return [Row(str(i), "run", None, {}, (), {0.0: each}, False) for i, each in enumerate(columns)]


def best(marked: Sequence[Row]) -> list[bool]:
    return [row.conditions[0.0].metrics["micro_ap"].best for row in marked]


def test_the_best_and_what_is_like_it() -> None:
    noisy = SAMPLES[::-1]
    marked = mark_best(rows(*(column(record(v, d)) for v, d in ((0.2, SAMPLES - 0.2), (0.4, SAMPLES), (0.39, noisy)))))
    assert best(marked) == [False, True, True]


def test_without_samples_only_the_best_itself() -> None:
    bare = [replace(each, records=()) for each in (column(record(0.4, SAMPLES)), column(record(0.3, SAMPLES)))]
    assert best(mark_best(rows(*bare))) == [True, False]


def test_nothing_is_best_where_all_are_zero() -> None:
    assert best(mark_best(rows(column(record(0.0, SAMPLES * 0)), column(record(0.0, SAMPLES * 0))))) == [False, False]


@given(st.lists(st.floats(0, 1, width=32), max_size=50))
def test_samples_are_kept_to_the_last_bit_of_float32(values: list[float]) -> None:
    assert unpack(pack(np.array(values))).tolist() == values


def test_the_digest_of_one_file_does_not_depend_on_its_name() -> None:
    assert files_digest({"a.csv": "1" * 64}) == files_digest({"b.csv": "1" * 64}) == "1" * 64
    assert files_digest({"a": "1" * 64, "b": "2" * 64}) != files_digest({"a": "2" * 64, "b": "1" * 64})
