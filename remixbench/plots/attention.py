"""Figure 2 of Deshmukh, Raj and Singh (2021) for any system: what a network computes from one clip, in eight panels.

(a) log-mel, (b) its reconstruction, (c) to (e) the frequency attention of the three most probable classes, (f) the
score of every class in every frame, (g) how much each frame counts, (h) the scores of the clip. Panels that a
system has nothing for are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from remixbench.plots import panels
from remixbench.plots.activations import Activations, Array
from remixbench.plots.clip import Bar
from remixbench.plots.scales import DB_PER_NEPER, Scales
from remixbench.plots.style import ACCENT, FAINT, INK, SCORE, SPECTRUM, WEIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

SHOWN_CLASSES = 3
MOST_CLASSES = 60
"""Of more classes than this only so many as can be read are shown, the highest scores and the reference's."""
KEPT_CLASSES = 40
PER_CLASS = 0.086
"""Inches of a line of the panels of classes."""
UPPER_ROWS = (1.6, 1.65)
AROUND = 0.85
"""Inches around the lines of the panels of classes."""
WEIGHT_NAME, LEVEL_NAME = "Weight (1 = even)", "Magnitude (dB)"

SCORE_AXES = (0.1, 0.2, 0.5, 1.0)
"""Where the axis of clip scores may end."""


class ClipLike(Protocol):
    """What the panels need to know about a clip: a `ClipView` provides it, and so does a window of any recording."""

    @property
    def logmel(self) -> Array:
        """(frames, n_mels), natural logarithm."""

    @property
    def scales(self) -> Scales:
        """The axes of the log-mel."""

    @property
    def bars(self) -> Sequence[Bar] | None:
        """The reference, by onset; None where there is none."""

    @property
    def labels(self) -> Sequence[str]:
        """The classes of the reference, each once."""

    @property
    def detected(self) -> Sequence[Bar]:
        """Events of the prediction, to be outlined where there is no reference."""


def attention_height(activations: Activations, classes: Sequence[str]) -> float:
    """Return the height in inches that the picture of a system's activations needs."""
    return sum(_row_heights(activations, classes))


def draw_attention(
    figure: Figure, view: ClipLike, activations: Activations, classes: Sequence[str], title: str
) -> None:
    """Draw the panels into an empty figure of `attention_height`; those that the system cannot fill are left out."""
    figure.suptitle(title, fontsize=8.5, x=0.01, ha="left")
    heights = _row_heights(activations, classes)
    rows: Any = np.atleast_1d(np.array(figure.subfigures(len(heights), 1, height_ratios=heights)))
    _spectrograms(rows[0], view, activations)
    if len(rows) == 3:
        _attended(rows[1], view, activations, classes)
    _by_class(rows[-1], view, activations, classes)


def _row_heights(activations: Activations, classes: Sequence[str]) -> list[float]:
    """Return the height of each row in inches; only a system with attention or class maps has the middle one."""
    shown = len(classes) if len(classes) <= MOST_CLASSES else KEPT_CLASSES
    middle = [] if _band_values(activations) is None else [UPPER_ROWS[1]]
    return [UPPER_ROWS[0], *middle, AROUND + PER_CLASS * max(10, shown)]


def _band_values(activations: Activations) -> Array | None:
    """Return what a system has for each class and band, (classes, frames, n_mels): attention, else class maps."""
    return activations.tf_maps if activations.frequency_attention is None else activations.frequency_attention


def shown_classes(scores: Array, classes: Sequence[str], reference: Sequence[str]) -> list[int]:
    """Return which classes the lower panels show, in the order of the data set: all, where they can be read."""
    if len(classes) <= MOST_CLASSES:
        return list(range(len(classes)))
    must = [k for k, label in enumerate(classes) if label in reference]
    rest = [int(k) for k in np.argsort(-scores, kind="stable") if k not in must]
    return sorted([*must, *rest][: max(KEPT_CLASSES, len(must))])


def _spectrograms(figure: Any, view: ClipLike, activations: Activations) -> None:
    row = figure.subplots(1, 1 if activations.reconstruction is None else 2, squeeze=False)[0]
    image = panels.spectrogram(row[0], view.logmel, view.scales)
    row[0].set_title("(a) Log-mel spectrogram")
    _colorbar(figure, image, list(row), LEVEL_NAME)
    if activations.reconstruction is not None:
        panels.bands_image(row[1], activations.reconstruction * DB_PER_NEPER, view.scales, SPECTRUM, *image.get_clim())
        row[1].set_title("(b) Reconstruction")
        row[1].set_ylabel("")
    for axes in row:
        panels.time_axis(axes, view.scales)


