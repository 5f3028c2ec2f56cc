"""Augmentations of a batch: functions of its inputs and targets and a seeded generator, by name in `AUGMENTATIONS`.

| name | what it does | where it comes from |
| --- | --- | --- |
| `time-shift` | rolls each clip in time, circularly | Cakir et al., TASLP 2017; usual in DCASE task 4 |
| `frequency-shift` | moves each clip up or down by a few mel bands | what a change of pitch does to log-mel, roughly |
| `filter-augment` | adds a random piecewise linear gain over frequency | Nam et al., ICASSP 2022 |
| `mixup` | mixes each clip and its labels with another of the batch | Zhang et al., ICLR 2018 |
| `specaugment` | sets two bands of time and two of frequency to the mean | Park et al., Interspeech 2019 |

They are applied in this order. Inputs x are standardised log-mel (batch, frames, n_mels) on any device; `time-shift`
and `mixup` take waveforms (batch, samples) and embeddings (batch, frames, dimensions) too, and treat two inputs of a
network alike. Targets y are (batch, classes); `std` (n_mels,) is what the log-mel was divided by. Draws come from a
generator on the device of x, so that nothing is copied and the CPU never waits for a GPU. The same seed gives different
draws on a GPU and on a CPU.

To add one, write its function, add it to `AUGMENTATIONS`, and its name to `Augmentation` in `remixbench/recipe.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

MASKS = 2
"""Masks per axis of SpecAugment ("LD" policy: two of each)."""
TIME_MASK, FREQUENCY_MASK = 1 / 15, 1 / 8
"""The longest mask, as a part of the frames and of the mel bands: 20 of 311 and 8 of 64."""
FREQUENCY_SHIFT = 1 / 12
"""The largest shift in frequency, as a part of the mel bands: 5 of 64."""
FILTER_POINTS = (3, 6)
"""The fewest and the most points between which a filter is linear."""
FILTER_DB = 6.0
"""The largest gain of a filter, and the largest loss."""
LOG_PER_DB = math.log(10) / 20
"""Natural logarithm of magnitude per dB: log-mel is the logarithm of a magnitude."""


def time_shift(x: Tensor, y: Tensor, generator: Generator, std: Tensor) -> tuple[Tensor, Tensor]:
    """Roll each clip circularly by its own number of steps, as torch.roll does."""
    return _rolled(x, torch.randint(x.shape[1], (len(x), 1), generator=generator, device=x.device)), y


def _rolled(x: Tensor, shift: Tensor) -> Tensor:
    """Return clips (batch, time, ...), each rolled by its number of steps, (batch, 1)."""
    steps = x.shape[1]
    source = (torch.arange(steps, device=x.device) - shift) % steps
    return x.gather(1, source.view(*source.shape, *[1] * (x.dim() - 2)).expand_as(x))


def frequency_shift(x: Tensor, y: Tensor, generator: Generator, std: Tensor) -> tuple[Tensor, Tensor]:
    """Move each clip up or down by its own number of bands, repeating the outermost band at the edge."""
    bands = x.shape[-1]
    most = round(bands * FREQUENCY_SHIFT)
    shift = torch.randint(-most, most + 1, (len(x), 1), generator=generator, device=x.device)
    source = (torch.arange(bands, device=x.device) - shift).clamp(0, bands - 1)
    return x.gather(2, source[:, None, :].expand_as(x)), y


def filter_augment(x: Tensor, y: Tensor, generator: Generator, std: Tensor) -> tuple[Tensor, Tensor]:
    """Add to each clip a gain over frequency, linear between 3 to 6 points of up to 6 dB.

    The outer points lie on the lowest and the highest band, the others anywhere between.
    """
    batch, last, most = len(x), x.shape[-1] - 1, FILTER_POINTS[1]
    uniform = torch.rand(batch, 2 * most, generator=generator, device=x.device)
    count = torch.randint(FILTER_POINTS[0], most + 1, (batch, 1), generator=generator, device=x.device)
    number = torch.arange(most, device=x.device)
    # points beyond the number drawn repeat the last one
    between = (number > 0) & (number < count - 1)
    points = torch.where(between, uniform[:, :most] * last, (number > 0) * float(last)).sort(dim=1)[0]
    gains = ((2 * uniform[:, most:] - 1) * FILTER_DB).gather(1, number.minimum(count - 1))
    bands = torch.arange(last + 1, device=x.device, dtype=x.dtype).expand(batch, -1).contiguous()
    right = torch.searchsorted(points, bands, right=True).clamp(1, most - 1)
    left = right - 1
    width = (points.gather(1, right) - points.gather(1, left)).clamp_min(1e-6)
    part = ((bands - points.gather(1, left)) / width).clamp(0, 1)
    gain = torch.lerp(gains.gather(1, left), gains.gather(1, right), part)
    return x + (gain * LOG_PER_DB / std)[:, None, :], y


def mixup(x: Tensor, y: Tensor, generator: Generator, std: Tensor) -> tuple[Tensor, Tensor]:
    """Mix each clip and its labels linearly with a partner's: weight · (x, y) + (1 - weight) · (partner).

    The weight has a Beta(1/2, 1/2) distribution, folded to [1/2, 1]: the cos² of an angle that is uniform up to 45°.
    """
    partner = torch.rand(len(x), generator=generator, device=x.device).argsort()
    angle = torch.rand(len(x), generator=generator, device=x.device) * (math.pi / 4)
    weight = angle.cos().square()
    mixed = torch.lerp(x[partner], x, weight.view(-1, *[1] * (x.dim() - 1)))
    return mixed, torch.lerp(y[partner], y, weight[:, None])


def spec_augment(x: Tensor, y: Tensor, generator: Generator, std: Tensor) -> tuple[Tensor, Tensor]:
    """Set two bands of time and two of frequency to 0, the mean of standardised log-mel."""
    frames = _hidden(len(x), x.shape[1], TIME_MASK, generator)
    bands = _hidden(len(x), x.shape[2], FREQUENCY_MASK, generator)
    return x.masked_fill(frames[:, :, None] | bands[:, None, :], 0.0), y


def _hidden(batch: int, size: int, largest: float, generator: Generator) -> Tensor:
    """Return which of `size` steps the masks of an axis cover, (batch, size)."""
    longest = min(size, max(1, round(size * largest)))
    device = generator.device
    length = torch.randint(longest + 1, (batch, MASKS, 1), generator=generator, device=device)
    position = torch.rand(batch, MASKS, 1, generator=generator, device=device)
    first = (position * (size - length + 1)).long().minimum(size - length)
    steps = torch.arange(size, device=device)
    return ((steps >= first) & (steps < first + length)).any(dim=1)


@dataclass(frozen=True)
class Augmentation:
    """A function from (x, y, generator, std) to (x, y), and whether x may be a waveform."""

    apply: Callable[[Tensor, Tensor, Generator, Tensor], tuple[Tensor, Tensor]]
    waveform: bool = False


AUGMENTATIONS = {
    "time-shift": Augmentation(time_shift, waveform=True),
    "frequency-shift": Augmentation(frequency_shift),
    "filter-augment": Augmentation(filter_augment),
    "mixup": Augmentation(mixup, waveform=True),
    "specaugment": Augmentation(spec_augment),  # after mixup, so that no partner fills the masks
}
"""In the order in which they are applied."""


def augment(
    inputs: tuple[Tensor, ...], y: Tensor, std: Tensor, names: Collection[str], seed_of: Callable[[str], int]
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Apply the named augmentations to the inputs and targets of a batch, whatever the order of the names.

    Each has its own draws, seeded by `seed_of` its name, so that leaving one out does not change the others. Those for
    log-mel only leave embeddings beside it unchanged.
    """
    generator = Generator(y.device)
    for name, augmentation in AUGMENTATIONS.items():
        if name not in names:
            continue
        seed = seed_of(name)
        if augmentation.apply is time_shift and len(inputs) > 1:
            inputs = shift_together(inputs, generator.manual_seed(seed))
            continue
        first, *others = inputs
        if augmentation.waveform:  # its draws are the same for each input, since they depend on the batch alone
            others = [augmentation.apply(other, y, generator.manual_seed(seed), std)[0] for other in others]
        first, y = augmentation.apply(first, y, generator.manual_seed(seed), std)
        inputs = (first, *others)
    return inputs, y


def shift_together(inputs: tuple[Tensor, ...], generator: Generator) -> tuple[Tensor, ...]:
    """Roll the inputs (batch, time, ...) of each clip by the same time, a whole number of the coarsest steps."""
    coarsest = min(x.shape[1] for x in inputs)
    turns = torch.randint(coarsest, (len(inputs[0]), 1), generator=generator, device=inputs[0].device)
    return tuple(_rolled(x, (turns * (x.shape[1] / coarsest)).round().long()) for x in inputs)
