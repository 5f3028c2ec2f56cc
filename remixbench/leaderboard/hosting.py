"""Other people's rows: the submissions of a workspace, and receipts of which values were recomputed.

    submissions/<dataset>/<digest>.json     a submission that was added, as it was read
    receipts/<digest>.json                  which of its values were recomputed in this workspace
    receipts/key                            signs the receipts, so that those of another workspace count for nothing

Submissions lie where others can write, such as a folder of pull requests; receipts are looked up in the host's own
workspace alone.
"""

from __future__ import annotations

import hmac
import json
import secrets
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.probes import probe_folder
from remixbench.errors import InputError
from remixbench.files import read_bytes, read_json, write_json, write_text
from remixbench.leaderboard.discover import name_folder
from remixbench.leaderboard.record import SELF_REPORTED, Evidence, Record, digests_of, files_digest, probe_value
from remixbench.leaderboard.rows import Row
from remixbench.leaderboard.submission import OtherFormatError, Submission, read_submission
from remixbench.progress import SILENT, Progress

RECEIPT_FORMAT = "remixbench receipt"

Verified = Sequence[frozenset[str]]
"""Per record of a submission, the names of the values that were recomputed here, as in `Evidence`."""


def receipt_file(workspace: Path, digest: str) -> Path:
    """Return where the receipt of a submission lies."""
    return workspace / "receipts" / f"{digest[:16]}.json"


def read_submissions(folder: Path, above: Path, left_out: list[str]) -> list[tuple[Path, Submission]]:
    """Read every submission in a folder and its subfolders, with its file; other JSON files are skipped.

    Parameters
    ----------
    left_out : gets a line for each submission that cannot be read, with its path from `above`.
    """
    submissions = []
    for file in sorted(folder.rglob("*.json")):
        try:
            submissions.append((file, read_submission(file)))
        except OtherFormatError:
            continue
        except InputError as error:
            left_out.append(str(error).replace(str(file), file.relative_to(above).as_posix(), 1))
    return submissions


def store_submission(workspace: Path, dataset: str, file: Path, submission: Submission, verified: Verified) -> None:
    """Store a submission among those whose rows are shown, and write its receipt."""
    kept = workspace / "submissions" / dataset / f"{submission.digest[:16]}.json"
    if not kept.is_file():
        write_json(kept, read_json(file))
    write_receipt(workspace, submission, verified)


def write_receipt(workspace: Path, submission: Submission, verified: Verified) -> None:
    """Write which values of a submission were recomputed, unless its receipt says so already."""
    file = receipt_file(workspace, submission.digest)
    content = {
        "format": RECEIPT_FORMAT,
        "submission": submission.digest,
        "verified": [sorted(names) for names in verified],
    }
    if any(verified):
        key = workspace / "receipts" / "key"
        if not key.is_file():
            write_text(key, secrets.token_hex(32) + "\n")
            key.chmod(0o600)
        signed = content | {"signature": _signature(key, content)}
        if not (file.is_file() and read_json(file) == signed):
            write_json(file, signed)


def read_receipt(workspace: Path, submission: Submission) -> Verified:
    """Return which values of a submission were recomputed in this workspace.

    Raises
    ------
    InputError
        If its receipt is broken, of another submission, or was not written by this workspace.
    """
    file, key = receipt_file(workspace, submission.digest), workspace / "receipts" / "key"
    if not file.is_file():
        return [frozenset()] * len(submission.records)
    content = read_json(file)
    signature, verified = content.pop("signature", None), content.get("verified")
    if (
        (content.get("format"), content.get("submission")) != (RECEIPT_FORMAT, submission.digest)
        or not key.is_file()
        or not hmac.compare_digest(str(signature).encode(), _signature(key, content).encode())
        or not isinstance(verified, list)
        or len(verified) != len(submission.records)
    ):
        raise InputError(f"{file}: not a receipt of this workspace; delete it, and add the submission again")
    return [frozenset(names) for names in verified]


def _signature(key: Path, content: Mapping[str, Any]) -> str:
    data = json.dumps(content, sort_keys=True).encode()
    return hmac.new(read_bytes(key), data, "sha256").hexdigest()


