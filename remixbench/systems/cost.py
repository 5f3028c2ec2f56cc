"""What a system costs: its parameters, and the multiply-accumulate operations (MACs) of a forward pass."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from remixbench.systems.encoders import PretrainedEncoder
from remixbench.systems.models import without_decoder


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-accumulate operations (MACs) per clip."""

    parameters: int
    macs: int


def count_cost(network: nn.Module, *shape: int | tuple[int, ...]) -> Cost:
    """Count a network's parameters and the MACs of detection: of its forward pass on one clip, without the decoder of a
    published system, which only training needs.

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
    with torch.no_grad(), without_decoder(copied), _counting() as counter:
        copied(*(torch.zeros(1, *size) for size in shapes))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, counter.get_total_flops() // 2)


def count_encoder_macs(encoder: PretrainedEncoder, samples: int) -> int | None:
    """Count the MACs of a frozen encoder on one clip, as `count_cost` does; None where torch computes none of them."""
    device = next((weight.device for module in encoder.modules for weight in module.parameters()), torch.device("cpu"))
    with torch.no_grad(), _counting() as counter:
        encoder.call(torch.zeros(1, samples, device=device))
    return counter.get_total_flops() // 2 or None


@contextmanager
def _counting() -> Iterator[FlopCounterMode]:
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mkldnn_rnn_layer: _lstm_operations}) as counter:
        mode: Any = counter.mode
        # its guard against torch.compile would import the compiler, which takes longer than torch itself
        unguarded: Any = type("Unguarded", (type(mode),), {})
        unguarded.__torch_dispatch__ = inspect.unwrap(mode.__torch_dispatch__.__func__)
        mode.__class__ = unguarded
        yield counter


def _lstm_operations(
    x: Sequence[int], from_inputs: Sequence[int], from_state: Sequence[int], *_: Any, **__: Any
) -> int:
    """Return the operations of one direction of an LSTM layer from the shapes of its inputs and weights.

    On a CPU the layer is one operator of oneDNN, which torch does not count; that of a GRU falls into products.
    """
    return 2 * math.prod(x[:2]) * (math.prod(from_inputs) + math.prod(from_state))
