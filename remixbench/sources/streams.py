"""Compressed streams: checks that libsndfile will read all of a file.

libsndfile reads as much of an MP3 as its first frames promise. That is too little if the bit rate varies and no Xing
header states the length, and only the first part of files joined end to end. `mp3_parts` splits such a file into
recordings of known length. Ogg pages tell whether the stream ends at the end of the file, and the headers of other
containers tell where their recording ends.
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
INFO_KBITS = 128  # bit rate of the frame with the Info header, which has no sound


class StreamError(ValueError):
    """A part of a recording is missing, cannot be located or would be skipped; the message says why."""


def stream_kind(file: BinaryIO) -> Literal["mp3", "ogg", "flac"] | None:
    """Return the kind of stream of an open file by its first bytes, None for any other."""
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
    """Return whether an open file is one of `CONTAINERS`, by its first bytes."""
    file.seek(0)
    return file.read(4) in CONTAINERS


def stream_parts(data: bytes, kind: Literal["mp3", "ogg", "flac"]) -> list[bytes] | None:
    """Return the streams that a file must be read as, None if libsndfile reads all of the file.

    Raises `StreamError` if it is truncated, or a part of it would be skipped.
    """
    if kind == "mp3":
        return mp3_parts(data)
    (check_ogg if kind == "ogg" else check_flac)(data)
    return None


@dataclass(frozen=True)
class Mp3Frame:
    """The header of an MPEG audio frame: position, coding, and size in bytes and samples."""

    position: int
    header: int
    mpeg1: bool
    layer: int
    rate: int
    mono: bool
    size: int
    samples: int


def parse_frame(data: bytes, position: int) -> Mp3Frame | None:
    """Return the frame at `position`, None if there is none."""
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
    """Return the number of frames stated by a Xing, Info or VBRI header; 0 if it states none, None if there is none."""
    position = frame.position + 4 + SIDE_BYTES[frame.mpeg1, frame.mono]
    if data[position : position + 4] in (b"Xing", b"Info"):
        flags, count = struct.unpack_from(">II", data[position + 4 : position + 12].ljust(8, b"\0"))
        return int(count) if flags & 1 else 0
    if data[frame.position + 36 : frame.position + 40] == b"VBRI":
        return int(struct.unpack_from(">I", data[frame.position + 50 : frame.position + 54].ljust(4, b"\0"))[0])
    return None


def _skipped(data: bytes, position: int) -> int:
    """Return the end of the tag at `position`; `position` itself if there is none."""
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
    """Yield the frames of a file in order, skipping tags and damage."""
    position, previous = 0, None
    while position < len(data):
        frame = parse_frame(data, position)
        if (
            frame is not None
            and previous is not None
            and (frame.layer, frame.mpeg1) != (previous.layer, previous.mpeg1)
        ):
            frame = None  # damaged bytes can look like a frame
        if frame is not None and (previous is not None or parse_frame(data, position + frame.size) is not None):
            if position + frame.size > len(data):
                raise StreamError("truncated, it ends in the middle of a frame")
            yield frame
            previous, position = frame, position + frame.size
            continue
        end = _skipped(data, position)
        if end == position:
            previous = None  # after damage, only two frames in a row count
            end = min((start for start in (data.find(mark, position + 1) for mark in (b"\xff", b"ID3")) if start > 0),
                      default=len(data))  # fmt: skip
        position = end


def mp3_parts(data: bytes) -> list[bytes] | None:
    """Split the bytes of an MP3 file into recordings of known length; return None if libsndfile reads it correctly.

    Each part is a complete stream, which begins with a frame that states how many follow. Raises `StreamError` if it is
    truncated, has no frame with sound, or its parts differ in format.
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
        raise StreamError("holds parts with different sample rates or layers; split it into one file per part")
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


def info_frame(template: Mp3Frame, frames: int, sound_bytes: int) -> bytes:
    """Return a frame without sound whose Info header states how many frames and bytes follow."""
    index = BIT_RATES[template.mpeg1, 3].index(INFO_KBITS)
    header = template.header & ~(0xF << 12) | index << 12 | 1 << 16  # INFO_KBITS, without a checksum
    header &= ~(1 << 9)
    frame = parse_frame(struct.pack(">I", header), 0)
    assert frame is not None
    frame = replace(frame, position=0)
    side = bytes(SIDE_BYTES[frame.mpeg1, frame.mono])
    body = struct.pack(">I", header) + side + b"Info" + struct.pack(">III", 3, frames, frame.size + sound_bytes)
    return body.ljust(frame.size, b"\0")


def check_ogg(data: bytes) -> None:
    """Check that an Ogg file holds one complete stream.

    Raises `StreamError` if it is truncated, or holds several streams, of which libsndfile reads only the first.
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
    """Check that an open AU, CAF, RF64 or W64 file holds only one recording.

    libsndfile skips a second recording, and decodes anything after the recording of a W64 file as samples. Raises
    `StreamError` if there is a second recording, or any data after that of a W64 file.
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
        raise StreamError(f"has {length - end:,} bytes after its end, which would be decoded as samples")


def _container_end(file: BinaryIO, head: bytes, length: int) -> int | None:
    """Return the end of the recording in an open container, None if it is not stated."""
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
        if size < 0 or position > length:  # -1 means up to the end of the file
            return None
    return None


def check_flac(data: bytes) -> None:
    """Check that a FLAC file holds only one recording, as libsndfile would skip a second one."""
    for header in (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22"):
        if data.find(header, 8) > 0:
            raise StreamError("holds a second recording after the first; split it into two files")
