"""AudioFolder of Hugging Face `datasets`: a folder per SNR and split, each with a metadata.jsonl.

`datasets.load_dataset(FOLDER, "snr_20")` reads it by the `configs` of the card, one per SNR.
"""

from __future__ import annotations

import json

from remixbench.dataset.dataset import snr_folder
from remixbench.dataset.export.clips import SPLITS, Export, ExportedClip
from remixbench.files import write_text
from remixbench.progress import Progress


def write_audiofolder(export: Export, clips: dict[float, list[ExportedClip]], progress: Progress) -> None:
    """Write `snr_20/train/00000.wav` and `snr_20/train/metadata.jsonl` for every SNR and split."""
    with progress.bar("Exporting", sum(map(len, clips.values())), "clips") as advance:
        for snr, mine in clips.items():
            for split in SPLITS:
                folder = export.out / snr_folder(snr) / split
                lines = []
                for clip in (clip for clip in mine if clip.split == split):
                    export.place_audio(clip.audio, folder / clip.audio.name)
                    lines.append(json.dumps({"file_name": clip.audio.name, **clip.metadata()}, ensure_ascii=False))
                    advance(1)
                if lines:
                    write_text(folder / "metadata.jsonl", "\n".join([*lines, ""]))


def audiofolder_header(name: str, clips: dict[float, list[ExportedClip]]) -> list[str]:
    """Return the lines of the card's YAML header: the data set's name, and a config per SNR with its splits."""
    lines = ["---", "license: other", f"pretty_name: {json.dumps(name)}", "task_categories:",
             "- audio-classification", "configs:"]  # fmt: skip
    for snr, mine in clips.items():
        there = {clip.split for clip in mine}
        lines += [f"- config_name: {snr_folder(snr)}", "  data_files:"]
        for split in (split for split in SPLITS if split in there):
            lines += [f"  - split: {split}", f"    path: {snr_folder(snr)}/{split}/**"]
    return [*lines, "---"]
