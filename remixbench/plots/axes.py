"""Physical axes of a log-mel spectrogram, and the panels drawn on them.

`Scales` converts frames to seconds, mel bands to Hz and values to dB; each drawing function takes one `Axes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from remixbench.dataset.features import load_librosa
from remixbench.plots.style import ACCENT, FAINT, INK, SECOND, SPECTRUM
from remixbench.recipe import Features, Mix, Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from remixbench.plots.view import Bar, ClipView

DB_PER_NEPER = 20 / np.log(10)
"""Converts log-mel, the natural logarithm of a magnitude, to dB."""
LEVEL_SECONDS = 0.1
"""Length of the intervals of RMS levels."""
QUIETEST_DB = -90.0
COLUMNS = 1200
"""Number of intervals whose minimum and maximum represent a waveform, about the resolution of print."""
SHOWN_DB = 80.0
"""Dynamic range of a spectrogram below its loudest bin, in dB."""
_ROUND_HERTZ = (50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000, 32000)


@dataclass(frozen=True)
class Scales:
    """The axes of a recipe's log-mel.

    Attributes
    ----------
    duration : duration of a clip in seconds
    frame_seconds : hop in seconds
    first_centre : centre of the first window in seconds after the start of the clip
    frames, n_mels : size of a spectrogram
    fmin, fmax : lower edge of the lowest band and upper edge of the highest, in Hz
    """

    duration: float
    frame_seconds: float
    first_centre: float
    frames: int
    n_mels: int
    fmin: float
    fmax: float

    @staticmethod
    def of(recipe: Recipe) -> Scales:
        """Return the axes of a recipe's clips."""
        return Scales.of_frames(recipe.frames, recipe.features, recipe.mix)

    @staticmethod
    def of_frames(frames: int, features: Features, mix: Mix) -> Scales:
        """Return the axes of a clip of `frames` frames."""
        return Scales(
            duration=mix.samples / mix.sample_rate,
            frame_seconds=features.hop_length / mix.sample_rate,
            first_centre=features.n_fft / 2 / mix.sample_rate,
            frames=frames,
            n_mels=features.n_mels,
            fmin=features.fmin,
            fmax=features.fmax,
        )

    @property
    def span(self) -> tuple[float, float]:
        """Left edge of the first frame and right edge of the last, in seconds.

        A frame is drawn one hop wide around the centre of its window. Its window covers the samples from
        i · hop_length to i · hop_length + n_fft, so drawn from i · hop_length it would be half a window too early.
        """
        left = self.first_centre - self.frame_seconds / 2
        return left, left + self.frames * self.frame_seconds

    def hold(self, frame_scores: NDArray[np.float32], frame_seconds: float) -> NDArray[np.float32]:
        """Resample frame scores, (..., frames, classes), with a step of `frame_seconds` to the frames of these axes.

        Each score is held until the next, the last until the end.
        """
        starts = np.arange(self.frames) * self.frame_seconds
        indices = np.floor(starts / frame_seconds + 1e-6).astype(np.intp)
        scores: NDArray[np.float32] = frame_scores[..., np.minimum(indices, frame_scores.shape[-2] - 1), :]
        return scores

    def band_of(self, hertz: ArrayLike) -> NDArray[np.float64]:
        """Convert frequencies to (fractional) mel bands; k is the centre of band k.

        The centres divide the range from fmin to fmax, in mel (Slaney), into n_mels + 1 equal steps.
        """
        librosa = load_librosa()
        low, high = librosa.hz_to_mel(self.fmin), librosa.hz_to_mel(self.fmax)
        fraction = (librosa.hz_to_mel(np.asarray(hertz, dtype=float)) - low) / (high - low)
        return np.asarray(fraction * (self.n_mels + 1) - 1, dtype=np.float64)

    def ticks(self) -> tuple[NDArray[np.float64], list[str]]:
        """Return ticks at round frequencies: bands, and labels such as '500' and '2k'."""
        hertz = [f for f in _ROUND_HERTZ if -0.5 <= self.band_of(f) <= self.n_mels - 0.5]
        hertz = [f for f in hertz if f != 200]  # its label would touch that of 100
        return self.band_of(hertz), [f"{f / 1000:g}k" if f >= 1000 else str(f) for f in hertz]


def readable(label: str) -> str:
    """Return a class label with spaces instead of underscores."""
    return label.replace("_", " ")


def time_axis(axes: Axes, scales: Scales, *, named: bool = True) -> None:
    """Set the limits of the time axis to the clip, in seconds; `named` labels it."""
    axes.set_xlim(0, scales.duration)
    if named:
        axes.set_xlabel("Time (s)")
    else:
        axes.tick_params(labelbottom=False)


def waveform(axes: Axes, view: ClipView) -> None:
    """Draw the mixture as an envelope of sample values over time."""
    low, high = envelope(view.samples, COLUMNS)
    seconds = (np.arange(len(low)) + 0.5) * view.scales.duration / len(low)
    axes.fill_between(seconds, low, high, color=INK, linewidth=0, step="mid")
    largest = 1.05 * max(float(np.abs(view.samples).max()), 1e-3)
    axes.set_ylim(-largest, largest)
    axes.set_ylabel("Amplitude")


