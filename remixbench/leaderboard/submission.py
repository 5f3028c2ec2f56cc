"""Scored records in one small file, which another installation checks and recomputes from the predictions.

    {"format": "remixbench submission", "version": 2, "dataset": ..., "recipe": ..., "manifest_digest": ...,
     "records": [the metrics.json of every run], "digest": SHA-256 of all the rest as compact JSON with sorted keys}

The digest reveals a later change, not a forgery. So nothing in a submission is believed: a value is verified once it
has been recomputed from the predictions, which are matched to records and probes by their digests. Records are never
checked against each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationError

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.info import check_dataset_name
from remixbench.dataset.probes import probe_shifts
from remixbench.errors import InputError
from remixbench.files import content_digest, read_json, write_text
from remixbench.leaderboard.discover import run_probes
from remixbench.leaderboard.evaluate import (
    ProbePredictions,
    References,
    Task,
    make_record,
    score_probes,
    why_incompatible,
)
from remixbench.leaderboard.record import (
    DECLARED,
    SCORING_SETTINGS,
    Digest,
    Frozen,
    Name,
    ProbeRecord,
    Record,
    check_system_name,
    class_values,
    digests_of,
    files_digest,
    parse_record,
    probe_value,
    unpack,
)
from remixbench.leaderboard.separation import against_stems, separation_of
from remixbench.parallel import Workers
from remixbench.progress import Progress
from remixbench.schemas import first_problem
from remixbench.scoring.metrics import METRICS

FORMAT = "remixbench submission"
MAX_RECORDS = 10_000
MAX_BYTES = 256 << 20
"""The largest submission: some 2,000 records with 41 classes and 1,000 bootstrap samples."""
MAX_BOOTSTRAP = 10_000
"""The most bootstrap samples of a record, so that any host can recompute it."""
TOLERANCE = 1e-9
SAMPLE_TOLERANCE = 1e-6
COUNTS = ("clips", "groups", "bootstrap_seed")
"""Fields of a record's provenance that are compared in addition to its settings."""
LATER_SETTINGS = ("sebb_step_frames",)
"""Scoring settings that follow from others and that records made before they existed lack."""


class OtherFormatError(InputError):
    """A JSON file is not a submission."""


Verdict = Literal["agrees", "differs", "not computed"]


class _File(Frozen):
    """A submission before its records are parsed."""

    format: Literal["remixbench submission"]
    version: Literal[2]
    dataset: Annotated[Name, AfterValidator(check_dataset_name)]
    recipe: Name
    manifest_digest: Digest
    records: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_RECORDS)]
    digest: str


@dataclass(frozen=True)
class Submission:
    """The content of a submission, checked against its own digest."""

    dataset: str
    recipe: str
    manifest_digest: str
    records: tuple[Record, ...]
    digest: str


@dataclass(frozen=True)
class Value:
    """A value of a record, as submitted and as recomputed here.

    Attributes
    ----------
    record : place of the record in its submission
    name : of the value, as in `Evidence`
    submitted, computed : the value where it is one number
    verdict : whether the two agree, or it could not be computed here
    why : what differs, or why it was not computed
    """

    record: int
    name: str
    submitted: float | None
    computed: float | None
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Verification:
    """A submitted row, recomputed: what agrees, value by value.

    Attributes
    ----------
    row : its name
    records : what each record is of, by its place in the submission
    values : every value that was submitted or could be computed
    """

    row: str
    records: Mapping[int, str]
    values: tuple[Value, ...]

    @property
    def agrees(self) -> bool:
        """Whether no value differs from what the predictions give."""
        return all(value.verdict != "differs" for value in self.values)


