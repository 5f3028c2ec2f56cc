"""Predictions on disk to records on disk: what is true of a fold, what was predicted, and the figures of it.

Nothing is computed twice: a record is kept where predictions, labels, scoring version and bootstrap are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import reduce
from pathlib import Path

import numpy as np

from remixbench import __version__
from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.files import write_json
from remixbench.leaderboard.maps import has_stems, map_files, read_masks
from remixbench.leaderboard.record import DEFINED, DRAWN, METRICS, Entry, Made, Record, files_digest, pack, read_record
from remixbench.progress import SILENT, Progress
from remixbench.scoring import (
    SCORING_VERSION,
    Predictions,
    Reference,
    groups_of,
    read_predictions,
    read_reference,
    score_predictions,
)
from remixbench.scoring.io import MAPS
from remixbench.scoring.types import MapArray

BOOTSTRAP_SEED = 0
NAMED = 10
"""Up to so many files of predictions are named in a record; of more (one a clip) there is one digest together."""


@dataclass(frozen=True)
class Task:
    """One set of predictions to score: whose, which files, and the folder that its record belongs in."""

    entry: Entry
    predictions: tuple[Path, ...]
    folder: Path
    run: str | None = None


@dataclass(frozen=True)
class Truth:
    """What is true of one fold of a data set, and a digest of it."""

    reference: Reference
    digest: str
    ideals: dict[float, MapArray] = field(default_factory=dict, compare=False)
    """Ideal masks made so far, as `read_masks` keeps them."""


def truth_of(dataset: Dataset, fold: int) -> Truth:
    """Read what is true of the clips that are tested in `fold`; clips of the same recordings form a group.

    Raises
    ------
    InputError
        If the data set has no such fold, or its labels are broken.
    """
    folds = dataset.manifest.folds
    if fold not in folds:
        raise InputError(f"{dataset.path}: has no fold {fold}; it has {', '.join(map(str, folds))}")
    roles = bool(dataset.clips[0].roles)
    rows = np.flatnonzero(dataset.roles(fold) == "test" if roles else dataset.folds == fold)
    clips = [dataset.clips[row] for row in rows]
    reference = read_reference(
        dataset.path / "labels",
        [dataset.filenames[row] for row in rows],
        dataset.classes,
        groups=groups_of(tuple(sorted(event.file for event in clip.events)) or clip.id for clip in clips),
    )
    return Truth(reference, reference_digest(reference))


def reference_digest(reference: Reference) -> str:
    """Return a digest of everything that figures depend on besides the predictions.

    Names are taken without their suffix, so that the same clips as WAV and as FLAC have the same digest.
    """
    events = reference.events
    digest = hashlib.sha256()
    for name in reference.filenames:
        digest.update(Path(name).stem.encode() + b"\0")
    for label in reference.classes:
        digest.update(label.encode() + b"\0")
    for array in (reference.weak, events.clip, events.label, events.onset, events.offset, reference.durations,
                  reference.groups):  # fmt: skip
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def digests_of(paths: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of every prediction file by its name; of a folder, of the files in it, or of many together.

    Raises
    ------
    InputError
        If a file is missing or unreadable, or two have the same name.
    """
    files: dict[str, str] = {}
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.is_dir() or file.name.startswith("."):
                continue
            if file.name in files:
                raise InputError(f"{file}: two files of that name are given; give each once")
            try:
                with file.open("rb") as stream:
                    files[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise InputError(f"{file}: not readable ({error.strerror})") from None
    if not files:
        raise InputError(f"{paths[0]}: holds no predictions")
    return files if len(files) <= NAMED else {f"{len(files)} files": files_digest(files)}


def read_all(paths: Sequence[Path], reference: Reference) -> Predictions:
    """Read one system's predictions from one file or folder, or from several that express different things.

    Raises
    ------
    InputError
        If one is broken, or two express the same.
    """
    rest = [path for path in paths if path.name != MAPS]  # those are read by `read_masks`
    return reduce(lambda whole, path: _join(whole, read_predictions(path, reference), path), rest, Predictions())


def _join(first: Predictions, second: Predictions, path: Path) -> Predictions:
    joined = {}
    for each in fields(Predictions):
        here, there = getattr(first, each.name), getattr(second, each.name)
        if here is not None and there is not None:
            what = each.name.replace("_", " ")
            raise InputError(f"{path}: gives {what}, and so does a file before it; leave one out")
        joined[each.name] = there if here is None else here
    return Predictions(**joined)


def make_record(dataset: Dataset, truth: Truth, task: Task, resamples: int, digests: dict[str, str]) -> Record:
    """Score one set of predictions; a figure that few resamples define gets no interval.

    Raises
    ------
    InputError
        If they are not usable, or are maps alone and the data set has no stems to score them by.
    """
    predictions = read_all(task.predictions, truth.reference)
    snr = task.entry.snr
    masks = read_masks(dataset, truth.reference, snr, task.predictions, truth.ideals)
    if masks is None and all(path.name == MAPS for path in task.predictions):
        raise InputError(f"{task.predictions[0]}: {no_stems(dataset, snr)}")
    scores = score_predictions(truth.reference, predictions, masks=masks, bootstrap=resamples, seed=BOOTSTRAP_SEED)
    return Record(
        entry=task.entry,
        made_from=Made(
            remixbench=__version__,
            scoring_version=SCORING_VERSION,
            dataset=dataset.name,
            manifest_digest=dataset.manifest_digest,
            reference_digest=truth.digest,
            run=task.run,
            predictions=digests,
            predictions_digest=files_digest(digests),
            clips=len(truth.reference.filenames),
            groups=int(truth.reference.groups.max()) + 1,
            resamples=resamples,
            bootstrap_seed=BOOTSTRAP_SEED,
        ),
        figures=scores.values,
        intervals={
            name: ends if ends and np.mean(~np.isnan(scores.samples[name])) >= DEFINED else None
            for name, ends in scores.intervals.items()
        },
        per_class=scores.per_class,
        settings=scores.settings,
        draws={name: pack(scores.samples[name]) for name in DRAWN if name in scores.samples},
    )


def no_stems(dataset: Dataset, snr: float) -> str:
    """Say why maps cannot be scored on a data set."""
    return f"maps need stems, which {dataset.path} lacks at {snr:g} dB; `remixbench make --stems` writes them"


def kept_record(
    dataset: Dataset, truth: Truth, task: Task, resamples: int, digests: dict[str, str], progress: Progress = SILENT
) -> Record | None:
    """Return the record that lies there if it is still that of these predictions, else None.

    A record of a run that was moved, or of predictions that got another name, is written anew with the new one.
    """
    file = task.folder / METRICS
    old = _readable(file)
    snr, maps = task.entry.snr, map_files(task.predictions)
    if maps and not has_stems(dataset, snr):
        progress.say(f"{maps[0]}: left blank: {no_stems(dataset, snr)}")
    elif maps and old is not None and "mask_f1" not in old.figures:  # scored before there were stems
        old = None
    if old is not None and _same(old.made_from, dataset, truth, resamples, files_digest(digests)):
        if old.entry == task.entry and old.made_from.run == task.run:
            return old
        made = old.made_from.model_copy(update={"run": task.run})
        record = old.model_copy(update={"entry": task.entry, "made_from": made})
        write_json(file, record.as_json())
        return record
    if old is not None and task.run is None and old.made_from.predictions_digest != files_digest(digests):
        entry = task.entry
        progress.say(f"'{entry.name}' at {entry.snr:g} dB, fold {entry.fold}: other predictions than before; replaced")
    return None


def write_record(dataset: Dataset, truth: Truth, task: Task, resamples: int, digests: dict[str, str]) -> Record:
    """Score one set of predictions and write its metrics.json; errors as of `make_record`."""
    record = make_record(dataset, truth, task, resamples, digests)
    write_json(task.folder / METRICS, record.as_json())
    return record


def _readable(file: Path) -> Record | None:
    """Return a record, or None where there is none or it is broken (it is then made anew)."""
    try:
        return read_record(file) if file.is_file() else None
    except InputError:
        return None


def _same(made: Made, dataset: Dataset, truth: Truth, resamples: int, predictions: str) -> bool:
    return (
        made.scoring_version == SCORING_VERSION
        and made.manifest_digest == dataset.manifest_digest
        and made.reference_digest == truth.digest
        and made.predictions_digest == predictions
        and (made.resamples, made.bootstrap_seed) == (resamples, BOOTSTRAP_SEED)
    )
