"""What a run asks of a network besides its forward pass, and a trial of it before anything is written.

A network may have `set_prior`, `set_std` and `calibrate`, which get statistics or batches of the training clips.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError, RemixbenchError
from remixbench.systems.building import ClipShape, EmbeddingShape, build_empty, build_network
from remixbench.systems.registry import SystemSpec, spec
from remixbench.training.config import TrainConfig, derived_seed
from remixbench.training.data import (
    AS_IT_IS,
    ClipTensors,
    InputArray,
    Standardisation,
    embedding_shape,
    free_bytes,
    require_embeddings,
)
from remixbench.training.device import Engine
from remixbench.training.run_files import CHECKPOINT, read_checkpoint, write_checkpoint
from remixbench.training.trainer import TrainState, third_party_errors, train_epoch


def check_resumable(folder: Path, digest: str, system: SystemSpec) -> None:
    """Refuse a third-party system whose checkpoint cannot be read, before much work is lost."""
    try:
        read_checkpoint(folder, digest)
    except InputError as error:
        (folder / CHECKPOINT).unlink()
        raise system.error(
            f"its checkpoint could not be read to resume from ({error});"
            " expected the optimizer and lr_scheduler of its configure_optimizers to keep plain numbers and tensors"
        ) from error


def clip_shape(dataset: Dataset, embedding: EmbeddingShape | None) -> ClipShape:
    """Return the shape of a data set's clips, for building a network."""
    recipe = dataset.recipe
    return ClipShape(
        len(dataset.classes), recipe.frames, recipe.features.n_mels, recipe.mix.samples, recipe.mix.sample_rate,
        recipe.frame_seconds, embedding,
    )  # fmt: skip


def first_network(dataset: Dataset, config: TrainConfig, embedding: EmbeddingShape | None) -> nn.Module:
    """Return the network of a run with its first weights, on the CPU."""
    return build_network(
        config.system, clip_shape(dataset, embedding), width=config.width, options=dict(config.options),
        seed=derived_seed(config.seed, "weights"),
    )  # fmt: skip


COPIES = 4
"""The least copies of the weights in a training: the weights, their gradients, and the two moments of Adam."""


def check_size(config: TrainConfig, shape: ClipShape, device: torch.device) -> None:
    """Refuse a bundled network whose weights do not fit into memory, before drawing them, which may take hours."""
    network = build_empty(config.system, shape, width=config.width, options=dict(config.options))
    weights = sum(parameter.numel() for parameter in network.parameters())
    for memory, copies in ((torch.device("cpu"), 1), (device, COPIES)):  # the first weights are drawn on the CPU
        need, free = 4.0 * weights * copies, free_bytes(memory)
        if need > free:
            raise InputError(
                f"system '{config.system}': {weights / 1e6:,.0f} million parameters at width {config.width:g} do not"
                f" fit into memory: {need / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB are free; give a smaller"
                " --width"
            )


def try_system(dataset: Dataset, config: TrainConfig, device: torch.device) -> None:
    """Build the network of a run, and try a third party's on two clips of noise with all that a run asks of it.

    This refuses a system that breaks the contract, or a bundled one too large for the `device` that it is trained on,
    before anything is written.
    """
    system, recipe, cpu = spec(config.system), dataset.recipe, torch.device("cpu")
    embedding = None
    if config.encoder is not None:
        embedding = embedding_shape(require_embeddings(dataset, config.snr, config.encoder))
    if system.bundled:
        check_size(config, clip_shape(dataset, embedding), device)
    network = first_network(dataset, config, embedding)
    if system.bundled:
        return
    shapes: list[tuple[int, ...]] = [(recipe.frames, recipe.features.n_mels)] if system.takes_logmel else []
    if system.inputs == "waveform":
        shapes.append((recipe.mix.samples,))
    if embedding is not None:
        shapes.append((embedding.frames, embedding.dimensions))
    generator = np.random.default_rng(0)
    inputs = [_noise(shape, generator) for shape in shapes]
    weak = np.arange(2)[:, None] == np.arange(len(dataset.classes)) % 2
    clips = ClipTensors(inputs, weak, np.arange(2), cpu)
    with torch.random.fork_rng(devices=()):
        tell_network(network, weak, inputs[0].standardisation, system)
        state = TrainState(network, config)
        try:
            train_epoch(state, config, Engine(cpu, "32"), clips, 1)
        except InputError:
            raise
        except RemixbenchError:  # noise may have no finite loss
            return
        state.update_best(0.0)
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(Path(folder), "", state.state_dict())
            check_resumable(Path(folder), "", system)
        with third_party_errors(system, "its calibrate fails"):
            calibrate_network(network, clips, config.batch_size)


def _noise(shape: tuple[int, ...], generator: np.random.Generator) -> InputArray:
    """Return two clips of noise: a waveform (samples,), or standardised frames (frames, bands)."""
    noise = generator.standard_normal((2, *shape), np.float32)
    if len(shape) == 1:
        return InputArray(0.1 * noise, AS_IT_IS)
    return InputArray(noise, Standardisation(np.zeros(shape[-1], np.float32), np.ones(shape[-1], np.float32)))


def tell_network(
    network: nn.Module, weak: NDArray[np.bool_], standardisation: Standardisation, system: SystemSpec
) -> None:
    """Call `set_prior` and `set_std` of a network that has them, before it is trained.

    `set_prior` gets the mean label of each class, kept half a clip away from 0 and 1, whose log odds are infinite;
    `set_std` gets the standard deviation of each band of the log-mel.
    """
    half = 0.5 / len(weak)
    prior = weak.mean(axis=0).clip(half, 1 - half).astype(np.float32)
    for name, values in (("set_prior", prior), ("set_std", standardisation.std)):
        hook: Callable[[Tensor], None] | None = getattr(network, name, None)
        if hook is not None:
            with third_party_errors(system, f"its {name} fails"):
                hook(torch.from_numpy(values.copy()))


CALIBRATION_CLIPS = 512
"""The most training clips that `calibrate` gets."""


def calibrate_network(network: nn.Module, train: ClipTensors, batch_size: int) -> None:
    """Call the network's `calibrate(batches)`, where it has one, with standardised log-mel of the training clips.

    It keeps its results in buffers, which are stored with the weights.
    """
    calibrate: Callable[[Iterator[Any]], None] | None = getattr(network, "calibrate", None)
    if calibrate is None:
        return
    network.eval()
    order = torch.linspace(0, len(train) - 1, min(len(train), CALIBRATION_CLIPS), device=train.index_device).long()
    batches = (train.batch(indices)[0] for indices in torch.split(order, batch_size))
    calibrate(inputs[0] if len(inputs) == 1 else inputs for inputs in batches)
