"""From records to rows: which records are one row, what it is called, and the means of its metrics and probes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from remixbench.dataset.probes import Probe
from remixbench.leaderboard.evaluate import METRIC
from remixbench.leaderboard.record import Entry, Flag, ProbeRecord, Record, probe_value, unpack
from remixbench.leaderboard.rows import Condition, Estimate, Probes, Row
from remixbench.scoring.bootstrap import FoldRuns, Runs, limited, mean_interval, standard_deviation
from remixbench.scoring.metrics import metric_range
from remixbench.scoring.types import FloatArray

Shown = tuple[str, str, float, int]
"""A record's predictions (digest), name, SNR and fold."""
Scored = tuple[float, FloatArray | None]
"""A value and its bootstrap samples, (resamples,)."""


@dataclass(frozen=True)
class Group:
    """The records of one row; `submission` names the submission that they came in, "" for this workspace's own."""

    submission: str
    entries: tuple[Entry, ...]


def group_records(entries: Iterable[Entry], submission: str = "") -> list[Group]:
    """Gather records into rows: those whose systems differ only in SNR, fold and seed are one row.

    Flags may differ, since some concern the clips of a fold; systems differ by their settings.
    """
    gathered: dict[str, list[Entry]] = {}
    for entry in entries:
        system = entry.record.system.model_dump(mode="json", exclude={"snr", "fold", "seed", "flags"})
        gathered.setdefault(json.dumps(system, sort_keys=True), []).append(entry)
    return [Group(submission, tuple(alike)) for alike in gathered.values()]


Submitted = tuple[str, Sequence[Entry]]
"""The digest of a submission, and its records."""


def group_submissions(submissions: Sequence[Submitted], records: Iterable[Record] = ()) -> list[Group]:
    """Gather the records of submissions into rows.

    The same predictions are shown once per name, wherever they come from and whatever seeds they claim: those of
    this workspace's `records`, which have rows already, then recomputed ones, so that nobody can displace a row by
    naming its predictions, or pass one training off as many. Self-reported records that differ are all kept. The same
    predictions under two names are two rows.
    """
    shown = {shown_as(record) for record in records}
    owners: dict[Shown, str] = {}
    for digest, entries in submissions:
        for entry in entries:
            if entry.evidence.state == "recomputed" and shown_as(entry.record) not in shown:
                owners.setdefault(shown_as(entry.record), digest)
    claims: set[str] = set()
    groups: list[Group] = []
    for digest, entries in submissions:
        indices: dict[str, int] = {}
        recomputed_first = sorted(enumerate(entries), key=lambda pair: pair[1].evidence.state != "recomputed")
        for index, entry in recomputed_first:
            record, predictions = entry.record, shown_as(entry.record)
            claim = json.dumps([predictions, record.metrics, record.per_class], sort_keys=True)
            is_owner = entry.evidence.state == "recomputed" and owners.get(predictions) == digest
            is_shown = predictions in shown or claim in claims or (predictions in owners and not is_owner)
            if not is_shown and identity(entry.record) not in indices:
                indices[identity(entry.record)] = index
                claims.add(claim)
                if is_owner:
                    shown.add(predictions)
        groups += group_records([entries[index] for index in sorted(indices.values())], digest[:8])
    return groups


def shown_as(record: Record) -> Shown:
    """Return what a record is known by, however its settings are written."""
    system = record.system
    return record.provenance.predictions_digest, system.name, system.snr, system.fold


def identity(record: Record) -> str:
    """Return the whole description of a record's system, with SNR, fold and seed."""
    return json.dumps(record.system.model_dump(mode="json"), sort_keys=True)


def make_rows(groups: Sequence[Group]) -> list[Row]:
    """Return a row per group of records, its metrics averaged at each SNR."""
    rows = []
    for name, group in zip(_names(groups), groups, strict=True):
        by_snr: dict[float, list[Entry]] = {}
        for entry in sorted(group.entries, key=lambda entry: _order(entry.record)):
            by_snr.setdefault(entry.record.system.snr, []).append(entry)
        system = group.entries[0].record.system
        rows.append(
            Row(
                name=name,
                kind="added" if group.submission else system.kind,
                system=system.registry_name,
                settings=system.settings,
                flags=_flags_of([entry.record for entry in group.entries]),
                conditions={snr: make_condition(snr, entries) for snr, entries in by_snr.items()},
                plain=system.name == system.registry_name,
                submission=group.submission,
            )
        )
    return rows


def _order(record: Record) -> tuple[float, int, int]:
    return record.system.snr, record.system.fold, record.system.seed or 0


