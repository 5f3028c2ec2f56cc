"""The device to compute on, and the precision."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from remixbench.errors import InputError, RemixbenchError
from remixbench.training.config import PRECISIONS, one_of

CPUINFO = Path("/proc/cpuinfo")
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")


@dataclass(frozen=True)
class Engine:
    """A device and a precision, `32` or `bf16`."""

    device: torch.device
    precision: str

    def autocast(self) -> torch.autocast:
        """Return the context for a forward pass: bfloat16 where it is safe, or nothing."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, in the memory order in which its convolutions are fastest."""
        network.to(self.device)
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.dim() == 4:  # Module.to(memory_format=...) refuses networks that have tensors of five dimensions
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
        return network

    def synchronise(self) -> None:
        """Wait for the device, so that a clock can be read."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def name(self) -> str:
        """Name of the device, as its maker gives it."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else processor_name()


def choose_device(device: str, local_rank: int | None = None) -> torch.device:
    """Return the device of a name: `auto` is CUDA where there is a GPU, else the CPU; `cuda` the first GPU.

    `local_rank` is the number of this process where torchrun started several on this machine: each takes the GPU of
    its number.

    Raises
    ------
    InputError
        If the name is unknown, or the device does not exist.
    """
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
    """Return `32` or `bf16`; `auto` is bf16 where the hardware multiplies it faster.

    Raises
    ------
    InputError
        If the name is unknown.
    """
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
    """Return the processor's name as the system tells it."""
    found = re.search(r"^model name\s*:\s*(.*)$", _cpuinfo(), re.MULTILINE)
    return found[1] if found else "CPU"


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out: of a GPU, of torch on a CPU, or of numpy."""
    of_cpu = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return of_cpu or isinstance(error, torch.OutOfMemoryError | MemoryError)


@contextmanager
def enough_memory(what: str, device: torch.device, remedy: str) -> Iterator[None]:
    """Make running out of memory inside one line that says `what` needs it and the `remedy`.

    Raises
    ------
    RemixbenchError
        In place of torch's and numpy's errors.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        where = "this machine" if device.type == "cpu" else f"the device {device}"
        raise RemixbenchError(f"{what}: the memory of {where} is not enough; {remedy}") from error


@contextmanager
def exact_float32() -> Iterator[None]:
    """Let float32 mean float32 on every device, and let cuDNN try which algorithm is fastest.

    Afterwards everything is as before. Only torch's current switches are used: it refuses to mix them with the older
    ones (`allow_tf32`, `set_float32_matmul_precision`), which a caller may have used.
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
    # the general ones first: an operator that has no value of its own shows theirs
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
