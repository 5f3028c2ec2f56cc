"""What a system costs: parameters, and multiply-accumulate operations of a forward pass, counted and not typed."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from remixbench.systems.encoders import PretrainedEncoder


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-accumulate operations (MACs) per clip."""

    parameters: int
    macs: int


def count_cost(network: nn.Module, *shape: int | tuple[int, ...]) -> Cost:
    """Count a network's parameters and the MACs of its forward pass on one clip.

    Convolutions and matrix products are counted, as the operators of torch.utils.flop_counter (a MAC is two of its
    operations), and recurrent layers; normalisation, activations and sums are not, as is usual. A copy on the CPU is
    counted: on a GPU a recurrent layer is one operator that torch does not count.

    Parameters
    ----------
    network : left as it is.
    shape : of one clip's input: frames and mel bands, or samples; of a network of several inputs one tuple for each.
    """
    several = [size for size in shape if isinstance(size, tuple)]
    shapes = several or [tuple(size for size in shape if isinstance(size, int))]
    copied = copy.deepcopy(network).cpu().eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        copied(*(torch.zeros(1, *size) for size in shapes))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, counter.get_total_flops() // 2)


def count_encoder_macs(encoder: PretrainedEncoder, samples: int) -> int | None:
    """Count the MACs of a frozen encoder on one clip, as `count_cost` does; None where torch computes none of them."""
    device = next((weight.device for module in encoder.modules for weight in module.parameters()), torch.device("cpu"))
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        encoder.call(torch.zeros(1, samples, device=device))
    return counter.get_total_flops() // 2 or None
