"""The runs of a command, one after another or side by side in processes of one thread each, in one progress display.

Side by side, each run reports to the main process over a local connection, which shows one line for all: how many are
done, the epoch of those in training, and about how long the rest will take.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Protocol, TypeVar

import torch

from remixbench.parallel import Workers, prepare_for_torch
from remixbench.progress import Advance, Progress, detailed_bar, duration

SEND_EVERY_S = 0.5
"""Seconds between two reports of a run's progress to the main process."""
FIRST_ESTIMATE_S = 2.0
"""Seconds of training before the time left is estimated."""

Result = TypeVar("Result")


class Display(Protocol):
    """What a run reports to."""

    def say(self, line: str) -> None:
        """Show one line."""

    def training(self, label: str, epochs: int, clips: int) -> AbstractContextManager[Advance]:
        """Show a training of `epochs` epochs of `clips` clips; the function that it yields takes the clips done."""


class TimeLeft:
    """An estimate of how long the runs of a grid will take, from what they took so far.

    A run is expected to take as long as those of its system so far, or of all systems if none has begun.

    Parameters
    ----------
    systems : of each run.
    jobs : how many runs are trained side by side.
    """

    def __init__(self, systems: Sequence[str], jobs: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._systems, self._jobs, self._clock = systems, jobs, clock
        self._left = [1.0] * len(systems)
        self._done = [0.0] * len(systems)
        self._seconds = [0.0] * len(systems)
        self._began: dict[int, tuple[float, float]] = {}

    def update(self, run: int, part: float) -> None:
        """Set the part of a run that is done, in [0, 1]; what was done before the first call does not count."""
        now = self._clock()
        began, before = self._began.setdefault(run, (now, part))
        self._left[run], self._done[run], self._seconds[run] = 1 - part, part - before, now - began

    def seconds(self) -> float | None:
        """Return the seconds left; None where too little is known."""
        if sum(self._seconds) < FIRST_ESTIMATE_S or not sum(self._done):
            return None
        average = sum(self._seconds) / sum(self._done)
        total = 0.0
        for system, left in zip(self._systems, self._left, strict=True):
            same = [run for run, other in enumerate(self._systems) if other == system]
            done = sum(self._done[run] for run in same)
            total += left * (sum(self._seconds[run] for run in same) / done if done else average)
        unfinished = sum(left > 0 for left in self._left)
        return total / max(1, min(self._jobs, unfinished))

    def __str__(self) -> str:
        seconds = self.seconds()
        return "" if seconds is None else f", about {duration(seconds)} left"


class InTurn:
    """The display of runs that are trained one after another: a bar per run."""

    def __init__(self, progress: Progress, time_left: TimeLeft, run: int, runs: int) -> None:
        self.say = progress.say
        self._progress, self._time_left, self._run, self._runs = progress, time_left, run, runs

    @contextmanager
    def training(self, label: str, epochs: int, clips: int) -> Iterator[Advance]:
        """Show "run 2 of 15, epoch 3 of 12, about 4 min left" beside a bar."""
        number = f"run {self._run + 1} of {self._runs}, " if self._runs > 1 else ""
        done = 0.0

        def detail() -> str:
            return f"{number}epoch {min(int(done) // clips + 1, epochs)} of {epochs}{self._time_left}"

        with detailed_bar(self._progress, label, epochs * clips, "clips", detail) as bar:

            def advance(by: float) -> None:
                nonlocal done
                done += by
                self._time_left.update(self._run, done / (epochs * clips))
                bar(by)

            yield advance
        self._time_left.update(self._run, 1.0)


class NoDisplay:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """Drop the line."""

    def training(self, label: str, epochs: int, clips: int) -> AbstractContextManager[Advance]:
        """Return a function that drops the clips done."""
        return nullcontext(lambda _: None)


NO_DISPLAY: Display = NoDisplay()


def one_after_another(
    function: Callable[..., Result], tasks: Sequence[Any], systems: Sequence[str], progress: Progress
) -> list[Result]:
    """Return function(task, display) for every task, in order."""
    time_left = TimeLeft(systems)
    results = []
    for run, task in enumerate(tasks):
        results.append(function(task, InTurn(progress, time_left, run, len(tasks))))
        time_left.update(run, 1.0)
    return results


def side_by_side(
    function: Callable[..., Result], tasks: Sequence[Any], systems: Sequence[str], progress: Progress, jobs: int
) -> list[Result]:
    """Return function(task, display) for every task, in order; `jobs` at a time, in processes of one thread each."""
    results: list[Result] = []
    with Board(systems, progress, jobs) as board:
        folder = os.getcwd()  # workers are kept between calls, and may have been started elsewhere
        calls = ((function, task, run, board.address, board.key, jobs, folder) for run, task in enumerate(tasks))
        results.extend(Workers(jobs).run(_in_worker, calls, len(tasks), batch_size=1))
    return results


def _in_worker(
    function: Callable[..., Result], task: Any, run: int, address: tuple[str, int], key: bytes, jobs: int, folder: str
) -> Result:
    """Run a task in a worker process, with `folder` as its working directory."""
    os.chdir(folder)
    prepare_for_torch()
    torch.set_num_threads(1)
    os.environ["LOCAL_WORLD_SIZE"] = str(jobs)  # they share the memory and the cores of this machine
    with Reporter(address, key, run) as reporter:
        return function(task, reporter)


class Reporter:
    """The display of a run in a worker process: sends everything to the `Board`."""

    def __init__(self, address: tuple[str, int], key: bytes, run: int) -> None:
        self._run = run
        self._connection: Connection | None = None
        with suppress(OSError):  # a training does not need a display
            self._connection = Client(address, authkey=key)

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: object) -> None:
        self._send("end")
        if self._connection is not None:
            self._connection.close()

    def say(self, line: str) -> None:
        """Let the main process show the line."""
        self._send("say", line)

    @contextmanager
    def training(self, label: str, epochs: int, clips: int) -> Iterator[Advance]:
        """Report the clips done every `SEND_EVERY_S` seconds."""
        done, sent = 0.0, 0.0

        def advance(by: float) -> None:
            nonlocal done, sent
            done += by
            if time.monotonic() - sent >= SEND_EVERY_S:
                sent = time.monotonic()
                self._send("training", epochs, clips, done)

        yield advance

    def _send(self, kind: str, *values: object) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.send((kind, self._run, *values))


