"""`score`: metrics for runs or for anyone's predictions, and the leaderboard of the data set written again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from remixbench.dataset.dataset import Dataset, as_tuple, find_dataset, snr_folder
from remixbench.dataset.probes import Probe, check_probes
from remixbench.errors import InputError, RemixbenchError
from remixbench.files import as_path, sha256
from remixbench.leaderboard.discover import Description, name_folder, plan_tasks, refuse_options, run_probes
from remixbench.leaderboard.evaluate import (
    References,
    Task,
    add_ideal_masks,
    evaluate,
    kept_record,
    make_record,
    probes_current,
    readable_record,
)
from remixbench.leaderboard.hosting import add_submission, remove_row, submit, submit_row, verify_row
from remixbench.leaderboard.leaderboard import Leaderboard, load_leaderboard, scoring_lock
from remixbench.leaderboard.record import (
    IDEAL,
    METRICS_FILE,
    MOST_SAMPLES,
    Record,
    SystemInfo,
    digests_of,
    files_digest,
    write_record,
)
from remixbench.leaderboard.renderers import write_leaderboard
from remixbench.leaderboard.separation import against_stems, ideal_separation, separation_of
from remixbench.parallel import Workers, check_jobs
from remixbench.progress import SILENT, Progress, reporter
from remixbench.scoring.evaluate import BOOTSTRAP_SAMPLES
from remixbench.scoring.types import is_count

Job = tuple[Any, ...]
"""Arguments of `evaluate`."""
Stamps = list[tuple[str, int, int]]
"""Name, size and modification time of every file of predictions."""


def score(
    *targets: str | Path,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    name: str | None = None,
    snr: float | None = None,
    fold: int | None = None,
    bootstrap: int | None = None,
    probe: str | Sequence[str] | None = None,
    shifted: str | Path | Sequence[str | Path] | None = None,
    other_snrs: str | Path | Sequence[str | Path] | None = None,
    submission: str | Path | None = None,
    add: str | Path | None = None,
    require_predictions: bool = False,
    verify: str | None = None,
    remove: str | None = None,
    jobs: int = -1,
    progress: Progress | bool = False,
) -> Leaderboard:
    """Score runs, or anyone's predictions, and write the leaderboard of their data set.

    Existing metrics are kept where predictions, labels, scoring version and bootstrap are the same.

    Parameters
    ----------
    targets : folders of runs (or folders above runs), or one system's predictions: tags.csv, frames.npz, a folder
        of both or of one TSV per clip, an event list, maps.npz, or a folder of waveforms `<clip>/<class>.wav`; several
        files may hold different forms of one system's predictions. By default all finished runs of the data set. With
        `add`: predictions that the submission was made from, to check it against.
    workspace : folder of data sets, runs and leaderboards.
    dataset : name or folder of a data set; by default that of the runs given, otherwise the most recent one.
    name, snr, fold : name on the leaderboard of predictions, their SNR in dB, and their fold.
    bootstrap : bootstrap samples for the 95 % intervals; 0 for none; by default 1,000.
    probe : `shift`, `snr` or both: also test the runs on their test clips rolled in time, or at every other SNR of the
        data set. The predictions are kept with the runs and scored with them from then on.
    shifted : the same system's predictions for rolled clips (`ClipDataset(..., roll=seconds)`): a file or folder for
        each shift in `remixbench.probe_shifts`, with the shift in its name: `shift_0.48.csv`.
    other_snrs : the same system's predictions, trained at `snr`, for the clips at other SNRs of the data set, with the
        SNR in the name of each file or folder: `snr_0.csv`.
    submission : file to write the scored records into, for other installations; with `name` and nothing to score, all
        records of that row, of every fold and SNR.
    add : a submission to check and add.
    require_predictions : refuse a submission unless every record is recomputed from predictions.
    verify : name of a submitted row to recompute from the given predictions; a value that does not agree is an error.
    remove : name of a row to remove: a third party's, or a submitted one, which is removed with its whole submission.
    jobs : runs scored in parallel, in processes of their own; -1 for one per core.
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter.

    Returns
    -------
    The leaderboard, written to `leaderboard/<dataset>.{csv,md,json,tex}` of the workspace;
    `remixbench.leaderboard.significance.compare_rows` compares two of its rows.

    Raises
    ------
    InputError
        If there is nothing to score, an option is missing, or predictions or a submission are not usable.
    """
    progress = reporter(progress)
    workspace = as_path(workspace, "workspace")
    resamples = BOOTSTRAP_SAMPLES if bootstrap is None else bootstrap
    check_jobs(jobs)
    if not is_count(resamples) or resamples > MOST_SAMPLES:
        raise InputError(f"--bootstrap {resamples}: expected 0 for none, or a number of samples such as 1000")
    paths = [as_path(target, "target") for target in targets]
    probes = check_probes(probe)
    rolled, at_other_snrs = ([Path(file) for file in as_tuple(files)] for files in (shifted, other_snrs))
    described = Description(name, snr, fold, rolled, at_other_snrs)
    _refuse_combinations(
        {"--add": add, "--verify": verify, "--remove": remove},
        # bootstrap: recomputing uses the submission's own number
        described.options | {"--submission": submission, "--probe": probes or None, "--bootstrap": bootstrap},
    )
    if require_predictions and add is None:
        raise InputError("--require-predictions: only works with --add; leave it out")
    if verify is not None:
        return _verify(verify, paths, workspace, dataset, jobs, progress)
    if remove is not None:
        refuse_options({"predictions": paths or None}, "cannot be combined with --remove")
        return remove_row(workspace, find_dataset(workspace, dataset), remove, progress)
    if add is not None:
        return add_submission(workspace, dataset, Path(add), paths, require_predictions, Workers(jobs), progress)
    if submission is not None and name is not None and not paths:
        scoring = {"--snr": snr, "--fold": fold, "--bootstrap": bootstrap, "--probe": probes or None}
        refuse_options(scoring, "only works with predictions or runs, and none are given")
        return submit_row(workspace, find_dataset(workspace, dataset), name, Path(submission), progress)
    opened_dataset, tasks = plan_tasks(paths, workspace, dataset, described, progress)
    if probes and any(task.run is None for task in tasks):
        raise InputError("--probe: only works with runs; for predictions, use --shifted and --other-snrs")
    with scoring_lock(workspace, progress):
        if probes:
            _predict_probes(opened_dataset, tasks, probes, bool(paths), progress)
        # after waiting for another process, which may have made some
        tasks = [task if task.run is None else replace(task, probes=run_probes(task.folder)) for task in tasks]
        references = References(opened_dataset)
        records = _evaluate(workspace, references, tasks, resamples, Workers(jobs), progress)
        current = {task.folder / METRICS_FILE: record for task, record in zip(tasks, records, strict=True)}
        if submission is not None:
            submit(Path(submission), opened_dataset, records, progress)
        leaderboard = load_leaderboard(workspace, opened_dataset, progress, references=references, current=current)
        write_leaderboard(workspace, leaderboard)
        return leaderboard


def _refuse_combinations(commands: Mapping[str, object], options: Mapping[str, object]) -> None:
    """Fail where one of the `commands`, which do one thing alone, is given with another or with one of `options`."""
    for command, value in commands.items():
        if value is not None:
            others = {name: other for name, other in commands.items() if name != command}
            refuse_options({**options, **others}, f"cannot be combined with {command}")


def _verify(
    row: str,
    paths: Sequence[Path],
    workspace: Path,
    dataset: str | Path | Dataset | None,
    jobs: int,
    progress: Progress,
) -> Leaderboard:
    """Recompute a submitted row; RemixbenchError for a value that does not agree."""
    verification = verify_row(row, *paths, workspace=workspace, dataset=dataset, jobs=jobs, progress=progress)
    for value in verification.values:
        if value.verdict == "differs":
            raise RemixbenchError(f"--verify '{verification.row}': {verification.records[value.record]}: {value.why}")
    return load_leaderboard(workspace, find_dataset(workspace, dataset), progress)


def _predict_probes(
    dataset: Dataset, tasks: Sequence[Task], probes: Sequence[Probe], named: bool, progress: Progress
) -> None:
    """Test the runs of some tasks under other conditions, unless that was done before.

    InputError if a run cannot be used and runs were `named`; otherwise it is reported.
    """
    from remixbench.inference.probes import predict_probes  # torch takes long to import

    for task in tasks:
        try:
            predict_probes(task.folder, dataset=dataset, probe=probes, progress=progress)
        except InputError as error:
            if named:
                raise
            progress.say(f"not probed: {error}")


def _evaluate(
    workspace: Path, references: References, tasks: Sequence[Task], resamples: int, workers: Workers, progress: Progress
) -> list[Record]:
    """Return the record of every task; those that are out of date are scored in parallel."""
    dataset = references.dataset
    absolute = replace(dataset, path=dataset.path.absolute())
    records: dict[int, Record] = {}
    jobs: dict[int, Job] = {}
    separated: set[tuple[float, int]] = set()
    lines: list[str] = []
    stamps = [_stamps_of(task.predictions) for task in tasks]
    for index, task in enumerate(tasks):
        system, fold, digests = task.system, references.fold(task.system.fold), digests_of(task.predictions)
        task.check_results(digests)
        stems = against_stems(dataset, fold.reference, system.snr, task.predictions)
        if stems.maps and not stems.masks:
            progress.say(f"{stems.maps[0]}: left blank: {stems.why_no_masks}")
        if stems.separation:
            separated.add((system.snr, system.fold))
        old = readable_record(task.folder, progress)
        record = None if old is None else kept_record(old, references, task, resamples, digests)
        if record is not None and probes_current(record, task):
            records[index] = record
            continue
        if old is not None and task.run is None:
            row = f"'{system.name}' at {system.snr:g} dB, fold {system.fold}"
            if old.provenance.predictions_digest != files_digest(digests):
                lines.append(f"{row}: other predictions than before; replaced")
            if record is None and (options := _lost_probes(old, task)):
                lines.append(f"{row}: scored again without its probes; give {' and '.join(options)} again to keep them")
        separation = None
        if record is None:  # here: masks are made once, and all workers share the separation
            if stems.masks:
                add_ideal_masks(dataset, fold, system.snr)
            separation = separation_of(dataset, fold.reference, system.snr, task.predictions, workers, progress)
        jobs[index] = absolute, fold, task.absolute(), resamples, digests, record, separation
    _add_ideal_rows(workspace, references, separated, resamples, workers, progress)
    if not tasks:
        return []
    records |= _run(jobs, tasks, stamps, workers, progress)
    for line in lines:
        progress.say(line)
    progress.say(f"{len(jobs)} run{'s' * (len(jobs) != 1)} scored, {len(tasks) - len(jobs)} up to date")
    return [records[index] for index in range(len(tasks))]


def _lost_probes(old: Record, task: Task) -> list[str]:
    """Return the options for the probes that a third party's record has and that are not given again."""
    lost = {score.probe for score in old.probes} - {probe for probe, _ in task.probes.files}
    return [option for probe, option in (("shift", "--shifted"), ("snr", "--other-snrs")) if probe in lost]


