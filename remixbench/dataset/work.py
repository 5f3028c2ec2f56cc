"""The work of `make`: blocks of clips, rendered by any number of processes, and the checkpoint from which it resumes.

The checkpoint is the folder `<data set>/.work/`:

    job.json                    description of the data set
    excerpts/00007.{npy,json}   event recordings decoded and resampled once: (recordings, samples) float64, and metadata
    logmel/snr_20/000007.npy    log-mel of a block of clips, joined at the end: no two processes share a file
    records/snr_20/000007.json  a record per clip of a finished block: digests and levels
    final/                      the small files of the finished data set, before they are moved to their places

Every file is written atomically. A block is finished once its records exist, and is never made again. The folder is
removed when the data set is finished.
"""

from __future__ import annotations

import io
import json
import math
import os
import secrets
import shutil
import wave
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import logmel_digest, pcm_digest, snr_folder
from remixbench.dataset.features import FRAMES_AT_ONCE
from remixbench.dataset.info import FILES
from remixbench.dataset.manifest import Clip, ExcerptKey, Manifest
from remixbench.dataset.mix import Signal, mixture
from remixbench.dataset.render import (
    Excerpt,
    Excerpts,
    Rendered,
    Renderer,
    longest_excerpt,
    one_blas_thread,
    prepare_excerpt,
)
from remixbench.dataset.spec import DatasetSpec, Target
from remixbench.errors import InputError
from remixbench.files import make_folder, read_json, remove_temp_files, write_array, write_joined, write_json
from remixbench.recipe import Recipe
from remixbench.sources.audio import Reader

CLIPS_PER_BLOCK = 8
FLAC_SHARE = 0.5
"""Lower bound of the size of a FLAC file relative to WAV: noise at usual levels takes half or more."""
RECORDINGS_PER_BLOCK = 32
MAX_BYTES = 16 << 30
"""Memory limit for rendering a clip, or for a block of excerpts."""

Record = dict[str, Any]
"""Digests and measured SNRs of a finished clip at one SNR."""
SceneKey = tuple[str, float | None]
"""A decoded scene: its file, and its start in seconds if only a part was decoded."""


