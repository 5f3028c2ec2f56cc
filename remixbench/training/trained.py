"""A trained system, taken from its run, and what it says of any recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from remixbench.dataset.features import logmel
from remixbench.errors import InputError
from remixbench.systems.output import Output
from remixbench.training.audio import prepare
from remixbench.training.engine import choose_device, exact_float32
from remixbench.training.model import Model, read_model
from remixbench.training.runs import MODEL, RUN_FILE, read_run
from remixbench.training.thresholds import Event, events

WINDOWS = 16
"""Windows given to the network at once."""


@dataclass(frozen=True)
class Prediction:
    """What a system says of one recording.

    Attributes
    ----------
    classes : what the columns are.
    tags : (classes,) float32 in [0, 1], how sure it is that the class is somewhere in the recording.
    frames : (frames, classes) float32 in [0, 1]; frame i begins at i · `frame_seconds`.
    found : the classes whose tag reaches the run's threshold, surest first.
    events : what it hears when, by the run's thresholds.
    """

    classes: tuple[str, ...]
    tags: NDArray[np.float32]
    frames: NDArray[np.float32]
    frame_seconds: float
    found: tuple[str, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Recording:
    """A recording as a system listens to it.

    Attributes
    ----------
    logmel : (frames, bands), not standardised; at least a window long, for which a short recording is repeated.
    heard : frames of the recording itself, without what was repeated; at least 1.
    seconds : its length.
    """

    logmel: NDArray[np.float32]
    heard: int
    seconds: float

    def starts(self, window: int) -> list[int]:
        """Return the frames at which its windows begin."""
        return window_starts(len(self.logmel), window)


class TrainedSystem:
    """A network with all that is needed to use it on audio; made by `load_system`."""

    def __init__(self, model: Model, device: torch.device) -> None:
        self.model = model
        self.device = device
        self.network = model.network.to(device)
        self.mix = model.description.mix
        self.features = model.description.features

    @property
    def classes(self) -> tuple[str, ...]:
        """What it tells apart."""
        return self.model.description.classes

    @property
    def rate(self) -> int:
        """Samples a second that it was trained on; other rates are resampled."""
        return self.mix.sample_rate

    @property
    def frame_seconds(self) -> float:
        """Distance of two frames in seconds."""
        return self.features.hop_length / self.mix.sample_rate

    def predict(self, audio: NDArray[np.floating], rate: int, *, origin: str = "audio") -> Prediction:
        """Say what is heard in a recording of any length.

        A recording longer than the clips of the training is heard in windows of that length, each half over the next; a
        frame's score is the mean over the windows that hold it, a tag the highest of all windows. A shorter one is
        repeated until a window is full. Levels are taken as they are.

        Parameters
        ----------
        audio : (samples,) or (samples, channels), floats in [-1, 1]; channels are averaged.
        rate : samples a second.
        origin : what to call the audio in errors.

        Raises
        ------
        InputError
            If there are no samples, or they are no numbers.
        """
        return self.judge(self.listen(audio, rate, origin=origin))

    def listen(self, audio: NDArray[np.floating], rate: int, *, origin: str = "audio") -> Recording:
        """Return a recording's log-mel at the rate and size of the training; arguments and errors as in `predict`."""
        samples = prepare(audio, rate, self.rate, origin)
        window = self.model.description.frames
        heard = max(1, (len(samples) - self.features.n_fft) // self.features.hop_length + 1)
        whole = (window - 1) * self.features.hop_length + self.features.n_fft
        spectrogram = logmel(samples if len(samples) >= whole else np.resize(samples, whole), self.features, self.rate)
        return Recording(spectrogram, heard, len(samples) / self.rate)

    def judge(self, recording: Recording) -> Prediction:
        """Say what is heard in a recording that `listen` returned."""
        window = self.model.description.frames
        x = self.model.standardisation.apply(recording.logmel)
        tags, frames = self._windows(x, recording.starts(window), window)
        frames = frames[: recording.heard]
        description = self.model.description
        order = np.argsort(-tags, kind="stable")
        return Prediction(
            classes=self.classes,
            tags=tags,
            frames=frames,
            frame_seconds=self.frame_seconds,
            found=tuple(description.classes[k] for k in order if tags[k] >= self.model.tag_thresholds[k]),
            events=tuple(
                Event(event.onset, min(event.offset, recording.seconds), event.label)
                for event in events(frames, self.model.frame_thresholds, self.classes, self.frame_seconds)
            ),
        )

    def look(self, logmel: NDArray[np.float32]) -> Output:
        """Return all that the network says of one clip of its length, attention and reconstruction too; for pictures.

        Parameters
        ----------
        logmel : (frames, bands), not standardised, as a data set has it.

        Returns
        -------
        An `Output` of a batch of one, on the CPU.

        Raises
        ------
        InputError
            If it has another shape than the clips of the training.
        """
        expected = (self.model.description.frames, self.model.description.bands)
        if logmel.shape != expected:
            raise InputError(f"log-mel of the shape {logmel.shape}, but this system was trained on {expected}")
        x = torch.from_numpy(self.model.standardisation.apply(np.asarray(logmel, np.float32))).unsqueeze(0)
        with torch.inference_mode(), exact_float32():
            output: Output = self.network(x.to(self.device))
        return Output._make(None if field is None else field.float().cpu() for field in output)

    def _windows(
        self, x: NDArray[np.float32], starts: list[int], window: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return tags (classes,) and frame scores (frames, classes) of standardised log-mel (frames, bands)."""
        tags = np.zeros(len(self.classes), np.float32)
        total = np.zeros((len(x), len(self.classes)), np.float32)
        times = np.zeros((len(x), 1), np.float32)
        with torch.inference_mode(), exact_float32():
            for first in range(0, len(starts), WINDOWS):
                part = starts[first : first + WINDOWS]
                batch = torch.from_numpy(np.stack([x[start : start + window] for start in part]))
                output: Output = self.network(batch.to(self.device))
                tags = np.maximum(tags, output.clip_scores.amax(dim=0).float().cpu().numpy())
                for start, scores in zip(part, output.frame_scores.float().cpu().numpy(), strict=True):
                    total[start : start + window] += scores
                    times[start : start + window] += 1
        return tags.clip(0, 1), (total / times).clip(0, 1)


def window_starts(frames: int, window: int) -> list[int]:
    """Return where windows begin that cover `frames` frames, each half over the next, the last at the very end."""
    starts = list(range(0, frames - window + 1, max(1, window // 2)))
    return starts if starts[-1] == frames - window else [*starts, frames - window]


def load_system(run: str | Path, *, device: str = "cpu") -> TrainedSystem:
    """Load the system of a run that is done. Nothing in the run's files is executed.

    Parameters
    ----------
    run : the run's folder, as `train` returns it.
    device : auto, cpu or cuda.

    Raises
    ------
    InputError
        If the folder is no run, the run is not done, or its files are broken or not of one run.
    """
    folder = Path(run)
    info = read_run(folder)
    if info.get("status") != "done":
        raise InputError(f"{folder}: the run is not done; the same `remixbench train` goes on with it")
    model = read_model(folder / MODEL)
    if model.description.digest != info.get("digest"):
        raise InputError(f"{folder / MODEL}: is not of the run that {RUN_FILE} describes; copy both from one run")
    return TrainedSystem(model, choose_device(device))
