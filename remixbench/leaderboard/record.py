"""One scored set of predictions, as it stands in metrics.json and in a submission: figures and what made them.

A record is one system on one fold at one signal-to-noise ratio with one seed. It is read from files that strangers
hand in, so every field is checked and unknown ones are refused. `draws` are the resampled figures (float32,
little-endian, base64), kept so that two systems can be compared draw by draw without their predictions.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from remixbench.errors import InputError
from remixbench.files import read_json, sha256

METRICS = "metrics.json"
DRAWN = ("micro_ap", "macro_ap", "macro_auc", "event_f1", "segment_f1", "psds1", "psds2")
"""The figures whose draws are kept: those that two systems are compared by."""

ROUNDING = 1e-9
"""How far a figure may stand over its range by the last bits of its sums."""
DEFINED = 0.5
"""The share of draws in which a figure must be defined for an interval to say anything."""

Number = Annotated[float, Field(allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _printable(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("holds characters that cannot be printed")
    return text


Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Draws = NDArray[np.float32]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Entry(_Frozen):
    """Whose figures these are.

    `kind` is "run" for a system trained here and "predictions" for a stranger's. `system` is the registered name of
    a run's system; `settings` all that a run was trained with besides SNR, fold and seed.
    """

    name: Word
    kind: Literal["run", "predictions"]
    system: Word | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    snr: Annotated[float, Field(ge=-100, le=100)]
    fold: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)] | None = None
    marks: tuple[Word, ...] = ()

    @model_validator(mode="after")
    def _named_after_its_system(self) -> Entry:
        if (self.kind == "run") != (self.system is not None):
            raise ValueError("a run has a system, predictions have none")
        if self.system is not None and self.name.split(",")[0] != self.system:
            raise ValueError(f"is a run of '{self.system}', but is named '{self.name}'")
        return self


class Made(_Frozen):
    """What the figures were made from and with."""

    remixbench: Word
    scoring_version: Word
    dataset: Word
    manifest_digest: Digest
    reference_digest: Digest
    run: Word | None = None
    predictions: dict[str, Digest]
    predictions_digest: Digest
    clips: Annotated[int, Field(ge=1)]
    groups: Annotated[int, Field(ge=1)]
    resamples: Annotated[int, Field(ge=0, le=1_000_000)]
    bootstrap_seed: Annotated[int, Field(ge=0)]


class Record(_Frozen):
    """Figures of one system on one fold, their intervals, and their origin; None where a figure is undefined."""

    format: Literal[1] = 1
    entry: Entry
    made_from: Made
    figures: dict[Word, Number | None]
    intervals: dict[Word, tuple[Number, Number] | None]
    per_class: dict[Word, dict[Word, Number | None]]
    settings: dict[str, Any]
    draws: dict[Word, str]

    @model_validator(mode="after")
    def _in_range(self) -> Record:
        for name, value in self.figures.items():
            if value is not None and (value < -ROUNDING or (value > 1 + ROUNDING and not re.search(r"_er\b", name))):
                raise ValueError(f"'{name}' is {value:g}, expected a figure in [0, 1]")
        return self

    @model_validator(mode="after")
    def _draws_fit(self) -> Record:
        for name, text in self.draws.items():
            if name not in self.figures or len(unpack(text)) != self.made_from.resamples:
                raise ValueError(f"draws of '{name}': expected {self.made_from.resamples} of a figure")
        return self

    def drawn(self, figure: str) -> Draws | None:
        """Return the draws of a figure, (resamples,), or None where it has none."""
        return unpack(self.draws[figure]) if figure in self.draws else None

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values, in the order of the fields."""
        return self.model_dump(mode="json")


def pack(draws: NDArray[np.float64]) -> str:
    """Return draws as text."""
    return base64.b64encode(draws.astype("<f4").tobytes()).decode("ascii")


def unpack(text: str) -> Draws:
    """Return the draws that `pack` wrote; ValueError where it is something else."""
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        raise ValueError("not draws of a figure") from None


def parse_record(value: Mapping[str, Any], place: str) -> Record:
    """Check a record that was read from a file.

    Raises
    ------
    InputError
        Naming `place`, the first field that is wrong, and what was expected.
    """
    try:
        return Record.model_validate_json(json.dumps(value, allow_nan=False))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "record"
        raise InputError(f"{place}: {key}: {first['msg']}; score it again") from None
    except ValueError:
        raise InputError(f"{place}: holds a number that is not finite; score it again") from None


def read_record(file: Path) -> Record:
    """Read a metrics.json; InputError where it is none."""
    return parse_record(read_json(file), str(file))


def files_digest(digests: Mapping[str, str]) -> str:
    """Return the digest of a set of prediction files: of the bytes of one file, else of names and digests together."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return sha256("".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode())
