"""How often 95 % intervals hold the true value, on the designs of the manifests, with scores that depend on recordings.

    python benchmarks/intervals.py [--trials 400] [--samples 300] [--design remix2019:1 ...] [--method in-use ...]

A trial draws, for the clips of a test fold, how well each event recording is detected and for which other classes it is
mistaken (random effects, the same in all clips of the recording), and noise per clip and class. The true value is that
of very many folds: the mean over batches of folds, each batch scored as one large fold, so that neither the metric's
bias on a single fold nor the error of the mean matters (400 folds: a twentieth of the standard deviation of one).
Printed: the share of trials whose interval holds it, and the intervals' standard deviation
over that of the metric, for the intervals in use and for those of scoring version 1 (a bootstrap of clips in groups of
equal sets of recordings). With 400 trials the share of a perfect method has a standard error of 1.1 %.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from remixbench.scoring import event_table, make_reference
from remixbench.scoring.bootstrap import make_bootstrap, mean_defined
from remixbench.scoring.clip_based import rank_classes, rank_pairs, ranked_average_precision
from remixbench.scoring.detection import Counts, f1_values

MANIFESTS = Path(__file__).resolve().parents[1] / "manifests"
DESIGNS = ("remix2019:1", "remix2019:4", "remix2019-strict:1")
METHODS = ("in-use", "version-1")
METRICS = ("micro-AP", "macro-AP", "event F1")
RECORDING, MISTAKEN, CLIP = 1.2, 0.4, 1.0
"""Standard deviations of the random effects, in logits."""


@dataclass(frozen=True)
class Design:
    """The events of a fold: in which clip each is, which recording, which class."""

    clip: np.ndarray
    recording: np.ndarray
    label: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Clips and classes."""
        return int(self.clip.max()) + 1, int(self.label.max()) + 1

    @property
    def weak(self) -> np.ndarray:
        """(clips, classes) bool."""
        weak = np.zeros(self.shape, bool)
        weak[self.clip, self.label] = True
        return weak

    def recordings(self) -> list[list[int]]:
        """Return the recordings of each clip."""
        found: list[list[int]] = [[] for _ in range(self.shape[0])]
        for clip, recording in zip(self.clip.tolist(), self.recording.tolist(), strict=True):
            found[clip].append(recording)
        return found


def read_design(name: str, fold: int) -> Design:
    """Read the test part of a fold from a manifest."""

    def rows(file: str) -> list[dict[str, str]]:
        path = MANIFESTS / name / file
        return list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []

    roles = rows("roles.csv")
    ids = [r["clip_id"] for r in roles if r[f"fold_{fold}"] == "test"] if roles else []
    ids = ids or [c["clip_id"] for c in rows("clips.csv") if int(c["fold"]) == fold]
    place = {clip: index for index, clip in enumerate(ids)}
    events = [e for e in rows("events.csv") if e["clip_id"] in place]
    files = {file: index for index, file in enumerate(dict.fromkeys(e["event_file"] for e in events))}
    labels = {label: index for index, label in enumerate(sorted({e["event_label"] for e in events}))}
    columns = [(place[e["clip_id"]], files[e["event_file"]], labels[e["event_label"]]) for e in events]
    return Design(*np.array(columns).T)


