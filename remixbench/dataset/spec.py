"""The description of a data set to make, compared with the one already in its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from remixbench.dataset.dataset import Dataset, altered_files, snr_folder
from remixbench.dataset.info import AudioFormat, DatasetInfo, StemKind, read_info
from remixbench.dataset.manifest import Manifest
from remixbench.errors import InputError
from remixbench.files import sha256
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Catalogue

WORK_LAYOUT = 2
"""Version of the layout of unfinished work; 2: log-mel in a file per block."""
REWRITTEN_ONLY_WITH = {"stems_digests.csv": "stems", "logmel_digests.csv": "features"}
"""Small files that are written only with these options; without them they must be intact."""


@dataclass(frozen=True)
class Target:
    """What to write and where; small, as every task gets a copy.

    Attributes
    ----------
    folder : absolute path of the data set
    stems : kind of stems to write, None for no stems
    features : whether to write log-mel
    """

    folder: Path
    recipe: Recipe
    audio_format: AudioFormat
    stems: StemKind | None
    features: bool


@dataclass(frozen=True)
class DatasetSpec:
    """A data set to make: the target, and the manifest and catalogues that it is made from."""

    target: Target
    manifest: Manifest
    scenes: Catalogue
    events: Catalogue
    not_comparable: tuple[str, ...]

    @property
    def filenames(self) -> list[str]:
        """Audio file name of every clip."""
        return [f"{clip.id}.{self.target.audio_format}" for clip in self.manifest.clips]

    @property
    def logmel_shape(self) -> tuple[int, int, int]:
        """Shape of the log-mel at one SNR: (clips, frames, n_mels)."""
        recipe = self.target.recipe
        return len(self.manifest.clips), recipe.frames, recipe.features.n_mels

    @cached_property
    def source_digests(self) -> dict[str, str]:
        """SHA-256 of the tables of the sources."""
        return {"scenes": self.scenes.digest, "events": self.events.digest}

    def resume_key(self) -> dict[str, Any]:
        """Return the properties in which unfinished work must agree with this job to be resumed."""
        return {
            "manifest": self.manifest.digest,
            "recipe": sha256(str(content_key(self.target.recipe)).encode()),
            "sources": self.source_digests,
            "audio format": self.target.audio_format,
            "stems": self.target.stems,
            "features": self.target.features,
            "layout of unfinished work": WORK_LAYOUT,
        }


def content_key(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe settings that samples, labels and features depend on, with flat keys such as `mix.duration`."""
    include: Any = {"scenes": True, "events": True, "plan": {"method", "max_event"}, "mix": True, "features": True}
    content = recipe.model_dump(mode="json", include=include, exclude={"mix": {"snrs"}})
    return {f"{section}.{key}": value for section, keys in content.items() for key, value in keys.items()}


def read_existing(spec: DatasetSpec) -> DatasetInfo | None:
    """Return the dataset.json of the existing data set, None if there is none."""
    folder = spec.target.folder
    if not (folder / "dataset.json").exists():
        return None
    info = read_info(folder)
    existing, requested = content_key(info.recipe), content_key(spec.target.recipe)
    keys = [f"{key} {existing.get(key)}, now {value}" for key, value in requested.items() if existing.get(key) != value]
    clips = f"{info.clips} clips, now {len(spec.manifest.clips)}"
    if info.clips == len(spec.manifest.clips):
        clips += ": other draws, or other recordings in the sources"
    for is_same, difference in (
        (not keys, f"another recipe ({'; '.join(keys)})"),
        (info.manifest_digest == spec.manifest.digest, f"another manifest ({clips})"),
        (info.source_digests == spec.source_digests, "another source table"),
        (info.audio_format == spec.target.audio_format, f"another audio format ({info.audio_format})"),
        (
            not (info.stems and spec.target.stems and info.stem_kind != spec.target.stems),
            f"other stems (--stems {info.stem_kind})",
        ),
    ):
        if not is_same:
            raise InputError(
                f"{folder}: holds a data set of {difference}; choose another folder with --out, or delete this one"
            )
    return info


def missing_snrs(spec: DatasetSpec, info: DatasetInfo | None, snrs: Sequence[float]) -> tuple[float, ...]:
    """Return the SNRs that must be made, or made again because files are missing or altered.

    Small files have rows of every SNR, so if one is missing or altered all SNRs are made again. Audio files are only
    checked for existence; `remixbench verify` reads them. Raises `InputError` if a small file is missing or altered
    that the options of `spec` do not write.
    """
    if info is None:
        return tuple(snrs)
    if altered := altered_files(spec.target.folder, info):
        for name, problem in altered:
            option = REWRITTEN_ONLY_WITH.get(name)
            if option and not getattr(spec.target, option):
                raise InputError(
                    f"{spec.target.folder / name}: {problem}; restore it, or run the `remixbench make` that made the"
                    f" data set, with {option}, which makes it again"
                )
        return tuple(sorted({*snrs, *info.snrs}))
    dataset = Dataset(spec.target.folder, info, spec.manifest)
    return tuple(snr for snr in snrs if snr not in info.snrs or not _is_complete(spec, dataset, snr))


def _is_complete(spec: DatasetSpec, dataset: Dataset, snr: float) -> bool:
    """Return whether all audio files at `snr` dB exist and all log-mel matches its digests."""
    folder = dataset.path / snr_folder(snr)
    for kind in ("audio", "stems") if spec.target.stems else ("audio",):
        if not (folder / kind).is_dir() or set(spec.filenames) - set(os.listdir(folder / kind)):
            return False
    try:
        if spec.target.features:
            dataset.verify_features(snr)
    except InputError:
        return False
    return True