def _flags_of(records: Sequence[Record]) -> tuple[Flag, ...]:
    """Return the flags of a row's records; a flag of only some folds names them."""
    folds_of: dict[Flag, set[int]] = {}
    for record in records:
        for flag in record.system.flags:
            folds_of.setdefault(flag, set()).add(record.system.fold)
    everywhere = {record.system.fold for record in records}
    return tuple(
        flag
        if folds == everywhere
        else flag.model_copy(update={"text": f"{flag.text} (fold {', '.join(map(str, sorted(folds)))})"})
        for flag, folds in folds_of.items()
    )


DIGITS, LONGEST = 12, 40
"""The most characters of a digest, and of another setting, in the name of a row."""


def _names(groups: Sequence[Group]) -> list[str]:
    """Give the rows distinct names, by which they can be compared and removed.

    Rows of one name get the settings in which they differ. A submitted row gets its submission's digest where others
    have its name, so that none of this workspace's own rows is renamed.
    """
    submissions: dict[str, set[str]] = {}
    beside: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for group in groups:
        system = group.entries[0].record.system
        submissions.setdefault(system.name, set()).add(group.submission)
        beside.setdefault((system.name, bool(group.submission)), []).append(system.settings)
    differing = {place: _differing(settings) for place, settings in beside.items()}
    names = []
    for group in groups:
        system = group.entries[0].record.system
        marks = [
            f"{key.replace('_', ' ')} {_shown(value, DIGITS if key.endswith('digest') else LONGEST)}"
            for key, value in system.settings.items()
            if key in differing[system.name, bool(group.submission)]
        ]
        if group.submission and len(submissions[system.name]) > 1:
            marks.append(group.submission)
        names.append(f"{system.name} ({', '.join(marks)})" if marks else system.name)
    total, number = Counter(names), Counter[str]()
    for index, name in enumerate(names):
        number[name] += 1
        if total[name] > 1:
            names[index] = f"{name} #{number[name]}"
    return names


def _differing(settings: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the settings that rows do not have in common; one that a row lacks counts as None."""
    first, *others = settings
    return {key for other in others for key in {*first, *other} if first.get(key) != other.get(key)}


def _shown(value: Any, longest: int) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(letter if letter.isprintable() else " " for letter in text[:longest])


def make_condition(snr: float, entries: Sequence[Entry]) -> Condition:
    """Average the records of one row at one SNR."""
    records, evidence = tuple(entry.record for entry in entries), tuple(entry.evidence for entry in entries)
    metrics = {}
    for name in dict.fromkeys(name for record in records for name in record.metrics):
        estimate = _estimate(name, records)
        if estimate is not None:
            metrics[name] = replace(estimate, verified=all(state.covers(name) for state in evidence))
    per_class = _mean_values([(record.system.fold, record.per_class) for record in records])
    ours = all(state.state == "ours" for state in evidence)
    by_snr = _mean_values([(record.system.fold, record.by_snr) for record in records]) if ours else {}
    condition = Condition(snr, metrics, per_class, records, evidence=evidence, by_snr=by_snr)
    return replace(condition, probes=mean_probes(condition))


def _mean_values(
    records: Sequence[tuple[int, Mapping[str, Mapping[str, float | None]]]],
) -> dict[str, dict[str, float]]:
    """Average values by metric and label, (fold, values) of each record, over the seeds of a fold, then over folds."""
    means: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for _, metrics in records for name in metrics):
        values: dict[str, dict[int, list[float]]] = {}
        for fold, metrics in records:
            for label, value in metrics.get(name, {}).items():
                if value is not None:
                    values.setdefault(label, {}).setdefault(fold, []).append(value)
        means[name] = {label: mean_over_folds(by_fold) for label, by_fold in values.items()}
    return means


def _estimate(name: str, records: Sequence[Record]) -> Estimate | None:
    """Average a metric over records; None unless every one of them has it."""
    values = _all_scored(records, name)
    if values is None:
        return None
    if len(records) == 1:
        low, high = records[0].intervals.get(name) or (None, None)
        return Estimate(values[0][0], low, high)
    return _average(records, values, metric_range(name))


def _scored(scores: Record | ProbeRecord, metric: str) -> Scored | None:
    """Return a metric and its bootstrap samples; None where it is undefined."""
    value, samples = scores.metrics.get(metric), scores.bootstrap_samples.get(metric)
    return None if value is None else (value, None if samples is None else unpack(samples).astype(np.float64))


def _all_scored(records: Sequence[Record], metric: str) -> list[Scored] | None:
    """Return a metric of every record; None where one lacks it."""
    scored = [pair for record in records if (pair := _scored(record, metric)) is not None]
    return scored if len(scored) == len(records) else None


def _average(
    records: Sequence[Record], scored: Sequence[Scored], limits: tuple[float, float] = (-np.inf, np.inf)
) -> Estimate:
    """Average a value of every record over seeds, then over folds, with the mean's interval within `limits`."""
    values: dict[int, list[float]] = {}
    for record, (value, _) in zip(records, scored, strict=True):
        values.setdefault(record.system.fold, []).append(value)
    std = standard_deviation(values) if len(records) > 1 else None
    runs = _runs(records, scored)
    interval = None if runs is None else mean_interval(runs)
    low, high = (None, None) if interval is None else limited(interval.ends, *limits)
    return Estimate(mean_over_folds(values), low, high, std)


def mean_over_folds(values: Mapping[int, Sequence[float]]) -> float:
    """Return the mean over folds of the mean over each fold's seeds, from the values of every fold's seeds."""
    return float(np.mean([np.mean(of_seeds) for of_seeds in values.values()]))


def by_fold(records: Sequence[Record]) -> dict[int, list[Record]]:
    """Return the records of each fold, folds ascending."""
    folds: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.system.fold):
        folds.setdefault(record.system.fold, []).append(record)
    return folds


