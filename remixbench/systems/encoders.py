"""Frozen pretrained encoders: what one is, how it is named, and how it is loaded and checked.

An encoder is a callable that maps waveforms (batch, samples) to embeddings (batch, frames, dimensions), with the
attributes of `Encoder`. A reference names one:

* a bundled encoder, such as `aisfx`;
* an entry point of the group `remixbench.encoders` of an installed package,

      [project.entry-points."remixbench.encoders"]
      my-encoder = "my_package:MyEncoder"

* a class, function or object in a file, `my_file.py:MyEncoder`;
* a name given to `register_encoder`.

A class, and a function without the attributes of an encoder, is called to make the encoder. `@FILE` after the
reference gives it the file of its weights: `yamnet@yamnet.tflite`. docs/encoders.md is the contract for users.

Imports no torch, so that names can be listed at once.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from remixbench.errors import InputError, RemixbenchError, is_out_of_memory, one_line, unknown
from remixbench.files import check_short_name, file_sha256, sha256
from remixbench.schemas import first_problem
from remixbench.systems.registry import (
    check_coverage,
    check_registration,
    entry_points_of,
    is_file_reference,
    load_entry_point,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

GROUP = "remixbench.encoders"
BUNDLED = {"yamnet": "remixbench.systems.yamnet:YamNet", "aisfx": "remixbench.systems.aisfx:AiSfx"}
REQUIRED = ("sample_rate", "frame_seconds", "dimensions", "pretrained_on")
"""The attributes that every encoder has."""
REPEATABLE = 1e-3
"""The largest difference between the embeddings of a waveform in two calls, relative to the largest value."""
_REFERENCE = re.compile(r"(.+\.py:[^@:/]+|.+?\.py|[^@]+)(?:@(.*))?", re.DOTALL)
"""What names an encoder, and the file of its weights; either path may hold an '@' itself."""
DEPTH = 3
"""How deep weights are looked for: in an encoder's attributes, in theirs, and in what these hold."""

Corpus = Annotated[str, Field(max_length=200, pattern=r"\S"), AfterValidator(one_line)]
"""Name of a data set."""
Corpora = Annotated[
    tuple[Corpus, ...],
    Field(max_length=50),
    BeforeValidator(lambda names: tuple(names) if type(names) is list else names),
]
"""A list or tuple; a set has another order in every process."""
Text = Annotated[str, BeforeValidator(lambda text: one_line(str(text or "")))]

_registered: dict[str, Any] = {}


class Encoder(Protocol):
    """What an encoder is.

    Attributes
    ----------
    sample_rate : samples per second that it takes; remixbench resamples.
    frame_seconds : distance of two frames; frame i stands for the time from i · `frame_seconds` on.
    dimensions : of an embedding.
    pretrained_on : names of the data sets that it was trained on; empty for an untrained one.

    `description`, `citation` and `licence` (text) are optional.
    """

    sample_rate: int
    frame_seconds: float
    dimensions: int
    pretrained_on: Sequence[str]

    def __call__(self, waveforms: Tensor) -> Tensor:
        """Map float32 waveforms (batch, samples) in [-1, 1] to embeddings (batch, frames, dimensions)."""


