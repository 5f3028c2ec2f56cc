"""How much disk `make` is going to need, from the recipe and from what is there already, checked before it writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.filesize import decimal as size_text

from remixbench.dataset.checkpoint import CLIPS_PER_BLOCK, Checkpoint
from remixbench.dataset.dataset import snr_folder
from remixbench.dataset.excerpts import longest_excerpt, unprepared_excerpts
from remixbench.dataset.manifest import Clip
from remixbench.dataset.spec import DatasetSpec
from remixbench.errors import RemixbenchError

WAV_HEADER = 44
FLAC_SHARE = 0.5
"""Size of a FLAC file relative to WAV: noise at usual levels takes about half and more, so this is a lower bound."""


def check_disk_space(
    spec: DatasetSpec, checkpoint: Checkpoint, todo: Mapping[float, Sequence[int]], folder: Path
) -> None:
    """Refuse to begin what the disk has no room for; `folder` is the data set's as the user named it.

    Raises
    ------
    RemixbenchError
        Saying how many bytes are needed and how many are free.
    """
    place = spec.target.folder
    while not place.exists():
        place = place.parent
    need, free = bytes_needed(spec, checkpoint, todo), shutil.disk_usage(place).free
    if need > free:
        raise RemixbenchError(
            f"{folder}: making it needs about {size_text(need)} of disk, {size_text(free)} are free; free some space,"
            " choose another disk with --out, or make less with --snr, --clips-per-fold or without --stems"
        )


def bytes_needed(spec: DatasetSpec, checkpoint: Checkpoint, todo: Mapping[float, Sequence[int]]) -> int:
    """Return about how many bytes the blocks `todo` of each SNR take that are not on disk yet.

    That is audio, stems and log-mel, and the excerpts of events that are kept until the data set is finished.
    """
    audio = sum(size for snr, blocks in todo.items() for size in _audio_sizes(spec, checkpoint, snr, blocks))
    return audio + _logmel_size(spec, checkpoint, todo) + _excerpts_size(spec, checkpoint, todo)


def _unfinished(checkpoint: Checkpoint, snr: float, blocks: Sequence[int]) -> list[int]:
    return [block for block in blocks if not checkpoint.is_done(snr, block)]


def _clips(spec: DatasetSpec, blocks: Sequence[int]) -> list[Clip]:
    clips = spec.manifest.clips
    return [clip for block in blocks for clip in clips[block * CLIPS_PER_BLOCK : (block + 1) * CLIPS_PER_BLOCK]]


def _audio_sizes(spec: DatasetSpec, checkpoint: Checkpoint, snr: float, blocks: Sequence[int]) -> Iterator[int]:
    """Yield the size of every file of audio and stems that is not there; one that is there is only replaced."""
    target, place = spec.target, spec.target.folder / snr_folder(snr)
    share = FLAC_SHARE if target.audio_format == "flac" else 1.0
    for kind in ("audio", "stems") if target.stems else ("audio",):
        there = set(os.listdir(place / kind)) if (place / kind).is_dir() else set()
        for clip in _clips(spec, _unfinished(checkpoint, snr, blocks)):
            if f"{clip.id}.{target.audio_format}" not in there:
                stems = 2 if target.stems == "sum" else len(clip.events) + 1
                yield int(share * (WAV_HEADER + 2 * target.recipe.mix.samples * (1 if kind == "audio" else stems)))


def _logmel_size(spec: DatasetSpec, checkpoint: Checkpoint, todo: Mapping[float, Sequence[int]]) -> int:
    """Return the size of the log-mel files to be begun, and of the rows not yet in those begun already."""
    if not spec.target.features:
        return 0
    clips, frames, n_mels = spec.logmel_shape
    rows = 0
    for snr, blocks in todo.items():
        unfinished = _unfinished(checkpoint, snr, blocks)
        if unfinished:
            rows += len(_clips(spec, unfinished)) if checkpoint.logmel(snr).exists() else clips
    return 4 * rows * frames * n_mels


def _excerpts_size(spec: DatasetSpec, checkpoint: Checkpoint, todo: Mapping[float, Sequence[int]]) -> int:
    blocks = sorted({block for snr, given in todo.items() for block in _unfinished(checkpoint, snr, given)})
    parts = unprepared_excerpts(checkpoint.folder / "excerpts", spec.manifest, _clips(spec, blocks))
    return 8 * longest_excerpt(spec.target.recipe) * sum(map(len, parts.values()))
