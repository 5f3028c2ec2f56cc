"""What a manifest shares between its training, validation and test clips, and how balanced it is.

A leak is a recording place, an event's origin or a file that clips of two roles have in common when a fold is
tested. remix2019 has many (they are the released data set's), remix2019-strict has none.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np

from remixbench.dataset.manifest import Clip, Manifest
from remixbench.dataset.plan_grouped import origins
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Catalogue

PLACES, EVENT_ORIGINS = "places", "event origins"


def leakage_report(recipe: Recipe, manifest: Manifest, events: Catalogue) -> dict[str, Any]:
    """Count what the roles of each tested fold share, the balance of classes and the coverage of onsets.

    Returns
    -------
    A JSON-able dict: `folds`, one entry a tested fold; `clips_by_number_of_classes`; `classes`, clips with each label
    in each fold; `onsets`.
    """
    named = origins(list(events.table["label"]), list(events.table["origin"]), recipe.plan.origin_gap)
    origin = dict(zip(events.table["file"], named, strict=True))
    unknown = unknown_groups(recipe)
    rule = f"recordings of one label whose origin numbers lie closer than {recipe.plan.origin_gap}"
    return {
        "manifest_digest": manifest.digest,
        "origin_rule": f"unknown: {EVENT_ORIGINS} are not in the source's table" if EVENT_ORIGINS in unknown else rule,
        "folds": [_fold(manifest, fold, origin, unknown) for fold in manifest.folds],
        "clips_by_number_of_classes": dict(
            sorted(Counter(len({e.label for e in clip.events}) for clip in manifest.clips).items())
        ),
        "classes": _classes(manifest),
        "onsets": _onsets(recipe, manifest),
    }


def unknown_groups(recipe: Recipe) -> set[str]:
    """Return which groups of recordings nobody knows: those that a `folder` source names no column for."""
    unknown = set()
    if recipe.scenes.source == "folder" and recipe.scenes.columns.location is None:
        unknown.add(PLACES)
    if recipe.events.source == "folder" and recipe.events.columns.origin is None:
        unknown.add(EVENT_ORIGINS)
    return unknown


def _things(clips: list[Clip], origin: dict[str, str]) -> dict[str, set[str]]:
    events = [event for clip in clips for event in clip.events]
    return {
        PLACES: {clip.scene_location for clip in clips},
        "scene files": {clip.scene_file for clip in clips},
        "event files": {event.file for event in events},
        EVENT_ORIGINS: {origin.get(event.file, event.file) for event in events},
    }


def _fold(manifest: Manifest, fold: int, origin: dict[str, str], unknown: set[str]) -> dict[str, Any]:
    by_role: dict[str, list[Clip]] = {"train": [], "validation": [], "test": []}
    for clip in manifest.clips:
        role = clip.roles[fold - 1] if clip.roles else ("test" if clip.fold == fold else "train")
        by_role[role].append(clip)
    things = {role: _things(clips, origin) for role, clips in by_role.items()}

    def shared(one: str, other: str) -> dict[str, int | None]:
        return {
            what: None if what in unknown else len(found & things[other][what]) for what, found in things[one].items()
        }

    combinations = {tuple(sorted(event.file for event in clip.events)) for clip in by_role["test"]}
    return {
        "fold": fold,
        "clips": {role: len(clips) for role, clips in by_role.items()},
        "test has": {what: None if what in unknown else len(found) for what, found in things["test"].items()},
        "shared by test and train": shared("test", "train"),
        "shared by test and validation": shared("test", "validation"),
        "shared by validation and train": shared("validation", "train"),
        "different event combinations in test": len(combinations),
    }


def _classes(manifest: Manifest) -> dict[str, list[int]]:
    counts = Counter((label, clip.fold) for clip in manifest.clips for label in {event.label for event in clip.events})
    labels = sorted({label for label, _ in counts})
    return {label: [counts[label, fold] for fold in manifest.folds] for label in labels}


def _onsets(recipe: Recipe, manifest: Manifest) -> dict[str, Any]:
    onsets = np.array([event.onset for clip in manifest.clips for event in clip.events])
    ends = onsets + np.array([event.max_duration for clip in manifest.clips for event in clip.events])
    edges = np.arange(0, recipe.mix.duration + 1e-9, 0.5)
    if len(onsets) == 0:
        return {"events": 0}
    active = [float(np.mean((onsets < b) & (ends > a))) for a, b in pairwise(edges)]
    return {
        "events": len(onsets),
        "different": len(np.unique(onsets)),
        "earliest": float(onsets.min()),
        "latest": float(onsets.max()),
        "share of events that may be active in each half second": [round(share, 4) for share in active],
    }


def _count(what: str, count: int | None) -> str:
    return f"unknown {what}" if count is None else f"{count} {what}"


def leakage_lines(report: dict[str, Any]) -> list[str]:
    """Return the report as lines of text."""
    lines = [f"manifest {report['manifest_digest'][:12]}; an origin: {report['origin_rule']}"]
    for fold in report["folds"]:
        clips = ", ".join(f"{count} {role}" for role, count in fold["clips"].items() if count)
        combinations = fold["different event combinations in test"]
        lines.append(f"fold {fold['fold']} tested ({clips}; {combinations} event combinations)")
        for pair in ("test and train", "test and validation", "validation and train"):
            shared = fold[f"shared by {pair}"]
            if all(fold["clips"][role] for role in pair.split(" and ")):
                lines.append(f"  shared by {pair}: " + ", ".join(_count(what, count) for what, count in shared.items()))
        lines.append("  test has: " + ", ".join(_count(what, count) for what, count in fold["test has"].items()))
    several = ", ".join(f"{count} with {n}" for n, count in report["clips_by_number_of_classes"].items())
    lines.append(f"clips by number of classes: {several}")
    counts = [count for row in report["classes"].values() for count in row]
    if counts:
        lines.append(
            f"clips of a class in a fold: {min(counts)} to {max(counts)}, over {len(report['classes'])} classes"
        )
    onsets = report["onsets"]
    if onsets["events"]:
        lines.append(
            f"onsets: {onsets['different']} different, {onsets['earliest']:g} to {onsets['latest']:g} s; active in each"
            " half second: " + " ".join(f"{share:.0%}" for share in next(reversed(onsets.values())))
        )
    return lines
