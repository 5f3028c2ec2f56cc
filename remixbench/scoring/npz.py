"""The one reader of untrusted .npz files: exactly the expected members, bounded memory, nothing unpickled.

A file is refused before anything is allocated where a member is missing, not expected, duplicated, encrypted,
compressed in a way that numpy does not write, or larger than the data set needs.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError
from remixbench.files import check_regular

MAX_ARRAY_BYTES = 4 << 30
"""The largest array that is read: frame scores at 500 frames per second of 2,000 clips of 10 s and 41 classes fit."""
CHUNK = 1 << 20
"""Bytes that are read at once; the archive's table of contents, of a few members, has to fit too."""
MAX_HEADER_BYTES = 1 << 14
"""The most bytes of an .npy's header; numpy reads no longer one."""
MAX_NAME_BYTES = 4096
"""Bytes per name in an array of names: 1,024 characters, more than any file system allows."""
SUFFIX = ".npy"
_KINDS = "fiuUS"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def name_bytes(count: int) -> int:
    """Return the largest size of an array of about `count` names, with room for a wrong number of them."""
    return max(CHUNK, 4 * count * MAX_NAME_BYTES)


@dataclass(frozen=True)
class ArrayHeader:
    """What an .npy declares before its values, which begin at byte `offset`."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def nbytes(self) -> int:
        """Size of the array in memory."""
        return math.prod(self.shape) * np.empty(0, self.dtype).itemsize  # numpy gives empty text the size of a letter


class NpzReader:
    """The arrays of an open .npz, read on demand; made by `open_npz`, which has checked all headers."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, headers: Mapping[str, ArrayHeader]) -> None:
        self.path = path
        self.headers = headers
        self._archive = archive

    def __contains__(self, key: str) -> bool:
        return key in self.headers

    def read(self, key: str) -> npt.NDArray[Any]:
        """Return an array; InputError where its values are broken, too few or too many."""
        header = self.headers[key]
        with _broken_as_input_error(self.path), self._open(key) as member:
            values = np.empty(math.prod(header.shape), header.dtype)
            _fill(values, member, key)
            _check_end(member, key)
            return values.reshape(header.shape, order="F" if header.fortran_order else "C")

    def rows(self, key: str) -> Iterator[npt.NDArray[Any]]:
        """Yield the entries along the first axis one by one, as they are unpacked; errors as in `read`."""
        header = self.headers[key]
        if header.fortran_order:  # an entry is spread over the whole member
            yield from self.read(key)
            return
        with _broken_as_input_error(self.path):
            member = self._open(key)
        with member:
            for _ in range(header.shape[0]):
                with _broken_as_input_error(self.path):
                    row = np.empty(math.prod(header.shape[1:]), header.dtype)
                    _fill(row, member, key)
                yield row.reshape(header.shape[1:])
            with _broken_as_input_error(self.path):
                _check_end(member, key)

    def _open(self, key: str) -> IO[bytes]:
        member = self._archive.open(key + SUFFIX)
        member.read(self.headers[key].offset)
        return member


@contextmanager
def open_npz(
    path: Path,
    required: Mapping[str, int],
    optional: Mapping[str, int] | None = None,
    *,
    hints: Mapping[str, str] | None = None,
) -> Iterator[NpzReader]:
    """Open an .npz that holds the arrays `required`, may hold those of `optional`, and holds nothing else.

    Parameters
    ----------
    required, optional : the largest size of each array in bytes.
    hints : for arrays of other files, what to do with a file that has them in place of the required ones.

    Raises
    ------
    InputError
        If the file is not an .npz, a member is missing, not expected or duplicated, or an array is too large or holds
        something other than numbers and names.
    """
    optional = optional or {}
    with _broken_as_input_error(path):
        check_regular(path)
        file = _BoundedReader(io.FileIO(path))
    with file:
        with _broken_as_input_error(path):
            archive = zipfile.ZipFile(file)
        with archive:
            _check_members(path, archive.infolist(), list(required), list(optional), hints or {})
            headers = {}
            limits = {**required, **optional}
            for info in archive.infolist():
                key = info.filename.removesuffix(SUFFIX)
                with _broken_as_input_error(path), archive.open(info) as member:
                    headers[key] = _read_header(member)
                _check_header(path, key, headers[key], min(limits[key], MAX_ARRAY_BYTES))
            yield NpzReader(path, archive, headers)


