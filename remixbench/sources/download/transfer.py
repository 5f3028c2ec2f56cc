"""Transfer of one file over an unreliable network: resumed after interruptions, and verified by size and MD5.

Data is written to a partial file (`NAME.part`). A broken transfer resumes at its end if the server proves that it sends
the rest of the same file (status 206, the exact `Content-Range`, the same ETag). Otherwise the server sends the file
from the start, which is compared with the partial file, and only bytes proven to differ are dropped. The file is
renamed only once its size and its MD5, computed on the fly, are correct.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from remixbench.errors import InputError, RemixbenchError
from remixbench.files import read_json, write_json
from remixbench.sources.download.http import HttpClient, MissingFileError, TransientError, header_number
from remixbench.sources.download.select import RemoteFile

CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
CHUNK = 1 << 20
NOT_FILES = ("text/", "image/", "application/xhtml", "application/xml", "application/json")
"""Beginnings of content types that cannot be an archive."""
ZIP_MARK = b"PK"
WEB_PAGE = "the server sent a web page instead of the file, perhaps the login of a network or proxy"
NETWORK_CHUNK = 1 << 18


class PartialFile:
    """The received part of the file `path`: `NAME.part`, with its state in `NAME.part.json`; for a `with` block.

    It only grows at its end, or is truncated to bytes known to be correct, so even after a kill it is the start of one
    version of the file; the MD5 of the complete file decides. A complete file of the right MD5 needs no state; any
    other without state is not ours, and is refused.

    Attributes
    ----------
    size : bytes received
    etag, total : ETag and size of the version of the file that they belong to, if known
    resumable : whether to request only the rest; False once the server has answered such a request wrongly
    """

    def __init__(self, path: Path, md5: str) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.state = path.with_name(path.name + ".part.json")
        self.backup = path.with_name(path.name + ".part.kept")
        self.size = 0
        self.etag: str | None = None
        self.total: int | None = None
        self.resumable = True
        self._expected = md5
        self._md5 = hashlib.md5(usedforsecurity=False)

    def __enter__(self) -> PartialFile:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.backup.exists() and not (self.part.exists() and self.part.stat().st_size >= self.backup.stat().st_size):
            os.replace(self.backup, self.part)
            write_json(self.state, {"md5": self._expected, "etag": None, "total": None})
        self._file = open(self.part, "a+b", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def load(self, advance: Callable[[int], None], check_cancelled: Callable[[], None]) -> None:
        """Add the data of an earlier run to the digest, if it is of the same file; otherwise start over."""
        state = _read_state(self.state)
        if state.get("md5", self._expected) != self._expected:
            self.cut(0)
            return
        etag, total = state.get("etag"), state.get("total")
        self.etag = etag if isinstance(etag, str) else None
        self.total = total if isinstance(total, int) else None
        self._hash_existing(advance, check_cancelled)
        if self.size and not state and self.digest() != self._expected:
            raise RemixbenchError(
                f"{self.part}: remixbench did not write it and leaves it unchanged: move it away and run the same"
                " command again"
            )

    def _hash_existing(self, advance: Callable[[int], None], check_cancelled: Callable[[], None]) -> None:
        self._file.seek(0)
        while data := self._file.read(CHUNK):
            check_cancelled()
            self._md5.update(data)
            self.size += len(data)
            advance(len(data))

    def save_state(self, etag: str | None, total: int | None) -> None:
        """Store the version of the file that the following bytes belong to."""
        if (etag, total) != (self.etag, self.total) or not self.state.exists():
            self.etag, self.total = etag, total
            write_json(self.state, {"md5": self._expected, "etag": etag, "total": total})

    def append(self, data: bytes) -> None:
        """Append bytes."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._md5.update(data)
        self.size += len(data)

    def set_aside(self) -> None:
        """Start over, keeping the data for the next run: the answer that differs may not be the file."""
        if not self.backup.exists():
            self._file.close()
            os.replace(self.part, self.backup)
            self._file = open(self.part, "a+b", buffering=0)  # noqa: SIM115 - closed by __exit__
        self.cut(0)

    def compare(self, offset: int, data: bytes) -> int:
        """Return the length of the common prefix of `data` and the bytes received at `offset`."""
        self._file.seek(offset)
        received = self._file.read(min(len(data), self.size - offset))
        if data.startswith(received):
            return len(received)
        return next(k for k, (new, old) in enumerate(zip(data, received, strict=False)) if new != old)

    def cut(self, size: int) -> None:
        """Truncate to the first `size` bytes; with 0, also forget the version of the file."""
        self._file.truncate(size)
        self.size, self._md5 = 0, hashlib.md5(usedforsecurity=False)
        if size:
            self._hash_existing(lambda _: None, lambda: None)
        else:
            self.state.unlink(missing_ok=True)
            self.etag, self.total = None, None

    def digest(self) -> str:
        """Return the MD5 of the bytes received so far, in hexadecimal."""
        return self._md5.hexdigest()

    def finish(self) -> None:
        """Rename the partial file to its final name."""
        self._file.close()
        os.replace(self.part, self.path)
        self.state.unlink(missing_ok=True)
        self.backup.unlink(missing_ok=True)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except InputError:
        return {}


