"""Runs on disk as training leaves them, with scores that are drawn instead of learned."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from remixbench.dataset.dataset import Dataset, snr_folder
from remixbench.files import file_sha256, read_json, write_sealed, write_text
from remixbench.progress import Silent


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def tags_text(dataset: Dataset, fold: int, *, noise: float, seed: int) -> str:
    """A tags.csv of scores that know the truth, but for noise."""
    rows = np.flatnonzero(dataset.folds == fold)
    draw = np.random.default_rng(seed)
    scores = np.clip(0.25 + 0.5 * dataset.weak[rows] + draw.normal(0, noise, (len(rows), len(dataset.classes))), 0, 1)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["filename", *dataset.classes])
    for row, line in zip(rows, scores, strict=True):
        writer.writerow([dataset.filenames[row], *(f"{score:.6f}" for score in line)])
    return text.getvalue()


def write_frames(dataset: Dataset, fold: int, file: Path, *, seed: int) -> None:
    """A frames.npz of scores that are high where an event is, but for noise."""
    rows = np.flatnonzero(dataset.folds == fold)
    recipe, draw = dataset.recipe, np.random.default_rng(seed)
    scores = draw.uniform(0, 0.6, (len(rows), recipe.frames, len(dataset.classes)))
    place = {dataset.filenames[row]: index for index, row in enumerate(rows)}
    for name, onset, offset, label in dataset.strong():
        if name in place:
            frames = slice(round(onset / recipe.frame_seconds), round(offset / recipe.frame_seconds))
            scores[place[name], frames, dataset.classes.index(label)] += 0.35
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        file,
        scores=scores.astype(np.float32),
        filename=np.array([dataset.filenames[row] for row in rows]),
        classes=np.array(dataset.classes),
        frame_seconds=recipe.frame_seconds,
    )


def about_run(dataset: Dataset) -> dict[str, Any]:
    """The part of run.json that says nothing of how a run was trained."""
    recipe = dataset.recipe
    return {
        "format": 3, "status": "done", "dataset": dataset.name, "manifest_digest": dataset.manifest_digest,
        "audio_digest": dataset.audio_digest, "not_comparable": list(dataset.not_comparable), "digest": "0" * 64,
        "package": None, "started": "2026-01-01T00:00:00+00:00", "device": "cpu", "versions": {},
        "frames": recipe.frames, "n_mels": recipe.features.n_mels, "frame_seconds": recipe.frame_seconds,
        "classes": list(dataset.classes),
    }  # fmt: skip


def fake_run(
    workspace: Path,
    dataset: Dataset,
    system: str = "gap",
    *,
    snr: float = 0.0,
    fold: int = 4,
    seed: int = 0,
    noise: float = 0.3,
    frames: bool = False,
    place: str | None = None,
    variant: str | None = None,
    **info: Any,
) -> Path:
    """Write a finished run; `info` overrides what its run.json says."""
    folder = workspace / "runs" / dataset.name / (variant or system) / snr_folder(snr) / f"fold_{fold}"
    folder /= place or f"seed_{seed}"
    draws = sum(map(ord, f"{system}{variant}{place}{snr}{fold}{seed}"))
    write_text(folder / "predictions" / "tags.csv", tags_text(dataset, fold, noise=noise, seed=draws))
    if frames:
        write_frames(dataset, fold, folder / "predictions" / "frames.npz", seed=draws)
    says = {
        **about_run(dataset),
        "system": system,
        "options": {},
        "alpha": 0.001 if system.endswith("aux") else 0.0,
        "fraction": 1.0,
        "snr": snr,
        "fold": fold,
        "seed": seed,
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.003,
        "width": 0.25,
        "select": "validation",
        "precision": "auto",
    }
    says |= info
    write_sealed(folder / "run.json", {"flags": flags_of(says)} | says)
    return folder


def flags_of(settings: dict[str, Any]) -> list[dict[str, str]]:
    """The flags that training writes for a part of the clips, or an epoch not chosen on validation clips."""
    texts = {
        "test-epoch": "epoch chosen on the test fold" if settings["select"] == "paper" else "",
        "last-epoch": "last epoch kept, none chosen" if settings["select"] == "last" else "",
        "fraction": f"trained on {settings['fraction']:g} of the training clips" if settings["fraction"] < 1 else "",
    }
    return [{"code": code, "text": text} for code, text in texts.items() if text]


def accept_results(folder: Path) -> None:
    """Let run.json say that weights and predictions are as they are now, as another training would."""
    info = read_json(folder / "run.json")
    del info["content_digest"]
    write_sealed(
        folder / "run.json", info | {"results": {name: file_sha256(folder / name) for name in info["results"]}}
    )
