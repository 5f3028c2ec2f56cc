"""The clips that the page shows, and what runs make of them.

A clip has audio, spectrogram, reference, frame scores and separated classes on one time axis. Audio is Ogg Vorbis,
arrays bytes (0 to 255) in base64, so that twelve clips fit into a page of 5 MB.
"""

from __future__ import annotations

import base64
import io
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.features import logmel
from remixbench.dataset.masks import apply_masks, share
from remixbench.errors import InputError
from remixbench.leaderboard.evaluate import read_fold_reference
from remixbench.leaderboard.leaderboard import Leaderboard, runs_of
from remixbench.leaderboard.separation import jobs_of, read_sources, why_no_separation
from remixbench.plots.axes import DB_PER_NEPER, SHOWN_DB, Scales
from remixbench.plots.view import ClipView, view_clip
from remixbench.progress import Progress
from remixbench.scoring.io import MAX_FRAME_RATE, map_files
from remixbench.scoring.maps import read_maps
from remixbench.scoring.npz import name_bytes, read_npz, strings
from remixbench.scoring.separation import Signal
from remixbench.scoring.types import MAP_STEPS, MapArray, Reference

SOUND_BYTES = 3_500_000
"""The most bytes of all sounds of a page, with the log-mel of separated ones, in base64. Beyond that, separated sounds
are left out, then stems."""
SEPARATED_CLIPS = 1
"""How many clips of each SNR have separated sounds."""
OTHER_CLASSES = 2
"""How many classes that are not in a clip are shown with it: those with the highest frame scores."""
DECIMALS = 4


Scores = NDArray[np.float32]


def explore(
    leaderboard: Leaderboard, dataset: Dataset, workspace: Path, count: int, progress: Progress
) -> list[dict[str, Any]]:
    """Return `count` clips for the page: evenly spaced over the fold that most runs were tested on, the SNRs in turn.

    InputError if a clip's audio or a run's frame scores are broken.
    """
    runs: dict[tuple[float, int], dict[int, list[Path]]] = {}
    for row, system, folder, info in runs_of(leaderboard, workspace):
        if info.manifest_digest == dataset.manifest_digest and system.snr in dataset.snrs:
            runs.setdefault((system.snr, system.fold), {}).setdefault(row, []).append(folder)
    tests = Counter({fold: 0 for _, fold in runs} or dict.fromkeys(dataset.manifest.folds, 0))
    for (_, fold), folders in runs.items():
        tests[fold] += sum(map(len, folders.values()))
    fold = max(tests, key=lambda fold: (tests[fold], fold))
    snrs = sorted({snr for snr, other in runs if other == fold} or set(dataset.snrs), reverse=True)
    reference = read_fold_reference(dataset, fold).reference
    inside = np.flatnonzero(dataset.folds == fold)
    chosen = inside[np.linspace(0, len(inside) - 1, min(count, len(inside))).round().astype(int)]
    clips = []
    with progress.bar("Drawing", len(chosen), "clips") as advance:
        for index, snr in enumerate(snrs):
            rows = chosen[index :: len(snrs)].tolist()
            # of each row of the leaderboard, the run of the first seed
            first_runs = {row: folders[0] for row, folders in runs.get((snr, fold), {}).items()}
            scores = {row: read_run_frames(folder, dataset, rows) for row, folder in first_runs.items()}
            for place, clip in enumerate(rows):
                view = view_clip(dataset, clip, snr)
                clips.append(_clip(dataset, view, {row: of_clips[place] for row, of_clips in scores.items()}))
                if place < SEPARATED_CLIPS:
                    maps = read_clip_maps(first_runs, dataset, reference, dataset.filenames[clip])
                    clips[-1]["separated"] = separate_view(dataset, reference, view, maps)
                advance(1)
    _fit(clips)
    return clips


