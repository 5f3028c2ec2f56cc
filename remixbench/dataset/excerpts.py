"""What is used of each event recording, decoded and resampled once and kept on disk while a data set is made.

Recordings are kept in blocks: `00007.npy` holds (recordings, samples) float64, a row the excerpt padded with
zeros, and `00007.json` the metadata of each. A block appears whole or not at all, so that any number of
processes, also on several machines, may share the folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from remixbench.dataset.features import FRAMES_AT_ONCE
from remixbench.dataset.manifest import Clip, ExcerptKey, Manifest
from remixbench.dataset.mix import Signal, level_of, loudest_window, resample
from remixbench.errors import InputError
from remixbench.files import atomic_path, read_json, write_json
from remixbench.recipe import Recipe
from remixbench.sources.audio import recording_digest
from remixbench.sources.catalogue import Reader

RECORDINGS_PER_BLOCK = 32
MAX_BYTES = 16 << 30
"""The most memory that making a clip, or a block of excerpts, may take."""


@dataclass(frozen=True)
class Excerpt:
    """What is known of an event recording.

    Attributes
    ----------
    file : its name
    seconds : length of the whole recording
    level : amplitude of the whole resampled recording by the recipe's measure, linear
    start : where the excerpt starts in the recording, seconds
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
        """Seconds from where the excerpt starts to the end of the recording."""
        return self.seconds - self.start


def require_unchanged(kind: str, file: str, digest: str, expected: str | None) -> None:
    """Refuse a recording whose samples are not those that the data set was made from.

    Raises
    ------
    InputError
        Naming the recording; nothing is checked where `expected` is None.
    """
    if expected not in (None, digest):
        raise InputError(
            f"{file}: the {kind} recording changed since the data set was made; restore it, or make another data set"
            " with --out"
        )


def longest_excerpt(recipe: Recipe) -> int:
    """Return the room for an excerpt in samples: one more than the longest, since both its ends are truncated."""
    return math.ceil(recipe.plan.max_event * recipe.mix.sample_rate) + 1


