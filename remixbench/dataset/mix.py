"""Bringing sounds to level and putting them together. Arrays in, arrays out.

Two definitions of the signal-to-noise ratio:

* `recording`, as released (Kong et al. 2019, Deshmukh et al. 2021): scene scaled to RMS 1, each event's *whole
  recording* to RMS 10^(SNR/20), then cut. What is heard in the cut differs from the nominal ratio.
* `excerpt`: level of the excerpt that is heard against the level of the scene under it, exactly.

Both signals are divided by their common largest absolute sample, so that nothing clips, and quantised here
(not by the audio library, whose WAV and FLAC writers round differently).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]
Level = Literal["rms", "lufs"]
FULL_SCALE = 32768
GATE_SECONDS = 0.4  # the block of ITU-R BS.1770, below which loudness has no standard definition


@dataclass(frozen=True)
class Placed:
    """An event in a clip.

    Attributes
    ----------
    first : index of its first sample in the clip
    samples : (n,), the excerpt, cut to what is heard
    level : amplitude of what the ratio is defined on (whole recording or excerpt), linear, for `recording`
    offset_db : added to the nominal ratio
    """

    first: int
    samples: Signal
    level: float
    offset_db: float = 0.0


def resample(samples: Signal, rate: int, new_rate: int) -> Signal:
    """Resample with soxr HQ to ceil(n · ratio) samples, as librosa does, in float64 as released."""
    if rate == new_rate:
        return samples
    import soxr

    out: Signal = soxr.resample(samples, rate, new_rate, quality="HQ")
    length = math.ceil(len(samples) * new_rate / rate)
    if len(out) < length:
        return np.pad(out, (0, length - len(out)))
    return out[:length]


def rms(samples: Signal) -> float:
    """Return the root mean square, (n,) -> linear."""
    return math.sqrt(float(np.dot(samples, samples)) / len(samples))


def loudness(samples: Signal, rate: int) -> float:
    """Return the loudness as a linear amplitude: 10^(LUFS/20) by pyloudnorm (ITU-R BS.1770-4).

    Under 400 ms, where BS.1770 has no gating block, the whole signal is one block: K-weighted, ungated. The
    signal is measured at peak 1, so that a faint one does not fall under the -70 LUFS gate.
    """
    import pyloudnorm

    peak = float(np.abs(samples).max())
    if peak == 0:
        return 0.0
    seconds = len(samples) / rate
    # pyloudnorm wants more samples than one block has
    block = GATE_SECONDS if seconds > GATE_SECONDS else (len(samples) - 1) / rate
    lufs = float(pyloudnorm.Meter(rate, block_size=block).integrated_loudness(samples / peak))
    return float(peak * 10 ** (lufs / 20))


def level_of(samples: Signal, rate: int, measure: Level) -> float:
    """Return the level of a signal as a linear amplitude by RMS or loudness."""
    return rms(samples) if measure == "rms" else loudness(samples, rate)


def loudest_window(samples: Signal, length: int) -> int:
    """Return the start of the window of `length` samples with the most energy, the first one of equals."""
    if len(samples) <= length:
        return 0
    energy = np.concatenate(([0.0], np.cumsum(samples * samples)))
    return int(np.argmax(energy[length:] - energy[:-length]))


def event_gains(
    scene: Signal,
    events: Sequence[Placed],
    snr: float,
    rate: int,
    measure: Level,
    definition: Literal["recording", "excerpt"],
) -> list[float]:
    """Return the factor for each event at `snr` dB over a scene of level 1."""
    gains = []
    for event in events:
        gain = 10 ** ((snr + event.offset_db) / 20) / event.level
        if definition == "excerpt":
            gain *= level_of(scene[event.first : event.first + len(event.samples)], rate, measure)
        gains.append(gain)
    return gains


def lay(events: Sequence[Placed], gains: Sequence[float], length: int, overwrite: bool) -> Signal:
    """Put events into an empty clip of `length` samples: later ones overwrite (as released) or add."""
    signal = np.zeros(length)
    for event, gain in zip(events, gains, strict=True):
        part = slice(event.first, event.first + len(event.samples))
        if overwrite:
            np.multiply(event.samples, gain, out=signal[part])
        else:
            signal[part] += event.samples * gain
    return signal


def quantise(events: Signal, scene: Signal, rule: Literal["floor", "round"]) -> NDArray[np.int16]:
    """Divide both by their common peak and return them as 16-bit stems, (n, 2): events, scene.

    `floor` is what libsndfile makes of floats in a WAV file, and so what was released: rint(x · 2^31) clipped
    at 2^31 - 1, of which the upper 16 bits are kept. `round` is rint(x · 32767), symmetric and without offset.
    """
    peak = max(_peak(events), _peak(scene))
    stems = np.empty((len(scene), 2), dtype=np.int16)
    for column, signal in enumerate((events, scene)):
        if rule == "floor":
            scaled = np.divide(signal, peak)
            scaled *= 2.0**31
            np.rint(scaled, out=scaled)
            np.minimum(scaled, 2.0**31 - 1, out=scaled)
            stems[:, column] = scaled.astype(np.int32) >> 16
        else:
            stems[:, column] = np.rint(signal * ((FULL_SCALE - 1) / peak))
    return stems


def _peak(signal: Signal) -> float:
    return max(float(signal.max()), -float(signal.min()))


def mixture(stems: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the mean of the two stems, (n, 2) -> (n,), halves rounded to even: the mono file."""
    total = stems[:, 0].astype(np.int32) + stems[:, 1]
    return ((total + ((total >> 1) & 1)) >> 1).astype(np.int16)


def exact_mixture(stems: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return the mean of the two stems in [-1, 1], (n,), exact in float32: what features are computed from."""
    total = stems[:, 0].astype(np.float32)
    total += stems[:, 1]
    total *= 0.5 / FULL_SCALE
    return total


def achieved_snr(
    stems: NDArray[np.int16],
    events: Sequence[Placed],
    gains: Sequence[float],
    rate: int,
    measure: Level,
    overwrite: bool,
) -> list[float]:
    """Measure back, from the stems as written, each event's level over the scene under it, in dB.

    Where events overlap, the part of the others is taken out of the events' channel first; NaN where either
    side is silent after quantisation.
    """
    heard = stems[:, 0].astype(np.float64)
    scene = stems[:, 1].astype(np.float64)
    laid = lay(events, gains, len(heard), overwrite)
    scale = float(np.dot(laid, heard) / max(float(np.dot(laid, laid)), 1e-300))
    ratios = []
    for event, gain in zip(events, gains, strict=True):
        part = slice(event.first, event.first + len(event.samples))
        own = heard[part]
        if not overwrite:
            own = own - scale * (laid[part] - gain * event.samples)
        above, below = level_of(own, rate, measure), level_of(scene[part], rate, measure)
        ratios.append(20 * math.log10(above / below) if above > 0 and below > 0 else math.nan)
    return ratios
