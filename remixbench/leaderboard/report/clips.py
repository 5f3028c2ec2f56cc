"""Clips of the page: audio, spectrogram, reference and frame scores on one time axis.

Audio is Ogg Vorbis, arrays bytes (0 to 255) in base64, so that twelve clips fit into a page of 5 MB.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.files import check_regular
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.report.learning_curves import runs_of
from remixbench.plots.clip import ClipView, view_clip
from remixbench.plots.panels import SHOWN_DB
from remixbench.plots.scales import DB_PER_NEPER, Scales
from remixbench.progress import SILENT, Progress

SOUND_BYTES = 3_500_000
"""All sounds of a page together, in base64; stems are left out where they would go beyond."""
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
    inside = np.flatnonzero(dataset.folds == fold)
    chosen = inside[np.linspace(0, len(inside) - 1, min(count, len(inside))).round().astype(int)]
    shown = []
    with progress.bar("report", len(chosen), "clips") as advance:
        for place, snr in enumerate(snrs):
            choice = Choice(snr, [int(row) for row in chosen[place :: len(snrs)]])
            for row, folder in _first_of_each(tested.get((snr, fold), [])):
                choice.scored.append(RunScores(row, read_frames(folder, dataset, choice.rows)))
            for at, row in enumerate(choice.rows):
                shown.append(_clip(dataset, view_clip(dataset, row, snr), choice.scored, at))
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
    try:
        check_regular(file)
        with np.load(file, allow_pickle=False) as saved:
            names, classes = [str(name) for name in saved["filename"]], tuple(str(name) for name in saved["classes"])
            if classes != dataset.classes:
                raise ValueError("its classes are not the data set's")
            scores: NDArray[np.float32] = saved["scores"][[names.index(dataset.filenames[row]) for row in rows]]
            step = float(saved["frame_seconds"])
            if not (step > 0 and scores.shape[1]):
                raise ValueError(f"{scores.shape[1]} frames, {step:g} s apart")
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise InputError(f"{file}: not frame scores of '{dataset.name}' ({error}); train the run again") from None
    return Scales.of(dataset.recipe).hold(scores, step)


def _clip(dataset: Dataset, view: ClipView, scored: Sequence[RunScores], at: int) -> dict[str, Any]:
    scales = view.scales
    places, names = scales.ticks()
    loudest = float(view.logmel.max()) * DB_PER_NEPER
    shown = np.clip((view.logmel * DB_PER_NEPER - loudest) / SHOWN_DB + 1, 0, 1)
    labels = _labels(dataset.classes, view, [each.scores[at] for each in scored])
    columns = [dataset.classes.index(label) for label in labels]
    sounds = {"mixture": _ogg(view.samples, view.rate)}
    if view.stems is not None:
        sounds |= {"events": _ogg(view.stems[0], view.rate), "scene": _ogg(view.stems[1], view.rate)}
    return {
        "id": view.id,
        "fold": view.fold,
        "snr": view.snr,
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
        "logmel": _bytes(shown),
        "events": [
            {"label": bar.label, "onset": bar.onset, "offset": bar.offset, "snr": bar.achieved} for bar in view.bars
        ],
        "labels": labels,
        "scores": [{"row": each.row, "values": _bytes(each.scores[at][:, columns].T)} for each in scored],
        "sounds": sounds,
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


def _bytes(values: NDArray[Any]) -> str:
    """Return values in [0, 1] as one byte each, row after row."""
    scaled = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return base64.b64encode(np.ascontiguousarray(scaled).tobytes()).decode("ascii")


def _ogg(samples: NDArray[np.float32], rate: int) -> str:
    import soundfile

    made = io.BytesIO()
    soundfile.write(made, samples, rate, format="OGG", subtype="VORBIS")
    return base64.b64encode(fixed_serial(made.getvalue())).decode("ascii")


def fixed_serial(ogg: bytes) -> bytes:
    """Return an Ogg stream with serial number 0 in all of its pages, as libsndfile draws a random one.

    A page (RFC 3533) is a header of 27 bytes (serial number at 14, CRC at 22, number of segments at 26), the lengths
    of its segments, and these. The CRC is over the whole page with its own field zero.
    """
    stream, start = bytearray(ogg), 0
    while start < len(stream):
        segments = stream[start + 26]
        stop = start + 27 + segments + sum(stream[start + 27 : start + 27 + segments])
        stream[start + 14 : start + 18] = bytes(4)
        stream[start + 22 : start + 26] = bytes(4)
        stream[start + 22 : start + 26] = _ogg_crc(stream[start:stop]).to_bytes(4, "little")
        start = stop
    return bytes(stream)


def _ogg_crc(page: bytes | bytearray) -> int:
    crc = 0
    for byte in page:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ _CRC_TABLE[(crc >> 24) ^ byte]
    return crc


def _crc_entry(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = ((crc << 1) ^ (CRC_POLYNOMIAL if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


CRC_POLYNOMIAL = 0x04C11DB7
_CRC_TABLE = [_crc_entry(byte) for byte in range(256)]


def _fit(clips: Sequence[dict[str, Any]]) -> None:
    """Leave out the stems of the last clips where all sounds together are too large."""
    total = sum(len(sound) for clip in clips for sound in clip["sounds"].values())
    for clip in reversed(clips):
        if total <= SOUND_BYTES:
            return
        stems = {name: clip["sounds"].pop(name) for name in ("events", "scene") if name in clip["sounds"]}
        total -= sum(map(len, stems.values()))
        clip["stems_left_out"] = bool(stems)
