"""Settings of the process that make torch faster on a CPU; only the command line makes them, never the library."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def prepare_for_torch() -> None:
    """Set up the process before torch is imported.

    Threads that wait sleep instead of spinning, which on a shared machine halves the time of an epoch; and freed
    memory is kept (on glibc), since a training step asks for the same blocks again and again.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, 2**30)
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
