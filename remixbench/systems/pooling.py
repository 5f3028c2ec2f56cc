"""From maps over time and frequency to one score a class.

All of it is float32, whatever the precision of the convolutions: sums over 20,000 bins, sigmoids that
saturate and logarithms lose too much in bfloat16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remixbench.systems.output import Output


def float32(x: Tensor) -> torch.autocast:
    """Return a context in which nothing on `x`'s device is cast to a lower precision."""
    return torch.autocast(device_type=x.device.type, enabled=False)


def mean_pooling(maps: Tensor) -> Tensor:
    """Global average pooling: (batch, classes, frames, bands) to (batch, classes)."""
    return maps.mean(dim=(2, 3))


def max_pooling(maps: Tensor) -> Tensor:
    """Global max pooling: (batch, classes, frames, bands) to (batch, classes)."""
    return maps.flatten(2).max(dim=2).values


def rank_pooling(maps: Tensor, decay: float) -> Tensor:
    """Global weighted rank pooling: (batch, classes, frames, bands) to (batch, classes).

    The values of a map, largest first, weighted by decay^rank and divided by the sum of the weights
    (Kolesnikov and Lampert 2016; Kong et al. 2019). 0 < decay <= 1; 1 is the mean.
    """
    values = maps.flatten(2).sort(dim=2, descending=True).values
    ranks = torch.arange(values.shape[2], device=values.device, dtype=torch.float64)
    weights = torch.pow(decay, ranks)
    return values @ (weights / weights.sum()).to(values.dtype)


class AttentionPooling(nn.Module):
    """Attention pooling over time and frequency at once, as the released `atrous-ap` does it.

    With p the softmax over the classes and a the attention sigmoid, clamped to [0.1, 0.9], a clip's score
    is the sigmoid of the mean of log p weighted by a. It cannot exceed 0.5: rank by it, or lower the
    threshold.

    Frame scores and maps are nowhere defined for it. Here a map is p · a (what a bin says of a class, by
    how much it is listened to), a frame's score the map's mean over frequency, as for the other systems
    whose clip score is pooled from maps. Both reach 0.9.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(inputs, classes, 1)
        self.classification = nn.Conv2d(inputs, classes, 1)

    def forward(self, features: Tensor) -> Output:
        """Map features (batch, inputs, frames, bands) to an `Output`."""
        # one product for both, and classes kept last: the features are read once, and nothing is moved about in memory
        weight, bias = (
            torch.cat(pair) for pair in zip(self.attention.parameters(), self.classification.parameters(), strict=True)
        )
        attention, classification = F.conv2d(features, weight, bias).permute(0, 2, 3, 1).chunk(2, dim=3)
        with float32(features):
            clamped = torch.sigmoid(attention.float()).clamp(0.1, 0.9)
            per_frame = clamped.sum(dim=2)
            total = per_frame.sum(dim=1)
            log_probability = torch.log_softmax(classification.float(), dim=3)
            maps = log_probability.exp() * clamped
            return Output(
                clip_scores=torch.sigmoid((log_probability * clamped).sum(dim=(1, 2)) / total),
                frame_scores=maps.mean(dim=2),
                maps=maps.permute(0, 3, 1, 2),
                frequency_attention=(clamped / per_frame.unsqueeze(2)).permute(0, 3, 1, 2),
                time_attention=(per_frame / total.unsqueeze(1)).transpose(1, 2),
            )
