"""The disk space that `make` will need, less what exists already; checked before anything is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.filesize import decimal as size_text

from remixbench.dataset.dataset import snr_folder
from remixbench.dataset.manifest import Clip
from remixbench.dataset.render import longest_excerpt
from remixbench.dataset.spec import DatasetSpec
from remixbench.dataset.work import Checkpoint, block_clips, missing_excerpts
from remixbench.errors import RemixbenchError

WAV_HEADER = 44
FLAC_SHARE = 0.5
"""Size of a FLAC file relative to WAV: noise at usual levels takes about half and more, so this is a lower bound."""


def check_disk_space(spec: DatasetSpec, checkpoint: Checkpoint, snrs: Sequence[float], folder: Path) -> None:
    """Refuse to begin what the disk has no room for; `folder` is the data set's as the user named it.

    Raises
    ------
    RemixbenchError
        Saying how many bytes are needed and how many are free.
    """
    place = spec.target.folder
    while not place.exists():
        place = place.parent
    need, free = bytes_needed(spec, checkpoint, snrs), shutil.disk_usage(place).free
    if need > free:
        raise RemixbenchError(
            f"{folder}: making it needs about {size_text(need)} of disk, {size_text(free)} are free; free some space,"
            " choose another disk with --out, or make less with --snr, --clips-per-fold or without --stems"
        )


def bytes_needed(spec: DatasetSpec, checkpoint: Checkpoint, snrs: Sequence[float]) -> int:
    """Return about how many bytes the data set at `snrs` takes that are not on disk yet.

    That is audio, stems and log-mel, and the excerpts of events that are kept until the data set is finished.
    """
    audio = sum(size for snr in snrs for size in _audio_sizes(spec, checkpoint, snr))
    return audio + _logmel_size(spec, checkpoint, snrs) + _excerpts_size(spec, checkpoint, snrs)


def _unfinished_clips(spec: DatasetSpec, checkpoint: Checkpoint, snrs: Sequence[float]) -> list[Clip]:
    blocks = checkpoint.unfinished(snrs, len(spec.manifest.clips))
    return [clip for block in blocks for clip in block_clips(spec.manifest, block)]


def _audio_sizes(spec: DatasetSpec, checkpoint: Checkpoint, snr: float) -> Iterator[int]:
    """Yield the size of every missing file of audio and stems; one that exists is only replaced."""
    target, place = spec.target, spec.target.folder / snr_folder(snr)
    share = FLAC_SHARE if target.audio_format == "flac" else 1.0
    for kind in ("audio", "stems") if target.stems else ("audio",):
        files = set(os.listdir(place / kind)) if (place / kind).is_dir() else set()
        for clip in _unfinished_clips(spec, checkpoint, [snr]):
            if f"{clip.id}.{target.audio_format}" not in files:
                stems = 2 if target.stems == "sum" else len(clip.events) + 1
                yield int(share * (WAV_HEADER + 2 * target.recipe.mix.samples * (1 if kind == "audio" else stems)))


def _logmel_size(spec: DatasetSpec, checkpoint: Checkpoint, snrs: Sequence[float]) -> int:
    """Return the size of the log-mel of unfinished blocks, and of one file that blocks are joined to."""
    if not spec.target.features or not snrs:
        return 0
    clips, frames, n_mels = spec.logmel_shape
    rows = sum(len(_unfinished_clips(spec, checkpoint, [snr])) for snr in snrs)
    return 4 * (rows + clips) * frames * n_mels


def _excerpts_size(spec: DatasetSpec, checkpoint: Checkpoint, snrs: Sequence[float]) -> int:
    clips = _unfinished_clips(spec, checkpoint, snrs)
    parts = missing_excerpts(checkpoint.folder / "excerpts", spec.manifest, clips)
    return 8 * longest_excerpt(spec.target.recipe) * sum(map(len, parts.values()))
