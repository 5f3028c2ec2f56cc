"""Lhotse manifests: recordings, supervisions (an event each) and cuts (a clip each) as JSONL, per SNR and split."""

from __future__ import annotations

import json
from typing import Any

from remixbench.dataset.dataset import snr_folder
from remixbench.dataset.export.clips import SPLITS, Export, ExportedClip
from remixbench.files import write_text
from remixbench.progress import Progress


def write_lhotse(export: Export, clips: dict[float, list[ExportedClip]], progress: Progress) -> None:
    """Write `snr_20/train_recordings.jsonl`, `..._supervisions.jsonl` and `..._cuts.jsonl` for every SNR and split.

    Audio is named where it is in the data set, by absolute path; with `link` it is linked into `snr_20/audio`.
    """
    mix = export.dataset.recipe.mix
    with progress.bar("Exporting", sum(map(len, clips.values())), "clips") as advance:
        for snr, of_snr in clips.items():
            folder = export.out / snr_folder(snr)
            for split in SPLITS:
                rows: dict[str, list[dict[str, Any]]] = {"recordings": [], "supervisions": [], "cuts": []}
                for clip in (clip for clip in of_snr if clip.split == split):
                    audio = clip.audio
                    if export.link:
                        audio = folder / "audio" / clip.audio.name
                        export.place_audio(clip, audio)
                    else:
                        export.audio_bytes(clip)  # refuses what was altered
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
                    if rows["cuts"]:
                        lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
                        write_text(folder / f"{split}_{kind}.jsonl", "\n".join([*lines, ""]) if lines else "")


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
