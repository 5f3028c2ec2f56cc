"""From clips of a manifest to audio files and log-mel rows: the work of one task, in one process.

A task is a block of clips; it decodes and resamples each scene once for all signal-to-noise ratios, writes the
files, and returns a small record of each clip and ratio (digest, levels). It never returns audio.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from remixbench.dataset.dataset import snr_folder
from remixbench.dataset.excerpts import Excerpts, StoredExcerpts, Wanted
from remixbench.dataset.features import logmel
from remixbench.dataset.labels import heard_seconds
from remixbench.dataset.manifest import Clip
from remixbench.dataset.mix import Placed, achieved_snr, event_gains, level_of, mix, resample
from remixbench.dataset.stems import Signal, Stems, exact_mixture, full_scale, mixture
from remixbench.errors import InputError
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Reader


@dataclass(frozen=True)
class Job:
    """Everything a task needs to know; small, and the same for all tasks of a `make`.

    Attributes
    ----------
    folder : of the data set
    work : folder of unfinished work in it
    recipe, snrs, audio_format, stems, features : what to make
    scenes : reads scene recordings
    wanted : all excerpts of the manifest, in the order in which they are kept
    """

    folder: Path
    work: Path
    recipe: Recipe
    snrs: tuple[float, ...]
    audio_format: str
    stems: bool
    features: bool
    scenes: Reader
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True)
class Rendered:
    """One clip at one ratio: its stems, and the ratio achieved for each event, in dB."""

    stems: Stems
    achieved: tuple[float, ...]


def read_scene(recipe: Recipe, reader: Reader, file: str) -> Signal:
    """Return a scene at the recipe's rate, cut to the length of a clip, at level 1.

    Raises
    ------
    InputError
        If it cannot be read, is too short, or is silent.
    """
    mix = recipe.mix
    samples, rate = reader.read(file)
    whole = resample(samples, rate, mix.sample_rate)
    if len(whole) < mix.samples:
        raise InputError(
            f"{file}: the scene lasts {len(samples) / rate:.2f} s, a clip of this recipe {mix.duration:g} s;"
            " leave it out of the table or fetch it again"
        )
    # the released code takes the level over the whole recording, which for its scenes is the clip
    scene = whole[: mix.samples]
    if not np.any(scene):
        raise InputError(f"{file}: the scene is silent, so it has no level to mix at; leave it out of the table")
    # the released definition is by RMS; an excerpt's level is taken against the scene under it, at any scale
    return np.divide(scene, level_of(scene, mix.sample_rate, mix.level if mix.snr_reference == "recording" else "rms"))


def place_events(recipe: Recipe, clip: Clip, excerpts: Excerpts) -> list[Placed]:
    """Return the events of a clip as they are heard, before their level is set.

    Raises
    ------
    InputError
        If an excerpt is silent, or so short that nothing of it is heard.
    """
    mix = recipe.mix
    placed = []
    for event in clip.events:
        facts = excerpts.facts((event.file, event.start))
        heard = heard_seconds(event.max_duration, facts.seconds - facts.start, event.onset, mix.duration)
        first = int(event.onset * mix.sample_rate)
        count = min(int((event.onset + heard) * mix.sample_rate) - first, facts.samples, mix.samples - first)
        samples = excerpts.samples((event.file, event.start), max(count, 0))
        if not np.any(samples):
            raise InputError(
                f"{event.file}: nothing is heard of it in clip {clip.id} (silent or shorter than a sample);"
                " leave it out of the table"
            )
        level = facts.level if mix.snr_reference == "recording" else level_of(samples, mix.sample_rate, mix.level)
        if level <= 0 or not math.isfinite(level):
            raise InputError(f"{event.file}: has no level by {mix.level.upper()}; leave it out of the table")
        placed.append(Placed(first, samples, level, event.snr_offset))
    return placed


def render(recipe: Recipe, scene: Signal, events: list[Placed], snr: float) -> Rendered:
    """Mix one clip at one ratio."""
    how = recipe.mix
    # the released code overwrites, on a grid where events never meet; drawn ones may
    overwrite = how.snr_reference == "recording" and recipe.plan.method == "released"
    gains = event_gains(scene, events, snr, how.sample_rate, how.level, how.snr_reference)
    stems, peak = mix(scene, events, gains, how.quantisation, overwrite)
    scale = full_scale(how.quantisation) / peak
    return Rendered(stems, tuple(achieved_snr(stems, events, gains, scale, how.sample_rate, how.level, overwrite)))


def render_block(job: Job, rows: list[int], clips: list[Clip]) -> list[dict[str, Any]]:
    """Make the files of some clips; `rows` are their rows in the feature arrays. Returns a record a clip and ratio."""
    excerpts = StoredExcerpts(job.work / "excerpts", job.wanted)
    # the order of BLAS's sums, and so the last bit of a log-mel value, depends on its number of threads
    with threadpool_limits(1, "blas"):
        return [
            record for row, clip in zip(rows, clips, strict=True) for record in _render_clip(job, row, clip, excerpts)
        ]


def _render_clip(job: Job, row: int, clip: Clip, excerpts: Excerpts) -> list[dict[str, Any]]:
    scene = read_scene(job.recipe, job.scenes, clip.scene_file)
    events = place_events(job.recipe, clip, excerpts)
    records = []
    for snr in job.snrs:
        rendered = render(job.recipe, scene, events, snr)
        place = job.folder / snr_folder(snr)
        mono = mixture(rendered.stems)
        name = f"{clip.id}.{job.audio_format}"
        write_audio(place / "audio" / name, mono, job.recipe.mix.sample_rate, job.work / "tmp")
        achieved = [None if math.isnan(ratio) else ratio for ratio in rendered.achieved]  # JSON has no NaN
        record = {"clip_id": clip.id, "snr": snr, "pcm": pcm_digest(mono), "achieved": achieved}
        if job.stems:
            interleaved = rendered.stems.interleaved()
            write_audio(place / "stems" / name, interleaved, job.recipe.mix.sample_rate, job.work / "tmp")
            record["stems"] = pcm_digest(interleaved)
        if job.features:
            frames = logmel(exact_mixture(rendered.stems), job.recipe.features, job.recipe.mix.sample_rate)
            record["logmel"] = hashlib.sha256(frames.data).hexdigest()
            write_row(job.work / f"{snr_folder(snr)}.npy", row, frames)
        records.append(record)
    return records


def pcm_digest(samples: NDArray[np.int16]) -> str:
    """Return the SHA-256 of 16-bit samples, little endian, channels interleaved; the same for wav and flac."""
    return hashlib.sha256(np.ascontiguousarray(samples, dtype="<i2").data).hexdigest()


def write_audio(path: Path, samples: NDArray[np.int16], rate: int, temporary: Path) -> None:
    """Write 16-bit samples as wav or flac by the suffix, whole or not at all.

    The unfinished file lies in `temporary`, on the same file system, which goes when the data set is finished.
    """
    beside = temporary / f"{os.getpid()}-{path.parent.parent.name}-{path.parent.name}-{path.name}"
    if path.suffix == ".wav":
        with wave.open(str(beside), "wb") as file:
            file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframesraw(np.ascontiguousarray(samples, dtype="<i2").data.cast("B"))
    else:
        import soundfile

        encoded = io.BytesIO()  # written by ourselves, so that a full disk is an OSError that says so
        soundfile.write(encoded, samples, rate, subtype="PCM_16", format=path.suffix[1:].upper())
        beside.write_bytes(encoded.getbuffer())
    os.replace(beside, path)


def write_row(path: Path, row: int, values: NDArray[np.float32]) -> None:
    """Write one row of a float32 .npy file in place; rows do not overlap, so processes may write at once."""
    with path.open("r+b") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.seek(row * values.nbytes, os.SEEK_CUR)
        file.write(np.ascontiguousarray(values, dtype="<f4").data.cast("B"))
