"""A row of the leaderboard: one system in one setting, its metrics at each SNR, its probes and its cost; and chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from remixbench.leaderboard.record import Cost, Evidence, Flag, Record, State, probe_value, weakest

Tested = tuple[tuple[int, ...], int]
"""Folds tested on, and the number of their clips."""


@dataclass(frozen=True)
class Estimate:
    """A metric averaged over runs.

    Attributes
    ----------
    value : the mean over folds of the mean over each fold's seeds
    low, high : 95 % interval of the mean, over recordings and, where there are several, seeds
    std : standard deviation over seeds within folds, or over folds where there is one seed; None for one run
    best : whether no row that was tested on the same clips is significantly better
    at_chance : whether the value, or the lower end of its interval where it has one, is not above chance
    verified : whether it was computed in this workspace, for every run; False for what is only submitted
    """

    value: float
    low: float | None = None
    high: float | None = None
    std: float | None = None
    best: bool = False
    verified: bool = True
    at_chance: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the values that are defined."""
        return self.numbers() | {"best": self.best, "at_chance": self.at_chance}

    def numbers(self) -> dict[str, Any]:
        """Return the value, its interval and its standard deviation, as far as they are defined."""
        numbers = {"value": self.value, "low": self.low, "high": self.high, "std": self.std}
        return {key: number for key, number in numbers.items() if number is not None}


@dataclass(frozen=True)
class Probes:
    """Micro-AP of a row's runs at one SNR under other conditions.

    Attributes
    ----------
    shifts : seconds by which the test clips of any fold were rolled; empty where no shift keeps every event whole, None
        where that was not probed
    shifted : micro-AP by the shifts that all folds have
    tested : micro-AP by the SNR tested at in dB, other than the row's
    mean : micro-AP, mean over each fold's shifts; None where a fold has none
    difference : `mean` minus the micro-AP of the clips as they are, with its paired interval; None where that is
        undefined
    """

    shifts: tuple[float, ...] | None
    shifted: dict[float, Estimate]
    tested: dict[float, Estimate]
    mean: Estimate | None = None
    difference: Estimate | None = None

    @property
    def worst(self) -> tuple[float, Estimate] | None:
        """The shift with the lowest micro-AP, and its micro-AP."""
        return min(self.shifted.items(), key=lambda pair: pair[1].value, default=None)

    def as_dict(self) -> dict[str, Any]:
        """Return the probes that were made as plain values."""
        probes: dict[str, Any] = {}
        if self.shifts is not None:
            probes["shift"] = {
                "shifts": list(self.shifts),
                "by_shift": [{"shift": shift} | estimate.numbers() for shift, estimate in self.shifted.items()],
            }
        if self.mean is not None:
            probes["shift"]["mean"] = self.mean.numbers()
        if self.worst is not None:
            probes["shift"]["worst"] = {"shift": self.worst[0]} | self.worst[1].numbers()
        if self.difference is not None:
            probes["shift"]["difference"] = self.difference.numbers()
        if self.tested:
            probes["snr"] = [{"tested": snr} | estimate.numbers() for snr, estimate in self.tested.items()]
        return probes

    def tidy(self) -> Iterator[tuple[str, Estimate]]:
        """Yield the name and value of each metric, as in `Leaderboard.to_dataframe`."""
        for name, estimate in (
            ("micro_ap_shifted", self.mean),
            ("micro_ap_shifted_worst", None if self.worst is None else self.worst[1]),
            ("micro_ap_shifted_difference", self.difference),
            *((probe_value("shift", shift, "micro_ap"), value) for shift, value in self.shifted.items()),
            *((probe_value("snr", snr, "micro_ap"), value) for snr, value in self.tested.items()),
        ):
            if estimate is not None:
                yield name, estimate


@dataclass(frozen=True)
class Condition:
    """A row's metrics at one SNR, the records that they are the mean of, and their probes.

    `evidence` has one entry per record, or none if all are this workspace's own. `by_snr` are metrics per bin of SNRs,
    where these differ between clips and all records are our own.
    """

    snr: float
    metrics: dict[str, Estimate]
    per_class: dict[str, dict[str, float]]
    records: tuple[Record, ...]
    probes: Probes | None = None
    evidence: tuple[Evidence, ...] = ()
    by_snr: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """What its metrics are: "ours", "recomputed" or "self-reported"; the weakest of its records."""
        return weakest(self.evidence)

    def verified(self, value: str) -> bool:
        """Say whether a value was computed in this workspace for every record; names are those of `Evidence`."""
        return all(evidence.covers(value) for evidence in self.evidence)

    @property
    def not_verified(self) -> tuple[str, ...]:
        """The names of the values that were not computed in this workspace, sorted."""
        names = {name for record in self.records for name in record.value_names}
        return tuple(sorted(name for name in names if not self.verified(name)))

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds tested on."""
        return tuple(sorted({record.system.fold for record in self.records}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds trained with; empty for a third party's predictions."""
        return tuple(sorted({record.system.seed for record in self.records if record.system.seed is not None}))

    @property
    def clips(self) -> int:
        """Number of clips scored, each counted once, however many seeds."""
        return sum({record.system.fold: record.provenance.clips for record in self.records}.values())

    @property
    def tested(self) -> Tested:
        """Folds and number of clips; rows are ranked and compared only where these are the same."""
        return self.folds, self.clips

    @property
    def one_training(self) -> bool:
        """Whether every fold has one training, so that the spread between trainings is unknown."""
        return len(self.records) == len(self.folds)

    @cached_property
    def cost(self) -> Cost:
        """The mean cost of a run."""
        return mean_cost(self.records)


