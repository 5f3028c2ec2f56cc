"""All that can be said about one set of predictions: figures, per class figures, their intervals.

A class without positives in the fold is left out of macro means and its own figures are None, whatever was
said about it; micro figures keep what was said about it as false alarms. PSDS, a mean over classes, leaves it
out. What the form of the predictions cannot express is missing from the figures, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from remixbench.progress import SILENT, Progress
from remixbench.scoring.bootstrap import Measure, interval, resample_weights
from remixbench.scoring.events import FloatArray
from remixbench.scoring.masks import Masks
from remixbench.scoring.measures import decided, described, measures_for
from remixbench.scoring.predictions import Predictions, check_predictions
from remixbench.scoring.reference import Reference

SCORING_VERSION = "1"
"""Raised whenever a figure could come out differently; rows of different versions are not compared."""

RESAMPLES = 1000


@dataclass(frozen=True)
class Scores:
    """Figures of one system on one fold; None where a figure is undefined.

    Attributes
    ----------
    figures : {name: value}
    per_class : {name: {label: value}}
    intervals : {name: (low, high)}, 95 %, empty without resamples
    settings : how the figures were made: scoring version, thresholds, decodings, resamples, seed, counts
    samples : {name: (resamples,)}, the resampled figures, NaN where undefined
    """

    figures: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]]
    intervals: dict[str, tuple[float, float] | None]
    settings: dict[str, Any]
    samples: dict[str, FloatArray]

    def as_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, numbers and strings, without the samples."""
        return {
            "figures": self.figures,
            "per_class": self.per_class,
            "intervals": {name: list(ends) if ends else None for name, ends in self.intervals.items()},
            "settings": self.settings,
        }


@dataclass(frozen=True)
class Difference:
    """How much better the first of two systems is on one figure; higher is not better for an error rate.

    Attributes
    ----------
    difference : figure of the first less that of the second
    interval : 95 %, paired: both systems are scored on the same draws of clips
    superiority : share of draws in which the first figure is the larger, equal ones counted half
    """

    difference: float
    interval: tuple[float, float] | None
    superiority: float


def score_predictions(
    reference: Reference,
    predictions: Predictions,
    *,
    masks: Masks | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Scores:
    """Score predictions against the reference, with bootstrap intervals from `resamples` draws (0: none).

    Raises
    ------
    InputError
        If the predictions, or the masks, were not made for this reference.
    """
    check_predictions(predictions, reference)
    clips = len(reference.filenames)
    weights = np.concatenate((np.ones((clips, 1)), resample_weights(reference.groups, resamples, seed)), axis=1)
    events = decided(predictions)
    made = _measure(measures_for(reference, predictions, events, masks), weights, progress)
    alone = {name: value for name, value in made.items() if value.ndim == 1}
    per_class = {
        name: {label: _plain(v) for label, v in zip(reference.classes, value[:, 0], strict=True)}
        for name, value in made.items()
        if value.ndim == 2
    }
    samples = {n: v[1:] for n, v in alone.items() if resamples and not n.endswith("_threshold")}
    settings = {
        "scoring_version": SCORING_VERSION,
        "clips": clips,
        "groups": int(reference.groups.max()) + 1,
        "classes": len(reference.classes),
        "classes_used": int(reference.weak.any(0).sum()),
        "resamples": resamples,
        "seed": seed,
        **described(predictions, events, masks),
    }
    return Scores(
        {name: _plain(value[0]) for name, value in alone.items()},
        per_class,
        {name: interval(float(alone[name][0]), values) for name, values in samples.items()},
        settings,
        samples,
    )


def compare(first: Scores, second: Scores) -> dict[str, Difference | None]:
    """Compare two systems, scored with the same reference, seed and number of resamples, figure by figure.

    None where either figure is undefined.

    Raises
    ------
    ValueError
        If the two were not resampled alike, so that draws cannot be paired.
    """
    alike = ("scoring_version", "clips", "groups", "resamples", "seed")
    if any(first.settings[key] != second.settings[key] for key in alike):
        raise ValueError("the two systems were not scored on the same draws of clips")
    return {
        name: _difference(first.figures[name], second.figures[name], values, second.samples[name])
        for name, values in first.samples.items()
        if name in second.samples
    }


def _difference(first: float | None, second: float | None, ours: FloatArray, theirs: FloatArray) -> Difference | None:
    if first is None or second is None:
        return None
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    change = ours[both] - theirs[both]
    superiority = float(np.mean((change > 0) + 0.5 * (change == 0))) if both.any() else 0.5
    return Difference(first - second, interval(first - second, change), superiority)


def _measure(measures: list[Measure], weights: FloatArray, progress: Progress) -> dict[str, FloatArray]:
    made: dict[str, FloatArray] = {}
    with progress.bar("score", len(measures), "measure") as advance:
        for measure in measures:
            made.update(measure(weights))
            advance(1)
    return made


def _plain(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
