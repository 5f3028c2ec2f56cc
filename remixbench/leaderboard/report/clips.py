"""Clips of the page: audio, spectrogram, reference, frame scores and separated classes on one time axis.

Audio is Ogg Vorbis, arrays bytes (0 to 255) in base64, so that twelve clips fit into a page of 5 MB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.leaderboard.evaluate import read_fold_reference
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.report.encoding import encode_bytes, encode_logmel, encode_sound
from remixbench.leaderboard.report.learning_curves import runs_of
from remixbench.leaderboard.report.separated import read_clip_maps, separate_view
from remixbench.plots.axes import DB_PER_NEPER, SHOWN_DB, Scales
from remixbench.plots.view import ClipView, view_clip
from remixbench.progress import SILENT, Progress
from remixbench.recipe import format_snr
from remixbench.scoring.io import MAX_FRAME_RATE
from remixbench.scoring.npz import name_bytes, read_npz, strings

SOUND_BYTES = 3_500_000
"""All sounds of a page together, with the log-mel of those that are separated, in base64; where they would be more,
separated ones are left out, then stems."""
SEPARATED_CLIPS = 1
"""How many clips of each SNR have separated sounds."""
OTHER_CLASSES = 2
"""How many classes that are not in a clip are shown with it: those with the highest frame scores."""
DECIMALS = 4


@dataclass(frozen=True)
class RunScores:
    """Frame scores of a run on some clips, in [0, 1], (clips, frames, classes)."""

    row: int
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Choice:
    """Clips at one SNR, and their frame scores by several runs."""

    snr: float
    rows: list[int]
    scored: list[RunScores] = field(default_factory=list)


def explore(
    leaderboard: Leaderboard, dataset: Dataset, workspace: Path, count: int, progress: Progress = SILENT
) -> list[dict[str, Any]]:
    """Return `count` clips for the page: evenly spaced over the fold that most runs were tested on, the SNRs in turn.

    Raises
    ------
    InputError
        If a clip's audio or a run's frame scores are broken.
    """
    tested: dict[tuple[float, int], list[tuple[int, Path]]] = {}
    for run in runs_of(leaderboard, workspace):
        if run.info.get("manifest_digest") == dataset.manifest_digest and run.snr in dataset.snrs:
            tested.setdefault((run.snr, run.fold), []).append((run.row, run.folder))
    fold = max(
        {fold for _, fold in tested} or set(dataset.manifest.folds),
        key=lambda fold: (sum(len(runs) for (_, each), runs in tested.items() if each == fold), fold),
    )
    snrs = sorted({snr for snr, each in tested if each == fold} or set(dataset.snrs), reverse=True)
    reference = read_fold_reference(dataset, fold).reference
    inside = np.flatnonzero(dataset.folds == fold)
    chosen = inside[np.linspace(0, len(inside) - 1, min(count, len(inside))).round().astype(int)]
    shown = []
    with progress.bar("Drawing", len(chosen), "clips") as advance:
        for place, snr in enumerate(snrs):
            choice = Choice(snr, [int(row) for row in chosen[place :: len(snrs)]])
            runs = _first_of_each(tested.get((snr, fold), []))
            for row, folder in runs:
                choice.scored.append(RunScores(row, read_frames(folder, dataset, choice.rows)))
            for at, row in enumerate(choice.rows):
                view = view_clip(dataset, row, snr)
                shown.append(_clip(dataset, view, choice.scored, at))
                if at < SEPARATED_CLIPS:
                    maps = read_clip_maps(runs, dataset, reference, dataset.filenames[row])
                    shown[-1]["separated"] = separate_view(dataset, reference, view, maps)
                advance(1)
    _fit(shown)
    return shown


def _first_of_each(runs: Sequence[tuple[int, Path]]) -> list[tuple[int, Path]]:
    """Keep one run of each row: the first seed's."""
    first: dict[int, Path] = {}
    for row, folder in runs:
        first.setdefault(row, folder)
    return list(first.items())


