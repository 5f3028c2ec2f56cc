"""Atomic writes, locks, digests, and bounded reading of untrusted files."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tokenize
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remixbench.errors import InputError, RemixbenchError, is_out_of_memory, one_line

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from numpy.typing import NDArray

NUMPY_ERRORS = (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError)
"""Errors of `numpy.load` for a broken .npy, whose header is parsed as Python."""
MAX_BYTES = 1 << 30
"""Default size limit of `read_bytes`."""
MAX_RESULT_BYTES = 16 << 30
"""Size limit of a file of predictions or weights: four of the largest arrays that are read."""
SYSTEM_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", ".directory"})
"""Files that desktop environments create in folders."""
SEAL = "content_digest"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_UNSAFE = re.compile('^[.~-]|[. ]$|^ |[\x00-\x1f\x7f-\x9f/\\\\:*?"<>|%\u2028\u2029\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|", re.IGNORECASE)
_MAX_NAME_BYTES = 200
MAX_SHORT_NAME = 100
"""The most bytes of the name of a system or encoder: its folders are named after it, and its options."""
_LOOKALIKE = {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"}
"""Alphabets that have letters in common by their looks."""
MIXED_SCRIPTS = "mixes letters of alphabets that look alike, such as Latin and Cyrillic, in one word"


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it exists.

    Raises
    ------
    InputError
        If it or one above it is a file, or a link to nothing or to itself.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP):
            raise
        above = (parent for parent in (path, *path.parents) if os.path.lexists(parent) and not parent.is_dir())
        raise _not_a_folder(next(above, path)) from None


def _not_a_folder(path: Path) -> InputError:
    return InputError(f"{path}: is not a folder; choose another place, or move this file away")


DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of writing: no space left, or a quota or the maximum file size reached."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which is renamed to `path` on success and removed on failure.

    The temporary name is random, because process ids clash on machines that share a disk. It has the suffix of `path`,
    for libraries that choose a format by suffix.

    Raises
    ------
    InputError
        If `path` is a folder, or what should be a folder above it is a file.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file to write")
    make_folder(path.parent)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in DISK_FULL and error.filename is None:  # errors of writing do not name the file
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill, which replaces the folder `path` on success and is removed on failure.

    Old and new files are never mixed. If the process is killed between removing the old folder and renaming the new
    one, neither exists.
    """
    make_folder(path.parent)
    if path.exists() and not path.is_dir():
        raise _not_a_folder(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_temp_files(folder: Path, stem: str = "") -> None:
    """Remove temporary files of killed processes from a folder, for files whose names begin with `stem`.

    No other process may be writing these files.
    """
    for temporary in folder.glob(f".{glob.escape(stem)}*.part*"):
        temporary.unlink(missing_ok=True)


@contextmanager
def exclusive_lock(path: Path, busy_message: str) -> Iterator[None]:
    """Hold a file lock, without waiting; the lock is released when the process ends, even if killed.

    Raises
    ------
    RemixbenchError
        If another process holds it, with the message `busy_message`; or if the file system has no locks.
    """
    from filelock import Timeout

    make_folder(path.parent)
    try:
        lock = _locked(path, timeout=0)
    except Timeout:
        raise RemixbenchError(busy_message) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def waiting_lock(path: Path, on_wait: Callable[[], None] = lambda: None, *, optional: bool = False) -> Iterator[None]:
    """Hold a file lock, waiting until other processes release it; `on_wait` is called once before waiting.

    Raises
    ------
    RemixbenchError
        If the file system has no locks; with `optional`, no lock is held then.
    """
    from filelock import Timeout

    lock = None
    try:
        make_folder(path.parent)
        try:
            lock = _locked(path, timeout=0)
        except Timeout:
            on_wait()
            lock = _locked(path, timeout=-1)
    except (OSError, RemixbenchError):
        if not optional:
            raise
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def is_locked(path: Path) -> bool:
    """Return whether another process holds a file lock."""
    from filelock import Timeout

    try:
        _locked(path, timeout=0).release()
    except Timeout:
        return True
    return False


def _locked(path: Path, timeout: float) -> BaseFileLock:
    """Acquire and return a lock; raises `filelock.Timeout` if another process holds it for `timeout` seconds."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        raise RemixbenchError(
            f"{path.parent}: its file system has no file locks, which keep two commands from writing at once; mount it"
            " with locks (such as Lustre's option flock), or use a folder on another disk"
        ) from None
    return lock


def as_path(value: str | Path, name: str) -> Path:
    """Return the argument `name` of a command as a path; InputError if it is of another type."""
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name}: found {value!r} of type {type(value).__name__}, expected a path")
    return Path(value)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array as .npy atomically; unlike `numpy.save`, this reports a full disk."""
    import numpy as np

    values = np.ascontiguousarray(values)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
        file.write(values.data)


def write_joined(path: Path, dtype: str, shape: tuple[int, ...], parts: Iterable[NDArray[Any]]) -> None:
    """Write arrays as one .npy atomically, joined along their first axis; holds one of them in memory."""
    import numpy as np

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        descr = np.dtype(dtype).newbyteorder("<").str
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        for part in parts:
            file.write(np.ascontiguousarray(part, descr).data)


def map_array(path: Path, kind: str, remedy: str) -> NDArray[Any]:
    """Memory-map the array in an .npy file, read-only.

    Parameters
    ----------
    kind, remedy : description of the file and remedy for a broken one, for error messages.

    Raises
    ------
    InputError
        If it is not an .npy file, or broken.
    OSError
        If there is no such file, or not enough memory.
    """
    import numpy as np

    try:
        check_regular(path)
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except NUMPY_ERRORS as error:
        if isinstance(error, FileNotFoundError) or is_out_of_memory(error):
            raise
        raise InputError(f"{path}: not {kind} ({one_line(error)}); {remedy}") from None
    return array


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 atomically, keeping its line ends."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON atomically, keeping the order of keys; NaN raises `ValueError`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Read a regular file of at most `max_bytes`; a named pipe or a device could block forever or never end.

    Raises
    ------
    InputError
        If the file is missing, unreadable, not a regular file, or too large.
    """
    try:
        check_regular(path, max_bytes)
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror})") from None


def read_sums(path: Path, program: str) -> dict[str, str]:
    """Read a list of digests as `program` (md5sum or sha256sum) writes it, as {path: digest in lower case}.

    Raises
    ------
    InputError
        If the file cannot be read, a line is malformed, or a path has two different digests.
    """
    digits = {"md5sum": 32, "sha256sum": 64}[program]
    line_of_sum = re.compile(rf"([0-9a-fA-F]{{{digits}}}) [ *](?:\./)?(.+)")
    sums: dict[str, str] = {}
    for number, line in enumerate(read_bytes(path).decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        entry = line_of_sum.fullmatch(line.rstrip())
        if entry is None:
            raise InputError(f"{path}, line {number}: found {line[:80]!r}, expected a line as `{program}` writes it")
        if sums.setdefault(entry[2], entry[1].lower()) != entry[1].lower():
            raise InputError(f"{path}, line {number}: a second, different digest of {entry[2]}; keep one of them")
    return sums


def check_room(path: Path, need: int, remedy: str) -> None:
    """Check that the disk of a path, which need not exist, has room for `need` bytes.

    Raises
    ------
    RemixbenchError
        If it has not.
    """
    from rich.filesize import decimal

    folder = path
    while not folder.exists():
        folder = folder.parent
    if need > (free := shutil.disk_usage(folder).free):
        raise RemixbenchError(f"{path}: needs about {decimal(need)} of disk, {decimal(free)} are free; {remedy}")


def is_system_file(path: Path) -> bool:
    """Return whether a file was created by an operating system or network disk."""
    return path.name in SYSTEM_FILES or path.name.startswith(("._", ".nfs"))


def safe_names(texts: Iterable[str]) -> dict[str, str]:
    """Return a file name, without suffix, for each text, such as a class label.

    It is the text itself if all file systems accept it. Characters that would make it a path, hide it or are reserved
    anywhere are percent-encoded. A digest of the text is appended to a name that is too long, which is cut, or that
    differs from another only in case or in the Unicode form of accents. The order of the texts does not matter.

    >>> safe_names(["Hi-hat", "../up", "a/b"])
    {'Hi-hat': 'Hi-hat', '../up': '%2E.%2Fup', 'a/b': 'a%2Fb'}
    """
    names = {text: _UNSAFE.sub(_percent_encoded, text) for text in texts}
    folded = Counter(map(_folded, names.values()))
    for text, name in names.items():
        long = len(name.encode()) > _MAX_NAME_BYTES
        if long or folded[_folded(name)] > 1 or _RESERVED.fullmatch(name):
            start = name.encode()[: _MAX_NAME_BYTES - 9].decode("utf-8", "ignore")
            names[text] = f"{start}~{sha256(text.encode('utf-8', 'surrogatepass'))[:8]}"
    return names


def _short_name_problem(name: str) -> str:
    """Return why a name is not valid for a system or encoder, which is also a folder name; empty if it is."""
    if len(name.encode("utf-8", "replace")) > MAX_SHORT_NAME:
        return f"has {len(name)} characters, expected at most {MAX_SHORT_NAME} (bytes in UTF-8)"
    if not name or name.startswith(".") or not all(letter.isalnum() or letter in "-_." for letter in name):
        return "cannot be used for a folder, expected letters, digits, '-', '_', and '.' except at the start"
    if mixes_scripts(name):
        return MIXED_SCRIPTS
    return ""


def check_short_name(name: str, kind: str, remedy: str = "rename it") -> None:
    """Check the name of a system or encoder, which is also a folder name; `kind` is which of them, for messages.

    Raises
    ------
    InputError
        If it is not valid.
    """
    if problem := _short_name_problem(name):
        raise InputError(f"{kind} '{name[:MAX_SHORT_NAME]}': its name {problem}; {remedy}")


def mixes_scripts(text: str) -> bool:
    """Return whether a word mixes alphabets whose letters look alike, so that it reads like another word.

    >>> mixes_scripts("g\N{CYRILLIC SMALL LETTER A}p"), mixes_scripts("\N{GREEK SMALL LETTER BETA}-VAE")
    (True, False)
    """
    words = re.findall(r"[^\W\d_]+", text)
    return any(len({unicodedata.name(letter, "").split(" ")[0] for letter in word} & _LOOKALIKE) > 1 for word in words)


def _percent_encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def check_name(path: Path) -> None:
    """Check that a file name is valid text, as required by tables and JSON.

    Raises
    ------
    InputError
        If its bytes are not UTF-8.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(path)!a}: its name is not UTF-8, which tables cannot hold; rename it") from None


