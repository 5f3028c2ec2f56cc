"""A progress display that keeps what is reported, and one that interrupts a training after some clips."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def run_json(folder: Path) -> dict[str, Any]:
    """Return the run.json of a run's folder."""
    return json.loads((folder / "run.json").read_text())


class Watcher:
    """Keeps what is said; calls a function with the clips done so far."""

    def __init__(self, at: Callable[[int], None] = lambda _: None) -> None:
        self.lines: list[str] = []
        self.done = 0
        self.at = at

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def bar(self, label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        def advance(by: int) -> None:
            self.done += by
            self.at(self.done)

        yield advance


def stop_after(clips: int) -> Watcher:
    def at(done: int) -> None:
        if done >= clips:
            raise KeyboardInterrupt

    return Watcher(at)
