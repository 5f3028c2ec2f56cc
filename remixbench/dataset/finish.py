"""The last step of `make`: labels, digests, levels and dataset.json, when every clip is there."""

from __future__ import annotations

import csv
import io
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from remixbench.dataset import labels
from remixbench.dataset.dataset import FORMAT, Dataset, snr_folder
from remixbench.dataset.excerpts import StoredExcerpts
from remixbench.dataset.manifest import Manifest, number, to_csv
from remixbench.dataset.work import Work, block_count
from remixbench.errors import InputError
from remixbench.files import sha256, write_bytes, write_json
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Catalogue

LIBRARIES = ("numpy", "scipy", "librosa", "soxr", "soundfile", "pyloudnorm", "joblib")
LEVEL_DECIMALS = 3


@dataclass(frozen=True)
class Request:
    """What a data set is to be."""

    folder: Path
    recipe: Recipe
    manifest: Manifest
    not_comparable: tuple[str, ...]
    audio_format: str
    stems: bool
    features: bool
    source_digests: dict[str, str]

    def job(self) -> dict[str, Any]:
        """Return what unfinished work must agree on to be gone on with."""
        return {
            "manifest": self.manifest.digest,
            "recipe": sha256(self.audible().encode()),
            "sources": self.source_digests,
            "audio format": self.audio_format,
            "stems": self.stems,
            "features": self.features,
        }

    def audible(self) -> str:
        """Return the part of the recipe that the data set depends on."""
        heard: Any = {"scenes": True, "events": True, "plan": {"method", "max_event"}, "mix": True, "features": True}
        return self.recipe.model_dump_json(include=heard, exclude={"mix": {"snrs"}})


def existing(request: Request) -> Dataset | None:
    """Open the data set that is in the folder already, None if there is none.

    Raises
    ------
    InputError
        If it is another one than asked for.
    """
    if not (request.folder / "dataset.json").exists():
        return None
    there = Dataset.open(request.folder)
    asked = Request(**{**vars(request), "recipe": there.recipe})
    for what, same in (
        ("manifest", there.manifest_digest == request.manifest.digest),
        ("recipe", asked.audible() == request.audible()),
        ("source table", there.info.get("source_digests") == request.source_digests),
        ("audio format", there.info["audio_format"] == request.audio_format),
    ):
        if not same:
            raise InputError(
                f"{request.folder}: holds a data set of another {what} ({len(there.clips)} clips, asked for"
                f" {len(request.manifest.clips)}); choose another folder with --out, or delete this one"
            )
    return there


def fixed_files(features: bool, stems: bool) -> list[str]:
    """Return the files whose digests stand in dataset.json: labels, levels, attribution and digests."""
    names = [f"labels/{name}" for name in ("strong.tsv", "weak.tsv", "durations.tsv", "levels.csv")]
    names += ["ATTRIBUTION.csv", "digests.csv"]
    return names + ["logmel_digests.csv"] * features + ["stems_digests.csv"] * stems


def is_made(request: Request, there: Dataset | None, snr: float) -> bool:
    """Say whether all files at `snr` are there, as far as their names tell."""
    if there is None or snr not in there.snrs:
        return False
    place = request.folder / snr_folder(snr)
    kinds = ["audio", "stems"] if request.stems else ["audio"]
    names = set(there.filenames)
    if any(not (place / kind).is_dir() or not names <= set(os.listdir(place / kind)) for kind in kinds):
        return False
    return not request.features or (place / "logmel.npy").exists()


def unmade(request: Request, there: Dataset | None, snrs: Sequence[float]) -> tuple[float, ...]:
    """Return the ratios that are still to be made: those of `snrs`, or all if a file of them all was lost."""
    if there is not None and any(not (request.folder / name).is_file() for name in there.info["files"]):
        return tuple(sorted({*snrs, *there.snrs}))
    return tuple(snr for snr in snrs if not is_made(request, there, snr))


