"""What can be scored: finished runs in the workspace, or a third party's predictions under a name.

A run's record lies beside it; a third party's in `<workspace>/runs/<dataset>/<name>-<digest>/snr_0/fold_4/submitted/`,
where the folder is named after the letters and digits of the name (the name itself is in the record).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from remixbench.dataset.dataset import Dataset, snr_folder
from remixbench.dataset.overlap import from_freesound, read_overlap
from remixbench.errors import InputError
from remixbench.files import is_sealed, read_json, sha256
from remixbench.leaderboard.evaluate import Task
from remixbench.leaderboard.probe_records import run_probes, submitted_probes
from remixbench.leaderboard.record import CHANCE, IDEAL, Cost, Flag, SystemInfo, name_problem
from remixbench.progress import Progress
from remixbench.recipe import training_settings
from remixbench.schemas import first_problem

RUN_FILE = "run.json"
MAX_NAME = 100
_TRAINING = {name: setting for name, (_, setting) in training_settings().items()}
SETTINGS = (
    "options", "alpha", "fraction", *(name for name, s in _TRAINING.items() if s.identity and not s.named),
    "select", "precision", *(name for name, s in _TRAINING.items() if s.named), "fresh",
    *(name for name, s in _TRAINING.items() if not s.identity), "sources", "encoder_digest",
)  # fmt: skip
"""What of run.json tells two rows of one system apart; SNR, fold and seed are what a row is averaged over."""


def find_runs(workspace: Path, dataset: Dataset, progress: Progress) -> list[Path]:
    """Return the folders of all finished runs on a data set, in order; what is left out is reported."""
    return finished_runs(run_folders(workspace / "runs" / dataset.name), dataset, progress)


def finished_runs(folders: Sequence[Path], dataset: Dataset, progress: Progress) -> list[Path]:
    """Return those of some runs that are done, on this data set; what is left out is reported."""
    kept = []
    for folder in folders:
        why = why_unusable(folder, dataset)
        if why:
            progress.say(f"skipped {folder}: {why}")
        else:
            kept.append(folder)
    return kept


def run_folders(above: Path) -> list[Path]:
    """Return every folder with a run.json at or below `above`, in order."""
    return sorted(file.parent for file in above.rglob(RUN_FILE)) if above.is_dir() else []


def require_finished(folders: Sequence[Path], dataset: Dataset) -> list[Path]:
    """Return the folders that were given by name, or fail for one that is not finished or of other data.

    Raises
    ------
    InputError
        Naming the run, and what it lacks.
    """
    for folder in folders:
        if why := why_unusable(folder, dataset):
            raise InputError(f"{folder}: {why}")
    return list(folders)


def why_unusable(folder: Path, dataset: Dataset) -> str:
    """Say why a run cannot be scored on a data set; empty where it can."""
    info = read_json(folder / RUN_FILE)
    if info.get("status") != "done":
        return "unfinished; `remixbench train` resumes it"
    if info.get("manifest_digest") != dataset.manifest_digest:
        other = str(info.get("manifest_digest"))[:12]
        return (
            f"trained on another manifest ({other}) than that of data set '{dataset.name}'"
            f" ({dataset.manifest_digest[:12]}); train it again"
        )
    if not is_sealed(info):
        return f"{RUN_FILE} was edited since it was written; restore it, or train again with --rerun"
    if info.get("audio_digest") != dataset.audio_digest:
        return f"trained on other audio than data set '{dataset.name}' has now; train it again"
    return ""


def run_task(workspace: Path, folder: Path, dataset: Dataset) -> Task:
    """Return what is to be scored of a run.

    Raises
    ------
    InputError
        If its run.json lacks a key or does not fit the folder, or its predictions are missing.
    """
    file = folder / RUN_FILE
    info = read_json(file)
    for key, kind in (("system", str), ("snr", float), ("fold", int), ("seed", int), ("flags", list)):
        value = info.get(key)
        if not isinstance(value, kind) and not (kind is float and isinstance(value, int)):
            raise InputError(f"{file}: key '{key}' is missing or not of type {kind.__name__}; train it again")
    if not (folder / "predictions").is_dir():
        raise InputError(f"{folder}: a finished run without predictions/; delete {RUN_FILE} and train it again")
    _check_folder(folder, info)
    encoder = info.get("encoder") or {}
    try:
        system = SystemInfo(
            name=variant(folder, info["system"]),
            kind="run",
            registry_name=info["system"],
            settings={key: info[key] for key in SETTINGS if info.get(key) is not None},
            snr=float(info["snr"]),
            fold=info["fold"],
            seed=info["seed"],
            flags=(*(Flag(**flag) for flag in info["flags"]), *heard_flags(workspace, dataset, info)),
            pretrained_on=tuple(encoder.get("pretrained_on", ())),
        )
        cost = Cost(
            parameters=info.get("parameters"), macs=info.get("macs"), seconds=info.get("seconds"),
            device=info.get("device_name") or None, frozen_parameters=encoder.get("parameters"),
            frozen_macs=encoder.get("macs"),
        )  # fmt: skip
    except ValidationError as error:
        raise InputError(f"{file}: {first_problem(error, SystemInfo)}; train it again") from None
    place = folder.relative_to(workspace).as_posix()
    results = {
        Path(name).name: digest for name, digest in info.get("results", {}).items() if name.startswith("predictions/")
    }
    return Task(system, (folder / "predictions",), folder, place, cost, run_probes(folder), results)


def heard_flags(workspace: Path, dataset: Dataset, info: dict[str, Any]) -> list[Flag]:
    """Return flags that say whether a run's frozen encoder has heard recordings of the tested clips."""
    encoder = info.get("encoder")
    if not encoder:
        return []
    overlap = read_overlap(workspace, dataset, encoder["name"])
    if overlap is None:
        if from_freesound(encoder["pretrained_on"]):
            text = f"encoder {encoder['name']} was trained on sounds from Freesound; overlap with the test not checked"
            return [Flag(code="may-have-heard", text=text)]
        return []
    shared, total = overlap.tested[str(info["fold"])]
    if not shared:
        return []
    text = f"encoder {encoder['name']} has heard {shared} of the {total} event recordings of the test clips"
    return [Flag(code="heard", text=text)]


