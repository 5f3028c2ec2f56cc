"""From records to rows: which records are one row, what it is called, and the mean of its metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remixbench.leaderboard.record import OURS, Evidence, Flag, Record
from remixbench.leaderboard.rows import Condition, Estimate, Row
from remixbench.scoring.bootstrap import FoldRuns, Runs, limited, mean_interval, mean_over_folds, standard_deviation
from remixbench.scoring.metrics import metric_range

Shown = tuple[str, str, float, int]
"""A record's predictions (digest), name, SNR and fold."""


@dataclass(frozen=True)
class Group:
    """The records of one row and their evidence, one each.

    `submission` names the submission that they came in, "" for this workspace's own.
    """

    submission: str
    records: tuple[Record, ...]
    evidence: tuple[Evidence, ...]


def group_records(
    records: Sequence[Record], submission: str = "", evidence: Sequence[Evidence] | None = None
) -> list[Group]:
    """Gather records into rows: those whose systems differ only in SNR, fold and seed are one row.

    Flags may differ, since some concern the clips of a fold; systems differ by their settings. `evidence` has one entry
    per record; by default all are this workspace's own.
    """
    gathered: dict[str, list[tuple[Record, Evidence]]] = {}
    for pair in zip(records, [OURS] * len(records) if evidence is None else evidence, strict=True):
        system = pair[0].system.model_dump(mode="json", exclude={"snr", "fold", "seed", "flags"})
        gathered.setdefault(json.dumps(system, sort_keys=True), []).append(pair)
    return [
        Group(submission, tuple(record for record, _ in pairs), tuple(state for _, state in pairs))
        for pairs in gathered.values()
    ]


Submitted = tuple[str, Sequence[Record], Sequence[Evidence]]
"""The digest of a submission, its records and their evidence."""


def group_submissions(submissions: Sequence[Submitted], own: Iterable[Record] = ()) -> list[Group]:
    """Gather the records of submissions into rows.

    The same predictions are shown once per name, wherever they come from and whatever seeds they claim: this
    workspace's `own` first, then recomputed ones, so that nobody can displace a row by naming its predictions, or pass
    one training off as many. Self-reported records that differ are all kept. The same predictions under two names are
    two rows.
    """
    shown = {shown_as(record) for record in own}
    owners: dict[Shown, str] = {}
    for digest, records, evidence in submissions:
        for record, state in zip(records, evidence, strict=True):
            if state.state == "recomputed" and shown_as(record) not in shown:
                owners.setdefault(shown_as(record), digest)
    claims: set[str] = set()
    groups: list[Group] = []
    for digest, records, evidence in submissions:
        kept: dict[str, tuple[Record, Evidence]] = {}
        recomputed_first = sorted(zip(records, evidence, strict=True), key=lambda pair: pair[1].state != "recomputed")
        for record, state in recomputed_first:
            known_as, claim = shown_as(record), _claim(record)
            is_owner = state.state == "recomputed" and owners.get(known_as) == digest
            is_shown = known_as in shown or claim in claims or (known_as in owners and not is_owner)
            if not is_shown and identity(record) not in kept:
                kept[identity(record)] = record, state
                claims.add(claim)
                if is_owner:
                    shown.add(known_as)
        chosen = {id(record) for record, _ in kept.values()}
        pairs = [pair for pair in zip(records, evidence, strict=True) if id(pair[0]) in chosen]
        groups += group_records([record for record, _ in pairs], digest[:8], [state for _, state in pairs])
    return groups


