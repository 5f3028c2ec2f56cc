"""The probes of a run: the same network tested under other conditions, and what it leaves on disk.

    predictions/probes/
        probes.json                              which conditions, and digests of run, model and predictions
        shift_0.48/{tags.csv,frames.npz}         the test clips rolled by 0.48 s (see shifts.py)
        snr_0/{tags.csv,frames.npz}              the test clips at 0 dB

`remixbench.inference.probes` writes these, the leaderboard reads them; neither needs the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from remixbench.dataset.dataset import snr_folder
from remixbench.dataset.shifts import shift_folder
from remixbench.errors import InputError, unknown
from remixbench.files import read_json, write_json
from remixbench.schemas import first_problem

Probe = Literal["shift", "snr"]
PROBES: tuple[Probe, ...] = get_args(Probe)
FORMAT: Literal[1] = 1
FOLDER = Path("predictions") / "probes"
FILE = "probes.json"
REMEDY = "delete the folder; `remixbench score --probe shift snr` makes it again"


class ProbesInfo(BaseModel):
    """`probes.json`.

    Attributes
    ----------
    run : the run's identity, as in run.json.
    model : SHA-256 of the model.safetensors that made the predictions.
    snr, fold : what the run was trained at, and is tested on.
    shifts : by how many seconds the test clips were rolled; empty where no shift keeps every event whole, None where
        the probe was not made.
    snrs : the other SNRs tested at, in dB; None where the probe was not made.
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
        """Return the folder of every condition: ("shift", seconds) and ("snr", dB)."""
        return {condition: probe_folder(*condition) for condition in self.conditions()}

    def conditions(self) -> tuple[tuple[Probe, float], ...]:
        """Return every condition that was tested."""
        return (*(("shift", s) for s in self.shifts or ()), *(("snr", s) for s in self.snrs or ()))


def check_probes(probes: str | Sequence[str] | None) -> tuple[Probe, ...]:
    """Return the probes of that name, each once.

    Raises
    ------
    InputError
        For an unknown one.
    """
    names = [probes] if isinstance(probes, str) else list(probes or ())
    for name in names:
        if name not in PROBES:
            raise unknown("probe", name, list(PROBES))
    return tuple(probe for probe in PROBES if probe in names)


def probe_folder(probe: Probe, value: float) -> str:
    """Return the folder name of a condition: shift_0.48, snr_0."""
    return shift_folder(value) if probe == "shift" else snr_folder(value)


def no_shift(fold: int) -> str:
    """Say that a fold cannot be probed by shifts."""
    return f"no shift in time keeps every event of the test clips of fold {fold} whole, so there is no shift probe"


def read_probes(run: Path) -> ProbesInfo | None:
    """Read the probes.json of a run; None where there is none.

    Raises
    ------
    InputError
        If it is of another format, broken, or a file of predictions that it names is missing.
    """
    folder = run / FOLDER
    file = folder / FILE
    if not file.is_file():
        return None
    content = read_json(file)
    if content.get("format") != FORMAT:
        raise InputError(f"{file}: format {content.get('format')!r}, this version reads format {FORMAT}; {REMEDY}")
    try:
        info = ProbesInfo.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{file}: {first_problem(error, ProbesInfo)}; {REMEDY}") from None
    for name in info.folders().values():
        if not (folder / name).is_dir():
            raise InputError(f"{folder / name}: missing, and {FILE} names it; {REMEDY}")
    return info


def write_probes(run: Path, info: ProbesInfo) -> None:
    """Write the probes.json of a run."""
    write_json(run / FOLDER / FILE, info.model_dump(mode="json"))
