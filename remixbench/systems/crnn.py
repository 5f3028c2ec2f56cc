"""`crnn`: a convolutional recurrent network for weakly labelled sound event detection, designed for its cost.

Convolutions learn local patterns, frequency is pooled away, a bidirectional LSTM reads what is left as a sequence
(Cakir et al., TASLP 2017), and frame scores are pooled over time into clip scores (Wang, Li and Metze, ICASSP 2019), as
in CDur (Dinkel, Wu and Yu, TASLP 2021). Here the first convolution has a stride, so that nothing is computed at full
resolution, which is where the published systems spend their operations. It is an LSTM and not a GRU, because
oneDNN supports only the former: with bfloat16 a step of the LSTM is four times as fast on a CPU.

Three choices shorten the training from few clips. The classifier reads the convolutions beside the LSTM, so that it
learns before the LSTM has. Its bias begins at the log odds of the mean label, so that no time is spent on coming down
from 0.5. Frame scores are weighted by their square, so that the few frames of an event count.

Shapes: B clips, C classes, T frames and F mel bands of the log-mel, T' and F' of the feature map, T'' frame scores, D
channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remixbench.systems.models import float32, scaled, set_bias
from remixbench.systems.output import Output

Pooling = Literal["quadratic", "linear", "mean", "max", "attention", "auto", "power"]

STEM = 16
"""Channels of the strided convolution, at width 1."""
BLOCKS = (32, 64, 128, 128)
"""Channels of the blocks, at width 1."""
UNITS = 128
"""Units of the LSTM in each direction, at width 1."""
LONGEST_STEP = 0.15
"""Seconds that a step of the LSTM may last, where the log-mel is finer than that."""
DROPOUT = 0.3
"""Dropout of the features before and after the LSTM; between blocks, half of it, of whole channels."""
WIDENING = 0.64
"""Seconds over which frame scores are widened: scores of the steps are high only where a class is most distinct."""
FIXED_POWERS = {"linear": 1, "quadratic": 2}
"""The power of the frame score that it is weighted by, where it is not learned."""
EPSILON = 1e-6
"""Keeps the base of a power from being 0."""
FRAME_SECONDS = 1024 / 32000
"""Distance of two frames of the log-mel in `remix2019`."""


class Encoder(nn.Module):
    """A strided 5×5 convolution, then 3×3 convolutions that halve the number of bands; each with batch norm and ReLU.

    Parameters
    ----------
    strides : by how much the stem and the first block shorten time.

    Attributes
    ----------
    channels : D of the stem and of each block.
    time_stride : the product of `strides`; T' is T divided by them in turn, rounded up each time.
    """

    def __init__(
        self,
        strides: tuple[int, int] = (2, 2),
        *,
        stem: int = STEM,
        blocks: Sequence[int] = BLOCKS,
        width: float = 1.0,
        dropout: float = DROPOUT / 2,
    ) -> None:
        super().__init__()
        self.channels = [scaled(channels, width) for channels in (stem, *blocks)]
        self.time_stride = strides[0] * strides[1]
        self.stem = nn.Sequential(
            nn.Conv2d(1, self.channels[0], 5, stride=(strides[0], 2), padding=2, bias=False),
            nn.BatchNorm2d(self.channels[0]),
            nn.ReLU(inplace=True),
            _average_pool(1),
        )
        steps = [strides[1], *(1 for _ in blocks[1:])]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
                _average_pool(step),
                nn.Dropout2d(dropout),
            )
            for inputs, outputs, step in zip(self.channels, self.channels[1:], steps, strict=False)
        )

    def stages(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps (B, D, T', F') of log-mel (B, T, F) after the stem and after each block.

        The clip's mean of each band is subtracted first, as in cepstral mean normalisation: this removes the stationary
        level and colour of scene and microphone, so that a network cannot recognise the training scenes by them.
        F' is a quarter of F after the stem, rounded up twice, and halved by each block, rounded up.
        """
        maps = [self.stem((x - x.mean(dim=1, keepdim=True)).unsqueeze(1))]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Map log-mel (B, T, F) to the last feature map (B, D, T', F')."""
        return self.stages(x)[-1]


def _average_pool(time: int) -> nn.Module:
    """Return an average over `time` frames and two bands; at the edge over as many as there are."""
    return nn.AvgPool2d((time, 2), ceil_mode=True)


def time_strides(frame_seconds: float) -> tuple[int, int]:
    """Return the strides of the encoder: two halvings of time, fewer where steps would last over `LONGEST_STEP`."""
    halvings = min(2, max(0, math.floor(math.log2(LONGEST_STEP / frame_seconds))))
    return (2 if halvings > 0 else 1, 2 if halvings > 1 else 1)


class TimePooling(nn.Module):
    """Frame scores y to clip scores, each a weighted mean over frames.

    | pooling | weights |
    | --- | --- |
    | `quadratic` | y²: Σ y³ / Σ y², which is power pooling with n = 2 |
    | `linear` | y: Σ y² / Σ y (Wang, Li and Metze, ICASSP 2019) |
    | `mean`, `max` | all the same; 1 at the maximum |
    | `attention` | softmax over time of a linear map of the features (Kong et al., TASLP 2019) |
    | `auto` | softmax over time of α y, α learned per class (McFee, Salamon and Bello, TASLP 2018) |
    | `power` | yⁿ, n ≥ 0 learned per class (Liu et al., arXiv 2010.09985) |
    """

    def __init__(self, pooling: Pooling, classes: int, features: int) -> None:
        super().__init__()
        self.pooling = pooling
        if pooling == "attention":
            self.attention = nn.Linear(features, classes)
        elif pooling in ("auto", "power"):
            self.exponent = nn.Parameter(torch.ones(classes))

    def forward(self, y: Tensor, features: Tensor) -> Tensor:
        """Return clip scores (B, C).

        Parameters
        ----------
        y : (B, T', C) in [0, 1]
        features : (B, T', features), which only `attention` reads
        """
        if self.pooling == "mean":
            return y.mean(dim=1)
        if self.pooling == "max":
            return y.amax(dim=1)
        if self.pooling == "attention":
            shares: Tensor = self.attention(features).softmax(dim=1)
            return (shares * y).sum(dim=1)
        if self.pooling == "auto":
            return ((self.exponent * y).softmax(dim=1) * y).sum(dim=1)
        exponent = FIXED_POWERS[self.pooling] if self.pooling in FIXED_POWERS else self.exponent.clamp_min(0)
        bounded = y.clamp_min(EPSILON)
        # relative to the largest, whose power cancels: powers of small scores would vanish
        weights = (bounded / bounded.amax(dim=1, keepdim=True).detach()) ** exponent
        return (weights * y).sum(dim=1) / weights.sum(dim=1)


class Crnn(nn.Module):
    """Encoder, mean over bands, bidirectional LSTM and a linear map beside it, frame scores, pooling over time.

    Parameters
    ----------
    frame_seconds : distance of two frames of the log-mel.
    bias : of the classifier at the start: the log odds of the `prior`, or small and `random` as torch draws it.

    Attributes
    ----------
    upsampling : frame scores for each step of the LSTM, up to 2.
    frame_seconds : distance of two frame scores: 0.064 s in `remix2019`, for two frames of the log-mel each.
    """

    def __init__(
        self,
        classes: int,
        width: float = 1.0,
        pooling: Pooling = "quadratic",
        frame_seconds: float = FRAME_SECONDS,
        bias: str = "prior",
    ) -> None:
        super().__init__()
        self.bias = bias
        units = scaled(UNITS, width)
        self.encoder = Encoder(time_strides(frame_seconds), width=width)
        self.upsampling = min(2, self.encoder.time_stride)
        self.frame_seconds = self.encoder.time_stride * frame_seconds / self.upsampling
        self.dropout = nn.Dropout(DROPOUT)
        self.norm = nn.LayerNorm(self.encoder.channels[-1])
        self.recurrent = nn.LSTM(self.encoder.channels[-1], units, batch_first=True, bidirectional=True)
        self.beside = nn.Linear(self.encoder.channels[-1], 2 * units)
        self.classifier = nn.Linear(2 * units, classes)
        self.pool = TimePooling(pooling, classes, 2 * units)

    def set_prior(self, prior: Tensor) -> None:
        """With `bias="prior"`, let the frame scores begin near the mean labels `prior` (C,) instead of 0.5."""
        if self.bias == "prior":
            set_bias(self.classifier.bias, prior)

    def forward(self, x: Tensor) -> Output:
        """Map standardised log-mel (B, T, F) to scores; `frame_scores` are (B, T'', C), `frame_seconds` apart."""
        *_, step_scores, clip_scores = self.classify(x)
        return self.output(x, step_scores, clip_scores)

    def classify(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """Return the encoder's feature maps, features of the sequence, scores of its steps (B, T', C), clip scores."""
        stages = self.encoder.stages(x)
        with float32(x):
            sequence = self.dropout(self.norm(stages[-1].float().mean(dim=3).transpose(1, 2)))
        return (stages, *self.score_sequence(sequence))

    def score_sequence(self, sequence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features, scores of the steps (B, T', C) and clip scores (B, C) of a sequence (B, T', D)."""
        recurrent = self.recurrent(sequence)[0]
        with float32(sequence):  # the poolings accumulate over many frames
            features = self.dropout(recurrent.float() + torch.relu(self.beside(sequence)))
            step_scores = torch.sigmoid(self.classifier(features))
            return features, step_scores, self.pool(step_scores, features)

    def widened(self, step_scores: Tensor) -> Tensor:
        """Return the running mean of the running maximum of scores of the steps (B, T', C), over `WIDENING` each."""
        before = round(WIDENING / (self.frame_seconds * self.upsampling)) // 2
        size = 2 * before + 1
        highest = F.max_pool1d(step_scores.transpose(1, 2), size, stride=1, padding=before)
        return F.avg_pool1d(highest, size, stride=1, padding=before, count_include_pad=False).transpose(1, 2)

    def output(self, x: Tensor, step_scores: Tensor, clip_scores: Tensor, maps: Tensor | None = None) -> Output:
        """Return clip scores (B, C) and the frame scores for them, of log-mel x (B, T, F).

        The scores of the steps are widened and interpolated. A frame score is the geometric mean of that and the clip
        score, so that frames of a clip where the class is unlikely rank below those of one where it is heard.
        """
        finer = self.widened(step_scores).transpose(1, 2)
        if self.upsampling > 1:
            finer = F.interpolate(finer, scale_factor=self.upsampling, mode="linear")
        frames = math.ceil(x.shape[1] * self.upsampling / self.encoder.time_stride)
        return Output(clip_scores, (finer[:, :, :frames].transpose(1, 2) * clip_scores.unsqueeze(1)).sqrt(), maps)
