"""The tables beside the main one: weight of the reconstruction, size of the training data, single classes, SNR, cost;
the comparison of two rows; a submitted row beside what its predictions give.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.record import Cost, class_values
from remixbench.leaderboard.rows import Row
from remixbench.leaderboard.significance import Comparison
from remixbench.leaderboard.submission import Verification
from remixbench.leaderboard.table_maker import KIND_HEADINGS, TableMaker, caption
from remixbench.leaderboard.tables import (
    EVIDENCE,
    NOT_REPORTED,
    NOT_VERIFIED,
    TESTED,
    Block,
    Cell,
    Column,
    Line,
    Table,
    at_snrs,
    estimate_cell,
    marked,
    numbered,
    quantity,
    signed,
    title,
    training_only,
    value_cell,
)

METRIC = "micro_ap"
EXTREMES = 3
"""How many of the best and of the worst classes are shown beside the paper's four."""
WITHOUT_RECONSTRUCTION = {"2ap": "2ap-aux"}
"""A system that is another with the weight of its reconstruction at zero."""


def alpha_table(maker: TableMaker) -> Table | None:
    """Return the paper's Table 2: micro-AP by the weight α of the reconstruction, where there are several."""
    series = _series(
        (row for row in maker.leaderboard.rows if row.settings.get("options") is not None),
        "alpha",
        lambda row: WITHOUT_RECONSTRUCTION.get(row.system or "", row.system),
    )
    snrs, published = maker.leaderboard.snrs, maker.leaderboard.published.table2
    lines = [
        Line(f"α = {row.alpha:g}", tuple(value_cell(row.scores.get(snr)) for snr in snrs), (), NOT_REPORTED)
        for row in published.rows
    ]
    return _series_table(
        maker,
        "Weight of the reconstruction (α)",
        "weight",
        series,
        name_of=lambda row: row.system,
        head_of=lambda row: f"α = {row.settings['alpha']:g}",
        published=maker.published_block(published.source, lines),
    )


def fraction_table(maker: TableMaker) -> Table | None:
    """Return micro-AP by the part of the training clips that was used, where there are several."""

    def part(row: Row) -> str:
        percent = f"{row.settings['fraction']:.4%}".rstrip("0%").rstrip(".")
        return f"{percent} % of the training clips"

    series = _series(maker.leaderboard.rows, "fraction", lambda row: row.system)
    return _series_table(
        maker,
        "Size of the training data",
        "trained on",
        series,
        name_of=lambda row: row.name,
        head_of=part,
        flagged=False,
    )