def metric_runs(name: str, records: Sequence[Record]) -> Runs | None:
    """Return a metric of every record, by fold; None where one lacks it or its bootstrap samples."""
    values = _all_scored(records, name)
    return None if values is None else _runs(records, values)


def _runs(records: Sequence[Record], scored: Sequence[Scored]) -> Runs | None:
    """Return a value of every record, by fold; None where bootstrap samples are missing or not equally many."""
    samples = [sample for _, sample in scored if sample is not None and len(sample)]
    if len(samples) < len(records) or len({len(sample) for sample in samples}) > 1:
        return None
    folds: dict[int, list[int]] = {}
    for index, record in enumerate(records):
        folds.setdefault(record.system.fold, []).append(index)
    return {
        fold: FoldRuns(
            np.array([scored[index][0] for index in indices], np.float64),
            np.array([samples[index] for index in indices]),
            records[indices[0]].provenance.groups,
        )
        for fold, indices in sorted(folds.items())
    }


def mean_probes(condition: Condition) -> Probes | None:
    """Average the probes of a row's records at one SNR, over the conditions that all of them have; None without any.

    The mean over the shifts is that of each record's own, since folds can have different ones. Differences are taken
    record by record and bootstrap sample by bootstrap sample, so that their intervals are paired.
    """
    records, limits = condition.records, metric_range(METRIC)
    shifted, tested = ([_probed(record, probe) for record in records] for probe in ("shift", "snr"))
    shifts = None
    if all(record.shifts is not None for record in records):
        shifts = tuple(sorted({value for record in records for value in record.shifts or ()}))
    if shifts is None and not _common(tested):
        return None

    def mean_at(probe: Probe, scored: Sequence[Mapping[float, Scored]]) -> dict[float, Estimate]:
        return {
            value: replace(
                _average(records, [of_record[value] for of_record in scored], limits),
                verified=condition.verified(probe_value(probe, value, METRIC)),
            )
            for value in _common(scored)
        }

    probes = Probes(shifts, {} if shifts is None else mean_at("shift", shifted), mean_at("snr", tested))
    if not shifts or not all(shifted):
        return probes
    means = [_mean([of_record[value] for value in sorted(of_record)]) for of_record in shifted]
    names = {probe_value("shift", value, METRIC) for of_record in shifted for value in of_record}
    verified = all(map(condition.verified, names))
    probes = replace(probes, mean=replace(_average(records, means, limits), verified=verified))
    unmoved = _all_scored(records, METRIC)
    if unmoved is None:
        return probes
    verified = verified and condition.verified(METRIC)
    difference = _average(records, list(map(_minus, means, unmoved)))
    return replace(probes, difference=replace(difference, verified=verified))


def _probed(record: Record, probe: Probe) -> dict[float, Scored]:
    """Return the scores of a record under the conditions of a probe, where they are defined."""
    scores = {probed.value: _scored(probed, METRIC) for probed in record.probes if probed.probe == probe}
    return {value: scored for value, scored in scores.items() if scored is not None}


def _common(scored: Sequence[Mapping[float, Scored]]) -> list[float]:
    """Return the conditions under which every record has a score, ascending."""
    return sorted(set.intersection(*map(set, scored)))


def _mean(scored: Sequence[Scored]) -> Scored:
    samples = [sample for _, sample in scored if sample is not None]
    paired = len(samples) == len(scored) and len({len(sample) for sample in samples}) == 1
    return float(np.mean([value for value, _ in scored])), np.mean(samples, axis=0) if paired else None


def _minus(first: Scored, second: Scored) -> Scored:
    (value, samples), (other_value, other_samples) = first, second
    if samples is None or other_samples is None or len(samples) != len(other_samples):
        return value - other_value, None
    return value - other_value, samples - other_samples
