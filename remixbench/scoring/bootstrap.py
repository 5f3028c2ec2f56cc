"""How sure a metric is: intervals from resampling clips in groups that share event recordings.

Where a manifest puts the same event recordings on many backgrounds, clips are not independent. So whole
groups are drawn, with replacement, as many as there are; a clip then counts as often as its group was drawn.
The same seed gives the same bootstrap samples for every system, so two systems can be compared sample by sample (a
paired bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from remixbench.scoring.types import FloatArray, IntArray

LEVEL = 0.95


@dataclass
class MetricValues:
    """Values of metrics by their names, one per bootstrap sample.

    Attributes
    ----------
    overall : {name: (samples,)}, NaN where undefined
    per_class : {name: (classes, samples)}, NaN where undefined
    """

    overall: dict[str, FloatArray] = field(default_factory=dict)
    per_class: dict[str, FloatArray] = field(default_factory=dict)

    def update(self, other: MetricValues) -> None:
        """Add the values of other metrics."""
        self.overall.update(other.overall)
        self.per_class.update(other.per_class)

    def renamed(self, suffix: str) -> MetricValues:
        """Return the same values under names with a suffix."""
        return MetricValues(
            {f"{name}{suffix}": values for name, values in self.overall.items()},
            {f"{name}{suffix}": values for name, values in self.per_class.items()},
        )


MetricFunction = Callable[[FloatArray], MetricValues]
"""From weights (clips, samples), how often each clip counts, to values; in the first column each counts once."""


def bootstrap_weights(groups: IntArray, samples: int, seed: int) -> FloatArray:
    """Return (clips, samples): how often each clip counts when its groups are drawn with replacement."""
    number = int(groups.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=samples)
    return drawn.T[groups].astype(np.float64)


def interval(value: float, samples: FloatArray) -> tuple[float, float] | None:
    """Return the 95 % interval of a value from its bootstrap samples, or None where any is undefined.

    The percentiles are shifted so that the median of the samples lies on the value. A bootstrap sample repeats clips,
    and that alone moves some metrics (PSDS falls, as its penalty for unequal classes grows; the best F1
    rises), so that unshifted percentiles could miss the value that they belong to. The ends stay within the
    range of the samples.
    """
    defined = samples[~np.isnan(samples)]
    if np.isnan(value) or not len(defined):
        return None
    low, middle, high = np.quantile(defined, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]) + 0.0
    shift = value - middle
    return (
        float(max(low + shift, min(defined.min(), value))),
        float(min(high + shift, max(defined.max(), value))),
    )


def mean_defined(values: FloatArray, axis: int = 0) -> FloatArray:
    """Return the mean over `axis` of the values that are defined; NaN only where none is."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=axis), defined.sum(axis=axis).astype(np.float64))


def divide(numerator: FloatArray, denominator: FloatArray, undefined: float = np.nan) -> FloatArray:
    """Return the quotient, and `undefined` where the denominator is zero."""
    out: FloatArray = np.full(np.shape(numerator), undefined)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)
