"""The source of the `mini` recipe: recordings that are synthesised when they are read, without any files.

`render` computes the samples from the models in `models`, the signal processing in `dsp` and the tables in `sounds`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from remixbench.errors import InputError
from remixbench.files import sha256
from remixbench.sources.audio import Stretch
from remixbench.sources.catalogue import EVENT_COLUMNS, SCENE_COLUMNS, Catalogue
from remixbench.sources.synthetic.render import event_labels, scene_labels, synthesise_event, synthesise_scene

SEED = 2019
SCENE_SECONDS = 10.0
PIECES_PER_LOCATION = 4
LICENCE = "Creative Commons 0"
ORIGIN_STEP = 1000  # above usual values of `origin_gap`, so that numbers stay separate origins


@dataclass(frozen=True)
class SynthesisReader:
    """Synthesises a recording from its name, such as `Gong_003.wav` or `park-01-2.wav`."""

    rate: int

    def read(self, file: str) -> tuple[NDArray[np.float64], int]:
        """Return the recording; see `Reader.read`."""
        stem = file.removesuffix(".wav")
        label, _, number = stem.rpartition("_")
        if label in event_labels() and number.isdigit():
            samples = synthesise_event(label, int(number), self.rate, SEED)
        else:
            label, _, location_and_piece = stem.partition("-")
            location, _, piece = location_and_piece.partition("-")
            if label not in scene_labels() or not (location.isdigit() and piece.isdigit()):
                raise InputError(f"{file}: not a recording of the synthetic source; use the recipe's own manifest")
            samples = synthesise_scene(label, int(location), int(piece), self.rate, SCENE_SECONDS, SEED)
        return samples.astype(np.float64), self.rate

    def read_stretch(self, file: str, start: float, stop: float) -> Stretch:
        """Return the whole recording; see `Reader.read_stretch`."""
        samples, rate = self.read(file)
        return Stretch(samples, rate, 0, True)


def events(per_class: int, rate: int) -> Catalogue:
    """Return the catalogue of synthetic events, `per_class` recordings of each of 41 labels, at `rate` Hz."""
    rows = [
        (f"{label}_{number:03d}.wav", label, True, str((number + per_class * k) * ORIGIN_STEP), LICENCE, "synthesised")
        for k, label in enumerate(event_labels())
        for number in range(per_class)
    ]
    return _catalogue(pd.DataFrame(rows, columns=list(EVENT_COLUMNS)), rate)


def scenes(per_class: int, rate: int) -> Catalogue:
    """Return the catalogue of synthetic scenes, `per_class` pieces of each of 10 labels, four per location."""
    rows = [
        (f"{label}-{location:02d}-{piece}.wav", label, f"{label}-{location:02d}", LICENCE, "synthesised")
        for label in scene_labels()
        for location, piece in (divmod(number, PIECES_PER_LOCATION) for number in range(per_class))
    ]
    return _catalogue(pd.DataFrame(rows, columns=list(SCENE_COLUMNS)), rate)


def _catalogue(table: pd.DataFrame, rate: int) -> Catalogue:
    # without columns added later, so that older data sets can still be extended
    described = table.drop(columns=["licence", "url"]) if "location" in table else table
    digest = sha256(f"{SEED} {rate}\n{described.to_csv(index=False)}".encode())
    return Catalogue("synthetic", table, digest, SynthesisReader(rate))
