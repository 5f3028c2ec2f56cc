"""Clips rolled in time: what comes out at the end comes back at the start.

The shift probe tests a run again on rolled clips. What a detector finds does not depend on where in the clip an event
stands, so its scores hardly change; a system that has learned when events begin loses.

A roll is a whole number of frames. Log-mel that is rolled by k frames is the log-mel of the waveform rolled by
k · hop_length samples, but for the frames at the seam, and the time from the start of the last frame to the end of the
clip, which log-mel does not cover. The shifts of a fold keep every event of its test clips off the seam, so that no
event is cut in two.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.recipe import Recipe

Array = TypeVar("Array", bound=NDArray[Any])
STEPS = 5
"""About how many equal steps the larger room of the two, before the first and after the last event, is divided into."""
TOLERANCE = 1e-6
"""How far, in steps, a shift may be from a whole number of them."""


def roll(values: Array, seconds: float, step_seconds: float, axis: int = 0) -> Array:
    """Roll an array along its time axis, to later times for positive `seconds`.

    Parameters
    ----------
    values : log-mel (frames, n_mels), frame labels (frames, classes), or a waveform (samples,); with `axis`, time may
        be another axis.
    seconds : by how much; 0 returns the values as they are.
    step_seconds : distance of two steps of the time axis: `Recipe.frame_seconds`, or 1 / sample_rate.

    Raises
    ------
    InputError
        If `seconds` is not a whole number of steps.
    """
    steps = seconds / step_seconds
    if not math.isfinite(steps) or abs(steps - round(steps)) > TOLERANCE:
        raise InputError(
            f"roll {seconds:g} s: is {steps:.6g} steps of {step_seconds:g} s; expected a whole number of them"
        )
    return values if round(steps) == 0 else np.roll(values, round(steps), axis)


def probe_shifts(dataset: Dataset, fold: int) -> tuple[float, ...]:
    """Return the shifts of the shift probe for the test clips of a fold, in seconds, ascending.

    They keep every event of these clips whole, and are multiples of one step, a whole number of frames: about a fifth
    of the larger room of the two, before the first and after the last event. On remix2019 they are 0.48, 0.96, 1.44,
    1.92 and 2.4 s. Empty where neither room holds a frame, as with onsets drawn over the whole clip.

    Raises
    ------
    InputError
        If the data set has no such fold, or its labels are broken.
    """
    names = {dataset.filenames[row] for row in dataset.test_rows(fold)}
    times = [(onset, offset) for name, onset, offset, _ in dataset.strong() if name in names]
    if not times:
        return ()
    before, after = rooms(min(onset for onset, _ in times), max(offset for _, offset in times), dataset.recipe)
    step = max(1, round(max(before, after) / STEPS))
    seconds = dataset.recipe.frame_seconds
    return tuple(round(k * step * seconds, 9) for k in range(-(before // step), after // step + 1) if k)


def rooms(onset: float, offset: float, recipe: Recipe) -> tuple[int, int]:
    """Return by how many frames a clip can be rolled to earlier and to later times with no event on the seam.

    Parameters
    ----------
    onset, offset : seconds, of the first and the last event; frames whose window overlaps an event belong to it.
    """
    features, rate = recipe.features, recipe.mix.sample_rate
    first = math.floor((onset * rate - features.n_fft) / features.hop_length + TOLERANCE) + 1
    last = math.ceil(offset * rate / features.hop_length - TOLERANCE) - 1
    return max(0, first), max(0, recipe.frames - 1 - last)


def shift_folder(seconds: float) -> str:
    """Return the folder name of a shift: shift_0.48, shift_-0.128."""
    return f"shift_{float(seconds):.9g}"
