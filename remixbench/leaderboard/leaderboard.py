"""The leaderboard of a data set: each system once, its metrics averaged over folds and seeds, side by side over SNRs.

`Leaderboard.to_dataframe` has everything as a tidy table, one value per row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError, unknown
from remixbench.files import waiting_lock
from remixbench.leaderboard.discover import why_unusable
from remixbench.leaderboard.evaluate import References, why_incompatible
from remixbench.leaderboard.grouping import Group, Submitted, group_records, group_submissions, identity, make_rows
from remixbench.leaderboard.published import Published, load_published
from remixbench.leaderboard.receipts import kept_entries, read_submissions
from remixbench.leaderboard.record import (
    CHANCE,
    METRICS_FILE,
    Entry,
    Record,
    SystemInfo,
    class_values,
    own_evidence,
    read_record,
)
from remixbench.leaderboard.rows import ROW_COLUMNS, Chance, Row, Tested, about_row, tested_alike, value_state
from remixbench.leaderboard.significance import mark_best, mark_chance
from remixbench.leaderboard.submission import why_unfit
from remixbench.progress import SILENT, Progress
from remixbench.recipe import format_snr
from remixbench.scoring.evaluate import chance_values
from remixbench.scoring.metrics import METRICS, SCORING_VERSION, metrics_shown
from remixbench.training.run_files import RUN_FILE, RunInfo, read_run

if TYPE_CHECKING:
    import pandas as pd

TIDY_COLUMNS = (
    "kind", "name", "evidence", "system", "snr", "metric", "class", "value", "low", "high", "std", "folds", "seeds",
    "one_training", "clips", "best", "at_chance", "flags", "comparable", "dataset", "manifest_digest",
    "scoring_version", "source", "parameters", "macs", "training_seconds", "device",
    *(column.key for column in ROW_COLUMNS), "frozen_parameters", "frozen_macs",
)  # fmt: skip
TRUTHS = ("best", "at_chance", "one_training")
FLOATS = ("snr", "value", "low", "high", "std", "training_seconds")
INTEGERS = ("clips", "parameters", "macs", "frozen_parameters", "frozen_macs")
REPR_ROWS = 20
NO_CHANCE = Chance()


@dataclass(frozen=True, repr=False)
class Leaderboard:
    """The scores of all systems on one data set.

    Attributes
    ----------
    comparable : whether published rows may stand beside these
    why_not_comparable : why they may not, if so
    left_out : records that could not be shown, a line each
    chance : what a constant score gives on the folds tested on
    caveat : a sentence that a reader has to know about the whole table, or ""
    snr_offsets : how far the SNRs of clips lie below and above the nominal one, in dB; None where all have that
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
        """Return an SNR with its unit, or the range of the clips' SNRs around it."""
        return format_snr(snr, self.snr_offsets)

    @property
    def snrs(self) -> tuple[float, ...]:
        """The SNRs that any row has, descending as in the paper."""
        return tuple(sorted({snr for row in self.rows for snr in row.conditions}, reverse=True))

    def tested(self, snr: float) -> list[Tested]:
        """Return what rows were tested on at an SNR, that of most rows first."""
        return [tested[0] for tested, _ in tested_alike(self.rows, [snr])]

    def require_snr(self, snr: float) -> float:
        """Return the SNR, or fail saying which SNRs there are. InputError if no row has it."""
        if snr not in self.snrs:
            present = ", ".join(f"{other:g}" for other in self.snrs)
            raise InputError(f"--snr {snr:g}: no row of the leaderboard is at that SNR; there are rows at {present} dB")
        return snr

    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics that any row has, in the registry's order."""
        names = {name for row in self.rows for condition in row.conditions.values() for name in condition.metrics}
        return tuple(name for name in METRICS if name in names) + tuple(sorted(names - METRICS.keys()))

    def find_row(self, name: str) -> Row:
        """Return the row of that name, or the only plain row of the system of that name.

        InputError if there is none, or several.
        """
        for candidates in (
            [row for row in self.rows if row.name == name],
            [row for row in self.rows if row.system == name and row.plain],
        ):
            if len(candidates) == 1:
                return candidates[0]
            if candidates:
                names = ", ".join(f"'{row.name}'" for row in candidates)
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

        table = pd.DataFrame(list(self.tidy()), columns=list(TIDY_COLUMNS))
        texts = table.columns.difference([*FLOATS, *INTEGERS, *TRUTHS, "comparable"])
        table[texts] = table[texts].astype(object).where(table[texts].notna(), "")
        table = table.astype(dict.fromkeys(INTEGERS, "Int64"))
        for name in TRUTHS:
            table[name] = table[name].astype("boolean")
        return table

    def __repr__(self) -> str:
        """Return a summary that fits a screen."""
        table = self._wide().head(REPR_ROWS).round(4).to_string(na_rep="", max_cols=9)
        more = f"\n... {len(self.rows) - REPR_ROWS} more rows" if len(self.rows) > REPR_ROWS else ""
        return f"<Leaderboard of {self.dataset}: {len(self.rows)} rows>\n{table}{more}"

    def _repr_html_(self) -> str:
        """Return the wide table as a notebook shows it."""
        html: str = self._wide().to_html(float_format="{:.4f}".format, na_rep="", border=0)
        return html

    def _wide(self) -> pd.DataFrame:
        """Return a line per row: its texts, and the main metrics at every SNR; ideal masks only if they have any."""
        import pandas as pd

        available = self.metrics()
        shown = [metric.name for metric in metrics_shown(None, "main") if metric.name in available]
        rows = [r for r in self.rows if r.kind != "ideal" or any(r.estimate(s, m) for s in self.snrs for m in shown)]
        columns = pd.MultiIndex.from_product([self.snrs, shown], names=["snr", "metric"])
        values = [
            [
                estimate.value if (estimate := row.estimate(snr, metric)) is not None else np.nan
                for snr, metric in columns
            ]
            for row in rows
        ]
        table = pd.DataFrame(values, index=pd.Index([row.name for row in rows], name="system"), columns=columns)
        for column in reversed(ROW_COLUMNS):
            texts = ["; ".join(column.texts(row)) for row in rows]
            if any(texts):
                table.insert(0, ("", column.heading), texts)
        if any(row.evidence != "ours" for row in rows):
            table.insert(0, ("", "evidence"), [row.evidence for row in rows])
        return table

    def tidy(self) -> Iterator[dict[str, Any]]:
        """Yield every value with what is known of it, by the columns of `to_dataframe`."""
        about_board = {
            "comparable": self.comparable, "dataset": self.dataset, "manifest_digest": self.manifest_digest,
            "scoring_version": self.scoring_version,
        }  # fmt: skip
        for row in self.rows:
            for condition in row.conditions.values():
                cost = condition.cost
                about = about_board | {
                    "kind": row.kind, "name": row.name, "system": row.system or "", "snr": condition.snr,
                    "folds": "; ".join(map(str, condition.folds)), "seeds": "; ".join(map(str, condition.seeds)),
                    "one_training": condition.one_training, "clips": condition.clips,
                    "flags": "; ".join(flag.text for flag in row.flags),
                    **{key: "; ".join(texts) for key, texts in about_row(row).items()},
                    "parameters": cost.parameters, "macs": cost.macs, "frozen_parameters": cost.frozen_parameters,
                    "frozen_macs": cost.frozen_macs, "training_seconds": cost.seconds, "device": cost.device,
                }  # fmt: skip
                for metric, estimate in condition.metrics.items():
                    state = value_state(condition, estimate.verified)
                    yield about | {"metric": metric, "evidence": state} | estimate.as_dict()
                for metric, estimate in condition.probes.tidy() if condition.probes is not None else ():
                    state = value_state(condition, estimate.verified)
                    yield about | {"metric": metric, "evidence": state} | estimate.numbers()
                for metric, bins in condition.by_snr.items():
                    for name, value in bins.items():
                        yield about | {"metric": f"{metric}[{name}]", "evidence": "ours", "value": value}
                for metric, classes in condition.per_class.items():
                    state = value_state(condition, condition.verified(class_values(metric)))
                    for label, value in classes.items():
                        yield about | {"metric": metric, "evidence": state, "class": label, "value": value}
        for snr in self.snrs:
            for folds, clips in self.tested(snr):
                about = about_board | {
                    "kind": CHANCE, "name": CHANCE, "snr": snr, "folds": "; ".join(map(str, folds)), "clips": clips,
                }  # fmt: skip
                for metric, value in self.chance.metrics(folds).items():
                    yield about | {"metric": metric, "value": value}
                for label, value in self.chance.classes(folds).items():
                    yield about | {"metric": "ap", "class": label, "value": value}
        for line in self.published.tidy():
            yield {"comparable": self.comparable} | line