def _run(
    jobs: Mapping[int, Job], tasks: Sequence[Task], stamps: Sequence[Stamps], workers: Workers, progress: Progress
) -> dict[int, Record]:
    """Score the tasks that have a job, by their index; says how many events lists hold.

    InputError as in `evaluate`, or if predictions have other `stamps` than before.
    """
    records: dict[int, Record] = {}
    event_lines: list[str] = []
    with (progress if jobs else SILENT).bar("Scoring", len(jobs), "runs") as advance:
        scored = workers.run(evaluate, jobs.values(), len(jobs))
        for index, (record, counts) in zip(jobs, scored, strict=True):
            task, records[index] = tasks[index], record
            if counts is not None and task.run is None:
                paths, (events, clips) = ", ".join(map(str, task.predictions)), counts
                event_lines.append(f"{paths}: {events} events in {clips} of {record.provenance.clips} clips")
            advance(1)
            if _stamps_of(task.predictions) != stamps[index]:
                raise InputError(f"{task.predictions[0]}: was changed while it was scored; score it again")
    for line in event_lines:
        progress.say(line)
    return records


def _stamps_of(paths: Sequence[Path]) -> Stamps:
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return sorted((str(file), status.st_size, status.st_mtime_ns) for file in files for status in [file.stat()])


def _add_ideal_rows(
    workspace: Path,
    references: References,
    conditions: Iterable[tuple[float, int]],
    resamples: int,
    workers: Workers,
    progress: Progress,
) -> None:
    """Write the records of the ideal masks and of the mixture at some (SNR, fold), unless they are there.

    They lie in `<workspace>/runs/<dataset>/<name>/<snr>/<fold>/ideal/`.
    """
    dataset = references.dataset
    for snr, number in sorted(conditions):
        fold = references.fold(number)
        for ideal, name in IDEAL.items():
            above = workspace / "runs" / dataset.name / name_folder(name)
            folder = above / snr_folder(snr) / f"fold_{number}" / "ideal"
            task = Task(SystemInfo(name=name, kind="ideal", snr=snr, fold=number), (), folder)
            digests = {name: sha256(f"{ideal} of {dataset.audio_digest}".encode())}
            old = readable_record(folder, progress)
            if old is None or kept_record(old, references, task, resamples, digests) is None:
                separation = ideal_separation(dataset, fold.reference, snr, ideal, workers, progress)
                write_record(folder / METRICS_FILE, make_record(dataset, fold, task, resamples, digests, separation))
