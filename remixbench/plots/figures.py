"""The figures: a clip, the outputs of a network for it, the classes separated from it, and any recording.

`draw_activations` is Figure 2 of Deshmukh, Raj and Singh (2021) for any system: log-mel, reconstruction, frequency
attention of the three most probable classes, frame scores, time attention and clip scores. Panels without an output of
the system are omitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np

from remixbench.dataset.features import logmel
from remixbench.plots import axes as panels
from remixbench.plots.axes import DB_PER_NEPER, Scales
from remixbench.plots.style import ACCENT, FAINT, INK, SCORE, SPECTRUM, WEIGHT, sheet, write_figure
from remixbench.plots.view import Activations, Array, Bar, ClipView, View, from_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from remixbench.inference.system import Prediction, Recording, TrainedSystem

OVERVIEW_HEIGHTS = (0.75, 1.75, 0.95)
"""Heights in inches of waveform, log-mel and levels in the figure of a clip."""
EVENT_LINE = 0.24
"""Inches per class in the panel of reference events."""
TOP_CLASSES = 3
"""Number of classes whose frequency attention or map is drawn."""
READABLE_CLASSES = 60
"""With more classes than this, only `KEPT_CLASSES` are drawn: those of the reference, and the highest scores."""
KEPT_CLASSES = 40
CLASS_LINE = 0.086
"""Inches per class in the panels of classes."""
SPECTRUM_HEIGHT, MAP_HEIGHT, CLASS_MARGIN = 1.6, 1.65, 0.85
"""Heights in inches of the rows of spectrograms and class maps, and margin of the panels of classes."""
SCORE_LIMITS = (0.1, 0.2, 0.5, 1.0)
"""Possible upper limits of the axis of clip scores."""
SEPARATED_PANEL = 1.15
"""Height in inches of a panel of a separated clip."""
SEPARATED_CLASSES = 6
"""Largest number of separated classes drawn: those of the clip, then those detected."""
WEIGHT_LABEL, MAGNITUDE_LABEL = "Weight (1 = even)", "Magnitude (dB)"


def draw_clip(view: ClipView, title: str, target: Path) -> None:
    """Draw a clip: waveform, log-mel, reference events and levels on one time axis."""
    events_height = EVENT_LINE * max(2, len(view.labels))
    with sheet(sum(OVERVIEW_HEIGHTS) + events_height + 1.0) as figure:
        heights = [*OVERVIEW_HEIGHTS[:2], events_height, OVERVIEW_HEIGHTS[2]]
        rows = figure.subplots(4, 1, sharex=True, gridspec_kw={"height_ratios": heights})
        _title(figure, title)
        panels.waveform(rows[0], view)
        rows[0].set_title("(a) Waveform")
        image = panels.spectrogram(rows[1], view.logmel, view.scales)
        rows[1].set_title("(b) Log-mel spectrogram")
        figure.colorbar(image, ax=rows[1], label=MAGNITUDE_LABEL, pad=0.01, fraction=0.03, aspect=16)
        panels.events(rows[2], view.bars, view.scales)
        rows[2].set_title("(c) Reference events with their SNR")
        panels.levels(rows[3], view)
        rows[3].set_title(f"(d) Level over {panels.LEVEL_SECONDS * 1000:g} ms")
        for axes in rows[:3]:
            panels.time_axis(axes, view.scales, named=False)
        panels.time_axis(rows[3], view.scales)
        figure.align_ylabels([rows[0], rows[1], rows[3]])
        write_figure(figure, target)


def _title(figure: Figure, title: str) -> None:
    figure.suptitle(title, fontsize=8.5, x=0.01, ha="left")


def draw_activations(view: View, activations: Activations, classes: Sequence[str], title: str, target: Path) -> None:
    """Draw the outputs of a network for a clip, omitting panels that the system has no output for.

    The log-mel is above the frame scores, and the reconstruction above the time attention, on the same time axes.
    """
    kept = shown_classes(activations.clip_scores, classes, view.labels)
    maps = activations.tf_maps if activations.frequency_attention is None else activations.frequency_attention
    columns = {"frames": 1.0, "attention": 1.0, "raw": 0.6, "clip": 0.62}  # panels of classes, and relative widths
    if activations.raw_frame_scores is None:
        del columns["raw"]
    if activations.time_attention is None:
        del columns["attention"]
    heights = [
        SPECTRUM_HEIGHT,
        *([] if maps is None else [MAP_HEIGHT]),
        CLASS_MARGIN + CLASS_LINE * max(10, len(kept)),
    ]
    letters = iter(ascii_lowercase)
    with sheet(sum(heights)) as figure:
        _title(figure, title)
        grid = figure.add_gridspec(
            len(heights), len(columns), height_ratios=heights, width_ratios=list(columns.values())
        )
        top = [figure.add_subplot(grid[0, 0])]
        if activations.reconstruction is not None:
            right = slice(1, 2) if activations.time_attention is not None else slice(1, None)
            top.append(figure.add_subplot(grid[0, right]))
        _spectrograms(figure, top, view, activations, letters)
        if maps is not None:
            best = [int(k) for k in np.argsort(-activations.clip_scores, kind="stable")[:TOP_CLASSES]]
            row = grid[1, :].subgridspec(1, len(best))
            axes = [figure.add_subplot(row[0, column]) for column in range(len(best))]
            _top_classes(figure, axes, view, activations, maps, best, classes, letters)
        lower = {name: figure.add_subplot(grid[-1, column]) for column, name in enumerate(columns)}
        _classes(figure, lower, view, activations, kept, [classes[k] for k in kept], letters)
        _legend(figure, view)
        write_figure(figure, target)


def shown_classes(scores: Array, classes: Sequence[str], reference: Sequence[str]) -> list[int]:
    """Return the classes of the lower panels, in the order of the data set: all, unless there are too many to read."""
    if len(classes) <= READABLE_CLASSES:
        return list(range(len(classes)))
    required = [k for k, label in enumerate(classes) if label in reference]
    by_score = [int(k) for k in np.argsort(-scores, kind="stable") if k not in required]
    return sorted([*required, *by_score][: max(KEPT_CLASSES, len(required))])


def _spectrograms(
    figure: Figure, row: Sequence[Axes], view: View, activations: Activations, letters: Iterator[str]
) -> None:
    image = panels.spectrogram(row[0], view.logmel, view.scales)
    row[0].set_title(f"({next(letters)}) Log-mel spectrogram")
    if activations.reconstruction is not None:
        panels.bands_image(row[1], activations.reconstruction * DB_PER_NEPER, view.scales, SPECTRUM, *image.get_clim())
        row[1].set_title(f"({next(letters)}) Reconstruction")
        row[1].set_ylabel("")
    for axes in row:
        panels.time_axis(axes, view.scales)
    _colorbar(figure, image, row[-1:], MAGNITUDE_LABEL)


def _top_classes(
    figure: Figure,
    row: Sequence[Axes],
    view: View,
    activations: Activations,
    maps: Array,
    best: Sequence[int],
    classes: Sequence[str],
    letters: Iterator[str],
) -> None:
    """Draw the frequency attention of the most probable classes, or the class maps of a system without attention."""
    kind, unit, colours, values = "Class map", "Score", SCORE, maps[list(best)]
    if activations.frequency_attention is not None:
        kind, unit, colours, values = "Frequency attention", WEIGHT_LABEL, WEIGHT, values * view.scales.n_mels
    for index, (axes, k) in enumerate(zip(row, best, strict=True)):
        presence = "" if view.bars is None else ", in the clip" if classes[k] in view.labels else ", not in the clip"
        name = f"{panels.readable(classes[k])} {activations.clip_scores[k]:.2f}{presence}"
        axes.set_title(f"({next(letters)}) {kind}\n{name}")
        image = panels.bands_image(axes, values[index], view.scales, colours, 0.0, float(values.max()))
        panels.time_axis(axes, view.scales)
        if index:
            axes.set_ylabel("")
    _colorbar(figure, image, row, unit)


def _classes(
    figure: Figure,
    axes_of: dict[str, Axes],
    view: View,
    activations: Activations,
    kept: Sequence[int],
    labels: Sequence[str],
    letters: Iterator[str],
) -> None:
    """Draw the panels with a line per class: frame scores, raw scores, time attention, clip scores."""
    raw, attention = activations.raw_frame_scores, activations.time_attention
    contents = {
        "frames": (activations.frame_scores, SCORE, "Frame scores" if raw is None else "Frame scores, oriented"),
        "attention": (None if attention is None else attention.T * view.scales.frames, WEIGHT, "Time attention"),
        "raw": (raw, SCORE, "First step, raw"),
    }
    for name, (values, colours, heading) in contents.items():
        if values is None:
            continue
        axes = axes_of[name]
        image = panels.classes_image(axes, values[:, list(kept)], view.scales, colours, 0.0, None)
        panels.outlines(axes, view.detected if view.bars is None else view.bars, labels)
        panels.time_axis(axes, view.scales)
        axes.set_title(f"({next(letters)}) {heading}")
        axes.set_yticks([])
        _colorbar(figure, image, [axes], WEIGHT_LABEL if name == "attention" else "Score", below=True)
    names = axes_of["frames"]
    names.set_yticks(range(len(labels)), [panels.readable(label) for label in labels], fontsize=5.8)
    names.tick_params(axis="y", length=1.5)
    for text, label in zip(names.get_yticklabels(), labels, strict=True):
        if label in view.labels:
            text.set_fontweight("bold")
    _clip_scores(axes_of["clip"], view, activations.clip_scores[list(kept)], labels)
    axes_of["clip"].set_title(f"({next(letters)}) Clip scores")


def _colorbar(figure: Figure, image: AxesImage, axes: Sequence[Axes], name: str, *, below: bool = False) -> None:
    placement: dict[str, Any] = {"pad": 0.01, "aspect": 14, "fraction": 0.03}
    if below:
        placement = {"location": "bottom", "pad": 0.012, "aspect": 28, "fraction": 0.03}
    bar = figure.colorbar(image, ax=list(axes), label=name, **placement)
    if below:
        bar.ax.locator_params(axis="x", nbins=3)


def _clip_scores(axes: Axes, view: View, scores: Array, labels: Sequence[str]) -> None:
    colours = [ACCENT if view.bars is None or label in view.labels else FAINT for label in labels]
    axes.barh(range(len(labels)), scores, height=0.72, color=colours, linewidth=0)
    axes.set_xlim(0, next((limit for limit in SCORE_LIMITS if limit >= scores.max()), SCORE_LIMITS[-1]))
    axes.locator_params(axis="x", nbins=3)
    axes.set_xlabel("Score")
    axes.grid(axis="x", color=FAINT, alpha=0.35, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.set_yticks([])
    axes.set_ylim(len(labels) - 0.5, -0.5)


def _legend(figure: Figure, view: View) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor="white", edgecolor=INK, linewidth=0.8, label="detected event")]
    if view.bars is not None:
        handles = [
            Patch(facecolor="white", edgecolor=INK, linewidth=0.8, label="reference event"),
            Patch(facecolor=ACCENT, label="class in the clip"),
            Patch(facecolor=FAINT, label="class not in the clip"),
        ]
    figure.legend(
        handles=handles, loc="outside lower right", ncols=len(handles), fontsize=6, frameon=False,
        handlelength=1.2, handleheight=0.8, borderaxespad=0.2, columnspacing=1.4,
    )  # fmt: skip


def separated_classes(labels: Sequence[str], detected: Sequence[str]) -> tuple[str, ...]:
    """Return the unique classes of a clip, then those detected in it, at most `SEPARATED_CLASSES`."""
    return tuple(dict.fromkeys([*labels, *detected]))[:SEPARATED_CLASSES]


def draw_separated(view: ClipView, system: TrainedSystem, title: str, target: Path) -> None:
    """Draw the log-mel of a clip, of each class that a system separates from it, and of the rest, on one scale."""
    detected = system.predict(view.samples, view.rate).detected
    classes = separated_classes(view.labels, detected)
    sources = system.separate(view.samples, view.rate, classes=classes, background=True, origin=f"clip {view.id}")
    pictures = {"Mixture": view.samples, **sources}
    top = float(view.logmel.max()) * DB_PER_NEPER
    with sheet(SEPARATED_PANEL * len(pictures) + 0.6) as figure:
        rows = figure.subplots(len(pictures), 1, sharex=True)
        _title(figure, title)
        for axes, letter, (name, samples) in zip(rows, ascii_lowercase, pictures.items(), strict=False):
            image = panels.spectrogram(axes, logmel(samples, system.features, view.rate), view.scales, top)
            axes.set_title(f"({letter}) {_heading(name, view.labels, classes, detected)}")
            panels.time_axis(axes, view.scales, named=axes is rows[-1])
            for bar in view.bars:
                if bar.label == name:
                    for boundary in (bar.onset, bar.offset):
                        axes.axvline(boundary, color="white", linewidth=0.8, linestyle="--")
        figure.colorbar(image, ax=list(rows), label=MAGNITUDE_LABEL, pad=0.01, fraction=0.03, aspect=40)
        write_figure(figure, target)


def _heading(name: str, labels: Sequence[str], classes: Sequence[str], detected: Sequence[str]) -> str:
    if name not in classes:
        return name.capitalize()
    presence = "in the clip" if name in labels else "not in the clip"
    return f"{panels.readable(name)}: {presence}, {'detected' if name in detected else 'not detected'}"


def draw_recording(
    system: TrainedSystem, recording: Recording, prediction: Prediction, name: str, target: Path
) -> None:
    """Draw a recording without a reference; the suffix of `target` decides the format.

    A recording no longer than the training clips gets all panels. A longer one is drawn over its whole length, without
    attention, which belongs to a single window.

    Parameters
    ----------
    recording : result of `system.extract_features`.
    prediction : prediction of the system for it.
    name : its name in the title.
    """
    config = system.model.config
    scales = Scales.of_frames(config.frames, system.features, system.mix)
    length = f"{recording.seconds:.1f} s"
    if len(recording.logmel) == config.frames:
        clip = recording.logmel if recording.waveform is None else recording.waveform[: config.samples]
        activations = from_output(system.forward(clip), system.model)
        if recording.seconds < scales.duration - scales.frame_seconds:
            length += f", repeated to fill {scales.duration:g} s"
    else:
        scales = replace(scales, duration=recording.seconds, frames=len(recording.logmel))
        activations = Activations(prediction.tags, scales.hold(prediction.frames, prediction.frame_seconds))
    detected = tuple(Bar(event.label, event.onset, event.offset) for event in prediction.events)
    view = View(logmel=recording.logmel, scales=scales, detected=detected)
    draw_activations(view, activations, system.classes, f"{config.name}, {name}, {length}", target)
