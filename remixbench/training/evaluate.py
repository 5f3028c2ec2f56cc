"""Scores of a data set's clips by a network, and thresholds per class that turn them into decisions.

Scores serve the choice of the epoch, the thresholds and a run's predictions. Thresholds are fitted to the weak labels
of the validation clips (or else of the training clips). A class with few positives says little about its own threshold,
so thresholds are shrunk towards that of all classes together, and none is lower than `FLOOR`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from remixbench.scoring.tf_masks import KONG_FIRST_STEP as FIRST_STEP
from remixbench.scoring.types import MAP_STEPS, MASK_STEPS
from remixbench.systems.crnn_sep import without_masks
from remixbench.systems.models import without_decoder
from remixbench.systems.output import Output
from remixbench.training.data import ClipTensors
from remixbench.training.device import SINGLE_PROCESS, DistContext, Engine

Scores = NDArray[np.float32]


def score_clips(
    network: nn.Module, clips: ClipTensors, engine: Engine, batch_size: int, dist: DistContext = SINGLE_PROCESS
) -> Scores:
    """Return clip scores (clips, classes) in [0, 1], in every process."""
    tags = torch.zeros(clips.weak.shape, device=engine.device)
    with evaluating(network, maps=False):
        for indices in _batches(clips, batch_size):
            shard = dist.shard_batch(indices)
            if len(shard):
                tags[shard] = _forward(network, clips, shard, engine).clip_scores.float()
    scores: Scores = dist.all_reduce_sum(tags).cpu().numpy().clip(0, 1)
    return scores


def score_frames(
    network: nn.Module,
    clips: ClipTensors,
    engine: Engine,
    batch_size: int,
    keep: Literal["all", "highest"] = "all",
    on_maps: Callable[[NDArray[np.uint16], NDArray[np.int64]], None] | None = None,
) -> tuple[Scores, Scores]:
    """Return clip scores (clips, classes) and frame scores (clips, frames, classes), or only the `highest` frame score
    per clip and class (clips, classes); all in [0, 1].

    `on_maps` gets, a few clips at a time, the maps of the classes in the clips, by clip and then class, (pairs, frames,
    n_mels) in steps of 1/65535, and how many bins of the map of every class reach the threshold of Kong et al., (clips,
    classes). Leave it out for a system without maps (`has_maps`).
    """
    tags, frames = [], []
    with evaluating(network, maps=on_maps is not None):
        for indices in _batches(clips, batch_size):
            output = _forward(network, clips, indices, engine)
            frame_scores = output.frame_scores.float()
            if on_maps is not None and output.tf_maps is not None:
                present = torch.nonzero(clips.targets[indices.to(engine.device)], as_tuple=True)
                maps = output.tf_maps.float().clamp(0, 1)
                active_bins = ((maps * MASK_STEPS).round() >= FIRST_STEP).sum(dim=(2, 3))
                steps = (maps[present] * MAP_STEPS).round().to(torch.int32)  # torch has few operations on uint16
                on_maps(steps.cpu().numpy().astype(np.uint16), active_bins.cpu().numpy())
            tags.append(output.clip_scores.float().cpu().numpy())
            frames.append((frame_scores if keep == "all" else frame_scores.amax(dim=1)).cpu().numpy())
    return np.concatenate(tags).clip(0, 1), np.concatenate(frames).clip(0, 1)


def has_maps(network: nn.Module, clips: ClipTensors, engine: Engine) -> bool:
    """Say whether a network gives time-frequency maps, by a forward pass of one clip."""
    with evaluating(network):
        return _forward(network, clips, torch.zeros(1, dtype=torch.long), engine).tf_maps is not None


def micro_average_precision(weak: NDArray[np.bool_], tags: Scores) -> float:
    """Return the average precision of all (clip, class) pairs together: the paper's micro-P.

    0 where nothing is true. Equal to scikit-learn's to the last bit, so that the same epoch is best; importing
    scikit-learn takes almost as long as importing torch.
    """
    if not weak.any():
        return 0.0
    order = np.argsort(-tags, axis=None, kind="stable")
    scores, true = tags.reshape(-1)[order], weak.reshape(-1)[order]
    ranks = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # the last of each distinct score
    hits = np.cumsum(true)[ranks].astype(np.float64)
    recall, precision = np.append(hits[::-1] / hits[-1], 0.0), (hits / (ranks + 1))[::-1]
    return max(0.0, -float(np.sum(np.diff(recall) * precision)))


@contextmanager
def evaluating(network: nn.Module, *, reconstruct: bool = False, maps: bool = True) -> Iterator[None]:
    """Switch to evaluation mode without gradients; the mode is restored afterwards, even after an error.

    Decoders that scores do not depend on only run where they are needed: that of a published system with `reconstruct`,
    that of the masks of `crnn-sep` with `maps`.
    """
    decoder = nullcontext() if reconstruct else without_decoder(network)
    masks = nullcontext() if maps else without_masks(network)
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode(), decoder, masks:
            yield
    finally:
        network.train(was_training)


def _batches(clips: ClipTensors, batch_size: int) -> tuple[Tensor, ...]:
    return torch.split(torch.arange(len(clips), device=clips.index_device), batch_size)


def _forward(network: nn.Module, clips: ClipTensors, indices: Tensor, engine: Engine) -> Output:
    inputs, _ = clips.batch(indices)
    with engine.autocast():
        output: Output = network(*inputs)
    return output


PRIOR = 5.0
"""Weight of the threshold of all classes together, in positives of the class."""
FEW_CLIPS = 100
"""Thresholds from fewer clips are rough."""
FLOOR = 0.01
"""The lowest threshold; a lower one would depend on the order of scores near 0."""


def fit_thresholds(weak: NDArray[np.bool_], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a threshold for each class, at which the F1 against the weak labels is high.

    The best threshold lies halfway between the lowest accepted score and the next one below. In logits, that of the
    class is averaged with that of all classes together, weighted by the number of its positives and by `PRIOR`. A class
    that is in no clip, or in all, or whose scores are all 0, gets the threshold of all classes together.

    Parameters
    ----------
    weak, scores : (clips, classes)
    """
    together = _best(weak.reshape(-1), scores.reshape(-1))
    thresholds = np.full(weak.shape[1], together)
    for k in range(weak.shape[1]):
        labels, positives = weak[:, k], int(weak[:, k].sum())
        if 0 < positives < len(labels) and (scores[:, k] > 0).any():
            class_logit = _logit(_best(labels, scores[:, k]))
            thresholds[k] = _sigmoid((positives * class_logit + PRIOR * _logit(together)) / (positives + PRIOR))
    fitted: NDArray[np.float32] = np.maximum(thresholds, FLOOR).astype(np.float32)
    return fitted


