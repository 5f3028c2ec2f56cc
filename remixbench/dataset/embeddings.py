"""Embeddings of a data set's clips by a frozen encoder, on disk.

    snr_20/embeddings/<encoder>-<digest>.npy     (clips, frames, dimensions), float16 or float32
    snr_20/embeddings/<encoder>-<digest>.json    encoder, digest of the audio, and the digest of every clip's rows
    snr_20/embeddings/.<encoder>-<digest>/       unfinished work: a file per block of clips

`<digest>` is the start of the encoder's digest. `remixbench.training.embeddings` computes the embeddings.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from remixbench.dataset.dataset import Dataset, snr_folder
from remixbench.errors import InputError
from remixbench.files import (
    NUMPY_ERRORS,
    exclusive_lock,
    map_array,
    read_json,
    remove_temp_files,
    write_array,
    write_joined,
    write_json,
    write_sealed,
)
from remixbench.schemas import read_json_as

FORMAT: Literal[1] = 1
FOLDER = "embeddings"
CLIPS_PER_BLOCK = 16
"""Batch size of the encoder; fixed, so that embeddings depend neither on the number of jobs nor on interruptions."""
DIGITS = 12
"""Digits of the encoder's digest in file names."""
REMEDY = "delete it; `remixbench embed` makes it again"


class EmbeddingsInfo(BaseModel):
    """Content of the JSON file of an array of embeddings.

    Attributes
    ----------
    encoder, encoder_digest : name of the encoder, and the digest of its code and weights.
    audio : digest of the embedded samples (`Dataset.waveform_digest`).
    clips : SHA-256 of each clip's rows, in the order of the manifest.
    device : type of the device that computed them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1] = FORMAT
    encoder: str
    encoder_digest: str
    pretrained_on: list[str]
    audio: str
    snr: float
    frames: int
    dimensions: int
    frame_seconds: float
    dtype: Literal["float16", "float32"]
    device: str
    clips: list[str]


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of all clips at one SNR: (clips, frames, dimensions), mapped from disk."""

    path: Path
    info: EmbeddingsInfo
    values: NDArray[np.floating[Any]]

    def verify(self, dataset: Dataset, rows: Iterable[int]) -> None:
        """Check the embeddings of the clips `rows` against their digests.

        Raises
        ------
        InputError
            If the embeddings of a clip were altered; names the first.
        """
        for row in rows:
            if clip_digest(self.values[row]) != self.info.clips[row]:
                raise InputError(
                    f"{self.path}: the embeddings of clip {dataset.clips[row].id} were altered since they were"
                    f" computed; {REMEDY}"
                )


def embeddings_path(dataset: Dataset, snr: float, encoder: str, digest: str) -> Path:
    """Return the path of the embeddings of an encoder."""
    return dataset.path / snr_folder(snr) / FOLDER / f"{encoder}-{digest[:DIGITS]}.npy"


def clip_digest(frames: NDArray[np.floating[Any]]) -> str:
    """Return the SHA-256 of the embeddings of a clip, (frames, dimensions), little endian."""
    return hashlib.sha256(np.ascontiguousarray(frames, frames.dtype.newbyteorder("<")).data).hexdigest()


def open_embeddings(dataset: Dataset, snr: float, encoder: str, digest: str) -> Embeddings | None:
    """Open the embeddings of an encoder at `snr` dB; return None if there are none of the current audio."""
    path = embeddings_path(dataset, snr, encoder, digest)
    if not path.with_suffix(".json").exists() or not path.exists():
        return None
    info = read_json_as(path.with_suffix(".json"), EmbeddingsInfo, format=FORMAT, remedy=REMEDY)
    if info.encoder_digest != digest or info.audio != dataset.waveform_digest(snr):
        return None
    expected = (len(dataset.clips), info.frames, info.dimensions)
    values = map_array(path, "an array of embeddings", REMEDY)
    if values.shape != expected or values.dtype.name != info.dtype or len(info.clips) != expected[0]:
        raise InputError(
            f"{path}: found {values.dtype} {values.shape} and {len(info.clips)} digests, expected {info.dtype}"
            f" {expected}; {REMEDY}"
        )
    return Embeddings(path, info, values)


