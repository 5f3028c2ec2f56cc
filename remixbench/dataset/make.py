"""`make`: from a recipe or manifest to a data set on disk, in parallel, resumable, the same bytes every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from remixbench.dataset import asked, finish, work
from remixbench.dataset.choose import choose
from remixbench.dataset.dataset import Dataset, as_tuple, snr_folder
from remixbench.dataset.excerpts import BLOCK, make_block
from remixbench.dataset.manifest import Manifest, write_manifest
from remixbench.dataset.render import Job, render_block
from remixbench.parallel import Workers
from remixbench.progress import SILENT, Progress
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Catalogue


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
    audio_format: str = "wav",
    stems: bool = False,
    features: bool = True,
    progress: Progress = SILENT,
) -> Dataset | None:
    """Make a data set, or go on with one, or add ratios to one.

    Parameters
    ----------
    workspace : where `sources/` and `datasets/` lie
    recipe : name, file or Recipe; without one `remix2019` if its sources are there, else `mini`
    manifest : folder of a manifest to use instead of the recipe's frozen one
    replan : draw the manifest anew from the sources' tables
    sources : where the sources lie, if not in the workspace
    out : folder of the data set, if not `datasets/<recipe>` in the workspace
    snr : signal-to-noise ratios in dB; those of the recipe by default
    fold, clips_per_fold : make a part: only these folds, only their first clips
    jobs : processes at once; -1 for one a core
    backend, scheduler : of joblib: loky, threading, or dask at the address of a scheduler
    shard : (I, N), the I-th of N shares of the work; the last to finish makes the data set whole
    audio_format : wav or flac; both hold the same samples
    stems : also write two-channel files (events, scene)
    features : write log-mel features
    progress : what to report to

    Returns
    -------
    The data set, or None if this shard is done and others are not.

    Raises
    ------
    InputError
        For anything asked for or given that is not usable as it is.
    RemixbenchError
        If another process is at work on the data set.
    """
    asked.check(backend, audio_format, jobs, clips_per_fold, shard, scheduler)
    named = asked.ratios(as_tuple(snr))
    workspace = Path(workspace)
    chosen = choose(workspace, recipe, manifest, replan, None if sources is None else Path(sources),
                    as_tuple(fold), clips_per_fold, progress)  # fmt: skip
    snrs = named or asked.ratios(chosen.recipe.mix.snrs)
    folder = Path(out) if out is not None else workspace / "datasets" / chosen.recipe.name
    request = finish.Request(
        folder, chosen.recipe, chosen.manifest, chosen.not_comparable, audio_format, stems, features,
        {"scenes": chosen.scenes.digest, "events": chosen.events.digest},
    )  # fmt: skip
    unfinished = work.Work(folder / ".work")
    there = finish.existing(request)
    if finish.unmade(request, there, snrs) or unfinished.folder.is_dir():
        with work.only_one(lock_file(folder, f"make-{shard[0]}-of-{shard[1]}"), folder):
            # no other share may finish between the look and the start
            with work.wait_for(lock_file(folder, "finish")):
                there = finish.existing(request)
                if todo := finish.unmade(request, there, snrs):
                    _open(request, unfinished, todo)
                elif there is not None:  # a process was killed before it could drop its work
                    unfinished.close([value for value in there.snrs if finish.is_made(request, there, value)])
            if todo:
                workers = Workers(jobs, backend, scheduler)
                return _make(request, unfinished, chosen.scenes, chosen.events, todo, shard, workers, progress)
    assert there is not None
    progress.say(f"{folder}: {_all_made(there, snrs)}; nothing to do")
    return there


def _open(request: finish.Request, unfinished: work.Work, snrs: tuple[float, ...]) -> None:
    """Lay out the folders and files to be filled; nothing that is there is lost."""
    folder, recipe, manifest = request.folder, request.recipe, request.manifest
    unfinished.open(request.job(), snrs)
    write_manifest(manifest, folder / "manifest")
    for snr in snrs:
        for kind in ("audio", "stems") if request.stems else ("audio",):
            (folder / snr_folder(snr) / kind).mkdir(parents=True, exist_ok=True)
        # when all is done, the file may have been moved to its place already
        if request.features and _unfinished_blocks(unfinished, manifest, [snr]):
            unfinished.open_logmel(snr, (len(manifest.clips), recipe.frames, recipe.features.n_mels))


def _all_made(there: Dataset, snrs: Sequence[float]) -> str:
    return f"{len(there.clips)} clips at {', '.join(f'{value:g}' for value in snrs)} dB are made"


def _make(
    request: finish.Request,
    unfinished: work.Work,
    scenes: Catalogue,
    events: Catalogue,
    snrs: tuple[float, ...],
    shard: tuple[int, int],
    workers: Workers,
    progress: Progress,
) -> Dataset | None:
    folder, recipe, manifest = request.folder, request.recipe, request.manifest
    wanted = manifest.excerpts
    job = Job(folder.resolve(), unfinished.folder.resolve(), recipe, snrs, request.audio_format, request.stems,
              request.features, scenes.reader, wanted)  # fmt: skip
    blocks = _unfinished_blocks(unfinished, manifest, snrs)
    mine = [block for block in blocks if block % shard[1] == shard[0] - 1]

    _prepare_excerpts(job, events, manifest, mine, workers, progress)
    _render_blocks(job, unfinished, manifest, mine, workers, progress)
    with work.wait_for(lock_file(folder, "finish")):
        there = finish.existing(request)
        if there is not None and not any(map(unfinished.is_open, snrs)):
            return there  # another share finished it in the meantime
        if left := _unfinished_blocks(unfinished, manifest, snrs):
            progress.say(
                f"{folder}: share {shard[0]} of {shard[1]} is done; {len(left)} blocks of other shares are not"
            )
            return None
        dataset = finish.finish(request, there, unfinished, events, snrs)
    progress.say(f"{folder}: {_all_made(dataset, dataset.snrs)}")
    return dataset


def lock_file(folder: Path, purpose: str) -> Path:
    """Return a lock beside the data set's folder, so that the folder holds nothing but the data set."""
    return folder.resolve().parent / f".{folder.resolve().name}.{purpose}.lock"