def read_run_frames(folder: Path, dataset: Dataset, rows: Sequence[int]) -> NDArray[np.float32]:
    """Return a run's frame scores of some of the data set's clips, on the log-mel's frames: (clips, frames, classes).

    InputError if they are missing or not of this data set.
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


def _clip(dataset: Dataset, view: ClipView, scores: Mapping[int, Scores]) -> dict[str, Any]:
    """Return a clip as the page draws it; `scores` are frame scores, (frames, classes), by row of the leaderboard."""
    scales = view.scales
    places, names = scales.ticks()
    loudest = float(view.logmel.max()) * DB_PER_NEPER
    labels = _labels(dataset.classes, view, list(scores.values()))
    columns = [dataset.classes.index(label) for label in labels]
    sounds = {"mixture": encode_sound(view.samples, view.rate)}
    if view.stems is not None:
        sounds |= {"events": encode_sound(view.stems[0], view.rate), "scene": encode_sound(view.stems[1], view.rate)}
    return {
        "id": view.id,
        "fold": view.fold,
        "snr": view.snr,
        "snr_text": dataset.snr_text(view.snr),
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
        "scores": [{"row": row, "values": encode_bytes(values[:, columns].T)} for row, values in scores.items()],
        "sounds": sounds,
        "separated": [],
        "separated_left_out": False,
        "stems_left_out": False,
    }


def _labels(classes: Sequence[str], view: ClipView, frames: Sequence[Scores]) -> list[str]:
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


def encode_bytes(values: NDArray[Any]) -> str:
    """Return values in [0, 1] as one byte each, row after row."""
    scaled = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return base64.b64encode(np.ascontiguousarray(scaled).tobytes()).decode("ascii")


def encode_logmel(logmel: NDArray[np.float32], loudest: float) -> str:
    """Return a log-mel as bytes: 255 for `loudest` (dB) and above, 0 for `SHOWN_DB` below it and less."""
    return encode_bytes((logmel * DB_PER_NEPER - loudest) / SHOWN_DB + 1)


def encode_sound(samples: NDArray[np.float32], rate: int) -> str:
    """Return a waveform (samples,) as Ogg Vorbis."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="OGG", subtype="VORBIS")
    return base64.b64encode(fixed_serial(file.getvalue())).decode("ascii")


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
    """Return the CRC-32 of Ogg: zlib's with the bits of bytes and result reversed, and without its inversions."""
    crc = zlib.crc32(page.translate(_BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)


_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def read_clip_maps(
    runs: Mapping[int, Path], dataset: Dataset, reference: Reference, filename: str
) -> dict[int, MapArray]:
    """Read the maps of one clip, (classes in the clip, frames, n_mels), from the predictions of each run that has some.

    InputError if a maps.npz is not usable.
    """
    size = (dataset.recipe.frames, dataset.recipe.features.n_mels)
    clip = reference.filenames.index(filename)
    maps_of_runs = {}
    for row, folder in runs.items():
        for file in map_files([folder / "predictions"]):
            read = read_maps(file, reference, size)
            # a view would keep the maps of all clips
            maps_of_runs[row] = read.maps[read.clip == clip].copy()
    return maps_of_runs


def separate_view(
    dataset: Dataset, reference: Reference, view: ClipView, maps: Mapping[int, MapArray]
) -> list[dict[str, Any]]:
    """Return for each class of a clip its stem and what each run separates, as sound and log-mel.

    The classes of the clip share each band of a frame, as in the scores. There is no stem where the data set has none
    at this SNR, or where its stems do not tell overlapping events apart.

    InputError if a stem is missing or broken.
    """
    if not maps:
        return []
    job = jobs_of(dataset, reference)[reference.filenames.index(dataset.filenames[view.row])]
    stems: dict[int, Signal] = {}
    if not why_no_separation(dataset, reference, view.snr):
        sources = read_sources(dataset, view.snr, job)
        stems = dict(zip(sources.labels, sources.signals, strict=True))
    features, rate = dataset.recipe.features, dataset.recipe.mix.sample_rate
    estimates = {
        row: apply_masks(view.samples, rate, share(values.astype(np.float32) / np.float32(MAP_STEPS)), features, rate)
        for row, values in maps.items()
    }
    loudest = float(view.logmel.max()) * DB_PER_NEPER

    def shown(samples: Signal) -> dict[str, str]:
        waveform = samples.astype(np.float32)
        return {
            "sound": encode_sound(waveform, rate),
            "logmel": encode_logmel(logmel(waveform, features, rate), loudest),
        }

    return [
        {
            "label": dataset.classes[label],
            "stem": shown(stems[label]) if label in stems else None,
            "systems": [{"row": row, **shown(waveforms[index])} for row, waveforms in estimates.items()],
        }
        for index, label in enumerate(sorted({label for label, _, _ in job.events}))
    ]
