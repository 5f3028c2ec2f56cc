"""The training loop: loss, optimizer, learning rate schedule, augmentation, choice of the epoch, state for resuming.

A `TrainState` holds everything that carries over from epoch to epoch; it can be saved and loaded. Seed and epoch alone
determine the order of the clips, the augmentations and the global random generator, so an interrupted training ends
with the same weights as an uninterrupted one. The defaults are the released training: Adam, a learning rate that falls
on a plateau, the best epoch kept.

A network may bring `configure_optimizers()` and `training_step(x, y)`, as in Lightning.
"""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import get_ema_multi_avg_fn

from remixbench.errors import InputError, RemixbenchError, is_out_of_memory, one_line
from remixbench.progress import Advance
from remixbench.systems.models import float32
from remixbench.systems.output import Output, cross_entropy
from remixbench.systems.registry import SystemSpec, spec
from remixbench.training.augment import augment
from remixbench.training.config import TrainConfig, derived_seed
from remixbench.training.data import ClipTensors
from remixbench.training.device import SINGLE_PROCESS, DistContext, Engine, exact_float32
from remixbench.training.evaluate import micro_average_precision, score_clips
from remixbench.training.run_files import Epoch

PATIENCE = 3
"""Epochs without a better score that the schedule `plateau` waits before the learning rate falls to a tenth."""
WARM_UP = 0.1
"""Part of the steps in which the schedule `cosine` rises from 0."""
COMPILER_GUARDED = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")
"""Methods of an optimizer that torch guards from torch.compile."""


class WeightAverage:
    """Exponential moving average of a network's weights; running statistics of norms are copied.

    The decay rises with the steps as (1 + n) / (10 + n) up to its final value, so that short trainings do not keep
    their first weights (as in TensorFlow's ExponentialMovingAverage). torch's own `AveragedModel` counts the steps in a
    tensor that it reads back from the GPU after each.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the weights of `network` after its optimizer step number `step`, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, weights = list(self.network.parameters()), list(network.parameters())
        get_ema_multi_avg_fn(decay)(averages, weights, step)  # type: ignore[no-untyped-call]  # torch gives it no types
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)


class TrainState:
    """A training in progress: network, optimizer, schedule, history, and the best epoch's weights so far.

    `steps_per_epoch` decides how many epochs are trained (`min_steps`), and the schedule `cosine`.

    Raises
    ------
    InputError
        If a third-party network has nothing to train, or its `configure_optimizers` or `training_step` is not as
        docs/systems.md has them.
    """

    def __init__(self, network: nn.Module, config: TrainConfig, steps_per_epoch: int = 1) -> None:
        self.network = network
        self.system = spec(config.system)
        if next(network.parameters(), None) is None:
            raise self.system.error("it has no parameters to train")
        self.training_step = _training_step(network, self.system)
        self.paired = bool(getattr(network, "paired", False))
        decoder = getattr(network, "decoder", None)
        # a third-party system may use its `decoder` for anything
        if self.system.bundled and config.alpha == 0 and isinstance(decoder, nn.Module) and self.training_step is None:
            decoder.requires_grad_(False)  # nothing trains it, so it need not be run
        self.optimizer, self.schedule, self.schedule_by_step = _optimization(
            network, self.system, config, steps_per_epoch
        )
        self.epochs = config.epochs_of(steps_per_epoch)
        self.learning_rate = 0.0
        self.average = WeightAverage(network, config.ema) if config.ema else None
        self.steps = 0
        self.history: list[Epoch] = []
        self.best_epoch = 0
        self.best_value = -math.inf
        self.best_weights: dict[str, Tensor] = {}

    @property
    def evaluated(self) -> nn.Module:
        """The network whose scores count: with the moving average of the weights, where there is one."""
        return self.network if self.average is None else self.average.network

    def update_best(self, value: float) -> None:
        """Keep the weights as those of the best epoch."""
        self.best_epoch, self.best_value = len(self.history), value
        self.best_weights = {name: tensor.detach().clone() for name, tensor in self.evaluated.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return tensors, numbers, lists and dicts only, so that loading it executes nothing."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "average": None if self.average is None else self.average.network.state_dict(),
            "steps": self.steps,
            "history": [asdict(epoch) for epoch in self.history],
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Resume from what `state_dict` returned."""
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(saved["schedule"])
        if self.average is not None:
            self.average.network.load_state_dict(saved["average"])
        self.steps = saved["steps"]
        self.history = [Epoch(**epoch) for epoch in saved["history"]]
        self.best_epoch, self.best_value = saved["best_epoch"], saved["best_value"]
        device = next(self.network.parameters()).device
        self.best_weights = {name: tensor.to(device) for name, tensor in saved["best_weights"].items()}


