"""`train`: the runs of a grid, each started, resumed, or already done."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.embeddings import open_embeddings
from remixbench.errors import InputError
from remixbench.files import as_path, make_folder, remove_temp_files
from remixbench.parallel import available_cores, check_jobs, check_shard
from remixbench.progress import SILENT, Progress, reporter
from remixbench.systems.encoders import encoder_loader, load_encoder
from remixbench.systems.encoders import is_registered as is_registered_encoder
from remixbench.systems.registry import OptionValue, is_registered, spec
from remixbench.training.config import TrainConfig, data_digest, list_configs
from remixbench.training.device import (
    DistContext,
    choose_device,
    choose_precision,
    enough_memory,
    local_rank,
    process_group,
    torch_threads,
)
from remixbench.training.embeddings import compute_embeddings
from remixbench.training.grid import NO_DISPLAY, Display, one_after_another, side_by_side
from remixbench.training.run import RunContext, create_run, describe, run_training
from remixbench.training.run_files import (
    CHECKPOINT,
    MODEL,
    RESULTS,
    RUN_FILE,
    RunInfo,
    read_run,
    run_folder,
    write_run,
)
from remixbench.training.trial import try_system

if TYPE_CHECKING:
    import torch


def train(
    *,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    system: str | Sequence[str] | None = None,
    snr: float | Sequence[float] | None = None,
    fold: int | Sequence[int] | None = None,
    seed: int | Sequence[int] | None = None,
    alpha: float | Sequence[float] | None = None,
    fraction: float | Sequence[float] | None = None,
    options: Mapping[str, OptionValue] | None = None,
    select: str = "validation",
    device: str = "auto",
    precision: str = "auto",
    fresh: bool = False,
    sources: str | Path | None = None,
    shard: tuple[int, int] = (1, 1),
    jobs: int | None = None,
    rerun: bool = False,
    dry_run: bool = False,
    progress: Progress | bool = False,
    **training: Any,
) -> list[Path]:
    """Train systems on a data set: every combination of the values given is a run.

    A finished run is not repeated; an interrupted one resumes after its last epoch and ends with the same weights as
    without the interruption. A run with any other setting is another run in another folder.

    Parameters
    ----------
    workspace : where data sets and runs are.
    dataset : name or folder of a data set; by default the most recent one.
    system : names of systems; by default the five of the paper's Table 1.
    snr : signal-to-noise ratios in dB; by default all that were made.
    fold : folds to test on; by default 4, as in the released example.
    seed : seeds of weights, order, augmentation and choice of clips; by default 0.
    alpha : weights of the reconstruction, for the systems that have a decoder; by default each system's own.
    fraction : parts of the training clips to train on, in (0, 1]; seeded, class-balanced, nested.
    options : named options of the systems, such as {"attention": "paper"}; see `remixbench.systems.spec`.
    select : keep the best epoch on the `validation` part, on the held-out fold as in the `paper`, or the `last` one.
    device : auto, cpu, cuda, cuda:N or mps.
    precision : 32, bf16, or auto: bf16 where the hardware has it. Runs of two precisions are two runs.
    fresh : mix the training clips anew in every epoch after the first (dynamic mixing); a flagged row.
    sources : folder of the recordings, for `fresh`; by default `sources` in the workspace.
    shard : (i, n), train only every n-th run, beginning with the i-th, counted from 1.
    jobs : how many runs are trained side by side, in processes of one thread each; -1 for one per core, the default on
        a CPU. The weights are the same for any number. A single run uses all cores, unless `jobs` is 1.
    rerun : train finished and interrupted runs again, from the start.
    dry_run : train nothing, only return the folders of all runs.
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter.
    training : settings by their names in `remixbench.recipe.Training`, such as `epochs` or `learning_rate`. One that is
        None or left out is the system's own, or else the data set recipe's. Where `epochs` alone is given, `min_steps`
        is 0.

    Returns
    -------
    The folders of the runs, in order, that are done now. Where `torchrun` started several processes, the main one
    returns them and the others nothing.

    Raises
    ------
    InputError
        For an impossible value, a data set that lacks what is asked for, or broken files.
    RemixbenchError
        If a training diverges, or memory runs out.
    """
    progress = reporter(progress)
    workspace = as_path(workspace, "workspace")
    data = find_dataset(workspace, dataset)
    main_device = choose_device(device, local_rank())
    load = encoder_loader()
    configs = list_configs(
        data, system=system, snr=snr, fold=fold, seed=seed, alpha=alpha, fraction=fraction, options=options,
        select=select, precision=choose_precision(precision, main_device), fresh=fresh, load=load, **training,
    )  # fmt: skip
    check_shard(shard)
    for config in configs:
        if spec(config.system).takes_logmel:
            data.features(config.snr)  # fails at once where it is missing
    _try_systems(data, configs, main_device, with_encoder=False)
    configs = configs[shard[0] - 1 :: shard[1]]
    if dry_run:
        return [run_folder(workspace, data.name, config, _identity(data, config)) for config in configs]
    with process_group(main_device) as dist:
        if not dist.is_main_process:
            progress = SILENT
        context = RunContext(data, Path(sources or workspace / "sources"), main_device, dist, NO_DISPLAY, load)
        count = len(configs)
        workers = _workers(jobs, main_device, configs, dist)
        beside = f", {workers} side by side" if workers > 1 else ""
        runs = f"{count} run{'s' * (count != 1)}"
        progress.say(f"Training {runs} on data set {data.name} ({data.path}) with {main_device}{beside}")
        embed_missing(context, configs, progress)
        _try_systems(data, configs, main_device, with_encoder=True)
        tasks = [(workspace, context, config, rerun) for config in configs]
        systems = [spec(config.system).name for config in configs]
        if workers > 1:
            tasks = [(workspace, replace(context, load=load_encoder), config, rerun) for config in configs]
            folders = side_by_side(_train_one, tasks, systems, progress, workers)
        else:
            one_thread = main_device.type == "cpu" and (count > 1 or jobs is not None) and dist.world_size == 1
            with torch_threads(1 if one_thread else None):
                folders = one_after_another(_train_one, tasks, systems, progress)
    return [folder for folder in folders if folder is not None and dist.is_main_process]


def _try_systems(dataset: Dataset, configs: Sequence[TrainConfig], device: torch.device, *, with_encoder: bool) -> None:
    """Try each network once: each system with each of its options and widths; see `try_system`."""
    for config in {(config.system, config.options, config.width): config for config in configs}.values():
        if (config.encoder is not None) == with_encoder:
            with _enough_memory(dataset, config, choose_device("cpu")):
                try_system(dataset, config, device)


def _workers(jobs: int | None, device: torch.device, configs: Sequence[TrainConfig], dist: DistContext) -> int:
    """Return how many runs are trained side by side."""
    if dist.world_size > 1:
        if jobs not in (None, 1):
            raise InputError(f"--jobs {jobs}: torchrun starts the processes; leave --jobs out")
        return 1
    if jobs is None:
        jobs = -1 if device.type == "cpu" else 1
    check_jobs(jobs)
    encoders = [config.encoder.reference for config in configs if config.encoder is not None]
    if any(is_registered(config.system) for config in configs) or any(map(is_registered_encoder, encoders)):
        return 1  # other processes do not know them
    return max(1, min(available_cores() if jobs < 0 else jobs, len(configs)))


def embed_missing(context: RunContext, configs: Sequence[TrainConfig], progress: Progress) -> None:
    """Compute missing embeddings that runs need, in the main process."""
    encoders = {(config.encoder, config.snr): None for config in configs if config.encoder is not None}
    if context.dist.is_main_process:
        for key, snr in encoders:
            if key is not None and open_embeddings(context.dataset, snr, key.name, key.digest) is None:
                encoder = context.load(key.reference)
                compute_embeddings(context.dataset, encoder, snr, device=context.device, progress=progress)
    context.dist.broadcast(None)  # the others wait here


def _enough_memory(dataset: Dataset, config: TrainConfig, device: torch.device) -> AbstractContextManager[None]:
    """Say in one line which run does not fit into memory, and what to do."""
    smaller = f"a smaller --batch-size than {config.batch_size} or --width than {config.width:g} needs less"
    return enough_memory(config.label(dataset.recipe.mix.snr_offsets), device, smaller)


def _train_one(task: tuple[Path, RunContext, TrainConfig, bool], display: Display) -> Path | None:
    """Complete one run; returns its folder, or None if another process is training it."""
    workspace, context, config, rerun = task
    context = replace(context, progress=display if context.dist.is_main_process else NO_DISPLAY)
    label = config.label(context.dataset.recipe.mix.snr_offsets)
    with ExitStack() as locks:
        start: tuple[Path, RunInfo] | None = None
        if context.dist.is_main_process:
            try:
                start = _acquire(workspace, context, config, locks, rerun)
            except Timeout:
                context.progress.say(f"{label}: another process is training it; skipped")
        start = context.dist.broadcast(start)
        if start is None:
            return None
        folder, info = start
        if info.status == "done":
            context.progress.say(f"{label}: done before ({describe(info)}), in {folder}")
        else:
            with _enough_memory(context.dataset, config, context.device):
                run_training(folder, info, context, config)
        return folder


def _identity(dataset: Dataset, config: TrainConfig) -> str:
    return config.digest(data_digest(dataset, config.snr, spec(config.system).inputs))


def _acquire(
    workspace: Path, context: RunContext, config: TrainConfig, stack: ExitStack, rerun: bool
) -> tuple[Path, RunInfo]:
    """Lock the run while `stack` lasts; returns its folder and run.json."""
    digest = _identity(context.dataset, config)
    locks = workspace / "runs" / context.dataset.name / ".locks"
    make_folder(locks)
    stack.enter_context(FileLock(locks / f"{digest[:16]}.lock", timeout=0))
    # two runs that start at the same time must not both take the plain name
    with FileLock(locks / "place.lock"):
        folder = run_folder(workspace, context.dataset.name, config, digest)
        if not (folder / RUN_FILE).exists():
            return folder, create_run(folder, context, config, digest)
        if rerun:
            info = create_run(folder, context, config, digest)
            for name in (CHECKPOINT, MODEL, "metrics.json"):
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / "predictions", ignore_errors=True)
            return folder, info
        info = read_run(folder)
        for subfolder in (folder, folder / "predictions"):
            remove_temp_files(subfolder)
        if info.status == "done":  # and killed before this
            (folder / CHECKPOINT).unlink(missing_ok=True)
        lost = [name for name in RESULTS if info.status == "done" and not (folder / name).exists()]
        if lost:
            label = config.label(context.dataset.recipe.mix.snr_offsets)
            context.progress.say(f"{label}: done before, but {lost[0]} is missing, so it is trained again")
            info = info.model_copy(update={"status": "training"})
            write_run(folder, info)  # the remaining old results must not pass for new ones
        return folder, info
