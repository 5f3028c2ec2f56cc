"""Tables in Markdown, as GitHub and most others show it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from remixbench.leaderboard.tables import Cell, Table

# a dash, a plus or a hash means something only where a line starts; within names they stay readable
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~$&@]|^[-+#])")


def to_markdown(tables: Sequence[Table]) -> str:
    """Return the tables as Markdown."""
    return "\n".join(_table(table) for table in tables)


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, whatever stands in it, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _table(table: Table) -> str:
    noted = any(line.letters for line in table.lines)
    heads = [table.head, *([""] if noted else [])]
    heads += [
        f"{column.title}, {heading}" if heading else column.title
        for heading, columns in table.groups
        for column in columns
    ]
    heads += [column.heading for column in table.text_columns]
    left = 2 if noted else 1
    rule = ["---"] * left + ["---:"] * len(table.columns) + ["---"] * len(table.text_columns)
    lines = [f"## {escape(table.title)}", ""]
    for text in table.caption:
        lines += [escape(text), ""]
    lines += [_row([escape(head) for head in heads]), _row(rule)]
    for block in table.blocks:
        if block.heading:
            lines.append(_row([f"*{escape(block.heading)}*", *[""] * (len(heads) - 1)]))
        for line in block.lines:
            letters = [f"<sup>{escape(' '.join(line.letters))}</sup>" if line.letters else ""] if noted else []
            texts = (escape(column.text(line)) for column in table.text_columns)
            lines.append(_row([escape(line.head), *letters, *map(_cell, line.cells), *texts]))
    lines.append("")
    lines += [f"- {escape(note)}" for note in table.notes]
    return "\n".join([*lines, ""]) if table.notes else "\n".join(lines)


def _cell(cell: Cell) -> str:
    text = f"**{escape(cell.text)}**" if cell.bold else escape(cell.text)
    return f"{text}<br><sub>{escape(cell.below)}</sub>" if cell.below else text


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
