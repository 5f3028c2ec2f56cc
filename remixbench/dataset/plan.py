"""`plan`: from a recipe and its sources' tables to a manifest. Needs no audio, unless scene starts are drawn.

`released_plan` repeats the draws of the released data set, in the same order, with numpy's legacy generator (Deshmukh
et al. 2021, after Kong et al. 2019). `plan_grouped.py` has the draws of recipes with `method: grouped`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from remixbench.dataset.groups import identical_recordings
from remixbench.dataset.leakage import coverage_lines, leakage_report
from remixbench.dataset.manifest import Clip, Event, Manifest, write_manifest
from remixbench.dataset.plan_grouped import grouped_plan
from remixbench.errors import InputError, shortened
from remixbench.files import as_path, write_json
from remixbench.progress import SILENT, Progress, reporter
from remixbench.recipe import Recipe, SnrRange, Source, load_recipe
from remixbench.sources import load_catalogues
from remixbench.sources.audio import FileReader, open_audio
from remixbench.sources.catalogue import Catalogue, refuse_recordings

MOST_SETS = 8
"""The largest number of sets of identical recordings that are listed."""
SCENE_STARTS, CLIP_SNRS = 1, 2
"""Seeds of separate generators, so that these optional draws do not change the others."""


def plan(
    *,
    recipe: str | Path | Recipe,
    out: str | Path | None = None,
    workspace: str | Path = ".",
    sources: str | Path | None = None,
    report: bool = False,
    progress: Progress | bool = False,
) -> tuple[Manifest, dict[str, Any] | None]:
    """Draw the manifest of a recipe and write it to the folder `out`; with `report`, also report.json.

    `out` may be omitted if `report` is given; nothing is written then. Classes that a role lacks, and recordings with
    the same samples, are reported to `progress`.

    Returns
    -------
    The manifest, and with `report` the content of report.json: leakage between roles, balance of classes and coverage
    of onsets.

    Raises
    ------
    InputError
        If the recipe or a table is missing or malformed, or neither `out` nor `report` is given.
    """
    if out is None and not report:
        raise InputError(
            "plan: missing option '--out', the folder to write the manifest to; with --report it is optional"
        )
    progress = reporter(progress)
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    folder = as_path(workspace, "workspace") / "sources" if sources is None else Path(sources)
    scenes, events = load_catalogues(loaded, folder)
    manifest = draw_manifest(loaded, scenes, events, progress)
    for line in (*scenes.left_out, *events.left_out):
        progress.say(line)
    for line in coverage_lines(manifest, events.labels):
        progress.say(line)
    content = leakage_report(loaded, manifest, scenes, events) if report else None
    if out is not None:
        write_manifest(manifest, Path(out))
        if content is not None:
            write_json(Path(out) / "report.json", content)
    return manifest, content


def draw_manifest(recipe: Recipe, scenes: Catalogue, events: Catalogue, progress: Progress = SILENT) -> Manifest:
    """Draw the manifest of a recipe from the tables of its sources.

    The same recipe and tables always give the same manifest. In `folder` sources, recordings with the same samples
    count as one location or origin. Raises `InputError` if a fold has no events to draw from.
    """
    if recipe.plan.method == "released":
        manifest = released_plan(recipe, scenes, events)
    else:
        same_scenes = _identical(recipe.scenes, scenes, "scenes", "location", progress)
        same_events = _identical(recipe.events, events, "events", "origin", progress)
        manifest = grouped_plan(recipe, scenes, events, same_scenes, same_events)
    return _with_snrs(recipe, _with_scene_starts(recipe, manifest, scenes))


def _identical(
    source: Source, catalogue: Catalogue, kind: str, group: str, progress: Progress
) -> list[tuple[str, ...]]:
    """Return and report sets of identical recordings in a `folder` source; published tables are not checked.

    If a label has only one recording, under several names, these are not joined: no fold could learn it otherwise.
    """
    if source.source != "folder":
        return []
    files_of = catalogue.table.groupby("label")["file"].agg(set)
    joined, lines = [], []
    for files in identical_recordings(catalogue):
        alone = [label for label, names in files_of.items() if len(names) > 1 and names <= set(files)]
        if alone:
            outcome = f"and are the only ones of '{alone[0]}': they may be in both training and test clips"
        else:
            outcome = f"and count as one {group}"
            joined.append(files)
        lines.append(f"{kind}: {shortened(files)} have the same samples {outcome}")
    for line in lines[:MOST_SETS]:
        progress.say(line)
    if len(lines) > MOST_SETS:
        progress.say(f"{kind}: {len(lines) - MOST_SETS} more sets of recordings have the same samples")
    return joined


def _with_scene_starts(recipe: Recipe, manifest: Manifest, scenes: Catalogue) -> Manifest:
    """Draw where in its scene each clip starts, in steps of 1 ms, if the recipe asks for it.

    Needs the audio, because the duration of a recording is read from its header.
    """
    if recipe.plan.scene_start != "drawn":
        return manifest
    generator = np.random.RandomState([recipe.plan.seed, SCENE_STARTS])
    seconds, problems = dict[str, float](), list[str]()
    for file in {clip.scene_file for clip in manifest.clips}:
        try:
            seconds[file] = _recording_seconds(scenes, file)
        except InputError as error:
            problems.append(str(error))
    refuse_recordings("scene", problems)
    clips = []
    for clip in manifest.clips:
        latest = max(0.0, seconds[clip.scene_file] - recipe.mix.duration)
        clips.append(replace(clip, scene_start=int(generator.uniform(0, latest) * 1000) / 1000))
    return Manifest(tuple(clips))


def _recording_seconds(catalogue: Catalogue, file: str) -> float:
    """Return the duration of a recording in seconds, from the header of its file if it has one."""
    if isinstance(catalogue.reader, FileReader):
        with open_audio(catalogue.reader.path(file)) as audio:
            if audio.frames is not None:
                return audio.frames / audio.rate
    samples, rate = catalogue.reader.read(file)
    return len(samples) / rate


def _with_snrs(recipe: Recipe, manifest: Manifest) -> Manifest:
    """Draw the SNR of each clip from the recipe's range, as an offset of its events from the nominal SNR."""
    if not isinstance(recipe.mix.snrs, SnrRange):
        return manifest
    generator = np.random.RandomState([recipe.plan.seed, CLIP_SNRS])
    low, high = recipe.mix.snrs.range
    nominal = recipe.mix.nominal_snrs[0]
    clips = []
    for clip in manifest.clips:
        offset = generator.uniform(low, high) - nominal
        events = tuple(replace(event, snr_offset=round(event.snr_offset + offset, 2)) for event in clip.events)
        clips.append(replace(clip, events=events))
    return Manifest(tuple(clips))


