"""Started from training/test_distributed.py: a training step of two processes against one alone.

The second process is forked, so that torch is imported once; torchrun itself is tested with a whole training.
"""

from __future__ import annotations

import os
import socket
import sys

import numpy as np
import torch

from remixbench.systems import Output, build_system
from remixbench.training.config import AUGMENTATIONS, TrainConfig
from remixbench.training.data import ClipTensors, InputArray, Standardisation
from remixbench.training.device import SINGLE_PROCESS, DistContext, Engine, process_group
from remixbench.training.evaluate import score_clips
from remixbench.training.trainer import TrainState, train_epoch

CPU = Engine(torch.device("cpu"), "32")


class Double(torch.nn.Module):
    """A network in float64, so that no rounding turns a ReLU on here and off there."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network.double()
        if hasattr(network, "attention"):
            network.attention.float()  # it takes its input in float32, whatever comes

    def forward(self, x: torch.Tensor) -> Output:
        return self.network(x.double())


def step(
    system: str, clips: int, dist: DistContext, augment: tuple[str, ...] = ()
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], float, np.ndarray]:
    """One epoch of one batch; returns gradients, state, loss and scores."""
    draw = np.random.default_rng(0)
    unit = Standardisation(np.zeros(16, np.float32), np.ones(16, np.float32))
    features = draw.normal(size=(clips, 31, 16)).astype(np.float32)
    data = ClipTensors([InputArray(features, unit)], draw.random((clips, 5)) < 0.3, np.arange(clips), CPU.device)
    settings = TrainConfig(
        system=system, alpha=0.1 if system == "2ap-aux" else 0.0, snr=0.0, fold=4, epochs=1, batch_size=clips,
        learning_rate=1e-3, width=0.25, augment=augment,
    )  # fmt: skip
    network = Double(build_system(system, classes=5, frames=31, n_mels=16, width=0.25, seed=0))
    state = TrainState(dist.prepare(CPU.place(network)), settings)
    loss = train_epoch(state, settings, CPU, data, 1, dist=dist)
    gradients = {name: p.grad.clone() for name, p in state.network.named_parameters() if p.grad is not None}
    return gradients, state.network.state_dict(), loss, score_clips(state.network, data, CPU, 2, dist)


def fork_second_process() -> int:
    """Make this process the first and a fork of it the second of a group; return the fork's id, in the fork 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    child = os.fork()
    os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if child else "1"
    return child


def compare_steps() -> None:
    with process_group(torch.device("cpu")) as dist:
        assert dist.world_size == 2
        cases: list[tuple[str, tuple[str, ...], tuple[int, ...]]] = [
            ("gmp", (), (7, 2, 1)),  # of one clip the second process has nothing
            ("gwrp", (), (7,)),
            ("atrous-ap", (), (7,)),
            ("2ap-aux", (), (7, 1)),
            ("2ap-aux", AUGMENTATIONS, (7, 1)),
        ]
        for system, augment, numbers in cases:
            for clips in numbers:
                together, alone = (step(system, clips, processes, augment) for processes in (dist, SINGLE_PROCESS))
                for name, gradient in alone[0].items():
                    error = float((together[0][name] - gradient).norm() / (gradient.norm() + 1e-3))
                    assert error < 1e-5, (system, clips, name, error)
                for name, buffer in alone[1].items():
                    if "running" in name:
                        torch.testing.assert_close(together[1][name], buffer, rtol=1e-4, atol=1e-5)
                assert abs(together[2] - alone[2]) < 1e-5, (system, clips)
                everyone = dist.all_reduce_sum(torch.from_numpy(together[3]).clone()) / 2
                np.testing.assert_array_equal(everyone.numpy(), together[3])
        if dist.is_main_process:
            print("agreed")


def main() -> int:
    torch.set_num_threads(1)
    child = fork_second_process()
    compare_steps()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else 0


if __name__ == "__main__":
    sys.exit(main())
