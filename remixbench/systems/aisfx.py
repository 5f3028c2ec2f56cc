"""aiSFX as a frozen encoder, from the checkpoint in its PyPI package; no code of the package is imported.

A CNN of eight 3×3 convolutions over log-mel, trained to classify sound-effects libraries (Ma and Lerch, ISMIR 2022).
The published embedding of two seconds is the maximum over time of its last feature map, averaged over frequency; here
the map itself is kept, an embedding every 0.186 s, so that events can be found in time.

The log-mel is computed here from the published description: frames of 2,048 samples at 44.1 kHz every 1,024, centred,
Hann window, power, 96 bands on the mel scale of HTK from 0 Hz to 22,050 Hz, each of sum 1, log10(1 + 10,000 x), divided
by the largest value of the training data.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from remixbench.errors import InputError, one_line
from remixbench.files import check_regular
from remixbench.systems.yamnet import htk_triangles

RATE, N_FFT, HOP, BANDS = 44_100, 2048, 1024, 96
FACTOR = 10_000.0
"""The power is multiplied by this before log10(1 + x)."""
LARGEST = 9.457798957824707
"""The log-mel is divided by this."""
CHANNELS = (64, 128, 256, 512)
POOLS = (2, 2, 2, 1)
"""Of time and frequency after each block of two convolutions."""
PREFIX = "embedding_net."
MAX_FILE = 256 << 20
REMEDY = "install it with `pip install --no-deps aisfx`, or give its checkpoint.pth as aisfx@FILE"


class AiSfx(nn.Module):
    """aiSFX without its classifiers: waveforms (B, samples) at 44.1 kHz to embeddings (B, frames, 512).

    Parameters
    ----------
    weights : `checkpoint.pth`; by default that of the installed package.
    """

    version = "1"
    sample_rate = RATE
    frame_seconds = HOP * int(np.prod(POOLS)) / RATE
    dimensions = CHANNELS[-1]
    pretrained_on: ClassVar = ("sound-effects libraries (Pro Sound Effects, Soundly, UCS Mixed and others)",)
    description = "aiSFX: CNN9 trained on sound-effects libraries; every 0.186 s"
    licence = "CC BY 4.0"
    citation = (
        "A. B. Ma and A. Lerch, Representation learning for the automatic indexing of sound effects libraries, ISMIR"
        " 2022, 866-875"
    )

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(_convolutions(weights or _installed()))
        self.register_buffer("bank", torch.from_numpy(mel_bank()), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT, periodic=False), persistent=False)
        self.bank: Tensor
        self.window: Tensor

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return embeddings (B, frames, 512)."""
        x = self.logmel(waveforms).unsqueeze(1)
        for number, convolution in enumerate(self.convolutions):
            x = F.relu(convolution(x), inplace=True)
            if number % 2 and (pool := POOLS[number // 2]) > 1:
                x = F.max_pool2d(x, pool)
        return x.mean(dim=3).transpose(1, 2)

    def logmel(self, waveforms: Tensor) -> Tensor:
        """Return the log-mel (B, frames, 96) of waveforms (B, samples), in [0, 1] for full scale."""
        spectrum = torch.stft(waveforms, N_FFT, HOP, window=self.window, pad_mode="constant", return_complex=True)
        power = spectrum.abs().square().transpose(1, 2)
        return torch.log10(1 + FACTOR * (power @ self.bank)) / LARGEST


def mel_bank() -> NDArray[np.float32]:
    """Return the mel bank (bins, bands): triangles on the mel scale of HTK, each of sum 1."""
    bank = htk_triangles(RATE, N_FFT, BANDS, 0.0, RATE / 2)
    normalised: NDArray[np.float32] = (bank / bank.sum(axis=0)).astype(np.float32)
    return normalised


def _installed() -> Path:
    """Return the checkpoint of the installed package, without importing it."""
    package = find_spec("aisfx")
    if package is None or not package.submodule_search_locations:
        raise InputError(f"encoder 'aisfx': the package aisfx is not installed; {REMEDY}")
    return Path(package.submodule_search_locations[0]) / "models" / "checkpoint.pth"


def _convolutions(weights: Path) -> list[nn.Module]:
    """Return the convolutions of the checkpoint, a pair of tensors and of names, with their batch norms folded in.

    Nothing in the checkpoint is executed.
    """
    check_regular(weights, MAX_FILE)
    layers: list[nn.Module] = []
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            tensors = torch.load(weights, map_location="cpu", weights_only=True)[0]
        for block, (inputs, outputs) in enumerate(zip((1, *CHANNELS[:-1]), CHANNELS, strict=True), start=1):
            for number, channels in ((1, inputs), (2, outputs)):
                convolution, norm = nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
                for name, layer in (("conv", convolution), ("bn", norm)):
                    start = f"{PREFIX}conv_block{block}.{name}{number}."
                    state = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
                    layer.load_state_dict(state)
                layers.append(fuse_conv_bn_eval(convolution.eval(), norm.eval()))
    except Exception as error:  # torch.load raises almost anything on a broken file
        raise InputError(
            f"encoder 'aisfx': {weights}: not its checkpoint ({one_line(error)[:120]}); {REMEDY}"
        ) from None
    return layers


def _numpy_scalars() -> list[Any]:
    """Return what the checkpoint's table of data sets consists of: numpy integers."""
    from numpy._core.multiarray import scalar

    kinds = {type(np.dtype(name)) for name in ("int64", "int32")}
    return [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *kinds]
