"""What can be scored: finished runs in the workspace, or a third party's predictions under a name.

A run's record lies beside it; a third party's in `<workspace>/runs/<dataset>/<name>-<digest>/snr_0/fold_4/submitted/`,
where the folder is named after the letters and digits of the name (the name itself is in the record).

The predictions of a run's probes are in `predictions/probes` (see `remixbench.dataset.probes`). Third parties give
theirs with `--shifted` (rolled clips) and `--other-snrs`, in files or folders named after the shift or the SNR.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from remixbench.dataset.dataset import Dataset, find_dataset, snr_folder
from remixbench.dataset.info import REMEDY as INFO_REMEDY
from remixbench.dataset.overlap import from_freesound, read_overlap
from remixbench.dataset.probes import FOLDER, Probe, no_shift, probe_folder, probe_shifts, read_probes
from remixbench.errors import InputError
from remixbench.files import read_json, sha256
from remixbench.leaderboard.evaluate import ProbePredictions, Task
from remixbench.leaderboard.record import Cost, Flag, SystemInfo, check_system_name
from remixbench.progress import Progress
from remixbench.recipe import training_settings
from remixbench.schemas import first_problem
from remixbench.training.run_files import RUN_FILE, RunInfo, read_run

CONDITION_TOLERANCE = 1e-6
"""How far a shift (seconds) or an SNR (dB) in a file's name may be from the expected one."""
_CONDITION = re.compile(r"(shift|snr)_(-?[0-9]+(?:\.[0-9]+)?)")
_TRAINING = {name: setting for name, (_, setting) in training_settings().items()}
SETTINGS = (
    "options", "alpha", "fraction", *(name for name, s in _TRAINING.items() if s.identity and not s.named),
    "select", "precision", *(name for name, s in _TRAINING.items() if s.named), "fresh",
    *(name for name, s in _TRAINING.items() if not s.identity), "sources", "encoder_digest",
)  # fmt: skip
"""Keys of run.json that tell rows of one system apart; SNR, fold and seed do not."""


def run_folders(above: Path) -> list[Path]:
    """Return every folder with a run.json at or below `above`, in order."""
    return sorted(file.parent for file in above.rglob(RUN_FILE)) if above.is_dir() else []


def manifests_of(workspace: Path) -> list[tuple[Path, Any]]:
    """Return the folders of a workspace's data sets, in order, each with the digest of its manifest."""
    files = sorted((workspace / "datasets").glob("*/dataset.json"))
    return [(file.parent, read_json(file, remedy=INFO_REMEDY).get("manifest_digest")) for file in files]


def why_unusable(info: RunInfo, dataset: Dataset) -> str:
    """Say why a run cannot be scored on a data set; empty where it can."""
    if info.status != "done":
        return "unfinished; `remixbench train` resumes it"
    if info.manifest_digest != dataset.manifest_digest:
        return (
            f"trained on another manifest ({info.manifest_digest[:12]}) than that of data set '{dataset.name}'"
            f" ({dataset.manifest_digest[:12]}); train it again"
        )
    if info.audio_digest != dataset.audio_digest:
        return f"trained on other audio than data set '{dataset.name}' has now; train it again"
    return ""


def run_tasks(
    workspace: Path, folders: Iterable[Path], dataset: Dataset, progress: Progress, named: Container[Path] = ()
) -> list[Task]:
    """Return the tasks of runs (see `run_task`) on a data set.

    A run that is damaged, unfinished, on other data or cannot be scored is reported, or an error if the caller `named`
    it.
    """
    tasks = []
    for folder in folders:
        try:
            info = read_run(folder)
            if why := why_unusable(info, dataset):
                raise InputError(f"{folder}: {why}")
            tasks.append(run_task(workspace, folder, info, dataset))
        except InputError as error:
            if folder in named:
                raise
            progress.say(f"skipped {error}")
    return tasks


def run_task(workspace: Path, folder: Path, info: RunInfo, dataset: Dataset) -> Task:
    """Return the scoring task of a run, without its probes.

    InputError if its run.json does not fit the folder, or its predictions are missing.
    """
    if not (folder / "predictions").is_dir():
        raise InputError(f"{folder}: a finished run without predictions/; delete {RUN_FILE} and train it again")
    _check_folder(folder, info)
    settings = info.model_dump(mode="json", include=set(SETTINGS), exclude_unset=True, exclude_none=True)
    try:
        system = SystemInfo(
            name=variant(folder, info.system),
            kind="run",
            registry_name=info.system,
            settings={key: settings[key] for key in SETTINGS if key in settings},
            snr=info.snr,
            fold=info.fold,
            seed=info.seed,
            flags=(
                *(Flag(code=flag.code, text=flag.text) for flag in info.flags),
                *heard_flags(workspace, dataset, info),
            ),
            pretrained_on=() if info.encoder is None else tuple(info.encoder.pretrained_on),
        )
        cost = Cost(
            parameters=info.parameters, macs=info.macs, seconds=info.seconds, device=info.device_name or None,
            frozen_parameters=None if info.encoder is None else info.encoder.parameters,
            frozen_macs=None if info.encoder is None else info.encoder.macs,
        )  # fmt: skip
    except ValidationError as error:
        raise InputError(f"{folder / RUN_FILE}: {first_problem(error, SystemInfo)}; train it again") from None
    results = {
        Path(name).name: digest for name, digest in (info.results or {}).items() if name.startswith("predictions/")
    }
    run = folder.relative_to(workspace).as_posix()
    return Task(system, (folder / "predictions",), folder, run, cost, results=results)