def write_submission(file: Path, dataset: Dataset, records: Sequence[Record]) -> str:
    """Write records as a submission; returns its digest.

    InputError if there are none, or one has more bootstrap samples than a submission may have.
    """
    if not records:
        raise InputError(f"{file}: nothing to submit; score a run or predictions first")
    if max(record.provenance.resamples for record in records) > MAX_BOOTSTRAP:
        raise InputError(
            f"{file}: records have too many bootstrap samples; score with --bootstrap {MAX_BOOTSTRAP} or less"
        )
    ordered = sorted(
        records, key=lambda r: (r.system.name, r.system.snr, r.system.fold, r.system.seed or 0, r.provenance.run or "")
    )
    body: dict[str, Any] = {
        "format": FORMAT,
        "version": 2,
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
    """Read a submission and check that it is well-formed.

    InputError if it is not a submission (`OtherFormatError`), was changed after it was written, contradicts itself, or
    uses a name that is reserved for systems or for rows that remixbench makes.
    """
    from remixbench.systems.registry import list_systems

    body = read_json(file, MAX_BYTES)
    if body.get("format") != FORMAT or body.get("version") != 2:
        kind = InputError if body.get("format") == FORMAT else OtherFormatError
        raise kind(
            f"{file}: not a submission of version 2 (format {_short(body.get('format'))}, version"
            f" {_short(body.get('version'))}); `remixbench score --submission FILE` writes one"
        )
    try:
        content = _File.model_validate(body)
        digest = content_digest(body)
    except ValidationError as error:
        raise InputError(f"{file}: {first_problem(error, _File)}; ask for the file again") from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}: holds NaN or infinity, or is nested too deeply; ask for the file again") from None
    if content.digest != digest:
        raise InputError(
            f"{file}: was changed after it was written (digest {digest[:12]}, it says {content.digest[:12]});"
            " ask for the file again"
        )
    records = tuple(parse_record(value, f"{file}: records.{k}") for k, value in enumerate(content.records))
    taken = list_systems()
    references: dict[int, str] = {}
    for index, record in enumerate(records):
        place, system, provenance = f"{file}: records.{index}", record.system, record.provenance
        if system.kind == "ideal":
            raise InputError(f"{place}: '{system.name}' is an ideal mask, which every workspace makes for itself")
        check_system_name(system.registry_name or system.name, [] if system.kind == "run" else taken, place)
        if provenance.manifest_digest != content.manifest_digest:
            raise InputError(f"{place}: is on another manifest than the submission says")
        if provenance.audio_digest != records[0].provenance.audio_digest:
            raise InputError(f"{place}: is on other audio than the records before it; a submission is on one data set")
        if references.setdefault(system.fold, provenance.reference_digest) != provenance.reference_digest:
            raise InputError(f"{place}: is on other labels of fold {system.fold} than a record before it")
        if provenance.resamples > MAX_BOOTSTRAP:
            raise InputError(f"{place}: has {provenance.resamples} bootstrap samples, expected at most {MAX_BOOTSTRAP}")
    return Submission(content.dataset, content.recipe, content.manifest_digest, records, digest)


def _short(value: Any) -> str:
    return repr(value)[:40]


def check_submission(submission: Submission, file: Path, references: References) -> None:
    """Check that a submission was scored on the clips and labels of a data set.

    InputError if it is on another manifest, SNR, audio or other labels, or of another scoring version.
    """
    dataset = references.dataset
    if submission.manifest_digest != dataset.manifest_digest:
        raise InputError(
            f"{file}: is on another manifest ({submission.dataset}, {submission.manifest_digest[:12]}) than the data"
            f" set '{dataset.name}' ({dataset.manifest_digest[:12]}); choose the data set with --dataset"
        )
    for index, record in enumerate(submission.records):
        if why := why_unfit(record, references):
            raise InputError(f"{file}: records.{index}: '{record.system.name}' {why}")


def why_unfit(record: Record, references: References) -> str:
    """Say why a submitted record may not stand in the table of a data set; empty where it may."""
    if why := why_incompatible(record, references):
        return why.replace("score it again", "ask for a submission that fits")
    dataset, fold = references.dataset, record.system.fold
    clips = len(references.fold(fold).reference.filenames)
    if record.provenance.clips != clips:
        return f"has {record.provenance.clips} clips, but fold {fold} has {clips}"
    for classes in record.per_class.values():
        if other := sorted(classes.keys() - {*dataset.classes}):
            return f"has values of '{other[0]}', which is not a class of the data set"
    for probe in record.probes:
        if probe.probe == "snr" and probe.value not in dataset.snrs:
            return f"was tested at {probe.value:g} dB, which the data set does not have"
    if record.shifts is not None and record.shifts != (expected := probe_shifts(dataset, fold)):
        probed, those = (
            ", ".join(f"{shift:g}" for shift in seconds) or "none" for seconds in (record.shifts, expected)
        )
        return f"was tested on clips rolled by {probed} s, but the shifts of fold {fold} are {those}"
    return ""


