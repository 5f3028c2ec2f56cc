"""A corpus so small that a data set of it is made in a fraction of a second, and what tests do with data sets.

The files have the layout, table and formats of the two published sources (stereo 24-bit scenes, mono 16-bit
events, other rates than the recipe's), and hold noise and tones.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

TAU = "TAU-urban-acoustic-scenes-2019-development"
FSD_TABLE = "FSDKaggle2018/FSDKaggle2018.meta/train_post_competition.csv"
FSD_AUDIO = "FSDKaggle2018/FSDKaggle2018.audio_train"
LABELS = ("Bark", "Cough", "Gong", "Knock")
SCENES = ("bus", "park", "tram")
SCENE_RATE, EVENT_RATE = 12000, 11025
SCENE_SECONDS = 2.0
EVENT_SECONDS = (0.2, 0.45, 0.7, 1.1)

# as released but for the sizes: 4 folds of 6 clips, so that blocks of eight end in the middle of folds
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "description": "noise and tones for tests",
    "scenes": {"source": "tau2019"},
    "events": {"source": "fsdkaggle2018", "verified_only": True},
    "plan": {"clips_per_fold": 6, "onsets": [0.1, 0.7, 1.3], "max_event": 0.5},
    "mix": {"sample_rate": 8000, "duration": 2.0, "snrs": [0, 10]},
    "features": {"n_fft": 256, "hop_length": 128, "n_mels": 12, "fmin": 50, "fmax": 4000},
}
STRICT: dict[str, Any] = {
    "name": "tiny-strict",
    "description": "noise and tones for tests, levels of the audible excerpt",
    "scenes": {"source": "tau2019"},
    "events": {"source": "fsdkaggle2018", "verified_only": True},
    "plan": {
        "method": "grouped", "seed": 7, "clips_per_fold": 6, "onsets": "drawn", "max_event": 0.5, "validation": 0.34,
    },
    "mix": {
        "sample_rate": 8000, "duration": 2.0, "snrs": [0, 10], "excerpt": "loudest", "snr_reference": "excerpt",
        "quantisation": "round",
    },
    "features": {"n_fft": 256, "hop_length": 128, "n_mels": 12, "fmin": 50, "fmax": 4000},
}  # fmt: skip


def changed(recipe: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a copy of a recipe with changes such as `plan__polyphony=2`."""
    out = copy.deepcopy(recipe)
    for key, value in changes.items():
        *sections, last = key.split("__")
        place = out
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return out


def write_recipe(folder: Path, recipe: dict[str, Any]) -> Path:
    path = folder / f"{recipe['name']}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def write_corpus(sources: Path, seed: int = 0) -> Path:
    """Write 18 scenes from 9 places and 48 events of 4 labels, of which 40 are verified, below `sources`."""
    draw = np.random.default_rng(seed)
    rows = ["filename\tscene_label\tidentifier\tsource_label"]
    (sources / TAU / "audio").mkdir(parents=True)
    for number in range(18):
        label, place = SCENES[number % 3], f"town-{number % 9}"
        name = f"{label}-{place}-{number:03d}-a.wav"
        noise = draw.normal(0, 0.05, (int(SCENE_RATE * SCENE_SECONDS), 2))
        soundfile.write(sources / TAU / "audio" / name, noise, SCENE_RATE, subtype="PCM_24")
        rows.append(f"audio/{name}\t{label}\t{place}\ta")
    (sources / TAU / "meta.csv").write_text("\n".join([*rows, ""]))

    table = sources / FSD_TABLE
    table.parent.mkdir(parents=True)
    (sources / FSD_AUDIO).mkdir(parents=True)
    lines = ["fname,label,manually_verified,freesound_id,license"]
    for number in range(48):
        name, label = f"{number:08x}.wav", LABELS[number % 4]
        seconds = EVENT_SECONDS[(number // 4) % 4]
        time = np.arange(int(EVENT_RATE * seconds)) / EVENT_RATE
        fade = np.exp(-3 * np.abs(time - draw.uniform(0, seconds)) / seconds)
        tone = fade * (np.sin(2 * np.pi * draw.uniform(200, 3000) * time) + draw.normal(0, 0.3, len(time)))
        soundfile.write(sources / FSD_AUDIO / name, 0.4 * tone / np.abs(tone).max(), EVENT_RATE, subtype="PCM_16")
        licence = "Attribution" if number % 2 else "Creative Commons 0"
        # pairs of one label within 100 of each other count as one origin
        origin = 1000 * (number // 8) + 40 * ((number // 4) % 2) + 100_000 * (number % 4)
        lines.append(f"{name},{label},{int(number % 6 != 5)},{origin},{licence}")
    table.write_text("\n".join([*lines, ""]))
    return sources


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a data set's folder as bytes, without what dataset.json says of the time."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if "dataset.json" in files:
        info = json.loads(files["dataset.json"])
        del info["made"], info["created"]
        files["dataset.json"] = json.dumps(info).encode()
    return files


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Return the names of the files that two trees do not share byte for byte."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
