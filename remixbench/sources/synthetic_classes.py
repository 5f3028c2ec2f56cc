"""The table of the synthetic classes: which model makes the sound of which label, and with what ranges.

These are stand-ins: simple physics that resembles what the label says, not recordings of it. Rows follow the
order of the labels of FSDKaggle2018 and the scenes of TAU Urban Acoustic Scenes 2019. Hz and seconds.

Ratios of modes: Fletcher and Rossing, The Physics of Musical Instruments, 2nd ed. (Springer, 1998): free bar
((k + 1/2)²) and clamped bar, chapter 2; circular membrane (zeros of
Bessel functions) and circular plates, chapter 3.
"""

from __future__ import annotations

from dataclasses import dataclass

from remixbench.sources.synthetic_blocks import Resonance
from remixbench.sources.synthetic_models import (
    Blown,
    Bowed,
    Burst,
    Friction,
    Grains,
    Model,
    Plucked,
    Pulses,
    Range,
    Struck,
    Voice,
)

FREE_BAR = (1.0, 2.757, 5.404, 8.933, 13.34)
CLAMPED_BAR = (1.0, 6.267, 17.55)
MEMBRANE = (1.0, 1.593, 2.136, 2.295, 2.653, 2.917, 3.156, 3.500, 3.598, 3.647, 4.059)
CLAMPED_PLATE = (1.0, 2.081, 3.414, 3.893, 4.995, 5.954, 6.819, 8.279, 8.722)
FREE_PLATE = (1.0, 1.730, 2.328, 3.907, 4.110, 6.302, 6.706, 7.344)
TUBE = (
    0.444,
    1.0,
    1.494,
    2.086,
    2.778,
)  # a hung tube: modes 3 to 7 of the free bar over its strike note's, the fourth
BELL_GONG = (0.5, 1.0, 1.183, 1.506, 2.0, 2.514, 2.662, 3.011, 4.166)  # minor-third bell, 21.11
COW = (1.0, 1.48, 2.52, 3.1, 4.4)  # two flat plates: the measured pair is about a fifth apart
BOX = (1.0, 1.41, 1.73, 2.24, 2.83, 3.6)  # a wooden panel: a rectangular plate's low modes, unevenly damped
SHARDS = (1.0, 1.23, 1.61, 1.97, 2.44, 3.02)  # irregular metal or glass: no simple law


def _formants(*hertz: float) -> tuple[Resonance, ...]:
    """Return resonances at `hertz`, each a ninth as wide and a little fainter than the one before."""
    return tuple(Resonance(f, 60 + f / 15, 0.7**i) for i, f in enumerate(hertz))


AH, OH, EH, EE, MM = (
    _formants(800, 1200, 2700),
    _formants(450, 800, 2700),
    _formants(550, 1800, 2600),
    _formants(320, 2300, 3000),
    _formants(260, 1000, 2300),
)
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


@dataclass(frozen=True)
class Bed:
    """A sound that never stops, with its RMS."""

    model: Friction | Pulses
    gain: float


@dataclass(frozen=True)
class SceneRow:
    """A scene: `bed` sounds all the time, the patterns of `scatter` come at random (gains are peaks)."""

    bed: tuple[Bed, ...]
    scatter: tuple[Pattern, ...] = ()


def _one(*models: Model) -> Pattern:
    return Pattern(tuple(Part(model) for model in models))


R = Range
_WOOD = _formants(180, 420, 900)
_VIOLIN = (Resonance(290, 60), Resonance(500, 120), Resonance(1100, 400), Resonance(2600, 900, 1.6))
_CELLO = (Resonance(105, 30), Resonance(210, 50, 1.4), Resonance(400, 120), Resonance(1000, 400, 0.5))
_EXHAUST = (Resonance(70, 30, 1.5), Resonance(160, 70), Resonance(420, 200, 0.4))

