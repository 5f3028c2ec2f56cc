"""The auxiliary decoder: encoder features (or class maps) in, the standardised log-mel out."""

from __future__ import annotations

from torch import Tensor, nn

from remixbench.systems.blocks import ConvBlock, scaled


class Decoder(nn.Module):
    """Four averaged `ConvBlock`s of 128, 64, 32 and 1 channels.

    As released the last block ends in a ReLU, although the target is partly negative;
    `output="linear"` leaves that one ReLU out.
    """

    def __init__(self, inputs: int, width: float, *, output: str) -> None:
        super().__init__()
        first, second, third = (scaled(count, width) for count in (128, 64, 32))
        self.block1 = ConvBlock(inputs, first, average=True)
        self.block2 = ConvBlock(first, second, average=True)
        self.block3 = ConvBlock(second, third, average=True)
        self.block4 = ConvBlock(third, 1, average=True, last_relu=output == "relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, frames, bands) to a reconstruction (batch, frames, bands), float32."""
        reconstruction: Tensor = self.block4(self.block3(self.block2(self.block1(x))))
        return reconstruction.squeeze(1).float()
