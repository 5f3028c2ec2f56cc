"""How often 95 % intervals hold the true value, for every family of metrics, on the designs of the manifests.

    python benchmarks/intervals.py [--trials 100] [--samples 60] [--design remix2019:1 ...] [--docs]

A trial draws, for the clips of a test fold, how well each event recording is detected, timed and separated and for
which other classes it is mistaken (random effects, the same in all clips of the recording), and noise per clip, class,
frame and bin. The metrics are computed by the package's own code, and so are weights and intervals; the weights of a
fold are drawn once, as in use. Frames last 0.5 s, maps have 6 by 6 bins: coarser than in use, for the sake of time.

The true value is that of very many folds: the mean over batches of folds, each batch scored as one large fold, so that
neither the metric's bias on a single fold nor the error of the mean matters much (60 folds: an eighth of the standard
deviation of one). Printed per metric: the share of trials whose interval holds it, the mean width of the intervals over
that of a perfect one, and the metric's bias on a single fold as a share of its standard deviation. With 100 trials the
share of a perfect method has a standard error of 2.2 %.

`--docs` writes the table into docs/benchmark.md, between its two comments.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from remixbench.scoring import event_table, make_reference
from remixbench.scoring.bootstrap import bootstrap_interval, make_bootstrap
from remixbench.scoring.clip_based import frame_average_precision, tagging_metrics
from remixbench.scoring.detection import event_metrics
from remixbench.scoring.metrics import METRICS
from remixbench.scoring.psds_exact import psds_of_scores
from remixbench.scoring.separation import separation_metrics
from remixbench.scoring.tf_masks import mask_metrics
from remixbench.scoring.types import EventTable, Inputs, Masks, Predictions, Reference, Separation

ROOT = Path(__file__).resolve().parents[1]
MANIFESTS = ROOT / "manifests"
DESIGNS = ("remix2019:1", "remix2019:4", "remix2019-strict:1")
DURATION, FRAMES, BINS = 10.0, 20, 6
EDGES = np.linspace(0.0, DURATION, FRAMES + 1)
RECORDING, MISTAKEN, CLIP = 1.2, 0.4, 1.0
"""Standard deviations of the random effects, in logits."""
ENOUGH = 92.0
"""Per cent; metrics whose coverage is less, by more than its error, are named under the table."""
COMMENTS = ("<!-- coverage: begin -->", "<!-- coverage: end -->")


@dataclass(frozen=True)
class Design:
    """The events of a fold: in which clip each is, which recording, which class, from when (seconds)."""

    clip: np.ndarray
    recording: np.ndarray
    label: np.ndarray
    onset: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Clips and classes."""
        return int(self.clip.max()) + 1, int(self.label.max()) + 1

    def recordings(self) -> list[list[int]]:
        """Return the recordings of each clip."""
        of_clip: list[list[int]] = [[] for _ in range(self.shape[0])]
        for clip, recording in zip(self.clip.tolist(), self.recording.tolist(), strict=True):
            of_clip[clip].append(recording)
        return of_clip

    @property
    def length(self) -> np.ndarray:
        """Seconds that each event lasts: those of its recording."""
        seconds = np.random.default_rng(3).uniform(0.4, 2.0, int(self.recording.max()) + 1)
        return np.minimum(seconds[self.recording], DURATION - self.onset)

    def reference(self) -> Reference:
        """Return the labels of the fold."""
        clips, classes = self.shape
        return make_reference(
            [f"{i:05d}.wav" for i in range(clips)],
            [f"c{k}" for k in range(classes)],
            event_table(self.clip, self.label, self.onset, self.onset + self.length),
            DURATION,
            recordings=self.recordings(),
        )


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
    return Design(*np.array(columns).T, np.array([float(e["onset"]) for e in events]))