def runs_of(leaderboard: Leaderboard, workspace: Path) -> Iterator[tuple[int, SystemInfo, Path, RunInfo]]:
    """Yield every run of this workspace that a row is made from: index of the row, system, folder and run.json.

    Rows may come from third parties: only folders below the workspace's runs are read.
    """
    above = (workspace / "runs").resolve()
    for index, row in enumerate(leaderboard.rows):
        for condition in row.conditions.values() if row.kind == "run" else ():
            for record in condition.records:
                folder = (workspace / (record.provenance.run or "")).resolve()
                if folder.is_relative_to(above) and (folder / RUN_FILE).is_file():
                    yield index, record.system, folder, read_run(folder)


def at_snr(leaderboard: Leaderboard, snr: float) -> Leaderboard:
    """Return a leaderboard, with its published results, at one SNR; InputError if it has none."""
    leaderboard.require_snr(snr)
    rows = [replace(row, conditions={snr: row.conditions[snr]}) for row in leaderboard.rows if snr in row.conditions]
    return replace(leaderboard, rows=tuple(rows), published=leaderboard.published.at(snr))


def make_leaderboard(
    groups: Sequence[Group],
    *,
    dataset: str,
    recipe: str,
    manifest_digest: str,
    classes: tuple[str, ...],
    reasons: Sequence[str],
    chance: Chance = NO_CHANCE,
    caveat: str = "",
    snr_offsets: tuple[float, float] | None = None,
) -> Leaderboard:
    """Make a leaderboard with a row per group; `reasons` say why published rows may not stand beside them."""
    published = load_published()
    if not reasons and recipe != published.recipe:
        reasons = (f"the published rows are on {published.recipe}, these on {recipe}",)
    rows = sorted(make_rows(groups), key=lambda row: _order(row, published))
    return Leaderboard(
        dataset=dataset,
        recipe=recipe,
        manifest_digest=manifest_digest,
        scoring_version=SCORING_VERSION,
        classes=classes,
        comparable=not reasons,
        why_not_comparable=tuple(reasons),
        rows=mark_best(mark_chance(rows, chance)),
        published=published,
        chance=chance,
        caveat=caveat,
        snr_offsets=snr_offsets,
    )


