"""From the name of a system and the sizes of a data set to its network."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

from remixbench.errors import InputError, is_whole, one_line
from remixbench.systems.registry import (
    ENCODER,
    SIZES,
    Factory,
    OptionValue,
    SystemSpec,
    check_coverage,
    load_factory,
    resolve_options,
    spec,
)

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class EmbeddingShape:
    """The embeddings of a clip: their frames, their dimensions, and the distance of two frames in seconds."""

    frames: int
    dimensions: int
    frame_seconds: float


@dataclass(frozen=True)
class ClipShape:
    """The shape of a data set's clips, as networks need it.

    Attributes
    ----------
    classes, frames, n_mels : event classes, frames of a clip, mel bands.
    samples, sample_rate : of a clip; needed by systems that take the waveform.
    frame_seconds : distance of two frames of the log-mel, for systems that ask for it.
    embedding : of a clip's embeddings, for systems that take them.
    """

    classes: int
    frames: int
    n_mels: int
    samples: int | None = None
    sample_rate: int | None = None
    frame_seconds: float | None = None
    embedding: EmbeddingShape | None = None


def build_system(
    reference: str,
    *,
    classes: int,
    frames: int,
    n_mels: int,
    width: float = 1.0,
    options: Mapping[str, OptionValue] | None = None,
    seed: int = 0,
    samples: int | None = None,
    sample_rate: int | None = None,
    frame_seconds: float | None = None,
    embedding: EmbeddingShape | None = None,
) -> nn.Module:
    """Make a system with its first weights, on the CPU, in training mode.

    Parameters
    ----------
    reference : one of `list_systems()`, or `FILE.py:NAME`.
    width : factor on the number of channels of every layer (rounded, at least 4).
    options : named options, see `spec(reference).options`; the rest keep their defaults.
    seed : of the first weights; the global generator is left unchanged.
    classes, frames, n_mels, samples, sample_rate, frame_seconds, embedding : as in `ClipShape`.

    Returns
    -------
    A module whose forward maps standardised log-mel (batch, frames, n_mels), the waveform (batch, samples), or
    standardised embeddings (batch, embedding_frames, dimensions) to `Output`.

    Raises
    ------
    InputError
        For an unknown system or option, a size below 1, or a third-party system that breaks the contract.
    """
    shape = ClipShape(classes, frames, n_mels, samples, sample_rate, frame_seconds, embedding)
    return build_network(reference, shape, width=width, options=options, seed=seed)


def build_network(
    reference: str, shape: ClipShape, *, width: float, options: Mapping[str, OptionValue] | None, seed: int = 0
) -> nn.Module:
    """Make a system for clips of a shape; see `build_system`."""
    import torch

    system = spec(reference)
    factory = load_factory(system)
    arguments = _arguments(system, factory, shape, width, options)
    # layers draw their first weights from the global generator: seed it, restore it afterwards
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        try:
            network = factory(**arguments)
            initialise = getattr(network, "initialise", None)
            if system.bundled and initialise is not None:
                initialise(torch.Generator().manual_seed(seed))
        except (Exception, SystemExit) as error:
            if system.bundled and isinstance(error, TOO_LARGE):
                raise _too_large(reference, shape, width) from None
            raise InputError(f"system '{system.name}'{system.origin} could not be built: {one_line(error)}") from error
        if not system.bundled:
            _check_contract(system, network, shape)
    built: nn.Module = network.train()
    return built


def build_empty(reference: str, shape: ClipShape, *, width: float, options: Mapping[str, OptionValue]) -> nn.Module:
    """Make a system whose weights are still to be assigned, with `load_state_dict(..., assign=True)`.

    A bundled one is made on the meta device: it has shapes, but no values, and takes no memory until then, however
    large it is. Arguments and errors as in `build_system`.
    """
    import torch

    system = spec(reference)
    if not system.bundled:
        return build_network(reference, shape, width=width, options=options)
    factory = load_factory(system)
    arguments = _arguments(system, factory, shape, width, options)
    try:
        with torch.device("meta"):
            empty: nn.Module = factory(**arguments)
    except TOO_LARGE:
        raise _too_large(reference, shape, width) from None
    return empty


TOO_LARGE = (RuntimeError, MemoryError, TypeError, OverflowError)
"""Errors of torch for sizes that no tensor or machine can have."""


def _too_large(reference: str, shape: ClipShape, width: float) -> InputError:
    return InputError(
        f"system '{reference}': {shape.classes} classes, {shape.frames} × {shape.n_mels} frames × mel bands at width"
        f" {width:g} do not fit into memory; give a smaller --width"
    )


def frame_seconds_of(network: nn.Module, frame_seconds: float) -> float:
    """Return the distance in seconds of two frames of a network's frame scores.

    Parameters
    ----------
    frame_seconds : of the log-mel; a network without an attribute `frame_seconds` of its own has these frames.
    """
    return float(getattr(network, "frame_seconds", frame_seconds))


def _arguments(
    system: SystemSpec, factory: Factory, shape: ClipShape, width: float, options: Mapping[str, OptionValue] | None
) -> dict[str, object]:
    """Return what a factory takes, by name, of a shape, the width and its options."""
    option_values: dict[str, object] = dict(resolve_options(system.reference, options))
    sizes = {name: value for name, value in vars(shape).items() if name != "embedding" and value is not None}
    for name in ("classes", "frames", "n_mels"):
        size = sizes.get(name)
        if not is_whole(size) or size < 1:
            raise InputError(f"system '{system.name}': {name} is {size}, expected a whole number from 1 up")
    if not isinstance(width, Real) or not 0 < width < math.inf:
        raise InputError(f"system '{system.name}': width is {width}, expected a number above 0, such as 0.5")
    if system.takes_embeddings:
        if shape.embedding is None:
            raise system.error("takes embeddings; give build_system their shape (embedding)")
        option_values.pop(ENCODER)  # it gets the embeddings
        option_values["dimensions"] = shape.embedding.dimensions
        option_values["embedding_frames"] = shape.embedding.frames
        option_values["embedding_seconds"] = shape.embedding.frame_seconds
    arguments = {"width": width, **sizes, **option_values}
    parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return arguments
    for parameter in parameters:
        if parameter.name not in arguments and parameter.default is parameter.empty:
            raise system.error(
                f"its parameter '{parameter.name}' is unknown; it may take"
                f" {', '.join(SIZES)} and the options that it declares"
            )
    names = {parameter.name for parameter in parameters}
    if undeclared := [name for name in option_values if name in system.options and name not in names]:
        raise system.error(f"it declares the option '{undeclared[0]}', but has no parameter of that name")
    return {name: value for name, value in arguments.items() if name in names}


def _check_contract(system: SystemSpec, network: object, shape: ClipShape) -> None:
    """Run a third-party network once, on noise, and check what it returns."""
    import torch

    samples, sample_rate, embedding = shape.samples, shape.sample_rate, shape.embedding
    if not isinstance(network, torch.nn.Module):
        raise system.error(f"could not be built: it made a {type(network).__name__}, not a torch.nn.Module")
    shapes: list[tuple[int, ...]] = [(2, shape.frames, shape.n_mels)] if system.takes_logmel else []
    if system.inputs == "waveform":
        if samples is None:
            raise InputError(f"system '{system.name}' takes the waveform; give build_system samples and sample_rate")
        shapes.append((2, samples))
    if embedding is not None and system.takes_embeddings:
        shapes.append((2, embedding.frames, embedding.dimensions))
    step = getattr(network, "frame_seconds", None)
    if step is not None and not (isinstance(step, int | float) and 0 < step < math.inf):
        raise system.error(f"its frame_seconds is {step!r}, expected seconds above 0")
    network.eval()
    try:
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            output = network(*(torch.randn(size, generator=generator) for size in shapes))
    except (Exception, SystemExit) as error:
        shape_text = " and ".join(map(str, shapes))
        raise system.error(f"its forward fails on input {shape_text} ({one_line(error)})") from error
    frames = _check_output(output, system, shape, shapes[0], any_frame_rate=step is not None)
    if step is not None and samples is not None and sample_rate is not None:
        check_coverage(system.error, "frame scores", frames, step, samples / sample_rate)


def _check_output(
    output: object, system: SystemSpec, shape: ClipShape, reconstruction: tuple[int, ...], *, any_frame_rate: bool
) -> int:
    """Refuse what is not an `Output` for two clips, of the right shapes and ranges; returns the number of frame scores.

    With `any_frame_rate`, frame scores may have any number of frames; `reconstruction` is the shape of a decoder's.
    """
    import torch

    from remixbench.systems.output import SCORES, Output

    if not isinstance(output, Output):
        raise system.error(f"its forward returns {type(output).__name__}, expected remixbench.systems.Output")
    frames, size = shape.frames, tuple(getattr(output.frame_scores, "shape", ()))
    if any_frame_rate and len(size) == 3:
        frames = max(1, size[1])
    maps = (2, shape.classes, shape.frames, shape.n_mels)
    expected: dict[str, tuple[int, ...]] = {
        "clip_scores": (2, shape.classes),
        "frame_scores": (2, frames, shape.classes),
        "tf_maps": maps,
        "reconstruction": reconstruction,
        "frequency_attention": maps,
        "time_attention": maps[:3],
        "raw_frame_scores": (2, frames, shape.classes),
    }
    for field, size in expected.items():
        value = getattr(output, field)
        if value is None and field not in ("clip_scores", "frame_scores"):
            continue
        if not isinstance(value, torch.Tensor):
            raise system.error(f"its {field} are of type {type(value).__name__}, expected a tensor of shape {size}")
        if value.shape != size:
            remedy = "; a system of another frame rate sets `frame_seconds`" if field == "frame_scores" else ""
            raise system.error(f"its {field} are {tuple(value.shape)}, expected {size}{remedy}")
        if field in SCORES:
            low, high = float(value.min()), float(value.max())
            if not (low >= 0 and high <= 1):  # false for NaN, too
                remedy = "" if math.isnan(low + high) else "; apply a sigmoid"
                raise system.error(f"its {field} range from {low:g} to {high:g}, expected values in [0, 1]{remedy}")
    return frames
