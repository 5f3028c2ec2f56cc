"""`make`: from a recipe or manifest to a data set on disk. Parallel, resumable and reproducible byte for byte.

`resolve_inputs` loads the recipe, manifest and catalogues (`spec.DatasetSpec`); `work.Checkpoint` records finished
work; `work.render_block` renders blocks of clips in any number of processes; `finalize` writes labels and digests.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from remixbench.dataset.dataset import Dataset, as_tuple, snr_folder
from remixbench.dataset.finalize import RecordingKey, finalize, read_recordings
from remixbench.dataset.info import AudioFormat, StemKind, check_dataset_name, read_info
from remixbench.dataset.leakage import coverage_lines, identical_lines
from remixbench.dataset.manifest import Manifest, read_manifest, write_manifest
from remixbench.dataset.plan import draw_manifest
from remixbench.dataset.spec import DatasetSpec, Target, missing_snrs, read_existing
from remixbench.dataset.work import (
    Checkpoint,
    RenderJob,
    block_clips,
    bytes_needed,
    check_memory,
    missing_excerpts,
    prepare_block,
    render_block,
)
from remixbench.errors import InputError, RemixbenchError, is_whole, unknown
from remixbench.files import as_path, check_room, exclusive_lock, is_locked, make_folder, waiting_lock
from remixbench.parallel import Workers, check_jobs, check_shard
from remixbench.progress import Progress, reporter
from remixbench.recipe import PUBLISHED_SOURCES, Recipe, data_folder, format_snrs, load_recipe, parse_snr
from remixbench.sources import load_catalogues
from remixbench.sources.audio import FileReader
from remixbench.sources.catalogue import Catalogue, refuse_recordings
from remixbench.sources.download.archive import downloaded_parts
from remixbench.sources.published import published_source

BACKENDS = ("loky", "threading", "dask")
FORMATS = ("wav", "flac")


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
    """Make a data set, resume an unfinished one, add SNRs, or restore lost files.

    Parameters
    ----------
    workspace : folder with `sources/` and `datasets/`
    recipe : name, file or Recipe; default `remix2019` if its sources are in the workspace, otherwise `mini`
    manifest : folder of a manifest to use instead of the recipe's frozen one
    replan : draw a new manifest from the sources' tables
    sources : folder of the sources; default `sources/` in the workspace
    out : folder of the data set; default `datasets/<recipe>` in the workspace
    snr : SNRs in dB; default those of the recipe
    fold, clips_per_fold : make only these folds, or only the first clips of each fold
    jobs : parallel processes; -1 for one per core
    backend, scheduler : joblib backend (loky, threading or dask), and the address of the dask scheduler
    shard : (I, N), the I-th of N shards of the work; the last to finish completes the data set
    audio_format : wav or flac; both hold the same samples
    stems : also write stems: True or "sum" for two channels (events, scene), "events" for one per event and the scene
    features : write log-mel features
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter

    Returns
    -------
    The data set, or None if this shard is finished but others are not.

    Raises
    ------
    InputError
        If an argument or a file is not usable.
    RemixbenchError
        If another process is making the data set, or the disk has no room for it.
    """
    progress = reporter(progress)
    check_options(backend, audio_format, jobs, clips_per_fold, shard, scheduler, stems)
    snrs = parse_snrs(as_tuple(snr))
    workspace = as_path(workspace, "workspace")
    loaded, clips, scenes, events, not_comparable = resolve_inputs(
        workspace, recipe, manifest, replan, None if sources is None else Path(sources),
        as_tuple(fold), clips_per_fold, progress,
    )  # fmt: skip
    folder = as_path(out, "out") if out is not None else workspace / "datasets" / loaded.name
    kind: StemKind | None = "sum" if stems is True else stems or None
    target = Target(Path(os.path.realpath(folder)), loaded, audio_format, kind, features)
    spec = DatasetSpec(target, clips, scenes, events, not_comparable)
    try:
        check_dataset_name(spec.target.folder.name)
    except ValueError as error:
        raise InputError(f"--out {folder}: {error}") from None
    check_memory(loaded)
    snrs = snrs or parse_snrs(loaded.mix.nominal_snrs)
    checkpoint = Checkpoint(spec.target.folder / ".work")
    missing = missing_snrs(spec, read_existing(spec), snrs)
    if missing or checkpoint.folder.is_dir():
        remedy = "choose another disk with --out, or make less with --snr, --clips-per-fold or without --stems"
        check_room(folder, bytes_needed(spec, checkpoint, missing), remedy)
        with ExitStack() as locks:
            # no other shard may start or finish between this check and our start
            with waiting_lock(lock_file(folder, "finish")):
                _join_in(folder, shard, locks)
                checkpoint.publish()
                info = read_existing(spec)
                if missing := missing_snrs(spec, info, snrs):
                    _open(spec, checkpoint, missing)
                elif info is not None:  # a process was killed before it could remove its checkpoint
                    checkpoint.close([value for value in info.snrs if not missing_snrs(spec, info, [value])])
            if missing:
                snr_text = format_snrs(missing, loaded.mix.snr_offsets)
                progress.say(f"{folder}: making {len(spec.manifest.clips)} clips at {snr_text}")
                return _make(spec, checkpoint, missing, shard, Workers(jobs, backend, scheduler), progress, folder)
    restored = write_manifest(spec.manifest, spec.target.folder / "manifest")
    dataset = Dataset.open(folder)
    progress.say(f"{folder}: {_ready(dataset, snrs)}; {'manifest restored' if restored else 'nothing to do'}")
    return dataset


def lock_file(folder: Path, purpose: str) -> Path:
    """Return the path of a lock next to the data set's folder, which itself holds only the data set."""
    real = Path(os.path.realpath(folder))  # `resolve` fails for a link to itself
    return real.parent / f".{real.name}.{purpose}.lock"


