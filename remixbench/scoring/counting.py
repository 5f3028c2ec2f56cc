"""F1 from counts of hits: what segment-, event-, intersection- and frame-based scores have in common.

A class without positives in the fold has no F1 of its own and is left out of the macro mean, as in sed_eval;
micro F1 keeps its false alarms. Where something is true and nothing was said F1 is 0; sed_eval's default then
is NaN, and its option `empty_system_output_handling="zero_score"`, which its segment-based part lacks, gives
0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remixbench.scoring.bootstrap import Figures
from remixbench.scoring.events import FloatArray
from remixbench.scoring.tagging import divide, mean_defined


@dataclass(frozen=True)
class Counts:
    """Counts for each clip and class, (clips, classes) each.

    Attributes
    ----------
    hits : what is true and was found
    truth : what is true
    answers : hits and false alarms
    """

    hits: FloatArray
    truth: FloatArray
    answers: FloatArray


def f1_figures(name: str, counts: Counts, weights: FloatArray, suffix: str = "") -> Figures:
    """Return micro F1, its macro mean and per class F1, for weights (clips, resamples)."""
    hits, truth, answers = (part.T @ weights for part in (counts.hits, counts.truth, counts.answers))
    all_truth = truth.sum(0)
    micro = divide(2 * hits.sum(0), np.where(all_truth > 0, all_truth + answers.sum(0), 0))
    each = divide(2 * hits, np.where(truth > 0, truth + answers, 0))
    return {
        f"{name}{suffix}": micro,
        f"{name}_macro{suffix}": mean_defined(each),
        f"per_class_{name}{suffix}": each,
    }
