"""An example system: a recurrent network over the mel bands, with mean or maximum over time."""

import torch
from torch import nn

from remixbench.systems import Output


class Bands(nn.Module):
    def __init__(self, classes: int, n_mels: int, size: int, pooling: str) -> None:
        super().__init__()
        self.recurrent = nn.GRU(n_mels, size, batch_first=True, bidirectional=True)
        self.classify = nn.Linear(2 * size, classes)
        self.pooling = pooling

    def forward(self, x: torch.Tensor) -> Output:  # (batch, frames, n_mels), standardised log-mel
        frames = torch.sigmoid(self.classify(self.recurrent(x)[0]))  # (batch, frames, classes)
        return Output(frames.mean(1) if self.pooling == "mean" else frames.amax(1), frames)


def bands(classes: int, frames: int, n_mels: int, width: float, pooling: str) -> nn.Module:
    return Bands(classes, n_mels, max(4, round(64 * width)), pooling)


bands.description = "recurrent network over the mel bands"
bands.options = {"pooling": ("mean", "max")}  # the default first
