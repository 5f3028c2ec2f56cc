"""A data set on disk: where its files are, and how it is opened.

Rows of `weak`, `features` and `roles` are in the order of the manifest's clips.
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

from remixbench.dataset.info import DatasetInfo, read_info
from remixbench.dataset.manifest import Clip, Manifest, read_manifest
from remixbench.errors import InputError, nearest
from remixbench.files import check_regular, map_array, read_json, sha256
from remixbench.recipe import Recipe, format_snr, format_snrs
from remixbench.tables import read_table

BIN_DB, MOST_BINS = 5.0, 6
"""About how wide the bins of `Dataset.snr_bins` are, and how many there are at most."""
REMEDY = "restore it, or run the `remixbench make` that made the data set, which makes it again"


def snr_folder(snr: float) -> str:
    """Return the folder name of a signal-to-noise ratio: snr_20, snr_-5, snr_2.5."""
    return f"snr_{float(snr):.12g}"


def pcm_digest(samples: NDArray[np.int16]) -> str:
    """Return the SHA-256 of 16-bit samples, little endian, channels interleaved; the same for wav and flac."""
    return hashlib.sha256(np.ascontiguousarray(samples, dtype="<i2").data).hexdigest()


def logmel_digest(frames: NDArray[np.float32]) -> str:
    """Return the SHA-256 of the log-mel of a clip, (frames, n_mels), as float32 little endian."""
    return hashlib.sha256(np.ascontiguousarray(frames, dtype="<f4").data).hexdigest()


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data set on disk: its folder, the content of its `dataset.json`, and its manifest."""

    path: Path
    info: DatasetInfo
    manifest: Manifest

    @staticmethod
    def open(path: Path, *, check_files: bool = True) -> Dataset:
        """Open the data set in the folder `path`, and check its manifest, and by default labels and tables of digests.

        Raises
        ------
        InputError
            If it is not a finished data set, or one of these files was altered since it was made.
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
        """Return what fits a line of a notebook."""
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
        """The name under which runs and leaderboard are kept."""
        return self.info.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of the event table, sorted."""
        return self.info.classes

    @property
    def snrs(self) -> tuple[float, ...]:
        """The signal-to-noise ratios made, ascending, in dB."""
        return self.info.snrs

    @property
    def not_comparable(self) -> tuple[str, ...]:
        """Why scores cannot be compared with published ones; empty where they can."""
        return self.info.not_comparable

    @property
    def manifest_digest(self) -> str:
        """The manifest's digest: rows of different digests never share a table."""
        return self.info.manifest_digest

    @cached_property
    def audio_digest(self) -> str:
        """A SHA-256 of all that audio and log-mel are made from, the same on every machine.

        These are the manifest, every sample of the recordings (where dataset.json has their digests), and the
        recipe's mixing and features.
        """
        mix = self.recipe.mix.model_dump(mode="json", exclude={"snrs"})
        features = self.recipe.features.model_dump(mode="json")
        parts = [self.manifest_digest, self.info.files.get("recordings.csv"), mix, features]
        return sha256(json.dumps(parts, sort_keys=True).encode())

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The clips, in order."""
        return self.manifest.clips

    @cached_property
    def filenames(self) -> tuple[str, ...]:
        """The audio file name of every clip, as the label files name it."""
        return tuple(f"{clip.id}.{self.info.audio_format}" for clip in self.clips)

    @cached_property
    def folds(self) -> NDArray[np.int64]:
        """The fold of every clip, (clips,)."""
        return np.array([clip.fold for clip in self.clips], dtype=np.int64)

    @cached_property
    def weak(self) -> NDArray[np.bool_]:
        """Which classes are in which clip, (clips, classes)."""
        column = {label: k for k, label in enumerate(self.classes)}
        present = np.zeros((len(self.clips), len(column)), dtype=bool)
        for row, clip in enumerate(self.clips):
            for event in clip.events:
                present[row, column[event.label]] = True
        return present

    def roles(self, fold: int) -> NDArray[np.str_]:
        """Return the role of every clip when `fold` is tested: 'test', 'train' or, where the manifest has
        a validation part, 'validation'; (clips,).

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
        """Return the rows of the clips that are tested in `fold`, ascending.

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
            raise InputError(f"{self.path}: has no fold {fold}; it has {', '.join(map(str, folds))}")

    def snr_bins(self, rows: Sequence[int] | NDArray[np.int64], snr: float) -> dict[str, NDArray[np.bool_]]:
        """Divide clips by their SNR where a recipe draws it for each clip from a range; {} where all have the same.

        Parameters
        ----------
        rows : of the clips
        snr : the nominal SNR in dB

        Returns
        -------
        The bins by their text, such as "−5 to 0 dB", and which of the clips are in each, (rows,). They are of equal
        width, about `BIN_DB`; clips without events are in none.
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
        place = np.digitize(mean, edges[1:-1])
        return {
            format_snr(snr, (low, high)): (place == number) & np.isfinite(mean)
            for number, (low, high) in enumerate(pairwise(edges.tolist()))
        }

    def strong(self) -> list[tuple[str, float, float, str]]:
        """Return labels/strong.tsv as rows (filename, onset, offset, event_label); clips without events have none."""
        return [
            (name, float(onset), float(offset), label)
            for name, onset, offset, label in self._labels("strong.tsv", 4)
            if label
        ]

    def durations(self) -> NDArray[np.float64]:
        """Return the length of every clip in seconds, (clips,)."""
        return np.array([float(duration) for _, duration in self._labels("durations.tsv", 2)])

    def _labels(self, name: str, columns: int) -> list[list[str]]:
        path = self.path / "labels" / name
        try:
            table = read_table(path, separator="\t")
        except InputError as error:
            raise InputError(f"{error}; make the data set again") from None
        if len(table.header) != columns:
            raise InputError(f"{path}: {len(table.header)} columns, expected {columns}; make the data set again")
        return table.rows

    def snr_text(self, snr: float) -> str:
        """Return a nominal SNR with its unit, or the range of those that clips have around it."""
        return format_snr(snr, self.recipe.mix.snr_offsets)

    def require_snr(self, snr: float) -> None:
        """Check that the data set was made at `snr` dB.

        Raises
        ------
        InputError
            If it was not; the message says which there are and how to make this one.
        """
        if float(snr) not in self.snrs:
            snrs = ", ".join(f"{value:g}" for value in self.snrs)
            raise InputError(
                f"{self.path}: has no SNR of {snr:g} dB, only {snrs}; repeat its `remixbench make` with --snr"
                f" {snr:g} to add it"
            )

    def audio_path(self, clip: Clip | str, snr: float) -> Path:
        """Return the file of a clip's mixture at `snr` dB; a clip is named by its id or file name."""
        return self._file(clip, snr, "audio")

    def stems_path(self, clip: Clip | str, snr: float) -> Path:
        """Return the two-channel file (events, scene) of a clip at `snr` dB; it exists only after `--stems`."""
        return self._file(clip, snr, "stems")

    def audio(self, clip: Clip | str, snr: float) -> NDArray[np.float32]:
        """Return a clip's mixture at `snr` dB, (samples,) in [-1, 1], at the recipe's sample rate.

        Raises
        ------
        InputError
            If there is no such clip or SNR, or its file is missing or not readable.
        """
        _, samples = self._checked_pcm(self.audio_path(clip, snr), snr, "digests.csv")
        return samples.astype(np.float32) / np.float32(32768)

    def audio_bytes(self, clip: Clip | str, snr: float) -> bytes:
        """Return the file of a clip's mixture at `snr` dB, whose samples were checked; errors as of `audio`."""
        return self._checked_pcm(self.audio_path(clip, snr), snr, "digests.csv")[0]

    def _checked_pcm(self, path: Path, snr: float, table: str) -> tuple[bytes, NDArray[np.int16]]:
        """Read a file of audio or stems, and check its samples against their digest in a table."""
        data, samples = _read_pcm(path)
        if self._digests(table, snr).get(path.stem, "") != pcm_digest(samples):
            raise InputError(f"{path}: its samples differ from {table}; delete it, and run `remixbench make` again")
        return data, samples

    def stems(self, clip: Clip | str, snr: float) -> NDArray[np.int16]:
        """Return the stems of a clip at `snr` dB, (channels, samples): events first, the scene last.

        With `make --stems` there is one channel of events, with `make --stems events` one per event, in the order of
        the manifest.

        Raises
        ------
        InputError
            If there are none, or the file is missing, not readable or altered.
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
                f"{self.path}: has no clip '{clip}'{nearest(clip, [other.id for other in self.clips])};"
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
            If they were not made, or have another shape than the data set says.
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
        """Check the log-mel of the clips `rows` (all of them by default) at `snr` dB against their digests.

        Raises
        ------
        InputError
            Naming the first clip whose log-mel was altered since it was made.
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
        """Return a SHA-256 over the log-mel of all clips at `snr` dB, from their digests.

        Raises
        ------
        InputError
            If there is no log-mel at `snr` dB.
        """
        digests = self._digests("logmel_digests.csv", snr)
        if not digests:
            self.features(snr)
        return sha256("".join(digests.get(clip.id, "") for clip in self.clips).encode())

    def waveform_digest(self, snr: float) -> str:
        """Return a SHA-256 over the samples of all clips at `snr` dB, from their digests."""
        digests = self._digests("digests.csv", snr)
        return sha256("".join(digests.get(clip.id, "") for clip in self.clips).encode())

    def _digests(self, name: str, snr: float) -> dict[str, str]:
        if name not in self._read_tables:
            self._read_tables[name] = read_digests(self.path / name)
        return self._read_tables[name].get(float(snr), {})

    @cached_property
    def _read_tables(self) -> dict[str, dict[float, dict[str, str]]]:
        return {}


