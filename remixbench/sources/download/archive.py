"""The steps of one archive: fetch it or find it on disk, verify, unpack, remove.

A finished archive leaves a receipt in `sources/.receipts/` with the sizes of its members. As long as all members exist
with these sizes, the archive is complete and is neither fetched nor unpacked again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from remixbench.errors import InputError, RemixbenchError
from remixbench.files import DISK_FULL, check_room, read_json, write_json
from remixbench.progress import Progress
from remixbench.sources.download.http import FatalDownloadError, HttpClient
from remixbench.sources.download.select import QUERY, RemoteFile
from remixbench.sources.download.transfer import fetch, listed_md5, md5_of
from remixbench.sources.download.unzip import CorruptArchiveError, file_size, missing_bytes, read_members, unpack
from remixbench.sources.published import published_source


@dataclass(frozen=True)
class Receipt:
    """A verified and unpacked archive: its expected and actual MD5, whether it was kept, member sizes in bytes."""

    expected: str
    md5: str
    kept: bool
    members: dict[str, int]


def _receipt_path(sources: Path, name: str) -> Path:
    return sources / ".receipts" / f"{name}.json"


def write_receipt(sources: Path, name: str, receipt: Receipt) -> None:
    """Record that an archive is verified and unpacked."""
    write_json(_receipt_path(sources, name), vars(receipt))


def read_receipt(sources: Path, name: str) -> Receipt | None:
    """Return the receipt of an archive, None if it is missing or malformed."""
    try:
        value = read_json(_receipt_path(sources, name))
        members = {str(name): int(size) for name, size in value["members"].items()}
        return Receipt(str(value["expected"]), str(value["md5"]), bool(value["kept"]), members)
    except (InputError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_absence(remote: RemoteFile, sources: Path) -> None:
    """Record that the server lacks an optional archive, so that it is not requested again."""
    write_receipt(sources, remote.name, Receipt(remote.md5, f"absent at {remote.url}", False, {}))


def is_absent(remote: RemoteFile, sources: Path) -> bool:
    """Return whether the server is known to lack an archive."""
    receipt = read_receipt(sources, remote.name)
    return receipt is not None and receipt.md5 == f"absent at {remote.url}"


def is_complete(remote: RemoteFile, sources: Path) -> bool:
    """Return whether an archive was verified and unpacked, and all its members still exist."""
    receipt = read_receipt(sources, remote.name)
    if receipt is None or not receipt.members or remote.md5 not in (receipt.md5, receipt.expected):
        return False
    folder = unpack_folder(remote, sources)
    return all(file_size(folder / name) == size for name, size in receipt.members.items())


def tidy_complete(remote: RemoteFile, sources: Path, keep: bool, progress: Progress) -> None:
    """Remove a complete archive unless it is kept; report again if it was accepted with another MD5."""
    if (receipt := read_receipt(sources, remote.name)) is None:
        return
    remove_archive(remote, receipt, sources, keep)
    if receipt.md5 != remote.md5:
        progress.say(f"{remote.name}: MD5 was {receipt.md5}, not {remote.md5}, when it was accepted")


def downloaded_parts(source: str, sources: Path) -> tuple[int, ...] | None:
    """Return the part numbers of a source that were downloaded with `--parts`, ascending.

    None if all or none of them were: missing recordings are an error then.
    """
    archives = [archive for archive in published_source(source).archives if archive.part is not None]
    numbers = sorted(a.part for a in archives if a.part is not None and read_receipt(sources, a.file) is not None)
    return tuple(numbers) if 0 < len(numbers) < len(archives) else None


def archive_path(remote: RemoteFile, sources: Path) -> Path:
    """Return the path of a fetched archive until it is unpacked."""
    return sources / "archives" / remote.name


def unpack_folder(remote: RemoteFile, sources: Path) -> Path:
    """Return the folder that an archive is unpacked to."""
    return sources / remote.source.unpacks_to


def remove_archive(remote: RemoteFile, receipt: Receipt, sources: Path, keep: bool) -> None:
    """Remove a complete archive, unless `keep` or its receipt says to keep it."""
    if not receipt.kept and not keep:
        archive_path(remote, sources).unlink(missing_ok=True)


def process_archive(
    remote: RemoteFile,
    sources: Path,
    client: HttpClient,
    progress: Progress,
    advance_all: Callable[[int], None],
    *,
    size: int,
    keep: bool,
) -> bool:
    """Unpack an archive, fetching it first if necessary; return whether it was fetched.

    Raises `RemixbenchError` if the archive cannot be fetched, fails verification, or cannot be unpacked.

    Parameters
    ----------
    advance_all : advances the progress bar of all archives by a number of bytes
    size : size of the archive in bytes, for its progress bar; 0 if unknown
    keep : keep the archive after unpacking
    """
    path, check = archive_path(remote, sources), client.limiter.check_cancelled
    folder, prefix = unpack_folder(remote, sources), remote.source.prefix_of(remote.archive)
    try:
        _rename_from_wget(path)
        existing = _existing_md5(remote, path, client, progress)
        md5 = existing or _fetch(remote, path, client, progress, advance_all, size)
        inside, outside = read_members(path, prefix, remote.source.max_member_bytes)
        if outside:
            progress.say(f"{path.name}: {len(outside)} files outside '{prefix}/' are left out, such as {outside[0]}")
        need = missing_bytes(inside, folder)
        check_room(path, need, "free some and run the same command again to resume")
        with progress.bar(f"unpacking {remote.label}", need, "B") as advance:
            members = unpack(path, inside, folder, advance, check)
    except CorruptArchiveError as error:
        raise RemixbenchError(
            f"{error}, although its MD5 was correct: delete {path.name} and run the same command again; if it does not"
            " help, it is damaged at its source: use another --mirror"
        ) from None
    except OSError as error:
        raise _disk_error(error, path) from None
    receipt = Receipt(remote.md5, md5, keep, members)
    write_receipt(sources, path.name, receipt)
    remove_archive(remote, receipt, sources, keep)
    return existing is None


def _rename_from_wget(path: Path) -> None:
    """Rename an archive that another program saved with the query of its URL in the name."""
    saved = path.with_name(path.name + QUERY)
    if saved.exists() and not path.exists():
        saved.replace(path)


def _existing_md5(remote: RemoteFile, path: Path, client: HttpClient, progress: Progress) -> str | None:
    """Return the MD5 of the archive on disk, None if there is none; raises `RemixbenchError` if it is not valid."""
    if (size := file_size(path)) < 0:
        return None
    with progress.bar(f"verifying {remote.label}", size, "B") as advance:
        actual = md5_of(path, advance, client.limiter.check_cancelled)
    if actual != remote.md5 and not (remote.trusts_list and listed_md5(remote, client) == actual):
        raise RemixbenchError(
            f"{path}: MD5 is {actual}, expected {remote.md5}; it is left unchanged: move it away, complete it with the"
            " program that began it, or give the MD5s of your own archives with --checksums"
        )
    return actual


def _fetch(
    remote: RemoteFile,
    path: Path,
    client: HttpClient,
    progress: Progress,
    advance_all: Callable[[int], None],
    size: int,
) -> str:
    with progress.bar(remote.label, size, "B") as advance_one:

        def advance_both(count: int) -> None:
            advance_one(count)
            advance_all(count)

        return fetch(remote, path, client, advance_both)


def _disk_error(error: OSError, path: Path) -> RemixbenchError:
    """Return the error for a file that could not be written."""
    name = error.filename2 or error.filename or path
    if error.errno in DISK_FULL:
        return FatalDownloadError(f"{name}: the disk is full; free some space and run the same command again to resume")
    return RemixbenchError(f"{name}: could not be written ({error.strerror or error}); existing files are kept")
