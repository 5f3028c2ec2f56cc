"""A few threads that work through a list of tasks, end together on an interrupt, and hide no error."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from remixbench.errors import RemixbenchError
from remixbench.sources.patience import StoppedError

T = TypeVar("T")
_FAREWELL_S = 3.0


def in_parallel(tasks: Sequence[Callable[[], T]], jobs: int, stop: threading.Event) -> list[T]:
    """Run tasks on up to `jobs` threads; returns their results in the order of the tasks.

    A task that fails does not end the others, since each brings another archive; an error that is not a
    `RemixbenchError`, or an interrupt, sets `stop` and ends all.

    Raises
    ------
    RemixbenchError
        The first error, saying how many more there were, once all tasks have ended.
    """
    waiting: queue.SimpleQueue[tuple[int, Callable[[], T]]] = queue.SimpleQueue()
    for numbered in enumerate(tasks):
        waiting.put(numbered)
    done: queue.SimpleQueue[tuple[int, T | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        while not stop.is_set():
            try:
                number, task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((number, task(), None))
            except BaseException as error:
                if not isinstance(error, RemixbenchError):
                    stop.set()
                done.put((number, None, error))

    # Daemons: a thread that hangs in a read must not keep an interrupted program alive.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(tasks)))]
    results: dict[int, T] = {}
    errors: list[BaseException] = []
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) or not done.empty():
            try:
                number, result, error = done.get(timeout=0.2)
            except queue.Empty:
                continue
            if error is None:
                results[number] = result  # type: ignore[assignment]  # a T wherever there is no error
            elif not isinstance(error, StoppedError):
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
        more = f" (and {len(errors) - 1} more archives failed)" if len(errors) > 1 else ""
        raise RemixbenchError(f"{errors[0]}{more}") from errors[0]
    return [results[number] for number in range(len(tasks))]
