"""`make`: from a recipe or manifest to a data set on disk, in parallel, resumable, the same bytes every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from remixbench.dataset.checkpoint import CLIPS_PER_BLOCK, Checkpoint, block_count, waiting_lock
from remixbench.dataset.dataset import Dataset, as_tuple, snr_folder
from remixbench.dataset.disk_space import check_disk_space
from remixbench.dataset.excerpts import check_memory, make_block, unprepared_excerpts
from remixbench.dataset.finalize import RecordingKey, finalize, publish, read_recordings
from remixbench.dataset.info import AudioFormat, StemKind, check_dataset_name, read_info
from remixbench.dataset.inputs import check_options, parse_snrs, resolve_inputs
from remixbench.dataset.leakage import identical_lines
from remixbench.dataset.manifest import Manifest, write_manifest
from remixbench.dataset.render import RenderJob, render_block
from remixbench.dataset.spec import DatasetSpec, Target, logmel_file, missing_blocks, read_existing
from remixbench.errors import InputError
from remixbench.files import exclusive_lock
from remixbench.parallel import Workers
from remixbench.progress import Progress, reporter
from remixbench.recipe import Recipe


def make(
    *,
    workspace: str | Path = ".",
    recipe: str | Path | Recipe | None = None,
    manifest: str | Path | None = None,
    replan: bool = False,
    sources: str | Path | None = None,
    out: str | Path | None = None,
    snr: float | Sequence[float] | None = None,
    fold: int | Sequence[int] | None = None,
    clips_per_fold: int | None = None,
    jobs: int = -1,
    backend: str = "loky",
    scheduler: str | None = None,
    shard: tuple[int, int] = (1, 1),
    audio_format: AudioFormat = "wav",
    stems: bool | StemKind = False,
    features: bool = True,
    progress: Progress | bool = False,
) -> Dataset | None:
    """Make a data set, resume an unfinished one, add SNRs to one, or restore what was lost of one.

    Parameters
    ----------
    workspace : where `sources/` and `datasets/` lie
    recipe : name, file or Recipe; without one `remix2019` if its sources are there, else `mini`
    manifest : folder of a manifest to use instead of the recipe's frozen one
    replan : draw the manifest anew from the sources' tables
    sources : where the sources lie, if not in the workspace
    out : folder of the data set, if not `datasets/<recipe>` in the workspace
    snr : SNRs in dB; those of the recipe by default
    fold, clips_per_fold : make a part: only these folds, only their first clips
    jobs : parallel processes; -1 for one per core
    backend, scheduler : of joblib: loky, threading, or dask at the address of a scheduler
    shard : (I, N), the I-th of N shards of the work; the last to finish completes the data set
    audio_format : wav or flac; both hold the same samples
    stems : also write stems: True or "sum" for two channels (events, scene), "events" for one per event and the scene
    features : write log-mel features
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter

    Returns
    -------
    The data set, or None if this shard is finished and others are not.

    Raises
    ------
    InputError
        For an argument or a file that is not usable as it is.
    RemixbenchError
        If another process is making the data set, or the disk has no room for it.
    """
    progress = reporter(progress)
    check_options(backend, audio_format, jobs, clips_per_fold, shard, scheduler, stems)
    given = parse_snrs(as_tuple(snr))
    workspace = Path(workspace)
    inputs = resolve_inputs(workspace, recipe, manifest, replan, None if sources is None else Path(sources),
                            as_tuple(fold), clips_per_fold, progress)  # fmt: skip
    folder = Path(out) if out is not None else workspace / "datasets" / inputs.recipe.name
    kind: StemKind | None = "sum" if stems is True else stems or None
    target = Target(folder.resolve(), inputs.recipe, audio_format, kind, features)
    try:
        check_dataset_name(target.folder.name)
    except ValueError as error:
        raise InputError(f"--out {folder}: {error}") from None
    check_memory(inputs.recipe)
    spec = DatasetSpec(target, inputs.manifest, inputs.scenes, inputs.events, inputs.not_comparable)
    snrs = given or parse_snrs(inputs.recipe.mix.nominal_snrs)
    checkpoint = Checkpoint(target.folder / ".work")
    info = read_existing(spec)
    missing = missing_blocks(spec, info, snrs)
    if missing or checkpoint.folder.is_dir():
        check_disk_space(spec, checkpoint, missing, folder)
        busy = f"{folder}: another `make` is at work on it; wait for it, or choose another --out"
        with exclusive_lock(lock_file(folder, f"make-{shard[0]}-of-{shard[1]}"), busy):
            # no other shard may finish between the check and the start
            with waiting_lock(lock_file(folder, "finish")):
                publish(checkpoint, target.folder)
                info = read_existing(spec)
                if todo := missing_blocks(spec, info, snrs):
                    _open(spec, checkpoint, todo)
                elif info is not None:  # a process was killed before it could remove its checkpoint
                    checkpoint.close([value for value in info.snrs if not missing_blocks(spec, info, [value])])
            if todo:
                progress.say(_announcement(folder, info is None, todo, len(spec.manifest.clips)))
                workers = Workers(jobs, backend, scheduler)
                return _make(spec, checkpoint, tuple(todo), shard, workers, progress, folder)
    dataset = Dataset.open(folder)
    progress.say(f"{folder}: {_ready(dataset, snrs)}; nothing to do")
    return dataset


def lock_file(folder: Path, purpose: str) -> Path:
    """Return a lock beside the data set's folder, so that the folder holds nothing but the data set."""
    return folder.resolve().parent / f".{folder.resolve().name}.{purpose}.lock"


