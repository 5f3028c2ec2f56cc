"""What is asked of a record's server: requests that name us, the size of a file, the record's own list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import requests
import urllib3

from remixbench import __version__
from remixbench.errors import RemixbenchError
from remixbench.sources.patience import Gate, Patience, SharedTroubleError, retry_after

AGENT = f"remixbench/{__version__} (benchmark for sound event detection; python-requests/{requests.__version__})"
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524})
"""The status codes of troubles that pass."""

_WORTH_SAYING_S = 5.0
BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)
"""What is raised when a request or its answer breaks on the way."""


@dataclass(frozen=True)
class Line:
    """A way to the server: one thread's session; the gate, the patience and the ear of the user that all share."""

    session: requests.Session
    gate: Gate
    patience: Patience
    say: Callable[[str], None]

    def ask(self, method: str, url: str, headers: dict[str, str] | None = None) -> requests.Response:
        """Send one request when the gate lets it through; the body is not read yet."""
        self.gate.enter()
        timeout = (self.patience.connect, self.patience.read)
        return self.session.request(method, url, headers=headers, timeout=timeout, stream=True, allow_redirects=True)

    def back_off(self, file: str, found: str, asked: float | None, failures: int) -> None:
        """Wait after the given number of failed requests in a row: longer each time, and as the server asked.

        Raises
        ------
        SharedTroubleError
            If the patience is at its end, or the server asks for a longer wait than it allows.
        StoppedError
            If the download was interrupted meanwhile.
        """
        if failures >= self.patience.tries:
            raise SharedTroubleError(
                f"{file}: gave up after {failures} requests in a row that brought next to nothing, the last: {found}; "
                "what arrived is kept, run the same command again to go on"
            )
        wait = max(self.patience.wait_after(failures), asked or 0.0)
        if asked is not None and asked > self.patience.longest_asked_wait:
            raise SharedTroubleError(
                f"{file}: {found} and asks to come back in {asked:.0f} s; what arrived is kept, run the same command "
                "again then"
            )
        if wait >= _WORTH_SAYING_S:
            self.say(f"{file}: {found}; trying again in {wait:.0f} s")
        if asked is None:
            self.gate.pause(wait)
        else:
            self.gate.close(wait)


def open_session() -> requests.Session:
    """Return a session that names this program and wants the bytes as they are."""
    session = requests.Session()
    session.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity"})
    return session


def remote_size(url: str, file: str, line: Line) -> int | None:
    """Ask how large a file is, in bytes; None where the server does not say.

    Raises
    ------
    RemixbenchError
        If the server says that it has no such file, or cannot be reached.
    """
    failures = 0
    while True:
        try:
            with line.ask("HEAD", url) as response:
                status = response.status_code
                if status == 200:
                    return number(response.headers.get("Content-Length"))
                if status in (404, 410):
                    raise RemixbenchError(f"{file}: the server answered {status} to {url}; look at --mirror")
                if status not in PASSING:
                    return None
                found = f"the server answered {status} to {url}"
                asked = retry_after(response.headers.get("Retry-After"))
        except BROKEN as error:
            found, asked = f"{plain(error)} ({url})", None
        failures += 1
        line.back_off(file, found, asked, failures)


def listed_md5(listing: str, file: str, line: Line) -> str | None:
    """Return the MD5 that the record's own list gives for the file; None where there is no such list."""
    try:
        with line.ask("GET", listing) as response:
            listed = response.json()["files"] if response.status_code == 200 else []
        for entry in listed:
            if entry["key"] == file:
                return str(entry["checksum"]).lower().removeprefix("md5:")
    except (*BROKEN, ValueError, KeyError, TypeError):
        return None
    return None


def number(text: str | None) -> int | None:
    """Return the number that a header states, None where it states none."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None


def plain(error: Exception) -> str:
    """Say in a few words what went wrong on the way."""
    if isinstance(error, requests.ConnectTimeout | requests.ReadTimeout | urllib3.exceptions.TimeoutError):
        return "the server sent nothing for too long"
    if isinstance(error, urllib3.exceptions.ProtocolError | requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError):
        return "the server could not be reached"
    return f"{type(error).__name__}: {error}"
