"""The tables of the synthetic sounds: the models of each event and scene, and the ranges of their parameters.

These are stand-ins: simple physical models that resemble their labels, those of FSDKaggle2018 and of TAU Urban Acoustic
Scenes 2019, in their order. A scene has continuous sounds, and sounds at random times. Units are Hz and seconds;
`repeated` takes the number of hits and the time between them.
"""

from __future__ import annotations

from dataclasses import dataclass

from remixbench.sources.synthetic.dsp import Resonance
from remixbench.sources.synthetic.models import (
    AH,
    BOX,
    CELLO,
    CLAMPED_PLATE,
    COW,
    EE,
    EH,
    EXHAUST,
    FREE_BAR,
    FREE_PLATE,
    MEMBRANE,
    OH,
    SHARDS,
    SNAP,
    TINE,
    TUBE,
    TWO_BELLS,
    VIOLIN,
    Blown,
    Bowed,
    Burst,
    Friction,
    Grains,
    Layer,
    Model,
    Pattern,
    Plucked,
    Pulses,
    Range,
    Struck,
    Voice,
    formants,
    repeated,
    single,
)

R = Range

EVENTS: dict[str, Pattern] = {
    "Acoustic_guitar": repeated(Plucked(R(110, 350), R(0.4, 1.0)), R(1, 4), R(0.2, 0.5)),
    "Applause": single(Grains(R(150, 700), R(1.5, 3.5), body=formants(1000, 1600, 2500))),
    "Bark": repeated(
        Voice(
            R(250, 500),
            R(0.12, 0.25),
            contour=(0.8, 1.2, 0.6),
            vowels=(OH, AH),
            breath=R(0.2, 0.5),
            rough=R(0.1, 0.25),
            attack=R(0.01, 0.02),
        ),
        R(1, 4),
        R(0.35, 0.7),
    ),
    "Bass_drum": single(
        Struck(R(45, 85), MEMBRANE, decay=R(0.12, 0.35), slope=R(1.2, 2.0), thud=R(0.02, 0.1), bend=0.8)
    ),
    "Burping_or_eructation": single(
        Pulses(R(45, 85), R(0.4, 1.4), body=formants(420, 750, 1900), jitter=R(0.25, 0.5), drift=0.3)
    ),
    "Bus": Pattern(
        (
            Layer(
                Pulses(R(22, 38), R(2.0, 3.5), body=EXHAUST, jitter=R(0.04, 0.1), noise=R(0.3, 0.6), rise=R(0.2, 0.5))
            ),
            Layer(Friction(R(180, 350), R(1.0, 1.5), seconds=R(2.0, 3.5), attack=R(0.2, 0.5), release=0.3), 0.5),
        )
    ),
    "Cello": single(Bowed(R(66, 200), R(1.2, 2.8), body=CELLO)),
    "Chime": repeated(
        Struck(R(900, 2200), TUBE, decay=R(0.4, 0.9), slope=R(0.2, 0.6), thud=R(0.01, 0.03)), R(3, 7), R(0.15, 0.4), 0.5
    ),
    "Clarinet": single(Blown(R(147, 500), R(0.8, 2.5), slope=R(0.7, 1.1), even=0.06, breath=R(0.005, 0.02))),
    "Computer_keyboard": Pattern(
        (
            Layer(Struck(R(1200, 2400), BOX, decay=R(0.006, 0.015), thud=R(0.5, 1.0))),
            Layer(Struck(R(1600, 3000), BOX, decay=R(0.004, 0.01), thud=R(0.5, 1.0)), 0.4, R(0.05, 0.09)),
        ),
        R(6, 14),
        R(0.12, 0.22),
        0.5,
    ),
    "Cough": Pattern(
        (
            Layer(Burst(R(900, 1500), R(0.7, 1.0), decay=R(0.04, 0.09), attack=R(0.005, 0.01))),
            Layer(
                Voice(
                    R(120, 260),
                    R(0.15, 0.3),
                    contour=(1.0, 0.7),
                    vowels=(AH, OH),
                    breath=R(0.8, 1.6),
                    rough=R(0.1, 0.3),
                    attack=R(0.02, 0.04),
                ),
                0.7,
                R(0.03, 0.05),
            ),
        ),
        R(1, 3.9),
        R(0.35, 0.6),
    ),
    "Cowbell": repeated(
        Struck(R(480, 850), COW, decay=R(0.08, 0.25), slope=R(0.2, 0.7), damping=R(0.2, 0.5)), R(1, 4), R(0.25, 0.6)
    ),
    "Double_bass": repeated(Plucked(R(38, 85), R(0.4, 0.9), slope=R(1.2, 1.8)), R(1, 3), R(0.4, 0.8)),
    "Drawer_open_or_close": Pattern(
        (
            Layer(
                Friction(
                    R(350, 700), R(0.8, 1.1), seconds=R(0.5, 1.2), crackle=0.6, grain=R(25, 60), attack=R(0.1, 0.3)
                ),
                0.4,
            ),
            Layer(Struck(R(110, 220), BOX, decay=R(0.04, 0.1), slope=R(0.2, 0.8), thud=R(0.4, 0.8)), 1.0, R(0.6, 1.1)),
        )
    ),
    "Electric_piano": repeated(
        Struck(R(180, 500), TINE, decay=R(0.4, 0.8), slope=R(1.2, 2.0), damping=R(0.5, 1.0), thud=R(0.01, 0.03)),
        R(1, 3),
        R(0.3, 0.7),
    ),
    "Fart": single(
        Pulses(
            R(70, 160),
            R(0.3, 1.3),
            body=(Resonance(180, 150), Resonance(350, 250, 0.6)),
            jitter=R(0.1, 0.35),
            drift=0.4,
        )
    ),
    "Finger_snapping": repeated(
        Struck(R(1500, 2600), SNAP, decay=R(0.008, 0.02), slope=R(0.2, 0.8), thud=R(0.2, 0.4)), R(1, 4), R(0.4, 0.7)
    ),
    "Fireworks": Pattern(
        (
            Layer(Burst(R(150, 300), R(0.9, 1.3), decay=R(0.2, 0.4), dull=R(1.5, 2.5))),
            Layer(
                Grains(R(60, 200), R(1.0, 2.2), body=formants(2500, 4500), course=(0.2, 1.0, 0.6, 0.1)),
                0.6,
                R(0.2, 0.5),
            ),
        )
    ),
    "Flute": single(Blown(R(450, 1300), R(0.8, 2.5), slope=R(2.2, 3.2), breath=R(0.08, 0.2), vibrato=R(0.006, 0.012))),
    "Glockenspiel": repeated(
        Struck(R(1000, 2600), FREE_BAR, decay=R(0.3, 0.9), slope=R(0.6, 1.2), thud=R(0.02, 0.06)), R(1, 5), R(0.2, 0.5)
    ),
    "Gong": single(
        Struck(
            R(80, 220),
            FREE_PLATE + CLAMPED_PLATE[1:],
            decay=R(0.4, 0.75),
            slope=R(0.2, 0.6),
            damping=R(0.1, 0.3),
            thud=R(0.02, 0.05),
        )
    ),
    "Gunshot_or_gunfire": repeated(
        Burst(R(500, 1200), R(1.3, 1.8), decay=R(0.08, 0.25), dull=R(2.0, 4.0)), R(1, 4), R(0.3, 0.7)
    ),
    "Harmonica": repeated(
        Blown(
            R(260, 700),
            R(0.5, 1.2),
            slope=R(0.5, 0.9),
            even=0.5,
            formants=formants(1800, 3000),
            breath=R(0.06, 0.15),
            second=R(1.25, 1.5),
        ),
        R(1, 3),
        R(0.6, 1.0),
    ),
    "Hi-hat": repeated(Burst(R(6500, 9000), R(0.25, 0.45), decay=R(0.03, 0.2)), R(1, 5), R(0.2, 0.45), 0.03),
    "Keys_jangling": repeated(
        Struck(R(2600, 4200), SHARDS, decay=R(0.03, 0.08), slope=R(0.0001, 0.3), thud=R(0.05, 0.2)),
        R(12, 24),
        R(0.05, 0.12),
        0.9,
    ),
    "Knock": repeated(
        Struck(R(140, 320), BOX, decay=R(0.02, 0.05), slope=R(0.3, 0.9), thud=R(0.1, 0.4)), R(2.5, 6.9), R(0.15, 0.3)
    ),
    "Laughter": repeated(
        Voice(
            R(160, 380),
            R(0.1, 0.16),
            contour=(1.1, 1.0, 0.85),
            vowels=(AH, EH),
            breath=R(0.15, 0.4),
            attack=R(0.02, 0.04),
            release=0.05,
        ),
        R(4, 9),
        R(0.17, 0.25),
    ),
    "Meow": single(
        Voice(
            R(420, 750),
            R(0.6, 1.4),
            contour=(0.8, 1.2, 1.15, 0.75),
            vowels=(EE, OH),
            breath=R(0.02, 0.06),
            rough=R(0.01, 0.02),
            attack=R(0.06, 0.15),
        )
    ),
    "Microwave_oven": Pattern(
        (
            Layer(
                Pulses(
                    R(99, 121),
                    R(1.8, 3.2),
                    body=formants(240, 480, 1100),
                    jitter=R(0.002, 0.006),
                    noise=R(0.3, 0.6),
                    drift=0.002,
                    rise=R(0.1, 0.3),
                ),
                0.5,
            ),
            Layer(Blown(R(1900, 2200), R(0.15, 0.4), slope=R(2.5, 3.5), breath=R(0.001, 0.002)), 0.6, R(0.6, 1.5)),
        )
    ),
    "Oboe": single(
        Blown(
            R(380, 900),
            R(0.8, 2.5),
            slope=R(0.6, 0.9),
            formants=(Resonance(1100, 200, 5), Resonance(2900, 400, 3)),
            breath=R(0.005, 0.015),
            vibrato=R(0.004, 0.009),
        )
    ),
    "Saxophone": single(
        Blown(
            R(110, 330),
            R(0.8, 2.5),
            slope=R(0.9, 1.3),
            formants=(Resonance(600, 250, 3), Resonance(1500, 500, 2)),
            breath=R(0.05, 0.12),
            vibrato=R(0.006, 0.014),
        )
    ),
    "Scissors": Pattern(
        (
            Layer(Friction(R(4000, 5800), R(0.4, 0.6), seconds=R(0.12, 0.25), crackle=0.4, grain=R(200, 400)), 0.6),
            Layer(
                Struck(R(2800, 4500), SHARDS, decay=R(0.01, 0.03), slope=R(0.1, 0.4), thud=R(0.2, 0.5)),
                1.0,
                R(0.1, 0.2),
            ),
        ),
        R(2, 5),
        R(0.35, 0.55),
    ),
    "Shatter": Pattern(
        (
            Layer(Burst(R(2500, 4500), R(0.9, 1.2), decay=R(0.03, 0.08))),
            Layer(
                Grains(
                    R(90, 250),
                    R(0.6, 1.6),
                    body=(Resonance(3100, 25), Resonance(4300, 30), Resonance(5600, 40), Resonance(7100, 50)),
                    course=(1.0, 0.4, 0.12, 0.03),
                    spread=0.9,
                ),
                0.8,
            ),
        )
    ),
    "Snare_drum": Pattern(
        (
            Layer(Struck(R(160, 260), MEMBRANE, decay=R(0.05, 0.12), slope=R(0.6, 1.1))),
            Layer(Burst(R(2500, 4500), R(0.7, 1.0), decay=R(0.06, 0.15)), 0.8),
        ),
        R(1, 4),
        R(0.2, 0.5),
    ),
    "Squeak": repeated(
        Bowed(
            R(700, 1700),
            R(0.25, 0.8),
            body=(Resonance(1600, 600), Resonance(3300, 900)),
            vibrato=R(0.001, 0.003),
            scratch=R(0.05, 0.1),
            attack=R(0.02, 0.06),
            glide=R(0.6, 1.7),
            wobble=0.08,
        ),
        R(1, 2.9),
        R(0.4, 0.8),
    ),
    "Tambourine": Pattern(
        (
            Layer(
                Grains(
                    R(150, 400),
                    R(0.15, 0.4),
                    body=(Resonance(4600, 60), Resonance(5900, 70), Resonance(7000, 90)),
                    course=(1.0, 0.3, 0.05),
                )
            ),
            Layer(Struck(R(220, 400), MEMBRANE, decay=R(0.02, 0.05)), 0.3),
        ),
        R(2, 5),
        R(0.22, 0.45),
    ),
    "Tearing": single(Friction(R(1800, 3500), R(1.0, 1.4), seconds=R(0.4, 1.6), crackle=0.95, grain=R(120, 300))),
    "Telephone": repeated(
        Struck(R(900, 1500), TWO_BELLS, decay=R(0.1, 0.3), slope=R(0.2, 0.5)), R(16, 34), R(0.04, 0.055), 0.02
    ),
    "Trumpet": single(
        Blown(
            R(180, 550),
            R(0.6, 2.2),
            slope=R(0.3, 0.6),
            formants=(Resonance(1300, 500, 3),),
            breath=R(0.01, 0.03),
            attack=R(0.03, 0.08),
        )
    ),
    "Violin_or_fiddle": single(Bowed(R(200, 900), R(0.8, 2.6), body=VIOLIN, vibrato=R(0.008, 0.018))),
    "Writing": single(
        Friction(
            R(2200, 4000),
            R(0.6, 0.9),
            seconds=R(1.2, 3.0),
            strokes=R(3.0, 6.0),
            depth=0.95,
            crackle=0.4,
            grain=R(100, 200),
        )
    ),
}


