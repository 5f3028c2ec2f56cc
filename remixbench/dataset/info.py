"""dataset.json: what a data set is and how it was made. Edited files are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from remixbench.errors import InputError
from remixbench.files import read_json, sha256, write_json
from remixbench.recipe import Decibels, Recipe
from remixbench.schemas import first_problem
from remixbench.sources.catalogue import MAX_LABEL, label_problem

FORMAT = 2
REMEDY = "restore the file, or make the data set again"
NAME = re.compile(r"[^/\\\x00-\x1f\x7f\ud800-\udfff]{1,100}")
LABEL_FILES = ("labels/strong.tsv", "labels/weak.tsv", "labels/durations.tsv", "labels/levels.csv")
FILES = (
    *LABEL_FILES, "ATTRIBUTION.csv", "NOTICE.txt", "recordings.csv", "digests.csv", "logmel_digests.csv",
    "stems_digests.csv",
)  # fmt: skip
"""The small files whose digests are in dataset.json. NOTICE.txt exists if a source requires one, the last two with
log-mel and with stems."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
AudioFormat = Literal["wav", "flac"]
StemKind = Literal["sum", "events"]


def check_dataset_name(name: str) -> str:
    """Return the name of a data set, which is also the name of its folder.

    Raises `ValueError` if it is not 1 to 100 printable characters without path separators.
    """
    if not NAME.fullmatch(name) or name in (".", ".."):
        raise ValueError("expected the name of a folder, of 1 to 100 characters")
    return name


class DatasetInfo(BaseModel):
    """The content of dataset.json.

    Attributes
    ----------
    created, made : when the data set was first finished, and when it was last extended; ISO 8601
    snrs, features, stems : SNRs (dB) with mixtures, with log-mel and with stems
    stem_kind : channels of the stems: `sum` (all events, scene) or `events` (one per event, scene)
    source_digests : SHA-256 of the tables of `scenes` and `events`
    files : SHA-256 of the small files
    versions : versions of remixbench, Python and libraries that first made the data set
    versions_added : versions by SNR folder, for SNRs added later with other versions
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[2] = 2
    name: str
    created: str = ""
    made: str
    comparable: bool
    not_comparable: tuple[str, ...]
    snrs: tuple[Decibels, ...]
    features: tuple[Decibels, ...] = ()
    stems: tuple[Decibels, ...] = ()
    stem_kind: StemKind = "sum"
    audio_format: AudioFormat
    clips: Annotated[int, Field(ge=1)]
    folds: tuple[Annotated[int, Field(ge=1)], ...]
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    manifest_digest: Digest
    source_digests: dict[str, str] = {}
    files: dict[str, Digest] = {}
    versions: dict[str, str] = {}
    versions_added: dict[str, dict[str, str]] = {}
    recipe: Recipe

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, value: str) -> str:
        return check_dataset_name(value)

    @field_validator("classes")
    @classmethod
    def _labels_are_sorted(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("expected labels in order, each once")
        for label in value:
            if problem := label_problem(label):
                raise ValueError(f"label {label[:MAX_LABEL]!r} {problem}")
        return value

    @field_validator("snrs", "features", "stems")
    @classmethod
    def _snrs_ascend(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError(f"expected ascending values, each once, found {list(value)}")
        return value

    @field_validator("files")
    @classmethod
    def _files_are_known(cls, value: dict[str, str]) -> dict[str, str]:
        if extra := sorted(set(value) - set(FILES)):
            raise ValueError(f"'{extra[0]}' is not a file of a data set")
        return value


def read_info(folder: Path) -> DatasetInfo:
    """Read the dataset.json of a data set."""
    file = folder / "dataset.json"
    if not file.is_file():
        raise InputError(f"{folder}: not a finished data set (no dataset.json); `remixbench make` makes one")
    content = read_json(file, remedy=REMEDY)
    if content.get("format") != FORMAT:
        raise InputError(
            f"{file}: format {content.get('format')!r}, this version reads format {FORMAT}; make the data set again"
        )
    digest = content.pop("digest", None)
    try:
        info = DatasetInfo.model_validate_json(json.dumps(content))
    except (ValidationError, ValueError) as error:
        problem = first_problem(error, DatasetInfo) if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{file}: {problem}; {REMEDY}") from None
    if digest != info_digest(content):
        raise InputError(f"{file}: was edited since it was written (its keys do not fit its 'digest'); {REMEDY}")
    return info


def write_info(folder: Path, info: DatasetInfo) -> None:
    """Write dataset.json with a digest over its keys."""
    content = info.model_dump(mode="json")
    write_json(folder / "dataset.json", content | {"digest": info_digest(content)})


def info_digest(content: dict[str, Any]) -> str:
    """Return the digest of all keys except the times, so that data sets of the same content agree."""
    timeless = {key: value for key, value in content.items() if key not in ("created", "made")}
    return sha256(json.dumps(timeless, sort_keys=True).encode())
