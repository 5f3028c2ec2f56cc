"""The common form of every source: a table of recordings, and a way to read one of them.

A catalogue of scenes has the columns `file`, `label`, `location`; one of events has `file`, `label`,
`verified`, `origin`, `licence`, `url`. Rows keep the order of the published table, because the released
draws depend on it.
"""

from __future__ import annotations

import csv
import io
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from remixbench.errors import InputError, nearest
from remixbench.files import sha256

if TYPE_CHECKING:
    import pandas as pd

SCENE_COLUMNS = ("file", "label", "location")
EVENT_COLUMNS = ("file", "label", "verified", "origin", "licence", "url")


class Reader(Protocol):
    """Reads recordings of one source by the name they have in its table. Must be picklable."""

    def read(self, file: str) -> tuple[NDArray[np.float64], int]:
        """Return one recording as mono samples in [-1, 1] (the mean of its channels) and its rate in hertz.

        Raises
        ------
        InputError
            If the recording is missing, truncated, empty, or not audio.
        """


@dataclass(frozen=True)
class Catalogue:
    """The recordings of one source.

    Attributes
    ----------
    source : name of the source, for messages
    table : one row a recording; columns as in the module's docstring
    digest : SHA-256 of the published table, to tell whether two catalogues are the same
    reader : reads the recordings
    """

    source: str
    table: pd.DataFrame
    digest: str
    reader: Reader

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the table, sorted."""
        return tuple(sorted(set(self.table["label"])))


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
    samples, rate = _read_pcm_wav(path) or _read_any(path)
    if len(samples) == 0:
        raise InputError(f"{path}: holds no samples; fetch it again or leave it out of the table")
    return samples, rate


def _mono(channels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average (samples, channels); by hand for two, since `np.mean` over a short axis costs more than decoding."""
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
            if "(should be" in file.extra_info and path.suffix.lower() == ".wav":
                raise InputError(f"{path}: truncated, its header promises more than the file holds; fetch it again")
            samples = file.read(dtype="float64", always_2d=True)
            rate, frames = file.samplerate, file.frames
    except soundfile.LibsndfileError as error:
        if not path.exists():
            raise InputError(f"{path}: missing; fetch or restore it, then run the command again") from None
        raise InputError(f"{path}: not readable as audio ({error.error_string}); fetch it again") from None
    if len(samples) < frames:
        raise InputError(f"{path}: truncated, {len(samples)} of {frames} samples could be read; fetch it again")
    if not np.isfinite(samples).all():
        raise InputError(
            f"{path}: has samples that are not finite numbers; fetch it again or leave it out of the table"
        )
    return _mono(samples), rate


def read_table(path: Path, columns: tuple[str, ...], separator: str, how_to_get: str) -> tuple[pd.DataFrame, str]:
    """Read `columns` of a source's table as text, with the line of each row as index; returns also its SHA-256.

    Raises
    ------
    InputError
        If the file is missing, lacks one of `columns`, has a row with a value missing or too many, or no rows.
    """
    import pandas as pd

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: not there; {how_to_get}") from None
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror})") from None
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=separator, strict=True)
        lines = [(reader.line_num, values) for values in reader if values]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as a table ({error})") from None
    header = lines[0][1] if lines else []
    for column in columns:
        if header.count(column) != 1:
            fault = "is there twice" if column in header else f"is missing{nearest(column, header)}"
            raise InputError(f"{path}: column '{column}' {fault}; found: {', '.join(header)}")
    if len(lines) < 2:
        raise InputError(f"{path}: has no rows")
    wanted = [header.index(column) for column in columns]
    seen: set[str] = set()
    for line, values in lines[1:]:
        if len(values) != len(header):
            raise InputError(f"{path}, line {line}: {len(values)} values, expected {len(header)}")
        for place in wanted:
            if not values[place].strip():
                raise InputError(f"{path}, line {line}: no value in column '{header[place]}'")
        if values[wanted[0]] in seen:
            raise InputError(f"{path}, line {line}: '{values[wanted[0]]}' is named a second time")
        seen.add(values[wanted[0]])
    rows = [[values[place] for place in wanted] for _, values in lines[1:]]
    table = pd.DataFrame(rows, columns=list(columns), index=[line for line, _ in lines[1:]], dtype=str)
    return table, sha256(data)


def checked_label(where: str, label: str) -> str:
    """Return a label of an event if label files can hold it, which join labels by commas in columns by tabs.

    Raises
    ------
    InputError
        If they cannot.
    """
    if "," in label or any(ord(c) < 32 for c in label) or label != label.strip():
        raise InputError(
            f"{where}: label {label!r} has a comma, a tab or a blank at an end, which label files cannot hold"
        )
    return label


def checked_name(where: str, name: str) -> str:
    """Return a file name of a table, `where` it stands, if it stays below its folder.

    Raises
    ------
    InputError
        If it is absolute, climbs out with `..`, or has a character that no table of ours can hold.
    """
    parts = name.replace("\\", "/").split("/")
    if name.startswith("/") or ".." in parts or ":" in parts[0] or any(ord(c) < 32 for c in name):
        raise InputError(f"{where}: {name!r} is not the name of a file below its folder")
    return "/".join(parts)
