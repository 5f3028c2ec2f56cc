"""From predictions on disk to a record: read the reference of a fold, read the predictions, compute all metrics.

Nothing is computed twice: a record is kept where predictions, labels, scoring version and bootstrap are the same.
Predictions of the same system under other conditions are its probes, which have a few metrics of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from remixbench import __version__
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.probes import PROBES, Probe
from remixbench.errors import InputError
from remixbench.files import file_sha256
from remixbench.leaderboard.prediction_files import (
    digests_of,
    files_digest,
    files_named,
    joined,
    map_files,
    read_all,
    read_parts,
    stems_alone,
)
from remixbench.leaderboard.record import (
    METRICS_FILE,
    Cost,
    ProbeRecord,
    Provenance,
    Record,
    SystemInfo,
    pack,
    read_record,
    write_record,
)
from remixbench.leaderboard.separation import has_stems, ideal_masks, no_stems, why_not_compared
from remixbench.progress import SILENT, Progress
from remixbench.scoring.bootstrap import make_bootstrap
from remixbench.scoring.bounding_boxes import tune
from remixbench.scoring.clip_based import frame_average_precision, rank_pairs, ranked_average_precision
from remixbench.scoring.evaluate import score_predictions
from remixbench.scoring.io import VALIDATION, read_maps, read_predictions, read_reference, read_validation
from remixbench.scoring.metrics import SCORING_VERSION, paired_metrics, scored_with
from remixbench.scoring.types import (
    DECIMALS,
    BoolArray,
    Inputs,
    MapArray,
    Masks,
    Predictions,
    Reference,
    SebbParameters,
    Separation,
    reference_digest,
)

BOOTSTRAP_SEED = 0
METRIC = "micro_ap"
"""The metric that probes are compared by; it has bootstrap samples."""


@dataclass(frozen=True)
class ProbePredictions:
    """The predictions of the probes of one run or third party.

    Attributes
    ----------
    shifts : seconds by which the test clips were rolled; None where the shift probe was not made.
    files : file or folder of predictions under each condition, ("shift", seconds) or ("snr", dB).
    """

    shifts: tuple[float, ...] | None = None
    files: Mapping[tuple[Probe, float], Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One set of predictions to score: whose it is, its files, the folder of its record, and its probes.

    `results` are the digests of a run's predictions in run.json, by file name.
    """

    system: SystemInfo
    predictions: tuple[Path, ...]
    folder: Path
    run: str | None = None
    cost: Cost = field(default_factory=Cost)
    probes: ProbePredictions | None = None
    results: Mapping[str, str] = field(default_factory=dict)

    def absolute(self) -> Task:
        """Return the task with absolute paths."""
        probes = self.probes
        if probes is not None:
            probes = replace(probes, files={condition: path.absolute() for condition, path in probes.files.items()})
        predictions = tuple(path.absolute() for path in self.predictions)
        return replace(self, predictions=predictions, folder=self.folder.absolute(), probes=probes)

    def check_results(self, digests: Mapping[str, str]) -> None:
        """Refuse predictions of a run that were altered since it was trained.

        Parameters
        ----------
        digests : of files that were read already, by name.

        Raises
        ------
        InputError
            Naming the first file whose digest is not that in run.json.
        """
        for name, digest in self.results.items():
            file = self.predictions[0] / name
            if file.exists() and (digests.get(name) or file_sha256(file)) != digest:
                raise InputError(
                    f"{file}: differs from its digest in run.json; restore it, or train again with --rerun"
                )


@dataclass(frozen=True)
class FoldReference:
    """The reference of one fold of a data set, its digest, and the ideal masks made so far (see `add_ideal_masks`)."""

    reference: Reference
    digest: str
    ideal_masks: dict[float, MapArray] = field(default_factory=dict, compare=False)


def read_fold_reference(dataset: Dataset, fold: int) -> FoldReference:
    """Read the reference of the clips that are tested in `fold`.

    Raises
    ------
    InputError
        If the data set has no such fold, or its labels are broken.
    """
    rows = dataset.test_rows(fold)
    clips = [dataset.clips[row] for row in rows]
    reference = read_reference(
        dataset.path / "labels",
        [dataset.filenames[row] for row in rows],
        dataset.classes,
        recordings=[[event.file for event in clip.events] for clip in clips],
    )
    _check_labels(dataset, reference, dataset.weak[rows])
    return FoldReference(reference, reference_digest(reference))


