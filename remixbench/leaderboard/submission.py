"""Figures as one small file that another installation checks and adds to its leaderboard.

    {"format": "remixbench submission", "version": 1, "dataset": ..., "recipe": ..., "manifest_digest": ...,
     "records": [the metrics.json of every run], "digest": SHA-256 of all the rest as compact JSON with sorted keys}

The digest finds what was changed by mistake or by hand; who forges the digest as well is found where the predictions
are at hand, since their figures are then computed again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.files import read_json, sha256, write_json, write_text
from remixbench.leaderboard.measure import Task, Truth, digests_of, make_record, truth_of
from remixbench.leaderboard.names import check_name
from remixbench.leaderboard.record import METRICS, Record, files_digest, parse_record, read_record, unpack
from remixbench.progress import SILENT, Progress
from remixbench.scoring import SCORING_VERSION
from remixbench.scoring.io import MAPS

FORMAT = "remixbench submission"
VERSION = 1
KEYS = ("format", "version", "dataset", "recipe", "manifest_digest", "records", "digest")
TOLERANCE = 1e-9
DRAW_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Submission:
    """What a submission says, checked against its own digest."""

    dataset: str
    manifest_digest: str
    records: tuple[Record, ...]
    digest: str


def folder_of(workspace: Path, dataset: str) -> Path:
    """Return where added submissions of a data set lie."""
    return workspace / "submissions" / dataset


def write_submission(file: Path, dataset: Dataset, records: Sequence[Record]) -> str:
    """Write records as a submission; returns its digest."""
    if not records:
        raise InputError(f"{file}: nothing to submit; score a run or predictions first")
    ordered = sorted(
        records, key=lambda r: (r.entry.name, r.entry.snr, r.entry.fold, r.entry.seed or 0, r.made_from.run or "")
    )
    body: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": dataset.name,
        "recipe": dataset.recipe.name,
        "manifest_digest": dataset.manifest_digest,
        "records": [record.as_json() for record in ordered],
    }
    digest = digest_of(body)
    text = json.dumps(body | {"digest": digest}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_text(file, text + "\n")
    return digest


def digest_of(body: dict[str, Any]) -> str:
    """Return the digest of all that a submission says but the digest itself."""
    rest = {key: value for key, value in body.items() if key != "digest"}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


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
        digest = digest_of(body)
    except ValueError:
        digest = "none: it holds numbers that are not finite"
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
        if record.made_from.manifest_digest != body["manifest_digest"]:
            raise InputError(f"{file}: records.{place}: is of another manifest than the submission says")
    return Submission(str(body["dataset"]), str(body["manifest_digest"]), tuple(records), digest)


def check_submission(submission: Submission, file: Path, dataset: Dataset, truths: dict[int, Truth]) -> None:
    """Check that a submission's figures are on the clips and labels of a data set here.

    Raises
    ------
    InputError
        If they are on another manifest, other labels, or of another scoring version, or a stranger's predictions
        are named like a system.
    """
    if submission.manifest_digest != dataset.manifest_digest:
        raise InputError(
            f"{file}: is on another manifest ({submission.dataset}, {submission.manifest_digest[:12]}) than the data"
            f" set '{dataset.name}' ({dataset.manifest_digest[:12]}); choose the data set with --dataset"
        )
    from remixbench.systems.registry import list_systems

    for place, record in enumerate(submission.records):
        made, where = record.made_from, f"{file}: records.{place}"
        if record.entry.kind == "predictions":
            check_name(record.entry.name, list_systems(), where)
        if made.scoring_version != SCORING_VERSION:
            raise InputError(
                f"{where}: is of scoring version {made.scoring_version}, this is {SCORING_VERSION}; ask for a"
                " submission made with the same version"
            )
        truth = truths.get(record.entry.fold) or truth_of(dataset, record.entry.fold)
        truths[record.entry.fold] = truth
        if made.reference_digest != truth.digest:
            raise InputError(
                f"{where}: was scored against other labels of fold {record.entry.fold} than those of {dataset.path};"
                " one of the two data sets was not made from the published sources"
            )


def check_figures(
    submission: Submission,
    file: Path,
    dataset: Dataset,
    evidence: Sequence[tuple[Path, ...]],
    truths: dict[int, Truth],
    progress: Progress = SILENT,
) -> set[int]:
    """Compute figures again where the predictions are at hand, and compare.

    Parameters
    ----------
    evidence : files and folders of predictions, together what one record or more was made from.

    Returns
    -------
    The places of the records that were found right.

    Raises
    ------
    InputError
        If a figure is not what the predictions give, or a piece of evidence belongs to no record.
    """
    checked: set[int] = set()
    for paths in evidence:
        digests, path = digests_of(paths), paths[0]
        digest = files_digest(digests)
        mine = {k: each for k, each in enumerate(submission.records) if each.made_from.predictions_digest == digest}
        if not mine:
            raise InputError(f"{path}: no record of {file} was made from it (digest {digest[:12]})")
        for record in mine.values():
            progress.say(f"{path}: computing the figures of '{record.entry.name}' again")
            task = Task(record.entry, paths, path)
            truth = truths[record.entry.fold]
            compare_records(record, make_record(dataset, truth, task, record.made_from.resamples, digests), file)
        checked |= mine.keys()
    return checked


def pieces(submission: Submission, given: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Return predictions as `check_figures` takes them: together where a record was made from all, else one by one."""
    if len({path.name for path in given}) == len(given) > 1:
        whole = files_digest(digests_of(given))
        if any(record.made_from.predictions_digest == whole for record in submission.records):
            return [tuple(given)]
    return [(path,) for path in given]


