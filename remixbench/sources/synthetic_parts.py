"""What the tables of synthetic events and scenes are written with: parts, patterns, and how bodies ring.

Ratios of modes: Fletcher and Rossing, The Physics of Musical Instruments, 2nd ed. (Springer, 1998): free bar
(nearly (k + 1/2)²) and clamped bar, chapter 2; circular membrane (zeros of Bessel functions) and circular
plates, chapter 3. The formants of vowels are of the usual size for a grown-up's, rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

from remixbench.sources.synthetic_blocks import Resonance
from remixbench.sources.synthetic_models import Model, Range

FREE_BAR = (1.0, 2.757, 5.404, 8.933, 13.344)
TUBE = (0.605, 1.0, 1.494, 2.086, 2.778)  # a hung tube: modes 3 to 7 of a free bar, over the fourth
TINE = (1.0, 2.0, 3.0, 6.267, 17.547)  # a clamped bar, its fundamental bent into harmonics by the pick-up
MEMBRANE = (1.0, 1.593, 2.136, 2.295, 2.653, 2.917, 3.155, 3.500, 3.598, 3.647, 4.059)
CLAMPED_PLATE = (1.0, 2.081, 3.414, 3.893, 4.995, 5.954, 6.819, 8.280, 8.722)
FREE_PLATE = (1.0, 1.730, 2.328, 3.907, 4.110, 6.302, 6.706, 7.344)
# The next ones are chosen, not derived: bodies of no simple shape.
COW = (1.0, 1.48, 2.52, 3.1, 4.4)
TWO_BELLS = (1.0, 1.19, 2.6, 4.2)
BOX = (1.0, 1.41, 1.73, 2.24, 2.83, 3.6)
SNAP = (1.0, 1.3, 1.75)
SHARDS = (1.0, 1.23, 1.61, 1.97, 2.44, 3.02)


def formants(*hertz: float) -> tuple[Resonance, ...]:
    """Return resonances at `hertz`, 60 Hz and a fifteenth of that wide, each 0.7 times the one before."""
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
class Part:
    """One model in a sound: its peak as a share (`gain`), and how long after the beginning it enters."""

    model: Model
    gain: float = 1.0
    start: Range | None = None


@dataclass(frozen=True)
class Pattern:
    """Parts that sound together, `count` times over, `gap` seconds apart (± `loose` of it)."""

    parts: tuple[Part, ...]
    count: Range = ONCE
    gap: Range = ONCE
    loose: float = 0.1


def one(model: Model) -> Pattern:
    """Return a single sound."""
    return Pattern((Part(model),))


def again(model: Model, count: Range, gap: Range, loose: float = 0.1) -> Pattern:
    """Return a sound that comes several times."""
    return Pattern((Part(model),), count, gap, loose)
