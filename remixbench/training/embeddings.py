"""`embed`: the embeddings of a data set's clips by a frozen encoder, computed once and kept with the data set.

Clips are encoded in blocks of a fixed size, each by one thread, and each block is a file of its own until all are
there: so the result is the same, byte for byte, for any number of jobs and interruptions, and memory does not grow with
the number of clips. Embeddings are found again by the digests of the encoder's code and weights and of the audio.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset, as_tuple, find_dataset
from remixbench.dataset.embeddings import (
    CLIPS_PER_BLOCK,
    BlockStore,
    Embeddings,
    EmbeddingsInfo,
    embeddings_path,
    open_embeddings,
)
from remixbench.errors import InputError, RemixbenchError
from remixbench.files import check_room
from remixbench.parallel import Workers, check_jobs
from remixbench.progress import SILENT, Progress, counted, reporter
from remixbench.systems.encoders import PretrainedEncoder, check_encoder, check_repeatable_load, load_encoder
from remixbench.training.data import free_bytes
from remixbench.training.device import choose_device, exact_float32, torch_threads

HALF_ERROR = 1e-4
"""The largest mean square error of float16, relative to the variance of a dimension, for storing embeddings in it."""
HALF_MAXIMUM = float(np.finfo(np.float16).max)


def embed(
    encoder: str | Sequence[str],
    *,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    snr: float | Sequence[float] | None = None,
    jobs: int = -1,
    device: str = "auto",
    progress: Progress | bool = False,
) -> list[Path]:
    """Compute the embeddings of every clip of a data set by frozen pretrained encoders, once.

    Existing embeddings are kept, and interrupted work resumes. `train` does the same for the SNRs that it needs.

    Parameters
    ----------
    encoder : names or `FILE.py:NAME`, with `@FILE` for an encoder that takes the file of its weights; see
        `remixbench.systems.list_encoders`.
    workspace, dataset : where data sets are, and the name or folder of one; by default the most recent one.
    snr : signal-to-noise ratios in dB; by default all that were made.
    jobs : threads on a CPU; -1 for one per core, fewer if the memory does not suffice.
    device : auto, cpu, cuda, cuda:N or mps.
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter.

    Returns
    -------
    The arrays, (clips, frames, dimensions) each, with a file of the same name in .json beside each.

    Raises
    ------
    InputError
        For an unknown encoder or SNR, an encoder that breaks the contract, or broken or altered files.
    RemixbenchError
        If memory or disk do not suffice, or another process computes the same embeddings.
    """
    progress = reporter(progress)
    check_jobs(jobs)
    data = find_dataset(workspace, dataset)
    snrs = tuple(float(value) for value in as_tuple(snr)) or data.snrs
    for value in snrs:
        data.require_snr(value)
    references = as_tuple(encoder)
    if not references:
        raise InputError("no encoder given")
    torch_device = choose_device(device)
    encoders = [load_encoder(reference) for reference in references]
    return [
        compute_embeddings(data, loaded, value, jobs=jobs, device=torch_device, progress=progress).path
        for loaded in encoders
        for value in snrs
    ]


def compute_embeddings(
    dataset: Dataset,
    encoder: PretrainedEncoder,
    snr: float,
    *,
    jobs: int = -1,
    device: torch.device | None = None,
    progress: Progress = SILENT,
) -> Embeddings:
    """Return the embeddings of a data set's clips at one SNR; computed where there are none. Errors as in `embed`."""
    ready = open_embeddings(dataset, snr, encoder.name, encoder.digest)
    if ready is not None:
        ready.verify(dataset, range(len(dataset.clips)))
        progress.say(f"{ready.path}: done before")
        return ready
    path = embeddings_path(dataset, snr, encoder.name, encoder.digest)
    store = BlockStore(path, {"encoder": encoder.digest, "audio": dataset.waveform_digest(snr)}, len(dataset.clips))
    target_device = device or torch.device("cpu")
    lock = None if encoder.parallel and target_device.type == "cpu" else threading.Lock()
    work = _BlockEncoder(dataset, encoder, snr, store, target_device, lock)
    first, need = _first_block(work)  # before anything is written, since an encoder may be refused
    with store.locked():
        ready = open_embeddings(dataset, snr, encoder.name, encoder.digest)
        if ready is None:
            _compute(work, first, need, jobs, progress)
    ready = open_embeddings(dataset, snr, encoder.name, encoder.digest)
    if ready is None:
        raise RemixbenchError(f"{path}: was replaced while it was written; run the command again")
    return ready