EVENTS: dict[str, Pattern] = {
    "Acoustic_guitar": Pattern((Part(Plucked(R(110, 350), R(0.4, 1.0))),), R(1, 4), R(0.2, 0.5)),
    "Applause": _one(Grains(R(150, 700), R(1.5, 3.5), _formants(1000, 1600, 2500))),
    "Bark": Pattern(
        (
            Part(
                Voice(
                    R(250, 500),
                    R(0.12, 0.25),
                    (0.8, 1.2, 0.6),
                    (OH, AH),
                    R(0.2, 0.5),
                    R(0.1, 0.25),
                    R(0.01, 0.02),
                )
            ),
        ),
        R(1, 4),
        R(0.35, 0.7),
    ),
    "Bass_drum": _one(Struck(R(45, 85), MEMBRANE, R(0.12, 0.35), R(1.2, 2.0), thud=R(0.02, 0.1), bend=0.8)),
    "Burping_or_eructation": _one(
        Pulses(R(45, 85), R(0.4, 1.4), _formants(420, 750, 1900), R(0.25, 0.5), drift=0.3, tune=R(0.8, 1.2))
    ),
    "Bus": Pattern(
        (
            Part(Pulses(R(22, 38), R(2.0, 3.5), _EXHAUST, R(0.04, 0.1), R(0.3, 0.6), rise=R(0.2, 0.5))),
            Part(Friction(R(180, 350), R(1.0, 1.5), R(2.0, 3.5), attack=R(0.2, 0.5), release=0.3), 0.5),
        )
    ),
    "Cello": _one(Bowed(R(66, 200), R(1.2, 2.8), _CELLO)),
    "Chime": Pattern(
        (Part(Struck(R(900, 2200), TUBE, R(0.7, 1.5), R(0.2, 0.6), thud=R(0.01, 0.03))),),
        R(3, 7),
        R(0.15, 0.4),
        0.5,
    ),
    "Clarinet": _one(Blown(R(147, 600), R(0.8, 2.5), R(0.7, 1.1), 0.06, breath=R(0.005, 0.02))),
    "Computer_keyboard": Pattern(
        (
            Part(Struck(R(1200, 2400), BOX, R(0.006, 0.015), thud=R(0.5, 1.0))),
            Part(Struck(R(1600, 3000), BOX, R(0.004, 0.01), thud=R(0.5, 1.0)), 0.4, R(0.05, 0.09)),
        ),
        R(6, 14),
        R(0.12, 0.22),
        0.5,
    ),
    "Cough": Pattern(
        (
            Part(Burst(R(900, 1500), R(0.7, 1.0), R(0.04, 0.09), attack=R(0.005, 0.01))),
            Part(
                Voice(
                    R(120, 260), R(0.15, 0.3), (1.0, 0.7), (AH, OH), R(0.8, 1.6), R(0.1, 0.3), R(0.02, 0.04)
                ),
                0.7,
                R(0.03, 0.05),
            ),
        ),
        R(1, 3.9),
        R(0.35, 0.6),
    ),
    "Cowbell": Pattern(
        (Part(Struck(R(480, 850), COW, R(0.08, 0.25), R(0.2, 0.7), R(0.2, 0.5))),), R(1, 4), R(0.25, 0.6)
    ),
    "Double_bass": Pattern((Part(Plucked(R(38, 85), R(0.4, 0.9), R(1.2, 1.8))),), R(1, 3), R(0.4, 0.8)),
    "Drawer_open_or_close": Pattern(
        (
            Part(
                Friction(
                    R(350, 700), R(0.8, 1.1), R(0.5, 1.2), crackle=0.6, grain=R(25, 60), attack=R(0.1, 0.3)
                ),
                0.4,
            ),
            Part(Struck(R(110, 220), BOX, R(0.04, 0.1), R(0.2, 0.8), thud=R(0.4, 0.8)), 1.0, R(0.6, 1.1)),
        )
    ),
    "Electric_piano": Pattern(
        (
            Part(
                Struck(
                    R(150, 500), (1.0, 2.0, 3.0, 7.1), R(0.6, 1.2), R(1.2, 2.0), R(0.5, 1.0), R(0.01, 0.03)
                )
            ),
        ),
        R(1, 3),
        R(0.3, 0.7),
    ),
    "Fart": _one(
        Pulses(
            R(70, 160), R(0.3, 1.3), (Resonance(180, 150), Resonance(350, 250, 0.6)), R(0.1, 0.35), drift=0.4
        )
    ),
    "Finger_snapping": Pattern(
        (Part(Struck(R(1500, 2600), (1.0, 1.3, 1.75), R(0.008, 0.02), R(0.2, 0.8), thud=R(0.2, 0.4))),),
        R(1, 4),
        R(0.4, 0.7),
    ),
    "Fireworks": Pattern(
        (
            Part(Burst(R(150, 300), R(0.9, 1.3), R(0.2, 0.4), R(1.5, 2.5))),
            Part(
                Grains(R(60, 200), R(1.0, 2.2), _formants(2500, 4500), (0.2, 1.0, 0.6, 0.1), 1.2),
                0.6,
                R(0.2, 0.5),
            ),
        )
    ),
    "Flute": _one(
        Blown(R(350, 1200), R(0.8, 2.5), R(2.2, 3.2), breath=R(0.08, 0.2), vibrato=R(0.006, 0.012))
    ),
    "Glockenspiel": Pattern(
        (Part(Struck(R(1000, 2600), FREE_BAR, R(0.3, 0.9), R(0.6, 1.2), thud=R(0.02, 0.06))),),
        R(1, 5),
        R(0.2, 0.5),
    ),
    "Gong": _one(
        Struck(
            R(80, 220), FREE_PLATE + CLAMPED_PLATE[1:], R(0.9, 2.0), R(0.2, 0.6), R(0.1, 0.3), R(0.02, 0.05)
        )
    ),
    "Gunshot_or_gunfire": Pattern(
        (Part(Burst(R(500, 1200), R(1.3, 1.8), R(0.08, 0.25), R(2.0, 4.0))),), R(1, 4), R(0.3, 0.7)
    ),
    "Harmonica": Pattern(
        (
            Part(
                Blown(
                    R(260, 700),
                    R(0.5, 1.2),
                    R(0.5, 0.9),
                    0.8,
                    _formants(1800, 3000),
                    R(0.02, 0.05),
                    second=R(1.25, 1.5),
                )
            ),
        ),
        R(1, 3),
        R(0.6, 1.0),
    ),
    "Hi-hat": Pattern(
        (Part(Burst(R(6500, 9000), R(0.25, 0.45), R(0.03, 0.2))),), R(1, 5), R(0.2, 0.45), 0.03
    ),
    "Keys_jangling": Pattern(
        (Part(Struck(R(2600, 4200), SHARDS, R(0.03, 0.08), R(0.0001, 0.3), thud=R(0.05, 0.2))),),
        R(12, 24),
        R(0.05, 0.12),
        0.9,
    ),
    "Knock": Pattern(
        (Part(Struck(R(140, 320), BOX, R(0.02, 0.05), R(0.3, 0.9), thud=R(0.1, 0.4))),),
        R(2.5, 6.9),
        R(0.15, 0.3),
    ),
    "Laughter": Pattern(
        (
            Part(
                Voice(
                    R(160, 380),
                    R(0.1, 0.16),
                    (1.1, 1.0, 0.85),
                    (AH, EH),
                    R(0.15, 0.4),
                    attack=R(0.02, 0.04),
                    release=0.05,
                )
            ),
        ),
        R(4, 9),
        R(0.17, 0.25),
    ),
    "Meow": _one(
        Voice(
            R(420, 750),
            R(0.6, 1.4),
            (0.8, 1.2, 1.15, 0.75),
            (EE, OH),
            R(0.02, 0.06),
            R(0.01, 0.02),
            R(0.06, 0.15),
        )
    ),
    "Microwave_oven": Pattern(
        (
            Part(
                Pulses(
                    R(99, 121),
                    R(1.8, 3.2),
                    _formants(240, 480, 1100),
                    R(0.002, 0.006),
                    R(0.3, 0.6),
                    0.002,
                    R(0.1, 0.3),
                ),
                0.5,
            ),
            Part(Blown(R(1900, 2200), R(0.15, 0.4), R(2.5, 3.5), breath=R(0.001, 0.002)), 0.6, R(0.6, 1.5)),
        )
    ),
    "Oboe": _one(
        Blown(
            R(260, 900),
            R(0.8, 2.5),
            R(0.6, 0.9),
            1.0,
            (Resonance(1100, 200, 5), Resonance(2900, 400, 3)),
            R(0.005, 0.015),
            vibrato=R(0.004, 0.009),
        )
    ),
    "Saxophone": _one(
        Blown(
            R(140, 450),
            R(0.8, 2.5),
            R(0.9, 1.3),
            0.9,
            (Resonance(600, 250, 3), Resonance(1500, 500, 2)),
            R(0.05, 0.12),
            vibrato=R(0.006, 0.014),
        )
    ),
    "Scissors": Pattern(
        (
            Part(Friction(R(4000, 5800), R(0.4, 0.6), R(0.12, 0.25), crackle=0.4, grain=R(200, 400)), 0.6),
            Part(
                Struck(R(2800, 4500), SHARDS, R(0.01, 0.03), R(0.1, 0.4), thud=R(0.2, 0.5)), 1.0, R(0.1, 0.2)
            ),
        ),
        R(2, 5),
        R(0.35, 0.55),
    ),
    "Shatter": Pattern(
        (
            Part(Burst(R(2500, 4500), R(0.9, 1.2), R(0.03, 0.08))),
            Part(
                Grains(
                    R(90, 250),
                    R(0.6, 1.6),
                    (Resonance(3100, 25), Resonance(4300, 30), Resonance(5600, 40), Resonance(7100, 50)),
                    (1.0, 0.4, 0.12, 0.03),
                    0.9,
                ),
                0.8,
            ),
        )
    ),
    "Snare_drum": Pattern(
        (
            Part(Struck(R(160, 260), MEMBRANE, R(0.05, 0.12), R(0.6, 1.1))),
            Part(Burst(R(2500, 4500), R(0.7, 1.0), R(0.06, 0.15)), 0.8),
        ),
        R(1, 4),
        R(0.2, 0.5),
    ),
    "Squeak": Pattern(
        (
            Part(
                Bowed(
                    R(700, 1700),
                    R(0.25, 0.8),
                    (Resonance(1600, 600), Resonance(3300, 900)),
                    R(0.001, 0.003),
                    R(0.05, 0.1),
                    R(0.02, 0.06),
                    R(0.6, 1.7),
                    0.08,
                )
            ),
        ),
        R(1, 2.9),
        R(0.4, 0.8),
    ),
    "Tambourine": Pattern(
        (
            Part(
                Grains(
                    R(150, 400),
                    R(0.15, 0.4),
                    (Resonance(4600, 60), Resonance(5900, 70), Resonance(7000, 90)),
                    (1.0, 0.3, 0.05),
                )
            ),
            Part(Struck(R(220, 400), MEMBRANE, R(0.02, 0.05)), 0.3),
        ),
        R(2, 5),
        R(0.22, 0.45),
    ),
    "Tearing": _one(
        Friction(
            R(1800, 3500), R(1.0, 1.4), R(0.4, 1.6), crackle=0.95, grain=R(120, 300), attack=R(0.05, 0.2)
        )
    ),
    "Telephone": Pattern(
        (Part(Struck(R(900, 1500), (1.0, 1.19, 2.6, 4.2), R(0.1, 0.3), R(0.2, 0.5))),),
        R(16, 34),
        R(0.04, 0.055),
        0.02,
    ),
    "Trumpet": _one(
        Blown(
            R(220, 800),
            R(0.6, 2.2),
            R(0.3, 0.6),
            1.0,
            (Resonance(1300, 500, 3),),
            R(0.01, 0.03),
            R(0.03, 0.08),
        )
    ),
    "Violin_or_fiddle": _one(Bowed(R(250, 900), R(0.8, 2.6), _VIOLIN)),
    "Writing": _one(Friction(R(2200, 4000), R(0.6, 0.9), R(1.2, 3.0), R(3.0, 6.0), 0.95, 0.4, R(100, 200))),
}

