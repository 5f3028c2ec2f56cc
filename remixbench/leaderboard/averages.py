"""Means over folds and seeds: their bootstrap samples and standard deviation.

A mean is over folds, of the mean over each fold's seeds: a fold counts once, however many seeds it was trained with.

Folds have different clips, so their bootstrap samples are independent. Seeds of a fold share clips and samples, but
each is a training of its own: which seeds were drawn is as much chance as which recordings were. So in every bootstrap
sample the seeds of each fold are drawn again with replacement; the deviations that this adds are multiplied by
sqrt(n / (n - 1)), since those of n drawn values are too small by that much. With one seed nothing is known of this
variance, and interval and significance hold for that training only.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remixbench.leaderboard.record import Record

Samples = NDArray[np.float64]


def by_fold(records: Sequence[Record]) -> dict[int, list[Record]]:
    """Return the records of each fold."""
    folds: dict[int, list[Record]] = {}
    for record in records:
        folds.setdefault(record.system.fold, []).append(record)
    return folds


def mean_over_folds(values: Mapping[int, Sequence[float]]) -> float:
    """Return the mean over folds of the mean over each fold's seeds.

    Parameters
    ----------
    values : of every fold, those of its seeds.
    """
    return float(np.mean([np.mean(each) for each in values.values()]))


def standard_deviation(values: Mapping[int, Sequence[float]]) -> float:
    """Return the standard deviation over seeds within folds, or over folds where each has one seed.

    Parameters
    ----------
    values : of every fold, those of its seeds; two or more altogether. Denominators are n - 1.
    """
    seeds = [np.var(each, ddof=1) for each in values.values() if len(each) > 1]
    if seeds:
        return float(np.sqrt(np.mean(seeds)))
    return float(np.std([each[0] for each in values.values()], ddof=1))


def mean_samples(name: str, records: Sequence[Record]) -> Samples | None:
    """Return the bootstrap samples of a metric's mean over folds, (resamples,), or None where a record lacks them."""
    return drawn_mean(records, [record.samples(name) for record in records])


def drawn_mean(records: Sequence[Record], samples: Sequence[NDArray[np.floating[Any]] | None]) -> Samples | None:
    """Return the bootstrap samples of a value's mean over folds, (resamples,), or None where a record has none.

    Seeds are drawn in every sample, for each system independently of others. The draws are those of the records: the
    means of two values of the same records are paired.

    Parameters
    ----------
    samples : the value's samples of each record, (resamples,).
    """
    kept = [each for each in samples if each is not None and len(each)]
    if len(kept) < len(records) or len({len(each) for each in kept}) != 1:
        return None
    folds: dict[int, list[int]] = {}
    for place, record in enumerate(records):
        folds.setdefault(record.system.fold, []).append(place)
    means = [
        _with_seeds_drawn(
            np.array([kept[place] for place in mine], np.float64), _rng(fold, [records[place] for place in mine])
        )
        for fold, mine in sorted(folds.items())
    ]
    mean: Samples = np.mean(means, axis=0)
    return mean


def _with_seeds_drawn(samples: Samples, rng: np.random.Generator) -> Samples:
    """Return the mean over seeds of samples (seeds, resamples) with the seeds drawn anew in each."""
    seeds, resamples = samples.shape
    mean: Samples = samples.mean(axis=0)
    if seeds == 1:
        return mean
    drawn = np.take_along_axis(samples, rng.integers(seeds, size=(seeds, resamples)), axis=0).mean(axis=0)
    result: Samples = mean + np.sqrt(seeds / (seeds - 1)) * (drawn - mean)
    return result


def _rng(fold: int, records: Sequence[Record]) -> np.random.Generator:
    """Return the generator of a system's draws; the same predictions give the same draws."""
    predictions = "".join(record.provenance.predictions_digest for record in records)
    return np.random.default_rng([fold, zlib.crc32(predictions.encode())])
