"""Every table of a leaderboard: the paper's Tables 1 to 3, probes, cost, single metrics.

Which metrics have columns is said by `remixbench.scoring.metrics`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from remixbench.dataset.probes import no_shift
from remixbench.leaderboard.evaluate import METRIC
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.record import Cost, class_values
from remixbench.leaderboard.rows import Condition, Estimate, Row
from remixbench.leaderboard.table_maker import KIND_HEADINGS, TableMaker, caption, detection_notes
from remixbench.leaderboard.tables import (
    EVIDENCE,
    NOT_REPORTED,
    TESTED,
    Block,
    Cell,
    Column,
    Line,
    Table,
    difference_cell,
    estimate_cell,
    folds_of,
    marked,
    numbered,
    quantity,
    title,
    value_cell,
)
from remixbench.scoring.metrics import METRICS, VARIANT_TITLES, Family, metrics_shown

DETAILS: dict[str, tuple[Family, ...]] = {
    "Tagging": ("tagging",),
    "Detection": ("detection", "time-frequency", "separation"),
}
"""The tables of details, and the families of metrics in each."""
HEADINGS = {**VARIANT_TITLES, "kong": "Kong et al."}
"""Headings of groups of metrics that are not named after their post-processing or family."""
RANKED_BY = ("micro_ap", "frame_ap", "event_f1")
"""What the tables of the page are ranked by: the first of these that a table has."""
PSDS_NOTE = (
    "PSDS 1 and 2 take off the standard deviation over classes, and so are too low by the noise of a single fold, for"
    " all systems alike; their intervals leave that out and are too narrow for the value of very many folds."
)
CLASSES_AT = 0.0
"""The SNR of the paper's Table 3, in dB."""
EXTREMES = 3
"""How many of the best and of the worst classes are shown beside the paper's four."""
WITHOUT_RECONSTRUCTION = {"2ap": "2ap-aux"}
"""A system that is another with the weight of its reconstruction at zero."""


def make_tables(leaderboard: Leaderboard) -> tuple[Table, ...]:
    """Return every table of a leaderboard for which there are values, the main one first.

    The caption of the first describes all of them.
    """
    maker = TableMaker(leaderboard)
    tables = [
        main_table(maker),
        *probe_tables(maker),
        alpha_table(maker),
        fraction_table(maker),
        class_table(maker),
        *(clip_snr_table(maker, snr) for snr in leaderboard.snrs),
        cost_table(maker),
        *(details_table(maker, family, snr) for snr in leaderboard.snrs for family in DETAILS),
    ]
    shown = [table for table in tables if table is not None]
    if not shown:
        return ()
    first, *others = shown
    notes = (*first.notes, *maker.interval_notes(shown), *maker.where_published())
    return (replace(first, notes=notes, caption=caption(leaderboard)), *others)


def main_table(maker: TableMaker) -> Table | None:
    """Return the paper's Table 1: systems down, SNRs across, each with the main metrics; None without any."""
    board, snrs = maker.leaderboard, maker.leaderboard.snrs
    available = board.metrics()
    metrics = [metric.name for metric in metrics_shown("tagging", "main") if metric.name in available]
    if not metrics:
        return None
    blocks = maker.blocks(
        lambda row: [estimate_cell(row.estimate(snr, metric)) for snr in snrs for metric in metrics],
        snrs,
        lambda folds: maker.chance_cells(folds, metrics * len(snrs)),
    )
    blocks += maker.published_rows(snrs, metrics)
    return Table(
        f"Tagging on {board.dataset}",
        "system",
        tuple((board.snr_text(snr), columns(metrics)) for snr in snrs),
        tuple(blocks),
        maker.line_notes(blocks),
        (TESTED, EVIDENCE),
    )


def details_table(maker: TableMaker, family: str, snr: float) -> Table | None:
    """Return the metrics of `DETAILS[family]` at one SNR that the main table lacks; None without any."""
    groups = _groups(maker, family, snr, "details")
    metrics = [name for names in groups.values() for name in names]
    if not metrics:
        return None

    def cells_of(row: Row) -> list[Cell] | None:
        return [estimate_cell(row.estimate(snr, name)) for name in metrics] if snr in row.conditions else None

    blocks = maker.blocks(cells_of, [snr], lambda folds: maker.chance_cells(folds, metrics))
    blank = any(not cell.text for block in blocks for line in block.lines for cell in line.cells)
    return _details(maker, family, snr, groups, blocks, maker.line_notes(blocks), blank=blank)


