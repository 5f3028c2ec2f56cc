"""The building blocks of the synthetic sounds: ringing modes, harmonics, filters, noise.

Numpy only, float64, without loops over samples: decaying modes are sums of outer products, harmonics are a
polynomial in one rotating phasor (Horner's rule), filters and noise colours act on spectra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Signal = NDArray[np.float64]

HIGHEST = 0.45  # no partial above this share of the rate: nothing aliases


@dataclass(frozen=True)
class Resonance:
    """One resonance of a body or a vocal tract: `hertz`, its `width` in Hz, its linear `gain`."""

    hertz: float
    width: float
    gain: float = 1.0


def fast_length(count: int) -> int:
    """Return the next length m · 2^k with m in 8..15: cheap to transform, at most an eighth longer."""
    step = 1 << max(0, count.bit_length() - 4)
    return -(-count // step) * step


def modal(frequencies: Signal, decays: Signal, amplitudes: Signal, count: int, rate: int) -> Signal:
    """Return Σ a·exp(-t/τ)·sin(2πft), `count` samples: the free ringing of a struck or plucked body.

    Sample 256·r + b of a mode is the product of a coarse phasor (r) and a fine one (b), so a mode costs two
    outer products and hardly a sine.
    """
    heard = frequencies < HIGHEST * rate
    pole = (-1 / decays[heard] + 2j * np.pi * frequencies[heard]) / rate
    rows = -(-count // 256)
    fine = np.exp(pole[:, None] * np.arange(256))
    coarse = amplitudes[heard, None] * np.exp(pole[:, None] * (256 * np.arange(rows)))
    total = np.zeros((rows, 256))
    for one, other in zip(coarse, fine, strict=True):
        total += one.imag[:, None] * other.real
        total += one.real[:, None] * other.imag
    return total.reshape(-1)[:count]


def harmonics(pitch: Signal, weights: Signal, rate: int) -> Signal:
    """Return Σ w_k·sin(kφ), where φ turns with `pitch` (Hz, one a sample).

    Harmonics that could alias are left out.
    """
    turn = np.exp(2j * np.pi / rate * np.cumsum(pitch))
    usable = max(1, min(len(weights), int(HIGHEST * rate / pitch.max())))
    total = np.zeros(len(pitch), dtype=np.complex128)
    for weight in weights[:usable][::-1]:
        total += weight
        total *= turn
    return total.imag


def resonate(signal: Signal, rate: int, resonances: tuple[Resonance, ...], direct: float = 0.0) -> Signal:
    """Return `signal` through two-pole resonances in parallel, plus `direct` times itself."""
    length = fast_length(len(signal) + rate // 50)  # room for the ringing, which would else wrap round
    f = np.fft.rfftfreq(length, 1 / rate)
    response = np.full(len(f), direct, dtype=np.complex128)
    for part in resonances:
        drive = 1j * part.width * f
        response += part.gain * drive / (part.hertz**2 - f * f + drive)
    return np.fft.irfft(np.fft.rfft(signal, length) * response, length)[: len(signal)]


def coloured_noise(random: Generator, count: int, rate: int, centre: float, octaves: float) -> Signal:
    """Return Gaussian noise of about unit RMS; its spectrum is a bell, `octaves` wide, on a log axis."""
    length = fast_length(count)
    f = np.fft.rfftfreq(length, 1 / rate)
    f[0] = f[1]
    colour = np.exp(-0.5 * (np.log2(f / centre) / octaves) ** 2)
    colour /= np.sqrt(2 * np.sum(colour**2))
    parts = random.standard_normal(2 * len(f)).view(np.complex128)
    return np.fft.irfft(parts * colour, length)[:count] * length / np.sqrt(2)


def wander(random: Generator, count: int, rate: int, per_second: float) -> Signal:
    """Return a line in [-1, 1] through `per_second` random points a second."""
    points = 2 + int(count / rate * per_second) + 1
    return np.interp(np.arange(count) * (per_second / rate), np.arange(points), random.uniform(-1, 1, points))


def swell(count: int, rate: int, attack: float, release: float) -> Signal:
    """Return an envelope that rises in `attack` seconds, stays, and falls in the last `release` seconds."""
    t = np.arange(count) / rate
    rise = np.minimum(1, (t + 1 / rate) / attack)
    fall = np.minimum(1, (count / rate - t) / release)
    return np.sin(np.pi / 2 * rise) ** 2 * np.sin(np.pi / 2 * fall) ** 2


def along(points: tuple[float, ...], count: int) -> Signal:
    """Return the line through `points`, spread evenly over `count` samples."""
    return np.interp(np.linspace(0, len(points) - 1, count), np.arange(len(points)), np.array(points))


def samples(seconds: float, rate: int) -> int:
    """Return how many samples that is, at least 16."""
    return max(16, round(seconds * rate))
