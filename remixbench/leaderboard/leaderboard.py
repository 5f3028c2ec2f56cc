"""The leaderboard of a data set: each system once, its metrics averaged over folds and seeds, side by side over SNRs.

`Leaderboard.to_dataframe` has everything as a tidy table (one value per row), `Leaderboard.table` one line per system.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError, unknown
from remixbench.leaderboard.averages import by_fold, mean_interval, mean_over_folds, metric_runs, standard_deviation
from remixbench.leaderboard.chance import Chance
from remixbench.leaderboard.published import Published, load_published
from remixbench.leaderboard.record import (
    CHANCE,
    OURS,
    Cost,
    Evidence,
    Flag,
    Record,
    State,
    class_values,
    probe_value,
    weakest,
)
from remixbench.recipe import format_snr
from remixbench.scoring import SCORING_VERSION
from remixbench.scoring.bootstrap import limited
from remixbench.scoring.metrics import METRICS, metric_range, metrics_shown

if TYPE_CHECKING:
    import pandas as pd

TIDY_COLUMNS = (
    "kind", "name", "evidence", "system", "snr", "metric", "class", "value", "low", "high", "std", "folds", "seeds",
    "one_training", "clips", "best", "at_chance", "flags", "comparable", "dataset", "manifest_digest",
    "scoring_version", "source", "parameters", "macs", "training_seconds", "device", "pretrained_on",
    "frozen_parameters", "frozen_macs",
)  # fmt: skip
TRUTHS = ("best", "at_chance", "one_training")
INTEGERS = ("clips", "parameters", "macs", "frozen_parameters", "frozen_macs")
REPR_ROWS = 20

Shown = tuple[str, str, float, int, int | None]
"""A record's predictions (digest), name, SNR, fold and seed."""


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
    at_chance : whether the value is not above chance: its interval, where there is one, begins there or below
    verified : whether it was computed in this workspace, in every run; False for what a submission merely says
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
        known = {"value": self.value, "low": self.low, "high": self.high, "std": self.std}
        defined = {key: value for key, value in known.items() if value is not None}
        return defined | {"best": self.best, "at_chance": self.at_chance}


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
        """The shift with the lowest micro-AP, and that."""
        return min(self.shifted.items(), key=lambda each: each[1].value, default=None)

    def as_dict(self) -> dict[str, Any]:
        """Return both probes as plain values, without one that was not made."""
        known: dict[str, Any] = {}
        if self.shifts is not None:
            known["shift"] = {
                "shifts": list(self.shifts),
                "by_shift": [{"shift": shift} | _bare(each) for shift, each in self.shifted.items()],
            }
        if self.mean is not None:
            known["shift"]["mean"] = _bare(self.mean)
        if self.worst is not None:
            known["shift"]["worst"] = {"shift": self.worst[0]} | _bare(self.worst[1])
        if self.difference is not None:
            known["shift"]["difference"] = _bare(self.difference)
        if self.tested:
            known["snr"] = [{"tested": snr} | _bare(each) for snr, each in self.tested.items()]
        return known

    def tidy(self) -> Iterator[tuple[str, Estimate]]:
        """Yield name and value of everything, as `Leaderboard.to_dataframe` names it."""
        for name, estimate in (
            ("micro_ap_shifted", self.mean),
            ("micro_ap_shifted_worst", None if self.worst is None else self.worst[1]),
            ("micro_ap_shifted_difference", self.difference),
            *((probe_value("shift", shift, "micro_ap"), each) for shift, each in self.shifted.items()),
            *((probe_value("snr", snr, "micro_ap"), each) for snr, each in self.tested.items()),
        ):
            if estimate is not None:
                yield name, estimate


def _bare(estimate: Estimate) -> dict[str, Any]:
    return {key: value for key, value in estimate.as_dict().items() if key not in ("best", "at_chance")}


