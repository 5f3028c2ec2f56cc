"""Checks of a submission: may it stand in the leaderboard of a data set, and are its metrics what its predictions give?

Metrics, intervals and bootstrap samples are computed again wherever the predictions are available; predictions are
matched to records and probes by their digest. A record is never checked against another record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from remixbench.dataset.probes import Probe
from remixbench.errors import InputError
from remixbench.leaderboard.discover import check_name
from remixbench.leaderboard.evaluate_run import References, Task, make_record, why_incompatible
from remixbench.leaderboard.evaluate_separation import separation_of
from remixbench.leaderboard.probe_records import ProbePredictions, run_probes, score_probes
from remixbench.leaderboard.record import ProbeRecord, Record, digests_of, files_digest, unpack
from remixbench.leaderboard.submission import Submission
from remixbench.parallel import Workers
from remixbench.progress import SILENT, Progress
from remixbench.scoring.io_maps import MAPS
from remixbench.scoring.metrics import metrics_shown

SEPARATION = [metric.name for metric in metrics_shown("separation")]
TOLERANCE = 1e-9
SAMPLE_TOLERANCE = 1e-6

ProbeCondition = tuple[Probe, float]


@dataclass(frozen=True)
class Checked:
    """What of a submission was recomputed: the places of its records, and of their probes place and condition."""

    records: frozenset[int]
    probes: frozenset[tuple[int, ProbeCondition]]


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
    workers: Workers,
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
    probes: set[tuple[int, ProbeCondition]] = set()
    for paths in evidence:
        digests, path = digests_of(paths), paths[0]
        digest = files_digest(digests)
        mine = {k: each for k, each in enumerate(submission.records) if each.provenance.predictions_digest == digest}
        for record in mine.values():
            progress.say(f"{path}: recomputing the metrics of '{record.system.name}'")
            task = Task(record.system, paths, path)
            fold, made = references.fold(record.system.fold), record.provenance
            snr = record.system.snr
            separation = separation_of(references.dataset, fold.reference, snr, paths, workers, progress)
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
) -> set[tuple[int, ProbeCondition]]:
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
