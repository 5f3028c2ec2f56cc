"""The inputs of `make`, resolved and checked: recipe, sources, manifest, and whether results are comparable."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remixbench.dataset.leakage import coverage_lines
from remixbench.dataset.manifest import Manifest, read_manifest
from remixbench.dataset.plan import draw_manifest
from remixbench.errors import InputError, unknown
from remixbench.parallel import check_jobs
from remixbench.progress import Progress
from remixbench.recipe import Recipe, data_folder, load_recipe, parse_snr
from remixbench.sources import fsdkaggle2018, load_catalogues, tau2019
from remixbench.sources.audio import FileReader
from remixbench.sources.catalogue import Catalogue
from remixbench.sources.download.archive import downloaded_parts

BACKENDS = ("loky", "threading", "dask")
FORMATS = ("wav", "flac")


def check_options(
    backend: str,
    audio_format: str,
    jobs: int,
    clips_per_fold: int | None,
    shard: tuple[int, int],
    scheduler: str | None,
    stems: bool | str,
) -> None:
    """Check the options of `make` that need nothing read.

    Raises
    ------
    InputError
        Naming the option, what was given and what was expected.
    """
    if backend not in BACKENDS:
        raise unknown("--backend", backend, BACKENDS)
    if audio_format not in FORMATS:
        raise unknown("--audio-format", audio_format, FORMATS)
    if stems not in (True, False, "sum", "events"):
        raise unknown("--stems", str(stems), ("sum", "events"))
    check_jobs(jobs)
    if clips_per_fold is not None and clips_per_fold < 1:
        raise InputError(f"--clips-per-fold {clips_per_fold}: expected 1 or more")
    if not 1 <= shard[0] <= shard[1]:
        raise InputError(f"--shard {shard[0]}/{shard[1]}: expected I/N, 1 <= I <= N, such as 3/16")
    if scheduler is not None and backend != "dask":
        raise InputError(f"--scheduler {scheduler}: goes with --backend dask, not {backend}")


def parse_snrs(values: Sequence[Any]) -> tuple[float, ...]:
    """Return SNRs in dB, ascending, each once.

    Raises
    ------
    InputError
        If one is not a finite value of at most 100 dB either way.
    """
    return tuple(sorted({parse_snr(value) for value in values}))


@dataclass(frozen=True)
class Inputs:
    """What a data set is made from, and why its results are not comparable with published ones, if so."""

    recipe: Recipe
    manifest: Manifest
    scenes: Catalogue
    events: Catalogue
    not_comparable: tuple[str, ...]


def resolve_inputs(
    workspace: Path,
    recipe: str | Path | Recipe | None,
    manifest: str | Path | None,
    replan: bool,
    sources: Path | None,
    folds: Sequence[int],
    clips_per_fold: int | None,
    progress: Progress,
) -> Inputs:
    """Load and check everything that a data set is made from.

    Raises
    ------
    InputError
        If something is missing, malformed, or does not go together.
    """
    sources = workspace / "sources" if sources is None else sources
    loaded = (
        recipe if isinstance(recipe, Recipe) else load_recipe(recipe or default_recipe(workspace, sources, progress))
    )
    if manifest is not None and replan:
        raise InputError("--manifest and --replan exclude each other: a manifest is either given or drawn anew")
    scenes, events = load_catalogues(loaded, sources)
    frozen = frozen_manifest(loaded)
    if manifest is not None:
        whole = read_manifest(Path(manifest))
    elif frozen is None or replan:
        whole = draw_manifest(loaded, scenes, events, progress)
    else:
        whole = frozen
    reasons = _reasons(loaded, whole, frozen, folds, clips_per_fold)
    whole, parts = _with_fetched_scenes(loaded, whole, scenes, sources, clips_per_fold)
    reasons += parts
    cut = whole.first(clips_per_fold, folds)
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
    for line in coverage_lines(cut, events.labels):
        progress.say(line)
    if reasons:
        progress.say(f"not comparable with published numbers: {'; '.join(reasons)}")
    return Inputs(loaded, cut, scenes, events, reasons)


def default_recipe(workspace: Path, sources: Path, progress: Progress) -> str:
    """Return 'remix2019' where its sources are, else 'mini', and say so.

    Raises
    ------
    InputError
        Where that would be `mini`, but the workspace has other data sets already.
    """
    if (sources / tau2019.LAYOUT.table).exists() and (sources / fsdkaggle2018.LAYOUT.table).exists():
        progress.say("recipe remix2019: its sources are in the workspace")
        return "remix2019"
    made = sorted(file.parent.name for file in (workspace / "datasets").glob("*/dataset.json"))
    if set(made) - {"mini"}:
        raise InputError(
            f"{workspace / 'datasets'}: has the data sets {', '.join(made)}; say with --recipe which one to make or to"
            " add to (--recipe mini makes the synthesised one)"
        )
    progress.say(
        f"recipe mini: the sources of remix2019 are not in {sources} (`remixbench download` fetches them), so every"
        " sound is synthesised; not comparable with published numbers"
    )
    return "mini"


def frozen_manifest(recipe: Recipe) -> Manifest | None:
    """Return the manifest that was published with a built-in recipe, None for any other recipe."""
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
    """Check that the recordings of the manifest are in the sources' tables under the same labels."""
    wanted_scenes = dict.fromkeys((clip.scene_file, clip.scene_label) for clip in manifest.clips)
    wanted_events = dict.fromkeys((event.file, event.label) for clip in manifest.clips for event in clip.events)
    for catalogue, wanted, kind in ((scenes, wanted_scenes, "scene"), (events, wanted_events, "event")):
        labels = dict(zip(catalogue.table["file"], catalogue.table["label"], strict=True))
        absent = [file for file, _ in wanted if file not in labels]
        if absent:
            raise InputError(
                f"the table of {kind}s below {sources} is not the one that the manifest was made from: {len(absent)} of"
                f" {len(wanted)} recordings are not in it, the first {absent[0]}" + (f"; {remedy}" if remedy else "")
            )
        for file, label in wanted:
            if labels[file] != label:
                raise InputError(f"{file}: the manifest calls it '{label}', the table of {kind}s '{labels[file]}'")


