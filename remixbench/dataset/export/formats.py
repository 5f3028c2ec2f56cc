"""The clips of an export, and the formats with audio.

AudioFolder, of Hugging Face `datasets`: a folder per SNR and split, each with its metadata. The card defines a config
per SNR, for `datasets.load_dataset(FOLDER, "snr_20")`. The metadata is JSON Lines, whose column types `datasets` infers
for each split. If a split lacks values of some type, for instance because it has no events, the metadata of that SNR is
Parquet, which states the types.

WebDataset: tar shards of about 1 GB, with `00000.wav` and `00000.json` of a clip next to each other.

Lhotse: recordings, supervisions (one per event) and cuts (one per clip) as JSONL, per SNR and split.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remixbench.dataset.dataset import Dataset, snr_folder
from remixbench.dataset.splits import splits
from remixbench.errors import InputError
from remixbench.files import atomic_path, write_text
from remixbench.progress import Advance, Progress
from remixbench.tables import read_table

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Export:
    """The request: a data set and an output folder; `fold` is the test fold, `link` hard-links audio."""

    dataset: Dataset
    out: Path
    fold: int
    link: bool

    def audio_bytes(self, clip: ExportedClip) -> bytes:
        """Return the audio file of a clip. Raises `InputError` if the file is missing or its samples were altered."""
        return self.dataset.audio_bytes(clip.id, clip.snr)

    def place_audio(self, clip: ExportedClip, target: Path) -> None:
        """Copy the audio file of a clip, or hard-link it if requested and possible; raises like `audio_bytes`."""
        data = self.audio_bytes(clip)
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.link:
            try:
                os.link(clip.audio, target)
                return
            except OSError:  # another file system: copy instead
                pass
        target.write_bytes(data)


@dataclass(frozen=True)
class ExportedEvent:
    """An event of a clip: onset and offset in seconds, and the SNR measured in the stems in dB (None if silent)."""

    onset: float
    offset: float
    label: str
    snr: float | None

    def fields(self) -> tuple[object, ...]:
        """Return the event as fields of a table, in which a missing SNR is blank."""
        return self.onset, self.offset, self.label, "" if self.snr is None else self.snr


@dataclass(frozen=True)
class ExportedClip:
    """A clip at one SNR: its audio file, split and labels."""

    id: str
    snr: float
    audio: Path
    split: str
    fold: int
    scene: str
    labels: tuple[str, ...]
    events: tuple[ExportedEvent, ...]
    duration: float

    def metadata(self) -> dict[str, Any]:
        """Return the labels as an object for JSON."""
        return {
            "labels": list(self.labels),
            "events": [
                {"onset": event.onset, "offset": event.offset, "label": event.label, "snr_db": event.snr}
                for event in self.events
            ],
            "scene": self.scene,
            "fold": self.fold,
            "duration": self.duration,
        }


def exported_clips(dataset: Dataset, snr: float, fold: int) -> list[ExportedClip]:
    """Return the clips of all splits at `snr` dB when `fold` is tested, in order.

    Clips that are in no split, as they share recordings with the validation part, are left out.
    """
    rows = splits(dataset, fold)
    split_of = {int(row): split for split in SPLITS for row in rows[split]}
    strong = defaultdict(list)
    for name, onset, offset, label in dataset.strong():
        strong[name].append((onset, offset, label))
    levels = _levels(dataset, snr)
    durations = dataset.durations()
    exported = []
    for row, split in sorted(split_of.items()):
        clip, name = dataset.clips[row], dataset.filenames[row]
        # strong.tsv has the events of a clip in this order
        order = [event.index for event in sorted(clip.events, key=lambda event: (event.onset, event.index))]
        events = tuple(
            ExportedEvent(*times, levels.get((clip.id, index)))
            for times, index in zip(strong[name], order, strict=True)
        )
        labels = tuple(label for label, present in zip(dataset.classes, dataset.weak[row], strict=True) if present)
        exported.append(
            ExportedClip(
                clip.id, snr, dataset.audio_path(clip, snr), split, clip.fold, clip.scene_label, labels, events,
                float(durations[row]),
            )
        )  # fmt: skip
    return exported


def _levels(dataset: Dataset, snr: float) -> dict[tuple[str, int], float | None]:
    """Return the measured SNR of each event, by clip and index of the event."""
    path = dataset.path / "labels" / "levels.csv"
    if "labels/levels.csv" not in dataset.info.files:
        return {}
    table = read_table(path, columns=("clip_id", "snr", "event_index", "achieved_db"), separator=",")
    return {
        (row["clip_id"], int(row["event_index"])): float(row["achieved_db"]) if row["achieved_db"] else None
        for _, row in table.records()
        if float(row["snr"]) == snr
    }


EVENT_TYPES = {"onset": "float64", "offset": "float64", "label": "string", "snr_db": "float64"}
TYPES: dict[str, Any] = {
    "labels": ["string"], "events": [EVENT_TYPES], "scene": "string", "fold": "int64", "duration": "float64",
}  # fmt: skip
"""Types of the metadata, as `datasets` and pyarrow name them; a list has elements of the type in it."""


def write_audiofolder(export: Export, clips: dict[float, list[ExportedClip]], progress: Progress) -> None:
    """Write `snr_20/train/00000.wav` and `snr_20/train/metadata.jsonl` for every SNR and split.

    Raises `InputError` if a split has no events and pyarrow, which writes Parquet, is not installed.
    """
    parts = list(_parts(clips))
    untyped = {snr for snr, _, part in parts if not any(map(_has_all_types, part))}
    if untyped:
        _require_pyarrow(min(untyped))
    with progress.bar("Exporting", sum(map(len, clips.values())), "clips") as advance:
        for snr, split, part in parts:
            folder = export.out / snr_folder(snr) / split
            for clip in part:
                export.place_audio(clip, folder / clip.audio.name)
                advance(1)
            # types are inferred from the first rows, so a row with all types must come first
            part.sort(key=lambda clip: clip is not next(filter(_has_all_types, part), None))
            rows = [{"file_name": clip.audio.name, **clip.metadata()} for clip in part]
            if snr in untyped:
                _write_parquet(folder / "metadata.parquet", rows)
            else:
                _write_jsonl(folder / "metadata.jsonl", rows)


def _parts(clips: dict[float, list[ExportedClip]]) -> Iterator[tuple[float, str, list[ExportedClip]]]:
    """Yield SNR, split and clips of every split that has any."""
    for snr, of_snr in clips.items():
        for split in SPLITS:
            if part := [clip for clip in of_snr if clip.split == split]:
                yield snr, split, part


def _write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _has_all_types(clip: ExportedClip) -> bool:
    return any(event.snr is not None for event in clip.events)


def _require_pyarrow(snr: float) -> None:
    try:
        import pyarrow.parquet  # noqa: F401 - only to see whether it is installed
    except ImportError:
        raise InputError(
            f"--format audiofolder: at {snr:g} dB a split has no events, which takes metadata in Parquet; install"
            " pyarrow (pip install 'remixbench[export]'), or choose another --fold or --format"
        ) from None


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def arrow_type(kind: Any) -> Any:
        if isinstance(kind, dict):
            return pa.struct({name: arrow_type(part) for name, part in kind.items()})
        return pa.list_(arrow_type(kind[0])) if isinstance(kind, list) else getattr(pa, kind)()

    schema = pa.schema({name: arrow_type(kind) for name, kind in {"file_name": "string", **TYPES}.items()})
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), temporary)


def audiofolder_header(name: str, licence: str, clips: dict[float, list[ExportedClip]]) -> list[str]:
    """Return the YAML header of the card: name, licence, and a config per SNR with its splits and features."""
    lines = ["---", f"license: {licence}", f"pretty_name: {json.dumps(name)}", "task_categories:",
             "- audio-classification", "configs:"]  # fmt: skip
    for snr, of_snr in clips.items():
        present = {clip.split for clip in of_snr}
        lines += [f"- config_name: {snr_folder(snr)}", "  data_files:"]
        for split in (split for split in SPLITS if split in present):
            lines += [f"  - split: {split}", f"    path: {snr_folder(snr)}/{split}/**"]
    lines.append("dataset_info:")
    for snr in clips:
        lines += [f"- config_name: {snr_folder(snr)}", "  features:", *_yaml_types({"audio": "audio", **TYPES}, "  ")]
    return [*lines, "---"]


def _yaml_types(types: dict[str, Any], indent: str) -> Iterator[str]:
    for name, kind in types.items():
        yield f"{indent}- name: {name}"
        if not isinstance(kind, list):
            yield f"{indent}  dtype: {kind}"
        elif isinstance(kind[0], dict):
            yield f"{indent}  list:"
            yield from _yaml_types(kind[0], indent + "  ")
        else:
            yield f"{indent}  list: {kind[0]}"


def write_lhotse(export: Export, clips: dict[float, list[ExportedClip]], progress: Progress) -> None:
    """Write `snr_20/train_recordings.jsonl`, `..._supervisions.jsonl` and `..._cuts.jsonl` for every SNR and split.

    Audio is referenced by its absolute path in the data set; with `link` it is hard-linked into `snr_20/audio`.
    """
    mix = export.dataset.recipe.mix
    with progress.bar("Exporting", sum(map(len, clips.values())), "clips") as advance:
        for snr, split, part in _parts(clips):
            folder = export.out / snr_folder(snr)
            rows: dict[str, list[dict[str, Any]]] = {"recordings": [], "supervisions": [], "cuts": []}
            for clip in part:
                audio = clip.audio
                if export.link:
                    audio = folder / "audio" / clip.audio.name
                    export.place_audio(clip, audio)
                else:
                    export.audio_bytes(clip)  # refuses an altered file
                recording = {
                    "id": f"{clip.id}-{snr_folder(snr)}",
                    "sources": [{"type": "file", "channels": [0], "source": str(audio.resolve())}],
                    "sampling_rate": mix.sample_rate,
                    "num_samples": mix.samples,
                    "duration": mix.samples / mix.sample_rate,
                    "channel_ids": [0],
                }
                supervisions = _supervisions(clip, str(recording["id"]))
                rows["recordings"].append(recording)
                rows["supervisions"] += supervisions
                rows["cuts"].append(_cut(clip, recording, supervisions))
                advance(1)
            for kind, entries in rows.items():
                _write_jsonl(folder / f"{split}_{kind}.jsonl", entries)


def _supervisions(clip: ExportedClip, recording: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{recording}-{index}",
            "recording_id": recording,
            "start": event.onset,
            "duration": round(event.offset - event.onset, 6),
            "channel": 0,
            "text": event.label,
            "custom": {"label": event.label, "snr_db": event.snr},
        }
        for index, event in enumerate(clip.events)
    ]


def _cut(clip: ExportedClip, recording: dict[str, Any], supervisions: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": recording["id"],
        "start": 0,
        "duration": recording["duration"],
        "channel": 0,
        "supervisions": supervisions,
        "recording": recording,
        "custom": {"labels": list(clip.labels), "scene": clip.scene, "fold": clip.fold},
        "type": "MonoCut",
    }


SHARD_BYTES = 1_000_000_000


def write_webdataset(export: Export, clips: dict[float, list[ExportedClip]], progress: Progress) -> None:
    """Write `snr_20/train-000000.tar` etc. for every SNR and split; the bytes are reproducible."""
    with progress.bar("Exporting", sum(map(len, clips.values())), "clips") as advance:
        for snr, split, part in _parts(clips):
            for number, shard in enumerate(_shards(part)):
                _write_shard(export, export.out / snr_folder(snr) / f"{split}-{number:06d}.tar", shard, advance)


def _shards(clips: list[ExportedClip]) -> list[list[ExportedClip]]:
    """Divide clips into shards of at most `SHARD_BYTES` of audio."""
    shards: list[list[ExportedClip]] = [[]]
    size = 0
    for clip in clips:
        # a missing file is reported when it is read
        file_bytes = clip.audio.stat().st_size if clip.audio.exists() else 0
        if shards[-1] and size + file_bytes > SHARD_BYTES:
            shards.append([])
            size = 0
        size += file_bytes
        shards[-1].append(clip)
    return shards


def _write_shard(export: Export, path: Path, clips: list[ExportedClip], advance: Advance) -> None:
    with atomic_path(path) as temporary, tarfile.open(temporary, "w") as tar:
        for clip in clips:
            text = json.dumps(clip.metadata(), ensure_ascii=False)
            _add(tar, clip.audio.name, export.audio_bytes(clip))
            _add(tar, f"{clip.id}.json", text.encode("utf-8"))
            advance(1)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file without owner and time, so that the bytes are reproducible."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
