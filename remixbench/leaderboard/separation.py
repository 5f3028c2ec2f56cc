"""What is scored against the stems of a data set: maps, separated waveforms and ideal masks.

One clip at a time is read, separated and measured, so that memory does not grow with the number of clips. With maps,
the classes in a clip share each band of a frame, and the clip scores given with the maps say which are detected.
Waveforms are a folder `<clip>/<class>.wav`; a class without a file was not detected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.manifest import Clip
from remixbench.dataset.masks import (
    active_frames,
    apply_masks,
    class_masks,
    ideal_binary_mask,
    ideal_class_masks,
    share,
)
from remixbench.dataset.mix import FULL_SCALE, Stems
from remixbench.errors import InputError, unknown
from remixbench.files import safe_names
from remixbench.leaderboard.record import Ideal
from remixbench.parallel import Workers
from remixbench.progress import SILENT, Progress
from remixbench.scoring.clip_based import TAGGING_THRESHOLD
from remixbench.scoring.io import (
    VALIDATION,
    WAVEFORM_SUFFIXES,
    has_waveforms,
    map_files,
    read_all,
    stems_alone,
)
from remixbench.scoring.maps import read_maps
from remixbench.scoring.metrics import scored_with
from remixbench.scoring.separation import OF_CLIPS, OF_EVENTS, ClipSources, Values, measure_clip
from remixbench.scoring.types import MAP_STEPS, BoolArray, MapArray, Reference, Separation, merge_events
from remixbench.scoring.validate import clip_rows

CHUNK = 16
"""Clips that a worker measures at once."""
BACKGROUND = "background"
"""A waveform that `remixbench separate` may write beside those of the classes; not scored."""


@dataclass(frozen=True)
class ClipJob:
    """A clip to measure, and one way to separate it.

    Attributes
    ----------
    events : (class, onset, offset) of its strong labels
    maps : (classes in the clip, frames, n_mels), or None
    waveforms : files by class, or None
    ideal : the ideal mask to separate with, or None
    detected : classes that the system detects, or None where that is not known
    """

    clip: Clip
    events: tuple[tuple[int, float, float], ...]
    maps: MapArray | None = None
    waveforms: dict[int, Path] | None = None
    ideal: Ideal | None = None
    detected: tuple[int, ...] | None = None


@dataclass(frozen=True)
class AgainstStems:
    """What of one system's predictions can be scored against the stems of a data set.

    Attributes
    ----------
    maps : the maps.npz among the predictions
    folders : the folders of waveforms among them
    alone : whether maps or waveforms are all of them that is of test clips
    why_no_masks : why maps cannot be compared with ideal masks; empty if they can
    why_no_separation : why separated events cannot be measured; empty if they can
    """

    maps: tuple[Path, ...]
    folders: tuple[Path, ...]
    alone: bool
    why_no_masks: str
    why_no_separation: str

    @property
    def separated(self) -> bool:
        """Whether the predictions hold maps or waveforms."""
        return bool(self.maps or self.folders)

    @property
    def masks(self) -> bool:
        """Whether there are maps, and ideal masks to compare them with."""
        return bool(self.maps) and not self.why_no_masks

    @property
    def separation(self) -> bool:
        """Whether there are separated events, and stems to measure them against."""
        return self.separated and not self.why_no_separation

    @property
    def why_nothing(self) -> str:
        """Why nothing of the predictions can be scored; empty if something can."""
        return self.why_no_separation if self.alone and not self.masks else ""

    def lacking(self, metrics: Collection[str]) -> bool:
        """Say whether metrics were computed before the data set had the stems that they can be computed with now."""
        return (self.masks and not scored_with(metrics, "stems")) or (
            self.separation and not scored_with(metrics, "event stems")
        )


def against_stems(dataset: Dataset, reference: Reference, snr: float, paths: Sequence[Path]) -> AgainstStems:
    """Return what of one system's predictions for a fold at an SNR can be scored against the stems of a data set."""
    maps, folders = tuple(map_files(paths)), tuple(filter(has_waveforms, paths))
    return AgainstStems(
        maps=maps,
        folders=folders,
        alone=bool(maps or folders) and all(stems_alone(path) or path.name == VALIDATION for path in paths),
        why_no_masks=_why_no_stems(dataset, snr),
        why_no_separation=why_no_separation(dataset, reference, snr) if maps or folders else "",
    )


def why_no_separation(dataset: Dataset, reference: Reference, snr: float) -> str:
    """Say why separation cannot be scored against the stems of a data set; empty if it can."""
    if why := _why_no_stems(dataset, snr):
        return why
    if dataset.info.stem_kind == "sum" and (clip := _overlapping(reference)) is not None:
        return (
            f"events overlap in clip {reference.filenames[clip]}, and the stems have one channel for all events;"
            " `remixbench make --stems events` writes one per event"
        )
    return ""


def _why_no_stems(dataset: Dataset, snr: float) -> str:
    if float(snr) in map(float, dataset.info.stems):
        return ""
    return (
        f"maps and waveforms need stems, which {dataset.path} lacks at {snr:g} dB; `remixbench make --stems` writes"
        " them"
    )


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