def _order(row: Row, published: Published) -> tuple[int, int, str, str]:
    systems = list(published.systems)
    rank = systems.index(row.system) if row.system in systems else len(systems)
    return (
        {"run": 0, "predictions": 1, "added": 2, "ideal": 3}[row.kind],
        rank,
        row.name,
        json.dumps(row.settings, sort_keys=True),
    )


def load_leaderboard(
    workspace: Path,
    dataset: Dataset,
    progress: Progress = SILENT,
    *,
    references: References | None = None,
    current: Mapping[Path, Record] | None = None,
    candidate: Submitted | None = None,
    may_be_empty: bool = False,
) -> Leaderboard:
    """Make the leaderboard of a data set from all records in the workspace; what is left out is reported.

    InputError if there is nothing to show, unless it `may_be_empty`.

    Parameters
    ----------
    references : of the data set, where some were read already.
    current : records that were read or made already, by their files.
    candidate : a submission that is not added yet.
    may_be_empty : whether a leaderboard without rows may be returned.
    """
    left_out: list[str] = []
    references = references or References(dataset)
    records = _read_records(workspace, references, current or {}, left_out)
    submitted = _read_submitted(workspace, references, records, candidate, left_out)
    for line in left_out:
        progress.say(f"skipped {line}")
    if not records and not submitted and not may_be_empty:
        raise InputError(
            f"{workspace / 'runs' / dataset.name}: nothing is scored on data set '{dataset.name}' yet;"
            " `remixbench train` makes runs"
        )
    entries = [Entry(record, own_evidence(record)) for record in records]
    board = board_on(references, [*group_records(entries), *submitted])
    return replace(board, left_out=tuple(left_out))