class DivergenceError(RemixbenchError):
    """The loss became NaN or infinite."""


def fit(
    state: TrainState,
    config: TrainConfig,
    engine: Engine,
    train: ClipTensors,
    selection: ClipTensors,
    *,
    dist: DistContext = SINGLE_PROCESS,
    mixed: Callable[[int], ClipTensors] | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    advance: Advance = lambda _: None,
) -> None:
    """Train for `state.epochs` epochs, or until early stopping; `on_epoch` is called after each, with the state up to
    date.

    Parameters
    ----------
    selection : clips whose score drives the schedule, early stopping and, unless `config.select` is `last`, the
        choice of the epoch.
    mixed : returns the training clips of an epoch after the first, by its number, in place of `train`.

    Raises
    ------
    DivergenceError
        If the loss becomes NaN or infinite.
    """
    devices = [engine.device] if engine.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), exact_float32():
        for number in range(len(state.history) + 1, state.epochs + 1):
            if _stops_early(state, config):
                return
            start = time.perf_counter()
            # dropout and other random layers
            torch.manual_seed(derived_seed(config.seed, "dropout", number, dist.rank))
            clips = train if mixed is None or number == 1 else mixed(number)
            mean_loss = train_epoch(state, config, engine, clips, number, dist=dist, advance=advance)
            tags = score_clips(state.evaluated, selection, engine, config.batch_size, dist)
            if not np.isfinite(tags).all():
                raise _diverged(config, number, math.nan)
            value = micro_average_precision(selection.weak, tags)
            if isinstance(state.schedule, ReduceLROnPlateau):
                state.schedule.step(value)
            elif state.schedule is not None and not state.schedule_by_step:
                state.schedule.step()
            validation, test = (None, value) if config.select == "paper" else (value, None)
            epoch = Epoch(number, mean_loss, validation, test, state.learning_rate, time.perf_counter() - start)
            state.history.append(epoch)
            if config.select == "last" or value > state.best_value:
                state.update_best(value)
            on_epoch(epoch)


def train_epoch(
    state: TrainState,
    config: TrainConfig,
    engine: Engine,
    train: ClipTensors,
    number: int,
    *,
    dist: DistContext = SINGLE_PROCESS,
    advance: Advance = lambda _: None,
) -> float:
    """Train on all clips once; returns the mean loss.

    No loss is read back from the device before the end; where the clips are kept on it, the processor never waits for
    the GPU.
    """
    network, optimizer = state.network, state.optimizer
    network.train()
    # Apple's GPUs have no float64
    total = torch.zeros((), dtype=torch.float32 if engine.device.type == "mps" else torch.float64, device=engine.device)
    for step, indices in enumerate(batches(len(train), config.batch_size, config.seed, number, train.index_device)):
        inputs, targets = _augmented(train, config, indices, number, step, dist, state.paired)
        optimizer.zero_grad(set_to_none=True)
        with third_party_errors(state.system, "its training step fails"):
            loss = _loss(state, config, engine, inputs, targets, len(indices), train, indices)
            loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        dist.all_reduce_gradients(network)
        if config.gradient_clip:
            nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip)
        state.learning_rate = float(optimizer.param_groups[0]["lr"])
        with third_party_errors(state.system, "its training step fails"):
            optimizer.step()
        state.steps += 1
        if state.average is not None:
            state.average.update(network, state.steps)
        if state.schedule is not None and state.schedule_by_step:
            state.schedule.step()
        total += loss.detach() * len(indices)
        advance(len(indices))
    mean_loss = float(dist.all_reduce_sum(total)) / len(train)
    if not math.isfinite(mean_loss):
        raise _diverged(config, number, mean_loss)
    return mean_loss


