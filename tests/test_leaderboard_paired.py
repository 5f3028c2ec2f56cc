"""Comparing systems on the same draws: from hand-made draws, whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remixbench.leaderboard.board import Column, Figure, Row
from remixbench.leaderboard.paired import compare_columns, mark_best
from remixbench.leaderboard.record import Entry, Made, Record, files_digest, pack, unpack

DRAWS = np.linspace(0.3, 0.5, 101)


def record(value: float, draws: Sequence[float], *, fold: int = 4, seed: int = 0, reference: str = "1" * 64) -> Record:
    made = Made(
        remixbench="0", scoring_version="1", dataset="x", manifest_digest="0" * 64, reference_digest=reference,
        predictions={"tags.csv": "2" * 64}, predictions_digest="2" * 64, clips=10, groups=10, resamples=len(draws),
        bootstrap_seed=0,
    )  # fmt: skip
    return Record(
        entry=Entry(name="gap", kind="run", system="gap", snr=0.0, fold=fold, seed=seed),
        made_from=made,
        figures={"micro_ap": value},
        intervals={},
        per_class={},
        settings={},
        draws={"micro_ap": pack(np.array(draws, np.float64))},
    )


def column(*records: Record) -> Column:
    value = float(np.mean([each.figures["micro_ap"] for each in records if each.figures["micro_ap"] is not None]))
    return Column(0.0, {"micro_ap": Figure(value)}, {}, records)


def test_a_constant_lead_is_certain() -> None:
    found = compare_columns(column(record(0.5, DRAWS + 0.1)), column(record(0.4, DRAWS)), "micro_ap")
    assert found is not None
    assert (found.difference, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1), abs=1e-6)
    assert (found.superiority, found.folds, found.resamples) == (1.0, (4,), 101)
    assert found.told_apart


def test_the_pairing_counts_not_the_intervals() -> None:
    # both spread over 0.2, far more than they differ by; draw by draw the first leads by 0.01
    found = compare_columns(column(record(0.41, DRAWS + 0.01)), column(record(0.4, DRAWS)), "micro_ap")
    assert found is not None
    assert found.told_apart
    # dealt out the other way round they cannot be told apart
    found = compare_columns(column(record(0.41, DRAWS[::-1] + 0.01)), column(record(0.4, DRAWS)), "micro_ap")
    assert found is not None
    assert not found.told_apart


def test_equal_draws_count_half() -> None:
    found = compare_columns(column(record(0.4, DRAWS)), column(record(0.4, DRAWS)), "micro_ap")
    assert found is not None
    assert (found.difference, found.superiority, found.told_apart) == (0.0, 0.5, False)


def test_turned_round_the_difference_changes_its_sign() -> None:
    draws = np.random.default_rng(0).normal(0.4, 0.05, (2, 400))
    pair = [column(record(float(each.mean()), each)) for each in draws]
    there, back = compare_columns(*pair, "micro_ap"), compare_columns(*pair[::-1], "micro_ap")
    assert there is not None
    assert back is not None
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)
    assert there.superiority == pytest.approx(1 - back.superiority)


def test_only_common_folds_count_and_seeds_are_averaged() -> None:
    first = column(record(0.9, DRAWS + 0.5, fold=1), record(0.5, DRAWS + 0.1, seed=0), record(0.6, DRAWS + 0.2, seed=1))
    second = column(record(0.4, DRAWS))
    found = compare_columns(first, second, "micro_ap")
    assert found is not None
    assert found.folds == (4,)
    assert found.difference == pytest.approx(0.15)


@pytest.mark.parametrize(
    "other",
    [
        record(0.4, DRAWS, fold=3),
        record(0.4, DRAWS[:50]),
        record(0.4, DRAWS, reference="3" * 64),
        record(0.4, DRAWS).model_copy(update={"draws": {}}),
    ],
    ids=["other fold", "other resamples", "other labels", "no draws"],
)
def test_what_was_not_drawn_alike_is_not_compared(other: Record) -> None:
    assert compare_columns(column(record(0.5, DRAWS)), column(other), "micro_ap") is None


def test_a_figure_that_few_draws_define_is_not_compared() -> None:
    sparse = np.where(np.arange(101) < 60, np.nan, DRAWS)
    assert compare_columns(column(record(0.5, DRAWS + 0.1)), column(record(0.4, sparse)), "micro_ap") is None
    most = np.where(np.arange(101) < 10, np.nan, DRAWS)
    found = compare_columns(column(record(0.5, DRAWS + 0.1)), column(record(0.4, most)), "micro_ap")
    assert found is not None
    assert found.resamples == 91


def rows(*columns: Column) -> list[Row]:
    return [Row(str(i), "run", None, {}, (), {0.0: each}, False) for i, each in enumerate(columns)]


def best(marked: Sequence[Row]) -> list[bool]:
    return [row.columns[0.0].figures["micro_ap"].best for row in marked]


def test_the_best_and_what_is_like_it() -> None:
    noisy = DRAWS[::-1]
    marked = mark_best(rows(*(column(record(v, d)) for v, d in ((0.2, DRAWS - 0.2), (0.4, DRAWS), (0.39, noisy)))))
    assert best(marked) == [False, True, True]


def test_without_draws_only_the_best_itself() -> None:
    bare = [replace(each, records=()) for each in (column(record(0.4, DRAWS)), column(record(0.3, DRAWS)))]
    assert best(mark_best(rows(*bare))) == [True, False]


def test_nothing_is_best_where_all_are_zero() -> None:
    assert best(mark_best(rows(column(record(0.0, DRAWS * 0)), column(record(0.0, DRAWS * 0))))) == [False, False]


@given(st.lists(st.floats(0, 1, width=32), max_size=50))
def test_draws_are_kept_to_the_last_bit_of_float32(values: list[float]) -> None:
    assert unpack(pack(np.array(values))).tolist() == values


def test_the_digest_of_one_file_does_not_depend_on_its_name() -> None:
    assert files_digest({"a.csv": "1" * 64}) == files_digest({"b.csv": "1" * 64}) == "1" * 64
    assert files_digest({"a": "1" * 64, "b": "2" * 64}) != files_digest({"a": "2" * 64, "b": "1" * 64})
