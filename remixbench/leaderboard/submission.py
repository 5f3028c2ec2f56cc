"""Scored records as one small file that another installation checks and adds to its leaderboard.

    {"format": "remixbench submission", "version": 2, "dataset": ..., "recipe": ..., "manifest_digest": ...,
     "records": [the metrics.json of every run], "digest": SHA-256 of all the rest as compact JSON with sorted keys}

The digest finds what was changed by mistake or by hand. Whoever forges the digest as well is found where the
predictions are available, since their metrics are then computed again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.probes import Probe, probe_folder
from remixbench.errors import InputError
from remixbench.files import content_digest, read_json, write_json, write_text
from remixbench.leaderboard.discover import check_name, name_folder
from remixbench.leaderboard.evaluate_run import References, Task, make_record, why_incompatible
from remixbench.leaderboard.evaluate_separation import separation_of
from remixbench.leaderboard.leaderboard import Row
from remixbench.leaderboard.probe_records import ProbePredictions, run_probes, score_probes
from remixbench.leaderboard.record import ProbeRecord, Record, digests_of, files_digest, parse_record, unpack
from remixbench.parallel import Workers
from remixbench.progress import SILENT, Progress
from remixbench.scoring.io_maps import MAPS
from remixbench.scoring.metrics import metrics_shown

FORMAT = "remixbench submission"
VERSION = 2
KEYS = ("format", "version", "dataset", "recipe", "manifest_digest", "records", "digest")
SEPARATION = [metric.name for metric in metrics_shown("separation")]
TOLERANCE = 1e-9
SAMPLE_TOLERANCE = 1e-6
RECEIPT = ".recomputed.json"
RECEIPT_FORMAT = "remixbench receipt"


@dataclass(frozen=True)
class Submission:
    """The content of a submission, checked against its own digest."""

    dataset: str
    recipe: str
    manifest_digest: str
    records: tuple[Record, ...]
    digest: str


Condition = tuple[Probe, float]


@dataclass(frozen=True)
class Checked:
    """What of a submission was recomputed: the places of its records, and of their probes place and condition."""

    records: frozenset[int]
    probes: frozenset[tuple[int, Condition]]


def submissions_folder(workspace: Path, dataset: str) -> Path:
    """Return where added submissions of a data set lie."""
    return workspace / "submissions" / dataset


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


def check_submission(submission: Submission, file: Path, references: References) -> None:
    """Check that a submission's metrics are on the clips and labels of a data set here.

    Raises
    ------
    InputError
        If they are on another manifest, SNR or other labels, or of another scoring version, or a third party's
        predictions are named like a system.
    """
    from remixbench.systems.registry import list_systems

    dataset = references.dataset
    if submission.manifest_digest != dataset.manifest_digest:
        raise InputError(
            f"{file}: is on another manifest ({submission.dataset}, {submission.manifest_digest[:12]}) than the data"
            f" set '{dataset.name}' ({dataset.manifest_digest[:12]}); choose the data set with --dataset"
        )
    for place, record in enumerate(submission.records):
        where = f"{file}: records.{place}"
        if record.system.kind == "predictions":
            check_name(record.system.name, list_systems(), where)
        if why := why_incompatible(record, references):
            raise InputError(
                f"{where}: '{record.system.name}' {why.replace('score it again', 'ask for a submission that fits')}"
            )


def check_metrics(
    submission: Submission,
    file: Path,
    references: References,
    evidence: Sequence[tuple[Path, ...]],
    progress: Progress = SILENT,
) -> Checked:
    """Compute metrics again where the predictions are available, and compare; predictions are matched by their digest.

    Parameters
    ----------
    evidence : files and folders of predictions, together what one record or more, or the score of a probe, was made
        from; with the predictions of a run those of its probes are used as well.

    Raises
    ------
    InputError
        If a metric is not what the predictions give, or a piece of evidence belongs to no record.
    """
    records: set[int] = set()
    probes: set[tuple[int, Condition]] = set()
    for paths in evidence:
        digests, path = digests_of(paths), paths[0]
        digest = files_digest(digests)
        mine = {k: each for k, each in enumerate(submission.records) if each.provenance.predictions_digest == digest}
        for record in mine.values():
            progress.say(f"{path}: recomputing the metrics of '{record.system.name}'")
            task = Task(record.system, paths, path)
            fold, made = references.fold(record.system.fold), record.provenance
            snr = record.system.snr
            separation = separation_of(references.dataset, fold.reference, snr, paths, Workers(), progress)
            computed = make_record(references.dataset, fold, task, made.resamples, digests, separation)
            compare_records(record, computed, file)
        records |= mine.keys()
        matched = _check_probes(submission, file, references, path, digest)
        if not mine and not matched:
            raise InputError(f"{path}: no record of {file} was made from it (digest {digest[:12]})")
        probes |= matched
        run = run_probes(path.parent) if mine and path.is_dir() else None
        for each in () if run is None else run.files.values():
            probes |= _check_probes(submission, file, references, each, files_digest(digests_of([each])))
    return Checked(frozenset(records), frozenset(probes))


def _check_probes(
    submission: Submission, file: Path, references: References, path: Path, digest: str
) -> set[tuple[int, Condition]]:
    """Recompute the probes that were scored from the predictions with a digest; returns their record and condition."""
    checked = set()
    for place, record in enumerate(submission.records):
        made = record.provenance
        for claim in record.probes:
            if claim.predictions_digest == digest:
                condition = claim.probe, claim.value
                predictions = ProbePredictions(files={condition: path})
                reference = references.fold(record.system.fold).reference
                (computed,) = score_probes(reference, predictions, made.resamples, made.bootstrap_seed)
                compare_probes(record, claim, computed, file)
                checked.add((place, condition))
    return checked


def pieces(submission: Submission, given: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Return predictions as `check_metrics` takes them.

    Those that are not of a probe together, where a record was made from all of them; else one by one.
    """
    of_probes = {probe.predictions_digest for record in submission.records for probe in record.probes}
    rest = [path for path in given if files_digest(digests_of([path])) not in of_probes]
    if len({path.name for path in rest}) == len(rest) > 1:
        whole = files_digest(digests_of(rest))
        if any(record.provenance.predictions_digest == whole for record in submission.records):
            return [tuple(rest), *((path,) for path in given if path not in rest)]
    return [(path,) for path in given]


