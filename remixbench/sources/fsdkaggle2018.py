"""Events: the train part of FSDKaggle2018 (DCASE 2018 Task 2), unpacked as published."""

from __future__ import annotations

from pathlib import Path

from remixbench.errors import InputError
from remixbench.sources.audio import FileReader
from remixbench.sources.catalogue import EVENT_COLUMNS, Catalogue, checked_label, checked_name
from remixbench.sources.published import Archive, PublishedSource

FOLDER = Path("FSDKaggle2018")
AUDIO = FOLDER / "FSDKaggle2018.audio_train"
ORIGIN_GAP = 100
"""Sounds of one label with Freesound ids closer than this may have the same uploader, as ids are in upload order."""
SOURCE = PublishedSource(
    name="fsdkaggle2018",
    title="FSDKaggle2018, train part",
    licence="each recording CC0, CC-BY or CC-BY-NC, as its row of the table says",
    citation=(
        "E. Fonseca, M. Plakal, F. Font, D. P. W. Ellis, X. Favory, J. Pons, X. Serra: General-purpose tagging of"
        " Freesound audio with AudioSet labels: task description, dataset, and baseline. DCASE Workshop 2018."
        " FSDKaggle2018: doi 10.5281/zenodo.2552860"
    ),
    record=2552860,
    archives=(
        Archive("FSDKaggle2018.meta.zip", "f16828ac8be0e5285b9175a12f90d784", None),
        Archive("FSDKaggle2018.audio_train.zip", "a8b47ff4b52022c178f88fa5c6f080d0", None),
        Archive("FSDKaggle2018.doc.zip", "4f2d1ac88f33a62f9db3108b269ee1b7", None, optional=True),
    ),
    unpacks_to=str(FOLDER),
    member_prefix="{stem}",
    md5_confirmed=False,
    expansion=1.5,
    table=FOLDER / "FSDKaggle2018.meta" / "train_post_competition.csv",
    separator=",",
    file_column="fname",
    root=AUDIO,
    sample_rate=44_100,
    channels=1,
    min_seconds=0.3,
    max_seconds=30.0,
)


def events(sources: Path) -> Catalogue:
    """Read the table of events below `sources`.

    `origin` is the Freesound id, as the table does not name uploaders. Raises `InputError` if the table is missing or
    malformed.
    """
    columns = ("fname", "label", "manually_verified", "freesound_id", "license")
    published = SOURCE.read_table(sources, columns[1:])
    path, table = published.path, published.frame(columns)
    for line, label, flag, number in table[["label", "manually_verified", "freesound_id"]].itertuples():
        checked_label(f"{path}, line {line}", label)
        if flag not in ("0", "1"):
            raise InputError(f"{path}, line {line}: manually_verified is '{flag}', expected 0 or 1")
        if not (number.isascii() and number.isdigit() and len(number) <= 18):
            raise InputError(f"{path}, line {line}: freesound_id is '{number[:40]}', expected a number")
    table = table.assign(
        file=[checked_name(f"{path}, line {line}", name) for line, name in table["fname"].items()],
        verified=table["manually_verified"] == "1",
        origin=table["freesound_id"],
        licence=table["license"],
        url="https://freesound.org/s/" + table["freesound_id"],
    )
    reader = FileReader((sources / AUDIO).resolve())
    return Catalogue(SOURCE.name, table[list(EVENT_COLUMNS)], published.digest, reader, ORIGIN_GAP)
