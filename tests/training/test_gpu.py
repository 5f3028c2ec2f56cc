"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_dataset import fake_dataset

from remixbench.errors import RemixbenchError
from remixbench.inference.system import load_system
from remixbench.systems import build_system, list_systems
from remixbench.systems.registry import resolve_options, spec
from remixbench.training.augment import AUGMENTATIONS, augment
from remixbench.training.config import TrainConfig
from remixbench.training.data import ClipTensors, InputArray, Standardisation
from remixbench.training.device import Engine, exact_float32
from remixbench.training.train import train
from remixbench.training.trainer import TrainState, train_epoch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
CLASSES, FRAMES, BANDS = 5, 31, 16
BUNDLED = [name for name in list_systems() if spec(name).bundled and not spec(name).takes_embeddings]


def some_clips(count: int, device: torch.device) -> ClipTensors:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(count, FRAMES, BANDS)).astype(np.float32)
    unit = Standardisation(np.zeros(BANDS, np.float32), np.ones(BANDS, np.float32))
    return ClipTensors([InputArray(features, unit)], draw.random((count, CLASSES)) < 0.3, np.arange(count), device)


def settings(system: str, precision: str, augment: tuple[str, ...] = ()) -> TrainConfig:
    return TrainConfig(
        system=system, options=tuple(sorted(resolve_options(system).items())), alpha=spec(system).alpha, snr=20.0,
        fold=4, epochs=1, batch_size=4, learning_rate=1e-3, width=0.25, precision=precision, augment=augment,
        ema=0.9 if augment else 0.0, gradient_clip=5.0 if augment else 0.0,
    )  # fmt: skip


def loss_of_an_epoch(system: str, engine: Engine, clips: int) -> float:
    run = settings(system, engine.precision)
    network = engine.place(build_system(system, classes=CLASSES, frames=FRAMES, n_mels=BANDS, width=0.25))
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):  # a GPU draws other numbers from the same seed
            module.p = 0.0
    with exact_float32():
        return train_epoch(TrainState(network, run), run, engine, some_clips(clips, engine.device), 1)


@pytest.mark.parametrize("system", BUNDLED)
def test_an_epoch_is_that_of_the_processor(system: str) -> None:
    cpu, gpu = (loss_of_an_epoch(system, Engine(torch.device(name), "32"), 8) for name in ("cpu", "cuda"))
    assert gpu == pytest.approx(cpu, rel=1e-3)


def waits(clips: int, system: str, augment: tuple[str, ...]) -> int:
    """Return how often the processor waits for the GPU in an epoch."""
    engine = Engine(torch.device("cuda"), "bf16")
    run = settings(system, "bf16", augment)
    network = build_system(system, classes=CLASSES, frames=FRAMES, n_mels=BANDS, width=0.25)
    state = TrainState(engine.place(network), run)
    data = some_clips(clips, engine.device)
    train_epoch(state, run, engine, data, 1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            train_epoch(state, run, engine, data, 2)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in said)


@pytest.mark.parametrize("augment", [(), tuple(AUGMENTATIONS)])
@pytest.mark.parametrize("system", BUNDLED)
def test_more_batches_are_no_more_waits(system: str, augment: tuple[str, ...]) -> None:
    assert waits(40, system, augment) == waits(8, system, augment)


def test_augmentations_are_seeded_on_the_gpu_too() -> None:
    x, y, std = torch.randn(8, FRAMES, BANDS).cuda(), torch.eye(8).cuda(), torch.ones(BANDS).cuda()
    one, again, other = (augment((x,), y, std, AUGMENTATIONS, lambda _, seed=seed: seed)[0][0] for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_run_that_diverges_leaves_the_gpu_usable(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    with pytest.raises(RemixbenchError, match="the loss is"):
        train(workspace=tmp_path, system="2ap-aux", snr=20, alpha=1e39, precision="32", device="cuda")
    assert math.isfinite(float(torch.ones(3, device="cuda").sum()))


def test_a_run_trains_resumes_and_predicts(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    folder = train(workspace=tmp_path, system="2ap-aux", snr=20, epochs=2, device="cuda")[0]
    assert json.loads((folder / "run.json").read_text())["device"] == "cuda"
    audio = np.random.default_rng(0).normal(0, 0.1, 40_000).astype(np.float32)
    on_gpu, on_cpu = (load_system(folder, device=name).predict(audio, 8000) for name in ("cuda", "cpu"))
    np.testing.assert_allclose(on_gpu.frames, on_cpu.frames, atol=1e-4)
