"""WAV files: finding the samples, and decoding PCM and IEEE floats.

Some programs write wrong headers: chunks of odd size without a pad byte, unknown sizes (output to a pipe), 24-bit
samples in 4 bytes. `read_layout` finds the samples nevertheless, or raises the reason why not. `decode` returns the
values of libsndfile, several times faster.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from remixbench.sources.streams import StreamError

PCM, IEEE_FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
UNKNOWN_SIZE = 0x7FFFF000
"""A declared size of a data chunk, in bytes, from which a shorter chunk means a streamed file of unknown size."""
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
MAX_CHUNKS = 10_000


@dataclass(frozen=True)
class WavLayout:
    """The format and position of the samples in a WAV file.

    Attributes
    ----------
    coding : pcm, float, or other for formats that only libsndfile decodes
    width : stored bytes per sample and channel
    bits : significant bits per sample, such as 24 in 4 bytes
    channels, rate : number of channels, sample rate in Hz
    fmt : content of the `fmt ` chunk
    offset, size : position and size of the data in bytes
    """

    coding: Literal["pcm", "float", "other"]
    width: int
    bits: int
    channels: int
    rate: int
    fmt: bytes
    offset: int
    size: int

    @property
    def frame_bytes(self) -> int:
        """Bytes per sample of all channels."""
        return self.width * self.channels

    @property
    def frames(self) -> int:
        """Number of whole samples per channel."""
        return self.size // self.frame_bytes


def read_layout(file: BinaryIO) -> WavLayout | None:
    """Find the samples of an open file; return None if it is not RIFF/WAVE, or left to libsndfile.

    Raises `StreamError` if it is a WAV file without samples, or with fewer than its header states.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    position, fmt = 12, b""
    for _ in range(MAX_CHUNKS):
        name, size = _chunk(file, position)
        if name == b"data":
            if not fmt:
                return None
            size = _data_size(file, position + 8, size, length)
            _refuse_second_recording(file, position + 8 + size, length)
            return _layout(fmt, position + 8, size)
        if name == b"fmt ":
            if fmt:
                raise StreamError("not readable as audio, it has two chunks 'fmt '")
            fmt = file.read(min(size, 64))
        position += 8 + size
        # odd chunks have a pad byte, but some programs omit it
        padded = size % 2 and (_is_chunk(file, position + 1, length) or not _is_chunk(file, position, length))
        position += 1 if padded else 0
        if position > length - 8:
            raise StreamError(
                f"not readable as audio, its chunk {name.decode('latin-1')!r} extends to the end of the file"
            )
    raise StreamError(f"not readable as audio, it has more than {MAX_CHUNKS:,} chunks before its samples")


def _chunk(file: BinaryIO, position: int) -> tuple[bytes, int]:
    file.seek(position)
    head = file.read(8)
    if len(head) < 8:
        raise StreamError("truncated, it ends within its header")
    return head[:4], struct.unpack("<I", head[4:])[0]


def _is_chunk(file: BinaryIO, position: int, length: int) -> bool:
    """Return whether a chunk may begin at `position`: four printable characters."""
    if position + 8 > length:
        return False
    file.seek(position)
    return all(32 <= byte < 127 for byte in file.read(4))


def _data_size(file: BinaryIO, offset: int, size: int, length: int) -> int:
    """Return the number of bytes of samples, where the header states `size`."""
    available = length - offset
    if size > available:
        if size < UNKNOWN_SIZE:
            raise StreamError(f"truncated, its header promises {size:,} bytes of samples, {available:,} are there")
        return available
    if size == 0 and available and not _is_chunk(file, offset, length):
        return available  # the writer was killed before it could fill in the size
    return size


def _refuse_second_recording(file: BinaryIO, end: int, length: int) -> None:
    """Refuse samples after the first chunk of them, which ends at `end`."""
    position = end
    for _ in range(MAX_CHUNKS):
        if end % 2 and _is_chunk(file, position + 1, length):
            position += 1  # the pad byte
        if not _is_chunk(file, position, length):
            return
        name, size = _chunk(file, position)
        if name in (b"RIFF", b"RF64", b"RIFX", b"data"):
            raise StreamError("holds a second recording after the first; split it into two files")
        end = position = position + 8 + size


def _layout(fmt: bytes, offset: int, size: int) -> WavLayout:
    if len(fmt) < 14:
        raise StreamError("not readable as audio, its chunk 'fmt ' is too short")
    code, channels, rate, _, align = struct.unpack("<HHIIH", fmt[:14])
    bits = struct.unpack("<H", fmt[14:16])[0] if len(fmt) >= 16 else 8 * align // max(channels, 1)
    if code == EXTENSIBLE and len(fmt) >= 40 and fmt[26:40] == GUID_TAIL:
        code = struct.unpack("<H", fmt[24:26])[0]
    if channels == 0:
        raise StreamError("not readable as audio, its header says that it has no channels")
    width = -(-bits // 8)
    if code == PCM and width in (1, 2, 3, 4):
        coding: Literal["pcm", "float", "other"] = "pcm"
    elif code == IEEE_FLOAT and bits in (32, 64):
        coding = "float"
    else:
        return WavLayout("other", 1, bits, channels, rate, fmt, offset, size)
    bits = 8 * width
    if align == 4 * channels and width == 3:
        width = 4
    elif align > width * channels:
        raise StreamError(
            f"not readable as audio, its header says {channels} channel(s) of {bits} bits in blocks of {align} bytes"
        )
    return WavLayout(coding, width, bits, channels, rate, fmt, offset, size)


def decode(data: bytes, layout: WavLayout) -> NDArray[np.float64]:
    """Return samples as float64, (frames, channels), as libsndfile does: integers divided by half their range."""
    count = len(data) // layout.width
    if layout.coding == "float":
        with np.errstate(invalid="ignore"):  # signalling NaNs, which the caller refuses
            values: NDArray[np.float64] = np.frombuffer(data, f"<f{layout.width}", count).astype(np.float64)
    elif layout.width == 1:
        values = np.frombuffer(data, np.uint8, count).astype(np.float64) / 128.0 - 1.0
    elif layout.width == 3:
        # each sample is the upper three bytes of an overlapping 32-bit word
        words = np.ndarray((count,), dtype="<i4", buffer=b"\0" + data, strides=(3,))
        values = (words >> 8) / float(1 << 23)
    else:
        integers: NDArray[np.int32] = np.frombuffer(data, f"<i{layout.width}", count)
        if layout.bits == 24:
            integers = _of_24_bits(integers)
        values = integers / float(1 << (layout.bits - 1))
    return values.reshape(-1, layout.channels)


def _of_24_bits(words: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return 24-bit samples in 4 bytes: in the upper three or, sign-extended, in the lower three."""
    upper = words >> 8
    if not np.any(words & 0xFF):
        return upper
    if np.array_equal((words << 8) >> 8, words):
        return words
    raise StreamError("its 24-bit samples in 4 bytes are in neither the upper nor the lower three of them")


def plain_header(layout: WavLayout) -> bytes:
    """Return a header for the data alone, without chunks that libsndfile might not be able to skip."""
    fmt = layout.fmt + b"\0" * (len(layout.fmt) % 2)
    chunks = b"WAVEfmt " + struct.pack("<I", len(layout.fmt)) + fmt + b"data" + struct.pack("<I", layout.size)
    return b"RIFF" + struct.pack("<I", len(chunks) + layout.size) + chunks
