"""Time-frequency maps on disk to masks that can be scored: the ideal ones are made from the data set's stems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.masks import active_frames, class_masks, ideal_binary_mask
from remixbench.dataset.stems import Stems
from remixbench.errors import InputError
from remixbench.scoring import Masks, Reference
from remixbench.scoring.io import MAPS, read_maps
from remixbench.scoring.types import BoolArray, MapArray


def map_files(paths: Sequence[Path]) -> list[Path]:
    """Return the maps.npz among files and folders of predictions."""
    return [
        file
        for path in paths
        for file in [path / MAPS if path.is_dir() else path]
        if file.name == MAPS and file.exists()
    ]


def has_stems(dataset: Dataset, snr: float) -> bool:
    """Say whether a data set has stems at a ratio."""
    return float(snr) in map(float, dataset.info.get("stems", []))


def read_masks(
    dataset: Dataset, reference: Reference, snr: float, paths: Sequence[Path], made: dict[float, MapArray]
) -> Masks | None:
    """Read a system's maps, and make the ideal masks of their clips.

    Parameters
    ----------
    made : ideal masks of this reference by ratio, eight bins a byte, so that they are made once for all systems.

    Returns
    -------
    None where there is no maps.npz, or the data set has no stems at this ratio.

    Raises
    ------
    InputError
        If maps.npz is not usable, there are two, or a stem is missing or broken.
    """
    files = map_files(paths)
    if not files or not has_stems(dataset, snr):
        return None
    if len(files) > 1:
        raise InputError(f"{files[1]}: gives maps, and so does a file before it; leave one out")
    size = (dataset.recipe.frames, dataset.recipe.features.n_mels)
    clips, labels, maps = read_maps(files[0], reference, size)
    keep_ideals(dataset, reference, snr, made)
    ideal = np.unpackbits(made[snr], axis=-1, count=size[1]).view(np.bool_)
    return Masks(clips, labels, maps, ideal)


def keep_ideals(dataset: Dataset, reference: Reference, snr: float, made: dict[float, MapArray]) -> None:
    """Make the ideal masks at a ratio, unless `made` has them already, and put them there."""
    if snr not in made:
        made[snr] = np.packbits(ideal_masks(dataset, reference, snr), axis=-1)


def ideal_masks(dataset: Dataset, reference: Reference, snr: float) -> BoolArray:
    """Return the ideal binary mask of every class in every clip of a reference, (pairs, frames, bands).

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
        mine = np.flatnonzero(events.clip == row)
        times = [(float(events.onset[i]), float(events.offset[i]), int(events.label[i])) for i in mine]
        active = active_frames(times, len(reference.classes), features, rate, frames)
        stems = read_stems(dataset.stems_path(files[name], snr), rate, recipe.mix.samples)
        masks[done : done + len(labels)] = class_masks(ideal_binary_mask(stems, features, rate), active[:, labels])
        done += len(labels)
    return masks


def read_stems(path: Path, rate: int, samples: int) -> Stems:
    """Read a clip's stems as they were written.

    Raises
    ------
    InputError
        If the file is missing or does not hold two channels of this rate and length.
    """
    import soundfile

    remedy = "delete it and run `remixbench make --stems`"
    try:
        found, its_rate = soundfile.read(path, dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{path}: not readable as audio ({error}); {remedy}") from None
    if found.shape != (samples, 2) or its_rate != rate:
        raise InputError(f"{path}: {found.shape} at {its_rate} Hz, expected ({samples}, 2) at {rate} Hz; {remedy}")
    return Stems(np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1]))
