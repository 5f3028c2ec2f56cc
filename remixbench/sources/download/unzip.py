"""Safe unpacking of archives: nothing outside the target, no partial files, nothing unpacked twice.

`read_members` first checks all names and sizes in the archive's directory; `unpack` then writes the members.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from remixbench.errors import RemixbenchError
from remixbench.sources.catalogue import stays_below

CHUNK = 1 << 20


class CorruptArchiveError(RemixbenchError):
    """An archive, or one of its members, cannot be read."""


def read_members(
    archive: Path, prefix: str, max_bytes: Callable[[str], int]
) -> tuple[list[zipfile.ZipInfo], list[str]]:
    """Check the members of an archive; return the files below the folder `prefix`, and the names of all others.

    Raises `CorruptArchiveError` if its directory cannot be read, `RemixbenchError` if a member has an unsafe name, is a
    link or encrypted, appears twice (ignoring case) or as a folder too, or has more bytes unpacked than
    `max_bytes(name)`.
    """
    try:
        with zipfile.ZipFile(archive) as zip_file:
            infos = zip_file.infolist()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, OSError) as error:
        raise CorruptArchiveError(f"{archive}: not a readable zip archive ({error})") from None
    files = [info for info in infos if not info.is_dir()]
    counts = Counter(info.filename.casefold() for info in files)
    counts.update({str(folder).casefold() for info in files for folder in PurePosixPath(info.filename).parents})
    for info in files:
        twice = "appears twice, or as a folder too" if counts[info.filename.casefold()] > 1 else None
        if problem := _problem(info) or twice:
            raise RemixbenchError(
                f"{archive}: member {info.orig_filename!r} {problem}; nothing was unpacked, do not use it"
            )
    inside = [info for info in files if info.filename.startswith(prefix + "/")]
    if not inside:
        raise RemixbenchError(f"{archive}: has no file in '{prefix}/'; expected the recordings or tables there")
    for info in inside:
        if info.file_size > (limit := max_bytes(info.filename)):
            raise RemixbenchError(
                f"{archive}: member '{info.filename}' has {info.file_size:,} bytes unpacked, expected at most "
                f"{limit:,}; nothing was unpacked, do not use it"
            )
    return inside, [info.filename for info in files if not info.filename.startswith(prefix + "/")]


def _problem(info: zipfile.ZipInfo) -> str | None:
    """Return the problem with a member's name or kind, None if there is none."""
    name = info.orig_filename
    if not stays_below(name) or not name.isprintable() or PurePosixPath(name).as_posix() != name:
        return "has a name that leads out of its folder or that file names must not have"
    if info.create_system == 3 and stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a special file"
    return "is encrypted" if info.flag_bits & 0x1 else None


def missing_bytes(members: Sequence[zipfile.ZipInfo], folder: Path) -> int:
    """Return the bytes that unpacking would add below `folder`: members that are missing or have another size."""
    return sum(info.file_size for info in members if file_size(folder / info.filename) != info.file_size)


def unpack(
    archive: Path,
    members: Sequence[zipfile.ZipInfo],
    folder: Path,
    advance: Callable[[int], None],
    check_cancelled: Callable[[], None],
) -> dict[str, int]:
    """Unpack `members` (see `read_members`) below `folder`; return their sizes in bytes by name.

    An existing file with the correct size and CRC-32 is kept; any other is written to a temporary file, which is
    renamed once its CRC-32 is correct.

    Raises `CorruptArchiveError` if a member is damaged; files already unpacked are kept.
    """
    temporary_name = f".{archive.name}.unpacking"
    for parent in {(folder / info.filename).parent for info in members}:
        parent.mkdir(parents=True, exist_ok=True)
        (parent / temporary_name).unlink(missing_ok=True)
    with zipfile.ZipFile(archive) as zip_file:
        for info in members:
            check_cancelled()
            target = folder / info.filename
            if file_size(target) == info.file_size and _crc(target) == info.CRC:
                advance(info.file_size)
                continue
            temporary = target.with_name(temporary_name)
            try:
                _write(zip_file, info, temporary, advance, check_cancelled)
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
    return {info.filename: info.file_size for info in members}


def _write(
    zip_file: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    path: Path,
    advance: Callable[[int], None],
    check_cancelled: Callable[[], None],
) -> None:
    """Write a member; `zipfile` checks its CRC-32 and never returns more bytes than the directory states."""
    with path.open("wb") as file:
        try:
            with zip_file.open(info) as member:
                while data := member.read(CHUNK):
                    check_cancelled()
                    file.write(data)
                    advance(len(data))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            reason = str(error).split(" for file ")[0]
            raise CorruptArchiveError(f"{zip_file.filename}: member {info.filename} is damaged ({reason})") from None


def file_size(path: Path) -> int:
    """Return the size of a file in bytes, -1 if there is none."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            crc = zlib.crc32(data, crc)
    return crc