@dataclass(frozen=True)
class Bed:
    """A continuous sound, with its RMS as `gain`."""

    model: Friction | Pulses
    gain: float


@dataclass(frozen=True)
class SceneRow:
    """A scene: continuous sounds (`bed`), and patterns at random times (`scatter`), whose gains are peaks."""

    bed: tuple[Bed, ...]
    scatter: tuple[Pattern, ...] = ()


_LONG = R(1.0, 1.0)  # replaced: a bed is as long as its scene
_STEPS = Struck(R(120, 260), BOX, decay=R(0.01, 0.03), slope=R(0.6, 1.2), thud=R(0.3, 0.8))
_TALK = Voice(R(110, 260), R(0.12, 0.3), contour=(1.0, 1.1, 0.9), vowels=(AH, EE), breath=R(0.03, 0.1))
_BIRD = Bowed(
    R(2500, 4500), R(0.08, 0.2), body=(Resonance(3500, 2500),), attack=R(0.02, 0.04), glide=R(0.7, 1.4), wobble=0.03
)
_CAR = Friction(R(300, 700), R(0.8, 1.1), seconds=R(2.5, 4.0), attack=R(1.0, 1.5), release=1.2)


def _air(centre: Range, octaves: Range, gain: float = 1.0) -> Bed:
    return Bed(Friction(centre, octaves, seconds=_LONG, attack=R(0.001, 0.002), release=0.001), gain)


