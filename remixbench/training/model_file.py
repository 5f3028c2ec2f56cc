"""`model.safetensors`: the weights of a trained system and all that is needed to use them.

Nothing in it is executed; of a third-party system its own package, or its own file, is imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import Tensor, nn

from remixbench.errors import InputError, one_line
from remixbench.files import write_bytes
from remixbench.recipe import Features, Mix
from remixbench.schemas import first_problem
from remixbench.systems.building import ClipShape, EmbeddingShape, build_empty
from remixbench.systems.registry import source_digest, spec
from remixbench.training.data import Standardisation

NETWORK = "network."
DIRECTION = NETWORK + "attention.direction"
MEAN, STD = "standardisation.mean", "standardisation.std"
SECOND_MEAN, SECOND_STD = "embeddings.mean", "embeddings.std"
TAG_THRESHOLDS, FRAME_THRESHOLDS = "thresholds.tags", "thresholds.frames"


class ModelEncoder(BaseModel):
    """Name and reference of the frozen encoder of a system on embeddings, and the digest of its code and weights."""

    model_config = ConfigDict(frozen=True)

    name: str
    reference: str
    digest: str


class ClipRecipe(BaseModel):
    """How the clips were mixed, and how audio becomes log-mel."""

    model_config = ConfigDict(frozen=True)

    mix: Mix
    features: Features


class ModelConfig(BaseModel):
    """What the tensors belong to; each field is JSON in the file's metadata.

    Attributes
    ----------
    recipe : of the data set; it says how audio becomes input.
    system : its reference: for one of a file the file's path and the class.
    digest : the run's identity.
    sources : of a third-party system: a digest of its source files.
    encoder, embedding : of a system on embeddings: the frozen encoder, whose weights are not here, and the shape of a
        clip's embeddings.
    """

    model_config = ConfigDict(frozen=True)

    system: str
    options: dict[str, Any]
    width: float
    classes: tuple[str, ...]
    frames: int
    n_mels: int
    recipe: ClipRecipe
    digest: str
    sources: str = ""
    encoder: ModelEncoder | None = None
    embedding: EmbeddingShape | None = None

    @model_validator(mode="after")
    def _encoder_has_a_shape(self) -> Self:
        if (self.encoder is None) != (self.embedding is None):
            raise ValueError("'encoder' and 'embedding' need each other")
        return self

    @property
    def name(self) -> str:
        """The system's short name, also where `system` is a class in a file."""
        return self.system.rpartition(":")[2]

    @property
    def mix(self) -> Mix:
        """How the clips were mixed: their rate and length."""
        return self.recipe.mix

    @property
    def features(self) -> Features:
        """How audio becomes log-mel."""
        return self.recipe.features

    @property
    def samples(self) -> int:
        """Samples of a clip."""
        return self.mix.samples

    @property
    def shape(self) -> ClipShape:
        """The shape of the clips that the system takes."""
        rate = self.mix.sample_rate
        frame_seconds = self.features.hop_length / rate
        return ClipShape(len(self.classes), self.frames, self.n_mels, self.samples, rate, frame_seconds, self.embedding)


@dataclass(frozen=True)
class TrainedModel:
    """A network in evaluation mode on the CPU, its standardisation, and per class thresholds for tags and frames."""

    config: ModelConfig
    network: nn.Module
    standardisation: Standardisation
    tag_thresholds: NDArray[np.float32]
    frame_thresholds: NDArray[np.float32]
    second_standardisation: Standardisation | None = None


def write_model(
    path: Path,
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    standardisation: Standardisation,
    tag_thresholds: NDArray[np.float32],
    frame_thresholds: NDArray[np.float32],
    second: Standardisation | None = None,
) -> None:
    """Write a model, whole or not at all; `second` is the standardisation of embeddings beside log-mel."""
    from safetensors.torch import save

    tensors = {NETWORK + name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    extra = {MEAN: standardisation.mean, STD: standardisation.std}
    extra |= {} if second is None else {SECOND_MEAN: second.mean, SECOND_STD: second.std}
    extra |= {TAG_THRESHOLDS: tag_thresholds, FRAME_THRESHOLDS: frame_thresholds}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(array, np.float32)) for name, array in extra.items()}
    content = config.model_dump(mode="json")
    metadata = {name: json.dumps(value) for name, value in content.items() if value is not None}
    # not by the library, so that a full disk is an OSError that says so
    write_bytes(path, _sort_metadata(save(tensors, metadata)))


