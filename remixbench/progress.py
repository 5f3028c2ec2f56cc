"""Progress reporters: how long work reports its progress, independent of where it is shown.

Functions of the library take a `Progress`. The command line passes one that draws bars or writes lines; the
default is silent.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """A progress reporter."""

    def say(self, line: str) -> None:
        """Show one line."""

    def bar(self, label: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Open a bar of `total` units; the function that it yields advances it by a number of units."""


class Silent:
    """Reports nothing."""

    def say(self, line: str) -> None:
        """Drop the line."""

    def bar(self, label: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Return a bar that is not shown."""
        return nullcontext(lambda _: None)


SILENT: Progress = Silent()
