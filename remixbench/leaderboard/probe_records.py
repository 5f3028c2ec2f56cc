"""The predictions of probes, and their scores as a record keeps them.

Runs have their probes' predictions in `predictions/probes` (see `remixbench.dataset.probes`). Third parties hand in
those of rolled clips with `--shifted`, in files or folders named after the shift.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.probes import FOLDER, Probe, no_shift, read_probes
from remixbench.dataset.shifts import probe_shifts, shift_folder
from remixbench.errors import InputError
from remixbench.leaderboard.record import ProbeRecord, Record, digests_of, files_digest, pack
from remixbench.scoring import Reference, read_predictions
from remixbench.scoring.bootstrap import make_bootstrap
from remixbench.scoring.clip_based import frame_average_precision, rank_pairs, ranked_average_precision
from remixbench.scoring.metrics import METRICS
from remixbench.scoring.types import DECIMALS

METRIC = "micro_ap"
"""The metric of probes that is compared, and so has bootstrap samples."""
SHIFT_TOLERANCE = 1e-6
"""How far, in seconds, the shift in a file's name may be from one of the fold's shifts."""
_SHIFT = re.compile(r"shift_(-?[0-9]+(?:\.[0-9]+)?)")


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


def run_probes(run: Path) -> ProbePredictions | None:
    """Return the probes' predictions of a run; None where it has none. Errors are those of `read_probes`."""
    info = read_probes(run)
    if info is None:
        return None
    files = {condition: run / FOLDER / name for condition, name in info.folders().items()}
    return ProbePredictions(None if info.shifts is None else tuple(info.shifts), files)


def shifted_predictions(dataset: Dataset, fold: int, paths: Sequence[Path]) -> ProbePredictions:
    """Return a third party's predictions on rolled clips: one file or folder for each shift of the fold.

    The shift is in the name of the file or of its folder: `shift_0.48.csv`, `shift_0.48/tags.csv`.

    Raises
    ------
    InputError
        If a file is missing, says no shift or another one than the fold's, or a shift is missing or given twice.
    """
    shifts = probe_shifts(dataset, fold)
    if not shifts:
        raise InputError(f"--shifted: {no_shift(fold)}; leave it out")
    listed = ", ".join(f"{each:g}" for each in shifts)
    files: dict[tuple[Probe, float], Path] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file of predictions")
        found = _SHIFT.fullmatch(path.stem if path.is_file() else path.name) or _SHIFT.fullmatch(path.parent.name)
        if found is None:
            raise InputError(
                f"{path}: its name does not say by how much the clips were rolled; name it"
                f" {shift_folder(shifts[0])}.csv for {shifts[0]:g} s (the shifts of fold {fold}: {listed} s)"
            )
        alike = [each for each in shifts if abs(each - float(found[1])) <= SHIFT_TOLERANCE]
        if not alike:
            raise InputError(
                f"{path}: is of clips rolled by {found[1]} s, expected the shifts of fold {fold}: {listed} s"
                " (`remixbench.probe_shifts`)"
            )
        if ("shift", alike[0]) in files:
            raise InputError(f"{path}: is of clips rolled by {alike[0]:g} s, and so is a file before it; leave one out")
        files["shift", alike[0]] = path
    missing = [each for each in shifts if ("shift", each) not in files]
    if missing:
        lacking = ", ".join(f"{each:g}" for each in missing)
        raise InputError(
            f"--shifted: has nothing for {lacking} s; give one file for each shift of fold {fold}: {listed} s"
        )
    return ProbePredictions(shifts, {("shift", each): files["shift", each] for each in shifts})


def probes_scored(record: Record, probes: ProbePredictions) -> bool:
    """Say whether a record has the scores of these predictions."""
    kept = {(each.probe, each.value): each.predictions_digest for each in record.probes}
    digests = {condition: files_digest(digests_of([path])) for condition, path in probes.files.items()}
    return record.shifts == probes.shifts and kept == digests


def score_probes(
    reference: Reference, probes: ProbePredictions, resamples: int, bootstrap_seed: int
) -> tuple[ProbeRecord, ...]:
    """Score the predictions of every condition: micro-AP with bootstrap samples, and where there are frames frame AP.

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
    made = []
    for (probe, value), path in probes.files.items():
        predictions = read_predictions(path, reference)
        if predictions.clip_scores is None:
            raise InputError(f"{path}: holds no clip scores, which probes are scored by; expected tags.csv")
        values = ranked_average_precision(rank_pairs(reference.weak, predictions.clip_scores), weights.weights)
        metrics: dict[str, float | None] = {METRIC: None if np.isnan(values[0]) else float(values[0])}
        if predictions.frame_scores is not None and predictions.frame_edges is not None:
            moved = shift_events(reference, value) if probe == "shift" else reference
            compute = frame_average_precision(moved, predictions.frame_scores, predictions.frame_edges)
            frame_ap = float(compute(np.ones((len(reference.filenames), 1))).overall["frame_ap"][0])
            metrics["frame_ap"] = None if np.isnan(frame_ap) else frame_ap
        samples = weights.samples_of(values, *METRICS[METRIC].range) if resamples else values[:0]
        made.append(
            ProbeRecord(
                probe=probe,
                value=value,
                predictions_digest=files_digest(digests_of([path])),
                metrics=metrics,
                bootstrap_samples={METRIC: pack(samples)} if resamples else {},
            )
        )
    return tuple(made)


def shift_events(reference: Reference, seconds: float) -> Reference:
    """Return the reference of clips rolled by a shift that keeps every event whole."""
    events = reference.events
    onset, offset = (np.round(times + seconds, DECIMALS) for times in (events.onset, events.offset))
    return replace(reference, events=replace(events, onset=onset, offset=offset))
