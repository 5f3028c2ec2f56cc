"""The public API of scoring; `__init__.py` imports each name when it is first used."""

from .bootstrap import Difference
from .evaluate import Scores, compare, score_predictions
from .functional import (
    DetectionScores,
    average_precision,
    event_based,
    intersection_based,
    lwlrap,
    psds,
    sebbs,
    segment_based,
    tune_sebbs,
)
from .io import read_predictions, read_reference
from .metrics import METRICS, SCORING_VERSION, Metric, find_metric, metrics_shown, paired_metrics
from .separation import ca_sdr_improvement, sdr, sdr_improvement, si_sdr, si_sdr_improvement
from .types import (
    EventTable,
    Inputs,
    Masks,
    Predictions,
    Reference,
    SebbParameters,
    Separation,
    event_table,
    make_reference,
)

__all__ = [
    "METRICS",
    "SCORING_VERSION",
    "DetectionScores",
    "Difference",
    "EventTable",
    "Inputs",
    "Masks",
    "Metric",
    "Predictions",
    "Reference",
    "Scores",
    "SebbParameters",
    "Separation",
    "average_precision",
    "ca_sdr_improvement",
    "compare",
    "event_based",
    "event_table",
    "find_metric",
    "intersection_based",
    "lwlrap",
    "make_reference",
    "metrics_shown",
    "paired_metrics",
    "psds",
    "read_predictions",
    "read_reference",
    "score_predictions",
    "sdr",
    "sdr_improvement",
    "sebbs",
    "segment_based",
    "si_sdr",
    "si_sdr_improvement",
    "tune_sebbs",
]
