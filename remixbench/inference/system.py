"""A trained network applied: to recordings of any length, to separate what is in them, and for pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from remixbench.dataset.features import logmel
from remixbench.dataset.masks import masked_blocks, share
from remixbench.errors import InputError, unknown
from remixbench.files import file_sha256
from remixbench.inference.from_waveform import FromWaveform, encoder_of
from remixbench.scoring.postprocessing import detect_events, hysteresis
from remixbench.systems.building import frame_seconds_of
from remixbench.systems.output import Output
from remixbench.systems.registry import spec
from remixbench.training.device import choose_device, exact_float32
from remixbench.training.embeddings import resample
from remixbench.training.evaluate import evaluating
from remixbench.training.model_file import TrainedModel, read_model
from remixbench.training.run_files import MODEL, RUN_FILE, read_run

WINDOWS = 16
"""Windows given to the network at once."""
BACKGROUND = "background"
"""What `separate` calls the rest of a recording."""


@dataclass(frozen=True)
class Event:
    """A detected event: onset and offset in seconds, label, and score, the highest frame score in it, in [0, 1]."""

    onset: float
    offset: float
    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The output of a system for one recording.

    Attributes
    ----------
    classes : names of the columns.
    tags : (classes,) float32 in [0, 1], the clip scores: whether the class is anywhere in the recording.
    frames : (frames, classes) float32 in [0, 1]; frame i begins at i · `frame_seconds`.
    found : the classes whose clip score reaches the run's threshold, highest score first.
    events : the detected events, by the run's thresholds.
    """

    classes: tuple[str, ...]
    tags: NDArray[np.float32]
    frames: NDArray[np.float32]
    frame_seconds: float
    found: tuple[str, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Recording:
    """A recording as input of a system.

    Attributes
    ----------
    logmel : (frames, n_mels), not standardised; at least a window long, for which a short recording is repeated.
    own_frames : frames of the recording itself, without what was repeated; at least 1.
    seconds : its length.
    waveform : (samples,), for systems that take it; at least a clip long.
    """

    logmel: NDArray[np.float32]
    own_frames: int
    seconds: float
    waveform: NDArray[np.float32] | None = None


class TrainedSystem:
    """A network with all that is needed to use it on audio; made by `load_system`."""

    def __init__(self, model: TrainedModel, device: torch.device) -> None:
        self.model = model
        self.device = device
        encoder = encoder_of(model.config)
        network = model.network.to(device)
        self.network = network if encoder is None else FromWaveform(model, encoder, device).eval()
        self.mix = model.config.mix
        self.features = model.config.features

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the scores."""
        return self.model.config.classes

    @property
    def rate(self) -> int:
        """Samples per second that it was trained on; other rates are resampled."""
        return self.mix.sample_rate

    @property
    def inputs(self) -> str:
        """What it is given: `logmel`, or the `waveform`, from which a system on embeddings computes these."""
        return "logmel" if spec(self.model.config.system).inputs == "logmel" else "waveform"

    @property
    def logmel_frame_seconds(self) -> float:
        """Distance of two frames of the log-mel in seconds."""
        return self.features.hop_length / self.mix.sample_rate

    @property
    def frame_seconds(self) -> float:
        """Distance of two frame scores in seconds; that of the log-mel unless the system has its own."""
        return frame_seconds_of(self.network, self.logmel_frame_seconds)

    def predict(
        self, audio: NDArray[np.floating], rate: int, *, threshold: float | None = None, origin: str = "audio"
    ) -> Prediction:
        """Return tags, frame scores and events of a recording of any length.

        A recording longer than the training clips is cut into windows of their length that overlap by half; a frame's
        score is the mean over the windows that hold it, a tag the highest of all windows. A shorter one is repeated
        until a window is full. Levels are not normalised. Frames of digital silence have the score 0, and so have the
        tags of windows of nothing else.

        Parameters
        ----------
        audio : (samples,) or (samples, channels), floats in [-1, 1]; channels are averaged.
        rate : samples per second.
        threshold : of clip and frame scores of every class, in (0, 1]; by default the run's own, of each class.
        origin : name of the audio in error messages.

        Raises
        ------
        InputError
            If there are no samples, or some are NaN or infinite.
        """
        return self.predict_features(self.extract_features(audio, rate, origin=origin), threshold)

    def extract_features(self, audio: NDArray[np.floating], rate: int, *, origin: str = "audio") -> Recording:
        """Return a recording's log-mel at the rate and size of the training; arguments and errors as in `predict`."""
        samples = prepare(audio, rate, self.rate, origin)
        window = self.model.config.frames
        own_frames = max(1, (len(samples) - self.features.n_fft) // self.features.hop_length + 1)
        window_samples = (window - 1) * self.features.hop_length + self.features.n_fft
        filled = samples if len(samples) >= window_samples else np.resize(samples, window_samples)
        spectrogram = logmel(filled, self.features, self.rate)
        clip = self.model.config.samples
        waveform = None if self.inputs == "logmel" else np.resize(samples, max(len(samples), clip))
        return Recording(spectrogram, own_frames, len(samples) / self.rate, waveform)

    def predict_features(self, recording: Recording, threshold: float | None = None) -> Prediction:
        """Return the prediction for a recording that `extract_features` returned; `threshold` as in `predict`."""
        if recording.waveform is None:
            x, window = self.model.standardisation.apply(recording.logmel), self.model.config.frames
            step, recording_steps = self.logmel_frame_seconds, recording.own_frames
            silent = digital_silence(recording.logmel, self.features.offset)
        else:
            x, window = recording.waveform, self.model.config.samples
            step, recording_steps = 1 / self.rate, round(recording.seconds * self.rate)
            silent = x == 0
        tags, frames = self._windows(x, window, self.frame_seconds / step, silent)
        frames = frames[: math.ceil(recording_steps * step / self.frame_seconds - 1e-6)]
        config = self.model.config
        tag_thresholds, frame_thresholds = self.model.tag_thresholds, self.model.frame_thresholds
        if threshold is not None:
            tag_thresholds = frame_thresholds = np.full(len(self.classes), threshold, np.float32)
        order = np.argsort(-tags, kind="stable")
        return Prediction(
            classes=self.classes,
            tags=tags,
            frames=frames,
            frame_seconds=self.frame_seconds,
            found=tuple(config.classes[k] for k in order if tags[k] >= tag_thresholds[k]),
            events=tuple(
                replace(event, offset=min(event.offset, recording.seconds))
                for event in events(frames, frame_thresholds, self.classes, self.frame_seconds)
            ),
        )

    def separate(
        self,
        audio: NDArray[np.floating],
        rate: int,
        *,
        classes: Sequence[str] | None = None,
        background: bool = False,
        origin: str = "audio",
    ) -> dict[str, NDArray[np.float32]]:
        """Return the waveform of each class in a recording of any rate and length, by the system's maps as masks.

        The detected classes, those in `classes` and the background share each band of a frame by the odds of the maps.
        See `remixbench.dataset.masks` for the way from masks to waveforms.

        Parameters
        ----------
        audio, rate, origin : as in `predict`.
        classes : by default those that `predict` finds.
        background : also return the recording less the waveforms of these classes, as "background".

        Returns
        -------
        {class: (samples,)}, at the recording's own rate, in one channel.

        Raises
        ------
        InputError
            For an unknown class, a system without maps, or audio that `predict` refuses.
        """
        labels, blocks = self.separate_blocks(audio, rate, classes=classes, background=background, origin=origin)
        return dict(zip(labels, np.concatenate(list(blocks), axis=1), strict=True))

    def separate_blocks(
        self,
        audio: NDArray[np.floating],
        rate: int,
        *,
        classes: Sequence[str] | None = None,
        background: bool = False,
        origin: str = "audio",
    ) -> tuple[tuple[str, ...], Iterator[NDArray[np.float32]]]:
        """Separate some samples at a time, so that memory does not grow with the recording times the classes.

        Parameters and errors as of `separate`.

        Returns
        -------
        The labels, and an iterator of their waveforms (labels, samples), one block after another.
        """
        self.check_separable(classes, background=background)
        samples = prepare(audio, rate, rate, origin)
        recording = self.extract_features(audio, rate, origin=origin)
        detected = self.predict_features(recording).found
        chosen = detected if classes is None else tuple(dict.fromkeys(classes))
        sharing = [*chosen, *(label for label in detected if label not in chosen)]
        masks = _SharedMasks(self, recording, [self.classes.index(label) for label in sharing], len(chosen))

        def blocks() -> Iterator[NDArray[np.float32]]:
            start = 0
            for block in masked_blocks(samples, rate, masks, self.features, self.rate):
                part = samples[start : start + block.shape[1]]
                start += block.shape[1]
                yield np.concatenate([block, part[None] - block.sum(axis=0)]) if background else block

        return ((*chosen, BACKGROUND) if background else chosen), blocks()

    def check_separable(self, classes: Sequence[str] | None = None, *, background: bool = False) -> None:
        """Refuse to separate by a system without maps, or classes that it does not know.

        Raises
        ------
        InputError
            Naming the system, or the class and the nearest one.
        """
        for label in classes or ():
            if label not in self.classes:
                raise unknown("class", label, self.classes)
        if background and BACKGROUND in self.classes:
            raise InputError(f"'{BACKGROUND}' is a class of this system; leave --background out")
        config = self.model.config
        if self.inputs == "waveform":
            taken = "embeddings" if config.embedding else "the waveform"
            raise InputError(f"the system '{config.name}' takes {taken}; separation needs one that takes log-mel")
        if self.forward(np.zeros((config.frames, config.n_mels), np.float32)).tf_maps is None:
            raise InputError(
                f"the system '{config.name}' has no time-frequency maps to separate by; use a run of one that has"
                " them, such as crnn-sep or gwrp"
            )

    def forward(self, clip: NDArray[np.float32]) -> Output:
        """Return the whole output for one clip of the training clips' length, attention and reconstruction too.

        Parameters
        ----------
        clip : log-mel (frames, n_mels), not standardised, as a data set has it, or for a system that takes it the
            waveform (samples,).

        Returns
        -------
        An `Output` of a batch of one, on the CPU.

        Raises
        ------
        InputError
            If it has another shape than the training clips.
        """
        config = self.model.config
        takes_logmel = self.inputs == "logmel"
        expected = (config.frames, config.n_mels) if takes_logmel else (config.samples,)
        if clip.shape != expected:
            shape_given, wanted = (" × ".join(map(str, shape)) for shape in (clip.shape, expected))
            what, axes = ("log-mel", "frames × bands") if takes_logmel else ("waveform", "samples")
            raise InputError(f"{what} of {shape_given} ({axes}), but the system was trained on {wanted}")
        values = np.asarray(clip, np.float32)
        x = torch.from_numpy(self.model.standardisation.apply(values) if takes_logmel else values).unsqueeze(0)
        with evaluating(self.network, reconstruct=True), exact_float32():
            output: Output = self.network(x.to(self.device))
        return Output._make(None if field is None else field.float().cpu() for field in output)

    def run_windows(self, x: NDArray[np.float32], window: int, starts: Sequence[int]) -> Iterator[tuple[int, Output]]:
        """Yield the place of every `WINDOWS` windows among `starts`, and the output for them.

        Parameters
        ----------
        x : (time, ...) as the network takes it.
        window : steps of an input of the network. A window that reaches beyond x is filled up with its last step.
        """
        if (missing := starts[-1] + window - len(x)) > 0:
            x = np.pad(x, ((0, missing), *[(0, 0)] * (x.ndim - 1)), mode="edge")
        for first in range(0, len(starts), WINDOWS):
            batch = torch.from_numpy(np.stack([x[start : start + window] for start in starts[first : first + WINDOWS]]))
            with evaluating(self.network), exact_float32():
                output: Output = self.network(batch.to(self.device))
            yield first, output

    def _windows(
        self, x: NDArray[np.float32], window: int, stride: float, silent: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return tags (classes,) and frame scores (frames, classes) of a recording of any length, (time, ...).

        `window` steps of it are an input of the network; a frame score is of `stride` steps, and windows begin where
        one does. `silent` says which steps of the recording are digital silence.
        """
        places = window_places(len(x), window, stride)
        starts = [round(place * stride) for place in places]
        tags = np.zeros(len(self.classes), np.float32)
        total, times = np.zeros((0, len(self.classes)), np.float32), np.zeros((0, 1), np.float32)
        for first, output in self.run_windows(x, window, starts):
            clip_scores, frame_scores = (scores.float().cpu().numpy() for scores in output[:2])
            if not len(total):
                frames = places[-1] + frame_scores.shape[1]
                total, times = np.zeros((frames, len(self.classes)), np.float32), np.zeros((frames, 1), np.float32)
            for k, scores in enumerate(frame_scores, start=first):
                total[places[k] : places[k] + len(scores)] += scores
                times[places[k] : places[k] + len(scores)] += 1
                if not silent[starts[k] : starts[k] + window].all():
                    tags = np.maximum(tags, clip_scores[k - first])
        averaged = (total / times).clip(0, 1)
        averaged[_silent_frames(silent, len(averaged), stride)] = 0
        return tags.clip(0, 1), averaged


class _SharedMasks:
    """The masks of some classes in a recording, computed where they are asked for, later frames after earlier ones.

    Parameters
    ----------
    labels : columns of the classes that share each cell.
    count : the first of them are those whose masks are wanted.
    """

    def __init__(self, system: TrainedSystem, recording: Recording, labels: list[int], count: int) -> None:
        config = system.model.config
        x = system.model.standardisation.apply(recording.logmel)
        self.shape = (count, recording.own_frames, config.n_mels)
        self._labels, self._window = labels, config.frames
        self._starts = window_places(len(x), self._window)
        self._outputs = system.run_windows(x, self._window, self._starts)
        self._maps: dict[int, NDArray[np.float32]] = {}
        self._next = 0

    def __getitem__(self, index: tuple[slice, slice]) -> NDArray[np.float32]:
        """Return the masks of some frames, from maps that are the mean over the windows that hold a frame."""
        first, last = index[1].start, index[1].stop
        while self._next < len(self._starts) and self._starts[self._next] < last:
            _, output = next(self._outputs)
            assert output.tf_maps is not None  # `check_separable` has looked
            for maps in output.tf_maps[:, self._labels].float().cpu().numpy():
                self._maps[self._starts[self._next]] = maps
                self._next += 1
        for start in [start for start in self._maps if start + self._window <= first]:
            del self._maps[start]
        total = np.zeros((len(self._labels), last - first, self.shape[2]), np.float32)
        times = np.zeros((last - first, 1), np.float32)
        for start, maps in self._maps.items():
            low, high = max(start, first), min(start + self._window, last)
            if low < high:
                total[:, low - first : high - first] += maps[:, low - start : high - start]
                times[low - first : high - first] += 1
        return share((total / times).clip(0, 1))[: self.shape[0]]


def events(
    frames: NDArray[np.float32], thresholds: NDArray[np.float32], classes: tuple[str, ...], frame_seconds: float
) -> list[Event]:
    """Return the events in frame scores (frames, classes), by onset; frame i lasts from i to i + 1 times
    `frame_seconds`.
    """
    edges = np.arange(len(frames) + 1, dtype=np.float64) * frame_seconds
    detected = detect_events(frames[None], edges, hysteresis(thresholds.tolist()))
    first, last = (np.rint(times / frame_seconds).astype(int) for times in (detected.onset, detected.offset))
    timed = [
        Event(float(onset), float(offset), classes[k], float(frames[start:stop, k].max()))
        for k, onset, offset, start, stop in zip(
            detected.label, detected.onset, detected.offset, first, last, strict=True
        )
    ]
    return sorted(timed, key=lambda event: (event.onset, event.label))


def digital_silence(logmel: NDArray[np.float32], offset: float) -> NDArray[np.bool_]:
    """Return which frames of a log-mel (frames, n_mels) are digital silence; `offset` is that of the logarithm."""
    silent: NDArray[np.bool_] = (logmel <= np.log(offset) + 1e-3).all(axis=1)
    return silent


def window_places(steps: int, window: int, stride: float = 1.0) -> list[int]:
    """Return where windows begin that cover all steps, counted in frame scores of `stride` steps.

    Each is half over the next. The last one ends at the last step, or beyond it by a part of a frame score.
    """
    last = math.ceil((steps - window) / stride - 1e-6)
    places = list(range(0, last + 1, max(1, int(window // 2 / stride))))
    return places if places[-1] == last else [*places, last]


def _silent_frames(silent: NDArray[np.bool_], frames: int, stride: float) -> NDArray[np.bool_]:
    """Return which frame scores, of `stride` steps each, are of nothing but silent steps."""
    edges = np.rint(np.arange(frames + 1) * stride).astype(np.int64).clip(max=len(silent))
    counted = np.concatenate([[0], np.cumsum(silent)])
    length = np.diff(edges)
    silent_frames: NDArray[np.bool_] = (length > 0) & (np.diff(counted[edges]) == length)
    return silent_frames


def load_system(run: str | Path, *, device: str = "cpu") -> TrainedSystem:
    """Load the system of a run that is done. Nothing in the run's files is executed.

    The package or file of a third-party system has to be as it was in training.

    Parameters
    ----------
    run : the run's folder, as `train` returns it.
    device : auto, cpu, cuda, cuda:N or mps.

    Raises
    ------
    InputError
        If the folder is no run, the run is not done, or its files are broken or not of one run.
    """
    folder = Path(run)
    info = read_run(folder)
    if info.status != "done":
        raise InputError(f"{folder}: the run is not done; the same `remixbench train` resumes it")
    model = read_model(folder / MODEL)
    if model.config.digest != info.digest:
        raise InputError(f"{folder / MODEL}: is not of the run that {RUN_FILE} describes; copy both from one run")
    if info.results is not None and info.results.get(MODEL) != file_sha256(folder / MODEL):
        raise InputError(
            f"{folder / MODEL}: differs from its digest in {RUN_FILE}; restore it, or train again with --rerun"
        )
    return TrainedSystem(model, choose_device(device))


MANY_CHANNELS = 64
"""More channels than this, and than samples, are samples."""
LOUDEST = 100.0
"""Float recordings may reach over 1 here and there; samples above this were never scaled."""


def prepare(audio: NDArray[np.floating], rate: int, wanted: int, origin: str) -> NDArray[np.float32]:
    """Return audio (samples,) or (samples, channels) in one channel at the rate `wanted`, resampled by soxr HQ.

    Raises
    ------
    InputError
        Naming `origin`, if there are no samples, they are NaN or infinite, or the rate is none.
    """
    if not isinstance(audio, np.ndarray):
        raise InputError(f"{origin}: expected an array of samples, found {type(audio).__name__}")
    if audio.ndim not in (1, 2) or audio.size == 0:
        raise InputError(f"{origin}: expected (samples,) or (samples, channels), found the shape {audio.shape}")
    if audio.dtype.kind != "f":
        raise InputError(f"{origin}: expected floats in [-1, 1], found {audio.dtype}; divide integers by their range")
    if audio.ndim == 2 and audio.shape[1] > max(audio.shape[0], MANY_CHANNELS):
        raise InputError(f"{origin}: expected (samples, channels), found the shape {audio.shape}; transpose it")
    if rate < 1:
        raise InputError(f"{origin}: a rate of {rate} Hz, expected 1 or more")
    if not np.isfinite(audio).all():
        raise InputError(f"{origin}: holds NaN or infinite samples; repair or leave out the recording")
    if (peak := float(np.abs(audio).max())) > LOUDEST:
        raise InputError(f"{origin}: holds samples of {peak:g}, expected -1 to 1; divide by the range of its integers")
    mono = np.asarray(audio, np.float32) if audio.ndim == 1 else audio.mean(axis=1, dtype=np.float32)
    resampled = resample(mono, rate, wanted)
    if not len(resampled):
        raise InputError(f"{origin}: too short to be resampled from {rate} to {wanted} Hz")
    return np.ascontiguousarray(resampled, np.float32)
