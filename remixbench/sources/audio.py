"""The one reader of recordings: any file that libsndfile reads, whole or a stretch of it, as mono float64.

Every command reads through `open_audio`, so that all of them agree on what a file holds. What cannot be decoded
correctly and completely is refused by name: nothing is guessed, nothing left out.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from remixbench.errors import InputError, one_line
from remixbench.files import check_regular
from remixbench.sources.catalogue import Stretch
from remixbench.sources.streams import StreamError, check_container, is_container, stream_kind, stream_parts
from remixbench.sources.wav import WavError, WavLayout, decode, plain_header, read_layout

if TYPE_CHECKING:
    import soundfile

MAX_BYTES = 4 << 30
"""The largest recording that is read, in bytes when decoded as float64: 6 hours at 24 kHz, mono."""
MAX_COMPRESSED_BYTES = 1 << 30
"""The largest MP3, Ogg or FLAC file that is read, in bytes."""
SAMPLE_RATES = (1000, 1_000_000)
"""The lowest and the highest sample rate of a recording, in Hz."""
BLOCK = 1 << 20
"""Samples per channel that are decoded at once, so that a long recording of many channels is never held whole."""
CANCELLED_DB = -40.0
"""Channels whose mean is this far below them, in dB, are of opposite phase: what is left is their difference."""
ENERGY_SAMPLES = 4096
MAX_FRAMES = 1 << 62
"""More samples per channel than this are libsndfile's way of saying that a stream does not tell its length."""
AUDIO_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64",
)  # fmt: skip
"""Suffixes of the recordings that are taken from a folder."""
MPEG_SUFFIXES = (".mp1", ".mp2", ".mp3", ".mpga")
"""Suffixes by which libsndfile takes whatever a file holds for an MP3."""
UNREAD_SUFFIXES = (
    ".m4a", ".aac", ".mp4", ".m4b", ".wma", ".webm", ".mka", ".amr", ".ape", ".wv", ".tta", ".ra", ".ac3", ".mpc",
)  # fmt: skip
"""Suffixes of recordings that libsndfile does not read."""


class Decoder(Protocol):
    """Decodes the samples of one file.

    Attributes
    ----------
    rate : sample rate in Hz
    frames : samples per channel, None where only decoding tells
    """

    @property
    def rate(self) -> int: ...  # noqa: D102

    @property
    def frames(self) -> int | None: ...  # noqa: D102

    def blocks(self, first: int, count: int | None) -> Iterator[NDArray[np.float64]]:
        """Yield `count` samples (all that follow where None) from `first` on, in blocks of (samples, channels)."""


@dataclass(frozen=True)
class AudioFile:
    """An open recording."""

    path: Path
    decoder: Decoder

    @property
    def rate(self) -> int:
        """Sample rate in Hz."""
        return self.decoder.rate

    @property
    def frames(self) -> int | None:
        """Samples per channel, None where only decoding tells."""
        return self.decoder.frames

    def blocks(self, first: int = 0, count: int | None = None) -> Iterator[NDArray[np.float64]]:
        """Yield `count` samples (all that follow where None) from `first` on, in blocks of (samples, channels).

        Raises
        ------
        InputError
            If they cannot be read.
        """
        with _named(self.path):
            yield from self.decoder.blocks(first, count)


@dataclass(frozen=True)
class FileReader:
    """Reads recordings below a folder."""

    root: Path

    def read(self, file: str) -> tuple[NDArray[np.float64], int]:
        """Read a file below `root`; see `Reader.read`."""
        return read_audio(self.path(file))

    def read_stretch(self, file: str, start: float, stop: float) -> Stretch:
        """Read part of a file below `root`; see `Reader.read_stretch`."""
        return read_stretch(self.path(file), start, stop)

    def path(self, file: str) -> Path:
        """Return where a file is; its accents may be written in another Unicode normal form there than in its table."""
        path = self.root / file
        if file.isascii() or path.exists():
            return path
        place = self.root
        for part in Path(file).parts:
            place = place / part if (place / part).exists() else _same_name(place, part)
        return place


def _same_name(folder: Path, name: str) -> Path:
    """Return the entry of a folder whose name is the same in Unicode's composed form; itself where there is none."""
    wanted = unicodedata.normalize("NFC", name)
    try:
        entries = os.listdir(folder)
    except OSError:
        entries = []
    return folder / next((entry for entry in entries if unicodedata.normalize("NFC", entry) == wanted), name)


def read_audio(path: Path, dtype: type[np.floating] = np.float64) -> tuple[NDArray[Any], int]:
    """Read an audio file as the mean of its channels in [-1, 1], (samples,) of `dtype`, and its rate in hertz.

    Raises
    ------
    InputError
        If the file is missing, is not audio, holds no samples, ends before its header says, cannot be read to its end,
        or its channels cancel each other.
    """
    with open_audio(path) as file:
        return _read(file, 0, None, dtype), file.rate