def heard_flags(workspace: Path, dataset: Dataset, info: RunInfo) -> list[Flag]:
    """Return flags that say whether a run's frozen encoder has heard recordings of the tested clips."""
    encoder = info.encoder
    if encoder is None:
        return []
    overlap = read_overlap(workspace, dataset, encoder.name)
    if overlap is None:
        if from_freesound(encoder.pretrained_on):
            text = f"encoder {encoder.name} was trained on sounds from Freesound; overlap with the test not checked"
            return [Flag(code="may-have-heard", text=text)]
        return []
    shared, total = overlap.tested[str(info.fold)]
    if not shared:
        return []
    text = f"encoder {encoder.name} has heard {shared} of the {total} event recordings of the test clips"
    return [Flag(code="heard", text=text)]


def _check_folder(folder: Path, info: RunInfo) -> None:
    """Check that run.json agrees with the run's folder: <system>[,option=...]/snr_20/fold_4/seed_0."""
    system, snr, fold, seed = folder.parts[-4:] if len(folder.parts) >= 4 else ("", "", "", "")
    for key, value, expected in (
        ("system", info.system, system.split(",")[0]),
        ("snr", snr_folder(info.snr), snr),
        ("fold", f"fold_{info.fold}", fold),
        ("seed", f"seed_{info.seed}", seed.split("-")[0]),
    ):
        if value != expected:
            raise InputError(
                f"{folder / RUN_FILE}: key '{key}' is {getattr(info, key)}, but the run lies in '{folder.name}' of"
                f" {folder.parent}; it was edited or moved: restore it, or train it again"
            )


def run_probes(run: Path) -> ProbePredictions:
    """Return the predictions of a run's probes. Errors as in `read_probes`."""
    info = read_probes(run)
    if info is None:
        return ProbePredictions()
    files = {condition: run / FOLDER / name for condition, name in info.folders().items()}
    return ProbePredictions(None if info.shifts is None else tuple(info.shifts), files)


def variant(folder: Path, system: str) -> str:
    """Return a run's system and its settings that are not defaults: the name of the folder three levels above it."""
    name = folder.parents[2].name
    return name if name.split(",")[0] == system else system


@dataclass(frozen=True)
class Description:
    """What a third party says of its predictions: their name, SNR and fold, and files of their probes."""

    name: str | None
    snr: float | None
    fold: int | None
    shifted: Sequence[Path]
    other_snrs: Sequence[Path]

    @property
    def options(self) -> dict[str, object]:
        """The options that say so; None where one is not given."""
        return {
            "--name": self.name, "--snr": self.snr, "--fold": self.fold,
            "--shifted": self.shifted or None, "--other-snrs": self.other_snrs or None,
        }  # fmt: skip


def predictions_task(workspace: Path, dataset: Dataset, paths: Sequence[Path], described: Description) -> Task:
    """Return the scoring task of a third party's predictions.

    InputError if a file or option is missing, an option has an impossible value, the name is taken, or probes are not
    at the fold's shifts or the data set's SNRs.
    """
    from remixbench.systems.registry import list_systems

    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such run or file of predictions")
    name, snr, fold = described.name, described.snr, described.fold
    if name is None or snr is None or fold is None:
        options = {"--name 'My system'": name, "--snr 0": snr, "--fold 4": fold}
        missing = [option for option, value in options.items() if value is None]
        raise InputError(f"{paths[0]}: to score predictions, say what they are: add {' '.join(missing)} or the like")
    clean = check_system_name(name, list_systems())
    dataset.require_snr(snr)
    folder = workspace / "runs" / dataset.name / name_folder(clean) / snr_folder(snr) / f"fold_{fold}" / "submitted"
    probes = submitted_probes(dataset, fold, snr, described.shifted, described.other_snrs)
    return Task(SystemInfo(name=clean, kind="predictions", snr=snr, fold=fold), tuple(paths), folder, probes=probes)


