"""The training loop: the schedule, resuming with all of its state, losses that are not finite."""

from __future__ import annotations

import copy
import math
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from remixbench.errors import RemixbenchError
from remixbench.systems import Output, build_system
from remixbench.systems.registry import resolve_options, spec
from remixbench.training.config import TrainConfig
from remixbench.training.data import ClipTensors, InputArray, Standardisation
from remixbench.training.device import Engine
from remixbench.training.trainer import TrainState, cosine_factor, fit

CPU = torch.device("cpu")
CLASSES, FRAMES, BANDS = 3, 8, 6
pytestmark = pytest.mark.usefixtures("one_thread")


def some_clips(count: int, seed: int) -> ClipTensors:
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(count, FRAMES, BANDS)).astype(np.float32)
    unit = Standardisation(np.zeros(BANDS, np.float32), np.ones(BANDS, np.float32))
    return ClipTensors([InputArray(features, unit)], draw.random((count, CLASSES)) < 0.4, np.arange(count), CPU)


def settings(system: str = "gap", epochs: int = 12, rate: float = 0.01, alpha: float | None = None) -> TrainConfig:
    alpha = spec(system).alpha if alpha is None else alpha
    return TrainConfig(
        system=system, options=tuple(sorted(resolve_options(system).items())), alpha=alpha, snr=20.0, fold=4,
        epochs=epochs, batch_size=4, learning_rate=rate, width=0.25,
    )  # fmt: skip


def network(system: str = "gap") -> nn.Module:
    return build_system(system, classes=CLASSES, frames=FRAMES, n_mels=BANDS, width=0.1)


def trained(run: TrainConfig, state: TrainState | None = None, until: int | None = None) -> TrainState:
    state = TrainState(network(run.system), run) if state is None else state

    def stop(epoch: object) -> None:
        if len(state.history) == until:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        fit(state, run, Engine(CPU, "32"), some_clips(10, 0), some_clips(30, 1), on_epoch=stop)
    return state


def same(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one if key != "seconds")
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_the_rate_falls_to_a_tenth_after_four_epochs_that_are_no_better() -> None:
    # at such a rate, and with running averages that stand still, no ranking changes
    still = network()
    for module in still.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    run = settings(epochs=10, rate=1e-6)
    state = trained(run, TrainState(still, run))
    assert len({epoch.validation_micro_ap for epoch in state.history}) == 1
    assert state.best_epoch == 1
    rates = [epoch.learning_rate / 1e-6 for epoch in state.history]
    np.testing.assert_allclose(rates, [1] * 5 + [0.1] * 4 + [0.01])


@pytest.mark.parametrize("stop", [8, 10])
def test_resuming_restores_rate_schedule_and_best_epoch(stop: int) -> None:
    run = settings(rate=0.3)
    whole = trained(run)
    half = trained(run, until=stop)
    # what is to be taken up matters: a best epoch before the stop, weights that moved on since, a rate that fell
    assert half.best_epoch < stop
    assert not same(half.best_weights, half.network.state_dict())
    assert whole.history[-1].learning_rate < whole.history[0].learning_rate
    fresh = TrainState(network(), run)
    fresh.load_state_dict(copy.deepcopy(half.state_dict()))
    assert same(fresh.state_dict(), half.state_dict())
    assert same(trained(run, fresh).state_dict(), whole.state_dict())


class Wrong(nn.Module):
    """Returns one score for everything."""

    def __init__(self, score: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.score = score

    def forward(self, x: Tensor) -> Output:
        scores = self.weight * torch.full((len(x), CLASSES), self.score)
        return Output(scores, scores.unsqueeze(1).expand(-1, FRAMES, -1))


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_scores_that_are_no_numbers_end_the_run_in_one_line(score: float) -> None:
    run = settings()
    state = TrainState(Wrong(score), run)
    with pytest.raises(RemixbenchError, match=r"^the loss is nan in epoch 1; a lower --learning-rate"):
        trained(run, state)


def test_the_history_has_the_learning_rate_of_the_last_step_of_each_epoch() -> None:
    run = settings(epochs=2).model_copy(update={"schedule": "cosine"})
    state = trained(run, TrainState(network(), run, steps_per_epoch=3))  # 10 clips in batches of 4
    assert [epoch.learning_rate for epoch in state.history] == pytest.approx(
        [0.01 * cosine_factor(step, 6) for step in (2, 5)]
    )


def test_a_score_above_1_by_rounding_is_no_fault() -> None:
    run = settings(epochs=1)
    assert math.isfinite(trained(run, TrainState(Wrong(1 + 2**-23), run)).history[0].loss)


def test_a_decoder_that_nothing_trains_is_not_run() -> None:
    calls = []
    net = network("2ap-aux")
    net.get_submodule("decoder").register_forward_hook(lambda *_: calls.append(net.training))
    run = settings("2ap-aux", epochs=1, alpha=0.0)
    state = trained(run, TrainState(net, run))
    assert calls == []
    encoder = {name: weight for name, weight in state.network.state_dict().items() if not name.startswith("decoder")}
    alone = trained(settings("2ap", epochs=1)).network.state_dict()
    assert same(encoder, dict(alone))
