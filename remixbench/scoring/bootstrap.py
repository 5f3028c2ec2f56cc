"""How sure a figure is: percentile intervals from resampling clips in groups that share event recordings.

Where a manifest puts the same event recordings on many backgrounds, clips are not independent. So whole
groups are drawn, with replacement, as many as there are; a clip then counts as often as its group was drawn.
The same seed gives the same draws for every system, so two systems can be compared draw by draw (a paired
bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from remixbench.scoring.events import FloatArray, IntArray

Figures = Mapping[str, FloatArray]
"""Named values with the resamples on the last axis; a first axis of classes makes it a per-class figure."""

Measure = Callable[[FloatArray], Figures]
"""From weights (clips, resamples), how often each clip counts, to figures; in the first column each counts once."""

LEVEL = 0.95


def resample_weights(groups: IntArray, resamples: int, seed: int) -> FloatArray:
    """Return (clips, resamples): how often each clip counts when its groups are drawn with replacement."""
    number = int(groups.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=resamples)
    return drawn.T[groups].astype(np.float64)


def interval(figure: float, values: FloatArray) -> tuple[float, float] | None:
    """Return the 95 % interval of a figure from its resampled values, or None where any is undefined.

    The percentiles are shifted so that the median of the values lies on the figure. A resample repeats clips,
    and that alone moves some figures (PSDS falls, as its penalty for unequal classes grows; the best F1
    rises), so that unshifted percentiles could miss the figure that they belong to. The ends stay within the
    range seen.
    """
    defined = values[~np.isnan(values)]
    if np.isnan(figure) or not len(defined):
        return None
    low, middle, high = np.quantile(defined, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]) + 0.0
    shift = figure - middle
    return (
        float(max(low + shift, min(defined.min(), figure))),
        float(min(high + shift, max(defined.max(), figure))),
    )