def _augmented(
    train: ClipTensors, config: TrainConfig, indices: Tensor, epoch: int, step: int, dist: DistContext, paired: bool
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return inputs and targets of this process's clips of a batch, augmented as in the whole batch."""
    if not config.augment:
        return train.batch(dist.shard_batch(indices, paired))
    inputs, y = train.batch(indices)
    inputs, y = augment(inputs, y, train.std, config.augment, lambda name: derived_seed(config.seed, name, epoch, step))
    if dist.world_size == 1:
        return inputs, y
    shard = dist.shard_batch(torch.arange(len(y), device=y.device), paired)
    return tuple(x[shard] for x in inputs), y[shard]


@contextmanager
def third_party_errors(system: SystemSpec, what: str) -> Iterator[None]:
    """Turn errors of a third-party system into one line that names it and says `what`."""
    try:
        yield
    except RemixbenchError:
        raise
    except Exception as error:
        if system.bundled or is_out_of_memory(error):
            raise
        raise _breaks(what, system, error) from error


def _breaks(what: str, system: SystemSpec, error: Exception) -> InputError:
    return system.error(f"{what} ({one_line(error)}); `remixbench -v ...` shows where")


def _training_step(network: nn.Module, system: SystemSpec) -> Callable[..., Any] | None:
    """Return the network's own training step, if it has one."""
    step: Callable[..., Any] | None = getattr(network, "training_step", None)
    if step is not None and "batch_idx" in inspect.signature(step).parameters:
        raise system.error(
            "its training_step takes a batch and batch_idx; expected training_step(x, y) with inputs and targets"
        )
    return step


def _loss(
    state: TrainState,
    config: TrainConfig,
    engine: Engine,
    inputs: tuple[Tensor, ...],
    targets: Tensor,
    batch: int,
    train: ClipTensors,
    indices: Tensor,
) -> Tensor:
    """Return what the clips of this process add to the mean loss over a batch of `batch` clips."""
    if state.training_step is None:
        with engine.autocast():
            output = state.network(*inputs)
        if not isinstance(output, Output):
            raise state.system.error(
                f"in training mode its forward returns {type(output).__name__}, expected remixbench.systems.Output"
            )
        return shard_of_loss(output, targets, inputs[0], config.alpha, batch)
    part = len(targets) / batch
    if part == 0:  # fewer clips than processes: a loss of no clips may be NaN, so one clip is taken, with weight 0
        inputs, targets = train.batch(indices[:1])
    with engine.autocast():
        loss = state.training_step(*inputs, targets)
    if not (isinstance(loss, Tensor) and loss.dim() == 0 and loss.requires_grad):
        returned = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(
            f"system '{state.system.name}': its training_step returns {returned}, expected the mean loss, a scalar"
            " tensor with a gradient"
        )
    return loss.float() * part


@cache
def _eager(kind: type[torch.optim.Adam]) -> type[torch.optim.Adam]:
    """Return an optimizer like `kind` without the guards that keep torch.compile out of its methods.

    The first call of a guarded method imports the compiler, which takes longer than torch itself.
    """
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in COMPILER_GUARDED}
    return type(kind.__name__, (kind,), methods | {"step": torch.no_grad()(methods["step"])})


def _optimization(
    network: nn.Module, system: SystemSpec, config: TrainConfig, steps_per_epoch: int
) -> tuple[torch.optim.Optimizer, LRScheduler | ReduceLROnPlateau | None, bool]:
    """Return optimizer, schedule, and whether the schedule counts steps rather than epochs."""
    configure = getattr(network, "configure_optimizers", None)
    if configure is not None:
        try:
            configured = configure()
        except Exception as error:
            raise _breaks("its configure_optimizers fails", system, error) from error
        return _configured(configured, system)
    parameters: Any = network.parameters()
    if config.weight_decay:
        named = [p for p in network.parameters() if p.requires_grad]
        parameters = [
            {"params": [p for p in named if p.dim() > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in named if p.dim() <= 1], "weight_decay": 0.0},
        ]
    kind = _eager(torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam)
    fused = next(network.parameters()).device.type in ("cpu", "cuda")
    optimizer = kind(parameters, lr=config.learning_rate, weight_decay=0.0, fused=fused)
    if config.schedule == "plateau":
        return optimizer, ReduceLROnPlateau(optimizer, mode="max", patience=PATIENCE), False
    if config.schedule == "constant":
        return optimizer, None, False
    total = config.epochs_of(steps_per_epoch) * steps_per_epoch
    return optimizer, LambdaLR(optimizer, lambda step: cosine_factor(step, total)), True


def cosine_factor(step: int, total: int) -> float:
    """Return the learning rate of step `step` (from 0) of `total`, relative to the largest: linear warm-up, then cosine
    (Loshchilov and Hutter 2017).
    """
    warm_up = max(1, round(WARM_UP * total))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