def _attended(figure: Any, view: ClipLike, activations: Activations, classes: Sequence[str]) -> None:
    """Draw the frequency attention of the most probable classes, or the class maps of a system without attention."""
    every = _band_values(activations)
    assert every is not None
    best = [int(k) for k in np.argsort(-activations.clip_scores, kind="stable")[:SHOWN_CLASSES]]
    row = figure.subplots(1, len(best), squeeze=False)[0]
    what, unit, colours, values = "Class map", "Score", SCORE, every[best]
    if activations.frequency_attention is not None:
        what, unit, colours, values = "Frequency attention", WEIGHT_NAME, WEIGHT, values * view.scales.n_mels
    for place, (axes, k) in enumerate(zip(row, best, strict=True)):
        true = "" if view.bars is None else ", in the clip" if classes[k] in view.labels else ", not in the clip"
        axes.set_title(f"({'cde'[place]}) {what}\n{panels.readable(classes[k])} {activations.clip_scores[k]:.2f}{true}")
        image = panels.bands_image(axes, values[place], view.scales, colours, 0.0, float(values.max()))
        panels.time_axis(axes, view.scales)
        if place:
            axes.set_ylabel("")
    _colorbar(figure, image, list(row), unit)


def _by_class(figure: Any, view: ClipLike, activations: Activations, classes: Sequence[str]) -> None:
    kept = shown_classes(activations.clip_scores, classes, view.labels)
    labels = [classes[k] for k in kept]
    raw, attention = activations.raw_frame_scores, activations.time_attention
    widths = [1.0, *([] if raw is None else [0.6]), *([] if attention is None else [1.0]), 0.62]
    row = figure.subplots(1, len(widths), width_ratios=widths)
    frames, clip = row[0], row[-1]
    image = panels.classes_image(frames, activations.frame_scores[:, kept], view.scales, SCORE, 0.0, None)
    panels.outlines(frames, _outlined(view), labels)
    panels.time_axis(frames, view.scales)
    frames.set_title("(f) Frame scores" if raw is None else "(f) Frame scores, oriented")
    _class_names(frames, view, labels)
    _colorbar(figure, image, frames, "Score", below=True)
    if raw is not None:
        image = panels.classes_image(row[1], raw[:, kept], view.scales, SCORE, 0.0, None)
        panels.outlines(row[1], _outlined(view), labels)
        panels.time_axis(row[1], view.scales)
        row[1].set_yticks([])
        row[1].set_title("First step, raw")
        _colorbar(figure, image, row[1], "Score", below=True)
    if attention is not None:
        weights = row[-2]
        even = attention[kept].T * view.scales.frames
        image = panels.classes_image(weights, even, view.scales, WEIGHT, 0.0, None)
        panels.outlines(weights, _outlined(view), labels)
        panels.time_axis(weights, view.scales)
        weights.set_yticks([])
        weights.set_title("(g) Time attention")
        _colorbar(figure, image, weights, WEIGHT_NAME, below=True)
    _clip_scores(clip, view, activations.clip_scores[kept], labels)


def _outlined(view: ClipLike) -> Sequence[Bar]:
    return view.detected if view.bars is None else view.bars


def _colorbar(figure: Any, image: AxesImage, axes: Any, name: str, *, below: bool = False) -> None:
    place = (
        {"location": "bottom", "pad": 0.012, "aspect": 28, "fraction": 0.03}
        if below
        else {"pad": 0.01, "aspect": 14, "fraction": 0.03}
    )
    figure.colorbar(image, ax=axes, label=name, **place)


def _class_names(axes: Axes, view: ClipLike, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [panels.readable(label) for label in labels], fontsize=5.8)
    axes.tick_params(axis="y", length=1.5)
    for text, label in zip(axes.get_yticklabels(), labels, strict=True):
        if label in view.labels:
            text.set_fontweight("bold")


def _clip_scores(axes: Axes, view: ClipLike, scores: Array, labels: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    true = [view.bars is None or label in view.labels for label in labels]
    axes.barh(range(len(labels)), scores, height=0.72, color=[ACCENT if each else FAINT for each in true], linewidth=0)
    axes.set_xlim(0, next(end for end in SCORE_AXES if end >= scores.max()))
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel("Score")
    axes.set_title("(h) Clip scores")
    axes.grid(axis="x", color=FAINT, alpha=0.35, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.set_yticks([])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    handles = [Patch(facecolor="white", edgecolor=INK, linewidth=0.8, label="detected event")]
    if view.bars is not None:
        handles = [
            Patch(facecolor=ACCENT, label="in the clip"),
            Patch(facecolor=FAINT, label="not in the clip"),
            Patch(facecolor="white", edgecolor=INK, linewidth=0.8, label="reference event"),
        ]
    legend = axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(-0.05, -0.11), fontsize=6, frameon=False,
        handlelength=1.2, handleheight=0.8, labelspacing=0.25, borderaxespad=0,
    )  # fmt: skip
    legend.set_in_layout(False)  # it stands where the colour bars of the other panels are
