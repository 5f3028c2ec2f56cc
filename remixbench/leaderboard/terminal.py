"""Tables for a terminal, or as plain text. Where a terminal is narrow, one SNR stands under the other.

Nothing in a table is taken for markup, and wide characters count as two columns.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from remixbench.leaderboard.grid import Cell, Grid, Line

LONGEST_NAME = 48
SHORTEST = 8
GAP = "  "
NARROWEST = 80


def to_terminal(grids: Sequence[Grid], *, width: int | None = None, colour: bool = False) -> str:
    """Return the tables as text for a terminal of `width` columns, or as wide as they are."""
    text = io.StringIO()
    console = Console(
        file=text, force_terminal=colour, color_system="standard" if colour else None, highlight=False, emoji=False,
        markup=False, legacy_windows=False,
    )  # fmt: skip
    for grid in grids:
        parts = (grid,) if width is None or sum(_widths(grid)) <= width else tuple(_narrow(grid, width))
        for part in parts:
            for line in _lines(part, width):
                line.rstrip()
                console.print(line, soft_wrap=True)
    return text.getvalue().rstrip("\n") + "\n"


def _narrow(grid: Grid, width: int) -> Iterator[Grid]:
    """Yield one grid a group of columns, runs and then names cut so far that each fits where it can."""
    for part in grid.split():
        over = max(0, sum(_widths(part)) - width)
        part = _cut_lines(part, LONGEST_NAME, max(SHORTEST, _widths(part)[-1] - len(GAP) - over))
        over = max(0, sum(_widths(part)) - width)
        longest = max(cell_len(line.head) for block in part.blocks for line in block.lines)
        yield _cut_lines(part, max(SHORTEST, min(longest, LONGEST_NAME) - over), width)


def _cut_lines(grid: Grid, head: int, runs: int) -> Grid:
    blocks = [
        replace(b, lines=tuple(replace(x, head=_cut(x.head, head), runs=_cut(x.runs, runs)) for x in b.lines))
        for b in grid.blocks
    ]
    return replace(grid, blocks=tuple(blocks))


def _lines(grid: Grid, width: int | None) -> list[Text]:
    """Return a grid as lines of styled text."""
    widths = _widths(grid)
    across = sum(widths)
    reading = min(width or max(across, NARROWEST), max(across, NARROWEST))
    lines = [Text(grid.title, style="bold")] if grid.title else []
    for text in grid.caption:
        lines += [Text(part) for part in textwrap.wrap(text, reading)]
    if lines:
        lines.append(Text(""))
    if any(heading for heading, _ in grid.groups):
        lines.append(_group_heads(grid, widths))
    heads = [Text(grid.head), *map(Text, grid.columns), Text(grid.runs)]
    lines += [_join(heads, widths), Text("─" * across, style="dim")]
    for block in grid.blocks:
        if block.heading:
            lines += [Text(part, style="italic") for part in textwrap.wrap(block.heading, reading)]
        for line in block.lines:
            lines += _line(line, widths, bool(grid.runs))
    lines.append(Text("─" * across, style="dim"))
    starred = any(cell.bold for block in grid.blocks for line in block.lines for cell in line.cells)
    for note in (*grid.notes, *(["*: bold."] if starred and grid.notes else [])):
        lines += [Text(part, style="dim") for part in textwrap.wrap(note, reading)]
    return [*lines, Text("")]


def _line(line: Line, widths: Sequence[int], with_runs: bool) -> list[Text]:
    runs = [Text(line.runs if with_runs else "")]
    made = [_join([_head(line), *map(_value, line.cells), *runs], widths)]
    if any(cell.beside for cell in line.cells):
        besides = [Text(f"{cell.beside} " if cell.beside else "", style="dim") for cell in line.cells]
        made.append(_join([Text(""), *besides, Text("")], widths))
    return made


def _head(line: Line) -> Text:
    name = Text(f"  {_cut(line.head, LONGEST_NAME)}")
    if line.notes:
        name.append(f" {line.notes}", style="dim")
    return name


def _cut(text: str, longest: int) -> str:
    """Return the text, with an ellipsis for what goes beyond `longest` columns."""
    if cell_len(text) <= longest:
        return text
    while cell_len(text) > longest - 1:
        text = text[:-1]
    return text + "…"


def _value(cell: Cell) -> Text:
    return Text(f"{cell.text}{'*' if cell.bold else ' '}" if cell.text else "", style="bold" if cell.bold else "")


def _widths(grid: Grid) -> list[int]:
    """Return the width of every column, the gap before it included: name, figures, runs."""
    lines = [line for block in grid.blocks for line in block.lines]
    first = max(cell_len(text.plain) for text in (Text(grid.head), *map(_head, lines)))
    columns = []
    for index, name in enumerate(grid.columns):
        texts = [name, *(f"{x} " for line in lines for x in (line.cells[index].text, line.cells[index].beside))]
        columns.append(max(map(cell_len, texts)) + len(GAP))
    start = 0
    for heading, names in grid.groups:
        short = cell_len(heading) + len(GAP) - sum(columns[start : start + len(names)])
        columns[start] += max(0, short)
        start += len(names)
    runs = max((cell_len(text) + len(GAP) for text in (grid.runs, *(line.runs for line in lines))), default=0)
    return [first, *columns, runs if grid.runs else 0]


def _group_heads(grid: Grid, widths: Sequence[int]) -> Text:
    line = Text(" " * widths[0])
    start = 1
    for heading, names in grid.groups:
        span = sum(widths[start : start + len(names)])
        line.append(GAP + heading.center(span - len(GAP)) if heading else " " * span, style="bold")
        start += len(names)
    return line


def _join(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    """Put cells side by side: the first and last flush left, the figures flush right."""
    line = Text("")
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        blanks = " " * (width - cell_len(cell.plain))
        if place == 0:
            line.append_text(cell).append(blanks)
        elif place == len(cells) - 1:
            line.append(GAP if cell.plain else "").append_text(cell)
        else:
            line.append(blanks).append_text(cell)
    return line