def small_design(clips: int = 240, recordings: int = 120, classes: int = 6, seed: int = 0) -> Design:
    """Return a design like the strict recipe's, small: three recordings per clip, each in several clips."""
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([rng.permutation(recordings) for _ in range(3 * clips // recordings)])
    return Design(np.repeat(np.arange(clips), 3), drawn, drawn % classes, np.tile([0.5, 3.0, 5.5], clips))


@dataclass(frozen=True)
class Trial:
    """What a system predicts for the clips of a fold."""

    tags: np.ndarray
    frames: np.ndarray
    events: EventTable
    masks: Masks
    separation: Separation


def draw(design: Design, seed: int) -> Trial:
    """Return the predictions of one trial."""
    clips, classes = shape = design.shape
    fixed, rng = np.random.default_rng(7), np.random.default_rng(seed)
    floor, gain = fixed.normal(-3, 0.5, classes), fixed.normal(3, 1, classes)
    detectable = fixed.normal(0.3, 0.8, classes)
    number = int(design.recording.max()) + 1
    quality, late = rng.normal(0, RECORDING, number), rng.normal(0, 0.1, number)
    mistaken = rng.normal(0, MISTAKEN, (number, classes))
    confusion = np.zeros(shape)
    np.add.at(confusion, design.clip, mistaken[design.recording])
    of_event = quality[design.recording]

    best = np.full(shape, -np.inf)
    np.maximum.at(best, (design.clip, design.label), of_event)
    logits = floor + rng.normal(0, CLIP, shape) + confusion
    logits += np.where(np.isfinite(best), gain + np.where(np.isfinite(best), best, 0), 0)

    events = len(design.clip)
    onset = design.onset + late[design.recording] + rng.normal(0, 0.1, events)
    offset = onset + design.length * np.exp(rng.normal(0, 0.15, events)) + 0.05 * of_event
    hit = detectable[design.label] + of_event + rng.normal(0, CLIP, events) > 0
    alarms = np.nonzero(rng.poisson(np.exp(-4.5 + confusion + rng.normal(0, 0.3 * CLIP, shape))))
    begin, last = rng.uniform(0, DURATION - 1, len(alarms[0])), rng.uniform(0.3, 1.0, len(alarms[0]))
    detected = event_table(
        np.concatenate((design.clip[hit], alarms[0])),
        np.concatenate((design.label[hit], alarms[1])),
        np.clip(np.concatenate((onset[hit], begin)), 0, DURATION),
        np.clip(np.concatenate((offset[hit], begin + last)), 0, DURATION),
    )

    frames = rng.normal(0, 0.5, (clips, FRAMES, classes)).astype(np.float32)
    frames += (floor - 1 + confusion + rng.normal(0, 0.5 * CLIP, shape)).astype(np.float32)[:, None]
    first = np.clip(np.rint(onset / DURATION * FRAMES).astype(int), 0, FRAMES - 1)
    stop = np.clip(np.rint(offset / DURATION * FRAMES).astype(int), first + 1, FRAMES)
    for step in range(int((stop - first).max())):
        on = first + step < stop
        strength = gain[design.label[on]] + of_event[on]
        frames[design.clip[on], first[on] + step, design.label[on]] += strength.astype(np.float32)

    pairs = np.unique(np.stack((design.clip, design.label)), axis=1)
    ideal = rng.random((pairs.shape[1], BINS, BINS)) < 0.4
    maps = 1.5 * ideal - 0.5 + 0.7 * best[pairs[0], pairs[1]][:, None, None] * (ideal - 0.4)
    maps += rng.normal(0, 1, ideal.shape)
    decibels = 4 + 2 * of_event + rng.normal(0, 3, events)
    whole = np.bincount(design.clip, weights=np.where(hit, decibels, 0), minlength=clips)
    return Trial(
        tags=np.round(1 / (1 + np.exp(-logits)), 2),
        frames=np.clip(np.rint(3 * frames + 32) / 64, 0, 1).astype(np.float32),
        events=detected,
        masks=Masks(pairs[0], pairs[1], np.rint(255 / (1 + np.exp(-maps))).astype(np.uint8), ideal),
        separation=Separation(
            design.clip, design.label, decibels, decibels - 2, decibels + rng.normal(0, 1, events), whole / 3
        ),
    )


def values_of(reference: Reference, trial: Trial, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics under weights (clips, columns), (columns,) each."""
    predictions = Predictions(trial.tags, trial.frames, EDGES)
    inputs = Inputs(reference, predictions, trial.masks, trial.separation)
    values = event_metrics(reference, trial.events, EDGES, weights)
    values.update(psds_of_scores(reference, trial.frames, EDGES, weights))
    for family in (tagging_metrics, frame_average_precision, mask_metrics, separation_metrics):
        values.update(family(inputs, weights))
    simulated = {name for name, metric in METRICS.items() if not metric.fitted and metric.variant != "kong"}
    return {name: samples for name, samples in values.overall.items() if name in simulated}


def join(design: Design, trials: Sequence[Trial]) -> tuple[Reference, Trial]:
    """Return trials of a fold as one fold of as many times the clips."""
    clips, count = design.shape[0], len(trials)
    lift = clips * np.arange(count)

    def lifted(parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([part + offset for part, offset in zip(parts, lift, strict=True)])

    large = Design(
        lifted([design.clip] * count),
        np.tile(design.recording, count),
        np.tile(design.label, count),
        np.tile(design.onset, count),
    )
    events, masks = [trial.events for trial in trials], [trial.masks for trial in trials]
    sounds = [trial.separation for trial in trials]
    joined = Trial(
        tags=np.concatenate([trial.tags for trial in trials]),
        frames=np.concatenate([trial.frames for trial in trials]),
        events=EventTable(
            lifted([each.clip for each in events]),
            *(np.concatenate([getattr(each, name) for each in events]) for name in ("label", "onset", "offset")),
        ),
        masks=Masks(
            lifted([each.clip for each in masks]),
            *(np.concatenate([getattr(each, name) for each in masks]) for name in ("label", "maps", "ideal")),
        ),
        separation=Separation(
            lifted([each.clip for each in sounds]),
            *(
                np.concatenate([getattr(each, name) for each in sounds])
                for name in ("label", "sdr", "sdr_improvement", "si_sdr_improvement", "ca_sdr_improvement")
            ),
        ),
    )
    return large.reference(), joined


def true_values(design: Design, batches: int = 5, folds: int = 12) -> dict[str, float]:
    """Return the metrics of very many folds: the mean over batches of what `folds` of them have together."""
    values = []
    for batch in range(batches):
        reference, trial = join(design, [draw(design, 10**6 + batch * folds + k) for k in range(folds)])
        values.append(values_of(reference, trial, np.ones((len(reference.filenames), 1))))
    return {name: float(np.mean([each[name] for each in values])) for name in values[0]}


@dataclass(frozen=True)
class Coverage:
    """Of a metric: share of intervals that hold the true value, width over a perfect one's, bias in deviations."""

    share: float
    width: float
    bias: float


def coverage(design: Design, trials: int, samples: int) -> dict[str, Coverage]:
    """Return the coverage of every metric on a design."""
    reference, truth = design.reference(), true_values(design)
    drawn = make_bootstrap(reference, samples, 0)
    values: dict[str, list[float]] = {name: [] for name in truth}
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in truth}
    for trial in range(trials):
        for name, each in values_of(reference, draw(design, trial), drawn.weights).items():
            values[name].append(float(each[0]))
            interval = bootstrap_interval(drawn, each, *METRICS[name].range)
            ends[name].append(interval if interval is not None else (np.nan, np.nan))
    result = {}
    for name, value in truth.items():
        low, high = np.array(ends[name]).T
        deviation = float(np.std(values[name], ddof=1))
        result[name] = Coverage(
            float(np.mean((low <= value) & (value <= high))),
            float(np.mean(high - low) / (2 * 1.96 * deviation)),
            (float(np.mean(values[name])) - value) / deviation,
        )
    return result


def table(found: dict[str, dict[str, Coverage]], trials: int, samples: int) -> str:
    """Return the table in Markdown, and under it which metrics have too narrow intervals."""
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    lines = [
        f"| coverage (bias in standard deviations) | {' | '.join(found)} |",
        f"| --- | {' | '.join('---:' for _ in found)} |",
        *(f"| {METRICS[name].title} | {' | '.join(_shown(each[name]) for each in found.values())} |" for name in names),
    ]
    error = 100 * np.sqrt(0.95 * 0.05 / trials)
    lines += [
        "",
        f"{trials} trials per design, {samples} bootstrap samples; the standard error of a share is {error:.1f}.",
    ]
    mean = {name: float(np.mean([each[name].share for each in found.values()])) for name in names}
    narrow = [name for name in names if 100 * mean[name] + error < ENOUGH]
    if narrow:
        lines[-1] += (
            f" Too narrow, below {ENOUGH:g} by more than that in the mean over designs:"
            f" {', '.join(f'{METRICS[name].title} ({100 * mean[name]:.0f})' for name in narrow)}."
        )
    else:
        lines[-1] += f" None is below {ENOUGH:g} by more than that in the mean over designs."
    return "\n".join(lines)


def _shown(of_metric: Coverage) -> str:
    return f"{100 * of_metric.share:.0f} ({of_metric.bias:+.1f})"


def write_docs(text: str) -> None:
    """Put the table into docs/benchmark.md, between its comments."""
    file = ROOT / "docs" / "benchmark.md"
    before, rest = file.read_text(encoding="utf-8").split(COMMENTS[0])
    after = rest.split(COMMENTS[1])[1]
    file.write_text(f"{before}{COMMENTS[0]}\n\n{text}\n\n{COMMENTS[1]}{after}", encoding="utf-8")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--design", nargs="+", default=DESIGNS, help="MANIFEST:FOLD")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/benchmark.md")
    options = parser.parse_args()
    found = {}
    for name in options.design:
        manifest, fold = name.rsplit(":", 1)
        title = f"{manifest}, fold {fold}"
        found[title] = coverage(read_design(manifest, int(fold)), options.trials, options.samples)
        for metric, each in found[title].items():
            print(
                f"{title:26} {metric:24} {100 * each.share:5.1f} %  width × {each.width:.2f}  bias {each.bias:+.2f}",
                flush=True,
            )
    text = table(found, options.trials, options.samples)
    print(text)
    if options.docs:
        write_docs(text)


if __name__ == "__main__":
    main()