def _open(spec: DatasetSpec, checkpoint: Checkpoint, todo: Mapping[float, Sequence[int]]) -> None:
    """Lay out the folders and files to be filled; nothing that is there is lost."""
    target, blocks = spec.target, block_count(len(spec.manifest.clips))
    fresh = [snr for snr in todo if not checkpoint.is_open(snr)]
    checkpoint.open(spec.resume_key(), tuple(todo))
    write_manifest(spec.manifest, target.folder / "manifest")
    for snr in todo:
        for kind in ("audio", "stems") if target.stems else ("audio",):
            (target.folder / snr_folder(snr) / kind).mkdir(parents=True, exist_ok=True)
        intact = sorted(set(range(blocks)) - set(todo[snr])) if snr in fresh else []
        # when all is done, the file may have been moved to its place already
        if target.features and _unfinished_blocks(checkpoint, spec.manifest, [snr]):
            checkpoint.open_logmel(snr, spec.logmel_shape, logmel_file(spec, snr) if intact else None)
        for block in intact:
            checkpoint.keep(snr, block, [])


def _announcement(folder: Path, new: bool, todo: Mapping[float, Sequence[int]], clips: int) -> str:
    at = ", ".join(f"{snr:g}" for snr in todo)
    most = min(clips, CLIPS_PER_BLOCK * max(map(len, todo.values())))
    return f"{folder}: making {clips} clips at {at} dB" if new else f"{folder}: making up to {most} clips at {at} dB"


def _ready(dataset: Dataset, snrs: Sequence[float]) -> str:
    return f"{len(dataset.clips)} clips ready at {', '.join(f'{value:g}' for value in snrs)} dB"


def _make(
    spec: DatasetSpec,
    checkpoint: Checkpoint,
    snrs: tuple[float, ...],
    shard: tuple[int, int],
    workers: Workers,
    progress: Progress,
    shown: Path,
) -> Dataset | None:
    """Make the unfinished blocks of a shard, and finalize the data set if no other shard is unfinished."""
    manifest, folder = spec.manifest, spec.target.folder
    info = read_existing(spec)
    expected = read_recordings(folder, info)
    job = RenderJob(spec.target, checkpoint.folder, snrs, spec.scenes.reader, manifest.excerpts)
    blocks = _unfinished_blocks(checkpoint, manifest, snrs)
    mine = [block for block in blocks if block % shard[1] == shard[0] - 1]

    _prepare_excerpts(spec, checkpoint, mine, expected, workers, progress)
    _render_blocks(job, checkpoint, manifest, mine, expected, workers, progress)
    with waiting_lock(lock_file(folder, "finish")):
        info = read_existing(spec)
        if info is not None and not any(map(checkpoint.is_open, snrs)):
            return Dataset.open(shown)  # another shard completed it in the meantime
        if left := _unfinished_blocks(checkpoint, manifest, snrs):
            progress.say(
                f"{shown}: shard {shard[0]} of {shard[1]} is finished; {len(left)} blocks of other shards are not"
            )
            return None
        finalize(spec, info, checkpoint, snrs, progress)
    for line in identical_lines(manifest, read_recordings(folder, read_info(folder))):
        progress.say(line)
    dataset = Dataset.open(shown)
    progress.say(f"{shown}: {_ready(dataset, dataset.snrs)}")
    return dataset


def _unfinished_blocks(checkpoint: Checkpoint, manifest: Manifest, snrs: Sequence[float]) -> list[int]:
    blocks = range(block_count(len(manifest.clips)))
    return [block for block in blocks if any(not checkpoint.is_done(snr, block) for snr in snrs)]


def _rows(manifest: Manifest, block: int) -> list[int]:
    first = block * CLIPS_PER_BLOCK
    return list(range(first, min(first + CLIPS_PER_BLOCK, len(manifest.clips))))


def _prepare_excerpts(
    spec: DatasetSpec,
    checkpoint: Checkpoint,
    blocks: Sequence[int],
    expected: Mapping[RecordingKey, str],
    workers: Workers,
    progress: Progress,
) -> None:
    """Decode and resample, once, every event recording that the blocks of clips use."""
    manifest, folder = spec.manifest, checkpoint.folder / "excerpts"
    parts = unprepared_excerpts(
        folder, manifest, (manifest.clips[r] for block in blocks for r in _rows(manifest, block))
    )
    if not parts:
        return
    tasks = (
        (spec.target.recipe, spec.events.reader, folder, index, part,
         {file: expected["event", file, None] for file, _ in part if ("event", file, None) in expected})
        for index, part in parts.items()
    )  # fmt: skip
    with progress.bar("Preparing", sum(map(len, parts.values())), "recordings") as advance:
        for _, part in zip(workers.run(make_block, tasks, len(parts)), parts.values(), strict=True):
            advance(len(part))


def _render_blocks(
    job: RenderJob,
    checkpoint: Checkpoint,
    manifest: Manifest,
    blocks: Sequence[int],
    expected: Mapping[RecordingKey, str],
    workers: Workers,
    progress: Progress,
) -> None:
    """Render blocks of clips; this process notes each as finished when its records have come back."""
    clips = [[manifest.clips[row] for row in _rows(manifest, block)] for block in blocks]
    tasks = (
        (job, _rows(manifest, block), part,
         {(c.scene_file, start): expected["scene", c.scene_file, start] for c in part
          for start in (None, c.scene_start) if ("scene", c.scene_file, start) in expected})
        for block, part in zip(blocks, clips, strict=True)
    )  # fmt: skip
    label = f"Mixing at {len(job.snrs)} SNR{'s' * (len(job.snrs) > 1)}"
    with progress.bar(label, sum(map(len, clips)), "clips") as advance:
        for block, records in zip(blocks, workers.run(render_block, tasks, len(clips)), strict=True):
            for snr in job.snrs:
                checkpoint.keep(snr, block, [record for record in records if record["snr"] == snr])
            advance(len(records) // len(job.snrs))