def _unfinished_blocks(unfinished: work.Work, manifest: Manifest, snrs: Sequence[float]) -> list[int]:
    blocks = range(work.block_count(len(manifest.clips)))
    return [block for block in blocks if any(not unfinished.is_done(snr, block) for snr in snrs)]


def _rows(manifest: Manifest, block: int) -> list[int]:
    first = block * work.CLIPS_A_BLOCK
    return list(range(first, min(first + work.CLIPS_A_BLOCK, len(manifest.clips))))


def _prepare_excerpts(
    job: Job, events: Catalogue, manifest: Manifest, blocks: Sequence[int], workers: Workers, progress: Progress
) -> None:
    """Decode and resample, once, every event recording that the blocks of clips use."""
    position = {key: k for k, key in enumerate(job.wanted)}
    used = {
        position[event.file, event.start] // BLOCK
        for block in blocks
        for row in _rows(manifest, block)
        for event in manifest.clips[row].events
    }
    folder = job.work / "excerpts"
    todo = sorted(index for index in used if not (folder / f"{index:05d}.json").exists())
    parts = {index: list(job.wanted[index * BLOCK : (index + 1) * BLOCK]) for index in todo}
    tasks = ((job.recipe, events.reader, folder, index, part) for index, part in parts.items())
    with progress.bar("events", sum(map(len, parts.values())), "recordings") as advance:
        for _, part in zip(workers.run(make_block, tasks, len(todo)), parts.values(), strict=True):
            advance(len(part))


def _render_blocks(
    job: Job, unfinished: work.Work, manifest: Manifest, blocks: Sequence[int], workers: Workers, progress: Progress
) -> None:
    """Render blocks of clips; this process notes each as done when its records have come back."""
    rows = [_rows(manifest, block) for block in blocks]
    tasks = ((job, part, [manifest.clips[row] for row in part]) for part in rows)
    with progress.bar(f"mixing at {len(job.snrs)} SNRs", sum(map(len, rows)), "clips") as advance:
        for block, records in zip(blocks, workers.run(render_block, tasks, len(rows)), strict=True):
            for snr in job.snrs:
                unfinished.keep(snr, block, [record for record in records if record["snr"] == snr])
            advance(len(records) // len(job.snrs))
