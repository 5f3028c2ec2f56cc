"""One file over HTTP, on a network and from a server that are not to be relied on.

What arrives goes to a `.part` file; a broken transfer goes on where it stopped, if the server proves that it
sends the rest of the same file (206, the exact `Content-Range`, the same ETag), and starts again otherwise.
The file gets its name only once its size and its MD5, computed while it arrives, are right.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from remixbench.errors import RemixbenchError
from remixbench.sources.part import Part
from remixbench.sources.patience import SharedTroubleError, retry_after
from remixbench.sources.server import BROKEN, PASSING, Line, listed_md5, number, plain

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Wanted:
    """A file to fetch: `size` in bytes where it is known for certain, and where the record lists its MD5s."""

    url: str
    path: Path
    md5: str
    size: int | None
    listing: str


@dataclass(frozen=True)
class Fetched:
    """What arrived: its MD5, which is the expected one unless the record's own list was believed."""

    md5: str


class _FaultError(Exception):
    """One request failed in a way that may pass; `wait` is what the server asked for, in seconds."""

    def __init__(self, found: str, wait: float | None = None) -> None:
        super().__init__(found)
        self.wait = wait


def fetch(
    wanted: Wanted,
    line: Line,
    advance: Callable[[int], None],
    say: Callable[[str], None],
    believe_listing: bool,
) -> Fetched:
    """Fetch a file whole and verified, going on from what an earlier attempt left.

    Parameters
    ----------
    advance
        Told of bytes gained, and (negative) of bytes given up.
    believe_listing
        Take a file whose MD5 is not the expected one but the one in the record's own list, saying so.

    Raises
    ------
    RemixbenchError
        If the server refuses, stays silent or sends wrong bytes for longer than the patience lasts (a
        `SharedTroubleError` where the network or the disk is to blame). What arrived stays for the next attempt,
        except for bytes known to be wrong.
    StoppedError
        If the download was interrupted; the part stays.
    """
    name = wanted.path.name
    with Part(wanted.path, wanted.md5) as part:
        part.hash_present(advance, line.gate.check)
        wrong: list[str] = []
        while True:
            if part.digest() == wanted.md5 and wanted.size in (None, part.size):
                part.finish()
                return Fetched(wanted.md5)
            if part.size and part.size == _total(wanted, part):
                found = part.digest()
                if found == listed_md5(wanted.listing, name, line):
                    if not believe_listing:
                        raise RemixbenchError(_changed(wanted, found))
                    say(f"{name}: MD5 is {found}, not our {wanted.md5}, but the record lists it: taken")
                    part.finish()
                    return Fetched(found)
                wrong.append(found)
                _start_again(part, advance)
                if len(wrong) >= line.patience.fetches:
                    raise RemixbenchError(_wrong(wanted, wrong))
                say(f"{name}: MD5 is {found}, expected {wanted.md5}; fetching it again")
            _fetch_rest(wanted, part, line, advance)


def _fetch_rest(wanted: Wanted, part: Part, line: Line, advance: Callable[[int], None]) -> None:
    """Send requests until all bytes are there, or patience ends."""
    failures, best = 0, part.size
    while True:
        try:
            _request(wanted, part, line, advance)
            return
        except _FaultError as fault:
            if part.size >= best + line.patience.worth:
                failures, best = 0, part.size
            failures += 1
            found, asked = f"{fault} ({wanted.url})", fault.wait
        line.back_off(wanted.path.name, found, asked, failures)


