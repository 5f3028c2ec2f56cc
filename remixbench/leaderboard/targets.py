"""What there is to score: finished runs in the workspace, or a stranger's predictions under a name.

A run's record lies beside it; a stranger's in `<workspace>/runs/<dataset>/<name>-<digest>/snr_0/fold_4/submitted/`,
where the folder is named after the letters and digits of the name (the name itself stands in the record).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remixbench.dataset.dataset import Dataset, snr_folder
from remixbench.errors import InputError
from remixbench.files import read_json
from remixbench.leaderboard.measure import Task
from remixbench.leaderboard.names import check_name, folder_of
from remixbench.leaderboard.record import Entry
from remixbench.progress import Progress

RUN_FILE = "run.json"
SETTINGS = ("options", "alpha", "fraction", "epochs", "batch_size", "learning_rate", "width", "select", "precision")
"""What of run.json tells two rows of one system apart; SNR, fold and seed are what a row is averaged over."""


def runs_of(workspace: Path, dataset: Dataset, progress: Progress) -> list[Path]:
    """Return the folders of all finished runs on a data set, in order; what is left out is said."""
    return finished(run_folders(workspace / "runs" / dataset.name), dataset, progress)


def finished(folders: Sequence[Path], dataset: Dataset, progress: Progress) -> list[Path]:
    """Return those of some runs that are done, on this data set; what is left out is said."""
    kept = []
    for folder in folders:
        why = _unusable(read_json(folder / RUN_FILE), dataset)
        if why:
            progress.say(f"left out: {folder}: {why}")
        else:
            kept.append(folder)
    return kept


def run_folders(above: Path) -> list[Path]:
    """Return every folder with a run.json at or below `above`, in order."""
    return sorted(file.parent for file in above.rglob(RUN_FILE)) if above.is_dir() else []


def check_runs(folders: Sequence[Path], dataset: Dataset) -> list[Path]:
    """Return the folders asked for by name, or fail for one that is not finished or of other data.

    Raises
    ------
    InputError
        Naming the run, and what it lacks.
    """
    for folder in folders:
        info = read_json(folder / RUN_FILE)
        if why := _unusable(info, dataset):
            raise InputError(f"{folder}: {why}")
    return list(folders)


def _unusable(info: dict[str, Any], dataset: Dataset) -> str:
    """Say why a run cannot be scored on a data set; empty where it can."""
    if info.get("status") != "done":
        return "is not finished; `remixbench train` goes on with it, or delete it"
    if info.get("manifest_digest") != dataset.manifest_digest:
        other = str(info.get("manifest_digest"))[:12]
        mine = dataset.manifest_digest[:12]
        return f"was trained on another manifest ({other}) than data set '{dataset.name}' has ({mine})"
    return ""


def run_task(workspace: Path, folder: Path) -> Task:
    """Return what is to be scored of a run.

    Raises
    ------
    InputError
        If its run.json lacks a key, or its predictions are missing.
    """
    file = folder / RUN_FILE
    info = read_json(file)
    for key, kind in (("system", str), ("snr", float), ("fold", int), ("seed", int), ("select", str), ("marks", list)):
        value = info.get(key)
        if not isinstance(value, kind) and not (kind is float and isinstance(value, int)):
            raise InputError(f"{file}: key '{key}' is missing or not of type {kind.__name__}; train it again")
    if not (folder / "predictions").is_dir():
        raise InputError(f"{folder}: a finished run without predictions/; delete {RUN_FILE} and train it again")
    marks = [str(mark) for mark in info["marks"]]
    if info["select"] == "last":
        marks.append("last epoch kept, none chosen")
    entry = Entry(
        name=variant(folder, info["system"]),
        kind="run",
        system=info["system"],
        settings={key: info[key] for key in SETTINGS if key in info},
        snr=float(info["snr"]),
        fold=info["fold"],
        seed=info["seed"],
        marks=tuple(marks),
    )
    return Task(entry, (folder / "predictions",), folder, folder.relative_to(workspace).as_posix())


def variant(folder: Path, system: str) -> str:
    """Return what a run's system is called with what of it is not as usual: the folder three above the run."""
    name = folder.parents[2].name
    return name if name.split(",")[0] == system else system


def predictions_task(
    workspace: Path, dataset: Dataset, paths: Sequence[Path], name: str | None, snr: float | None, fold: int | None
) -> Task:
    """Return what is to be scored of a stranger's predictions.

    Raises
    ------
    InputError
        If a file is missing, an option is missing or cannot be, or the name is taken.
    """
    from remixbench.systems.registry import list_systems

    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such run and no such file of predictions")
    for option, value, example in (("--name", name, "'My system'"), ("--snr", snr, "0"), ("--fold", fold, "4")):
        if value is None:
            raise InputError(f"{paths[0]}: predictions need {option} (such as {option} {example}) to be scored")
    assert name is not None
    assert snr is not None
    assert fold is not None
    clean = check_name(name, list_systems())
    dataset.require_snr(snr)
    folder = workspace / "runs" / dataset.name / folder_of(clean) / snr_folder(snr) / f"fold_{fold}" / "submitted"
    return Task(Entry(name=clean, kind="predictions", snr=snr, fold=fold), tuple(paths), folder)
