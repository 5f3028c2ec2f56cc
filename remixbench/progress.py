"""Progress reporters, which show the progress of long work on standard error.

Public functions take `progress`: False for none (the default), True for bars on a terminal and plain lines elsewhere,
or any `Progress`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TextIO

LINE_EVERY_S = 10.0
HALF_A_UNIT = 0.5

Advance = Callable[[float], None]


class Progress(Protocol):
    """A progress reporter."""

    def say(self, line: str) -> None:
        """Show one line."""

    def bar(self, label: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Open a bar of `total` units; yields a function that advances it by a number of units."""


class Silent:
    """Reports nothing."""

    def say(self, line: str) -> None:
        """Ignore the line."""

    def bar(self, label: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Return an invisible bar."""
        return nullcontext(lambda _: None)


SILENT: Progress = Silent()


def reporter(progress: Progress | bool) -> Progress:
    """Return the progress reporter for the argument `progress` of a public function."""
    if not isinstance(progress, bool):
        return progress
    if not progress:
        return SILENT
    return Bars() if is_terminal(sys.stderr) else Lines()


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a standard stream is a terminal; it is None if it was closed at the start."""
    return stream is not None and stream.isatty()


def counted(done: float, unit: str) -> str:
    """Format an amount with its unit: 12 clips, 1.2 GB."""
    if unit != "B":
        return (
            f"{done:.3g} {unit}"
            if isinstance(done, float)
            else f"{done} {unit.removesuffix('s') if done == 1 else unit}"
        )
    from rich.filesize import decimal

    return str(decimal(int(done)))


def of_total(done: int, total: int, unit: str) -> str:
    """Format the share that is done: 3 of 12 clips, 1.2 GB of 1.6 GB."""
    return f"{counted(done, unit) if unit == 'B' else done} of {counted(total, unit)}"


PAST = {
    "Preparing": "Prepared", "Scoring": "Scored", "Predicting": "Predicted", "Checking": "Checked",
    "Separating": "Separated", "Rendering": "Rendered", "Exporting": "Exported", "Drawing": "Drawn",
}  # fmt: skip


def finished(label: str, amount: str, seconds: float) -> str:
    """Return the last line of a bar: 'Prepared 142 recordings (1.3 s)', 'Mixing at 3 SNRs: 120 clips (9.8 s)'."""
    prefix = f"{PAST[label]} " if label in PAST else f"{label}: "
    return f"{prefix}{amount} ({seconds:.1f} s)"


class Lines:
    """Progress as plain lines, for logs."""

    def say(self, line: str) -> None:
        """Write the line."""
        sys.stderr.write(f"{line}\n")  # at once, since parallel downloads would write between text and end of line
        sys.stderr.flush()

    @contextmanager
    def detailed_bar(
        self, label: str, total: int, unit: str, detail: Callable[[], str] | None = None
    ) -> Iterator[Advance]:
        """Open a bar whose lines show the text of `detail`; see `detailed_bar`."""
        start = last = time.monotonic()
        done = 0.0

        def advance(units: float) -> None:
            nonlocal done, last
            done += units
            now = time.monotonic()
            if now - last >= LINE_EVERY_S and done < total - HALF_A_UNIT:
                last = now
                rate = done / (now - start)
                remaining = f", {(total - done) / rate:.0f} s left" if rate else ""
                amount = f"{of_total(round(done), total, unit)}, {counted(rate, unit)}/s{remaining}"
                self.say(f"{label}: {amount if detail is None else detail()}")

        yield advance
        seconds = time.monotonic() - start
        amount = round(done)
        self.say(finished(label, counted(amount, unit) if amount == total else of_total(amount, total, unit), seconds))

    def bar(self, label: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Open a bar that writes a line every ten seconds, and one at the end."""
        return self.detailed_bar(label, total, unit)


class Bars:
    """Progress as bars with rate and remaining time; several may be open at once."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Task, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
        from rich.text import Text

        class TimeLeftColumn(TimeRemainingColumn):
            def render(self, task: Task) -> Text:
                return Text() if task.fields["detailed"] else super().render(task)

        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeLeftColumn(),
            console=Console(stderr=True),
        )
        self._open = 0

    def say(self, line: str) -> None:
        """Write the line above the bars."""
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def detailed_bar(
        self, label: str, total: int, unit: str, detail: Callable[[], str] | None = None
    ) -> Iterator[Advance]:
        """Open a bar with the text of `detail`; see `detailed_bar`."""
        if self._open == 0:
            self._bars.start()
        self._open += 1
        start = time.monotonic()
        done = 0.0
        task = self._bars.add_task(label, total=total, amount="", detailed=detail is not None)

        def advance(units: float) -> None:
            nonlocal done
            done += units
            rate = done / max(time.monotonic() - start, 1e-9)
            amount = f"{of_total(round(done), total, unit)}, {counted(rate, unit)}/s" if detail is None else detail()
            self._bars.update(task, advance=units, amount=amount)

        try:
            yield advance
        finally:
            self._open -= 1
            if unit == "B":  # a download opens dozens
                self._bars.remove_task(task)
            if self._open == 0:
                self._bars.stop()

    def bar(self, label: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Open a bar on the terminal."""
        return self.detailed_bar(label, total, unit)


def detailed_bar(
    progress: Progress, label: str, total: int, unit: str, detail: Callable[[], str]
) -> AbstractContextManager[Advance]:
    """Open a bar with the text of `detail` instead of amount and rate, if the reporter supports it."""
    method: Callable[..., AbstractContextManager[Advance]] | None = getattr(progress, "detailed_bar", None)
    return progress.bar(label, total, unit) if method is None else method(label, total, unit, detail)


def duration(seconds: float) -> str:
    """Format a duration roughly: 40 s, 4 min, 3 h."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.0f} h"
