"""A torch Dataset that mixes on the fly, for those who train on more than the frozen clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.dynamic_mixing import Mixer, one_role, recombine
from remixbench.sources import load_catalogues


class FreshMixtures(TorchDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Log-mel (frames, bands) and weak targets (classes,) of the clips of one role, mixed when they are asked for.

    In epoch 0 the clips are the data set's, equal to its files. In every later epoch the same recordings are
    combined anew, always the same way for the same seed and epoch; call `set_epoch` before each.

    Parameters
    ----------
    dataset : gives recipe, manifest and classes
    sources : folder of the sources
    snr : signal-to-noise ratio in dB; any, not only those made
    fold, role : which clips: those with this role ('train', 'validation', 'test') when the fold is tested
    seed : of the combinations
    """

    def __init__(
        self, dataset: Dataset, sources: Path, snr: float, fold: int, role: str = "train", seed: int = 0
    ) -> None:
        self._mixer = Mixer.of(dataset.recipe, *load_catalogues(dataset.recipe, sources))
        self._clips = one_role(dataset.clips, dataset.roles(fold), role)
        self._column = {label: k for k, label in enumerate(dataset.classes)}
        self._snr = snr
        self._seed = seed
        self.clips = self._clips

    def set_epoch(self, epoch: int) -> None:
        """Take the combinations of an epoch, counted from 0."""
        generator = np.random.default_rng([self._seed, epoch])
        self.clips = recombine(self._clips, generator) if epoch else self._clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        clip = self.clips[index]
        weak = torch.zeros(len(self._column))
        weak[[self._column[event.label] for event in clip.events]] = 1.0
        return torch.from_numpy(self._mixer.logmel(clip, self._snr)), weak
