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
"""From weights (clips, resamples), how often each clip counts, to figures."""

LEVEL = 0.95
_AT_ONCE = 250


def resample_weights(groups: IntArray, resamples: int, seed: int) -> FloatArray:
    """Return (clips, resamples): how often each clip counts when its groups are drawn with replacement."""
    number = int(groups.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=resamples)
    return drawn.T[groups].astype(np.float64)


def measure_all(measures: list[Measure], weights: FloatArray) -> dict[str, FloatArray]:
    """Apply every measure to the weights, some resamples at a time so that memory stays small."""
    parts: list[dict[str, FloatArray]] = []
    for start in range(0, weights.shape[1], _AT_ONCE):
        some = np.ascontiguousarray(weights[:, start : start + _AT_ONCE])
        parts.append({name: value for measure in measures for name, value in measure(some).items()})
    return {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}


def interval(values: FloatArray) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of resampled values, or None where none of them is defined."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
