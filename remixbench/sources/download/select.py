"""The selection of archives to download: sources, parts, mirrors and files of checksums."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from remixbench.errors import InputError
from remixbench.files import read_sums
from remixbench.sources.published import Archive, PublishedSource, published_source, published_sources

ORIGIN, QUERY = "https://zenodo.org", "?download=1"
"""Files of a record are at ORIGIN/records/<id>/files/<name>; mirrors need no query."""
_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")


@dataclass(frozen=True)
class RemoteFile:
    """An archive to download: its URL, the URL of its record's file list, its MD5, and its size in bytes if certain."""

    source: PublishedSource
    archive: Archive
    url: str
    listing_url: str
    md5: str
    size: int | None

    @property
    def name(self) -> str:
        """File name of the archive."""
        return self.archive.file

    @property
    def label(self) -> str:
        """A short name for progress bars: the source, and the archive's name from its first dot."""
        return f"{self.source.name} {self.name.removesuffix('.zip').partition('.')[2]}"

    @property
    def published(self) -> bool:
        """Whether the archive is the published one, not a variant of a mirror."""
        return self.md5 == self.archive.md5

    @property
    def trusts_list(self) -> bool:
        """Whether the MD5 in the list of its record counts if it differs: the known one is from a third party."""
        return self.published and not self.source.md5_confirmed


def select(
    names: Sequence[str],
    mirror: str | None = None,
    parts: str | None = None,
    checksums: Path | None = None,
) -> list[RemoteFile]:
    """Choose archives, small ones of each source first.

    Raises `InputError` if a name, a part, the address or the file of checksums is not usable.

    Parameters
    ----------
    names : sources; by default all
    mirror : URL that replaces Zenodo's, with files at `records/<id>/files/<name>`
    parts : parts of sources that have parts, such as "1-3,5"; by default all
    checksums : a file in the format of `md5sum` that lists the files of the mirror. It replaces the published MD5s, and
        files that it does not list are not requested
    """
    origin = ORIGIN if mirror is None else _check_mirror(mirror)
    query = QUERY if mirror is None else ""
    md5s = None if checksums is None else read_sums(checksums, "md5sum")
    sources = [published_source(name) for name in dict.fromkeys(names)] or list(published_sources().values())
    wanted_parts = _parts_of(parts, sources)
    selected = []
    for source in sources:
        for archive in source.archives:
            if archive.part is not None and wanted_parts is not None and archive.part not in wanted_parts:
                continue
            path = f"records/{source.record}/files/{archive.file}"
            md5 = archive.md5 if md5s is None else md5s.get(path, md5s.get(archive.file, ""))
            if md5:
                size = archive.size if md5 == archive.md5 else None
                listing_url = f"{origin}/api/records/{source.record}"
                selected.append(RemoteFile(source, archive, f"{origin}/{path}{query}", listing_url, md5, size))
    if checksums is not None:
        _check_listed(selected, checksums, [s for s in sources if s.name in names], wanted_parts)
    return selected


def list_urls(
    *names: str, mirror: str | None = None, parts: str | None = None, checksums: Path | None = None
) -> list[str]:
    """Return the URLs of the archives, to fetch them with another program.

    Save the files to `<workspace>/sources/archives/`, under the name before any `?` in the URL; `download` verifies and
    unpacks them. Arguments and errors are those of `download`.
    """
    return [remote.url for remote in select(names, mirror, parts, checksums)]


def _check_listed(
    selected: list[RemoteFile], checksums: Path, sources: list[PublishedSource], parts: frozenset[int] | None
) -> None:
    """Check that the file of checksums lists the sources and parts that were named."""
    for source in sources:
        if not any(remote.source is source for remote in selected):
            raise InputError(
                f"{checksums}: lists no archive of {source.name}; expected lines such as "
                f"'<md5>  records/{source.record}/files/{source.archives[0].file}'"
            )
    missing = sorted((parts or frozenset()) - {remote.archive.part for remote in selected})
    if missing:
        raise InputError(f"{checksums}: does not list part {missing[0]}, which --parts asks for")
    if not selected:
        raise InputError(
            f"{checksums}: lists no archive of any source; expected lines '<md5>  records/<id>/files/<name>'"
        )


def _parts_of(text: str | None, sources: list[PublishedSource]) -> frozenset[int] | None:
    if text is None:
        return None
    in_parts = [source for source in sources if source.parts]
    if not in_parts:
        raise InputError(f"--parts {text}: {', '.join(s.name for s in sources)} does not come in parts; leave it out")
    numbers = parse_parts(text, max(source.parts[-1] for source in in_parts))
    for source in in_parts:
        if numbers.isdisjoint(source.parts):
            raise InputError(
                f"--parts {text}: none is a part of {source.name}, which has {source.parts[0]} to {source.parts[-1]};"
                " name the sources that the parts are of"
            )
    return numbers


def parse_parts(text: str, last: int) -> frozenset[int]:
    """Read a list of numbers and ranges from 1 to `last`.

    Raises `InputError` if an item is neither a number nor an ascending range within 1 to `last`.

    >>> sorted(parse_parts("1-3,5", 21))
    [1, 2, 3, 5]
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


def _check_mirror(mirror: str) -> str:
    try:
        address = urlsplit(mirror)
        usable = address.scheme in ("http", "https") and bool(address.hostname)
        usable = usable and not address.query and not address.fragment
        usable = usable and address.port != 0  # reading the port raises for a bad one
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"--mirror {mirror}: expected an address such as https://example.org/mirror")
    return mirror.rstrip("/")