def _motor(pulses: Range, body: tuple[Resonance, ...], gain: float, jitter: Range) -> Bed:
    return Bed(Pulses(pulses, _LONG, body=body, jitter=jitter, rise=R(0.001, 0.002)), gain)


def _often(model: Model, gap: Range, gain: float) -> Pattern:
    """Return a sound that recurs about every `gap` seconds."""
    return Pattern((Layer(model, gain),), gap=gap)


SCENES: dict[str, SceneRow] = {
    "airport": SceneRow(
        (_air(R(250, 450), R(1.3, 1.7)),),
        (_often(_TALK, R(0.25, 0.5), 1.5), _often(Blown(R(500, 800), R(0.5, 0.9), slope=R(2.0, 3.0)), R(3, 6), 1.5)),
    ),
    "bus": SceneRow(
        (_motor(R(24, 36), EXHAUST, 1.0, R(0.02, 0.06)), _air(R(120, 220), R(0.9, 1.2), 0.6)),
        (_often(_TALK, R(0.6, 1.5), 1.5),),
    ),
    "metro": SceneRow(
        (_air(R(350, 650), R(0.9, 1.2)), _motor(R(90, 180), formants(400, 900, 1800), 0.6, R(0.02, 0.05))),
        (_often(Struck(R(90, 160), BOX, decay=R(0.03, 0.06), thud=R(0.5, 0.9)), R(0.4, 0.7), 4.0),),
    ),
    "metro_station": SceneRow(
        (_air(R(150, 260), R(1.6, 2.0)),),
        (
            _often(_STEPS, R(0.25, 0.5), 3.0),
            _often(Bowed(R(900, 1800), R(0.5, 1.2), body=VIOLIN, wobble=0.02), R(2.5, 5), 2.0),
        ),
    ),
    "park": SceneRow(
        (_air(R(1200, 2200), R(1.2, 1.6), 0.6), _air(R(90, 160), R(0.8, 1.1), 0.5)), (_often(_BIRD, R(0.3, 0.7), 3.0),)
    ),
    "public_square": SceneRow(
        (_air(R(450, 800), R(1.4, 1.8)),),
        (_often(_TALK, R(0.5, 1.0), 2.0), _often(_STEPS, R(0.5, 1.0), 2.0), _often(_BIRD, R(1.5, 3.0), 1.5)),
    ),
    "shopping_mall": SceneRow(
        (_air(R(650, 1000), R(0.9, 1.2)), _motor(R(100, 120), formants(300, 600), 0.3, R(0.002, 0.01))),
        (_often(_TALK, R(0.08, 0.15), 2.0), _often(_STEPS, R(0.3, 0.6), 1.5)),
    ),
    "street_pedestrian": SceneRow(
        (_air(R(300, 550), R(1.2, 1.5)),), (_often(_STEPS, R(0.15, 0.3), 4.0), _often(_TALK, R(0.3, 0.6), 2.0))
    ),
    "street_traffic": SceneRow(
        (_air(R(500, 800), R(0.8, 1.1)), _air(R(70, 110), R(0.6, 0.9), 1.0)), (_often(_CAR, R(1.2, 2.0), 4.0),)
    ),
    "tram": SceneRow(
        (_motor(R(250, 500), formants(500, 1000, 2000), 0.7, R(0.002, 0.01)), _air(R(180, 320), R(0.9, 1.2))),
        (_often(Bowed(R(1200, 2500), R(0.6, 1.5), body=VIOLIN, glide=R(0.8, 1.2)), R(2, 4), 2.0),),
    ),
}
