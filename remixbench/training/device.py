"""What a training computes on: device and precision, and the processes that train one network together.

`torchrun` starts several processes; usually there is one. The result is that of one process: every batch is sharded,
batch norm sees all of it, and the gradients are summed. All processes see the same files; only the main process (rank
0) writes files and reports progress.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce

from remixbench.errors import InputError, RemixbenchError, is_out_of_memory
from remixbench.training.config import PRECISIONS, one_of

CPUINFO = Path("/proc/cpuinfo")
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")


@dataclass(frozen=True)
class Engine:
    """A device and a precision, `32` or `bf16`."""

    device: torch.device
    precision: str

    def autocast(self) -> torch.autocast:
        """Return the context for a forward pass: bfloat16 autocast, or nothing."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, in the memory order in which its convolutions are fastest."""
        network.to(self.device)
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.dim() == 4:  # Module.to(memory_format=...) refuses networks that have tensors of five dimensions
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
        return network

    @property
    def name(self) -> str:
        """Name of the device, as its manufacturer gives it."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else processor_name()


def choose_device(device: str, local_rank: int | None = None) -> torch.device:
    """Return the device of a name: `auto` is CUDA where there is a GPU, else the CPU; `cuda` the first GPU.

    `local_rank` is the number of this process where torchrun started several on this machine: each takes the GPU of
    its number.
    """
    device = str(device)  # in Python also a torch.device
    number = re.fullmatch(r"cuda:([0-9]{1,4})", device)
    kind = "cuda" if number else one_of("--device", device, DEVICES)
    if kind == "cpu" or (kind == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("--device mps: this machine, or this build of torch, has no Apple GPU; use --device cpu")
        return torch.device("mps")
    if not torch.cuda.is_available():
        raise InputError(f"--device {device}: this machine, or this build of torch, has no GPU; use --device cpu")
    count = torch.cuda.device_count()
    if number and local_rank is not None:
        raise InputError(f"--device {device}: torchrun gives each process a GPU of its own; use --device cuda")
    if number and int(number[1]) >= count:
        raise InputError(f"--device {device}: this machine has {count} GPU(s), the last is cuda:{count - 1}")
    if local_rank is not None and local_rank >= count:
        raise InputError(f"process {local_rank + 1} of this machine has no GPU, there are {count}; start fewer")
    return torch.device("cuda", int(number[1]) if number else local_rank or 0)


def choose_precision(precision: str, device: torch.device) -> str:
    """Return `32` or `bf16`; `auto` is bf16 where the hardware multiplies it faster."""
    precision = str(precision)  # in Python also 32
    if one_of("--precision", precision, PRECISIONS) != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "32"
    if device.type == "mps":
        return "32"
    return "bf16" if cpu_has_bf16(_cpuinfo()) else "32"


def cpu_has_bf16(cpuinfo: str) -> bool:
    """Tell from the text of /proc/cpuinfo whether the processor has bfloat16 products."""
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return flags is not None and bool({"avx512_bf16", "amx_bf16"} & set(flags[1].split()))


def processor_name() -> str:
    """Return the processor's name, as the system reports it."""
    match = re.search(r"^model name\s*:\s*(.*)$", _cpuinfo(), re.MULTILINE)
    return match[1] if match else "CPU"


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@contextmanager
def enough_memory(what: str, device: torch.device, remedy: str) -> Iterator[None]:
    """Turn running out of memory into an error of one line: what needs it (`what`) and the `remedy`."""
    try:
        yield
    except (RuntimeError, MemoryError, ImportError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        owner = "this machine" if device.type == "cpu" else f"the device {device}"
        raise RemixbenchError(f"{what}: the memory of {owner} is not enough; {remedy}") from error


@contextmanager
def exact_float32() -> Iterator[None]:
    """Let float32 mean float32 on every device, and let cuDNN look for the fastest algorithm.

    The previous state is restored afterwards. Only torch's current switches are used: it refuses to mix them with the
    older ones (`allow_tf32`, `set_float32_matmul_precision`), which a caller may have used.
    """
    cudnn: Any = torch.backends.cudnn  # torch's types lack some of its switches
    mkldnn: Any = torch.backends.mkldnn
    general: tuple[Any, ...] = (torch.backends, cudnn, mkldnn)
    operators: tuple[Any, ...] = (
        torch.backends.cuda.matmul,
        cudnn.conv,
        cudnn.rnn,
        mkldnn.matmul,
        mkldnn.conv,
        mkldnn.rnn,
    )
    before: list[tuple[Any, str]] = []
    # the general ones first: an operator without its own value shows theirs
    for switches, value in ((general, "none"), (operators, "ieee")):
        for switch in switches:
            before.append((switch, switch.fp32_precision))
            switch.fp32_precision = value
    benchmark, cudnn.benchmark = cudnn.benchmark, True
    try:
        yield
    finally:
        cudnn.benchmark = benchmark
        for switch, value in reversed(before):
            switch.fp32_precision = value


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let torch compute with `count` threads; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


TIMEOUT = timedelta(hours=1)
"""How long a process waits for the others before it fails. They wait while the main process writes a run's predictions,
for which torch's default of ten minutes may be too short on a CPU; torchrun notices a dead process at once.
"""


@dataclass(frozen=True)
class DistContext:
    """A group of `world_size` processes, of which this one is number `rank`."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def shard_batch(self, indices: Tensor, paired: bool = False) -> Tensor:
        """Return this process's part of a batch; it may be empty.

        With `paired`, the clips i of both halves of a batch stay together, as clips i of both halves of a process's
        part; with an odd number of clips, the one in the middle stays in the middle.
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
        """Return the network with batch norm over the batches of all processes; it shares the network's weights."""
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
        """Return the sum of a tensor over the processes, in place."""
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
    """Yield the processes that `torchrun` has started, or this process alone."""
    size = process_number("WORLD_SIZE") or 1
    if size == 1:
        yield SINGLE_PROCESS
        return
    if distributed.is_initialized():  # by a calling program
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
            f"WORLD_SIZE is {size}, but the processes cannot reach each other ({reason}); start with torchrun"
        ) from None
    try:
        yield DistContext(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


def local_rank() -> int | None:
    """Return the number of this process on its machine; None unless torchrun started it."""
    return process_number("LOCAL_RANK")


def process_number(variable: str) -> int | None:
    """Return a number that torchrun gives each process, None where it is not set."""
    text = os.environ.get(variable, "").strip()
    if text and not text.isdecimal():
        raise InputError(
            f"environment variable {variable} is '{text[:40]}', expected a number; unset it, or start with torchrun"
        )
    return int(text) if text else None


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batches of all processes, on the CPU, which torch's own does not support.

    A process may have an empty batch. The mean is exchanged before the variance, in at least float32, so that no digits
    are lost in a difference of large sums.
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
        sums: Tensor = all_reduce(torch.cat([x.sum(over), count]))  # type: ignore[no-untyped-call]  # torch gives it no types
        number = sums[-1]
        mean = sums[:-1] / number
        centred = x - mean.view(shape)
        squares: Tensor = all_reduce((centred * centred).sum(over))  # type: ignore[no-untyped-call]  # torch gives it no types
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
    """Return the network with every batch norm replaced by `kind`, over all processes, with the same weights."""
    if isinstance(network, nn.modules.batchnorm._BatchNorm):
        shared = kind(network.num_features, network.eps, network.momentum, network.affine, network.track_running_stats)
        shared._parameters = network._parameters
        shared._buffers = network._buffers
        return shared.train(network.training)
    for name, child in network.named_children():
        setattr(network, name, convert_sync_batchnorm(child, kind))
    return network