def verify_submission(
    submission: Submission,
    file: Path,
    references: References,
    evidence: Sequence[tuple[Path, ...]],
    workers: Workers,
    progress: Progress,
) -> list[Value]:
    """Recompute what can be recomputed of a submission, and compare value by value.

    InputError if a piece of evidence is broken, or belongs to no record.

    Parameters
    ----------
    evidence : sets of files and folders of predictions; each set is what one or more records, or the score of a probe,
        were made from. With the predictions of a run, those of its probes are used as well.

    Returns
    -------
    Every value that a record with evidence has, or that its predictions give; none of records without evidence.
    """
    values: list[Value] = []
    for paths in evidence:
        digests, path = digests_of(paths), paths[0]
        digest = files_digest(digests)
        indices = [
            index for index, record in enumerate(submission.records) if record.provenance.predictions_digest == digest
        ]
        for index in indices:
            record = submission.records[index]
            fold, snr = references.fold(record.system.fold), record.system.snr
            stems = against_stems(references.dataset, fold.reference, snr, paths)
            if stems.why_nothing:
                progress.say(f"{path}: not computed again: {stems.why_nothing}")
                continue
            progress.say(f"{path}: recomputing the metrics of '{record.system.name}'")
            separation = separation_of(references.dataset, fold.reference, snr, paths, workers, progress)
            task, resamples = Task(record.system, paths, path), record.provenance.resamples
            computed = make_record(references.dataset, fold, task, resamples, digests, separation)
            values += compare_records(index, record, computed, of_maps=stems.separated)
        of_probes = list(_verify_probes(submission, references, path, digest))
        if not indices and not of_probes:
            raise InputError(f"{path}: no record of {file} was made from it (digest {digest[:12]})")
        values += of_probes
        for probe_path in run_probes(path.parent).files.values() if indices and path.is_dir() else ():
            probe_digest = files_digest(digests_of([probe_path]))
            values += _verify_probes(submission, references, probe_path, probe_digest)
    return values


def _verify_probes(submission: Submission, references: References, path: Path, digest: str) -> Iterator[Value]:
    """Recompute the probes that were scored from the predictions with this digest."""
    for index, record in enumerate(submission.records):
        for claimed in record.probes:
            if claimed.predictions_digest == digest:
                predictions = ProbePredictions(files={(claimed.probe, claimed.value): path})
                reference, provenance = references.fold(record.system.fold).reference, record.provenance
                (computed,) = score_probes(reference, predictions, provenance.resamples, provenance.bootstrap_seed)
                yield from compare_probes(index, claimed, computed)


def verified_values(submission: Submission, values: Sequence[Value]) -> tuple[frozenset[str], ...]:
    """Return, per record, the names of the values that were recomputed and agree."""
    agreed: list[set[str]] = [set() for _ in submission.records]
    for value in values:
        if value.verdict == "agrees":
            agreed[value.record].add(value.name)
    return tuple(map(frozenset, agreed))


def compare_records(index: int, claimed: Record, computed: Record, *, of_maps: bool) -> list[Value]:
    """Compare a record with what its predictions give, every value that either has.

    Parameters
    ----------
    of_maps : whether the predictions hold maps or waveforms; some of their metrics need stems that may not be here.
    """
    values = []
    for name in dict.fromkeys([*claimed.metrics, *computed.metrics]):
        missing = name not in computed.metrics and _may_be_missing(name, of_maps=of_maps)
        verdict = _verdict(_metric_difference(name, claimed, computed), missing=missing, declared=name in DECLARED)
        values.append(Value(index, name, claimed.metrics.get(name), computed.metrics.get(name), *verdict))
    for name in dict.fromkeys([*claimed.per_class, *computed.per_class]):
        missing = name not in computed.per_class and _may_be_missing(name, of_maps=of_maps)
        verdict = _verdict(_class_difference(name, claimed, computed), missing=missing)
        values.append(Value(index, class_values(name), None, None, *verdict))
    return [*values, _compare_settings(index, claimed, computed, of_maps=of_maps)]


