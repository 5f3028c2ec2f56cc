"""The reader of recordings: any file that libsndfile reads, whole or in part, as mono float64.

Every command reads through `open_audio`, so all agree on the content of a file. A file that cannot be decoded correctly
and completely is refused: nothing is guessed, nothing is skipped.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from remixbench.errors import InputError, one_line
from remixbench.files import check_regular
from remixbench.sources.streams import StreamError, check_container, is_container, stream_kind, stream_parts
from remixbench.sources.wav import WavLayout, decode, plain_header, read_layout

if TYPE_CHECKING:
    import soundfile

MAX_BYTES = 4 << 30
"""Size limit of a decoded recording in bytes of float64: 6 hours at 24 kHz, mono."""
MAX_COMPRESSED_BYTES = 1 << 30
"""Size limit of an MP3, Ogg or FLAC file in bytes."""
SAMPLE_RATES = (1000, 1_000_000)
"""Lowest and highest sample rate of a recording, in Hz."""
BLOCK = 1 << 20
"""Samples per channel decoded at once, so that a long multichannel recording is never in memory as a whole."""
CANCELLED_DB = -40.0
"""Channels have opposite phase if their mean is this far below them, in dB: only their difference remains."""
MAX_FRAMES = 1 << 62
"""libsndfile reports more samples per channel than this if a stream does not state its length."""
AUDIO_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64",
)  # fmt: skip
"""Suffixes of recordings in a `folder` source."""
MPEG_SUFFIXES = (".mp1", ".mp2", ".mp3", ".mpga")
"""Suffixes for which libsndfile assumes MP3, whatever the file contains."""
CHECKED_FORMATS = ("WAV", "WAVEX", "AIFF", "AU", "CAF", "W64", "RF64", "FLAC", "OGG", "MP3")
"""Formats of libsndfile in which a truncated file is noticed; of others it reads what there is."""
UNREAD_SUFFIXES = (
    ".m4a", ".aac", ".mp4", ".m4b", ".wma", ".webm", ".mka", ".amr", ".ape", ".wv", ".tta", ".ra", ".ac3", ".mpc",
)  # fmt: skip
"""Suffixes of recordings that libsndfile does not read."""


Block = NDArray[np.float64]
"""Decoded samples, (samples, channels)."""


@dataclass(frozen=True)
class AudioFile:
    """An open recording.

    Attributes
    ----------
    rate : sample rate in Hz
    frames : samples per channel, None if only decoding tells
    decode : decodes `count` samples (None for all) from `first`
    """

    path: Path
    rate: int
    frames: int | None
    decode: Callable[[int, int | None], Iterator[Block]]

    def blocks(self, first: int = 0, count: int | None = None) -> Iterator[Block]:
        """Yield `count` samples (None for all) from `first`; raises `InputError` if they cannot be read."""
        if count is None and self.frames is not None:
            count = self.frames - first
        check_memory(self.path, count or 0)
        total = 0
        with _named(self.path):
            for block in self.decode(first, count):
                total += len(block)
                check_memory(self.path, total)
                yield block
            if count is not None and total < count:
                raise StreamError(f"truncated, {total:,} of {count:,} samples could be read")


@dataclass(frozen=True)
class Stretch:
    """Part of a recording, or all of it.

    Attributes
    ----------
    samples : (n,), mean of the channels
    rate : sample rate in Hz
    first : index of the first sample in the recording, a multiple of `rate`
    complete : whether it is the whole recording
    """

    samples: NDArray[np.float64]
    rate: int
    first: int
    complete: bool


class Reader(Protocol):
    """Reads recordings of a source by their names in its table. Must be picklable."""

    def read(self, file: str) -> tuple[NDArray[np.float64], int]:
        """Return the mean of the channels of a recording, (samples,) in [-1, 1], and its sample rate in Hz.

        Raises `InputError` if the recording is missing, truncated, empty, or not audio.
        """

    def read_stretch(self, file: str, start: float, stop: float) -> Stretch:
        """Return the part of a recording from `start` to `stop` seconds, with a margin.

        It begins at a whole second. Thanks to the margin, resampling it gives the same samples as resampling the whole
        recording. Errors as for `read`.
        """


@dataclass(frozen=True)
class FileReader:
    """Reads recordings below a folder: the `Reader` of all sources but the synthetic one."""

    root: Path

    def read(self, file: str) -> tuple[NDArray[np.float64], int]:
        """Read a file below `root`; see `Reader.read`."""
        return read_audio(self.path(file))

    def read_stretch(self, file: str, start: float, stop: float) -> Stretch:
        """Read part of a file below `root`; see `Reader.read_stretch`."""
        return read_stretch(self.path(file), start, stop)

    def path(self, file: str) -> Path:
        """Return the path of a file, even if its name on disk is in another Unicode normal form."""
        path = self.root / file
        if file.isascii() or path.exists():
            return path
        path = self.root
        for part in Path(file).parts:
            path = path / part if (path / part).exists() else _same_name(path, part)
        return path


def _same_name(folder: Path, name: str) -> Path:
    """Return the entry of a folder with the same name in Unicode's composed form; `folder / name` if there is none."""
    composed = unicodedata.normalize("NFC", name)
    try:
        entries = os.listdir(folder)
    except OSError:
        entries = []
    return folder / next((entry for entry in entries if unicodedata.normalize("NFC", entry) == composed), name)