def _join_in(folder: Path, shard: tuple[int, int], locks: ExitStack) -> None:
    """Lock a shard for the lifetime of `locks`; all running shards must agree on the number of shards."""
    index, count = shard
    shard_lock = lock_file(folder, f"make-{index}-of-{count}")
    for lock in shard_lock.parent.glob(lock_file(folder, "make-*-of-*").name):
        number, _, shards = lock.name.removesuffix(".lock").rpartition("make-")[2].partition("-of-")
        if shards != str(count) and is_locked(lock):
            running = "a `make` without --shard" if shards == "1" else f"a job array of {shards} shards"
            requested = "without --shard" if count == 1 else f"with --shard {index}/{count}"
            raise RemixbenchError(
                f"{folder}: {running} is already running on it (shard {number} of {shards}), so a `make` {requested}"
                f" cannot join; wait for it{'' if shards == '1' else f', or join with --shard I/{shards}'}"
            )
    busy = f"{folder}: another `make` is already running on it; wait for it, or choose another --out"
    locks.enter_context(exclusive_lock(shard_lock, busy))


def _open(spec: DatasetSpec, checkpoint: Checkpoint, snrs: Sequence[float]) -> None:
    target = spec.target
    checkpoint.open(spec.resume_key(), snrs)
    write_manifest(spec.manifest, target.folder / "manifest")
    for snr in snrs:
        for kind in ("audio", "stems") if target.stems else ("audio",):
            make_folder(target.folder / snr_folder(snr) / kind)


def _ready(dataset: Dataset, snrs: Sequence[float]) -> str:
    return f"{len(dataset.clips)} clips ready at {format_snrs(snrs, dataset.recipe.mix.snr_offsets)}"


def _make(
    spec: DatasetSpec,
    checkpoint: Checkpoint,
    snrs: tuple[float, ...],
    shard: tuple[int, int],
    workers: Workers,
    progress: Progress,
    user_path: Path,
) -> Dataset | None:
    """Make the unfinished blocks of a shard, and finalize the data set if no blocks of other shards are left."""
    manifest, folder = spec.manifest, spec.target.folder
    expected = read_recordings(folder, read_existing(spec))
    unfinished = checkpoint.unfinished(snrs, len(manifest.clips))
    blocks = [block for block in unfinished if block % shard[1] == shard[0] - 1]

    _prepare_excerpts(spec, checkpoint, blocks, expected, workers, progress)
    _render_blocks(spec, checkpoint, blocks, snrs, expected, workers, progress)
    with waiting_lock(lock_file(folder, "finish")):
        info = read_existing(spec)
        if info is not None and not any(map(checkpoint.is_open, snrs)):
            return Dataset.open(user_path)  # another shard completed it in the meantime
        if remaining := checkpoint.unfinished(snrs, len(manifest.clips)):
            progress.say(
                f"{user_path}: shard {shard[0]} of {shard[1]} is finished; of the other shards,"
                f" {len(remaining)} block{'s are' if len(remaining) > 1 else ' is'} not"
            )
            return None
        finalize(spec, info, checkpoint, snrs, progress)
    for line in identical_lines(manifest, read_recordings(folder, read_info(folder))):
        progress.say(line)
    dataset = Dataset.open(user_path)
    progress.say(f"{user_path}: {_ready(dataset, dataset.snrs)}")
    return dataset


