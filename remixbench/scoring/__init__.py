"""Metrics of predictions for sound event data; imports no torch."""

from remixbench.scoring.evaluate import Difference, Scores, compare, score_predictions
from remixbench.scoring.io import read_predictions, read_reference
from remixbench.scoring.metrics import METRICS, SCORING_VERSION, Metric, find_metric, metrics_shown, paired_metrics
from remixbench.scoring.tf_masks import Masks
from remixbench.scoring.types import EventTable, Predictions, Reference, event_table, make_reference

__all__ = [
    "METRICS",
    "SCORING_VERSION",
    "Difference",
    "EventTable",
    "Masks",
    "Metric",
    "Predictions",
    "Reference",
    "Scores",
    "compare",
    "event_table",
    "find_metric",
    "make_reference",
    "metrics_shown",
    "paired_metrics",
    "read_predictions",
    "read_reference",
    "score_predictions",
]