def read_stretch(path: Path, start: float, stop: float) -> Stretch:
    """Read what lies between two times of a recording, in seconds, with a margin of one second or more around it.

    It begins at a whole second, so that resampled it has the samples of the whole recording. A recording that is not
    much longer is read whole, and so is one that ends before `stop`.

    Raises
    ------
    InputError
        As `read_audio`.
    """
    with open_audio(path) as file:
        first = max(0, math.floor(start) - 1) * file.rate
        last = (math.ceil(stop) + 1) * file.rate
        if file.frames is None or file.frames < max(2 * (last - first), stop * file.rate):
            return Stretch(_read(file, 0, None), file.rate, 0, True)
        return Stretch(_read(file, first, min(last, file.frames) - first), file.rate, first, False)


@contextmanager
def open_audio(path: Path) -> Iterator[AudioFile]:
    """Open a recording.

    Raises
    ------
    InputError
        If it is missing or not audio, is truncated, or has a sample rate that no recording has.
    """
    with ExitStack() as stack:
        with _named(path):
            check_regular(path)
            raw = stack.enter_context(path.open("rb"))
            if not os.fstat(raw.fileno()).st_size:
                raise InputError(
                    f"{path}: not readable as audio, it is empty; fetch it again or leave it out of the table"
                )
            layout = read_layout(raw)
            if layout is not None and layout.coding != "other":
                decoder: Decoder = WavDecoder(path, raw, layout)
            else:
                decoder = SndfileDecoder(path, _sound_files(path, raw, layout, stack))
        low, high = SAMPLE_RATES
        if not low <= decoder.rate <= high:
            raise InputError(
                f"{path}: has a sample rate of {decoder.rate:,} Hz, expected {low:,} to {high:,}; is it broken?"
            )
        yield AudioFile(path, decoder)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn whatever reading a file raises into an `InputError` that names it."""
    import soundfile

    try:
        yield
    except (WavError, StreamError) as error:
        raise InputError(f"{path}: {error}; fetch it again, or convert it") from None
    except soundfile.SoundFileError as error:
        reason = getattr(error, "error_string", "") or f"libsndfile's error {getattr(error, 'code', 'unknown')}"
        raise InputError(f"{path}: not readable as audio ({one_line(reason)}); fetch it again, or convert it") from None
    except OSError as error:
        what = "missing" if isinstance(error, FileNotFoundError) else f"not readable ({error.strerror or error})"
        raise InputError(f"{path}: {what}; fetch or restore it, then run the command again") from None


@dataclass
class WavDecoder:
    """A WAV file of PCM or floats."""

    path: Path
    file: BinaryIO
    layout: WavLayout

    @property
    def rate(self) -> int:
        """Sample rate in Hz."""
        return self.layout.rate

    @property
    def frames(self) -> int:
        """Samples per channel."""
        return self.layout.frames

    def blocks(self, first: int, count: int | None) -> Iterator[NDArray[np.float64]]:
        """Yield samples; see `Decoder.blocks`."""
        step, left = self.layout.frame_bytes, self.frames - first if count is None else count
        check_memory(self.path, left)
        self.file.seek(self.layout.offset + first * step)
        while left > 0:
            data = self.file.read(min(left, BLOCK) * step)
            data = data[: len(data) - len(data) % step]
            if not data:
                raise WavError("truncated, it became shorter while it was read")
            block = decode(data, self.layout)
            left -= len(block)
            yield block


@dataclass
class SndfileDecoder:
    """What libsndfile reads: one recording, or the parts of an MP3 one after the other."""

    path: Path
    files: Sequence[soundfile.SoundFile]

    @property
    def rate(self) -> int:
        """Sample rate in Hz."""
        return int(self.files[0].samplerate)

    @property
    def frames(self) -> int | None:
        """Samples per channel; None for a stream that does not say, or of several parts."""
        frames = int(self.files[0].frames)
        return frames if len(self.files) == 1 and frames <= MAX_FRAMES else None

    def blocks(self, first: int, count: int | None) -> Iterator[NDArray[np.float64]]:
        """Yield samples; see `Decoder.blocks`."""
        if count is not None:
            assert len(self.files) == 1
            self.files[0].seek(first)
        left = self.frames if count is None else count
        check_memory(self.path, left or 0)
        total = 0
        for file in self.files:
            while left is None or total < left:
                block: NDArray[np.float64] = file.read(
                    BLOCK if left is None else min(BLOCK, left - total), dtype="float64", always_2d=True
                )
                if not len(block):
                    break
                total += len(block)
                check_memory(self.path, total)
                yield block
        if left is not None and total < left:
            raise StreamError(f"truncated, {total:,} of {left:,} samples could be read")


def _sound_files(
    path: Path, raw: BinaryIO, layout: WavLayout | None, stack: ExitStack
) -> Sequence[soundfile.SoundFile]:
    """Open a file with libsndfile, after making sure that it will read all of it."""
    import soundfile

    class Stream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
        """A file of unknown length, in which libsndfile cannot seek."""

        def seekable(self) -> bool:
            return False

    def opened(source: Any) -> soundfile.SoundFile:
        file = stack.enter_context(soundfile.SoundFile(source))
        return stack.enter_context(Stream(source)) if file.frames > MAX_FRAMES else file

    if layout is not None:
        check_regular(path, MAX_COMPRESSED_BYTES)
        raw.seek(layout.offset)
        return [opened(io.BytesIO(plain_header(layout) + raw.read(layout.size)))]
    # an MP3 is looked at before libsndfile opens it, whose decoder would print warnings of its own
    kind = stream_kind(raw)
    if is_container(raw):
        check_container(raw)
    elif kind is None and path.suffix.lower() in MPEG_SUFFIXES:
        kind = "mp3"  # after something else, or none at all
    file = opened(path) if kind is None else None
    if file is not None and file.format not in ("MP3", "OGG", "FLAC"):
        _check_log(file)
        return [file]
    check_regular(path, MAX_COMPRESSED_BYTES)
    raw.seek(0)
    parts = stream_parts(raw.read(), kind or "mp3")
    files = [opened(path)] if parts is None else [opened(io.BytesIO(part)) for part in parts]
    if len({part.channels for part in files}) > 1:
        raise StreamError("holds parts of different numbers of channels; split it into files of one each")
    return files


def _check_log(file: soundfile.SoundFile) -> None:
    """Refuse a file of which libsndfile's log says that its header promises more than there is."""
    for line in file.extra_info.splitlines():
        name, colon, rest = line.strip().partition(":")
        if not colon or name.strip() not in ("data", "SSND", "Data Size", "riff", "Riff size"):
            continue
        promised, _, actual = rest.partition("(should be")
        if actual and promised.strip().isdigit() and int(promised) > int(actual.strip(" )") or 0):
            raise StreamError("truncated, its header promises more than the file holds")