@dataclass(frozen=True)
class _BlockEncoder:
    """Encodes blocks of clips."""

    dataset: Dataset
    encoder: PretrainedEncoder
    snr: float
    store: BlockStore
    device: torch.device
    lock: threading.Lock | None

    def threads(self) -> AbstractContextManager[None]:
        """Return the context of all calls of the encoder: on a CPU one thread of torch, so that sums do not depend on
        the number of jobs or cores.
        """
        return torch_threads(1 if self.device.type == "cpu" else None)

    def encode(self, block: int) -> NDArray[np.float32]:
        """Return the embeddings (clips, frames, dimensions) of a block."""
        clips = [self.dataset.clips[row] for row in self.store.rows(block)]
        rate = self.dataset.recipe.mix.sample_rate
        waveforms = torch.from_numpy(
            np.stack([resample(self.dataset.audio(clip, self.snr), rate, self.encoder.sample_rate) for clip in clips])
        )
        names = [f"clip {clip.id} at {self.dataset.snr_text(self.snr)}" for clip in clips]
        with self.lock or nullcontext(), exact_float32() if self.device.type == "cuda" else nullcontext():
            return self.encoder.encode(waveforms.to(self.device), names).cpu().numpy()

    def keep(self, block: int, frames: int, dtype: str) -> int:
        """Encode a block and write it; returns its number of clips."""
        values = self.encode(block)
        if values.shape[1] != frames:
            raise self.encoder.error(f"returns {values.shape[1]} frames for a clip, and {frames} for the first one")
        if dtype == "float16" and float(np.abs(values).max()) > HALF_MAXIMUM:
            raise self.encoder.error(
                f"its embeddings reach {float(np.abs(values).max()):g}, too much for float16; scale them down"
            )
        self.store.keep(block, values.astype(dtype))
        return len(values)


def _first_block(work: _BlockEncoder) -> tuple[NDArray[np.float32], int]:
    """Check the encoder; return the embeddings of the first block of clips, and the bytes that a block needs."""
    dataset, encoder = work.dataset, work.encoder
    encoder.to(work.device)
    with work.threads():
        audio = dataset.audio(dataset.clips[0], work.snr)
        samples = len(resample(audio, dataset.recipe.mix.sample_rate, encoder.sample_rate))
        check_repeatable_load(encoder)
        check_encoder(encoder, samples, work.device)
        before = _peak_bytes()
        return work.encode(0), _peak_bytes() - before


def _compute(work: _BlockEncoder, first: NDArray[np.float32], need: int, jobs: int, progress: Progress) -> None:
    """Encode the blocks that are missing, and join them; `first` and `need` are from `_first_block`."""
    dataset, encoder, snr, store, device = work.dataset, work.encoder, work.snr, work.store, work.device
    frames, dimensions = first.shape[1:]
    dtype = storage_dtype(first)
    with work.threads():
        store.open()
        missing = store.missing(frames, dimensions, dtype)
        total = len(dataset.clips)
        done = total - sum(len(store.rows(block)) for block in missing)
        need = (2 * total - done) * frames * dimensions * np.dtype(dtype).itemsize
        check_room(store.path, need, "free some, or embed fewer --snr")
        label = f"Embedding with {encoder.name} at {dataset.snr_text(snr)}"
        if done:
            progress.say(f"{label}: resumes after {done} clips")
        threads = _affordable_jobs(jobs, need, device, progress)
        with progress.bar(label, total, "clips") as advance:
            advance(done)
            tasks = ((block, frames, dtype) for block in missing)
            for count in Workers(threads, "threading").run(work.keep, tasks, len(missing)):
                advance(count)
    store.join(
        EmbeddingsInfo(
            encoder=encoder.name,
            encoder_digest=encoder.digest,
            pretrained_on=list(encoder.pretrained_on),
            audio=dataset.waveform_digest(snr),
            snr=float(snr),
            frames=frames,
            dimensions=dimensions,
            frame_seconds=encoder.frame_seconds,
            dtype=dtype,
            device=device.type,
            clips=[],
        )
    )


def resample(samples: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    """Return samples (samples,) at another rate, by soxr HQ."""
    if rate == new_rate:
        return samples
    import soxr

    resampled: NDArray[np.float32] = soxr.resample(samples, rate, new_rate, quality="HQ")
    return resampled


def storage_dtype(values: NDArray[np.float32]) -> Literal["float16", "float32"]:
    """Return the type in which embeddings (clips, frames, dimensions) are kept: float16 where its rounding is small
    beside their spread, else float32.
    """
    if float(np.abs(values).max()) > HALF_MAXIMUM / 4:  # other clips may reach higher
        return "float32"
    vectors = values.reshape(-1, values.shape[-1]).astype(np.float64)
    error = ((vectors - vectors.astype(np.float16)) ** 2).mean(axis=0)
    variance = vectors.var(axis=0)
    spread = variance > 0
    return "float16" if not spread.any() or (error[spread] / variance[spread]).mean() <= HALF_ERROR else "float32"


def _affordable_jobs(jobs: int, need: int, device: torch.device, progress: Progress) -> int:
    """Return how many blocks, of `need` bytes each, can be encoded side by side; at least one."""
    import joblib

    workers = int(joblib.effective_n_jobs(jobs))
    affordable = max(1, int(0.8 * free_bytes(device) / max(need, 1)) if device.type == "cpu" else workers)
    if affordable < workers:
        progress.say(
            f"{CLIPS_PER_BLOCK} clips take {counted(need, 'B')} of memory: {affordable} of {workers} jobs run at once"
        )
    return min(workers, affordable)


def _peak_bytes() -> int:
    """Return the peak memory of this process; 0 where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
