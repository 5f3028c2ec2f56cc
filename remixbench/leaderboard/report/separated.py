"""Separated sounds of the page: what the maps of some runs take out of a clip, beside the stem of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.features import logmel
from remixbench.dataset.masking import apply_masks, share
from remixbench.leaderboard.evaluate import map_files
from remixbench.leaderboard.report.encoding import encode_logmel, encode_sound
from remixbench.leaderboard.separation import ClipJob, jobs_of, read_sources, why_no_separation
from remixbench.plots.axes import DB_PER_NEPER
from remixbench.plots.view import ClipView
from remixbench.scoring.io_maps import read_maps
from remixbench.scoring.separation import Signal
from remixbench.scoring.types import MAP_STEPS, MapArray, Reference


@dataclass(frozen=True)
class ClipMaps:
    """The maps of a run for the classes that are in a clip, in the order of the classes.

    Attributes
    ----------
    row : the run's row in the leaderboard
    maps : (classes in the clip, frames, n_mels)
    """

    row: int
    maps: MapArray


def read_clip_maps(
    runs: Sequence[tuple[int, Path]], dataset: Dataset, reference: Reference, filename: str
) -> list[ClipMaps]:
    """Read the maps of one clip from the predictions of each run that has some.

    Raises
    ------
    InputError
        If a maps.npz is not usable.
    """
    size = (dataset.recipe.frames, dataset.recipe.features.n_mels)
    clip = reference.filenames.index(filename)
    found = []
    for row, folder in runs:
        for file in map_files([folder / "predictions"]):
            read = read_maps(file, reference, size)
            found.append(ClipMaps(row, read.maps[read.clip == clip].copy()))  # a view would keep the maps of all clips
    return found


def separate_view(
    dataset: Dataset, reference: Reference, view: ClipView, maps: Sequence[ClipMaps]
) -> list[dict[str, Any]]:
    """Return for each class of a clip its stem and what each run takes out of the mixture, as sound and log-mel.

    The classes of the clip share each band of a frame, as in the scores. A data set without stems at this SNR, or with
    stems that do not tell overlapping events apart, has no stem here.

    Raises
    ------
    InputError
        If a stem is missing or broken.
    """
    if not maps:
        return []
    job = jobs_of(dataset, reference)[reference.filenames.index(dataset.filenames[view.row])]
    stems = _stems(dataset, reference, view.snr, job)
    features, rate = dataset.recipe.features, dataset.recipe.mix.sample_rate
    estimates = [
        (
            each.row,
            apply_masks(
                view.samples, rate, share(each.maps.astype(np.float32) / np.float32(MAP_STEPS)), features, rate
            ),
        )
        for each in maps
    ]
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
            "systems": [{"row": row, **shown(waveforms[place])} for row, waveforms in estimates],
        }
        for place, label in enumerate(sorted({label for label, _, _ in job.events}))
    ]


def _stems(dataset: Dataset, reference: Reference, snr: float, job: ClipJob) -> dict[int, Signal]:
    """Return the stems of a clip by class; none where the data set does not have them."""
    if why_no_separation(dataset, reference, snr):
        return {}
    sources = read_sources(dataset, snr, job)
    return dict(zip(sources.labels, sources.signals, strict=True))