def finish(request: Request, there: Dataset | None, work: Work, events: Catalogue, snrs: Sequence[float]) -> Dataset:
    """Write what is written once per data set and make it whole."""
    folder, recipe, clips = request.folder, request.recipe, request.manifest.clips
    names = [f"{clip.id}.{request.audio_format}" for clip in clips]
    records = {snr: work.records(snr, block_count(len(clips))) for snr in snrs}
    keep = () if there is None else there.snrs
    excerpts = StoredExcerpts(work.folder / "excerpts", request.manifest.excerpts)
    seconds = {file: excerpts.facts((file, start)).seconds for file, start in request.manifest.excerpts}
    write_bytes(folder / "labels" / "strong.tsv", labels.strong(recipe, clips, names, seconds))
    write_bytes(folder / "labels" / "weak.tsv", labels.weak(clips, names))
    write_bytes(folder / "labels" / "durations.tsv", labels.durations(recipe, names))
    write_bytes(folder / "ATTRIBUTION.csv", labels.attribution(request.manifest, events))
    _merge(folder / "labels" / "levels.csv", _levels(request, records), keep)
    _merge(folder / "digests.csv", _digests(records, "pcm"), keep)
    if request.stems:
        _merge(folder / "stems_digests.csv", _digests(records, "stems"), keep)
    if request.features:
        _merge(folder / "logmel_digests.csv", _digests(records, "logmel"), keep)
        for snr in snrs:
            if work.logmel(snr).exists():  # else a run that was killed in this function has moved it
                os.replace(work.logmel(snr), folder / snr_folder(snr) / "logmel.npy")
    sweep(folder)
    write_json(folder / "dataset.json", _description(request, there, events, snrs))
    work.close(snrs)
    return Dataset.open(folder)


def sweep(folder: Path) -> None:
    """Remove what a killed process was writing beside the files of a data set; nobody else may be writing."""
    for place in (folder, folder / "manifest", folder / "labels"):
        for path in place.glob(".*.part*"):
            path.unlink(missing_ok=True)


Table = tuple[tuple[str, ...], dict[float, list[tuple[object, ...]]]]


def _levels(request: Request, records: dict[float, list[dict[str, Any]]]) -> Table:
    """Return the rows of levels.csv: for each event the target and what was measured in the stems, in dB."""
    mix = request.recipe.mix
    definition = f"{mix.level} of {mix.snr_reference}"
    clips = {clip.id: clip for clip in request.manifest.clips}
    rows: dict[float, list[tuple[object, ...]]] = {
        snr: [
            (record["clip_id"], f"{snr:.12g}", str(event.index), event.label, number(round(snr + event.snr_offset, 6)),
             "" if ratio is None else number(round(ratio, LEVEL_DECIMALS)), definition)
            for record in mine
            for event, ratio in zip(clips[record["clip_id"]].events, record["achieved"], strict=True)
        ]
        for snr, mine in records.items()
    }  # fmt: skip
    return ("clip_id", "snr", "event_index", "event_label", "target_db", "achieved_db", "target_is_on"), rows


def _digests(records: dict[float, list[dict[str, Any]]], key: str) -> Table:
    rows: dict[float, list[tuple[object, ...]]] = {
        snr: [(record["clip_id"], f"{snr:.12g}", record[key]) for record in mine] for snr, mine in records.items()
    }
    return ("clip_id", "snr", "sha256"), rows


def _merge(path: Path, table: Table, keep: Sequence[float]) -> None:
    """Write a table that has rows for each ratio, keeping the rows of the ratios `keep` that were made before."""
    header, rows = table
    merged = dict(rows)
    if path.exists():
        for row in list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))[1:]:
            if float(row[1]) in keep and float(row[1]) not in rows:
                merged.setdefault(float(row[1]), []).append(tuple(row))
    write_bytes(path, to_csv(header, [row for snr in sorted(merged) for row in merged[snr]]))


def _description(request: Request, there: Dataset | None, events: Catalogue, snrs: Sequence[float]) -> dict[str, Any]:
    before = there.info if there else {}

    def with_new(key: str, made: bool) -> list[float]:
        return sorted({*before.get(key, []), *(snrs if made else ())})

    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return {
        "format": FORMAT,
        "name": request.folder.resolve().name,
        "created": before.get("created", now),
        "made": now,
        "comparable": not request.not_comparable,
        "not_comparable": list(request.not_comparable),
        "snrs": with_new("snrs", True),
        "features": with_new("features", request.features),
        "stems": with_new("stems", request.stems),
        "audio_format": request.audio_format,
        "clips": len(request.manifest.clips),
        "folds": list(request.manifest.folds),
        "classes": list(events.labels),
        "manifest_digest": request.manifest.digest,
        "source_digests": request.source_digests,
        "files": {
            name: sha256((request.folder / name).read_bytes())
            for name in fixed_files(
                bool(with_new("features", request.features)), bool(with_new("stems", request.stems))
            )
        },
        "versions": {
            "remixbench": version("remixbench"),
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
        "recipe": request.recipe.model_dump(mode="json"),
    }
