"""Reading recordings: any file that libsndfile reads, as mono float64 and its sample rate."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from remixbench.errors import InputError
from remixbench.files import check_regular

if TYPE_CHECKING:
    import soundfile

MAX_BYTES = 4 << 30
"""The largest recording that is read, in bytes when decoded as float64: 6 hours at 24 kHz, mono."""
SAMPLE_RATES = (1000, 1_000_000)
"""The lowest and the highest sample rate of a recording, in Hz."""


@dataclass(frozen=True)
class FileReader:
    """Reads recordings below a folder through libsndfile."""

    root: Path

    def read(self, file: str) -> tuple[NDArray[np.float64], int]:
        """Read a file below `root`; see `Reader.read`."""
        return read_audio(self.root / file)


def read_audio(path: Path) -> tuple[NDArray[np.float64], int]:
    """Read an audio file as mono float64 in [-1, 1] and its rate in hertz.

    Raises
    ------
    InputError
        If the file is missing, is not audio, holds no samples, or ends before its header says.
    """
    try:
        check_regular(path)
    except OSError as error:
        what = "missing" if isinstance(error, FileNotFoundError) else f"not readable ({error.strerror})"
        raise InputError(f"{path}: {what}; fetch or restore it, then run the command again") from None
    samples, rate = _read_pcm_wav(path) or _read_any(path)
    if len(samples) == 0:
        raise InputError(f"{path}: holds no samples; fetch it again or leave it out of the table")
    return samples, rate


def check_header(path: Path, file: soundfile.SoundFile) -> None:
    """Check what libsndfile says of a recording that it opened, before any sample is read.

    Raises
    ------
    InputError
        If the file is truncated, too large to be decoded, or of a sample rate that no recording has.
    """
    if "(should be" in file.extra_info and file.format in ("WAV", "WAVEX", "RF64", "W64", "AIFF"):
        raise InputError(f"{path}: truncated, its header promises more than the file holds; fetch it again")
    check_rate(path, file.samplerate)
    _check_memory(path, file.frames, file.channels)


def check_rate(path: Path, rate: int) -> None:
    """Refuse a sample rate that no recording has; resampling from it could need any amount of memory."""
    low, high = SAMPLE_RATES
    if not low <= rate <= high:
        raise InputError(f"{path}: has a sample rate of {rate:,} Hz, expected {low:,} to {high:,}; is it broken?")


def _check_memory(path: Path, frames: int, channels: int) -> None:
    """Refuse a recording that needs more than `MAX_BYTES` when decoded, before memory is allocated."""
    need = frames * channels * 8
    if need > MAX_BYTES:
        raise InputError(
            f"{path}: needs {need / 2**30:.1f} GiB of memory when decoded, expected at most {MAX_BYTES / 2**30:.0f}"
            " GiB; cut it into shorter files"
        )


def _mono(channels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average (samples, channels); written out for two, since `np.mean` over a short axis costs more than decoding."""
    if channels.shape[1] == 1:
        return channels[:, 0]
    if channels.shape[1] == 2:
        return (channels[:, 0] + channels[:, 1]) * 0.5
    mean: NDArray[np.float64] = channels.mean(axis=1)
    return mean


def _read_pcm_wav(path: Path) -> tuple[NDArray[np.float64], int] | None:
    """Read plain 16- or 24-bit PCM WAV, several times faster than libsndfile; None for anything else.

    The samples are those of libsndfile: integers over 2^15 or 2^23.
    """
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate, frames = (
                file.getsampwidth(), file.getnchannels(), file.getframerate(), file.getnframes()
            )  # fmt: skip
            if width not in (2, 3):
                return None
            check_rate(path, rate)
            _check_memory(path, frames, channels)
            data = file.readframes(frames)
    except (wave.Error, EOFError, OSError):
        return None
    if len(data) != frames * channels * width:
        raise InputError(f"{path}: truncated, its header promises more than the file holds; fetch it again")
    count = frames * channels
    if width == 2:
        integers = np.frombuffer(data, dtype="<i2")
    else:
        # every sample as the upper three bytes of an overlapping 32-bit word
        integers = np.ndarray((count,), dtype="<i4", buffer=b"\0" + data, strides=(3,)) >> 8
    return _mono(integers.reshape(frames, channels) / float(1 << (8 * width - 1))), rate


def _read_any(path: Path) -> tuple[NDArray[np.float64], int]:
    """Read whatever libsndfile reads."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            check_header(path, file)
            samples = file.read(dtype="float64", always_2d=True)
            rate, frames = file.samplerate, file.frames
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: not readable as audio ({error.error_string}); fetch it again") from None
    if len(samples) < frames:
        raise InputError(f"{path}: truncated, {len(samples)} of {frames} samples could be read; fetch it again")
    if not np.isfinite(samples).all():
        raise InputError(
            f"{path}: has samples that are not finite numbers; fetch it again or leave it out of the table"
        )
    return _mono(samples), rate