_LONG = R(1.0, 1.0)  # a bed's length is the scene's
_STEPS = Struck(R(120, 260), BOX, R(0.01, 0.03), R(0.6, 1.2), thud=R(0.3, 0.8))
_TALK = Voice(R(110, 260), R(0.12, 0.3), (1.0, 1.1, 0.9), (AH, EE), R(0.03, 0.1))
_BIRD = Bowed(
    R(2500, 4500),
    R(0.08, 0.2),
    (Resonance(3500, 2500),),
    attack=R(0.02, 0.04),
    glide=R(0.7, 1.4),
    wobble=0.03,
)
_CAR = Friction(R(300, 700), R(0.8, 1.1), R(2.5, 4.0), attack=R(1.0, 1.5), release=1.2)


def _air(centre: Range, octaves: Range, gain: float = 1.0) -> Bed:
    """Return the steady noise of a place."""
    return Bed(Friction(centre, octaves, _LONG, attack=R(0.001, 0.002), release=0.001), gain)


def _motor(pulses: Range, body: tuple[Resonance, ...], gain: float, jitter: Range) -> Bed:
    """Return a steady motor or hum."""
    return Bed(Pulses(pulses, _LONG, body, jitter, rise=R(0.001, 0.002)), gain)


def _often(model: Model, gap: Range, gain: float) -> Pattern:
    """Return a sound that comes again about every `gap` seconds."""
    return Pattern((Part(model, gain),), gap=gap)


