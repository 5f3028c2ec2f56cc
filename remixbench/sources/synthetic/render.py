"""Synthesised recordings of 41 sound events and 10 scenes: the sounds of the `mini` recipe.

They are computed by simple physical models (`models`) with two tables (`sounds`), so that every command can
be tried without a download. They only resemble their labels, and scores on them mean nothing outside `mini`.

Determinism: everything is drawn from a PCG64 seeded with (seed, CRC-32 of the label, number, ...), computed in float64
without BLAS, and rounded to steps of 1/32768, which float32 and PCM_16 represent exactly. Samples are reproducible on
one machine with one version of numpy. Elsewhere the last bits of an exponential or a transform may differ, which
rounding nearly always hides: numpy 1.26 and 2.4, and 2.4 with and without AVX-512 and AVX2, gave the same 276
recordings (11 million samples) although those bits differed. At worst, a rare sample differs by one step. A numpy that
changed the stream of its Generator would give different sounds of the same kind.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from remixbench.errors import InputError, unknown
from remixbench.sources.synthetic.dsp import Signal, fast_length, samples, swell
from remixbench.sources.synthetic.models import Layer, Pattern, Range, narrowed
from remixbench.sources.synthetic.sounds import EVENTS, SCENES

LOWEST_RATE = 8000  # Hz; below it the brightest classes would be silent
SHORTEST, LONGEST = 0.3, 4.0  # range of durations of events, in seconds
VARIANTS = 6  # number of different hits in a repeated sound
FADE = 0.02  # seconds


def event_labels() -> tuple[str, ...]:
    """Return the 41 event labels, those of FSDKaggle2018, sorted."""
    return tuple(EVENTS)


def scene_labels() -> tuple[str, ...]:
    """Return the 10 scene labels, those of TAU Urban Acoustic Scenes 2019, sorted."""
    return tuple(SCENES)


def synthesise_event(label: str, number: int, rate: int, seed: int) -> NDArray[np.float32]:
    """Return recording `number` of an event; recordings differ in pitch, length, decay, brightness and room.

    Parameters
    ----------
    label : one of `event_labels()`
    rate : sample rate in Hz, at least 8000
    seed : seed of the set of recordings, from 0

    Returns
    -------
    Mono samples, 0.3 to 4 s long, with a peak in [0.2, 0.9] and a fade-out, rounded to steps of 1/32768.
    """
    if label not in EVENTS:
        raise unknown("synthetic event", label, EVENTS)
    _check_rate(rate)
    random = _generator(seed, label, number)
    pattern = narrowed(EVENTS[label], random, 0.04)
    onsets = _regular(pattern, random)
    length = samples(LONGEST, rate)
    dry = np.zeros(length)
    end = samples(SHORTEST, rate)
    for sound, start in _hits(pattern, onsets, random, rate):
        first = round(start * rate)
        last = min(length, first + len(sound))
        dry[first:last] += sound[: last - first]
        end = max(end, last)
    wet = _with_reverb(dry[: min(length, end + samples(0.05, rate))], random, rate)
    wet *= swell(len(wet), rate, 1 / rate, FADE)
    return _quantised(wet * (random.uniform(0.3, 0.85) / np.abs(wet).max()))


def synthesise_scene(
    label: str, location: int, piece: int, rate: int, seconds: float, seed: int
) -> NDArray[np.float32]:
    """Return `seconds` of a piece of the recording of a scene at a location, as `synthesise_event` does; never silent.

    Pieces of a location share its colour, density and hum, and differ in all details.
    """
    if label not in SCENES:
        raise unknown("synthetic scene", label, SCENES)
    _check_rate(rate)
    location_random = _generator(seed, label, location)
    bed = narrowed(SCENES[label].bed, location_random, 0.05)
    scatter = narrowed(SCENES[label].scatter, location_random, 0.3)  # wider: many people, steps and birds
    random = _generator(seed, label, location, 1 + piece)  # SeedSequence ignores a trailing 0
    length = samples(seconds, rate)
    total = np.zeros(length)
    for layer in bed:
        sound = replace(layer.model, seconds=Range(seconds, seconds)).sound(random, rate)
        total += sound * (layer.gain / np.sqrt(np.mean(sound**2)))
    for pattern in scatter:
        for sound, start in _hits(pattern, _scattered(pattern, seconds, random), random, rate):
            first = min(length, round(start * rate))
            last = min(length, first + len(sound))
            total[first:last] += sound[: last - first]
    return _quantised(total * (random.uniform(0.3, 0.85) / np.abs(total).max()))


def _generator(seed: int, label: str, *numbers: int) -> Generator:
    """Return the generator of a recording; the CRC-32 of the label is the same on every machine."""
    return Generator(PCG64(SeedSequence((seed, zlib.crc32(label.encode()), *numbers))))


def _check_rate(rate: int) -> None:
    if rate < LOWEST_RATE:
        raise InputError(f"rate {rate} Hz is too low for synthetic sounds; take {LOWEST_RATE} Hz or more")


def _regular(pattern: Pattern, random: Generator) -> list[float]:
    """Return the onsets of the hits of an event: the first at 0, the others about `gap` seconds apart."""
    count, gap = int(pattern.count.draw(random)), pattern.gap.draw(random)
    steps = gap * (1 + pattern.loose * random.uniform(-1, 1, count))
    return [float(t) for t in np.cumsum(steps) - steps[0] if t < LONGEST - SHORTEST]


def _scattered(pattern: Pattern, seconds: float, random: Generator) -> list[float]:
    """Return the onsets of the hits of a scene: uniform, on average one per `gap` seconds."""
    gap = pattern.gap.draw(random)
    count = max(1, int(seconds / gap))
    return [float(t) for t in random.uniform(0, seconds, count)]


def _hits(pattern: Pattern, onsets: list[float], random: Generator, rate: int) -> list[tuple[Signal, float]]:
    """Return (sound, onset) of each layer of the pattern at each onset; a layer has a few variants."""
    strokes = []
    for layer in pattern.layers:
        delay = layer.start.draw(random) if layer.start is not None else 0.0
        kinds = [_scaled(layer, random, rate) for _ in range(min(len(onsets), VARIANTS))]
        for i, start in enumerate(onsets):
            strokes.append((kinds[i % len(kinds)] * random.uniform(0.6, 1.0), start + delay))
    return strokes


def _scaled(layer: Layer, random: Generator, rate: int) -> Signal:
    """Return a sound of the layer's model, with the layer's gain as its peak and a fade-out."""
    sound = layer.model.sound(random, rate)
    sound *= swell(len(sound), rate, 1 / rate, FADE)
    scale: float = layer.gain / np.abs(sound).max()
    return sound * scale


def _with_reverb(dry: Signal, random: Generator, rate: int) -> Signal:
    """Add the reverberation of a small room: exponentially decaying noise with an RT60 of 0.05 to 0.25 s."""
    decay, share = random.uniform(0.05, 0.25) / 6.9, random.uniform(0.1, 0.35)
    tail = samples(7 * decay, rate)
    impulse = random.standard_normal(tail) * np.exp(-np.arange(tail) / (decay * rate))
    impulse *= share / np.sqrt(np.sum(impulse**2))
    impulse[0] += 1.0
    length = fast_length(len(dry) + tail)
    return np.fft.irfft(np.fft.rfft(dry, length) * np.fft.rfft(impulse, length), length)[: len(dry)]


def _quantised(signal: Signal) -> NDArray[np.float32]:
    return (np.rint(signal * 32768.0) / 32768.0).astype(np.float32)
