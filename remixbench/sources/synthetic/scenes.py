"""The table of the synthetic scenes: continuous background sounds, and sounds at random times.

Like those of `events`, these are stand-ins from the same models. Labels are those of TAU Urban Acoustic Scenes 2019.
Units are Hz and seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from remixbench.sources.synthetic.dsp import Resonance
from remixbench.sources.synthetic.models import (
    AH,
    BOX,
    EE,
    EXHAUST,
    VIOLIN,
    Blown,
    Bowed,
    Friction,
    Layer,
    Model,
    Pattern,
    Pulses,
    Range,
    Struck,
    Voice,
    formants,
)

R = Range


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
    R(2500, 4500),
    R(0.08, 0.2),
    body=(Resonance(3500, 2500),),
    attack=R(0.02, 0.04),
    glide=R(0.7, 1.4),
    wobble=0.03,
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
        (
            _often(_TALK, R(0.25, 0.5), 1.5),
            _often(Blown(R(500, 800), R(0.5, 0.9), slope=R(2.0, 3.0)), R(3, 6), 1.5),
        ),
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
        (_air(R(1200, 2200), R(1.2, 1.6), 0.6), _air(R(90, 160), R(0.8, 1.1), 0.5)),
        (_often(_BIRD, R(0.3, 0.7), 3.0),),
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
        (_air(R(300, 550), R(1.2, 1.5)),),
        (_often(_STEPS, R(0.15, 0.3), 4.0), _often(_TALK, R(0.3, 0.6), 2.0)),
    ),
    "street_traffic": SceneRow(
        (_air(R(500, 800), R(0.8, 1.1)), _air(R(70, 110), R(0.6, 0.9), 1.0)),
        (_often(_CAR, R(1.2, 2.0), 4.0),),
    ),
    "tram": SceneRow(
        (
            _motor(R(250, 500), formants(500, 1000, 2000), 0.7, R(0.002, 0.01)),
            _air(R(180, 320), R(0.9, 1.2)),
        ),
        (_often(Bowed(R(1200, 2500), R(0.6, 1.5), body=VIOLIN, glide=R(0.8, 1.2)), R(2, 4), 2.0),),
    ),
}
