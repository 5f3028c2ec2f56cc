"""What a system costs: parameters, and multiply-accumulate operations of a forward pass, counted and not typed."""

from __future__ import annotations

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
    operations), and recurrent layers; normalisation, activations and sums are not, as is usual.

    Parameters
    ----------
    network : left in the mode that it was in.
    shape : of one clip's input: frames and mel bands, or samples.
    """
    was_training = network.training
    counter = FlopCounterMode(display=False)
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad(), counter:
            network.eval()(torch.zeros(1, *shape, device=device))
    finally:
        network.train(was_training)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, counter.get_total_flops() // 2)