def _prepare_excerpts(
    spec: DatasetSpec,
    checkpoint: Checkpoint,
    blocks: Sequence[int],
    expected: Mapping[RecordingKey, str],
    workers: Workers,
    progress: Progress,
) -> None:
    """Decode and resample every event recording that the blocks of clips use, once."""
    manifest, folder = spec.manifest, checkpoint.folder / "excerpts"
    parts = missing_excerpts(folder, manifest, (clip for block in blocks for clip in block_clips(manifest, block)))
    if not parts:
        return
    tasks = (
        (spec.target.recipe, spec.events.reader, folder, index, keys,
         {file: expected["event", file, None] for file, _ in keys if ("event", file, None) in expected})
        for index, keys in parts.items()
    )  # fmt: skip
    problems: list[str] = []
    with progress.bar("Preparing", sum(map(len, parts.values())), "recordings") as advance:
        results = workers.run(prepare_block, tasks, len(parts))
        for block_problems, keys in zip(results, parts.values(), strict=True):
            problems += block_problems
            advance(len(keys))
    refuse_recordings("event", problems)


def _render_blocks(
    spec: DatasetSpec,
    checkpoint: Checkpoint,
    blocks: Sequence[int],
    snrs: tuple[float, ...],
    expected: Mapping[RecordingKey, str],
    workers: Workers,
    progress: Progress,
) -> None:
    """Render blocks of clips; this process marks a block as done once its records are back."""
    job = RenderJob(spec.target, checkpoint, snrs, spec.scenes.reader, spec.manifest.excerpts)
    clips = [block_clips(spec.manifest, block) for block in blocks]
    tasks = (
        (job, block, part,
         {(c.scene_file, start): expected["scene", c.scene_file, start] for c in part
          for start in (None, c.scene_start) if ("scene", c.scene_file, start) in expected})
        for block, part in zip(blocks, clips, strict=True)
    )  # fmt: skip
    problems: list[str] = []
    label = f"Mixing at {len(snrs)} SNR{'s' * (len(snrs) > 1)}"
    with progress.bar(label, sum(map(len, clips)), "clips") as advance:
        results = workers.run(render_block, tasks, len(clips))
        for block, part, (records, block_problems) in zip(blocks, clips, results, strict=True):
            problems += block_problems
            for snr in snrs if not block_problems else ():
                checkpoint.mark_done(snr, block, [record for record in records if record["snr"] == snr])
            advance(len(part))
    refuse_recordings("scene", problems)


def check_options(
    backend: str,
    audio_format: str,
    jobs: int,
    clips_per_fold: int | None,
    shard: tuple[int, int],
    scheduler: str | None,
    stems: bool | str,
) -> None:
    """Check the options of `make` that can be checked without reading files."""
    if backend not in BACKENDS:
        raise unknown("--backend", backend, BACKENDS)
    if audio_format not in FORMATS:
        raise unknown("--audio-format", audio_format, FORMATS)
    if stems not in (True, False, "sum", "events"):
        raise unknown("--stems", str(stems), ("sum", "events"))
    check_jobs(jobs)
    if clips_per_fold is not None and not (is_whole(clips_per_fold) and clips_per_fold >= 1):
        raise InputError(f"--clips-per-fold {clips_per_fold}: expected a whole number of 1 or more")
    check_shard(shard)
    if scheduler is not None and backend != "dask":
        raise InputError(f"--scheduler {scheduler}: needs --backend dask, not {backend}")


def parse_snrs(values: Sequence[Any]) -> tuple[float, ...]:
    """Return the unique SNRs in dB, ascending. Raises `InputError` if one is not a number from -100 to 100 dB."""
    return tuple(sorted({parse_snr(value) for value in values}))


