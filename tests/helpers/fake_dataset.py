"""A data set on disk without audio: small, made at once, and with something to learn in its log-mel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from remixbench.dataset.dataset import Dataset, logmel_digest, snr_folder
from remixbench.dataset.info import DatasetInfo, write_info
from remixbench.dataset.manifest import Clip, Event, Manifest, write_manifest
from remixbench.files import sha256, write_text
from remixbench.recipe import Recipe, parse_recipe

CLASSES = ("Bark", "Bell", "Cough", "Flute", "Knock")
ONSETS = (0.25, 1.0)
LENGTH = 0.5
RECIPE: dict[str, Any] = {
    "name": "fake",
    "description": "noise with marks in it",
    "scenes": {"source": "synthetic"},
    "events": {"source": "synthetic"},
    "plan": {"clips_per_fold": 12, "polyphony": 2, "onsets": list(ONSETS), "max_event": LENGTH},
    "mix": {"sample_rate": 8000, "duration": 2.0, "snrs": [0, 20]},
    "features": {"n_fft": 512, "hop_length": 512, "n_mels": 16, "fmin": 50, "fmax": 4000},
    "training": {"epochs": 3, "batch_size": 8, "learning_rate": 0.003, "width": 0.25},
}


def fake_dataset(
    workspace: Path,
    *,
    name: str = "fake",
    clips_per_fold: int = 12,
    snrs: tuple[float, ...] = (0.0, 20.0),
    validation: bool = False,
    recordings: int = 20,
    seed: int = 0,
    training: dict[str, float] | None = None,
    hop_length: int = 512,
    made: str = "2026-01-01T00:00:00+00:00",
) -> Dataset:
    """Make `<workspace>/datasets/<name>`: four folds, two events a clip, each event a block of energy in its
    class's bands.

    With `validation` the manifest has roles: every sixth clip of the training folds is validation.
    """
    draw = np.random.default_rng(seed)
    recipe = parse_recipe(
        RECIPE
        | {"name": name, "features": RECIPE["features"] | {"hop_length": hop_length}}
        | ({"training": RECIPE["training"] | training} if training else {}),
        "fake",
    )
    clips = []
    for row in range(4 * clips_per_fold):
        fold = row // clips_per_fold + 1
        events = []
        for index, onset in enumerate(ONSETS):
            number = int(draw.integers(recordings))
            label = CLASSES[number % len(CLASSES)]
            events.append(Event(index, f"{fold}-{number:03d}.wav", label, onset, LENGTH))
        roles: tuple[str, ...] = ()
        if validation:
            roles = tuple("test" if k == fold else "validation" if row % 6 == 0 else "train" for k in (1, 2, 3, 4))
        clips.append(Clip(f"{row:05d}", fold, f"scene-{row:05d}.wav", "park", f"place-{row % 7}", tuple(events), roles))
    manifest = Manifest(tuple(clips))
    folder = workspace / "datasets" / name
    write_manifest(manifest, folder / "manifest")
    filenames = [f"{clip.id}.wav" for clip in clips]
    strong = [
        f"{file}\t{event.onset}\t{event.onset + LENGTH}\t{event.label}"
        for file, clip in zip(filenames, clips, strict=True)
        for event in clip.events
    ]
    weak = [
        f"{file}\t{','.join(sorted({event.label for event in clip.events}))}"
        for file, clip in zip(filenames, clips, strict=True)
    ]
    write_text(folder / "labels" / "strong.tsv", "\n".join(["filename\tonset\toffset\tevent_label", *strong, ""]))
    write_text(folder / "labels" / "weak.tsv", "\n".join(["filename\tevent_labels", *weak, ""]))
    write_text(
        folder / "labels" / "durations.tsv",
        "\n".join(["filename\tduration", *(f"{file}\t2.0" for file in filenames), ""]),
    )
    bands = recipe.features.n_mels
    for snr in snrs:
        noise = np.random.default_rng([seed, 1]).normal(-8, 1, (len(clips), recipe.frames, bands))
        for row, clip in enumerate(clips):
            for event in clip.events:
                start, stop = (round(t / recipe.frame_seconds) for t in (event.onset, event.onset + LENGTH))
                low = 3 * CLASSES.index(event.label)
                noise[row, start:stop, low : low + 3] += 1 + snr / 10
        path = folder / snr_folder(snr) / "logmel.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, noise.astype(np.float32))
    write_fake_info(folder, name, made, recipe, manifest, snrs)
    return Dataset.open(folder)


def write_fake_info(
    folder: Path, name: str, made: str, recipe: Recipe, manifest: Manifest, snrs: tuple[float, ...]
) -> None:
    """Write logmel_digests.csv and a dataset.json that fit the files of the folder."""
    rows = ["clip_id,snr,sha256"]
    for snr in snrs:
        logmel = np.load(folder / snr_folder(snr) / "logmel.npy")
        rows += [
            f"{clip.id},{snr:g},{logmel_digest(frames)}" for clip, frames in zip(manifest.clips, logmel, strict=True)
        ]
    write_text(folder / "logmel_digests.csv", "\n".join([*rows, ""]))
    names = ("labels/strong.tsv", "labels/weak.tsv", "labels/durations.tsv", "logmel_digests.csv")
    info = DatasetInfo(
        name=name,
        made=made,
        recipe=recipe,
        classes=CLASSES,
        manifest_digest=manifest.digest,
        snrs=snrs,
        features=snrs,
        audio_format="wav",
        comparable=False,
        not_comparable=("made up for a test",),
        clips=len(manifest.clips),
        folds=manifest.folds,
        files={file: sha256((folder / file).read_bytes()) for file in names},
    )
    write_info(folder, info)


def accept_files(dataset: Dataset) -> None:
    """Let dataset.json say that the small files are as they are now."""
    files = {name: sha256((dataset.path / name).read_bytes()) for name in dataset.info.files}
    write_info(dataset.path, dataset.info.model_copy(update={"files": files}))
