"""The released training: Adam, a rate that falls when a plateau is reached, the best epoch kept.

All that goes on from epoch to epoch is in a `State`, which can be written down and taken up again. The order
of the clips and the global random generator of an epoch follow from seed and epoch alone, so a training that
was interrupted ends with the same weights as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from remixbench.errors import RemixbenchError
from remixbench.progress import Advance
from remixbench.systems.output import Output
from remixbench.training.data import Clips
from remixbench.training.engine import Engine, exact_float32
from remixbench.training.evaluate import micro_average_precision, score_clips
from remixbench.training.losses import loss as loss_of
from remixbench.training.settings import RunSettings
from remixbench.training.team import ALONE, Team

PATIENCE = 3


@dataclass(frozen=True)
class Epoch:
    """One line of the history; an average precision is None where it was not looked at."""

    epoch: int
    loss: float
    validation_micro_ap: float | None
    test_micro_ap: float | None
    learning_rate: float
    seconds: float


HISTORY_COLUMNS = tuple(field.name for field in fields(Epoch))


class State:
    """A training in progress: network, optimizer, schedule, history, and the best epoch's weights so far."""

    def __init__(self, network: nn.Module, settings: RunSettings) -> None:
        self.network = network
        decoder = getattr(network, "decoder", None)
        if settings.alpha == 0 and isinstance(decoder, nn.Module):  # nothing trains it
            decoder.requires_grad_(False)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
        # without a clip to choose on, the training loss is what may stop falling
        mode: Literal["min", "max"] = "min" if settings.select == "last" else "max"
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, mode=mode, patience=PATIENCE)
        self.history: list[Epoch] = []
        self.best_epoch = 0
        self.best_value = -math.inf
        self.best_weights: dict[str, Tensor] = {}

    def keep(self, value: float) -> None:
        """Remember the weights as those of the best epoch."""
        self.best_epoch, self.best_value = len(self.history), value
        self.best_weights = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def to_dict(self) -> dict[str, Any]:
        """Return tensors, numbers, lists and dicts only, so that it can be read back without executing anything."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
            "best_weights": self.best_weights,
        }

    def take_up(self, saved: dict[str, Any]) -> None:
        """Continue from what `to_dict` returned."""
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.history = [Epoch(**epoch) for epoch in saved["history"]]
        self.best_epoch, self.best_value = saved["best_epoch"], saved["best_value"]
        device = next(self.network.parameters()).device
        self.best_weights = {name: tensor.to(device) for name, tensor in saved["best_weights"].items()}


def fit(
    state: State,
    settings: RunSettings,
    engine: Engine,
    train: Clips,
    selection: Clips | None,
    *,
    team: Team = ALONE,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    advance: Advance = lambda _: None,
) -> None:
    """Train until `settings.epochs` epochs are done; `on_epoch` is called after each, with the state up to
    date.

    Parameters
    ----------
    selection : clips on which the epoch is chosen; None where the last one is kept.

    Raises
    ------
    RemixbenchError
        If the loss is no longer a number.
    """
    devices = [engine.device] if engine.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), exact_float32():
        for number in range(len(state.history) + 1, settings.epochs + 1):
            start = time.perf_counter()
            torch.manual_seed(
                epoch_seed(settings.seed, number) + (team.rank << 53)
            )  # for systems that draw, by dropout for instance
            mean_loss = one_epoch(state, settings, engine, train, number, team=team, advance=advance)
            value = None
            if selection is not None:
                tags = score_clips(state.network, selection, engine, settings.batch_size, team)
                if not np.isfinite(tags).all():
                    raise _diverged(settings, number, math.nan)
                value = micro_average_precision(selection.weak, tags)
            rate = state.optimizer.param_groups[0]["lr"]
            state.schedule.step(mean_loss if value is None else value)
            validation, test = (None, value) if settings.select == "paper" else (value, None)
            epoch = Epoch(number, mean_loss, validation, test, rate, time.perf_counter() - start)
            state.history.append(epoch)
            if value is None or value > state.best_value:
                state.keep(-mean_loss if value is None else value)
            on_epoch(epoch)


def one_epoch(
    state: State,
    settings: RunSettings,
    engine: Engine,
    train: Clips,
    number: int,
    *,
    team: Team = ALONE,
    advance: Advance = lambda _: None,
) -> float:
    """Go through the training clips once; returns the mean loss.

    No loss is read back from the device before the end; where the clips are kept on it, one GPU never waits for the
    processor.
    """
    network, optimizer = state.network, state.optimizer
    network.train()
    total = torch.zeros((), dtype=torch.float64, device=engine.device)
    for places in batches(len(train), settings.batch_size, settings.seed, number, train.home):
        mine = team.share(places)
        x, targets = train.batch(mine)
        optimizer.zero_grad(set_to_none=True)
        with engine.autocast():
            output = network(x)
        loss = _part_of_loss(output, targets, x, settings.alpha, len(places))
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        team.add_gradients(network)
        optimizer.step()
        total += loss.detach() * len(places)
        advance(len(places))
    mean_loss = float(team.add(total)) / len(train)
    if not math.isfinite(mean_loss):
        raise _diverged(settings, number, mean_loss)
    return mean_loss


def _part_of_loss(output: Output, targets: Tensor, x: Tensor, alpha: float, batch: int) -> Tensor:
    """Return what these clips add to the mean loss over a batch of `batch` clips, of which others may have the rest."""
    if len(x) == 0:  # a mean over nothing is no number, yet every process must go back through its network
        parts = [output.clip_scores] + ([output.reconstruction] if alpha and output.reconstruction is not None else [])
        return torch.stack([part.sum() for part in parts]).sum()
    return loss_of(output, targets, x, alpha) * (len(x) / batch)


def _diverged(settings: RunSettings, number: int, loss: float) -> RemixbenchError:
    return RemixbenchError(
        f"{settings.label}: the loss is {loss} in epoch {number}; a lower --learning-rate than"
        f" {settings.learning_rate:g} may help"
    )


def batches(count: int, batch_size: int, seed: int, epoch: int, device: torch.device | None = None) -> Iterator[Tensor]:
    """Yield the places of all clips in the epoch's order, `batch_size` at a time; the last batch may be smaller.

    The order is drawn on the CPU, so that it is the same everywhere, and moved to the device in one go.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    yield from torch.split(torch.randperm(count, generator=generator).to(device), batch_size)


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of an epoch's order and draws; no two epochs share one, unless of runs of one seed."""
    return (seed << 20) + epoch
