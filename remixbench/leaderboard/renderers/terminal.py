"""Tables as text for a terminal, set by rich: all of them, or the short one.

Where a terminal is narrow, one SNR stands under the other, and the short table has fewer columns.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from remixbench.leaderboard.tables import AT_CHANCE, BEST, FLAGGED, NOT_VERIFIED, Cell, Line, Table

MAX_WIDTH = 200
"""Columns of the output where its width is unknown."""
NOTE_WIDTH = 110
NAME_WIDTH = 12


def to_terminal(tables: Sequence[Table], *, width: int | None = None, colour: bool = False) -> str:
    """Return the tables as text for a terminal of `width` columns."""
    console = _console(width or MAX_WIDTH, colour)
    for table in tables:
        for part in _parts(table, console):
            _print_table(part, console)
    return _printed(console)


def _console(width: int, colour: bool) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=colour, color_system="standard" if colour else None, highlight=False,
        emoji=False, markup=False, legacy_windows=False, width=width,
    )  # fmt: skip


def _printed(console: Console) -> str:
    """Return what was printed, without blanks at the ends of lines."""
    assert isinstance(console.file, io.StringIO)
    lines = (line.rstrip() for line in console.file.getvalue().splitlines())
    return "\n".join(lines).rstrip("\n") + "\n"


def _parts(table: Table, console: Console) -> tuple[Table, ...]:
    """Return the table if it fits, else one table per group of columns, and of a wide group several."""
    if _fits(table, console):
        return (table,)
    spans: list[tuple[int, int]] = []
    start = 0
    for _, columns in table.groups:
        end = start + len(columns)
        while start < end:
            stop = end
            while stop > start + 1 and not _fits(table.narrowed([(start, stop)])[0], console):
                stop -= 1
            spans.append((start, stop))
            start = stop
    return table.narrowed(spans)


def _fits(table: Table, console: Console) -> bool:
    unbounded = console.options.update(max_width=10_000)
    return Measurement.get(console, unbounded, _rich_table(table)).minimum <= console.width


def _print_table(table: Table, console: Console) -> None:
    notes = min(console.width, NOTE_WIDTH)
    if table.title:
        console.print(Text(table.title, style="bold"), soft_wrap=True)
    for line in table.caption:
        console.print(Text(line), width=notes)
    console.print(_rich_table(table))
    for note in (*table.notes, *([f"{BEST}: bold."] if table.has_bold and table.notes else [])):
        console.print(Text(note, style="dim"), width=notes)
    if table.notes:
        console.print()


def _rich_table(table: Table) -> RichTable:
    grid = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="")
    heads = any(heading for heading, _ in table.groups)
    grid.add_column(Text(f"\n{table.head}" if heads else table.head), min_width=NAME_WIDTH, overflow="ellipsis")
    headed = [(heading, column) for heading, columns in table.groups for column in columns]
    for index, (group, column) in enumerate(headed):
        top = Text(f"{group} \n" if heads else "", style="bold")
        head = top.append(Text(f"{column.title} ", style=""))
        cells = [_terminal_cell(line.cells[index]) for line in table.lines]
        widest = max(cell_len(line) for text in (head, *cells) for line in text.plain.split("\n"))
        grid.add_column(head, justify="right", no_wrap=True, min_width=widest)
    texts = [column for column in table.text_columns if column.says_something(table.lines)]  # width is scarce
    for text_column in texts:
        heading = Text(f"\n{text_column.heading}" if heads else text_column.heading)
        grid.add_column(heading, overflow="ellipsis", no_wrap=text_column.usual is not None)
    headings = sum(bool(block.heading) for block in table.blocks)
    for index, block in enumerate(table.blocks):
        if block.heading and (headings > 1 or block.heading != "Trained here"):
            if index:
                grid.add_section()
            grid.add_row(Text(block.heading, style="italic"))
        for line in block.lines:
            grid.add_row(
                _terminal_head(line), *map(_terminal_cell, line.cells), *(Text(column.text(line)) for column in texts)
            )
    return grid


def _terminal_head(line: Line) -> Text:
    name = Text(f"  {line.head}")
    return name.append(f" {' '.join(line.letters)}", style="dim") if line.letters else name


def _terminal_cell(cell: Cell) -> Text:
    text = Text(f"{cell.text}{BEST if cell.bold else ' '}" if cell.text else "", style="bold" if cell.bold else "")
    return text.append(Text(f"\n{cell.below} ", style="not bold dim")) if cell.below else text


COMPACT_WIDTH = 100
NAMES_WIDTH = 16
"""Names may be cut to this many columns before a table is made narrower."""


@dataclass(frozen=True)
class _Column:
    """A column of a compact table: a cell per line, and its least width, by default that of its text."""

    title: str
    cells: Sequence[Text]
    right: bool = True
    least: int | None = None

    @property
    def width(self) -> int:
        """The widest line of its title and cells."""
        return max(map(cell_len, [*self.title.split("\n"), *(cell.plain for cell in self.cells)]))

    @property
    def least_width(self) -> int:
        """Its width where room is scarce."""
        return self.width if self.least is None else min(self.width, self.least)


def to_compact(versions: Iterable[Table], *, width: int | None = None, colour: bool = False) -> str:
    """Return a table of at most 100 columns with a single row of text per line, without rules.

    Parameters
    ----------
    versions : the table, ever narrower; the first that fits is used, else the last.
    width, colour : of the terminal.
    """
    console = _console(min(width or COMPACT_WIDTH, COMPACT_WIDTH), colour)
    for version in versions:
        table, columns = version, _compact_columns(version)
        if _needs(columns, gap=1) <= console.width:
            break
    gap = 2 if _needs(columns, gap=2) <= console.width else 1
    spare = console.width - _needs(columns, gap)
    columns = [_fitted(column, spare) for column in columns]
    console.print(Text(table.title, style="bold"))
    rows = zip(*(column.cells for column in columns), strict=True)
    grid = None
    for block in table.blocks:
        if block.heading or grid is None:
            if grid is not None:
                console.print(grid)
            if block.heading:
                console.print(Text(f"\n{block.heading}", style="italic"))
            grid = _compact_grid(columns, gap)
        else:
            grid.add_row()
        for _ in block.lines:
            grid.add_row(*next(rows))
    if grid is not None:
        console.print(grid)
    for note in table.notes:
        console.print(Text(note, style="dim"))
    return _printed(console)


def _compact_columns(table: Table) -> list[_Column]:
    """Return the columns with any text: SNR and rank stand before the names."""
    lines = table.lines
    columns = [
        _Column("SNR", [Text(line.snr) for line in lines]),
        _Column("#", [Text("" if line.rank is None else str(line.rank)) for line in lines]),
        _Column(table.head, [Text(line.head + FLAGGED * bool(line.letters)) for line in lines], False, NAMES_WIDTH),
    ]
    for index, column in enumerate(table.columns):
        columns.append(_Column(column.title, [_compact_cell(line.cells[index]) for line in lines]))
    for text in table.text_columns:
        if text.says_something(lines):
            heading = text.heading.replace(" ", "\n")
            columns.append(_Column(heading, [Text(text.text(line)) for line in lines], right=False))
    return [column for column in columns if any(cell.plain for cell in column.cells)]


def _compact_cell(cell: Cell) -> Text:
    """Return a cell on one line; a value has room for a mark after it."""
    text = Text(cell.text, style="bold" if cell.bold else "")
    if cell.bold:
        text.append(BEST)
    elif cell.estimate is not None and not cell.text.endswith((AT_CHANCE, NOT_VERIFIED)):
        text.append(" ")
    return text.append(f" {cell.below}", style="not bold dim") if cell.below else text


def _needs(columns: Sequence[_Column], gap: int) -> int:
    return sum(column.least_width for column in columns) + gap * (len(columns) - 1)


def _fitted(column: _Column, spare: int) -> _Column:
    """Return a column of at most `spare` more than its least width; a mark of flags at a cell's end stays.

    Texts that would become equal keep their ends too.
    """
    width = max(column.least_width, min(column.width, column.least_width + spare))
    cut = [_cut(cell, width) for cell in column.cells]
    texts: dict[str, set[str]] = {}
    for before, after in zip(column.cells, cut, strict=True):
        texts.setdefault(after.plain, set()).add(before.plain)
    cells = [
        after if len(texts[after.plain]) == 1 else _cut(before, width, end=width // 2)
        for before, after in zip(column.cells, cut, strict=True)
    ]
    return replace(column, cells=cells, least=width)


def _cut(text: Text, width: int, end: int = 0) -> Text:
    """Cut a text to `width` columns, at most `end` of them for its end."""
    if cell_len(text.plain) <= width:
        return text
    mark = FLAGGED if text.plain.endswith(FLAGGED) else ""
    plain = text.plain.removesuffix(mark)
    last = plain[len(plain) - end :]
    while cell_len(last) > end:
        last = last[1:]
    shortened = Text(plain)
    shortened.truncate(width - len(mark) - cell_len(last), overflow="ellipsis")
    return shortened.append(last + mark)


def _compact_grid(columns: Sequence[_Column], gap: int) -> RichTable:
    grid = RichTable(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="")
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.right else "left"
        width = column.least_width
        grid.add_column(
            column.title, justify=justify, vertical="bottom", no_wrap=True, min_width=width, max_width=width
        )
    return grid