def compare_records(claimed: Record, computed: Record, file: Path) -> None:
    """Fail if a claimed figure is not the computed one.

    Raises
    ------
    InputError
        With the first figure that differs.
    """
    # without stems here nobody can say how good the maps are
    unknown_here = MAPS in computed.made_from.predictions and "mask_f1" not in computed.figures
    for name in dict.fromkeys([*claimed.figures, *computed.figures]):
        there, here = claimed.figures.get(name), computed.figures.get(name)
        if unknown_here and name.startswith("mask_"):
            continue
        if not _close(there, here):
            raise InputError(
                f"{file}: '{claimed.entry.name}' at {claimed.entry.snr:g} dB: {name} is {_shown(there)}, but its"
                f" predictions give {_shown(here)}; nothing was added"
            )
    for name, classes in computed.per_class.items():
        for label, here in classes.items():
            if not _close(claimed.per_class.get(name, {}).get(label), here):
                raise InputError(f"{file}: '{claimed.entry.name}': {name} of {label} is not what its predictions give")
    for name, ends in computed.intervals.items():
        said = claimed.intervals.get(name)
        if (said is None) != (ends is None) or (
            said is not None and ends is not None and not all(map(_close, said, ends))
        ):
            raise InputError(f"{file}: '{claimed.entry.name}': interval of {name} is not what its predictions give")
    if not _same_draws(claimed, computed):
        raise InputError(f"{file}: '{claimed.entry.name}': its draws are not what its predictions give")


def _same_draws(first: Record, second: Record) -> bool:
    """Compare draws to what float32 keeps, as another machine may sum in another order."""
    return first.draws.keys() == second.draws.keys() and all(
        np.allclose(unpack(text), unpack(second.draws[name]), rtol=0, atol=DRAW_TOLERANCE, equal_nan=True)
        for name, text in first.draws.items()
    )


def _close(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return abs(first - second) <= TOLERANCE


def _shown(value: float | None) -> str:
    return "missing" if value is None else f"{value:.6g}"


def add(
    workspace: Path,
    dataset: Dataset,
    submission: Submission,
    file: Path,
    evidence: Sequence[tuple[Path, ...]],
    progress: Progress = SILENT,
) -> Path:
    """Check a submission and put it with those whose rows stand in the leaderboard; returns its place.

    Records of this workspace that were made from the same predictions serve as evidence as well.
    """
    truths: dict[int, Truth] = {}
    check_submission(submission, file, dataset, truths)
    checked = check_figures(submission, file, dataset, evidence, truths, progress)
    for own in own_records(workspace, dataset):
        for place, record in enumerate(submission.records):
            if _same_work(record, own):
                compare_records(record, own, file)
                checked.add(place)
    kept = folder_of(workspace, dataset.name) / f"{submission.digest[:16]}.json"
    if not kept.is_file():
        write_json(kept, read_json(file))
    progress.say(
        f"{file}: {len(submission.records)} records added; {len(checked)} of them checked against predictions, of the"
        " others only that they are as they were written"
    )
    return kept


def _same_work(record: Record, own: Record) -> bool:
    return (
        record.made_from.predictions_digest == own.made_from.predictions_digest
        and record.made_from.resamples == own.made_from.resamples
        and (record.entry.snr, record.entry.fold) == (own.entry.snr, own.entry.fold)
    )


def own_records(workspace: Path, dataset: Dataset) -> list[Record]:
    """Return the records of this workspace that are on the data set and readable."""
    records = []
    for file in sorted((workspace / "runs" / dataset.name).rglob(METRICS)):
        try:
            record = read_record(file)
        except InputError:
            continue
        if (
            record.made_from.manifest_digest == dataset.manifest_digest
            and record.made_from.scoring_version == SCORING_VERSION
        ):
            records.append(record)
    return records