def read_audio(path: Path, dtype: type[np.floating] = np.float64) -> tuple[NDArray[Any], int]:
    """Return the mean of the channels of an audio file, (samples,) in [-1, 1], and its sample rate in Hz.

    Raises `InputError` if the file is missing, not audio, empty or truncated, has NaN or infinite samples, or its
    channels cancel.
    """
    with open_audio(path) as file:
        return _read(file, 0, None, dtype), file.rate


def read_stretch(path: Path, start: float, stop: float) -> Stretch:
    """Read a recording from `start` to `stop` seconds, with a margin of at least one second on both sides.

    It begins at a whole second, so that resampling it gives the same samples as resampling the whole recording. If the
    recording is not much longer, or ends before `stop`, all of it is read. Errors as for `read_audio`.
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

    Raises `InputError` if it is missing, not audio or truncated, or its sample rate is out of range.
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
                audio = AudioFile(path, layout.rate, layout.frames, partial(_wav_blocks, raw, layout))
            else:
                files = _sound_files(path, raw, layout, stack)
                states_length = len(files) == 1 and files[0].frames <= MAX_FRAMES
                frames = int(files[0].frames) if states_length else None
                audio = AudioFile(path, int(files[0].samplerate), frames, partial(_sndfile_blocks, files))
        low, high = SAMPLE_RATES
        if not low <= audio.rate <= high:
            raise InputError(
                f"{path}: has a sample rate of {audio.rate:,} Hz, expected {low:,} to {high:,}; is it broken?"
            )
        yield audio


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn errors of reading a file into an `InputError` that names the file."""
    import soundfile

    try:
        yield
    except StreamError as error:
        raise InputError(f"{path}: {error}; fetch it again, or convert it") from None
    except soundfile.SoundFileError as error:
        reason = getattr(error, "error_string", "") or f"libsndfile's error {getattr(error, 'code', 'unknown')}"
        raise InputError(f"{path}: not readable as audio ({one_line(reason)}); fetch it again, or convert it") from None
    except OSError as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else f"not readable ({error.strerror or error})"
        raise InputError(f"{path}: {reason}; fetch or restore it, then run the command again") from None


def _wav_blocks(file: BinaryIO, layout: WavLayout, first: int, count: int) -> Iterator[Block]:
    step = layout.frame_bytes
    file.seek(layout.offset + first * step)
    while count > 0 and len(data := file.read(min(count, BLOCK) * step)) >= step:
        block = decode(data[: len(data) - len(data) % step], layout)
        count -= len(block)
        yield block


def _sndfile_blocks(files: Sequence[soundfile.SoundFile], first: int, count: int | None) -> Iterator[Block]:
    if first:  # only a single file of known length is read in part
        files[0].seek(first)
    remaining = MAX_FRAMES if count is None else count
    for file in files:
        while remaining and len(block := file.read(min(BLOCK, remaining), dtype="float64", always_2d=True)):
            remaining -= len(block)
            yield block


