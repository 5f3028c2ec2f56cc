"""The picture of a clip by itself: waveform, log-mel, reference events and levels on one axis of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remixbench.plots import panels
from remixbench.plots.clip import ClipView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHTS = (0.75, 1.75, 0.95)
PER_CLASS = 0.24
"""Height in inches per class in the panel of events."""


def overview_height(view: ClipView) -> float:
    """Return the height in inches that a clip's picture needs."""
    return sum(HEIGHTS) + _events_height(view) + 1.0


def draw_overview(figure: Figure, view: ClipView, title: str) -> None:
    """Draw a clip into an empty figure of `overview_height`."""
    rows = figure.subplots(
        4, 1, sharex=True, gridspec_kw={"height_ratios": [*HEIGHTS[:2], _events_height(view), HEIGHTS[2]]}
    )
    figure.suptitle(title, fontsize=8.5, x=0.01, ha="left")
    panels.waveform(rows[0], view)
    rows[0].set_title("(a) Waveform")
    image = panels.spectrogram(rows[1], view.logmel, view.scales)
    rows[1].set_title("(b) Log-mel spectrogram")
    figure.colorbar(image, ax=rows[1], label="Magnitude (dB)", pad=0.01, fraction=0.03, aspect=16)
    panels.events(rows[2], view.bars, view.scales)
    rows[2].set_title("(c) Reference events with their SNR")
    panels.levels(rows[3], view)
    rows[3].set_title(f"(d) Level over {panels.LEVEL_SECONDS * 1000:g} ms")
    for axes in rows[:3]:
        panels.time_axis(axes, view.scales, named=False)
    panels.time_axis(rows[3], view.scales)
    figure.align_ylabels([rows[0], rows[1], rows[3]])


def _events_height(view: ClipView) -> float:
    return PER_CLASS * max(2, len(view.labels))