class _Attributes(BaseModel):
    """The attributes of an encoder, with the limits of what a record of a score holds."""

    model_config = ConfigDict(strict=True)

    sample_rate: Annotated[int, Field(ge=1000, le=768_000)]
    frame_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    dimensions: Annotated[int, Field(ge=1, le=65_536)]
    pretrained_on: Corpora
    parameter_count: Annotated[int, Field(ge=0, le=10**15)] | None = None
    description: Text = ""
    citation: Text = ""
    licence: Text = ""


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder that was loaded: its weights frozen, its description read, its code and weights digested.

    Attributes
    ----------
    name : short name, as folders and tables have it.
    reference : what `load_encoder` finds it by, with absolute paths.
    digest : SHA-256 over code and weights; two encoders of one digest give the same embeddings.
    call : the encoder itself.
    parameters : number of its weights.
    modules : the torch modules that it consists of.
    """

    name: str
    reference: str
    digest: str
    sample_rate: int
    frame_seconds: float
    dimensions: int
    pretrained_on: tuple[str, ...]
    description: str
    citation: str
    licence: str
    call: Callable[[Tensor], Tensor]
    parameters: int
    modules: tuple[torch.nn.Module, ...]

    @property
    def parallel(self) -> bool:
        """Whether several threads may call it at once: torch modules in evaluation mode keep nothing of a call."""
        return bool(getattr(self.call, "thread_safe", bool(self.modules)))

    def error(self, problem: str) -> InputError:
        """Make the error for something that is wrong with the encoder."""
        return InputError(f"encoder '{self.name}': {problem}")

    def to(self, device: torch.device) -> None:
        """Move the encoder's modules to a device."""
        for module in self.modules:
            module.to(device)

    def encode(self, waveforms: Tensor, names: Sequence[str] = ()) -> Tensor:
        """Return the embeddings (batch, frames, dimensions), float32, of waveforms (batch, samples) at `sample_rate`.

        Parameters
        ----------
        names : of the waveforms, in error messages.

        Raises
        ------
        InputError
            If the encoder fails, or returns anything other than finite real values of this shape.
        RemixbenchError
            If the memory does not suffice.
        """
        import torch

        shape = tuple(waveforms.shape)
        names_text = f" ({names[0]} and {len(names) - 1} more)" if names else ""
        try:
            with torch.inference_mode():
                embeddings = self.call(waveforms.clone())  # it may change its input
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error):
                raise RemixbenchError(
                    f"encoder '{self.name}': {shape[0]} clips at once do not fit into the memory of"
                    f" {waveforms.device.type}; use --jobs 1, another --device or a machine with more memory"
                ) from None
            raise self.error(
                f"fails on waveforms {shape}{names_text} at {self.sample_rate} Hz ({one_line(error)})"
            ) from error
        dense = isinstance(embeddings, torch.Tensor) and embeddings.layout == torch.strided and not embeddings.is_meta
        size = tuple(embeddings.shape) if dense and embeddings.is_floating_point() else ()
        if len(size) != 3 or (size[0], size[2]) != (shape[0], self.dimensions):
            kind = type(embeddings).__name__
            if isinstance(embeddings, torch.Tensor):
                kind = f"{embeddings.dtype} {tuple(embeddings.shape)}, {embeddings.device.type}, {embeddings.layout}"
            raise self.error(
                f"returns {kind} for waveforms {shape}, expected a dense floating-point tensor (batch, frames,"
                f" dimensions) = ({shape[0]}, frames, {self.dimensions})"
            )
        embeddings = embeddings.detach().float()  # in which large values may be infinite
        finite = torch.isfinite(embeddings).flatten(1).all(dim=1)
        if not bool(finite.all()):
            culprits = [name for name, intact in zip(names, finite.tolist(), strict=False) if not intact]
            raise self.error(
                f"its embeddings{f' of {culprits[0]}' if culprits else ''} hold NaN or infinity in float32"
            )
        return embeddings


def register_encoder(name: str, encoder: Any) -> None:
    """Register an encoder under a name, in this process: the encoder, or a class or function that makes it.

    Raises
    ------
    InputError
        For a name that a file cannot have, or that is taken.
    """
    check_registration("encoder", name, encoder, BUNDLED, GROUP)
    _registered[name] = encoder


def is_registered(reference: str) -> bool:
    """Say whether a reference is a name given to `register_encoder`, which only this process knows."""
    return reference in _registered


def list_encoders() -> list[str]:
    """Return the names of the bundled encoders, the registered ones and those of installed packages."""
    return list(dict.fromkeys([*BUNDLED, *_registered, *(point.name for point in entry_points_of(GROUP))]))


def split_reference(reference: str) -> tuple[str, Path | None]:
    """Return what names the encoder, and the file of its weights where `@FILE` gives one."""
    match = _REFERENCE.fullmatch(reference)
    if match is None or match[2] == "":
        raise InputError(f"encoder '{reference}': expected NAME or FILE.py:NAME, and the file of weights after '@'")
    return match[1], None if match[2] is None else Path(match[2]).expanduser().absolute()


def short_name(reference: str) -> str:
    """Return the name of an encoder as folders and tables have it: of `my_file.py:MyEncoder@w.pt` it is `MyEncoder`."""
    return split_reference(reference)[0].rpartition(":")[2]


