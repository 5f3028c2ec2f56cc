"""Mixtures on the fly: equal to the files where the plan is the same, fresh and seeded where it is not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import remixbench
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.dynamic_mixing import recombine
from remixbench.errors import InputError
from remixbench.training.fresh import FreshMixtures


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    workspace = tmp_path_factory.mktemp("fresh")
    dataset = remixbench.make(workspace=workspace, recipe="mini", clips_per_fold=3, snr=10, jobs=1)
    assert dataset is not None
    return dataset


def test_first_epoch_equals_the_files(mini: Dataset) -> None:
    fresh = FreshMixtures(mini, Path("nowhere"), snr=10, fold=4)
    rows = np.flatnonzero(mini.roles(4) == "train")
    assert len(fresh) == len(rows) == 9
    for index, row in enumerate(rows):
        features, weak = fresh[index]
        np.testing.assert_allclose(features.numpy(), mini.features(10)[row], atol=1e-5)
        np.testing.assert_array_equal(weak.numpy(), mini.weak[row])


def test_later_epochs_use_the_same_recordings_in_new_combinations(mini: Dataset) -> None:
    fresh = FreshMixtures(mini, Path("nowhere"), snr=10, fold=4, seed=3)
    first = fresh.clips
    fresh.set_epoch(1)
    second = fresh.clips
    fresh.set_epoch(2)
    third = fresh.clips
    fresh.set_epoch(1)
    assert fresh.clips == second
    assert [c.events for c in first] != [c.events for c in second] != [c.events for c in third]
    for epoch in (second, third):
        assert Counter(c.scene_file for c in epoch) == Counter(c.scene_file for c in first)
        assert Counter(e.file for c in epoch for e in c.events) == Counter(e.file for c in first for e in c.events)
        assert [[e.onset for e in c.events] for c in epoch] == [[e.onset for e in c.events] for c in first]


def test_recombined_events_of_one_class_do_not_overlap() -> None:
    from remixbench.dataset.manifest import Clip, Event

    clips = [
        Clip(f"{n:05d}", 1, f"s{n}", "park", "p", tuple(Event(k, f"{n}{k}.wav", "AB"[k], 0.5 * k, 2.0) for k in (0, 1)))
        for n in range(20)
    ]
    for seed in range(20):
        for clip in recombine(clips, np.random.default_rng(seed)):
            assert len({event.label for event in clip.events}) == 2


def test_a_role_that_no_clip_has_is_named(mini: Dataset) -> None:
    with pytest.raises(InputError, match="no clip has the role 'validation'; there are: test, train"):
        FreshMixtures(mini, Path("nowhere"), snr=10, fold=4, role="validation")
