"""Read exported data sets with the library they are for: check.py FORMAT FOLDER CONFIG [FOLDER CONFIG ...].

Runs in the environment that setup.sh makes; prints the labels of each as JSON, {split: {clip: {labels, events}}}, for
croissant without audio.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

Found = dict[str, dict[str, dict[str, Any]]]


def audiofolder(folder: Path, config: str) -> Found:
    import datasets

    # `datasets` imports torchcodec, which needs FFmpeg, even where it only passes paths of files on, as here
    encoders = types.ModuleType("torchcodec.encoders")
    encoders.AudioEncoder = None  # type: ignore[attr-defined]  # a stand-in that nothing calls
    sys.modules |= {"torchcodec": types.ModuleType("torchcodec"), "torchcodec.encoders": encoders}
    loaded = datasets.load_dataset(str(folder), config, cache_dir=str(folder.parent / "cache"))
    found: Found = {}
    for split, rows in loaded.items():
        rows = rows.cast_column("audio", datasets.Audio(decode=False))
        found[str(split)] = {
            Path(row["audio"]["path"]).name: {"labels": row["labels"], "events": [e["onset"] for e in row["events"]]}
            for row in rows
        }
    return found


def webdataset(folder: Path, config: str) -> Found:
    import webdataset

    found: Found = {}
    for shard in sorted((folder / config).glob("*.tar")):
        rows = webdataset.WebDataset(str(shard), shardshuffle=False)
        for row in rows:
            assert row["wav"][:4] == b"RIFF"
            text = json.loads(row["json"])
            split = found.setdefault(shard.name.split("-")[0], {})
            split[f"{row['__key__']}.wav"] = {"labels": text["labels"], "events": [e["onset"] for e in text["events"]]}
    return found


def lhotse(folder: Path, config: str) -> Found:
    import lhotse

    found: Found = {}
    for file in sorted((folder / config).glob("*_cuts.jsonl")):
        split = file.name.removesuffix("_cuts.jsonl")
        recordings = lhotse.RecordingSet.from_jsonl(folder / config / f"{split}_recordings.jsonl")
        cuts = lhotse.CutSet.from_jsonl(file)
        found[split] = {}
        for cut in cuts:
            assert cut.load_audio().shape == (1, cut.num_samples)
            assert recordings[cut.recording_id].num_samples == cut.num_samples
            name = Path(cut.recording.sources[0].source).name
            events = [s.start for s in cut.supervisions]
            found[split][name] = {"labels": cut.custom["labels"], "events": events}
    return found


def croissant(folder: Path, config: str) -> Found:
    import mlcroissant

    loaded = mlcroissant.Dataset(folder / "croissant.json")
    assert not loaded.metadata.issues.errors, loaded.metadata.issues.errors

    def text(value: Any) -> str:
        return value.decode() if isinstance(value, bytes) else str(value)

    found: Found = {}
    for row in loaded.records("clips"):
        labels = text(row["clips/labels"])
        entry: dict[str, Any] = {"labels": labels.split(",") if labels and labels != "nan" else [], "events": []}
        found.setdefault(text(row["clips/split"]), {})[text(row["clips/filename"])] = entry
    clips = {name: entry for split in found.values() for name, entry in split.items()}
    for row in loaded.records("events"):
        if f"snr_{float(row['events/snr']):g}" == config:
            clips[text(row["events/filename"])]["events"].append(float(row["events/onset"]))
    return found


if __name__ == "__main__":
    form, *places = sys.argv[1:]
    read = {f.__name__: f for f in (audiofolder, webdataset, lhotse, croissant)}[form]
    print(json.dumps([read(Path(place), name) for place, name in zip(places[::2], places[1::2], strict=True)]))
