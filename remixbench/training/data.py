"""The clips of one role: as a torch Dataset, and as the tensors of a run.

`ClipDataset` gives single clips to your own training loop; `FreshMixtures` (fresh.py) does so with new mixtures in
every epoch. `train` uses `ClipTensors`: all clips of a role, standardised once, and cached on the device if they fit.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.embeddings import Embeddings, open_embeddings
from remixbench.dataset.splits import Rows, Split, split, splits
from remixbench.errors import InputError, unknown
from remixbench.systems.building import EmbeddingShape
from remixbench.systems.registry import spec
from remixbench.training.config import EncoderKey, TrainConfig
from remixbench.training.device import process_number

Inputs = Literal["logmel", "waveform"]
Targets = Literal["weak", "strong", "both"]
Target = Tensor | tuple[Tensor, Tensor]
TimedEvent = tuple[float, float, str]
"""Onset and offset in seconds, and label."""

INPUTS: tuple[Inputs, ...] = ("logmel", "waveform")
TARGETS: tuple[Targets, ...] = ("weak", "strong", "both")
MEMINFO, CGROUP, CGROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
CHUNK = 256
"""Clips read at once."""
VALUES_AT_ONCE = CHUNK * 311 * 64
"""Values read at once: as many as 256 clips of log-mel of `remix2019` have."""
EMBEDDING_FLOOR = 0.5
"""Least deviation of a dimension of embeddings, relative to the root mean square of all."""
MEMORY_PART = 0.5
"""How much of the free memory the clips may take before they are read from disk batch by batch."""


class RoleDataset(ABC, TorchDataset[tuple[Tensor, Target]]):
    """Base class of torch Datasets over the clips of one role: which clips, and the form of input and targets.

    A subclass gives the log-mel, the waveform and the events of a clip. Parameters and attributes as in `ClipDataset`.
    """

    def __init__(
        self,
        dataset: Dataset | str | Path,
        snr: float,
        fold: int,
        role: str,
        inputs: Inputs = "logmel",
        targets: Targets = "weak",
        seed: int = 0,
        roll: float = 0.0,
        rows: Rows | None = None,
    ) -> None:
        if inputs not in INPUTS:
            raise unknown("value of inputs", inputs, INPUTS)
        if targets not in TARGETS:
            raise unknown("value of targets", targets, TARGETS)
        if not math.isfinite(roll):
            raise InputError(f"roll is {roll}, expected seconds")
        self.dataset = find_dataset(".", dataset)
        parts = splits(self.dataset, fold, seed)
        if role not in parts:
            raise unknown("role", role, parts)
        self.rows = parts[role] if rows is None else rows
        if not len(self.rows):
            raise InputError(f"{self.dataset.path}: no clip is for {role} when fold {fold} is tested; make more clips")
        self.filenames = tuple(self.dataset.filenames[row] for row in self.rows)
        self.frame_seconds = self.dataset.recipe.frame_seconds
        self.snr, self.inputs, self.targets = float(snr), inputs, targets
        self._shift = round(roll / self.frame_seconds)
        self._column = {label: k for k, label in enumerate(self.dataset.classes)}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        """Return the input and the targets of a clip, by its index in `rows`."""
        if self.inputs == "logmel":
            x = np.roll(np.asarray(self._logmel(index)), self._shift, axis=0)
        else:
            x = np.roll(self._waveform(index), self._shift * self.dataset.recipe.features.hop_length)
        return torch.from_numpy(x), self._target(self._events(index))

    @abstractmethod
    def _logmel(self, index: int) -> NDArray[np.float32]:
        """Return (frames, n_mels)."""

    @abstractmethod
    def _waveform(self, index: int) -> NDArray[np.float32]:
        """Return (samples,)."""

    @abstractmethod
    def _events(self, index: int) -> list[TimedEvent]:
        """Return the events of a clip, before it is rolled."""

    def _target(self, events: list[TimedEvent]) -> Target:
        weak = torch.zeros(len(self._column))
        weak[[self._column[label] for _, _, label in events]] = 1.0
        if self.targets == "weak":
            return weak
        strong = torch.from_numpy(self._active(events))
        return strong if self.targets == "strong" else (weak, strong)

    def _active(self, events: list[TimedEvent]) -> NDArray[np.float32]:
        """Return 1 where a frame's centre lies in an event of the class, else 0: (frames, classes)."""
        recipe = self.dataset.recipe
        active = np.zeros((recipe.frames, len(self._column)), np.float32)
        frames = np.arange(recipe.frames)
        if self.inputs == "waveform":  # rolled over all samples, also those that no frame of the log-mel covers
            length = recipe.mix.samples / recipe.features.hop_length
            centres = ((frames + 0.5 - self._shift) % length) * self.frame_seconds
        else:
            centres = ((frames - self._shift) % recipe.frames + 0.5) * self.frame_seconds
        centres = np.round(centres, 6)  # as the scorer has them, so that a centre on an offset is not lost to rounding
        for onset, offset, label in events:
            active[(centres >= onset) & (centres < offset), self._column[label]] = 1.0
        return active


