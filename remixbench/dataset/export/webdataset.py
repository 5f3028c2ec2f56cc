"""WebDataset: tar shards of about 1 GB, a clip's `00000.wav` and `00000.json` one after the other."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from remixbench.dataset.dataset import snr_folder
from remixbench.dataset.export.clips import SPLITS, Export, ExportedClip
from remixbench.files import atomic_path
from remixbench.progress import Advance, Progress

SHARD_BYTES = 1_000_000_000


def write_webdataset(export: Export, clips: dict[float, list[ExportedClip]], progress: Progress) -> None:
    """Write `snr_20/train-000000.tar` and so on for every SNR and split; the same clips give the same bytes."""
    with progress.bar("Exporting", sum(map(len, clips.values())), "clips") as advance:
        for snr, of_snr in clips.items():
            for split in SPLITS:
                parts = _shards([clip for clip in of_snr if clip.split == split])
                for number, part in enumerate(parts):
                    _write_shard(export, export.out / snr_folder(snr) / f"{split}-{number:06d}.tar", part, advance)


def _shards(clips: list[ExportedClip]) -> list[list[ExportedClip]]:
    """Divide clips into shards of at most `SHARD_BYTES` of audio."""
    shards: list[list[ExportedClip]] = [[]]
    size = 0
    for clip in clips:
        file_bytes = clip.audio.stat().st_size if clip.audio.exists() else 0  # what is missing is named when it is read
        if shards[-1] and size + file_bytes > SHARD_BYTES:
            shards.append([])
            size = 0
        size += file_bytes
        shards[-1].append(clip)
    return [shard for shard in shards if shard]


def _write_shard(export: Export, path: Path, clips: list[ExportedClip], advance: Advance) -> None:
    with atomic_path(path) as beside, tarfile.open(beside, "w") as tar:
        for clip in clips:
            text = json.dumps(clip.metadata(), ensure_ascii=False)
            _add(tar, clip.audio.name, export.audio_bytes(clip))
            _add(tar, f"{clip.id}.json", text.encode("utf-8"))
            advance(1)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file without owner and time, which are not part of the data set."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