def ranked_table(maker: TableMaker, family: str, snr: float) -> Table | None:
    """Return all metrics of `DETAILS[family]` at one SNR, rows ranked by `RANKED_BY`; None without any.

    It stands where notes explain flags, chance and blank cells for all tables.
    """
    groups = _groups(maker, family, snr, "main", "details")
    metrics = [name for names in groups.values() for name in names]
    if not metrics:
        return None
    ranked_by = next((metric for metric in RANKED_BY if metric in metrics), metrics[0])
    lines_of = maker.ranked_lines(
        maker.leaderboard.rows, snr, ranked_by, lambda at: [estimate_cell(at.metrics.get(name)) for name in metrics]
    )
    blocks = [
        Block(f"Tested on {folds_of([tested])}, ranked apart" if index else "", lines)
        for index, (tested, lines) in enumerate(lines_of.items())
    ]
    blocks += maker.published_rows([snr], metrics) if family == "Tagging" else []
    return _details(maker, family, snr, groups, blocks)


def _groups(maker: TableMaker, family: str, snr: float, *shown: str) -> dict[str, list[str]]:
    """Return the metrics of `DETAILS[family]` that rows have at an SNR by variant, those of the main one by family."""
    available = {
        name for row in maker.leaderboard.rows if snr in row.conditions for name in row.conditions[snr].metrics
    }
    groups: dict[str, list[str]] = {}
    for metric in (metric for group in DETAILS[family] for metric in metrics_shown(group, *shown)):
        if metric.name in available:
            groups.setdefault(metric.variant or metric.family, []).append(metric.name)
    return groups


def _details(
    maker: TableMaker,
    family: str,
    snr: float,
    groups: Mapping[str, Sequence[str]],
    blocks: Sequence[Block],
    notes: Sequence[str] = (),
    *,
    blank: bool = False,
) -> Table:
    """Return a table of groups of metrics; how they were computed, and blank cells if so, are explained below it."""
    board, published = maker.leaderboard, maker.leaderboard.published
    metrics = [name for names in groups.values() for name in names]
    notes = [*notes]
    if family == "Detection":
        conditions = [row.conditions[snr] for row in board.rows if snr in row.conditions]
        notes += detection_notes(conditions, metrics, blank=blank)
        notes += [PSDS_NOTE] if {"psds1", "psds2"} & set(metrics) else []
    if "kong" in groups and any(snr in row.scores for row in published.detection.rows):
        notes.append(published.detection_line() if board.comparable else published.where_detection_is())
    return Table(
        f"{family} at {board.snr_text(snr)}",
        "system",
        tuple((HEADINGS.get(variant, variant), columns(names, variant)) for variant, names in groups.items()),
        tuple(blocks),
        tuple(notes),
        (TESTED, EVIDENCE),
    )


def columns(metrics: Sequence[str], variant: str = "") -> tuple[Column, ...]:
    """Return the columns of some metrics; titles leave out the `variant` that the heading above them names."""
    return tuple(
        Column(
            METRICS[name].heading if variant and variant_of(name) == variant else title(name),
            METRICS[name].direction if name in METRICS else "higher",
        )
        for name in metrics
    )


def variant_of(name: str) -> str:
    """Return the variant of a metric; "" for the main one, or an unknown metric."""
    return METRICS[name].variant if name in METRICS else ""


def alpha_table(maker: TableMaker) -> Table | None:
    """Return the paper's Table 2: micro-AP by the weight α of the reconstruction, where there are several."""
    snrs, published = maker.leaderboard.snrs, maker.leaderboard.published.table2
    lines = [
        Line(f"α = {row.alpha:g}", tuple(value_cell(*row.scores.get(snr, (None,))) for snr in snrs), (), NOT_REPORTED)
        for row in published.rows
    ]
    return _series_table(
        maker,
        "Weight of the reconstruction (α)",
        "weight",
        "alpha",
        [row for row in maker.leaderboard.rows if row.settings.get("options") is not None],
        family=lambda row: WITHOUT_RECONSTRUCTION.get(row.system or "", row.system),
        name_of=lambda row: row.system,
        head_of=lambda row: f"α = {row.settings['alpha']:g}",
        published=maker.published_block(published.source, lines),
    )


