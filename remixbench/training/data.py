"""The clips of a run as tensors: standardised once, and cached on the device where they fit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from remixbench.dataset.splits import Rows

MEMINFO, CGROUP, CGROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
CHUNK = 256
"""Clips read at once."""
MEMORY_PART = 0.5
"""How much of the free memory the clips may take before they are read from disk batch by batch."""


@dataclass(frozen=True)
class Standardisation:
    """Mean and standard deviation of every band, float32 (bands,), as fitted on the training clips."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def apply(self, logmel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise (..., bands)."""
        return (logmel - self.mean) / self.std


def fit_standardisation(features: NDArray[np.float32], rows: Rows) -> Standardisation:
    """Take mean and deviation of each band over all frames of the clips `rows` of (clips, frames, bands).

    Sums are float64 and clips are read a chunk at a time. A band that never changes gets a deviation of 1.
    """
    bands = features.shape[2]
    total, squares, count = np.zeros(bands), np.zeros(bands), 0
    centre = np.asarray(features[rows[0]], np.float64).mean(
        axis=0
    )  # keeps the squares small, so that no digits are lost
    for start in range(0, len(rows), CHUNK):
        values = np.asarray(features[rows[start : start + CHUNK]], np.float64).reshape(-1, bands) - centre
        total += values.sum(axis=0)
        squares += np.einsum("nb,nb->b", values, values)
        count += len(values)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return Standardisation((mean + centre).astype(np.float32), np.where(std > 0, std, 1).astype(np.float32))


class ClipTensors:
    """Standardised log-mel and weak targets of some clips, by index among these; on the device where they fit."""

    def __init__(
        self,
        features: NDArray[np.float32],
        weak: NDArray[np.bool_],
        rows: Rows,
        standardisation: Standardisation,
        device: torch.device,
        *,
        budget: float | None = None,
    ) -> None:
        self._features, self._rows, self._standardisation = features, rows, standardisation
        self.device = device
        self.weak = weak[rows]
        self.targets = torch.from_numpy(self.weak.astype(np.float32)).to(device)
        self.shape = (int(features.shape[1]), int(features.shape[2]))
        self.std = torch.from_numpy(np.asarray(standardisation.std, np.float32)).to(device)
        size = len(rows) * features.shape[1] * features.shape[2] * 4
        self.cached = size <= (MEMORY_PART * free_bytes(device) if budget is None else budget)
        self._cached = self._all() if self.cached else None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def index_device(self) -> torch.device:
        """Where indices are best kept: where the clips are, the device or the CPU."""
        return self.device if self._cached is not None else torch.device("cpu")

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return (batch, frames, bands) and (batch, classes) on the device, for indices anywhere."""
        there = indices.to(self.device)
        if self._cached is not None:
            return self._cached[there], self.targets[there]
        x = torch.from_numpy(self._standardisation.apply(self._features[self._rows[indices.cpu().numpy()]]))
        if self.device.type == "cuda":  # from pinned memory the copy does not wait for what the GPU is at
            return x.pin_memory().to(self.device, non_blocking=True), self.targets[there]
        return x, self.targets[there]

    def _all(self) -> Tensor:
        kept = torch.empty((len(self._rows), *self._features.shape[1:]), device=self.device)
        for start in range(0, len(self._rows), CHUNK):
            values = self._standardisation.apply(self._features[self._rows[start : start + CHUNK]])
            kept[start : start + CHUNK] = torch.from_numpy(values)
        return kept


def free_bytes(device: torch.device) -> float:
    """Return how much memory the device can still give to this process.

    On a GPU torch's own idle memory counts as free. On a CPU the least counts of what the machine has and what the
    control groups of a job leave (Slurm, containers), shared out among the processes of this machine; of a machine
    that does not tell, 4 GB are assumed.
    """
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + idle)
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB$", MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        found = None
    free = min([float(found[1]) * 1024 if found else 4e9, *_left_by_groups()])
    return free / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _left_by_groups() -> Iterator[float]:
    """Yield the bytes that each control group above this process leaves, where it has a limit (version 2 alone)."""
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
