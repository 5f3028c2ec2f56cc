"""The draws of recipes with `method: grouped`, such as remix2019-strict.

Recordings are dealt to folds by group, so that no group is in two folds: scenes by location, events by origin
(`groups.py`), across all labels. Each fold has a validation part with separate groups, so that nothing is ever tuned on
the test fold. Draws use legacy `RandomState`: numpy has frozen its streams, so plans do not depend on its version.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from remixbench.dataset.groups import connected, origin_gap, origins
from remixbench.dataset.manifest import Clip, Event, Manifest
from remixbench.errors import InputError
from remixbench.recipe import Plan, Recipe
from remixbench.sources.catalogue import Catalogue

MAIN, VALIDATION = 0, 1
STEPS_PER_SECOND = 10_000  # onsets are whole steps of 0.1 ms
TRIES = 1000


def grouped_plan(
    recipe: Recipe,
    scenes: Catalogue,
    events: Catalogue,
    same_scenes: Sequence[Sequence[str]] = (),
    same_events: Sequence[Sequence[str]] = (),
) -> Manifest:
    """Draw the manifest of a recipe with `method: grouped`.

    `same_scenes` and `same_events` are sets of files with the same samples, each of which joins one group. Raises
    `InputError` if there are too few locations or origins for separate folds and validation parts.
    """
    plan = recipe.plan
    generator = np.random.RandomState(plan.seed)
    parts = _parts(plan)
    scene_groups = _locations(scenes, same_scenes)
    scene_bins = _deal(list(scenes.table["label"]), scene_groups, parts, generator, "recording locations of scenes")
    usable = np.flatnonzero(events.table["verified"].to_numpy(dtype=bool) | (not recipe.events.verified_only))
    # over the whole table: an unusable recording may join two usable ones
    all_groups = origins(
        list(events.table["label"]), list(events.table["origin"]), origin_gap(recipe, events),
        _rows_of(events, same_events),
    )  # fmt: skip
    groups = [all_groups[row] for row in usable]
    table = events.table.iloc[usable]
    labels, files = list(table["label"]), list(table["file"])
    event_bins = _deal(labels, groups, parts, generator, "origins of events")
    scene_rows = list(scenes.table[["file", "label", "location"]].itertuples(index=False, name=None))

    clips: list[Clip] = []
    for fold in range(1, plan.folds + 1):
        in_fold = [part for part in (MAIN, VALIDATION) if (fold, part) in parts]
        scene_decks = {part: _deck(scene_bins[fold, part], generator) for part in in_fold}
        event_decks = {part: _deck(event_bins[fold, part], generator) for part in in_fold}
        for position in range(plan.clips_per_fold):
            # validation clips are spread evenly, so that the first clips of a fold have some of them too
            part = int((position + 1) * plan.validation) - int(position * plan.validation)
            row = next(scene_decks[part])
            count = int(generator.randint(plan.fewest_events, plan.most_events + 1))
            event_rows = _draw(event_decks[part], count, len(event_bins[fold, part]))
            onsets = _onsets(recipe, [labels[k] for k in event_rows], generator)
            placed = sorted(zip(onsets, event_rows, strict=True))
            clip_events = tuple(
                Event(index, files[k], labels[k], onset, plan.max_event, snr_offset=_offset(plan, generator))
                for index, (onset, k) in enumerate(placed)
            )
            roles = tuple(_role(fold, part, tested) for tested in range(1, plan.folds + 1)) if plan.validation else ()
            file, label, location = scene_rows[row]
            clips.append(Clip(f"{len(clips):05d}", fold, file, label, location, clip_events, roles))
    return Manifest(tuple(clips))


def _rows_of(catalogue: Catalogue, sets: Sequence[Sequence[str]]) -> list[list[int]]:
    row = {file: number for number, file in enumerate(catalogue.table["file"])}
    return [[row[file] for file in files] for files in sets]


def _locations(scenes: Catalogue, same_samples: Sequence[Sequence[str]]) -> list[str]:
    """Return the location of each scene; locations with a recording in common are joined under the first name."""
    locations = list(scenes.table["location"])
    keys: list[list[Hashable]] = [[("location", location)] for location in locations]
    for number, rows in enumerate(_rows_of(scenes, same_samples)):
        for row in rows:
            keys[row].append(("samples", number))
    name: dict[int, str] = {}
    return [name.setdefault(group, location) for group, location in zip(connected(keys), locations, strict=True)]


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
    kind: str,
) -> dict[tuple[int, int], list[int]]:
    """Deal rows to bins by whole groups, label by label, the largest group first to the emptiest bin.

    A group with several labels stays in its first bin; if there are such groups, labels with few groups are dealt
    first, as they have the least choice. If a label has more groups than folds, each validation part first gets one of
    the smallest: dealt by size alone, it might be in no validation part.
    """
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, (label, group) in enumerate(zip(labels, groups, strict=True)):
        members[label][group].append(row)
    order = sorted(members)
    if sum(map(len, members.values())) > len(set(groups)):
        order.sort(key=lambda label: len(members[label]))
    home: dict[str, tuple[int, int]] = {}
    dealt: dict[tuple[int, int], dict[str, list[int]]] = {key: {} for key in shares}
    for label in order:
        names = sorted(members[label])
        names = [names[k] for k in generator.permutation(len(names))]
        names.sort(key=lambda name: -len(members[label][name]))
        total = sum(len(rows) for rows in members[label].values())
        keys = [list(shares)[k] for k in generator.permutation(len(shares))]
        missing = {key: shares[key] * total for key in keys}
        unplaced = [name for name in names if name not in home]
        for name in (name for name in names if name in home):
            missing[home[name]] -= len(members[label][name])
            dealt[home[name]][name] += members[label][name]
        empty = [key for key in keys if not any(home.get(name) == key for name in names)]
        validation = [key for key in empty if key[1] == VALIDATION]
        spare = unplaced[len(empty) - len(validation) :][::-1]
        reserved = dict(zip(spare, validation, strict=False))
        for name in unplaced:
            home[name] = reserved.get(name) or max(keys, key=lambda key: missing[key])
            missing[home[name]] -= len(members[label][name])
            dealt[home[name]][name] = list(members[label][name])
    _fill_empty(dealt, kind)
    return {key: sorted(row for rows in bins.values() for row in rows) for key, bins in dealt.items()}


def _fill_empty(dealt: dict[tuple[int, int], dict[str, list[int]]], kind: str) -> None:
    """Move the smallest group of the bin with the most groups to each empty bin, as small collections need."""
    for key, groups in dealt.items():
        if groups:
            continue
        fullest = max(dealt.values(), key=len)
        if len(fullest) < 2:
            raise InputError(
                f"there are only {sum(map(len, dealt.values()))} {kind} for {len(dealt)} parts of"
                f" folds (part {key} stays empty); use fewer folds or more recordings"
            )
        smallest = min(fullest, key=lambda name: len(fullest[name]))
        groups[smallest] = fullest.pop(smallest)


def _deck(rows: Sequence[int], generator: np.random.RandomState) -> Iterator[int]:
    """Deal rows in random order, without replacement; reshuffle once all are dealt."""
    while True:
        yield from (rows[k] for k in generator.permutation(len(rows)))


def _draw(deck: Iterator[int], count: int, size: int) -> list[int]:
    """Draw `count` recordings from a deck of `size`, without repetition unless the deck has fewer."""
    sample: list[int] = []
    while len(sample) < count:
        row = next(deck)
        if row not in sample or len(sample) >= size:
            sample.append(row)
    return sample


def _onsets(recipe: Recipe, labels: list[str], generator: np.random.RandomState) -> list[float]:
    """Return an onset for each event; events of one class never overlap, and none do if `overlap` is false."""
    plan = recipe.plan
    if plan.onsets != "drawn":
        return list(plan.onsets[: len(labels)])
    latest = recipe.mix.duration - plan.max_event
    if not plan.overlap:
        return _apart(len(labels), latest, plan.max_event, generator)
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
    # rejection fails with many events of one class: draw their distances instead
    distance = plan.max_event + 1 / STEPS_PER_SECOND  # scoring merges events that touch
    drawn: dict[str, list[float]] = {}
    for label in sorted(set(labels)):
        count = labels.count(label)
        if (count - 1) * distance > latest:
            raise InputError(
                f"recipe {recipe.name}: {count} events of {plan.max_event:g} s do not fit into {recipe.mix.duration:g}"
                " s without two of one class overlapping or touching; lower polyphony or max_event"
            )
        drawn[label] = _apart(count, latest, distance, generator)
    return [drawn[label].pop() for label in labels]


def _apart(count: int, latest: float, distance: float, generator: np.random.RandomState) -> list[float]:
    """Return ascending onsets from 0 to `latest` seconds, uniform among those at least `distance` apart."""
    # in whole steps, so that rounding brings no events closer than `distance`
    step = math.ceil(distance * STEPS_PER_SECOND - 1e-6)
    room = max(0, math.floor(latest * STEPS_PER_SECOND + 1e-6) - (count - 1) * step)
    slack = np.sort(generator.uniform(0, room, count)).astype(int)
    return [int(start) / STEPS_PER_SECOND for start in slack + step * np.arange(count)]


def _offset(plan: Plan, generator: np.random.RandomState) -> float:
    return round(float(generator.uniform(*plan.snr_spread.range)), 2) if plan.snr_spread else 0.0


def _role(fold: int, part: int, tested: int) -> str:
    if fold == tested:
        return "test"
    return "validation" if part == VALIDATION else "train"
