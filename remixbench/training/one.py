"""One run, from its first file to its last."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from remixbench import __version__
from remixbench.dataset.splits import Rows, Split, split
from remixbench.errors import InputError
from remixbench.files import sha256, write_json
from remixbench.progress import Progress
from remixbench.systems import build_system
from remixbench.systems.registry import spec
from remixbench.training.data import Clips, Standardisation, fit_standardisation
from remixbench.training.engine import Engine, choose_precision, exact_float32
from remixbench.training.evaluate import has_maps, score_frames
from remixbench.training.logs import tensorboard_writer
from remixbench.training.loop import Epoch, State, fit
from remixbench.training.maps import writing_maps
from remixbench.training.model import Description, write_model
from remixbench.training.runs import (
    CHECKPOINT,
    FORMAT,
    MAPS,
    MODEL,
    RUN_FILE,
    read_checkpoint,
    write_checkpoint,
    write_history,
    write_predictions,
)
from remixbench.training.settings import RunSettings
from remixbench.training.team import Team
from remixbench.training.thresholds import best_thresholds

if TYPE_CHECKING:
    from remixbench.dataset.dataset import Dataset

CALIBRATION_CLIPS = 512
"""Training clips, at most, that a system with `calibrate` gets."""
MARK_PAPER = "epoch chosen on the test fold"


@dataclass(frozen=True)
class Work:
    """What all runs of a command share."""

    dataset: Dataset
    device: torch.device
    team: Team
    tensorboard: bool
    progress: Progress


def begin(folder: Path, work: Work, settings: RunSettings, digest: str) -> dict[str, Any]:
    """Write the run.json of a run that begins."""
    dataset, recipe = work.dataset, work.dataset.recipe
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
        "manifest_digest": dataset.manifest_digest,
        "not_comparable": list(dataset.not_comparable),
        **settings.to_json(),
        "marks": marks,
        "digest": digest,
        "precision_used": choose_precision(settings.precision, work.device),
        "package": spec(settings.system).package,
        "started": _now(),
        "device": work.device.type,
        "versions": _versions(settings),
        "frames": recipe.frames,
        "bands": recipe.features.n_mels,
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


def go_on(folder: Path, info: dict[str, Any], work: Work, settings: RunSettings) -> None:
    """Train from where the run stands to its end, and write all its files; run.json says `done` last."""
    dataset, team, progress = work.dataset, work.team, work.progress
    engine = Engine(work.device, info["precision_used"])
    material = _material(dataset, settings, engine)
    network = build_system(
        settings.system, classes=len(dataset.classes), frames=info["frames"], n_mels=info["bands"],
        width=settings.width, options=dict(settings.options), seed=settings.seed,
    )  # fmt: skip
    state = State(team.prepare(engine.place(network)), settings)
    saved = read_checkpoint(folder, info["digest"])
    if saved is not None:
        try:
            state.take_up(saved)
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
            raise InputError(
                f"{folder / CHECKPOINT}: does not fit the run ({reason}); delete it and the run starts again"
            ) from None
        progress.say(f"{settings.label}: goes on after epoch {len(state.history)}")
        info = _continued(folder, info, work, settings, len(state.history))
    log = tensorboard_writer(folder, len(state.history)) if work.tensorboard and team.writes else None

    def on_epoch(epoch: Epoch) -> None:
        if team.writes:
            write_checkpoint(folder, info["digest"], state.to_dict())
            write_history(folder, state.history)
        if log is not None:
            log(epoch)

    if not material.train.kept:
        progress.say(f"{settings.label}: the clips do not fit into memory and are read anew in every epoch")
    selection = {"validation": material.validation, "paper": material.test, "last": None}[settings.select]
    clips = len(material.train)
    with progress.bar(settings.label, settings.epochs * clips, "clips") as advance:
        advance(len(state.history) * clips)
        fit(state, settings, engine, material.train, selection, team=team, on_epoch=on_epoch, advance=advance)
    if team.writes:
        with exact_float32():
            _finish(folder, info, work, settings, material, state)


def _continued(folder: Path, info: dict[str, Any], work: Work, settings: RunSettings, epochs: int) -> dict[str, Any]:
    """Return run.json with a note, and write it, where a run goes on with other software or on another device."""
    here = {"device": work.device.type, "versions": _versions(settings)}
    continued: list[dict[str, Any]] = info.get("continued", [])
    before = continued[-1] if continued else info
    if all(before.get(key) == value for key, value in here.items()):
        return info
    work.progress.say(f"{settings.label}: began with other software or on another device; run.json says so")
    info = {**info, "continued": [*continued, {"after_epoch": epochs, **here}]}
    if work.team.writes:
        write_json(folder / RUN_FILE, info)
    return info


def _versions(settings: RunSettings) -> dict[str, str]:
    """Return the versions of all that a training's figures depend on."""
    known = spec(settings.system)
    return {
        "remixbench": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        **({known.package: known.version} if known.package and known.version else {}),
    }


