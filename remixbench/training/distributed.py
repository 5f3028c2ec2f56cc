"""The processes that train one network together, as `torchrun` starts them; usually there is one.

The mathematics are those of one process: every batch is sharded, batch norm sees all of it, and the gradients are
summed. All processes see the same files; the main process, of rank 0, alone writes and reports progress.
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

TIMEOUT = timedelta(hours=1)
"""How long a process waits for the others before it fails. The main process writes a run's predictions alone, for which
torch's default of ten minutes may be too short on a CPU; a process that died is noticed by torchrun at once.
"""


@dataclass(frozen=True)
class DistContext:
    """`world_size` processes, of which this has the number `rank`."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def shard_batch(self, indices: Tensor, paired: bool = False) -> Tensor:
        """Return this process's part of a batch; it may be empty.

        With `paired` clip i of the first half of a batch and of its second half come to the same process, as its clips
        i of the first and of the second half; the clip in the middle of an odd number stays in the middle.
        """
        if self.world_size == 1:
            return indices
        if not paired:
            return indices[self.rank :: self.world_size]
        half = len(indices) // 2
        first, middle, second = indices[:half], indices[half : len(indices) - half], indices[len(indices) - half :]
        has_middle = half % self.world_size == self.rank
        parts = [part[self.rank :: self.world_size] for part in (first, second)]
        return torch.cat([parts[0], middle if has_middle else middle[:0], parts[1]])

    def prepare(self, network: nn.Module) -> nn.Module:
        """Return the network with batch norm over the batches of all processes; its weights stay the same objects."""
        if self.world_size == 1:
            return network
        cuda = next(network.parameters()).device.type == "cuda"
        return convert_sync_batchnorm(network, CudaSyncBatchNorm if cuda else CpuSyncBatchNorm)

    def all_reduce_gradients(self, network: nn.Module) -> None:
        """Replace every gradient by its sum over the processes, in one exchange."""
        if self.world_size == 1:
            return
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, total in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.view(gradient.shape))

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes; the tensor itself becomes it."""
        if self.world_size > 1:
            distributed.all_reduce(values)
        return values

    def broadcast(self, value: Any) -> Any:
        """Return what process 0 has, in every process."""
        if self.world_size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


SINGLE_PROCESS = DistContext()


@contextmanager
def process_group(device: torch.device) -> Iterator[DistContext]:
    """Yield the processes that `torchrun` has started, or this process alone.

    Raises
    ------
    InputError
        If the processes cannot reach each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield SINGLE_PROCESS
        return
    if distributed.is_initialized():  # by a program that calls us
        yield DistContext(distributed.get_rank(), distributed.get_world_size())
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # NCCL exchanges objects through the current device
    try:
        # gloo as well, for tensors on the CPU
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    except (ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise InputError(
            f"WORLD_SIZE is {size}, but the processes do not meet ({reason}); start with torchrun"
        ) from None
    try:
        yield DistContext(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


def local_rank() -> int | None:
    """Return the number of this process on its machine; None unless torchrun started it."""
    rank = os.environ.get("LOCAL_RANK")
    return None if rank is None else int(rank)


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


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
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


class CudaSyncBatchNorm(nn.SyncBatchNorm):
    """torch's own; an empty batch is made float32, since that is what the other processes exchange under autocast."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (batch, channels, ...)."""
        return super().forward(input if len(input) else input.float()).to(input.dtype)


def convert_sync_batchnorm(
    network: nn.Module, kind: type[CpuSyncBatchNorm | CudaSyncBatchNorm] = CpuSyncBatchNorm
) -> nn.Module:
    """Return the network with every batch norm replaced by one of `kind`, over all processes, of the same weights."""
    if isinstance(network, nn.modules.batchnorm._BatchNorm):
        shared = kind(network.num_features, network.eps, network.momentum, network.affine, network.track_running_stats)
        shared._parameters = network._parameters
        shared._buffers = network._buffers
        return shared.train(network.training)
    for name, child in network.named_children():
        setattr(network, name, convert_sync_batchnorm(child, kind))
    return network
