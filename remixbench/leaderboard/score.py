"""`score`: figures for runs or for anyone's predictions, and the leaderboard of the data set written anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.errors import InputError
from remixbench.files import read_json
from remixbench.leaderboard.board import Board
from remixbench.leaderboard.collect import read_board
from remixbench.leaderboard.maps import has_stems, keep_ideals, map_files
from remixbench.leaderboard.measure import Task, Truth, digests_of, kept_record, truth_of, write_record
from remixbench.leaderboard.paired import compare_rows
from remixbench.leaderboard.record import Record
from remixbench.leaderboard.render import write_board
from remixbench.leaderboard.submission import add as add_submission
from remixbench.leaderboard.submission import pieces, read_submission, write_submission
from remixbench.leaderboard.targets import (
    RUN_FILE,
    check_runs,
    finished,
    predictions_task,
    run_folders,
    run_task,
    runs_of,
)
from remixbench.parallel import Workers, check_jobs
from remixbench.progress import SILENT, Progress

RESAMPLES = 1000


def score(
    *targets: str | Path,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    name: str | None = None,
    snr: float | None = None,
    fold: int | None = None,
    bootstrap: int | None = None,
    compare: tuple[str, str] | None = None,
    submission: str | Path | None = None,
    add: str | Path | None = None,
    jobs: int = -1,
    progress: Progress = SILENT,
) -> Board:
    """Score runs, or anyone's predictions, and write the leaderboard of their data set.

    Figures that are there already for the same predictions, labels, scoring version and bootstrap are kept.

    Parameters
    ----------
    targets : folders of runs (or folders above runs), or one system's predictions: tags.csv, frames.npz, a folder
        of both or of one TSV a clip, an event list, maps.npz; several files may express different things of one system.
        By default all finished runs of the data set. With `add`: predictions that the submission was made from, to
        check it against.
    workspace : where data sets, runs and leaderboards lie.
    dataset : name or folder of a data set; by default that of the runs given, else the one made last.
    name, snr, fold : whose predictions these are, at which ratio in dB, and on which fold.
    bootstrap : resamples for the 95 % intervals; 0 for none; by default 1,000.
    compare : two rows by name; what they differ by is in the `comparison` of the leaderboard returned.
    submission : a file to write what was scored into, for other installations.
    add : a submission to check and add.
    jobs : runs scored at once, in processes of their own; -1 for one a core.
    progress : what is told of the work.

    Returns
    -------
    The leaderboard, written to `leaderboard/<dataset>.{csv,md,json,tex}` of the workspace.

    Raises
    ------
    InputError
        Where there is nothing to score, an option is missing, or predictions or a submission are not usable.
    """
    workspace = Path(workspace)
    resamples = RESAMPLES if bootstrap is None else bootstrap
    check_jobs(jobs)
    if resamples < 0:
        raise InputError(f"--bootstrap {resamples}: expected 0 for none, or a number of resamples such as 1000")
    paths = [Path(target) for target in targets]
    if add is not None:
        _refuse({"--name": name, "--snr": snr, "--fold": fold, "--submission": submission}, "goes without --add")
        opened = _add(workspace, dataset, Path(add), paths, progress)
    else:
        opened, tasks = plan_tasks(paths, workspace, dataset, name, snr, fold, progress)
        records = _measure(opened, tasks, resamples, Workers(jobs), progress)
        if submission is not None:
            digest = write_submission(Path(submission), opened, records)
            progress.say(f"{submission}: {len(records)} records, digest {digest}")
    board = read_board(workspace, opened, progress)
    written = write_board(workspace, board)
    where = workspace / "leaderboard" / f"{opened.name}.{{csv,md,json,tex}}"
    progress.say(f"{where}: written" if written else f"{where}: nothing changed")
    return board if compare is None else replace(board, comparison=compare_rows(board, *compare))


def _refuse(options: dict[str, object], why: str) -> None:
    for option, value in options.items():
        if value is not None:
            raise InputError(f"{option}: {why}; leave it out")


def _add(
    workspace: Path, dataset: str | Path | Dataset | None, file: Path, paths: Sequence[Path], progress: Progress
) -> Dataset:
    """Add a submission to the data set given, or the one of its manifest; returns the data set."""
    wanted = read_submission(file)
    if dataset is None:
        made = sorted((workspace / "datasets").glob("*/dataset.json"))
        alike = [each.parent for each in made if read_json(each).get("manifest_digest") == wanted.manifest_digest]
        dataset = alike[0] if alike else None
    opened = find_dataset(workspace, dataset)
    folders = {path: run_folders(path) for path in paths}
    strangers = [path for path, found in folders.items() if not found]
    evidence = [(run / "predictions",) for found in folders.values() for run in found] + pieces(wanted, strangers)
    add_submission(workspace, opened, wanted, file, evidence, progress)
    return opened


def plan_tasks(
    paths: Sequence[Path],
    workspace: Path,
    dataset: str | Path | Dataset | None,
    name: str | None,
    snr: float | None,
    fold: int | None,
    progress: Progress,
) -> tuple[Dataset, list[Task]]:
    """Tell runs from predictions, find the data set, and list what is to be scored.

    Raises
    ------
    InputError
        Where targets are of several kinds or data sets, or an option goes with the other kind.
    """
    folders = {path: run_folders(path) for path in paths}
    runs = [folder for found in folders.values() for folder in found]
    strangers = [path for path, found in folders.items() if not found]
    if strangers:
        if runs:
            raise InputError(
                f"{strangers[0]}: is not a run, and runs are given with it; score them one after the other"
            )
        opened = find_dataset(workspace, dataset)
        return opened, [predictions_task(workspace, opened, strangers, name, snr, fold)]
    _refuse({"--name": name, "--snr": snr, "--fold": fold}, "goes with predictions, and none are given")
    if not paths:
        opened = find_dataset(workspace, dataset)
        return opened, [run_task(workspace, folder) for folder in runs_of(workspace, opened, progress)]
    above = (workspace / "runs").resolve()
    for folder in runs:
        if not folder.resolve().is_relative_to(above):
            raise InputError(f"{folder}: is not in the workspace {workspace}; give its own with --workspace")
    names = sorted({str(read_json(folder / RUN_FILE).get("dataset")) for folder in runs})
    if dataset is None and len(names) > 1:
        raise InputError(f"{paths[0]}: runs on {', '.join(names)}; score one data set after the other")
    opened = find_dataset(workspace, names[0] if dataset is None else dataset)
    inside = {folder: workspace / "runs" / folder.resolve().relative_to(above) for folder in runs}
    asked = [inside[path] for path in paths if path in inside]
    chosen = {*check_runs(asked, opened), *finished(sorted({*inside.values()} - {*asked}), opened, progress)}
    if not chosen:
        raise InputError(f"{paths[0]}: none of its {len(runs)} runs is done; `remixbench train` goes on with them")
    return opened, [run_task(workspace, folder) for folder in sorted(chosen)]


def _absolute(dataset: Dataset, task: Task) -> tuple[Dataset, Task]:
    """Return the same with absolute paths: a worker from before may have another current folder."""
    predictions = tuple(path.absolute() for path in task.predictions)
    return (
        replace(dataset, path=dataset.path.absolute()),
        replace(task, predictions=predictions, folder=task.folder.absolute()),
    )


def _measure(
    dataset: Dataset, tasks: Sequence[Task], resamples: int, workers: Workers, progress: Progress
) -> list[Record]:
    """Bring every task's record up to date, those that are not by several workers at once."""
    if not tasks:
        return []
    truths = {fold: truth_of(dataset, fold) for fold in dict.fromkeys(task.entry.fold for task in tasks)}
    records: dict[int, Record] = {}
    due: dict[int, tuple[Dataset, Truth, Task, int, dict[str, str]]] = {}
    for place, task in enumerate(tasks):
        truth, digests = truths[task.entry.fold], digests_of(task.predictions)
        record = kept_record(dataset, truth, task, resamples, digests, progress)
        if record is None:
            whole, alone = _absolute(dataset, task)
            due[place] = whole, truth, alone, resamples, digests
            if map_files(task.predictions) and has_stems(dataset, task.entry.snr):  # here, so that no worker repeats it
                keep_ideals(dataset, truth.reference, task.entry.snr, truth.ideals)
        else:
            records[place] = record
    with progress.bar("score", len(tasks), "runs") as advance:
        advance(len(records))
        for place, record in zip(due, workers.run(write_record, due.values(), len(due)), strict=True):
            records[place] = record
            advance(1)
    progress.say(f"{len(due)} of {len(tasks)} scored now, {len(tasks) - len(due)} before")
    return [records[place] for place in range(len(tasks))]