def fraction_table(maker: TableMaker) -> Table | None:
    """Return micro-AP by the part of the training clips that was used, where there are several."""

    def part(row: Row) -> str:
        percent = f"{row.settings['fraction']:.4%}".rstrip("0%").rstrip(".")
        return f"{percent} % of the training clips"

    return _series_table(
        maker,
        "Size of the training data",
        "trained on",
        "fraction",
        maker.leaderboard.rows,
        family=lambda row: row.system,
        name_of=lambda row: row.name,
        head_of=part,
        flagged=False,
    )


def class_table(maker: TableMaker) -> Table | None:
    """Return the paper's Table 3: AP of single classes at 0 dB: the paper's four, the worst, the best."""
    board = maker.leaderboard
    table = board.published.table3
    snr = CLASSES_AT if CLASSES_AT in board.snrs else min(board.snrs)
    rows = [row.conditions[snr].per_class.get("ap", {}) for row in board.rows if snr in row.conditions]
    labels = [label for label in board.classes if any(label in precision for precision in rows)]
    if not labels:
        return None
    mean = {label: float(np.mean([precision[label] for precision in rows if label in precision])) for label in labels}
    paper = tuple(label for label in table.classes if label in board.classes)
    ranked = sorted((label for label in labels if label not in paper), key=lambda label: mean[label])
    worst = tuple(ranked[:EXTREMES])
    best = tuple(ranked[max(len(worst), len(ranked) - EXTREMES) :][::-1])
    groups = [
        (name, chosen) for name, chosen in (("the paper's classes", paper), ("worst", worst), ("best", best)) if chosen
    ]
    displayed = [label for _, chosen in groups for label in chosen]

    def cells_of(row: Row) -> list[Cell] | None:
        precision = row.conditions[snr].per_class.get("ap") if snr in row.conditions else None
        verified = snr in row.conditions and row.conditions[snr].verified(class_values("ap"))
        return [value_cell(precision.get(label), 3, verified=verified) for label in displayed] if precision else None

    def chance_cells(folds: tuple[int, ...]) -> list[Cell]:
        values = board.chance.classes(folds)
        return [value_cell(values.get(label), 3) for label in displayed]

    blocks = maker.blocks(cells_of, [snr], chance_cells)
    if snr == CLASSES_AT and paper:
        published = [dict(zip(table.classes, row.scores[snr], strict=True)) for row in table.rows]
        lines = [
            Line(row.name, tuple(value_cell(scores.get(label), 3) for label in displayed), (), NOT_REPORTED)
            for row, scores in zip(table.rows, published, strict=True)
        ]
        blocks += maker.published_block(table.source, lines)
    return Table(
        f"Average precision of single classes at {board.snr_text(snr)}",
        "system",
        tuple((name, tuple(Column(label, "higher") for label in chosen)) for name, chosen in groups),
        tuple(blocks),
        (
            *maker.line_notes(blocks),
            "Worst and best by the mean over the rows of this data set. Classes that do not occur in the fold are"
            " left out.",
        ),
        (TESTED, EVIDENCE),
    )


def clip_snr_table(maker: TableMaker, snr: float) -> Table | None:
    """Return micro-AP by the SNR of the clips, where that is drawn from a range."""
    board = maker.leaderboard
    conditions = [row.conditions[snr] for row in board.rows if snr in row.conditions]
    bins = list(dict.fromkeys(name for condition in conditions for name in condition.by_snr.get(METRIC, {})))
    if not bins:
        return None

    def cells_of(row: Row) -> list[Cell] | None:
        values = row.conditions[snr].by_snr.get(METRIC) if snr in row.conditions else None
        return [value_cell(values.get(name)) for name in bins] if values else None

    blocks = maker.blocks(cells_of, [snr])
    return Table(
        f"micro-AP by the SNR of the clips, drawn from {board.snr_text(snr)}",
        "system",
        (("", tuple(Column(name, "higher") for name in bins)),),
        tuple(blocks),
        (*maker.line_notes(blocks), "Of the test clips with that SNR alone; clips without events are in no column."),
        (TESTED, EVIDENCE),
    )


