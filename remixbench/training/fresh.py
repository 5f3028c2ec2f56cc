"""Dynamic mixing: the recordings of some clips combined anew in every epoch, as a torch Dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Subset

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.manifest import Clip, Event
from remixbench.dataset.mix import SilenceError
from remixbench.dataset.render import Rendered, Renderer, one_blas_thread
from remixbench.dataset.splits import Rows
from remixbench.errors import InputError, RemixbenchError
from remixbench.parallel import available_cores
from remixbench.sources import load_catalogues
from remixbench.systems.registry import spec
from remixbench.training.config import TrainConfig, derived_seed
from remixbench.training.data import ClipTensors, InputArray, Inputs, RoleDataset, Standardisation, Targets, TimedEvent
from remixbench.training.device import DistContext, process_number

ROUNDS = 100


def recombine(clips: list[Clip], generator: np.random.Generator) -> list[Clip]:
    """Shuffle the scenes and the events of some clips; onsets stay where they are.

    Events of one class do not overlap in a clip, unless no draw avoids it. All clips must be of one role, so that
    nothing leaks.
    """
    scenes = generator.permutation(len(clips))
    slots = [(row, event) for row, clip in enumerate(clips) for event in clip.events]
    order = generator.permutation(len(slots))
    for _ in range(ROUNDS):
        contents = [slots[k][1] for k in order]
        clashes = _clashes(slots, contents)
        if not len(clashes):
            break
        partners = generator.integers(0, len(slots), len(clashes))
        for one, other in zip(clashes, partners, strict=True):
            order[one], order[other] = order[other], order[one]
    events: list[list[Event]] = [[] for _ in clips]
    for (row, slot), k in zip(slots, order, strict=True):
        content = slots[k][1]
        events[row].append(replace(slot, file=content.file, label=content.label, start=content.start))
    return [
        replace(
            clip,
            scene_file=clips[scenes[row]].scene_file,
            scene_label=clips[scenes[row]].scene_label,
            scene_location=clips[scenes[row]].scene_location,
            scene_start=clips[scenes[row]].scene_start,
            events=tuple(events[row]),
        )
        for row, clip in enumerate(clips)
    ]


def _clashes(slots: list[tuple[int, Event]], contents: list[Event]) -> list[int]:
    """Return the slots whose event would overlap an earlier one of its class in the same clip."""
    placed: dict[tuple[int, str], list[Event]] = {}
    clashes = []
    for k, ((row, event), content) in enumerate(zip(slots, contents, strict=True)):
        earlier = placed.setdefault((row, content.label), [])
        if any(abs(event.onset - other.onset) < max(event.max_duration, other.max_duration) for other in earlier):
            clashes.append(k)
        earlier.append(event)
    return clashes


CLIPS_AT_ONCE = 8
"""Clips that a worker mixes before it hands them over."""


class FreshMixtures(RoleDataset):
    """The clips of one role as a torch Dataset of (x, y), mixed when they are read, anew in every epoch.

    In epoch 0 the clips equal the data set's files. In every later epoch the same recordings are combined anew, always
    the same way for a seed and epoch; call `set_epoch` before each. The workers of a DataLoader share the epoch, even
    if they persist. A clip whose new scene is silent under an event, or whose event is silent, so that no SNR can be
    set, is the data set's own.

    Parameters
    ----------
    dataset : gives recipe, manifest and classes; a data set or its path.
    sources : folder of the sources.
    snr : SNR in dB; any, not only those made.
    fold, role, inputs, targets, seed, roll : as in `ClipDataset`; `seed` also determines the combinations.
    rows : other clips than those of the role, as rows of the manifest.

    Attributes
    ----------
    rows, filenames, frame_seconds : as in `ClipDataset`; the names are those of the data set's clips.
    """

    def __init__(
        self,
        dataset: Dataset | str | Path,
        sources: str | Path,
        *,
        snr: float,
        fold: int,
        role: str = "train",
        inputs: Inputs = "logmel",
        targets: Targets = "weak",
        seed: int = 0,
        roll: float = 0.0,
        rows: Rows | None = None,
    ) -> None:
        super().__init__(dataset, snr, fold, role, inputs, targets, seed, roll, rows)
        recipe = self.dataset.recipe
        scenes, events = load_catalogues(recipe, Path(sources))
        for kind, catalogue in (("scenes", scenes), ("events", events)):
            if self.dataset.info.source_digests.get(kind, catalogue.digest) != catalogue.digest:
                raise InputError(
                    f"{sources}: the table of {kind} is not the one that {self.dataset.path} was made from; give the"
                    " folder of its sources"
                )
        self._renderer = Renderer.of(recipe, scenes, events)
        self._seed = seed
        self._frozen = [self.dataset.clips[row] for row in self.rows]
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # torch gives it no types
        self._mixed: tuple[int, list[Clip]] = (0, self._frozen)
        self._latest: tuple[tuple[int, int], Clip, Rendered] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the samples of the clip that was read last."""
        return vars(self) | {"_latest": None}

    def set_epoch(self, epoch: int) -> None:
        """Use the combinations of an epoch, counted from 0."""
        if epoch < 0:
            raise InputError(f"epoch {epoch}: expected a number from 0 up")
        self._epoch.fill_(epoch)

    @property
    def clips(self) -> list[Clip]:
        """The clips of the epoch."""
        epoch = int(self._epoch)
        if self._mixed[0] != epoch:
            generator = np.random.default_rng([self._seed, epoch])
            self._mixed = (epoch, recombine(self._frozen, generator) if epoch else self._frozen)
        return self._mixed[1]

    def _render(self, index: int) -> tuple[Clip, Rendered]:
        """Return a clip of the epoch and its samples; input and targets are of the same clip, mixed once."""
        key = (int(self._epoch), index)
        if self._latest is None or self._latest[0] != key:
            clip = self.clips[index]
            try:
                rendered = self._renderer.clip(clip).at(self.snr)
            except SilenceError:
                clip = self._frozen[index]
                rendered = self._renderer.clip(clip).at(self.snr)
            self._latest = (key, clip, rendered)
        return self._latest[1:]

    def _logmel(self, index: int) -> NDArray[np.float32]:
        with one_blas_thread():
            return self._render(index)[1].logmel()

    def _waveform(self, index: int) -> NDArray[np.float32]:
        return self._render(index)[1].waveform()

    def _events(self, index: int) -> list[TimedEvent]:
        return self._renderer.events(self._render(index)[0])


