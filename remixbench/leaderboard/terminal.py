"""Tables for a terminal. Nothing in them is taken for markup; where a terminal is narrow, one SNR stands under the
other."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from remixbench.leaderboard.grid import Cell, Grid

WIDEST = 1000


def to_terminal(grids: Sequence[Grid], *, width: int | None = None, colour: bool = False) -> str:
    """Return the tables as text for a terminal of `width` columns, or as wide as they are."""
    text = io.StringIO()
    console = Console(
        file=text, width=width or WIDEST, force_terminal=colour, color_system="standard" if colour else None,
        highlight=False, emoji=False, markup=False, legacy_windows=False,
    )  # fmt: skip
    for grid in grids:
        for part in _fitting(grid, console, width):
            console.print(part)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).rstrip() + "\n"


def _fitting(grid: Grid, console: Console, width: int | None) -> list[RenderableType]:
    whole = _table(grid)
    fits = width is None or Measurement.get(console, console.options, whole).maximum <= width
    parts = (grid,) if fits else grid.split()
    return [_with_texts(part) for part in parts]


def _with_texts(grid: Grid) -> RenderableType:
    above = [Text(grid.title, style="bold")] if grid.title else []
    above += [Text(line) for line in grid.caption]
    below = [Text(line, style="dim") for line in grid.notes]
    if below:
        below.append(Text(""))
    return Group(*above, _table(grid), *below)


def _table(grid: Grid) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(Text(grid.head), no_wrap=False, min_width=12)
    if any(line.notes for block in grid.blocks for line in block.lines):
        table.add_column(Text(""))
    marked = len(table.columns) == 2
    for heading, names in grid.groups:
        for place, name in enumerate(names):
            table.add_column(Text(f"{heading if place == 0 else ''}\n{name}" if heading else name), justify="right")
    if grid.runs:
        table.add_column(Text(grid.runs))
    for block in grid.blocks:
        if block.heading:
            table.add_row(Text(block.heading, style="italic"))
        for line in block.lines:
            notes = [Text(line.notes, style="dim")] if marked else []
            runs = [Text(line.runs)] if grid.runs else []
            table.add_row(Text(f"  {line.head}"), *notes, *map(_cell, line.cells), *runs)
        table.add_section()
    return table


def _cell(cell: Cell) -> Text:
    text = Text(cell.text, style="bold" if cell.bold else "")
    if cell.bold:
        text.append("*")
    if cell.beside:
        text.append(f"\n{cell.beside}", style="dim not bold")
    return text