def _best(weak: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    """Return the threshold of the highest F1; a score of 0 is never accepted."""
    if not weak.any() or not (scores > 0).any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order].astype(np.float64), np.cumsum(weak[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + hits[-1])
    last_of_its_score = np.append(falling[:-1] != falling[1:], True)
    best = int(np.where(last_of_its_score & (falling > 0), f1, -1).argmax())
    below = falling[best + 1] if best + 1 < len(falling) else 0.0
    return float((falling[best] + below) / 2)


def _logit(score: float) -> float:
    clipped = min(max(score, 1e-9), 1 - 1e-9)
    return float(np.log(clipped / (1 - clipped)))


def _sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def describe_thresholds(
    tags: NDArray[np.float32], frames: NDArray[np.float32], clips: int | None = None, origin: str | None = None
) -> str:
    """Return the range of the thresholds of clip and frame scores as text, and the number of clips they come from."""
    ranges = [
        f"{name} scores {values.min():.3f} to {values.max():.3f}"
        for name, values in (("clip", tags), ("frame", frames))
    ]
    source = "" if clips is None else f", from {clips} {origin}"
    rough = "; too few for precise thresholds" if clips is not None and clips < FEW_CLIPS else ""
    return f"thresholds per class: {', '.join(ranges)}{source}{rough}"
