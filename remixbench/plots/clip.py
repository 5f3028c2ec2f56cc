"""One clip of a data set, read for a picture: waveform, stems, log-mel, reference events and SNRs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError, nearest
from remixbench.plots.scales import Scales
from remixbench.tables import read_table


@dataclass(frozen=True)
class Bar:
    """An event of the reference; times in seconds, levels in dB above the scene, None where not known.

    `target` is the SNR requested, `achieved` the SNR measured in the mixture.
    """

    label: str
    onset: float
    offset: float
    target: float | None = None
    achieved: float | None = None


@dataclass(frozen=True)
class ClipView:
    """One clip at one SNR.

    Attributes
    ----------
    samples : (n,) in [-1, 1]
    stems : (2, n), events and scene; None where they were not kept
    logmel : (frames, n_mels), natural logarithm
    bars : the reference, by onset
    """

    row: int
    id: str
    fold: int
    scene: str
    snr: float
    rate: int
    samples: NDArray[np.float32]
    stems: NDArray[np.float32] | None
    logmel: NDArray[np.float32]
    bars: tuple[Bar, ...]
    scales: Scales

    detected: tuple[Bar, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the clip, each once, by first onset."""
        return tuple(dict.fromkeys(bar.label for bar in self.bars))


def find_clip(dataset: Dataset, name: str) -> int:
    """Return the row of a clip by its id or file name, with or without folder and suffix.

    Raises
    ------
    InputError
        If the data set has no such clip.
    """
    wanted = Path(name).name
    rows = {clip.id: row for row, clip in enumerate(dataset.clips)}
    for tried in (wanted, Path(wanted).stem):
        if tried in rows:
            return rows[tried]
    ids = list(rows)
    padded = [clip for clip in ids if clip.lstrip("0") == Path(wanted).stem.lstrip("0")]
    meant = f" (did you mean '{padded[0]}'?)" if padded else nearest(wanted, ids)
    raise InputError(f"{dataset.path}: no clip '{name}'{meant}; it has {ids[0]} to {ids[-1]}")


def view_clip(dataset: Dataset, row: int, snr: float) -> ClipView:
    """Read one clip of a data set at `snr` dB.

    Raises
    ------
    InputError
        If the data set was not made at that SNR, or one of the clip's files is missing or broken.
    """
    dataset.require_snr(snr)
    clip = dataset.clips[row]
    samples, rate = read_audio(dataset.audio_path(clip, snr))
    stems = dataset.stems_path(clip, snr)
    return ClipView(
        row=row,
        id=clip.id,
        fold=clip.fold,
        scene=clip.scene_label,
        snr=snr,
        rate=rate,
        samples=samples.mean(axis=1),
        stems=_events_and_scene(read_audio(stems)[0].T) if stems.is_file() else None,
        logmel=_logmel(dataset, row, snr, samples.mean(axis=1)),
        bars=_bars(dataset, row, snr),
        scales=Scales.of(dataset.recipe),
    )


def _events_and_scene(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return stems (channels, samples) as two channels: all events, which may have one each, and the scene."""
    return np.stack((channels[:-1].sum(axis=0), channels[-1]))


def read_audio(path: Path) -> tuple[NDArray[np.float32], int]:
    """Read an audio file as (samples, channels) in [-1, 1], and its sample rate.

    Raises
    ------
    InputError
        If it is missing or is not audio.
    """
    import soundfile

    if not path.is_file():
        raise InputError(f"{path}: not there; `remixbench make` makes it again")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: not readable as audio ({error}); delete it and run `remixbench make`") from None
    return samples, int(rate)


def _logmel(dataset: Dataset, row: int, snr: float, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a clip's log-mel as it was made, or from its audio in a data set without features."""
    recipe = dataset.recipe
    if snr in dataset.info.features:
        return np.array(dataset.features(snr)[row])
    from remixbench.dataset.features import logmel

    return logmel(samples, recipe.features, recipe.mix.sample_rate)


def _bars(dataset: Dataset, row: int, snr: float) -> tuple[Bar, ...]:
    clip, name = dataset.clips[row], dataset.filenames[row]
    levels = _levels(dataset.path / "labels" / "levels.csv", clip.id, snr)
    # the rows of strong.tsv are the clip's events in this order
    events = sorted(clip.events, key=lambda event: (event.onset, event.index))
    rows = [(onset, offset, label) for file, onset, offset, label in dataset.strong() if file == name]
    if [label for *_, label in rows] != [event.label for event in events]:
        raise InputError(f"{dataset.path / 'labels' / 'strong.tsv'}: {name}: not the manifest's events; make it again")
    return tuple(
        Bar(label, onset, offset, *levels.get(event.index, (None, None)))
        for (onset, offset, label), event in zip(rows, events, strict=True)
    )


def _levels(path: Path, clip: str, snr: float) -> dict[int, tuple[float | None, float | None]]:
    """Return target and achieved SNR by event index; empty where the data set has no such file."""
    if not path.is_file():
        return {}
    try:
        return {
            int(row["event_index"]): (_number(row["target_db"]), _number(row["achieved_db"]))
            for _, row in read_table(path).records()
            if row["clip_id"] == clip and float(row["snr"]) == snr
        }
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a table of levels ({error}); make the data set again") from None


def _number(text: str) -> float | None:
    return float(text) if text else None
