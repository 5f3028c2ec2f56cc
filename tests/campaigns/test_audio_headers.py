"""Recordings with damaged headers: each is read, or refused in one line that names it.

A share of the campaign; REMIXBENCH_HEADERS=1 reads all 6,000.
"""

from __future__ import annotations

import io
import os
import struct
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from remixbench.errors import InputError
from remixbench.sources.audio import read_audio, read_stretch

FILES = round(6_000 * float(os.environ.get("REMIXBENCH_HEADERS", "0.1")))
NUMBERS = (0, 1, 2, 3, 4, 8, 16, 24, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 10**9)
SLOWEST_S = 10.0
KINDS = (
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "PCM_U8"), ("WAV", "ULAW"), ("WAV", "MS_ADPCM"),
    ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"),
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None),
)  # fmt: skip


def originals() -> dict[str, bytes]:
    samples = np.random.default_rng(0).normal(0, 0.1, (4800, 2)).clip(-1, 1)
    files = {}
    for format, subtype in KINDS:
        file = io.BytesIO()
        soundfile.write(file, samples, 16000 if format != "OGG" else 48000, format=format, subtype=subtype)
        files[f"{format}-{subtype}"] = file.getvalue()
    wav = files["WAV-PCM_16"]
    chunks = b"".join(name + struct.pack("<I", size) + bytes(size) for name, size in ((b"LIST", 26), (b"bext", 602)))
    return files | {
        "WAV with chunks": wav[:12] + chunks + wav[12:],
        "MP3 without length": files["MP3-None"][files["MP3-None"].index(files["MP3-None"][:2], 4) :],
        "MP3 twice": files["MP3-None"] * 2,
    }


def damaged(data: bytes, draw: np.random.Generator) -> bytes:
    """Return a file with one to four damages in its first part."""
    out = bytearray(data)
    reach = min(len(out) - 8, 200)
    for _ in range(draw.integers(1, 5)):
        place = int(draw.integers(reach))
        match draw.integers(6):
            case 0:
                out[place] ^= 1 << int(draw.integers(8))
            case 1:
                out[place] = int(draw.integers(256))
            case 2:
                width, order = int(draw.choice([2, 4])), str(draw.choice(["<", ">"]))
                number = int(draw.choice(NUMBERS)) % (1 << 8 * width)
                out[place : place + width] = struct.pack(order + {2: "H", 4: "I"}[width], number)
            case 3:
                del out[place : place + int(draw.integers(1, 9))]
            case 4:
                out[place:place] = draw.bytes(int(draw.integers(1, 9)))
            case 5:
                del out[int(draw.integers(len(out))) :]
        reach = max(1, min(len(out) - 8, 200))
        if len(out) < 16:
            break
    return bytes(out)


def outcome(path: Path) -> str:
    """Read a file; returns why it is refused, "" if it is read."""
    try:
        samples, rate = read_audio(path)
        stretch = read_stretch(path, 0.01, 0.02)
    except InputError as error:
        return str(error)
    assert len(samples) > 0
    assert np.isfinite(samples).all()
    assert np.isfinite(stretch.samples).all()
    assert 1000 <= rate <= 1_000_000
    return ""


def test_every_header_is_read_or_refused_by_name(tmp_path: Path) -> None:
    files = originals()
    draw = np.random.default_rng(6)
    tally: Counter[str] = Counter()
    for number in range(FILES):
        kind = list(files)[number % len(files)]
        path = tmp_path / f"{number}.{kind[:3].lower()}"
        path.write_bytes(damaged(files[kind], draw))
        begin = time.monotonic()
        message = outcome(path)
        tally["refused" if message else "read"] += 1
        if message:
            assert message.startswith(f"{path}: ")
            assert message.isprintable()
            assert "audio ()" not in message
        assert time.monotonic() - begin < SLOWEST_S
        path.unlink()
    assert min(tally["read"], tally["refused"]) > FILES / 20, tally


@pytest.mark.parametrize("kind", list(originals()))
def test_undamaged_they_are_read(kind: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(originals()[kind])
    assert len(read_audio(tmp_path / "x")[0]) >= 4800
