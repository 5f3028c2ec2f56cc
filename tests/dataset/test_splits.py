"""Which clips are learned from, chosen on and tested on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_dataset import fake_dataset
from hypothesis import given
from hypothesis import strategies as st

import remixbench
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.manifest import read_manifest
from remixbench.dataset.splits import balanced_order, split, splits, validation_part
from remixbench.errors import InputError
from remixbench.recipe import data_folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return fake_dataset(tmp_path_factory.mktemp("split"), clips_per_fold=40, recordings=200)


def recordings(dataset: Dataset, rows: np.ndarray) -> set[str]:
    return {event.file for row in rows for event in dataset.clips[row].events}


def test_a_tenth_of_the_training_clips_is_kept_for_choosing(dataset: Dataset) -> None:
    parts = split(dataset, 4, seed=0)
    assert (parts.origin, parts.flag) == ("training clips", "")
    assert len(parts.validation) == 12
    assert list(parts.test) == list(range(120, 160))


def test_training_and_validation_share_no_recording(dataset: Dataset) -> None:
    for fold in (1, 2, 3, 4):
        parts = splits(dataset, fold, seed=3)
        assert not recordings(dataset, parts["train"]) & recordings(dataset, parts["validation"])
        assert not set(parts["train"]) & set(parts["validation"])


def test_remix2019_has_whole_components_of_every_class_to_validate_on() -> None:
    manifest = read_manifest(data_folder("manifests") / "remix2019")
    labels = sorted({event.label for clip in manifest.clips for event in clip.events})
    for fold in (1, 4):
        train = [clip for clip in manifest.clips if clip.fold != fold]
        used = [{event.file for event in clip.events} for clip in train]
        weak = np.array([[label in {event.label for event in clip.events} for label in labels] for clip in train])
        chosen, left_out = validation_part([clip.id for clip in train], used, weak, seed=0)
        inside, outside = (
            set().union(*(used[place] for place in np.flatnonzero(mask))) for mask in (chosen, ~chosen & ~left_out)
        )
        assert not inside & outside
        assert not left_out.any()
        assert 0.09 * len(train) <= chosen.sum() <= 0.1 * len(train)
        assert weak[chosen].any(axis=0).all()
        assert weak[~chosen].any(axis=0).all()


def test_clips_that_share_recordings_are_left_out_if_components_are_too_large() -> None:
    # a chain: clip k shares a recording with clips k - 1 and k + 1, so that there is one component
    used = [{f"{k}", f"{k + 1}"} for k in range(100)]
    chosen, left_out = validation_part([f"{k:05d}" for k in range(100)], used, np.ones((100, 1), bool), seed=0)
    assert chosen.sum() == 10
    neighbours = {k + step for k in np.flatnonzero(chosen) for step in (-1, 1)} & set(range(100))
    assert set(np.flatnonzero(left_out)) == neighbours - set(np.flatnonzero(chosen))


def test_no_clip_is_left_out_if_that_would_cost_too_many() -> None:
    used = [{"the only recording"} for _ in range(30)]
    chosen, left_out = validation_part([f"{k:05d}" for k in range(30)], used, np.ones((30, 1), bool), seed=0)
    assert (chosen.sum(), left_out.sum()) == (3, 0)


def test_a_split_that_shares_recordings_is_flagged(tmp_path: Path) -> None:
    parts = split(fake_dataset(tmp_path, recordings=1), 4)
    assert parts.flag == "validation shares recordings with training"


def test_the_seed_decides(dataset: Dataset) -> None:
    chosen = [list(split(dataset, 4, seed=seed, select="validation", fraction=1).validation) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("select", ["paper", "last"])
def test_without_a_choice_on_validation_clips_all_are_learned_from(dataset: Dataset, select: str) -> None:
    parts = split(dataset, 4, seed=0, select=select, fraction=1)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (120, 0, 40)


def test_the_validation_part_of_the_manifest_is_used(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path, validation=True)
    parts = split(dataset, 4, seed=0, select="validation", fraction=1)
    assert parts.origin == "manifest"
    assert list(parts.validation) == [0, 6, 12, 18, 24, 30]
    # it is not learned from either when the epoch is chosen otherwise
    assert not set(split(dataset, 4, seed=0, select="paper", fraction=1).train) & set(parts.validation)


def test_fractions_are_nested_and_keep_all_test_clips(dataset: Dataset) -> None:
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


@given(st.lists(st.lists(st.integers(0, 40), max_size=3), min_size=2, max_size=60), st.integers(0, 5))
def test_the_parts_are_disjoint_and_share_nothing_unless_too_much_is_shared(used: list[list[int]], seed: int) -> None:
    recordings = [{str(k) for k in mine} for mine in used]
    ids = [str(place) for place in range(len(used))]
    chosen, left_out = validation_part(ids, recordings, np.ones((len(used), 1), bool), seed)
    assert 0 < chosen.sum() < len(used)
    assert not (chosen & left_out).any()
    inside, outside = (
        set().union(*(mine for mine, here in zip(recordings, part, strict=True) if here))
        for part in (chosen, ~chosen & ~left_out)
    )
    if inside & outside:
        sharing = [bool(mine & inside) for mine, here in zip(recordings, chosen, strict=True) if not here]
        assert sum(sharing) > len(used) / 3


def test_a_data_set_may_be_a_path_and_other_types_are_named(dataset: Dataset) -> None:
    for part, rows in splits(dataset.path, 1).items():
        assert np.array_equal(rows, splits(dataset, 1)[part])
    with pytest.raises(InputError, match="no data set 'tiny' in datasets"):
        splits("tiny", 1)
    with pytest.raises(InputError, match="has no fold '1'; it has 1, 2, 3, 4"):
        splits(dataset, "1")  # type: ignore[arg-type]
    calls: tuple[tuple[Callable[..., Any], str], ...] = (
        (lambda wrong: splits(wrong, 1), "dataset"),
        (lambda wrong: remixbench.load_dataset(wrong), "dataset"),
        (lambda wrong: remixbench.verify(dataset=wrong), "dataset"),
        (lambda wrong: remixbench.ClipDataset(wrong, snr=0, fold=1, role="train"), "dataset"),
        (lambda wrong: remixbench.load_dataset("tiny", wrong), "workspace"),
        (lambda wrong: remixbench.score(workspace=wrong), "workspace"),
        (lambda wrong: remixbench.score(wrong, workspace=dataset.path), "target"),
        (lambda wrong: remixbench.load_system(wrong), "run"),
        (lambda wrong: remixbench.make(recipe="mini", out=wrong), "out"),
    )
    for call, name in calls:
        with pytest.raises(InputError, match=f"^{name}: found 5 of type int, expected a path$"):
            call(5)
