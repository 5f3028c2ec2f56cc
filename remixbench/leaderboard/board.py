"""From records to rows: each system once, its figures averaged over folds and seeds, side by side over SNRs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset
from remixbench.leaderboard.published import Published
from remixbench.leaderboard.record import DEFINED, Draws, Record
from remixbench.scoring.bootstrap import interval

MAIN = ("micro_ap", "macro_ap", "macro_auc")
"""The columns of the paper's Table 1."""


@dataclass(frozen=True)
class Figure:
    """A figure averaged over runs.

    Attributes
    ----------
    value : the mean
    low, high : 95 % bootstrap interval of the mean
    spread : standard deviation over the runs (n - 1 below), None for one run
    best : the best of its column, or not to be told from the best by a paired bootstrap
    """

    value: float
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Column:
    """A row's figures at one signal-to-noise ratio, and the records that they are the mean of."""

    snr: float
    figures: dict[str, Figure]
    per_class: dict[str, dict[str, float]]
    records: tuple[Record, ...]

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds tested on."""
        return tuple(sorted({record.entry.fold for record in self.records}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds trained with; empty for a stranger's predictions."""
        return tuple(sorted({record.entry.seed for record in self.records if record.entry.seed is not None}))

    @property
    def clips(self) -> int:
        """How many clips were scored, each once however many seeds."""
        return sum({record.entry.fold: record.made_from.clips for record in self.records}.values())


@dataclass(frozen=True)
class Row:
    """One system in one setting.

    Attributes
    ----------
    name : what to call it
    kind : "run", "predictions", or "added" where its figures came in a submission
    system : the registered system that it is a run of, if any
    settings : what it was trained with
    marks : what a reader has to know before comparing it
    columns : by SNR in dB
    plain : whether it is a system as it comes: all of the training clips, no option changed
    origin : the first digits of the submission's digest, where it came in one
    """

    name: str
    kind: str
    system: str | None
    settings: dict[str, Any]
    marks: tuple[str, ...]
    columns: dict[float, Column]
    plain: bool
    origin: str = ""


@dataclass(frozen=True)
class Difference:
    """How much better the first of two systems is.

    Attributes
    ----------
    difference : mean of the first less that of the second, over the common folds
    low, high : 95 % interval of the difference
    superiority : share of the draws in which the first is better, equal ones counted half
    """

    snr: float
    metric: str
    difference: float
    low: float
    high: float
    superiority: float
    folds: tuple[int, ...]
    resamples: int

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves out zero, and all but 2.5 % of the draws agree on who is better."""
        return (self.low > 0 and self.superiority >= 0.975) or (self.high < 0 and self.superiority <= 0.025)


@dataclass(frozen=True)
class Comparison:
    """The differences of two rows, by SNR and figure."""

    first: str
    second: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Group:
    """The records of one row; `origin` names the submission that they came in, "" for this workspace's own."""

    origin: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Board:
    """All that is known of systems on one data set.

    Attributes
    ----------
    comparable : whether published figures may stand beside these
    why_not : the reasons where not
    left_out : records that could not be shown, a line each
    comparison : of two rows, where one was asked for
    """

    dataset: str
    recipe: str
    manifest_digest: str
    scoring_version: str
    classes: tuple[str, ...]
    comparable: bool
    why_not: tuple[str, ...]
    rows: tuple[Row, ...]
    published: Published
    left_out: tuple[str, ...] = ()
    comparison: Comparison | None = None

    @property
    def snrs(self) -> tuple[float, ...]:
        """The SNRs that any row has, falling as in the paper."""
        return tuple(sorted({snr for row in self.rows for snr in row.columns}, reverse=True))

    def _repr_markdown_(self) -> str:
        """Return the tables as a notebook shows them."""
        from remixbench.leaderboard.render import render

        return render(self, "md")


