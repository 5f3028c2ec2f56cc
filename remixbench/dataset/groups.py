"""Groups of related recordings, which must never be split between training, validation and test clips.

Recordings share an origin if the source's table gives both the same one, whatever their labels; if they have the same
samples; or if they have the same label and origin numbers closer than a gap. The gap stands in for the uploader, which
the tables do not name: Freesound numbers uploads in order.
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
    """Return the gap below which origin numbers count as one origin: the recipe's, or else the source's."""
    return events.origin_gap if recipe.plan.origin_gap is None else recipe.plan.origin_gap


def connected(keys: Sequence[Iterable[Hashable]]) -> list[int]:
    """Return the group number of each item: items that share a key, directly or through others, form a group."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    columns: dict[Hashable, int] = {}
    edges = [(row, columns.setdefault(key, len(columns))) for row, item_keys in enumerate(keys) for key in item_keys]
    size = len(keys) + len(columns)
    rows, key_columns = np.array(edges, dtype=np.int32).reshape(-1, 2).T  # scipy 1.11 misreads 64-bit indices
    graph = csr_matrix((np.ones(len(rows)), (rows, key_columns + len(keys))), shape=(size, size))
    groups: list[int] = connected_components(graph, directed=False)[1][: len(keys)].tolist()
    return groups


def origins(
    labels: Sequence[str], ids: Sequence[str], gap: int = 0, identical: Sequence[Sequence[int]] = ()
) -> list[str]:
    """Return the origin of each recording, named after the first label and id of its group.

    Parameters
    ----------
    labels, ids : label and origin of each recording, as in the table
    gap : numeric origins of one label that are closer than this to a neighbour count as one; 0 to compare names only
    identical : sets of rows whose recordings have the same samples
    """
    keys: list[list[Hashable]] = [[("origin", origin)] for origin in ids]
    numbers: dict[str, list[int]] = defaultdict(list)
    for row, (label, origin) in enumerate(zip(labels, ids, strict=True)):
        if gap and origin.isascii() and origin.isdigit() and len(origin) <= MAX_DIGITS:
            numbers[label].append(row)
    for rows in numbers.values():
        for row, next_row in pairwise(sorted(rows, key=lambda row: int(ids[row]))):
            if int(ids[next_row]) - int(ids[row]) < gap:
                keys[next_row].append(("neighbour", row))
                keys[row].append(("neighbour", row))
    for number, same in enumerate(identical):
        for row in same:
            keys[row].append(("samples", number))
    groups = connected(keys)
    first: dict[int, int] = {}
    # by length first, so that numbers sort numerically
    for row in sorted(range(len(ids)), key=lambda row: (labels[row], len(ids[row]), ids[row])):
        first.setdefault(groups[row], row)
    return [f"{labels[first[group]]}/{ids[first[group]]}" for group in groups]


PROBE_SAMPLES = 1024
"""Samples from the middle of a recording that are compared before whole recordings are."""


def identical_recordings(catalogue: Catalogue) -> tuple[tuple[str, ...], ...]:
    """Return the groups of recordings of a catalogue that decode to the same samples, whatever their format.

    Recordings that are missing or not readable are skipped here; `make` reports them.
    """
    reader = catalogue.reader
    if not isinstance(reader, FileReader):
        return ()
    files = list(catalogue.table["file"])
    similar = _groups((_probe(reader, file), file) for file in files)
    return tuple(
        group for candidates in similar for group in _groups((_digest(reader, file), file) for file in candidates)
    )


def _groups(keyed: Iterable[tuple[Hashable, str]]) -> list[tuple[str, ...]]:
    """Group files by key, leaving out groups of one and files whose key is None."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for key, file in keyed:
        if key is not None:
            groups[key].append(file)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _probe(reader: FileReader, file: str) -> Hashable:
    """Return length, sample rate and a digest of a few samples: cheap, and enough to tell most recordings apart."""
    try:
        with open_audio(reader.path(file)) as audio:
            if audio.frames is None:  # only decoding tells the length
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
