"""Probes: predictions of a run for its test clips under other conditions, and their files.

    predictions/probes/
        probes.json                              the conditions, and digests of run, model and predictions
        shift_0.48/{tags.csv,frames.npz}         the test clips rolled by 0.48 s
        snr_0/{tags.csv,frames.npz}              the test clips at 0 dB

`remixbench.inference.probes` writes them, the leaderboard reads them; neither imports the other.

A roll is circular: the end of a clip moves to its start. The scores of a real detector hardly change, as it does not
depend on where in the clip an event is; those of a system that has memorised onsets drop.

A roll is a whole number of frames. Log-mel rolled by k frames equals the log-mel of the waveform rolled by
k · hop_length samples, except for frames at the seam and for the tail of the clip after the last frame, which log-mel
does not cover. The shifts of a fold keep every event of its test clips off the seam, so that none is cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from remixbench.dataset.dataset import Dataset, snr_folder
from remixbench.errors import InputError, unknown
from remixbench.files import write_json
from remixbench.recipe import Recipe
from remixbench.schemas import read_json_as

Array = TypeVar("Array", bound=NDArray[Any])
STEPS = 5
"""Approximate number of steps in the larger margin: before the first or after the last event."""
TOLERANCE = 1e-6
"""Largest deviation of a shift from a whole number of frames, in frames."""


def roll(values: Array, seconds: float, step_seconds: float, axis: int = 0) -> Array:
    """Roll an array along its time axis, to later times for positive `seconds`.

    Raises `InputError` if `seconds` is not a whole number of steps.

    Parameters
    ----------
    values : log-mel (frames, n_mels), frame labels (frames, classes), or a waveform (samples,).
    seconds : shift; 0 returns `values` itself.
    step_seconds : step of the time axis: `Recipe.frame_seconds`, or 1 / sample_rate.
    axis : the time axis.
    """
    steps = seconds / step_seconds
    if not math.isfinite(steps) or abs(steps - round(steps)) > TOLERANCE:
        raise InputError(
            f"roll {seconds:g} s: is {steps:.6g} steps of {step_seconds:g} s; expected a whole number of them"
        )
    return values if round(steps) == 0 else np.roll(values, round(steps), axis)


def probe_shifts(dataset: Dataset, fold: int) -> tuple[float, ...]:
    """Return the shifts of the shift probe for the test clips of a fold, in seconds, ascending.

    Shifts cut no event of these clips, and are multiples of a step of whole frames, about a fifth of the larger margin
    before the first or after the last event. On remix2019 they are 0.48, 0.96, 1.44, 1.92 and 2.4 s. Empty if both
    margins are shorter than a frame, as with onsets drawn over the whole clip.

    Raises
    ------
    InputError
        If the data set has no such fold, or its labels are broken.
    """
    names = {dataset.filenames[row] for row in dataset.test_rows(fold)}
    times = [(onset, offset) for name, onset, offset, _ in dataset.strong() if name in names]
    if not times:
        return ()
    before, after = margins(min(onset for onset, _ in times), max(offset for _, offset in times), dataset.recipe)
    step = max(1, round(max(before, after) / STEPS))
    seconds = dataset.recipe.frame_seconds
    return tuple(round(k * step * seconds, 9) for k in range(-(before // step), after // step + 1) if k)


def margins(onset: float, offset: float, recipe: Recipe) -> tuple[int, int]:
    """Return by how many frames a clip can be rolled to earlier and to later times without cutting an event.

    Parameters
    ----------
    onset, offset : onset of the first and offset of the last event in seconds; an event includes every frame whose
        window overlaps it.
    """
    features, rate = recipe.features, recipe.mix.sample_rate
    first = math.floor((onset * rate - features.n_fft) / features.hop_length + TOLERANCE) + 1
    last = math.ceil(offset * rate / features.hop_length - TOLERANCE) - 1
    return max(0, first), max(0, recipe.frames - 1 - last)


def shift_folder(seconds: float) -> str:
    """Return the folder name of a shift: shift_0.48, shift_-0.128."""
    return f"shift_{float(seconds):.9g}"


Probe = Literal["shift", "snr"]
PROBES: tuple[Probe, ...] = get_args(Probe)
FORMAT: Literal[1] = 1
FOLDER = Path("predictions") / "probes"
FILE = "probes.json"
REMEDY = "delete the folder; `remixbench score --probe shift snr` makes it again"


class ProbesInfo(BaseModel):
    """Content of probes.json.

    Attributes
    ----------
    run : identity of the run, as in run.json.
    model : SHA-256 of the model.safetensors that made the predictions.
    snr, fold : training SNR in dB, and test fold of the run.
    shifts : shifts of the test clips in seconds; empty if every shift would cut an event, None if not probed.
    snrs : other test SNRs in dB; None if not probed.
    predictions : SHA-256 of every file of predictions, by its path below the folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1] = FORMAT
    run: str
    model: str
    manifest_digest: str
    snr: float
    fold: int
    shifts: list[float] | None = None
    snrs: list[float] | None = None
    predictions: dict[str, str] = {}

    def folders(self) -> dict[tuple[Probe, float], str]:
        """Return the folder name of every condition, ("shift", seconds) or ("snr", dB)."""
        return {condition: probe_folder(*condition) for condition in self.conditions()}

    def conditions(self) -> tuple[tuple[Probe, float], ...]:
        """Return all conditions that were tested."""
        return (*(("shift", s) for s in self.shifts or ()), *(("snr", s) for s in self.snrs or ()))


def check_probes(probes: str | Sequence[str] | None) -> tuple[Probe, ...]:
    """Return the unique probes named, in the order of `PROBES`. Raises `InputError` if a name is unknown."""
    names = [probes] if isinstance(probes, str) else list(probes or ())
    for name in names:
        if name not in PROBES:
            raise unknown("probe", name, list(PROBES))
    return tuple(probe for probe in PROBES if probe in names)


def probe_folder(probe: Probe, value: float) -> str:
    """Return the folder name of a condition: shift_0.48, snr_0."""
    return shift_folder(value) if probe == "shift" else snr_folder(value)


def no_shift(fold: int) -> str:
    """Return the message that a fold has no shift probe."""
    return f"no shift in time keeps every event of the test clips of fold {fold} whole, so there is no shift probe"


def read_probes(run: Path) -> ProbesInfo | None:
    """Read the probes.json of a run; return None if there is none."""
    folder = run / FOLDER
    file = folder / FILE
    if not file.is_file():
        return None
    info = read_json_as(file, ProbesInfo, format=FORMAT, remedy=REMEDY, sealed=False)
    for name in info.folders().values():
        if not (folder / name).is_dir():
            raise InputError(f"{folder / name}: missing, and {FILE} names it; {REMEDY}")
    return info


def write_probes(run: Path, info: ProbesInfo) -> None:
    """Write the probes.json of a run."""
    write_json(run / FOLDER / FILE, info.model_dump(mode="json"))
