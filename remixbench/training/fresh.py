"""Dynamic mixing: a torch Dataset whose clips are mixed anew in every epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.dynamic_mixing import Mixer, recombine
from remixbench.dataset.manifest import Clip
from remixbench.errors import InputError
from remixbench.sources import load_catalogues
from remixbench.training.data import Inputs, RoleDataset, Targets, TimedEvent


class FreshMixtures(RoleDataset):
    """The clips of one role as a torch Dataset of (x, y), mixed when they are read, anew in every epoch.

    In epoch 0 the clips are the data set's, equal to its files. In every later epoch the same recordings are
    combined anew, always the same way for the same seed and epoch; call `set_epoch` before each. The workers of a
    DataLoader share it, also where they persist from epoch to epoch.

    Parameters
    ----------
    dataset : gives recipe, manifest and classes; a data set or its path.
    sources : folder of the sources.
    snr : SNR in dB; any, not only those made.
    fold, role, inputs, targets, seed, roll : as of `ClipDataset`; `seed` is of the combinations too.

    Attributes
    ----------
    rows, filenames, frame_seconds : as of `ClipDataset`; the names are those of the data set's clips.
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
    ) -> None:
        super().__init__(dataset, snr, fold, role, inputs, targets, seed, roll)
        recipe = self.dataset.recipe
        self._mixer = Mixer.of(recipe, *load_catalogues(recipe, Path(sources)))
        self._seed = seed
        self._frozen = [self.dataset.clips[row] for row in self.rows]
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # torch gives it no types
        self._mixed: tuple[int, list[Clip]] = (0, self._frozen)

    def set_epoch(self, epoch: int) -> None:
        """Take the combinations of an epoch, counted from 0."""
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

    def _logmel(self, index: int) -> NDArray[np.float32]:
        return self._mixer.logmel(self.clips[index], self.snr)

    def _waveform(self, index: int) -> NDArray[np.float32]:
        return self._mixer.waveform(self.clips[index], self.snr)

    def _events(self, index: int) -> list[TimedEvent]:
        return self._mixer.events(self.clips[index])
