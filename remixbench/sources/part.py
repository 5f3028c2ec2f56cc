"""A file that is on its way: `NAME.part`, with what is known of it beside it in `NAME.part.json`.

The part only grows at its end or starts again from nothing, so whatever moment a process dies at, the part is
the beginning of one version of the file; the MD5 over the whole decides in the end.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from remixbench.files import write_json

CHUNK = 1 << 20


class Part:
    """The part of the file `path`, whose MD5 is expected to be `md5`; open while in a `with` block."""

    def __init__(self, path: Path, md5: str) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.notes = path.with_name(path.name + ".part.json")
        self.size = 0
        self.etag: str | None = None
        self.total: int | None = None
        self._expected = md5
        self._md5 = hashlib.md5(usedforsecurity=False)

    def __enter__(self) -> Part:
        """Open the part, keeping what an earlier run left if it is of the same file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.part, "a+b", buffering=0)
        notes = _notes(self.notes)
        if notes.get("md5", self._expected) != self._expected:
            self.restart()
        else:
            etag, total = notes.get("etag"), notes.get("total")
            self.etag = etag if isinstance(etag, str) else None
            self.total = total if isinstance(total, int) else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the part; it stays on disk."""
        self._file.close()

    def hash_present(self, advance: Callable[[int], None], check: Callable[[], None]) -> None:
        """Take the bytes that are already there into the digest; `check` may raise to end it early."""
        self._file.seek(0)
        while data := self._file.read(CHUNK):
            check()
            self._md5.update(data)
            self.size += len(data)
            advance(len(data))

    def settle(self, etag: str | None, total: int | None) -> None:
        """Remember which version of the file the bytes to come are of."""
        if (etag, total) != (self.etag, self.total) or not self.notes.exists():
            self.etag, self.total = etag, total
            write_json(self.notes, {"md5": self._expected, "etag": etag, "total": total})

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
        self.notes.unlink(missing_ok=True)
        self.size, self.etag, self.total = 0, None, None
        self._md5 = hashlib.md5(usedforsecurity=False)

    def digest(self) -> str:
        """Return the MD5 of the bytes so far, in hexadecimal."""
        return self._md5.hexdigest()

    def finish(self) -> None:
        """Give the file its final name."""
        self._file.close()
        os.replace(self.part, self.path)
        self.notes.unlink(missing_ok=True)


def _notes(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def md5_of(path: Path, advance: Callable[[int], None], check: Callable[[], None]) -> str:
    """Return the MD5 of a file in hexadecimal, reporting the bytes read; `check` may raise to end it."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            check()
            digest.update(data)
            advance(len(data))
    return digest.hexdigest()