def load_encoder(reference: str) -> PretrainedEncoder:
    """Load an encoder on the CPU, freeze its weights, and read its description.

    Raises
    ------
    InputError
        For an unknown name, a file or package that cannot be imported, weights that cannot be loaded, or attributes
        that break the contract.
    """
    base, weights = split_reference(reference)
    if weights is not None and not weights.is_file():
        raise InputError(f"encoder '{reference}': no such file of weights: {weights}")
    source, code, location = _source(base)
    name = short_name(reference)
    check_short_name(name, "encoder")
    encoder = _make(source, weights, name, base)
    attributes = _attributes(encoder, name)
    modules, tensors, settings = _parts(encoder)
    for module in modules:
        module.eval().requires_grad_(False)
    parts = [code, _tensor_digest(tensors), file_sha256(weights) if weights else ""]
    if base not in BUNDLED:  # their version covers all; a file may have several encoders of the same weights
        parts += [name, *(f"{key} {value!r}" for key, value in sorted(settings.items()))]
    digest = sha256("\n".join(parts).encode())
    full_reference = location if weights is None else f"{location}@{weights}"
    return PretrainedEncoder(
        name=name,
        reference=full_reference,
        digest=digest,
        **attributes.model_dump(exclude={"parameter_count"}),
        call=encoder,
        parameters=_count(modules, tensors, attributes.parameter_count),
        modules=modules,
    )


def encoder_loader() -> Callable[[str], PretrainedEncoder]:
    """Return a `load_encoder` that gives the same encoder for later calls with a reference or its full form."""
    loaded: dict[str, PretrainedEncoder] = {}

    def load(reference: str) -> PretrainedEncoder:
        if reference not in loaded:
            encoder = load_encoder(reference)
            loaded[reference] = loaded.setdefault(encoder.reference, encoder)
        return loaded[reference]

    return load


def check_repeatable_load(encoder: PretrainedEncoder) -> None:
    """Load an encoder again: it has to have the same code and weights, by which its embeddings are found."""
    if load_encoder(encoder.reference).digest != encoder.digest:
        raise encoder.error(
            "its weights or its code differ when it is loaded again, so that its embeddings would not be found again;"
            " read the weights from a file, or draw them from a fixed seed"
        )


def check_encoder(encoder: PretrainedEncoder, samples: int, device: torch.device) -> tuple[int, Tensor]:
    """Run an encoder on noise and on digital silence; returns its frames and the embeddings (2, frames, dimensions).

    Parameters
    ----------
    samples : of a clip, at the encoder's rate.
    device : on which it computes; the encoder has to be there.

    Raises
    ------
    InputError
        If the embeddings do not cover the clip, differ between two calls (dropout), depend on the other clips of the
        batch (batch norm in training mode), or are the same for noise and silence.
    """
    import torch

    noise = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))
    waveforms = torch.stack([noise, torch.zeros(samples)]).to(device)
    embeddings = encoder.encode(waveforms, ("noise", "digital silence"))
    frames = embeddings.shape[1]
    check_coverage(encoder.error, "frames", frames, encoder.frame_seconds, samples / encoder.sample_rate)
    scale = float(embeddings.abs().max()) or 1.0
    for other, reason in (
        (encoder.encode(waveforms), "differ between two calls; switch off dropout and other random draws"),
        (encoder.encode(waveforms[:1]), "depend on the other clips of a batch; encode each clip on its own"),
    ):
        if not torch.allclose(other, embeddings[: len(other)], rtol=0, atol=REPEATABLE * scale):
            raise encoder.error(f"its embeddings of the same waveform {reason}")
    if torch.equal(embeddings[0], embeddings[1]):
        raise encoder.error("its embeddings of noise and of digital silence are the same; were its weights loaded?")
    return frames, embeddings


def _source(base: str) -> tuple[Any, str, str]:
    """Return what makes the encoder of a name or of `FILE.py:NAME`, a digest of its code, and its full reference."""
    from remixbench.systems.third_party import digest_of_sources, load_from_file

    if is_file_reference(base):
        source, file = load_from_file(base, "encoder")
        if short_name(base) in BUNDLED:
            raise InputError(f"encoder '{base}': '{short_name(base)}' is the name of a bundled encoder; rename yours")
        return source, digest_of_sources(_defining(source), file), f"{file}:{short_name(base)}"
    _, source = load_entry_point("encoder", base, BUNDLED, GROUP)
    if source is not None:
        return source, digest_of_sources(_defining(source)), base
    if base in BUNDLED:
        source = EntryPoint(base, BUNDLED[base], GROUP).load()
        return source, f"{base} {source.version}", base
    if base not in _registered:
        raise unknown("encoder", base, list_encoders())
    return _registered[base], digest_of_sources(_defining(_registered[base])), base


def _defining(source: Any) -> Any:
    """Return the class or function whose source files define an encoder."""
    if isinstance(source, type) or hasattr(source, "__code__"):
        return source
    return source.func if isinstance(source, partial) else type(source)


