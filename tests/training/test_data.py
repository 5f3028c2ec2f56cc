"""Clips, standardisation and batches, held against the files and the plain formula."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fake_dataset import fake_dataset
from torch.utils.data import DataLoader

import remixbench
from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.leaderboard.evaluate import read_fold_reference
from remixbench.scoring import Predictions, score_predictions
from remixbench.training.data import ClipTensors, InputArray, Inputs, Standardisation, fit_standardisation, free_bytes

CPU = torch.device("cpu")


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(-9, 3, (600, 7, 5)).astype(np.float32)


def test_mean_and_deviation_over_all_frames_of_the_training_clips(features: np.ndarray) -> None:
    rows = np.arange(0, 600, 2)
    found = fit_standardisation(features, rows)
    chosen = features[rows].reshape(-1, 5).astype(np.float64)
    np.testing.assert_allclose(found.mean, chosen.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.std, chosen.std(axis=0), rtol=1e-6)
    standard = found.apply(features[rows]).reshape(-1, 5)
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(axis=0), 1, atol=1e-5)


def test_a_small_deviation_on_a_large_mean_is_kept() -> None:
    values = np.full((4, 3, 1), 1000.0, np.float32)
    values[::2] += 1e-3
    assert fit_standardisation(values, np.arange(4)).std[0] == pytest.approx(values.astype(np.float64).std(), rel=1e-5)


def test_a_band_that_never_changes_becomes_zero(features: np.ndarray) -> None:
    features[:, :, 2] = -18.42
    found = fit_standardisation(features, np.arange(600))
    assert found.std[2] == 1
    np.testing.assert_allclose(found.apply(features)[:, :, 2], 0, atol=1e-5)


def test_the_least_that_a_control_group_leaves_counts_shared_among_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tmp_path / "groups" / "job_7"
    for folder, limit, used in (
        (job, "3000", "1000"),
        (job / "step_0", "max", "600"),
        (job / "step_0/task", "9000", "5"),
    ):
        folder.mkdir(parents=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
    (tmp_path / "cgroup").write_text("0::/job_7/step_0/task\n")
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable:      50 kB\n")
    for name, path in (("CGROUP", "cgroup"), ("CGROUPS", "groups"), ("MEMINFO", "meminfo")):
        monkeypatch.setattr(f"remixbench.training.data.{name}", tmp_path / path)
    assert free_bytes(CPU) == 2000
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_bytes(CPU) == 500
    (tmp_path / "cgroup").write_text("1:memory:/job_7\n")
    assert free_bytes(CPU) == 50 * 1024 / 4


@pytest.mark.parametrize("budget", [0.0, 1e9])
def test_batches_are_the_same_from_memory_and_from_disk(features: np.ndarray, budget: float) -> None:
    weak = np.random.default_rng(1).random((600, 4)) < 0.5
    rows = np.array([3, 8, 500, 599])
    standardisation = Standardisation(np.full(5, -9, np.float32), np.full(5, 2, np.float32))
    clips = ClipTensors([InputArray(features, standardisation)], weak, rows, CPU, budget=budget)
    assert clips.cached == (budget > 0)
    (x,), targets = clips.batch(torch.tensor([2, 0]))
    np.testing.assert_array_equal(x.numpy(), (features[[500, 3]] + 9) / 2)
    np.testing.assert_array_equal(targets.numpy(), weak[[500, 3]].astype(np.float32))


@pytest.mark.parametrize("role", ["train", "validation", "test"])
def test_the_clips_of_a_role_are_those_of_the_files(made: Dataset, role: str) -> None:
    clips = remixbench.ClipDataset(made, snr=10, fold=2, role=role, seed=3)
    rows = remixbench.splits(made, 2, seed=3)[role]
    assert len(clips) == len(rows)
    np.testing.assert_array_equal(clips.rows, rows)
    logmel = np.load(made.path / "snr_10" / "logmel.npy")
    with (made.path / "labels" / "weak.tsv").open() as file:
        labels = {row["filename"]: row["event_labels"].split(",") for row in csv.DictReader(file, delimiter="\t")}
    for row, name, (x, y) in zip(rows, clips.filenames, clips, strict=True):
        np.testing.assert_array_equal(x, logmel[row])
        assert [made.classes[k] for k in np.flatnonzero(y)] == labels[name]


def test_a_waveform_is_that_of_the_file(made: Dataset) -> None:
    clips = remixbench.ClipDataset(made, snr=0, fold=4, role="test", inputs="waveform")
    samples, _ = soundfile.read(made.path / "snr_0" / "audio" / clips.filenames[1], dtype="float32")
    np.testing.assert_array_equal(clips[1][0], samples)


@pytest.mark.parametrize("inputs", ["logmel", "waveform"])
def test_a_system_that_predicts_the_strong_targets_is_perfect(made: Dataset, inputs: Inputs) -> None:
    clips = remixbench.ClipDataset(made, snr=0, fold=4, role="test", inputs=inputs, targets="strong")
    reference = read_fold_reference(made, 4).reference
    assert clips.filenames == reference.filenames
    targets = np.stack([y for _, y in clips])
    edges = np.round(np.arange(made.recipe.frames + 1) * clips.frame_seconds, 6)
    scores = score_predictions(reference, Predictions(frame_scores=targets, frame_edges=edges), bootstrap=0)
    assert scores.values["frame_ap"] == 1


def test_roll_shifts_clip_and_strong_targets_alike(made: Dataset) -> None:
    options = {"snr": 0, "fold": 4, "role": "test", "targets": "both"}
    shift = round(0.5 / made.recipe.frame_seconds)
    plain, rolled = (remixbench.ClipDataset(made, roll=roll, **options)[0] for roll in (0.0, 0.5))
    np.testing.assert_array_equal(rolled[0], np.roll(plain[0], shift, axis=0))
    np.testing.assert_array_equal(rolled[1][0], plain[1][0])
    np.testing.assert_array_equal(rolled[1][1], np.roll(plain[1][1], shift, axis=0))
    plain, rolled = (remixbench.ClipDataset(made, roll=roll, inputs="waveform", **options)[0] for roll in (0.0, 0.5))
    np.testing.assert_array_equal(rolled[0], np.roll(plain[0], shift * made.recipe.features.hop_length))
    # what is not rolled over the end is as far from the onset as before
    np.testing.assert_array_equal(rolled[1][1][shift:], plain[1][1][:-shift])


def test_workers_give_what_one_process_gives(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path)
    clips = remixbench.ClipDataset(dataset, snr=20, fold=1, role="train", targets="both")
    assert len(clips[0]) == 2  # the log-mel is open
    assert len(pickle.dumps(clips)) < dataset.features(20).nbytes / 2
    assert torch.equal(pickle.loads(pickle.dumps(clips))[0][0], clips[0][0])
    loader = DataLoader(clips, batch_size=5, num_workers=2)
    x, y = zip(*loader, strict=True)
    assert torch.equal(torch.cat(x), torch.stack([one for one, _ in clips]))
    assert torch.equal(torch.cat([weak for weak, _ in y]), torch.stack([weak for _, (weak, _) in clips]))
    assert torch.equal(torch.cat([strong for _, strong in y]), torch.stack([strong for _, (_, strong) in clips]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"role": "trian"}, "unknown role 'trian' (did you mean 'train'?)"),
        ({"inputs": "wave"}, "unknown value 'wave' of inputs (did you mean 'waveform'?)"),
        ({"targets": "weakly"}, "unknown value 'weakly' of targets (did you mean 'weak'?)"),
        ({"snr": 5}, "has no SNR of 5 dB"),
        ({"fold": 9}, "has no fold 9"),
        ({"roll": float("nan")}, "roll is nan, expected seconds"),
    ],
)
def test_what_a_data_set_of_clips_cannot_be(tmp_path: Path, options: dict[str, object], said: str) -> None:
    dataset = fake_dataset(tmp_path)
    with pytest.raises(InputError) as caught:
        remixbench.ClipDataset(dataset, **{"snr": 20, "fold": 4, "role": "train"} | options)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_altered_logmel_is_refused(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path)
    path = dataset.path / "snr_20" / "logmel.npy"
    logmel = np.load(path)
    logmel[-1] += 1
    np.save(path, logmel)
    with pytest.raises(InputError, match="the log-mel of clip 00047 was altered"):
        remixbench.ClipDataset(dataset, snr=20, fold=4, role="test")