def dynamic_mixing(
    dataset: Dataset,
    sources: Path,
    config: TrainConfig,
    rows: Rows,
    standardisation: Standardisation,
    device: torch.device,
    dist: DistContext,
) -> Callable[[int], ClipTensors]:
    """Return a function that gives the training clips of an epoch by its number; the first, 1, has the data set's own.

    Each process mixes its part of the clips, with a worker per processor core, and gets those of the others.
    """
    fresh = FreshMixtures(
        dataset, sources, snr=config.snr, fold=config.fold, rows=rows,
        inputs="waveform" if spec(config.system).inputs == "waveform" else "logmel",
        seed=derived_seed(config.seed, "mixtures"),
    )  # fmt: skip
    shard = range(dist.rank, len(rows), dist.world_size)
    workers = max(1, available_cores() // (process_number("LOCAL_WORLD_SIZE") or 1))
    loader = DataLoader(
        Subset(fresh, shard),
        batch_size=CLIPS_AT_ONCE,
        num_workers=workers,
        persistent_workers=True,
        generator=torch.Generator(),  # the global one belongs to the network's dropout
    )

    shape = fresh[0][0].shape

    def clips(number: int) -> ClipTensors:
        fresh.set_epoch(number - 1)
        x, y = torch.zeros(len(rows), *shape), torch.zeros(len(rows), len(dataset.classes))
        done = 0
        try:
            for inputs, targets in loader:
                indices = shard[done : done + len(inputs)]
                x[indices], y[indices] = inputs, targets
                done += len(inputs)
        except RemixbenchError as error:  # the loader puts a worker's traceback before its message
            raise type(error)(str(error).rpartition(f"{type(error).__name__}: ")[2].strip()) from None
        x, y = dist.all_reduce_sum(x), dist.all_reduce_sum(y)
        return ClipTensors([InputArray(x.numpy(), standardisation)], y.numpy() > 0, np.arange(len(rows)), device)

    return clips