def make_board(
    dataset: Dataset,
    own: Sequence[Group],
    added: Sequence[Group],
    published: Published,
    scoring_version: str,
    left_out: Sequence[str] = (),
) -> Board:
    """Make the rows of a data set from this workspace's own records and those added from submissions."""
    rows = [*_rows(own), *_rows(added)]
    reasons = dataset.not_comparable
    if not reasons and dataset.recipe.name != published.recipe:
        reasons = (f"the published figures are on {published.recipe}, these on {dataset.recipe.name}",)
    return Board(
        dataset=dataset.name,
        recipe=dataset.recipe.name,
        manifest_digest=dataset.manifest_digest,
        scoring_version=scoring_version,
        classes=dataset.classes,
        comparable=not reasons,
        why_not=tuple(reasons),
        rows=tuple(sorted(rows, key=lambda row: _order(row, published))),
        published=published,
        left_out=tuple(left_out),
    )


def _order(row: Row, published: Published) -> tuple[int, int, str, str]:
    known = list(published.systems)
    rank = known.index(row.system) if row.system in known else len(known)
    return (
        {"run": 0, "predictions": 1, "added": 2}[row.kind],
        rank,
        row.name,
        json.dumps(row.settings, sort_keys=True),
    )


def _rows(groups: Sequence[Group]) -> list[Row]:
    rows = []
    for name, group in zip(_names(groups), groups, strict=True):
        entry = group.records[0].entry
        columns = {}
        for snr in sorted({record.entry.snr for record in group.records}):
            here = [record for record in group.records if record.entry.snr == snr]
            columns[snr] = _column(snr, sorted(here, key=lambda r: (r.entry.fold, r.entry.seed or 0)))
        kind = "added" if group.origin else entry.kind
        rows.append(
            Row(
                name, kind, entry.system, entry.settings, entry.marks, columns, entry.name == entry.system, group.origin
            )
        )
    return rows


def _names(groups: Sequence[Group]) -> list[str]:
    """Name the rows; where two have one name, say what of their settings or origins differs."""
    names = []
    for group in groups:
        entry = group.records[0].entry
        alike = [other for other in groups if other.records[0].entry.name == entry.name]
        differing = [
            f"{key.replace('_', ' ')} {_shown(value)}"
            for key, value in entry.settings.items()
            if any(other.records[0].entry.settings.get(key) != value for other in alike)
        ]
        if group.origin and len({other.origin for other in alike}) > 1:
            differing.append(group.origin)
        names.append(f"{entry.name} ({', '.join(differing)})" if differing else entry.name)
    return names


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(letter if letter.isprintable() else " " for letter in text[:40])


def _column(snr: float, records: Sequence[Record]) -> Column:
    names = dict.fromkeys(name for record in records for name in record.figures)
    figures = {name: figure for name in names if (figure := _figure(name, records)) is not None}
    per_class: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for record in records for name in record.per_class):
        values: dict[str, list[float]] = {}
        for record in records:
            for label, value in record.per_class.get(name, {}).items():
                if value is not None:
                    values.setdefault(label, []).append(value)
        per_class[name] = {label: float(np.mean(each)) for label, each in values.items()}
    return Column(snr, figures, per_class, tuple(records))


def _figure(name: str, records: Sequence[Record]) -> Figure | None:
    """Average a figure over records; None unless every one of them has it."""
    values = [record.figures.get(name) for record in records]
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return None
    mean = float(np.mean(defined))
    if len(defined) == 1:
        low, high = records[0].intervals.get(name) or (None, None)
        return Figure(mean, low, high)
    draws = mean_draws(name, records)
    if draws is None or np.mean(~np.isnan(draws)) < DEFINED:
        return Figure(mean, spread=float(np.std(defined, ddof=1)))
    low, high = interval(mean, draws) or (None, None)
    return Figure(mean, low, high, spread=float(np.std(defined, ddof=1)))


def mean_draws(name: str, records: Sequence[Record]) -> NDArray[np.float64] | None:
    """Return the draws of the mean over records, (resamples,), or None where one lacks them.

    Folds have different clips; seeds share them and share the draws, so the mean is taken draw by draw.
    """
    drawn: list[Draws] = []
    for record in records:
        draws = record.drawn(name)
        if draws is None or len(draws) == 0 or (drawn and len(draws) != len(drawn[0])):
            return None
        drawn.append(draws)
    mean: NDArray[np.float64] = np.mean(np.array(drawn, np.float64), axis=0)
    return mean