@dataclass(frozen=True)
class Condition:
    """A row's metrics at one SNR, the records that they are the mean of, and their probes.

    `evidence` is that of each record, or empty where all are this workspace's own. `by_snr` are metrics of clips in
    bins of SNRs, where that differs between clips and all records are our own.
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
        """How many clips were scored, each once however many seeds."""
        return sum({record.system.fold: record.provenance.clips for record in self.records}.values())

    @property
    def tested(self) -> Tested:
        """What the metrics are on: rows are ranked and compared only where this is the same."""
        return self.folds, self.clips

    @property
    def one_training(self) -> bool:
        """Whether every fold has one training, so that nothing is known of how much another would differ."""
        return len(self.records) == len(self.folds)

    @property
    def cost(self) -> Cost:
        """The cost of one of the runs."""
        return mean_cost(self.records)


@dataclass(frozen=True)
class Row:
    """One system in one setting.

    Attributes
    ----------
    name : what to call it
    kind : "run", "predictions", "added" where its metrics came in a submission, or "ideal" for what stems alone give
    system : the registered system that it is a run of, if any
    settings : what it was trained with
    flags : what a reader has to know before comparing it
    conditions : by SNR in dB
    plain : whether it is a system as it comes: all of the training clips, no option changed
    submission : the first digits of the submission's digest, where it came in one
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

        Names, settings, flags and cost of a row that came in a submission are what it says, in any state.
        """
        return weakest(each for condition in self.conditions.values() for each in condition.evidence)

    @property
    def pretrained_on(self) -> tuple[str, ...]:
        """The data sets that a frozen encoder of it was trained on; empty where it has none."""
        systems = (record.system for condition in self.conditions.values() for record in condition.records)
        return tuple(dict.fromkeys(name for system in systems for name in system.pretrained_on))

    @property
    def cost(self) -> Cost:
        """The cost of one of the runs, over all SNRs."""
        return mean_cost([record for condition in self.conditions.values() for record in condition.records])

    def estimate(self, snr: float, metric: str) -> Estimate | None:
        """Return a metric at an SNR, or None where the row has none."""
        return self.conditions[snr].metrics.get(metric) if snr in self.conditions else None


@dataclass(frozen=True)
class Group:
    """The records of one row and their evidence, one each.

    `submission` names the submission that they came in, "" for this workspace's own.
    """

    submission: str
    records: tuple[Record, ...]
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, repr=False)
class Leaderboard:
    """The scores of all systems on one data set.

    Attributes
    ----------
    comparable : whether published rows may stand beside these
    why_not_comparable : the reasons where not
    left_out : records that could not be shown, a line each
    chance : what a constant score gives on the folds tested on
    caveat : what a reader has to know of the whole table, a sentence, or ""
    snr_offsets : how far from the nominal SNR those of single clips are at most, in dB; None where all have it
    """

    dataset: str
    recipe: str
    manifest_digest: str
    scoring_version: str
    classes: tuple[str, ...]
    comparable: bool
    why_not_comparable: tuple[str, ...]
    rows: tuple[Row, ...]
    published: Published
    left_out: tuple[str, ...] = ()
    chance: Chance = field(default_factory=Chance)
    caveat: str = ""
    snr_offsets: tuple[float, float] | None = None

    def snr_text(self, snr: float) -> str:
        """Return an SNR with its unit, or the range of those that clips have around it."""
        return format_snr(snr, self.snr_offsets)

    @property
    def snrs(self) -> tuple[float, ...]:
        """The SNRs that any row has, falling as in the paper."""
        return tuple(sorted({snr for row in self.rows for snr in row.conditions}, reverse=True))

    def tested(self, snr: float) -> list[Tested]:
        """Return what rows were tested on at an SNR, that of most rows first."""
        return [tested[0] for tested, _ in tested_alike(self.rows, [snr])]

    def require_snr(self, snr: float) -> float:
        """Return the SNR, or fail saying which SNRs there are.

        Raises
        ------
        InputError
            If no row has it.
        """
        if snr not in self.snrs:
            there = ", ".join(f"{each:g}" for each in self.snrs)
            raise InputError(f"--snr {snr:g}: no row of the leaderboard is at that SNR; there are rows at {there} dB")
        return snr

    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics that any row has, in the registry's order."""
        there = {name for row in self.rows for each in row.conditions.values() for name in each.metrics}
        return tuple(name for name in METRICS if name in there) + tuple(sorted(there - METRICS.keys()))

    def find_row(self, name: str) -> Row:
        """Return the row of that name, or the only plain row of the system of that name.

        Raises
        ------
        InputError
            If there is none, or several.
        """
        for chosen in (
            [row for row in self.rows if row.name == name],
            [row for row in self.rows if row.system == name and row.plain],
        ):
            if len(chosen) == 1:
                return chosen[0]
            if chosen:
                names = ", ".join(f"'{row.name}'" for row in chosen)
                raise InputError(f"'{name}' could be any of the rows {names}; name one in full")
        raise unknown("leaderboard row", name, [row.name for row in self.rows])

    def to_dataframe(self) -> pd.DataFrame:
        """Return every value as a tidy table, ours first, then the published ones.

        Columns: `kind` (run, predictions, added, ideal, chance, published), `name`, `evidence` of the value (ours,
        recomputed, self-reported; empty for chance and published ones), `system`, `snr` in dB, `metric`, `class` (empty
        for a metric over all classes), `value`, `low` and `high` (95 % interval), `std` (standard deviation over runs),
        `folds`, `seeds`, `one_training` (per fold), `clips`, `best` (bold in the tables), `at_chance` (not above
        chance), `flags`, `comparable`, `dataset`, `manifest_digest`, `scoring_version`, `source` (citation of a
        published value), `pretrained_on` (data sets that a frozen encoder was trained on), and the cost of one run:
        `parameters`, `macs` per clip, `frozen_parameters`, `frozen_macs` (of the encoder), `training_seconds`,
        `device`. Lists are joined with "; ". Metrics of probes are `micro_ap_shifted` (mean over the shifts),
        `micro_ap_shifted_worst`, `micro_ap_shifted_difference`, `micro_ap[shift 0.48 s]` and
        `micro_ap[tested at 0 dB]`.
        """
        import pandas as pd

        table = pd.DataFrame(list(self._tidy()), columns=list(TIDY_COLUMNS))
        numbers = ["snr", "value", "low", "high", "std", "training_seconds"]
        texts = table.columns.difference([*numbers, *INTEGERS, *TRUTHS, "comparable"])
        table[texts] = table[texts].astype(object).where(table[texts].notna(), "")
        table = table.astype(dict.fromkeys(INTEGERS, "Int64"))
        for name in TRUTHS:
            table[name] = table[name].astype("boolean")
        return table

    def table(self, *metrics: str) -> pd.DataFrame:
        """Return one line per system, with a column per SNR and metric (by default those of the main table).

        Raises
        ------
        InputError
            For a metric that no row has.
        """
        import pandas as pd

        there = self.metrics()
        for metric in metrics:
            if metric not in there:
                raise unknown("metric of the leaderboard", metric, list(there))
        shown = metrics or tuple(each.name for each in metrics_shown(None, "main") if each.name in there)
        rows = [r for r in self.rows if r.kind != "ideal" or any(r.estimate(s, m) for s in self.snrs for m in shown)]
        columns = pd.MultiIndex.from_product([self.snrs, shown], names=["snr", "metric"])
        values = [
            [
                estimate.value if (estimate := row.estimate(snr, metric)) is not None else np.nan
                for snr, metric in columns
            ]
            for row in rows
        ]
        return pd.DataFrame(values, index=pd.Index([row.name for row in rows], name="system"), columns=columns)

    def __repr__(self) -> str:
        """Return a summary that fits a screen."""
        shown = self._with_evidence().head(REPR_ROWS).round(4).to_string(na_rep="", max_cols=9)
        more = f"\n... {len(self.rows) - REPR_ROWS} more rows" if len(self.rows) > REPR_ROWS else ""
        return f"<Leaderboard of {self.dataset}: {len(self.rows)} rows>\n{shown}{more}"

    def _repr_html_(self) -> str:
        """Return the wide table as a notebook shows it."""
        html: str = self._with_evidence().to_html(float_format="{:.4f}".format, na_rep="", border=0)
        return html

    def _with_evidence(self) -> pd.DataFrame:
        """Return the wide table with columns of evidence and pretraining before the others, where rows have them."""
        table = self.table()
        pretrained = {row.name: "; ".join(row.pretrained_on) for row in self.rows}
        if any(pretrained.values()):
            table.insert(0, ("", "pretrained on"), [pretrained.get(name, "") for name in table.index])
        states = {row.name: row.evidence for row in self.rows}
        if {*states.values()} - {"ours"}:
            table.insert(0, ("", "evidence"), [states[name] for name in table.index])
        return table

    def _tidy(self) -> Iterator[dict[str, Any]]:
        here = {
            "comparable": self.comparable, "dataset": self.dataset, "manifest_digest": self.manifest_digest,
            "scoring_version": self.scoring_version,
        }  # fmt: skip
        for row in self.rows:
            for condition in row.conditions.values():
                cost = condition.cost
                about = here | {
                    "kind": row.kind, "name": row.name, "system": row.system or "", "snr": condition.snr,
                    "folds": "; ".join(map(str, condition.folds)), "seeds": "; ".join(map(str, condition.seeds)),
                    "one_training": condition.one_training, "clips": condition.clips,
                    "flags": "; ".join(flag.text for flag in row.flags),
                    "pretrained_on": "; ".join(row.pretrained_on),
                    "parameters": cost.parameters, "macs": cost.macs, "frozen_parameters": cost.frozen_parameters,
                    "frozen_macs": cost.frozen_macs, "training_seconds": cost.seconds, "device": cost.device,
                }  # fmt: skip
                for metric, estimate in condition.metrics.items():
                    state = value_state(condition, estimate.verified)
                    yield about | {"metric": metric, "evidence": state} | estimate.as_dict()
                for metric, estimate in condition.probes.tidy() if condition.probes is not None else ():
                    state = value_state(condition, estimate.verified)
                    yield about | {"metric": metric, "evidence": state} | _bare(estimate)
                for metric, bins in condition.by_snr.items():
                    for name, value in bins.items():
                        yield about | {"metric": f"{metric}[{name}]", "evidence": "ours", "value": value}
                for metric, classes in condition.per_class.items():
                    state = value_state(condition, condition.verified(class_values(metric)))
                    for label, value in classes.items():
                        yield about | {"metric": metric, "evidence": state, "class": label, "value": value}
        for snr in self.snrs:
            for folds, clips in self.tested(snr):
                about = here | {
                    "kind": CHANCE, "name": CHANCE, "snr": snr, "folds": "; ".join(map(str, folds)), "clips": clips,
                }  # fmt: skip
                for metric, value in self.chance.metrics(folds).items():
                    yield about | {"metric": metric, "value": value}
                for label, value in self.chance.classes(folds).items():
                    yield about | {"metric": "ap", "class": label, "value": value}
        for line in self.published.tidy():
            yield {"comparable": self.comparable} | line


