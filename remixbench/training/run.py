"""One run, from `run.json` to its predictions: data, training, and the files that it leaves."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from remixbench import __version__
from remixbench.dataset.embeddings import Embeddings, open_embeddings
from remixbench.dataset.splits import Rows, Split, split
from remixbench.errors import InputError, RemixbenchError, one_line
from remixbench.files import file_sha256, sha256
from remixbench.systems.building import ClipShape, EmbeddingShape, build_network, frame_seconds_of
from remixbench.systems.cost import count_cost, count_encoder_macs
from remixbench.systems.encoders import PretrainedEncoder, load_encoder
from remixbench.systems.registry import SystemSpec, source_digest, spec
from remixbench.training.config import EncoderKey, TrainConfig, derived_seed, flags
from remixbench.training.data import (
    AS_IT_IS,
    EMBEDDING_FLOOR,
    ClipTensors,
    InputArray,
    Standardisation,
    Waveforms,
    fit_standardisation,
)
from remixbench.training.device import DistContext, Engine, exact_float32
from remixbench.training.evaluate import has_maps, score_frames
from remixbench.training.fresh import dynamic_mixing
from remixbench.training.grid import Display
from remixbench.training.model_file import ModelConfig, write_model
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
    tensorboard_writer,
    write_checkpoint,
    write_frames,
    write_history,
    write_predictions,
    write_run,
    writing_maps,
)
from remixbench.training.thresholds import describe_thresholds, fit_thresholds
from remixbench.training.trainer import TrainState, fit, third_party_errors, train_epoch

if TYPE_CHECKING:
    from remixbench.dataset.dataset import Dataset


@dataclass(frozen=True)
class RunContext:
    """What all runs of a command share, and what this one reports to.

    `sources` is the folder of recordings that dynamic mixing reads; `load` loads an encoder by its reference.
    """

    dataset: Dataset
    sources: Path
    device: torch.device
    dist: DistContext
    tensorboard: bool
    compiled: bool
    progress: Display
    load: Callable[[str], PretrainedEncoder] = load_encoder


@dataclass(frozen=True)
class DataSplits:
    """The clips of a run, standardised; `split` has their rows.

    `standardisation` is of the first input, `second_standardisation` of embeddings beside log-mel; `embedding` is the
    shape of embeddings.
    """

    split: Split
    standardisation: Standardisation
    second_standardisation: Standardisation | None
    embedding: EmbeddingShape | None
    train: ClipTensors
    validation: ClipTensors | None
    test: ClipTensors


def create_run(folder: Path, context: RunContext, config: TrainConfig, digest: str) -> RunInfo:
    """Write the run.json of a run that begins."""
    dataset, recipe = context.dataset, context.dataset.recipe
    known = spec(config.system)
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
        package=known.package,
        sources=None if known.bundled else (source_digest(known) or "")[:12],
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


def load_splits(dataset: Dataset, config: TrainConfig, device: torch.device) -> DataSplits:
    """Return the clips that a run trains on, chooses its epoch on and is tested on.

    Raises
    ------
    InputError
        If one of these has no clips, log-mel or embeddings were altered, or the log-mel holds NaN or infinity.
    """
    # the last epoch is kept of the very training that a choice on validation clips would have
    select = "paper" if config.select == "paper" else "validation"
    rows = split(dataset, config.fold, seed=config.seed, select=select, fraction=config.fraction)
    if not len(rows.train) or not len(rows.test) or (select == "validation" and not len(rows.validation)):
        raise InputError(
            f"{dataset.path}: fold {config.fold} leaves {len(rows.train)} clips to train on, {len(rows.validation)}"
            f" to choose the epoch on and {len(rows.test)} to test on; make a larger data set"
        )
    known, used = spec(config.system), np.concatenate([rows.train, rows.validation, rows.test])
    features: NDArray[np.floating[Any]] | Waveforms
    second, shape = None, None
    if known.inputs == "waveform":
        features, standardisation = Waveforms(dataset, config.snr), AS_IT_IS
    else:
        arrays: list[InputArray] = []
        if known.takes_logmel:
            dataset.verify_features(config.snr, used)
            logmel = dataset.features(config.snr)
            arrays.append(InputArray(logmel, fit_standardisation(logmel, rows.train)))
        if config.encoder is not None:
            embeddings = _embeddings(dataset, config.snr, config.encoder)
            embeddings.verify(dataset, used)
            values = embeddings.values
            arrays.append(InputArray(values, fit_standardisation(values, rows.train, EMBEDDING_FLOOR)))
            shape = _shape_of(embeddings)
        features, standardisation = arrays[0].values, arrays[0].standardisation
        second = arrays[1] if len(arrays) > 1 else None
    if not (np.isfinite(standardisation.mean).all() and np.isfinite(standardisation.std).all()):
        raise InputError(
            f"{dataset.path}: the log-mel at {config.snr:g} dB holds NaN or infinity; delete logmel.npy, make it again"
        )

    def clips(chosen: Rows) -> ClipTensors:
        return ClipTensors(features, dataset.weak, chosen, standardisation, device, embeddings=second)

    validation = clips(rows.validation) if len(rows.validation) else None
    second_standardisation = second.standardisation if second else None
    return DataSplits(
        rows, standardisation, second_standardisation, shape, clips(rows.train), validation, clips(rows.test)
    )


def _shape_of(embeddings: Embeddings) -> EmbeddingShape:
    _, frames, dimensions = embeddings.values.shape
    return EmbeddingShape(frames, dimensions, embeddings.info.frame_seconds)


def _embeddings(dataset: Dataset, snr: float, encoder: EncoderKey) -> Embeddings:
    """Open the embeddings that a run takes, which are computed before it begins."""
    embeddings = open_embeddings(dataset, snr, encoder.name, encoder.digest)
    if embeddings is None:
        raise InputError(
            f"{dataset.path}: has no embeddings by '{encoder.name}' at {snr:g} dB of the clips as they are now;"
            f" `remixbench embed {encoder.reference}` computes them"
        )
    return embeddings


def run_training(folder: Path, info: RunInfo, context: RunContext, config: TrainConfig) -> None:
    """Start or resume the training of a run and write all its files; run.json says `done` last."""
    dataset, dist, progress = context.dataset, context.dist, context.progress
    engine = Engine(context.device, config.precision)
    # asked once: the file of a third-party system may be edited while it is trained
    known, label, versions = spec(config.system), config.label, _versions(config)
    sources = source_digest(known) or ""
    data = load_splits(dataset, config, engine.device)
    network = first_network(dataset, config, data.embedding)
    steps = -(-len(data.train) // config.batch_size)
    _tell(network, data.train.weak, data.standardisation, known)
    state = TrainState(dist.prepare(engine.place(network)), config, steps, compiled=context.compiled)
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
    log = tensorboard_writer(folder, len(state.history)) if context.tensorboard and dist.is_main_process else None

    def on_epoch(epoch: Epoch) -> None:
        if dist.is_main_process:
            write_checkpoint(folder, info.digest, state.state_dict())
            if len(state.history) == 1 and not known.bundled:
                _check_resumable(folder, info.digest, known)
            write_history(folder, state.history)
        if log is not None:
            log(epoch)

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
            rows, scale = data.split.train, data.standardisation
            mixed = dynamic_mixing(dataset, context.sources, config, rows, scale, engine.device, dist)
        try:
            fit(
                state, config, engine, data.train, selection, dist=dist, mixed=mixed, on_epoch=on_epoch, advance=advance
            )
        except RuntimeError as error:
            if not (context.compiled and type(error).__module__.startswith("torch._")):
                raise
            raise RemixbenchError(
                f"{label}: torch.compile failed ({one_line(error)}); train without --compile"
            ) from error
    if dist.is_main_process:
        with exact_float32():
            _finish(folder, info, context, config, data, state, label=label, sources=sources)


def _check_resumable(folder: Path, digest: str, system: SystemSpec) -> None:
    """Refuse a third-party system whose checkpoint cannot be read, while little is lost."""
    try:
        read_checkpoint(folder, digest)
    except InputError as error:
        (folder / CHECKPOINT).unlink()
        raise system.error(
            f"its checkpoint could not be read to resume from ({error});"
            " expected the optimizer and lr_scheduler of its configure_optimizers to keep plain numbers and tensors"
        ) from error


def _resumed(
    folder: Path, info: RunInfo, context: RunContext, label: str, versions: dict[str, str], epochs: int
) -> RunInfo:
    """Return run.json with a note, and write it, where a run resumes with other software or on another device."""
    device = context.device.type
    before = info.resumed[-1] if info.resumed else info
    if (before.device, before.versions) == (device, versions):
        return info
    context.progress.say(f"{label}: started with other software or on another device; run.json says so")
    here = Software(after_epoch=epochs, device=device, versions=versions)
    info = info.model_copy(update={"resumed": [*info.resumed, here]})
    if context.dist.is_main_process:
        write_run(folder, info)
    return info


def _versions(config: TrainConfig) -> dict[str, str]:
    """Return the versions of all that a trained network depends on."""
    known = spec(config.system)
    return {
        "remixbench": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        **({known.package: known.version} if known.package and known.version else {}),
    }


def _finish(
    folder: Path,
    info: RunInfo,
    context: RunContext,
    config: TrainConfig,
    data: DataSplits,
    state: TrainState,
    *,
    label: str,
    sources: str,
) -> None:
    """Write weights and predictions of the chosen epoch, in float32, and then that the run is done."""
    start = time.perf_counter()
    dataset, network = context.dataset, state.network
    write_history(folder, state.history)
    network.load_state_dict(state.best_weights)
    _calibrate(network, data.train, config.batch_size)
    engine = Engine(context.device, "32")
    reference = data.train if data.validation is None else data.validation
    if data.validation is None:
        tags, frame_max = score_frames(network, reference, engine, config.batch_size, keep="highest")
    else:
        tags, frames = score_frames(network, reference, engine, config.batch_size)
        frame_max = frames.max(axis=1)
    tag_thresholds, frame_thresholds = (fit_thresholds(reference.weak, each) for each in (tags, frame_max))
    origin = "training clips" if data.validation is None else "validation clips"
    model = ModelConfig(
        system=config.system,
        options=config.to_json()["options"],
        width=config.width,
        classes=dataset.classes,
        frames=info.frames,
        n_mels=info.n_mels,
        recipe=dataset.recipe.model_dump(mode="json", include={"mix", "features"}),
        digest=info.digest,
        sources=sources,
        encoder=_encoder_record(config),
        embedding=None if data.embedding is None else asdict(data.embedding),
    )
    write_model(
        folder / MODEL,
        model,
        network.state_dict(),
        data.standardisation,
        tag_thresholds,
        frame_thresholds,
        data.second_standardisation,
    )
    filenames = _names(dataset, data.split.test)
    there = has_maps(network, data.test, engine)
    with _maps_of(folder, context, config, data.test, filenames, tag_thresholds, there) as maps:
        test_tags, test_frames = score_frames(network, data.test, engine, config.batch_size, on_maps=maps)
    step = frame_seconds_of(network, info.frame_seconds)
    write_predictions(folder / PREDICTIONS, filenames, dataset.classes, test_tags, test_frames, step)
    if data.validation is not None:  # what post-processing is tuned on
        validated = _names(dataset, data.split.validation)
        write_frames(folder / VALIDATION, validated, dataset.classes, frames.astype(np.float16), step)
    cost = count_cost(network, *data.test.shapes)
    best = state.history[state.best_epoch - 1]
    scales = [scale for scale in (data.standardisation, data.second_standardisation) if scale is not None]
    rows = {"train": data.split.train, "validation": data.split.validation, "test": data.split.test}
    done = info.model_copy(
        update={
            "status": "done",
            "flags": [*info.flags, *_flags_of_data(dataset, data)],
            "finished": _now(),
            "epoch": best.epoch,
            "epochs_trained": len(state.history),
            "validation_micro_ap": best.validation_micro_ap,
            "test_micro_ap": best.test_micro_ap,
            "thresholds_from": origin,
            "seconds": round(sum(epoch.seconds for epoch in state.history) + time.perf_counter() - start, 3),
            "device": engine.device.type,
            "device_name": engine.name,
            "processes": context.dist.world_size,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "results": {
                Path(name).as_posix(): file_sha256(folder / name)
                for name in (HISTORY, *RESULTS, MAPS, VALIDATION)
                if (folder / name).is_file()
            },
            "encoder": _encoder_info(context, config, data.embedding),
            "standardisation_digest": sha256(b"".join(scale.mean.tobytes() + scale.std.tobytes() for scale in scales)),
            "clips": {role: len(chosen) for role, chosen in rows.items()},
            "validation_from": data.split.origin,
            "train_digest": sha256("\n".join(_names(dataset, data.split.train)).encode()),
            "validation_clips": _names(dataset, data.split.validation),
        }
    )
    write_run(folder, done)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    context.progress.say(f"{label}: {describe(done)}, in {folder}")
    thresholds = describe_thresholds(tag_thresholds, frame_thresholds, len(reference), origin)
    context.progress.say(f"{label}: {thresholds}")


def first_network(dataset: Dataset, config: TrainConfig, embedding: EmbeddingShape | None) -> nn.Module:
    """Return the network of a run with its first weights, on the CPU."""
    recipe = dataset.recipe
    shape = ClipShape(
        len(dataset.classes), recipe.frames, recipe.features.n_mels, recipe.mix.samples, recipe.mix.sample_rate,
        recipe.frame_seconds, embedding,
    )  # fmt: skip
    return build_network(
        config.system, shape, width=config.width, options=dict(config.options),
        seed=derived_seed(config.seed, "weights"),
    )  # fmt: skip


def try_system(dataset: Dataset, config: TrainConfig) -> None:
    """Build the network of a run, and let one of a third party do all that a run asks of it, on two clips of noise.

    So a system that breaks the contract is refused before anything is written.

    Raises
    ------
    InputError
        Naming the system, and what it does that it should not.
    """
    known, recipe, cpu = spec(config.system), dataset.recipe, torch.device("cpu")
    embedding = None
    if config.encoder is not None:
        embedding = _shape_of(_embeddings(dataset, config.snr, config.encoder))
    network = first_network(dataset, config, embedding)
    if known.bundled:
        return
    shapes: list[tuple[int, ...]] = [(recipe.frames, recipe.features.n_mels)] if known.takes_logmel else []
    if known.inputs == "waveform":
        shapes.append((recipe.mix.samples,))
    if embedding is not None:
        shapes.append((embedding.frames, embedding.dimensions))
    generator = np.random.default_rng(0)
    first, *others = (_noise(shape, generator) for shape in shapes)
    weak = np.arange(2)[:, None] == np.arange(len(dataset.classes)) % 2
    second = others[0] if others else None
    clips = ClipTensors(first.values, weak, np.arange(2), first.standardisation, cpu, embeddings=second)
    with torch.random.fork_rng(devices=()):
        _tell(network, weak, first.standardisation, known)
        state = TrainState(network, config)
        try:
            train_epoch(state, config, Engine(cpu, "32"), clips, 1)
        except InputError:
            raise
        except RemixbenchError:  # noise may have no finite loss
            return
        state.update_best(0.0)
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(Path(folder), "", state.state_dict())
            _check_resumable(Path(folder), "", known)
        with third_party_errors(known, "its calibrate fails"):
            _calibrate(network, clips, config.batch_size)


def _noise(shape: tuple[int, ...], generator: np.random.Generator) -> InputArray:
    """Return two clips of noise: a waveform (samples,), or standardised frames (frames, bands)."""
    noise = generator.standard_normal((2, *shape), np.float32)
    if len(shape) == 1:
        return InputArray(0.1 * noise, AS_IT_IS)
    return InputArray(noise, Standardisation(np.zeros(shape[-1], np.float32), np.ones(shape[-1], np.float32)))


def _tell(network: nn.Module, weak: NDArray[np.bool_], standardisation: Standardisation, system: SystemSpec) -> None:
    """Tell a network that has `set_prior` or `set_std`, before it is trained, what these take of the training clips.

    `set_prior` takes the mean label of each class, where 0 and 1, whose log odds are infinite, are half a clip away;
    `set_std` the standard deviation of each band of the log-mel.
    """
    half = 0.5 / len(weak)
    prior = weak.mean(axis=0).clip(half, 1 - half).astype(np.float32)
    for name, values in (("set_prior", prior), ("set_std", standardisation.std)):
        hook: Callable[[Tensor], None] | None = getattr(network, name, None)
        if hook is not None:
            with third_party_errors(system, f"its {name} fails"):
                hook(torch.from_numpy(values.copy()))


def unseen_classes(weak: NDArray[np.bool_], classes: Sequence[str]) -> list[str]:
    """Return the classes that no training clip has, of labels (clips, classes)."""
    return [classes[k] for k in np.flatnonzero(weak.sum(axis=0) == 0).tolist()]


NAMED_CLASSES = 3
"""Up to so many classes without training clips are named in a flag, which stands under every table."""


def _flags_of_data(dataset: Dataset, data: DataSplits) -> list[Flag]:
    """Return what a reader has to know of the clips before comparing the run."""
    flags = [Flag(code="validation", text=data.split.flag)] if data.split.flag else []
    if unseen := unseen_classes(data.train.weak, dataset.classes):
        more = f" and {len(unseen) - NAMED_CLASSES} other classes" if len(unseen) > NAMED_CLASSES else ""
        named = ", ".join(unseen[:NAMED_CLASSES])
        flags.append(Flag(code="unseen-class", text=f"no training clip has {named}{more}"))
    return flags


CALIBRATION_CLIPS = 512
"""Training clips, at most, that a system with `calibrate` gets."""


def _calibrate(network: nn.Module, train: ClipTensors, batch_size: int) -> None:
    """Call the network's `calibrate(batches)`, where it has one, with standardised log-mel of the training clips.

    What it finds it keeps in buffers, which are stored with the weights.
    """
    calibrate: Callable[[Iterator[Any]], None] | None = getattr(network, "calibrate", None)
    if calibrate is None:
        return
    network.eval()
    order = torch.linspace(0, len(train) - 1, min(len(train), CALIBRATION_CLIPS), device=train.index_device).long()
    batches = (train.batch(indices)[0] for indices in torch.split(order, batch_size))
    calibrate(inputs[0] if len(inputs) == 1 else inputs for inputs in batches)


def _encoder_record(config: TrainConfig) -> dict[str, str] | None:
    """Return what the model says of its encoder: by what it is found, and which one it is."""
    if config.encoder is None:
        return None
    return {name: getattr(config.encoder, name) for name in ("name", "reference", "digest")}


def _encoder_info(context: RunContext, config: TrainConfig, embedding: EmbeddingShape | None) -> EncoderInfo | None:
    """Return what run.json says of the frozen encoder; its cost is counted on one clip."""
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
    folder: Path,
    context: RunContext,
    config: TrainConfig,
    test: ClipTensors,
    filenames: list[str],
    thresholds: NDArray[np.float32],
    there: bool,
) -> AbstractContextManager[Callable[[NDArray[np.uint8], NDArray[np.int64]], None] | None]:
    """Open the file of time-frequency maps where the data set has stems to score them by; None where it has not."""
    dataset = context.dataset
    if not there or float(config.snr) not in dataset.info.stems:
        return nullcontext()
    size = dataset.recipe.frames, dataset.recipe.features.n_mels
    return writing_maps(folder / MAPS, filenames, dataset.classes, thresholds, test.weak, *size)


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
