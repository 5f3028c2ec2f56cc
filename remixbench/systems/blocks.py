"""The pieces that encoders and decoder share: the double convolution, widths, first values of the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width`, rounded, at least 4."""
    return max(4, round(channels * width))


class _Average(torch.autograd.Function):
    """3×3 average, stride 1, zero padding counted: the size stays and the edges fade.

    A bin's neighbours have it as theirs, so the gradient is the same average of the gradient: on a CPU that
    takes a fifth of the time of avg_pool2d's own backward.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return average(gradient)


def average(x: Tensor) -> Tensor:
    """Replace each bin of (batch, channels, frames, bands) by a ninth of the sum of its 3×3 neighbourhood."""
    averaged: Tensor = _Average.apply(x)  # type: ignore[no-untyped-call]  # torch gives it no types
    return averaged


class ConvBlock(nn.Module):
    """Twice a 3×3 convolution without bias, batch norm and ReLU; then, if asked, `average`.

    `last_relu=False` leaves the second ReLU out.
    """

    def __init__(self, inputs: int, outputs: int, *, average: bool, last_relu: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.average = average
        self.last_relu = last_relu

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, frames, bands) to (batch, outputs, frames, bands)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.bn2(self.conv2(x))
        if self.last_relu:
            x = F.relu(x, inplace=True)
        if self.average:
            x = average(x)
        return x


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Fill every weight and buffer of `network` with its first value, drawn from `generator` alone.

    Convolutions are uniform within ±sqrt(6 / fan in) with biases 0, batch norms 1 and 0; Linear layers
    (they occur in the two-step attention only) are uniform within ±1 / sqrt(fan in), biases too.
    Tensors are filled in the order of their names' registration, so a seed means one set of weights.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            _uniform(module.weight, math.sqrt(6 / fan_in), generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            _uniform(module.weight, bound, generator)
            _uniform(module.bias, bound, generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()


def _uniform(weight: Tensor, bound: float, generator: torch.Generator) -> None:
    with torch.no_grad():
        weight.uniform_(-bound, bound, generator=generator)
