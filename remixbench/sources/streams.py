"""Compressed streams, walked frame by frame or page by page to see whether libsndfile will read all of a file.

It reads as much of an MP3 as the first frames promise: too little where the bit rate varies and no Xing header says how
long the recording is, and the first part alone of files joined end to end. `mp3_parts` takes such a file apart
into recordings of known length. Ogg pages tell whether the stream ends where the file does, and the headers of other
containers where their recording ends.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

BIT_RATES = {  # in kbit/s, by (MPEG 1 or not, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SAMPLE_RATES = (44_100, 48_000, 32_000)
SIDE_BYTES = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}  # (MPEG 1, mono)
CONTAINERS = (b"FORM", b".snd", b"dns.", b"caff", b"riff", b"RF64")
"""First bytes of AIFF, AU (of either byte order), CAF, W64 and RF64 files."""
MAX_CHUNKS = 10_000
INFO_KBITS = 128  # of a frame that holds no sound but the length of the recording


class StreamError(ValueError):
    """A stream of which a part would be left out or is missing; the message says why."""


def stream_kind(file: BinaryIO) -> Literal["mp3", "ogg", "flac"] | None:
    """Say by its first bytes what kind of stream an open file holds, None for another."""
    file.seek(0)
    head = file.read(10)
    if head[:3] == b"ID3":
        file.seek(_skipped(head, 0))
        head = file.read(4)
        if head == b"fLaC":
            return "flac"
        return "mp3"
    if head[:4] in (b"OggS", b"fLaC"):
        return "ogg" if head[:4] == b"OggS" else "flac"
    return "mp3" if parse_frame(head, 0) is not None else None


def is_container(file: BinaryIO) -> bool:
    """Say whether an open file begins as one of `CONTAINERS`."""
    file.seek(0)
    return file.read(4) in CONTAINERS


def stream_parts(data: bytes, kind: Literal["mp3", "ogg", "flac"]) -> list[bytes] | None:
    """Return the streams that a file is to be read as, None where libsndfile reads all of the file by itself.

    Raises
    ------
    StreamError
        If it is truncated, or a part of it would be left out.
    """
    if kind == "mp3":
        return mp3_parts(data)
    (check_ogg if kind == "ogg" else check_flac)(data)
    return None


@dataclass(frozen=True)
class Mp3Frame:
    """The header of an MPEG audio frame: where it begins, its bytes and samples, and what it codes."""

    position: int
    header: int
    mpeg1: bool
    layer: int
    rate: int
    mono: bool
    size: int
    samples: int


def parse_frame(data: bytes, position: int) -> Mp3Frame | None:
    """Return the frame that begins at `position`, None if there is none."""
    if position + 4 > len(data):
        return None
    (header,) = struct.unpack_from(">I", data, position)
    version, layer = (header >> 19) & 3, 4 - ((header >> 17) & 3)
    kbits_index, rate_index = (header >> 12) & 15, (header >> 10) & 3
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or kbits_index in (0, 15) or rate_index == 3:
        return None
    mpeg1 = version == 3
    rate = SAMPLE_RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 384 if layer == 1 else 576 if layer == 3 and not mpeg1 else 1152
    bits = 1000 * BIT_RATES[mpeg1, layer][kbits_index]
    padding = (header >> 9) & 1
    size = (12 * bits // rate + padding) * 4 if layer == 1 else samples // 8 * bits // rate + padding
    return Mp3Frame(position, header, mpeg1, layer, rate, (header >> 6) & 3 == 3, size, samples)


def _announced(data: bytes, frame: Mp3Frame) -> int | None:
    """Return how many frames follow by a Xing, Info or VBRI header in this one; 0 if it does not say, None if none."""
    place = frame.position + 4 + SIDE_BYTES[frame.mpeg1, frame.mono]
    if data[place : place + 4] in (b"Xing", b"Info"):
        flags, count = struct.unpack_from(">II", data[place + 4 : place + 12].ljust(8, b"\0"))
        return int(count) if flags & 1 else 0
    if data[frame.position + 36 : frame.position + 40] == b"VBRI":
        return int(struct.unpack_from(">I", data[frame.position + 50 : frame.position + 54].ljust(4, b"\0"))[0])
    return None


def _skipped(data: bytes, position: int) -> int:
    """Return where a tag that begins at `position` ends; `position` itself if there is none."""
    if data[position : position + 3] == b"ID3" and len(data) >= position + 10:
        a, b, c, d = data[position + 6 : position + 10]
        return position + 10 + ((a & 127) << 21 | (b & 127) << 14 | (c & 127) << 7 | d & 127)
    if data[position : position + 3] == b"TAG":
        return position + 128
    if data[position : position + 8] == b"APETAGEX" and len(data) >= position + 32:
        size, flags = struct.unpack_from("<I4xI", data, position + 12)
        return position + 32 + (size if flags & 0x20000000 else 0)
    return position


def _frames(data: bytes) -> Iterator[Mp3Frame]:
    """Yield the frames of a file in their order, over tags and damage."""
    position, like = 0, None
    while position < len(data):
        frame = parse_frame(data, position)
        if frame is not None and like is not None and (frame.layer, frame.mpeg1) != (like.layer, like.mpeg1):
            frame = None  # in the midst of damage, other bits look like a frame
        if frame is not None and (like is not None or parse_frame(data, position + frame.size) is not None):
            if position + frame.size > len(data):
                raise StreamError("truncated, it ends in the middle of a frame")
            yield frame
            like, position = frame, position + frame.size
            continue
        end = _skipped(data, position)
        if end == position:
            like = None  # what follows must prove by a second frame that it is one
            end = min((place for place in (data.find(mark, position + 1) for mark in (b"\xff", b"ID3")) if place > 0),
                      default=len(data))  # fmt: skip
        position = end


def mp3_parts(data: bytes) -> list[bytes] | None:
    """Take an MP3 file apart into recordings of known length; None where libsndfile reads the file rightly by itself.

    Each part is a stream of its own, which begins with a frame that says how many follow.

    Parameters
    ----------
    data : bytes of the whole file

    Raises
    ------
    StreamError
        If it is truncated, has no frame with sound, or its parts do not go together.
    """
    parts: list[tuple[Mp3Frame | None, int, list[Mp3Frame]]] = []
    for frame in _frames(data):
        announced = _announced(data, frame) if frame.layer == 3 else None
        if announced is not None:
            parts.append((frame, announced, []))
        elif parts:
            parts[-1][2].append(frame)
        else:
            parts.append((None, 0, [frame]))
    parts = [part for part in parts if part[2]]
    if not parts:
        raise StreamError("not readable as audio, it has no MPEG frame with sound")
    formats = {(frame.rate, frame.layer) for _, _, frames in parts for frame in frames}
    if len(formats) > 1:
        raise StreamError("holds parts of different sample rates or layers; split it into files of one each")
    for _, announced, frames in parts:
        if len(frames) < announced - 1:
            raise StreamError(f"truncated, its header promises {announced:,} frames, {len(frames):,} are there")
    if len(parts) == 1 and parts[0][0] is not None and abs(len(parts[0][2]) - parts[0][1]) <= 1:
        return None
    if formats.pop()[1] != 3:
        return None
    return [_stream(data, *part) for part in parts]


def _stream(data: bytes, info: Mp3Frame | None, announced: int, frames: list[Mp3Frame]) -> bytes:
    sound = b"".join(data[frame.position : frame.position + frame.size] for frame in frames)
    if info is not None and abs(len(frames) - announced) <= 1:
        return data[info.position : info.position + info.size] + sound
    return info_frame(frames[0], len(frames), len(sound)) + sound


def info_frame(like: Mp3Frame, frames: int, sound_bytes: int) -> bytes:
    """Return a frame without sound whose Info header says how many frames and bytes follow."""
    index = BIT_RATES[like.mpeg1, 3].index(INFO_KBITS)
    header = like.header & ~(0xF << 12) | index << 12 | 1 << 16  # of this bit rate, without a checksum
    header &= ~(1 << 9)
    frame = parse_frame(struct.pack(">I", header), 0)
    assert frame is not None
    frame = replace(frame, position=0)
    side = bytes(SIDE_BYTES[frame.mpeg1, frame.mono])
    body = struct.pack(">I", header) + side + b"Info" + struct.pack(">III", 3, frames, frame.size + sound_bytes)
    return body.ljust(frame.size, b"\0")


def check_ogg(data: bytes) -> None:
    """Refuse an Ogg file whose stream does not end where the file does.

    Raises
    ------
    StreamError
        If it is truncated, or holds several streams, of which libsndfile reads the first.
    """
    position, last, streams = 0, 0, 0
    while position + 27 <= len(data) and data[position : position + 4] == b"OggS":
        kind, segments = data[position + 5], data[position + 26]
        streams += kind >> 1 & 1
        last = kind >> 2 & 1
        size = 27 + segments + sum(data[position + 27 : position + 27 + segments])
        position += size
        if position > len(data):
            raise StreamError("truncated, it ends in the middle of a page")
    if streams > 1:
        raise StreamError(f"holds {streams} streams, of which one would be read; split it or convert it to WAV")
    if streams and not last:
        raise StreamError("truncated, its last page does not end the stream")


def check_container(file: BinaryIO) -> None:
    """Refuse an open AU, CAF, RF64 or W64 file that continues after its recording with another one.

    libsndfile leaves the second one out, and of a W64 file takes whatever follows for samples.

    Raises
    ------
    StreamError
        If there is a second recording, or anything at all after that of a W64 file.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(32)
    end = _container_end(file, head, length)
    if end is None or end >= length:
        return
    file.seek(end)
    if file.read(4) == head[:4]:
        raise StreamError("holds a second recording after the first; split it into two files")
    if head[:4] == b"riff":
        raise StreamError(f"goes on for {length - end:,} bytes after its end, which would be taken for samples")


