"""The form that every table has before it is written in some format: headed columns, blocks of lines, notes.

Texts here are plain; each format escapes them itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

BLANK = ""


@dataclass(frozen=True)
class Cell:
    """A value and, in small type under or after it, how sure it is."""

    text: str = BLANK
    beside: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a table: its head, the letters of the notes that it carries, and a cell a column."""

    head: str
    cells: tuple[Cell, ...]
    notes: str = ""
    runs: str = ""


@dataclass(frozen=True)
class Block:
    """Lines under a heading of their own."""

    heading: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes
    ----------
    groups : (heading, columns under it), from left to right
    runs : heading of the column that says over which folds and seeds a line is the mean, or "" for no such column
    """

    title: str
    head: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    runs: str = ""
    caption: tuple[str, ...] = field(default=())

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of all groups."""
        return tuple(name for _, names in self.groups for name in names)

    def split(self) -> tuple[Grid, ...]:
        """Return one grid a group, for places too narrow for all; notes stay with the last."""
        parts = []
        start = 0
        for index, (heading, names) in enumerate(self.groups):
            stop = start + len(names)
            blocks = tuple(
                Block(b.heading, tuple(Line(x.head, x.cells[start:stop], x.notes, x.runs) for x in b.lines))
                for b in self.blocks
            )
            first, last = index == 0, index == len(self.groups) - 1
            parts.append(
                Grid(
                    self.title if first else "", self.head, ((heading, names),), blocks,
                    self.notes if last else (), self.runs, self.caption if first else (),
                )
            )  # fmt: skip
            start = stop
        return tuple(parts)


class Notes:
    """Letters for the notes of a table: the same note gets the same letter."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def letters(self, notes: Sequence[str]) -> str:
        """Return the letters of the notes, giving out new ones as needed."""
        for note in notes:
            self._letters.setdefault(note, _letter(len(self._letters)))
        return " ".join(sorted({self._letters[note] for note in notes}, key=lambda x: (len(x), x)))

    def lines(self) -> tuple[str, ...]:
        """Return the notes, each after its letter."""
        return tuple(f"{letter}: {note}" for note, letter in self._letters.items())


def _letter(index: int) -> str:
    return chr(ord("a") + index % 26) * (index // 26 + 1)
