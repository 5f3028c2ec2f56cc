"""What is asked of a record's server: requests that name us, the size of a file, the record's own list."""

from __future__ import annotations

from dataclasses import dataclass

import requests
import urllib3

from remixbench import __version__
from remixbench.errors import RemixbenchError
from remixbench.sources.patience import Gate, Patience, retry_after

AGENT = f"remixbench/{__version__} (benchmark for sound event detection; python-requests/{requests.__version__})"
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524})
"""The status codes of troubles that pass."""

BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)
"""What is raised when a request or its answer breaks on the way."""


@dataclass(frozen=True)
class Line:
    """A way to the server: one thread's session, and the gate and patience that all share."""

    session: requests.Session
    gate: Gate
    patience: Patience

    def ask(self, method: str, url: str, headers: dict[str, str] | None = None) -> requests.Response:
        """Send one request when the gate lets it through; the body is not read yet."""
        self.gate.enter()
        timeout = (self.patience.connect, self.patience.read)
        return self.session.request(method, url, headers=headers, timeout=timeout, stream=True, allow_redirects=True)


def open_session() -> requests.Session:
    """Return a session that names this program and wants the bytes as they are."""
    session = requests.Session()
    session.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity"})
    return session


def remote_size(url: str, line: Line) -> int | None:
    """Ask how large a file is, in bytes; None where the server does not say.

    Raises
    ------
    RemixbenchError
        If the server says that it has no such file, or cannot be reached.
    """
    for failures in range(1, line.patience.tries + 1):
        try:
            with line.ask("HEAD", url) as response:
                status = response.status_code
                if status == 200:
                    return number(response.headers.get("Content-Length"))
                if status in (404, 410):
                    raise RemixbenchError(f"{url}: the server answered {status}; expected the file; look at --mirror")
                if status not in PASSING:
                    return None
                found = f"the server answered {status}"
                wait = retry_after(response.headers.get("Retry-After"))
        except BROKEN as error:
            found, wait = plain(error), None
        if wait is not None and wait <= line.patience.longest_asked_wait:
            line.gate.close(wait)
        elif failures < line.patience.tries:
            line.gate.pause(line.patience.wait_after(failures))
    raise RemixbenchError(f"{url}: no answer after {line.patience.tries} tries, the last: {found}; is the network up?")


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