SCENES: dict[str, SceneRow] = {
    "airport": SceneRow(
        (_air(R(250, 450), R(1.3, 1.7)),),
        (
            _often(_TALK, R(0.25, 0.5), 1.5),
            _often(Blown(R(500, 800), R(0.5, 0.9), R(2.0, 3.0)), R(3, 6), 1.5),
        ),
    ),
    "bus": SceneRow(
        (_motor(R(24, 36), _EXHAUST, 1.0, R(0.02, 0.06)), _air(R(120, 220), R(0.9, 1.2), 0.6)),
        (_often(_TALK, R(0.6, 1.5), 1.5),),
    ),
    "metro": SceneRow(
        (_air(R(350, 650), R(0.9, 1.2)), _motor(R(90, 180), _formants(400, 900, 1800), 0.6, R(0.02, 0.05))),
        (_often(Struck(R(90, 160), BOX, R(0.03, 0.06), thud=R(0.5, 0.9)), R(0.4, 0.7), 4.0),),
    ),
    "metro_station": SceneRow(
        (_air(R(150, 260), R(1.6, 2.0)),),
        (
            _often(_STEPS, R(0.25, 0.5), 3.0),
            _often(Bowed(R(900, 1800), R(0.5, 1.2), _VIOLIN, wobble=0.02), R(2.5, 5), 2.0),
        ),
    ),
    "park": SceneRow(
        (_air(R(1200, 2200), R(1.2, 1.6), 0.6), _air(R(90, 160), R(0.8, 1.1), 0.5)),
        (_often(_BIRD, R(0.3, 0.7), 3.0),),
    ),
    "public_square": SceneRow(
        (_air(R(450, 800), R(1.4, 1.8)),),
        (_often(_TALK, R(0.5, 1.0), 2.0), _often(_STEPS, R(0.5, 1.0), 2.0), _often(_BIRD, R(1.5, 3.0), 1.5)),
    ),
    "shopping_mall": SceneRow(
        (_air(R(650, 1000), R(0.9, 1.2)), _motor(R(100, 120), _formants(300, 600), 0.3, R(0.002, 0.01))),
        (_often(_TALK, R(0.08, 0.15), 2.0), _often(_STEPS, R(0.3, 0.6), 1.5)),
    ),
    "street_pedestrian": SceneRow(
        (_air(R(300, 550), R(1.2, 1.5)),),
        (_often(_STEPS, R(0.15, 0.3), 4.0), _often(_TALK, R(0.3, 0.6), 2.0)),
    ),
    "street_traffic": SceneRow(
        (_air(R(500, 800), R(0.8, 1.1)), _air(R(70, 110), R(0.6, 0.9), 1.0)),
        (_often(_CAR, R(1.2, 2.0), 4.0),),
    ),
    "tram": SceneRow(
        (
            _motor(R(250, 500), _formants(500, 1000, 2000), 0.7, R(0.002, 0.01)),
            _air(R(180, 320), R(0.9, 1.2)),
        ),
        (_often(Bowed(R(1200, 2500), R(0.6, 1.5), _VIOLIN, glide=R(0.8, 1.2)), R(2, 4), 2.0),),
    ),
}
