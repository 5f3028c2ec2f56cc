"""From the leaderboard's JSON to what the page shows: tables by SNR, series for the charts, marks explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from remixbench.leaderboard.page.board import Board, Column, Figure, PublishedFigure, Row
from remixbench.leaderboard.words import counted, title

TAGGING = "Tagging"
GROUPS = {
    TAGGING: ("micro_ap", "macro_ap", "macro_auc", "lwlrap"),
    "Detection": (
        "event_f1", "segment_f1", "segment_er", "frame_ap", "psds1", "psds2", "mask_f1", "mask_auc", "mask_ap",
    ),
}  # fmt: skip
"""The figures that the page shows, in this order, where there are any; a table for each group."""
LOWER_IS_BETTER = ("segment_er",)
PER_CLASS = "ap"
KINDS = {"run": "trained here", "predictions": "submitted", "added": "added"}
_MARKS = (
    ("epoch chosen on the test fold", "The epoch with the best figure on the very clips that are reported was kept, so"
     " the figure is too high by an unknown amount."),
    ("last epoch kept", "No epoch was chosen: the network is as it was after the last one."),
    ("trained on .* of the training clips", "Learned from a part of the training clips; to be compared with rows of"
     " the same part."),
    (".*, the recipe has .*", "Trained with another setting than the benchmark's; not its standard figure."),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One system in one table; `cells` are in the order of the table's columns."""

    name: str
    kind: str
    letters: tuple[str, ...]
    tested: str
    cells: tuple[Figure | None, ...]


@dataclass(frozen=True)
class Heading:
    """A column: the figure's title, whether low is good, and the value at the right end of its whiskers."""

    title: str
    lower: bool
    top: float


