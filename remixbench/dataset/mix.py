"""Levels, SNR and mixing. Arrays in, arrays out.

There are two definitions of the signal-to-noise ratio (SNR):

* `recording`, as released (Kong et al. 2019, Deshmukh et al. 2021): the scene is scaled to RMS 1, each event's *whole
  recording* to RMS 10^(SNR/20), then cut. The SNR of the excerpt differs from the nominal one.
* `excerpt`: the level of the audible excerpt relative to the level of the scene under it, exactly.

Both signals are divided by their common peak, so that nothing clips, and quantised here, because the WAV and FLAC
writers of the audio library round differently.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from remixbench.errors import InputError

Signal = NDArray[np.float64]
Quantisation = Literal["floor", "round"]
FULL_SCALE = 32768
Level = Literal["rms", "lufs"]
GATE_SECONDS, GATE_STEP = 0.4, 0.25  # block of ITU-R BS.1770, and the step between blocks as a fraction of it


class SilenceError(InputError):
    """An event or the scene under it is silent, so its SNR is undefined."""


@dataclass(frozen=True)
class Stems:
    """The two channels of a clip, (samples,) int16 each; their mean is the mixture."""

    events: NDArray[np.int16]
    scene: NDArray[np.int16]

    def interleaved(self) -> NDArray[np.int16]:
        """Return both channels as in the file, (samples, 2)."""
        return np.stack((self.events, self.scene), axis=1)


def peak_of(signal: Signal) -> float:
    """Return the largest absolute sample."""
    return max(float(signal.max()), -float(signal.min()))


def to_int16(signal: Signal, peak: float, rule: Quantisation) -> NDArray[np.int16]:
    """Divide a signal by `peak` and quantise it to 16 bits.

    `floor` is how libsndfile writes floats to WAV, as released: the upper 16 bits of rint(x · 2^31), clipped at
    2^31 - 1. `round` is rint(x · 32767), symmetric and without offset.
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


def full_scale(rule: Quantisation) -> int:
    """Return the 16-bit value of 1.0 (before clipping)."""
    return FULL_SCALE if rule == "floor" else FULL_SCALE - 1


