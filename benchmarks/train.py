"""How fast training is: clips a second, against a plain float32 loop, and against the machine's matrix product.

    python benchmarks/train.py [--system NAME...] [--batch-size N] [--seconds S] [--threads N]

The plain loop is the released form: float32, rows-first memory, unfused Adam, one loss read back each batch. Ours is
the loop of `remixbench train`. Both train the same network on the same clips, in turns, so that other load on the
machine meets both alike; medians are reported. The share of peak counts the products of forward and backward pass, as
torch's flop counter does, against the best of a large matrix product in the same precision and the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from remixbench.systems import build, list_systems
from remixbench.systems.loss import loss as loss_of
from remixbench.systems.registry import resolve_options, spec
from remixbench.training.data import Clips, Standardisation
from remixbench.training.engine import Engine, choose_device, choose_precision
from remixbench.training.loop import State, one_epoch
from remixbench.training.settings import RunSettings

CLASSES, FRAMES, BANDS = 41, 311, 64  # of the published data set


def settings(system: str, batch_size: int, precision: str) -> RunSettings:
    known = spec(system)
    return RunSettings(
        system, tuple(sorted(resolve_options(system).items())), known.alpha, 1.0, 0.0, 4, 0, 1, batch_size, 1e-3, 1.0,
        "validation", precision,
    )  # fmt: skip


def clips(count: int, device: torch.device) -> Clips:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(count, FRAMES, BANDS)).astype(np.float32)
    unit = Standardisation(np.zeros(BANDS, np.float32), np.ones(BANDS, np.float32))
    return Clips(features, draw.random((count, CLASSES)) < 0.07, np.arange(count), unit, device)


def plain(system: str, data: Clips, batch_size: int, device: torch.device) -> Callable[[], float]:
    """The released form: one batch after another, everything in float32."""
    network = build(system, classes=CLASSES, frames=FRAMES, bands=BANDS, seed=0).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, foreach=False, fused=False)
    alpha = spec(system).alpha

    def epoch() -> float:
        network.train()
        total = 0.0
        for start in range(0, len(data), batch_size):
            x, targets = data.batch(torch.arange(start, min(start + batch_size, len(data))))
            loss = loss_of(network(x), targets, x, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return epoch


def ours(system: str, data: Clips, batch_size: int, engine: Engine) -> Callable[[], float]:
    """The loop of `remixbench train`."""
    run = settings(system, batch_size, engine.precision)
    state = State(engine.place(build(system, classes=CLASSES, frames=FRAMES, bands=BANDS, seed=0)), run)
    return lambda: one_epoch(state, run, engine, data, 1)


def flops(system: str, device: torch.device) -> float:
    """Floating point operations of the products in one training step, a clip."""
    data = clips(2, device)
    epoch = plain(system, data, 2, device)
    with FlopCounterMode(display=False) as counter:
        epoch()
    return counter.get_total_flops() / 2


def peak(engine: Engine) -> float:
    """Operations a second of the best of some large matrix products."""
    dtype = torch.bfloat16 if engine.precision == "bf16" else torch.float32
    size = 8192 if engine.device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=engine.device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(12):
        start = time.perf_counter()
        a @ b
        engine.synchronise()
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def clock(epoch: Callable[[], float], engine: Engine, count: int) -> float:
    start = time.perf_counter()
    epoch()
    engine.synchronise()
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--system", nargs="+", default=list_systems())
    parser.add_argument("--batch-size", type=int, default=None, help="default: 8 on a CPU, 24 on a GPU")
    parser.add_argument("--batches", type=int, default=2, help="batches an epoch")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    engine = Engine(device, choose_precision(arguments.precision, device))
    batch_size = arguments.batch_size or (24 if device.type == "cuda" else 8)
    data = clips(batch_size * arguments.batches, device)
    best = peak(engine)
    print(f"{engine.name}, {torch.get_num_threads()} threads, torch {torch.__version__}, {engine.precision},"
          f" batch {batch_size}; matrix product {best / 1e9:.0f} GFLOP/s")  # fmt: skip
    print(f"{'system':16} {'plain':>8} {'ours':>8} {'ratio':>6} {'of peak':>8}")
    rows = []
    for system in arguments.system:
        loops = plain(system, data, batch_size, device), ours(system, data, batch_size, engine)
        for loop in loops:
            loop()
        speeds = [[clock(loop, engine, len(data)) for loop in loops] for _ in range(arguments.turns)]
        slow, fast = (statistics.median(column) for column in zip(*speeds, strict=True))
        ratio = statistics.median(b / a for a, b in speeds)
        best = max(best, peak(engine))
        share = fast * flops(system, device) / best
        rows.append({"system": system, "plain": slow, "ours": fast, "ratio": ratio, "of_peak": share})
        print(f"{system:16} {slow:8.2f} {fast:8.2f} {ratio:6.2f} {share:8.1%}", flush=True)
    print(json.dumps({"peak": best, "precision": engine.precision, "batch_size": batch_size, "rows": rows}))


if __name__ == "__main__":
    main()
