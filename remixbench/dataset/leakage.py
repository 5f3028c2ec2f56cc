"""Leakage between training, validation and test clips of a manifest, and the balance of its classes.

A leak is a recording location, event origin or file that occurs in clips of two roles when a fold is tested. remix2019
has many, as released; remix2019-strict has none. Everything is counted from the sources' tables and the manifest,
independently of the code that draws plans.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from remixbench.dataset.groups import MAX_DIGITS, connected, origin_gap
from remixbench.dataset.manifest import ROLES, Clip, Manifest
from remixbench.errors import shortened
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Catalogue

LOCATIONS, EVENT_ORIGINS = "locations", "event origins"


def leakage_report(recipe: Recipe, manifest: Manifest, scenes: Catalogue, events: Catalogue) -> dict[str, Any]:
    """Count what roles share in each tested fold, the balance of classes and the coverage of onsets.

    Returns
    -------
    A dict for JSON: `folds`, one entry per tested fold; `clips_by_number_of_classes`; `classes`, clips with each label
    in each fold; `classes without clips`, labels that a role lacks, with the tested folds; `onsets`.
    """
    gap = origin_gap(recipe, events)
    table = scenes.table
    location_of = dict(zip(table["file"], table["location"], strict=True))
    origin_of = _origins(events, gap)
    unknown = unknown_groups(recipe)
    rule = "recordings with the same value in the source's table"
    if gap:
        rule += f", and recordings of one label whose origin numbers lie closer than {gap}"
    return {
        "manifest_digest": manifest.digest,
        "origin_rule": "unknown, as the source's table has no column for it" if EVENT_ORIGINS in unknown else rule,
        "folds": [_fold(manifest, fold, location_of, origin_of, unknown) for fold in manifest.folds],
        "clips_by_number_of_classes": dict(
            sorted(Counter(len({e.label for e in clip.events}) for clip in manifest.clips).items())
        ),
        "classes": _classes(manifest, events.labels),
        "classes without clips": classes_without_clips(manifest, events.labels),
        "onsets": _onsets(recipe, manifest),
    }


def _origins(events: Catalogue, gap: int) -> dict[str, object]:
    """Return the origin of each recording: that of its table or, with a gap, the group that its number falls into."""
    table = events.table[["file", "label", "origin"]].reset_index(drop=True)
    if not gap:
        return dict(zip(table["file"], table["origin"], strict=True))
    numbered = table[table["origin"].str.fullmatch(rf"[0-9]{{1,{MAX_DIGITS}}}")]
    numbered = numbered.assign(number=numbered["origin"].astype("int64")).sort_values(["label", "number"])
    # an upload begins at a new label, or at a number that is not close to the previous one
    begins = (numbered["label"] != numbered["label"].shift()) | (numbered["number"].diff() >= gap)
    upload = begins.cumsum().reindex(table.index, fill_value=0)
    groups = connected(
        [[origin, *([number] if number else [])] for origin, number in zip(table["origin"], upload, strict=True)]
    )
    return dict(zip(table["file"], groups, strict=True))


def unknown_groups(recipe: Recipe) -> set[str]:
    """Return the kinds of group that are unknown because a `folder` source names no column for them."""
    unknown = set()
    if recipe.scenes.source == "folder" and recipe.scenes.columns.location is None:
        unknown.add(LOCATIONS)
    if recipe.events.source == "folder" and recipe.events.columns.origin is None:
        unknown.add(EVENT_ORIGINS)
    return unknown


def by_role(manifest: Manifest, fold: int) -> dict[str, list[Clip]]:
    """Return the clips of each role when `fold` is tested."""
    clips: dict[str, list[Clip]] = {role: [] for role in ROLES}
    for clip in manifest.clips:
        clips[clip.roles[fold - 1] if clip.roles else "test" if clip.fold == fold else "train"].append(clip)
    return clips


def classes_without_clips(manifest: Manifest, labels: Sequence[str]) -> dict[str, dict[str, list[int]]]:
    """Return the labels that no clip of a role has: {role: {label: tested folds}}.

    Roles without any clips, such as validation in a manifest without that part, are left out.
    """
    absent: dict[str, dict[str, list[int]]] = {role: defaultdict(list) for role in ROLES}
    for fold in manifest.folds:
        for role, clips in by_role(manifest, fold).items():
            present = {event.label for clip in clips for event in clip.events}
            for label in labels if clips else ():
                if label not in present:
                    absent[role][label].append(fold)
    return {role: dict(by_label) for role, by_label in absent.items() if by_label}


def coverage_lines(manifest: Manifest, labels: Sequence[str]) -> list[str]:
    """Return a line for each role that lacks classes, with the classes and the tested folds."""
    consequence = {
        "train": ("training", "no system can learn them, so their scores mean nothing"),
        "validation": ("validation", "they are ignored when the epoch is chosen"),
        "test": ("test", "they are left out of macro averages"),
    }
    lines = []
    for role, by_label in classes_without_clips(manifest, labels).items():
        labels_with_folds = [f"{label} (fold {', '.join(map(str, folds))})" for label, folds in by_label.items()]
        clips, meaning = consequence[role]
        lines.append(f"classes without {clips} clips: {shortened(labels_with_folds)}; {meaning}")
    return lines


def identical_lines(manifest: Manifest, digests: Mapping[tuple[str, str, float | None], str]) -> list[str]:
    """Return a line for each set of identical recordings under several names that occur in clips of two roles.

    `digests` are keyed by kind (scene or event), file, and start if only part of a scene was decoded.
    """
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (kind, file, _), digest in sorted(digests.items(), key=lambda entry: entry[0][:2]):
        if file not in names[kind, digest]:
            names[kind, digest].append(file)
    lines = []
    for (kind, _), files in names.items():
        if len(files) == 1:
            continue
        folds = [fold for fold in manifest.folds if _roles_with(manifest, fold, kind, set(files)) > 1]
        if folds:
            lines.append(
                f"{kind} recordings with the same samples are in clips of two roles (fold {', '.join(map(str, folds))}"
                f" tested): {shortened(files)}; give them the same {'location' if kind == 'scene' else 'origin'},"
                " or keep only one of them in the table"
            )
    return lines


def _roles_with(manifest: Manifest, fold: int, kind: str, files: set[str]) -> int:
    """Return the number of roles whose clips contain any of `files`."""
    return sum(
        any(
            clip.scene_file in files if kind == "scene" else any(event.file in files for event in clip.events)
            for clip in clips
        )
        for clips in by_role(manifest, fold).values()
    )


def _contents(
    clips: list[Clip], location_of: Mapping[str, object], origin_of: Mapping[str, object]
) -> dict[str, set[object]]:
    """Return the recordings that clips are made of, and the groups that these belong to."""
    events = [event for clip in clips for event in clip.events]
    return {
        LOCATIONS: {location_of.get(clip.scene_file, clip.scene_location) for clip in clips},
        "scene files": {clip.scene_file for clip in clips},
        "event files": {event.file for event in events},
        EVENT_ORIGINS: {origin_of.get(event.file, event.file) for event in events},
    }


def _fold(
    manifest: Manifest,
    fold: int,
    location_of: Mapping[str, object],
    origin_of: Mapping[str, object],
    unknown: set[str],
) -> dict[str, Any]:
    clips_of = by_role(manifest, fold)
    contents = {role: _contents(clips, location_of, origin_of) for role, clips in clips_of.items()}

    def shared(role: str, second_role: str) -> dict[str, int | None]:
        return {
            kind: None if kind in unknown else len(names & contents[second_role][kind])
            for kind, names in contents[role].items()
        }

    combinations = {tuple(sorted(event.file for event in clip.events)) for clip in clips_of["test"]}
    return {
        "fold": fold,
        "clips": {role: len(clips) for role, clips in clips_of.items()},
        "test has": {kind: None if kind in unknown else len(names) for kind, names in contents["test"].items()},
        "shared by test and train": shared("test", "train"),
        "shared by test and validation": shared("test", "validation"),
        "shared by validation and train": shared("validation", "train"),
        "different event combinations in test": len(combinations),
    }


def _classes(manifest: Manifest, labels: Sequence[str]) -> dict[str, list[int]]:
    counts = Counter((label, clip.fold) for clip in manifest.clips for label in {event.label for event in clip.events})
    return {label: [counts[label, fold] for fold in manifest.folds] for label in labels}


def _onsets(recipe: Recipe, manifest: Manifest) -> dict[str, Any]:
    onsets = np.array([event.onset for clip in manifest.clips for event in clip.events])
    ends = onsets + np.array([event.max_duration for clip in manifest.clips for event in clip.events])
    edges = np.arange(0, recipe.mix.duration + 1e-9, 0.5)
    if len(onsets) == 0:
        return {"events": 0}
    active = [float(np.mean((onsets < stop) & (ends > start))) for start, stop in pairwise(edges)]
    return {
        "events": len(onsets),
        "different": len(np.unique(onsets)),
        "earliest": float(onsets.min()),
        "latest": float(onsets.max()),
        "share of events that may be active in each half second": [round(share, 4) for share in active],
    }


def _count(kind: str, count: int | None) -> str:
    return f"{kind}: unknown" if count is None else f"{count} {kind}"


def leakage_lines(report: dict[str, Any]) -> list[str]:
    """Return the report as lines of text."""
    lines = [f"manifest {report['manifest_digest'][:12]}; origin of an event: {report['origin_rule']}"]
    for fold in report["folds"]:
        clips = ", ".join(f"{count} {role}" for role, count in fold["clips"].items() if count)
        combinations = fold["different event combinations in test"]
        lines.append(f"fold {fold['fold']} tested ({clips}; {combinations} event combinations)")
        for pair in ("test and train", "test and validation", "validation and train"):
            shared = fold[f"shared by {pair}"]
            if all(fold["clips"][role] for role in pair.split(" and ")):
                lines.append(f"  shared by {pair}: " + ", ".join(_count(kind, count) for kind, count in shared.items()))
        lines.append("  in test: " + ", ".join(_count(kind, count) for kind, count in fold["test has"].items()))
    clips_by_classes = report["clips_by_number_of_classes"]
    counts_text = ", ".join(f"{count} with {classes}" for classes, count in clips_by_classes.items())
    lines.append(f"clips by number of classes: {counts_text}")
    counts = [count for row in report["classes"].values() for count in row]
    if counts:
        lines.append(f"clips per class and fold: {min(counts)} to {max(counts)}, {len(report['classes'])} classes")
    onsets = report["onsets"]
    if onsets["events"]:
        lines.append(
            f"onsets: {onsets['different']} different, {onsets['earliest']:g} to {onsets['latest']:g} s; active in each"
            " half second: " + " ".join(f"{share:.0%}" for share in next(reversed(onsets.values())))
        )
    return lines