def board_on(references: References, groups: Sequence[Group]) -> Leaderboard:
    """Make the leaderboard of groups of records on a data set."""
    dataset = references.dataset
    return make_leaderboard(
        groups,
        dataset=dataset.name,
        recipe=dataset.recipe.name,
        manifest_digest=dataset.manifest_digest,
        classes=dataset.classes,
        reasons=dataset.not_comparable,
        chance=chance_of(references, {entry.record.system.fold for group in groups for entry in group.entries}),
        snr_offsets=dataset.recipe.mix.snr_offsets,
    )


def _read_records(
    workspace: Path, references: References, current: Mapping[Path, Record], left_out: list[str]
) -> list[Record]:
    """Read the records of the workspace's runs and of predictions scored in it."""
    dataset = references.dataset
    by_identity: dict[str, Record] = {}
    for file in sorted((workspace / "runs" / dataset.name).rglob(METRICS_FILE)):
        place = file.relative_to(workspace).as_posix()
        try:
            record = current[file] if file in current else read_record(file)
            why = why_incompatible(record, references)
            if not why and (file.parent / RUN_FILE).exists():
                why = why_unusable(read_run(file.parent), dataset)
        except InputError as error:
            left_out.append(str(error).replace(str(file.parent), str(Path(place).parent)))
            continue
        key = identity(record)
        if not why and key in by_identity:
            why = f"has the settings, SNR, fold and seed of {by_identity[key].provenance.run}, which is in the table"
        if why:
            left_out.append(f"{place}: {why}")
        else:
            by_identity[key] = record
    return list(by_identity.values())


def _read_submitted(
    workspace: Path,
    references: References,
    records: Sequence[Record],
    candidate: Submitted | None,
    left_out: list[str],
) -> list[Group]:
    """Read the submissions that were added, and gather their records into rows beside those of `records`."""
    fitting: dict[str, Sequence[Entry]] = {}
    folder = workspace / "submissions" / references.dataset.name
    for file, submission in read_submissions(folder, workspace, left_out):
        if candidate is None or candidate[0] != submission.digest:
            place, fitting_entries = file.relative_to(workspace).as_posix(), []
            for entry in kept_entries(workspace, submission, left_out):
                if why := why_unfit(entry.record, references):
                    left_out.append(f"{place}: '{entry.record.system.name}': {why}")
                else:
                    fitting_entries.append(entry)
            fitting[submission.digest] = fitting_entries
    if candidate is not None:
        fitting |= [candidate]
    return group_submissions(sorted(fitting.items()), records)


def chance_of(references: References, folds: Iterable[int]) -> Chance:
    """Return chance on folds of a data set."""
    recipe = references.dataset.recipe
    edges = np.arange(recipe.frames + 1, dtype=np.float64) * recipe.frame_seconds
    metrics: dict[int, dict[str, float]] = {}
    classes: dict[int, dict[str, float]] = {}
    for fold in sorted(set(folds)):
        reference = references.fold(fold).reference
        values = chance_values(reference, edges)
        metrics[fold] = {name: float(value[0]) for name, value in values.overall.items() if not np.isnan(value[0])}
        precision = zip(reference.classes, values.per_class["ap"][:, 0], strict=True)
        classes[fold] = {label: float(value) for label, value in precision if not np.isnan(value)}
    return Chance(metrics, classes)


@contextmanager
def scoring_lock(workspace: Path, progress: Progress) -> Iterator[None]:
    """Let one process at a time read the records of a workspace, change them and write its leaderboard.

    The lock leaves a file in the workspace: check input before taking it, as far as that needs no records.
    """
    waiting = f"{workspace}: another `remixbench score` is at work; waiting for it to end"
    with waiting_lock(workspace / ".score.lock", lambda: progress.say(waiting), optional=True):
        yield