def class_table(maker: TableMaker) -> Table | None:
    """Return the paper's Table 3: AP of single classes at 0 dB: the paper's four, the worst, the best."""
    board = maker.leaderboard
    table = board.published.table3
    snr = table.snr if table.snr in board.snrs else min(board.snrs)
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
    shown = [label for _, chosen in groups for label in chosen]

    def cells_of(row: Row) -> list[Cell] | None:
        precision = row.conditions[snr].per_class.get("ap") if snr in row.conditions else None
        verified = snr in row.conditions and row.conditions[snr].verified(class_values("ap"))
        return [value_cell(precision.get(label), 3, verified=verified) for label in shown] if precision else None

    def chance_cells(folds: tuple[int, ...]) -> list[Cell]:
        values = board.chance.classes(folds)
        return [value_cell(values.get(label), 3) for label in shown]

    blocks = maker.blocks(cells_of, [snr], chance_cells)
    if snr == table.snr and paper:
        published = [dict(zip(table.classes, row.scores, strict=True)) for row in table.rows]
        lines = [
            Line(row.name, tuple(value_cell(scores.get(label), 3) for label in shown), (), NOT_REPORTED)
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


def _series(rows: Iterable[Row], setting: str, family: Callable[[Row], str | None]) -> list[list[Row]]:
    """Return the groups of rows that differ in one setting only, where it has two values or more."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if isinstance(row.settings.get(setting), (int, float)):
            rest = {key: value for key, value in row.settings.items() if key != setting}
            groups.setdefault(json.dumps([family(row), rest, row.kind], sort_keys=True), []).append(row)
    series = [sorted(group, key=lambda row: row.settings[setting]) for group in groups.values()]
    return [group for group in series if len({row.settings[setting] for row in group}) > 1]


def _series_table(
    maker: TableMaker,
    what: str,
    head: str,
    series: Sequence[Sequence[Row]],
    *,
    name_of: Callable[[Row], str | None],
    head_of: Callable[[Row], str],
    flagged: bool = True,
    published: Sequence[Block] = (),
) -> Table | None:
    """Return micro-AP by `what` and SNR, with a block of lines per series; None where there is no series.

    Parameters
    ----------
    name_of : what a series is called, from its last row
    head_of : what the line of a row is called
    flagged : whether lines have the letters of their flags
    """
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


NO_INTERVAL = "No interval: one row or both lack the metric in most bootstrap samples."
UNVERIFIED_DIFFERENCE = f"{NOT_VERIFIED}: not verified; one row or both are self-reported."


def comparison_table(comparison: Comparison, board: Leaderboard) -> Table:
    """Return how two systems differ: metrics down, SNRs across."""
    by_condition = {(difference.snr, difference.metric): difference for difference in comparison.differences}
    snrs = tuple(dict.fromkeys(difference.snr for difference in comparison.differences))
    lines = []
    for metric in dict.fromkeys(difference.metric for difference in comparison.differences):
        cells = []
        for snr in snrs:
            difference = by_condition.get((snr, metric))
            if difference is None:
                cells.append(Cell())
            else:
                below = ""
                if difference.interval is not None:
                    low, high = difference.interval
                    below = f"{signed(low, 3)} to {signed(high, 3)}, P {difference.superiority:.3f}"
                bold = difference.significant and difference.verified
                cells.append(Cell(marked(signed(difference.difference), difference.verified), below, bold))
        of_metric = [difference for difference in comparison.differences if difference.metric == metric]
        tested = {
            difference.snr: numbered(difference.folds, "fold")
            + f", {training_only(len(difference.folds))}" * difference.one_training
            for difference in of_metric
        }
        lines.append(Line(title(metric), tuple(cells), (), at_snrs(tested)))
    certain = [difference for difference in comparison.differences if difference.interval is not None]
    resamples = sorted({difference.resamples for difference in certain})
    how = (
        f"Under each difference its 95 % interval from {' or '.join(map(str, resamples))} paired bootstrap samples over"
        " event recordings (the same for both systems) and from the spread over seeds, and P, the probability that"
        f" {comparison.first} is higher."
    )
    if any(cell.bold for line in lines for cell in line.cells):
        how += " Bold: significant (the interval excludes zero, and not both are at chance)."
    return Table(
        f"{comparison.first} minus {comparison.second} on {board.dataset}",
        "metric",
        (("", tuple(Column(board.snr_text(snr)) for snr in snrs)),),
        (Block("", tuple(lines)),),
        (
            *([how] if certain else []),
            *([] if len(certain) == len(comparison.differences) else [NO_INTERVAL]),
            *([] if all(difference.verified for difference in comparison.differences) else [UNVERIFIED_DIFFERENCE]),
        ),
        (TESTED,),
        caption(board),
    )


def verification_table(verification: Verification) -> Table:
    """Return which values of a submitted row agree with its predictions, a value per line, record by record."""

    def number(value: float | None) -> Cell:
        return Cell("" if value is None else f"{value:.6g}")

    blocks = [
        Block(
            name,
            tuple(
                Line(
                    value.name,
                    (number(value.submitted), number(value.computed), Cell(value.verdict), Cell(value.why)),
                )
                for value in verification.values
                if value.record == place
            ),
        )
        for place, name in verification.records.items()
    ]
    verdicts = Counter(value.verdict for value in verification.values)
    empty = [block.heading for block in blocks if not block.lines]
    return Table(
        f"{verification.row}, as submitted and as its predictions give",
        "value",
        (("", tuple(Column(title) for title in ("submitted", "computed", "verdict", "reason"))),),
        tuple(block for block in blocks if block.lines),
        (
            f"{'; '.join(f'{count} {verdict}' for verdict, count in verdicts.items())}.",
            *([f"No predictions were given of {', '.join(empty)}."] if empty else []),
        ),
    )
