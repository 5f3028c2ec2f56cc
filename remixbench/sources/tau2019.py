"""Scenes: TAU Urban Acoustic Scenes 2019, development set (DCASE 2019 Task 1A), unpacked as published."""

from __future__ import annotations

from pathlib import Path

from remixbench.sources.audio import FileReader
from remixbench.sources.catalogue import SCENE_COLUMNS, Catalogue, checked_label, checked_name
from remixbench.sources.licences import read_notices
from remixbench.sources.published import Archive, PublishedSource

FOLDER = Path("TAU-urban-acoustic-scenes-2019-development")
_AUDIO_ARCHIVES = (  # part, bytes, MD5
    (1, 1657550587, "aca4ebfd9ed03d5f747d6ba8c24bc728"),
    (2, 1666219450, "c4f170408ce77c8c70c532bf268d7be0"),
    (3, 1817901591, "c7214a07211f10f3250290d05e72c37e"),
    (4, 1821710642, "a6a62110f6699cf4432072acb1dffda6"),
    (5, 1803118466, "091a0b6d3c84b8e60e46940aa7d4a8a0"),
    (6, 1789566029, "114f4ca13e074391b98a1cfd8140de65"),
    (7, 1747953866, "5951dd2968f7a514e2afbe279c4f060d"),
    (8, 1728724513, "b0b63dc95b327e1509857c8d8a663cc3"),
    (9, 1667106209, "3c32a693a6b111ffb957be3c1dd22e9b"),
    (10, 1632636175, "0ffbf60006da520cc761fb74c878b98b"),
    (11, 1671793546, "599055d93b4c11057c29be2df54538d4"),
    (12, 1672592150, "98b8d162ff3665695c4c910e6c372cc8"),
    (13, 1673481614, "a356c08b1a5a21d433eba37ef87587f4"),
    (14, 1666137450, "f8969771e7faf7dd471d1cf78b0cf011"),
    (15, 1675127004, "4758c4b0fb7484faa632266e78850820"),
    (16, 1648240966, "a18acad9ede8ea76574216feb887f0bc"),
    (17, 1698414214, "1af7703484632f340da5c33662dc9632"),
    (18, 1731093704, "b67402bf3e08f4da394a7c18756c0fd2"),
    (19, 1745153640, "035db315f19106eb848b6f9b32bcc47c"),
    (20, 1774038704, "9cb28c74911bf8a3eadcf53f50a5b5d6"),
    (21, 1333808800, "0e44ed85c88ec036a9725b4dd1dfaea0"),
)
SOURCE = PublishedSource(
    name="tau2019",
    title="TAU Urban Acoustic Scenes 2019, development",
    licence="free for non-commercial use with notice",
    citation=(
        "A. Mesaros, T. Heittola, T. Virtanen: A multi-device dataset for urban acoustic scene classification. DCASE"
        " Workshop 2018. TAU Urban Acoustic Scenes 2019, development: doi 10.5281/zenodo.2589280"
    ),
    record=2589280,
    archives=(
        Archive(f"{FOLDER}.meta.zip", "09782f2097e4735687af73c44919329c", 156863),
        *(Archive(f"{FOLDER}.audio.{part}.zip", md5, size, part) for part, size, md5 in _AUDIO_ARCHIVES),
        Archive(f"{FOLDER}.doc.zip", "1f6879544e80da70099a191613e7e51f", 11299, optional=True),
    ),
    unpacks_to=".",
    member_prefix=str(FOLDER),
    md5_confirmed=True,
    expansion=1.165,  # 14,400 files of 2,880,044 bytes
    table=FOLDER / "meta.csv",
    separator="\t",
    file_column="filename",
    root=FOLDER,
    sample_rate=48_000,
    channels=2,
    min_seconds=10.0,
    max_seconds=10.0,
)
AUDIO = FOLDER / "audio"
LICENCE = "Tampere University licence, non-commercial use only"
URL = "https://doi.org/10.5281/zenodo.2589280"
NOTICE = (
    "Scenes: TAU Urban Acoustic Scenes 2019, development. Copyright Tampere University and its licensors, all rights"
    " reserved. The recordings, and clips made from them, may be used and copied for experiments and other"
    " non-commercial purposes only, with this notice and the licence of the data set in every copy; commercial use is"
    " prohibited. Publications name the Audio Research Group of Tampere University as the source. The licence in full"
    f" is in the data set's archive of documents: {URL}\n"
)


def scenes(sources: Path) -> Catalogue:
    """Read the table of scenes below `sources`. Raises `InputError` if `meta.csv` is missing or malformed."""
    published = SOURCE.read_table(sources, ("scene_label", "identifier"))
    table = published.frame(("filename", "scene_label", "identifier"))
    for line, label in table["scene_label"].items():
        checked_label(f"{published.path}, line {line}", label)
    names = [checked_name(f"{published.path}, line {line}", name) for line, name in table["filename"].items()]
    table = table.assign(file=[name.rsplit("/", 1)[-1] for name in names])
    table = table.rename(columns={"scene_label": "label", "identifier": "location"}).assign(licence=LICENCE, url=URL)
    notice = "\n".join(filter(None, (NOTICE, read_notices(sources / FOLDER))))
    reader = FileReader((sources / AUDIO).resolve())
    return Catalogue(SOURCE.name, table[list(SCENE_COLUMNS)], published.digest, reader, notice=notice)
