"""The picture of a separated clip: log-mel of the mixture, of each class that a system takes out of it, of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from remixbench.dataset.features import logmel
from remixbench.plots import panels
from remixbench.plots.clip import ClipView
from remixbench.plots.scales import DB_PER_NEPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from remixbench.inference.system import TrainedSystem

PANEL = 1.15
"""Height of a panel in inches."""
SHOWN_CLASSES = 6
"""At most so many classes are drawn: those of the clip, then those detected."""


def classes_to_show(labels: Sequence[str], detected: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of a clip, then those that are detected in it, each once."""
    return tuple(dict.fromkeys([*labels, *detected]))[:SHOWN_CLASSES]


def separated_height(classes: Sequence[str]) -> float:
    """Return the height in inches that the picture of some classes needs."""
    return PANEL * (len(classes) + 2) + 0.6


def draw_separated(
    figure: Figure, view: ClipView, system: TrainedSystem, classes: Sequence[str], detected: Sequence[str], title: str
) -> None:
    """Separate a clip and draw it into an empty figure of `separated_height`, all panels with one colour scale."""
    sources = system.separate(view.samples, view.rate, classes=classes, background=True, origin=f"clip {view.id}")
    pictures = {"Mixture": view.samples, **sources}
    rows = figure.subplots(len(pictures), 1, sharex=True)
    figure.suptitle(title, fontsize=8.5, x=0.01, ha="left")
    top = float(view.logmel.max()) * DB_PER_NEPER
    for place, (axes, (name, samples)) in enumerate(zip(rows, pictures.items(), strict=True)):
        image = panels.spectrogram(axes, logmel(samples, system.features, view.rate), view.scales, top)
        axes.set_title(f"({chr(ord('a') + place)}) {_heading(name, view.labels, classes, detected)}")
        panels.time_axis(axes, view.scales, named=place == len(rows) - 1)
        if name in view.labels:
            for bar in view.bars:
                if bar.label == name:
                    for at in (bar.onset, bar.offset):
                        axes.axvline(at, color="white", linewidth=0.8, linestyle="--")
    figure.colorbar(image, ax=list(rows), label="Magnitude (dB)", pad=0.01, fraction=0.03, aspect=40)


def _heading(name: str, labels: Sequence[str], classes: Sequence[str], detected: Sequence[str]) -> str:
    if name not in classes:
        return name.capitalize()
    found = "detected" if name in detected else "not detected"
    return f"{panels.readable(name)}: {'in the clip' if name in labels else 'not in the clip'}, {found}"
