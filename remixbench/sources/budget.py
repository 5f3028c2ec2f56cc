"""What a download will cost before it starts: bytes to come, disk to need, and the licences to keep to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from remixbench.errors import RemixbenchError
from remixbench.sources.bring import archive_path, unpack_folder
from remixbench.sources.registry import Source
from remixbench.sources.selection import Item
from remixbench.sources.server import Line, remote_size
from remixbench.sources.unpack import unpacked_size


@dataclass(frozen=True)
class Load:
    """One archive still to be had, in bytes: its size (0 where nobody knows it beforehand), what is still to
    come of it, and what its members will take. `lies_there` tells that the archive itself is on disk."""

    item: Item
    size: int
    to_come: int
    members: int
    lies_there: bool


def weigh(item: Item, sources: Path, line: Line) -> Load:
    """Find what an archive will cost; asks the server for the size where it is neither known nor on disk.

    Raises
    ------
    RemixbenchError
        If the server has no such file or cannot be reached.
    """
    path = archive_path(item, sources)
    size = _size(path)
    if size and item.size in (None, size):
        try:
            return Load(item, size, 0, unpacked_size(path, unpack_folder(item, sources), item.archive.holds), True)
        except RemixbenchError:
            pass  # not a whole archive; what is wrong with it is found, and said, when it is verified
    whole = item.size if item.size is not None else remote_size(item.url, item.archive.file, line) or 0
    begun = max(size, _size(path.with_name(path.name + ".part")))
    return Load(item, whole, max(whole - begun, 0), round(whole * item.source.expansion), False)


def disk_need(loads: Sequence[Load], keep: bool, jobs: int) -> int:
    """Return the bytes of disk that fetching and unpacking take beyond what is used now, at their peak.

    Unless archives are kept, each is removed as soon as it is unpacked, so at most `jobs` lie there at once.
    """
    to_come = sorted((load.to_come for load in loads), reverse=True)
    return sum(load.members for load in loads) + sum(to_come if keep else to_come[:jobs])


def announce(sources_in_question: Sequence[Source], loads: Sequence[Load], ready: int) -> list[str]:
    """Return the lines that say what will be done, with the licence of each source."""
    lines = []
    for source in sources_in_question:
        own = [load for load in loads if load.item.source is source]
        fetched, local = (
            [load for load in own if not load.lies_there],
            [load for load in own if load.lies_there],
        )
        doing = []
        if fetched:
            of = sum(load.size for load in fetched)
            doing.append(f"{_archives(len(fetched))} to fetch, {size_text(sum(load.to_come for load in fetched))}")
            if of > sum(load.to_come for load in fetched):
                doing.append(f"the rest of {size_text(of)}")
        if local:
            doing.append(f"{_archives(len(local))} here to unpack")
        if own:
            about = "about " if fetched else ""
            doing.append(f"{about}{size_text(sum(load.members for load in own))} unpacked")
        lines.append(f"{source.name} ({source.title}): {', '.join(doing) or 'nothing to do'}")
        lines.append(f"  licence: {source.licence}")
    if ready:
        lines.append(f"{_archives(ready)} already verified and unpacked")
    return lines


def demand_space(need: int, free: int, sources: Path, keep: bool, fewer: int) -> str:
    """Return the line on disk space; `fewer` is the need with one archive at a time.

    Raises
    ------
    RemixbenchError
        If it does not fit.
    """
    text = f"needs about {size_text(need)} of disk in {sources}, {size_text(free)} are free"
    if need <= free:
        after = "archives are kept" if keep else "each archive is removed once it is unpacked"
        return f"{text}; {after}"
    if not keep and fewer <= free:
        remedy = f"with --jobs 1 about {size_text(fewer)} would do"
    else:
        remedy = "free some space, choose another disk with --sources, or fetch a part with --parts 1-3"
        remedy += ", without --keep-archives" if keep else ""
    raise RemixbenchError(f"the download does not fit: it {text}; {remedy}")


def size_text(size: int) -> str:
    """Return a number of bytes as one reads it.

    >>> size_text(35_622_369_320), size_text(1657), size_text(12)
    ('35.6 GB', '1.7 kB', '12 B')
    """
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"


def _archives(number: int) -> str:
    return f"{number} archive{'' if number == 1 else 's'}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
