"""AudioFolder of Hugging Face `datasets`: a folder per SNR and split, each with its metadata.

`datasets.load_dataset(FOLDER, "snr_20")` reads it by the `configs` of the card, one per SNR. The metadata is JSON
Lines, whose types `datasets` infers for each split. Where a split has no value of a type, such as no event at all, it
is Parquet, which states them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remixbench.dataset.dataset import snr_folder
from remixbench.dataset.export.clips import SPLITS, Export, ExportedClip
from remixbench.errors import InputError
from remixbench.files import atomic_path, write_text
from remixbench.progress import Progress

FEATURES = """\
  features:
  - name: audio
    dtype: audio
  - name: labels
    list: string
  - name: events
    list:
    - name: onset
      dtype: float64
    - name: offset
      dtype: float64
    - name: label
      dtype: string
    - name: snr_db
      dtype: float64
  - name: scene
    dtype: string
  - name: fold
    dtype: int64
  - name: duration
    dtype: float64""".splitlines()
"""The columns, as the cards of `datasets` describe them."""


def write_audiofolder(export: Export, clips: dict[float, list[ExportedClip]], progress: Progress) -> None:
    """Write `snr_20/train/00000.wav` and `snr_20/train/metadata.jsonl` for every SNR and split.

    Raises
    ------
    InputError
        If a split has no events and pyarrow, which writes Parquet, is not installed.
    """
    splits = {(snr, split): [clip for clip in of_snr if clip.split == split] for snr, of_snr in clips.items()
              for split in SPLITS}  # fmt: skip
    untyped = {snr for (snr, split), part in splits.items() if part and not any(map(_has_all_types, part))}
    if untyped:
        _require_pyarrow(min(untyped))
    with progress.bar("Exporting", sum(map(len, clips.values())), "clips") as advance:
        for (snr, split), part in splits.items():
            folder = export.out / snr_folder(snr) / split
            for clip in part:
                export.place_audio(clip, folder / clip.audio.name)
                advance(1)
            # types are inferred from the first rows, so that one with all of them comes first
            part.sort(key=lambda clip: clip is not next(filter(_has_all_types, part), None))
            rows = [{"file_name": clip.audio.name, **clip.metadata()} for clip in part]
            if not rows:
                continue
            if snr in untyped:
                _write_parquet(folder / "metadata.parquet", rows)
            else:
                lines = [json.dumps(row, ensure_ascii=False) for row in rows]
                write_text(folder / "metadata.jsonl", "\n".join([*lines, ""]))


def _has_all_types(clip: ExportedClip) -> bool:
    return any(event.snr is not None for event in clip.events)


def _require_pyarrow(snr: float) -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise InputError(
            f"--format audiofolder: at {snr:g} dB a split has no events, which takes metadata in Parquet; install"
            " pyarrow (pip install 'remixbench[export]'), or choose another --fold or --format"
        ) from None


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    event = {"onset": pa.float64(), "offset": pa.float64(), "label": pa.string(), "snr_db": pa.float64()}
    schema = pa.schema(
        {
            "file_name": pa.string(),
            "labels": pa.list_(pa.string()),
            "events": pa.list_(pa.struct(event)),
            "scene": pa.string(),
            "fold": pa.int64(),
            "duration": pa.float64(),
        }
    )
    with atomic_path(path) as beside:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), beside)


def audiofolder_header(name: str, licence: str, clips: dict[float, list[ExportedClip]]) -> list[str]:
    """Return the lines of the card's YAML header: name, licence, and a config per SNR with its splits and features."""
    lines = ["---", f"license: {licence}", f"pretty_name: {json.dumps(name)}", "task_categories:",
             "- audio-classification", "configs:"]  # fmt: skip
    for snr, of_snr in clips.items():
        present = {clip.split for clip in of_snr}
        lines += [f"- config_name: {snr_folder(snr)}", "  data_files:"]
        for split in (split for split in SPLITS if split in present):
            lines += [f"  - split: {split}", f"    path: {snr_folder(snr)}/{split}/**"]
    lines.append("dataset_info:")
    for snr in clips:
        lines += [f"- config_name: {snr_folder(snr)}", *FEATURES]
    return [*lines, "---"]
