"""HTTP requests with retries, and with a rate limit that all threads share.

Zenodo limits guests to 60 requests per minute (a download without faults sends 26) and sends `Retry-After`. All threads
share a `RateLimiter`; each has its own `HttpClient`. All requests are retried by `HttpClient.retry`.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import requests
import urllib3

from remixbench import __version__
from remixbench.errors import RemixbenchError, one_line

T = TypeVar("T")
USER_AGENT = f"remixbench/{__version__} (benchmark for sound event detection)"
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524})
NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)
SETTINGS_ERRORS = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)
"""Errors of malformed addresses and proxy settings."""
REFUSED = re.compile(r"Tunnel connection failed: 4\d\d|CERTIFICATE")
PROXIES = "HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
MD5 = re.compile(r"[0-9a-f]{32}")
_ANNOUNCED_DELAY_S = 5.0


class FatalDownloadError(RemixbenchError):
    """An error that probably affects the other archives too: of the network, the server or the disk."""


class MissingFileError(RemixbenchError):
    """The server has no such file."""


class DownloadCancelled(Exception):  # noqa: N818 - not an error, like KeyboardInterrupt
    """The download was interrupted, or another thread failed unexpectedly."""


class TransientError(Exception):
    """A request failed for a reason that may pass; `retry_after` is the wait that the server asked for, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class RetryPolicy:
    """When to retry a request, how long to wait, and when to give up; times in seconds.

    Attributes
    ----------
    connect_timeout, read_timeout : time limits for connecting, and between received data
    max_failures : consecutive failed requests, without progress, after which a file is given up
    max_full_downloads : how often a whole file is fetched if its MD5 is wrong
    min_progress_bytes : new bytes that reset the count of failures
    initial_delay, max_delay : the delay doubles with each failure; jitter at most doubles it
    max_retry_after : longest `Retry-After` that is obeyed; beyond it the file is given up
    sleep : function that waits; the default ends on an interrupt
    rng : generator of the jitter
    """

    connect_timeout: float = 20.0
    read_timeout: float = 60.0
    max_failures: int = 8
    max_full_downloads: int = 3
    min_progress_bytes: int = 1 << 20
    initial_delay: float = 1.0
    max_delay: float = 60.0
    max_retry_after: float = 3700.0
    sleep: Callable[[float], None] | None = None
    rng: random.Random = field(default_factory=random.Random)

    def delay(self, failures: int) -> float:
        """Return the delay after a number (1, 2, ...) of consecutive failures."""
        delay: float = min(self.max_delay, self.initial_delay * 2.0 ** min(failures - 1, 30))
        return delay * (1.0 + self.rng.random())