def block_count(clips: int) -> int:
    """Return the number of blocks of `clips` clips."""
    return -(-clips // CLIPS_PER_BLOCK)


def block_clips(manifest: Manifest, block: int) -> tuple[Clip, ...]:
    """Return the clips of a block."""
    return manifest.clips[block * CLIPS_PER_BLOCK : (block + 1) * CLIPS_PER_BLOCK]


@dataclass(frozen=True)
class Checkpoint:
    """The folder of unfinished work of a data set."""

    folder: Path

    def open(self, job: Mapping[str, Any], snrs: Sequence[float]) -> None:
        """Create the folder for `job` at `snrs`, or resume it if it is of the same job."""
        file = self.folder / "job.json"
        kinds = ("records", "logmel") if job.get("features") else ("records",)
        for name in ("excerpts", "tmp", *(f"{kind}/{snr_folder(snr)}" for kind in kinds for snr in snrs)):
            make_folder(self.folder / name)
        if not file.exists():
            write_json(file, job)
            return
        remedy = f"delete the unfinished work, {self.folder} (finished files are kept)"
        if (unfinished := read_json(file, remedy=remedy)) != job:
            differing = [key for key in job if unfinished.get(key) != job[key]]
            raise InputError(
                f"{self.folder.parent}: holds an unfinished data set of another {' and '.join(differing)}; {remedy}, or"
                " choose another folder with --out"
            )

    @property
    def final(self) -> Path:
        """The folder of the small files of the finished data set, until they are moved to their places."""
        return self.folder / "final"

    def publish(self) -> None:
        """Move the small files of the finished data set to their places, dataset.json last, if they are all written.

        If the process is killed before this, the data set is unchanged; if it is killed during it, the next `make`
        completes the move.
        """
        if not (self.final / "dataset.json").exists():
            return
        folder = self.folder.parent
        for name in (*FILES, "dataset.json"):
            if (self.final / name).exists():
                os.replace(self.final / name, folder / name)
        for written in (folder, folder / "manifest", folder / "labels"):
            remove_temp_files(written)

    def is_open(self, snr: float) -> bool:
        """Return whether there is unfinished work at `snr`."""
        return (self.folder / "records" / snr_folder(snr)).is_dir()

    def close(self, snrs: Sequence[float]) -> None:
        """Remove the finished work at `snrs`, and the folder unless there is work at other SNRs."""
        records = self.folder / "records"
        for snr in snrs:
            shutil.rmtree(records / snr_folder(snr), ignore_errors=True)
        if not (records.is_dir() and any(records.iterdir())):
            shutil.rmtree(self.folder, ignore_errors=True)

    def is_done(self, snr: float, block: int) -> bool:
        """Return whether a block is finished at `snr`."""
        return self._record(snr, block).exists()

    def mark_done(self, snr: float, block: int, records: Sequence[Record]) -> None:
        """Record a block as finished at `snr`."""
        write_json(self._record(snr, block), records)

    def unfinished(self, snrs: Sequence[float], clips: int) -> list[int]:
        """Return the blocks that are unfinished at any of `snrs`."""
        return [block for block in range(block_count(clips)) if any(not self.is_done(snr, block) for snr in snrs)]

    def records(self, snr: float, blocks: int) -> list[Record]:
        """Return the records of all blocks at `snr`, in the order of the clips."""
        files = (self._record(snr, block) for block in range(blocks))
        return [record for file in files for record in json.loads(file.read_text("utf-8"))]

    def _record(self, snr: float, block: int) -> Path:
        return self.folder / "records" / snr_folder(snr) / f"{block:06d}.json"

    def logmel(self, snr: float, block: int) -> Path:
        """Return the path of the log-mel of a block at `snr`."""
        return self.folder / "logmel" / snr_folder(snr) / f"{block:06d}.npy"

    def join_logmel(self, snr: float, shape: tuple[int, int, int], path: Path) -> None:
        """Join the log-mel of all blocks at `snr` to the file of the data set, unless that is already done."""
        folder = self.folder / "logmel" / snr_folder(snr)
        if not any(folder.glob("*.npy")):
            if not path.is_file():
                raise InputError(f"{folder}: log-mel of finished clips was lost; delete {self.folder} and run again")
            return
        joined = folder.with_suffix(".npy")
        write_joined(joined, "float32", shape, (np.load(self.logmel(snr, k)) for k in range(block_count(shape[0]))))
        os.replace(joined, path)
        # renamed first, so that a process killed here never leaves a part of the blocks
        done = folder.with_suffix(".joined")
        os.replace(folder, done)
        shutil.rmtree(done)


# --- excerpts of events


def check_memory(recipe: Recipe) -> None:
    """Raise `InputError` if a clip, or a block of excerpts, needs more memory than `MAX_BYTES`."""
    samples, features = recipe.mix.samples, recipe.features
    spectrum = min(recipe.frames, FRAMES_AT_ONCE) * (features.n_fft // 2 + 1) * 16
    clip = 64 * samples + spectrum + 4 * recipe.frames * features.n_mels  # stems of float64 and their sums
    excerpts = 8 * RECORDINGS_PER_BLOCK * longest_excerpt(recipe)
    if max(clip, excerpts) > MAX_BYTES:
        raise InputError(
            f"recipe '{recipe.name}': a clip would need {clip / 2**30:,.0f} GiB of memory, and {RECORDINGS_PER_BLOCK}"
            f" excerpts of events {excerpts / 2**30:,.0f} GiB, expected at most {MAX_BYTES / 2**30:.0f} GiB; lower"
            " mix.duration, mix.sample_rate, plan.max_event or features.n_mels, or raise features.hop_length"
        )


def missing_excerpts(folder: Path, manifest: Manifest, clips: Iterable[Clip]) -> dict[int, list[ExcerptKey]]:
    """Return the blocks of excerpts that clips use and that `folder` lacks, by their number."""
    keys = manifest.excerpts
    position = {key: k for k, key in enumerate(keys)}
    blocks = {position[event.file, event.start] // RECORDINGS_PER_BLOCK for clip in clips for event in clip.events}
    return {
        index: list(keys[index * RECORDINGS_PER_BLOCK : (index + 1) * RECORDINGS_PER_BLOCK])
        for index in sorted(blocks)
        if not (folder / f"{index:05d}.json").exists()
    }


def prepare_block(
    recipe: Recipe, reader: Reader, folder: Path, index: int, keys: Sequence[ExcerptKey], expected: Mapping[str, str]
) -> list[str]:
    """Prepare and write a block of excerpts, unless it exists; return the problems with recordings.

    `expected` are the recordings' digests, if known.
    """
    if (folder / f"{index:05d}.json").exists():
        return []
    block = np.zeros((len(keys), longest_excerpt(recipe)))
    excerpts, problems = [], []
    for row, (file, start) in enumerate(keys):
        try:
            excerpt, samples = prepare_excerpt(recipe, reader, file, start)
            require_unchanged("event", file, excerpt.digest, expected.get(file))
        except InputError as error:
            problems.append(str(error))
            continue
        block[row, : len(samples)] = samples
        excerpts.append(asdict(excerpt))
    if problems:
        return problems
    write_array(folder / f"{index:05d}.npy", block)
    write_json(folder / f"{index:05d}.json", {"excerpts": excerpts})
    return []


def require_unchanged(kind: str, file: str, digest: str, expected: str | None) -> None:
    """Check that a recording has the samples that the data set was made from, unless `expected` is None."""
    if expected not in (None, digest):
        raise InputError(
            f"{file}: the {kind} recording changed since the data set was made; restore it, or make another data set"
            " with --out"
        )


class StoredExcerpts:
    """Reads excerpts from the blocks in a folder."""

    def __init__(self, folder: Path, keys: Sequence[ExcerptKey]) -> None:
        self._folder = folder
        self._position = {key: divmod(k, RECORDINGS_PER_BLOCK) for k, key in enumerate(keys)}
        self._facts: dict[int, list[Excerpt]] = {}

    def facts(self, key: ExcerptKey) -> Excerpt:
        """Return the metadata of an excerpt."""
        block, row = self._position[key]
        if block not in self._facts:
            content = read_json(self._folder / f"{block:05d}.json")
            self._facts[block] = [Excerpt(**facts) for facts in content["excerpts"]]
        return self._facts[block][row]

    def samples(self, key: ExcerptKey, count: int) -> Signal:
        """Return the first `count` samples of an excerpt, reading no others from disk."""
        block, row = self._position[key]
        # mapped only while copying, so that mapped pages do not add up
        stored = np.load(self._folder / f"{block:05d}.npy", mmap_mode="r")
        return np.array(stored[row, :count])


# --- clips


@dataclass(frozen=True)
class RenderJob:
    """The arguments that all tasks of a `make` share; small.

    Attributes
    ----------
    target : what to write and where
    checkpoint : folder of unfinished work
    snrs : SNRs to mix at, in dB
    scenes : reads scene recordings
    excerpts : all excerpts of the manifest, in the order of the blocks
    """

    target: Target
    checkpoint: Checkpoint
    snrs: tuple[float, ...]
    scenes: Reader
    excerpts: tuple[ExcerptKey, ...]


def render_block(
    job: RenderJob, block: int, clips: Sequence[Clip], expected: Mapping[SceneKey, str]
) -> tuple[list[Record], list[str]]:
    """Render and write a block of clips; each scene is decoded and resampled once for all SNRs.

    Parameters
    ----------
    expected : digests of the scenes, if known

    Returns
    -------
    A record per clip and SNR, without audio, and the problems with recordings of other clips.
    """
    excerpts: Excerpts = StoredExcerpts(job.checkpoint.folder / "excerpts", job.excerpts)
    renderer = Renderer(job.target.recipe, job.scenes, excerpts)
    records: list[Record] = []
    problems = []
    frames: dict[float, list[NDArray[np.float32]]] = {snr: [] for snr in job.snrs}
    with one_blas_thread():
        for clip in clips:
            try:
                parts = renderer.clip(clip)
                expected_digest = expected.get((clip.scene_file, parts.scene.start))
                require_unchanged("scene", clip.scene_file, parts.scene.digest, expected_digest)
                for snr in job.snrs:
                    record, logmel = _write_clip(job, clip, snr, parts.at(snr))
                    records.append(record | {"scene": parts.scene.digest, "scene_start": parts.scene.start})
                    if logmel is not None:
                        frames[snr].append(logmel)
            except InputError as error:
                problems.append(str(error))
    for snr in job.snrs if job.target.features and not problems else ():
        write_array(job.checkpoint.logmel(snr, block), np.stack(frames[snr], dtype="<f4"))
    return records, problems


def _write_clip(
    job: RenderJob, clip: Clip, snr: float, rendered: Rendered
) -> tuple[Record, NDArray[np.float32] | None]:
    target, rate, temporary = job.target, job.target.recipe.mix.sample_rate, job.checkpoint.folder / "tmp"
    folder, name = target.folder / snr_folder(snr), f"{clip.id}.{target.audio_format}"
    mono = mixture(rendered.stems)
    write_audio(folder / "audio" / name, mono, rate, temporary)
    achieved = [None if math.isnan(value) else value for value in rendered.achieved]  # JSON has no NaN
    record: Record = {"clip_id": clip.id, "snr": snr, "pcm": pcm_digest(mono), "achieved": achieved}
    if target.stems:
        channels = rendered.stems.interleaved() if target.stems == "sum" else rendered.interleaved_events()
        write_audio(folder / "stems" / name, channels, rate, temporary)
        record["stems"] = pcm_digest(channels)
    if not target.features:
        return record, None
    logmel = rendered.logmel()
    return record | {"logmel": logmel_digest(logmel)}, logmel


def write_audio(path: Path, samples: NDArray[np.int16], rate: int, temporary: Path) -> None:
    """Write 16-bit samples atomically, as WAV or FLAC by the suffix.

    `temporary` is a folder on the same file system for the unfinished file.
    """
    unfinished = temporary / f"{secrets.token_hex(8)}{path.suffix}"  # process ids clash on machines that share a disk
    if path.suffix == ".wav":
        with wave.open(str(unfinished), "wb") as file:
            file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframesraw(np.ascontiguousarray(samples, dtype="<i2").data.cast("B"))
    else:
        import soundfile

        encoded = io.BytesIO()  # written below, so that a full disk raises an OSError
        soundfile.write(encoded, samples, rate, subtype="PCM_16", format=path.suffix[1:].upper())
        unfinished.write_bytes(encoded.getbuffer())
    os.replace(unfinished, path)


def bytes_needed(spec: DatasetSpec, checkpoint: Checkpoint, snrs: Sequence[float]) -> int:
    """Return about how many bytes the unfinished blocks add to the disk: audio, stems, log-mel, and stored excerpts."""
    target, manifest = spec.target, spec.manifest
    unfinished = [
        clip
        for snr in snrs
        for block in checkpoint.unfinished([snr], len(manifest.clips))
        for clip in block_clips(manifest, block)
    ]
    stems = {None: 0, "sum": 2 * len(unfinished), "events": sum(len(clip.events) + 1 for clip in unfinished)}
    channel = 2 * target.recipe.mix.samples * (FLAC_SHARE if target.audio_format == "flac" else 1.0)
    excerpts = missing_excerpts(checkpoint.folder / "excerpts", manifest, unfinished)
    need = channel * (len(unfinished) + stems[target.stems])
    need += 8 * longest_excerpt(target.recipe) * sum(map(len, excerpts.values()))
    if target.features and snrs:  # blocks, and one file that they are joined to
        clips, frames, n_mels = spec.logmel_shape
        need += 4 * (len(unfinished) + clips) * frames * n_mels
    return int(need)
