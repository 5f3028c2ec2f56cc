"""Scenes: TAU Urban Acoustic Scenes 2019, development set (DCASE 2019 Task 1A), unpacked as published."""

from __future__ import annotations

from pathlib import Path

from remixbench.sources.audio import FileReader
from remixbench.sources.catalogue import SCENE_COLUMNS, Catalogue, SourceLayout, checked_label, checked_name

FOLDER = Path("TAU-urban-acoustic-scenes-2019-development")
LAYOUT = SourceLayout(
    "tau2019", FOLDER / "meta.csv", "\t", "filename", FOLDER,
    sample_rate=48_000, channels=2, min_seconds=10.0, max_seconds=10.0,
)  # fmt: skip
AUDIO = FOLDER / "audio"


def scenes(sources: Path) -> Catalogue:
    """Read the table of scenes below `sources`.

    Raises
    ------
    InputError
        If `meta.csv` is missing or malformed.
    """
    published = LAYOUT.read_table(sources, ("scene_label", "identifier"))
    table = published.frame(("filename", "scene_label", "identifier"))
    for line, label in table["scene_label"].items():
        checked_label(f"{published.path}, line {line}", label)
    names = [checked_name(f"{published.path}, line {line}", name) for line, name in table["filename"].items()]
    table = table.assign(file=[name.rsplit("/", 1)[-1] for name in names])
    table = table.rename(columns={"scene_label": "label", "identifier": "location"})
    return Catalogue(LAYOUT.name, table[list(SCENE_COLUMNS)], published.digest, FileReader((sources / AUDIO).resolve()))
