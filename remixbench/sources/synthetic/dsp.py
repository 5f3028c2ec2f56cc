"""The building blocks of the synthetic sounds: ringing modes, harmonics, filters, noise.

Numpy only, float64, without loops over samples: decaying modes are sums of outer products, harmonics are a
polynomial in a rotating phasor (Horner's rule), filters and noise colours multiply spectra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Signal = NDArray[np.float64]

HIGHEST = 0.45  # highest frequency of a partial, relative to the sample rate; avoids aliasing
BLOCK = 16384  # samples per transform, which fit into a processor's cache


@dataclass(frozen=True)
class Resonance:
    """A resonance of a body or a vocal tract: frequency and `width` in Hz, linear `gain`."""

    hertz: float
    width: float
    gain: float = 1.0


def fast_length(count: int) -> int:
    """Return the next length m · 2^k with m in 8..15: fast to transform, at most an eighth longer."""
    step = 1 << max(0, count.bit_length() - 4)
    return -(-count // step) * step


def modal(frequencies: Signal, decays: Signal, amplitudes: Signal, count: int, rate: int) -> Signal:
    """Return Σ a·exp(-t/τ)·sin(2πft), `count` samples: the free ringing of a struck or plucked body.

    Sample 256·r + b of a mode is the product of a coarse phasor (r) and a fine phasor (b), so that a mode takes two
    outer products instead of `count` exponentials.
    """
    audible = frequencies < HIGHEST * rate
    pole = (-1 / decays[audible] + 2j * np.pi * frequencies[audible]) / rate
    rows = -(-count // 256)
    fine = np.exp(pole[:, None] * np.arange(256))
    coarse = amplitudes[audible, None] * np.exp(pole[:, None] * (256 * np.arange(rows)))
    total = np.zeros((rows, 256))
    for coarse_phasor, fine_phasor in zip(coarse, fine, strict=True):
        total += coarse_phasor.imag[:, None] * fine_phasor.real
        total += coarse_phasor.real[:, None] * fine_phasor.imag
    return total.reshape(-1)[:count]


def harmonics(pitch: Signal, weights: Signal, rate: int) -> Signal:
    """Return Σ w_k·sin(kφ), where φ advances by `pitch` (Hz, one value per sample); omits harmonics that alias."""
    turn = np.exp(2j * np.pi / rate * np.cumsum(pitch))
    usable = max(1, min(len(weights), int(HIGHEST * rate / pitch.max())))
    total = np.zeros(len(pitch), dtype=np.complex128)
    for weight in weights[:usable][::-1]:
        total += weight
        total *= turn
    return total.imag


def resonate(signal: Signal, rate: int, resonances: tuple[Resonance, ...], direct: float = 0.0) -> Signal:
    """Filter `signal` with parallel two-pole resonances, and add `direct` times the signal.

    A resonance is the analogue band-pass b·s / (s² + b·s + w²) under the bilinear transform, with gain 1 at its
    frequency (scipy's `iirpeak`); frequencies are limited to `HIGHEST`. Long signals are filtered in overlapping
    blocks, long enough for the ringing to decay by 54 dB.
    """
    ring = round(2 * rate / min(part.width for part in resonances))
    block = fast_length(min(len(signal), BLOCK) + ring)
    step = block - ring
    s = 1j * np.tan(np.pi * np.fft.rfftfreq(block))
    response = np.full(len(s), direct, dtype=np.complex128)
    for part in resonances:
        w = np.tan(np.pi * min(part.hertz / rate, HIGHEST))
        drive = np.tan(np.pi * part.width / rate) * (1 + w * w) * s
        response += part.gain * drive / (s * s + drive + w * w)
    rows = -(-len(signal) // step)
    blocks = np.zeros((rows, step))
    blocks.reshape(-1)[: len(signal)] = signal
    return _joined(np.fft.irfft(np.fft.rfft(blocks, block) * response, block), step)[: len(signal)]


def coloured_noise(random: Generator, count: int, rate: int, centre: float, octaves: float) -> Signal:
    """Return Gaussian noise of about unit RMS, with a bell-shaped spectrum on a log axis, `octaves` wide.

    Long noise consists of independent blocks, cross-faded at equal power.
    """
    block = fast_length(min(count, BLOCK))
    fade = block // 16 if count > block else 0
    rows = -(-(count - fade) // (block - fade))
    f = np.fft.rfftfreq(block, 1 / rate)
    f[0] = f[1]
    colour = np.exp(-0.5 * (np.log2(f / centre) / octaves) ** 2)
    colour *= block / (2 * np.sqrt(np.sum(colour**2)))
    noise = np.fft.irfft(random.standard_normal((rows, 2 * len(f))).view(np.complex128) * colour, block)
    rise = np.sin(np.linspace(0, np.pi / 2, fade))
    noise[1:, :fade] *= rise
    noise[:-1, block - fade :] *= rise[::-1]
    return _joined(noise, block - fade)[:count]


def _joined(blocks: Signal, step: int) -> Signal:
    """Return the overlap-add of the rows of `blocks`, `step` samples apart."""
    rows, block = blocks.shape
    total = np.zeros((rows - 1) * step + block)
    for i, row in enumerate(blocks):
        total[i * step : i * step + block] += row
    return total


def wander(random: Generator, count: int, rate: int, per_second: float) -> Signal:
    """Return a line in [-1, 1] through `per_second` random points per second."""
    points = 2 + int(count / rate * per_second) + 1
    line: Signal = np.interp(np.arange(count) * (per_second / rate), np.arange(points), random.uniform(-1, 1, points))
    return line


def swell(count: int, rate: int, attack: float, release: float) -> Signal:
    """Return an envelope with `attack` and `release` in seconds."""
    envelope = np.ones(count)
    rise, fall = min(count, samples(attack, rate)), min(count, samples(release, rate))
    envelope[:rise] *= np.sin(np.linspace(0.1, np.pi / 2, rise)) ** 2
    envelope[count - fall :] *= np.cos(np.linspace(0, np.pi / 2, fall)) ** 2
    return envelope


def along(points: tuple[float, ...], count: int) -> Signal:
    """Return the line through `points`, spread evenly over `count` samples."""
    line: Signal = np.interp(np.linspace(0, len(points) - 1, count), np.arange(len(points)), np.array(points))
    return line


def samples(seconds: float, rate: int) -> int:
    """Return a duration in samples, at least 16."""
    return max(16, round(seconds * rate))
