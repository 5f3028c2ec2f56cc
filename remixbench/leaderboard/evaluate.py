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
from remixbench.leaderboard.record import (
    METRICS_FILE,
    Cost,
    ProbeRecord,
    Provenance,
    Record,
    SystemInfo,
    digests_of,
    files_digest,
    pack,
    read_record,
    write_record,
)
from remixbench.leaderboard.separation import against_stems, ideal_masks
from remixbench.progress import Progress
from remixbench.scoring.bootstrap import make_bootstrap
from remixbench.scoring.bounding_boxes import tune
from remixbench.scoring.clip_based import frame_average_precision, rank_pairs, ranked_average_precision
from remixbench.scoring.evaluate import score_predictions
from remixbench.scoring.io import (
    VALIDATION,
    files_named,
    read_all,
    read_predictions,
    read_reference,
    read_validation,
)
from remixbench.scoring.maps import read_maps
from remixbench.scoring.metrics import SCORING_VERSION, paired_metrics
from remixbench.scoring.types import (
    DECIMALS,
    BoolArray,
    Inputs,
    MaskArray,
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
    """The predictions of the probes of one run or third party: files by condition, ("shift", seconds) or ("snr", dB).

    `shifts` are the seconds by which the test clips were rolled; None where the shift probe was not made.
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
    probes: ProbePredictions = field(default_factory=ProbePredictions)
    results: Mapping[str, str] = field(default_factory=dict)

    def absolute(self) -> Task:
        """Return the task with absolute paths."""
        files = {condition: path.absolute() for condition, path in self.probes.files.items()}
        probes, predictions = replace(self.probes, files=files), tuple(path.absolute() for path in self.predictions)
        return replace(self, predictions=predictions, folder=self.folder.absolute(), probes=probes)

    def check_results(self, digests: Mapping[str, str]) -> None:
        """Refuse predictions of a run that were altered since it was trained.

        InputError naming the first file whose digest is not that in run.json; `digests` are those of files that were
        read already, by name.
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
    ideal_masks: dict[float, MaskArray] = field(default_factory=dict, compare=False)


def read_fold_reference(dataset: Dataset, fold: int) -> FoldReference:
    """Read the reference of the clips that are tested in `fold`.

    InputError if the data set has no such fold, or its labels are broken.
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
        snrs = ", ".join(f"{snr:g}" for snr in dataset.snrs)
        return f"is at {record.system.snr:g} dB, but the data set has only {snrs} dB; `remixbench make --snr` adds one"
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
    digests: Mapping[str, str],
    separation: Separation | None = None,
    predictions: Predictions | None = None,
) -> Record:
    """Score one set of predictions; a metric that most bootstrap samples leave undefined gets no interval.

    `separation` is how well the events were separated, where that was measured; `predictions` are those of the task,
    where they were read already.

    InputError if they are not usable, or are maps or waveforms alone and the data set has no stems to score them by.
    """
    if predictions is None:
        predictions = read_all(task.predictions, fold.reference)
    snr = task.system.snr
    stems = against_stems(dataset, fold.reference, snr, task.predictions)
    if stems.why_nothing:
        raise InputError(f"{task.predictions[0]}: {stems.why_nothing}")
    bins = dataset.snr_bins(dataset.test_rows(task.system.fold), snr)
    scores = score_predictions(
        replace(fold.reference, snr_bins=bins),
        predictions,
        masks=read_masks(dataset, fold, snr, stems.maps) if stems.masks else None,
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
            predictions=dict(digests),
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

    InputError if the file is not usable, or holds a test clip.
    """
    files = files_named(task.predictions, VALIDATION)
    if not files:
        return None
    tested = set(dataset.test_rows(task.system.fold).tolist())
    clips = [name for row, name in enumerate(dataset.filenames) if row not in tested]
    return tune(*read_validation(files[0], dataset.path / "labels", clips, dataset.classes))


def kept_record(
    old: Record, references: References, task: Task, resamples: int, digests: Mapping[str, str]
) -> Record | None:
    """Return the record in a task's folder, `old`, if its metrics are still those of these predictions, else None.

    If the run was moved or the predictions were renamed, the record is written again under the new name.
    """
    system, before = task.system, old.provenance
    # other keys of the system cannot change a metric
    scored = before.predictions_digest, old.system.snr, old.system.fold, before.resamples, before.bootstrap_seed
    if scored != (files_digest(digests), system.snr, system.fold, resamples, BOOTSTRAP_SEED):
        return None
    if why_incompatible(old, references):
        return None
    reference = references.fold(system.fold).reference
    if against_stems(references.dataset, reference, system.snr, task.predictions).lacking(old.metrics):
        return None
    if old.system == system and before.run == task.run and old.cost == task.cost:
        return old
    provenance = before.model_copy(update={"run": task.run})
    record = old.model_copy(update={"system": system, "provenance": provenance, "cost": task.cost})
    write_record(task.folder / METRICS_FILE, record)
    return record


def probes_current(record: Record, task: Task) -> bool:
    """Say whether a task's record has the scores of its probes.

    Probes of a third party that are not given again are kept.
    """
    probes = task.probes
    kinds = PROBES if task.run is not None else {probe for probe, _ in probes.files}
    scored = {(score.probe, score.value): score.predictions_digest for score in record.probes if score.probe in kinds}
    digests = {condition: files_digest(digests_of([path])) for condition, path in probes.files.items()}
    return scored == digests and (record.shifts == probes.shifts or "shift" not in kinds)


def evaluate(
    dataset: Dataset,
    fold: FoldReference,
    task: Task,
    resamples: int,
    digests: dict[str, str],
    current: Record | None,
    separation: Separation | None,
) -> tuple[Record, tuple[int, int] | None]:
    """Score one set of predictions, or only its probes where it has a record, and write its metrics.json.

    InputError as in `make_record` and `score_probes`, or if a third party gives probes but no clip scores to compare
    them with.

    Parameters
    ----------
    task : with absolute paths, since a worker's folder may be another.
    digests : of the files of predictions, by name.
    current : the task's record, where only its probes are to be scored.
    separation : how well the events were separated, where that was measured.

    Returns
    -------
    The record, and the number of events and of clips with events, where an event list was read.
    """
    probes = task.probes
    predictions = read_all(task.predictions, fold.reference) if current is None else Predictions()
    has_clip_scores = predictions.clip_scores is not None if current is None else METRIC in current.metrics
    if task.run is None and probes.files and not has_clip_scores:
        raise InputError(
            f"{task.predictions[0]}: holds no clip scores, which --shifted and --other-snrs are compared with; give"
            " tags.csv too, or leave them out"
        )
    record = current or make_record(dataset, fold, task, resamples, digests, separation, predictions)
    scored, shifts = score_probes(fold.reference, probes, resamples, BOOTSTRAP_SEED), probes.shifts
    if current is not None and task.run is None:
        probed = {score.probe for score in scored}
        scored = (*scored, *(score for score in current.probes if score.probe not in probed))
        shifts = current.shifts if shifts is None else shifts
    record = record.model_copy(update={"shifts": shifts, "probes": scored})
    write_record(task.folder / METRICS_FILE, record)
    events = predictions.events
    return record, None if events is None else (len(events), len(np.unique(events.clip)))


def score_probes(
    reference: Reference, probes: ProbePredictions, resamples: int, bootstrap_seed: int
) -> tuple[ProbeRecord, ...]:
    """Score the predictions of every condition: micro-AP with bootstrap samples, and frame AP where there are frames.

    InputError if predictions are broken, of other clips, or hold no clip scores.

    Parameters
    ----------
    reference : of the clips as they are; its events are moved with the clips.
    resamples, bootstrap_seed : as for the record, so that samples are paired with the record's.
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


def readable_record(folder: Path, progress: Progress) -> Record | None:
    """Return the record in a folder; None if it is missing, broken or edited, so that it is made again."""
    file = folder / METRICS_FILE
    try:
        return read_record(file) if file.is_file() else None
    except InputError as error:
        progress.say(f"{error}: scoring it again" if "score it again" not in str(error) else str(error))
        return None


def read_masks(dataset: Dataset, fold: FoldReference, snr: float, files: Sequence[Path]) -> Masks:
    """Read a system's maps, and make the ideal masks of their clips.

    InputError if maps.npz is not usable, there are two, or a stem is missing or broken.
    """
    if len(files) > 1:
        raise InputError(f"{files[1]}: gives maps, and so does a file before it; leave one out")
    size = (dataset.recipe.frames, dataset.recipe.features.n_mels)
    maps = read_maps(files[0], fold.reference, size)
    add_ideal_masks(dataset, fold, snr)
    ideal = np.unpackbits(fold.ideal_masks[snr], axis=-1, count=size[1]).view(np.bool_)
    return Masks(maps.clip, maps.label, maps.in_mask_steps(), ideal, maps.active_bins)


def add_ideal_masks(dataset: Dataset, fold: FoldReference, snr: float) -> None:
    """Make the ideal masks of a fold at an SNR, unless it has them already; eight bins per byte."""
    if snr not in fold.ideal_masks:
        fold.ideal_masks[snr] = np.packbits(ideal_masks(dataset, fold.reference, snr), axis=-1)