def _make(source: Any, weights: Path | None, name: str, base: str) -> Any:
    """Return the encoder itself: the object, or what the class or function returns."""
    is_encoder = not isinstance(source, type) and all(hasattr(source, attribute) for attribute in REQUIRED)
    if is_encoder:
        if weights is not None:
            raise InputError(f"encoder '{base}': takes no file of weights; leave '@{weights}' out")
        return source
    try:
        return source() if weights is None else source(weights)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        takes = "" if weights is None else f" from {weights}"
        needs = weights is None and isinstance(error, TypeError) and "required positional argument" in str(error)
        remedy = f"; if it takes the file of its weights: {base}@FILE" if needs else ""
        raise InputError(f"encoder '{name}': could not be loaded{takes} ({one_line(error)}){remedy}") from error


def _attributes(encoder: Any, name: str) -> _Attributes:
    """Return the attributes of an encoder."""
    if not callable(encoder):
        raise InputError(f"encoder '{name}': made a {type(encoder).__name__}, expected a callable")
    values = {key: getattr(encoder, key) for key in _Attributes.model_fields if hasattr(encoder, key)}
    try:
        return _Attributes.model_validate(values)
    except ValidationError as error:
        raise InputError(f"encoder '{name}': {first_problem(error, _Attributes)}") from None


def _parts(encoder: Any) -> tuple[tuple[torch.nn.Module, ...], dict[str, Any], dict[str, str | float]]:
    """Return the torch modules that an encoder consists of, its weights by name (tensors and numpy arrays), and its
    settings by name: numbers and words such as the number of a layer. Paths do not count.

    They are looked for in the encoder, its attributes, and for a function in what it closes over and the globals that
    its code names.
    """
    import numpy as np
    import torch

    modules: list[torch.nn.Module] = []
    tensors: dict[str, Any] = {}
    settings: dict[str, str | float] = {}
    seen: set[int] = set()

    def visit(name: str, value: Any, depth: int) -> None:
        if isinstance(value, int | float) or (isinstance(value, str) and not set(value) & set("/\\")):
            settings[name] = value
            return
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, torch.nn.Module):
            modules.append(value)
            for key, tensor in (*value.named_parameters(), *value.named_buffers()):
                tensors[f"{name}.{key}"] = tensor
        elif isinstance(value, torch.Tensor | np.ndarray):
            tensors[name] = value
        if depth < DEPTH:
            for key, part in _members(value):
                visit(f"{name}.{key}", part, depth + 1)

    visit("encoder", encoder, 0)
    return tuple(modules), tensors, settings


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an object refers to, by name."""
    import torch

    if isinstance(value, partial):
        yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))
    elif isinstance(value, Mapping):
        yield from ((str(key), value[key]) for key in value)
    elif isinstance(value, list | tuple):
        yield from ((str(number), part) for number, part in enumerate(value))
    elif hasattr(value, "__self__") and not isinstance(value.__self__, type(hashlib)):
        yield "self", value.__self__
    elif hasattr(value, "__code__"):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        yield from ((key, cell.cell_contents) for key, cell in cells)
        yield from ((key, value.__globals__[key]) for key in value.__code__.co_names if key in value.__globals__)
    elif isinstance(value, torch.nn.Module):  # what it keeps besides its parameters, buffers and modules
        internals = {"_parameters", "_buffers", "_modules", "training"}
        yield from (
            (key, part) for key, part in vars(value).items() if key not in internals and not key.endswith("_hooks")
        )
    elif hasattr(value, "__dict__") and not isinstance(value, type | type(hashlib)):
        yield from vars(value).items()


def _tensor_digest(tensors: Mapping[str, Any]) -> str:
    """Return the SHA-256 over the names, types, shapes and values of tensors and arrays."""
    import numpy as np
    import torch

    total = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        if isinstance(value, torch.Tensor):
            tensor = value.detach().cpu()
            tensor = tensor.dequantize() if tensor.is_quantized else tensor
            raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
        else:
            raw = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode() + raw.tobytes())
    return total.hexdigest()


def _count(modules: Sequence[torch.nn.Module], tensors: Mapping[str, Any], stated: int | None) -> int:
    """Return the number of an encoder's weights: as stated, else its parameters, else all floating-point values."""
    if stated is not None:
        return stated
    parameters = {id(weight): weight.numel() for module in modules for weight in module.parameters()}
    if parameters:
        return sum(parameters.values())
    return sum(math.prod(value.shape) for value in tensors.values() if "float" in str(value.dtype))
