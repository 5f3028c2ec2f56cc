"""The arguments of `make` that can be checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from remixbench.errors import InputError, unknown
from remixbench.parallel import check_jobs

BACKENDS = ("loky", "threading", "dask")
FORMATS = ("wav", "flac")
RATIO_DECIMALS = 6  # a folder is named after a ratio: two that differ by less are one


def check(
    backend: str,
    audio_format: str,
    jobs: int,
    clips_per_fold: int | None,
    shard: tuple[int, int],
    scheduler: str | None,
) -> None:
    """Check what is asked of `make`.

    Raises
    ------
    InputError
        Naming the option, what was given and what was expected.
    """
    if backend not in BACKENDS:
        raise unknown("--backend", backend, BACKENDS)
    if audio_format not in FORMATS:
        raise unknown("--audio-format", audio_format, FORMATS)
    check_jobs(jobs)
    if clips_per_fold is not None and clips_per_fold < 1:
        raise InputError(f"--clips-per-fold {clips_per_fold}: expected 1 or more")
    if not 1 <= shard[0] <= shard[1]:
        raise InputError(f"--shard {shard[0]}/{shard[1]}: expected I/N, 1 <= I <= N, such as 3/16")
    if scheduler is not None and backend != "dask":
        raise InputError(f"--scheduler {scheduler}: goes with --backend dask, not {backend}")


def ratios(values: Sequence[Any]) -> tuple[float, ...]:
    """Return signal-to-noise ratios ascending, each once.

    Raises
    ------
    InputError
        If one is not a number of decibels.
    """
    found = set()
    for value in values:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not abs(number) <= 100:
            raise InputError(f"--snr {value}: not a ratio in dB; expected numbers such as 0 10 20")
        found.add(round(number, RATIO_DECIMALS) + 0.0)  # -0 becomes 0
    return tuple(sorted(found))
