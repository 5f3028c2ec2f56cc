"""One run, from `run.json` to its predictions: data, training, and files."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from remixbench import __version__
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.splits import Rows
from remixbench.errors import InputError, RemixbenchError
from remixbench.files import file_sha256, sha256
from remixbench.systems.building import EmbeddingShape, frame_seconds_of
from remixbench.systems.cost import count_cost, count_encoder_macs
from remixbench.systems.encoders import PretrainedEncoder, load_encoder
from remixbench.systems.registry import source_digest, spec
from remixbench.training.config import TrainConfig, flags
from remixbench.training.data import DataSplits, load_splits
from remixbench.training.device import DistContext, Engine, exact_float32
from remixbench.training.evaluate import describe_thresholds, fit_thresholds, has_maps, score_frames
from remixbench.training.fresh import dynamic_mixing
from remixbench.training.grid import Display
from remixbench.training.model_file import ClipRecipe, ModelConfig, ModelEncoder, write_model
from remixbench.training.run_files import (
    CHECKPOINT,
    FORMAT,
    HISTORY,
    MAPS,
    MODEL,
    PREDICTIONS,
    RESULTS,
    VALIDATION,
    EncoderInfo,
    Epoch,
    Flag,
    RunInfo,
    Software,
    read_checkpoint,
    write_checkpoint,
    write_frames,
    write_history,
    write_predictions,
    write_run,
    writing_maps,
)
from remixbench.training.trainer import DivergenceError, TrainState, fit
from remixbench.training.trial import calibrate_network, check_resumable, first_network, tell_network


@dataclass(frozen=True)
class RunContext:
    """What all runs of a command share, and what this one reports to.

    `sources` is the folder of recordings that dynamic mixing reads; `load` loads an encoder by its reference.
    """

    dataset: Dataset
    sources: Path
    device: torch.device
    dist: DistContext
    progress: Display
    load: Callable[[str], PretrainedEncoder] = load_encoder


def create_run(folder: Path, context: RunContext, config: TrainConfig, digest: str) -> RunInfo:
    """Write the run.json of a run that begins."""
    dataset, recipe = context.dataset, context.dataset.recipe
    system = spec(config.system)
    info = RunInfo(
        format=FORMAT,
        status="training",
        dataset=dataset.name,
        manifest_digest=dataset.manifest_digest,
        audio_digest=dataset.audio_digest,
        not_comparable=list(dataset.not_comparable),
        **config.to_json(),
        flags=[Flag(**flag) for flag in flags(config, recipe)],
        digest=digest,
        package=system.package,
        sources=None if system.bundled else (source_digest(system) or "")[:12],
        started=_now(),
        device=context.device.type,
        versions=_versions(config),
        frames=recipe.frames,
        n_mels=recipe.features.n_mels,
        frame_seconds=recipe.frame_seconds,
        classes=list(dataset.classes),
    )
    write_run(folder, info)
    return info


def run_training(folder: Path, info: RunInfo, context: RunContext, config: TrainConfig) -> None:
    """Start or resume the training of a run and write all its files; run.json says `done` last."""
    dataset, dist, progress = context.dataset, context.dist, context.progress
    engine = Engine(context.device, config.precision)
    # read once: the file of a third-party system may be edited during the training
    system, versions = spec(config.system), _versions(config)
    label = config.label(dataset.recipe.mix.snr_offsets)
    sources = source_digest(system) or ""
    data = load_splits(dataset, config, engine.device)
    network = first_network(dataset, config, data.embedding)
    steps = -(-len(data.train) // config.batch_size)
    tell_network(network, data.train.weak, data.standardisations[0], system)
    state = TrainState(dist.prepare(engine.place(network)), config, steps)
    saved = read_checkpoint(folder, info.digest)
    if saved is not None:
        try:
            state.load_state_dict(saved)
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
            raise InputError(
                f"{folder / CHECKPOINT}: does not fit the run ({reason}); delete it to start the run again"
            ) from None
        progress.say(f"{label}: resumes after epoch {len(state.history)}")
        info = _resumed(folder, info, context, label, versions, len(state.history))

    def on_epoch(epoch: Epoch) -> None:
        if dist.is_main_process:
            write_checkpoint(folder, info.digest, state.state_dict())
            if len(state.history) == 1 and not system.bundled:
                check_resumable(folder, info.digest, system)
            write_history(folder, state.history)

    if unseen := unseen_classes(data.train.weak, dataset.classes):
        progress.say(f"{label}: no training clip has {', '.join(unseen)}; the scores of such classes mean nothing")
    if not data.train.cached:
        progress.say(f"{label}: the clips do not fit into memory and are read again in every epoch")
    selection = data.test if config.select == "paper" or data.validation is None else data.validation
    clips = len(data.train)
    with progress.training(label, state.epochs, clips) as advance:
        advance(len(state.history) * clips)
        mixed = None
        if config.fresh:
            rows, scale = data.split.train, data.standardisations[0]
            mixed = dynamic_mixing(dataset, context.sources, config, rows, scale, engine.device, dist)
        try:
            fit(
                state, config, engine, data.train, selection, dist=dist, mixed=mixed, on_epoch=on_epoch, advance=advance
            )
        except DivergenceError as error:
            raise RemixbenchError(f"{label}: {error}") from None
    if dist.is_main_process:
        with exact_float32():
            _finish(TrainedRun(folder, info, context, config, data, state, sources))


def _resumed(
    folder: Path, info: RunInfo, context: RunContext, label: str, versions: dict[str, str], epochs: int
) -> RunInfo:
    """Add a note to run.json if a run resumes with other software or on another device."""
    device = context.device.type
    before = info.resumed[-1] if info.resumed else info
    if (before.device, before.versions) == (device, versions):
        return info
    context.progress.say(f"{label}: started with other software or on another device; run.json says so")
    software = Software(after_epoch=epochs, device=device, versions=versions)
    info = info.model_copy(update={"resumed": [*info.resumed, software]})
    if context.dist.is_main_process:
        write_run(folder, info)
    return info


def _versions(config: TrainConfig) -> dict[str, str]:
    """Return the versions of all that a trained network depends on."""
    system = spec(config.system)
    return {
        "remixbench": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        **({system.package: system.version} if system.package and system.version else {}),
    }


@dataclass(frozen=True)
class TrainedRun:
    """A run whose training is over; `sources` is the digest of a third-party system's source files at its start."""

    folder: Path
    info: RunInfo
    context: RunContext
    config: TrainConfig
    data: DataSplits
    state: TrainState
    sources: str


