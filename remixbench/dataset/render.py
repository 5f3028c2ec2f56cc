"""From a row of the manifest to arrays: the renderer of `make`, `verify` and fresh mixtures.

    Renderer(recipe, scenes, excerpts).clip(clip).at(snr).stems

A scene is read (by `sources.audio.FileReader`, for files), cut and scaled to level 1; event excerpts are placed in it;
both are mixed at any number of SNRs. No files are written here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from remixbench.dataset.features import logmel
from remixbench.dataset.manifest import Clip, ExcerptKey, event_seconds, event_times
from remixbench.dataset.mix import (
    Placed,
    Signal,
    SilenceError,
    Stems,
    achieved_snr,
    as_float,
    event_gains,
    event_stems,
    exact_mixture,
    full_scale,
    level_of,
    loudest_window,
    mix,
    mixture,
    resample,
)
from remixbench.errors import InputError
from remixbench.recipe import Recipe
from remixbench.sources.audio import Reader, recording_digest
from remixbench.sources.catalogue import Catalogue


@dataclass(frozen=True)
class Scene:
    """The scene of a clip.

    Attributes
    ----------
    samples : as long as a clip, at the recipe's sample rate and level 1
    digest : SHA-256 of the decoded part of its recording
    start : start in the recording in seconds, None if the whole recording was decoded
    """

    samples: Signal
    digest: str
    start: float | None


@dataclass(frozen=True)
class Excerpt:
    """Metadata of an excerpt of an event recording.

    Attributes
    ----------
    file : name of the recording
    seconds : duration of the whole recording
    level : level of the whole resampled recording by the recipe's measure, as a linear amplitude
    start : start of the excerpt in the recording, in seconds
    samples : length of the excerpt at the recipe's sample rate
    digest : SHA-256 of the decoded recording
    """

    file: str
    seconds: float
    level: float
    start: float
    samples: int
    digest: str

    @property
    def available(self) -> float:
        """Seconds from the start of the excerpt to the end of the recording."""
        return self.seconds - self.start


def longest_excerpt(recipe: Recipe) -> int:
    """Return the length of an excerpt buffer in samples: one more than the longest, as both ends are truncated."""
    return math.ceil(recipe.plan.max_event * recipe.mix.sample_rate) + 1


def prepare_excerpt(recipe: Recipe, reader: Reader, file: str, fixed: float | None) -> tuple[Excerpt, Signal]:
    """Decode and resample an event recording and cut its excerpt, which starts at `fixed` seconds if not None."""
    mix = recipe.mix
    samples, rate = reader.read(file)
    signal = resample(samples, rate, mix.sample_rate)
    if not np.any(signal):
        raise InputError(
            f"{file}: the event recording is silent, so it has no level to mix at; leave it out of the table"
        )
    room = longest_excerpt(recipe)
    if fixed is not None:
        start = int(fixed * mix.sample_rate)
    elif mix.excerpt == "loudest":
        # resampling rounds the length up; the excerpt must not include that last, partial sample
        full_samples = int(len(samples) / rate * mix.sample_rate)
        start = min(loudest_window(signal, room - 1), max(0, full_samples - (room - 1)))
    else:
        start = 0
    excerpt = signal[start : start + room]
    # with the level of the whole recording an excerpt may be silent, as released;
    # checked here, so that an unusable excerpt is never stored
    if mix.snr_reference == "excerpt" and not np.any(excerpt):
        raise InputError(
            f"{file}: its excerpt of {room / mix.sample_rate:.3g} s from {start / mix.sample_rate:.3g} s is silent;"
            " leave it out of the table"
        )
    level = level_of(signal, mix.sample_rate, mix.level) if mix.snr_reference == "recording" else 1.0
    return Excerpt(
        file, len(samples) / rate, level, start / mix.sample_rate, len(excerpt), recording_digest(samples)
    ), excerpt


class Excerpts(Protocol):
    """Provides excerpts, from memory or disk."""

    def facts(self, key: ExcerptKey) -> Excerpt:
        """Return the metadata of an excerpt."""

    def samples(self, key: ExcerptKey, count: int) -> Signal:
        """Return the first `count` samples of an excerpt, or all if it has fewer."""


class FreshExcerpts:
    """Prepares excerpts on demand, and caches the most recent ones in memory."""

    def __init__(self, recipe: Recipe, reader: Reader, keep: int = 256) -> None:
        self._arguments = (recipe, reader, keep)
        self._prepare = lru_cache(maxsize=keep)(lambda key: prepare_excerpt(recipe, reader, *key))

    def __reduce__(self) -> tuple[type[FreshExcerpts], tuple[Recipe, Reader, int]]:
        """Pickle without the cache, so that each worker process fills its own."""
        return FreshExcerpts, self._arguments

    def facts(self, key: ExcerptKey) -> Excerpt:
        """Return the metadata of an excerpt."""
        return self._prepare(key)[0]

    def samples(self, key: ExcerptKey, count: int) -> Signal:
        """Return the first `count` samples of an excerpt."""
        return self._prepare(key)[1][:count]


@dataclass(frozen=True)
class Renderer:
    """Renders the clips of a recipe from its sources.

    Attributes
    ----------
    scenes : reads scene recordings
    excerpts : provides excerpts of event recordings
    """

    recipe: Recipe
    scenes: Reader
    excerpts: Excerpts

    @staticmethod
    def of(recipe: Recipe, scenes: Catalogue, events: Catalogue) -> Renderer:
        """Return a renderer that caches recent excerpts in memory."""
        return Renderer(recipe, scenes.reader, FreshExcerpts(recipe, events.reader))

    def clip(self, clip: Clip) -> ClipParts:
        """Return the scene and the placed events of a clip.

        Raises `InputError` if a recording cannot be read, is too short or silent; `SilenceError` if only its part in
        the clip is.
        """
        scene = read_scene(self.recipe, self.scenes, clip)
        return ClipParts(self.recipe, scene, place_events(self.recipe, clip, self.excerpts))

    def events(self, clip: Clip) -> list[tuple[float, float, str]]:
        """Return the strong labels of a clip: onset and offset in seconds, and label."""
        available = [self.excerpts.facts((event.file, event.start)).available for event in clip.events]
        return [
            (*event_times(event, length, self.recipe.mix.seconds), event.label)
            for event, length in zip(clip.events, available, strict=True)
        ]


def one_blas_thread() -> AbstractContextManager[object]:
    """Limit BLAS to one thread: the order of its sums, and so the last bit of log-mel, depends on their number."""
    limit: AbstractContextManager[object] = _thread_pools().limit(limits=1, user_api="blas")
    return limit


@lru_cache(maxsize=1)
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()  # it searches all loaded libraries, which takes longer than a clip


@dataclass(frozen=True)
class ClipParts:
    """The scene of a clip, and its placed events before scaling."""

    recipe: Recipe
    scene: Scene
    events: list[Placed]

    def at(self, snr: float) -> Rendered:
        """Return the clip at `snr` dB.

        Raises `SilenceError` if the SNR is defined on excerpts, and the scene under an event is silent, or so faint
        that both are silent in 16 bits.
        """
        mixing, scene, events = self.recipe.mix, self.scene.samples, self.events
        gains = event_gains(scene, events, snr, mixing.sample_rate, mixing.level, mixing.snr_reference)
        stems, peak = mix(scene, events, gains, mixing.quantisation)
        scale = full_scale(mixing.quantisation) / peak
        achieved = achieved_snr(stems, events, gains, scale, mixing.sample_rate, mixing.level)
        for event in events if mixing.snr_reference == "excerpt" else ():
            if not np.any(stems.events[event.part]) and not np.any(stems.scene[event.part]):
                raise SilenceError(
                    f"{event.name}: the scene is so faint under it, from {event.first / mixing.sample_rate:.2f} to"
                    f" {event.part.stop / mixing.sample_rate:.2f} s, that nothing of either is left in 16 bits; leave"
                    " the scene out of the table"
                )
        return Rendered(
            self.recipe, stems, tuple(achieved), partial(event_stems, stems, events, gains, peak, mixing.quantisation)
        )


@dataclass(frozen=True)
class Rendered:
    """A clip at one SNR: its stems, the measured SNR of each event in dB, and a function for one stem per event."""

    recipe: Recipe
    stems: Stems
    achieved: tuple[float, ...]
    event_stems: Callable[[], NDArray[np.int16]]

    def waveform(self) -> NDArray[np.float32]:
        """Return the mixture as in the file, (samples,) in [-1, 1]."""
        return as_float(mixture(self.stems))

    def logmel(self) -> NDArray[np.float32]:
        """Return the log-mel of the mean of the two quantised channels, (frames, n_mels)."""
        return logmel(exact_mixture(self.stems), self.recipe.features, self.recipe.mix.sample_rate)

    def interleaved_events(self) -> NDArray[np.int16]:
        """Return one channel per event, then the scene, as in the file: (samples, events + 1)."""
        return np.concatenate((self.event_stems(), self.stems.scene[None])).T


def read_scene(recipe: Recipe, reader: Reader, clip: Clip) -> Scene:
    """Return the scene of a clip; only the part of the recording that is used is decoded."""
    mix, file = recipe.mix, clip.scene_file
    stretch = reader.read_stretch(file, clip.scene_start, clip.scene_start + mix.duration)
    signal = resample(stretch.samples, stretch.rate, mix.sample_rate)
    start = int(clip.scene_start * mix.sample_rate) - stretch.first // stretch.rate * mix.sample_rate
    if mix.short_scenes == "loop" and len(signal) < start + mix.samples:
        signal = np.resize(signal, start + mix.samples)
    if len(signal) < start + mix.samples:
        raise InputError(
            f"{file}: the scene lasts {len(stretch.samples) / stretch.rate:.2f} s, a clip of this recipe"
            f" {mix.duration:g} s"
            + (f" from {clip.scene_start:g} s on" if start else "")
            + "; leave it out of the table, fetch it again, or set mix.short_scenes to loop"
        )
    # as released: there the level is that of the whole recording, which is as long as the clip
    scene = signal[start : start + mix.samples]
    if not np.any(scene):
        raise InputError(f"{file}: the scene is silent, so it has no level to mix at; leave it out of the table")
    # the definition `excerpt` measures the scene under each event, so here any scale will do
    measure = mix.level if mix.snr_reference == "recording" else "rms"
    level = level_of(scene, mix.sample_rate, measure)
    if level <= 0 or not math.isfinite(level):
        raise InputError(f"{file}: the scene is so faint that it has no level to mix at; leave it out of the table")
    digest = recording_digest(stretch.samples)
    return Scene(np.divide(scene, level), digest, None if stretch.complete else clip.scene_start)


def place_events(recipe: Recipe, clip: Clip, excerpts: Excerpts) -> list[Placed]:
    """Return the events of a clip, cut to the clip, before scaling.

    Raises `SilenceError` if an excerpt has no samples in the clip or, with the SNR defined on excerpts, only silence.
    """
    mix = recipe.mix
    placed = []
    for event in clip.events:
        key = (event.file, event.start)
        facts = excerpts.facts(key)
        seconds = event_seconds(event, facts.available, mix.seconds)
        first = int(event.onset * mix.sample_rate)
        count = min(int((event.onset + seconds) * mix.sample_rate) - first, facts.samples, mix.samples - first)
        samples = excerpts.samples(key, max(count, 0))
        # with the level of the whole recording an excerpt may be silent, as released
        if len(samples) == 0 or (mix.snr_reference == "excerpt" and not np.any(samples)):
            raise SilenceError(
                f"{event.file}: clip {clip.id} has nothing of it (silent or shorter than a sample);"
                " leave it out of the table"
            )
        level = facts.level if mix.snr_reference == "recording" else level_of(samples, mix.sample_rate, mix.level)
        if level <= 0 or not math.isfinite(level):
            raise SilenceError(f"{event.file}: has no level by {mix.level.upper()}; leave it out of the table")
        name = f"clip {clip.id}, event {event.file} over scene {clip.scene_file}"
        placed.append(Placed(first, samples, level, event.snr_offset, name))
    return placed