def _compare_settings(index: int, claimed: Record, computed: Record, *, of_maps: bool) -> Value:
    """Compare how the metrics were computed, and on how many clips and recordings."""
    theirs, ours = claimed.settings, json.loads(json.dumps(computed.settings))  # with lists for tuples, as in a file
    compared = dict.fromkeys([*theirs, *(key for key in ours if key not in LATER_SETTINGS)])
    missing = object()
    settings = [key for key in compared if theirs.get(key, missing) != ours.get(key, missing)]
    counts = [key for key in COUNTS if getattr(claimed.provenance, key) != getattr(computed.provenance, key)]
    of_stems = of_maps and bool(settings) and not counts and ours.keys().isdisjoint(settings)
    differing = [*settings, *counts]
    why = f"'{differing[0]}' of its settings is not what its predictions are scored with" if differing else ""
    return Value(index, SCORING_SETTINGS, None, None, *_verdict(why, missing=of_stems))


def compare_probes(index: int, claimed: ProbeRecord, computed: ProbeRecord) -> Iterator[Value]:
    """Compare the score of a probe with what its predictions give, every metric that either has."""
    for name in dict.fromkeys([*claimed.metrics, *computed.metrics]):
        same = _agree(name, claimed.metrics, computed.metrics)
        same = same and _agree(name, claimed.bootstrap_samples, computed.bootstrap_samples, SAMPLE_TOLERANCE)
        why = "" if same else f"probe {claimed.probe} {claimed.value:g} is not what its predictions give"
        value_name = probe_value(claimed.probe, claimed.value, name)
        yield Value(index, value_name, claimed.metrics.get(name), computed.metrics.get(name), *_verdict(why))


def _may_be_missing(name: str, *, of_maps: bool) -> bool:
    """Say whether an honest record can have a metric that is not computed here: of stems, or of another version."""
    return name not in METRICS or (of_maps and any("stems" in need for need in METRICS[name].needs))


def _verdict(difference: str, *, missing: bool = False, declared: bool = False) -> tuple[Verdict, str]:
    """Return the verdict of a comparison, and why; `difference` says what differs."""
    if missing:
        return "not computed", "cannot be computed with what is here"
    if difference:
        return "differs", difference
    if declared:
        return "not computed", "is computed from counts that its maps.npz declares"
    return "agrees", ""


def _metric_difference(name: str, claimed: Record, computed: Record) -> str:
    """Say how a metric, its interval or its samples differ from those computed here; empty if they do not."""
    if not _agree(name, claimed.metrics, computed.metrics):
        values = [record.metrics.get(name) for record in (claimed, computed)]
        texts = ["missing" if value is None else f"{value:.6g}" for value in values]
        return f"{name} is {texts[0]}, but its predictions give {texts[1]}"
    if not _agree(name, claimed.intervals, computed.intervals):
        return f"interval of {name} is not what its predictions give"
    if not _agree(name, claimed.bootstrap_samples, computed.bootstrap_samples, SAMPLE_TOLERANCE):
        return f"its bootstrap samples of {name} are not what its predictions give"
    return ""


def _class_difference(name: str, claimed: Record, computed: Record) -> str:
    """Say for which class a metric differs from that computed here; empty if for none."""
    theirs, ours = claimed.per_class.get(name, {}), computed.per_class.get(name, {})
    for label in dict.fromkeys([*theirs, *ours]):
        if not _agree(label, theirs, ours):
            return f"{name} of {label} is not what its predictions give"
    return ""


def _agree(key: str, first: Mapping[str, Any], second: Mapping[str, Any], tolerance: float = TOLERANCE) -> bool:
    """Say whether two mappings agree on a key, or both lack it: on a number, the ends of an interval, samples or None.

    Samples agree to float32 precision, as another machine may sum in another order.
    """
    if key not in first or key not in second:
        return (key in first) == (key in second)
    ours, theirs = (
        np.asarray(unpack(value) if isinstance(value, str) else np.nan if value is None else value, np.float64)
        for value in (first[key], second[key])
    )
    return ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)