def envelope(samples: NDArray[np.float32], columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the minimum and maximum of each of (at most) `columns` intervals of a signal."""
    starts = np.linspace(0, len(samples), min(columns, len(samples)), endpoint=False).astype(int)
    return np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)


def levels(axes: Axes, view: ClipView) -> None:
    """Draw the level over time: of events and scene if there are stems, else of the mixture."""
    curves = [(view.samples, "mixture", INK, "-")]
    if view.stems is not None:
        curves = [(view.stems[1], "scene", SECOND, "-"), (view.stems[0], "events", ACCENT, "-")]
    size = max(1, round(LEVEL_SECONDS * view.rate))
    for samples, name, colour, line in curves:
        level = short_levels(samples, size)
        seconds = (np.arange(len(level)) + 0.5) * size / view.rate
        axes.plot(seconds, level, line, color=colour, label=name)
    axes.set_ylabel("Level (dB FS)")
    axes.grid(axis="y", color=FAINT, alpha=0.35, linewidth=0.4)
    axes.legend(loc="upper right", ncols=2, fontsize=6, framealpha=0.85, borderpad=0.3, handlelength=1.4)


def short_levels(samples: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    """Return the RMS level of intervals of `size` samples, in dB relative to a full-scale square wave.

    NaN below -90 dB, so that silence is a gap in the curve.
    """
    intervals = samples[: len(samples) // size * size].astype(np.float64).reshape(-1, size)
    power = np.mean(intervals**2, axis=1)
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 1e-30))
    return np.where(level < QUIETEST_DB, np.nan, level)


def bands_image(
    axes: Axes, values: NDArray[Any], scales: Scales, colours: str, low: float | None, high: float | None
) -> AxesImage:
    """Draw values, (frames, n_mels), over time and frequency; `low` and `high` limit the colour scale."""
    left, right = scales.span
    image = axes.imshow(
        values.T, cmap=colours, vmin=low, vmax=high, aspect="auto", origin="lower",
        extent=(left, right, -0.5, scales.n_mels - 0.5),
    )  # fmt: skip
    axes.set_yticks(*scales.ticks())
    axes.set_ylabel("Frequency (Hz)")
    return image


def spectrogram(axes: Axes, logmel: NDArray[np.float32], scales: Scales, top: float | None = None) -> AxesImage:
    """Draw a log-mel spectrogram, (frames, n_mels), in dB; `top` is the upper limit of the colour scale in dB."""
    decibels = logmel * DB_PER_NEPER
    loudest = float(decibels.max()) if top is None else top
    return bands_image(axes, decibels, scales, SPECTRUM, max(float(decibels.min()), loudest - SHOWN_DB), loudest)


def events(axes: Axes, bars: Sequence[Bar], scales: Scales) -> None:
    """Draw the reference events: a line per class, a bar per event, with target and achieved SNR."""
    labels = list(dict.fromkeys(bar.label for bar in bars))
    for bar in bars:
        line = labels.index(bar.label)
        axes.barh(line, bar.offset - bar.onset, left=bar.onset, height=0.62, color=ACCENT, linewidth=0)
        if bar.achieved is not None:
            target = f" (target {bar.target:g})" if bar.target is not None else ""
            right = scales.duration - bar.offset > 0.25 * scales.duration
            axes.annotate(
                f"SNR {bar.achieved:+.1f} dB{target}",
                (bar.offset if right else bar.onset, line),
                xytext=(3 if right else -3, 0),
                textcoords="offset points",
                ha="left" if right else "right",
                va="center",
                fontsize=6,
            )
    axes.set_yticks(range(len(labels)), [readable(label) for label in labels])
    axes.set_ylim(max(len(labels), 1) - 0.5, -0.5)
    axes.grid(axis="x", color=FAINT, alpha=0.35, linewidth=0.4)
    axes.set_axisbelow(True)


def classes_image(
    axes: Axes, values: NDArray[Any], scales: Scales, colours: str, low: float, high: float | None
) -> AxesImage:
    """Draw values, (frames, classes), over time, a line per class, the first on top."""
    left, right = scales.span
    count = values.shape[1]
    return axes.imshow(
        values.T, cmap=colours, vmin=low, vmax=high, aspect="auto", origin="upper",
        extent=(left, right, count - 0.5, -0.5),
    )  # fmt: skip


def outlines(axes: Axes, bars: Sequence[Bar], labels: Sequence[str]) -> None:
    """Outline events in a panel of classes over time."""
    from matplotlib.patches import Rectangle

    for bar in bars:
        if bar.label in labels:
            corner = (bar.onset, labels.index(bar.label) - 0.5)
            for colour, width in (("black", 1.6), ("white", 0.8)):  # visible on dark and on bright backgrounds
                axes.add_patch(
                    Rectangle(corner, bar.offset - bar.onset, 1, fill=False, edgecolor=colour, linewidth=width)
                )
