"""Recordings that belong together, so that they must not be in clips of two roles.

Two recordings are of one origin where the source's table names the same one for both, whatever their labels, and where
the origins are numbers of one label that lie closer than a gap: Freesound numbers uploads in order, and its tables name
no uploader. Recordings with the same samples are of one origin as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise

import numpy as np

from remixbench.errors import InputError
from remixbench.recipe import Recipe
from remixbench.sources.audio import FileReader, open_audio, recording_digest
from remixbench.sources.catalogue import Catalogue

MAX_DIGITS = 18
"""Origins with more digits than this are names, not numbers."""


def origin_gap(recipe: Recipe, events: Catalogue) -> int:
    """Return how close the numbers of two origins must be to count as one: as the recipe says, or else the source."""
    return events.origin_gap if recipe.plan.origin_gap is None else recipe.plan.origin_gap


def connected(keys: Sequence[Iterable[Hashable]]) -> list[int]:
    """Return the number of each item's group: items that share a key, directly or through others, are one group."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    columns: dict[Hashable, int] = {}
    edges = [(row, columns.setdefault(key, len(columns))) for row, own in enumerate(keys) for key in own]
    size = len(keys) + len(columns)
    rows, others = np.array(edges, dtype=np.int32).reshape(-1, 2).T  # scipy 1.11 misreads 64-bit indices
    graph = csr_matrix((np.ones(len(rows)), (rows, others + len(keys))), shape=(size, size))
    groups: list[int] = connected_components(graph, directed=False)[1][: len(keys)].tolist()
    return groups


def origins(
    labels: Sequence[str], ids: Sequence[str], gap: int = 0, identical: Sequence[Sequence[int]] = ()
) -> list[str]:
    """Return the origin of each recording, named by its first label and origin in the table.

    Parameters
    ----------
    labels, ids : label and origin of each recording, as the table has them
    gap : origins of one label that are numbers closer than this to a neighbour are one; 0 where numbers are names
    identical : groups of recordings (their places) that have the same samples
    """
    keys: list[list[Hashable]] = [[("origin", origin)] for origin in ids]
    numbers: dict[str, list[int]] = defaultdict(list)
    for row, (label, origin) in enumerate(zip(labels, ids, strict=True)):
        if gap and origin.isascii() and origin.isdigit() and len(origin) <= MAX_DIGITS:
            numbers[label].append(row)
    for rows in numbers.values():
        for before, after in pairwise(sorted(rows, key=lambda row: int(ids[row]))):
            if int(ids[after]) - int(ids[before]) < gap:
                keys[after].append(("neighbour", before))
                keys[before].append(("neighbour", before))
    for number, same in enumerate(identical):
        for row in same:
            keys[row].append(("samples", number))
    groups = connected(keys)
    first: dict[int, int] = {}
    # numbers in their order, which is that of their length first
    for row in sorted(range(len(ids)), key=lambda row: (labels[row], len(ids[row]), ids[row])):
        first.setdefault(groups[row], row)
    return [f"{labels[first[group]]}/{ids[first[group]]}" for group in groups]


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
            if audio.frames == 0:
                return None
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
