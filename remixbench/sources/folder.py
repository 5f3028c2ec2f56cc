"""A user's own recordings: a folder with one sub-folder per class, or with a table whose columns the recipe names.

wav, flac, ogg or mp3, at any sample rate and number of channels. Without a table the label is the sub-folder's
name, each file is a location and an origin of its own, and the licence is unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from remixbench.errors import InputError
from remixbench.files import sha256
from remixbench.recipe import Source
from remixbench.sources.audio import FileReader
from remixbench.sources.catalogue import (
    EVENT_COLUMNS,
    SCENE_COLUMNS,
    Catalogue,
    checked_label,
    checked_name,
    read_catalogue_table,
)

if TYPE_CHECKING:
    import pandas as pd

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
UNKNOWN_LICENCE = "unknown"


def catalogue(source: Source, sources: Path, kind: Literal["scenes", "events"]) -> Catalogue:
    """Read a `folder` source of a recipe as scenes or events.

    Raises
    ------
    InputError
        If the folder or table is missing or malformed, or there is no recording in it.
    """
    assert source.folder is not None
    root = sources / source.folder
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; the recipe's {kind} name it, relative to the sources directory")
    table, digest = _from_folders(root, kind) if source.table is None else _from_table(root, source)
    for label in table["label"]:
        checked_label(str(root), label)
    columns = SCENE_COLUMNS if kind == "scenes" else EVENT_COLUMNS
    return Catalogue(f"folder {source.folder}", table[list(columns)], digest, FileReader(root.resolve()))


def _from_folders(root: Path, kind: Literal["scenes", "events"]) -> tuple[pd.DataFrame, str]:
    import pandas as pd

    found = (path.relative_to(root) for path in root.glob("*/**/*") if path.suffix.lower() in AUDIO_SUFFIXES)
    visible = (path for path in found if not any(part.startswith(".") for part in path.parts))
    files = sorted(path.as_posix() for path in visible if (root / path).is_file())
    flat = not files and kind == "scenes"
    if flat:  # a folder of scenes without sub-folders is one class
        files = sorted(
            path.name for path in root.iterdir()
            if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file() and not path.name.startswith(".")
        )  # fmt: skip
    if not files:
        raise InputError(
            f"{root}: no {', '.join(AUDIO_SUFFIXES)} file in any sub-folder; expected one sub-folder per class"
        )
    for file in files:
        if "\\" in file or any(ord(c) < 32 or "\ud800" <= c <= "\udfff" for c in file):
            raise InputError(f"{root}: a manifest cannot hold the file name {file!r}; rename it")
    table = pd.DataFrame({"file": files})
    table = table.assign(
        label=[root.name if flat else file.split("/", 1)[0] for file in files],
        location=files, verified=True, origin=files, licence=UNKNOWN_LICENCE, url="",
    )  # fmt: skip
    return table, sha256("\n".join(files).encode())


def _from_table(root: Path, source: Source) -> tuple[pd.DataFrame, str]:
    assert source.table is not None
    names = source.columns
    path = root / source.table
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    optional = {
        "location": names.location, "origin": names.origin, "licence": names.licence, "url": names.url,
    }  # fmt: skip
    wanted = (names.file, names.label, *(name for name in optional.values() if name is not None))
    if not path.exists():
        raise InputError(f"{path}: no such file; the recipe's source names it")
    given_table = read_catalogue_table(path, wanted, separator)
    table = given_table.frame(wanted)
    files = [checked_name(f"{path}, line {line}", name) for line, name in table[names.file].items()]
    given = {key: table[name] for key, name in optional.items() if name is not None}
    out = table.assign(file=files, label=table[names.label], verified=True)
    out = out.assign(
        location=given.get("location", files), origin=given.get("origin", files),
        licence=given.get("licence", UNKNOWN_LICENCE), url=given.get("url", ""),
    )  # fmt: skip
    return out, given_table.digest
