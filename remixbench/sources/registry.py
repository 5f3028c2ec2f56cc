"""What can be downloaded: the files of the two real sources, as data (`registry.yaml`, beside this)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from remixbench.errors import unknown


@dataclass(frozen=True)
class Archive:
    """One file of a record.

    `size` is in bytes, None where it is not known beforehand; `part` is the number that `--parts` means;
    `holds` is the folder, relative to where the archive unpacks, in which all its members lie.
    """

    file: str
    md5: str
    size: int | None
    part: int | None
    holds: str


@dataclass(frozen=True)
class Table:
    """The source's own table of recordings: its place under the sources, and the column with their names."""

    path: str
    delimiter: str
    column: str


@dataclass(frozen=True)
class Audio:
    """Where the names of the table start, and what each recording must be (lengths in seconds)."""

    folder: str
    rate: int
    channels: int
    shortest: float
    longest: float


@dataclass(frozen=True)
class Source:
    """One data set: a record of archives."""

    name: str
    title: str
    licence: str
    record: int
    unpacks_to: str
    confirmed: bool
    expansion: float
    table: Table
    audio: Audio
    archives: tuple[Archive, ...]

    def parts(self) -> tuple[int, ...]:
        """Return the numbers that `--parts` may name, rising; none where the source is not in parts."""
        return tuple(sorted(a.part for a in self.archives if a.part is not None))


@dataclass(frozen=True)
class Registry:
    """All sources, and where their records lie."""

    origin: str
    query: str
    sources: dict[str, Source]

    def source(self, name: str) -> Source:
        """Return the source of that name.

        Raises
        ------
        InputError
            If there is none, naming the nearest.
        """
        if name not in self.sources:
            raise unknown("source", name, self.sources)
        return self.sources[name]


@cache
def registry() -> Registry:
    """Return the registry that travels with the package."""
    import yaml

    data = yaml.safe_load(files("remixbench.sources").joinpath("registry.yaml").read_text(encoding="utf-8"))
    sources = {name: _source(name, entry) for name, entry in data["sources"].items()}
    return Registry(data["origin"], data["query"], sources)


def _source(name: str, entry: dict[str, Any]) -> Source:
    fields = dict(entry)
    holds = fields.pop("holds")
    archives = tuple(
        Archive(a["file"], a["md5"], a["bytes"], a.get("part"), holds.format(stem=a["file"].removesuffix(".zip")))
        for a in fields.pop("archives")
    )
    table, audio = Table(**fields.pop("table")), Audio(**fields.pop("audio"))
    return Source(name=name, table=table, audio=audio, archives=archives, **fields)