def _with_fetched_scenes(
    recipe: Recipe, manifest: Manifest, scenes: Catalogue, sources: Path, clips_per_fold: int | None
) -> tuple[Manifest, tuple[str, ...]]:
    """Return the clips whose scenes were fetched, where only some parts of the scenes were; and that it is so."""
    reader = scenes.reader
    parts = downloaded_parts("tau2019", sources) if recipe.scenes.source == "tau2019" else None
    if parts is None or not isinstance(reader, FileReader):
        return manifest, ()
    there = _listing(reader.root)
    possible = Manifest(tuple(clip for clip in manifest.clips if clip.scene_file in there))
    if len(possible.clips) == len(manifest.clips):
        return manifest, ()
    named = ", ".join(map(str, parts))
    if clips_per_fold is None:
        counts = ", ".join(f"{sum(c.fold == fold for c in possible.clips)} in fold {fold}" for fold in manifest.folds)
        raise InputError(
            f"{reader.root}: only part {named} of the scenes was fetched, enough for {len(possible.clips)} of"
            f" {len(manifest.clips)} clips ({counts}); --clips-per-fold N makes the first N of them in each fold,"
            " `remixbench download` fetches the rest"
        )
    return possible, (f"only clips with scenes of part {named}",)


def _check_files(manifest: Manifest, scenes: Catalogue, events: Catalogue) -> None:
    """Check that all recordings are there before anything is made, where they are files."""
    for catalogue, wanted in (
        (scenes, dict.fromkeys(clip.scene_file for clip in manifest.clips)),
        (events, dict.fromkeys(manifest.event_files)),
    ):
        reader = catalogue.reader
        if not isinstance(reader, FileReader):
            continue
        there = _listing(reader.root)
        absent = {file for file in wanted if file not in there and not (reader.root / file).is_file()}
        if not absent:
            continue
        possible = [
            clip
            for clip in manifest.clips
            if clip.scene_file not in absent and not any(event.file in absent for event in clip.events)
        ]
        raise InputError(
            f"{reader.root / min(absent)}: missing, with {len(absent) - 1} more of {len(wanted)} recordings of"
            f" {catalogue.source}; {len(possible)} of {len(manifest.clips)} clips could be made; fetch or restore them"
        )


def _listing(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder}: not readable ({error.strerror}); the recordings of the table lie there") from None
