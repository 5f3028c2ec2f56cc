"""How often intervals of a few seeds hold the true value, and how often two equal systems differ significantly.

    python benchmarks/seeds.py [--trials 4000] [--samples 300] [--docs]

A trial draws the score of every event recording by every network: an effect of the recording, one of the recording and
the system, one of the training (its seed), and one of the recording and the training. The value of a network on a fold
is the mean over the fold's recordings, and its bootstrap samples weigh the recordings. True values are known, and two
systems with the same true value are compared. Intervals and significance come from the code that the leaderboard uses
(`remixbench.scoring.bootstrap`). The share of the variance of a mean that comes from the choice of the seeds is set;
of that part all is the training's own effect, or none (how it suits the recordings).

Printed in Markdown, in per cent, the least and the greatest over these cases: the share of intervals that hold the true
value, of rows and of differences, and the share of differences that are significant although the systems are equal.
With 4,000 trials a share of 95 % has a standard error of 0.3, so that the least and the greatest of many stray by twice
that. `--docs` writes the table into docs/benchmark.md, between its two comments.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from remixbench.scoring.bootstrap import LEVEL, FoldRuns, Runs, mean_interval, paired_difference

SEEDS, FOLDS = (2, 3, 5), (1, 4)
SHARES, OWN = (0.0, 0.2, 0.5, 0.8, 0.95, 1.0), (0.0, 1.0)
RECORDINGS = 200
DOCS = Path(__file__).resolve().parents[1] / "docs" / "benchmark.md"
COMMENTS = ("<!-- seeds: begin -->", "<!-- seeds: end -->")


@dataclass(frozen=True)
class Case:
    """How many seeds and folds, which share of the variance the seeds have, and how much of it is their own."""

    seeds: int
    folds: int
    share: float
    own: float


def draw(case: Case, weights: np.ndarray, rng: np.random.Generator) -> tuple[Runs, Runs]:
    """Return two systems whose true values are 0, tested on the same recordings.

    Parameters
    ----------
    weights : (folds, recordings, samples) deviations from equal weights.
    """
    systems: tuple[dict[int, FoldRuns], dict[int, FoldRuns]] = ({}, {})
    # variances of a mean over seeds and recordings: 1 - share of recordings, share of seeds
    common = np.sqrt((1 - case.share) * RECORDINGS / 2)
    own = np.sqrt(case.share * case.own * case.seeds)
    suited = np.sqrt(case.share * (1 - case.own) * case.seeds * RECORDINGS)
    for fold in range(1, case.folds + 1):
        recording = rng.normal(0, common, RECORDINGS)
        for system in systems:
            scores = recording + rng.normal(0, common, RECORDINGS) + rng.normal(0, own, (case.seeds, 1))
            scores = scores + rng.normal(0, suited, (case.seeds, RECORDINGS))
            values = scores.mean(axis=1)
            deviations = (scores - values[:, None]) @ weights[fold - 1]
            system[fold] = FoldRuns(values, values[:, None] + deviations, RECORDINGS)
    return systems


def shares(case: Case, trials: int, samples: int, seed: int = 0) -> tuple[float, float]:
    """Return the shares of trials in which a row's interval and that of a difference hold the true value, 0."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 1 / RECORDINGS, (case.folds, RECORDINGS, samples))  # drawn once, as in use
    covered = np.zeros((trials, 2), bool)
    for trial in range(trials):
        first, second = draw(case, weights, rng)
        row = mean_interval(first)
        ends = None if row is None else row.ends
        for place, interval in enumerate((ends, paired_difference(first, second).interval)):
            low, high = interval or (1.0, -1.0)
            covered[trial, place] = low <= 0 <= high
    of_row, of_difference = covered.mean(axis=0)
    return float(of_row), float(of_difference)


def cases_of(seeds: int, folds: int) -> list[Case]:
    """Return the cases of so many seeds and folds."""
    return [Case(seeds, folds, share, own) for share, own in product(SHARES, OWN) if share or own == OWN[0]]


def table(trials: int, samples: int) -> str:
    """Return the table in Markdown."""
    lines = [
        "| seeds × folds | interval of a row | interval of a difference | equal systems significantly different |",
        "| --- | ---: | ---: | ---: |",
    ]
    for seeds, folds in product(SEEDS, FOLDS):
        row, difference = (100 * np.array([shares(case, trials, samples) for case in cases_of(seeds, folds)])).T
        cells = [f"{cases.min():.1f} to {cases.max():.1f}" for cases in (row, difference, 100 - difference)]
        lines.append(f"| {seeds} × {folds} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--docs", action="store_true", help="write the table into docs/benchmark.md")
    options = parser.parse_args()
    error = 100 * np.sqrt(LEVEL * (1 - LEVEL) / options.trials)
    text = (
        f"{table(options.trials, options.samples)}\n\n{options.trials:,} trials in each of {len(cases_of(2, 1))} cases;"
        f" the standard error of a share of 95 is {error:.1f}."
    )
    print(text)
    if options.docs:
        before, rest = DOCS.read_text(encoding="utf-8").split(COMMENTS[0])
        after = rest.split(COMMENTS[1])[1]
        DOCS.write_text(f"{before}{COMMENTS[0]}\n\n{text}\n\n{COMMENTS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
