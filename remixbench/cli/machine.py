"""Settings of the process that make torch faster on a CPU; only the command line makes them, never the library."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
SPINS = "10000"


def prepare_for_torch() -> None:
    """Set up the process before torch is imported.

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