def separation_of(
    dataset: Dataset, reference: Reference, snr: float, paths: Sequence[Path], workers: Workers, progress: Progress
) -> Separation | None:
    """Measure how well a system's maps or waveforms separate the events of a fold; None where there are neither.

    Where the data set has no stems to compare with, that is reported, and the result is None as well. InputError if
    both are given, or either is not usable.
    """
    stems = against_stems(dataset, reference, snr, paths)
    if not stems.separation:
        if stems.separated:
            progress.say(f"{paths[0]}: separation left blank: {stems.why_no_separation}")
        return None
    maps = stems.maps
    if len(maps) + len(stems.folders) > 1:
        first, second, *_ = (*maps, *stems.folders)
        raise InputError(f"{second}: holds separated classes, as does {first}; leave one out")
    plain = jobs_of(dataset, reference)
    if maps:
        size = (dataset.recipe.frames, dataset.recipe.features.n_mels)
        masks = read_maps(maps[0], reference, size)
        edges = np.searchsorted(masks.clip, np.arange(len(plain) + 1))
        scores = read_all(paths, reference).clip_scores
        thresholds = TAGGING_THRESHOLD if masks.thresholds is None else masks.thresholds
        detected = None if scores is None else scores >= thresholds
        jobs = [
            replace(
                job,
                maps=masks.maps[edges[row] : edges[row + 1]],
                detected=None if detected is None else tuple(np.flatnonzero(detected[row]).tolist()),
            )
            for row, job in enumerate(plain)
        ]
    else:
        files = find_waveforms(stems.folders[0], reference)
        jobs = [
            replace(job, waveforms=waveforms, detected=tuple(waveforms))
            for job, waveforms in zip(plain, files, strict=True)
        ]
    return measure(dataset, snr, jobs, workers, progress)


def ideal_separation(
    dataset: Dataset, reference: Reference, snr: float, ideal: Ideal, workers: Workers, progress: Progress = SILENT
) -> Separation:
    """Measure how well an ideal mask separates the events of a fold, all classes known."""
    jobs = [
        replace(job, ideal=ideal, detected=tuple(sorted({label for label, _, _ in job.events})))
        for job in jobs_of(dataset, reference)
    ]
    return measure(dataset, snr, jobs, workers, progress)


def jobs_of(dataset: Dataset, reference: Reference) -> list[ClipJob]:
    """Return the clips of a reference and their events; touching events of a class share a stem and are merged."""
    clips = dict(zip(dataset.filenames, dataset.clips, strict=True))
    events = merge_events(reference.events)
    of_clip: list[list[tuple[int, float, float]]] = [[] for _ in reference.filenames]
    for clip, label, onset, offset in zip(events.clip, events.label, events.onset, events.offset, strict=True):
        of_clip[clip].append((int(label), float(onset), float(offset)))
    return [ClipJob(clips[name], tuple(times)) for name, times in zip(reference.filenames, of_clip, strict=True)]


def measure(
    dataset: Dataset, snr: float, jobs: Sequence[ClipJob], workers: Workers, progress: Progress = SILENT
) -> Separation:
    """Separate and measure clips in parallel."""
    absolute = replace(dataset, path=dataset.path.absolute())
    chunks = [jobs[first : first + CHUNK] for first in range(0, len(jobs), CHUNK)]
    of_events: list[Values] = []
    of_clips: list[Values] = []
    with progress.bar("Separating", len(jobs), "clips") as advance:
        tasks = ((absolute, snr, chunk) for chunk in chunks)
        for chunk, measured in zip(chunks, workers.run(measure_clips, tasks, len(chunks)), strict=True):
            for values_of_events, values_of_clip in measured:
                of_events += values_of_events
                of_clips.append(values_of_clip)
            advance(len(chunk))
    events = [(row, label) for row, job in enumerate(jobs) for label, _, _ in job.events]
    clip, label = np.array(events, np.int64).reshape(-1, 2).T
    all_detected = all(job.detected is not None for job in jobs)
    return Separation(
        clip,
        label,
        {name: np.array([values[name] for values in of_events], np.float64) for name in OF_EVENTS},
        {name: np.array([values[name] for values in of_clips], np.float64) for name in OF_CLIPS if all_detected},
    )


def measure_clips(dataset: Dataset, snr: float, jobs: Sequence[ClipJob]) -> list[tuple[list[Values], Values]]:
    """Measure some clips, one after another; errors as in `read_sources` and `read_waveform`."""
    return [_measure(dataset, snr, job) for job in jobs]


