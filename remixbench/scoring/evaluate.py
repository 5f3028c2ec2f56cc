"""All that can be said about one set of predictions: figures, per class figures, their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from remixbench.scoring import tagging
from remixbench.scoring.bootstrap import Figures, Measure, interval, measure_all, resample_weights
from remixbench.scoring.events import FloatArray
from remixbench.scoring.predictions import Predictions
from remixbench.scoring.reference import Reference

SCORING_VERSION = "1"
"""Raised whenever a figure could come out differently; rows of different versions are not compared."""

TAGGING_THRESHOLD = 0.5
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
    """

    figures: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]]
    intervals: dict[str, tuple[float, float] | None]
    settings: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, numbers and strings."""
        return {
            "figures": self.figures,
            "per_class": self.per_class,
            "intervals": {name: list(ends) if ends else None for name, ends in self.intervals.items()},
            "settings": self.settings,
        }


def score_predictions(
    reference: Reference, predictions: Predictions, *, resamples: int = RESAMPLES, seed: int = 0
) -> Scores:
    """Score predictions against the reference, with bootstrap intervals from `resamples` draws (0: none).

    A class without positives in the fold is left out of macro means and its own figures are None; micro
    figures keep what the system said about it. `settings["classes_used"]` counts the classes that have
    positives.
    """
    measures = measures_for(reference, predictions)
    here = measure_all(measures, np.ones((len(reference.filenames), 1)))
    figures = {name: _plain(value[0]) for name, value in here.items() if value.ndim == 1}
    per_class = {
        name: {label: _plain(v) for label, v in zip(reference.classes, value[:, 0], strict=True)}
        for name, value in here.items()
        if value.ndim == 2
    }
    intervals: dict[str, tuple[float, float] | None] = {}
    if resamples:
        drawn = measure_all(measures, resample_weights(reference.groups, resamples, seed))
        intervals = {name: interval(value) for name, value in drawn.items() if _has_interval(name, value)}
    settings = {
        "scoring_version": SCORING_VERSION,
        "clips": len(reference.filenames),
        "groups": int(reference.groups.max()) + 1,
        "classes": len(reference.classes),
        "classes_used": int(reference.weak.any(0).sum()),
        "resamples": resamples,
        "seed": seed,
    }
    return Scores(figures, per_class, intervals, settings)


def measures_for(reference: Reference, predictions: Predictions) -> list[Measure]:
    """Return the measures that the predictions can express."""
    measures: list[Measure] = []
    if predictions.clip_scores is not None:
        measures.append(_tagging(reference, predictions.clip_scores))
    return measures


def _tagging(reference: Reference, scores: FloatArray) -> Measure:
    weak = reference.weak
    classes, pairs = tagging.rank_classes(weak, scores), tagging.rank_pairs(weak, scores)
    precision_sums, positives = tagging.label_ranking(weak, scores)
    said = scores >= TAGGING_THRESHOLD
    hits, answers = (said & weak).sum(1).astype(np.float64), said.sum(1).astype(np.float64)

    def measure(weights: FloatArray) -> Figures:
        ap = np.stack([tagging.average_precision(ranking, weights) for ranking in classes])
        auc = np.stack([tagging.area_under_roc(ranking, weights) for ranking in classes])
        f1, threshold = tagging.best_f1(pairs, weights)
        return {
            "micro_ap": tagging.average_precision(pairs, weights),
            "macro_ap": tagging.mean_defined(ap),
            "macro_auc": tagging.mean_defined(auc),
            "per_class_ap": ap,
            "per_class_auc": auc,
            "lwlrap": tagging.divide(precision_sums @ weights, positives @ weights),
            f"tagging_f1@{TAGGING_THRESHOLD}": tagging.divide(2 * hits @ weights, (answers + positives) @ weights),
            "tagging_f1_best": f1,
            "tagging_f1_best_threshold": threshold,
        }

    return measure


def _plain(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _has_interval(name: str, value: FloatArray) -> bool:
    return value.ndim == 1 and not name.endswith("_threshold")