def _check_labels(dataset: Dataset, reference: Reference, weak: BoolArray) -> None:
    """Refuse label files that disagree with the manifest, whose labels systems are trained on."""
    events = reference.events
    strong = np.zeros_like(weak)
    strong[events.clip, events.label] = True
    for name, labels in (("weak.tsv", reference.weak), ("strong.tsv", strong)):
        if len(wrong := np.flatnonzero((labels != weak).any(axis=1))):
            raise InputError(
                f"{dataset.path / 'labels' / name}: clip '{reference.filenames[wrong[0]]}' has other classes than in"
                f" {dataset.path / 'manifest' / 'events.csv'}; restore the labels, or make the data set again"
            )


class References:
    """The references of a data set's folds, each read once."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._read: dict[int, FoldReference] = {}

    def fold(self, fold: int) -> FoldReference:
        """Return the reference of a fold; errors as in `read_fold_reference`."""
        if fold not in self._read:
            self._read[fold] = read_fold_reference(self.dataset, fold)
        return self._read[fold]


def why_incompatible(record: Record, references: References) -> str:
    """Say why a record may not stand in the table of a data set; empty where it may."""
    dataset, provenance = references.dataset, record.provenance
    if provenance.manifest_digest != dataset.manifest_digest:
        digests = provenance.manifest_digest[:12], dataset.manifest_digest[:12]
        return f"is on another manifest ({digests[0]}) than the data set ({digests[1]})"
    if provenance.scoring_version != SCORING_VERSION:
        return f"is of scoring version {provenance.scoring_version}, this is {SCORING_VERSION}; score it again"
    if provenance.audio_digest != dataset.audio_digest:
        return (
            "was scored on other audio (recordings or mixing) than the data set has now, on the same manifest; score it"
            " again"
        )
    if record.system.snr not in dataset.snrs:
        made_at = ", ".join(f"{snr:g}" for snr in dataset.snrs)
        return (
            f"is at {record.system.snr:g} dB, but the data set has only {made_at} dB; `remixbench make --snr` adds one"
        )
    try:
        reference = references.fold(record.system.fold)
    except InputError as error:
        return str(error)
    if provenance.reference_digest != reference.digest:
        return (
            f"was scored against other labels of fold {record.system.fold} than those of {dataset.path}; score it again"
        )
    return ""


def make_record(
    dataset: Dataset,
    fold: FoldReference,
    task: Task,
    resamples: int,
    digests: dict[str, str],
    separation: Separation | None = None,
    predictions: Predictions | None = None,
) -> Record:
    """Score one set of predictions; a metric that most bootstrap samples leave undefined gets no interval.

    `separation` is how well the events were separated, where that was measured; `predictions` are those of the task,
    where they were read already.

    Raises
    ------
    InputError
        If they are not usable, or are maps or waveforms alone and the data set has no stems to score them by.
    """
    if predictions is None:
        predictions = read_all(task.predictions, fold.reference)
    snr = task.system.snr
    masks = read_masks(dataset, fold, snr, task.predictions)
    if masks is None and separation is None and all(map(stems_alone, task.predictions)):
        raise InputError(f"{task.predictions[0]}: {why_not_compared(dataset, snr)}")
    bins = dataset.snr_bins(dataset.test_rows(task.system.fold), snr)
    scores = score_predictions(
        replace(fold.reference, snr_bins=bins),
        predictions,
        masks=masks,
        separation=separation,
        sebbs=tuned_boxes(dataset, task) if predictions.frame_scores is not None else None,
        bootstrap=resamples,
        seed=BOOTSTRAP_SEED,
    )
    return Record(
        system=task.system,
        provenance=Provenance(
            remixbench=__version__,
            scoring_version=SCORING_VERSION,
            dataset=dataset.name,
            manifest_digest=dataset.manifest_digest,
            reference_digest=fold.digest,
            audio_digest=dataset.audio_digest,
            run=task.run,
            predictions=digests,
            predictions_digest=files_digest(digests),
            clips=len(fold.reference.filenames),
            groups=max(1, scores.settings["recordings"]),
            resamples=resamples,
            bootstrap_seed=BOOTSTRAP_SEED,
        ),
        metrics=scores.values,
        intervals=scores.intervals,
        per_class=scores.per_class,
        settings=scores.settings,
        bootstrap_samples={name: pack(scores.samples[name]) for name in paired_metrics() if name in scores.samples},
        cost=task.cost,
        by_snr=scores.by_snr,
    )


def tuned_boxes(dataset: Dataset, task: Task) -> tuple[SebbParameters, ...] | None:
    """Tune bounding boxes on a system's frame scores of validation clips; None where it has none.

    Raises
    ------
    InputError
        If the file is not usable, or holds a test clip.
    """
    files = files_named(task.predictions, VALIDATION)
    if not files:
        return None
    tested = set(dataset.test_rows(task.system.fold).tolist())
    clips = [name for row, name in enumerate(dataset.filenames) if row not in tested]
    return tune(*read_validation(files[0], dataset.path / "labels", clips, dataset.classes))


def kept_record(
    references: References, task: Task, resamples: int, digests: dict[str, str], progress: Progress
) -> Record | None:
    """Return the record in a task's folder if it is still that of these predictions, else None.

    If the run was moved or the predictions were renamed, the record is written again under the new name.
    """
    dataset = references.dataset
    file = task.folder / METRICS_FILE
    old = _readable(file, progress)
    system, maps, digest = task.system, map_files(task.predictions), files_digest(digests)
    if maps and not has_stems(dataset, system.snr):
        progress.say(f"{maps[0]}: left blank: {no_stems(dataset, system.snr)}")
    elif maps and old is not None and not scored_with(old.metrics, "stems"):  # scored before there were stems
        old = None
    if old is None:
        return None
    before = old.provenance
    if before.predictions_digest != digest:
        return None
    # other keys of the system cannot change a metric
    same_condition = (old.system.snr, old.system.fold) == (system.snr, system.fold)
    if (before.resamples, before.bootstrap_seed) != (resamples, BOOTSTRAP_SEED) or not same_condition:
        return None
    if why_incompatible(old, references):
        return None
    if old.system == system and before.run == task.run and old.cost == task.cost:
        return old
    provenance = before.model_copy(update={"run": task.run})
    record = old.model_copy(update={"system": system, "provenance": provenance, "cost": task.cost})
    write_record(file, record)
    return record


def replaces_others(task: Task, digests: Mapping[str, str]) -> bool:
    """Say whether a third party's predictions replace others with a record under the same name."""
    old = _readable(task.folder / METRICS_FILE, SILENT) if task.run is None else None
    return old is not None and old.provenance.predictions_digest != files_digest(digests)