def submitted_probes(
    dataset: Dataset, fold: int, snr: float, shifted: Sequence[Path], other_snrs: Sequence[Path]
) -> ProbePredictions:
    """Return a third party's predictions under other conditions than those of its row.

    InputError if a file is missing, its name gives no condition or another one than expected, a condition is given
    twice, or a shift is missing.

    Parameters
    ----------
    shifted : one file or folder for each shift of the fold, with the shift in its name or in that of its folder:
        `shift_0.48.csv`, `shift_0.48/tags.csv`.
    other_snrs : one file or folder for any of the data set's other SNRs: `snr_10.csv`, `snr_10/tags.csv`.
    """
    files: dict[tuple[Probe, float], Path] = {}
    shifts = probe_shifts(dataset, fold) if shifted else None
    if shifts is not None:
        if not shifts:
            raise InputError(f"--shifted: {no_shift(fold)}; leave it out")
        choices = f"the shifts of fold {fold}: {', '.join(f'{shift:g}' for shift in shifts)} s"
        files = _by_condition("shift", shifts, shifted, f"{choices} (`remixbench.probe_shifts`)")
        if missing := [shift for shift in shifts if ("shift", shift) not in files]:
            lacking = ", ".join(f"{shift:g}" for shift in missing)
            raise InputError(f"--shifted: has nothing for {lacking} s; give one file for each of {choices}")
        files = {("shift", shift): files["shift", shift] for shift in shifts}
    if other_snrs:
        others = [float(other) for other in dataset.snrs if float(other) != snr]
        if not others:
            raise InputError(
                f"--other-snrs: data set '{dataset.name}' has only {snr:g} dB; `remixbench make --snr` adds others"
            )
        choices = f"the other SNRs of data set '{dataset.name}': {', '.join(f'{other:g}' for other in others)} dB"
        files |= _by_condition("snr", others, other_snrs, choices)
    return ProbePredictions(shifts, files)


def _by_condition(
    probe: Probe, expected: Sequence[float], paths: Sequence[Path], choices: str
) -> dict[tuple[Probe, float], Path]:
    """Return files of predictions by the condition in their names; `choices` says in errors which are expected."""
    files: dict[tuple[Probe, float], Path] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file of predictions")
        names = path.stem if path.is_file() else path.name, path.parent.name
        match = next((match for match in map(_CONDITION.fullmatch, names) if match and match[1] == probe), None)
        if match is None:
            example = probe_folder(probe, expected[0])
            raise InputError(f"{path}: its name gives no condition; name it like {example}.csv, one of {choices}")
        value = next(
            (condition for condition in expected if abs(condition - float(match[2])) <= CONDITION_TOLERANCE), None
        )
        if value is None:
            raise InputError(f"{path}: its name gives {match[0]}; expected one of {choices}")
        if (probe, value) in files:
            raise InputError(f"{path}: its name gives {match[0]}, and so does that of a file before it; leave one out")
        files[probe, value] = path
    return files


def name_folder(name: str) -> str:
    """Return a folder name for any system name: its letters and digits, and 8 digits of its digest.

    The digest keeps names apart that differ in other characters only, and no name can equal a bundled system's.
    """
    safe = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return f"{safe or 'system'}-{sha256(name.encode())[:8]}"


def plan_tasks(
    paths: Sequence[Path],
    workspace: Path,
    dataset: str | Path | Dataset | None,
    described: Description,
    progress: Progress,
) -> tuple[Dataset, list[Task]]:
    """Tell runs from predictions, find the data set, and list what to score.

    InputError if targets are of several kinds or data sets, or an option is for the other kind.
    """
    folders = {path: run_folders(path) for path in paths}
    runs = [run for below in folders.values() for run in below]
    files = [path for path, below in folders.items() if not below]
    if files:
        if runs:
            raise InputError(f"{files[0]}: is not a run, and runs are given with it; score them separately")
        opened_dataset = find_dataset(workspace, dataset)
        return opened_dataset, [predictions_task(workspace, opened_dataset, files, described)]
    refuse_options(described.options, "only works with predictions, and none are given")
    if not paths:
        opened_dataset = find_dataset(workspace, dataset)
        return opened_dataset, run_tasks(
            workspace, run_folders(workspace / "runs" / opened_dataset.name), opened_dataset, progress
        )
    above = (workspace / "runs").resolve()
    for folder in runs:
        if not folder.resolve().is_relative_to(above):
            raise InputError(f"{folder}: is not in the workspace {workspace}; give its own with --workspace")
    inside = {folder: workspace / "runs" / folder.resolve().relative_to(above) for folder in runs}
    run_paths = sorted({*inside.values()})
    names = _datasets_of(run_paths) if dataset is None else []
    if len(names) > 1:
        raise InputError(f"{paths[0]}: runs on {', '.join(names)}; score one data set at a time")
    opened_dataset = find_dataset(workspace, names[0] if names else dataset)
    tasks = run_tasks(
        workspace, run_paths, opened_dataset, progress, {inside[path] for path in paths if path in inside}
    )
    if not tasks:
        raise InputError(
            f"{paths[0]}: none of its {len(runs)} runs is done and usable; `remixbench train` resumes or repeats them"
        )
    return opened_dataset, tasks


def _datasets_of(runs: Iterable[Path]) -> list[str]:
    """Return the names of the data sets of some runs; a run that cannot be read has none."""
    names = set()
    for run in runs:
        with suppress(InputError):
            names.add(read_run(run).dataset)
    return sorted(names)


def refuse_options(options: Mapping[str, object], why: str) -> None:
    """Fail if one of some options is given, naming the first."""
    for option, value in options.items():
        if value is not None:
            raise InputError(f"{option}: {why}; leave it out")
