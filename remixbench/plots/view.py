"""The data of a figure, as arrays: a clip of a data set, any recording, the outputs of a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.mix import as_float
from remixbench.errors import InputError, nearest
from remixbench.plots.axes import Scales
from remixbench.tables import number, read_table

if TYPE_CHECKING:
    from remixbench.dataset.dataset import Dataset
    from remixbench.systems.output import Output
    from remixbench.training.model_file import TrainedModel

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Bar:
    """An event; times in seconds, requested (`target`) and measured (`achieved`) SNR in dB, None if unknown."""

    label: str
    onset: float
    offset: float
    target: float | None = None
    achieved: float | None = None


@dataclass(frozen=True, kw_only=True)
class View:
    """The log-mel of a clip or recording, and its events.

    Attributes
    ----------
    logmel : (frames, n_mels), natural logarithm
    bars : reference events, by onset; None without a reference
    detected : detected events, outlined if there is no reference
    """

    logmel: Array
    scales: Scales
    bars: tuple[Bar, ...] | None = None
    detected: tuple[Bar, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Unique classes of the reference, by first onset."""
        return tuple(dict.fromkeys(bar.label for bar in self.bars or ()))


@dataclass(frozen=True, kw_only=True)
class ClipView(View):
    """A clip of a data set at one SNR.

    Attributes
    ----------
    samples : (n,) in [-1, 1]
    stems : (2, n), events and scene; None if the data set has none
    """

    row: int
    id: str
    fold: int
    scene: str
    snr: float
    rate: int
    samples: Array
    stems: Array | None
    bars: tuple[Bar, ...]


def find_clip(dataset: Dataset, name: str) -> int:
    """Return the row of a clip by its id or file name, with or without folder and suffix.

    InputError if the data set has no such clip.
    """
    wanted = Path(name).name
    rows = {clip.id: row for row, clip in enumerate(dataset.clips)}
    for candidate in (wanted, Path(wanted).stem):
        if candidate in rows:
            return rows[candidate]
    ids = list(rows)
    padded = [clip for clip in ids if clip.lstrip("0") == Path(wanted).stem.lstrip("0")]
    suggestion = f" (did you mean '{padded[0]}'?)" if padded else nearest(wanted, ids)
    raise InputError(f"{dataset.path}: no clip '{name}'{suggestion}; it has {ids[0]} to {ids[-1]}")


def view_clip(dataset: Dataset, row: int, snr: float) -> ClipView:
    """Read a clip of a data set at `snr` dB.

    InputError if the data set was not made at that SNR, or one of the clip's files is missing, broken or altered.
    """
    dataset.require_snr(snr)
    clip = dataset.clips[row]
    if "digests.csv" in dataset.info.files:
        samples, rate = dataset.audio(clip, snr), dataset.recipe.mix.sample_rate
    else:
        audio, rate = _read_channels(dataset.audio_path(clip, snr))
        samples = audio.mean(axis=1)
    stems, stems_path = None, dataset.stems_path(clip, snr)
    if snr in dataset.info.stems:
        stems = as_float(dataset.stems(clip, snr))
    elif stems_path.is_file():
        stems = _read_channels(stems_path)[0].T
    return ClipView(
        row=row,
        id=clip.id,
        fold=clip.fold,
        scene=clip.scene_label,
        snr=snr,
        rate=rate,
        samples=samples,
        stems=None if stems is None else np.stack((stems[:-1].sum(axis=0), stems[-1])),
        logmel=_logmel(dataset, row, snr, samples),
        bars=_bars(dataset, row, snr),
        scales=Scales.of(dataset.recipe),
    )


def _read_channels(path: Path) -> tuple[Array, int]:
    """Read an audio file as (samples, channels) in [-1, 1], and its sample rate."""
    import soundfile

    if not path.is_file():
        raise InputError(f"{path}: not there; `remixbench make` makes it again")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: not readable as audio ({error}); delete it and run `remixbench make`") from None
    return samples, int(rate)


def _logmel(dataset: Dataset, row: int, snr: float, samples: Array) -> Array:
    """Return the log-mel of a clip, computed from its audio if the data set has no features."""
    recipe = dataset.recipe
    if snr in dataset.info.features:
        return np.array(dataset.features(snr)[row])
    from remixbench.dataset.features import logmel

    return logmel(samples, recipe.features, recipe.mix.sample_rate)


def _bars(dataset: Dataset, row: int, snr: float) -> tuple[Bar, ...]:
    clip, name = dataset.clips[row], dataset.filenames[row]
    levels: dict[int, list[float | None]] = {}
    path, columns = dataset.path / "labels" / "levels.csv", ("target_db", "achieved_db")
    if path.is_file():
        for line, values in read_table(path, columns=("clip_id", "snr", "event_index", *columns)).records():
            if values["clip_id"] == clip.id and number(values["snr"], path, line, "snr") == snr:
                index = int(number(values["event_index"], path, line, "event_index"))
                levels[index] = [number(values[key], path, line, key) if values[key] else None for key in columns]
    # strong.tsv has the events of a clip in this order
    events = sorted(clip.events, key=lambda event: (event.onset, event.index))
    rows = [(onset, offset, label) for file, onset, offset, label in dataset.strong() if file == name]
    return tuple(
        Bar(label, onset, offset, *levels.get(event.index, ()))
        for (onset, offset, label), event in zip(rows, events, strict=True)
    )


@dataclass(frozen=True)
class Activations:
    """Outputs of a network for one clip; None if the system has no such output.

    Attributes
    ----------
    clip_scores : (classes,)
    frame_scores : (frames, classes)
    tf_maps : (classes, frames, n_mels)
    reconstruction : (frames, n_mels), as log-mel
    frequency_attention : (classes, frames, n_mels), sums to 1 over the mel bands
    time_attention : (classes, frames), sums to 1 over the frames
    raw_frame_scores : (frames, classes), output of the first attention step before orientation and gating
    """

    clip_scores: Array
    frame_scores: Array
    tf_maps: Array | None = None
    reconstruction: Array | None = None
    frequency_attention: Array | None = None
    time_attention: Array | None = None
    raw_frame_scores: Array | None = None


def from_output(output: Output, model: TrainedModel) -> Activations:
    """Return the first clip of a forward pass as arrays, on the frames and scale of the log-mel."""
    from remixbench.systems.building import frame_seconds_of

    arrays: dict[str, Any] = {
        name: None if value is None else value[0].float().numpy() for name, value in output._asdict().items()
    }
    scales = Scales.of_frames(model.config.frames, model.config.features, model.config.mix)
    step = frame_seconds_of(model.network, scales.frame_seconds)
    for name in ("frame_scores", "raw_frame_scores"):
        if arrays[name] is not None:
            arrays[name] = scales.hold(arrays[name], step)
    activations = Activations(**arrays)
    if activations.reconstruction is None:
        return activations
    scale = model.standardisation
    return replace(activations, reconstruction=activations.reconstruction * scale.std + scale.mean)
