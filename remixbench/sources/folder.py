"""A user's recordings: a folder with one sub-folder per class, or with a table whose columns the recipe names.

Recordings may have any format that libsndfile reads, any sample rate and any number of channels; links are followed.
Without a table, the label is the name of the sub-folder, each file has a separate location and origin, and the licence
is unknown.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from remixbench.errors import InputError, shortened
from remixbench.files import sha256
from remixbench.recipe import Source
from remixbench.sources.audio import AUDIO_SUFFIXES, UNREAD_SUFFIXES, FileReader
from remixbench.sources.catalogue import (
    EVENT_COLUMNS,
    SCENE_COLUMNS,
    Catalogue,
    checked_label,
    checked_name,
    read_catalogue_table,
    stays_below,
)
from remixbench.sources.licences import UNKNOWN, read_notices

if TYPE_CHECKING:
    import pandas as pd


def catalogue(source: Source, sources: Path, kind: Literal["scenes", "events"]) -> Catalogue:
    """Read a `folder` source of a recipe as scenes or events."""
    assert source.folder is not None
    root = sources / source.folder
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; the recipe's {kind} name it, relative to the sources directory")
    left_out: tuple[str, ...] = ()
    if source.table is None:
        table, digest, left_out = _from_folders(root, kind)
    else:
        table, digest = _from_table(root, source)
    for label in table["label"]:
        checked_label(str(root), label)
    if len(duplicates := table["file"][table["file"].duplicated()]):
        raise InputError(
            f"{root}: two files have the name {duplicates.iloc[0]!r}, in different Unicode forms; rename one"
        )
    columns = SCENE_COLUMNS if kind == "scenes" else EVENT_COLUMNS
    notice = read_notices(root)
    reader = FileReader(root.resolve())
    return Catalogue(f"folder {source.folder}", table[list(columns)], digest, reader, notice=notice, left_out=left_out)


def _from_folders(root: Path, kind: Literal["scenes", "events"]) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
    import pandas as pd

    paths = sorted(_files(root))
    unread = [path for path in paths if Path(path).suffix.lower() in UNREAD_SUFFIXES]
    if unread:
        raise InputError(
            f"{root}: {shortened(unread)}: libsndfile does not read {Path(unread[0]).suffix} files; convert them to WAV"
            " or FLAC, or remove them from the folder"
        )
    others = [path for path in paths if Path(path).suffix.lower() not in AUDIO_SUFFIXES]
    paths = [path for path in paths if Path(path).suffix.lower() in AUDIO_SUFFIXES]
    files = [path for path in paths if "/" in path]
    flat = not files and kind == "scenes"
    if flat:  # a folder of scenes without sub-folders is one class
        files = paths
    if not files:
        raise InputError(
            f"{root}: no .wav, .flac, .ogg, .mp3 or other file that libsndfile reads in any sub-folder; expected one"
            " sub-folder per class"
        )
    irregular = [file for file in files if not (root / file).is_file()]
    if irregular:
        raise InputError(
            f"{root}: {shortened(irregular)}: expected a file, found a link to nothing, a pipe or a device"
        )
    for file in files:
        if not stays_below(file):
            raise InputError(f"{root}: a manifest cannot hold the file name {file!r}; rename it")
    left_out = []
    classes = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if empty := sorted(classes - {file.split("/", 1)[0] for file in files}) if not flat else []:
        left_out.append(f"{root}: left out, sub-folders without recordings: {shortened(empty)}")
    if loose := sorted(set(paths) - set(files)):
        left_out.append(f"{root}: left out, not in a sub-folder and so without a class: {shortened(loose)}")
    if others := [path for path in others if "/" in path or flat]:
        left_out.append(f"{root}: left out, without the suffix of a recording: {shortened(others)}")
    files = sorted(map(_composed, files))
    table = pd.DataFrame({"file": files})
    table = table.assign(
        label=[_composed(root.name) if flat else file.split("/", 1)[0] for file in files],
        location=files, verified=True, origin=files, licence=UNKNOWN, url="",
    )  # fmt: skip
    return table, sha256("\n".join(files).encode()), tuple(left_out)


def _composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), as some systems write accents as separate characters."""
    return unicodedata.normalize("NFC", name)


def _files(root: Path) -> Iterator[str]:
    """Yield the paths of the files below a folder, relative to it; follows links, skips hidden files."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: not readable ({error.strerror}); make it readable or remove it")

    for parent, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        ancestors = [os.path.realpath(parent), *map(str, Path(os.path.realpath(parent)).parents)]
        for folder in folders:
            if os.path.islink(path := os.path.join(parent, folder)) and os.path.realpath(path) in ancestors:
                raise InputError(f"{path}: links to a folder that contains it; remove the link")
        relative = Path(parent).relative_to(root)
        yield from ((relative / file).as_posix() for file in files if not file.startswith("."))


def _from_table(root: Path, source: Source) -> tuple[pd.DataFrame, str]:
    assert source.table is not None
    names = source.columns
    path = root / source.table
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    optional = {
        "location": names.location, "origin": names.origin, "licence": names.licence, "url": names.url,
    }  # fmt: skip
    columns = (names.file, names.label, *(name for name in optional.values() if name is not None))
    if not path.exists():
        raise InputError(f"{path}: no such file; the recipe's source names it")
    user_table = read_catalogue_table(path, columns, separator)
    table = user_table.frame(columns)
    files = [_composed(checked_name(f"{path}, line {line}", name)) for line, name in table[names.file].items()]
    values = {
        key: [_composed(value.strip()) for value in table[name]] for key, name in optional.items() if name is not None
    }
    table = table.assign(
        file=files, label=table[names.label].map(_composed), verified=True,
        location=values.get("location", files), origin=values.get("origin", files),
        licence=values.get("licence", UNKNOWN), url=values.get("url", ""),
    )  # fmt: skip
    return table, user_table.digest
