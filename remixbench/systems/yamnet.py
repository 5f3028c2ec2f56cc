"""YAMNet as a frozen encoder, from a quantised TensorFlow Lite file of the user's.

MobileNet v1 trained on AudioSet: 27 convolutions over patches of log-mel, 96 frames by 64 bands, averaged to 1,024
dimensions. The 8-bit weights of the file are read with the small `tflite` package and computed with in float32, a batch
at a time; nothing of TensorFlow is needed.

The published classifier takes patches of 0.96 s every 0.48 s from the start of the recording. Here the recording is
padded by a quarter of a patch on both sides, so that the middle of patch i is the middle of the time from i · 0.48 s to
(i + 1) · 0.48 s that its embedding stands for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from remixbench.errors import InputError
from remixbench.files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE, N_FFT, WINDOW, HOP = 16_000, 512, 400, 160
BANDS, LOWEST, HIGHEST = 64, 125.0, 7500.0
OFFSET = 0.001
"""Added before the logarithm."""
PATCH, STEP = 96, 48
"""Frames of a patch, and from one to the next: 0.96 s and 0.48 s."""
CONVOLUTIONS = 27
STRIDED = (0, 3, 7, 11, 23)
"""Convolutions of stride 2."""
PATCHES_AT_ONCE = 32
MAX_FILE = 64 << 20


class YamNet(nn.Module):
    """YAMNet without its classifier: waveforms (B, samples) at 16 kHz to embeddings (B, frames, 1,024).

    Parameters
    ----------
    weights : the file, such as `yamnet_spectra_in.tflite` of google-coral/coralmicro.
    """

    version = "1"
    sample_rate = RATE
    frame_seconds = STEP * HOP / RATE
    dimensions = 1024
    pretrained_on: ClassVar = ("AudioSet",)
    description = "YAMNet: MobileNet v1, 521 classes of AudioSet; 0.96 s every 0.48 s"
    licence = "Apache-2.0"
    citation = (
        "M. Plakal and D. Ellis, YAMNet, TensorFlow Model Garden, 2020; J. F. Gemmeke et al., Audio Set: An ontology"
        " and human-labeled dataset for audio events, ICASSP 2017"
    )

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        if weights is None:
            raise InputError(
                "encoder 'yamnet': needs the file of its weights, as yamnet@FILE: yamnet_spectra_in.tflite, in the"
                " folder models/ of google-coral/coralmicro on GitHub"
            )
        layers = list(_layers(Path(weights)))
        if len(layers) != CONVOLUTIONS:
            raise _not_yamnet(weights, f"has {len(layers)} convolutions, expected {CONVOLUTIONS}")
        self.convolutions = nn.ModuleList(
            _convolution(number, kernel, bias, weights) for number, (kernel, bias) in enumerate(layers)
        )
        self.register_buffer("bank", torch.from_numpy(mel_bank()), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.bank: Tensor
        self.window: Tensor

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return embeddings (B, frames, 1,024); as many frames of 0.48 s as cover the waveform."""
        patches = self.patches(waveforms)
        parts = [self.embed(part) for part in torch.split(patches.flatten(0, 1), PATCHES_AT_ONCE)]
        return torch.cat(parts).reshape(*patches.shape[:2], self.dimensions)

    def patches(self, waveforms: Tensor) -> Tensor:
        """Return the log-mel patches (B, frames, 96, 64) of waveforms (B, samples)."""
        frames = -(-waveforms.shape[1] // (STEP * HOP))
        before = (PATCH - STEP) // 2 * HOP
        samples = ((frames - 1) * STEP + PATCH - 1) * HOP + WINDOW
        padded = F.pad(waveforms, (before, samples - before - waveforms.shape[1]))
        framed = padded.unfold(1, WINDOW, HOP) * self.window
        magnitude = torch.fft.rfft(framed, N_FFT).abs()
        return torch.log(magnitude @ self.bank + OFFSET).unfold(1, PATCH, STEP).transpose(2, 3)

    def embed(self, patches: Tensor) -> Tensor:
        """Return the embeddings (N, 1,024) of log-mel patches (N, 96, 64)."""
        x = patches.unsqueeze(1)
        for convolution in self.convolutions:
            x = F.relu6(convolution(_padded_as_tensorflow(x, convolution)), inplace=True)
        return x.mean(dim=(2, 3))


def mel_bank() -> NDArray[np.float32]:
    """Return the mel bank (bins, bands); bin 0 has no weight."""
    bank = htk_triangles(RATE, N_FFT, BANDS, LOWEST, HIGHEST)
    bank[0] = 0
    return bank.astype(np.float32)


def htk_triangles(rate: int, n_fft: int, bands: int, lowest: float, highest: float) -> NDArray[np.float64]:
    """Return a mel bank (bins, bands) of triangles of peak 1 on the mel scale of HTK, 1127 ln(1 + f / 700)."""
    bins = 1127.0 * np.log1p(np.linspace(0, rate / 2, n_fft // 2 + 1) / 700.0)[:, None]
    low, high = (1127.0 * np.log1p(np.array([lowest, highest]) / 700.0)).tolist()
    edges = np.linspace(low, high, bands + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    bank: NDArray[np.float64] = np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre))
    return bank.clip(min=0)


def _padded_as_tensorflow(x: Tensor, convolution: nn.Module) -> Tensor:
    """Pad for a 3×3 convolution of stride 2 as TensorFlow's "same" does: an odd total, the larger half at the end."""
    if not isinstance(convolution, nn.Conv2d) or convolution.stride == (1, 1):
        return x
    totals = [1 if size % 2 == 0 else 2 for size in x.shape[2:]]
    (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
    return F.pad(x, (left, right, top, bottom))


def _convolution(number: int, kernel: NDArray[np.float32], bias: NDArray[np.float32], weights: Path) -> nn.Conv2d:
    """Return a convolution of the weights; the odd ones are depthwise, and (1, height, width, channels) in the file."""
    depthwise = number % 2 == 1
    kernel = kernel.transpose(3, 0, 1, 2) if depthwise else kernel.transpose(0, 3, 1, 2)
    outputs, inputs, *size = kernel.shape
    if size != ([3, 3] if depthwise or number == 0 else [1, 1]) or len(bias) != outputs or (depthwise and inputs != 1):
        raise _not_yamnet(weights, f"convolution {number} has a kernel {kernel.shape} and {len(bias)} biases")
    layer = nn.Conv2d(
        outputs if depthwise else inputs,
        outputs,
        (size[0], size[1]),
        stride=2 if number in STRIDED else 1,
        padding=1 if size == [3, 3] and number not in STRIDED else 0,
        groups=outputs if depthwise else 1,
    )
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(kernel))
    layer.bias = nn.Parameter(torch.from_numpy(np.ascontiguousarray(bias)))
    return layer


def _layers(weights: Path) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield kernel and bias of every convolution of a TensorFlow Lite file, dequantised, in order."""
    try:
        import tflite
    except ImportError:
        raise InputError(
            "encoder 'yamnet': needs the package that reads its weights; install it with `pip install tflite`"
        ) from None
    data = read_bytes(weights, MAX_FILE)
    if data[4:8] != b"TFL3":
        raise _not_yamnet(weights, "is not a TensorFlow Lite file")
    try:
        model = tflite.Model.GetRootAs(data, 0)
        graph = model.Subgraphs(0)
        for number in range(graph.OperatorsLength()):
            operator = graph.Operators(number)
            code = model.OperatorCodes(operator.OpcodeIndex()).DeprecatedBuiltinCode()
            if code in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
                _, kernel, bias = (graph.Tensors(int(index)) for index in operator.InputsAsNumpy())
                yield _dequantised(model, kernel, np.int8), _dequantised(model, bias, np.int32)
    except InputError:
        raise
    except Exception as error:  # in a broken file the reader follows arbitrary offsets
        raise _not_yamnet(weights, f"cannot be read ({type(error).__name__})") from None


def _dequantised(model: Any, tensor: Any, dtype: type[np.generic]) -> NDArray[np.float32]:
    """Return a constant tensor of a TensorFlow Lite model as float32."""
    values = np.frombuffer(model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes(), dtype)
    values = values.reshape(tensor.ShapeAsNumpy()).astype(np.float32)
    quantisation = tensor.Quantization()
    shape = [1] * values.ndim
    shape[quantisation.QuantizedDimension()] = -1
    zeros = quantisation.ZeroPointAsNumpy().astype(np.float32).reshape(shape)
    scaled: NDArray[np.float32] = (values - zeros) * quantisation.ScaleAsNumpy().astype(np.float32).reshape(shape)
    return scaled


def _not_yamnet(weights: Path, problem: str) -> InputError:
    return InputError(f"encoder 'yamnet': {weights}: {problem}; expected yamnet_spectra_in.tflite")