def read_frames(folder: Path, dataset: Dataset, rows: Sequence[int]) -> NDArray[np.float32]:
    """Return a run's frame scores of some of the data set's clips, on the log-mel's frames: (clips, frames, classes).

    Raises
    ------
    InputError
        If they are missing or not of this data set.
    """
    file = folder / "predictions" / "frames.npz"
    clips, classes = dataset.weak.shape
    scores_bytes = math.ceil(clips * classes * dataset.recipe.mix.duration * MAX_FRAME_RATE * 8)
    sizes = {"scores": scores_bytes, "filename": name_bytes(clips), "classes": name_bytes(classes), "frame_seconds": 64}
    try:
        saved = read_npz(file, sizes)
        names, labels = strings(saved["filename"]), tuple(strings(saved["classes"]))
        if labels != dataset.classes:
            raise ValueError("its classes are not the data set's")
        scores: NDArray[np.float32] = saved["scores"][[names.index(dataset.filenames[row]) for row in rows]]
        step = float(saved["frame_seconds"])
        if not (step > 0 and scores.shape[1]):
            raise ValueError(f"{scores.shape[1]} frames, {step:g} s apart")
    except (IndexError, TypeError, ValueError) as error:
        raise InputError(f"{file}: not frame scores of '{dataset.name}' ({error}); train the run again") from None
    return Scales.of(dataset.recipe).hold(scores, step)


def _clip(dataset: Dataset, view: ClipView, scored: Sequence[RunScores], at: int) -> dict[str, Any]:
    scales = view.scales
    places, names = scales.ticks()
    loudest = float(view.logmel.max()) * DB_PER_NEPER
    labels = _labels(dataset.classes, view, [each.scores[at] for each in scored])
    columns = [dataset.classes.index(label) for label in labels]
    sounds = {"mixture": encode_sound(view.samples, view.rate)}
    if view.stems is not None:
        sounds |= {"events": encode_sound(view.stems[0], view.rate), "scene": encode_sound(view.stems[1], view.rate)}
    return {
        "id": view.id,
        "fold": view.fold,
        "snr": view.snr,
        "snr_text": format_snr(view.snr, dataset.recipe.mix.snr_offsets),
        "scene": view.scene,
        "duration": scales.duration,
        "span": [round(edge, 6) for edge in scales.span],
        "centre": scales.first_centre,
        "step": scales.frame_seconds,
        "frames": scales.frames,
        "bands": scales.n_mels,
        "hertz": [[round(float(place), DECIMALS), name] for place, name in zip(places, names, strict=True)],
        "loudest": round(loudest, 1),
        "range": SHOWN_DB,
        "logmel": encode_logmel(view.logmel, loudest),
        "events": [
            {"label": bar.label, "onset": bar.onset, "offset": bar.offset, "snr": bar.achieved} for bar in view.bars
        ],
        "labels": labels,
        "scores": [{"row": each.row, "values": encode_bytes(each.scores[at][:, columns].T)} for each in scored],
        "sounds": sounds,
        "separated": [],
        "separated_left_out": False,
        "stems_left_out": False,
    }


def _labels(classes: Sequence[str], view: ClipView, frames: Sequence[NDArray[np.float32]]) -> list[str]:
    """Return the classes of a clip, then those others that any system scores highest."""
    labels = list(view.labels)
    if frames:
        peaks = np.max([scores.max(axis=0) for scores in frames], axis=0)
        others = [classes[k] for k in np.argsort(-peaks, kind="stable") if classes[k] not in labels]
        labels += others[:OTHER_CLASSES]
    return labels


def _fit(clips: Sequence[dict[str, Any]]) -> None:
    """Leave out the separated sounds of the last clips, then their stems, where all sounds together are too large."""
    total = sum(_size(clip["sounds"]) + _size(clip["separated"]) for clip in clips)
    for clip in reversed(clips):
        if total > SOUND_BYTES and clip["separated"]:
            total -= _size(clip["separated"])
            clip |= {"separated": [], "separated_left_out": True}
    for clip in reversed(clips):
        if total > SOUND_BYTES:
            stems = {name: clip["sounds"].pop(name) for name in ("events", "scene") if name in clip["sounds"]}
            total -= _size(stems)
            clip["stems_left_out"] = bool(stems)


def _size(encoded: Any) -> int:
    """Return the length of all texts in nested lists and dicts."""
    if isinstance(encoded, str):
        return len(encoded)
    inner = encoded.values() if isinstance(encoded, dict) else encoded if isinstance(encoded, list) else ()
    return sum(map(_size, inner))
