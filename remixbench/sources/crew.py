"""A few threads that work through a list of tasks, end together on an interrupt, and hide no error."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from remixbench.errors import RemixbenchError
from remixbench.sources.patience import SharedTroubleError, StoppedError

T = TypeVar("T")
_FAREWELL_S = 1.0
_HOPELESS = 2


def in_parallel(tasks: Sequence[Callable[[], T]], jobs: int, stop: threading.Event) -> list[T]:
    """Run tasks on up to `jobs` threads; returns their results in the order of the tasks.

    A task that fails does not end the others, since each brings another archive. After two tasks in a row that
    fail of what all share (`SharedTroubleError`) no further one is begun; an error that is not a
    `RemixbenchError`, or an interrupt, sets `stop` and ends all.

    Raises
    ------
    RemixbenchError
        The first error, saying how many more there were, once all threads have ended.
    """
    waiting: queue.SimpleQueue[tuple[int, Callable[[], T]]] = queue.SimpleQueue()
    for numbered in enumerate(tasks):
        waiting.put(numbered)
    reports: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    results: dict[int, T] = {}
    in_a_row = 0  # of shared troubles; a race between two threads does no harm

    def work() -> None:
        nonlocal in_a_row
        try:
            while not stop.is_set() and in_a_row < _HOPELESS:
                number, task = waiting.get_nowait()
                try:
                    results[number] = task()
                    in_a_row = 0
                except RemixbenchError as error:
                    in_a_row = in_a_row + 1 if isinstance(error, SharedTroubleError) else 0
                    reports.put(error)
        except (queue.Empty, StoppedError):
            pass
        except BaseException as error:
            stop.set()
            reports.put(error)
        finally:
            reports.put(None)

    # Daemons: a thread that hangs in a read must not keep an interrupted program alive.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(tasks)))]
    errors: list[BaseException] = []
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            while (error := _next(reports)) is not None:
                errors.append(error)
    except BaseException:
        stop.set()
        for thread in threads:
            thread.join(_FAREWELL_S / len(threads))
        raise
    for error in errors:
        if not isinstance(error, RemixbenchError):
            raise error
    if errors:
        left = len(tasks) - len(results) - 1
        raise RemixbenchError(f"{errors[0]}" + (f" ({left} more not done)" if left else "")) from errors[0]
    return [results[number] for number in range(len(tasks))]


def _next(reports: queue.SimpleQueue[BaseException | None]) -> BaseException | None:
    """Wait for the next report in short steps, since some systems deliver an interrupt only between them."""
    while True:
        try:
            return reports.get(timeout=0.5)
        except queue.Empty:
            continue
