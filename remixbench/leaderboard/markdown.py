"""Tables in Markdown, as GitHub and most others show it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from remixbench.leaderboard.grid import Cell, Grid

# a dash, a plus or a hash means something only where a line starts; within names they stay readable
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~$&@]|^[-+#])")


def to_markdown(grids: Sequence[Grid]) -> str:
    """Return the tables as Markdown."""
    return "\n".join(_grid(grid) for grid in grids)


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, whatever stands in it, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _grid(grid: Grid) -> str:
    noted = any(line.notes for block in grid.blocks for line in block.lines)
    heads = [grid.head, *([""] if noted else [])]
    heads += [f"{name}, {heading}" if heading else name for heading, names in grid.groups for name in names]
    heads += [grid.runs] if grid.runs else []
    left = 2 if noted else 1
    rule = ["---"] * left + ["---:"] * len(grid.columns) + (["---"] if grid.runs else [])
    lines = [f"## {escape(grid.title)}", ""]
    for text in grid.caption:
        lines += [escape(text), ""]
    lines += [_row([escape(head) for head in heads]), _row(rule)]
    for block in grid.blocks:
        if block.heading:
            lines.append(_row([f"*{escape(block.heading)}*", *[""] * (len(heads) - 1)]))
        for line in block.lines:
            notes = [f"<sup>{escape(line.notes)}</sup>" if line.notes else ""] if noted else []
            runs = [escape(line.runs)] if grid.runs else []
            lines.append(_row([escape(line.head), *notes, *map(_cell, line.cells), *runs]))
    lines.append("")
    lines += [f"- {escape(note)}" for note in grid.notes]
    return "\n".join([*lines, ""]) if grid.notes else "\n".join(lines)


def _cell(cell: Cell) -> str:
    text = f"**{escape(cell.text)}**" if cell.bold else escape(cell.text)
    return f"{text}<br><sub>{escape(cell.beside)}</sub>" if cell.beside else text


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