def small_design(clips: int = 240, recordings: int = 120, classes: int = 6, seed: int = 0) -> Design:
    """Return a design like the strict recipe's, small: three recordings per clip, each in several clips."""
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([rng.permutation(recordings) for _ in range(3 * clips // recordings)])
    return Design(np.repeat(np.arange(clips), 3), drawn, drawn % classes)


def draw(design: Design, seed: int) -> tuple[np.ndarray, Counts]:
    """Return clip scores (clips, classes) and event counts of one trial."""
    clips, classes = design.shape
    fixed, rng = np.random.default_rng(7), np.random.default_rng(seed)
    floor, gain, detectable = (
        fixed.normal(-3, 0.5, classes),
        fixed.normal(3, 1, classes),
        fixed.normal(0.3, 0.8, classes),
    )
    number = int(design.recording.max()) + 1
    quality, mistaken = rng.normal(0, RECORDING, number), rng.normal(0, MISTAKEN, (number, classes))
    confusion = np.zeros((clips, classes))
    np.add.at(confusion, design.clip, mistaken[design.recording])
    best = np.full((clips, classes), -np.inf)
    np.maximum.at(best, (design.clip, design.label), quality[design.recording])
    logits = floor + rng.normal(0, CLIP, (clips, classes)) + confusion
    logits += np.where(design.weak, gain + np.where(design.weak, best, 0), 0)
    found = detectable[design.label] + quality[design.recording] + rng.normal(0, CLIP, len(design.clip)) > 0
    tp, n_ref = np.zeros((clips, classes)), np.zeros((clips, classes))
    np.add.at(tp, (design.clip, design.label), found)
    np.add.at(n_ref, (design.clip, design.label), 1)
    false_alarms = rng.poisson(np.exp(-3.6 + confusion + rng.normal(0, 0.3 * CLIP, (clips, classes))))
    return 1 / (1 + np.exp(-logits)), Counts(tp, n_ref, tp + false_alarms)


def values_of(weak: np.ndarray, scores: np.ndarray, counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the metrics under weights (clips, columns), (metrics, columns)."""
    classes = np.stack([ranked_average_precision(ranking, weights) for ranking in rank_classes(weak, scores)])
    micro = ranked_average_precision(rank_pairs(weak, scores), weights)
    return np.stack([micro, mean_defined(classes), f1_values("f1", counts, weights).overall["f1"]])


def true_values(design: Design, batches: int = 10, folds: int = 40) -> np.ndarray:
    """Return the metrics of very many folds: the mean over batches of what `folds` of them have together."""
    weak = np.tile(design.weak, (folds, 1))
    found = []
    for batch in range(batches):
        drawn = [draw(design, 10**6 + batch * folds + seed) for seed in range(folds)]
        counts = Counts(*(np.concatenate([getattr(c, n) for _, c in drawn]) for n in ("tp", "n_ref", "n_sys")))
        found.append(values_of(weak, np.concatenate([s for s, _ in drawn]), counts, np.ones((len(weak), 1)))[:, 0])
    return np.mean(found, axis=0)


def version_1(design: Design, samples: int, seed: int) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return the weights of version 1 (groups of clips with equal recordings), and what made samples of values."""
    keys: dict[tuple[int, ...], int] = {}
    group = np.array([keys.setdefault(tuple(sorted(set(each))), len(keys)) for each in design.recordings()])
    drawn = np.random.default_rng(seed).multinomial(len(keys), np.full(len(keys), 1 / len(keys)), size=samples)
    weights = np.concatenate((np.ones((len(group), 1)), drawn.T[group]), axis=1)
    return weights, lambda values: values[1:] + values[0] - np.median(values[1:])


def coverage(
    design: Design, trials: int, samples: int, methods: Sequence[str] = METHODS
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return by method the share of intervals that hold the true value, and their standard deviation over the true."""
    truth, weak = true_values(design), design.weak
    clips, classes = design.shape
    reference = make_reference(
        [f"{i:05d}.wav" for i in range(clips)],
        [f"c{k}" for k in range(classes)],
        event_table([], [], [], []),
        10.0,
        weak=weak,
        recordings=design.recordings(),
    )
    held = {method: np.zeros(len(METRICS)) for method in methods}
    spread = {method: np.zeros(len(METRICS)) for method in held}
    found = []
    for trial in range(trials):
        scores, counts = draw(design, trial)
        for method in methods:
            if method == "in-use":
                drawn = make_bootstrap(reference, samples, trial)
                weights, samples_of = drawn.weights, drawn.samples_of
            else:
                weights, samples_of = version_1(design, samples, trial)
            values = values_of(weak, scores, counts, weights)
            for metric, each in enumerate(values):
                made = samples_of(each)
                low, high = np.quantile(made, [0.025, 0.975])
                held[method][metric] += low <= truth[metric] <= high
                spread[method][metric] += made.std()
        found.append(values[:, 0])
    deviation = np.std(found, axis=0, ddof=1)
    return {method: (held[method] / trials, spread[method] / trials / deviation) for method in held}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--design", nargs="+", default=DESIGNS, help="MANIFEST:FOLD")
    parser.add_argument("--method", nargs="+", default=METHODS, choices=METHODS)
    options = parser.parse_args()
    print(f"{options.trials} trials, {options.samples} bootstrap samples")
    print(f"{'design':20} {'intervals':10}", *(f"{name:>20}" for name in METRICS))
    for name in options.design:
        manifest, fold = name.rsplit(":", 1)
        for method, (share, ratio) in coverage(
            read_design(manifest, int(fold)), options.trials, options.samples, options.method
        ).items():
            cells = (f"{100 * s:5.1f} %  sd × {r:.2f}" for s, r in zip(share, ratio, strict=True))
            print(f"{name:20} {method:10}", *(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
