"""Probes: predictions of a finished run for its test clips under other conditions.

`shift` rolls the test clips in time by the shifts of the fold (`remixbench.dataset.probes`); `snr` uses the test clips
at all other SNRs of the data set. The predictions are stored with the run, so that scoring needs no network.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.probes import (
    FOLDER,
    Probe,
    ProbesInfo,
    check_probes,
    no_shift,
    probe_folder,
    probe_shifts,
    read_probes,
    roll,
    write_probes,
)
from remixbench.dataset.splits import Rows
from remixbench.errors import InputError
from remixbench.files import as_path, sha256
from remixbench.inference.system import TrainedSystem, load_system
from remixbench.progress import SILENT, Progress
from remixbench.training.data import AS_IT_IS, VALUES_AT_ONCE, ClipTensors, InputArray, Waveforms
from remixbench.training.device import Engine, exact_float32
from remixbench.training.evaluate import Scores, score_frames
from remixbench.training.run_files import MODEL, RunInfo, read_run, write_predictions

Features = NDArray[np.float32]


def predict_probes(
    run: str | Path,
    *,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    probe: str | Sequence[str] = ("shift", "snr"),
    device: str = "auto",
    progress: Progress = SILENT,
) -> ProbesInfo:
    """Test a finished run under other conditions, and write the predictions to `predictions/probes` in its folder.

    Predictions of the same model from an earlier call are reused.

    Parameters
    ----------
    run : folder of the run.
    workspace, dataset : the workspace, and name or folder of the run's data set; by default the one that it names.
    probe : `shift`, `snr` or both.
    device : auto, cpu, cuda, cuda:N or mps.
    progress : progress reporter.

    Returns
    -------
    The content of probes.json: shifts in seconds (empty if every shift would cut an event), SNRs, and digests of the
    predictions.

    Raises
    ------
    InputError
        If the run is not done, is of other data, or its model is broken; or the log-mel of a test clip was altered.
    """
    folder, probes = as_path(run, "run"), check_probes(probe)
    info = read_run(folder)
    data = find_dataset(workspace, info.dataset if dataset is None else dataset)
    if info.manifest_digest != data.manifest_digest:
        raise InputError(
            f"{folder}: was trained on another manifest ({info.manifest_digest[:12]}) than data set '{data.name}' has"
            f" ({data.manifest_digest[:12]}); choose the data set of the run"
        )
    other_snrs = tuple(snr for snr in data.info.features if snr != float(info.snr))
    conditions = {"shift": probe_shifts(data, info.fold), "snr": other_snrs}
    probed = _earlier_probes(folder, info)
    missing = [
        (name, value)
        for name in probes
        for value in conditions[name]
        if f"{probe_folder(name, value)}/tags.csv" not in probed.predictions
    ]
    if missing:
        system = load_system(folder, device=device)
        digests = _predict_all(folder, info, data, system, missing, progress)
        probed = probed.model_copy(update={"predictions": probed.predictions | digests})
    if "shift" in probes:
        probed = probed.model_copy(update={"shifts": list(conditions["shift"])})
        if not conditions["shift"]:
            progress.say(f"{folder}: {no_shift(info.fold)}")
    if "snr" in probes:
        probed = probed.model_copy(update={"snrs": list(conditions["snr"])})
        if not conditions["snr"]:
            progress.say(
                f"{folder}: {data.name} has log-mel only at {info.snr:g} dB; `remixbench make --snr` adds more"
            )
    write_probes(folder, probed)
    return probed


def _earlier_probes(folder: Path, info: RunInfo) -> ProbesInfo:
    """Return the probes.json of a run, or an empty one if it is missing or of another model."""
    fresh = ProbesInfo(
        run=info.digest,
        model=sha256((folder / MODEL).read_bytes()) if (folder / MODEL).is_file() else "",
        manifest_digest=info.manifest_digest,
        snr=float(info.snr),
        fold=info.fold,
    )
    try:
        earlier = read_probes(folder)
    except InputError:
        earlier = None
    if earlier is not None and (earlier.run, earlier.model) == (fresh.run, fresh.model):
        return earlier
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    return fresh


def _predict_all(
    folder: Path,
    info: RunInfo,
    dataset: Dataset,
    system: TrainedSystem,
    conditions: Sequence[tuple[Probe, float]],
    progress: Progress,
) -> dict[str, str]:
    rows = dataset.test_rows(info.fold)
    filenames = [dataset.filenames[row] for row in rows]
    digests: dict[str, str] = {}
    with progress.bar(
        f"Probing {folder.parents[2].name} {dataset.snr_text(info.snr)}", len(conditions), "conditions"
    ) as advance:
        for probe, value in conditions:
            snr, shift = (value, 0.0) if probe == "snr" else (info.snr, value)
            tags, frames = _predict_rows(system, dataset, snr, shift, rows, info.batch_size)
            name = probe_folder(probe, value)
            target = folder / FOLDER / name
            write_predictions(target, filenames, system.classes, tags, frames, system.frame_seconds)
            for file in sorted(target.iterdir()):
                digests[f"{name}/{file.name}"] = sha256(file.read_bytes())
            advance(1)
    return digests


def _predict_rows(
    system: TrainedSystem, dataset: Dataset, snr: float, shift: float, rows: Rows, batch_size: int
) -> tuple[Scores, Scores]:
    """Return clip and frame scores of the clips `rows` at one SNR, rolled by `shift` seconds, in bounded memory."""
    inputs: Features | Waveforms
    if system.inputs == "waveform":
        inputs, step_seconds = Waveforms(dataset, snr), 1 / dataset.recipe.mix.sample_rate
    else:
        dataset.verify_features(snr, rows)
        inputs, step_seconds = dataset.features(snr), dataset.recipe.frame_seconds
    size = batch_size * max(1, VALUES_AT_ONCE // (batch_size * math.prod(inputs.shape[1:])))  # whole batches
    parts = []
    for start in range(0, len(rows), size):
        clips = np.asarray(inputs[rows[start : start + size]])
        parts.append(predict_clips(system, roll(clips, shift, step_seconds, axis=1) if shift else clips, batch_size))
    tags, frames = zip(*parts, strict=True)
    return np.concatenate(tags), np.concatenate(frames)


def predict_clips(system: TrainedSystem, features: Features, batch_size: int) -> tuple[Scores, Scores]:
    """Return clip scores, (clips, classes), and frame scores, (clips, frames, classes), of inputs (clips, ...).

    They equal the predictions of the training bit by bit: in float32, in batches, in the same memory order.
    """
    no_labels = np.zeros((len(features), len(system.classes)), np.bool_)  # prediction does not use labels
    scale = system.model.standardisation if system.inputs == "logmel" else AS_IT_IS
    clips = ClipTensors([InputArray(features, scale)], no_labels, np.arange(len(features)), system.device)
    engine = Engine(system.device, "32")
    with exact_float32():
        return score_frames(engine.place(system.network), clips, engine, batch_size)