def check_memory(recipe: Recipe) -> None:
    """Refuse a recipe whose clips, or blocks of excerpts, no machine has the memory for.

    Raises
    ------
    InputError
        Saying how much they need, before any of it is allocated.
    """
    samples, features = recipe.mix.samples, recipe.features
    spectrum = min(recipe.frames, FRAMES_AT_ONCE) * (features.n_fft // 2 + 1) * 16
    clip = 64 * samples + spectrum + 4 * recipe.frames * features.n_mels  # stems of float64 and their sums
    excerpts = 8 * RECORDINGS_PER_BLOCK * longest_excerpt(recipe)
    for need, what, keys in (
        (clip, "a clip", "mix.duration, mix.sample_rate or features.n_mels, or raise features.hop_length"),
        (excerpts, f"{RECORDINGS_PER_BLOCK} excerpts of events", "plan.max_event or mix.sample_rate"),
    ):
        if need > MAX_BYTES:
            raise InputError(
                f"recipe '{recipe.name}': {what} would need {need / 2**30:,.0f} GiB of memory, expected at most"
                f" {MAX_BYTES / 2**30:.0f} GiB; lower {keys}"
            )


def prepare(recipe: Recipe, reader: Reader, file: str, fixed: float | None) -> tuple[Excerpt, Signal]:
    """Decode and resample one event recording and choose its excerpt, unless the manifest has fixed its start.

    Raises
    ------
    InputError
        If the recording cannot be read or is silent.
    """
    mix = recipe.mix
    samples, rate = reader.read(file)
    whole = resample(samples, rate, mix.sample_rate)
    if not np.any(whole):
        raise InputError(
            f"{file}: the event recording is silent, so it has no level to mix at; leave it out of the table"
        )
    room = longest_excerpt(recipe)
    if fixed is not None:
        start = int(fixed * mix.sample_rate)
    elif mix.excerpt == "loudest":
        # resampling rounds the length up; an excerpt must not reach into that last, partial sample
        whole_samples = int(len(samples) / rate * mix.sample_rate)
        start = min(loudest_window(whole, room - 1), max(0, whole_samples - (room - 1)))
    else:
        start = 0
    excerpt = whole[start : start + room]
    # where the level is that of the whole recording, an excerpt may begin before the sound does, as released
    # said here, so that an excerpt that can be replaced is never kept
    if mix.snr_reference == "excerpt" and not np.any(excerpt):
        raise InputError(
            f"{file}: it is silent in the clip, its {room / mix.sample_rate:.3g} s from {start / mix.sample_rate:.3g} s"
            " on are silent; leave it out of the table"
        )
    level = level_of(whole, mix.sample_rate, mix.level) if mix.snr_reference == "recording" else 1.0
    return Excerpt(
        file, len(samples) / rate, level, start / mix.sample_rate, len(excerpt), recording_digest(samples)
    ), excerpt


def unprepared_excerpts(folder: Path, manifest: Manifest, clips: Iterable[Clip]) -> dict[int, list[ExcerptKey]]:
    """Return the blocks of excerpts that clips of a manifest use and that are not in `folder` yet, by their number."""
    wanted = manifest.excerpts
    position = {key: k for k, key in enumerate(wanted)}
    used = {position[event.file, event.start] // RECORDINGS_PER_BLOCK for clip in clips for event in clip.events}
    return {
        index: list(wanted[index * RECORDINGS_PER_BLOCK : (index + 1) * RECORDINGS_PER_BLOCK])
        for index in sorted(used)
        if not (folder / f"{index:05d}.json").exists()
    }


def make_block(
    recipe: Recipe, reader: Reader, folder: Path, index: int, wanted: list[ExcerptKey], expected: dict[str, str]
) -> None:
    """Prepare one block of recordings and write it, unless it is there; `expected` are their digests, where known."""
    if (folder / f"{index:05d}.json").exists():
        return
    block = np.zeros((len(wanted), longest_excerpt(recipe)))
    known = []
    for row, (file, start) in enumerate(wanted):
        facts, excerpt = prepare(recipe, reader, file, start)
        require_unchanged("event", file, facts.digest, expected.get(file))
        block[row, : len(excerpt)] = excerpt
        known.append(asdict(facts))
    with atomic_path(folder / f"{index:05d}.npy") as beside, beside.open("wb") as out:
        # not np.save, whose error on a full disk does not say so
        np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(block))
        out.write(block.data)
    write_json(folder / f"{index:05d}.json", {"excerpts": known})


class Excerpts(Protocol):
    """Gives excerpts, wherever they are kept."""

    def facts(self, wanted: ExcerptKey) -> Excerpt:
        """Return the metadata of an excerpt."""

    def samples(self, wanted: ExcerptKey, count: int) -> Signal:
        """Return the first `count` samples of an excerpt, or all if it has fewer."""


class FreshExcerpts:
    """Prepares excerpts when they are asked for, and keeps the last few in memory."""

    def __init__(self, recipe: Recipe, reader: Reader, keep: int = 256) -> None:
        self._arguments = (recipe, reader, keep)
        self._prepare = lru_cache(maxsize=keep)(lambda wanted: prepare(recipe, reader, *wanted))

    def __reduce__(self) -> tuple[type[FreshExcerpts], tuple[Recipe, Reader, int]]:
        """Pickle without the excerpts kept, so that a worker process gets its own."""
        return FreshExcerpts, self._arguments

    def facts(self, wanted: ExcerptKey) -> Excerpt:
        """Return the metadata of an excerpt."""
        return self._prepare(wanted)[0]

    def samples(self, wanted: ExcerptKey, count: int) -> Signal:
        """Return the first `count` samples of an excerpt."""
        return self._prepare(wanted)[1][:count]


class StoredExcerpts:
    """Reads excerpts from the blocks in a folder."""

    def __init__(self, folder: Path, wanted: Sequence[ExcerptKey]) -> None:
        self._folder = folder
        self._place = {key: divmod(k, RECORDINGS_PER_BLOCK) for k, key in enumerate(wanted)}
        self._facts: dict[int, list[Excerpt]] = {}

    def facts(self, wanted: ExcerptKey) -> Excerpt:
        """Return the metadata of an excerpt."""
        block, row = self._place[wanted]
        if block not in self._facts:
            known = read_json(self._folder / f"{block:05d}.json")["excerpts"]
            self._facts[block] = [Excerpt(**facts) for facts in known]
        return self._facts[block][row]

    def samples(self, wanted: ExcerptKey, count: int) -> Signal:
        """Return the first `count` samples of an excerpt; only they are read from disk."""
        block, row = self._place[wanted]
        # mapped only for the moment of the copy, so that memory does not grow with what was read
        stored = np.load(self._folder / f"{block:05d}.npy", mmap_mode="r")
        return np.array(stored[row, :count])
