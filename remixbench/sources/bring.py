"""One archive from wherever it is to where it belongs: found or fetched, verified, unpacked, removed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from remixbench.errors import RemixbenchError
from remixbench.progress import Progress
from remixbench.sources.part import md5_of
from remixbench.sources.receipts import Receipt, absent, read_receipt, write_receipt
from remixbench.sources.registry import registry
from remixbench.sources.selection import Item
from remixbench.sources.server import Line
from remixbench.sources.transfer import Wanted, fetch, full_or_broken
from remixbench.sources.unpack import CorruptArchiveError, unpack, unpacked_size


@dataclass(frozen=True)
class Brought:
    """What it took to have an archive: whether it came over the network, and the files unpacked from it."""

    file: str
    fetched: bool
    members: int


def archive_path(item: Item, sources: Path) -> Path:
    """Return where an archive lies between its arrival and its unpacking."""
    return sources / "archives" / item.archive.file


def label(item: Item) -> str:
    """Return a short name for bars: the source and what follows the first dot of the archive's name."""
    return f"{item.source.name} {item.archive.file.removesuffix('.zip').partition('.')[2]}"


def unpack_folder(item: Item, sources: Path) -> Path:
    """Return the folder that the archive's member names are relative to."""
    return sources / item.source.unpacks_to


def settled(item: Item, sources: Path) -> Receipt | None:
    """Return the receipt of an archive that was verified and unpacked and has all its members there, else None."""
    receipt = read_receipt(sources, item.archive.file)
    if receipt is None or item.md5 not in (receipt.md5, receipt.expected):
        return None
    return None if absent(unpack_folder(item, sources), receipt.members) else receipt


def tidy(item: Item, sources: Path, keep: bool) -> None:
    """Remove the archive of a settled item, unless it was or is to be kept."""
    receipt = read_receipt(sources, item.archive.file)
    if receipt is not None and not receipt.kept and not keep:
        archive_path(item, sources).unlink(missing_ok=True)


def bring(
    item: Item,
    size: int | None,
    sources: Path,
    keep: bool,
    accept_changed: bool,
    line: Line,
    progress: Progress,
    overall: Callable[[int], None],
) -> Brought:
    """Have an archive's members in their place, whatever is there already.

    Raises
    ------
    RemixbenchError
        If the archive cannot be fetched, is not what it should be, or cannot be unpacked.
    StoppedError
        If the download was interrupted.
    """
    path, check = archive_path(item, sources), line.gate.check
    fetched, md5 = False, item.md5
    believe = accept_changed or (item.published and not item.source.confirmed)
    _rename_as_saved(path)
    if not _lies_ready(item, path, progress, check):
        fetched = True
        wanted = Wanted(item.url, path, item.md5, item.size, item.listing)
        with progress.bar(label(item), size or 0, "B") as advance:
            gain = _both(advance, overall)
            try:
                md5 = fetch(wanted, line, gain, progress.say, believe).md5
            except OSError as error:
                raise full_or_broken(error, path) from None
    folder, holds = unpack_folder(item, sources), item.archive.holds
    try:
        need = unpacked_size(path, folder, holds)
        free = shutil.disk_usage(sources).free
        if need > free:
            raise RemixbenchError(
                f"{path}: unpacking needs {need / 1e9:.3f} GB, {free / 1e9:.3f} GB are free in {sources}; "
                "free some space and run the same command again to go on"
            )
        with progress.bar(f"unpacking {label(item)}", need, "B") as advance:
            members = unpack(path, folder, holds, advance, check, progress.say)
    except CorruptArchiveError as error:
        raise _blame(error, path, md5, check) from None
    except OSError as error:
        raise full_or_broken(error, folder) from None
    write_receipt(sources, path.name, Receipt(item.md5, md5, keep, members))
    tidy(item, sources, keep)
    return Brought(path.name, fetched, len(members))


def _rename_as_saved(path: Path) -> None:
    """Give an archive its name that another program saved under the whole end of its address."""
    saved = path.with_name(path.name + registry().query)
    if saved.exists() and not path.exists():
        saved.replace(path)


def _lies_ready(item: Item, path: Path, progress: Progress, check: Callable[[], None]) -> bool:
    """Tell whether the archive lies there whole and right; a shorter one becomes the part to go on from."""
    try:
        size = path.stat().st_size
    except OSError:
        return False
    with progress.bar(f"verifying {label(item)}", size, "B") as advance:
        found = md5_of(path, advance, check)
    if found == item.md5:
        return True
    part = path.with_name(path.name + ".part")
    if not part.exists() or part.stat().st_size < size:
        progress.say(f"{path}: MD5 is {found}, expected {item.md5}; taken as the beginning of the archive")
        path.replace(part)
        part.with_name(part.name + ".json").unlink(missing_ok=True)
    return False


def _blame(error: CorruptArchiveError, path: Path, md5: str, check: Callable[[], None]) -> RemixbenchError:
    """Tell a bad disk from a bad archive: the archive was right when it was verified."""
    if md5_of(path, lambda _: None, check) == md5:
        return RemixbenchError(
            f"{error}; the archive's MD5 is right, so it is damaged where it comes from: "
            f"use another --mirror, or, once it is mended there, delete {path.name} and run again"
        )
    path.unlink(missing_ok=True)
    return RemixbenchError(
        f"{error}; the archive changed on this disk after it was verified and was deleted: "
        "run the same command again to fetch it, and have the disk checked if it happens again"
    )


def _both(first: Callable[[int], None], second: Callable[[int], None]) -> Callable[[int], None]:
    def advance(by: int) -> None:
        first(by)
        second(by)

    return advance