def _sound_files(
    path: Path, raw: BinaryIO, layout: WavLayout | None, stack: ExitStack
) -> Sequence[soundfile.SoundFile]:
    """Open a file for libsndfile, after checking that it will read all of it: one recording, or the parts of an MP3."""
    import soundfile

    class Stream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile is untyped, so its class is Any
        """A stream of unknown length, in which libsndfile cannot seek."""

        def seekable(self) -> bool:
            return False

    def opened(source: Any) -> soundfile.SoundFile:
        file = stack.enter_context(soundfile.SoundFile(source))
        if file.format == "RAW":  # what libsndfile takes unknown bytes for, by the suffixes .au, .snd, .vox and .gsm
            raise StreamError("not readable as audio, it does not begin as its suffix says")
        if file.format not in CHECKED_FORMATS:
            raise StreamError(f"in the format {file.format}, in which a truncated file looks like a complete one")
        return stack.enter_context(Stream(source)) if file.frames > MAX_FRAMES else file

    if path.suffix.lower() == ".raw":  # soundfile asks for the sample rate
        raise StreamError("not readable as audio, samples without a header")
    if layout is not None:
        check_regular(path, MAX_COMPRESSED_BYTES)
        raw.seek(layout.offset)
        return [opened(io.BytesIO(plain_header(layout) + raw.read(layout.size)))]
    # an MP3 is checked before libsndfile opens it, because its decoder prints warnings
    kind = stream_kind(raw)
    if is_container(raw):
        check_container(raw)
    elif kind is None and path.suffix.lower() in MPEG_SUFFIXES:
        kind = "mp3"  # perhaps after other data, or not an MP3 at all
    file = opened(path) if kind is None else None
    if file is not None and file.format not in ("MP3", "OGG", "FLAC"):
        _check_log(file)
        return [file]
    check_regular(path, MAX_COMPRESSED_BYTES)
    raw.seek(0)
    parts = stream_parts(raw.read(), kind or "mp3")
    files = [opened(path)] if parts is None else [opened(io.BytesIO(part)) for part in parts]
    if len({part.channels for part in files}) > 1:
        raise StreamError("holds parts with different numbers of channels; split it into one file per part")
    return files


def _check_log(file: soundfile.SoundFile) -> None:
    """Refuse a file if libsndfile's log says that its header states more data than there is."""
    for line in file.extra_info.splitlines():
        name, colon, sizes = line.strip().partition(":")
        if not colon or name.strip() not in ("data", "SSND", "Data Size", "riff", "Riff size"):
            continue
        stated, _, actual = sizes.partition("(should be")
        if actual and stated.strip().isdigit() and int(stated) > int(actual.strip(" )") or 0):
            raise StreamError("truncated, its header promises more than the file holds")


def check_memory(path: Path, frames: int) -> None:
    """Check that a decoded recording needs at most `MAX_BYTES`, before memory is allocated."""
    if (need := frames * 8) > MAX_BYTES:
        raise InputError(
            f"{path}: needs {need / 2**30:.1f} GiB of memory when decoded, expected at most {MAX_BYTES / 2**30:.0f}"
            " GiB; cut it into shorter files"
        )


def _read(file: AudioFile, first: int, count: int | None, dtype: type[np.floating] = np.float64) -> NDArray[Any]:
    """Return the mean of the channels of a part of an open recording, (samples,)."""
    path, parts, channel_energy, mean_energy = file.path, [], 0.0, 0.0
    for channels in file.blocks(first, count):
        mono = _mono(channels)
        if channels.shape[1] > 1:
            channel_energy += float(np.vdot(channels, channels)) / channels.shape[1]
            mean_energy += float(mono.dot(mono))
        with np.errstate(over="ignore"):  # overflow to infinity is refused below
            parts.append(mono.astype(dtype, copy=False))
    if not parts or not sum(map(len, parts)):
        raise InputError(f"{path}: holds no samples; fetch it again or leave it out of the table")
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
    with np.errstate(over="ignore"):
        finite = math.isfinite(samples.dot(samples))
    if not finite and not np.isfinite(samples).all():
        raise InputError(f"{path}: holds NaN or infinite samples (not finite); fetch it again or leave it out")
    if not finite:
        raise InputError(
            f"{path}: holds samples of up to {float(np.abs(samples).max()):.0e}, expected about -1 to 1; write it again"
            " as floats in that range, or leave it out"
        )
    if channel_energy > 0 and mean_energy < channel_energy * 10 ** (CANCELLED_DB / 10):
        level = f"{10 * math.log10(channel_energy / mean_energy):.0f} dB below them" if mean_energy > 0 else "silent"
        raise InputError(
            f"{path}: its channels are of opposite phase, so their mean is {level}; keep one channel, or invert one"
        )
    return samples


def _mono(channels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average (samples, channels); two are summed by hand, as `np.mean` over a short axis is slower than decoding."""
    if channels.shape[1] == 1:
        return channels[:, 0]
    if channels.shape[1] == 2:
        return (channels[:, 0] + channels[:, 1]) * 0.5
    mean: NDArray[np.float64] = channels.mean(axis=1)
    return mean


def recording_digest(samples: NDArray[np.float64]) -> str:
    """Return the SHA-256 of a decoded recording as float32, whose 24 bits are the precision of recordings."""
    with np.errstate(over="ignore"):
        return hashlib.sha256(np.ascontiguousarray(samples, dtype="<f4").data).hexdigest()
