"""A data set on disk: its files and how they are opened.

Arrays with one row per clip (`weak`, `features`, `roles`) follow the order of the manifest.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.info import REMEDY as INFO_REMEDY
from remixbench.dataset.info import DatasetInfo, read_info
from remixbench.dataset.manifest import Clip, Manifest, read_manifest
from remixbench.dataset.mix import as_float
from remixbench.errors import InputError, nearest
from remixbench.files import as_path, check_regular, map_array, read_json, sha256
from remixbench.recipe import Recipe, format_snr, format_snrs
from remixbench.tables import read_table

BIN_DB, MOST_BINS = 5.0, 6
"""Approximate width, and largest number, of the bins of `Dataset.snr_bins`."""
REMEDY = "restore it, or run the `remixbench make` that made the data set, which makes it again"


def snr_folder(snr: float) -> str:
    """Return the folder name of an SNR: snr_20, snr_-5, snr_2.5."""
    return f"snr_{float(snr):.12g}"


def pcm_digest(samples: NDArray[np.int16]) -> str:
    """Return the SHA-256 of 16-bit samples (little endian, interleaved); the same for WAV and FLAC."""
    return hashlib.sha256(np.ascontiguousarray(samples, dtype="<i2").data).hexdigest()


def logmel_digest(frames: NDArray[np.float32]) -> str:
    """Return the SHA-256 of the log-mel of a clip, (frames, n_mels), as little-endian float32."""
    return hashlib.sha256(np.ascontiguousarray(frames, dtype="<f4").data).hexdigest()


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data set on disk: its folder, `dataset.json` and manifest."""

    path: Path
    info: DatasetInfo
    manifest: Manifest

    @staticmethod
    def open(path: Path, *, check_files: bool = True) -> Dataset:
        """Open the data set in the folder `path` and check its manifest and, by default, labels and digest tables.

        Raises
        ------
        InputError
            If it is not a finished data set, or one of these files was altered.
        """
        info = read_info(path)
        dataset = Dataset(path, info, read_manifest(path / "manifest"))
        if dataset.manifest.digest != info.manifest_digest:
            raise InputError(
                f"{path / 'manifest'}: is not the manifest that the data set was made from (digest"
                f" {dataset.manifest.digest[:12]}, dataset.json says {info.manifest_digest[:12]}); {REMEDY}"
            )
        for name, problem in altered_files(path, info) if check_files else ():
            raise InputError(f"{path / name}: {problem}; {REMEDY}")
        return dataset

    def __repr__(self) -> str:
        return (
            f"Dataset('{self.path}': {len(self.clips)} clips in folds {', '.join(map(str, self.manifest.folds))} at"
            f" {format_snrs(self.snrs, self.recipe.mix.snr_offsets)}, {len(self.classes)} classes)"
        )

    @property
    def recipe(self) -> Recipe:
        """The recipe that the data set was made from."""
        return self.info.recipe

    @property
    def name(self) -> str:
        """The name under which its runs and leaderboard are stored."""
        return self.info.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of the event table, sorted."""
        return self.info.classes

    @property
    def snrs(self) -> tuple[float, ...]:
        """The SNRs of its mixtures in dB, ascending."""
        return self.info.snrs

    @property
    def not_comparable(self) -> tuple[str, ...]:
        """Reasons why scores cannot be compared with published ones; empty if they can."""
        return self.info.not_comparable

    @property
    def manifest_digest(self) -> str:
        """Digest of the manifest; results with different digests never share a table."""
        return self.info.manifest_digest

    @cached_property
    def audio_digest(self) -> str:
        """SHA-256 of everything that audio and log-mel depend on, the same on every machine.

        That is the manifest, the samples of the recordings (if dataset.json has their digests), and the mixing and
        feature settings of the recipe.
        """
        mix = self.recipe.mix.model_dump(mode="json", exclude={"snrs"})
        features = self.recipe.features.model_dump(mode="json")
        parts = [self.manifest_digest, self.info.files.get("recordings.csv"), mix, features]
        return sha256(json.dumps(parts, sort_keys=True).encode())

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The clips, in the order of the manifest."""
        return self.manifest.clips

    @cached_property
    def filenames(self) -> tuple[str, ...]:
        """Audio file name of every clip, as in the label files."""
        return tuple(f"{clip.id}.{self.info.audio_format}" for clip in self.clips)

    @cached_property
    def folds(self) -> NDArray[np.int64]:
        """Fold of every clip, (clips,)."""
        return np.array([clip.fold for clip in self.clips], dtype=np.int64)

    @cached_property
    def weak(self) -> NDArray[np.bool_]:
        """Weak labels: whether a class is present in a clip, (clips, classes)."""
        column = {label: k for k, label in enumerate(self.classes)}
        present = np.zeros((len(self.clips), len(column)), dtype=bool)
        for row, clip in enumerate(self.clips):
            for event in clip.events:
                present[row, column[event.label]] = True
        return present

    def roles(self, fold: int) -> NDArray[np.str_]:
        """Return the role of every clip when `fold` is tested, (clips,).

        Roles are 'test', 'train' and, if the manifest has a validation part, 'validation'.

        Raises
        ------
        InputError
            If the data set has no such fold, or no other fold to train on.
        """
        self._require_fold(fold)
        if len(self.manifest.folds) < 2:
            raise InputError(f"{self.path}: has only fold {fold}, so there is nothing to train on; make more folds")
        if self.clips[0].roles:
            return np.array([clip.roles[fold - 1] for clip in self.clips])
        return np.where(self.folds == fold, "test", "train")

    def test_rows(self, fold: int) -> NDArray[np.int64]:
        """Return the rows of the test clips of `fold`, ascending.

        Raises
        ------
        InputError
            If the data set has no such fold.
        """
        self._require_fold(fold)
        tested = self.roles(fold) == "test" if self.clips[0].roles else self.folds == fold
        return np.flatnonzero(tested)

    def _require_fold(self, fold: int) -> None:
        folds = self.manifest.folds
        if fold not in folds:
            raise InputError(f"{self.path}: has no fold {fold!r}; it has {', '.join(map(str, folds))}")

    def snr_bins(self, rows: Sequence[int] | NDArray[np.int64], snr: float) -> dict[str, NDArray[np.bool_]]:
        """Bin clips by SNR if the recipe draws it per clip from a range; return {} if all clips have the same SNR.

        Parameters
        ----------
        rows : rows of the clips
        snr : nominal SNR in dB

        Returns
        -------
        Mask of the clips in each bin, (rows,), by the bin's label, such as "−5 to 0 dB". Bins have equal width, about
        `BIN_DB`; clips without events are in no bin.
        """
        offsets = self.recipe.mix.snr_offsets
        if offsets is None or offsets[0] == offsets[1]:
            return {}
        count = min(MOST_BINS, max(2, round((offsets[1] - offsets[0]) / BIN_DB)))
        edges = np.linspace(*offsets, count + 1)
        clips = [self.clips[row] for row in rows]
        mean = np.array(
            [
                sum(event.snr_offset for event in clip.events) / len(clip.events) if clip.events else np.nan
                for clip in clips
            ]
        )
        bins = np.digitize(mean, edges[1:-1])
        return {
            format_snr(snr, (low, high)): (bins == number) & np.isfinite(mean)
            for number, (low, high) in enumerate(pairwise(edges.tolist()))
        }

    def strong(self) -> list[tuple[str, float, float, str]]:
        """Return strong.tsv as rows (filename, onset, offset, event_label); clips without events have none."""
        return [
            (name, float(onset), float(offset), label)
            for name, onset, offset, label in self._labels("strong.tsv", "filename", "onset", "offset", "event_label")
            if label
        ]

    def durations(self) -> NDArray[np.float64]:
        """Return the duration of every clip in seconds, (clips,)."""
        return np.array([float(duration) for _, duration in self._labels("durations.tsv", "filename", "duration")])

    def _labels(self, name: str, *columns: str) -> list[list[str]]:
        return read_table(self.path / "labels" / name, columns, "\t").rows

    def snr_text(self, snr: float) -> str:
        """Format a nominal SNR with its unit, or the range of the clips' SNRs around it."""
        return format_snr(snr, self.recipe.mix.snr_offsets)

    def require_snr(self, snr: float) -> None:
        """Check that the data set was made at `snr` dB.

        Raises
        ------
        InputError
            If it was not; the message lists the SNRs available and how to add this one.
        """
        if float(snr) not in self.snrs:
            snrs = ", ".join(f"{value:g}" for value in self.snrs)
            raise InputError(
                f"{self.path}: has no SNR of {snr:g} dB, only {snrs}; repeat its `remixbench make` with --snr"
                f" {snr:g} to add it"
            )

    def audio_path(self, clip: Clip | str, snr: float) -> Path:
        """Return the path of a clip's mixture at `snr` dB; `clip` may be an id or a file name."""
        return self._file(clip, snr, "audio")

    def stems_path(self, clip: Clip | str, snr: float) -> Path:
        """Return the path of a clip's stems at `snr` dB; the file exists only after `make --stems`."""
        return self._file(clip, snr, "stems")

    def audio(self, clip: Clip | str, snr: float) -> NDArray[np.float32]:
        """Return a clip's mixture at `snr` dB, (samples,) in [-1, 1], at the recipe's sample rate.

        Raises
        ------
        InputError
            If there is no such clip or SNR, or its file is missing or not readable.
        """
        _, samples = self._checked_pcm(self.audio_path(clip, snr), snr, "digests.csv")
        return as_float(samples)

    def audio_bytes(self, clip: Clip | str, snr: float) -> bytes:
        """Return the bytes of a clip's audio file at `snr` dB, after the checks of `audio`."""
        return self._checked_pcm(self.audio_path(clip, snr), snr, "digests.csv")[0]

    def _checked_pcm(self, path: Path, snr: float, table: str) -> tuple[bytes, NDArray[np.int16]]:
        """Read a file of audio or stems, and check its samples against the digest table."""
        data, samples = _read_pcm(path)
        if self._digests(table, snr).get(path.stem, "") != pcm_digest(samples):
            raise InputError(f"{path}: its samples differ from {table}; delete it, and run `remixbench make` again")
        return data, samples

    def stems(self, clip: Clip | str, snr: float) -> NDArray[np.int16]:
        """Return the stems of a clip at `snr` dB, (channels, samples): events first, the scene last.

        `make --stems` writes one channel with all events, `make --stems events` one per event in manifest order.

        Raises
        ------
        InputError
            If the data set has no stems, or the file is missing, not readable or altered.
        """
        if snr not in self.info.stems:
            raise InputError(f"{self.path}: has no stems at {snr:g} dB; `remixbench make --stems` adds them")
        _, samples = self._checked_pcm(self.stems_path(clip, snr), snr, "stems_digests.csv")
        return np.atleast_2d(samples.T)

    def _file(self, clip: Clip | str, snr: float, kind: str) -> Path:
        self.require_snr(snr)
        name = f"{clip.id}.{self.info.audio_format}" if isinstance(clip, Clip) else self._filename(clip)
        return self.path / snr_folder(snr) / kind / name

    def _filename(self, clip: str) -> str:
        name = f"{clip.removesuffix(f'.{self.info.audio_format}')}.{self.info.audio_format}"
        if name not in self._rows:
            raise InputError(
                f"{self.path}: has no clip '{clip}'{nearest(clip, [known_clip.id for known_clip in self.clips])};"
                f" its {len(self.clips)} clips are {self.clips[0].id} to {self.clips[-1].id}"
            )
        return name

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.filenames)}

    def features(self, snr: float) -> NDArray[np.float32]:
        """Return the log-mel of every clip at `snr` dB, mapped from disk: (clips, frames, n_mels).

        Raises
        ------
        InputError
            If they were not made, or their shape does not fit the data set.
        """
        self.require_snr(snr)
        path = self.path / snr_folder(snr) / "logmel.npy"
        try:
            array: NDArray[np.float32] = map_array(path, "a log-mel file", "delete it and run `remixbench make` again")
        except FileNotFoundError:
            raise InputError(f"{path}: not there; run `remixbench make` without --no-features") from None
        expected = (len(self.clips), self.recipe.frames, self.recipe.features.n_mels)
        if array.shape != expected or array.dtype != np.float32:
            raise InputError(
                f"{path}: found {array.dtype} {array.shape}, expected float32 {expected}; delete and make it again"
            )
        return array

    def verify_features(self, snr: float, rows: Iterable[int] | None = None) -> None:
        """Check the log-mel of the clips `rows` (default: all) at `snr` dB against its digests.

        Raises
        ------
        InputError
            If the log-mel of a clip was altered; names the first.
        """
        features = self.features(snr)
        digests = self._digests("logmel_digests.csv", snr)
        for row in range(len(self.clips)) if rows is None else rows:
            if logmel_digest(features[row]) != digests.get(self.clips[row].id):
                raise InputError(
                    f"{self.path / snr_folder(snr) / 'logmel.npy'}: the log-mel of clip {self.clips[row].id} was"
                    " altered since it was made; `remixbench verify` lists all such clips, `remixbench make` makes"
                    " them again"
                )

    def features_digest(self, snr: float) -> str:
        """Return a SHA-256 over the digests of all clips' log-mel at `snr` dB.

        Raises
        ------
        InputError
            If there is no log-mel at `snr` dB.
        """
        if not self._digests("logmel_digests.csv", snr):
            self.features(snr)
        return self._joint_digest("logmel_digests.csv", snr)

    def waveform_digest(self, snr: float) -> str:
        """Return a SHA-256 over the digests of all clips' samples at `snr` dB."""
        return self._joint_digest("digests.csv", snr)

    def _joint_digest(self, name: str, snr: float) -> str:
        digests = self._digests(name, snr)
        return sha256("".join(digests.get(clip.id, "") for clip in self.clips).encode())

    def _digests(self, name: str, snr: float) -> dict[str, str]:
        if name not in self._read_tables:
            self._read_tables[name] = read_digests(self.path / name)
        return self._read_tables[name].get(float(snr), {})

    @cached_property
    def _read_tables(self) -> dict[str, dict[float, dict[str, str]]]:
        return {}


