"""Runs on disk: where each lies, what its `run.json` says, and how its files are written and read.

    <workspace>/runs/<dataset>/<system>/snr_20/fold_4/seed_0/
        run.json history.csv model.safetensors checkpoint.pt (until it is done)
        predictions/{tags.csv,frames.npz} and, where the data set has stems, maps.npz

The first run of a place gets the plain name. One of other settings, or on other data of the same name, gets
`seed_0-<8 digits of its digest>`, so that nothing is ever mixed or overwritten.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from remixbench.dataset.dataset import snr_folder
from remixbench.errors import InputError
from remixbench.files import atomic_path, read_json, write_text
from remixbench.training.loop import HISTORY_COLUMNS, Epoch
from remixbench.training.settings import RunSettings

FORMAT = 1
RUN_FILE = "run.json"
CHECKPOINT = "checkpoint.pt"
MODEL = "model.safetensors"
TAGS, FRAMES = "predictions/tags.csv", "predictions/frames.npz"
MAPS = "predictions/maps.npz"
RESULTS = (MODEL, TAGS, FRAMES)
_KEYS = {"status": str, "digest": str, "precision_used": str, "frames": int, "bands": int, "frame_seconds": float}


def run_folder(workspace: Path, dataset: str, settings: RunSettings, digest: str) -> Path:
    """Return the folder of the run with this digest: where it lies already, or where it is to be made."""
    above = workspace / "runs" / dataset / settings.folder / snr_folder(settings.snr) / f"fold_{settings.fold}"
    plain, own = above / f"seed_{settings.seed}", above / f"seed_{settings.seed}-{digest[:8]}"
    if not (plain / RUN_FILE).exists():
        return own if (own / RUN_FILE).exists() else plain
    return plain if read_json(plain / RUN_FILE).get("digest") == digest else own


def read_run(folder: Path) -> dict[str, Any]:
    """Read `run.json` of a run.

    Raises
    ------
    InputError
        If the folder is no run, one of another format, or run.json lacks what it must have.
    """
    file = folder / RUN_FILE
    if not file.is_file():
        raise InputError(f"{folder}: not a run (no {RUN_FILE}); `remixbench train` makes runs")
    info = read_json(file)
    if info.get("format") != FORMAT:
        raise InputError(f"{file}: format {info.get('format')}, this version reads format {FORMAT}; train it again")
    for key, kind in _KEYS.items():
        if not isinstance(info.get(key), kind):
            raise InputError(
                f"{file}: key '{key}' is missing or not of type {kind.__name__}; delete it and train again"
            )
    return info


def write_history(folder: Path, history: Sequence[Epoch]) -> None:
    """Write `history.csv`: a line an epoch, empty where an average precision was not looked at."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HISTORY_COLUMNS)
    for epoch in history:
        writer.writerow(["" if value is None else _shortest(value) for value in asdict(epoch).values()])
    write_text(folder / "history.csv", text.getvalue())


def write_predictions(
    folder: Path,
    filenames: Sequence[str],
    classes: Sequence[str],
    tags: NDArray[np.float32],
    frames: NDArray[np.float32],
    frame_seconds: float,
) -> None:
    """Write `predictions/tags.csv` and `predictions/frames.npz`.

    Parameters
    ----------
    tags : (clips, classes) in [0, 1].
    frames : (clips, frames, classes) in [0, 1]; frame i begins at i · `frame_seconds`.
    """
    write_tags(folder / TAGS, filenames, classes, tags)
    with atomic_path(folder / FRAMES) as beside:
        np.savez(
            beside,
            scores=frames,
            filename=np.array(filenames),
            classes=np.array(classes),
            frame_seconds=np.float64(frame_seconds),
        )


def write_tags(path: Path, filenames: Sequence[str], classes: Sequence[str], tags: NDArray[np.float32]) -> None:
    """Write clip scores (clips, classes) as CSV: `filename` and one column a class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["filename", *classes])
    for name, row in zip(filenames, tags, strict=True):
        writer.writerow([name, *(f"{score:.9g}" for score in row)])
    write_text(path, text.getvalue())


def write_checkpoint(folder: Path, digest: str, state: dict[str, Any]) -> None:
    """Write what a training needs to go on."""
    with atomic_path(folder / CHECKPOINT) as beside, beside.open("wb") as file:
        torch.save({"digest": digest, **state}, file)
        file.flush()
        os.fsync(file.fileno())  # the one before is gone as soon as this one has its name


def read_checkpoint(folder: Path, digest: str) -> dict[str, Any] | None:
    """Read the checkpoint of a run, or None where there is none. Nothing in it is executed.

    Raises
    ------
    InputError
        If it is broken or another run's.
    """
    file = folder / CHECKPOINT
    if not file.exists():
        return None
    try:
        saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        found = saved["digest"]
    except Exception as error:  # torch.load raises almost anything on a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{file}: not a checkpoint ({reason[:120]}); delete it and the run starts again") from None
    if found != digest:
        raise InputError(f"{file}: belongs to a run of other settings; delete it and the run starts again")
    return saved


def _shortest(value: float) -> str:
    return str(value) if isinstance(value, int) or not math.isfinite(value) else f"{value:.9g}"
