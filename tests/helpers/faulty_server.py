"""An HTTP server on this machine that misbehaves on demand, in the ways that record servers and networks do.

Each path has a script of faults; every GET of it takes the next one, and once the script is empty the server is
a good one: ranges, `If-Range`, strong ETags. It counts what it is asked.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

STALL_S = 0.25
KINDS = (
    "drop", "reset", "mute", "garbage", "stall", "ignore-range", "wrong-start", "wrong-total", "wrong-end", "lie",
    "no-range-header", "416", "429", "429-date", "503", "503-plain", "500", "502", "truncate", "flip", "new-etag",
    "new-etag-206", "old", "old-silent", "chunked", "chunked-drop", "gzip", "html",
)  # fmt: skip
"""What can go wrong; `at` is after how many bytes of the body (drop, stall), or which byte (flip)."""


@dataclass(frozen=True)
class Fault:
    """One way to misbehave, once."""

    kind: str
    at: int = 0


@dataclass
class Asked:
    """One request that came in."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class FaultyServer:
    """Serves `files` (path to bytes), each path by its script; `pace` is a pause in s after every 4 KiB of a body."""

    files: dict[str, bytes]
    scripts: dict[str, list[Fault]] = field(default_factory=dict)
    etags: bool = True
    heads_fail_too: bool = False
    pace: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> FaultyServer:
        outer = self

        class Handler(_Handler):
            home = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # broken pipes are the point
        self._lock = threading.Lock()
        threading.Thread(target=self._server.serve_forever, args=(0.003,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def count(self, method: str = "GET") -> int:
        return sum(asked.method == method for asked in self.asked)

    def next_fault(self, path: str) -> Fault | None:
        with self._lock:
            script = self.scripts.get(path)
            return script.pop(0) if script else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    home: FaultyServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve(self.home.next_fault(self.path) if self.home.heads_fail_too else None)

    def do_GET(self) -> None:
        self._serve(self.home.next_fault(self.path))

    def _serve(self, fault: Fault | None) -> None:
        home, path = self.home, self.path
        home.asked.append(Asked(self.command, path, dict(self.headers)))
        kind, at = (fault.kind, fault.at) if fault else ("", 0)
        body = home.files.get(path)
        if body is None:
            return self._send(404, b"no such file")
        if kind in ("429", "503", "429-date", "503-plain", "500", "502"):
            headers = {}
            if kind in ("429", "503"):
                headers["Retry-After"] = str(at)
            elif kind == "429-date":
                headers["Retry-After"] = format_datetime(datetime.now(UTC) + timedelta(seconds=at), usegmt=True)
            return self._send(int(kind[:3]), b"try later", headers)
        if kind == "mute":
            return self._hang_up()
        if kind == "garbage":
            self.wfile.write(b"\x00\x01 what?\r\n\r\n")
            return self._hang_up()
        if kind == "416":
            return self._send(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        if kind == "html":
            return self._send(200, b"<html>welcome to the hotel network</html>", {"Content-Type": "text/html"})
        if kind in ("new-etag", "new-etag-206"):
            home.versions[path] = home.versions.get(path, 0) + 1
        etag = f'"{hashlib.sha1(path.encode()).hexdigest()[:8]}-{home.versions.get(path, 0)}"'
        if kind in ("old", "old-silent"):
            body = bytes(byte ^ 0x55 for byte in body)  # an earlier version of the file, as long as this one
            etag = etag if kind == "old-silent" else '"old"'
        if kind == "flip" and body:
            spot = at % len(body)
            body = body[:spot] + bytes([body[spot] ^ 1]) + body[spot + 1 :]
        if kind == "truncate":
            body = body[: len(body) * (at % 100) // 100]
        return self._send_file(kind, at, body, etag)

    def _send_file(self, kind: str, at: int, body: bytes, etag: str) -> None:
        total, start = len(body), 0
        asked = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        if asked and kind not in ("ignore-range", "chunked", "chunked-drop"):
            same = self.headers.get("If-Range", etag) == etag or not self.home.etags
            if same or kind in ("new-etag-206", "old"):
                start = int(asked[1])
        headers = ({"ETag": etag} if self.home.etags else {}) | self.home.headers
        if self.home.headers:
            start = 0  # a page knows no ranges
        if start >= total > 0:
            return self._send(416, b"", {"Content-Range": f"bytes */{total}"})
        if start:
            first, end, size = start, total - 1, total
            first += {"wrong-start": 1}.get(kind, 0)
            size += {"wrong-total": 7}.get(kind, 0)
            end -= {"wrong-end": 1}.get(kind, 0)
            if kind != "no-range-header":
                headers["Content-Range"] = f"bytes {first}-{end}/{size}"
            piece = body[: total - start] if kind == "lie" else body[start:]
            if kind == "wrong-end":
                piece = piece[:-1]
        else:
            piece = body
        if kind == "gzip":
            headers["Content-Encoding"] = "gzip"
            piece = gzip.compress(piece)
        return self._send(206 if start else 200, piece, headers, kind, at)

    def _send(
        self, status: int, piece: bytes, headers: dict[str, str] | None = None, kind: str = "", at: int = 0
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        chunked = kind.startswith("chunked")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if kind in ("drop", "reset", "stall", "chunked-drop", "old", "old-silent"):
            piece = piece[:at]
        for begin in range(0, len(piece), 4096):
            data = piece[begin : begin + 4096]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
            if self.home.pace:
                self.wfile.flush()
                time.sleep(self.home.pace)
        if kind == "chunked":
            self.wfile.write(b"0\r\n\r\n")
        if kind == "stall":
            self.wfile.flush()
            time.sleep(STALL_S)
        if kind == "reset":
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if kind in ("drop", "reset", "stall", "chunked-drop", "old", "old-silent"):
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()
