"""`score`: metrics for runs or for anyone's predictions, and the leaderboard of the data set written again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.probes import Probe, check_probes
from remixbench.errors import InputError, RemixbenchError, one_line
from remixbench.files import read_json, waiting_lock
from remixbench.leaderboard.discover import (
    find_runs,
    finished_runs,
    predictions_task,
    read_runs,
    run_folders,
    run_probes,
    run_tasks,
)
from remixbench.leaderboard.evaluate import (
    FoldReference,
    References,
    Task,
    add_ideal_masks,
    evaluate,
    kept_record,
    probes_current,
    replaces_others,
)
from remixbench.leaderboard.grouping import identity
from remixbench.leaderboard.hosting import (
    Verified,
    added_lines,
    evidence_of,
    merged,
    own_predictions,
    read_receipt,
    record_name,
    remove_row,
    store_submission,
    submissions_of,
    write_receipt,
)
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.load import load_leaderboard
from remixbench.leaderboard.record import METRICS_FILE, Record, SystemInfo, digests_of, stamps_of
from remixbench.leaderboard.renderers import leaderboard_texts, remove_leaderboard, write_leaderboard
from remixbench.leaderboard.separation import add_ideal_rows, is_separated, separation_of
from remixbench.leaderboard.stems import has_stems, map_files, why_no_separation
from remixbench.leaderboard.submission import (
    Submission,
    Verification,
    check_submission,
    pieces,
    read_submission,
    require_agreement,
    verified_values,
    verify_submission,
    write_submission,
)
from remixbench.parallel import Workers, check_jobs
from remixbench.progress import SILENT, Progress, reporter
from remixbench.scoring.evaluate import BOOTSTRAP_SAMPLES
from remixbench.scoring.metrics import scored_with
from remixbench.scoring.types import Separation


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
    submission : file to write the scored records into, for other installations.
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
    workspace = Path(workspace)
    resamples = BOOTSTRAP_SAMPLES if bootstrap is None else bootstrap
    check_jobs(jobs)
    if resamples < 0:
        raise InputError(f"--bootstrap {resamples}: expected 0 for none, or a number of samples such as 1000")
    paths = [Path(target) for target in targets]
    probes = check_probes(probe)
    rolled, others = _paths(shifted), _paths(other_snrs)
    about_predictions: dict[str, object] = {
        "--name": name, "--snr": snr, "--fold": fold, "--submission": submission, "--probe": probes or None,
        "--shifted": rolled or None, "--other-snrs": others or None,
        "--bootstrap": bootstrap,  # recomputing uses the submission's own number
    }  # fmt: skip
    alone = {"--add": add, "--verify": verify, "--remove": remove}
    for option, value in alone.items():
        if value is not None:
            _refuse(
                about_predictions | {k: v for k, v in alone.items() if k != option}, f"cannot be combined with {option}"
            )
    if require_predictions and add is None:
        raise InputError("--require-predictions: only works with --add; leave it out")
    workers = Workers(jobs)
    if verify is not None:
        verification = verify_row(verify, *paths, workspace=workspace, dataset=dataset, jobs=jobs, progress=progress)
        for checked in verification.values:
            if checked.verdict == "differs":
                where = verification.records[checked.record]
                raise RemixbenchError(f"--verify '{verification.row}': {where}: {checked.why}")
        return load_leaderboard(workspace, find_dataset(workspace, dataset), progress)
    if remove is not None:
        _refuse({"predictions": paths or None}, "cannot be combined with --remove")
        return _remove(workspace, find_dataset(workspace, dataset), remove, progress)
    if add is not None:
        return _add(workspace, dataset, Path(add), paths, require_predictions, workers, progress)
    opened, tasks = plan_tasks(paths, workspace, dataset, name, snr, fold, rolled, others, progress)
    if probes and any(task.run is None for task in tasks):
        raise InputError("--probe: only works with runs; for predictions, use --shifted and --other-snrs")
    with scoring_lock(workspace, progress):
        if probes:
            _predict_probes(opened, tasks, probes, bool(paths), progress)
        # after waiting for another process, which may have made some
        tasks = [task if task.run is None else replace(task, probes=run_probes(task.folder)) for task in tasks]
        references = References(opened)
        records = _evaluate(workspace, references, tasks, resamples, workers, progress)
        current = {task.folder / METRICS_FILE: record for task, record in zip(tasks, records, strict=True)}
        if submission is not None:
            digest = write_submission(Path(submission), opened, records)
            progress.say(f"{submission}: {len(records)} record{'s' * (len(records) != 1)}, digest {digest}")
        leaderboard = load_leaderboard(workspace, opened, progress, references=references, current=current)
        write_leaderboard(workspace, leaderboard)
        return leaderboard


@contextmanager
def scoring_lock(workspace: Path, progress: Progress) -> Iterator[None]:
    """Let one process at a time read the records of a workspace, change them and write its leaderboard.

    The lock leaves a file in the workspace: check input before taking it, as far as that needs no records.
    """
    waiting = f"{workspace}: another `remixbench score` is at work; waiting for it to end"
    with waiting_lock(workspace / ".score.lock", lambda: progress.say(waiting), optional=True):
        yield


def _paths(given: str | Path | Sequence[str | Path] | None) -> list[Path]:
    return [Path(path) for path in ([given] if isinstance(given, str | Path) else given or ())]


def _refuse(options: Mapping[str, object], why: str) -> None:
    for option, value in options.items():
        if value is not None:
            raise InputError(f"{option}: {why}; leave it out")


def _remove(workspace: Path, dataset: Dataset, name: str, progress: Progress) -> Leaderboard:
    """Remove a row, and write the leaderboard without it; where it was the only one, remove the files."""
    with scoring_lock(workspace, progress):
        remove_row(workspace, dataset, load_leaderboard(workspace, dataset).find_row(name), progress)
        leaderboard = load_leaderboard(workspace, dataset, progress, may_be_empty=True)
        if leaderboard.rows:
            write_leaderboard(workspace, leaderboard)
        else:
            remove_leaderboard(workspace, dataset.name)
    return leaderboard


def _add(
    workspace: Path,
    dataset: str | Path | Dataset | None,
    file: Path,
    paths: Sequence[Path],
    require_predictions: bool,
    workers: Workers,
    progress: Progress,
) -> Leaderboard:
    """Check a submission, add it to the given data set or the one with its manifest, and write the leaderboard.

    Metrics are recomputed from the given predictions, and from those in this workspace whose digests the records name.
    Nothing is kept that cannot be shown.
    """
    submission = read_submission(file)
    references = References(_dataset_of(workspace, dataset, submission))
    check_submission(submission, file, references)
    with scoring_lock(workspace, progress):
        digests = {record.provenance.predictions_digest for record in submission.records}
        evidence = [*_evidence(submission, paths), *own_predictions(workspace, references.dataset, digests)]
        values = verify_submission(submission, file, references, evidence, workers, progress)
        require_agreement(submission, file, values)
        now = verified_values(submission, values)
        verified: Verified = now
        with suppress(InputError):  # an unusable receipt is written again
            verified = merged(now, read_receipt(workspace, submission))
        states = evidence_of(submission, verified)
        for record, state in zip(submission.records, states, strict=True) if require_predictions else ():
            if state.state != "recomputed":
                raise InputError(
                    f"{file}: {record_name(record)} was not recomputed; give the predictions of every record, or leave"
                    " out --require-predictions"
                )
        try:
            leaderboard = load_leaderboard(
                workspace, references.dataset, progress, references=references, candidate=(submission, states)
            )
            texts = leaderboard_texts(leaderboard)
        except RemixbenchError:
            raise
        except Exception as error:  # no unforeseen value may break the tables
            raise InputError(f"{file}: cannot be shown in a table ({one_line(error)}); nothing was added") from error
        store_submission(workspace, references.dataset.name, file, submission, verified)
        for line in added_lines(submission, now):
            progress.say(f"{file}: {line}")
        write_leaderboard(workspace, leaderboard, texts)
    return leaderboard


def _dataset_of(workspace: Path, dataset: str | Path | Dataset | None, submission: Submission) -> Dataset:
    """Return the given data set, the one with the submission's manifest, or else the most recent one."""
    if dataset is None:
        alike = [
            file.parent
            for file in sorted((workspace / "datasets").glob("*/dataset.json"))
            if read_json(file).get("manifest_digest") == submission.manifest_digest
        ]
        dataset = alike[0] if alike else None
    return find_dataset(workspace, dataset)


