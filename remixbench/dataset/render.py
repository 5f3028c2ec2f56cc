"""From clips of a manifest to audio files and log-mel rows: the work of one task, in one process.

A task is a block of clips; it decodes and resamples each scene once for all SNRs, writes the
files, and returns a small record per clip and SNR (digests, levels). It never returns audio.
"""

from __future__ import annotations

import io
import math
import os
import secrets
import wave
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from remixbench.dataset.dataset import logmel_digest, pcm_digest, snr_folder
from remixbench.dataset.excerpts import Excerpts, StoredExcerpts, require_unchanged
from remixbench.dataset.features import logmel
from remixbench.dataset.labels import event_seconds
from remixbench.dataset.manifest import Clip, ExcerptKey
from remixbench.dataset.mix import (
    Placed,
    Signal,
    Stems,
    achieved_snr,
    event_gains,
    event_stems,
    exact_mixture,
    full_scale,
    level_of,
    mix,
    mixture,
    resample,
)
from remixbench.dataset.spec import Target
from remixbench.errors import InputError
from remixbench.recipe import Recipe
from remixbench.sources.audio import recording_digest
from remixbench.sources.catalogue import Reader

SceneKey = tuple[str, float | None]
"""What is decoded of a scene: its file, and the second from which on a clip has it where that is not all."""


@dataclass(frozen=True)
class RenderJob:
    """Everything a task needs to know; small, and the same for all tasks of a `make`.

    Attributes
    ----------
    target : what to write where
    checkpoint : folder of unfinished work
    snrs : SNRs to mix at, in dB
    scenes : reads scene recordings
    excerpts : all excerpts of the manifest, in the order in which they are kept
    """

    target: Target
    checkpoint: Path
    snrs: tuple[float, ...]
    scenes: Reader
    excerpts: tuple[ExcerptKey, ...]


@dataclass(frozen=True)
class Rendered:
    """One clip at one SNR: its stems, the SNR achieved for each event in dB, and each event's own channel."""

    stems: Stems
    achieved: tuple[float, ...]
    event_stems: Callable[[], NDArray[np.int16]]

    def interleaved_events(self) -> NDArray[np.int16]:
        """Return one channel per event and the scene as the last, as a file holds them: (samples, events + 1)."""
        return np.concatenate((self.event_stems(), self.stems.scene[None])).T


@dataclass(frozen=True)
class Scene:
    """The scene of a clip.

    Attributes
    ----------
    samples : at the recipe's sample rate, as long as a clip, at level 1
    digest : SHA-256 of what was decoded of its recording
    start : second of the recording from which on the clip has it, None where the recording was decoded whole
    """

    samples: Signal
    digest: str
    start: float | None


def read_scene(recipe: Recipe, reader: Reader, clip: Clip) -> Scene:
    """Return the scene of a clip; of a long recording only the stretch that is used is decoded.

    Raises
    ------
    InputError
        If it cannot be read, is too short, or is silent.
    """
    mix, file = recipe.mix, clip.scene_file
    stretch = reader.read_stretch(file, clip.scene_start, clip.scene_start + mix.duration)
    signal = resample(stretch.samples, stretch.rate, mix.sample_rate)
    start = int(clip.scene_start * mix.sample_rate) - stretch.first // stretch.rate * mix.sample_rate
    if mix.short_scenes == "loop" and len(signal) < start + mix.samples:
        signal = np.resize(signal, start + mix.samples)
    if len(signal) < start + mix.samples:
        raise InputError(
            f"{file}: the scene lasts {len(stretch.samples) / stretch.rate:.2f} s, a clip of this recipe"
            f" {mix.duration:g} s"
            + (f" from {clip.scene_start:g} s on" if start else "")
            + "; leave it out of the table, fetch it again, or set mix.short_scenes to loop"
        )
    # the released code takes the level over the whole recording, which for its scenes is the clip
    scene = signal[start : start + mix.samples]
    if not np.any(scene):
        raise InputError(f"{file}: the scene is silent, so it has no level to mix at; leave it out of the table")
    # the released definition is by RMS; an excerpt's level is taken against the scene under it, at any scale
    measure = mix.level if mix.snr_reference == "recording" else "rms"
    level = level_of(scene, mix.sample_rate, measure)
    digest = recording_digest(stretch.samples)
    return Scene(np.divide(scene, level), digest, None if stretch.whole else clip.scene_start)


