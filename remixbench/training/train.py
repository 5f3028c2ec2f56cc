"""`train`: the runs of a grid, one after another; each is started, gone on with, or found done."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from remixbench import __version__
from remixbench.dataset.layout import find_dataset
from remixbench.errors import InputError
from remixbench.files import sha256, write_json
from remixbench.progress import SILENT, Progress
from remixbench.systems import build
from remixbench.systems.registry import OptionValue, spec
from remixbench.training.data import Clips, Standardisation, fit_standardisation
from remixbench.training.engine import Engine, choose_device, choose_precision
from remixbench.training.evaluate import score_frames
from remixbench.training.logs import require_tensorboard, tensorboard_writer
from remixbench.training.loop import Epoch, State, fit
from remixbench.training.model import Description, write_model
from remixbench.training.runs import (
    CHECKPOINT,
    FORMAT,
    MODEL,
    RUN_FILE,
    read_checkpoint,
    read_run,
    run_folder,
    write_checkpoint,
    write_history,
    write_predictions,
)
from remixbench.training.settings import RunSettings, data_digest, list_runs
from remixbench.training.split import Rows, Split, split
from remixbench.training.thresholds import best_thresholds

if TYPE_CHECKING:
    from remixbench.dataset.layout import Dataset

MARK_PAPER = "epoch chosen on the test fold"


def train(
    *,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    system: str | Sequence[str] | None = None,
    snr: float | Sequence[float] | None = None,
    fold: int | Sequence[int] | None = None,
    seed: int | Sequence[int] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    alpha: float | Sequence[float] | None = None,
    fraction: float | Sequence[float] | None = None,
    options: Mapping[str, OptionValue] | None = None,
    width: float | None = None,
    select: str = "validation",
    device: str = "auto",
    precision: str = "auto",
    shard: tuple[int, int] = (1, 1),
    tensorboard: bool = False,
    progress: Progress = SILENT,
) -> list[Path]:
    """Train systems on a data set: every combination of the values given is a run.

    A run that is done is not repeated; one that was interrupted goes on from its last epoch and ends with the
    same weights as if it had not been. A run with any other setting is another run in another folder.

    Parameters
    ----------
    workspace : where data sets and runs lie.
    dataset : name or folder of a data set; by default the one made last.
    system : names of systems; by default the five of the paper's Table 1.
    snr : signal-to-noise ratios in dB; by default all that were made.
    fold : folds to test on; by default 4, as the released example.
    seed : seeds of weights, order and choice of clips; by default 0.
    epochs, batch_size, learning_rate, width : by default as the data set's recipe says.
    alpha : weights of the reconstruction, for the systems that have a decoder; by default each system's own.
    fraction : parts of the training clips to learn from, in (0, 1]; seeded, class-balanced, each within the
        larger.
    options : named options of the systems, such as {"attention": "paper"}; see `remixbench.systems.spec`.
    select : the epoch kept is the best on the `validation` part, on the held-out fold as in the `paper`, or
        the `last`.
    device : auto, cpu or cuda.
    precision : 32, bf16, or auto: bf16 where the hardware has it.
    shard : (i, n), only every n-th run beginning with the i-th, counted from 1.
    tensorboard : also write curves for TensorBoard into each run's folder.
    progress : what is told of the work.

    Returns
    -------
    The folders of the runs, in order, that are done now.

    Raises
    ------
    InputError
        For a value that cannot be, a data set that lacks what is asked for, or broken files.
    RemixbenchError
        If a training diverges.
    """
    workspace = Path(workspace)
    opened = find_dataset(workspace, dataset)
    runs = list_runs(
        opened, system=system, snr=snr, fold=fold, seed=seed, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, width=width, alpha=alpha, fraction=fraction, options=options, select=select,
        precision=precision,
    )  # fmt: skip
    if not 1 <= shard[0] <= shard[1]:
        raise InputError(f"--shard {shard[0]}/{shard[1]}: expected I/N with 1 <= I <= N")
    where = choose_device(device)
    if tensorboard:
        require_tensorboard()
    for settings in runs:
        opened.features(settings.snr)  # all of what is missing is to be known before the first hour has passed
    done = []
    for settings in runs[shard[0] - 1 :: shard[1]]:
        folder = _train_one(workspace, opened, settings, where, tensorboard, progress)
        if folder is not None:
            done.append(folder)
    return done


def _train_one(
    workspace: Path,
    dataset: Dataset,
    settings: RunSettings,
    device: torch.device,
    tensorboard: bool,
    progress: Progress,
) -> Path | None:
    """Bring one run to its end; returns its folder, or None if another process is at it."""
    digest = settings.digest(data_digest(dataset))
    locks = workspace / "runs" / dataset.name / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(locks / f"{digest[:16]}.lock", timeout=0):
            # two different runs that start at once must not both find the plain name free
            with FileLock(locks / "place.lock"):
                folder = run_folder(workspace, dataset.name, settings, digest)
                info = read_run(folder) if (folder / RUN_FILE).exists() else None
                if info is None:
                    info = _claim(folder, dataset, settings, digest, device)
            if info["status"] == "done":
                progress.say(f"{settings.label}: done before ({_figure(info)}), in {folder}")
                return folder
            _work(folder, info, dataset, settings, device, tensorboard, progress)
            return folder
    except Timeout:
        progress.say(f"{settings.label}: another process is training it; left to that")
        return None


def _claim(folder: Path, dataset: Dataset, settings: RunSettings, digest: str, device: torch.device) -> dict[str, Any]:
    """Write the run.json of a run that begins."""
    recipe = dataset.recipe
    training = recipe.training
    marks = [MARK_PAPER] if settings.select == "paper" else []
    if settings.fraction < 1:
        marks.append(f"trained on {settings.fraction:.6g} of the training clips")
    for name in ("epochs", "batch_size", "learning_rate", "width"):
        usual, here = getattr(training, name), getattr(settings, name)
        if here != usual:
            marks.append(f"{name.replace('_', ' ')} {here:g}, the recipe has {usual:g}")
    info = {
        "format": FORMAT,
        "status": "training",
        "dataset": dataset.name,
        "manifest_digest": dataset.digest,
        "not_comparable": list(dataset.not_comparable),
        **settings.to_json(),
        "marks": marks,
        "digest": digest,
        "precision_used": choose_precision(settings.precision, device),
        "package": spec(settings.system).package,
        "started": _now(),
        "versions": {
            "remixbench": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "frames": recipe.frames,
        "bands": recipe.features.bands,
        "frame_seconds": recipe.frame_seconds,
        "classes": list(dataset.classes),
    }
    write_json(folder / RUN_FILE, info)
    return info


@dataclass(frozen=True)
class _Material:
    """The clips of a run, standardised."""

    parts: Split
    standardisation: Standardisation
    train: Clips
    validation: Clips | None
    test: Clips


def _material(dataset: Dataset, settings: RunSettings, engine: Engine) -> _Material:
    parts = split(dataset, settings.fold, seed=settings.seed, select=settings.select, fraction=settings.fraction)
    if not len(parts.train) or not len(parts.test) or (settings.select == "validation" and not len(parts.validation)):
        raise InputError(
            f"{dataset.path}: fold {settings.fold} leaves {len(parts.train)} clips to train on, {len(parts.validation)}"
            f" to choose the epoch on and {len(parts.test)} to test on; make a larger data set"
        )
    features = dataset.features(settings.snr)
    standardisation = fit_standardisation(features, parts.train)
    if not (np.isfinite(standardisation.mean).all() and np.isfinite(standardisation.std).all()):
        raise InputError(
            f"{dataset.path}: the log-mel at {settings.snr:g} dB holds values that are no numbers; make it again"
        )

    def clips(rows: Rows) -> Clips:
        return Clips(features, dataset.weak, rows, standardisation, engine.device)

    validation = clips(parts.validation) if len(parts.validation) else None
    return _Material(parts, standardisation, clips(parts.train), validation, clips(parts.test))


def _work(
    folder: Path,
    info: dict[str, Any],
    dataset: Dataset,
    settings: RunSettings,
    device: torch.device,
    tensorboard: bool,
    progress: Progress,
) -> None:
    """Train from where the run stands to its end, and write all its files; run.json says `done` last."""
    engine = Engine(device, info["precision_used"])
    material = _material(dataset, settings, engine)
    network = build(
        settings.system, classes=len(dataset.classes), frames=info["frames"], bands=info["bands"],
        width=settings.width, options=dict(settings.options), seed=settings.seed,
    )  # fmt: skip
    state = State(engine.place(network), settings)
    saved = read_checkpoint(folder, info["digest"])
    if saved is not None:
        state.take_up(saved)
        progress.say(f"{settings.label}: goes on after epoch {len(state.history)}")

    log = tensorboard_writer(folder, len(state.history)) if tensorboard else None

    def on_epoch(epoch: Epoch) -> None:
        write_checkpoint(folder, info["digest"], state.to_dict())
        write_history(folder, state.history)
        if log is not None:
            log(epoch)

    selection = {"validation": material.validation, "paper": material.test, "last": None}[settings.select]
    clips = len(material.train)
    with progress.bar(settings.label, settings.epochs * clips, "clips") as advance:
        advance(len(state.history) * clips)
        fit(state, settings, engine, material.train, selection, on_epoch=on_epoch, advance=advance)
    start = time.perf_counter()
    write_history(folder, state.history)
    network.load_state_dict(state.best_weights)
    thresholds = _finish(folder, info, dataset, settings, material, network, Engine(device, "32"))
    best = state.history[state.best_epoch - 1]
    outcome = {
        "status": "done",
        "finished": _now(),
        "epoch": best.epoch,
        "validation_micro_ap": best.validation_micro_ap,
        "test_micro_ap": best.test_micro_ap,
        "thresholds_from": thresholds,
        "seconds": round(sum(epoch.seconds for epoch in state.history) + time.perf_counter() - start, 3),
        "device": engine.device.type,
        "device_name": engine.name,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "standardisation_digest": sha256(
            material.standardisation.mean.tobytes() + material.standardisation.std.tobytes()
        ),
        "clips": {part: len(getattr(material.parts, part)) for part in ("train", "validation", "test")},
        "validation_from": material.parts.origin,
        "train_digest": sha256("\n".join(_names(dataset, material.parts.train)).encode()),
        "validation_clips": _names(dataset, material.parts.validation),
    }
    write_json(folder / RUN_FILE, {**info, **outcome})
    (folder / CHECKPOINT).unlink(missing_ok=True)
    progress.say(f"{settings.label}: {_figure({**info, **outcome})}, in {folder}")


def _finish(
    folder: Path,
    info: dict[str, Any],
    dataset: Dataset,
    settings: RunSettings,
    material: _Material,
    network: torch.nn.Module,
    engine: Engine,
) -> str:
    """Write weights and predictions of the chosen epoch, in float32.

    Returns on which clips the thresholds were found.
    """
    judged = material.train if material.validation is None else material.validation
    tags, peaks = score_frames(network, judged, engine, settings.batch_size, keep="highest")
    recipe = dataset.recipe
    description = Description(
        system=settings.system,
        options=dict(settings.options),
        width=settings.width,
        classes=dataset.classes,
        frames=info["frames"],
        bands=info["bands"],
        recipe=recipe.model_dump(mode="json", include={"mix", "features"}),
        digest=info["digest"],
    )
    write_model(
        folder / MODEL,
        description,
        network.state_dict(),
        material.standardisation,
        best_thresholds(judged.weak, tags),
        best_thresholds(judged.weak, peaks),
    )
    test_tags, test_frames = score_frames(network, material.test, engine, settings.batch_size)
    filenames = [dataset.filenames[row] for row in material.parts.test]
    write_predictions(folder, filenames, dataset.classes, test_tags, test_frames, recipe.frame_seconds)
    return "training clips" if material.validation is None else "validation clips"


def _figure(info: dict[str, Any]) -> str:
    """Say in words how good the chosen epoch is on the clips it was chosen on."""
    if info["validation_micro_ap"] is not None:
        return f"validation micro AP {info['validation_micro_ap']:.4f} in epoch {info['epoch']}"
    if info["test_micro_ap"] is not None:
        return f"micro AP {info['test_micro_ap']:.4f} in epoch {info['epoch']}, chosen on the test fold"
    return f"epoch {info['epoch']}, the last"


def _names(dataset: Dataset, rows: Rows) -> list[str]:
    return [dataset.filenames[row] for row in rows]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