def _sort_metadata(data: bytes) -> bytes:
    """Return a safetensors file with its metadata sorted, so that the same training gives the same bytes.

    The library writes them in random order. The header, JSON, is padded with blanks to a multiple of 8 bytes.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def read_model(path: Path) -> TrainedModel:
    """Read a model and build its network.

    Raises
    ------
    InputError
        If the file is missing or broken, is not a remixbench model, or its tensors are not those of its system.
    """
    tensors, config = _read(path)
    system = spec(config.system)
    if config.sources and config.sources != source_digest(system):
        raise InputError(
            f"{path}: the source files of system '{system.name}'{system.origin} changed since it was trained; restore"
            " them, or train it again"
        )
    try:
        network = build_empty(config.system, config.shape, width=config.width, options=config.options)
    except (RuntimeError, MemoryError, TypeError, OverflowError):  # sizes that no tensor can have
        raise InputError(f"{path}: describes a network too large for this machine; is it broken?") from None
    expected = {NETWORK + name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    dimensions = config.embedding.dimensions if config.embedding else 1
    bands = config.n_mels if system.takes_logmel else dimensions
    expected |= {MEAN: (bands,), STD: (bands,)}
    if system.inputs == "logmel+embeddings":
        expected |= {SECOND_MEAN: (dimensions,), SECOND_STD: (dimensions,)}
    expected |= {name: (len(config.classes),) for name in (TAG_THRESHOLDS, FRAME_THRESHOLDS)}
    if DIRECTION in expected and DIRECTION not in tensors:
        raise InputError(
            f"{path}: the direction of two-step attention is missing, as in runs of older versions; train it again with"
            " --rerun"
        )
    for name, shape in expected.items():
        if name not in tensors:
            raise InputError(
                f"{path}: tensor {name} of system '{config.system}' is missing; delete the file and train again"
            )
        if tuple(tensors[name].shape) != shape:
            raise InputError(
                f"{path}: tensor {name} is {list(tensors[name].shape)}, system '{config.system}' of"
                f" width {config.width:g} expects {list(shape)}; is it another run's file?"
            )
    for name, tensor in tensors.items():
        if name not in expected:
            raise InputError(
                f"{path}: tensor {name} has no place in system '{config.system}'; is it another run's file?"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path}: tensor {name} holds NaN or infinity; delete the file and train again")
    network.load_state_dict(
        # copies: the tensors may still be mapped to the file, which others may change
        {name.removeprefix(NETWORK): tensor.clone() for name, tensor in tensors.items() if name.startswith(NETWORK)},
        assign=True,
    )
    return TrainedModel(
        config,
        network.eval(),
        Standardisation(tensors[MEAN].numpy(), tensors[STD].numpy()),
        tensors[TAG_THRESHOLDS].numpy(),
        tensors[FRAME_THRESHOLDS].numpy(),
        Standardisation(tensors[SECOND_MEAN].numpy(), tensors[SECOND_STD].numpy()) if SECOND_MEAN in expected else None,
    )


def _read(path: Path) -> tuple[dict[str, Tensor], ModelConfig]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path}: no such file; is the run done? `remixbench train` resumes it")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not readable as safetensors ({error}); copy it again, or delete it and train again"
        ) from None
    try:
        stored = {name: json.loads(text) for name, text in metadata.items() if name in ModelConfig.model_fields}
        config = ModelConfig.model_validate(stored)
    except (ValueError, RecursionError) as error:
        reason = first_problem(error, ModelConfig) if isinstance(error, ValidationError) else one_line(str(error))[:120]
        raise InputError(
            f"{path}: has no description of a remixbench model ({reason}); is it another program's?"
        ) from None
    return tensors, config