def check_regular(path: Path, max_bytes: int | None = None) -> None:
    """Check that a path is a regular file, or a link to one, of at most `max_bytes` if given.

    Raises
    ------
    InputError
        If it is something else, or larger.
    OSError
        If it does not exist, or cannot be accessed.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a folder, expected a file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is a pipe or device, expected a regular file; save its content to a file first")
    if max_bytes is not None and status.st_size > max_bytes:
        raise InputError(f"{path}: has {status.st_size:,} bytes, expected at most {max_bytes:,}")


def read_json(path: Path, max_bytes: int = MAX_BYTES, remedy: str = "") -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    remedy : remedy for a broken file, for error messages.

    Raises
    ------
    InputError
        If the file is missing, not JSON, not an object, or has a duplicate key.
    """
    data, end = read_bytes(path, max_bytes), f"; {remedy}" if remedy else ""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unambiguous)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}){end}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(value).__name__}{end}")
    return value


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raises `ValueError` for a duplicate key, of which JSON readers keep either."""
    value = dict(pairs)
    if len(value) < len(pairs):
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {key[:60]!r} appears twice")
    return value


def content_digest(value: Mapping[str, Any], key: str = "digest") -> str:
    """Return the SHA-256 of a JSON object (compact, keys sorted) without the key `key`.

    Raises
    ------
    ValueError
        If it holds NaN or infinity.
    """
    content = {name: entry for name, entry in value.items() if name != key}
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with a digest of its content, for `is_sealed`."""
    write_json(path, {**value, SEAL: content_digest(value, SEAL)})


def is_sealed(value: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is unchanged since `write_sealed`."""
    try:
        return value.get(SEAL) == content_digest(value, SEAL)
    except ValueError:
        return False


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of predictions or weights in hexadecimal, without reading it into memory.

    Raises
    ------
    InputError
        If it is not a regular file, or larger than `MAX_RESULT_BYTES`, so that hashing would seem to hang.
    OSError
        If it cannot be read.
    """
    check_regular(path, MAX_RESULT_BYTES)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
