"""One file over an unreliable network: resumed where it stopped, and verified by size and MD5.

What arrives goes to a partial file (`NAME.part`). A broken transfer resumes where it stopped if the server proves
that it sends the rest of the same file (206, the exact `Content-Range`, the same ETag), and restarts otherwise.
The file gets its name only once its size and its MD5, computed while it arrives, are right.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from remixbench.errors import RemixbenchError
from remixbench.files import write_json
from remixbench.sources.download.http import HttpClient, TransientError, header_number
from remixbench.sources.download.registry import RemoteFile
from remixbench.sources.download.threads import disk_error

CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
CHUNK = 1 << 20
NETWORK_CHUNK = 1 << 18


class PartialFile:
    """What has arrived of the file `path`: `NAME.part`, with its state beside it in `NAME.part.json`.

    It only grows at its end or restarts from nothing, so whenever a process is killed, it is the beginning of one
    version of the file; the MD5 over the whole decides in the end. Use it in a `with` block.
    """

    def __init__(self, path: Path, md5: str) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.state = path.with_name(path.name + ".part.json")
        self.size = 0
        self.etag: str | None = None
        self.total: int | None = None
        self._expected = md5
        self._md5 = hashlib.md5(usedforsecurity=False)

    def __enter__(self) -> PartialFile:
        """Open the partial file, keeping what an earlier run left if it is of the same file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.part, "a+b", buffering=0)
        state = _read_state(self.state)
        if state.get("md5", self._expected) != self._expected:
            self.restart()
        else:
            etag, total = state.get("etag"), state.get("total")
            self.etag = etag if isinstance(etag, str) else None
            self.total = total if isinstance(total, int) else None
        return self

    def __exit__(self, *_: object) -> None:
        """Close the partial file; it stays on disk."""
        self._file.close()

    def hash_existing(self, advance: Callable[[int], None], check_cancelled: Callable[[], None]) -> None:
        """Take the bytes that are already there into the digest."""
        self._file.seek(0)
        while data := self._file.read(CHUNK):
            check_cancelled()
            self._md5.update(data)
            self.size += len(data)
            advance(len(data))

    def save_state(self, etag: str | None, total: int | None) -> None:
        """Remember which version of the file the following bytes are of."""
        if (etag, total) != (self.etag, self.total) or not self.state.exists():
            self.etag, self.total = etag, total
            write_json(self.state, {"md5": self._expected, "etag": etag, "total": total})

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._md5.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Begin again from nothing."""
        self._file.truncate(0)
        self.state.unlink(missing_ok=True)
        self.size, self.etag, self.total = 0, None, None
        self._md5 = hashlib.md5(usedforsecurity=False)

    def digest(self) -> str:
        """Return the MD5 of the bytes so far, in hexadecimal."""
        return self._md5.hexdigest()

    def finish(self) -> None:
        """Give the file its final name."""
        self._file.close()
        os.replace(self.part, self.path)
        self.state.unlink(missing_ok=True)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def md5_of(path: Path, advance: Callable[[int], None], check_cancelled: Callable[[], None]) -> str:
    """Return the MD5 of a file in hexadecimal."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            check_cancelled()
            digest.update(data)
            advance(len(data))
    return digest.hexdigest()


def fetch(
    remote: RemoteFile,
    path: Path,
    client: HttpClient,
    advance: Callable[[int], None],
    trust_listed_md5: bool,
) -> str:
    """Fetch a file whole and verified, resuming what an earlier attempt left; returns its MD5.

    Parameters
    ----------
    advance
        Called with the bytes gained, and (negative) with bytes given up.
    trust_listed_md5
        Accept a file whose MD5 is not the expected one but the one in the record's file list, saying so.

    Raises
    ------
    RemixbenchError
        If the server refuses, or sends nothing or wrong bytes for longer than the retry policy allows (a
        `FatalDownloadError` if the network or the disk is the cause). What arrived stays for the next attempt,
        except for bytes known to be wrong.
    DownloadCancelled
        If the download was interrupted; the partial file stays.
    """
    name = path.name
    with PartialFile(path, remote.md5) as part:
        part.hash_existing(advance, client.limiter.check_cancelled)
        wrong: list[str] = []
        while True:
            if part.digest() == remote.md5 and remote.size in (None, part.size):
                part.finish()
                return remote.md5
            if part.size and part.size == _total(remote, part):
                found = part.digest()
                if found == client.listed_md5(remote.listing_url, name):
                    if not trust_listed_md5:
                        raise RemixbenchError(_replaced_at_source(name, remote.md5, found))
                    client.say(f"{name}: MD5 is {found}, expected {remote.md5}, but the record lists it: accepted")
                    part.finish()
                    return found
                wrong.append(found)
                _restart(part, advance)
                if len(wrong) >= client.policy.max_full_downloads:
                    raise RemixbenchError(_wrong_md5(name, remote, wrong))
                client.say(f"{name}: MD5 is {found}, expected {remote.md5}; fetching it again")
            _fetch_rest(remote, part, client, advance)