def place_events(recipe: Recipe, clip: Clip, excerpts: Excerpts) -> list[Placed]:
    """Return the events of a clip, cut to what is in the clip, before their level is set.

    Raises
    ------
    InputError
        If an excerpt is so short that nothing of it is in the clip, or, where it is what the SNR is set on, silent.
    """
    mix = recipe.mix
    placed = []
    for event in clip.events:
        key = (event.file, event.start)
        facts = excerpts.facts(key)
        seconds = event_seconds(event, facts.available, mix.seconds)
        first = int(event.onset * mix.sample_rate)
        count = min(int((event.onset + seconds) * mix.sample_rate) - first, facts.samples, mix.samples - first)
        samples = excerpts.samples(key, max(count, 0))
        # where the level is that of the whole recording, an excerpt may begin before the sound does, as released
        if len(samples) == 0 or (mix.snr_reference == "excerpt" and not np.any(samples)):
            raise InputError(
                f"{event.file}: clip {clip.id} has nothing of it (silent or shorter than a sample);"
                " leave it out of the table"
            )
        level = facts.level if mix.snr_reference == "recording" else level_of(samples, mix.sample_rate, mix.level)
        if level <= 0 or not math.isfinite(level):
            raise InputError(f"{event.file}: has no level by {mix.level.upper()}; leave it out of the table")
        name = f"clip {clip.id}, event {event.file} over scene {clip.scene_file}"
        placed.append(Placed(first, samples, level, event.snr_offset, name))
    return placed


def render(recipe: Recipe, scene: Signal, events: list[Placed], snr: float) -> Rendered:
    """Mix one clip at `snr` dB.

    Raises
    ------
    InputError
        If the SNR is that of the excerpt, and the scene under an event is silent, or so faint that nothing of either is
        left in 16 bits.
    """
    how = recipe.mix
    gains = event_gains(scene, events, snr, how.sample_rate, how.level, how.snr_reference)
    stems, peak = mix(scene, events, gains, how.quantisation)
    scale = full_scale(how.quantisation) / peak
    achieved = achieved_snr(stems, events, gains, scale, how.sample_rate, how.level)
    for event in events if how.snr_reference == "excerpt" else ():
        if not np.any(stems.events[event.part]) and not np.any(stems.scene[event.part]):
            raise InputError(
                f"{event.name}: the scene is so faint under it, from {event.first / how.sample_rate:.2f} to"
                f" {event.part.stop / how.sample_rate:.2f} s, that nothing of either is left in 16 bits; leave the"
                " scene out of the table"
            )
    return Rendered(stems, tuple(achieved), partial(event_stems, stems, events, gains, peak, how.quantisation))


def render_block(
    job: RenderJob, rows: list[int], clips: list[Clip], expected: dict[SceneKey, str]
) -> list[dict[str, Any]]:
    """Make the files of some clips.

    `rows` are their rows in the feature arrays, `expected` the digests of their scenes where known. Returns a record
    per clip and SNR.
    """
    excerpts = StoredExcerpts(job.checkpoint / "excerpts", job.excerpts)
    # the order of BLAS's sums, and so the last bit of a log-mel value, depends on its number of threads
    with threadpool_limits(1, "blas"):
        return [
            record
            for row, clip in zip(rows, clips, strict=True)
            for record in _render_clip(job, row, clip, excerpts, expected)
        ]


def _render_clip(
    job: RenderJob, row: int, clip: Clip, excerpts: Excerpts, expected: dict[SceneKey, str]
) -> list[dict[str, Any]]:
    target, recipe = job.target, job.target.recipe
    rate = recipe.mix.sample_rate
    scene = read_scene(recipe, job.scenes, clip)
    require_unchanged("scene", clip.scene_file, scene.digest, expected.get((clip.scene_file, scene.start)))
    events = place_events(recipe, clip, excerpts)
    records = []
    for snr in job.snrs:
        rendered = render(recipe, scene.samples, events, snr)
        place = target.folder / snr_folder(snr)
        mono = mixture(rendered.stems)
        name = f"{clip.id}.{target.audio_format}"
        write_audio(place / "audio" / name, mono, rate, job.checkpoint / "tmp")
        achieved = [None if math.isnan(value) else value for value in rendered.achieved]  # JSON has no NaN
        record = {
            "clip_id": clip.id, "snr": snr, "scene": scene.digest, "scene_start": scene.start,
            "pcm": pcm_digest(mono), "achieved": achieved,
        }  # fmt: skip
        if target.stems:
            channels = rendered.stems.interleaved() if target.stems == "sum" else rendered.interleaved_events()
            write_audio(place / "stems" / name, channels, rate, job.checkpoint / "tmp")
            record["stems"] = pcm_digest(channels)
        if target.features:
            frames = logmel(exact_mixture(rendered.stems), recipe.features, rate)
            record["logmel"] = logmel_digest(frames)
            write_row(job.checkpoint / f"{snr_folder(snr)}.npy", row, frames)
        records.append(record)
    return records


def write_audio(path: Path, samples: NDArray[np.int16], rate: int, temporary: Path) -> None:
    """Write 16-bit samples as wav or flac by the suffix, whole or not at all.

    The unfinished file lies in `temporary`, on the same file system, which goes when the data set is finished.
    """
    beside = temporary / f"{secrets.token_hex(8)}{path.suffix}"  # process ids recur on machines that share a disk
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