def _claim(record: Record) -> str:
    """Return what a self-reported record claims: what it is known by, and its metrics."""
    return json.dumps([shown_as(record), record.metrics, record.per_class], sort_keys=True)


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
        system = group.records[0].system
        conditions = {}
        pairs = sorted(
            zip(group.records, group.evidence, strict=True),
            key=lambda pair: (pair[0].system.fold, pair[0].system.seed or 0),
        )
        for snr in sorted({record.system.snr for record in group.records}):
            of_snr = [pair for pair in pairs if pair[0].system.snr == snr]
            conditions[snr] = make_condition(snr, [record for record, _ in of_snr], [state for _, state in of_snr])
        rows.append(
            Row(
                name=name,
                kind="added" if group.submission else system.kind,
                system=system.registry_name,
                settings=system.settings,
                flags=_flags_of(group.records),
                conditions=conditions,
                plain=system.name == system.registry_name,
                submission=group.submission,
            )
        )
    return rows


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
    names = []
    for group in groups:
        system = group.records[0].system
        alike = [other for other in groups if other.records[0].system.name == system.name]
        beside = [other for other in alike if bool(other.submission) == bool(group.submission)]
        differing = [
            f"{key.replace('_', ' ')} {_shown(value, DIGITS if key.endswith('digest') else LONGEST)}"
            for key, value in system.settings.items()
            if any(other.records[0].system.settings.get(key) != value for other in beside)
        ]
        if group.submission and len({other.submission for other in alike}) > 1:
            differing.append(group.submission)
        names.append(f"{system.name} ({', '.join(differing)})" if differing else system.name)
    return [
        name if names.count(name) == 1 else f"{name} #{names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]


def _shown(value: Any, longest: int) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(letter if letter.isprintable() else " " for letter in text[:longest])


def make_condition(snr: float, records: Sequence[Record], evidence: Sequence[Evidence] = ()) -> Condition:
    """Average the records of one row at one SNR; `evidence` has one entry per record, or none if all are our own."""
    metrics = {}
    for name in dict.fromkeys(name for record in records for name in record.metrics):
        estimate = _estimate(name, records)
        if estimate is not None:
            metrics[name] = replace(estimate, verified=all(state.covers(name) for state in evidence))
    per_class = _mean_values([(record.system.fold, record.per_class) for record in records])
    own = all(state.state == "ours" for state in evidence)
    by_snr = _mean_values([(record.system.fold, record.by_snr) for record in records]) if own else {}
    return Condition(snr, metrics, per_class, tuple(records), evidence=tuple(evidence), by_snr=by_snr)


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
    values = {
        fold: [value for record in of_fold if (value := record.metrics.get(name)) is not None]
        for fold, of_fold in by_fold(records).items()
    }
    if sum(map(len, values.values())) < len(records):
        return None
    mean = mean_over_folds(values)
    if len(records) == 1:
        low, high = records[0].intervals.get(name) or (None, None)
        return Estimate(mean, low, high)
    runs = metric_runs(name, records)
    interval = None if runs is None else mean_interval(runs)
    low, high = (None, None) if interval is None else limited(interval.ends, *metric_range(name))
    return Estimate(mean, low, high, standard_deviation(values))


def by_fold(records: Sequence[Record]) -> dict[int, list[Record]]:
    """Return the records of each fold, folds ascending."""
    folds: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.system.fold):
        folds.setdefault(record.system.fold, []).append(record)
    return folds


def runs_by_fold(
    records: Sequence[Record], values: Sequence[float | None], samples: Sequence[NDArray[np.floating] | None]
) -> Runs | None:
    """Return a value of every record and its bootstrap samples, by fold; None where one is missing.

    Parameters
    ----------
    samples : (resamples,) of each record.
    """
    if any(sample is None or not len(sample) for sample in samples) or any(value is None for value in values):
        return None
    if len({len(sample) for sample in samples if sample is not None}) != 1:
        return None
    folds: dict[int, list[int]] = {}
    for place, record in enumerate(records):
        folds.setdefault(record.system.fold, []).append(place)
    return {
        fold: FoldRuns(
            np.array([values[place] for place in places], np.float64),
            np.array([samples[place] for place in places], np.float64),
            records[places[0]].provenance.groups,
        )
        for fold, places in sorted(folds.items())
    }


def metric_runs(name: str, records: Sequence[Record]) -> Runs | None:
    """Return a metric of every record, by fold; None where one lacks it or its bootstrap samples."""
    return runs_by_fold(
        records, [record.metrics.get(name) for record in records], [record.samples(name) for record in records]
    )