def check_memory(path: Path, frames: int) -> None:
    """Refuse a recording that needs more than `MAX_BYTES` when decoded, before memory is allocated.

    Raises
    ------
    InputError
        If it does.
    """
    if (need := frames * 8) > MAX_BYTES:
        raise InputError(
            f"{path}: needs {need / 2**30:.1f} GiB of memory when decoded, expected at most {MAX_BYTES / 2**30:.0f}"
            " GiB; cut it into shorter files"
        )


def _read(file: AudioFile, first: int, count: int | None, dtype: type[np.floating] = np.float64) -> NDArray[Any]:
    """Return the mean of the channels of part of an open recording."""
    path, parts, before, after = file.path, [], 0.0, 0.0
    for channels in file.blocks(first, count):
        mono = _mono(channels)
        if channels.shape[1] > 1:
            energy = _energy(channels, mono)
            before, after = before + energy[0], after + energy[1]
        with np.errstate(over="ignore"):  # becomes infinite, which is refused below
            parts.append(mono.astype(dtype, copy=False))
    if not parts or not sum(map(len, parts)):
        raise InputError(f"{path}: holds no samples; fetch it again or leave it out of the table")
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
    with np.errstate(over="ignore"):
        finite = math.isfinite(samples.dot(samples))
    if not finite and not np.isfinite(samples).all():
        raise InputError(f"{path}: holds NaN or infinite samples, which are not finite; fetch it again or leave it out")
    if not finite:
        raise InputError(
            f"{path}: holds samples of up to {float(np.abs(samples).max()):.0e}, expected about -1 to 1; write it again"
            " as floats in that range, or leave it out"
        )
    if before > 0 and after < before * 10 ** (CANCELLED_DB / 10):
        below = f"{10 * math.log10(before / after):.0f} dB below them" if after > 0 else "silent"
        raise InputError(
            f"{path}: its channels are of opposite phase, so that their mean is {below}; keep one channel of it, or"
            " invert one"
        )
    return samples


def _mono(channels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average (samples, channels); written out for two, since `np.mean` over a short axis costs more than decoding."""
    if channels.shape[1] == 1:
        return channels[:, 0]
    if channels.shape[1] == 2:
        return (channels[:, 0] + channels[:, 1]) * 0.5
    mean: NDArray[np.float64] = channels.mean(axis=1)
    return mean


def _energy(channels: NDArray[np.float64], mono: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean energy of the channels, and that of their mean; of a few samples unless these look cancelled."""

    def energies(step: int) -> tuple[float, float]:
        subset, mean = channels[::step], mono[::step]
        return step * float(np.einsum("ij,ij->", subset, subset)) / channels.shape[1], step * float(mean.dot(mean))

    step = max(1, len(mono) // ENERGY_SAMPLES)
    before, after = energies(step)
    return energies(1) if step > 1 and after <= before * 10 ** (CANCELLED_DB / 10) else (before, after)


def recording_digest(samples: NDArray[np.float64]) -> str:
    """Return the SHA-256 of a decoded recording, as float32: 24 bits, which is what recordings have."""
    with np.errstate(over="ignore"):
        return hashlib.sha256(np.ascontiguousarray(samples, dtype="<f4").data).hexdigest()