def altered_files(folder: Path, info: DatasetInfo) -> list[tuple[str, str]]:
    """Return the small files that are missing or differ from their digests, each with the problem."""
    altered = []
    for name, digest in info.files.items():
        path = folder / name
        if not path.is_file():
            altered.append((name, "missing"))
        elif sha256(path.read_bytes()) != digest:
            altered.append((name, "differs from its digest in dataset.json"))
    return altered


def read_digests(path: Path) -> dict[float, dict[str, str]]:
    """Read a table clip_id, snr, sha256 as {snr: {clip_id: digest}}; {} if it is missing or malformed."""
    tables: dict[float, dict[str, str]] = {}
    try:
        for clip, snr, digest in read_table(path).rows:
            tables.setdefault(float(snr), {})[clip] = digest
    except (InputError, ValueError):
        return {}
    return tables


def _read_pcm(path: Path) -> tuple[bytes, NDArray[np.int16]]:
    """Return the bytes of a 16-bit audio file and its samples, (samples,) or (samples, channels)."""
    import soundfile

    try:
        check_regular(path)
        data = path.read_bytes()
        samples: NDArray[np.int16] = soundfile.read(io.BytesIO(data), dtype="int16")[0]
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: not readable ({error.error_string}); {REMEDY}") from None
    except OSError as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else f"not readable ({error.strerror})"
        raise InputError(f"{path}: {reason}; {REMEDY}") from None
    return data, samples


