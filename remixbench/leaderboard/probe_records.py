"""The predictions of probes, and their scores as a record keeps them.

Runs have their probes' predictions in `predictions/probes` (see `remixbench.dataset.probes`). Third parties hand in
those of rolled clips with `--shifted` and of the clips at other SNRs with `--other-snrs`, in files or folders named
after the shift or the SNR.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.probes import FOLDER, Probe, no_shift, probe_folder, probe_shifts, read_probes
from remixbench.errors import InputError
from remixbench.leaderboard.record import ProbeRecord, digests_of, files_digest, pack
from remixbench.scoring import Reference, read_predictions
from remixbench.scoring.bootstrap import make_bootstrap
from remixbench.scoring.clip_based import frame_average_precision, rank_pairs, ranked_average_precision
from remixbench.scoring.types import DECIMALS, Inputs

METRIC = "micro_ap"
"""The metric of probes that is compared, and so has bootstrap samples."""
CONDITION_TOLERANCE = 1e-6
"""How far the shift in a file's name, in seconds, or the SNR, in dB, may be from one that is expected."""
_CONDITION = re.compile(r"(shift|snr)_(-?[0-9]+(?:\.[0-9]+)?)")


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


def submitted_probes(
    dataset: Dataset, fold: int, snr: float, shifted: Sequence[Path], other_snrs: Sequence[Path]
) -> ProbePredictions | None:
    """Return a third party's predictions under other conditions than those of its row; None where none are given.

    Parameters
    ----------
    shifted : one file or folder for each shift of the fold, with the shift in its name or in that of its folder:
        `shift_0.48.csv`, `shift_0.48/tags.csv`.
    other_snrs : one file or folder for each of any of the data set's SNRs but `snr`: `snr_10.csv`, `snr_10/tags.csv`.

    Raises
    ------
    InputError
        If a file is missing, its name gives no condition or another one than expected, a condition is given twice, or
        a shift is missing.
    """
    if not shifted and not other_snrs:
        return None
    files: dict[tuple[Probe, float], Path] = {}
    shifts = probe_shifts(dataset, fold) if shifted else None
    if shifts is not None:
        if not shifts:
            raise InputError(f"--shifted: {no_shift(fold)}; leave it out")
        choices = f"the shifts of fold {fold}: {', '.join(f'{shift:g}' for shift in shifts)} s"
        files = _by_condition("shift", shifts, shifted, f"{choices} (`remixbench.probe_shifts`)")
        if missing := [shift for shift in shifts if ("shift", shift) not in files]:
            lacking = ", ".join(f"{shift:g}" for shift in missing)
            raise InputError(f"--shifted: has nothing for {lacking} s; give one file for each of {choices}")
        files = {("shift", shift): files["shift", shift] for shift in shifts}
    if other_snrs:
        others = [float(other) for other in dataset.snrs if float(other) != snr]
        if not others:
            raise InputError(
                f"--other-snrs: data set '{dataset.name}' has {snr:g} dB alone; `remixbench make --snr` adds some"
            )
        choices = f"the other SNRs of data set '{dataset.name}': {', '.join(f'{other:g}' for other in others)} dB"
        files |= _by_condition("snr", others, other_snrs, choices)
    return ProbePredictions(shifts, files)


def _by_condition(
    probe: Probe, expected: Sequence[float], paths: Sequence[Path], choices: str
) -> dict[tuple[Probe, float], Path]:
    """Return files of predictions by the condition in their names; `choices` says in errors which are expected."""
    files: dict[tuple[Probe, float], Path] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file of predictions")
        names = path.stem if path.is_file() else path.name, path.parent.name
        match = next((match for match in map(_CONDITION.fullmatch, names) if match and match[1] == probe), None)
        if match is None:
            example = probe_folder(probe, expected[0])
            raise InputError(f"{path}: its name gives no condition; name it like {example}.csv, one of {choices}")
        value = next(
            (condition for condition in expected if abs(condition - float(match[2])) <= CONDITION_TOLERANCE), None
        )
        if value is None:
            raise InputError(f"{path}: its name gives {match[0]}; expected one of {choices}")
        if (probe, value) in files:
            raise InputError(f"{path}: its name gives {match[0]}, and so does that of a file before it; leave one out")
        files[probe, value] = path
    return files


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