class ClipDataset(RoleDataset):
    """The clips of one role as a torch Dataset of (x, y), for your own training loop.

    The clips of a role are those that `remixbench train` uses (`remixbench.splits`). It can be pickled, and each
    worker of a DataLoader opens the log-mel for itself.

    Parameters
    ----------
    dataset : a data set, or its path.
    snr : SNR in dB; one that was made.
    fold : the fold that is tested.
    role : `train`, `validation` or `test`.
    inputs : x is the `logmel` as the data set has it, not standardised, float32 (frames, n_mels), or the `waveform`,
        float32 (samples,) in [-1, 1].
    targets : y is `weak`, float32 (classes,), 1 for a class that is in the clip; `strong`, float32 (frames, classes),
        1 where the frame's centre lies in an event of the class; or `both`, a tuple of these.
    seed : of the choice of validation clips, where the manifest has no validation part.
    roll : seconds by which clips and strong targets are shifted in time, circularly, rounded to whole frames.

    Attributes
    ----------
    rows : rows of the clips in the manifest, ascending.
    filenames : their names, in the same order.
    frame_seconds : distance of two frames of log-mel and strong targets; frame i begins at i · `frame_seconds`.

    Raises
    ------
    InputError
        If the data set lacks what is asked for, has no clip of that role, or its log-mel was altered; when a clip is
        read, if its audio is missing or was altered.
    """

    def __init__(
        self,
        dataset: Dataset | str | Path,
        *,
        snr: float,
        fold: int,
        role: str,
        inputs: Inputs = "logmel",
        targets: Targets = "weak",
        seed: int = 0,
        roll: float = 0.0,
    ) -> None:
        super().__init__(dataset, snr, fold, role, inputs, targets, seed, roll)
        self.dataset.require_snr(snr)
        if inputs == "logmel":
            self.dataset.verify_features(snr, self.rows)
        events: dict[str, list[TimedEvent]] = {name: [] for name in self.filenames}
        for name, onset, offset, label in self.dataset.strong():
            if name in events:
                events[name].append((onset, offset, label))
        self._strong = [events[name] for name in self.filenames]
        self._features: NDArray[np.float32] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the mapped file, which would be pickled as an array of all clips."""
        return vars(self) | {"_features": None}

    def _logmel(self, index: int) -> NDArray[np.float32]:
        if self._features is None:
            self._features = self.dataset.features(self.snr)
        clip: NDArray[np.float32] = self._features[self.rows[index]]
        return clip

    def _waveform(self, index: int) -> NDArray[np.float32]:
        return self.dataset.audio(self.filenames[index], self.snr)

    def _events(self, index: int) -> list[TimedEvent]:
        return self._strong[index]


@dataclass(frozen=True)
class Standardisation:
    """Mean and standard deviation of each band of log-mel, or dimension of embeddings, over the training clips.

    float32, (bands,); 0 and 1 for other inputs, which are left as they are.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def apply(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Standardise (..., bands)."""
        return (values - self.mean) / self.std


def fit_standardisation(features: NDArray[np.floating[Any]], rows: Rows, floor: float = 0.0) -> Standardisation:
    """Return the mean and deviation of each band over all frames of the clips `rows` of (clips, frames, bands).

    Sums are float64 and clips are read a chunk at a time. A constant band gets a deviation of 1.

    Parameters
    ----------
    floor : the least deviation, relative to the root mean square of those of all bands. Many dimensions of an embedding
        are nearly always 0: divided by their deviation on the training clips, other clips would reach hundreds in them.
    """
    bands = features.shape[2]
    total, squares, count = np.zeros(bands), np.zeros(bands), 0
    centre = np.asarray(features[rows[0]], np.float64).mean(
        axis=0
    )  # keeps the squares small, so that no digits are lost
    chunk = max(1, min(CHUNK, VALUES_AT_ONCE // math.prod(features.shape[1:])))
    for start in range(0, len(rows), chunk):
        values = np.asarray(features[rows[start : start + chunk]], np.float64).reshape(-1, bands) - centre
        total += values.sum(axis=0)
        squares += np.einsum("nb,nb->b", values, values)
        count += len(values)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    least = floor * np.sqrt(np.mean(std**2))
    std = np.maximum(std, least)
    return Standardisation((mean + centre).astype(np.float32), np.where(std > 0, std, 1).astype(np.float32))


AS_IT_IS = Standardisation(np.zeros(1, np.float32), np.ones(1, np.float32))
"""The standardisation of waveforms: none."""


class Waveforms:
    """The audio of a data set's clips at one SNR, read when it is indexed with rows: (clips, samples) float32."""

    def __init__(self, dataset: Dataset, snr: float) -> None:
        dataset.require_snr(snr)
        self._dataset, self._snr = dataset, snr
        self.shape = (len(dataset.clips), dataset.recipe.mix.samples)

    def __getitem__(self, rows: Rows) -> NDArray[np.float32]:
        return np.stack([self._dataset.audio(self._dataset.clips[row], self._snr) for row in rows])


@dataclass(frozen=True)
class InputArray:
    """One input of a network for all clips of a data set: an array, and the standardisation of its last axis."""

    values: NDArray[np.floating[Any]] | Waveforms
    standardisation: Standardisation

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a clip's input."""
        return tuple(int(size) for size in self.values.shape[1:])

    def read(self, rows: Rows) -> NDArray[np.float32]:
        """Return the standardised input of some clips."""
        return np.asarray(self.standardisation.apply(self.values[rows]), np.float32)


class ClipTensors:
    """Inputs and weak targets of some clips, by index; on the device if they fit.

    A network gets standardised log-mel (frames, n_mels), the waveform (samples,), standardised embeddings (frames,
    dimensions) of a clip, or log-mel and embeddings.
    """

    def __init__(
        self,
        inputs: Sequence[InputArray],
        weak: NDArray[np.bool_],
        rows: Rows,
        device: torch.device,
        *,
        budget: float | None = None,
    ) -> None:
        self._inputs, self._rows = inputs, rows
        self.device = device
        self.weak = weak[rows]
        self.targets = torch.from_numpy(self.weak.astype(np.float32)).to(device)
        self.shapes = tuple(part.shape for part in self._inputs)
        self.std = torch.from_numpy(np.asarray(inputs[0].standardisation.std, np.float32)).to(device)
        size = len(rows) * sum(map(math.prod, self.shapes)) * 4
        self.cached = size <= (MEMORY_PART * free_bytes(device) if budget is None else budget)
        self._cached = self._all() if self.cached else None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a clip's first input."""
        return self.shapes[0]

    @property
    def index_device(self) -> torch.device:
        """Where to keep indices: where the clips are, on the device or the CPU."""
        return self.device if self._cached is not None else torch.device("cpu")

    def batch(self, indices: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the inputs, (batch, ...) each, and targets (batch, classes) on the device, for indices anywhere."""
        positions = indices.to(self.device)
        if self._cached is not None:
            return tuple(values[positions] for values in self._cached), self.targets[positions]
        rows = self._rows[indices.cpu().numpy()]
        inputs = [torch.from_numpy(part.read(rows)) for part in self._inputs]
        if self.device.type == "cuda":  # from pinned memory the copy does not wait for the GPU
            moved = tuple(values.pin_memory().to(self.device, non_blocking=True) for values in inputs)
            return moved, self.targets[positions]
        return tuple(values.to(self.device) for values in inputs), self.targets[positions]

    def _all(self) -> tuple[Tensor, ...]:
        cached = tuple(torch.empty((len(self._rows), *shape), device=self.device) for shape in self.shapes)
        for values, part in zip(cached, self._inputs, strict=True):
            for start in range(0, len(self._rows), CHUNK):
                values[start : start + CHUNK] = torch.from_numpy(part.read(self._rows[start : start + CHUNK]))
        return cached


def free_bytes(device: torch.device) -> float:
    """Return how much memory the device can still give to this process.

    On a GPU, torch's own idle memory counts as free. On a CPU it is the least of what the machine has and what the
    control groups of a job leave (Slurm, containers), divided among the processes of this machine; 4 GB where the
    machine does not say.
    """
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + idle)
    try:
        match = re.search(r"^MemAvailable:\s*(\d+) kB$", MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        match = None
    free = min([float(match[1]) * 1024 if match else 4e9, *_left_by_groups()])
    return free / (process_number("LOCAL_WORLD_SIZE") or 1)


def _left_by_groups() -> Iterator[float]:
    """Yield the bytes that each control group of this process leaves, where it has a limit (version 2 only)."""
    try:
        path = next(line[3:] for line in CGROUP.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    group = CGROUPS / path.lstrip("/")
    for folder in (group, *group.parents):
        try:
            limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        except OSError:
            continue
        if limit != "max":
            yield max(0.0, float(limit) - float(used))


@dataclass(frozen=True)
class DataSplits:
    """The clips of a run, standardised; `split` has their rows.

    `standardisations` are those of the inputs, `embedding` is the shape of embeddings.
    """

    split: Split
    standardisations: tuple[Standardisation, ...]
    embedding: EmbeddingShape | None
    train: ClipTensors
    validation: ClipTensors | None
    test: ClipTensors


def load_splits(dataset: Dataset, config: TrainConfig, device: torch.device) -> DataSplits:
    """Return the clips that a run trains on, chooses its epoch on and is tested on."""
    # with "last", the training is the same as with a choice on validation clips
    select = "paper" if config.select == "paper" else "validation"
    rows = split(dataset, config.fold, seed=config.seed, select=select, fraction=config.fraction)
    if not len(rows.train) or not len(rows.test) or (select == "validation" and not len(rows.validation)):
        raise InputError(
            f"{dataset.path}: fold {config.fold} leaves {len(rows.train)} clips to train on, {len(rows.validation)}"
            f" to choose the epoch on and {len(rows.test)} to test on; make a larger data set"
        )
    inputs, embedding = _inputs(dataset, config, rows)
    standardisation = inputs[0].standardisation
    if not (np.isfinite(standardisation.mean).all() and np.isfinite(standardisation.std).all()):
        raise InputError(
            f"{dataset.path}: the log-mel at {config.snr:g} dB holds NaN or infinity; delete logmel.npy, make it again"
        )

    def clips(subset: Rows) -> ClipTensors:
        return ClipTensors(inputs, dataset.weak, subset, device)

    validation = clips(rows.validation) if len(rows.validation) else None
    standardisations = tuple(part.standardisation for part in inputs)
    return DataSplits(rows, standardisations, embedding, clips(rows.train), validation, clips(rows.test))


def _inputs(dataset: Dataset, config: TrainConfig, rows: Split) -> tuple[list[InputArray], EmbeddingShape | None]:
    """Return the inputs of a system for all clips, standardised on those for training, and the shape of embeddings."""
    system, shape = spec(config.system), None
    if system.inputs == "waveform":
        return [InputArray(Waveforms(dataset, config.snr), AS_IT_IS)], None
    all_rows = np.concatenate([rows.train, rows.validation, rows.test])
    inputs = []
    if system.takes_logmel:
        dataset.verify_features(config.snr, all_rows)
        logmel = dataset.features(config.snr)
        inputs.append(InputArray(logmel, fit_standardisation(logmel, rows.train)))
    if config.encoder is not None:
        embeddings = require_embeddings(dataset, config.snr, config.encoder)
        embeddings.verify(dataset, all_rows)
        values, shape = embeddings.values, embedding_shape(embeddings)
        inputs.append(InputArray(values, fit_standardisation(values, rows.train, EMBEDDING_FLOOR)))
    return inputs, shape


def embedding_shape(embeddings: Embeddings) -> EmbeddingShape:
    """Return the shape of a clip's embeddings."""
    _, frames, dimensions = embeddings.values.shape
    return EmbeddingShape(frames, dimensions, embeddings.info.frame_seconds)


def require_embeddings(dataset: Dataset, snr: float, encoder: EncoderKey) -> Embeddings:
    """Open the embeddings of a run, which are computed before it begins."""
    embeddings = open_embeddings(dataset, snr, encoder.name, encoder.digest)
    if embeddings is None:
        raise InputError(
            f"{dataset.path}: has no embeddings of its present clips by '{encoder.name}' at {snr:g} dB;"
            f" `remixbench embed {encoder.reference}` computes them"
        )
    return embeddings
