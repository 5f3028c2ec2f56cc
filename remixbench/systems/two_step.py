"""Two-step attention pooling: first over frequency, then over time.

Both steps weigh a classification by an attention that sums to 1. The released code and the paper's equations
4 to 7 differ in where the sigmoid stands, and `form` chooses:

`released`: classification sigmoid(L1 z), attention softmax(L2 z); the second sum is clamped to [0, 1].
`paper`: classification L1 z, attention softmax(sigmoid(L2 z)). The sums are then logits, and the equations
do not say how a probability comes of the last; here by a sigmoid (a clamp would leave no gradient).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from remixbench.errors import InputError
from remixbench.systems.output import Output
from remixbench.systems.pooling import float32


class TwoStepAttention(nn.Module):
    """Class maps (batch, classes, frames, bands), not yet squashed, to an `Output`.

    A frame's score is the first step's outcome (class × time): the Linear layers of the time step mix all
    frames, so its own classification belongs to no frame. A map is the first step's classification
    times its attention, the attention relative to the largest of the frame: the band most listened
    to keeps its score, a band not listened to gets 0.
    """

    def __init__(self, frames: int, bands: int, *, form: str) -> None:
        super().__init__()
        self.frequency_classification = nn.Linear(bands, bands)
        self.frequency_attention = nn.Linear(bands, bands)
        self.time_classification = nn.Linear(frames, frames)
        self.time_attention = nn.Linear(frames, frames)
        self.form = form

    def forward(self, maps: Tensor) -> Output:
        """Pool (batch, classes, frames, bands); frames and bands must be those the layers were made for."""
        frames, bands = self.time_attention.in_features, self.frequency_attention.in_features
        if tuple(maps.shape[2:]) != (frames, bands):
            found = " × ".join(str(size) for size in maps.shape[2:])
            raise InputError(f"input of {found} frames × bands, but this network was made for {frames} × {bands}")
        with float32(maps):
            maps = maps.to(torch.float32, memory_format=torch.contiguous_format)
            by_band, frequency_attention = self._step(maps, self.frequency_classification, self.frequency_attention)
            by_frame = (by_band * frequency_attention).sum(dim=3)
            over_time, time_attention = self._step(by_frame, self.time_classification, self.time_attention)
            clip = (over_time * time_attention).sum(dim=2)
            if self.form == "paper":
                clip, by_frame, by_band = (torch.sigmoid(logit) for logit in (clip, by_frame, by_band))
            else:
                clip = clip.clamp(0, 1)
            largest = frequency_attention.amax(dim=3, keepdim=True)
            return Output(
                clip_scores=clip,
                # sums of products whose weights add up to 1 only to rounding
                frame_scores=by_frame.clamp(0, 1).transpose(1, 2),
                maps=by_band * (frequency_attention / largest),
                frequency_attention=frequency_attention,
                time_attention=time_attention,
            )

    def _step(self, x: Tensor, classification: nn.Linear, attention: nn.Linear) -> tuple[Tensor, Tensor]:
        values, weights = classification(x), attention(x)
        if self.form == "paper":
            return values, torch.softmax(torch.sigmoid(weights), dim=-1)
        return torch.sigmoid(values), torch.softmax(weights, dim=-1)
