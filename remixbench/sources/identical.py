"""Recordings of a collection that have the same samples under two names, such as a file copied and renamed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable

import numpy as np

from remixbench.errors import InputError
from remixbench.sources.audio import FileReader, open_audio, recording_digest
from remixbench.sources.catalogue import Catalogue

PROBE_SAMPLES = 1024
"""So many samples from the middle of two recordings of one length must be equal before all are compared."""


def identical_recordings(catalogue: Catalogue) -> tuple[tuple[str, ...], ...]:
    """Return the groups of recordings of a catalogue that have the same samples once decoded, whatever their format.

    Recordings that are missing or not readable are left out: reading them says what is wrong.
    """
    reader = catalogue.reader
    if not isinstance(reader, FileReader):
        return ()
    files = list(catalogue.table["file"])
    alike = _groups((_probe(reader, file), file) for file in files)
    return tuple(
        group for candidates in alike for group in _groups((_digest(reader, file), file) for file in candidates)
    )


def _groups(keyed: Iterable[tuple[Hashable, str]]) -> list[tuple[str, ...]]:
    """Return the files that share a key with another; a key of None is shared with none."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for key, file in keyed:
        if key is not None:
            groups[key].append(file)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _probe(reader: FileReader, file: str) -> Hashable:
    """Return length, sample rate and a few samples of a recording: cheap, and enough to tell most apart."""
    try:
        with open_audio(reader.path(file)) as audio:
            if audio.frames is None:  # only decoding tells
                return audio.rate
            first = max(0, (audio.frames - PROBE_SAMPLES) // 2)
            middle = [block.mean(axis=1) for block in audio.blocks(first, min(PROBE_SAMPLES, audio.frames))]
            return audio.frames, audio.rate, recording_digest(np.concatenate(middle))
    except InputError:
        return None


def _digest(reader: FileReader, file: str) -> str | None:
    try:
        return recording_digest(reader.read(file)[0])
    except InputError:
        return None