def altered_files(folder: Path, info: DatasetInfo) -> list[tuple[str, str]]:
    """Return the small files of a data set that are missing or differ from their digests, each with what is wrong."""
    altered = []
    for name, digest in info.files.items():
        path = folder / name
        if not path.is_file():
            altered.append((name, "missing"))
        elif sha256(path.read_bytes()) != digest:
            altered.append((name, "differs from its digest in dataset.json"))
    return altered


def read_digests(path: Path) -> dict[float, dict[str, str]]:
    """Return the digest of each clip at each SNR from a table clip_id, snr, sha256; {} where there is no such table."""
    tables: dict[float, dict[str, str]] = {}
    try:
        for clip, snr, digest in read_table(path).rows:
            tables.setdefault(float(snr), {})[clip] = digest
    except (InputError, ValueError):
        return {}
    return tables


def _read_pcm(path: Path) -> tuple[bytes, NDArray[np.int16]]:
    """Read a file of ours: its bytes, and its 16-bit samples, (samples,) or (samples, channels)."""
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
    """Return the folder of a data set by path, by name in the workspace, or of the most recent one.

    Raises
    ------
    InputError
        If there is none, or none of that name.
    """
    files = sorted((workspace / "datasets").glob("*/dataset.json"))
    if dataset is not None:
        for path in (Path(dataset), workspace / "datasets" / dataset):
            if path.is_dir():
                return path
        names = [file.parent.name for file in files]
        choices = f"; choose from {', '.join(names)}" if names else "; `remixbench make` makes one"
        raise InputError(f"no data set '{dataset}'{nearest(str(dataset), names)} in {workspace / 'datasets'}{choices}")
    if not files:
        raise InputError(f"{workspace / 'datasets'}: there is no data set yet; `remixbench make` makes one")
    return max(files, key=lambda file: str(read_json(file).get("made", ""))).parent


def find_dataset(workspace: str | Path, dataset: str | Path | Dataset | None = None) -> Dataset:
    """Open a data set by path, by name in the workspace, or the most recent one.

    Raises
    ------
    InputError
        If there is none, or none of that name, or it cannot be opened.
    """
    return dataset if isinstance(dataset, Dataset) else Dataset.open(find_folder(Path(workspace), dataset))


def load_dataset(name_or_path: str | Path, workspace: str | Path = ".") -> Dataset:
    """Open a data set by its path, or by its name in the workspace.

    Raises
    ------
    InputError
        If there is none of that name, or it cannot be opened.
    """
    return Dataset.open(find_folder(Path(workspace), name_or_path))


def as_tuple(values: Any) -> tuple[Any, ...]:
    """Return one value or several as a tuple, so that functions take `snr=0` as well as `snr=[0, 10]`."""
    if values is None:
        return ()
    if isinstance(values, Sequence) and not isinstance(values, str):
        return tuple(values)
    return (values,)
