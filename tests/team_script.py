"""Started by torchrun from test_training_team.py: a training step of all processes together against one alone."""

from __future__ import annotations

import sys

import numpy as np
import torch

from remixbench.systems import Output, build_system
from remixbench.training.data import Clips, Standardisation
from remixbench.training.engine import Engine
from remixbench.training.evaluate import score_clips
from remixbench.training.loop import State, one_epoch
from remixbench.training.settings import RunSettings
from remixbench.training.team import ALONE, Team, gather

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
    system: str, clips: int, team: Team
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], float, np.ndarray]:
    """One epoch of one batch; returns gradients, state, loss and scores."""
    draw = np.random.default_rng(0)
    unit = Standardisation(np.zeros(16, np.float32), np.ones(16, np.float32))
    features = draw.normal(size=(clips, 31, 16)).astype(np.float32)
    data = Clips(features, draw.random((clips, 5)) < 0.3, np.arange(clips), unit, CPU.device)
    settings = RunSettings(
        system, (), 0.1 if system == "2ap-aux" else 0.0, 1.0, 0.0, 4, 0, 1, clips, 1e-3, 0.25, "validation", "32"
    )
    network = Double(build_system(system, classes=5, frames=31, n_mels=16, width=0.25, seed=0))
    state = State(team.prepare(CPU.place(network)), settings)
    loss = one_epoch(state, settings, CPU, data, 1, team=team)
    gradients = {name: p.grad.clone() for name, p in state.network.named_parameters() if p.grad is not None}
    return gradients, state.network.state_dict(), loss, score_clips(state.network, data, CPU, 2, team)


def main() -> None:
    torch.set_num_threads(1)
    with gather(torch.device("cpu")) as team:
        assert team.size == 2
        for system in ("gmp", "gwrp", "atrous-ap", "2ap-aux"):
            for clips in (7, 2, 1):  # of one clip the second process has nothing
                together, alone = step(system, clips, team), step(system, clips, ALONE)
                for name, gradient in alone[0].items():
                    error = float((together[0][name] - gradient).norm() / (gradient.norm() + 1e-3))
                    assert error < 1e-5, (system, clips, name, error)
                for name, buffer in alone[1].items():
                    if "running" in name:
                        torch.testing.assert_close(together[1][name], buffer, rtol=1e-4, atol=1e-5)
                assert abs(together[2] - alone[2]) < 1e-5, (system, clips)
                everyone = team.add(torch.from_numpy(together[3]).clone()) / 2
                np.testing.assert_array_equal(everyone.numpy(), together[3])
        if team.writes:
            print("agreed")


if __name__ == "__main__":
    sys.exit(main())
