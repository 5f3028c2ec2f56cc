"""What a host does with other people's rows: adds, verifies and removes them."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.probes import probe_folder
from remixbench.errors import InputError, RemixbenchError, one_line
from remixbench.files import as_path, read_json, write_json
from remixbench.leaderboard.discover import manifests_of, name_folder, run_folders
from remixbench.leaderboard.evaluate import References
from remixbench.leaderboard.grouping import identity
from remixbench.leaderboard.leaderboard import Leaderboard, load_leaderboard, scoring_lock
from remixbench.leaderboard.receipts import (
    Verified,
    entries_of,
    read_submissions,
    receipt_file,
    record_name,
    with_receipt,
    write_receipt,
)
from remixbench.leaderboard.record import Record, digests_of, files_digest, probe_value
from remixbench.leaderboard.renderers import leaderboard_texts, remove_leaderboard, write_leaderboard
from remixbench.leaderboard.rows import Row
from remixbench.leaderboard.submission import (
    Submission,
    Verification,
    check_submission,
    read_submission,
    verified_values,
    verify_submission,
    write_submission,
)
from remixbench.parallel import Workers, check_jobs
from remixbench.progress import Progress, reporter


def add_submission(
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
        evidence = [*_sets_of_predictions(submission, paths), *_own_predictions(workspace, references.dataset, digests)]
        values = verify_submission(submission, file, references, evidence, workers, progress)
        if differing := next((value for value in values if value.verdict == "differs"), None):
            system = submission.records[differing.record].system
            raise InputError(f"{file}: '{system.name}' at {system.snr:g} dB: {differing.why}; nothing was added")
        now = verified_values(submission, values)
        verified = with_receipt(workspace, submission, now)
        entries = entries_of(submission, verified)
        for entry in entries if require_predictions else ():
            if entry.evidence.state != "recomputed":
                raise InputError(
                    f"{file}: {record_name(entry.record)} was not recomputed; give the predictions of every record, or"
                    " leave out --require-predictions"
                )
        try:
            leaderboard = load_leaderboard(
                workspace, references.dataset, progress, references=references, candidate=(submission.digest, entries)
            )
            texts = leaderboard_texts(leaderboard)
        except RemixbenchError:
            raise
        except Exception as error:  # no unforeseen value may break the tables
            raise InputError(f"{file}: cannot be shown in a table ({one_line(error)}); nothing was added") from error
        copy = workspace / "submissions" / references.dataset.name / f"{submission.digest[:16]}.json"
        write_json(copy, read_json(file))  # also where the stored file is broken
        write_receipt(workspace, submission, verified)
        for line in _added_lines(submission, now):
            progress.say(f"{file}: {line}")
        write_leaderboard(workspace, leaderboard, texts)
    return leaderboard


def _dataset_of(workspace: Path, dataset: str | Path | Dataset | None, submission: Submission) -> Dataset:
    """Return the given data set, the one with the submission's manifest, or else the most recent one."""
    if dataset is None:
        folders = (folder for folder, manifest in manifests_of(workspace) if manifest == submission.manifest_digest)
        dataset = next(folders, None)
    return find_dataset(workspace, dataset)