def _finish(run: TrainedRun) -> None:
    """Write weights and predictions of the chosen epoch, in float32, and then that the run is done."""
    start = time.perf_counter()
    folder, dataset, data, progress = run.folder, run.context.dataset, run.data, run.context.progress
    network, batch_size = run.state.network, run.config.batch_size
    write_history(folder, run.state.history)
    network.load_state_dict(run.state.best_weights)
    calibrate_network(network, data.train, batch_size)
    engine, step = Engine(run.context.device, "32"), frame_seconds_of(network, run.info.frame_seconds)
    if data.validation is None:
        reference, origin = data.train, "training clips"
        tags, frame_max = score_frames(network, reference, engine, batch_size, keep="highest")
    else:
        reference, origin = data.validation, "validation clips"
        tags, frames = score_frames(network, reference, engine, batch_size)
        frame_max = frames.max(axis=1)
        filenames = _names(dataset, data.split.validation)  # what post-processing is tuned on
        write_frames(folder / VALIDATION, filenames, dataset.classes, frames.astype(np.float16), step)
    tag_thresholds, frame_thresholds = (fit_thresholds(reference.weak, scores) for scores in (tags, frame_max))
    first, *second = data.standardisations
    write_model(
        folder / MODEL, _model_config(run), network.state_dict(), first, tag_thresholds, frame_thresholds, *second
    )
    filenames = _names(dataset, data.split.test)
    with _maps_of(run, tag_thresholds) if has_maps(network, data.test, engine) else nullcontext() as maps:
        test_tags, test_frames = score_frames(network, data.test, engine, batch_size, on_maps=maps)
    write_predictions(folder / PREDICTIONS, filenames, dataset.classes, test_tags, test_frames, step)
    seconds = sum(epoch.seconds for epoch in run.state.history) + time.perf_counter() - start
    done = _finished(run, origin, seconds)
    write_run(folder, done)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    label = run.config.label(dataset.recipe.mix.snr_offsets)
    progress.say(f"{label}: {describe(done)}, in {folder}")
    progress.say(f"{label}: {describe_thresholds(tag_thresholds, frame_thresholds, len(reference), origin)}")


def _model_config(run: TrainedRun) -> ModelConfig:
    """Return the description of a run's weights."""
    dataset, config, encoder = run.context.dataset, run.config, run.config.encoder
    return ModelConfig(
        system=config.system,
        options=config.to_json()["options"],
        width=config.width,
        classes=dataset.classes,
        frames=run.info.frames,
        n_mels=run.info.n_mels,
        recipe=ClipRecipe(mix=dataset.recipe.mix, features=dataset.recipe.features),
        digest=run.info.digest,
        sources=run.sources,
        encoder=None if encoder is None else ModelEncoder.model_validate(encoder, from_attributes=True),
        embedding=run.data.embedding,
    )