def _measure(dataset: Dataset, snr: float, job: ClipJob) -> tuple[list[Values], Values]:
    features, rate = dataset.recipe.features, dataset.recipe.mix.sample_rate
    sources = read_sources(dataset, snr, job)
    if job.waveforms is not None:
        estimates = {label: read_waveform(file, rate, len(sources.mixture)) for label, file in job.waveforms.items()}
    elif job.ideal == "mixture":
        estimates = dict.fromkeys(sources.labels, sources.mixture)
    elif not sources.labels:
        estimates = {}
    else:
        if job.ideal is not None:
            rest = sources.mixture - sources.signals.sum(axis=0)
            masks = ideal_class_masks(sources.signals, rest, features, rate, job.ideal)
        else:
            assert job.maps is not None
            masks = share(job.maps.astype(np.float32) / np.float32(MAP_STEPS))
        waveforms = apply_masks(sources.mixture, rate, masks, features, rate)
        estimates = dict(zip(sources.labels, waveforms, strict=True))
    return measure_clip(sources, estimates, job.detected)


def read_sources(dataset: Dataset, snr: float, job: ClipJob) -> ClipSources:
    """Read the stems of a clip by class, at the level that they have in the mixture (half that of the file).

    Where the stems have one channel for all events, a class has it from onset to offset of its events.

    InputError if a file is missing, not readable or altered.
    """
    rate = dataset.recipe.mix.sample_rate
    channels = dataset.stems(job.clip, snr).astype(np.float32) * np.float32(0.5 / FULL_SCALE)
    labels = tuple(sorted({label for label, _, _ in job.events}))
    events = tuple(
        (labels.index(label), round(onset * rate), round(offset * rate)) for label, onset, offset in job.events
    )
    signals = np.zeros((len(labels), channels.shape[1]), np.float32)
    if dataset.info.stem_kind == "events":
        column = {name: k for k, name in enumerate(dataset.classes)}
        for event, channel in zip(job.clip.events, channels[:-1], strict=True):
            if column[event.label] in labels:  # an inaudible event has no strong label
                signals[labels.index(column[event.label])] += channel
    else:
        for place, first, last in events:
            signals[place, first:last] = channels[0, first:last]
    return ClipSources(labels, signals, channels.sum(axis=0), events)


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
        channels = dataset.stems(files[name], snr)
        event_sum = channels[:-1].sum(axis=0, dtype=np.int32).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        stems = Stems(event_sum, np.ascontiguousarray(channels[-1]))
        masks[done : done + len(labels)] = class_masks(ideal_binary_mask(stems, features, rate), active[:, labels])
        done += len(labels)
    return masks


def find_waveforms(folder: Path, reference: Reference) -> list[dict[int, Path]]:
    """Return the waveforms of each clip of a reference, by class, from a folder `<clip>/<class>.wav`.

    InputError if a folder is not a clip of the fold, a clip has no folder, or a file does not name a class or repeats
    one.
    """
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    places = [f"folder {path.name}" for path in folders]
    rows = clip_rows([path.name for path in folders], reference.filenames, str(folder), places)
    waveforms: list[dict[int, Path] | None] = [None] * len(reference.filenames)
    for path, row in zip(folders, rows.tolist(), strict=True):
        if waveforms[row] is not None:
            raise InputError(f"{path}: clip '{reference.filenames[row]}' appears twice; keep one")
        waveforms[row] = dict(_by_class(path, reference))
    missing = [name for name, files in zip(reference.filenames, waveforms, strict=True) if files is None]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of the fold's {len(waveforms)} clips missing, first '{missing[0]}'; give every"
            " clip a folder, an empty one where nothing is detected"
        )
    return [files or {} for files in waveforms]


def _by_class(folder: Path, reference: Reference) -> Iterator[tuple[int, Path]]:
    labels = {name: label for label, name in safe_names((*reference.classes, BACKGROUND)).items()}
    seen: set[str] = set()
    for file in sorted(folder.iterdir()):
        label = labels.get(file.stem, file.stem)
        if file.name.startswith(".") or (label == BACKGROUND and BACKGROUND not in reference.classes):
            continue
        if file.suffix.lower() not in WAVEFORM_SUFFIXES:
            raise InputError(f"{file}: expected <class>.wav or <class>.flac; leave it out")
        if label not in reference.classes:
            raise InputError(f"{file}: {unknown('class', label, reference.classes)}")
        if label in seen:
            raise InputError(f"{file}: a second file of class '{label}'; keep one")
        seen.add(label)
        yield reference.classes.index(label), file


def read_waveform(path: Path, rate: int, samples: int) -> NDArray[np.float32]:
    """Read a separated waveform, (samples,).

    InputError if it is not audio, has another rate, length or number of channels than the clip, or holds NaN or
    infinity.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            if (file.samplerate, file.frames, file.channels) != (rate, samples, 1):
                raise InputError(
                    f"{path}: {file.frames} samples at {file.samplerate} Hz, {file.channels} channel(s); expected"
                    f" {samples} at {rate} Hz, 1 channel, as the clip has"
                )
            waveform: NDArray[np.float32] = file.read(dtype="float32")
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{path}: not readable as audio ({error}); write it as WAV or FLAC") from None
    if not np.isfinite(waveform).all():
        raise InputError(f"{path}: holds NaN or infinite samples; write finite ones, or leave the class out")
    return waveform