def resolve_inputs(
    workspace: Path,
    recipe: str | Path | Recipe | None,
    manifest: str | Path | None,
    replan: bool,
    sources: Path | None,
    folds: Sequence[int],
    clips_per_fold: int | None,
    progress: Progress,
) -> tuple[Recipe, Manifest, Catalogue, Catalogue, tuple[str, ...]]:
    """Load and check everything that a data set is made from.

    Raises `InputError` if something is missing, malformed or inconsistent.

    Returns
    -------
    Recipe, manifest, scenes, events, and the reasons why the data set is not comparable with published ones.
    """
    sources = workspace / "sources" if sources is None else sources
    loaded = (
        recipe if isinstance(recipe, Recipe) else load_recipe(recipe or default_recipe(workspace, sources, progress))
    )
    if manifest is not None and replan:
        raise InputError("--manifest and --replan exclude each other: give one of them")
    scenes, events = load_catalogues(loaded, sources)
    frozen = frozen_manifest(loaded)
    if manifest is not None:
        planned = read_manifest(Path(manifest))
        if loaded.plan.validation and not any(clip.roles for clip in planned.clips):
            raise InputError(
                f"{manifest}: has no roles.csv, and the recipe keeps a validation part (plan.validation"
                f" {loaded.plan.validation:g}); restore it, or make it with a recipe of plan.validation 0"
            )
    elif frozen is None or replan:
        planned = draw_manifest(loaded, scenes, events, progress)
    else:
        planned = frozen
    reasons = _reasons(loaded, planned, frozen, folds, clips_per_fold)
    planned, parts = _with_fetched_scenes(loaded, planned, scenes, sources, clips_per_fold)
    reasons += parts
    cut = planned.first(clips_per_fold, folds)
    remedy = "--replan draws a manifest from them (marked as not comparable)" if manifest is None and not replan else ""
    _check_tables(cut, scenes, events, sources, remedy)
    _check_files(cut, scenes, events)
    for clip in cut.clips:
        if late := [event for event in clip.events if event.onset >= loaded.mix.seconds]:
            raise InputError(
                f"clip {clip.id}: onset {late[0].onset:g} s lies beyond the clip of {loaded.mix.duration:g} s"
            )
        if long := [event for event in clip.events if event.max_duration > loaded.plan.max_event]:
            raise InputError(
                f"clip {clip.id}: max_duration {long[0].max_duration:g} s is above the recipe's plan.max_event"
                f" {loaded.plan.max_event:g} s; raise that"
            )
    for line in (*scenes.left_out, *events.left_out):
        progress.say(line)
    for line in coverage_lines(cut, events.labels):
        progress.say(line)
    if reasons:
        progress.say(f"not comparable with published numbers: {'; '.join(reasons)}")
    return loaded, cut, scenes, events, reasons


def default_recipe(workspace: Path, sources: Path, progress: Progress) -> str:
    """Return 'remix2019' if its sources are in the workspace, else 'mini'; report which.

    Raises `InputError` if that is `mini`, but the workspace already has other data sets.
    """
    recipe = load_recipe("remix2019")
    tables = [published_source(source).table for source in (recipe.scenes.source, recipe.events.source)]
    if all((sources / table).exists() for table in tables):
        progress.say("recipe remix2019: its sources are in the workspace")
        return "remix2019"
    names = sorted(file.parent.name for file in (workspace / "datasets").glob("*/dataset.json"))
    if set(names) - {"mini"}:
        raise InputError(
            f"{workspace / 'datasets'}: has the data sets {', '.join(names)}; choose with --recipe which one to make or"
            " extend (--recipe mini makes the synthesised one)"
        )
    progress.say(
        f"recipe mini: the sources of remix2019 are not in {sources} (`remixbench download` fetches them), so every"
        " sound is synthesised; not comparable with published numbers"
    )
    return "mini"


def frozen_manifest(recipe: Recipe) -> Manifest | None:
    """Return the manifest published with a built-in recipe, None for any other recipe."""
    folder = data_folder("manifests") / recipe.name
    return read_manifest(folder) if folder.is_dir() and recipe == load_recipe(recipe.name) else None


