"""The networks, each an encoder, a way to pool, and for some a decoder; and the one function that makes them.

Layer by layer they are the released networks of Deshmukh, Raj and Singh (Interspeech 2021) and of Kong et al.
(TASLP 2019); `tests/test_systems_golden.py` holds them to those networks' own figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from remixbench.systems.blocks import initialise
from remixbench.systems.decoder import Decoder
from remixbench.systems.encoders import DilatedEncoder, VggEncoder
from remixbench.systems.output import Output
from remixbench.systems.pooling import AttentionPooling, float32, max_pooling, mean_pooling, rank_pooling
from remixbench.systems.registry import OptionValue
from remixbench.systems.two_step import TwoStepAttention


class MapNetwork(nn.Module):
    """`gap`, `gmp`, `gwrp`: a map a class, squashed by a sigmoid, pooled over time and frequency.

    A frame's score is its map's mean over frequency (Kong et al.).
    """

    def __init__(self, classes: int, width: float, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.encoder = VggEncoder((32, 64, 128, 128), width, average=False)
        self.class_maps = nn.Conv2d(self.encoder.channels, classes, 1)
        self.pool = pool

    def forward(self, x: Tensor) -> Output:
        """Map standardised log-mel (batch, frames, bands) to an `Output`."""
        logits = self.class_maps(self.encoder(x.unsqueeze(1)))
        with float32(x):
            maps = torch.sigmoid(logits.to(torch.float32, memory_format=torch.contiguous_format))
            return Output(self.pool(maps), maps.mean(dim=3).transpose(1, 2), maps)


class AtrousNetwork(nn.Module):
    """`atrous-ap`: dilated encoder, attention pooling over time and frequency at once."""

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        self.encoder = DilatedEncoder(width)
        self.pooling = AttentionPooling(self.encoder.channels, classes)

    def forward(self, x: Tensor) -> Output:
        """Map standardised log-mel (batch, frames, bands) to an `Output`."""
        output: Output = self.pooling(self.encoder(x.unsqueeze(1)))
        return output


class TwoStepNetwork(nn.Module):
    """Class maps and two-step attention: `2ap`, and with a decoder `2ap-aux` and `atrous-2ap-aux`.

    The decoder of `atrous-2ap-aux` is that of `2ap-aux` unchanged (both encoders end in 256 channels), so
    that the two differ in the encoder alone.
    """

    def __init__(
        self,
        encoder: VggEncoder | DilatedEncoder,
        attention: TwoStepAttention,
        classes: int,
        width: float,
        decoder_input: str | None,
        decoder_output: str = "relu",
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.class_maps = nn.Conv2d(encoder.channels, classes, 1)
        self.attention = attention
        self.decoder_input = decoder_input
        self.decoder = None
        if decoder_input is not None:
            inputs = classes if decoder_input == "maps" else encoder.channels
            self.decoder = Decoder(inputs, width, output=decoder_output)

    def forward(self, x: Tensor) -> Output:
        """Map standardised log-mel (batch, frames, bands) to an `Output`."""
        features = self.encoder(x.unsqueeze(1))
        maps = self.class_maps(features)
        output: Output = self.attention(maps)
        # a decoder that nothing trains, as where alpha is 0, is not worth its time in training
        if self.decoder is None or (self.training and not next(self.decoder.parameters()).requires_grad):
            return output
        return output._replace(reconstruction=self.decoder(maps if self.decoder_input == "maps" else features))


def create(
    name: str,
    classes: int,
    frames: int,
    bands: int,
    width: float,
    options: Mapping[str, OptionValue],
    seed: int,
) -> nn.Module:
    """Make the bundled system `name` with its first weights; arguments as checked by `registry.build`."""
    network = outline(name, classes, frames, bands, width, options)
    network.to_empty(device="cpu")
    initialise(network, torch.Generator().manual_seed(seed))
    if isinstance(network, AtrousNetwork):
        nn.init.zeros_(network.pooling.attention.weight)  # every bin is listened to alike at first
    return network


def outline(
    name: str, classes: int, frames: int, bands: int, width: float, options: Mapping[str, OptionValue]
) -> nn.Module:
    """Make the bundled system `name` on the meta device: it has shapes, but no values, and takes no memory.

    There no layer draws from the global generator either.
    """
    with torch.device("meta"):
        return _assemble(name, classes, frames, bands, width, options)


def _assemble(
    name: str, classes: int, frames: int, bands: int, width: float, options: Mapping[str, OptionValue]
) -> nn.Module:
    if name == "gap":
        return MapNetwork(classes, width, mean_pooling)
    if name == "gmp":
        return MapNetwork(classes, width, max_pooling)
    if name == "gwrp":
        decay = float(options["decay"])
        return MapNetwork(classes, width, lambda maps: rank_pooling(maps, decay))
    if name == "atrous-ap":
        return AtrousNetwork(classes, width)
    encoder = DilatedEncoder(width) if name == "atrous-2ap-aux" else VggEncoder((32, 64, 128, 256), width, average=True)
    attention = TwoStepAttention(frames, bands, form=str(options["attention"]))
    if name == "2ap":
        return TwoStepNetwork(encoder, attention, classes, width, decoder_input=None)
    return TwoStepNetwork(
        encoder, attention, classes, width, str(options["decoder_input"]), str(options["decoder_output"])
    )