def probes_current(record: Record, task: Task) -> bool:
    """Say whether a task's record has the scores of its probes.

    Probes of a third party that are not given again are kept.
    """
    probes = task.probes or ProbePredictions()
    kinds = PROBES if task.run is not None else {probe for probe, _ in probes.files}
    scored = {(score.probe, score.value): score.predictions_digest for score in record.probes if score.probe in kinds}
    digests = {condition: files_digest(digests_of([path])) for condition, path in probes.files.items()}
    return scored == digests and (record.shifts == probes.shifts or "shift" not in kinds)


@dataclass(frozen=True)
class Job:
    """A task to score, as a worker gets it: paths are absolute, since its working directory may be another.

    Attributes
    ----------
    digests : of the files of predictions, by name
    kept : the task's record, where only its probes are to be scored
    separation : how well the events were separated, where that was measured
    """

    dataset: Dataset
    fold: FoldReference
    task: Task
    resamples: int
    digests: dict[str, str]
    kept: Record | None
    separation: Separation | None


def evaluate(job: Job) -> tuple[Record, dict[int, tuple[int, int]]]:
    """Score one set of predictions, or only its probes where it has a record, and write its metrics.json.

    Returns
    -------
    The record, and for every event list read, by its place in the task's predictions, the number of events and of clips
    with events.

    Raises
    ------
    InputError
        As in `make_record` and `score_probes`, or if a third party gives probes but no clip scores to compare them
        with.
    """
    fold, task, kept = job.fold, job.task, job.kept
    probes = task.probes or ProbePredictions()
    parts = read_parts(task.predictions, fold.reference) if kept is None else []
    predictions = joined(parts)
    has_clip_scores = predictions.clip_scores is not None if kept is None else METRIC in kept.metrics
    if task.run is None and probes.files and not has_clip_scores:
        raise InputError(
            f"{task.predictions[0]}: holds no clip scores, which --shifted and --other-snrs are compared with; give"
            " tags.csv too, or leave them out"
        )
    record = kept
    if record is None:
        record = make_record(job.dataset, fold, task, job.resamples, job.digests, job.separation, predictions)
    scored, shifts = score_probes(fold.reference, probes, job.resamples, BOOTSTRAP_SEED), probes.shifts
    if kept is not None and task.run is None:
        given = {score.probe for score in scored}
        scored = (*scored, *(score for score in kept.probes if score.probe not in given))
        shifts = kept.shifts if shifts is None else shifts
    record = record.model_copy(update={"shifts": shifts, "probes": scored})
    write_record(task.folder / METRICS_FILE, record)
    lists = {task.predictions.index(path): part.events for path, part in parts if part.events is not None}
    return record, {place: (len(events), len(np.unique(events.clip))) for place, events in lists.items()}