def _evidence(submission: Submission, paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Return predictions, and those of runs, as `verify_submission` takes them."""
    runs = {path: run_folders(path) for path in paths}
    files = [path for path, folders in runs.items() if not folders]
    return [(run / "predictions",) for folders in runs.values() for run in folders] + pieces(submission, files)


def verify_row(
    row: str,
    *predictions: str | Path,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    jobs: int = -1,
    progress: Progress | bool = False,
) -> Verification:
    """Recompute a submitted row and say for every value whether it agrees.

    If every value that can be computed agrees, the row is `recomputed` from then on.

    Parameters
    ----------
    row : its name on the leaderboard.
    predictions : the files and folders that it was made from, or runs.
    workspace, dataset, jobs, progress : as in `score`.

    Raises
    ------
    InputError
        If there is no such row, it is not from a submission, or none of the given predictions are its own.
    """
    workspace, progress = Path(workspace), reporter(progress)
    check_jobs(jobs)
    if not predictions:
        raise InputError(f"--verify '{row}': give the predictions that it was made from")
    opened = find_dataset(workspace, dataset)
    with scoring_lock(workspace, progress):
        leaderboard = load_leaderboard(workspace, opened)
        chosen = leaderboard.find_row(row)
        origins = submissions_of(workspace, opened, chosen)
        if not origins:
            raise InputError(f"--verify '{chosen.name}': not from a submission; it was scored here")
        file, submission = origins[0]
        shown = {identity(record) for condition in chosen.conditions.values() for record in condition.records}
        places = [place for place, record in enumerate(submission.records) if identity(record) in shown]
        references = References(opened)
        evidence = _evidence(submission, [Path(path) for path in predictions])
        values = verify_submission(submission, file, references, evidence, Workers(jobs), progress)
        if not any(value.record in places for value in values):
            raise InputError(
                f"--verify '{chosen.name}': none of the given predictions belongs to it; the row is unchanged"
            )
        if all(value.verdict != "differs" for value in values):
            verified: Verified = verified_values(submission, values)
            with suppress(InputError):
                verified = merged(verified, read_receipt(workspace, submission))
            write_receipt(workspace, submission, verified)
            write_leaderboard(workspace, load_leaderboard(workspace, opened, references=references))
    return Verification(
        chosen.name,
        {place: record_name(submission.records[place]) for place in places},
        tuple(value for value in values if value.record in places),
    )


def _predict_probes(
    dataset: Dataset, tasks: Sequence[Task], probes: Sequence[Probe], named: bool, progress: Progress
) -> None:
    """Test the runs of some tasks under other conditions, unless that was done before.

    Raises
    ------
    InputError
        If a run cannot be used and runs were `named`; otherwise it is reported.
    """
    from remixbench.inference.probes import predict_probes  # torch takes long to import

    for task in tasks:
        try:
            predict_probes(task.folder, dataset=dataset, probe=probes, progress=progress)
        except InputError as error:
            if named:
                raise
            progress.say(f"not probed: {error}")


def plan_tasks(
    paths: Sequence[Path],
    workspace: Path,
    dataset: str | Path | Dataset | None,
    name: str | None,
    snr: float | None,
    fold: int | None,
    shifted: Sequence[Path],
    other_snrs: Sequence[Path],
    progress: Progress,
) -> tuple[Dataset, list[Task]]:
    """Tell runs from predictions, find the data set, and list what to score.

    Raises
    ------
    InputError
        If targets are of several kinds or data sets, or an option is for the other kind.
    """
    folders = {path: run_folders(path) for path in paths}
    runs = [run for below in folders.values() for run in below]
    files = [path for path, below in folders.items() if not below]
    if files:
        if runs:
            raise InputError(f"{files[0]}: is not a run, and runs are given with it; score them separately")
        opened = find_dataset(workspace, dataset)
        return opened, [predictions_task(workspace, opened, files, name, snr, fold, shifted, other_snrs)]
    _refuse(
        {
            "--name": name,
            "--snr": snr,
            "--fold": fold,
            "--shifted": shifted or None,
            "--other-snrs": other_snrs or None,
        },
        "only works with predictions, and none are given",
    )
    if not paths:
        opened = find_dataset(workspace, dataset)
        chosen = find_runs(workspace, opened, progress)
        return opened, run_tasks(workspace, chosen, opened, progress)
    above = (workspace / "runs").resolve()
    for folder in runs:
        if not folder.resolve().is_relative_to(above):
            raise InputError(f"{folder}: is not in the workspace {workspace}; give its own with --workspace")
    inside = {folder: workspace / "runs" / folder.resolve().relative_to(above) for folder in runs}
    named = {inside[path] for path in paths if path in inside}
    infos = read_runs(sorted({*inside.values()}), progress, named)
    names = sorted({info.dataset for info in infos.values()})
    if dataset is None and len(names) > 1:
        raise InputError(f"{paths[0]}: runs on {', '.join(names)}; score one data set at a time")
    opened = find_dataset(workspace, names[0] if dataset is None and names else dataset)
    chosen = finished_runs(infos, opened, progress, named)
    tasks = run_tasks(workspace, chosen, opened, progress, named)
    if not tasks:
        raise InputError(
            f"{paths[0]}: none of its {len(runs)} runs is done and usable; `remixbench train` resumes or repeats them"
        )
    return opened, tasks


def _absolute(dataset: Dataset, task: Task) -> tuple[Dataset, Task]:
    """Return both with absolute paths: a reused worker may have another working directory."""
    predictions = tuple(path.absolute() for path in task.predictions)
    probes = task.probes
    if probes is not None:
        probes = replace(probes, files={condition: path.absolute() for condition, path in probes.files.items()})
    return (
        replace(dataset, path=dataset.path.absolute()),
        replace(task, predictions=predictions, folder=task.folder.absolute(), probes=probes),
    )


def _event_lines(task: Task, event_lists: Mapping[int, tuple[int, int]], clips: int) -> list[str]:
    """Return a line per event list of a third party: how many clips have events."""
    return [
        f"{task.predictions[place]}: {events} events in {with_events} of {clips} clips"
        for place, (events, with_events) in event_lists.items()
        if task.run is None
    ]


def _evaluate(
    workspace: Path,
    references: References,
    tasks: Sequence[Task],
    resamples: int,
    workers: Workers,
    progress: Progress,
) -> list[Record]:
    """Return the record of every task; those that are out of date are scored in parallel."""
    dataset = references.dataset
    records: dict[int, Record] = {}
    due: dict[int, tuple[Dataset, FoldReference, Task, int, dict[str, str], Record | None, Separation | None]] = {}
    read: dict[int, list[tuple[str, int, int]]] = {}
    separated: list[tuple[float, int]] = []
    replaced: list[SystemInfo] = []
    lines: list[str] = []
    for place, task in enumerate(tasks):
        stamps = stamps_of(task.predictions)
        snr, fold, digests = task.system.snr, references.fold(task.system.fold), digests_of(task.predictions)
        can_separate = is_separated(task.predictions) and not why_no_separation(dataset, fold.reference, snr)
        task.check_results(digests)
        record = kept_record(references, task, resamples, digests, progress)
        if can_separate:
            separated.append((snr, task.system.fold))
            if record is not None and not scored_with(record.metrics, "event stems"):  # scored before there were stems
                record = None
        if record is not None and probes_current(record, task):
            records[place] = record
            continue
        if replaces_others(task, digests):
            replaced.append(task.system)
        absolute, own_task = _absolute(dataset, task)
        separation = None
        if record is None:  # here: masks are made once, and all workers share the separation
            if map_files(task.predictions) and has_stems(dataset, snr):
                add_ideal_masks(dataset, fold, snr)
            separation = separation_of(dataset, fold.reference, snr, task.predictions, workers, progress)
        read[place] = stamps
        due[place] = absolute, fold, own_task, resamples, digests, record, separation
    add_ideal_rows(workspace, references, separated, resamples, workers, progress)
    if not tasks:
        return []
    with (progress if due else SILENT).bar("Scoring", len(due), "runs") as advance:
        for place, (record, event_lists) in zip(due, workers.run(evaluate, due.values(), len(due)), strict=True):
            records[place] = record
            lines += _event_lines(tasks[place], event_lists, record.provenance.clips)
            advance(1)
            if stamps_of(tasks[place].predictions) != read[place]:
                raise InputError(f"{tasks[place].predictions[0]}: was changed while it was scored; score it again")
    for line in lines:
        progress.say(line)
    for system in replaced:
        progress.say(
            f"'{system.name}' at {system.snr:g} dB, fold {system.fold}: other predictions than before; replaced"
        )
    progress.say(f"{len(due)} run{'s' * (len(due) != 1)} scored, {len(tasks) - len(due)} up to date")
    return [records[place] for place in range(len(tasks))]
