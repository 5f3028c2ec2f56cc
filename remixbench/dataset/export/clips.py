"""The clips of an export: file, split, labels, and the measured SNR of each event."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.splits import splits
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
