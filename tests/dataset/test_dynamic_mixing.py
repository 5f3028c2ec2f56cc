"""Mixtures on the fly: equal to the files where the plan is the same, fresh and seeded where it is not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
import torch
from torch.utils.data import DataLoader
from watcher import stop_after

import remixbench
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.manifest import Clip, Event
from remixbench.errors import InputError
from remixbench.recipe import parse_recipe
from remixbench.training.data import Inputs
from remixbench.training.fresh import recombine


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    workspace = tmp_path_factory.mktemp("fresh")
    dataset = remixbench.make(workspace=workspace, recipe="mini", clips_per_fold=3, snr=10, jobs=1)
    assert dataset is not None
    return dataset


@pytest.mark.parametrize("inputs", ["logmel", "waveform"])
def test_the_first_epoch_equals_the_files(mini: Dataset, inputs: Inputs) -> None:
    options = {"snr": 10, "fold": 4, "role": "train", "inputs": inputs, "targets": "both", "roll": 0.7}
    fresh = remixbench.FreshMixtures(mini, "nowhere", **options)  # type: ignore[arg-type]
    files = remixbench.ClipDataset(mini, **options)  # type: ignore[arg-type]
    assert fresh.filenames == files.filenames
    assert fresh.frame_seconds == files.frame_seconds
    for (x, (weak, strong)), (file_x, (file_weak, file_strong)) in zip(fresh, files, strict=True):
        assert torch.equal(x, file_x)
        assert torch.equal(weak, file_weak)
        assert torch.equal(strong, file_strong)


def test_persistent_workers_take_the_epoch_that_is_set(mini: Dataset) -> None:
    fresh = remixbench.FreshMixtures(mini, "nowhere", snr=10, fold=4)
    loader = DataLoader(fresh, batch_size=2, num_workers=1, persistent_workers=True, multiprocessing_context="spawn")
    for epoch in (0, 2, 1):
        fresh.set_epoch(epoch)
        x = torch.cat([batch for batch, _ in loader])
        assert torch.equal(x, torch.stack([clip for clip, _ in fresh]))


def test_later_epochs_use_the_same_recordings_in_new_combinations(mini: Dataset) -> None:
    fresh = remixbench.FreshMixtures(mini, "nowhere", snr=10, fold=4, seed=3)
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
    clips = [
        Clip(f"{n:05d}", 1, f"s{n}", "park", "p", tuple(Event(k, f"{n}{k}.wav", "AB"[k], 0.5 * k, 2.0) for k in (0, 1)))
        for n in range(20)
    ]
    for seed in range(20):
        for clip in recombine(clips, np.random.default_rng(seed)):
            assert len({event.label for event in clip.events}) == 2


def test_an_unknown_role_is_refused(mini: Dataset) -> None:
    with pytest.raises(InputError, match=r"unknown role 'tset' \(did you mean 'test'"):
        remixbench.FreshMixtures(mini, "nowhere", snr=10, fold=4, role="tset")


@pytest.mark.usefixtures("one_thread")
def test_train_mixes_anew_from_the_second_epoch_on(made: Dataset, corpus: Path, tmp_path: Path) -> None:
    options = {"dataset": made, "system": "gap", "snr": 10, "epochs": 3, "width": 0.1, "precision": "32"}
    plain = remixbench.train(workspace=tmp_path / "plain", **options)[0]  # type: ignore[arg-type]
    ends = []
    for name in ("whole", "broken"):
        fresh = options | {"workspace": tmp_path / name, "fresh": True, "sources": corpus}
        if name == "broken":
            with pytest.raises(KeyboardInterrupt):
                remixbench.train(progress=stop_after(20), **fresh)  # type: ignore[arg-type]
        ends.append(remixbench.train(**fresh)[0])  # type: ignore[arg-type]
    assert ends[0].parts[-4] == "gap,fresh"
    flags = json.loads((ends[0] / "run.json").read_text())["flags"]
    assert {"code": "fresh", "text": "trained on new mixtures in every epoch"} in flags
    losses = [[line.split(",")[1] for line in (run / "history.csv").read_text().splitlines()] for run in (plain, *ends)]
    assert losses[0][1] == losses[1][1]
    assert losses[0][2] != losses[1][2]
    assert losses[1] == losses[2]
    assert (ends[0] / "model.safetensors").read_bytes() == (ends[1] / "model.safetensors").read_bytes()


def _silence_between_events(sources: Path, clips: Sequence[Clip]) -> None:
    """Zero every other scene where none of the clips that have it has an event."""
    for scene in sorted({clip.scene_file for clip in clips})[::2]:
        path = sources / tiny.TAU / "audio" / scene
        samples, rate = soundfile.read(path)
        quiet = np.ones(len(samples), bool)
        for event in (event for clip in clips if clip.scene_file == scene for event in clip.events):
            quiet[int(event.onset * rate) : int((event.onset + event.max_duration) * rate) + 1] = False
        samples[quiet] = 0
        soundfile.write(path, samples, rate, subtype="PCM_24")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("level", ["rms", "lufs"])
def test_a_clip_with_a_scene_that_is_silent_under_its_event_stays_as_it_is(tmp_path: Path, level: str) -> None:
    recipe = parse_recipe(tiny.changed(tiny.STRICT, plan__polyphony=1, mix__level=level), "tiny")
    sources = tiny.write_corpus(tmp_path / "sources")
    manifest, _ = remixbench.plan(recipe=recipe, sources=sources, out=tmp_path / "plan")
    _silence_between_events(sources, manifest.clips)
    options = {"recipe": recipe, "sources": sources, "manifest": tmp_path / "plan", "snr": 10, "jobs": 1}
    dataset = remixbench.make(workspace=tmp_path, **options)  # type: ignore[arg-type]
    assert dataset is not None

    read = {"snr": 10, "fold": 4, "targets": "both"}
    files = remixbench.ClipDataset(dataset, role="train", **read)  # type: ignore[arg-type]
    fresh = remixbench.FreshMixtures(dataset, sources, **read)  # type: ignore[arg-type]
    fresh.set_epoch(1)
    kept = 0
    for index, (own, (own_weak, own_strong)) in enumerate(files):
        x, (weak, strong) = fresh[index]
        if torch.equal(x, own):
            kept += 1
            assert torch.equal(weak, own_weak)
            assert torch.equal(strong, own_strong)
        else:
            labels = {dataset.classes[k] for k in weak.nonzero()[:, 0]}
            assert labels == {event.label for event in fresh.clips[index].events}
    assert 0 < kept < len(files)
    train = {"dataset": dataset, "sources": sources, "system": "gap", "snr": 10, "width": 0.1, "epochs": 3, "jobs": 1}
    (run,) = remixbench.train(workspace=tmp_path, fresh=True, **train)  # type: ignore[arg-type]
    assert (run / "model.safetensors").is_file()


def test_sources_of_another_data_set_are_refused(made: Dataset, corpus: Path, tmp_path: Path) -> None:
    other = tiny.write_corpus(tmp_path / "sources")
    table = other / tiny.FSD_TABLE
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InputError, match=r"the table of events is not the one that .* was made from"):
        remixbench.FreshMixtures(made, other, snr=10, fold=4)