def as_float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return 16-bit samples as float32 in [-1, 1)."""
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


def mixture(stems: Stems) -> NDArray[np.int16]:
    """Return the mixture as in the mono file: the mean of the two stems, (samples,), rounded half to even."""
    a, b = stems.events, stems.scene
    # 16 bits throughout: several times faster than a wider sum
    mean: NDArray[np.int16] = (a >> 1) + (b >> 1) + (a & b & 1)
    mean += (a ^ b) & mean & 1
    return mean


def exact_mixture(stems: Stems) -> NDArray[np.float32]:
    """Return the mean of the two stems in [-1, 1], (samples,), exact in float32; features are computed from it."""
    total = stems.scene.astype(np.float32)
    total += stems.events
    total *= 0.5 / FULL_SCALE
    return total


@dataclass(frozen=True)
class Placed:
    """An event in a clip.

    Attributes
    ----------
    first : index of its first sample in the clip
    samples : (n,), the excerpt, cut to fit into the clip
    level : linear amplitude that the SNR refers to (of the whole recording or the excerpt)
    offset_db : added to the nominal SNR
    name : description for messages
    """

    first: int
    samples: Signal
    level: float
    offset_db: float = 0.0
    name: str = "an event"

    @property
    def part(self) -> slice:
        """The samples of the clip in which it is active."""
        return slice(self.first, self.first + len(self.samples))


def resample(samples: Signal, rate: int, new_rate: int) -> Signal:
    """Resample with soxr HQ to ceil(n · new_rate / rate) samples, as librosa does, in float64 as released."""
    if rate == new_rate:
        return samples
    import soxr

    out: Signal = soxr.resample(samples, rate, new_rate, quality="HQ")
    length = math.ceil(len(samples) * new_rate / rate)
    if len(out) < length:
        return np.pad(out, (0, length - len(out)))
    return out[:length]


def rms(samples: Signal) -> float:
    """Return the root mean square of a signal, (n,)."""
    return math.sqrt(float(np.dot(samples, samples)) / len(samples))


def loudness(samples: Signal, rate: int) -> float:
    """Return the loudness as a linear amplitude: 10^(LUFS/20) by pyloudnorm (ITU-R BS.1770-4).

    BS.1770 drops everything after the last complete gating block (400 ms, 75 % overlap), which may be the loudest part
    of a short excerpt. Blocks are therefore stretched or shrunk slightly, so that a whole number of steps covers the
    signal. Below 450 ms the signal is a single block: K-weighted, ungated. The signal is measured at peak 1, so that a
    faint one does not fall below the -70 LUFS gate.
    """
    import pyloudnorm

    peak = float(np.abs(samples).max())
    if peak == 0:
        return 0.0
    steps = max(0, round((len(samples) / rate - GATE_SECONDS) / (GATE_SECONDS * GATE_STEP)))
    # pyloudnorm needs one sample more than a block, and averages the appended zero into each block
    covered = len(samples) + 1 - 1e-6
    block = covered / rate / (1 + steps * GATE_STEP)
    padded = np.append(samples / peak, 0.0)
    lufs = float(pyloudnorm.Meter(rate, block_size=block).integrated_loudness(padded))
    return float(peak * 10 ** (lufs / 20) * math.sqrt(covered / len(samples)))


def level_of(samples: Signal, rate: int, measure: Level) -> float:
    """Return the level of a signal, by RMS or loudness, as a linear amplitude."""
    return rms(samples) if measure == "rms" else loudness(samples, rate)


def loudest_window(samples: Signal, length: int) -> int:
    """Return the start of the window of `length` samples with the most energy; the first on ties."""
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
    """Return the gain of each event at `snr` dB over a scene of level 1.

    Raises
    ------
    SilenceError
        With the definition `excerpt`, if the scene is silent under an event.
    """
    gains = []
    for event in events:
        gain = 10 ** ((snr + event.offset_db) / 20) / event.level
        if definition == "excerpt":
            scene_level = level_of(scene[event.part], rate, measure)
            if scene_level == 0:
                raise SilenceError(
                    f"{event.name}: the scene is silent under it, from {event.first / rate:.2f} to"
                    f" {event.part.stop / rate:.2f} s, so there is no level to mix at; leave the scene out of the table"
                )
            gain *= scene_level
        gains.append(gain)
    return gains


def overlapping(events: Sequence[Placed]) -> bool:
    """Return whether any two events overlap."""
    parts = sorted((event.part.start, event.part.stop) for event in events)
    return any(part[1] > next_part[0] for part, next_part in pairwise(parts))


def sum_events(events: Sequence[Placed], gains: Sequence[float], length: int) -> Signal:
    """Return the sum of scaled events in a clip of `length` samples."""
    signal = np.zeros(length)
    for event, gain in zip(events, gains, strict=True):
        signal[event.part] += event.samples * gain
    return signal


def mix(
    scene: Signal,
    events: Sequence[Placed],
    gains: Sequence[float],
    rule: Quantisation,
) -> tuple[Stems, float]:
    """Return the stems of scaled events and a scene, and the common peak, which is quantised to full scale."""
    scene_peak = peak_of(scene)
    if overlapping(events):
        summed = sum_events(events, gains, len(scene))
        peak = max(scene_peak, peak_of(summed))
        return Stems(to_int16(summed, peak, rule), to_int16(scene, peak, rule)), peak
    # the events' channel is mostly silent: scale and quantise only the events
    scaled = [event.samples * gain for event, gain in zip(events, gains, strict=True)]
    peak = max([scene_peak, *map(peak_of, scaled)])
    quantised = np.zeros(len(scene), dtype=np.int16)
    for event, samples in zip(events, scaled, strict=True):
        quantised[event.part] = to_int16(samples, peak, rule)
    return Stems(quantised, to_int16(scene, peak, rule)), peak


def event_stems(
    stems: Stems,
    events: Sequence[Placed],
    gains: Sequence[float],
    peak: float,
    rule: Quantisation,
) -> NDArray[np.int16]:
    """Return one channel per event, quantised at the clip's `peak`: (events, samples).

    If no events overlap, their sum equals the events' channel of `stems`; otherwise they differ by rounding, up to half
    a step per event.
    """
    channels = np.zeros((len(events), len(stems.scene)), dtype=np.int16)
    for k, (event, gain) in enumerate(zip(events, gains, strict=True)):
        channels[k, event.part] = to_int16(event.samples * gain, peak, rule)
    return channels


def achieved_snr(
    stems: Stems,
    events: Sequence[Placed],
    gains: Sequence[float],
    scale: float,
    rate: int,
    measure: Level,
) -> list[float]:
    """Measure the SNR of each event in dB, in the quantised stems: its level over that of the scene under it.

    `scale` converts signals before quantisation to 16-bit steps. Overlapping events are first subtracted from the
    events' channel. NaN if the event or the scene is silent after quantisation.
    """
    summed = sum_events(events, gains, len(stems.scene)) if overlapping(events) else None
    ratios = []
    for event, gain in zip(events, gains, strict=True):
        signal = stems.events[event.part].astype(np.float64)
        if summed is not None:
            signal -= scale * (summed[event.part] - gain * event.samples)
        event_level = level_of(signal, rate, measure)
        scene_level = level_of(stems.scene[event.part].astype(np.float64), rate, measure)
        ratios.append(20 * math.log10(event_level / scene_level) if event_level > 0 and scene_level > 0 else math.nan)
    return ratios