def _finish(
    folder: Path, info: dict[str, Any], work: Work, settings: RunSettings, material: _Material, state: State
) -> None:
    """Write weights and predictions of the chosen epoch, in float32, and then that the run is done."""
    start = time.perf_counter()
    dataset, network = work.dataset, state.network
    write_history(folder, state.history)
    network.load_state_dict(state.best_weights)
    engine = Engine(work.device, "32")
    _calibrate(network, material.train, settings.batch_size)
    judged = material.train if material.validation is None else material.validation
    tags, peaks = score_frames(network, judged, engine, settings.batch_size, keep="highest")
    description = Description(
        system=settings.system,
        options=dict(settings.options),
        width=settings.width,
        classes=dataset.classes,
        frames=info["frames"],
        bands=info["bands"],
        recipe=dataset.recipe.model_dump(mode="json", include={"mix", "features"}),
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
    filenames = _names(dataset, material.parts.test)
    with _maps_of(folder, work, settings, material.test, filenames, has_maps(network, material.test, engine)) as maps:
        test_tags, test_frames = score_frames(network, material.test, engine, settings.batch_size, on_maps=maps)
    write_predictions(folder, filenames, dataset.classes, test_tags, test_frames, info["frame_seconds"])
    best = state.history[state.best_epoch - 1]
    standardisation = material.standardisation
    done = {
        **info,
        "status": "done",
        "finished": _now(),
        "epoch": best.epoch,
        "validation_micro_ap": best.validation_micro_ap,
        "test_micro_ap": best.test_micro_ap,
        "thresholds_from": "training clips" if material.validation is None else "validation clips",
        "seconds": round(sum(epoch.seconds for epoch in state.history) + time.perf_counter() - start, 3),
        "device": engine.device.type,
        "device_name": engine.name,
        "processes": work.team.size,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "standardisation_digest": sha256(standardisation.mean.tobytes() + standardisation.std.tobytes()),
        "clips": {part: len(getattr(material.parts, part)) for part in ("train", "validation", "test")},
        "validation_from": material.parts.origin,
        "marks": [*info["marks"], *([material.parts.flag] if material.parts.flag else [])],
        "train_digest": sha256("\n".join(_names(dataset, material.parts.train)).encode()),
        "validation_clips": _names(dataset, material.parts.validation),
    }
    write_json(folder / RUN_FILE, done)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    work.progress.say(f"{settings.label}: {describe(done)}, in {folder}")


def _calibrate(network: torch.nn.Module, train: Clips, batch_size: int) -> None:
    """Let a system that has `calibrate` set its buffers on training clips, before it predicts."""
    calibrate = getattr(network, "calibrate", None)
    if calibrate is not None:
        indices = torch.linspace(0, len(train) - 1, min(len(train), CALIBRATION_CLIPS)).long()
        calibrate(train.batch(part)[0] for part in torch.split(indices, batch_size))


def _maps_of(
    folder: Path, work: Work, settings: RunSettings, test: Clips, filenames: list[str], there: bool
) -> AbstractContextManager[Callable[[NDArray[np.uint8]], None] | None]:
    """Open the file of time-frequency maps where the data set has stems to score them by; None where it has not."""
    dataset = work.dataset
    if not there or float(settings.snr) not in dataset.info.stems:
        return nullcontext()
    clips, labels = np.nonzero(test.weak)
    names, classes = [filenames[row] for row in clips], [dataset.classes[k] for k in labels]
    recipe = dataset.recipe
    return writing_maps(folder / MAPS, names, classes, recipe.frames, recipe.features.n_mels)


def describe(info: dict[str, Any]) -> str:
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
