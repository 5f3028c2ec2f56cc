"""Samples of any rate and number of channels as one channel at the rate that a system knows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from remixbench.errors import InputError

MANY_CHANNELS = 64
"""More channels than this, and than samples, are samples."""
LOUDEST = 100.0
"""Float recordings may reach over 1 here and there; samples above this were never scaled."""


def prepare(audio: NDArray[np.floating], rate: int, wanted: int, origin: str) -> NDArray[np.float32]:
    """Return audio (samples,) or (samples, channels) in one channel at the rate `wanted`, resampled by soxr HQ.

    Raises
    ------
    InputError
        Naming `origin`, if there are no samples, they are NaN or infinite, or the rate is none.
    """
    if not isinstance(audio, np.ndarray):
        raise InputError(f"{origin}: expected an array of samples, found {type(audio).__name__}")
    if audio.ndim not in (1, 2) or audio.size == 0:
        raise InputError(f"{origin}: expected (samples,) or (samples, channels), found the shape {audio.shape}")
    if audio.dtype.kind != "f":
        raise InputError(f"{origin}: expected floats in [-1, 1], found {audio.dtype}; divide integers by their range")
    if audio.ndim == 2 and audio.shape[1] > max(audio.shape[0], MANY_CHANNELS):
        raise InputError(f"{origin}: expected (samples, channels), found the shape {audio.shape}; transpose it")
    if rate < 1:
        raise InputError(f"{origin}: a rate of {rate} Hz, expected 1 or more")
    if not np.isfinite(audio).all():
        raise InputError(f"{origin}: holds NaN or infinite samples; repair or leave out the recording")
    if (peak := float(np.abs(audio).max())) > LOUDEST:
        raise InputError(f"{origin}: holds samples of {peak:g}, expected -1 to 1; divide by the range of its integers")
    mono = np.asarray(audio, np.float32) if audio.ndim == 1 else audio.mean(axis=1, dtype=np.float32)
    if rate != wanted:
        import soxr

        mono = soxr.resample(mono, rate, wanted, quality="HQ")
        if not len(mono):
            raise InputError(f"{origin}: too short to be resampled from {rate} to {wanted} Hz")
    return np.ascontiguousarray(mono, np.float32)
