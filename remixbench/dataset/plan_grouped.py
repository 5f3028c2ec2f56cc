"""The draws of recipes with `method: grouped`, such as remix2019-strict.

Recordings are dealt to folds by groups, so that nothing of one group is in two folds: the place of a scene, the
origin of an event. Recordings of one label whose origin numbers (Freesound ids) lie closer than `origin_gap`
count as one origin: the tables name no uploader, and sounds uploaded together have neighbouring ids. Each
fold keeps a validation part with groups of its own, so that no choice is ever made on the test fold.
Legacy `RandomState` streams are frozen by numpy, so a plan stays the same over its versions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from remixbench.dataset.manifest import Clip, Event, Manifest
from remixbench.errors import InputError
from remixbench.recipe import Plan, Recipe
from remixbench.sources.catalogue import Catalogue

MAIN, VALIDATION = 0, 1
STEPS_PER_SECOND = 10_000  # onsets are whole steps of 0.1 ms
TRIES = 1000


def grouped_plan(recipe: Recipe, scenes: Catalogue, events: Catalogue) -> Manifest:
    """Draw the manifest of a recipe with `method: grouped`.

    Raises
    ------
    InputError
        If there are too few places or origins to keep the folds and their validation parts apart.
    """
    plan = recipe.plan
    generator = np.random.RandomState(plan.seed)
    parts = _parts(plan)
    scene_groups = list(scenes.table["location"])
    scene_bins = _deal(list(scenes.table["label"]), scene_groups, parts, generator, "recording places of scenes")
    usable = np.flatnonzero(events.table["verified"].to_numpy(dtype=bool) | (not recipe.events.verified_only))
    # over the whole table: an unusable recording may join two usable ones
    all_groups = origins(list(events.table["label"]), list(events.table["origin"]), plan.origin_gap)
    groups = [all_groups[row] for row in usable]
    table = events.table.iloc[usable]
    labels, files = list(table["label"]), list(table["file"])
    event_bins = _deal(labels, groups, parts, generator, "origins of events")

    clips: list[Clip] = []
    for fold in range(1, plan.folds + 1):
        in_fold = [part for part in (MAIN, VALIDATION) if (fold, part) in parts]
        scene_decks = {part: _deck(scene_bins[fold, part], generator) for part in in_fold}
        event_decks = {part: _deck(event_bins[fold, part], generator) for part in in_fold}
        for n in range(plan.clips_per_fold):
            # validation clips are spread evenly, so that the first clips of a fold have some of them too
            part = int((n + 1) * plan.validation) - int(n * plan.validation)
            row = next(scene_decks[part])
            count = int(generator.randint(plan.fewest_events, plan.most_events + 1))
            chosen = _take(event_decks[part], count, len(event_bins[fold, part]))
            onsets = _onsets(recipe, [labels[k] for k in chosen], generator)
            placed = sorted(zip(onsets, chosen, strict=True))
            clip_events = tuple(
                Event(index, files[k], labels[k], onset, plan.max_event, snr_offset=_offset(plan, generator))
                for index, (onset, k) in enumerate(placed)
            )
            roles = tuple(_role(fold, part, tested) for tested in range(1, plan.folds + 1)) if plan.validation else ()
            file, label, location = scenes.table[["file", "label", "location"]].iloc[row]
            clips.append(Clip(f"{len(clips):05d}", fold, file, label, location, clip_events, roles))
    return Manifest(tuple(clips))


def origins(labels: Sequence[str], ids: Sequence[str], gap: int) -> list[str]:
    """Return the origin of each recording: numbers of one label closer than `gap` to a neighbour are one.

    Origins that are not numbers are taken as they are, within their label.
    """
    by_label: dict[str, list[int]] = defaultdict(list)
    named = [f"{label}/{origin}" for label, origin in zip(labels, ids, strict=True)]
    for row, (label, origin) in enumerate(zip(labels, ids, strict=True)):
        if origin.isascii() and origin.isdigit():
            by_label[label].append(row)
    for rows in by_label.values():
        rows.sort(key=lambda row: int(ids[row]))
        for before, after in pairwise(rows):
            if int(ids[after]) - int(ids[before]) < gap:
                named[after] = named[before]
    return named


def _parts(plan: Plan) -> dict[tuple[int, int], float]:
    """Return the share of all recordings that each (fold, part) should get."""
    shares = {(fold, MAIN): (1 - plan.validation) / plan.folds for fold in range(1, plan.folds + 1)}
    if plan.validation:
        shares |= {(fold, VALIDATION): plan.validation / plan.folds for fold in range(1, plan.folds + 1)}
    return shares


def _deal(
    labels: Sequence[str],
    groups: Sequence[str],
    shares: dict[tuple[int, int], float],
    generator: np.random.RandomState,
    what: str,
) -> dict[tuple[int, int], list[int]]:
    """Deal rows to bins by whole groups, each label on its own, the largest group first to the emptiest bin.

    Of a label with more groups than folds, the smallest go to the validation parts first, one each: dealt by size
    alone, a label of few groups would be in no validation part.
    """
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    home: dict[str, tuple[int, int]] = {}
    for row, (label, group) in enumerate(zip(labels, groups, strict=True)):
        members[label][group].append(row)
    dealt: dict[tuple[int, int], dict[str, list[int]]] = {key: {} for key in shares}
    for label in sorted(members):
        names = sorted(members[label])
        names = [names[k] for k in generator.permutation(len(names))]
        names.sort(key=lambda name: -len(members[label][name]))
        total = sum(len(rows) for rows in members[label].values())
        keys = [list(shares)[k] for k in generator.permutation(len(shares))]
        missing = {key: shares[key] * total for key in keys}
        validation = [key for key in keys if key[1] == VALIDATION]
        spare = names[len(keys) - len(validation) :][::-1]
        reserved = dict(zip(spare, validation, strict=False))
        for name in names:
            rows = members[label][name]
            # a place that appears under two labels stays where it was put first
            key = home.setdefault(name, reserved.get(name) or max(keys, key=lambda key: missing[key]))
            missing[key] -= len(rows)
            dealt[key].setdefault(name, []).extend(rows)
    _fill_empty(dealt, what)
    return {key: sorted(row for rows in bins.values() for row in rows) for key, bins in dealt.items()}


def _fill_empty(dealt: dict[tuple[int, int], dict[str, list[int]]], what: str) -> None:
    """Give every empty bin the smallest group of the bin with the most groups; small collections need it."""
    for key, mine in dealt.items():
        if mine:
            continue
        fullest = max(dealt.values(), key=len)
        if len(fullest) < 2:
            raise InputError(
                f"there are only {sum(len(groups) for groups in dealt.values())} {what} for {len(dealt)} parts of"
                f" folds (part {key} stays empty); use fewer folds or more recordings"
            )
        smallest = min(fullest, key=lambda name: len(fullest[name]))
        mine[smallest] = fullest.pop(smallest)


def _deck(rows: Sequence[int], generator: np.random.RandomState) -> Iterator[int]:
    """Deal rows in random order, without replacement until all were dealt, then shuffle anew."""
    while True:
        yield from (rows[k] for k in generator.permutation(len(rows)))


def _take(deck: Iterator[int], count: int, size: int) -> list[int]:
    """Take `count` recordings, none twice unless the deck has fewer."""
    chosen: list[int] = []
    while len(chosen) < count:
        row = next(deck)
        if row not in chosen or len(chosen) >= size:
            chosen.append(row)
    return chosen


def _onsets(recipe: Recipe, labels: Sequence[str], generator: np.random.RandomState) -> list[float]:
    """Return an onset for each event; two of one class never overlap, and none do where `overlap` is false."""
    plan = recipe.plan
    if plan.onsets != "drawn":
        return list(plan.onsets[: len(labels)])
    latest = recipe.mix.duration - plan.max_event
    if not plan.overlap:
        # in whole steps, so that rounding brings no two events closer than the longest lasts
        step = math.ceil(plan.max_event * STEPS_PER_SECOND - 1e-6)
        room = max(0, math.floor(latest * STEPS_PER_SECOND + 1e-6) - (len(labels) - 1) * step)
        slack = np.sort(generator.uniform(0, room, len(labels))).astype(int)
        return [int(start) / STEPS_PER_SECOND for start in slack + step * np.arange(len(labels))]
    for _ in range(TRIES):
        onsets = [
            math.floor(onset * STEPS_PER_SECOND) / STEPS_PER_SECOND
            for onset in generator.uniform(0, latest, len(labels))
        ]
        apart = (
            labels[i] != labels[j] or abs(onsets[i] - onsets[j]) > plan.max_event
            for i in range(len(labels))
            for j in range(i)
        )
        if all(apart):
            return onsets
    raise InputError(
        f"recipe {recipe.name}: {len(labels)} events of {plan.max_event:g} s do not fit into {recipe.mix.duration:g} s"
        " without two of one class overlapping; lower polyphony or max_event"
    )


def _offset(plan: Plan, generator: np.random.RandomState) -> float:
    return round(float(generator.uniform(*plan.snr_spread)), 2) if plan.snr_spread else 0.0


def _role(fold: int, part: int, tested: int) -> str:
    if fold == tested:
        return "test"
    return "validation" if part == VALIDATION else "train"