def _finished(run: TrainedRun, origin: str, seconds: float) -> RunInfo:
    """Return run.json of a run whose results are written; `origin` names the clips of the thresholds."""
    dataset, data, history = run.context.dataset, run.data, run.state.history
    best, cost = history[run.state.best_epoch - 1], count_cost(run.state.network, *data.test.shapes)
    rows = {"train": data.split.train, "validation": data.split.validation, "test": data.split.test}
    engine = Engine(run.context.device, "32")
    return run.info.model_copy(
        update={
            "status": "done",
            "flags": [*run.info.flags, *_flags_of_data(dataset, data)],
            "finished": _now(),
            "epoch": best.epoch,
            "epochs_trained": len(history),
            "validation_micro_ap": best.validation_micro_ap,
            "test_micro_ap": best.test_micro_ap,
            "thresholds_from": origin,
            "seconds": round(seconds, 3),
            "device": engine.device.type,
            "device_name": engine.name,
            "processes": run.context.dist.world_size,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "results": {
                Path(name).as_posix(): file_sha256(run.folder / name)
                for name in (HISTORY, *RESULTS, MAPS, VALIDATION)
                if (run.folder / name).is_file()
            },
            "encoder": _encoder_info(run.context, run.config, data.embedding),
            "standardisation_digest": sha256(
                b"".join(scale.mean.tobytes() + scale.std.tobytes() for scale in data.standardisations)
            ),
            "clips": {role: len(clips) for role, clips in rows.items()},
            "validation_from": data.split.origin,
            "train_digest": sha256("\n".join(_names(dataset, data.split.train)).encode()),
            "validation_clips": _names(dataset, data.split.validation),
        }
    )


def unseen_classes(weak: NDArray[np.bool_], classes: Sequence[str]) -> list[str]:
    """Return the classes that no training clip has, of labels (clips, classes)."""
    return [classes[k] for k in np.flatnonzero(weak.sum(axis=0) == 0).tolist()]


NAMED_CLASSES = 3
"""The most classes without training clips that a flag names, since it stands under every table."""


def _flags_of_data(dataset: Dataset, data: DataSplits) -> list[Flag]:
    """Return the flags of a run that concern its clips."""
    flags = [Flag(code="validation", text=data.split.flag)] if data.split.flag else []
    if unseen := unseen_classes(data.train.weak, dataset.classes):
        more = f" and {len(unseen) - NAMED_CLASSES} other classes" if len(unseen) > NAMED_CLASSES else ""
        named = ", ".join(unseen[:NAMED_CLASSES])
        flags.append(Flag(code="unseen-class", text=f"no training clip has {named}{more}"))
    return flags


def _encoder_info(context: RunContext, config: TrainConfig, embedding: EmbeddingShape | None) -> EncoderInfo | None:
    """Return the description of the frozen encoder in run.json; its cost is counted on one clip."""
    if config.encoder is None or embedding is None:
        return None
    encoder = context.load(config.encoder.reference)
    mix = context.dataset.recipe.mix
    return EncoderInfo(
        name=encoder.name,
        pretrained_on=list(encoder.pretrained_on),
        licence=encoder.licence,
        citation=encoder.citation,
        parameters=encoder.parameters,
        macs=count_encoder_macs(encoder, round(mix.samples * encoder.sample_rate / mix.sample_rate)),
        frames=embedding.frames,
        dimensions=embedding.dimensions,
        frame_seconds=embedding.frame_seconds,
    )


def _maps_of(
    run: TrainedRun, thresholds: NDArray[np.float32]
) -> AbstractContextManager[Callable[[NDArray[np.uint16], NDArray[np.int64]], None] | None]:
    """Open the file of time-frequency maps; None where the data set has no stems to score them by."""
    dataset, test = run.context.dataset, run.data.test
    if float(run.config.snr) not in dataset.info.stems:
        return nullcontext()
    size = dataset.recipe.frames, dataset.recipe.features.n_mels
    filenames = _names(dataset, run.data.split.test)
    return writing_maps(run.folder / MAPS, filenames, dataset.classes, thresholds, test.weak, *size)


def describe(info: RunInfo) -> str:
    """Return the score of the chosen epoch on the clips it was chosen on, as text."""
    if info.select == "last":
        return f"epoch {info.epoch}, the last"
    if info.validation_micro_ap is not None:
        return f"validation micro-AP {info.validation_micro_ap:.4f} in epoch {info.epoch}"
    return f"micro-AP {info.test_micro_ap or 0:.4f} in epoch {info.epoch}, chosen on the test fold"


def _names(dataset: Dataset, rows: Rows) -> list[str]:
    return [dataset.filenames[row] for row in rows]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
