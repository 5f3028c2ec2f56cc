"""Dynamic mixing: the recordings of some clips combined anew, for another epoch of training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from remixbench.dataset.manifest import Clip, Event

ROUNDS = 100


def recombine(clips: list[Clip], generator: np.random.Generator) -> list[Clip]:
    """Deal the scenes and the events of some clips to one another anew; onsets stay with their places.

    Two events of one class never overlap in a clip unless they do in every try. All clips must be of one role,
    so that nothing leaks.
    """
    scenes = generator.permutation(len(clips))
    places = [(row, event) for row, clip in enumerate(clips) for event in clip.events]
    order = generator.permutation(len(places))
    for _ in range(ROUNDS):
        contents = [places[k][1] for k in order]
        bad = _clashes(places, contents)
        if not len(bad):
            break
        partners = generator.integers(0, len(places), len(bad))
        for one, other in zip(bad, partners, strict=True):
            order[one], order[other] = order[other], order[one]
    events: list[list[Event]] = [[] for _ in clips]
    for (row, place), k in zip(places, order, strict=True):
        content = places[k][1]
        events[row].append(replace(place, file=content.file, label=content.label, start=content.start))
    return [
        replace(
            clip,
            scene_file=clips[scenes[row]].scene_file,
            scene_label=clips[scenes[row]].scene_label,
            scene_location=clips[scenes[row]].scene_location,
            scene_start=clips[scenes[row]].scene_start,
            events=tuple(events[row]),
        )
        for row, clip in enumerate(clips)
    ]


def _clashes(places: list[tuple[int, Event]], contents: list[Event]) -> list[int]:
    """Return the places whose event would overlap an earlier one of its class in the same clip."""
    placed: dict[tuple[int, str], list[Event]] = {}
    bad = []
    for k, ((row, place), content) in enumerate(zip(places, contents, strict=True)):
        before = placed.setdefault((row, content.label), [])
        if any(abs(place.onset - other.onset) < max(place.max_duration, other.max_duration) for other in before):
            bad.append(k)
        before.append(place)
    return bad
