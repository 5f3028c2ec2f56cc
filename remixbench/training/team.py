"""The processes that train one network together, as `torchrun` starts them; usually there is one.

The mathematics are those of one process: every batch is dealt out, batch norm sees all of it, and the gradients are
summed. All processes see the same files; number 0 alone writes and speaks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from remixbench.errors import InputError

LONGEST_WAIT = timedelta(days=1)
"""How long the others wait for number 0, which writes predictions alone; torch's ten minutes may be too short."""


@dataclass(frozen=True)
class Team:
    """`size` processes, of which this is number `rank`."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, places: Tensor) -> Tensor:
        """Return this process's part of a batch; it may be empty."""
        return places if self.size == 1 else places[self.rank :: self.size]

    def prepare(self, network: nn.Module) -> nn.Module:
        """Return the network with batch norm over the batches of all processes; its weights stay the same objects."""
        if self.size == 1:
            return network
        cuda = next(network.parameters()).device.type == "cuda"
        return share_batch_norm(network, GpuBatchNorm if cuda else SharedBatchNorm)

    def add_gradients(self, network: nn.Module) -> None:
        """Replace every gradient by its sum over the processes, in one exchange."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, total in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.view(gradient.shape))

    def add(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes; the tensor itself becomes it."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def agree(self, value: Any) -> Any:
        """Return what process 0 has, in every process."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


ALONE = Team()


@contextmanager
def gather(device: torch.device) -> Iterator[Team]:
    """Yield the team that `torchrun` has started, or this process alone.

    Raises
    ------
    InputError
        If the processes cannot reach each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if distributed.is_initialized():  # by a program that calls us
        yield Team(distributed.get_rank(), distributed.get_world_size())
        return
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    except (ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise InputError(
            f"WORLD_SIZE is {size}, but the processes do not meet ({reason}); start with torchrun"
        ) from None
    try:
        yield Team(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


def local_rank() -> int:
    """Return which of its machine's processes this is."""
    return int(os.environ.get("LOCAL_RANK", "0"))


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batches of all processes, on the CPU, for which torch's own is not made.

    A process may have an empty batch. Mean and variance are exchanged one after the other, in float32 at least, so that
    no digits are lost to a difference of large sums.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (batch, channels, ...)."""
        if not self.training:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        over = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = x.new_tensor([x.numel() / x.shape[1]])
        sums: Tensor = _Sum.apply(torch.cat([x.sum(over), count]))  # type: ignore[no-untyped-call]  # torch gives it no types
        number = sums[-1]
        mean = sums[:-1] / number
        centred = x - mean.view(shape)
        squares: Tensor = _Sum.apply((centred * centred).sum(over))  # type: ignore[no-untyped-call]  # torch gives it no types
        variance = squares / number
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, weight)
                self.running_var.lerp_(squares / (number - 1), weight)
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        normal = centred * scale.view(shape)
        if self.affine:
            normal = normal + self.bias.view(shape)
        return normal.to(input.dtype)


class GpuBatchNorm(nn.SyncBatchNorm):
    """torch's own; an empty batch is made float32, since that is what the other processes exchange under autocast."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (batch, channels, ...)."""
        return super().forward(input if len(input) else input.float()).to(input.dtype)


def share_batch_norm(network: nn.Module, kind: type[SharedBatchNorm | GpuBatchNorm] = SharedBatchNorm) -> nn.Module:
    """Return the network with every batch norm replaced by one of `kind`, over all processes, of the same weights."""
    if isinstance(network, nn.modules.batchnorm._BatchNorm):
        shared = kind(network.num_features, network.eps, network.momentum, network.affine, network.track_running_stats)
        shared._parameters = network._parameters
        shared._buffers = network._buffers
        return shared.train(network.training)
    for name, child in network.named_children():
        setattr(network, name, share_batch_norm(child, kind))
    return network