def compare_records(claimed: Record, computed: Record, file: Path) -> None:
    """Fail if a claimed metric is not the computed one.

    Raises
    ------
    InputError
        With the first metric that differs.
    """
    # without stems here, metrics of maps cannot be computed
    separated_here = "sdr" in computed.metrics
    unknown_here = MAPS in computed.provenance.predictions and "mask_f1" not in computed.metrics
    for name in dict.fromkeys([*claimed.metrics, *computed.metrics]):
        there, here = claimed.metrics.get(name), computed.metrics.get(name)
        if (unknown_here and name.startswith("mask_")) or (not separated_here and name in SEPARATION):
            continue
        if not _close(there, here):
            raise InputError(
                f"{file}: '{claimed.system.name}' at {claimed.system.snr:g} dB: {name} is {_shown(there)}, but its"
                f" predictions give {_shown(here)}; nothing was added"
            )
    for name, classes in computed.per_class.items():
        for label, here in classes.items():
            if not _close(claimed.per_class.get(name, {}).get(label), here):
                raise InputError(f"{file}: '{claimed.system.name}': {name} of {label} is not what its predictions give")
    for name, ends in computed.intervals.items():
        claim = claimed.intervals.get(name)
        if (claim is None) != (ends is None) or (
            claim is not None and ends is not None and not all(map(_close, claim, ends))
        ):
            raise InputError(f"{file}: '{claimed.system.name}': interval of {name} is not what its predictions give")
    if not _same_samples(claimed, computed):
        raise InputError(f"{file}: '{claimed.system.name}': its bootstrap samples are not what its predictions give")


def compare_probes(record: Record, claimed: ProbeRecord, computed: ProbeRecord, file: Path) -> None:
    """Fail if a claimed score of a record's probe is not the computed one.

    Raises
    ------
    InputError
        Naming the condition.
    """
    same = claimed.metrics.keys() == computed.metrics.keys() and all(
        _close(value, claimed.metrics[name]) for name, value in computed.metrics.items()
    )
    if not same or not _same_samples(claimed, computed):
        raise InputError(
            f"{file}: '{record.system.name}' at {record.system.snr:g} dB: probe {claimed.probe} {claimed.value:g}"
            " is not what its predictions give; nothing was added"
        )


def _same_samples(first: Record | ProbeRecord, second: Record | ProbeRecord) -> bool:
    """Compare bootstrap samples to what float32 keeps, as another machine may sum in another order."""
    return first.bootstrap_samples.keys() == second.bootstrap_samples.keys() and all(
        np.allclose(unpack(text), unpack(second.bootstrap_samples[name]), rtol=0, atol=SAMPLE_TOLERANCE, equal_nan=True)
        for name, text in first.bootstrap_samples.items()
    )


def _close(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return abs(first - second) <= TOLERANCE


def _shown(value: float | None) -> str:
    return "missing" if value is None else f"{value:.6g}"


def add(
    workspace: Path,
    references: References,
    submission: Submission,
    file: Path,
    evidence: Sequence[tuple[Path, ...]],
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
    checked = check_metrics(submission, file, references, [*evidence, *found], progress)
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
    """Return the digests of the predictions from which records of a kept submission were recomputed."""
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
        raise InputError(f"{file}: not the receipt of {kept}; delete it, and add the submission again")
    return frozenset(digests)


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
        for file in sorted(submissions_folder(workspace, dataset.name).glob("*.json")):
            if file.name.endswith(RECEIPT) or not read_submission(file).digest.startswith(row.submission):
                continue
            names = dict.fromkeys(record.system.name for record in read_submission(file).records)
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
