"""Overlap of a data set's event recordings with the training data of an encoder, by Freesound id.

FSDKaggle2018, FSD50K, Clotho, WavCaps and others all consist of sounds from Freesound, so an encoder trained on one of
them may have heard the test recordings. `overlap` compares ids and writes the result to
`<workspace>/overlap/<data set>/<encoder>.json`; `score` marks the rows of that encoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.errors import InputError
from remixbench.files import as_path, check_short_name, read_bytes, sha256, write_sealed
from remixbench.schemas import read_json_as
from remixbench.tables import read_table

FREESOUND = re.compile(r"freesound\.org/(?:s|sounds|people/[^/]+/sounds)/([0-9]+)")
ID = re.compile(r"(?:.*/)?([0-9]{1,12})(?:\.[A-Za-z0-9]{1,5})?")
ID_COLUMNS = ("freesound_id", "freesoundid", "fsid", "sound_id", "id", "fname", "filename", "file_name", "file")
"""Names of the id column, in any case, the likeliest first; without a header the first column is read."""
FROM_FREESOUND = re.compile(r"freesound|fsd|clotho|wavcaps|esc-?50|urbansound|laion", re.IGNORECASE)
"""Data sets that contain sounds from Freesound."""


class Overlap(BaseModel):
    """The event recordings of a data set that an encoder was trained on.

    Attributes
    ----------
    ids, ids_digest : number of ids in the list, and SHA-256 of its file.
    shared : event recordings of the data set whose ids are in the list, sorted.
    tested : by fold, the number of shared event recordings in its test clips, and of all.
    without_id : number of event recordings without a Freesound id.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int = 1
    encoder: str
    dataset: str
    manifest_digest: str
    ids: int
    ids_digest: str
    shared: list[str]
    tested: dict[str, list[int]]
    without_id: int


def overlap(
    ids: str | Path,
    *,
    encoder: str,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
) -> Overlap:
    """Compare the Freesound ids of an encoder's training data with the event recordings of a data set.

    Parameters
    ----------
    ids : a CSV or text file with one id per line, in a column such as `freesound_id`, `id` or `fname` (`12345.wav`), or
        in the first column if there is no header.
    encoder : short name of the encoder, whose rows `score` will mark.
    workspace, dataset : the workspace, and the name or folder of a data set; by default the most recent one.

    Raises
    ------
    InputError
        If the file has no ids, or the data set has no event from Freesound.
    """
    data = find_dataset(workspace, dataset)
    check_short_name(encoder, "encoder", "use the name in its runs")
    file = Path(ids)
    heard = read_ids(file)
    recording_ids = freesound_ids(data)
    shared = {name for name, number in recording_ids.items() if number in heard}
    tested = {}
    for fold in data.manifest.folds:
        names = {event.file for row in data.test_rows(fold) for event in data.clips[row].events}
        tested[str(fold)] = [len(names & shared), len(names)]
    recordings = {event.file for clip in data.clips for event in clip.events}
    comparison = Overlap(
        encoder=encoder,
        dataset=data.name,
        manifest_digest=data.manifest_digest,
        ids=len(heard),
        ids_digest=sha256(read_bytes(file)),
        shared=sorted(shared),
        tested=tested,
        without_id=len(recordings - recording_ids.keys()),
    )
    write_sealed(_path(as_path(workspace, "workspace"), data, encoder), comparison.model_dump(mode="json"))
    return comparison


def read_overlap(workspace: Path, dataset: Dataset, encoder: str) -> Overlap | None:
    """Read the overlap of an encoder with a data set; return None if it was not computed for this manifest."""
    path = _path(workspace, dataset, encoder)
    if not path.is_file():
        return None
    comparison = read_json_as(path, Overlap, remedy="run `remixbench overlap` again")
    return comparison if comparison.manifest_digest == dataset.manifest_digest else None


def from_freesound(corpora: Iterable[str]) -> bool:
    """Return whether any of these data sets is known, by its name, to contain sounds from Freesound."""
    return any(FROM_FREESOUND.search(corpus) for corpus in corpora)


def freesound_ids(dataset: Dataset) -> dict[str, int]:
    """Return the Freesound ids of event recordings from ATTRIBUTION.csv."""
    path = dataset.path / "ATTRIBUTION.csv"
    table = read_table(path, columns=("kind", "file", "source_url"))
    kind, file, url = (table.header.index(name) for name in ("kind", "file", "source_url"))
    numbers = {row[file]: FREESOUND.search(row[url]) for row in table.rows if row[kind] == "event"}
    ids = {name: int(match[1]) for name, match in numbers.items() if match}
    if not ids:
        raise InputError(f"{path}: names no event recording of Freesound, so there are no ids to compare")
    return ids


def read_ids(path: Path) -> set[int]:
    """Read a list of Freesound ids. Raises `InputError` if the file has no ids, or a line without one."""
    table = read_table(path, lenient=True)
    header = [name.casefold() for name in table.header]
    column = next((header.index(name) for name in ID_COLUMNS if name in header), None)
    rows = list(zip(table.lines, table.rows, strict=True))
    if column is None:
        rows.insert(0, (1, list(table.header)))
    ids = set()
    for line, row in rows:
        match = ID.fullmatch(row[column or 0])
        if match is None:
            raise InputError(
                f"{path}: line {line}: found '{row[column or 0][:40]}', expected a Freesound id such as 12345 or"
                f" 12345.wav; the column is the first, or one named {', '.join(ID_COLUMNS[:5])} or fname"
            )
        ids.add(int(match[1]))
    if not ids:
        raise InputError(f"{path}: has no ids below its header")
    return ids


def _path(workspace: Path, dataset: Dataset, encoder: str) -> Path:
    return workspace / "overlap" / dataset.name / f"{encoder}.json"
