"""Mixtures made on the fly: the clips of a manifest, or the same recordings combined anew for every epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from remixbench.dataset.excerpts import FreshExcerpts
from remixbench.dataset.features import logmel
from remixbench.dataset.labels import event_times
from remixbench.dataset.manifest import Clip, Event
from remixbench.dataset.mix import FULL_SCALE, Stems, exact_mixture, mixture
from remixbench.dataset.render import place_events, read_scene, render
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Catalogue, Reader

ROUNDS = 100


@dataclass(frozen=True)
class Mixer:
    """Mixes single clips of a recipe from its sources, equal to the files that a data set has of them."""

    recipe: Recipe
    scenes: Reader
    excerpts: FreshExcerpts

    @staticmethod
    def of(recipe: Recipe, scenes: Catalogue, events: Catalogue) -> Mixer:
        """Make a mixer that keeps the last few event recordings in memory."""
        return Mixer(recipe, scenes.reader, FreshExcerpts(recipe, events.reader))

    def stems(self, clip: Clip, snr: float) -> Stems:
        """Return the two channels of a clip at `snr` dB, the same samples as in the data set's files."""
        scene = read_scene(self.recipe, self.scenes, clip).samples
        return render(self.recipe, scene, place_events(self.recipe, clip, self.excerpts), snr).stems

    def logmel(self, clip: Clip, snr: float) -> NDArray[np.float32]:
        """Return the log-mel of a clip at `snr` dB, (frames, n_mels), the same values as in the file."""
        mixed = exact_mixture(self.stems(clip, snr))
        # the order of BLAS's sums, and so the last bit of a value, depends on its number of threads
        with _thread_pools().limit(limits=1, user_api="blas"):
            return logmel(mixed, self.recipe.features, self.recipe.mix.sample_rate)

    def waveform(self, clip: Clip, snr: float) -> NDArray[np.float32]:
        """Return the mixture of a clip at `snr` dB, (samples,) in [-1, 1], the same samples as in the file."""
        return mixture(self.stems(clip, snr)).astype(np.float32) / np.float32(FULL_SCALE)

    def events(self, clip: Clip) -> list[tuple[float, float, str]]:
        """Return the strong labels of a clip: onset and offset in seconds, and label."""
        seconds = self.recipe.mix.seconds
        available = [self.excerpts.facts((event.file, event.start)).available for event in clip.events]
        return [
            (*event_times(event, length, seconds), event.label)
            for event, length in zip(clip.events, available, strict=True)
        ]


@lru_cache(maxsize=1)
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()  # it searches all loaded libraries, which takes longer than a clip


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
