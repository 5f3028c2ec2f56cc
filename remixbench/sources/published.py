"""A published data set: its record of archives, its licence, and how it lies below the folder of sources.

Each has a module of its own beside this one (`tau2019`, `fsdkaggle2018`), which holds its `PublishedSource` as `SOURCE`
and reads its table; `recipe.PUBLISHED_SOURCES` names them.
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
    """One file of a record.

    Attributes
    ----------
    file, md5 : its name and MD5
    size : in bytes, None where only the record's file list says
    part : the number that `--parts` takes
    optional : the notice and description, which a mirror need not have
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
    name : as recipes and `download` take it
    title, licence : in a few words
    citation : what to cite where it is used
    record : number of its record
    archives : small ones first; optional ones last
    unpacks_to : folder under the sources that the archives' member names are relative to
    member_prefix : folder, below `unpacks_to`, of every member of an archive; {stem} is the file without .zip
    md5_confirmed : False where the MD5s are a third party's; the record's file list is then trusted, and reported
    expansion : bytes unpacked per byte of the archive, for the estimate of the disk space
    table, separator : the published table of recordings, and what is between its fields
    file_column, root : the column with the names of the recordings, and the folder that these are relative to
    sample_rate, channels : of every recording; in Hz
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
        """The numbers that `--parts` may name, rising; none if the source is not in parts."""
        return tuple(sorted(a.part for a in self.archives if a.part is not None))

    def prefix_of(self, archive: Archive) -> str:
        """Return the folder, relative to where the archive unpacks, of all its members."""
        return self.member_prefix.format(stem=archive.file.removesuffix(".zip"))

    def max_member_bytes(self, name: str) -> int:
        """Return how large a file of the source may be: 32 bits per sample of the longest recording, or a table."""
        if not name.lower().endswith(".wav"):
            return _MAX_TABLE_BYTES
        return _MAX_HEADER_BYTES + int(self.max_seconds * self.sample_rate) * self.channels * 4

    def read_table(self, sources: Path, columns: tuple[str, ...] = ()) -> Table:
        """Read the table below `sources`; every row has a value in the file column and in `columns`.

        Raises
        ------
        InputError
            If the table is missing or malformed, or names a recording twice.
        """
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
    """Return the published source of that name.

    Raises
    ------
    InputError
        If there is none, naming the nearest.
    """
    sources = published_sources()
    if name not in sources:
        raise unknown("source", name, sources)
    return sources[name]
