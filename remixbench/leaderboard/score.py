"""`score`: figures for runs or for anyone's predictions, and the leaderboard of the data set written anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from remixbench.dataset.layout import Dataset, find_dataset
from remixbench.errors import InputError, unknown
from remixbench.files import read_json, write_text
from remixbench.leaderboard.board import Board, make_board
from remixbench.leaderboard.data import to_csv, to_json
from remixbench.leaderboard.grids import make_grids
from remixbench.leaderboard.markdown import to_markdown
from remixbench.leaderboard.measure import Task, Truth, measure, truth_of
from remixbench.leaderboard.published import load_published
from remixbench.leaderboard.record import METRICS, Record, read_record
from remixbench.leaderboard.targets import (
    RUN_FILE,
    check_runs,
    predictions_task,
    run_folders,
    run_task,
    runs_of,
)
from remixbench.progress import SILENT, Progress
from remixbench.scoring import SCORING_VERSION

RESAMPLES = 1000
WRITERS: dict[str, tuple[str, Callable[[Board], str]]] = {
    "csv": ("csv", to_csv),
    "md": ("md", lambda board: to_markdown(make_grids(board))),
    "json": ("json", to_json),
}
"""Format: suffix of its file, and what writes it."""


def score(
    *targets: str | Path,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    name: str | None = None,
    snr: float | None = None,
    fold: int | None = None,
    bootstrap: int | None = None,
    progress: Progress = SILENT,
) -> Board:
    """Score runs, or anyone's predictions, and write the leaderboard of their data set.

    Figures that are there already for the same predictions, labels, scoring version and bootstrap are kept.

    Parameters
    ----------
    targets : folders of runs (or folders above runs), or one system's predictions: tags.csv, frames.npz, a folder
        of both or of one TSV a clip, an event list. By default all finished runs of the data set.
    workspace : where data sets, runs and leaderboards lie.
    dataset : name or folder of a data set; by default that of the runs given, else the one made last.
    name, snr, fold : whose predictions these are, at which ratio in dB, and on which fold.
    bootstrap : resamples for the 95 % intervals; 0 for none; by default 1,000.
    progress : what is told of the work.

    Returns
    -------
    The leaderboard, written to `leaderboard/<dataset>.{csv,md,json,tex}` of the workspace.

    Raises
    ------
    InputError
        Where there is nothing to score, an option is missing, or predictions are not usable.
    """
    workspace = Path(workspace)
    resamples = RESAMPLES if bootstrap is None else bootstrap
    if resamples < 0:
        raise InputError(f"--bootstrap {resamples}: expected 0 for none, or a number of resamples such as 1000")
    paths = [Path(target) for target in targets]
    opened, tasks = plan_tasks(paths, workspace, dataset, name, snr, fold, progress)
    changed = _measure(opened, tasks, resamples, progress)
    board = read_board(workspace, opened, progress)
    written = write_board(workspace, board)
    where = workspace / "leaderboard"
    progress.say(
        f"{changed} of {len(tasks)} scored, the others were; "
        + (
            f"written: {', '.join(str(where / each) for each in written)}"
            if written
            else "the leaderboard is as it was"
        )
    )
    return board


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
    given = [f"--{key}" for key, value in (("name", name), ("snr", snr), ("fold", fold)) if value is not None]
    if strangers:
        if runs:
            raise InputError(
                f"{strangers[0]}: is not a run, and runs are given with it; score them one after the other"
            )
        opened = find_dataset(workspace, dataset)
        return opened, [predictions_task(workspace, opened, strangers, name, snr, fold)]
    if given:
        raise InputError(f"{given[0]}: goes with predictions, and none are given; name the file that they are in")
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
    inside = [workspace / "runs" / folder.resolve().relative_to(above) for folder in dict.fromkeys(runs)]
    return opened, [run_task(workspace, folder) for folder in check_runs(inside, opened)]


def _measure(dataset: Dataset, tasks: Sequence[Task], resamples: int, progress: Progress) -> int:
    """Bring every task's record up to date; returns how many had to be computed."""
    truths: dict[int, Truth] = {}
    computed = 0
    with progress.bar("score", len(tasks), "runs") as advance:
        for task in tasks:
            fold = task.entry.fold
            if fold not in truths:
                truths[fold] = truth_of(dataset, fold)
            computed += measure(dataset, truths[fold], task, resamples)[1]
            advance(1)
    return computed


def read_board(workspace: Path, dataset: Dataset, progress: Progress = SILENT) -> Board:
    """Make the leaderboard of a data set from every record in the workspace; what is left out is said."""
    kept: list[Record] = []
    left_out: list[str] = []
    for file in sorted((workspace / "runs" / dataset.name).rglob(METRICS)):
        try:
            record = read_record(file)
            why = stale(record, dataset)
        except InputError as error:
            why, place = str(error), ""
        else:
            place = f"{file.relative_to(workspace).as_posix()}: "
        if why:
            left_out.append(f"{place}{why}")
            progress.say(f"left out: {place}{why}")
        else:
            kept.append(record)
    if not kept:
        raise InputError(f"{workspace / 'runs' / dataset.name}: nothing is scored yet; `remixbench train` makes runs")
    return make_board(dataset, kept, [], load_published(), SCORING_VERSION, left_out)


def stale(record: Record, dataset: Dataset) -> str:
    """Say why a record may not stand in the data set's table; empty where it may."""
    made = record.made_from
    if made.manifest_digest != dataset.digest:
        return f"is of another manifest ({made.manifest_digest[:12]}) than the data set ({dataset.digest[:12]})"
    if made.scoring_version != SCORING_VERSION:
        return f"is of scoring version {made.scoring_version}, this is {SCORING_VERSION}; score it again"
    return ""


def write_board(workspace: Path, board: Board) -> list[str]:
    """Write the leaderboard's files where they differ from what is there; returns the names of those written."""
    written = []
    for suffix, render in WRITERS.values():
        file = workspace / "leaderboard" / f"{board.dataset}.{suffix}"
        text = render(board)
        if not (file.is_file() and file.read_bytes() == text.encode("utf-8")):
            write_text(file, text)
            written.append(file.name)
    return written


def render(board: Board, style: str, *, width: int | None = None, colour: bool = False) -> str:
    """Return the leaderboard as a `table` for a terminal, or as its `md`, `csv`, `json` or `latex` file has it.

    Raises
    ------
    InputError
        For another format.
    """
    if style == "table":
        from remixbench.leaderboard.terminal import to_terminal

        return to_terminal(make_grids(board), width=width, colour=colour)
    if style not in WRITERS:
        raise unknown("format", style, ("table", *WRITERS))
    return WRITERS[style][1](board)