def released_plan(recipe: Recipe, scenes: Catalogue, events: Catalogue) -> Manifest:
    """Draw clips as the released code does; scenes are reused in order if there are fewer of them than clips."""
    plan = recipe.plan
    assert isinstance(plan.polyphony, int)
    assert plan.onsets != "drawn"
    fold_of = _released_folds(len(events.table), plan.folds, plan.seed)
    usable = events.table["verified"].to_numpy(dtype=bool) | (not recipe.events.verified_only)
    files, labels = events.table["file"].tolist(), events.table["label"].tolist()

    generator = np.random.RandomState(plan.seed)
    scene_rows = list(scenes.table[["file", "label", "location"]].itertuples(index=False, name=None))
    order = np.arange(len(scene_rows))
    generator.shuffle(order)

    clips: list[Clip] = []
    for fold in range(1, plan.folds + 1):
        rows = np.flatnonzero(usable & (fold_of == fold))
        if len(rows) == 0:
            raise InputError(
                f"recipe {recipe.name}: fold {fold} of {plan.folds} has no usable event among the"
                f" {len(files)} of {events.source}; use fewer folds or more events"
            )
        need = plan.clips_per_fold * plan.polyphony
        # The released code appends the same array object repeatedly and shuffles it in place each time,
        # so every repeat has the last permutation.
        repeats = need // len(rows) + 1
        for _ in range(repeats):
            generator.shuffle(rows)
        drawn = np.tile(rows, repeats)[:need].reshape(plan.clips_per_fold, plan.polyphony)
        for triplet in drawn:
            position = len(clips)
            file, label, location = scene_rows[order[position % len(order)]]
            clip_events = tuple(
                Event(index, files[row], labels[row], onset, plan.max_event)
                for index, (row, onset) in enumerate(zip(triplet, plan.onsets, strict=False))
            )
            clips.append(Clip(f"{position:05d}", fold, file, label, location, clip_events))
    return Manifest(tuple(clips))


def _released_folds(count: int, folds: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the fold (from 1) of each row: row k of the shuffled order is in fold k mod folds + 1."""
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)
    fold_of = np.empty(count, dtype=np.int64)
    fold_of[order] = np.arange(count) % folds + 1
    return fold_of
