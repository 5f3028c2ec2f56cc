"""Which archives a download is about: names, parts, a mirror and its checksums in, a list of files out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from remixbench.errors import InputError
from remixbench.sources.registry import Archive, Source, registry

_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_SUM = re.compile(r"([0-9a-fA-F]{32}) [ *](.+)")


@dataclass(frozen=True)
class Item:
    """One archive to have: where it lies, what its MD5 must be, its bytes where known for certain."""

    source: Source
    archive: Archive
    url: str
    listing: str
    md5: str
    size: int | None

    @property
    def published(self) -> bool:
        """Whether the archive is the published one, not a mirror's own."""
        return self.md5 == self.archive.md5


def select(
    names: Sequence[str],
    mirror: str | None = None,
    parts: str | None = None,
    checksums: Path | None = None,
) -> list[Item]:
    """Choose archives, small ones of each source first.

    Parameters
    ----------
    names
        Sources; all of them where none is named (of those in `checksums`, if given).
    mirror
        The address in place of the records' own; files lie beneath it at `records/<id>/files/<name>`.
    parts
        Parts of the sources that come in parts, such as "1-3,5"; all where None.
    checksums
        A file in the format of `md5sum` that says what the mirror has; it replaces the published MD5s, and
        what it does not list is not asked for.

    Raises
    ------
    InputError
        If a name, a part, the address or the file of checksums is not usable.
    """
    known = registry()
    origin = known.origin if mirror is None else _address(mirror)
    query = known.query if mirror is None else ""
    sums = None if checksums is None else read_checksums(checksums)
    sources = [known.source(name) for name in dict.fromkeys(names)] or list(known.sources.values())
    wanted_parts = _parts_of(parts, sources)
    items = []
    for source in sources:
        for archive in source.archives:
            if archive.part is not None and wanted_parts is not None and archive.part not in wanted_parts:
                continue
            path = f"records/{source.record}/files/{archive.file}"
            md5 = archive.md5 if sums is None else sums.get(path, sums.get(archive.file, ""))
            if md5:
                size = archive.size if md5 == archive.md5 else None
                listing = f"{origin}/api/records/{source.record}"
                items.append(Item(source, archive, f"{origin}/{path}{query}", listing, md5, size))
    if checksums is not None:
        _check_listed(items, checksums, [s for s in sources if s.name in names], wanted_parts)
    return items


def select_urls(
    *names: str, mirror: str | None = None, parts: str | None = None, checksums: Path | None = None
) -> list[str]:
    """Return the addresses of the archives, for other programs that fetch.

    What they fetch belongs in `<workspace>/sources/archives/`, under the name that the address has before any
    `?`; `download` verifies and unpacks it from there. Arguments and errors are those of `download`.
    """
    return [item.url for item in select(names, mirror, parts, checksums)]


def _check_listed(items: list[Item], checksums: Path, named: list[Source], parts: frozenset[int] | None) -> None:
    """Check that the file of checksums lists what was asked for by name or number."""
    for source in named:
        if not any(item.source is source for item in items):
            raise InputError(
                f"{checksums}: lists no archive of {source.name}; expected lines such as "
                f"'<md5>  records/{source.record}/files/{source.archives[0].file}'"
            )
    missing = sorted((parts or frozenset()) - {item.archive.part for item in items})
    if missing:
        raise InputError(f"{checksums}: does not list part {missing[0]}, which --parts asks for")
    if not items:
        raise InputError(
            f"{checksums}: lists no archive of any source; expected lines '<md5>  records/<id>/files/<name>'"
        )


def _parts_of(text: str | None, sources: list[Source]) -> frozenset[int] | None:
    if text is None:
        return None
    known = {part for source in sources for part in source.parts()}
    if not known:
        raise InputError(f"--parts {text}: {', '.join(s.name for s in sources)} does not come in parts; leave it out")
    return parse_parts(text, max(known))


def parse_parts(text: str, last: int) -> frozenset[int]:
    """Read a list of numbers and ranges from 1 to `last`.

    >>> sorted(parse_parts("1-3,5", 21))
    [1, 2, 3, 5]

    Raises
    ------
    InputError
        If a piece is neither a number nor a rising range within 1 to `last`.
    """
    parts: set[int] = set()
    for piece in text.split(","):
        match = _RANGE.fullmatch(piece.strip())
        first = int(match[1]) if match else 0
        end = int(match[2] or match[1]) if match else 0
        if not 1 <= first <= end <= last:
            raise InputError(
                f"--parts {text}: found '{piece}'; expected numbers or ranges from 1 to {last}, such as 1-3,5"
            )
        parts.update(range(first, end + 1))
    return frozenset(parts)


def read_checksums(path: Path) -> dict[str, str]:
    """Read a file in the format of `md5sum`: path to MD5, in small letters.

    Raises
    ------
    InputError
        If the file cannot be read, or a line is not an MD5, two blanks and a path, or a path has two MD5s.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the file of checksums cannot be read ({error})") from None
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SUM.fullmatch(line.rstrip())
        if match is None:
            raise InputError(
                f"{path}, line {number}: found '{line[:80]}'; expected "
                "'<md5>  records/<id>/files/<name>', as md5sum writes it"
            )
        name = match[2].removeprefix("./")
        if sums.setdefault(name, match[1].lower()) != match[1].lower():
            raise InputError(f"{path}, line {number}: a second, different MD5 of {name}; leave one of them")
    return sums


def _address(mirror: str) -> str:
    try:
        found = urlsplit(mirror)
        usable = found.scheme in ("http", "https") and bool(found.hostname) and not found.query and not found.fragment
        found.port  # noqa: B018 (raises on a bad port)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"--mirror {mirror}: expected an address such as https://example.org/mirror")
    return mirror.rstrip("/")
