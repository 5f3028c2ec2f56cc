"""What is scored against the stems of a data set: which predictions need them, whether they are there, ideal masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.manifest import Clip
from remixbench.dataset.masks import active_frames, class_masks, ideal_binary_mask
from remixbench.dataset.mix import FULL_SCALE, Stems
from remixbench.errors import InputError
from remixbench.leaderboard.record import has_waveforms
from remixbench.scoring.io import holds_scores
from remixbench.scoring.io_maps import MAPS
from remixbench.scoring.types import BoolArray, Reference, merge_events


def map_files(paths: Sequence[Path]) -> list[Path]:
    """Return the maps.npz among files and folders of predictions."""
    return [
        file
        for path in paths
        for file in [path / MAPS if path.is_dir() else path]
        if file.name == MAPS and file.exists()
    ]


def stems_alone(path: Path) -> bool:
    """Say whether predictions are maps or waveforms only, which are scored against the stems alone."""
    if path.is_dir():
        return (has_waveforms(path) or (path / MAPS).is_file()) and not holds_scores(path)
    return path.name == MAPS


def has_stems(dataset: Dataset, snr: float) -> bool:
    """Say whether a data set has stems at an SNR."""
    return float(snr) in map(float, dataset.info.stems)


def no_stems(dataset: Dataset, snr: float) -> str:
    """Say why maps and waveforms cannot be scored on a data set."""
    return (
        f"maps and waveforms need stems, which {dataset.path} lacks at {snr:g} dB; `remixbench make --stems` writes"
        " them"
    )


def why_not_compared(dataset: Dataset, snr: float) -> str:
    """Say why maps or waveforms were not compared with stems."""
    if not has_stems(dataset, snr):
        return no_stems(dataset, snr)
    return (
        f"waveforms need stems of single events where events overlap, and those of {dataset.path} have one channel for"
        " all events; `remixbench make --stems events` writes them"
    )


def why_no_separation(dataset: Dataset, reference: Reference, snr: float) -> str:
    """Say why separation cannot be scored against the stems of a data set; empty if it can."""
    if not has_stems(dataset, snr):
        return no_stems(dataset, snr)
    if dataset.info.stem_kind == "sum" and (clip := _overlapping(reference)) is not None:
        return (
            f"events overlap in clip {reference.filenames[clip]}, and the stems have one channel for all events;"
            " `remixbench make --stems events` writes one per event"
        )
    return ""


def _overlapping(reference: Reference) -> int | None:
    """Return the first clip in which events of two classes overlap."""
    events = merge_events(reference.events)
    order = np.lexsort((events.onset, events.clip))
    clip, onset, offset = events.clip[order], events.onset[order], events.offset[order]
    end, before = 0.0, -1
    for k in range(len(order)):
        if clip[k] != before:
            end, before = 0.0, int(clip[k])
        if onset[k] < end:
            return before
        end = max(end, float(offset[k]))
    return None


def ideal_masks(dataset: Dataset, reference: Reference, snr: float) -> BoolArray:
    """Return the ideal binary mask of every class in every clip of a reference, (pairs, frames, n_mels).

    Pairs are those of the weak labels, by clip and then class. A class has the mask of the clip's events in the frames
    in which it is active by the strong labels; where two are active at once, both have it.
    """
    recipe = dataset.recipe
    features, rate, frames = recipe.features, recipe.mix.sample_rate, recipe.frames
    files = dict(zip(dataset.filenames, dataset.clips, strict=True))
    events = reference.events
    masks = np.empty((int(reference.weak.sum()), frames, features.n_mels), bool)
    done = 0
    for row, name in enumerate(reference.filenames):
        labels = np.flatnonzero(reference.weak[row])
        if not len(labels):
            continue
        of_clip = np.flatnonzero(events.clip == row)
        times = [(float(events.onset[i]), float(events.offset[i]), int(events.label[i])) for i in of_clip]
        active = active_frames(times, len(reference.classes), features, rate, frames)
        stems = read_stems(dataset, files[name], snr)
        masks[done : done + len(labels)] = class_masks(ideal_binary_mask(stems, features, rate), active[:, labels])
        done += len(labels)
    return masks


def read_stems(dataset: Dataset, clip: Clip, snr: float) -> Stems:
    """Read a clip's stems: the events in one or more channels, which are added up, and the scene in the last.

    Raises
    ------
    InputError
        If the file is missing, altered, or of another shape.
    """
    channels = dataset.stems(clip, snr)
    shape = (1 + (len(clip.events) if dataset.info.stem_kind == "events" else 1), dataset.recipe.mix.samples)
    if channels.shape != shape:
        raise InputError(
            f"{dataset.stems_path(clip, snr)}: has channels and samples {channels.shape}, expected {shape}; delete it"
            " and run `remixbench make --stems`"
        )
    events = channels[:-1].sum(axis=0, dtype=np.int32).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return Stems(events, np.ascontiguousarray(channels[-1]))