def md5_of(path: Path, advance: Callable[[int], None], check_cancelled: Callable[[], None]) -> str:
    """Return the MD5 of a file in hexadecimal."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            check_cancelled()
            digest.update(data)
            advance(len(data))
    return digest.hexdigest()


def listed_md5(remote: RemoteFile, client: HttpClient) -> str | None:
    """Return the MD5 of a file in the list of its record, None if it is not listed."""
    listed = client.listed_files(remote.listing_url, remote.name).get(remote.name)
    return None if listed is None else listed.md5


def fetch(remote: RemoteFile, path: Path, client: HttpClient, advance: Callable[[int], None]) -> str:
    """Fetch and verify a file, resuming a partial file if there is one; return its MD5.

    `advance` is called with the number of bytes received, negative for bytes dropped. If the server refuses, or keeps
    failing beyond the retry policy, and on an interrupt, the partial file is kept, except for bytes known to be wrong.
    """
    name = path.name
    with PartialFile(path, remote.md5) as part:
        part.load(advance, client.limiter.check_cancelled)
        wrong_md5s: list[str] = []
        while True:
            if part.digest() == remote.md5 and remote.size in (None, part.size):
                part.finish()
                return remote.md5
            if part.size and part.size == _total(remote, part):
                actual = part.digest()
                if listed_md5(remote, client) == actual:
                    if not remote.trusts_list:
                        raise RemixbenchError(_replaced_at_source(name, remote.md5, actual))
                    client.say(f"{name}: MD5 is {actual}, expected {remote.md5}, but the record lists it: accepted")
                    part.finish()
                    return actual
                wrong_md5s.append(actual)
                _cut(part, 0, advance)
                if len(wrong_md5s) >= client.policy.max_full_downloads:
                    raise RemixbenchError(_wrong_md5(name, remote, wrong_md5s))
                client.say(f"{name}: MD5 is {actual}, expected {remote.md5}; fetching it again")
            client.retry(
                name,
                remote.url,
                lambda: _request_rest(remote, part, client, advance),
                received=lambda: part.size,
            )


def _request_rest(remote: RemoteFile, part: PartialFile, client: HttpClient, advance: Callable[[int], None]) -> None:
    """Send one request for the missing bytes, and append the answer."""
    total = _total(remote, part)
    if part.size and total is not None and part.size >= total:
        _cut(part, 0, advance)
    headers = {}
    if part.size and part.resumable:
        headers["Range"] = f"bytes={part.size}-"
        if part.etag and not part.etag.startswith("W/"):
            headers["If-Range"] = part.etag
    with client.request("GET", remote.url, headers) as response:
        body = _accept(remote, part, response)
        if body is None:
            return
        if not part.size:
            part.save_state(body.etag, body.total)
        offset, trusted = body.offset, False
        for data in response.raw.stream(NETWORK_CHUNK, decode_content=False):
            client.limiter.check_cancelled()
            previous_size = part.size
            offset = _append(part, body, offset, data, advance)
            # the answer is the file, in this version or another
            if not trusted and (offset >= previous_size or part.size < previous_size):
                part.save_state(body.etag, body.total)
                part.resumable = trusted = True
    if offset < part.size:
        raise TransientError(f"broke off after {offset} of the {part.size} bytes already received")
    total = body.total
    if total is not None and part.size != total:
        raise TransientError(f"broke off after {part.size} of {total} bytes")
    part.save_state(body.etag, part.size)


def _append(part: PartialFile, body: Body, offset: int, data: bytes, advance: Callable[[int], None]) -> int:
    """Append bytes of the file that begin at `offset`, and return their end.

    Bytes that were already received are compared, not written again.
    """
    end = offset + len(data)
    if body.total is not None and end > body.total:
        part.resumable = False
        _cut(part, min(offset, part.size), advance)
        raise TransientError("the server sent more bytes than announced")
    if offset == 0 and data.lstrip()[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise TransientError(WEB_PAGE)
    if offset < part.size:
        same = part.compare(offset, data)
        if offset + same < part.size and same < len(data):
            if offset + same < 2 and part.compare(0, ZIP_MARK) == len(ZIP_MARK):
                raise TransientError("the server sent something that is not a zip archive")
            if not body.expected:
                advance(-part.size)
                part.set_aside()
                raise TransientError("the server sent another file, whose length is not the file's")
            _cut(part, offset + same, advance)  # another version of the file
        data = data[same:]
    if data:
        part.append(data)
        advance(len(data))
    return end


@dataclass(frozen=True)
class Body:
    """The body of an answer: its offset in the file, and the file's ETag and size if stated.

    `expected` says whether the server stated that size, and it is that of the partial file if known.
    """

    offset: int
    etag: str | None
    total: int | None
    expected: bool = True


def _accept(remote: RemoteFile, part: PartialFile, response: requests.Response) -> Body | None:
    """Check an answer, and return its body; None if the partial file is already complete.

    Never changes the data of the partial file.
    """
    status, etag = response.status_code, response.headers.get("ETag")
    if 400 <= status < 500 and status != 416:
        raise (MissingFileError if status in (404, 410) else RemixbenchError)(
            f"{part.path.name}: the server answered {status} {response.reason} to {remote.url}; "
            "expected the file; check the address, or use another --mirror"
        )
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise TransientError("the server sent the file re-encoded")
    length = header_number(response.headers.get("Content-Length"))
    if status == 200:
        if response.headers.get("Content-Type", "").lower().startswith(NOT_FILES):
            raise TransientError(WEB_PAGE)
        if remote.size is not None and length is not None and length != remote.size:
            raise TransientError(f"the server announced {length} bytes, expected {remote.size}")
        if length is not None and length < part.size:
            raise TransientError(f"the server announced {length} bytes, fewer than the {part.size} that have arrived")
        part.resumable = True
        expected = length is not None and length == (_total(remote, part) or length)
        return Body(0, etag, length if remote.size is None else remote.size, expected)
    if status == 416 and part.size and response.headers.get("Content-Range") == f"bytes */{part.size}":
        part.save_state(part.etag, part.size)
        return None
    span = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if status == 206 and part.size and span is not None:
        start, end, total = (int(number) for number in span.groups())
        same_version = part.etag is None or etag is None or etag == part.etag
        if (
            (start, end + 1) == (part.size, total)
            and total == (_total(remote, part) or total)
            and length in (None, total - start)
            and same_version
        ):
            return Body(part.size, part.etag or etag, total)
    part.resumable = False
    content_range = response.headers.get("Content-Range", "none")
    raise TransientError(f"the server answered {status} with Content-Range {content_range!r}, not the rest of the file")


def _cut(part: PartialFile, size: int, advance: Callable[[int], None]) -> None:
    """Truncate the partial file to `size` bytes, if it is longer."""
    if part.size > size:
        advance(size - part.size)
        part.cut(size)


def _total(remote: RemoteFile, part: PartialFile) -> int | None:
    return part.total if remote.size is None else remote.size


def _replaced_at_source(name: str, expected: str, actual: str) -> str:
    return (
        f"{name}: MD5 is {actual}, expected {expected}, but the record itself now lists {actual}: the archive was "
        "replaced at its source after this version of remixbench was released, so data made from it may not be "
        f"comparable; to use it all the same, give its MD5 with --checksums (a line '{actual}  {name}')"
    )


def _wrong_md5(name: str, remote: RemoteFile, wrong_md5s: list[str]) -> str:
    if len(set(wrong_md5s)) == 1:
        cause = "the same each time, so the server holds another file: try another --mirror, a newer remixbench"
    else:
        cause = "not the same each time, so bytes change in transit (proxy, memory, disk): try another network"
    return (
        f"{name}: MD5 is {wrong_md5s[-1]}, expected {remote.md5}; fetched {len(wrong_md5s)} times and "
        f"deleted; {cause} ({remote.url})"
    )