def _fetch_rest(remote: RemoteFile, part: PartialFile, client: HttpClient, advance: Callable[[int], None]) -> None:
    """Request what is missing until all bytes are there, or the retry policy gives up."""
    client.retry(
        part.path.name,
        remote.url,
        lambda: _request_rest(remote, part, client, advance),
        received=lambda: part.size,
    )


def _request_rest(remote: RemoteFile, part: PartialFile, client: HttpClient, advance: Callable[[int], None]) -> None:
    """Send one request for what is missing and append what comes."""
    if part.size and (total := _total(remote, part)) is not None and part.size >= total:
        _restart(part, advance)
    headers = {}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.etag and not part.etag.startswith("W/"):
            headers["If-Range"] = part.etag
    with client.request("GET", remote.url, headers) as response:
        if not _accept(remote, part, response, advance):
            return
        for data in response.raw.stream(NETWORK_CHUNK, decode_content=False):
            client.limiter.check_cancelled()
            if part.total is not None and part.size + len(data) > part.total:
                _restart(part, advance)
                raise TransientError("more bytes came than were announced")
            _append(part, data)
            advance(len(data))
    total = _total(remote, part)
    if total is not None and part.size != total:
        raise TransientError(f"broke off after {part.size} of {total} bytes")
    if total is None:
        part.save_state(part.etag, part.size)


def _accept(remote: RemoteFile, part: PartialFile, response: requests.Response, advance: Callable[[int], None]) -> bool:
    """Check that the body is what was requested, and prepare the partial file for it.

    Returns False if no body follows, the partial file being complete already.
    """
    status, etag = response.status_code, response.headers.get("ETag")
    if 400 <= status < 500 and status != 416:
        raise RemixbenchError(
            f"{part.path.name}: the server answered {status} {response.reason} to {remote.url}; "
            "expected the file; check the address, or use another --mirror"
        )
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise TransientError("the server sent the file re-encoded")
    length = header_number(response.headers.get("Content-Length"))
    if status == 200:
        if remote.size is not None and length is not None and length != remote.size:
            raise TransientError(f"the server announced {length} bytes, expected {remote.size}")
        _restart(part, advance)
        part.save_state(etag, length if remote.size is None else remote.size)
        return True
    if status == 416 and part.size and response.headers.get("Content-Range") == f"bytes */{part.size}":
        part.save_state(part.etag, part.size)
        return False
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if status == 206 and part.size and found is not None:
        start, end, total = (int(number) for number in found.groups())
        same_version = part.etag is None or etag is None or etag == part.etag
        if (
            (start, end + 1) == (part.size, total)
            and total == (_total(remote, part) or total)
            and length in (None, total - start)
            and same_version
        ):
            part.save_state(part.etag or etag, total)
            return True
    _restart(part, advance)
    content_range = response.headers.get("Content-Range", "none")
    raise TransientError(f"the server answered {status} with Content-Range {content_range!r}, not the rest of the file")


def _restart(part: PartialFile, advance: Callable[[int], None]) -> None:
    if part.size:
        advance(-part.size)
    part.restart()


def _append(part: PartialFile, data: bytes) -> None:
    try:
        part.append(data)
    except OSError as error:
        raise disk_error(error, part.part) from None


def _total(remote: RemoteFile, part: PartialFile) -> int | None:
    return part.total if remote.size is None else remote.size


def _replaced_at_source(name: str, expected: str, found: str) -> str:
    return (
        f"{name}: MD5 is {found}, expected {expected}, but the record itself now lists {found}: the archive was "
        "replaced at its source after this version of remixbench was released, so data made from it may not be "
        f"comparable; it is kept as {name}.part: run again with --accept-changed to use it"
    )


def _wrong_md5(name: str, remote: RemoteFile, wrong: list[str]) -> str:
    if len(set(wrong)) == 1:
        cause = "the same each time, so the server holds another file: try another --mirror, a newer remixbench"
    else:
        cause = "not the same each time, so bytes change on the way (proxy, memory, disk): try another network"
    return (
        f"{name}: MD5 is {wrong[-1]}, expected {remote.md5}; fetched {len(wrong)} times and "
        f"deleted; {cause} ({remote.url})"
    )