def value_state(condition: Condition, verified: bool) -> State:
    """Return what a single value of a row at one SNR is."""
    if not verified:
        return "self-reported"
    return "ours" if condition.state == "ours" else "recomputed"


def make_leaderboard(
    dataset: Dataset, own: Sequence[Group], added: Sequence[Group], left_out: Sequence[str] = ()
) -> Leaderboard:
    """Make the rows of a data set from this workspace's own records and those added from submissions."""
    board = assemble(
        dataset=dataset.name, recipe=dataset.recipe.name, manifest_digest=dataset.manifest_digest,
        classes=dataset.classes, reasons=dataset.not_comparable, groups=[*own, *added], left_out=left_out,
    )  # fmt: skip
    return replace(board, snr_offsets=dataset.recipe.mix.snr_offsets)


def assemble(
    *,
    dataset: str,
    recipe: str,
    manifest_digest: str,
    classes: tuple[str, ...],
    reasons: Sequence[str],
    groups: Sequence[Group],
    left_out: Sequence[str] = (),
) -> Leaderboard:
    """Make a leaderboard of groups of records; `reasons` say why published rows may not stand beside them."""
    published = load_published()
    if not reasons and recipe != published.recipe:
        reasons = (f"the published rows are on {published.recipe}, these on {recipe}",)
    rows = _rows(groups)
    return Leaderboard(
        dataset=dataset,
        recipe=recipe,
        manifest_digest=manifest_digest,
        scoring_version=SCORING_VERSION,
        classes=classes,
        comparable=not reasons,
        why_not_comparable=tuple(reasons),
        rows=tuple(sorted(rows, key=lambda row: _order(row, published))),
        published=published,
        left_out=tuple(left_out),
    )


