"""What a network says of some clips, and how good that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from remixbench.systems.output import Output
from remixbench.training.data import Clips
from remixbench.training.engine import Engine
from remixbench.training.team import ALONE, Team

Scores = NDArray[np.float32]


def score_clips(network: nn.Module, clips: Clips, engine: Engine, batch_size: int, team: Team = ALONE) -> Scores:
    """Return clip scores (clips, classes) in [0, 1], in every process of the team."""
    tags = torch.zeros(clips.weak.shape, device=engine.device)
    with _evaluating(network):
        for places in _batches(clips, batch_size):
            mine = team.share(places)
            if len(mine):
                tags[mine] = _forward(network, clips, mine, engine).clip_scores.float()
    scores: Scores = team.add(tags).cpu().numpy().clip(0, 1)
    return scores


def score_frames(
    network: nn.Module,
    clips: Clips,
    engine: Engine,
    batch_size: int,
    keep: Literal["all", "highest"] = "all",
    on_maps: Callable[[NDArray[np.uint8]], None] | None = None,
) -> tuple[Scores, Scores]:
    """Return clip scores (clips, classes) and frame scores (clips, frames, classes), or of these only the
    `highest` of each clip and class (clips, classes); all in [0, 1].

    `on_maps` is given the maps of the classes that are in the clips, by clip and then class, some clips at a time:
    (pairs, frames, bands) in steps of 1/255. A system that has none must be asked without it (`has_maps`).
    """
    tags, frames = [], []
    with _evaluating(network):
        for places in _batches(clips, batch_size):
            output = _forward(network, clips, places, engine)
            frame_scores = output.frame_scores.float()
            if on_maps is not None and output.tf_maps is not None:
                present = torch.nonzero(clips.targets[places.to(engine.device)], as_tuple=True)
                steps = (output.tf_maps[present].float().clamp(0, 1) * 255).round()
                on_maps(steps.to(torch.uint8).cpu().numpy())
            tags.append(output.clip_scores.float().cpu().numpy())
            frames.append((frame_scores if keep == "all" else frame_scores.amax(dim=1)).cpu().numpy())
    return np.concatenate(tags).clip(0, 1), np.concatenate(frames).clip(0, 1)


def has_maps(network: nn.Module, clips: Clips, engine: Engine) -> bool:
    """Say whether a network gives time-frequency maps, by asking it for one clip."""
    with _evaluating(network):
        return _forward(network, clips, torch.zeros(1, dtype=torch.long), engine).tf_maps is not None


def micro_average_precision(weak: NDArray[np.bool_], tags: Scores) -> float:
    """Return the average precision of all (clip, class) pairs together: the paper's micro-P.

    0 where nothing is true.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(weak.reshape(-1), tags.reshape(-1))) if weak.any() else 0.0


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; the mode is put back afterwards."""
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        yield
    network.train(was_training)


def _batches(clips: Clips, batch_size: int) -> tuple[Tensor, ...]:
    return torch.split(torch.arange(len(clips), device=clips.home), batch_size)


def _forward(network: nn.Module, clips: Clips, places: Tensor, engine: Engine) -> Output:
    x, _ = clips.batch(places)
    with engine.autocast():
        output: Output = network(x)
    return output