def _check_folder(folder: Path, info: dict[str, Any]) -> None:
    """Check that run.json says what the run's folder is called: <system>[,option=...]/snr_20/fold_4/seed_0."""
    system, snr, fold, seed = folder.parts[-4:] if len(folder.parts) >= 4 else ("", "", "", "")
    for key, value, expected in (
        ("system", info["system"], system.split(",")[0]),
        ("snr", snr_folder(info["snr"]), snr),
        ("fold", f"fold_{info['fold']}", fold),
        ("seed", f"seed_{info['seed']}", seed.split("-")[0]),
    ):
        if value != expected:
            raise InputError(
                f"{folder / RUN_FILE}: key '{key}' is {info[key]}, but the run lies in '{folder.name}' of"
                f" {folder.parent}; it was edited or moved: restore it, or train it again"
            )


def variant(folder: Path, system: str) -> str:
    """Return a run's system and its settings that are not defaults: the name of the folder three levels above it."""
    name = folder.parents[2].name
    return name if name.split(",")[0] == system else system


def predictions_task(
    workspace: Path,
    dataset: Dataset,
    paths: Sequence[Path],
    name: str | None,
    snr: float | None,
    fold: int | None,
    shifted: Sequence[Path] = (),
    other_snrs: Sequence[Path] = (),
) -> Task:
    """Return what is to be scored of a third party's predictions.

    Raises
    ------
    InputError
        If a file is missing, an option is missing or cannot be, the name is taken, or predictions on rolled clips or
        at other SNRs are not those of the fold's shifts or the data set's SNRs.
    """
    from remixbench.systems.registry import list_systems

    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such run or file of predictions")
    if name is None or snr is None or fold is None:
        options = {"--name 'My system'": name, "--snr 0": snr, "--fold 4": fold}
        missing = [option for option, value in options.items() if value is None]
        raise InputError(f"{paths[0]}: to score predictions, say what they are of; add {' '.join(missing)} or the like")
    clean = check_system_name(name, list_systems())
    dataset.require_snr(snr)
    folder = workspace / "runs" / dataset.name / name_folder(clean) / snr_folder(snr) / f"fold_{fold}" / "submitted"
    probes = submitted_probes(dataset, fold, snr, shifted, other_snrs)
    return Task(SystemInfo(name=clean, kind="predictions", snr=snr, fold=fold), tuple(paths), folder, probes=probes)


def check_system_name(name: str, taken: list[str], place: str = "--name") -> str:
    """Return the name in Unicode NFC without surrounding blanks, if it is one printable line and nobody else's.

    `place` says in an error where the name was given.

    Raises
    ------
    InputError
        If it is empty, too long, holds control characters, is none for a row (`name_problem`), or is that of a bundled
        or installed system, of one with options, or of a row that remixbench makes.
    """
    clean = unicodedata.normalize("NFC", name.strip())
    if not clean or len(clean) > MAX_NAME or not clean.isprintable():
        shown = ascii(clean[:40])
        raise InputError(f"{place}: {shown}: expected one line of 1 to {MAX_NAME} printable characters")
    if problem := name_problem(clean):
        raise InputError(f"{place}: '{clean[:40]}' {problem}; choose another")
    reserved = {other.casefold() for other in (CHANCE, *IDEAL.values(), *taken)}
    if re.split(r"[,(]", clean)[0].strip().casefold() in reserved:
        raise InputError(f"{place}: '{clean}' is the name of a system of remixbench; choose another")
    return clean


def name_folder(name: str) -> str:
    """Return a folder name for any system name: its letters and digits, and 8 digits of its digest.

    The digest keeps names apart that differ in other characters only, and no name can equal a bundled system's.
    """
    safe = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return f"{safe or 'system'}-{sha256(name.encode())[:8]}"
