"""Scored records as one small file that another installation checks and adds to its leaderboard.

    {"format": "remixbench submission", "version": 2, "dataset": ..., "recipe": ..., "manifest_digest": ...,
     "records": [the metrics.json of every run], "digest": SHA-256 of all the rest as compact JSON with sorted keys}

The digest reveals any change after writing. A forged digest is found where the predictions are available, since the
metrics are then recomputed (see submission_checks.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.files import content_digest, read_json, write_text
from remixbench.leaderboard.record import Record, parse_record

FORMAT = "remixbench submission"
VERSION = 2
KEYS = ("format", "version", "dataset", "recipe", "manifest_digest", "records", "digest")


@dataclass(frozen=True)
class Submission:
    """The content of a submission, checked against its own digest."""

    dataset: str
    recipe: str
    manifest_digest: str
    records: tuple[Record, ...]
    digest: str


def write_submission(file: Path, dataset: Dataset, records: Sequence[Record]) -> str:
    """Write records as a submission; returns its digest."""
    if not records:
        raise InputError(f"{file}: nothing to submit; score a run or predictions first")
    ordered = sorted(
        records, key=lambda r: (r.system.name, r.system.snr, r.system.fold, r.system.seed or 0, r.provenance.run or "")
    )
    body: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": dataset.name,
        "recipe": dataset.recipe.name,
        "manifest_digest": dataset.manifest_digest,
        "records": [record.as_json() for record in ordered],
    }
    digest = content_digest(body)
    text = json.dumps(body | {"digest": digest}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_text(file, text + "\n")
    return digest


def read_submission(file: Path) -> Submission:
    """Read a submission and check it in itself.

    Raises
    ------
    InputError
        If it is none, was changed after it was written, or contradicts itself.
    """
    body = read_json(file)
    if body.get("format") != FORMAT or body.get("version") != VERSION:
        raise InputError(
            f"{file}: not a submission of version {VERSION} (format {body.get('format')!r}, version"
            f" {body.get('version')!r}); `remixbench score --submission FILE` writes one"
        )
    if set(body) != set(KEYS) or not isinstance(body["records"], list) or not body["records"]:
        raise InputError(f"{file}: expected the keys {', '.join(KEYS)} and one record or more; ask for the file again")
    try:
        digest = content_digest(body)
    except ValueError:
        digest = "none: it holds NaN or infinity"
    if body["digest"] != digest:
        raise InputError(
            f"{file}: was changed after it was written (digest {digest[:12]}, it says {str(body['digest'])[:12]});"
            " ask for the file again"
        )
    records = []
    for place, value in enumerate(body["records"]):
        if not isinstance(value, dict):
            raise InputError(f"{file}: records.{place}: expected an object; ask for the file again")
        records.append(parse_record(value, f"{file}: records.{place}"))
    for place, record in enumerate(records):
        if record.provenance.manifest_digest != body["manifest_digest"]:
            raise InputError(f"{file}: records.{place}: is of another manifest than the submission says")
    return Submission(str(body["dataset"]), str(body["recipe"]), str(body["manifest_digest"]), tuple(records), digest)
