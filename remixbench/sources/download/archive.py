"""The steps of one archive: fetch it or find it on disk, verify, unpack, remove.

A finished archive leaves a receipt in `sources/.receipts/` with the sizes of its members. As long as all members exist
with these sizes, the archive is complete and is neither fetched nor unpacked again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from remixbench.errors import InputError, RemixbenchError
from remixbench.files import read_json, write_json
from remixbench.progress import Progress
from remixbench.sources.download.http import HttpClient
from remixbench.sources.download.select import QUERY, RemoteFile
from remixbench.sources.download.threads import disk_error
from remixbench.sources.download.transfer import ZIP_MARK, fetch, is_beginning, mark_begun, md5_of
from remixbench.sources.download.unzip import CorruptArchiveError, file_size, missing_bytes, read_members, unpack
from remixbench.sources.published import published_source


@dataclass(frozen=True)
class Receipt:
    """A verified and unpacked archive: its expected and actual MD5, whether it was kept, member sizes in bytes."""

    expected: str
    md5: str
    kept: bool
    members: dict[str, int]


def receipt_path(sources: Path, name: str) -> Path:
    """Return the path of the receipt of an archive."""
    return sources / ".receipts" / f"{name}.json"


def write_receipt(sources: Path, name: str, receipt: Receipt) -> None:
    """Record that an archive is verified and unpacked."""
    write_json(receipt_path(sources, name), vars(receipt))


def read_receipt(sources: Path, name: str) -> Receipt | None:
    """Return the receipt of an archive, None if it is missing or malformed."""
    try:
        value = read_json(receipt_path(sources, name))
        members = {str(name): int(size) for name, size in value["members"].items()}
        return Receipt(str(value["expected"]), str(value["md5"]), bool(value["kept"]), members)
    except (InputError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_absence(remote: RemoteFile, sources: Path) -> None:
    """Record that the server lacks an optional archive, so that it is not requested again."""
    write_receipt(sources, remote.name, Receipt(remote.md5, f"absent at {remote.url}", False, {}))


def is_absent(remote: RemoteFile, receipt: Receipt | None) -> bool:
    """Return whether the server is known to lack an archive."""
    return receipt is not None and receipt.md5 == f"absent at {remote.url}"


def missing_members(folder: Path, members: dict[str, int]) -> list[str]:
    """Return the members that are missing below `folder`, or have another size."""
    return [name for name, size in members.items() if file_size(folder / name) != size]


def is_complete(remote: RemoteFile, receipt: Receipt | None, sources: Path) -> bool:
    """Return whether an archive was verified and unpacked, and all its members still exist."""
    if receipt is None or not receipt.members or remote.md5 not in (receipt.md5, receipt.expected):
        return False
    return not missing_members(unpack_folder(remote, sources), receipt.members)


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
        path = archive_path(remote, sources)
        path.unlink(missing_ok=True)
        _fetched_note(path).unlink(missing_ok=True)


def process_archive(
    remote: RemoteFile,
    sources: Path,
    client: HttpClient,
    progress: Progress,
    advance_all: Callable[[int], None],
    *,
    size: int | None,
    keep: bool,
    accept_changed: bool,
) -> bool:
    """Unpack an archive, fetching it first if necessary; return whether it was fetched.

    Parameters
    ----------
    advance_all
        Advances the progress bar of all archives by a number of bytes.
    size
        Size of the archive in bytes, for its progress bar; None if unknown.
    keep
        Keep the archive after unpacking.
    accept_changed
        Accept a published archive whose record lists another MD5.

    Raises
    ------
    RemixbenchError
        If the archive cannot be fetched, fails verification, or cannot be unpacked.
    DownloadCancelled
        If the download was interrupted.
    """
    path, check = archive_path(remote, sources), client.limiter.check_cancelled
    fetched, md5 = False, remote.md5
    _rename_from_wget(path)
    if not _verify_existing(remote, path, size, progress, check):
        fetched = True
        trust_listed_md5 = accept_changed or (remote.published and not remote.source.md5_confirmed)
        with progress.bar(remote.label, size or 0, "B") as advance_one:

            def advance_both(count: int) -> None:
                advance_one(count)
                advance_all(count)

            try:
                md5 = fetch(remote, path, client, advance_both, trust_listed_md5)
                write_json(_fetched_note(path), {"md5": md5})
            except OSError as error:
                raise disk_error(error, path) from None
    folder, prefix = unpack_folder(remote, sources), remote.source.prefix_of(remote.archive)
    try:
        inside, outside = read_members(path, prefix, remote.source.max_member_bytes)
        if outside:
            progress.say(f"{path.name}: {len(outside)} files outside '{prefix}/' are left out, such as {outside[0]}")
        need, free = missing_bytes(inside, folder), shutil.disk_usage(sources).free
        if need > free:
            raise RemixbenchError(
                f"{path}: unpacking needs {need / 1e9:.3f} GB, {free / 1e9:.3f} GB are free in {sources}; "
                "free some space and run the same command again to resume"
            )
        with progress.bar(f"unpacking {remote.label}", need, "B") as advance:
            members = unpack(path, inside, folder, advance, check)
    except CorruptArchiveError as error:
        raise _explain_corruption(error, path, md5, check) from None
    except OSError as error:
        raise disk_error(error, folder) from None
    receipt = Receipt(remote.md5, md5, keep, members)
    write_receipt(sources, path.name, receipt)
    remove_archive(remote, receipt, sources, keep)
    return fetched


def _rename_from_wget(path: Path) -> None:
    """Rename an archive that another program saved with the query of its URL in the name."""
    saved = path.with_name(path.name + QUERY)
    if saved.exists() and not path.exists():
        saved.replace(path)


def _verify_existing(
    remote: RemoteFile, path: Path, size: int | None, progress: Progress, check: Callable[[], None]
) -> bool:
    """Return whether the archive exists and is valid; an incomplete one becomes a partial file, to be resumed.

    Raises `RemixbenchError` for another file that remixbench did not download, and does not touch it.
    """
    actual_size = file_size(path)
    if actual_size < 0:
        return False
    with progress.bar(f"verifying {remote.label}", actual_size, "B") as advance:
        actual = md5_of(path, advance, check)
    if actual == remote.md5:
        return True
    part = path.with_name(path.name + ".part")
    if actual == _fetched_md5(path):  # downloaded by us from another mirror
        path.replace(part)
        mark_begun(part, remote.md5)
        return False
    if is_beginning(path, part) if part.exists() else _looks_cut_short(path, actual_size, size):
        if not part.exists():
            progress.say(f"{path}: MD5 is {actual}, expected {remote.md5}; resuming it as an incomplete download")
            shutil.copyfile(path, part)
            mark_begun(part, remote.md5)
        return False
    if part.exists() and md5_of(part, lambda _: None, check) == remote.md5:
        return False  # the partial file is complete; `PartialFile.finish` reports the conflict
    raise RemixbenchError(
        f"{path}: MD5 is {actual}, expected {remote.md5}; remixbench did not download it and leaves it unchanged: move"
        " it away, or give the MD5s of your own archives with --checksums"
    )


def _fetched_note(path: Path) -> Path:
    return receipt_path(path.parents[1], f"{path.name}.fetched")


def _fetched_md5(path: Path) -> str | None:
    """Return the MD5 of the archive that was downloaded to `path`, None if unknown."""
    try:
        return str(read_json(_fetched_note(path))["md5"])
    except (InputError, KeyError):
        return None


def _looks_cut_short(path: Path, actual_size: int, size: int | None) -> bool:
    with path.open("rb") as file:
        return file.read(len(ZIP_MARK)) == ZIP_MARK and size is not None and actual_size < size


def _explain_corruption(error: CorruptArchiveError, path: Path, md5: str, check: Callable[[], None]) -> RemixbenchError:
    """Return the error for a verified archive that cannot be read: it is bad at its source, or the disk is."""
    if md5_of(path, lambda _: None, check) == md5:
        return RemixbenchError(
            f"{error}; the archive's MD5 is correct, so it is damaged at its source: "
            f"use another --mirror, or, once it is repaired there, delete {path.name} and run again"
        )
    path.unlink(missing_ok=True)
    return RemixbenchError(
        f"{error}; the archive changed on this disk after it was verified and was deleted: "
        "run the same command again to fetch it, and check the disk if this happens again"
    )
