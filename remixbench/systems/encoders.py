"""Two encoders: log-mel in, features of the same number of frames and bands out."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from remixbench.systems.blocks import ConvBlock, scaled


class VggEncoder(nn.Module):
    """Four `ConvBlock`s; the released systems differ in the last width and in the averages."""

    def __init__(self, channels: Sequence[int], width: float, *, average: bool) -> None:
        super().__init__()
        outputs = [scaled(count, width) for count in channels]
        inputs = [1, *outputs[:-1]]
        self.block1, self.block2, self.block3, self.block4 = (
            ConvBlock(i, o, average=average) for i, o in zip(inputs, outputs, strict=True)
        )
        self.channels = outputs[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, frames, bands) to (batch, self.channels, frames, bands)."""
        features: Tensor = self.block4(self.block3(self.block2(self.block1(x))))
        return features


class DilatedEncoder(nn.Module):
    """Three 5×5 convolutions of 64, 128, 256 channels and dilation 1, 2, 4, each with batch norm and ReLU."""

    def __init__(self, width: float) -> None:
        super().__init__()
        first, second, third = (scaled(count, width) for count in (64, 128, 256))
        self.conv1 = nn.Conv2d(1, first, 5, padding=2, dilation=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 5, padding=4, dilation=2, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        self.conv3 = nn.Conv2d(second, third, 5, padding=8, dilation=4, bias=False)
        self.bn3 = nn.BatchNorm2d(third)
        self.channels = third

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, frames, bands) to (batch, self.channels, frames, bands)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return F.relu(self.bn3(self.conv3(x)), inplace=True)
