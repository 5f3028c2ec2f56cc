"""Which clips are learned from, chosen on and tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_dataset import fake_dataset
from hypothesis import given
from hypothesis import strategies as st

from remixbench.dataset.dataset import Dataset
from remixbench.training.split import balanced_order, grouped_part, split


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return fake_dataset(tmp_path_factory.mktemp("split"), clips_per_fold=40, recordings=6)


def events(dataset: Dataset, rows: np.ndarray) -> set[tuple[str, ...]]:
    return {tuple(sorted(event.file for event in dataset.clips[row].events)) for row in rows}


def test_a_tenth_of_the_training_clips_is_kept_for_choosing(dataset: Dataset) -> None:
    parts = split(dataset, 4, seed=0, select="validation", fraction=1)
    assert parts.origin == "training clips"
    assert len(parts.validation) == 12
    assert sorted([*parts.train, *parts.validation]) == list(range(120))
    assert list(parts.test) == list(range(120, 160))


def test_clips_with_the_same_events_go_to_one_side(dataset: Dataset) -> None:
    parts = split(dataset, 1, seed=3, select="validation", fraction=1)
    repeated = len(parts.train) + len(parts.validation) > len(events(dataset, np.arange(40, 160)))
    assert repeated  # or else this test says nothing
    assert not events(dataset, parts.train) & events(dataset, parts.validation)


def test_the_seed_decides(dataset: Dataset) -> None:
    chosen = [list(split(dataset, 4, seed=seed, select="validation", fraction=1).validation) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("select", ["paper", "last"])
def test_without_a_choice_on_validation_clips_all_are_learned_from(dataset: Dataset, select: str) -> None:
    parts = split(dataset, 4, seed=0, select=select, fraction=1)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (120, 0, 40)


def test_the_manifests_own_validation_part_is_used(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path, validation=True)
    parts = split(dataset, 4, seed=0, select="validation", fraction=1)
    assert parts.origin == "manifest"
    assert list(parts.validation) == [0, 6, 12, 18, 24, 30]
    # it is not learned from either when the epoch is chosen otherwise
    assert not set(split(dataset, 4, seed=0, select="paper", fraction=1).train) & set(parts.validation)


def test_fractions_are_nested_and_leave_the_test_clips_alone(dataset: Dataset) -> None:
    whole, *parts = [split(dataset, 4, seed=2, select="validation", fraction=f) for f in (1, 0.5, 0.25, 0.1, 0.01)]
    for smaller, larger in zip(parts, [whole, *parts], strict=False):
        assert set(smaller.train) < set(larger.train)
        assert set(smaller.validation) <= set(larger.validation)
    assert [len(part.train) for part in parts] == [54, 27, 11, 2]
    assert [len(part.validation) for part in parts] == [6, 3, 2, 1]
    assert all(list(part.test) == list(whole.test) for part in parts)


def test_a_small_part_has_its_classes_evenly() -> None:
    # class 0 in nine of ten clips, the others rarely: even so the first clips have every class alike
    weak = np.zeros((100, 4), dtype=bool)
    weak[:, 0] = True
    weak[90:, 0] = False
    for k in (1, 2, 3):
        weak[87 + 4 * k : 91 + 4 * k, k] = True
    first = balanced_order([f"{i:05d}" for i in range(100)], weak, seed=0)[:8]
    assert weak[first].sum(axis=0).max() - weak[first].sum(axis=0).min() <= 1


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30), st.integers(0, 5))
def test_the_order_holds_every_clip_once(weak: list[list[bool]], seed: int) -> None:
    order = balanced_order([str(i) for i in range(len(weak))], np.array(weak), seed)
    assert sorted(order) == list(range(len(weak)))


@given(st.lists(st.integers(0, 8), min_size=2, max_size=60), st.integers(0, 5))
def test_the_part_holds_whole_groups_and_leaves_something(groups: list[int], seed: int) -> None:
    names = [() if group == 0 else (f"{group}.wav",) for group in groups]
    chosen = grouped_part([str(i) for i in range(len(groups))], names, seed)
    assert 0 < chosen.sum() < len(groups)
    if len(set(groups)) > 1:
        for group in set(groups) - {0}:  # 0 is clips without events, each for itself
            assert len({bool(chosen[i]) for i, other in enumerate(groups) if other == group}) == 1