def _configured(
    configured: Any, system: SystemSpec
) -> tuple[torch.optim.Optimizer, LRScheduler | ReduceLROnPlateau | None, bool]:
    """Return optimizer and schedule from what `configure_optimizers` returned: an optimizer, or a dict of both."""
    optimizer, schedule = configured, None
    if isinstance(configured, dict):
        optimizer, schedule = configured.get("optimizer"), configured.get("lr_scheduler")
    interval, frequency, monitor = "epoch", 1, None
    if isinstance(schedule, dict):
        interval, frequency = schedule.get("interval", "epoch"), schedule.get("frequency", 1)
        monitor, schedule = schedule.get("monitor"), schedule.get("scheduler")
    fits = schedule is None or isinstance(schedule, LRScheduler | ReduceLROnPlateau)
    if not (isinstance(optimizer, torch.optim.Optimizer) and fits and interval in ("epoch", "step")):
        raise system.error(
            f"its configure_optimizers returns {type(configured).__name__} of another"
            " form; expected an optimizer, or {'optimizer': ..., 'lr_scheduler': ...}"
        )
    downwards = isinstance(schedule, ReduceLROnPlateau) and (schedule.mode != "max" or interval == "step")
    if frequency != 1 or monitor is not None or downwards:
        raise system.error(
            "the lr_scheduler of its configure_optimizers is stepped after"
            " every epoch or step, a ReduceLROnPlateau with the validation micro-AP after every epoch; leave monitor"
            " and frequency out, and make a ReduceLROnPlateau with mode='max'"
        )
    return optimizer, schedule, interval == "step"


def _stops_early(state: TrainState, config: TrainConfig) -> bool:
    """Say whether too many epochs have passed without a better score.

    Only the history counts, so that a resumed run stops where an uninterrupted one does.
    """
    if not config.early_stopping:
        return False
    values = [_value(epoch) for epoch in state.history]
    return len(values) - 1 - (values.index(max(values)) if values else 0) >= config.early_stopping


def _value(epoch: Epoch) -> float:
    score = epoch.test_micro_ap if epoch.validation_micro_ap is None else epoch.validation_micro_ap
    assert score is not None  # every epoch is scored on one of them
    return score


def _diverged(config: TrainConfig, number: int, loss: float) -> DivergenceError:
    return DivergenceError(
        f"the loss is {loss} in epoch {number}; a lower --learning-rate than {config.learning_rate:g} may help"
    )


def batches(count: int, batch_size: int, seed: int, epoch: int, device: torch.device | None = None) -> Iterator[Tensor]:
    """Yield the indices of all clips in the epoch's order, `batch_size` at a time; the last batch may be smaller.

    The order is drawn on the CPU, so that it is the same everywhere, and moved to the device at once.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    yield from torch.split(torch.randperm(count, generator=generator).to(device), batch_size)


def loss(output: Output, weak_targets: Tensor, standardised_input: Tensor, alpha: float) -> Tensor:
    """Mean binary cross-entropy of the clip scores plus alpha times the reconstruction's mean squared error.

    Parameters
    ----------
    output : what the system returned.
    weak_targets : (batch, classes), 1 where the class is in the clip, else 0.
    standardised_input : (batch, frames, n_mels), the input, which the decoder has to reproduce.
    alpha : weight of the reconstruction, 0 or more; at 0 the decoder gets no gradient.

    Returns
    -------
    A scalar, float32.

    Raises
    ------
    InputError
        If alpha is not 0 and the system reconstructs nothing.
    """
    total = cross_entropy(output.clip_scores, weak_targets)
    if alpha:
        if output.reconstruction is None:
            raise InputError(f"alpha is {alpha:g}, but this system has no decoder; use alpha 0 or an -aux system")
        with float32(output.reconstruction):
            total = total + alpha * F.mse_loss(output.reconstruction.float(), standardised_input.float())
    return total


def shard_of_loss(output: Output, weak_targets: Tensor, x: Tensor, alpha: float, batch: int) -> Tensor:
    """Return what these clips add to the mean loss over a batch of `batch` clips; other processes may have the rest."""
    if len(x) == 0:  # a mean over nothing is NaN, yet every process must go back through its network
        parts = [output.clip_scores] + ([output.reconstruction] if alpha and output.reconstruction is not None else [])
        return torch.stack([part.sum() for part in parts]).sum()
    return loss(output, weak_targets, x, alpha) * (len(x) / batch)
