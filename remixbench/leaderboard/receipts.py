"""The submissions of a workspace, and receipts of which of their values were recomputed.

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from remixbench.errors import InputError
from remixbench.files import read_bytes, read_json, write_json, write_text
from remixbench.leaderboard.record import SELF_REPORTED, Entry, Evidence, Record
from remixbench.leaderboard.submission import OtherFormatError, Submission, read_submission

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
        try:
            written = file.is_file() and read_json(file) == signed
        except InputError:  # broken: it is written again
            written = False
        if not written:
            write_json(file, signed)


def read_receipt(workspace: Path, submission: Submission) -> Verified:
    """Return which values of a submission were recomputed in this workspace.

    InputError if its receipt is broken, of another submission, or was not written by this workspace.
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


def with_receipt(workspace: Path, submission: Submission, verified: Verified) -> Verified:
    """Return which values were recomputed now, `verified`, or before; an unusable receipt counts for nothing."""
    try:
        receipt = read_receipt(workspace, submission)
    except InputError:
        return verified
    return [now | before for now, before in zip(verified, receipt, strict=True)]


def entries_of(submission: Submission, verified: Verified) -> list[Entry]:
    """Return the records of a submission, each with its evidence."""
    return [
        Entry(record, Evidence("recomputed" if names & record.metrics.keys() else "self-reported", names))
        for record, names in zip(submission.records, verified, strict=True)
    ]


def kept_entries(workspace: Path, submission: Submission, left_out: list[str]) -> list[Entry]:
    """Return the records of a submission by its receipt; an unusable receipt is added to `left_out`."""
    try:
        return entries_of(submission, read_receipt(workspace, submission))
    except InputError as error:
        left_out.append(str(error).replace(f"{workspace.as_posix()}/", "", 1))
        return [Entry(record, SELF_REPORTED) for record in submission.records]


def record_name(record: Record) -> str:
    """Return what a record is of, for messages."""
    system = record.system
    seed = "" if system.seed is None else f", seed {system.seed}"
    return f"'{system.name}' at {system.snr:g} dB, fold {system.fold}{seed}"
