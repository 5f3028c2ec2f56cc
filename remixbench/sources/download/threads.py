"""Tasks on several threads, which all stop on an interrupt and report every error."""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from remixbench.errors import RemixbenchError

T = TypeVar("T")
_JOIN_TIMEOUT_S = 1.0
_MAX_FATAL_IN_A_ROW = 2


class FatalDownloadError(RemixbenchError):
    """An error that probably affects the other archives too: of the network, the server or the disk."""


class DownloadCancelled(Exception):  # noqa: N818 - not an error, like KeyboardInterrupt
    """The download was interrupted, or another thread failed unexpectedly."""


def disk_error(error: OSError, path: Path) -> RemixbenchError:
    """Return the error for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FatalDownloadError(f"{path}: the disk is full; free some space and run the same command again to resume")
    return RemixbenchError(f"{path}: could not be written ({error.strerror or error}); existing files are kept")


def run_in_threads(tasks: Sequence[Callable[[], T]], jobs: int, cancel: threading.Event) -> list[T]:
    """Run tasks on up to `jobs` threads; return their results in the order of the tasks.

    A failed task does not stop the others, as each fetches another archive. After two consecutive failures with
    `FatalDownloadError` no more tasks are started. An interrupt, or an error that is not a `RemixbenchError`, sets
    `cancel` and stops all.

    Raises
    ------
    RemixbenchError
        The first error, with the number of tasks not done, once all threads have ended.
    """
    waiting: queue.SimpleQueue[tuple[int, Callable[[], T]]] = queue.SimpleQueue()
    for numbered_task in enumerate(tasks):
        waiting.put(numbered_task)
    reports: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    results: dict[int, T] = {}
    fatal_in_a_row = 0  # unlocked: a race at worst starts one more task

    def work() -> None:
        nonlocal fatal_in_a_row
        try:
            while not cancel.is_set() and fatal_in_a_row < _MAX_FATAL_IN_A_ROW:
                number, task = waiting.get_nowait()
                try:
                    results[number] = task()
                    fatal_in_a_row = 0
                except RemixbenchError as error:
                    fatal_in_a_row = fatal_in_a_row + 1 if isinstance(error, FatalDownloadError) else 0
                    reports.put(error)
        except (queue.Empty, DownloadCancelled):
            pass
        except BaseException as error:
            cancel.set()
            reports.put(error)
        finally:
            reports.put(None)

    # daemons: a thread blocked in a read must not keep an interrupted program alive
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(tasks)))]
    errors: list[BaseException] = []
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            while (error := _next(reports)) is not None:
                errors.append(error)
    except BaseException:
        cancel.set()
        for thread in threads:
            thread.join(_JOIN_TIMEOUT_S / len(threads))
        raise
    for error in errors:
        if not isinstance(error, RemixbenchError):
            raise error
    if errors:
        failed = len(tasks) - len(results) - 1
        raise RemixbenchError(f"{errors[0]}" + (f" ({failed} more not done)" if failed else "")) from errors[0]
    return [results[number] for number in range(len(tasks))]


def _next(reports: queue.SimpleQueue[BaseException | None]) -> BaseException | None:
    """Wait for the next report in short steps, as some systems deliver an interrupt only between them."""
    while True:
        try:
            return reports.get(timeout=0.5)
        except queue.Empty:
            continue
