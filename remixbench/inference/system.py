"""A trained system: detection and separation in recordings of any length, and outputs for figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from remixbench.dataset.features import logmel
from remixbench.dataset.masks import masked_blocks, share
from remixbench.errors import InputError, unknown
from remixbench.files import as_path, file_sha256
from remixbench.scoring.postprocessing import detect_events, hysteresis
from remixbench.systems.building import frame_seconds_of
from remixbench.systems.encoders import PretrainedEncoder, load_encoder
from remixbench.systems.output import Output
from remixbench.systems.registry import spec
from remixbench.training.device import choose_device, exact_float32
from remixbench.training.embeddings import resample
from remixbench.training.evaluate import evaluating
from remixbench.training.model_file import ModelConfig, TrainedModel, read_model
from remixbench.training.run_files import MODEL, RUN_FILE, read_run

WINDOWS = 16
"""Windows per batch."""
BACKGROUND = "background"
"""Label of the rest of a recording in `separate`."""


@dataclass(frozen=True)
class Event:
    """A detected event: onset and offset in seconds, label, and its highest frame score, in [0, 1]."""

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
    tags : (classes,) float32 in [0, 1], clip scores.
    frames : (frames, classes) float32 in [0, 1], frame scores; frame i begins at i · `frame_seconds`.
    detected : classes whose clip score reaches the threshold, highest score first.
    events : detected events, by onset.
    """

    classes: tuple[str, ...]
    tags: NDArray[np.float32]
    frames: NDArray[np.float32]
    frame_seconds: float
    detected: tuple[str, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Recording:
    """A recording as input of a system; a short one is repeated to the length of a training clip.

    Attributes
    ----------
    logmel : (frames, n_mels), not standardised.
    original_frames : number of frames without repetition; at least 1.
    seconds : duration without repetition.
    waveform : (samples,), None for systems on log-mel.
    """

    logmel: NDArray[np.float32]
    original_frames: int
    seconds: float
    waveform: NDArray[np.float32] | None = None


class TrainedSystem:
    """A trained network with everything needed to apply it to audio; returned by `load_system`."""

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
        """Classes, in the order of the scores."""
        return self.model.config.classes

    @property
    def rate(self) -> int:
        """Sample rate of the training in Hz; recordings are resampled to it."""
        return self.mix.sample_rate

    @property
    def inputs(self) -> str:
        """Input of the network: `logmel` or `waveform` (also for systems on embeddings)."""
        return "logmel" if spec(self.model.config.system).inputs == "logmel" else "waveform"

    @property
    def logmel_frame_seconds(self) -> float:
        """Hop of the log-mel in seconds."""
        return self.features.hop_length / self.mix.sample_rate

    @property
    def frame_seconds(self) -> float:
        """Seconds between frame scores; the hop of the log-mel unless the system defines another."""
        return frame_seconds_of(self.network, self.logmel_frame_seconds)

    def predict(
        self, audio: NDArray[np.floating], rate: int, *, threshold: float | None = None, origin: str = "audio"
    ) -> Prediction:
        """Return tags, frame scores and events of a recording of any length.

        Recordings longer than the training clips are cut into windows of their length, which overlap by half. A frame
        score is the mean over all windows with the frame, a tag the maximum over windows. Shorter recordings are
        repeated to fill a window. Levels are not normalised. Frames of digital silence have a score of 0; windows of
        digital silence do not count for tags.

        Parameters
        ----------
        audio : (samples,) or (samples, channels), floats in [-1, 1]; channels are averaged.
        rate : sample rate in Hz.
        threshold : threshold of the clip and frame scores of all classes, in (0, 1]; by default the run's own, per
            class.
        origin : name of the audio in error messages.

        Raises
        ------
        InputError
            If there are no samples, or some are NaN or infinite.
        """
        return self.predict_features(self.extract_features(audio, rate, origin=origin), threshold)

    def extract_features(self, audio: NDArray[np.floating], rate: int, *, origin: str = "audio") -> Recording:
        """Return the input of the system for a recording; arguments and errors as for `predict`."""
        samples = prepare(audio, rate, self.rate, origin)
        window = self.model.config.frames
        original_frames = max(1, (len(samples) - self.features.n_fft) // self.features.hop_length + 1)
        window_samples = (window - 1) * self.features.hop_length + self.features.n_fft
        filled = samples if len(samples) >= window_samples else np.resize(samples, window_samples)
        spectrogram = logmel(filled, self.features, self.rate)
        clip = self.model.config.samples
        waveform = None if self.inputs == "logmel" else np.resize(samples, max(len(samples), clip))
        return Recording(spectrogram, original_frames, len(samples) / self.rate, waveform)

    def predict_features(self, recording: Recording, threshold: float | None = None) -> Prediction:
        """Return the prediction for the result of `extract_features`; `threshold` as for `predict`."""
        check_threshold(threshold)
        if recording.waveform is None:
            x, window = self.model.standardisation.apply(recording.logmel), self.model.config.frames
            step, recording_steps = self.logmel_frame_seconds, recording.original_frames
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
            detected=tuple(config.classes[k] for k in order if tags[k] >= tag_thresholds[k]),
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
        """Return the waveform of each class in a recording, separated with the system's maps as masks.

        The detected classes, those in `classes` and the background share each band of a frame by the odds of the maps.
        See `remixbench.dataset.masks` for the masks and waveforms.

        Parameters
        ----------
        audio, rate, origin : as for `predict`.
        classes : classes to return; by default those that `predict` detects.
        background : also return the recording minus these waveforms, as "background".

        Returns
        -------
        {class: (samples,)}, mono, at the sample rate of the recording.

        Raises
        ------
        InputError
            If a class is unknown, the system has no maps, or `predict` would refuse the audio.
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
        """Separate in blocks, so that memory does not grow with the number of classes; see `separate`.

        Returns
        -------
        The labels, and an iterator of blocks of their waveforms, (labels, samples).
        """
        self.check_separable(classes, background=background)
        samples = prepare(audio, rate, rate, origin)
        recording = self.extract_features(audio, rate, origin=origin)
        detected = self.predict_features(recording).detected
        labels = detected if classes is None else tuple(dict.fromkeys(classes))
        sharing = [*labels, *(label for label in detected if label not in labels)]
        masks = _SharedMasks(self, recording, [self.classes.index(label) for label in sharing], len(labels))

        def blocks() -> Iterator[NDArray[np.float32]]:
            start = 0
            for block in masked_blocks(samples, rate, masks, self.features, self.rate):
                part = samples[start : start + block.shape[1]]
                start += block.shape[1]
                yield np.concatenate([block, part[None] - block.sum(axis=0)]) if background else block

        return ((*labels, BACKGROUND) if background else labels), blocks()

    def check_separable(self, classes: Sequence[str] | None = None, *, background: bool = False) -> None:
        """Check that the system can separate `classes`."""
        for label in classes or ():
            if label not in self.classes:
                raise unknown("class", label, self.classes)
        if background and BACKGROUND in self.classes:
            raise InputError(f"'{BACKGROUND}' is a class of this system; leave --background out")
        config = self.model.config
        if self.inputs == "waveform":
            inputs = "embeddings" if config.embedding else "the waveform"
            raise InputError(f"the system '{config.name}' takes {inputs}; separation needs one that takes log-mel")
        if self.forward(np.zeros((config.frames, config.n_mels), np.float32)).tf_maps is None:
            raise InputError(
                f"the system '{config.name}' has no time-frequency maps to separate with; use a run of a system"
                " with maps, such as crnn-sep or gwrp"
            )

    def forward(self, clip: NDArray[np.float32]) -> Output:
        """Return the complete output for one clip, including attention and reconstruction.

        Parameters
        ----------
        clip : (frames, n_mels), log-mel as in a data set (not standardised), or (samples,) for systems on waveforms.

        Returns
        -------
        An `Output` for a batch of one, on the CPU.
        """
        config = self.model.config
        takes_logmel = self.inputs == "logmel"
        expected = (config.frames, config.n_mels) if takes_logmel else (config.samples,)
        if clip.shape != expected:
            actual_size, size = (" × ".join(map(str, shape)) for shape in (clip.shape, expected))
            kind, axes = ("log-mel", "frames × bands") if takes_logmel else ("waveform", "samples")
            raise InputError(f"{kind} of {actual_size} ({axes}), but the system was trained on {size}")
        values = np.asarray(clip, np.float32)
        x = torch.from_numpy(self.model.standardisation.apply(values) if takes_logmel else values).unsqueeze(0)
        with evaluating(self.network, reconstruct=True), exact_float32():
            output: Output = self.network(x.to(self.device))
        return Output._make(None if field is None else field.float().cpu() for field in output)

    def run_windows(
        self, x: NDArray[np.float32], window: int, starts: Sequence[int], *, maps: bool = False
    ) -> Iterator[tuple[int, Output]]:
        """Yield the outputs for batches of windows, each with the index of its first window in `starts`.

        Parameters
        ----------
        x : (time, ...), as the network takes it; padded at its end with its last step if the last window needs it.
        window : length of a window in steps.
        maps : whether maps are needed; `crnn-sep` computes none without.
        """
        if (missing := starts[-1] + window - len(x)) > 0:
            x = np.pad(x, ((0, missing), *[(0, 0)] * (x.ndim - 1)), mode="edge")
        for first in range(0, len(starts), WINDOWS):
            batch = torch.from_numpy(np.stack([x[start : start + window] for start in starts[first : first + WINDOWS]]))
            with evaluating(self.network, maps=maps), exact_float32():
                output: Output = self.network(batch.to(self.device))
            yield first, output

    def _windows(
        self, x: NDArray[np.float32], window: int, stride: float, silent: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return tags, (classes,), and frame scores, (frames, classes), of a recording of any length, (time, ...).

        Windows of `window` steps begin at multiples of `stride` steps, the step of the frame scores. `silent` marks
        steps of digital silence.
        """
        first_frames = window_starts(len(x), window, stride)
        starts = [round(frame * stride) for frame in first_frames]
        tags = np.zeros(len(self.classes), np.float32)
        total, times = np.zeros((0, len(self.classes)), np.float32), np.zeros((0, 1), np.float32)
        for first, output in self.run_windows(x, window, starts):
            clip_scores, frame_scores = (scores.float().cpu().numpy() for scores in output[:2])
            if not len(total):
                frames = first_frames[-1] + frame_scores.shape[1]
                total, times = np.zeros((frames, len(self.classes)), np.float32), np.zeros((frames, 1), np.float32)
            for k, scores in enumerate(frame_scores, start=first):
                total[first_frames[k] : first_frames[k] + len(scores)] += scores
                times[first_frames[k] : first_frames[k] + len(scores)] += 1
                if not silent[starts[k] : starts[k] + window].all():
                    tags = np.maximum(tags, clip_scores[k - first])
        averaged = (total / times).clip(0, 1)
        averaged[_silent_frames(silent, len(averaged), stride)] = 0
        return tags.clip(0, 1), averaged


class FromWaveform(nn.Module):
    """A system on embeddings as a network on waveforms, (batch, samples) at the training sample rate.

    Embeddings, and log-mel if the system takes it, are computed per clip.
    """

    def __init__(self, model: TrainedModel, encoder: PretrainedEncoder, device: torch.device) -> None:
        super().__init__()
        self.network = model.network
        self.model, self.encoder, self.device = model, encoder, device
        frame_seconds = getattr(model.network, "frame_seconds", None)
        if frame_seconds is not None:
            self.frame_seconds = frame_seconds
        encoder.to(device)

    def forward(self, waveforms: Tensor) -> Output:
        """Return the system's output."""
        config, model = self.model.config, self.model
        rate = config.mix.sample_rate
        clips = waveforms.cpu().numpy()
        resampled = np.stack([resample(clip, rate, self.encoder.sample_rate) for clip in clips])
        embeddings = self.encoder.encode(torch.from_numpy(resampled).to(self.device))
        scale = model.second_standardisation or model.standardisation
        mean, std = (torch.from_numpy(values).to(self.device) for values in (scale.mean, scale.std))
        inputs = [(embeddings - mean) / std]
        if model.second_standardisation is not None:  # it takes log-mel, too
            spectrograms = np.stack([logmel(clip, config.features, rate) for clip in clips])
            inputs.insert(0, torch.from_numpy(model.standardisation.apply(spectrograms)).to(self.device))
        output: Output = self.network(*inputs)
        return output


def encoder_of(config: ModelConfig) -> PretrainedEncoder | None:
    """Load the encoder that a system was trained with; return None if the system does not use embeddings.

    InputError if its code or weights are not those of the training.
    """
    if not spec(config.system).takes_embeddings or config.encoder is None:
        return None
    try:
        encoder = load_encoder(config.encoder.reference)
    except InputError as error:
        raise InputError(f"the run needs the encoder that it was trained with: {error}") from None
    if encoder.digest != config.encoder.digest:
        raise InputError(
            f"encoder '{encoder.name}' ({encoder.reference}): its code or weights are not those that the run was"
            f" trained with (digest {encoder.digest[:12]}, the run has {config.encoder.digest[:12]}); restore them,"
            " or train again"
        )
    return encoder


class _SharedMasks:
    """Masks of classes in a recording, computed on access, in order of time.

    Parameters
    ----------
    labels : columns of the classes that share each cell.
    count : return the masks of the first `count` of them.
    """

    def __init__(self, system: TrainedSystem, recording: Recording, labels: list[int], count: int) -> None:
        config = system.model.config
        x = system.model.standardisation.apply(recording.logmel)
        self.shape = (count, recording.original_frames, config.n_mels)
        self._labels, self._window = labels, config.frames
        self._starts = window_starts(len(x), self._window)
        self._outputs = system.run_windows(x, self._window, self._starts, maps=True)
        self._maps: dict[int, NDArray[np.float32]] = {}
        self._next = 0

    def __getitem__(self, index: tuple[slice, slice]) -> NDArray[np.float32]:
        """Return the masks of a range of frames, from maps averaged over all windows with the frame."""
        first, last = index[1].start, index[1].stop
        while self._next < len(self._starts) and self._starts[self._next] < last:
            _, output = next(self._outputs)
            assert output.tf_maps is not None  # see `check_separable`
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
    """Return the events in frame scores, (frames, classes), by onset; frame i begins at i · `frame_seconds`."""
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
    """Return which frames of a log-mel, (frames, n_mels), are digital silence; `offset` is `Features.offset`."""
    silent: NDArray[np.bool_] = (logmel <= np.log(offset) + 1e-3).all(axis=1)
    return silent


def window_starts(steps: int, window: int, stride: float = 1.0) -> list[int]:
    """Return the starts of windows that overlap by half and cover all steps, in frame scores of `stride` steps.

    The last window ends at the last step, or beyond it by less than a frame score.
    """
    last = math.ceil((steps - window) / stride - 1e-6)
    starts = list(range(0, last + 1, max(1, int(window // 2 / stride))))
    return starts if starts[-1] == last else [*starts, last]


def _silent_frames(silent: NDArray[np.bool_], frames: int, stride: float) -> NDArray[np.bool_]:
    """Return which frame scores, of `stride` steps each, cover only silent steps."""
    edges = np.rint(np.arange(frames + 1) * stride).astype(np.int64).clip(max=len(silent))
    counted = np.concatenate([[0], np.cumsum(silent)])
    length = np.diff(edges)
    silent_frames: NDArray[np.bool_] = (length > 0) & (np.diff(counted[edges]) == length)
    return silent_frames


def check_threshold(threshold: float | None) -> None:
    """Refuse a threshold that is not in (0, 1]; None stands for the run's own."""
    if threshold is not None and not (isinstance(threshold, int | float | np.number) and 0 < threshold <= 1):
        raise InputError(f"--threshold {threshold}: expected a number above 0, at most 1")


def load_system(run: str | Path, *, device: str = "cpu") -> TrainedSystem:
    """Load the system of a finished run. No code in the run's files is executed.

    The package or file of a third-party system must be unchanged since the training.

    Parameters
    ----------
    run : folder of the run, as returned by `train`.
    device : auto, cpu, cuda, cuda:N or mps.

    Raises
    ------
    InputError
        If the folder is not a run, the run is not done, or its files are broken or of different runs.
    """
    folder = as_path(run, "run")
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
"""A second axis longer than this, and longer than the first, must be time."""
LOUDEST = 100.0
"""Float recordings may exceed 1 slightly; samples above this were not scaled."""


def prepare(audio: NDArray[np.floating], rate: int, target_rate: int, origin: str) -> NDArray[np.float32]:
    """Convert audio, (samples,) or (samples, channels), to mono at the rate `target_rate` in Hz, resampled by soxr HQ.

    InputError, which names `origin`, for what is not audio.
    """
    is_audio = isinstance(audio, np.ndarray) and audio.ndim in (1, 2) and audio.size and audio.dtype.kind == "f"
    if not is_audio or (audio.ndim == 2 and audio.shape[1] > max(audio.shape[0], MANY_CHANNELS)):
        kind = f"{audio.dtype} of {audio.shape}" if isinstance(audio, np.ndarray) else type(audio).__name__
        raise InputError(
            f"{origin}: expected an array of floats in [-1, 1], (samples,) or (samples, channels); found {kind}"
        )
    if not (isinstance(rate, int | float | np.number) and 1 <= rate < np.inf):
        raise InputError(f"{origin}: a rate of {rate} Hz, expected 1 or more")
    peak = float(np.abs(audio).max())
    if not peak <= LOUDEST:  # false for NaN, too
        problem = f"samples of {peak:g}" if np.isfinite(peak) else "NaN or infinite samples"
        raise InputError(f"{origin}: holds {problem}, expected -1 to 1; repair the recording, or leave it out")
    mono = np.asarray(audio, np.float32) if audio.ndim == 1 else audio.mean(axis=1, dtype=np.float32)
    resampled = resample(mono, rate, target_rate)
    if not len(resampled):
        raise InputError(f"{origin}: too short to be resampled from {rate} to {target_rate} Hz")
    return np.ascontiguousarray(resampled, np.float32)