def _series_table(
    maker: TableMaker,
    what: str,
    head: str,
    setting: str,
    rows: Sequence[Row],
    *,
    family: Callable[[Row], str | None],
    name_of: Callable[[Row], str | None],
    head_of: Callable[[Row], str],
    flagged: bool = True,
    published: Sequence[Block] = (),
) -> Table | None:
    """Return micro-AP by a setting and SNR, with a block per series of rows that differ in it only; None without any.

    Parameters
    ----------
    family : what rows of a series have in common beside their settings
    name_of : what a series is called, from its last row
    head_of : what the line of a row is called
    flagged : whether lines have the letters of their flags
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if isinstance(row.settings.get(setting), (int, float)):
            rest = {key: value for key, value in row.settings.items() if key != setting}
            groups.setdefault(json.dumps([family(row), rest, row.kind], sort_keys=True), []).append(row)
    series = [sorted(group, key=lambda row: row.settings[setting]) for group in groups.values()]
    series = [group for group in series if len({row.settings[setting] for row in group}) > 1]
    if not series:
        return None
    board, snrs = maker.leaderboard, maker.leaderboard.snrs

    def line(row: Row) -> Line:
        cells = [replace(estimate_cell(row.estimate(snr, METRIC)), bold=False) for snr in snrs]
        table_line = replace(maker.line(row, cells, snrs), head=marked(head_of(row), not row.submission))
        return table_line if flagged else replace(table_line, letters=())

    blocks = [
        Block(f"{name_of(group[-1])}, {KIND_HEADINGS[group[-1].kind].lower()}", tuple(map(line, group)))
        for group in series
    ]
    blocks += maker.common_chance([row for group in series for row in group], snrs, [METRIC] * len(snrs))
    blocks += published
    return Table(
        f"{what}, micro-AP",
        head,
        (("", tuple(Column(board.snr_text(snr), "higher") for snr in snrs)),),
        tuple(blocks),
        maker.line_notes(blocks),
        (TESTED, EVIDENCE),
    )


def time_text(seconds: float | None) -> str:
    """Return a time in a unit that suits it: 8.1 s, 12.4 min, 3.2 h; "" for None."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def cost_table(maker: TableMaker) -> Table | None:
    """Return parameters, MACs, training time and device of every row; None where no row reports one.

    Where a row has a frozen encoder, trainable and all parameters have columns of their own, and so do the encoder's
    MACs.
    """
    board = maker.leaderboard
    if all(row.cost == Cost() for row in board.rows):
        return None
    frozen = any(row.pretrained_on or row.cost.frozen_parameters for row in board.rows)

    def cells_of(row: Row) -> list[Cell]:
        cost = row.cost
        trained, macs = quantity(cost.parameters), quantity(cost.macs)
        texts = [trained, macs, time_text(cost.seconds), cost.device or ""]
        if frozen:
            of_encoder = ("", "")  # not reported
            if cost.frozen_parameters is not None:
                of_encoder = quantity(cost.frozen_parameters + (cost.parameters or 0)), quantity(cost.frozen_macs)
            elif not row.pretrained_on:
                of_encoder = trained, "0"
            texts = [trained, of_encoder[0], macs, of_encoder[1], *texts[2:]]
        return [Cell(marked(text, not row.submission) if text else NOT_REPORTED) for text in texts]

    titles = ["parameters", "MACs per clip", "training time", "device"]
    if frozen:
        titles = ["trainable parameters", "all parameters", titles[1], "MACs of the encoder", *titles[2:]]
    return Table(
        "Cost",
        "system",
        (("", tuple(Column(title) for title in titles)),),
        tuple(maker.blocks(cells_of, board.snrs)),
        (
            "MACs: multiply-accumulate operations of a forward pass on one clip. Training time: per run, including the"
            " predictions of the test clips, averaged over SNRs, folds and seeds"
            + (", without the embeddings, which are computed once." if frozen else "."),
        ),
        (TESTED, EVIDENCE),
    )


def probe_tables(maker: TableMaker) -> tuple[Table, ...]:
    """Return the tables of the probes that were made."""
    return tuple(table for table in (shift_table(maker), trained_and_tested_table(maker)) if table is not None)


def shift_table(maker: TableMaker) -> Table | None:
    """Return micro-AP beside micro-AP on rolled clips: mean and worst over the shifts, and the difference."""
    board = maker.leaderboard
    probed = [condition for row in board.rows for condition in _shifted(row)]
    if not probed:
        return None
    snrs = [snr for snr in board.snrs if any(condition.snr == snr for condition in probed)]
    blocks = maker.blocks(
        lambda row: [cell for snr in snrs for cell in _shift_cells(row.conditions.get(snr))] if _shifted(row) else None,
        snrs,
        lambda folds: [*maker.chance_cells(folds, [METRIC] * 3), Cell()] * len(snrs),  # rolling keeps the labels
    )
    notes = [*maker.line_notes(blocks), *_shift_notes(probed)]
    columns = ("unshifted", "mean", "worst")
    return Table(
        f"{title(METRIC)}, shifted: test clips rolled in time",
        "system",
        tuple(
            (board.snr_text(snr), (*(Column(heading, "higher") for heading in columns), Column("difference")))
            for snr in snrs
        ),
        tuple(blocks),
        tuple(notes),
        texts=(EVIDENCE,),
    )


