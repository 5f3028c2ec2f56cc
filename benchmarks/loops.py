"""The three training loops that `train.py` compares, and what they are measured by."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from remixbench.systems import build_system
from remixbench.systems.registry import resolve_options, spec
from remixbench.training.config import RELEASED, TrainConfig
from remixbench.training.data import ClipTensors, InputArray, Standardisation
from remixbench.training.device import Engine, choose_device, choose_precision, exact_float32
from remixbench.training.trainer import TrainState, train_epoch
from remixbench.training.trainer import loss as loss_of

CLASSES, FRAMES, BANDS = 41, 311, 64  # of the published data set


@dataclass(frozen=True)
class Work:
    """What a process trains, and on what; batches an epoch, batch size None for what the device likes."""

    device: str
    precision: str
    threads: int | None
    batch_size: int | None
    batches: int

    def begin(self) -> tuple[Engine, int]:
        """Return the engine and the batch size."""
        if self.threads:
            torch.set_num_threads(self.threads)
        device = choose_device(self.device)
        engine = Engine(device, choose_precision(self.precision, device))
        return engine, self.batch_size or (24 if device.type == "cuda" else 8)


def describe(work: Work) -> dict[str, str | int]:
    """Return the machine's name and the settings, for the table's head."""
    engine, batch_size = work.begin()
    return {
        "machine": engine.name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": engine.precision,
        "batch_size": batch_size,
        "has_bf16": choose_precision("auto", engine.device) == "bf16",
    }


def synchronise(engine: Engine) -> None:
    """Wait for the device to finish, as before reading a clock."""
    if engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)


def speed(role: str, system: str, work: Work) -> float:
    """Return the clips per second of one more epoch of `plain`, `defaults` or `ours`; the first is a rehearsal."""
    engine, batch_size = work.begin()
    epoch = _loop(role, system, work)
    start = time.perf_counter()
    epoch()
    synchronise(engine)
    return batch_size * work.batches / (time.perf_counter() - start)


def peak(work: Work) -> float:
    """Operations a second of the best of some large matrix products."""
    engine, _ = work.begin()
    dtype = torch.bfloat16 if engine.precision == "bf16" else torch.float32
    size = 8192 if engine.device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=engine.device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(12):
        start = time.perf_counter()
        a @ b
        synchronise(engine)
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def flops(system: str, work: Work) -> float:
    """Floating point operations of the products in one training step, a clip."""
    engine, _ = work.begin()
    epoch = _plain(system, _clips(2, engine.device), 2, engine.device)
    with FlopCounterMode(display=False) as counter:
        epoch()
    return float(counter.get_total_flops()) / 2


@functools.lru_cache(maxsize=1)
def _loop(role: str, system: str, work: Work) -> Callable[[], float]:
    """Return a loop that has run once; the last asked for is kept."""
    engine, batch_size = work.begin()
    data = _clips(batch_size * work.batches, engine.device)
    make = {"plain": lambda: _plain(system, data, batch_size, engine.device),
            "defaults": lambda: _defaults(system, data, batch_size, engine.device),
            "ours": lambda: _ours(system, data, batch_size, engine)}  # fmt: skip
    epoch = make[role]()
    epoch()
    return epoch


def _plain(system: str, data: ClipTensors, batch_size: int, device: torch.device) -> Callable[[], float]:
    """The released form: one batch after another, everything in float32, which on a GPU excludes TF32."""
    network = build_system(system, classes=CLASSES, frames=FRAMES, n_mels=BANDS, seed=0).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, foreach=False, fused=False)
    alpha = spec(system).alpha

    def epoch() -> float:
        network.train()
        torch.backends.cudnn.allow_tf32 = False  # products have it off anyway
        total = 0.0
        for start in range(0, len(data), batch_size):
            (x,), targets = data.batch(torch.arange(start, min(start + batch_size, len(data))))
            loss = loss_of(network(x), targets, x, alpha)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item()
        return total

    return epoch


def _defaults(system: str, data: ClipTensors, batch_size: int, device: torch.device) -> Callable[[], float]:
    """What one writes without thinking of speed: PyTorch's defaults (Adam, TF32), and bfloat16 by autocast."""
    network = build_system(system, classes=CLASSES, frames=FRAMES, n_mels=BANDS, seed=0).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    alpha = spec(system).alpha

    def epoch() -> float:
        network.train()
        torch.backends.cudnn.allow_tf32 = True  # as torch starts; the process may have run another loop before
        total = 0.0
        for start in range(0, len(data), batch_size):
            (x,), targets = data.batch(torch.arange(start, min(start + batch_size, len(data))))
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16):
                loss = loss_of(network(x), targets, x, alpha)
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item()
        return total

    return epoch


def _ours(system: str, data: ClipTensors, batch_size: int, engine: Engine) -> Callable[[], float]:
    """The loop of `remixbench train`, with the system's own training: `crnn` has augmentation and weight average."""
    run = _settings(system, batch_size, engine.precision)
    network = engine.place(build_system(system, classes=CLASSES, frames=FRAMES, n_mels=BANDS, seed=0))
    state = TrainState(network, run, steps_per_epoch=-(-len(data) // batch_size))

    def epoch() -> float:
        with exact_float32():
            return train_epoch(state, run, engine, data, 1)

    return epoch


def _settings(system: str, batch_size: int, precision: str) -> TrainConfig:
    known = spec(system)
    training = RELEASED | {"epochs": 1, "learning_rate": 1e-3, "width": 1.0} | dict(known.training_defaults)
    return TrainConfig(
        system=system, options=tuple(sorted(resolve_options(system).items())), alpha=known.alpha, fraction=1.0, snr=0.0,
        fold=4, seed=0, select="validation", **training | {"batch_size": batch_size, "precision": precision},
    )  # fmt: skip


def _clips(count: int, device: torch.device) -> ClipTensors:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(count, FRAMES, BANDS)).astype(np.float32)
    unit = Standardisation(np.zeros(BANDS, np.float32), np.ones(BANDS, np.float32))
    return ClipTensors([InputArray(features, unit)], draw.random((count, CLASSES)) < 0.07, np.arange(count), device)
