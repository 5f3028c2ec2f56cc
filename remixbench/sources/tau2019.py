"""Scenes: TAU Urban Acoustic Scenes 2019, development set (DCASE 2019 Task 1A), unpacked as published."""

from __future__ import annotations

from pathlib import Path

from remixbench.sources.audio import FileReader
from remixbench.sources.catalogue import SCENE_COLUMNS, Catalogue, SourceLayout, checked_label, checked_name
from remixbench.sources.licences import read_notices

FOLDER = Path("TAU-urban-acoustic-scenes-2019-development")
LAYOUT = SourceLayout(
    "tau2019", FOLDER / "meta.csv", "\t", "filename", FOLDER,
    sample_rate=48_000, channels=2, min_seconds=10.0, max_seconds=10.0,
)  # fmt: skip
AUDIO = FOLDER / "audio"
LICENCE = "Tampere University licence, non-commercial use only"
URL = "https://doi.org/10.5281/zenodo.2589280"
CITATION = (
    "A. Mesaros, T. Heittola, T. Virtanen: A multi-device dataset for urban acoustic scene classification. DCASE"
    " Workshop 2018. TAU Urban Acoustic Scenes 2019, development: doi 10.5281/zenodo.2589280"
)
NOTICE = (
    "Scenes: TAU Urban Acoustic Scenes 2019, development. Copyright Tampere University and its licensors, all rights"
    " reserved. The recordings, and clips made from them, may be used and copied for experiments and other"
    " non-commercial purposes only, with this notice and the licence of the data set in every copy; commercial use is"
    " prohibited. Publications name the Audio Research Group of Tampere University as the source. The licence in full"
    f" is in the data set's archive of documents: {URL}\n"
)


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
    table = table.rename(columns={"scene_label": "label", "identifier": "location"}).assign(licence=LICENCE, url=URL)
    notice = "\n".join(filter(None, (NOTICE, read_notices(sources / FOLDER))))
    reader = FileReader((sources / AUDIO).resolve())
    return Catalogue(LAYOUT.name, table[list(SCENE_COLUMNS)], published.digest, reader, notice=notice)
