"""Standardisation and batches, held against the plain formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from remixbench.training.data import ClipTensors, Standardisation, fit_standardisation, free_bytes

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
    clips = ClipTensors(features, weak, rows, standardisation, CPU, budget=budget)
    assert clips.cached == (budget > 0)
    x, targets = clips.batch(torch.tensor([2, 0]))
    np.testing.assert_array_equal(x.numpy(), (features[[500, 3]] + 9) / 2)
    np.testing.assert_array_equal(targets.numpy(), weak[[500, 3]].astype(np.float32))
