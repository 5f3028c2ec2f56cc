"""A clip as two 16-bit channels, events and scene, and what is made of them: the mono mixture, the features' input.

We quantise ourselves, because audio libraries round floats differently for WAV and FLAC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]
Rule = Literal["floor", "round"]
FULL_SCALE = 32768


@dataclass(frozen=True)
class Stems:
    """The two channels of a clip, each (samples,) int16; their mean is the mixture."""

    events: NDArray[np.int16]
    scene: NDArray[np.int16]

    def interleaved(self) -> NDArray[np.int16]:
        """Return both as the file holds them, (samples, 2)."""
        return np.stack((self.events, self.scene), axis=1)


def largest(signal: Signal) -> float:
    """Return the largest absolute sample."""
    return max(float(signal.max()), -float(signal.min()))


def to_int16(signal: Signal, peak: float, rule: Rule) -> NDArray[np.int16]:
    """Divide a signal by `peak` and quantise it to 16 bits.

    `floor` is what libsndfile makes of floats in a WAV file, and so what was released: rint(x · 2^31) clipped
    at 2^31 - 1, of which the upper 16 bits are kept. `round` is rint(x · 32767), symmetric and without offset.
    """
    if rule == "round":
        scaled = signal * ((FULL_SCALE - 1) / peak)
        np.rint(scaled, out=scaled)
        return scaled.astype(np.int16)
    scaled = signal / peak
    scaled *= 2.0**31
    np.rint(scaled, out=scaled)
    np.minimum(scaled, 2.0**31 - 1, out=scaled)
    steps = np.empty(len(scaled), dtype=np.int16)
    steps[:] = scaled.astype("<i4").view("<i2")[1::2]  # the upper halves
    return steps


def full_scale(rule: Rule) -> int:
    """Return what 1.0 becomes in 16-bit steps, but for clipping at the top."""
    return FULL_SCALE if rule == "floor" else FULL_SCALE - 1


def mixture(stems: Stems) -> NDArray[np.int16]:
    """Return the mean of the two stems, (samples,), halves rounded to even: the mono file."""
    a, b = stems.events, stems.scene
    # in 16 bits throughout, which is several times faster than a wider sum
    mean: NDArray[np.int16] = (a >> 1) + (b >> 1) + (a & b & 1)
    mean += (a ^ b) & mean & 1
    return mean


def exact_mixture(stems: Stems) -> NDArray[np.float32]:
    """Return the mean of the two stems in [-1, 1], (samples,), exact in float32: what features are computed from."""
    total = stems.scene.astype(np.float32)
    total += stems.events
    total *= 0.5 / FULL_SCALE
    return total
