"""Scenes: TAU Urban Acoustic Scenes 2019, development set (DCASE 2019 Task 1A), unpacked as published."""

from __future__ import annotations

from pathlib import Path

from remixbench.sources.catalogue import Catalogue, FileReader, checked_name, read_table

FOLDER = "TAU-urban-acoustic-scenes-2019-development"
HOW_TO_GET = "`remixbench download tau2019` fetches it, `--sources DIR` tells where it lies already"


def scenes(sources: Path) -> Catalogue:
    """Read the table of scenes below `sources`.

    Raises
    ------
    InputError
        If `meta.csv` is missing or malformed.
    """
    path = sources / FOLDER / "meta.csv"
    table, digest = read_table(path, ("filename", "scene_label", "identifier"), "\t", HOW_TO_GET)
    names = [checked_name(f"{path}, line {line}", name) for line, name in table["filename"].items()]
    table = table.assign(file=[name.rsplit("/", 1)[-1] for name in names])
    table = table.rename(columns={"scene_label": "label", "identifier": "location"})
    audio = (sources / FOLDER / "audio").resolve()
    return Catalogue("tau2019", table[["file", "label", "location"]], digest, FileReader(audio))
