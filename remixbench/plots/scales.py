"""Physical axes of a log-mel spectrogram: seconds of frames, hertz of mel bands, decibels of values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from remixbench.recipe import Features, Mix, Recipe

DB_PER_NEPER = 20 / np.log(10)
"""Log-mel is the natural logarithm of a magnitude; times this it is decibels."""
_ROUND_HERTZ = (50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000, 32000)


@dataclass(frozen=True)
class Scales:
    """The axes of a recipe's log-mel.

    Attributes
    ----------
    duration : seconds of a clip
    frame_seconds : distance of two frames
    first_centre : seconds from the clip's start to the middle of the first frame's window
    frames, n_mels : size of a spectrogram
    fmin, fmax : hertz, lower edge of the lowest band and upper edge of the highest
    start : second of the recording at which the clip begins; the axis of time counts in the recording
    """

    duration: float
    frame_seconds: float
    first_centre: float
    frames: int
    n_mels: int
    fmin: float
    fmax: float
    start: float = 0.0

    @staticmethod
    def of(recipe: Recipe) -> Scales:
        """Return the axes of a recipe."""
        return Scales.of_frames(recipe.frames, recipe.features, recipe.mix)

    @staticmethod
    def of_frames(frames: int, features: Features, mix: Mix, start: float = 0.0) -> Scales:
        """Return the axes of a clip of so many frames that begins `start` seconds after its recording."""
        return Scales(
            duration=mix.samples / mix.sample_rate,
            frame_seconds=features.hop_length / mix.sample_rate,
            first_centre=features.n_fft / 2 / mix.sample_rate,
            frames=frames,
            n_mels=features.n_mels,
            fmin=features.fmin,
            fmax=features.fmax,
            start=start,
        )

    @property
    def span(self) -> tuple[float, float]:
        """Seconds from the left edge of the first frame to the right edge of the last.

        A frame is drawn around the middle of its window, one hop wide: frame i's window covers the samples from
        i · hop to i · hop + window, so drawing it from i · hop on would show everything half a window too early.
        """
        left = self.start + self.first_centre - self.frame_seconds / 2
        return left, left + self.frames * self.frame_seconds

    def centres(self) -> NDArray[np.float64]:
        """Return the second at the middle of every frame's window, (frames,)."""
        return self.start + self.first_centre + self.frame_seconds * np.arange(self.frames, dtype=np.float64)

    def hold(self, frame_scores: NDArray[np.float32], frame_seconds: float) -> NDArray[np.float32]:
        """Return frame scores (..., frames, classes) that are `frame_seconds` apart on the frames of these axes.

        Each is held until the next begins, the last until the end.
        """
        begins = np.arange(self.frames) * self.frame_seconds
        places = np.floor(begins / frame_seconds + 1e-6).astype(np.intp)
        held: NDArray[np.float32] = frame_scores[..., np.minimum(places, frame_scores.shape[-2] - 1), :]
        return held

    def band_of(self, hertz: ArrayLike) -> NDArray[np.float64]:
        """Return where frequencies lie on the axis of bands; a whole number k is the centre of band k.

        The bands' centres divide the range from fmin to fmax, in mel (Slaney), into bands + 1 equal steps.
        """
        import librosa

        low, high = librosa.hz_to_mel(self.fmin), librosa.hz_to_mel(self.fmax)
        at = (librosa.hz_to_mel(np.asarray(hertz, dtype=float)) - low) / (high - low)
        return np.asarray(at * (self.n_mels + 1) - 1, dtype=np.float64)

    def ticks(self) -> tuple[NDArray[np.float64], list[str]]:
        """Return round frequencies that lie on the axis: places, and names such as '500' and '2k'."""
        hertz = [f for f in _ROUND_HERTZ if -0.5 <= self.band_of(f) <= self.n_mels - 0.5]
        apart = [f for f in hertz if f != 200]  # so low the mel scale is linear, and 100, 200 would touch
        return self.band_of(apart), [f"{f / 1000:g}k" if f >= 1000 else str(f) for f in apart]
