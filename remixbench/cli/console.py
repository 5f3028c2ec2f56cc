"""What commands share: the options that stand before a command, and how the process is set up for torch."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from remixbench.progress import SILENT, Progress, reporter

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
SPINS = "10000"


@dataclass(frozen=True)
class Settings:
    """The options that stand before the command."""

    workspace: Path
    quiet: bool

    def progress(self) -> Progress:
        """Return what long work reports to: nothing with `-q`, bars on a terminal, else plain lines."""
        return SILENT if self.quiet else reporter(True)


def prepare_for_torch() -> None:
    """Make torch faster on a CPU, before it is imported; only the command line does this, never the library.

    Threads that wait spin for a fraction of a millisecond, then sleep (GNU OpenMP, unless the environment says
    otherwise): sleeping at once takes small networks twice the time on a quiet machine, spinning for long as much on
    a busy one. Freed memory is kept (on glibc), since a training step asks for the same blocks again and again.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, 2**30)
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
