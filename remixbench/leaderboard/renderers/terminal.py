"""Tables for a terminal, or as plain text, by rich. Where a terminal is narrow, one SNR stands under the other."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from remixbench.leaderboard.tables import Cell, Line, Table

MAX_WIDTH = 200
"""Where nothing says how wide the output is."""
NOTE_WIDTH = 110
NAME_WIDTH = 12


def to_terminal(tables: Sequence[Table], *, width: int | None = None, colour: bool = False) -> str:
    """Return the tables as text for a terminal of `width` columns."""
    text = io.StringIO()
    console = Console(
        file=text, force_terminal=colour, color_system="standard" if colour else None, highlight=False, emoji=False,
        markup=False, legacy_windows=False, width=width or MAX_WIDTH,
    )  # fmt: skip
    for table in tables:
        for part in _parts(table, console):
            _print(part, console)
    lines = (line.rstrip() for line in text.getvalue().splitlines())
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
    return Measurement.get(console, unbounded, _rich(table)).minimum <= console.width


def _print(table: Table, console: Console) -> None:
    notes = min(console.width, NOTE_WIDTH)
    if table.title:
        console.print(Text(table.title, style="bold"), soft_wrap=True)
    for line in table.caption:
        console.print(Text(line), width=notes)
    console.print(_rich(table))
    starred = any(cell.bold for line in table.lines for cell in line.cells)
    for note in (*table.notes, *(["*: bold."] if starred and table.notes else [])):
        console.print(Text(note, style="dim"), width=notes)
    if table.notes:
        console.print()


def _rich(table: Table) -> RichTable:
    made = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="")
    heads = any(heading for heading, _ in table.groups)
    made.add_column(Text(f"\n{table.head}" if heads else table.head), min_width=NAME_WIDTH, overflow="ellipsis")
    headed = [(heading, column) for heading, columns in table.groups for column in columns]
    for place, (group, column) in enumerate(headed):
        top = Text(f"{group} \n" if heads else "", style="bold")
        head = top.append(Text(f"{column.title} ", style=""))
        cells = [_cell(line.cells[place]) for line in table.lines]
        widest = max(cell_len(line) for text in (head, *cells) for line in text.plain.split("\n"))
        made.add_column(head, justify="right", no_wrap=True, min_width=widest)
    texts = [column for column in table.text_columns if column.says_something(table.lines)]  # columns are dear
    for said in texts:
        heading = Text(f"\n{said.heading}" if heads else said.heading)
        made.add_column(heading, overflow="ellipsis", no_wrap=said.usual is not None)
    headings = sum(bool(block.heading) for block in table.blocks)
    for place, block in enumerate(table.blocks):
        if block.heading and (headings > 1 or block.heading != "Trained here"):
            if place:
                made.add_section()
            made.add_row(Text(block.heading, style="italic"))
        for line in block.lines:
            made.add_row(_head(line), *map(_cell, line.cells), *(Text(said.text(line)) for said in texts))
    return made


def _head(line: Line) -> Text:
    name = Text(f"  {line.head}")
    return name.append(f" {' '.join(line.letters)}", style="dim") if line.letters else name


def _cell(cell: Cell) -> Text:
    text = Text(f"{cell.text}{'*' if cell.bold else ' '}" if cell.text else "", style="bold" if cell.bold else "")
    return text.append(Text(f"\n{cell.below} ", style="not bold dim")) if cell.below else text
