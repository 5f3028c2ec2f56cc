"""`figure`: the leaderboard for a paper, as a curve against the SNR or as its Table 1, in PDF, SVG or LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from remixbench.dataset.dataset import Dataset, as_tuple, find_dataset
from remixbench.errors import InputError, unknown
from remixbench.files import as_path, write_text
from remixbench.leaderboard.board_tables import columns
from remixbench.leaderboard.grouping import by_fold
from remixbench.leaderboard.leaderboard import Leaderboard, load_leaderboard
from remixbench.leaderboard.record import CHANCE, FLAGS
from remixbench.leaderboard.renderers.text import to_paper_table
from remixbench.leaderboard.rows import Condition, Estimate, Row, tested_alike
from remixbench.leaderboard.significance import mark_best
from remixbench.leaderboard.table_maker import KIND_HEADINGS, TableMaker
from remixbench.leaderboard.tables import (
    AT_CHANCE,
    NOT_VERIFIED,
    ONE_TRAINING,
    Column,
    Table,
    estimate_cell,
    folds_of,
    numbered,
    span,
    title,
)
from remixbench.plots.style import FAINT, INK, WIDTH, sheet, write_figure
from remixbench.progress import Progress, reporter
from remixbench.scoring.metrics import find_metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("snr", "table")
METRICS = {"snr": ("micro_ap",), "table": ("micro_ap", "macro_ap")}
"""The metrics shown by default."""
MOST_PANELS = 4
COLUMN = 3.5
"""Inches: one column of a two-column paper."""
MARKERS = "osD^vPX*"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c7200", "#56b4e9", "#3a3a3a", "#6a51a3")
ONE_TRAINING_NOTE = f"{ONE_TRAINING}: one training per fold; another may differ by more."
NOT_VERIFIED_NOTE = f"{NOT_VERIFIED}: self-reported."
LINE_INCHES, LETTER_INCHES = 0.155, 0.062
"""Height of a line and width of a letter in a drawn table."""
NOTE_LETTERS = 1.2
"""Letters of a note below it per letter of the table."""


def figure(
    out: str | Path,
    *,
    kind: str | None = None,
    metric: str | Sequence[str] = (),
    row: str | Sequence[str] = (),
    without: str | Sequence[str] = (),
    snr: float | Sequence[float] = (),
    intervals: bool = True,
    published: bool = True,
    dataset: str | Path | Dataset | None = None,
    workspace: str | Path = ".",
    progress: Progress | bool = False,
) -> Path:
    """Write the leaderboard as a figure or a table for a paper, and return its path.

    Parameters
    ----------
    out : file to write, .pdf, .svg or .tex; LaTeX needs only booktabs and compiles within a two-column paper.
    kind : `snr`, metrics against the SNR, or `table`, systems down and SNRs across; by default a table where `out` is
        LaTeX, otherwise `snr`.
    metric : names of metrics; by default micro-AP, in a table also macro-AP.
    row : names of rows, in the order wanted; by default all except ideal masks and those without any of the metrics.
    without : rows to leave out, by their names or by the codes of their flags (`setting`, `fraction`, `test-epoch`).
    snr : SNRs in dB; by default all.
    intervals : whether to show 95 % intervals.
    published : whether to show published results, where they are on the same data set.
    dataset : name or folder of a data set; by default the most recent one.
    workspace : folder of data sets, runs and leaderboards.
    progress : True for lines on a terminal, or a progress reporter.

    Raises
    ------
    InputError
        For another format or kind, a metric, row or SNR that is not on the leaderboard, or nothing to show.
    """
    target = as_path(out, "out")
    kind = _kind(target, kind)
    workspace = as_path(workspace, "workspace")
    board = load_leaderboard(workspace, find_dataset(workspace, dataset), reporter(progress))
    selection = _selected(board, as_tuple(row), as_tuple(without), as_tuple(snr))
    metrics = _metrics(selection, as_tuple(metric) or METRICS[kind])
    if not row:  # an event list has no metric of tagging
        rows = [r for r in selection.rows if any(c.metrics.keys() & {*metrics} for c in r.conditions.values())]
        selection = replace(selection, rows=tuple(rows))
    if kind == "snr":
        _draw_curves(target, selection, metrics, intervals, published)
        return target
    table = paper_table(selection, metrics, intervals=intervals, published=published)
    if target.suffix.lower() == ".tex":
        write_text(target, to_paper_table(table))
    else:
        _draw_table(target, table)
    return target


def _kind(target: Path, kind: str | None) -> str:
    suffix = target.suffix.lower()
    if kind is not None and kind not in KINDS:
        raise unknown("figure kind", kind, list(KINDS))
    if suffix not in (".pdf", ".svg", ".tex"):
        raise InputError(f"{target}: cannot write '{target.suffix}'; expected a name ending in .pdf, .svg or .tex")
    if suffix == ".tex" and kind == "snr":
        raise InputError(f"{target}: curves cannot be LaTeX; write .pdf or .svg, or use --kind table")
    return kind or ("table" if suffix == ".tex" else "snr")


def _selected(board: Leaderboard, names: Sequence[str], without: Sequence[str], snrs: Sequence[float]) -> Leaderboard:
    """Return the leaderboard of some rows and SNRs alone, marked anew."""
    rows = [board.find_row(name) for name in names] or [row for row in board.rows if row.kind != "ideal"]
    codes = {*FLAGS, *(flag.code for row in board.rows for flag in row.flags)}
    for name in without:
        if name not in codes and name not in (row.name for row in board.rows):
            raise unknown("row or flag", name, [*(row.name for row in board.rows), *sorted(codes)])
    rows = [row for row in rows if row.name not in without and not {flag.code for flag in row.flags} & set(without)]
    for snr in snrs:
        board.require_snr(snr)
    selected = [
        replace(
            row, conditions={snr: condition for snr, condition in row.conditions.items() if not snrs or snr in snrs}
        )
        for row in rows
    ]
    selected = [row for row in selected if row.conditions]
    if not selected:
        raise InputError("no row is left to show; use fewer --without, or other --row or --snr")
    return replace(board, rows=mark_best(selected))


def _metrics(board: Leaderboard, names: Sequence[str]) -> list[str]:
    available = board.metrics()
    for name in names:
        if find_metric(name).name not in available:
            raise InputError(f"--metric {name}: no row has it; choose from {', '.join(available)}")
    return list(dict.fromkeys(names))


def paper_table(board: Leaderboard, metrics: Sequence[str], *, intervals: bool = True, published: bool = True) -> Table:
    """Return systems down and SNRs across, with some metrics, as a paper has it."""
    maker, snrs = TableMaker(board), board.snrs
    blocks = maker.blocks(
        lambda row: [
            estimate_cell(row.estimate(snr, metric), 3, interval=intervals) for snr in snrs for metric in metrics
        ],
        snrs,
        lambda folds: maker.chance_cells(folds, [*metrics] * len(snrs), 3),
    )
    heads = {row.name: _marked(row.name, row) for row in board.rows}
    trained = KIND_HEADINGS["run"]  # which goes without saying in a paper
    blocks = [
        replace(
            block,
            heading="" if block.heading == trained else block.heading.replace(f"{trained}, tested", "Tested"),
            lines=tuple(replace(line, head=heads.get(line.head, line.head)) for line in block.lines),
        )
        for block in blocks
    ]
    if published:
        blocks += maker.published_rows(snrs, metrics, 3)
    (first, _), *others = tested_alike(board.rows, snrs)
    conditions = [condition for row in board.rows for condition in row.conditions.values()]
    shown = [condition.metrics[metric] for condition in conditions for metric in metrics if metric in condition.metrics]
    return Table(
        title=f"{_listed([title(metric) for metric in metrics])} on {board.dataset}",
        head="system",
        groups=tuple((board.snr_text(snr), columns(metrics)) for snr in snrs)
        if len(metrics) > 1
        else ((title(metrics[0]), tuple(Column(board.snr_text(snr)) for snr in snrs)),),
        blocks=tuple(blocks),
        notes=(
            *([ONE_TRAINING_NOTE] if any(condition.one_training for condition in conditions) else []),
            *(f"{letter}: {flag.text}." for flag, letter in maker.letters.items()),
        ),
        caption=(
            f"Tested on {folds_of(first)}{', where no heading says otherwise' * bool(others)}.",
            _trainings(conditions),
            *(["Below a value: its 95 % interval."] if intervals and _any(shown, "low") else []),
            *(["±: standard deviation over seeds, or over folds."] if _any(shown, "std") else []),
            *(["Bold: no system is significantly better."] if _any(shown, "best") else []),
            *([f"{AT_CHANCE}: not above chance."] if _any(shown, "at_chance") else []),
            *([NOT_VERIFIED_NOTE] if not all(estimate.verified for estimate in shown) else []),
        ),
    )


def _marked(name: str, row: Row) -> str:
    """Return the name of a row, with its evidence if submitted, and a mark if it has one training per fold."""
    evidence = f" ({row.evidence})" if row.evidence != "ours" else ""
    return f"{name}{evidence}{ONE_TRAINING * any(condition.one_training for condition in row.conditions.values())}"


def _trainings(conditions: Sequence[Condition]) -> str:
    """Say how many trainings each fold has."""
    counts = {len(records) for condition in conditions for records in by_fold(condition.records).values()}
    return "One training per fold." if counts == {1} else f"{span(counts)} trainings per fold."


def _any(estimates: Sequence[Estimate], name: str) -> bool:
    return any(getattr(estimate, name) not in (None, False) for estimate in estimates)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


@dataclass(frozen=True)
class _Curve:
    """A line of a panel: its name, its points by SNR, and how it looks."""

    name: str
    points: dict[float, Estimate]
    colour: str
    marker: str
    published: bool = False


def _curves(board: Leaderboard, metric: str, published: bool) -> list[_Curve]:
    curves = []
    several = len(tested_alike(board.rows, board.snrs)) > 1
    for index, row in enumerate(board.rows):
        points = {
            snr: condition.metrics[metric]
            for snr, condition in sorted(row.conditions.items())
            if metric in condition.metrics
        }
        folds = dict.fromkeys(numbered(condition.folds, "fold") for condition in row.conditions.values())
        name = _marked(f"{row.name}, {' or '.join(folds)}" if several else row.name, row)
        if row.evidence != "self-reported" and not all(point.verified for point in points.values()):
            name += NOT_VERIFIED
        curves.append(_Curve(name, points, PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]))
    if published and board.comparable:
        for index, line in enumerate(board.published.table1.rows):
            values = {snr: board.published.value(line.system, snr, metric) for snr in board.snrs}
            points = {snr: Estimate(value) for snr, value in sorted(values.items()) if value is not None}
            look = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
            curves.append(_Curve(f"{line.name} (published)", points, *look, published=True))
    return [curve for curve in curves if curve.points]


def _draw_curves(target: Path, board: Leaderboard, metrics: Sequence[str], intervals: bool, published: bool) -> None:
    """Draw a panel per metric; whiskers stand side by side."""
    if len(board.snrs) < 2:
        raise InputError(
            f"a curve needs two SNRs or more, but the rows shown have only {board.snrs[0]:g} dB; use --kind table"
        )
    if len(metrics) > MOST_PANELS:
        raise InputError(f"--metric: {len(metrics)} metrics, expected at most {MOST_PANELS} in one figure")
    panels = [_curves(board, metric, published) for metric in metrics]
    names = list(dict.fromkeys(curve.name for curves in panels for curve in curves))
    width = COLUMN if len(metrics) == 1 else WIDTH
    across = max(1, int(width / (0.45 + LETTER_INCHES * max(map(len, names)))))
    points = [point for curves in panels for curve in curves for point in curve.points.values()]
    notes = (
        *(["Whiskers: 95 % intervals."] if intervals and _any(points, "low") else []),
        *([ONE_TRAINING_NOTE] if any(ONE_TRAINING in name for name in names) else []),
        *([NOT_VERIFIED_NOTE] if any(name.endswith(NOT_VERIFIED) for name in names) else []),
    )
    rows = -(-(len(names) + 1) // across) + len(notes)
    with sheet(2.1 + 0.15 * rows, width) as drawn:
        axes = drawn.subplots(1, len(metrics), squeeze=False)[0]
        handles: dict[str, Any] = {}
        for panel, metric, curves in zip(axes, metrics, panels, strict=True):
            handles |= _draw_panel(panel, board, metric, curves, intervals)
        drawn.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=across,
            frameon=False,
            fontsize=6.5,
            title="\n".join(notes) or None,
            title_fontsize=5.5,
        )
        write_figure(drawn, target)


def _draw_panel(
    panel: Axes, board: Leaderboard, metric: str, curves: Sequence[_Curve], intervals: bool
) -> dict[str, Any]:
    """Draw the curves of one metric, and chance where there is one; returns what the legend shows."""
    handles: dict[str, Any] = {}
    snrs = sorted(board.snrs)
    step = 0.012 * (snrs[-1] - snrs[0])
    ours = [curve for curve in curves if not curve.published]
    for curve in curves:
        shift = 0.0 if curve.published or not intervals else step * (ours.index(curve) - (len(ours) - 1) / 2)
        x, y = [snr + shift for snr in curve.points], [point.value for point in curve.points.values()]
        (handles[curve.name],) = panel.plot(
            x, y, color=curve.colour, marker=curve.marker, markersize=3.5,
            markerfacecolor="white" if curve.published else curve.colour,
            linestyle=":" if curve.published else "-",
        )  # fmt: skip
        whiskers = [
            (at, point.low, point.high)
            for at, point in zip(x, curve.points.values(), strict=True)
            if intervals and point.low is not None and point.high is not None
        ]
        for at, low, high in whiskers:
            panel.vlines(at, low, high, color=curve.colour, linewidth=0.8, alpha=0.7)
    folds, _ = board.tested(board.snrs[0])[0]
    level = board.chance.metrics(folds).get(metric)
    if level is not None:
        several = len(tested_alike(board.rows, board.snrs)) > 1
        name = f"{CHANCE}, {numbered(folds, 'fold')}" if several else CHANCE
        handles[name] = panel.axhline(level, color=FAINT, linestyle="--", linewidth=0.8)
    panel.set_xticks(snrs, [f"{snr:g}" for snr in snrs])
    panel.set_xlabel("SNR (dB)")
    panel.set_ylabel(title(metric))
    panel.grid(axis="y", color="#e3e3e3", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    if find_metric(metric).range[0] == 0:
        panel.set_ylim(bottom=0)
    return handles


def _draw_table(target: Path, table: Table) -> None:
    """Draw a table as a paper sets it: rules above, below and under the heads."""
    lines = [line for block in table.blocks for line in block.lines]
    widths = [
        max(len(column.title), *(max(len(line.cells[k].text), 0.8 * len(line.cells[k].below)) for line in lines)) + 1.5
        for k, column in enumerate(table.columns)
    ]
    names = [line.head + ",".join(line.letters) for line in lines]
    first = max(map(len, [table.head, *names])) + 1.5
    tall = any(cell.below for line in lines for cell in line.cells)
    per_line = 1.8 if tall else 1.0
    ends = [first + sum(widths[: k + 1]) for k in range(len(widths))]
    width = ends[-1]
    texts = [" ".join(table.caption), *table.notes]
    notes = [line for text in texts for line in wrap(text, int(NOTE_LETTERS * width))]
    total = 2.6 + sum(per_line * len(b.lines) + bool(b.heading) + 0.3 for b in table.blocks) + len(notes) + 0.4
    with sheet(total * LINE_INCHES, width * LETTER_INCHES) as drawn:
        drawn.set_layout_engine("none")
        axes = drawn.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(total, 0)

        def rule(y: float, start: float = 0.0, stop: float = width, weight: float = 0.5) -> None:
            axes.plot([start, stop], [y, y], color=INK, linewidth=weight, clip_on=False)

        rule(0.1, weight=0.9)
        column_index = 0
        for heading, group in table.groups:
            start, stop = (ends[column_index - 1] if column_index else first), ends[column_index + len(group) - 1]
            axes.text((start + stop) / 2, 0.75, heading, ha="center", va="center")
            rule(1.25, start + 0.7, stop - 0.2)
            column_index += len(group)
        axes.text(0.3, 1.85, table.head, va="center")
        for end, column in zip(ends, table.columns, strict=True):
            axes.text(end - 0.5, 1.85, column.title, ha="right", va="center")
        y = 2.4
        for block in table.blocks:
            rule(y)
            y += 0.3
            if block.heading:
                axes.text(0.3, y + 0.45, block.heading, style="italic", va="center")
                y += 1.0
            for line in block.lines:
                name = axes.text(0.3, y + 0.45, line.head, va="center")
                axes.annotate(
                    ",".join(line.letters), (1, 0.55), (1, 0), xycoords=name, textcoords="offset points", fontsize=5.5
                )
                for end, cell in zip(ends, line.cells, strict=True):
                    weight = "bold" if cell.bold else "normal"
                    axes.text(end - 0.5, y + 0.45, cell.text, ha="right", va="center", weight=weight)
                    axes.text(end - 0.5, y + 1.2, cell.below, ha="right", va="center", fontsize=5.5, color=FAINT)
                y += per_line
        rule(y + 0.1, weight=0.9)
        for note in notes:
            axes.text(0.3, y + 0.7, note, fontsize=5.5, va="center")
            y += 1.0
        write_figure(drawn, target)