class Board:
    """Shows what the `Reporter`s of several processes send, in one bar for all runs."""

    def __init__(self, systems: Sequence[str], progress: Progress, jobs: int) -> None:
        self.key = os.urandom(32)
        self._listener = Listener(("127.0.0.1", 0), backlog=jobs, authkey=self.key)
        self.address: tuple[str, int] = self._listener.address
        self._progress = progress
        self._time_left = TimeLeft(systems, jobs)
        self._runs = len(systems)
        self._parts = [0.0] * len(systems)
        self._epochs: dict[int, str] = {}
        self._ended = 0
        self._lock = threading.Lock()
        self._readers: list[threading.Thread] = []
        self._bar = detailed_bar(progress, "Training", len(systems), "runs", self._detail)

    def __enter__(self) -> Board:
        self._advance = self._bar.__enter__()
        threading.Thread(target=self._accept, name="training display", daemon=True).start()
        return self

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is None:  # the last messages may still be on their way
            for reader in self._readers:
                reader.join(timeout=SEND_EVERY_S)
        self._listener.close()
        self._bar.__exit__(*exception)

    def _detail(self) -> str:
        epochs = [f"; {self._epochs[run]}" for run in sorted(self._epochs)]
        return f"{self._ended} of {self._runs} runs done{''.join(epochs)}{self._time_left}"

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except AuthenticationError:  # not one of our workers
                continue
            except OSError:  # closed
                return
            reader = threading.Thread(target=self._read, args=(connection,), daemon=True)
            self._readers.append(reader)
            reader.start()

    def _read(self, connection: Connection) -> None:
        with suppress(EOFError, OSError), connection:
            while True:
                kind, run, *values = connection.recv()
                with self._lock:
                    self._handle_message(kind, run, values)

    def _handle_message(self, kind: str, run: int, values: Sequence[Any]) -> None:
        if kind == "say":
            self._progress.say(values[0])
            return
        if kind == "training":
            epochs, clips, done = values
            self._epochs[run] = f"run {run + 1}, epoch {min(int(done) // clips + 1, epochs)} of {epochs}"
            part = done / (epochs * clips)
        else:
            self._epochs.pop(run, None)
            self._ended += 1
            part = 1.0
        self._time_left.update(run, part)
        before, self._parts[run] = self._parts[run], part
        self._advance(part - before)
