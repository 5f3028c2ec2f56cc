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
BLOCK = 16384  # samples to transform at once: what stays in a processor's cache


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
    audible = frequencies < HIGHEST * rate
    pole = (-1 / decays[audible] + 2j * np.pi * frequencies[audible]) / rate
    rows = -(-count // 256)
    fine = np.exp(pole[:, None] * np.arange(256))
    coarse = amplitudes[audible, None] * np.exp(pole[:, None] * (256 * np.arange(rows)))
    total = np.zeros((rows, 256))
    for one, other in zip(coarse, fine, strict=True):
        total += one.imag[:, None] * other.real
        total += one.real[:, None] * other.imag
    return total.reshape(-1)[:count]


def harmonics(pitch: Signal, weights: Signal, rate: int) -> Signal:
    """Return Σ w_k·sin(kφ), where φ turns with `pitch` (Hz, one per sample).

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
    """Return `signal` through two-pole resonances in parallel, plus `direct` times itself.

    A resonance is the analogue band-pass b·s / (s² + b·s + w²) by the bilinear transform, of gain 1 at its
    frequency (what scipy calls `iirpeak`); one above the range of the rate moves to its upper end. Long
    signals go through in blocks, each with room for the ringing (to -54 dB), added where they overlap.
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
    """Return Gaussian noise of about unit RMS; its spectrum is a bell, `octaves` wide, on a log axis.

    Long noise is made of independent blocks, faded into each other at equal power.
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
    """Return the sum of the rows of `blocks`, each beginning `step` samples after the one before."""
    rows, block = blocks.shape
    total = np.zeros((rows - 1) * step + block)
    for i, row in enumerate(blocks):
        total[i * step : i * step + block] += row
    return total


def wander(random: Generator, count: int, rate: int, per_second: float) -> Signal:
    """Return a line in [-1, 1] through `per_second` random points a second."""
    points = 2 + int(count / rate * per_second) + 1
    line: Signal = np.interp(np.arange(count) * (per_second / rate), np.arange(points), random.uniform(-1, 1, points))
    return line


def swell(count: int, rate: int, attack: float, release: float) -> Signal:
    """Return an envelope that rises in `attack` seconds, stays, and falls in the last `release` seconds."""
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
    """Return how many samples that is, at least 16."""
    return max(16, round(seconds * rate))