def group_records(
    records: Sequence[Record], submission: str = "", evidence: Sequence[Evidence] | None = None
) -> list[Group]:
    """Gather records into rows: those whose systems differ in nothing but SNR, fold and seed are one row.

    `evidence` is that of each record; by default all are this workspace's own.
    """
    gathered: dict[str, list[tuple[Record, Evidence]]] = {}
    for pair in zip(records, [OURS] * len(records) if evidence is None else evidence, strict=True):
        system = pair[0].system.model_dump(mode="json", exclude={"snr", "fold", "seed"})
        gathered.setdefault(json.dumps(system, sort_keys=True), []).append(pair)
    return [
        Group(submission, tuple(record for record, _ in pairs), tuple(state for _, state in pairs))
        for pairs in gathered.values()
    ]


Submitted = tuple[str, Sequence[Record], Sequence[Evidence]]
"""The digest of a submission, its records and their evidence."""


def group_submissions(submissions: Sequence[Submitted], own: Iterable[Record] = ()) -> list[Group]:
    """Gather the records of submissions into rows.

    The same predictions stand once under one name, wherever they come from: first this workspace's `own`, then what
    was recomputed, so that nobody can take the place of a row by naming its predictions. Of what is self-reported,
    records that differ all stand. Under two names the same predictions are two rows.
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
            if known_as in owners:
                is_shown = state.state != "recomputed" or owners[known_as] != digest
            else:
                is_shown = known_as in shown or claim in claims
            if not is_shown and identity(record) not in kept:
                kept[identity(record)] = record, state
                claims.add(claim)
        chosen = {id(record) for record, _ in kept.values()}
        pairs = [pair for pair in zip(records, evidence, strict=True) if id(pair[0]) in chosen]
        groups += group_records([record for record, _ in pairs], digest[:8], [state for _, state in pairs])
    return groups


def _claim(record: Record) -> str:
    """Return what a self-reported record says: what it is known by, and its metrics."""
    return json.dumps([shown_as(record), record.metrics, record.per_class], sort_keys=True)


def shown_as(record: Record) -> Shown:
    """Return what a record is known by, however its settings are written."""
    system = record.system
    return record.provenance.predictions_digest, system.name, system.snr, system.fold, system.seed


def identity(record: Record) -> str:
    """Return the whole description of a record's system, with SNR, fold and seed."""
    return json.dumps(record.system.model_dump(mode="json"), sort_keys=True)