def _sets_of_predictions(submission: Submission, paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Return predictions, and those of runs, as `verify_submission` takes them.

    Files that a record was made from together form one set, by their digests; every other file is its own.
    """
    runs = {path: run_folders(path) for path in paths}
    sets: list[tuple[Path, ...]] = [(run / "predictions",) for folders in runs.values() for run in folders]
    digests = {path: digests_of([path]) for path, folders in runs.items() if not folders}
    alone = dict.fromkeys(digests)
    for provenance in (record.provenance for record in submission.records):
        of_record = {*provenance.predictions.values()}
        together = tuple(path for path in digests if of_record.issuperset(digests[path].values()))
        names_differ = len({path.name for path in together}) == len(together)
        if len(together) > 1 and names_differ and files_digest(digests_of(together)) == provenance.predictions_digest:
            sets.append(together)
            alone = {path: None for path in alone if path not in together}
    return [*sets, *((path,) for path in alone)]


def _own_predictions(workspace: Path, dataset: Dataset, digests: Collection[str]) -> list[tuple[Path, ...]]:
    """Return the folders of predictions of this workspace's runs whose digest is among `digests`."""
    by_digest: dict[str, tuple[Path, ...]] = {}
    for folder in sorted((workspace / "runs" / dataset.name).glob("**/predictions/")):
        with suppress(InputError):
            by_digest.setdefault(files_digest(digests_of([folder])), (folder,))
    return [paths for digest, paths in by_digest.items() if digest in digests]


def _added_lines(submission: Submission, verified: Verified) -> list[str]:
    """Say how many records were added and recomputed, and which files the others and their probes would need."""
    entries = entries_of(submission, verified)
    count, recomputed = len(entries), sum(entry.evidence.state == "recomputed" for entry in entries)
    lines = [f"{count} record{'s' * (count != 1)} added, {recomputed} recomputed from predictions"]
    for record, evidence in ((entry.record, entry.evidence) for entry in entries):
        what = record_name(record)
        if evidence.state != "recomputed":
            files = ", ".join(
                f"{name} (SHA-256 {digest[:12]})" for name, digest in record.provenance.predictions.items()
            )
            lines.append(f"not recomputed: {what}; needs {files}")
        elif values := [name for name in record.metrics if not evidence.covers(name)]:
            lines.append(f"not verified: {', '.join(values)} of {what}; cannot be computed with what is here")
        missing = [
            probe_folder(probe.probe, probe.value)
            for probe in record.probes
            if not all(evidence.covers(probe_value(probe.probe, probe.value, name)) for name in probe.metrics)
        ]
        if missing:
            lines.append(f"not recomputed: probes of {what}; needs their predictions, {', '.join(missing)}")
    return lines


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
    workspace, progress = as_path(workspace, "workspace"), reporter(progress)
    check_jobs(jobs)
    if not predictions:
        raise InputError(f"--verify '{row}': give the predictions that it was made from")
    opened_dataset = find_dataset(workspace, dataset)
    with scoring_lock(workspace, progress):
        leaderboard = load_leaderboard(workspace, opened_dataset)
        submitted_row = leaderboard.find_row(row)
        submitted = submission_of(workspace, opened_dataset, submitted_row)
        if submitted is None:
            raise InputError(f"--verify '{submitted_row.name}': not from a submission; it was scored here")
        file, submission = submitted
        identities = {identity(record) for at in submitted_row.conditions.values() for record in at.records}
        indices = [index for index, record in enumerate(submission.records) if identity(record) in identities]
        references = References(opened_dataset)
        evidence = _sets_of_predictions(submission, [Path(path) for path in predictions])
        values = verify_submission(submission, file, references, evidence, Workers(jobs), progress)
        if not any(value.record in indices for value in values):
            raise InputError(
                f"--verify '{submitted_row.name}': none of the given predictions belongs to it; the row is unchanged"
            )
        if all(value.verdict != "differs" for value in values):
            verified = with_receipt(workspace, submission, verified_values(submission, values))
            write_receipt(workspace, submission, verified)
            write_leaderboard(workspace, load_leaderboard(workspace, opened_dataset, references=references))
    return Verification(
        submitted_row.name,
        {index: record_name(submission.records[index]) for index in indices},
        tuple(value for value in values if value.record in indices),
    )


def submit(file: Path, dataset: Dataset, records: Sequence[Record], progress: Progress) -> None:
    """Write records as a submission, and report its digest."""
    digest = write_submission(file, dataset, records)
    progress.say(f"{file}: {len(records)} record{'s' * (len(records) != 1)}, digest {digest}")


def submit_row(workspace: Path, dataset: Dataset, name: str, file: Path, progress: Progress) -> Leaderboard:
    """Write a submission of all records of a row, of every fold and SNR that was scored here.

    InputError if there is no such row, or it was submitted by others.
    """
    with scoring_lock(workspace, progress):
        leaderboard = load_leaderboard(workspace, dataset, progress)
    row = leaderboard.find_row(name)
    if row.submission:
        raise InputError(f"--name '{row.name}': is of a submission; expected a row that was scored in this workspace")
    submit(file, dataset, [record for at in row.conditions.values() for record in at.records], progress)
    return leaderboard


def remove_row(workspace: Path, dataset: Dataset, name: str, progress: Progress) -> Leaderboard:
    """Remove a row and write the leaderboard without it; where it was the only one, remove the leaderboard's files.

    With a submitted row goes its whole submission, with a third party's its record.

    InputError if there is no such row, or it is of runs that were trained in this workspace.
    """
    with scoring_lock(workspace, progress):
        _remove_records(workspace, dataset, load_leaderboard(workspace, dataset).find_row(name), progress)
        leaderboard = load_leaderboard(workspace, dataset, progress, may_be_empty=True)
        if leaderboard.rows:
            write_leaderboard(workspace, leaderboard)
        else:
            remove_leaderboard(workspace, dataset.name)
    return leaderboard


def _remove_records(workspace: Path, dataset: Dataset, row: Row, progress: Progress) -> None:
    if row.kind == "run":
        run = next(iter(row.conditions.values())).records[0].provenance.run or ""
        raise InputError(
            f"--remove '{row.name}': was trained in this workspace; delete its folder {Path(run).parents[2]}"
        )
    if (submitted := submission_of(workspace, dataset, row)) is not None:
        file, submission = submitted
        names = dict.fromkeys(record.system.name for record in submission.records)
        file.unlink()
        receipt_file(workspace, submission.digest).unlink(missing_ok=True)
        progress.say(f"{file}: removed, with its row{'s' * (len(names) > 1)} {', '.join(names)}")
        return
    name = next(iter(row.conditions.values())).records[0].system.name
    folder = workspace / "runs" / dataset.name / name_folder(name)
    shutil.rmtree(folder)
    progress.say(f"{folder}: removed")


def submission_of(workspace: Path, dataset: Dataset, row: Row) -> tuple[Path, Submission] | None:
    """Return the submission of a row, with its file; None if the row was not submitted."""
    submissions = read_submissions(workspace / "submissions" / dataset.name, workspace, []) if row.submission else []
    return next((pair for pair in submissions if pair[1].digest.startswith(row.submission)), None)
