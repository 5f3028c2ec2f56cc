"""Archives unpacked so that nothing lands outside, nothing is half there, and nothing is done twice."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from remixbench.errors import RemixbenchError
from remixbench.sources.transfer import full_or_broken

_CHUNK = 1 << 20
_DIRECTORY = 0x10  # the attribute bit of MS-DOS


class CorruptArchiveError(RemixbenchError):
    """An archive, or one of its members, cannot be read."""


def members(archive: Path, holds: str) -> tuple[list[zipfile.ZipInfo], list[str]]:
    """Return the files of an archive in the folder `holds`, and the names of others, all found harmless.

    Raises
    ------
    RemixbenchError
        If a member has a name that leads elsewhere (absolute, `..`, a backslash, a drive), is a link or
        another special file, is encrypted, or comes twice (also by letter case alone).
    CorruptArchiveError
        If it is not a zip archive or its directory is damaged.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            found = opened.infolist()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, OSError) as error:
        raise CorruptArchiveError(f"{archive}: not a readable zip archive ({error})") from None
    files, seen, folders = [], set[str](), set[str]()
    for info in found:
        trouble = _trouble(info)
        key = info.filename.rstrip("/").casefold()
        if trouble is None:
            above = key.split("/")
            folders.update("/".join(above[:depth]) for depth in range(1, len(above) + info.is_dir()))
        if trouble is None and not info.is_dir():
            trouble = "comes twice" if key in seen else None
            seen.add(key)
            files.append(info)
        if trouble is not None:
            raise RemixbenchError(
                f"{archive}: member {info.orig_filename!r} {trouble}; nothing was unpacked, do not use it"
            )
    if clash := sorted(seen & folders):
        raise RemixbenchError(f"{archive}: member '{clash[0]}' is a file and a folder; nothing was unpacked")
    inside = [info for info in files if info.filename.startswith(holds + "/")]
    if not inside:
        raise RemixbenchError(f"{archive}: holds no file in '{holds}/'; expected the recordings or tables there")
    return inside, [info.filename for info in files if not info.filename.startswith(holds + "/")]


def _trouble(info: zipfile.ZipInfo) -> str | None:
    """Say what is wrong with a member's name or kind, None if nothing is."""
    name = info.orig_filename
    pieces = name.removesuffix("/").split("/") if info.is_dir() else name.split("/")
    if not name or name.startswith("/") or any(piece in ("", ".", "..") for piece in pieces):
        return "has a name that leads out of its folder"
    if any(char in name for char in "\\:") or not name.isprintable() or name != info.filename:
        return "has a name with a character that file names must not have"
    if any(piece != piece.rstrip(" .") for piece in pieces):
        return "has a name that ends in a blank or a dot"
    if info.create_system == 3 and stat.S_IFMT(info.external_attr >> 16) not in (
        0,
        stat.S_IFREG,
        stat.S_IFDIR,
    ):
        return "is a link or a special file"
    if info.flag_bits & 0x1:
        return "is encrypted"
    return None


def unpacked_size(archive: Path, folder: Path, holds: str) -> int:
    """Return how many bytes unpacking would still add: members that are not there with their size."""
    inside, _ = members(archive, holds)
    return sum(info.file_size for info in inside if _size(folder / info.filename) != info.file_size)


def unpack(
    archive: Path,
    folder: Path,
    holds: str,
    advance: Callable[[int], None],
    check: Callable[[], None],
    say: Callable[[str], None],
) -> dict[str, int]:
    """Unpack the members of an archive that lie in its folder `holds` beneath `folder`.

    A file that is already there with the right size and CRC-32 is left as it is; any other is written beside
    its place and renamed into it once its CRC-32 is right.

    Parameters
    ----------
    advance
        Told of unpacked bytes.
    check
        Called often; may raise to end the work early. What is done stays done.
    say
        Told if the archive has files outside `holds`, which are left out.

    Returns
    -------
    dict
        The members and their sizes in bytes.

    Raises
    ------
    RemixbenchError
        If a name is not harmless (nothing is unpacked then) or a file cannot be written.
    CorruptArchiveError
        If the archive or a member is damaged, naming the member.
    """
    found, strays = members(archive, holds)
    if strays:
        say(f"{archive.name}: {len(strays)} files outside '{holds}/' are left out, such as {strays[0]}")
    spare = f".{archive.name}.unpacking"
    for parent in {(folder / info.filename).parent for info in found}:
        parent.mkdir(parents=True, exist_ok=True)
        (parent / spare).unlink(missing_ok=True)
    with zipfile.ZipFile(archive) as opened:
        for info in found:
            check()
            target = folder / info.filename
            if _size(target) == info.file_size and _crc(target) == info.CRC:
                advance(info.file_size)
                continue
            beside = target.with_name(spare)
            try:
                _write(opened, info, beside, advance, check)
                os.replace(beside, target)
            except OSError as error:
                raise full_or_broken(error, target) from None
            finally:
                beside.unlink(missing_ok=True)
    return {info.filename: info.file_size for info in found}


def _write(
    opened: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    path: Path,
    advance: Callable[[int], None],
    check: Callable[[], None],
) -> None:
    size, crc = 0, 0
    with path.open("wb") as file:
        try:
            with opened.open(info) as member:
                while data := member.read(_CHUNK):
                    check()
                    size, crc = size + len(data), zlib.crc32(data, crc)
                    file.write(data)
                    advance(len(data))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            what = str(error).split(" for file ")[0]
            raise CorruptArchiveError(f"{opened.filename}: member {info.filename} is damaged ({what})") from None
    if (size, crc) != (info.file_size, info.CRC):
        raise CorruptArchiveError(f"{opened.filename}: member {info.filename} is damaged ({size} bytes, CRC {crc:08x})")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            crc = zlib.crc32(data, crc)
    return crc