def _reasons(
    recipe: Recipe, manifest: Manifest, frozen: Manifest | None, folds: Sequence[int], clips_per_fold: int | None
) -> tuple[str, ...]:
    reasons = [] if recipe.not_comparable is None else [recipe.not_comparable]
    if frozen is None:
        reasons.append(f"recipe '{recipe.name}' is one of your own")
    elif manifest != frozen:
        reasons.append(f"its manifest is not the published one of '{recipe.name}'")
    if folds:
        reasons.append(f"only fold {', '.join(map(str, sorted(set(folds))))}")
    if clips_per_fold is not None and len(manifest.first(clips_per_fold).clips) < len(manifest.clips):
        reasons.append(f"only the first {clips_per_fold} clips of each fold")
    return tuple(reasons)


def _check_tables(manifest: Manifest, scenes: Catalogue, events: Catalogue, sources: Path, remedy: str) -> None:
    """Check that the manifest's recordings are in the sources' tables, with the same labels."""
    scene_labels = dict.fromkeys((clip.scene_file, clip.scene_label) for clip in manifest.clips)
    event_labels = dict.fromkeys((event.file, event.label) for clip in manifest.clips for event in clip.events)
    for catalogue, planned, kind in ((scenes, scene_labels, "scene"), (events, event_labels, "event")):
        labels = dict(zip(catalogue.table["file"], catalogue.table["label"], strict=True))
        absent = [file for file, _ in planned if file not in labels]
        if absent:
            raise InputError(
                f"the table of {kind}s below {sources} is not the one that the manifest was made from: {len(absent)} of"
                f" {len(planned)} recordings are not in it, the first {absent[0]}" + (f"; {remedy}" if remedy else "")
            )
        for file, label in planned:
            if labels[file] != label:
                raise InputError(f"{file}: the manifest calls it '{label}', the table of {kind}s '{labels[file]}'")


def _with_fetched_scenes(
    recipe: Recipe, manifest: Manifest, scenes: Catalogue, sources: Path, clips_per_fold: int | None
) -> tuple[Manifest, tuple[str, ...]]:
    """Return the clips whose scenes were downloaded, and a reason for not being comparable if some were not."""
    reader = scenes.reader
    source = recipe.scenes.source
    parts = downloaded_parts(source, sources) if source in PUBLISHED_SOURCES else None
    if parts is None or not isinstance(reader, FileReader):
        return manifest, ()
    files = _listing(reader.root)
    possible = Manifest(tuple(clip for clip in manifest.clips if clip.scene_file in files))
    if len(possible.clips) == len(manifest.clips):
        return manifest, ()
    numbers = ", ".join(map(str, parts))
    if clips_per_fold is None:
        counts = ", ".join(f"{sum(c.fold == fold for c in possible.clips)} in fold {fold}" for fold in manifest.folds)
        raise InputError(
            f"{reader.root}: only part {numbers} of the scenes was fetched, enough for {len(possible.clips)} of"
            f" {len(manifest.clips)} clips ({counts}); --clips-per-fold N makes the first N of them in each fold,"
            " `remixbench download` fetches the rest"
        )
    return possible, (f"only clips with scenes of part {numbers}",)


def _check_files(manifest: Manifest, scenes: Catalogue, events: Catalogue) -> None:
    """Check that all recordings that are files exist, before anything is made."""
    for catalogue, planned in (
        (scenes, dict.fromkeys(clip.scene_file for clip in manifest.clips)),
        (events, dict.fromkeys(manifest.event_files)),
    ):
        reader = catalogue.reader
        if not isinstance(reader, FileReader):
            continue
        files = _listing(reader.root)
        absent = {file for file in planned if file not in files and not reader.path(file).is_file()}
        if not absent:
            continue
        possible = [
            clip
            for clip in manifest.clips
            if clip.scene_file not in absent and not any(event.file in absent for event in clip.events)
        ]
        raise InputError(
            f"{reader.root / min(absent)}: missing, with {len(absent) - 1} more of {len(planned)} recordings of"
            f" {catalogue.source}; {len(possible)} of {len(manifest.clips)} clips could be made; fetch or restore them"
        )


def _listing(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError as error:
        raise InputError(
            f"{folder}: not readable ({error.strerror}); expected the folder of the recordings in the table"
        ) from None
