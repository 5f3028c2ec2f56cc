"""Events: FSDKaggle2018 (DCASE 2018 Task 2), its train part, unpacked as published."""

from __future__ import annotations

from pathlib import Path

from remixbench.errors import InputError
from remixbench.sources.catalogue import EVENT_COLUMNS, Catalogue, FileReader, checked_label, checked_name, read_table

FOLDER = "FSDKaggle2018"
TABLE = Path(FOLDER, "FSDKaggle2018.meta", "train_post_competition.csv")
AUDIO = Path(FOLDER, "FSDKaggle2018.audio_train")
HOW_TO_GET = "`remixbench download fsdkaggle2018` fetches it, `--sources DIR` tells where it lies already"


def events(sources: Path) -> Catalogue:
    """Read the table of events below `sources`.

    `origin` is the Freesound id, the only trace of an uploader that the table has.

    Raises
    ------
    InputError
        If the table is missing or malformed.
    """
    path = sources / TABLE
    columns = ("fname", "label", "manually_verified", "freesound_id", "license")
    table, digest = read_table(path, columns, ",", HOW_TO_GET)
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
    return Catalogue("fsdkaggle2018", table[list(EVENT_COLUMNS)], digest, FileReader((sources / AUDIO).resolve()))