def tested_alike(rows: Sequence[Row], snrs: Sequence[float]) -> list[tuple[tuple[Tested, ...], list[Row]]]:
    """Return the rows by what they were tested on at some SNRs, the group of most rows first.

    Rows without a condition at these SNRs are left out. Where a row was tested on different clips at different SNRs,
    it is with those of the same.
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


def _order(row: Row, published: Published) -> tuple[int, int, str, str]:
    known = list(published.systems)
    rank = known.index(row.system) if row.system in known else len(known)
    return (
        {"run": 0, "predictions": 1, "added": 2, "ideal": 3}[row.kind],
        rank,
        row.name,
        json.dumps(row.settings, sort_keys=True),
    )


def _rows(groups: Sequence[Group]) -> list[Row]:
    rows = []
    for name, group in zip(_names(groups), groups, strict=True):
        system = group.records[0].system
        conditions = {}
        pairs = sorted(
            zip(group.records, group.evidence, strict=True),
            key=lambda pair: (pair[0].system.fold, pair[0].system.seed or 0),
        )
        for snr in sorted({record.system.snr for record in group.records}):
            here = [pair for pair in pairs if pair[0].system.snr == snr]
            conditions[snr] = make_condition(snr, [record for record, _ in here], [state for _, state in here])
        rows.append(
            Row(
                name=name,
                kind="added" if group.submission else system.kind,
                system=system.registry_name,
                settings=system.settings,
                flags=system.flags,
                conditions=conditions,
                plain=system.name == system.registry_name,
                submission=group.submission,
            )
        )
    return rows


def _names(groups: Sequence[Group]) -> list[str]:
    """Name the rows, each otherwise, so that it can be compared and removed by its name.

    Where two have one name, the settings in which they differ are added. A row that came in a submission gets the
    submission's digest where others have its name, so that none of this workspace's own rows is renamed.
    """
    names = []
    for group in groups:
        system = group.records[0].system
        alike = [other for other in groups if other.records[0].system.name == system.name]
        beside = [other for other in alike if bool(other.submission) == bool(group.submission)]
        differing = [
            f"{key.replace('_', ' ')} {_shown(value)}"
            for key, value in system.settings.items()
            if any(other.records[0].system.settings.get(key) != value for other in beside)
        ]
        if group.submission and len({other.submission for other in alike}) > 1:
            differing.append(group.submission)
        names.append(f"{system.name} ({', '.join(differing)})" if differing else system.name)
    return [
        name if names.count(name) == 1 else f"{name} #{names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(letter if letter.isprintable() else " " for letter in text[:40])


def make_condition(snr: float, records: Sequence[Record], evidence: Sequence[Evidence] = ()) -> Condition:
    """Average the records of one row at one SNR; `evidence` is that of each, or empty where all are our own."""
    metrics = {}
    for name in dict.fromkeys(name for record in records for name in record.metrics):
        estimate = _estimate(name, records)
        if estimate is not None:
            metrics[name] = replace(estimate, verified=all(each.covers(name) for each in evidence))
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
        fold: [value for record in mine if (value := record.metrics.get(name)) is not None]
        for fold, mine in by_fold(records).items()
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


def mean_cost(records: Sequence[Record]) -> Cost:
    """Return the mean of the records' reported costs, and every device that was used."""
    costs = [record.cost for record in records]
    parameters, macs, frozen_parameters, frozen_macs, seconds = (
        float(np.mean(known)) if (known := [value for value in values if value is not None]) else None
        for values in zip(
            *((each.parameters, each.macs, each.frozen_parameters, each.frozen_macs, each.seconds) for each in costs),
            strict=True,
        )
    )
    return Cost(
        parameters=None if parameters is None else round(parameters),
        macs=None if macs is None else round(macs),
        frozen_parameters=None if frozen_parameters is None else round(frozen_parameters),
        frozen_macs=None if frozen_macs is None else round(frozen_macs),
        seconds=seconds,
        device="; ".join(dict.fromkeys(each.device for each in costs if each.device is not None))[:200] or None,
    )
