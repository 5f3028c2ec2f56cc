"""What `killed_make.py` and `killed_embed.py` do alike: run something in a child, and end it by SIGKILL at a moment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Literal

When = Literal["before", "after"]


def forked(
    action: Callable[[], object], *, kill_after: float | None = None, die_at: tuple[int, When] | None = None
) -> int:
    """Run `action` in a child; returns how it ended, as os.waitstatus_to_exitcode.

    Parameters
    ----------
    kill_after : seconds after which the child and its workers are killed.
    die_at : (n, when): the child kills itself before or after it renames its n-th file into place.
    """
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        try:
            if die_at is not None:
                on_replace(die_at[0], die_at[1], lambda: os.kill(os.getpid(), signal.SIGKILL))
            action()
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(3)
    if kill_after is not None:
        time.sleep(kill_after)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def on_replace(number: int, when: When, action: Callable[[], object]) -> None:
    """Call `action` before or after the `number`-th call of os.replace from now on."""
    replace, count = os.replace, 0

    def counting(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count == number and when == "before":
            action()
        replace(source, target)
        if count == number and when == "after":
            action()

    os.replace = counting  # type: ignore[assignment]


def count_replaces(action: Callable[[], object]) -> int:
    """Return how many files `action` renames into place."""
    replace, count = os.replace, 0

    def counting(source: str, target: str) -> None:
        nonlocal count
        count += 1
        replace(source, target)

    os.replace = counting  # type: ignore[assignment]
    try:
        action()
    finally:
        os.replace = replace
    return count