def read_npz(
    path: Path,
    required: Mapping[str, int],
    optional: Mapping[str, int] | None = None,
    *,
    hints: Mapping[str, str] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an .npz; arguments and errors as in `open_npz` and `NpzReader.read`."""
    with open_npz(path, required, optional, hints=hints) as arrays:
        return {key: arrays.read(key) for key in arrays.headers}


def strings(array: npt.NDArray[Any]) -> list[str]:
    """Return an array of names as text; bytes are UTF-8."""
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in array.tolist()]


def checked_names(path: Path, key: str, array: npt.NDArray[Any], count: int, beside: str = "maps") -> list[str]:
    """Return `count` names in an array, as many as the array `beside` has entries."""
    if array.dtype.kind not in "US" or array.shape != (count,):
        raise InputError(
            f"{path}: '{key}' has shape {array.shape} and type {array.dtype}, expected {count} strings as in '{beside}'"
        )
    return strings(array)


class _BoundedReader(io.BufferedReader):
    """A file of which at most `CHUNK` bytes are read at once.

    `zipfile` reads the table of contents in one go; with millions of members it would fill the memory.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > CHUNK:
            raise ValueError(f"asks for {size:,} bytes at once")
        return super().read(CHUNK if size is None or size < 0 else size)


def _check_members(
    path: Path,
    members: Sequence[zipfile.ZipInfo],
    required: Sequence[str],
    optional: Sequence[str],
    hints: Mapping[str, str],
) -> None:
    names = [info.filename for info in members]
    keys = [name.removesuffix(SUFFIX) for name in names]
    expected = ", ".join([*required, *(f"{key} (optional)" for key in optional)])
    missing = [key for key in required if key + SUFFIX not in names]
    if missing:
        hint = next((f"; {hints[key]}" for key in keys if key in hints), "")
        raise InputError(
            f"{path}: no array '{missing[0]}' (found {', '.join(keys) or 'nothing'}); expected {expected}{hint}"
        )
    for info in members:
        name = info.filename
        if name not in {key + SUFFIX for key in (*required, *optional)}:
            raise InputError(f"{path}: has a member '{name}', expected {expected} alone; leave it out")
        if names.count(name) > 1:
            raise InputError(f"{path}: has two members '{name}'; keep one")
        if info.flag_bits & 1 or info.compress_type not in _METHODS:
            raise InputError(f"{path}: '{name}' is encrypted or compressed otherwise than by numpy; use np.savez")


def _check_header(path: Path, key: str, header: ArrayHeader, max_bytes: int) -> None:
    if header.dtype.hasobject:
        raise InputError(f"{path}: not readable as an .npz without pickled objects ('{key}' holds some)")
    if header.dtype.kind not in _KINDS or header.dtype.shape:
        raise InputError(f"{path}: '{key}' is of type {header.dtype}, expected numbers or text")
    if any(size < 0 for size in header.shape):
        raise InputError(f"{path}: '{key}' has shape {header.shape}, expected sizes of 0 or more")
    if header.nbytes > max_bytes:
        raise InputError(
            f"{path}: '{key}' has shape {header.shape} and needs {header.nbytes:,} bytes, expected at most"
            f" {max_bytes:,} for this data set; give the clips of one fold alone, as float32 or uint8"
        )


def _read_header(member: IO[bytes]) -> ArrayHeader:
    """Read the header of an .npy; numpy alone would read as many bytes as the header claims to have."""
    start = io.BytesIO(member.read(MAX_HEADER_BYTES))
    version = np.lib.format.read_magic(start)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return ArrayHeader(*read(start), offset=start.tell())


def _fill(values: npt.NDArray[Any], member: IO[bytes], key: str) -> None:
    """Read the bytes of an array, a chunk at a time."""
    target = values.view(np.uint8).reshape(-1) if values.nbytes else np.empty(0, np.uint8)
    for start in range(0, len(target), CHUNK):
        size = min(CHUNK, len(target) - start)
        data = member.read(size)
        if len(data) < size:
            raise ValueError(f"'{key}' ends after {start + len(data):,} of {len(target):,} bytes")
        target[start : start + size] = np.frombuffer(data, np.uint8)


def _check_end(member: IO[bytes], key: str) -> None:
    """Refuse a member that continues after its values; reading to the end also compares its checksum."""
    if member.read(1):
        raise ValueError(f"'{key}' continues after its last value")


@contextmanager
def _broken_as_input_error(path: Path) -> Iterator[None]:
    """Turn what a broken archive raises, which can be almost anything, into an InputError."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # zlib, struct, tokenize, memory, recursion ...
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not readable as an .npz without pickled objects ({reason})") from None
