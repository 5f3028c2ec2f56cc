"""Random damage to files: bits, bytes, lines, fields, values of JSON; what `fuzz.py` feeds to the readers."""

from __future__ import annotations

import math
import random
from typing import Any

PIECES = [
    b"", b"\0", b"\n", b"\r", b"\r\n", b",", b"\t", b";", b'"', b"'", b"\\", b"/", b"..", b"../../../etc/passwd",
    b"/etc/passwd", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"nan", b"inf", b"-inf", b"-1", b"0", b"1e309", b"-0",
    b"99999999999999999999", b"0.5", b"1_0", b"0x10", b"null", b"true", b"[]", b"{}", b"[" * 2000, b"{" * 2000,
    b"&a [*a]", b"!!python/object:os.system x", b"\xd9\xa1", b"\xe2\x80\xae", b"\x1b[31m", b"%s%n", b"a" * 5000,
    b"train", b"test", b"Bark", b"00000", b"\x00\x00\x00\x80", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, math.nan, math.inf, "", "x", "../../x",
    "/etc/x", "\0", "\n", "\ud800", "a" * 3000, [], {}, [[]], {"a": 1}, ["x"], [None], "nan", "1", "gap", "2ap-aux",
    "\u202e",
]  # fmt: skip


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Return bytes with one to four random changes."""
    for _ in range(draw.choice((1, 1, 1, 2, 3, 4))):
        at, piece = draw.randrange(len(data) + 1), draw.choice(PIECES)
        lines = data.split(b"\n")
        line = draw.randrange(len(lines))
        kind = draw.randrange(11)
        if kind == 0 and data:
            at %= len(data)
            data = data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + piece + data[at:]
        elif kind == 2:
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == 3:
            data = data[:at]
        elif kind == 4:
            data = data[:at] + data[at + draw.randrange(1, 64) :]
        elif kind == 5:
            data = data[:at] + draw.randbytes(draw.randrange(1, 16)) + data[at:]
        elif kind == 6:
            lines.insert(line, draw.choice(lines))
        elif kind == 7:
            del lines[line]
        elif kind == 8:
            other = draw.randrange(len(lines))
            lines[line], lines[other] = lines[other], lines[line]
        else:  # one field of one line
            separator = next((mark for mark in (b"\t", b",", b": ") if mark in lines[line]), b" ")
            fields = lines[line].split(separator)
            fields[draw.randrange(len(fields))] = piece
            lines[line] = separator.join(fields)
        if kind > 5:
            data = b"\n".join(lines)
    return data


def twisted(value: Any, draw: random.Random) -> Any:
    """Return a JSON value with one random part replaced, removed, renamed or doubled."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(sorted(value))
        kind = draw.randrange(8)
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return {draw.choice(["", "x", key.upper(), "\0", "../x"]) if k == key else k: v for k, v in value.items()}
        return {k: twisted(v, draw) if k == key else v for k, v in value.items()}
    if isinstance(value, list) and value and draw.random() < 0.9:
        place = draw.randrange(len(value))
        kind = draw.randrange(8)
        if kind == 0:
            return value[:place] + value[place + 1 :]
        if kind == 1:
            return [*value, value[place]]
        return [*value[:place], twisted(value[place], draw), *value[place + 1 :]]
    return draw.choice(VALUES)
