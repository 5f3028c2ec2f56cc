"""The published networks, layer by layer: blocks, encoders, poolings, decoder, and the seven systems made of them.

`gap`, `gmp`, `gwrp`, `atrous-ap`, `2ap` and `2ap-aux` are those of Deshmukh, Raj and Singh, "Improving weakly
supervised sound event detection with self-supervised auxiliary tasks", Interspeech 2021, as in their released code;
encoder and rank pooling come from Kong et al., "Sound event detection and time-frequency segmentation from weakly
labelled data", TASLP 2019. `tests/systems/test_golden.py` holds them to the released networks' outputs.

Shapes: B clips, C classes, T frames, F mel bands, D channels. Input is standardised log-mel (B, T, F).
Poolings are computed in float32 whatever the precision of the convolutions: sums over 20,000 bins, saturated
sigmoids and logarithms lose too much in bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from remixbench.errors import InputError
from remixbench.systems.output import Output, switched_off

# Blocks -------------------------------------------------------------------------------------------------------------


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width`, rounded, at least 4."""
    return max(4, round(channels * width))


def float32(x: Tensor) -> torch.autocast:
    """Return a context in which nothing on the device of `x` is cast to a lower precision."""
    return torch.autocast(device_type=x.device.type, enabled=False)


class _AvgPool3x3(torch.autograd.Function):
    """The gradient of a 3×3 average of stride 1 is the same average of the gradient.

    On a CPU that takes a fifth of the time of avg_pool2d's own backward.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return avg_pool3x3(gradient)


def avg_pool3x3(x: Tensor) -> Tensor:
    """Average (B, D, T, F) over 3×3 bins, stride 1, zero padding counted: the size stays and the edges fade."""
    averaged: Tensor = _AvgPool3x3.apply(x)  # type: ignore[no-untyped-call]  # torch gives it no types
    return averaged


class ConvBlock(nn.Module):
    """Twice a 3×3 convolution without bias, batch norm and ReLU; then, with `average`, `avg_pool3x3`.

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
        """Map (B, inputs, T, F) to (B, outputs, T, F)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.bn2(self.conv2(x))
        if self.last_relu:
            x = F.relu(x, inplace=True)
        return avg_pool3x3(x) if self.average else x


# Encoders -----------------------------------------------------------------------------------------------------------


class VggEncoder(nn.Module):
    """Four `ConvBlock`s at full resolution; the systems differ in the last width and in the averages."""

    def __init__(self, channels: Sequence[int], width: float, *, average: bool) -> None:
        super().__init__()
        outputs = [scaled(count, width) for count in channels]
        inputs = [1, *outputs[:-1]]
        self.block1, self.block2, self.block3, self.block4 = (
            ConvBlock(i, o, average=average) for i, o in zip(inputs, outputs, strict=True)
        )
        self.channels = outputs[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 1, T, F) to (B, self.channels, T, F)."""
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
        """Map (B, 1, T, F) to (B, self.channels, T, F)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return F.relu(self.bn3(self.conv3(x)), inplace=True)


# Poolings -----------------------------------------------------------------------------------------------------------


def mean_pooling(maps: Tensor) -> Tensor:
    """Global average pooling: (B, C, T, F) to (B, C)."""
    return maps.mean(dim=(2, 3))


def max_pooling(maps: Tensor) -> Tensor:
    """Global max pooling: (B, C, T, F) to (B, C)."""
    return maps.flatten(2).max(dim=2).values


def rank_pooling(maps: Tensor, decay: float) -> Tensor:
    """Global weighted rank pooling: (B, C, T, F) to (B, C).

    The values of a map, largest first, weighted by decay^rank and divided by the sum of the weights
    (Kolesnikov and Lampert 2016; Kong et al. 2019). 0 < decay <= 1; 1 is the mean.
    """
    values = maps.flatten(2).sort(dim=2, descending=True).values  # (B, C, T·F)
    weights = torch.pow(decay, torch.arange(values.shape[2], dtype=torch.float64))  # Apple's GPUs have no float64
    return values @ (weights / weights.sum()).to(values.dtype).to(values.device)


class AttentionPooling(nn.Module):
    """Attention pooling over time and frequency at once, as in the released `atrous-ap`.

    With p the softmax over the classes and a the attention sigmoid, clamped to [0.1, 0.9], a clip score
    is the sigmoid of the mean of log p weighted by a. It cannot exceed 0.5: rank by it, or lower the
    threshold.

    Neither paper nor code defines frame scores and maps for it. Here a map is p · a (the class probability of a bin, by
    the weight of the bin), a frame score the mean of the map over frequency, as for the other systems
    whose clip score is pooled from maps. Both reach 0.9.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(inputs, classes, 1)
        self.classification = nn.Conv2d(inputs, classes, 1)

    def forward(self, features: Tensor) -> Output:
        """Map features (B, inputs, T, F) to an `Output`."""
        # one product for both, with the classes last: the features are read once, and nothing is copied
        weight, bias = (
            torch.cat(pair) for pair in zip(self.attention.parameters(), self.classification.parameters(), strict=True)
        )
        attention, classification = F.conv2d(features, weight, bias).permute(0, 2, 3, 1).chunk(2, dim=3)  # (B, T, F, C)
        with float32(features):
            clamped = torch.sigmoid(attention.float()).clamp(0.1, 0.9)
            per_frame = clamped.sum(dim=2)  # (B, T, C)
            total = per_frame.sum(dim=1)  # (B, C)
            log_probability = torch.log_softmax(classification.float(), dim=3)
            maps = log_probability.exp() * clamped  # (B, T, F, C)
            return Output(
                clip_scores=torch.sigmoid((log_probability * clamped).sum(dim=(1, 2)) / total),
                frame_scores=maps.mean(dim=2),
                tf_maps=maps.permute(0, 3, 1, 2),
                frequency_attention=(clamped / per_frame.unsqueeze(2)).permute(0, 3, 1, 2),
                time_attention=(per_frame / total.unsqueeze(1)).transpose(1, 2),
            )