def find_folder(workspace: Path, dataset: str | Path | None = None) -> Path:
    """Return the folder of a data set, given by path or name; by default the most recent one."""
    files = sorted((workspace / "datasets").glob("*/dataset.json"))
    if dataset is not None:
        dataset = as_path(dataset, "dataset")
        for path in (Path(dataset), workspace / "datasets" / dataset):
            if path.is_dir():
                return path
        names = [file.parent.name for file in files]
        choices = f"; choose from {', '.join(names)}" if names else "; `remixbench make` makes one"
        raise InputError(f"no data set '{dataset}'{nearest(str(dataset), names)} in {workspace / 'datasets'}{choices}")
    if not files:
        raise InputError(f"{workspace / 'datasets'}: there is no data set yet; `remixbench make` makes one")
    remedy = f"{INFO_REMEDY}, or name another one with --dataset"
    return max(files, key=lambda file: str(read_json(file, remedy=remedy).get("made", ""))).parent


def find_dataset(workspace: str | Path, dataset: str | Path | Dataset | None = None) -> Dataset:
    """Open a data set, given by path or name; by default the most recent one.

    Raises
    ------
    InputError
        If there is none, or it cannot be opened.
    """
    if isinstance(dataset, Dataset):
        return dataset
    return Dataset.open(find_folder(as_path(workspace, "workspace"), dataset))


def load_dataset(name_or_path: str | Path, workspace: str | Path = ".") -> Dataset:
    """Open a data set, given by path or by its name in the workspace.

    Raises
    ------
    InputError
        If there is none of that name, or it cannot be opened.
    """
    return Dataset.open(find_folder(as_path(workspace, "workspace"), name_or_path))


def as_tuple(values: Any) -> tuple[Any, ...]:
    """Return one or several values as a tuple, so that `snr=0` and `snr=[0, 10]` both work; () for None."""
    if values is None:
        return ()
    if isinstance(values, Sequence) and not isinstance(values, str):
        return tuple(values)
    return (values,)