def _shifted(row: Row) -> list[Condition]:
    """Return the SNRs of a row at which its rolled clips were tested."""
    return [
        condition
        for condition in row.conditions.values()
        if condition.probes is not None and condition.probes.shifts is not None
    ]


def _shift_notes(conditions: Sequence[Condition]) -> list[str]:
    """Say by how much the clips of each fold were rolled, and what the columns are."""
    folds: dict[tuple[float, ...], set[int]] = {}
    for record in (record for condition in conditions for record in condition.records):
        folds.setdefault(record.shifts or (), set()).add(record.system.fold)
    without = sorted(folds.pop((), ()))
    notes = []
    for shifts, of_shifts in folds.items():
        where = f" in {numbered(sorted(of_shifts), 'fold')}" if without or len(folds) > 1 else ""
        seconds = ", ".join(f"{shift:g}" for shift in shifts)
        notes.append(f"Rolled by {seconds} s{where}, which keeps every event whole.")
    notes += [f"{no_shift(fold)[:1].upper()}{no_shift(fold)[1:]}." for fold in without]
    if len(folds) > 1:
        notes.append("Mean: over each fold's own shifts. Worst: of the shifts that all folds of a row have, if any.")
    if folds:
        notes.append(
            "Difference: mean over the shifts minus unshifted, with its 95 % interval from paired bootstrap samples."
            " A system that detects events loses little; one that has learned when they occur loses much."
        )
    return notes


def _shift_cells(condition: Condition | None) -> list[Cell]:
    """Return micro-AP unshifted, its mean and worst over the shifts, and the difference of the mean."""
    probes = None if condition is None else condition.probes
    if condition is None or probes is None or probes.shifts is None:
        return [Cell()] * 4
    unmoved = replace(estimate_cell(condition.metrics.get(METRIC)), bold=False, below="")
    worst = probes.worst
    return [
        unmoved,
        estimate_cell(probes.mean),
        Cell() if worst is None else replace(estimate_cell(worst[1]), below=f"at {worst[0]:g} s", bold=False),
        difference_cell(probes.difference),
    ]


def trained_and_tested_table(maker: TableMaker) -> Table | None:
    """Return micro-AP by the SNR trained at (down) and the SNR tested at (across)."""
    board = maker.leaderboard
    probed = [
        (row, c) for row in board.rows for c in row.conditions.values() if c.probes is not None and c.probes.tested
    ]
    if not probed:
        return None
    tested = sorted({snr for _, c in probed for snr in _tested(c)}, reverse=True)

    def cells(condition: Condition) -> list[Cell]:
        return [replace(estimate_cell(_tested(condition).get(snr)), bold=False) for snr in tested]

    blocks = []
    for kind, heading in KIND_HEADINGS.items():
        lines = tuple(
            replace(maker.line(row, cells(c), [c.snr]), head=f"{row.name}, {board.snr_text(c.snr)}")
            for row, c in sorted(probed, key=lambda pair: (board.rows.index(pair[0]), -pair[1].snr))
            if row.kind == kind
        )
        if lines:
            blocks.append(Block(heading, lines))
    blocks += maker.common_chance([row for row, _ in probed], board.snrs, [METRIC] * len(tested))
    return Table(
        f"{title(METRIC)} by the SNR trained at and the SNR tested at",
        "system, trained at",
        (("tested at", tuple(Column(board.snr_text(snr), "higher") for snr in tested)),),
        tuple(blocks),
        (*maker.line_notes(blocks),),
        (TESTED, EVIDENCE),
    )


def _tested(condition: Condition) -> dict[float, Estimate]:
    """Return micro-AP by the SNR tested at, that of the training among them."""
    tested = {} if condition.probes is None else dict(condition.probes.tested)
    trained = condition.metrics.get(METRIC)
    return tested if trained is None else tested | {condition.snr: trained}