class RateLimiter:
    """Pauses the requests of all threads for `Retry-After`, counts them, and cancels waits."""

    def __init__(self, policy: RetryPolicy, cancel: threading.Event) -> None:
        self.requests = 0
        self._policy = policy
        self._cancel = cancel
        self._lock = threading.Lock()
        self._resumes = 0.0

    def acquire(self) -> None:
        """Wait until the next request may be sent; raises `DownloadCancelled` on an interrupt."""
        with self._lock:
            self.requests += 1
            pause = self._resumes - time.monotonic()
        self.sleep(pause)

    def pause(self, seconds: float) -> None:
        """Hold all requests for this time."""
        with self._lock:
            self._resumes = max(self._resumes, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait; raises `DownloadCancelled` on an interrupt."""
        if seconds > 0:
            (self._policy.sleep or self._cancel.wait)(seconds)
        self.check_cancelled()

    def check_cancelled(self) -> None:
        """Raise `DownloadCancelled` if the download was interrupted."""
        if self._cancel.is_set():
            raise DownloadCancelled


@dataclass(frozen=True)
class ListedFile:
    """A file in the list of a record: its MD5, and its size in bytes if listed."""

    md5: str
    size: int | None


class HttpClient:
    """Sends the requests of one thread; all threads share the policy and the rate limiter."""

    def __init__(self, policy: RetryPolicy, limiter: RateLimiter, say: Callable[[str], None]) -> None:
        self.policy = policy
        self.limiter = limiter
        self.say = say
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})

    def request(self, method: str, url: str, headers: dict[str, str] | None = None) -> requests.Response:
        """Send a request after any pause; the body is not read yet. Raises `TransientError` by the status."""
        self.limiter.acquire()
        timeout = (self.policy.connect_timeout, self.policy.read_timeout)
        try:
            response = self._session.request(method, url, headers=headers, timeout=timeout, stream=True)
        except NETWORK_ERRORS:
            raise
        except OSError as error:  # raised before anything is sent if there is no such file of certificates
            raise FatalDownloadError(f"{url}: {error}; correct REQUESTS_CA_BUNDLE") from None
        if response.status_code in TRANSIENT_STATUS:
            response.close()
            wait = retry_after(response.headers.get("Retry-After")) if response.status_code in (429, 503) else None
            raise TransientError(f"the server answered {response.status_code}", wait)
        return response

    def retry(self, name: str, url: str, attempt: Callable[[], T], received: Callable[[], int] = lambda: 0) -> T:
        """Call `attempt` until it succeeds; retries after network errors and `TransientError`.

        `name` and `url` are for messages; `received` returns the number of bytes received so far, which resets the
        count of failures. Raises `FatalDownloadError` after `max_failures` in a row, if `Retry-After` is too long, or
        for an error of TLS or a proxy that a retry cannot fix.
        """
        failures, best = 0, received()
        while True:
            try:
                return attempt()
            except TransientError as error:
                message, wait = f"{error} ({url})", error.retry_after
            except NETWORK_ERRORS as error:
                if _is_permanent(error):
                    raise FatalDownloadError(f"{name}: {describe_error(error)} ({url})") from None
                message, wait = f"{describe_error(error)} ({url})", None
            if received() >= best + self.policy.min_progress_bytes:
                failures, best = 0, received()
            failures += 1
            self._back_off(name, message, wait, failures)

    def _back_off(self, name: str, message: str, wait: float | None, failures: int) -> None:
        """Wait after a number of consecutive failures: longer each time, and at least as long as the server asked."""
        if failures >= self.policy.max_failures:
            raise FatalDownloadError(
                f"{name}: gave up after {failures} requests in a row without progress, the last: {message}; "
                "the partial file is kept, run the same command again to resume"
            )
        if wait is not None and wait > self.policy.max_retry_after:
            raise FatalDownloadError(
                f"{name}: {message} and asks to retry in {wait:.0f} s; the partial file is kept, run the same command "
                "again then"
            )
        delay = max(self.policy.delay(failures), wait or 0.0)
        if delay >= _ANNOUNCED_DELAY_S:
            self.say(f"{name}: {message}; retrying in {delay:.0f} s")
        if wait is None:
            self.limiter.sleep(delay)
        else:
            self.limiter.pause(delay)

    def content_length(self, url: str, name: str) -> int | None:
        """Return the size of a file in bytes from a HEAD request; None if the server does not report it."""

        def attempt() -> int | None:
            with self.request("HEAD", url) as response:
                if response.status_code in (404, 410):
                    raise MissingFileError(
                        f"{name}: the server answered {response.status_code} to {url}; check the address or --mirror"
                    )
                return header_number(response.headers.get("Content-Length")) if response.status_code == 200 else None

        return self.retry(name, url, attempt)

    def listed_files(self, url: str, name: str) -> dict[str, ListedFile]:
        """Return the files that a record lists at `url`; {} if the server has no such list. `name` is for messages."""

        def attempt() -> dict[str, ListedFile]:
            with self.request("GET", url) as response:
                return parse_listing(response.content) if response.status_code == 200 else {}

        return self.retry(name, url, attempt)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parse_listing(data: bytes) -> dict[str, ListedFile]:
    """Parse the file list of a record in any format that Zenodo has used; return {} for other content.

    The entries are a list, or a mapping `entries` by name. An entry has its file name as `key` or `filename`, its MD5
    with or without the prefix `md5:`, and its size as `size` or `filesize`.
    """
    try:
        listed = json.loads(data)["files"]
        if isinstance(listed, dict):
            listed = [{"key": key, **entry} for key, entry in listed["entries"].items()]
        files = {}
        for entry in listed:
            name, size = entry.get("key", entry.get("filename")), entry.get("size", entry.get("filesize"))
            md5 = str(entry.get("checksum", "")).lower().removeprefix("md5:")
            if isinstance(name, str) and MD5.fullmatch(md5):
                files[name] = ListedFile(md5, size if isinstance(size, int) and size >= 0 else None)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return files


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds to wait by a `Retry-After` header (a number or a date), None if there is none.

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


def header_number(text: str | None) -> int | None:
    """Return the number in a header, None if it is missing or not a number."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None


def _is_permanent(error: Exception) -> bool:
    """Return whether an error is due to TLS or proxy settings, so that a retry cannot fix it."""
    if isinstance(error, requests.exceptions.ProxyError):
        return REFUSED.search(str(error)) is not None
    return isinstance(error, (requests.exceptions.SSLError, *SETTINGS_ERRORS))


def describe_error(error: Exception) -> str:
    """Describe a network error in a few words."""
    reason = one_line(str(_root_cause(error)))
    if isinstance(error, requests.exceptions.SSLError):
        if "CERTIFICATE_OR_CRL" in reason:
            return f"the file of certificates holds none ({reason}); correct REQUESTS_CA_BUNDLE"
        if "CERTIFICATE" not in reason.upper():
            return f"the server does not speak TLS as expected ({reason}); check the address, HTTPS_PROXY and NO_PROXY"
        return (
            f"the certificate of the server is not trusted ({reason}); behind a proxy that inspects TLS,"
            " set REQUESTS_CA_BUNDLE to the file with its certificate"
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy cannot be used ({reason}); check {PROXIES}"
    if isinstance(error, SETTINGS_ERRORS):
        return f"the address or the proxy's is malformed ({reason}); check {PROXIES}"
    if isinstance(error, requests.ConnectTimeout | requests.ReadTimeout | urllib3.exceptions.TimeoutError):
        return "the server sent nothing for too long"
    if isinstance(error, urllib3.exceptions.ProtocolError | requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError):
        return f"the server could not be reached ({reason})"
    return f"{type(error).__name__}: {error}"


def _root_cause(error: BaseException) -> BaseException:
    cause = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
    return _root_cause(cause) if isinstance(cause, BaseException) else error
