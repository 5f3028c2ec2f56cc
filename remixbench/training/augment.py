"""Augmentations of a batch: small pure functions on its inputs, and the random draws that they take.

| name | what it does | where it comes from |
| --- | --- | --- |
| `mixup` | mixes each clip and its labels with another of the batch | Zhang et al., ICLR 2018 |
| `time-shift` | rolls each clip in time, circularly | Cakir et al., TASLP 2017; usual in DCASE task 4 |
| `specaugment` | sets two bands of time and two of frequency to the mean | Park et al., Interspeech 2019 |
| `filter-augment` | adds a random piecewise linear gain over frequency | Nam et al., ICASSP 2022 |

Inputs are standardised log-mel (batch, frames, n_mels); `mixup` and `time-shift` take waveforms (batch, samples) too.

All draws for a batch come from one seeded generator, for the whole batch, before it is sharded over processes: so an
augmentation is the same however many processes train together, and after a resume.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MIXUP_ALPHA = 0.5
"""Both parameters of the Beta distribution of mixup's weights."""
MASKS = 2
"""Masks per axis of SpecAugment ("LD" policy: two of each)."""
TIME_MASK, FREQUENCY_MASK = 1 / 15, 1 / 8
"""The longest mask, as a part of the frames and of the mel bands: 20 of 311 and 8 of 64."""
FILTER_BANDS = (3, 6)
"""The fewest and the most points between which a filter is linear."""
FILTER_DB = 6.0
"""The largest gain of a filter, and the largest loss."""
LOG_PER_DB = math.log(10) / 20
"""Natural logarithm of magnitude per dB: log-mel is the logarithm of a magnitude."""


@dataclass(frozen=True)
class Draws:
    """What is drawn for each clip of a batch; None for an augmentation that is off.

    Attributes
    ----------
    partner, weight : (batch,) the clip that each is mixed with, by its place in the batch, and its own weight
        in [0.5, 1].
    shift : (batch,) frames to roll by.
    time_masks, frequency_masks : (batch, masks, 2) first frame or band, and one past the last.
    gain : (batch, n_mels) dB.
    """

    partner: NDArray[np.int64] | None = None
    weight: NDArray[np.float32] | None = None
    shift: NDArray[np.int64] | None = None
    time_masks: NDArray[np.int64] | None = None
    frequency_masks: NDArray[np.int64] | None = None
    gain: NDArray[np.float32] | None = None


def draw(names: Collection[str], batch: int, frames: int, n_mels: int, generator: np.random.Generator) -> Draws:
    """Draw what the augmentations of these names need for a batch of clips.

    The order of the names does not matter. Each augmentation has a generator of its own, so that leaving one out does
    not change the others.
    """
    by_name = dict(zip(("time-shift", "mixup", "specaugment", "filter-augment"), generator.spawn(4), strict=True))
    drawn = Draws()
    values = dict(vars(drawn))
    if "time-shift" in names:
        values["shift"] = by_name["time-shift"].integers(frames, size=batch)
    if "mixup" in names:
        values["partner"] = by_name["mixup"].permutation(batch)
        weight = by_name["mixup"].beta(MIXUP_ALPHA, MIXUP_ALPHA, batch)
        values["weight"] = np.maximum(weight, 1 - weight).astype(np.float32)
    if "specaugment" in names:
        rng = by_name["specaugment"]
        values["time_masks"] = _masks(frames, max(1, round(frames * TIME_MASK)), batch, rng)
        values["frequency_masks"] = _masks(n_mels, max(1, round(n_mels * FREQUENCY_MASK)), batch, rng)
    if "filter-augment" in names:
        rng = by_name["filter-augment"]
        values["gain"] = np.stack([_filter(n_mels, rng) for _ in range(batch)]).astype(np.float32)
    return Draws(**values)


def apply(draws: Draws, x: Tensor, std: Tensor) -> Tensor:
    """Apply all but mixup to standardised log-mel (batch, frames, n_mels) of the clips that were drawn for.

    `std` (n_mels,) is what the log-mel was divided by.
    """
    if draws.shift is not None:
        x = time_shift(x, _on(draws.shift, x))
    if draws.gain is not None:
        x = filter_augment(x, _on(draws.gain, x), std)
    return x


def mask(draws: Draws, x: Tensor) -> Tensor:
    """Apply the masks of SpecAugment, where they were drawn; after mixup, so that no partner fills them."""
    if draws.time_masks is None or draws.frequency_masks is None:
        return x
    return spec_augment(x, _on(draws.time_masks, x), _on(draws.frequency_masks, x))


def take(draws: Draws, places: NDArray[np.int64]) -> Draws:
    """Return the draws for some clips of the batch; `partner` keeps counting over the whole batch."""
    return Draws(**{name: None if values is None else values[places] for name, values in vars(draws).items()})


def time_shift(x: Tensor, shift: Tensor) -> Tensor:
    """Roll each clip of (batch, time, ...) by its number of steps (batch,), circularly, as torch.roll does."""
    steps = x.shape[1]
    source = (torch.arange(steps, device=x.device) - shift[:, None]) % steps
    return x.gather(1, source.view(*source.shape, *[1] * (x.dim() - 2)).expand_as(x))


def mixup(x: Tensor, y: Tensor, other_x: Tensor, other_y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mix clips and labels linearly: weight · (x, y) + (1 - weight) · (other_x, other_y).

    Parameters
    ----------
    x, other_x : (batch, time, ...)
    y, other_y : (batch, classes)
    weight : (batch,) in [0, 1]
    """
    return torch.lerp(other_x, x, weight.view(-1, *[1] * (x.dim() - 1))), torch.lerp(other_y, y, weight[:, None])


def spec_augment(x: Tensor, time_masks: Tensor, frequency_masks: Tensor) -> Tensor:
    """Set bands of time and of frequency of (batch, frames, n_mels) to 0, the mean of standardised log-mel.

    Parameters
    ----------
    time_masks, frequency_masks : (batch, masks, 2) first frame or band, and one past the last.
    """
    hidden = _hidden(x.shape[1], time_masks)[:, :, None] | _hidden(x.shape[2], frequency_masks)[:, None, :]
    return x.masked_fill(hidden, 0.0)


def filter_augment(x: Tensor, gain: Tensor, std: Tensor) -> Tensor:
    """Add each clip's gain (batch, n_mels) in dB to standardised log-mel (batch, frames, n_mels) of deviation `std`."""
    return x + (gain * LOG_PER_DB / std)[:, None, :]


def _masks(size: int, longest: int, batch: int, rng: np.random.Generator) -> NDArray[np.int64]:
    length = rng.integers(min(longest, size) + 1, size=(batch, MASKS))
    first = rng.integers(size - length + 1)
    return np.stack([first, first + length], axis=-1)


def _filter(n_mels: int, rng: np.random.Generator) -> NDArray[np.float64]:
    points = int(rng.integers(FILTER_BANDS[0], FILTER_BANDS[1] + 1))
    inner = np.sort(rng.uniform(0, n_mels - 1, points - 2))
    gains = rng.uniform(-FILTER_DB, FILTER_DB, points)
    return np.interp(np.arange(n_mels), np.concatenate([[0], inner, [n_mels - 1]]), gains)


def _hidden(size: int, masks: Tensor) -> Tensor:
    place = torch.arange(size, device=masks.device)
    return ((place >= masks[..., :1]) & (place < masks[..., 1:])).any(dim=1)


def _on(values: NDArray[np.int64] | NDArray[np.float32], x: Tensor) -> Tensor:
    return torch.from_numpy(values).to(x.device, non_blocking=True)
