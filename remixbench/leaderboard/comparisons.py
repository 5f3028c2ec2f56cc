"""The comparison of two rows, and a submitted row beside what its predictions give, as text in every format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.renderers import dumps, render_tables
from remixbench.leaderboard.rows import Estimate
from remixbench.leaderboard.significance import Comparison
from remixbench.leaderboard.submission import Verification
from remixbench.leaderboard.table_maker import caption
from remixbench.leaderboard.tables import (
    NOT_VERIFIED,
    TESTED,
    Block,
    Cell,
    Column,
    Line,
    Table,
    at_snrs,
    difference_cell,
    numbered,
    title,
    training_only,
)


def render_comparison(
    comparison: Comparison, leaderboard: Leaderboard, style: str = "table", *, width: int | None = None,
    colour: bool = False,
) -> str:  # fmt: skip
    """Return how two rows of a leaderboard differ as text; parameters and errors as in `render`."""
    lines = [difference.as_dict() for difference in comparison.differences]
    if style == "csv":
        return _csv([line | {"folds": "; ".join(map(str, line["folds"]))} for line in lines])
    if style == "json":
        return dumps({"first": comparison.first, "second": comparison.second, "differences": lines})
    return render_tables([comparison_table(comparison, leaderboard)], style, width=width, colour=colour)


def render_verification(
    verification: Verification, style: str = "table", *, width: int | None = None, colour: bool = False
) -> str:
    """Return the verification of a submitted row as text; parameters and errors as in `render`."""
    lines = [asdict(value) | {"record": verification.records[value.record]} for value in verification.values]
    if style == "csv":
        return _csv(lines)
    if style == "json":
        return dumps({"row": verification.row, "agrees": verification.agrees, "values": lines})
    return render_tables([verification_table(verification)], style, width=width, colour=colour)


def _csv(lines: Sequence[Mapping[str, Any]]) -> str:
    import pandas as pd

    text: str = pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")
    return text


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
                continue
            estimate = Estimate(difference.difference, difference.low, difference.high, verified=difference.verified)
            cell = difference_cell(estimate)
            if difference.interval is not None:
                cell = replace(cell, below=f"{cell.below}, P {difference.superiority:.3f}")
            cells.append(replace(cell, bold=difference.significant and difference.verified))
        of_metric = [difference for difference in comparison.differences if difference.metric == metric]
        tested = {
            difference.snr: numbered(difference.folds, "fold")
            + f", {training_only(len(difference.folds))}" * difference.one_training
            for difference in of_metric
        }
        lines.append(Line(title(metric), tuple(cells), (), at_snrs(tested)))
    certain = [difference for difference in comparison.differences if difference.interval is not None]
    resamples = sorted({difference.resamples for difference in certain})
    note = (
        f"Under each difference its 95 % interval from {' or '.join(map(str, resamples))} paired bootstrap samples over"
        " event recordings (the same for both systems) and from the spread over seeds, and P, the probability that"
        f" {comparison.first} is higher."
    )
    if any(cell.bold for line in lines for cell in line.cells):
        note += " Bold: significant (the interval excludes zero, and not both are at chance)."
    return Table(
        f"{comparison.first} minus {comparison.second} on {board.dataset}",
        "metric",
        (("", tuple(Column(board.snr_text(snr)) for snr in snrs)),),
        (Block("", tuple(lines)),),
        (
            *([note] if certain else []),
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
                if value.record == index
            ),
        )
        for index, name in verification.records.items()
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
