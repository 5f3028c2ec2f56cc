"""The submissions that were added to a workspace: adding one, its receipt of what was recomputed, removing a row.

    submissions/<dataset>/<digest>.json                the submission as it was read
    submissions/<dataset>/<digest>.recomputed.json     the receipt: digests of the predictions of recomputed records

Rows of third parties that were scored here are removed as well.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.probes import probe_folder
from remixbench.errors import InputError
from remixbench.files import read_json, write_json
from remixbench.leaderboard.discover import name_folder
from remixbench.leaderboard.evaluate_run import References
from remixbench.leaderboard.leaderboard import Row
from remixbench.leaderboard.record import SELF_REPORTED, Evidence, Record, digests_of, files_digest
from remixbench.leaderboard.submission import Submission, read_submission
from remixbench.leaderboard.submission_checks import Checked, check_metrics, check_submission
from remixbench.parallel import Workers
from remixbench.progress import SILENT, Progress

RECEIPT = ".recomputed.json"
RECEIPT_FORMAT = "remixbench receipt"


def submissions_folder(workspace: Path, dataset: str) -> Path:
    """Return where added submissions of a data set lie."""
    return workspace / "submissions" / dataset


def kept_submissions(workspace: Path, dataset: str) -> list[Path]:
    """Return the submissions on a data set that were added, without their receipts."""
    files = sorted(submissions_folder(workspace, dataset).glob("*.json"))
    return [file for file in files if not file.name.endswith(RECEIPT)]


def add(
    workspace: Path,
    references: References,
    submission: Submission,
    file: Path,
    evidence: Sequence[tuple[Path, ...]],
    workers: Workers,
    progress: Progress = SILENT,
) -> Path:
    """Check a submission and put it with those whose rows are in the leaderboard; returns its place.

    Metrics are recomputed from the predictions given; those of this workspace that records were made from are found
    by their digest and used as well. A record is never checked against another record.
    """
    check_submission(submission, file, references)
    own = own_predictions(workspace, references.dataset)
    digests = {record.provenance.predictions_digest for record in submission.records}
    found = [paths for digest, paths in own.items() if digest in digests]
    checked = check_metrics(submission, file, references, [*evidence, *found], workers, progress)
    kept = submissions_folder(workspace, references.dataset.name) / f"{submission.digest[:16]}.json"
    if not kept.is_file():
        write_json(kept, read_json(file))
    write_receipt(kept, submission, checked.records)
    for line in added_lines(submission, checked):
        progress.say(f"{file}: {line}")
    return kept


def write_receipt(kept: Path, submission: Submission, checked: Collection[int]) -> None:
    """Write beside a kept submission which of its records were recomputed, now or before."""
    now = {submission.records[place].provenance.predictions_digest for place in checked}
    known = read_receipt(kept, submission)
    if now - known:
        value = {"format": RECEIPT_FORMAT, "submission": submission.digest, "recomputed": sorted(now | known)}
        write_json(kept.with_name(kept.stem + RECEIPT), value)


def read_receipt(kept: Path, submission: Submission) -> frozenset[str]:
    """Return the digests of the predictions from which records of a kept submission were recomputed.

    Raises
    ------
    InputError
        If the receipt is broken, or that of another submission.
    """
    file = kept.with_name(kept.stem + RECEIPT)
    if not file.is_file():
        return frozenset()
    value = read_json(file)
    digests = value.get("recomputed")
    if (
        (value.get("format"), value.get("submission")) != (RECEIPT_FORMAT, submission.digest)
        or not isinstance(digests, list)
        or not all(isinstance(each, str) for each in digests)
    ):
        raise InputError(f"{file}: not the receipt of {kept.name}; delete it, and add the submission again")
    return frozenset(digests)


def usable_receipt(kept: Path, submission: Submission, above: Path, left_out: list[str]) -> frozenset[str]:
    """Return what `read_receipt` does, or nothing where the receipt cannot be used, which is added to `left_out`.

    Parameters
    ----------
    above : the folder from which the receipt's path is given.
    """
    try:
        return read_receipt(kept, submission)
    except InputError as error:
        file = kept.with_name(kept.stem + RECEIPT)
        left_out.append(str(error).replace(str(file), file.relative_to(above).as_posix(), 1))
        return frozenset()


def evidence_of(record: Record, recomputed: frozenset[str]) -> Evidence:
    """Return the evidence of a record of a submission, from the digests that its receipt holds."""
    if record.provenance.predictions_digest not in recomputed:
        return SELF_REPORTED
    return Evidence("recomputed", record.value_names)


def added_lines(submission: Submission, checked: Checked) -> list[str]:
    """Say how many records were added and recomputed, and which files the others and their probes would need."""
    count = len(submission.records)
    lines = [f"{count} record{'s' * (count != 1)} added, {len(checked.records)} recomputed from predictions"]
    for place, record in enumerate(submission.records):
        system = record.system
        seed = "" if system.seed is None else f", seed {system.seed}"
        what = f"'{system.name}' at {system.snr:g} dB, fold {system.fold}{seed}"
        if place not in checked.records:
            files = ", ".join(
                f"{name} (SHA-256 {digest[:12]})" for name, digest in record.provenance.predictions.items()
            )
            lines.append(f"not recomputed: {what}; needs {files}")
        missing = [each for each in record.probes if (place, (each.probe, each.value)) not in checked.probes]
        if missing:
            conditions = ", ".join(probe_folder(each.probe, each.value) for each in missing)
            lines.append(f"not recomputed: probes of {what}; needs their predictions, {conditions}")
    return lines


def remove(workspace: Path, dataset: Dataset, row: Row, progress: Progress = SILENT) -> None:
    """Remove a row from the leaderboard: the submission that it came in, or the record of a third party's predictions.

    Raises
    ------
    InputError
        If the row is of runs that were trained in this workspace.
    """
    if row.kind == "run":
        run = next(iter(row.conditions.values())).records[0].provenance.run or ""
        raise InputError(
            f"--remove '{row.name}': was trained in this workspace; delete its folder {Path(run).parents[2]}"
        )
    if row.submission:
        for file in kept_submissions(workspace, dataset.name):
            try:
                submission = read_submission(file)
            except InputError:  # has no rows, which is said with the leaderboard that is left
                continue
            if not submission.digest.startswith(row.submission):
                continue
            names = dict.fromkeys(record.system.name for record in submission.records)
            file.unlink()
            file.with_name(file.stem + RECEIPT).unlink(missing_ok=True)
            progress.say(f"{file}: removed, with its row{'s' * (len(names) > 1)} {', '.join(names)}")
        return
    name = next(iter(row.conditions.values())).records[0].system.name
    folder = workspace / "runs" / dataset.name / name_folder(name)
    shutil.rmtree(folder)
    progress.say(f"{folder}: removed")


def own_predictions(workspace: Path, dataset: Dataset) -> dict[str, tuple[Path, ...]]:
    """Return the folders of predictions of this workspace's runs on a data set, by the digest of their files."""
    folders = sorted(path for path in (workspace / "runs" / dataset.name).rglob("predictions") if path.is_dir())
    found: dict[str, tuple[Path, ...]] = {}
    for folder in folders:
        try:
            found.setdefault(files_digest(digests_of([folder])), (folder,))
        except InputError:
            continue
    return found
