"""Nine small physical models of sound sources, and their combination into recordings of `mini`.

Each model is a frozen dataclass of ranges. `sound` draws a value from each range and returns one sound as float64
samples of arbitrary level. A recording first narrows the ranges of its class (`narrowed`), so that its hits are more
alike than those of different recordings. The end of the file has mode ratios and formants, and the layers and patterns
of the tables of events and scenes.

Mode ratios: Fletcher and Rossing, The Physics of Musical Instruments, 2nd ed. (Springer, 1998): free bar (nearly
(k + 1/2)²) and clamped bar, chapter 2; circular membrane (zeros of Bessel functions) and circular plates, chapter 3.
Vowel formants have typical adult values, rounded.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.random import Generator

from remixbench.sources.synthetic.dsp import (
    Resonance,
    Signal,
    along,
    coloured_noise,
    harmonics,
    modal,
    resonate,
    samples,
    swell,
    wander,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """A range of a positive quantity, drawn uniformly on a logarithmic scale."""

    low: float
    high: float

    def draw(self, random: Generator) -> float:
        """Return one value."""
        return float(self.low * (self.high / self.low) ** random.random())


def narrowed(template: T, random: Generator, spread: float) -> T:
    """Return a copy in which each nested Range is narrowed to ± `spread` around a value drawn from it."""
    value: Any = template
    if isinstance(value, Range):
        middle = value.draw(random)
        value = Range(max(value.low, middle * (1 - spread)), min(value.high, middle * (1 + spread)))
    elif isinstance(value, tuple):
        value = tuple(narrowed(part, random, spread) for part in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        value = type(value)(**{name: narrowed(part, random, spread) for name, part in parts.items()})
    narrowed_copy: T = value
    return narrowed_copy


class Model(Protocol):
    """A model of one kind of sound."""

    def sound(self, random: Generator, rate: int) -> Signal:
        """Return one sound of about unit amplitude at `rate` Hz."""


@dataclass(frozen=True)
class Plucked:
    """A stiff string, plucked at `point` of its length: f_k = k·f·√(1 + B·k²), a_k = sin(kπ·point) / k^slope.

    High partials decay first (τ_k = decay / k^damping). Fletcher and Rossing, The Physics of Musical
    Instruments, 2nd ed., sections 2.8, 2.18 and 9.
    """

    pitch: Range
    decay: Range
    slope: Range = Range(1.0, 1.8)
    damping: Range = Range(0.5, 0.9)
    point: Range = Range(0.12, 0.4)
    stiffness: float = 1e-4

    def sound(self, random: Generator, rate: int) -> Signal:
        """Return one note."""
        pitch, decay = self.pitch.draw(random), self.decay.draw(random)
        slope, damping, point = (part.draw(random) for part in (self.slope, self.damping, self.point))
        k = np.arange(1.0, 26.0)
        count = samples(min(3.0, 4 * decay), rate)
        frequencies = k * pitch * np.sqrt(1 + self.stiffness * k * k)
        return modal(frequencies, decay * k**-damping, np.sin(k * np.pi * point) * k**-slope, count, rate)


@dataclass(frozen=True)
class Struck:
    """A bar, bell, membrane, plate, box or shard: inharmonic modes at `ratios` of the pitch, struck once.

    Amplitude and decay are powers, `slope` and `damping`, of the ratio; `thud` is the level of the contact noise
    relative to the ringing; `bend` raises the pitch at the start (a slack membrane).
    """

    pitch: Range
    ratios: tuple[float, ...]
    decay: Range
    slope: Range = Range(0.3, 0.8)
    damping: Range = Range(0.4, 0.9)
    thud: Range = Range(0.05, 0.15)
    bend: float = 0.0

    def sound(self, random: Generator, rate: int) -> Signal:
        """Return one stroke."""
        pitch, decay = self.pitch.draw(random), self.decay.draw(random)
        slope, damping, thud = (part.draw(random) for part in (self.slope, self.damping, self.thud))
        ratios = np.array(self.ratios)
        count = samples(min(3.5, max(0.05, 5 * decay)), rate)
        strength = random.uniform(0.4, 1.0, len(ratios))  # amplitudes depend on where it is struck
        ring = modal(pitch * ratios, decay * ratios**-damping, strength * ratios**-slope, count, rate)
        if self.bend > 0:
            t = np.arange(count) / rate
            ring = np.interp(t + self.bend * 0.05 * (1 - np.exp(-t / 0.05)), t, ring)
        burst = min(count, samples(0.02, rate))
        hit = random.standard_normal(burst) * np.exp(-np.arange(burst) / (0.004 * rate))
        ring[:burst] += thud * (np.abs(ring).max() or 1.0) * hit  # all modes may be above the limit of a low rate
        return ring


@dataclass(frozen=True)
class Blown:
    """A pipe or reed: harmonics with a spectral slope, formants and breath noise, and a soft attack.

    `even` is the level of the even harmonics (low in a cylinder closed at one end, such as a clarinet), `breath` that
    of the noise, `vibrato` the relative pitch excursion, `second` the pitch of a second reed relative to the first.
    """

    pitch: Range
    seconds: Range
    slope: Range
    even: float = 1.0
    formants: tuple[Resonance, ...] = ()
    breath: Range = Range(0.01, 0.03)
    attack: Range = Range(0.02, 0.06)
    vibrato: Range = Range(0.001, 0.004)
    second: Range | None = None

    def sound(self, random: Generator, rate: int) -> Signal:
        """Return one note."""
        pitch, slope = self.pitch.draw(random), self.slope.draw(random)
        count = samples(self.seconds.draw(random), rate)
        shake = np.sin(2 * np.pi * random.uniform(4.5, 6.5) / rate * np.arange(count))
        track = pitch * (1 + self.vibrato.draw(random) * shake + 0.002 * wander(random, count, rate, 8))
        k = np.arange(1.0, 31.0)
        weights = k**-slope * np.where(k % 2 == 0, self.even, 1.0)
        for part in self.formants:
            weights *= 1 + part.gain / (1 + ((k * pitch - part.hertz) / part.width) ** 2)
        tone = harmonics(track, weights, rate)
        if self.second is not None:
            tone += harmonics(track * self.second.draw(random), weights, rate)
        wind = coloured_noise(random, count, rate, 2.5 * pitch, 1.2)
        loud = swell(count, rate, self.attack.draw(random), 0.08) * (1 + 0.1 * shake)
        sound: Signal = (tone / np.abs(tone).max() + self.breath.draw(random) * wind) * loud
        return sound


@dataclass(frozen=True)
class Bowed:
    """Stick and slip: a sawtooth (Helmholtz motion) with vibrato, filtered by the resonances of a body.

    `glide` is the ratio of final to initial pitch, `wobble` the unsteadiness of the pitch: small for a violin, large
    for a hinge.
    """

    pitch: Range
    seconds: Range
    body: tuple[Resonance, ...]
    vibrato: Range = Range(0.004, 0.01)
    scratch: Range = Range(0.02, 0.06)
    attack: Range = Range(0.05, 0.15)
    glide: Range = Range(0.995, 1.005)
    wobble: float = 0.003

    def sound(self, random: Generator, rate: int) -> Signal:
        """Return one stroke of the bow."""
        pitch, count = self.pitch.draw(random), samples(self.seconds.draw(random), rate)
        t = np.arange(count) / rate
        shake = self.vibrato.draw(random) * np.sin(2 * np.pi * random.uniform(4.8, 6.2) * t)
        course = self.glide.draw(random) ** (t / t[-1]) * (1 + self.wobble * wander(random, count, rate, 10))
        saw = harmonics(pitch * course * (1 + shake), 1 / np.arange(1.0, 36.0), rate)
        saw += self.scratch.draw(random) * random.standard_normal(count)
        loud = swell(count, rate, self.attack.draw(random), 0.1) * (1 + 0.15 * wander(random, count, rate, 6))
        return resonate(saw, rate, self.body, direct=0.1) * loud


@dataclass(frozen=True)
class Voice:
    """A voice: a glottal tone and breath noise, with formants that move from one vowel to another.

    `contour` multiplies the pitch over time; `rough` is the irregularity of the vocal folds.
    """

    pitch: Range
    seconds: Range
    contour: tuple[float, ...]
    vowels: tuple[tuple[Resonance, ...], tuple[Resonance, ...]]
    breath: Range = Range(0.02, 0.06)
    rough: Range = Range(0.01, 0.03)
    attack: Range = Range(0.02, 0.05)
    release: float = 0.1

    def sound(self, random: Generator, rate: int) -> Signal:
        """Return one syllable, bark or miaow."""
        count = samples(self.seconds.draw(random), rate)
        pitch = self.pitch.draw(random) * along(self.contour, count)
        rough, breath = self.rough.draw(random), self.breath.draw(random)
        pitch *= 1 + rough * wander(random, count, rate, float(pitch.mean()))
        source = harmonics(pitch, np.arange(1.0, 31.0) ** -1.2, rate)
        source += breath * random.standard_normal(count)
        first, last = (resonate(source, rate, vowel) for vowel in self.vowels)
        weight = np.linspace(0, 1, count)
        return (first * (1 - weight) + last * weight) * swell(count, rate, self.attack.draw(random), self.release)


@dataclass(frozen=True)
class Pulses:
    """An engine, mains hum or flapping lips: a train of irregular pulses, filtered by resonances.

    `jitter` is the relative variation of the period, `drift` the slow change of the pulse rate, `noise` the level of
    turbulence, `rise` the attack in seconds; `tune` scales all resonance frequencies.
    """

    pulses: Range
    seconds: Range
    body: tuple[Resonance, ...]
    jitter: Range
    noise: Range = Range(0.05, 0.15)
    drift: float = 0.05
    rise: Range = Range(0.03, 0.08)
    tune: Range = Range(0.85, 1.18)

    def sound(self, random: Generator, rate: int) -> Signal:
        """Return one run of pulses."""
        seconds, pulses = self.seconds.draw(random), self.pulses.draw(random)
        count, jitter, tune = samples(seconds, rate), self.jitter.draw(random), self.tune.draw(random)
        number = int(seconds * pulses * 1.5) + 4
        turn = 1 + self.drift * wander(random, number, 1, 0.2)
        positions = np.cumsum((1 + jitter * random.uniform(-1, 1, number)) / (pulses * turn)) * rate
        positions = positions[positions < count - 1]
        train = np.zeros(count)
        np.add.at(train, positions.astype(np.int64), random.uniform(0.7, 1.0, len(positions)))
        train += self.noise.draw(random) * np.sqrt(np.mean(train**2)) * random.standard_normal(count)
        body = tuple(Resonance(part.hertz * tune, part.width * tune, part.gain) for part in self.body)
        return resonate(train, rate, body) * swell(count, rate, self.rise.draw(random), 0.05)


@dataclass(frozen=True)
class Friction:
    """Friction of two surfaces, or wind: coloured noise with strokes and crackle.

    `strokes` per second have a modulation `depth` (1: silence in between); `crackle` is the depth of short-time
    irregularity, and `grain` its rate per second.
    """

    centre: Range
    octaves: Range
    seconds: Range
    strokes: Range = Range(1.0, 2.0)
    depth: float = 0.0
    crackle: float = 0.0
    grain: Range = Range(60, 120)
    attack: Range = Range(0.02, 0.06)
    release: float = 0.06

    def sound(self, random: Generator, rate: int) -> Signal:
        """Return one stroke or gust."""
        count, strokes = samples(self.seconds.draw(random), rate), self.strokes.draw(random)
        noise = coloured_noise(random, count, rate, self.centre.draw(random), self.octaves.draw(random))
        if self.depth > 0:
            turn = np.cumsum(1 + 0.4 * wander(random, count, rate, strokes)) * (np.pi * strokes / rate)
            noise *= 1 - self.depth + self.depth * np.sin(turn) ** 2
        if self.crackle > 0:
            grain = self.grain.draw(random)
            points = int(count / rate * grain) + 2
            uneven = np.interp(
                np.arange(count) * (grain / rate), np.arange(points), random.exponential(1.0, points) ** 2
            )
            noise *= 1 - self.crackle + self.crackle * uneven
        return noise * swell(count, rate, self.attack.draw(random), self.release)


@dataclass(frozen=True)
class Grains:
    """Many small impacts at random times (a Poisson process), which excite the same resonances.

    `density` is the number of impacts per second, which follows `course` over time; `spread` is the standard deviation
    of the logarithm of their strength; `tune` scales all resonance frequencies.
    """

    density: Range
    seconds: Range
    body: tuple[Resonance, ...]
    course: tuple[float, ...] = (1.0, 1.0)
    spread: float = 0.6
    tune: Range = Range(0.85, 1.18)

    def sound(self, random: Generator, rate: int) -> Signal:
        """Return one shower of grains."""
        count, tune = samples(self.seconds.draw(random), rate), self.tune.draw(random)
        chance = self.density.draw(random) / rate * along(self.course, count)
        struck = np.flatnonzero(random.random(count) < chance)
        train = np.zeros(count)
        train[0] = 1.0
        train[struck] += np.exp(self.spread * random.standard_normal(len(struck)))
        train *= np.where(random.random(count) < 0.5, -1.0, 1.0)
        body = tuple(Resonance(part.hertz * tune, part.width * tune, part.gain) for part in self.body)
        return resonate(train, rate, body) * swell(count, rate, 0.002, 0.03)


@dataclass(frozen=True)
class Burst:
    """An explosion, a rattle of wires, a cymbal: decaying noise whose frequency falls by the factor `dull`."""

    centre: Range
    octaves: Range
    decay: Range
    dull: Range = Range(0.9, 1.1)
    attack: Range = Range(0.0005, 0.001)

    def sound(self, random: Generator, rate: int) -> Signal:
        """Return one burst."""
        centre, octaves, decay = (part.draw(random) for part in (self.centre, self.octaves, self.decay))
        count = samples(min(3.0, max(0.03, 6 * decay)), rate)
        bright = coloured_noise(random, count, rate, centre, octaves)
        dark = coloured_noise(random, count, rate, centre / self.dull.draw(random), octaves)
        t = np.arange(count) / rate
        early = np.exp(-t / (0.4 * decay))
        loud = np.exp(-t / decay) * np.minimum(1, (t + 1 / rate) / self.attack.draw(random))
        sound: Signal = (bright * early + dark * (1 - early)) * loud
        return sound


FREE_BAR = (1.0, 2.757, 5.404, 8.933, 13.344)
TUBE = (0.605, 1.0, 1.494, 2.086, 2.778)  # a hanging tube: modes 3 to 7 of a free bar, relative to the fourth
TINE = (1.0, 2.0, 3.0, 6.267, 17.547)  # a clamped bar, with harmonics of the fundamental from the pick-up
MEMBRANE = (1.0, 1.593, 2.136, 2.295, 2.653, 2.917, 3.155, 3.500, 3.598, 3.647, 4.059)
CLAMPED_PLATE = (1.0, 2.081, 3.414, 3.893, 4.995, 5.954, 6.819, 8.280, 8.722)
FREE_PLATE = (1.0, 1.730, 2.328, 3.907, 4.110, 6.302, 6.706, 7.344)
# The following ratios are chosen, not derived: bodies without a simple shape.
COW = (1.0, 1.48, 2.52, 3.1, 4.4)
TWO_BELLS = (1.0, 1.19, 2.6, 4.2)
BOX = (1.0, 1.41, 1.73, 2.24, 2.83, 3.6)
SNAP = (1.0, 1.3, 1.75)
SHARDS = (1.0, 1.23, 1.61, 1.97, 2.44, 3.02)


def formants(*hertz: float) -> tuple[Resonance, ...]:
    """Return resonances at `hertz` with widths of 60 Hz + hertz / 15, each 0.7 times as strong as the previous."""
    return tuple(Resonance(f, 60 + f / 15, 0.7**i) for i, f in enumerate(hertz))


AH = formants(800, 1200, 2700)
OH = formants(450, 800, 2700)
EH = formants(550, 1800, 2600)
EE = formants(320, 2300, 3000)
VIOLIN = (Resonance(290, 60), Resonance(500, 120), Resonance(1100, 400), Resonance(2600, 900, 1.6))
CELLO = (Resonance(105, 30), Resonance(210, 50, 1.4), Resonance(400, 120), Resonance(1000, 400, 0.5))
EXHAUST = (Resonance(70, 30, 1.5), Resonance(160, 70), Resonance(420, 200, 0.4))
ONCE = Range(1.0, 1.0)


@dataclass(frozen=True)
class Layer:
    """A model in a sound: its linear peak (`gain`), and its delay in seconds (`start`)."""

    model: Model
    gain: float = 1.0
    start: Range | None = None


@dataclass(frozen=True)
class Pattern:
    """Simultaneous layers, repeated `count` times, `gap` seconds apart (with relative jitter `loose`)."""

    layers: tuple[Layer, ...]
    count: Range = ONCE
    gap: Range = ONCE
    loose: float = 0.1


def single(model: Model) -> Pattern:
    """Return the pattern of a single sound."""
    return Pattern((Layer(model),))


def repeated(model: Model, count: Range, gap: Range, loose: float = 0.1) -> Pattern:
    """Return the pattern of a repeated sound."""
    return Pattern((Layer(model),), count, gap, loose)