def merged(first: Verified, second: Verified) -> Verified:
    """Return the values that were recomputed in either of two verifications."""
    return [values | more for values, more in zip(first, second, strict=True)]


def evidence_of(submission: Submission, verified: Verified) -> list[Evidence]:
    """Return the evidence of every record of a submission."""
    return [
        Evidence("recomputed", names) if names & record.metrics.keys() else replace(SELF_REPORTED, verified=names)
        for record, names in zip(submission.records, verified, strict=True)
    ]


def kept_evidence(workspace: Path, submission: Submission, left_out: list[str]) -> list[Evidence]:
    """Return the evidence of every record by the submission's receipt; an unusable one is added to `left_out`."""
    try:
        return evidence_of(submission, read_receipt(workspace, submission))
    except InputError as error:
        left_out.append(str(error).replace(f"{workspace.as_posix()}/", "", 1))
        return [SELF_REPORTED] * len(submission.records)


def added_lines(submission: Submission, verified: Verified) -> list[str]:
    """Say how many records were added and recomputed, and which files the others and their probes would need."""
    evidence = evidence_of(submission, verified)
    count, recomputed = len(submission.records), sum(state.state == "recomputed" for state in evidence)
    lines = [f"{count} record{'s' * (count != 1)} added, {recomputed} recomputed from predictions"]
    for record, state in zip(submission.records, evidence, strict=True):
        what = record_name(record)
        if state.state != "recomputed":
            files = ", ".join(
                f"{name} (SHA-256 {digest[:12]})" for name, digest in record.provenance.predictions.items()
            )
            lines.append(f"not recomputed: {what}; needs {files}")
        elif values := [name for name in record.metrics if not state.covers(name)]:
            lines.append(f"not verified: {', '.join(values)} of {what}; cannot be computed with what is here")
        missing = [
            probe_folder(probe.probe, probe.value)
            for probe in record.probes
            if not all(state.covers(probe_value(probe.probe, probe.value, name)) for name in probe.metrics)
        ]
        if missing:
            lines.append(f"not recomputed: probes of {what}; needs their predictions, {', '.join(missing)}")
    return lines


def record_name(record: Record) -> str:
    """Return what a record is of, for messages."""
    system = record.system
    seed = "" if system.seed is None else f", seed {system.seed}"
    return f"'{system.name}' at {system.snr:g} dB, fold {system.fold}{seed}"


def remove_row(workspace: Path, dataset: Dataset, row: Row, progress: Progress = SILENT) -> None:
    """Remove a row from the leaderboard: its submission, or the record of a third party's predictions.

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
        for file, submission in submissions_of(workspace, dataset, row):
            names = dict.fromkeys(record.system.name for record in submission.records)
            file.unlink()
            receipt_file(workspace, submission.digest).unlink(missing_ok=True)
            progress.say(f"{file}: removed, with its row{'s' * (len(names) > 1)} {', '.join(names)}")
        return
    name = next(iter(row.conditions.values())).records[0].system.name
    folder = workspace / "runs" / dataset.name / name_folder(name)
    shutil.rmtree(folder)
    progress.say(f"{folder}: removed")


def submissions_of(workspace: Path, dataset: Dataset, row: Row) -> list[tuple[Path, Submission]]:
    """Return the submission of a row, with its file; empty if the row was not submitted."""
    folder = workspace / "submissions" / dataset.name
    return [
        (file, submission)
        for file, submission in read_submissions(folder, workspace, [])
        if row.submission and submission.digest.startswith(row.submission)
    ]


def own_predictions(workspace: Path, dataset: Dataset, digests: Collection[str]) -> list[tuple[Path, ...]]:
    """Return the folders of predictions of this workspace's runs whose digest is among `digests`."""
    kept: dict[str, tuple[Path, ...]] = {}
    for folder in sorted((workspace / "runs" / dataset.name).rglob("predictions")):
        if folder.is_dir():
            try:
                kept.setdefault(files_digest(digests_of([folder])), (folder,))
            except InputError:
                continue
    return [paths for digest, paths in kept.items() if digest in digests]