class TwoStepAttention(nn.Module):
    """Two-step attention pooling: class maps over frequency, then over time (Deshmukh et al. 2021, section 3.2).

    Each step weighs a classification by an attention that sums to 1. The released code and the paper's equations 4 to 7
    differ in where the sigmoid stands, and `form` chooses:

    `released`: classification sigmoid(L1 z), attention softmax(L2 z); the second sum is clamped to [0, 1].
    `paper`: classification L1 z, attention softmax(sigmoid(L2 z)). The sums are then logits, and the equations
    do not say how the last one becomes a probability; here by a sigmoid (a clamp would leave no gradient).

    Frame scores come from the first step's output z (class × time): the Linear layers of the time step mix all
    frames, so its own classification belongs to no frame. But z has no sign: the time step is a learned linear map
    over it, so training may make z fall where a class is present. `find_direction` finds out which, and from then on
    frame scores are z, or 1 - z, times the clip score; maps (the first step's classification times its attention,
    relative to the largest attention of the frame) are oriented and gated alike. Before, or with `oriented=False`, they
    are left as z gives them. `raw_frame_scores` are always z.
    """

    direction: Tensor

    def __init__(self, frames: int, n_mels: int, *, form: str, oriented: bool = True) -> None:
        super().__init__()
        self.frequency_classification = nn.Linear(n_mels, n_mels)
        self.frequency_attention = nn.Linear(n_mels, n_mels)
        self.time_classification = nn.Linear(frames, frames)
        self.time_attention = nn.Linear(frames, frames)
        self.form = form
        self.oriented = oriented
        # 1 where z rises with the clip scores, -1 where it falls, 0 before `find_direction`
        self.register_buffer("direction", torch.zeros(()))

    def forward(self, maps: Tensor) -> Output:
        """Pool maps (B, C, T, F) before any sigmoid; T and F must be those the layers were made for."""
        with float32(maps):
            by_bin, frequency_attention, z = self._pool_frequency(maps)
            clip, time_attention = self._pool_time(z)
            if self.form == "paper":
                z, by_bin = torch.sigmoid(z), torch.sigmoid(by_bin)
            z = z.clamp(0, 1)  # a sum of products whose weights add up to 1 only to rounding
            if self.training:  # the loss needs no maps
                tf_maps = None
            else:
                largest = frequency_attention.amax(dim=3, keepdim=True)
                tf_maps = self._orient(by_bin, clip[:, :, None, None]) * (frequency_attention / largest)
            return Output(
                clip_scores=clip,
                frame_scores=self._orient(z, clip.unsqueeze(2)).transpose(1, 2),
                tf_maps=tf_maps,
                frequency_attention=frequency_attention,
                time_attention=time_attention,
                raw_frame_scores=z.transpose(1, 2),
            )

    def slope(self, maps: Tensor) -> Tensor:
        """Return the sum of d(clip score)/dz over all z of a batch of maps (B, C, T, F): a scalar."""
        with torch.enable_grad(), float32(maps):
            z = self._pool_frequency(maps)[2].detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self._pool_time(z)[0].sum(), z)
        return gradient.sum()

    def _pool_frequency(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the classification (B, C, T, F), the attention (B, C, T, F) and their product's sum z (B, C, T)."""
        frames, n_mels = self.time_attention.in_features, self.frequency_attention.in_features
        if tuple(maps.shape[2:]) != (frames, n_mels):
            size_given = " × ".join(str(size) for size in maps.shape[2:])
            raise InputError(
                f"input of {size_given} frames × mel bands, but this network was made for {frames} × {n_mels}"
            )
        maps = maps.to(torch.float32, memory_format=torch.contiguous_format)
        by_bin, attention = self._step(maps, self.frequency_classification, self.frequency_attention)
        return by_bin, attention, (by_bin * attention).sum(dim=3)

    def _pool_time(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clip scores (B, C) and the attention (B, C, T)."""
        over_time, attention = self._step(z, self.time_classification, self.time_attention)
        clip = (over_time * attention).sum(dim=2)
        return torch.sigmoid(clip) if self.form == "paper" else clip.clamp(0, 1), attention

    def _orient(self, values: Tensor, clip_scores: Tensor) -> Tensor:
        """Turn values in [0, 1] so that high means present, and gate them by the clip scores; see the class."""
        if not self.oriented:
            return values
        turned = torch.where(self.direction < 0, 1 - values, values)
        return torch.where(self.direction == 0, values, turned * clip_scores)

    def _step(self, x: Tensor, classification: nn.Linear, attention: nn.Linear) -> tuple[Tensor, Tensor]:
        values, weights = classification(x), attention(x)
        if self.form == "paper":
            return values, torch.softmax(torch.sigmoid(weights), dim=-1)
        return torch.sigmoid(values), torch.softmax(weights, dim=-1)


# Decoder ------------------------------------------------------------------------------------------------------------


class Decoder(nn.Module):
    """The auxiliary task: encoder features (or class maps) to the standardised log-mel.

    Four averaged `ConvBlock`s of 128, 64, 32 and 1 channels. As released the last block ends in a ReLU, although the
    target is partly negative; `output="linear"` leaves that one ReLU out.
    """

    def __init__(self, inputs: int, width: float, *, output: str) -> None:
        super().__init__()
        first, second, third = (scaled(count, width) for count in (128, 64, 32))
        self.block1 = ConvBlock(inputs, first, average=True)
        self.block2 = ConvBlock(first, second, average=True)
        self.block3 = ConvBlock(second, third, average=True)
        self.block4 = ConvBlock(third, 1, average=True, last_relu=output == "relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, F) to a reconstruction (B, T, F), float32."""
        reconstruction: Tensor = self.block4(self.block3(self.block2(self.block1(x))))
        return reconstruction.squeeze(1).float()


# Networks -----------------------------------------------------------------------------------------------------------


class MapNetwork(nn.Module):
    """`gap`, `gmp`, `gwrp`: one map per class, sigmoid, pooled over time and frequency.

    A frame score is the mean of the map over frequency (Kong et al.).
    """

    def __init__(self, classes: int, width: float, pool: Callable[[Tensor], Tensor], bias: str = "released") -> None:
        super().__init__()
        self.bias = bias
        self.encoder = VggEncoder((32, 64, 128, 128), width, average=False)
        self.class_maps = nn.Conv2d(self.encoder.channels, classes, 1)
        self.pool = pool

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the first weights as released; see `initialise_as_released`."""
        initialise_as_released(self, generator)

    def set_prior(self, prior: Tensor) -> None:
        """With `bias="prior"`, let the maps begin near the mean labels `prior` (C,) instead of 0.5."""
        if self.bias == "prior":
            set_bias(self.class_maps.bias, prior)

    def forward(self, x: Tensor) -> Output:
        """Map standardised log-mel (B, T, F) to an `Output`."""
        logits = self.class_maps(self.encoder(x.unsqueeze(1)))  # (B, C, T, F)
        with float32(x):
            maps = torch.sigmoid(logits.to(torch.float32, memory_format=torch.contiguous_format))
            return Output(self.pool(maps), maps.mean(dim=3).transpose(1, 2), maps)


class AtrousNetwork(nn.Module):
    """`atrous-ap`: dilated encoder, attention pooling over time and frequency at once."""

    def __init__(self, classes: int, width: float, bias: str = "released") -> None:
        super().__init__()
        self.bias = bias
        self.encoder = DilatedEncoder(width)
        self.pooling = AttentionPooling(self.encoder.channels, classes)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the first weights as released; the attention starts equal for all bins."""
        initialise_as_released(self, generator)
        nn.init.zeros_(self.pooling.attention.weight)

    def set_prior(self, prior: Tensor) -> None:
        """With `bias="prior"`, let the softmax over the classes begin with the odds of the mean labels `prior` (C,).

        Clip scores begin at about 1 / C whatever the bias, since the softmax divides 1 among the classes.
        """
        if self.bias == "prior":
            set_bias(self.pooling.classification.bias, prior)

    def forward(self, x: Tensor) -> Output:
        """Map standardised log-mel (B, T, F) to an `Output`."""
        output: Output = self.pooling(self.encoder(x.unsqueeze(1)))
        return output


class TwoStepNetwork(nn.Module):
    """Class maps and two-step attention: `2ap`, and with a decoder `2ap-aux` and `atrous-2ap-aux`.

    The decoder of `atrous-2ap-aux` is that of `2ap-aux` unchanged (both encoders end in 256 channels), so
    that the two differ in the encoder alone.

    Parameters
    ----------
    attention : the `form` of `TwoStepAttention`.
    frame_scores : `oriented` or `raw`.
    decoder_input : `features` or `maps`; None makes a network without decoder.
    dilated : whether the encoder is the dilated one in place of the VGG-like one.
    """

    def __init__(
        self,
        classes: int,
        frames: int,
        n_mels: int,
        width: float,
        attention: str,
        frame_scores: str,
        decoder_input: str | None = None,
        decoder_output: str = "relu",
        bias: str = "released",
        *,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        self.bias = bias
        self.reconstructs = True
        self.encoder: VggEncoder | DilatedEncoder = (
            DilatedEncoder(width) if dilated else VggEncoder((32, 64, 128, 256), width, average=True)
        )
        self.class_maps = nn.Conv2d(self.encoder.channels, classes, 1)
        self.attention = TwoStepAttention(frames, n_mels, form=attention, oriented=frame_scores == "oriented")
        self.decoder_input = decoder_input
        self.decoder = None
        if decoder_input is not None:
            inputs = classes if decoder_input == "maps" else self.encoder.channels
            self.decoder = Decoder(inputs, width, output=decoder_output)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the first weights as released; see `initialise_as_released`."""
        initialise_as_released(self, generator)

    def set_prior(self, prior: Tensor) -> None:
        """With `bias="prior"`, let the clip scores begin near the mean of the labels `prior` (C,) instead of 0.5.

        The last layer before them, the classification over time, is the same for all classes, and so is its bias.
        """
        if self.bias == "prior":
            set_bias(self.attention.time_classification.bias, prior.mean())

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Orient frame scores and maps, from training clips, after the training; see `find_direction`."""
        find_direction(self, batches)

    def forward(self, x: Tensor) -> Output:
        """Map standardised log-mel (B, T, F) to an `Output`."""
        features = self.encoder(x.unsqueeze(1))  # (B, D, T, F)
        maps = self.class_maps(features)  # (B, C, T, F)
        output: Output = self.attention(maps)
        if self.decoder is None or not self.reconstructs:
            return output
        # with alpha 0 nothing trains the decoder, so training skips it
        if self.training and not next(self.decoder.parameters()).requires_grad:
            return output
        return output._replace(reconstruction=self.decoder(maps if self.decoder_input == "maps" else features))


def without_decoder(network: nn.Module) -> AbstractContextManager[None]:
    """Skip the decoder of a network that has one, since scores do not depend on it; other networks are unchanged."""
    return switched_off(network, "reconstructs") if isinstance(network, TwoStepNetwork) else nullcontext()


def find_direction(network: TwoStepNetwork, batches: Iterable[Tensor]) -> None:
    """Set the direction of two-step attention: the sign of the mean of d(clip score)/dz over clips.

    Parameters
    ----------
    network : the trained network; its mode is restored.
    batches : standardised log-mel (B, T, F) of training clips, on the network's device.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            slopes = [network.attention.slope(network.class_maps(network.encoder(x.unsqueeze(1)))) for x in batches]
    finally:
        network.train(was_training)
    total = sum(float(slope) for slope in slopes)
    network.attention.direction.fill_(-1.0 if total < 0 else 1.0)


def initialise_as_released(network: nn.Module, generator: torch.Generator) -> None:
    """Fill every weight and buffer of a published network with its first value, drawn from `generator` alone.

    Convolutions are uniform within ±sqrt(6 / fan in) with biases 0, batch norms 1 and 0; Linear layers
    (they occur in the two-step attention only) are uniform within ±1 / sqrt(fan in), biases too.
    Tensors are filled in the order of their registration, so a seed gives one set of weights.
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


def set_bias(bias: Tensor | None, prior: Tensor) -> None:
    """Fill a layer's bias with the log odds of `prior`, in (0, 1), so that its sigmoid begins there."""
    if bias is not None:
        with torch.no_grad():
            bias.copy_(torch.logit(prior))


def _uniform(weight: Tensor, bound: float, generator: torch.Generator) -> None:
    with torch.no_grad():
        weight.uniform_(-bound, bound, generator=generator)


# Systems: what registry.py names, beside the classes -----------------------------------------------------------------

gap = partial(MapNetwork, pool=mean_pooling)
gmp = partial(MapNetwork, pool=max_pooling)
atrous_two_step = partial(TwoStepNetwork, dilated=True)


def gwrp(classes: int, width: float, decay: float, bias: str) -> nn.Module:
    """Global weighted rank pooling."""
    return MapNetwork(classes, width, lambda maps: rank_pooling(maps, decay), bias)
