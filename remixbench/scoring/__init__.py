"""Predictions in, metrics out; no torch in here."""

from remixbench.scoring.evaluate import SCORING_VERSION, Difference, Scores, compare, score_predictions
from remixbench.scoring.events import EventTable, event_table
from remixbench.scoring.masks import Masks
from remixbench.scoring.predictions import Predictions
from remixbench.scoring.readers import read_predictions
from remixbench.scoring.reference import Reference, groups_of, make_reference, read_reference

__all__ = [
    "SCORING_VERSION",
    "Difference",
    "EventTable",
    "Masks",
    "Predictions",
    "Reference",
    "Scores",
    "compare",
    "event_table",
    "groups_of",
    "make_reference",
    "read_predictions",
    "read_reference",
    "score_predictions",
]
