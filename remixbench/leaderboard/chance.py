"""Chance: what a constant score gives on the folds of a data set, beside which the rows stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from remixbench.leaderboard.evaluate import References
from remixbench.scoring.chance import chance_values

Values = Mapping[str, float]


@dataclass(frozen=True)
class Chance:
    """Metrics of a constant score, and the average precision of each class, by fold."""

    by_fold: Mapping[int, Values] = field(default_factory=dict)
    classes_by_fold: Mapping[int, Values] = field(default_factory=dict)

    def metrics(self, folds: Sequence[int]) -> dict[str, float]:
        """Return the mean over folds of every metric; empty where one of the folds is not known."""
        return _mean(self.by_fold, folds)

    def classes(self, folds: Sequence[int]) -> dict[str, float]:
        """Return the mean over folds of the average precision of each class."""
        return _mean(self.classes_by_fold, folds)


def chance_of(references: References, folds: Iterable[int]) -> Chance:
    """Return chance on folds of a data set."""
    recipe = references.dataset.recipe
    edges = np.arange(recipe.frames + 1, dtype=np.float64) * recipe.frame_seconds
    metrics: dict[int, Values] = {}
    classes: dict[int, Values] = {}
    for fold in sorted(set(folds)):
        reference = references.fold(fold).reference
        values = chance_values(reference, edges)
        metrics[fold] = {name: float(value[0]) for name, value in values.overall.items() if not np.isnan(value[0])}
        precision = zip(reference.classes, values.per_class["ap"][:, 0], strict=True)
        classes[fold] = {label: float(value) for label, value in precision if not np.isnan(value)}
    return Chance(metrics, classes)


def _mean(values: Mapping[int, Values], folds: Sequence[int]) -> dict[str, float]:
    if not folds or any(fold not in values for fold in folds):
        return {}
    names = dict.fromkeys(name for fold in folds for name in values[fold])
    means = {name: [values[fold][name] for fold in folds if name in values[fold]] for name in names}
    return {name: float(np.mean(each)) for name, each in means.items()}