@dataclass(frozen=True)
class Row:
    """One system in one setting.

    Attributes
    ----------
    name : what to call it
    kind : "run", "predictions", "added" for a submitted row, or "ideal" for what needs only stems
    system : the registered system that it is a run of, if any
    settings : what it was trained with
    flags : what a reader has to know before comparing it
    conditions : by SNR in dB
    plain : whether it is the unmodified system: all of the training clips, no option changed
    submission : the first digits of the submission's digest, "" if it was not submitted
    """

    name: str
    kind: str
    system: str | None
    settings: dict[str, Any]
    flags: tuple[Flag, ...]
    conditions: dict[float, Condition]
    plain: bool
    submission: str = ""

    @property
    def evidence(self) -> State:
        """What its metrics are: "ours", "recomputed" or "self-reported"; the weakest of its SNRs.

        Names, settings, flags, cost and pretraining of a submitted row are as submitted, in any state.
        """
        return weakest(state for condition in self.conditions.values() for state in condition.evidence)

    @property
    def pretrained_on(self) -> tuple[str, ...]:
        """The data sets that a frozen encoder of it was trained on; empty where it has none."""
        systems = (record.system for condition in self.conditions.values() for record in condition.records)
        return tuple(dict.fromkeys(name for system in systems for name in system.pretrained_on))

    @property
    def cost(self) -> Cost:
        """The mean cost of a run, over all SNRs."""
        return mean_cost([record for condition in self.conditions.values() for record in condition.records])

    def estimate(self, snr: float, metric: str) -> Estimate | None:
        """Return a metric at an SNR, or None where the row has none."""
        return self.conditions[snr].metrics.get(metric) if snr in self.conditions else None


Values = Mapping[str, float]


@dataclass(frozen=True)
class Chance:
    """What a constant score gives: its metrics, and the average precision of each class, by fold."""

    by_fold: Mapping[int, Values] = field(default_factory=dict)
    classes_by_fold: Mapping[int, Values] = field(default_factory=dict)

    def metrics(self, folds: Sequence[int]) -> dict[str, float]:
        """Return the mean over folds of every metric; empty where one of the folds is not known."""
        return _mean_over_folds(self.by_fold, folds)

    def classes(self, folds: Sequence[int]) -> dict[str, float]:
        """Return the mean over folds of the average precision of each class."""
        return _mean_over_folds(self.classes_by_fold, folds)


def _mean_over_folds(values: Mapping[int, Values], folds: Sequence[int]) -> dict[str, float]:
    if not folds or any(fold not in values for fold in folds):
        return {}
    names = dict.fromkeys(name for fold in folds for name in values[fold])
    by_name = {name: [values[fold][name] for fold in folds if name in values[fold]] for name in names}
    return {name: float(np.mean(of_folds)) for name, of_folds in by_name.items()}


@dataclass(frozen=True)
class RowColumn:
    """A column of texts about a row, in every format.

    Attributes
    ----------
    key : what CSV, JSON and `Leaderboard.to_dataframe` call it
    heading : of tables and the page, which show it if a row has a text
    texts : of a row; a list in JSON, elsewhere joined with "; "
    """

    key: str
    heading: str
    texts: Callable[[Row], tuple[str, ...]]


ROW_COLUMNS = (RowColumn("pretrained_on", "pretrained on", lambda row: row.pretrained_on),)


def about_row(row: Row) -> dict[str, tuple[str, ...]]:
    """Return the texts of every `RowColumn` by its key."""
    return {column.key: column.texts(row) for column in ROW_COLUMNS}


def value_state(condition: Condition, verified: bool) -> State:
    """Return the evidence of a single value of a row at one SNR."""
    if not verified:
        return "self-reported"
    return "ours" if condition.state == "ours" else "recomputed"


def tested_alike(rows: Sequence[Row], snrs: Sequence[float]) -> list[tuple[tuple[Tested, ...], list[Row]]]:
    """Group rows by what they were tested on at some SNRs, the largest group first.

    Rows without a condition at these SNRs are left out. A row that was tested on different clips at different SNRs is
    grouped with rows tested on the same.
    """
    groups: dict[tuple[Tested, ...], list[Row]] = {}
    for row in rows:
        tested = {row.conditions[snr].tested for snr in snrs if snr in row.conditions}
        if tested:
            groups.setdefault(tuple(sorted(tested)), []).append(row)

    def order(group: tuple[tuple[Tested, ...], list[Row]]) -> tuple[int, int]:
        tested, rows = group
        return -sum(row.kind != "ideal" for row in rows), -max(clips for _, clips in tested)

    return sorted(groups.items(), key=order)


def mean_cost(records: Sequence[Record]) -> Cost:
    """Return the mean of the records' reported costs; of texts, such as the device, every one."""
    costs = [record.cost for record in records]
    reported = {
        name: [value for cost in costs if (value := getattr(cost, name)) is not None] for name in Cost.model_fields
    }
    return Cost(**{name: _mean_or_all(values) for name, values in reported.items() if values})


def _mean_or_all(values: Sequence[Any]) -> Any:
    """Return the mean of numbers, rounded where they are whole; or distinct texts, joined."""
    if isinstance(values[0], str):
        return "; ".join(dict.fromkeys(values))[:200]
    mean = float(np.mean(values))
    return round(mean) if isinstance(values[0], int) else mean