def _request(wanted: Wanted, part: Part, line: Line, advance: Callable[[int], None]) -> None:
    """Send one request for what is missing and take what comes."""
    if part.size and (total := _total(wanted, part)) is not None and part.size >= total:
        _start_again(part, advance)
    headers = {}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.etag and not part.etag.startswith("W/"):
            headers["If-Range"] = part.etag
    try:
        with line.ask("GET", wanted.url, headers) as response:
            if not _admit(wanted, part, response, advance):
                return
            for data in response.raw.stream(_CHUNK, decode_content=False):
                line.gate.check()
                if part.total is not None and part.size + len(data) > part.total:
                    _start_again(part, advance)
                    raise _FaultError("more bytes came than were announced")
                _append(part, data)
                advance(len(data))
    except BROKEN as error:
        raise _FaultError(plain(error)) from None
    total = _total(wanted, part)
    if total is not None and part.size != total:
        raise _FaultError(f"broke off after {part.size} of {total} bytes")
    if total is None:
        part.settle(part.etag, part.size)


def _admit(wanted: Wanted, part: Part, response: requests.Response, advance: Callable[[int], None]) -> bool:
    """Check that the body about to come is what was asked for, and make the part ready for it.

    Returns False where nothing is to come, the part being the whole already.
    """
    status, etag = response.status_code, response.headers.get("ETag")
    if status in PASSING:
        asked = retry_after(response.headers.get("Retry-After")) if status in (429, 503) else None
        raise _FaultError(f"the server answered {status}", asked)
    if 400 <= status < 500 and status != 416:
        raise RemixbenchError(
            f"{wanted.path.name}: the server answered {status} {response.reason} to {wanted.url}; "
            "expected the file; look at the address, or use another --mirror"
        )
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _FaultError("the server sent the file re-encoded")
    length = number(response.headers.get("Content-Length"))
    if status == 200:
        if wanted.size is not None and length is not None and length != wanted.size:
            raise _FaultError(f"the server announced {length} bytes, expected {wanted.size}")
        _start_again(part, advance)
        part.settle(etag, length if wanted.size is None else wanted.size)
        return True
    if status == 416 and part.size and response.headers.get("Content-Range") == f"bytes */{part.size}":
        part.settle(part.etag, part.size)
        return False
    found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if status == 206 and part.size and found is not None:
        start, end, total = (int(number) for number in found.groups())
        same = part.etag is None or etag is None or etag == part.etag
        if (
            (start, end + 1) == (part.size, total)
            and total == (_total(wanted, part) or total)
            and length in (None, total - start)
            and same
        ):
            part.settle(part.etag or etag, total)
            return True
    _start_again(part, advance)
    said = response.headers.get("Content-Range", "none")
    raise _FaultError(f"the server answered {status} with Content-Range {said!r}, not the rest of the file")


def _start_again(part: Part, advance: Callable[[int], None]) -> None:
    if part.size:
        advance(-part.size)
    part.restart()


def _append(part: Part, data: bytes) -> None:
    try:
        part.append(data)
    except OSError as error:
        raise full_or_broken(error, part.part) from None


def full_or_broken(error: OSError, path: Path) -> RemixbenchError:
    """Make the one-line error for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SharedTroubleError(f"{path}: the disk is full; free some space and run the same command again to go on")
    return RemixbenchError(f"{path}: could not be written ({error.strerror or error}); what is there is kept")


def _total(wanted: Wanted, part: Part) -> int | None:
    return part.total if wanted.size is None else wanted.size


def _changed(wanted: Wanted, found: str) -> str:
    return (
        f"{wanted.path.name}: MD5 is {found}, expected {wanted.md5}, but the record itself now lists "
        f"{found}: the archive was replaced at its source after this version of remixbench was made, so data "
        f"made from it may not be comparable; it is kept as {wanted.path.name}.part: run again with "
        "--accept-changed to use it"
    )


def _wrong(wanted: Wanted, wrong: list[str]) -> str:
    if len(set(wrong)) == 1:
        cause = "the same each time, so the server holds another file: try another --mirror, a newer remixbench"
    else:
        cause = "not the same each time, so bytes change on the way (proxy, memory, disk): try another network"
    return (
        f"{wanted.path.name}: MD5 is {wrong[-1]}, expected {wanted.md5}; fetched {len(wrong)} times and "
        f"deleted; {cause} ({wanted.url})"
    )
