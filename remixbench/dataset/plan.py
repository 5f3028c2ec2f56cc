"""From a recipe and the tables of its sources to a manifest. Needs no audio.

`released_plan` repeats the draws of the released data set in their order, with numpy's legacy generator
(Deshmukh et al. 2021, after Kong et al. 2019). The draws of `grouped` recipes are in `drawn.py`.
"""

from __future__ import annotations

import numpy as np

from remixbench.dataset.drawn import drawn_plan
from remixbench.dataset.manifest import Clip, Event, Manifest
from remixbench.errors import InputError
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Catalogue


def draw(recipe: Recipe, scenes: Catalogue, events: Catalogue) -> Manifest:
    """Draw the manifest of a recipe from the tables of its sources.

    The same recipe and tables always give the same manifest.

    Raises
    ------
    InputError
        If a fold has no events to draw from.
    """
    method = released_plan if recipe.plan.method == "released" else drawn_plan
    return method(recipe, scenes, events)


def released_plan(recipe: Recipe, scenes: Catalogue, events: Catalogue) -> Manifest:
    """Draw clips as the released code does.

    Scenes are dealt out again from the start when there are fewer scenes than clips.
    """
    plan = recipe.plan
    assert isinstance(plan.polyphony, int)
    assert plan.onsets != "drawn"
    fold_of = _released_folds(len(events.table), plan.folds, plan.seed)
    usable = events.table["verified"].to_numpy(dtype=bool) | (not recipe.events.verified_only)
    files, labels = events.table["file"].tolist(), events.table["label"].tolist()

    generator = np.random.RandomState(plan.seed)
    scene_rows = list(scenes.table.itertuples(index=False, name=None))
    order = np.arange(len(scene_rows))
    generator.shuffle(order)

    clips: list[Clip] = []
    for fold in range(1, plan.folds + 1):
        mine = np.flatnonzero(usable & (fold_of == fold))
        if len(mine) == 0:
            raise InputError(
                f"recipe {recipe.name}: fold {fold} of {plan.folds} has no usable event among the"
                f" {len(files)} of {events.source}; use fewer folds or more events"
            )
        need = plan.clips_per_fold * plan.polyphony
        # The released code appends one array object again and again and shuffles it in place each time,
        # so that every repeat carries the last permutation.
        repeats = need // len(mine) + 1
        for _ in range(repeats):
            generator.shuffle(mine)
        drawn = np.tile(mine, repeats)[:need].reshape(plan.clips_per_fold, plan.polyphony)
        for triplet in drawn:
            n = len(clips)
            file, label, location = scene_rows[order[n % len(order)]]
            chosen = tuple(
                Event(index, files[row], labels[row], onset, plan.max_event)
                for index, (row, onset) in enumerate(zip(triplet, plan.onsets, strict=False))
            )
            clips.append(Clip(f"{n:05d}", fold, file, label, location, chosen))
    return Manifest(tuple(clips))


def _released_folds(count: int, folds: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the fold (from 1) of each row: the k-th of the shuffled order gets k mod folds + 1."""
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)
    fold_of = np.empty(count, dtype=np.int64)
    fold_of[order] = np.arange(count) % folds + 1
    return fold_of
