"""The style of all figures, and their output: PNG at print resolution, SVG or PDF with text as text.

Files are reproducible byte for byte: they contain no dates and no random ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remixbench.errors import InputError
from remixbench.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
WIDTH = 7.2
"""Width in inches: two columns of a paper."""
DOTS_PER_INCH = 300
SPECTRUM, WEIGHT, SCORE = "magma", "cividis", "viridis"
"""Colour maps that are perceptually uniform and readable for the colour-blind and in greyscale."""
INK, FAINT, ACCENT, SECOND = "#1a1a1a", "#8a8a8a", "#0072b2", "#d55e00"
"""ACCENT and SECOND are blue and vermilion of Okabe and Ito's palette for colour-blind readers."""

# Any, because the type of matplotlib's settings differs between releases
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that figures are the same everywhere
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 3,
    "axes.labelsize": 7,
    "axes.labelpad": 2,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 0.8,
    "text.parse_math": False,  # a class may be called "$x$"
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "remixbench",
    "image.interpolation": "nearest",
    "figure.facecolor": "white",
}


def require_matplotlib() -> None:
    """Raise `InputError` if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise InputError("figures need matplotlib; install it with `pip install 'remixbench[report]'`")


@contextmanager
def sheet(height: float, width: float = WIDTH) -> Iterator[Figure]:
    """Yield an empty figure, sizes in inches; draw and write it inside the context, which sets the style."""
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def format_of(path: Path) -> str:
    """Return the format of a figure by its suffix. InputError if it is not in `FORMATS`."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise InputError(f"{path}: cannot write '{path.suffix}'; expected a name ending in .{', .'.join(FORMATS)}")
    return kind


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure atomically, in the format of the suffix."""
    kind = format_of(path)
    undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=DOTS_PER_INCH, metadata=undated)
