"""A published data set: its archives, licence, and layout below the folder of sources.

Each has a module of its name in this package, which defines its `PublishedSource` as `SOURCE` and reads its table.
`recipe.PUBLISHED_SOURCES` names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from remixbench.errors import InputError, unknown
from remixbench.recipe import PUBLISHED_SOURCES
from remixbench.sources.catalogue import read_catalogue_table
from remixbench.tables import Table

_MAX_TABLE_BYTES = 64 << 20
_MAX_HEADER_BYTES = 64 << 10


@dataclass(frozen=True)
class Archive:
    """A file of a record.

    Attributes
    ----------
    file, md5 : name and MD5 of the file
    size : size in bytes, None if only the record's file list has it
    part : number for `--parts`
    optional : whether a mirror may lack it (notices and descriptions)
    """

    file: str
    md5: str
    size: int | None
    part: int | None = None
    optional: bool = False


@dataclass(frozen=True)
class PublishedSource:
    """A published data set.

    Attributes
    ----------
    name : name in recipes and for `download`
    title, licence : short descriptions
    citation : reference to cite
    record : Zenodo record number
    archives : small archives first, optional ones last
    unpacks_to : folder below the sources that the names of archive members are relative to
    member_prefix : folder, below `unpacks_to`, of every member of an archive; {stem} is the file name without .zip
    md5_confirmed : False if the MD5s are from a third party; the record's file list is then trusted, with a message
    expansion : unpacked bytes per byte of the archive, for the estimate of disk space
    table, separator : published table of recordings, and its field separator
    file_column, root : column with the names of recordings, and the folder that they are relative to
    sample_rate, channels : sample rate in Hz and number of channels of every recording
    min_seconds, max_seconds : shortest and longest duration
    """

    name: str
    title: str
    licence: str
    citation: str
    record: int
    archives: tuple[Archive, ...]
    unpacks_to: str
    member_prefix: str
    md5_confirmed: bool
    expansion: float
    table: Path
    separator: str
    file_column: str
    root: Path
    sample_rate: int
    channels: int
    min_seconds: float
    max_seconds: float

    @property
    def parts(self) -> tuple[int, ...]:
        """The part numbers for `--parts`, ascending; empty if the source has no parts."""
        return tuple(sorted(a.part for a in self.archives if a.part is not None))

    def prefix_of(self, archive: Archive) -> str:
        """Return the folder of all members of an archive, relative to where it is unpacked."""
        return self.member_prefix.format(stem=archive.file.removesuffix(".zip"))

    def max_member_bytes(self, name: str) -> int:
        """Return the size limit of a file in bytes: 32 bits per sample of the longest recording, or that of a table."""
        recording = _MAX_HEADER_BYTES + int(self.max_seconds * self.sample_rate) * self.channels * 4
        return recording if name.lower().endswith(".wav") else max(recording, _MAX_TABLE_BYTES)

    def read_table(self, sources: Path, columns: tuple[str, ...] = ()) -> Table:
        """Read the table below `sources`, checking that no value of the file column and `columns` is empty."""
        path = sources / self.table
        if not path.exists():
            raise InputError(
                f"{path}: no such file; run `remixbench download {self.name}` first, or name the folder that"
                " has it with --sources DIR"
            )
        return read_catalogue_table(path, (self.file_column, *columns), self.separator)


@cache
def published_sources() -> dict[str, PublishedSource]:
    """Return all published sources by name."""
    modules = (import_module(f"remixbench.sources.{name}") for name in PUBLISHED_SOURCES)
    return {module.SOURCE.name: module.SOURCE for module in modules}


def published_source(name: str) -> PublishedSource:
    """Return the published source of that name. Raises `InputError` if there is none."""
    sources = published_sources()
    if name not in sources:
        raise unknown("source", name, sources)
    return sources[name]