@dataclass(frozen=True)
class Table:
    """Lines that may be compared, under one caption."""

    caption: str
    headings: tuple[Heading, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Panel:
    """All tables of one SNR."""

    snr: float
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Mark:
    """A mark that rows carry: its letter, its words, and what they mean for a reader."""

    letter: str
    text: str
    meaning: str


@dataclass(frozen=True)
class Tables:
    """What the page shows of a leaderboard; `metrics` are (name, title) of the figures that the charts can show."""

    panels: tuple[Panel, ...]
    metrics: tuple[tuple[str, str], ...]
    marks: tuple[Mark, ...]
    sources: tuple[str, ...]


def make_tables(board: Board) -> Tables:
    """Make the tables of a board, one panel an SNR, falling."""
    there = {name for row in board.rows for column in row.snrs for name in column.figures}
    known = [mark for row in board.rows for mark in row.marks]
    known += [figure.marks for figure in board.published if figure.label is None and figure.marks]
    letters = {text: _letter(place) for place, text in enumerate(dict.fromkeys(known))}
    snrs = sorted({column.snr for row in board.rows for column in row.snrs}, reverse=True)
    return Tables(
        tuple(Panel(snr, tuple(_panel(board, snr, there, letters))) for snr in snrs),
        tuple((name, title(name)) for names in GROUPS.values() for name in names if name in there),
        tuple(Mark(letter, text, meaning_of(text)) for text, letter in letters.items()),
        tuple(dict.fromkeys(figure.source for figure in board.published if figure.source)),
    )


def _letter(place: int) -> str:
    return chr(ord("a") + place % 26) * (place // 26 + 1)


def _panel(board: Board, snr: float, there: set[str], letters: dict[str, str]) -> Iterable[Table]:
    """Yield the tables of one SNR: ours by group, published ones beside them only where they are on the same data."""
    beside, apart = [], dict[str, list[PublishedFigure]]()
    for figure in board.published:
        if figure.label is not None or figure.snr != snr:
            continue
        # the paper's table is of tagging; detection was published on a mixing of others
        if board.dataset.comparable and figure.metric in GROUPS[TAGGING]:
            beside.append(figure)
        else:
            apart.setdefault(figure.source, []).append(figure)
    for group, names in GROUPS.items():
        metrics = [name for name in names if name in there]
        ours = list(_ours(board, snr, metrics, letters))
        known = [line for line in _published(beside, metrics, letters) if any(line.cells)]
        if any(any(line.cells) for line in ours):
            yield _table(f"{group} at {snr:g} dB", metrics, [*ours, *known])
    for source, figures in apart.items():
        metrics = list(dict.fromkeys(figure.metric for figure in figures))
        caption = f"Published, on other data; not to be compared with the rows above. {source}"
        yield _table(caption, metrics, list(_published(figures, metrics, letters)))


def _table(caption: str, metrics: Sequence[str], lines: Sequence[Line]) -> Table:
    headings = []
    for place, name in enumerate(metrics):
        cells = [cell for line in lines if (cell := line.cells[place]) is not None]
        highest = max((max(cell.value, cell.high or 0.0) for cell in cells), default=0.0)
        decoding = f" ({name.split('[')[1].rstrip(']')})" if "[" in name else ""
        top = 1.0 if 0.5 < highest <= 1 else highest or 1.0
        headings.append(Heading(title(name) + decoding, name in LOWER_IS_BETTER, top))
    return Table(caption, tuple(headings), tuple(lines))


def _ours(board: Board, snr: float, metrics: Sequence[str], letters: dict[str, str]) -> Iterable[Line]:
    for row in board.rows:
        for column in row.snrs:
            if column.snr == snr:
                cells = tuple(column.figures.get(name) for name in metrics)
                marks = tuple(sorted(letters[mark] for mark in row.marks))
                yield Line(row.name, KINDS[row.kind], marks, tested(column), cells)


def tested(column: Column) -> str:
    """Say on which folds and clips, with how many seeds a row was tested."""
    seeds = f", {len(column.seeds)} seeds" if len(column.seeds) > 1 else ""
    return f"{counted(column.folds, 'fold')}, {column.clips} clips{seeds}"


def _published(figures: Sequence[PublishedFigure], metrics: Sequence[str], letters: dict[str, str]) -> Iterable[Line]:
    for name in dict.fromkeys(figure.name for figure in figures):
        mine = {figure.metric: figure for figure in figures if figure.name == name}
        marks = dict.fromkeys(figure.marks for figure in mine.values() if figure.marks)
        cells = tuple(Figure(value=mine[metric].value) if metric in mine else None for metric in metrics)
        yield Line(name, "published", tuple(letters[mark] for mark in marks), "not said", cells)


def meaning_of(mark: str) -> str:
    """Return what a mark means for a reader, or "" where its words say it all."""
    return next((meaning for pattern, meaning in _MARKS if re.match(pattern, mark)), "")


def chart_rows(board: Board, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the board's rows with what the charts need of them: figures and the classes' average precision."""
    families: dict[str, int] = {}
    return [
        {
            "name": row.name,
            "fraction": row.settings.get("fraction"),
            "family": families.setdefault(_family(row), len(families)),
            "snrs": [
                {
                    "snr": column.snr,
                    "figures": {
                        name: column.figures[name].model_dump(exclude_none=True, include={"value", "low", "high"})
                        for name in metrics
                        if name in column.figures
                    },
                    "ap": {k: v for k, v in column.per_class.get(PER_CLASS, {}).items() if v is not None},
                }
                for column in row.snrs
            ],
        }
        for row in board.rows
    ]


def _family(row: Row) -> str:
    """Return what rows have in common that differ in the part of the training clips alone."""
    settings = {key: value for key, value in row.settings.items() if key != "fraction"}
    return json.dumps([row.kind, row.system, settings], sort_keys=True)


def chart_published(board: Board, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the published figures that may stand beside the board's; none where they are on other data."""
    if not board.dataset.comparable:
        return []
    shown = {name for name in metrics if name in GROUPS[TAGGING]} | {PER_CLASS}
    return [
        figure.model_dump(by_alias=True, include={"name", "snr", "metric", "value", "label"})
        for figure in board.published
        if figure.metric in shown
    ]
