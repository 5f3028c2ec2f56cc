"""How the page holds arrays and sounds: text in base64, the same bytes every time."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remixbench.plots.axes import DB_PER_NEPER, SHOWN_DB


def encode_bytes(values: NDArray[Any]) -> str:
    """Return values in [0, 1] as one byte each, row after row."""
    scaled = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return base64.b64encode(np.ascontiguousarray(scaled).tobytes()).decode("ascii")


def encode_logmel(logmel: NDArray[np.float32], loudest: float) -> str:
    """Return a log-mel as bytes: 255 for `loudest` (dB) and above, 0 for `SHOWN_DB` below it and less."""
    return encode_bytes((logmel * DB_PER_NEPER - loudest) / SHOWN_DB + 1)


def encode_sound(samples: NDArray[np.float32], rate: int) -> str:
    """Return a waveform (samples,) as Ogg Vorbis."""
    import soundfile

    made = io.BytesIO()
    soundfile.write(made, samples, rate, format="OGG", subtype="VORBIS")
    return base64.b64encode(fixed_serial(made.getvalue())).decode("ascii")


def fixed_serial(ogg: bytes) -> bytes:
    """Return an Ogg stream with serial number 0 in all of its pages, as libsndfile draws a random one.

    A page (RFC 3533) is a header of 27 bytes (serial number at 14, CRC at 22, number of segments at 26), the lengths
    of its segments, and these. The CRC is over the whole page with its own field zero.
    """
    stream, start = bytearray(ogg), 0
    while start < len(stream):
        segments = stream[start + 26]
        stop = start + 27 + segments + sum(stream[start + 27 : start + 27 + segments])
        stream[start + 14 : start + 18] = bytes(4)
        stream[start + 22 : start + 26] = bytes(4)
        stream[start + 22 : start + 26] = _ogg_crc(stream[start:stop]).to_bytes(4, "little")
        start = stop
    return bytes(stream)


def _ogg_crc(page: bytes | bytearray) -> int:
    crc = 0
    for byte in page:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ _CRC_TABLE[(crc >> 24) ^ byte]
    return crc


def _crc_entry(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = ((crc << 1) ^ (CRC_POLYNOMIAL if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


CRC_POLYNOMIAL = 0x04C11DB7
_CRC_TABLE = [_crc_entry(byte) for byte in range(256)]