def altered_embeddings(dataset: Dataset, snr: float) -> Iterator[str]:
    """Yield one line per problem with the embeddings at `snr` dB; unfinished work is ignored."""
    folder = dataset.path / snr_folder(snr) / FOLDER
    for path in sorted(folder.glob("*")):
        if path.name.startswith("."):
            continue
        if path.suffix not in (".npy", ".json") or not path.is_file():
            yield f"{path}: not a file of this data set"
        elif not path.with_suffix(".json").is_file() or not path.with_suffix(".npy").is_file():
            yield f"{path}: its .npy or .json file is missing; {REMEDY}"
        elif path.suffix == ".json":
            yield from _altered_array(dataset, snr, path)


def _altered_array(dataset: Dataset, snr: float, path: Path) -> Iterator[str]:
    try:
        info = read_json_as(path, EmbeddingsInfo, format=FORMAT, remedy=REMEDY)
        embeddings = open_embeddings(dataset, snr, info.encoder, info.encoder_digest)
    except InputError as error:
        yield str(error)
        return
    if embeddings is None or embeddings.path != path.with_suffix(".npy"):
        yield f"{path}: not computed from the current audio of the clips; {REMEDY}"
        return
    for clip, values, digest in zip(dataset.clips, embeddings.values, info.clips, strict=True):
        if clip_digest(values) != digest:
            yield f"{embeddings.path}: the embeddings of clip {clip.id} differ from their digest; {REMEDY}"


class BlockStore:
    """Unfinished embeddings: a file per block of clips, joined when all are complete.

    Parameters
    ----------
    path : path of the joined array.
    job : description of the work; `open` drops blocks of another job.
    """

    def __init__(self, path: Path, job: dict[str, Any], clips: int) -> None:
        self.path, self.job, self.clips = path, job, clips
        self.folder = path.parent / f".{path.stem}"
        self.blocks = -(-clips // CLIPS_PER_BLOCK)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock these embeddings for this process. Raises `RemixbenchError` if another process is computing them."""
        with exclusive_lock(
            self.path.parent / f".{self.path.stem}.lock",
            f"{self.path}: another process is computing these embeddings; wait for it",
        ):
            remove_temp_files(self.path.parent, self.path.stem)
            yield

    def open(self) -> None:
        """Create the folder of blocks, or resume it; blocks of another job are dropped."""
        file = self.folder / "job.json"
        try:
            same = read_json(file) == self.job
        except InputError:
            same = False
        if not same:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_json(file, self.job)

    def rows(self, block: int) -> range:
        """Return the rows of the clips in a block."""
        return range(block * CLIPS_PER_BLOCK, min(self.clips, (block + 1) * CLIPS_PER_BLOCK))

    def file(self, block: int) -> Path:
        """Return the path of a block."""
        return self.folder / f"{block:06d}.npy"

    def missing(self, frames: int, dimensions: int, dtype: str) -> list[int]:
        """Return the blocks that are missing or incomplete; only file headers are read."""
        missing = []
        for block in range(self.blocks):
            try:
                values = np.load(self.file(block), mmap_mode="r", allow_pickle=False)
            except NUMPY_ERRORS:
                missing.append(block)
                continue
            if values.shape != (len(self.rows(block)), frames, dimensions) or values.dtype.name != dtype:
                missing.append(block)
        return missing

    def keep(self, block: int, values: NDArray[np.floating[Any]]) -> None:
        """Write a block atomically."""
        write_array(self.file(block), values)

    def join(self, info: EmbeddingsInfo) -> EmbeddingsInfo:
        """Join all blocks to the array, write its JSON file, and drop the blocks; holds one block in memory."""
        digests: list[str] = []

        def parts() -> Iterator[NDArray[Any]]:
            for block in range(self.blocks):
                values = np.load(self.file(block), allow_pickle=False)
                digests.extend(map(clip_digest, values))
                yield values

        write_joined(self.path, info.dtype, (self.clips, info.frames, info.dimensions), parts())
        info = info.model_copy(update={"clips": digests})
        write_sealed(self.path.with_suffix(".json"), info.model_dump(mode="json"))
        shutil.rmtree(self.folder, ignore_errors=True)
        return info
