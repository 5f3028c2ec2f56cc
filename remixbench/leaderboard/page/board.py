"""The leaderboard's JSON as the page reads it: what `remixbench.leaderboard.data` writes, checked field by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from remixbench.errors import InputError
from remixbench.files import read_json

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Figure(_Part):
    """One figure of a row, with what is known of how sure it is."""

    value: Number
    low: Number | None = None
    high: Number | None = None
    spread: Number | None = None
    best: bool = False
    difference: Number | None = None


class Origin(_Part):
    """What one record's figures were made from and with."""

    fold: int
    seed: int | None
    run: str | None
    remixbench: str
    scoring_version: str
    manifest_digest: str
    predictions_digest: str
    clips: int
    groups: int
    resamples: int


class Column(_Part):
    """A row at one signal-to-noise ratio."""

    snr: Number
    folds: list[int]
    seeds: list[int]
    clips: int
    figures: dict[str, Figure]
    per_class: dict[str, dict[str, Number | None]]
    made_from: list[Origin]


class Row(_Part):
    """One system in one setting."""

    name: str
    kind: Literal["run", "predictions", "added"]
    system: str | None
    settings: dict[str, Any]
    marks: list[str]
    snrs: list[Column]


class PublishedFigure(_Part):
    """One figure of the literature; of a single class where `label` is given."""

    name: str
    snr: Number
    metric: str
    value: Number
    label: str | None = Field(None, alias="class")
    marks: str = ""
    source: str = ""


class DatasetFacts(_Part):
    """What the figures are on, and why published ones may not stand beside them if so."""

    name: str
    manifest_digest: str
    comparable: bool
    not_comparable: list[str]


class Board(_Part):
    """The whole leaderboard."""

    format: Literal[1]
    dataset: DatasetFacts
    scoring_version: str
    rows: list[Row]
    published: list[PublishedFigure]
    left_out: list[str]


def read_board(file: Path) -> Board:
    """Read a leaderboard's JSON.

    Raises
    ------
    InputError
        If it is missing, or not what this version writes; the first wrong field is named.
    """
    if not file.is_file():
        raise InputError(f"{file}: no leaderboard yet; `remixbench score` writes it")
    try:
        return Board.model_validate_json(json.dumps(read_json(file), allow_nan=False))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{file}: {key}: {first['msg']}; not a leaderboard of this version, run `remixbench score` again"
        ) from None
    except ValueError as error:
        raise InputError(f"{file}: holds what is no number ({error}); run `remixbench score` again") from None
