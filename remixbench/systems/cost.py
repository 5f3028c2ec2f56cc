"""What a system costs: parameters, and multiply-accumulate operations of a forward pass, counted and not typed."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-accumulate operations (MACs) per clip."""

    parameters: int
    macs: int


def count_cost(network: nn.Module, *shape: int) -> Cost:
    """Count a network's parameters and the MACs of its forward pass on one clip.

    Convolutions and matrix products are counted, as the operators of torch.utils.flop_counter (a MAC is two of its
    operations), and recurrent layers; normalisation, activations and sums are not, as is usual. A copy on the CPU is
    counted: on a GPU a recurrent layer is one operator that torch does not count.

    Parameters
    ----------
    network : left as it is.
    shape : of one clip's input: frames and mel bands, or samples.
    """
    copied = copy.deepcopy(network).cpu().eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        copied(torch.zeros(1, *shape))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, counter.get_total_flops() // 2)