def score_probes(
    reference: Reference, probes: ProbePredictions, resamples: int, bootstrap_seed: int
) -> tuple[ProbeRecord, ...]:
    """Score the predictions of every condition: micro-AP with bootstrap samples, and frame AP where there are frames.

    Parameters
    ----------
    reference : of the clips as they are; its events are moved with the clips.
    resamples, bootstrap_seed : as for the record, so that samples are paired with the record's.

    Raises
    ------
    InputError
        If predictions are broken, of other clips, or hold no clip scores.
    """
    weights = make_bootstrap(reference, resamples, bootstrap_seed)
    records = []
    for (probe, value), path in probes.files.items():
        predictions = read_predictions(path, reference)
        if predictions.clip_scores is None:
            raise InputError(f"{path}: holds no clip scores, which probes are scored by; expected tags.csv")
        values = ranked_average_precision(rank_pairs(reference.weak, predictions.clip_scores), weights.weights)
        metrics: dict[str, float | None] = {METRIC: None if np.isnan(values[0]) else float(values[0])}
        if predictions.frame_scores is not None and predictions.frame_edges is not None:
            moved = shift_events(reference, value) if probe == "shift" else reference
            once = np.ones((len(reference.filenames), 1))
            frame_ap = float(frame_average_precision(Inputs(moved, predictions), once).overall["frame_ap"][0])
            metrics["frame_ap"] = None if np.isnan(frame_ap) else frame_ap
        samples = weights.samples_of(values)
        records.append(
            ProbeRecord(
                probe=probe,
                value=value,
                predictions_digest=files_digest(digests_of([path])),
                metrics=metrics,
                bootstrap_samples={METRIC: pack(samples)} if weights.samples else {},
            )
        )
    return tuple(records)


def shift_events(reference: Reference, seconds: float) -> Reference:
    """Return the reference of clips rolled by a shift that keeps every event whole."""
    events = reference.events
    onset, offset = (np.round(times + seconds, DECIMALS) for times in (events.onset, events.offset))
    return replace(reference, events=replace(events, onset=onset, offset=offset))


def _readable(file: Path, progress: Progress) -> Record | None:
    """Return a record; None if it is missing, broken or edited, so that it is made again."""
    try:
        return read_record(file) if file.is_file() else None
    except InputError as error:
        progress.say(f"{error}: scoring it again" if "score it again" not in str(error) else str(error))
        return None


def read_masks(dataset: Dataset, fold: FoldReference, snr: float, paths: Sequence[Path]) -> Masks | None:
    """Read a system's maps, and make the ideal masks of their clips.

    Returns
    -------
    None where there is no maps.npz, or the data set has no stems at this SNR.

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
    maps = read_maps(files[0], fold.reference, size)
    add_ideal_masks(dataset, fold, snr)
    ideal = np.unpackbits(fold.ideal_masks[snr], axis=-1, count=size[1]).view(np.bool_)
    return Masks(maps.clip, maps.label, maps.maps, ideal, maps.active_bins)


def add_ideal_masks(dataset: Dataset, fold: FoldReference, snr: float) -> None:
    """Make the ideal masks of a fold at an SNR, unless it has them already; eight bins per byte."""
    if snr not in fold.ideal_masks:
        fold.ideal_masks[snr] = np.packbits(ideal_masks(dataset, fold.reference, snr), axis=-1)
