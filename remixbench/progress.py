"""How long work reports on itself, without knowing whether anybody looks.

Functions of the library take a `Progress`; the command line hands in one that draws bars, a notebook or a
test leaves the default, which is silent.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """What a piece of long work may say."""

    def say(self, line: str) -> None:
        """Tell the user one line."""

    def bar(self, label: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Open a bar of `total` units; the function it yields moves it on by a number of units."""


class Silent:
    """Says nothing."""

    def say(self, line: str) -> None:
        """Drop the line."""

    def bar(self, label: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Return a bar that nobody sees."""
        return nullcontext(lambda _: None)


SILENT: Progress = Silent()
