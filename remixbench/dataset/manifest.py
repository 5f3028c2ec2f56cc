"""The manifest: the scene and the events of each clip. Two CSV files, and a third if clips have roles.

`clips.csv`: clip_id, fold, scene_file, scene_label, scene_location; `scene_start` (seconds) if the plan draws it.
`events.csv`: clip_id, event_index, event_file, event_label, onset, max_duration; `event_start` if the plan fixes the
excerpt, `snr_offset` (dB, added to the nominal SNR) if the recipe draws levels.
`roles.csv`: clip_id, fold_1, fold_2, ...: the role of the clip (train, validation or test) when that fold is tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from remixbench.errors import InputError
from remixbench.files import read_bytes, read_sums, sha256, write_bytes
from remixbench.schemas import first_problem
from remixbench.sources.catalogue import stays_below
from remixbench.tables import format_table, parse_table

CLIP_COLUMNS = ("clip_id", "fold", "scene_file", "scene_label", "scene_location")
EVENT_COLUMNS = ("clip_id", "event_index", "event_file", "event_label", "onset", "max_duration")
ROLES = ("train", "validation", "test")
MANIFEST_FILES = ("clips.csv", "events.csv", "roles.csv")
DECIMALS = 6
"""Decimals of seconds in labels: finer than a sample, coarser than rounding errors of sums."""


ExcerptKey = tuple[str, float | None]
"""An excerpt of an event recording: its file, and its start in seconds if the manifest fixes it."""


@dataclass(frozen=True)
class Event:
    """An event of a clip: recording, onset and maximum duration; times in seconds."""

    index: int
    file: str
    label: str
    onset: float
    max_duration: float
    start: float | None = None
    snr_offset: float = 0.0


def event_seconds(event: Event, available: float, clip_seconds: float) -> float:
    """Return the duration of an event: limited by `max_duration`, by its recording and by the end of the clip.

    `available` is the duration of the recording from the start of the excerpt, in seconds.
    """
    return min(event.max_duration, available, clip_seconds - event.onset)


def event_times(event: Event, available: float, clip_seconds: float) -> tuple[float, float]:
    """Return onset and offset of an event, rounded as in the labels; arguments as for `event_seconds`."""
    offset = event.onset + event_seconds(event, available, clip_seconds)
    end = math.floor(clip_seconds * 10**DECIMALS) / 10**DECIMALS  # rounding must not exceed the clip
    return round(event.onset, DECIMALS), min(round(offset, DECIMALS), end)


@dataclass(frozen=True)
class Clip:
    """A clip: its scene and where that starts (seconds), its events by index, and its role for every tested fold."""

    id: str
    fold: int
    scene_file: str
    scene_label: str
    scene_location: str
    events: tuple[Event, ...]
    roles: tuple[str, ...] = ()
    scene_start: float = 0.0


@dataclass(frozen=True)
class Manifest:
    """All clips of a data set, in order."""

    clips: tuple[Clip, ...]

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds of the clips, ascending."""
        return tuple(sorted({clip.fold for clip in self.clips}))

    @property
    def excerpts(self) -> tuple[ExcerptKey, ...]:
        """Unique excerpts, in order of first use."""
        return tuple(dict.fromkeys((event.file, event.start) for clip in self.clips for event in clip.events))

    @property
    def event_files(self) -> tuple[str, ...]:
        """Unique event recordings, in order of first use."""
        return tuple(dict.fromkeys(event.file for clip in self.clips for event in clip.events))

    def files(self) -> dict[str, bytes]:
        """Return the content of the manifest's files by name."""
        starts = any(event.start is not None for clip in self.clips for event in clip.events)
        spread = any(event.snr_offset for clip in self.clips for event in clip.events)
        header = EVENT_COLUMNS + ("event_start",) * starts + ("snr_offset",) * spread
        rows: list[tuple[object, ...]] = []
        for clip in self.clips:
            for event in clip.events:
                row: tuple[object, ...] = (
                    clip.id, event.index, event.file, event.label, number(event.onset), number(event.max_duration)
                )  # fmt: skip
                if starts:
                    row += ("" if event.start is None else number(event.start),)
                if spread:
                    row += (number(event.snr_offset),)
                rows.append(row)
        cut = any(clip.scene_start for clip in self.clips)
        clip_rows: list[tuple[object, ...]] = [
            (c.id, c.fold, c.scene_file, c.scene_label, c.scene_location, *((number(c.scene_start),) if cut else ()))
            for c in self.clips
        ]
        files = {
            "clips.csv": format_table(CLIP_COLUMNS + ("scene_start",) * cut, clip_rows),
            "events.csv": format_table(header, rows),
        }
        if self.clips and self.clips[0].roles:
            folds = tuple(f"fold_{k + 1}" for k in range(len(self.clips[0].roles)))
            files["roles.csv"] = format_table(("clip_id", *folds), [(c.id, *c.roles) for c in self.clips])
        return files

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the files in order of their names; identifies the manifest."""
        return sha256(b"".join(f"{name}\n".encode() + data for name, data in sorted(self.files().items())))

    def first(self, clips_per_fold: int | None, folds: Sequence[int] | None = None) -> Manifest:
        """Return the first `clips_per_fold` clips of each of `folds` (None for all)."""
        for fold in folds or ():
            if fold not in self.folds:
                raise InputError(f"--fold {fold}: the manifest has folds {', '.join(map(str, self.folds))}")
        counts: dict[int, int] = {}
        clips = []
        for clip in self.clips:
            if folds and clip.fold not in folds:
                continue
            counts[clip.fold] = counts.get(clip.fold, 0) + 1
            if clips_per_fold is None or counts[clip.fold] <= clips_per_fold:
                clips.append(clip)
        for fold, count in sorted(counts.items()):
            if clips_per_fold is not None and count < clips_per_fold:
                raise InputError(f"--clips-per-fold {clips_per_fold}: fold {fold} of the manifest has {count} clips")
        return replace(self, clips=tuple(clips))


def number(value: float) -> str:
    """Format seconds or decibels with the fewest digits that are exact, and a decimal point: 0.5, 3.0."""
    return repr(float(value))


def write_manifest(manifest: Manifest, folder: Path) -> bool:
    """Write the files of a manifest and their SHA256SUMS to `folder`, unless they are there; return whether it did."""
    files = manifest.files()
    sums = "".join(f"{sha256(data)}  {name}\n" for name, data in files.items())
    files["SHA256SUMS"] = sums.encode()
    stale = [folder / name for name in MANIFEST_FILES if name not in files and (folder / name).exists()]
    altered = [name for name, data in files.items() if not _holds(folder / name, data)]
    for name in altered:
        write_bytes(folder / name, files[name])
    for path in stale:
        path.unlink()
    return bool(altered or stale)


def _holds(path: Path, data: bytes) -> bool:
    """Return whether a file has the content `data`."""
    return path.is_file() and path.read_bytes() == data


def read_manifest(folder: Path) -> Manifest:
    """Read a manifest folder and check every row; if there is a SHA256SUMS, files must match it.

    Raises `InputError` if a file is missing, malformed, or differs from its checksum.
    """
    contents = {
        name: read_bytes(folder / name) for name in MANIFEST_FILES if (folder / name).exists() or name != "roles.csv"
    }
    events: dict[str, list[Event]] = {}
    for location, row in _rows(folder / "events.csv", contents["events.csv"], EVENT_COLUMNS, _EventRow):
        index = len(events.setdefault(row.clip_id, []))
        if row.event_index != index:
            raise InputError(f"{location}: event_index is {row.event_index}, expected {index}, in order from 0")
        events[row.clip_id].append(
            Event(
                index, row.event_file, row.event_label, row.onset, row.max_duration, row.event_start, row.snr_offset
            )
        )  # fmt: skip
    roles = _roles(folder / "roles.csv", contents["roles.csv"]) if "roles.csv" in contents else {}
    clips: dict[str, Clip] = {}
    for location, clip in _rows(folder / "clips.csv", contents["clips.csv"], CLIP_COLUMNS, _ClipRow):
        name = clip.clip_id
        if name in clips:
            raise InputError(f"{location}: clip '{name}' appears twice")
        if roles:
            _check_roles(folder / "roles.csv", name, clip.fold, roles.get(name))
        clips[name] = Clip(
            name, clip.fold, clip.scene_file, clip.scene_label, clip.scene_location, tuple(events.pop(name, ())),
            roles.get(name, ()), clip.scene_start,
        )  # fmt: skip
    for file, names in (("events.csv", events), ("roles.csv", roles)):
        if absent := [name for name in names if name not in clips]:
            raise InputError(f"{folder / file}: clip '{absent[0]}' is not in clips.csv")
    if not clips:
        raise InputError(f"{folder / 'clips.csv'}: has no rows")
    _check_sums(folder, contents)
    return Manifest(tuple(clips.values()))


def _inside(name: str) -> str:
    if not stays_below(name):
        raise ValueError("expected the name of a file below its source's folder")
    return name


_File = Annotated[str, AfterValidator(_inside)]
_Number = Annotated[float, Field(gt=-1e6, lt=1e6, allow_inf_nan=False)]
_Seconds = Annotated[_Number, Field(ge=0)]


class _ClipRow(BaseModel):
    clip_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    fold: Annotated[int, Field(ge=1, lt=10**6)]
    scene_file: _File
    scene_label: str
    scene_location: str
    scene_start: _Seconds = 0.0


class _EventRow(BaseModel):
    clip_id: str
    event_index: int
    event_file: _File
    event_label: Annotated[str, Field(min_length=1)]
    onset: _Seconds
    max_duration: Annotated[_Number, Field(gt=0)]
    event_start: _Seconds | None = None
    snr_offset: _Number = 0.0


Row = TypeVar("Row", _ClipRow, _EventRow)


def _rows(path: Path, data: bytes, columns: tuple[str, ...], model: type[Row]) -> Iterator[tuple[str, Row]]:
    """Yield the place of each row, for messages, and the row; optional columns may be empty."""
    for line, fields in parse_table(path, data, columns).records():
        location = f"{path}, line {line}"
        try:
            yield location, model.model_validate({key: text for key, text in fields.items() if text or key in columns})
        except ValidationError as error:
            raise InputError(f"{location}: {first_problem(error, model)}") from None


def _check_sums(folder: Path, contents: dict[str, bytes]) -> None:
    """Check the files against SHA256SUMS, if there is one; no file may be missing on either side."""
    path = folder / "SHA256SUMS"
    if not path.exists():
        return
    sums = read_sums(path, "sha256sum")
    remedy = "restore it, or remove SHA256SUMS if the change is meant"
    for name in MANIFEST_FILES:
        if name in sums and name not in contents:
            raise InputError(f"{folder / name}: missing, although SHA256SUMS has it; {remedy}")
        if name in contents and name not in sums:
            raise InputError(f"{path}: has no digest of {name}; restore it, or remove it if the change is meant")
        if name in contents and sums[name] != sha256(contents[name]):
            raise InputError(f"{folder / name}: differs from its digest in SHA256SUMS; {remedy}")


def _roles(path: Path, data: bytes) -> dict[str, tuple[str, ...]]:
    roles = {}
    table = parse_table(path, data, ("clip_id",))
    columns = [f"fold_{k}" for k in range(1, len(table.header))]
    if list(table.header) != ["clip_id", *columns]:
        raise InputError(f"{path}: expected the columns clip_id, fold_1, fold_2, ..., found {', '.join(table.header)}")
    for line, row in table.records():
        for column in columns:
            if row[column] not in ROLES:
                raise InputError(f"{path}, line {line}: {column} is '{row[column]}', expected {', '.join(ROLES)}")
        if row["clip_id"] in roles:
            raise InputError(f"{path}, line {line}: clip '{row['clip_id']}' appears twice")
        roles[row["clip_id"]] = tuple(row[column] for column in columns)
    return roles


def _check_roles(path: Path, name: str, fold: int, roles: tuple[str, ...] | None) -> None:
    """Check that a clip is a test clip of its fold, and of no other."""
    if roles is None:
        raise InputError(f"{path}: clip '{name}' of clips.csv is missing")
    if fold > len(roles):
        raise InputError(f"{path}: column fold_{fold} is missing; clip '{name}' of clips.csv is in that fold")
    tested = [k for k, role in enumerate(roles, start=1) if role == "test"]
    if tested != [fold]:
        raise InputError(
            f"{path}: clip '{name}' is 'test' for fold {', '.join(map(str, tested)) or 'none'}, expected fold {fold}"
        )
