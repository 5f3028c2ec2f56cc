"""How often and how fast we ask a server, and how long we wait for it.

The record service limits guests to 60 requests a minute and says with `Retry-After` when to come back. All
threads of one download share one `Gate`, so that they are polite together and pause together.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from remixbench.errors import RemixbenchError


class SharedTroubleError(RemixbenchError):
    """What stopped one archive would probably stop the others too: the network, the server, the disk."""


class StoppedError(Exception):
    """The download was interrupted, or another archive met trouble that concerns all."""


@dataclass(frozen=True)
class Patience:
    """Limits and waits, in seconds unless said.

    Parameters
    ----------
    connect, read
        How long a connection may take, and how long a server may send nothing.
    tries
        Requests in a row that may bring less than `worth` new bytes before a file is given up.
    fetches
        How often a whole file is fetched when its MD5 is wrong.
    first_wait, longest_wait
        The wait after a failed request doubles from the first to the longest; chance adds up to as much.
    longest_asked_wait
        A server that asks for more than this (`Retry-After`) is given up.
    requests_per_minute
        Of all threads together.
    sleep
        How to wait; by default so that an interrupt ends it.
    chance
        Draws the random part of the waits.
    """

    connect: float = 20.0
    read: float = 60.0
    tries: int = 8
    fetches: int = 3
    worth: int = 1 << 20
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_asked_wait: float = 3700.0
    requests_per_minute: int = 60
    sleep: Callable[[float], None] | None = None
    chance: random.Random = field(default_factory=random.Random)

    def wait_after(self, failures: int) -> float:
        """Return the wait after the given number (1, 2, ...) of failed requests in a row."""
        wait: float = min(self.longest_wait, self.first_wait * 2.0 ** min(failures - 1, 30))
        return wait * (1.0 + self.chance.random())


class Gate:
    """What every request passes: keeps the rate, and closes for all when a server asks for a pause."""

    def __init__(self, patience: Patience, stop: threading.Event) -> None:
        self.requests = 0
        self._patience = patience
        self._stop = stop
        self._lock = threading.Lock()
        self._slots: deque[float] = deque(maxlen=patience.requests_per_minute)
        self._opens = 0.0

    def enter(self) -> None:
        """Wait until the next request may be sent.

        Raises
        ------
        StoppedError
            If the download was interrupted meanwhile.
        """
        with self._lock:
            now = time.monotonic()
            slot = max(now, self._opens)
            if len(self._slots) == self._slots.maxlen:
                slot = max(slot, self._slots[0] + 60.0)
            self._slots.append(slot)
            self.requests += 1
        self.pause(slot - now)

    def close(self, seconds: float) -> None:
        """Let nobody through for that long."""
        with self._lock:
            self._opens = max(self._opens, time.monotonic() + seconds)

    def pause(self, seconds: float) -> None:
        """Wait; an interrupt ends the wait with `StoppedError`."""
        if seconds > 0:
            (self._patience.sleep or self._stop.wait)(seconds)
        self.check()

    def check(self) -> None:
        """Raise `StoppedError` if the download was interrupted."""
        if self._stop.is_set():
            raise StoppedError


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for (a number or a date), None if it says nothing.

    >>> retry_after("120")
    120.0
    >>> retry_after("Wed, 21 Oct 2015 07:28:30 GMT", datetime(2015, 10, 21, 7, 28, tzinfo=UTC))
    30.0
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