def _container_end(file: BinaryIO, head: bytes, length: int) -> int | None:
    """Return where the recording of an open container ends; None where it does not say."""
    kind = head[:4]
    if kind in (b".snd", b"dns.") and len(head) >= 12:
        offset, size = struct.unpack((">" if kind == b".snd" else "<") + "II", head[4:12])
        return None if size == 0xFFFFFFFF else int(offset + size)
    if kind == b"riff" and len(head) >= 24:
        return -(-int(struct.unpack("<Q", head[16:24])[0]) // 8) * 8
    if kind == b"RF64" and head[12:16] == b"ds64" and len(head) >= 28:
        return int(struct.unpack("<Q", head[20:28])[0]) + 8
    if kind != b"caff":
        return None
    position = 8
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        chunk = file.read(12)
        if len(chunk) < 12 or chunk[:4] == b"caff":
            return position
        size = struct.unpack(">q", chunk[4:])[0]
        position += 12 + size
        if size < 0 or position > length:  # -1: up to the end of the file
            return None
    return None


def check_flac(data: bytes) -> None:
    """Refuse a FLAC file that holds a second one, which libsndfile would leave out.

    Raises
    ------
    StreamError
        If there is a second header.
    """
    for header in (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22"):
        if data.find(header, 8) > 0:
            raise StreamError("holds a second recording after the first; split it into two files")
