"""How often 95 % intervals hold the true value, for every family of metrics, on the designs of the manifests.

    python benchmarks/intervals.py [--trials 60] [--samples 60] [--design remix2019:1 ...] [--keep FILE] [--docs]

A trial draws, for the clips of a test fold, how well each event recording is detected, timed and separated and for
which other classes it is mistaken (random effects, the same in all clips of the recording), and noise per clip, class,
frame and bin. The metrics are computed by the package's own code, and so are weights and intervals; the weights of a
fold are drawn once, as in use. Frames last 0.5 s, maps have 6 by 6 bins: coarser than in use, for the sake of time. The
median filter covers three frames, and bounding boxes have one set of parameters. Event lists are drawn as such, so that
metrics of events are simulated once, not for every post-processing of frame scores that makes such a list.

The true value is that of very many folds: the mean over batches of folds, each batch scored as one large fold, so that
neither the metric's bias on a single fold nor the error of the mean matters much (24 folds: a fifth of the standard
deviation of one). Printed per metric: the share of trials whose interval holds it, the mean width of the intervals over
that of a perfect one, and the metric's bias on a single fold as a share of its standard deviation. With 60 trials the
share of a perfect method has a standard error of 2.8 %, and its mean over three designs one of 1.6 %.

`--keep` writes what every trial gave into a file, and continues there after an interruption. `--docs` writes the table
into docs/benchmark.md, between its two comments. Three designs take about 10 minutes of one core.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from remixbench.scoring import event_table, make_reference
from remixbench.scoring.bootstrap import LEVEL, bootstrap_interval, make_bootstrap
from remixbench.scoring.bounding_boxes import sebb_metrics
from remixbench.scoring.clip_based import frame_average_precision, tagging_metrics
from remixbench.scoring.detection import event_metrics, kong_metrics
from remixbench.scoring.metrics import METRICS
from remixbench.scoring.postprocessing import median_filtered
from remixbench.scoring.psds_exact import of_variant, psds_of_scores
from remixbench.scoring.separation import separation_metrics
from remixbench.scoring.tf_masks import KONG_FIRST_STEP, mask_metrics
from remixbench.scoring.types import EventTable, Inputs, Masks, Predictions, Reference, SebbParameters, Separation

ROOT = Path(__file__).resolve().parents[1]
MANIFESTS = ROOT / "manifests"
DESIGNS = ("remix2019:1", "remix2019:4", "remix2019-strict:1")
DURATION, FRAMES, BINS = 10.0, 20, 6
MEDIAN_FILTER = 1.5
"""Seconds: three frames."""
BOXES = SebbParameters(step=2.0, merge_absolute=1.0, merge_relative=2.0)
EDGES = np.linspace(0.0, DURATION, FRAMES + 1)
RECORDING, MISTAKEN, CLIP = 1.2, 0.4, 1.0
"""Standard deviations of the random effects, in logits."""
BATCHES, FOLDS = 2, 12
"""True values are means over batches of so many folds."""
ENOUGH = 92.0
"""Per cent; metrics whose coverage is less in the mean over designs are named under the table."""
COMMENTS = ("<!-- coverage: begin -->", "<!-- coverage: end -->")


@dataclass(frozen=True)
class Design:
    """The events of a fold: in which clip each is, which recording, which class, from when (seconds).

    `stream` tells the random numbers of designs apart, so that their results are independent.
    """

    clip: np.ndarray
    recording: np.ndarray
    label: np.ndarray
    onset: np.ndarray
    stream: int = 0

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
        seconds: np.ndarray = np.random.default_rng(3).uniform(0.4, 2.0, int(self.recording.max()) + 1)
        length: np.ndarray = np.minimum(seconds[self.recording], DURATION - self.onset)
        return length

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


def read_design(name: str, fold: int, stream: int = 0) -> Design:
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
    clip, recording, label = np.array(columns).T
    return Design(clip, recording, label, np.array([float(e["onset"]) for e in events]), stream)


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
    fixed, rng = np.random.default_rng(7), np.random.default_rng([seed, design.stream])
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
        np.clip(np.concatenate((np.maximum(offset, onset)[hit], begin + last)), 0, DURATION),
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
    steps = np.rint(255 / (1 + np.exp(-maps))).astype(np.uint8)
    active = rng.poisson(2 * np.exp(confusion + rng.normal(0, 0.3 * CLIP, shape)))
    active[pairs[0], pairs[1]] = (steps >= KONG_FIRST_STEP).sum(axis=(1, 2))
    decibels = 4 + 2 * of_event + rng.normal(0, 3, events)
    of_clips = np.bincount(design.clip, weights=np.where(hit, decibels, 0), minlength=clips) / 3
    return Trial(
        tags=np.round(1 / (1 + np.exp(-logits)), 2),
        frames=1 / (1 + np.exp(-np.rint(3 * frames) / 3)),  # float32
        events=detected,
        masks=Masks(pairs[0], pairs[1], steps, ideal, active),
        separation=Separation(
            design.clip,
            design.label,
            {
                "sdr": decibels,
                "sdr_improvement": decibels - 2,
                "si_sdr_improvement": decibels + rng.normal(0, 1, events),
            },
            {"ca_sdr_improvement": of_clips},
        ),
    )


def values_of(reference: Reference, trial: Trial, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics under weights (clips, columns), (columns,) each."""
    predictions = Predictions(trial.tags, trial.frames, EDGES)
    sebbs = [BOXES] * len(reference.classes)
    inputs = Inputs(reference, predictions, trial.masks, trial.separation, sebbs)
    values = event_metrics(reference, trial.events, EDGES, weights)
    values.update(kong_metrics(reference, trial.frames, EDGES, trial.tags, weights))
    values.update(psds_of_scores(reference, trial.frames, EDGES, weights))
    filtered = median_filtered(trial.frames, EDGES, MEDIAN_FILTER)
    values.update(psds_of_scores(reference, filtered, EDGES, weights, of_variant("median")))
    for family in (tagging_metrics, frame_average_precision, sebb_metrics, mask_metrics, separation_metrics):
        values.update(family(inputs, weights))
    return {
        name: values.overall[name] for name, metric in METRICS.items() if name in values.overall and not metric.fitted
    }


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

    def joined(part: str, *names: str) -> list[np.ndarray]:
        parts = [getattr(trial, part) for trial in trials]
        return [np.concatenate([getattr(values, name) for values in parts]) for name in names]

    def by_metric(part: str) -> dict[str, np.ndarray]:
        parts = [getattr(trial.separation, part) for trial in trials]
        return {name: np.concatenate([values[name] for values in parts]) for name in parts[0]}

    return large.reference(), Trial(
        tags=np.concatenate([trial.tags for trial in trials]),
        frames=np.concatenate([trial.frames for trial in trials]),
        events=EventTable(
            lifted([trial.events.clip for trial in trials]), *joined("events", "label", "onset", "offset")
        ),
        masks=Masks(
            lifted([trial.masks.clip for trial in trials]), *joined("masks", "label", "maps", "ideal", "active_bins")
        ),
        separation=Separation(
            lifted([trial.separation.clip for trial in trials]),
            np.concatenate([trial.separation.label for trial in trials]),
            by_metric("of_events"),
            by_metric("of_clips"),
        ),
    )


def true_values(design: Design, batch: int = 0) -> dict[str, float]:
    """Return the metrics of very many folds, as far as a batch of them, scored as one, can tell."""
    reference, trial = join(design, [draw(design, 10**6 + batch * FOLDS + k) for k in range(FOLDS)])
    values = values_of(reference, trial, np.ones((len(reference.filenames), 1)))
    return {name: float(of_metric[0]) for name, of_metric in values.items()}


@dataclass(frozen=True)
class Coverage:
    """Of a metric: share of intervals that hold the true value, width over a perfect one's, bias in deviations."""

    share: float
    width: float
    bias: float


Coverages = dict[str, Coverage]
"""By the name of the metric."""
Values = dict[str, list[float]]
"""Of every metric its true value, or its value and the ends of its interval in a trial."""


class Results:
    """What was simulated, by a key, and the file that it is kept in, a line each; None for no file."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file is not None and file.is_file() else []
        self.values: dict[str, Values] = dict(json.loads(line) for line in lines)

    def get(self, key: str, simulate: Callable[[], Values]) -> Values:
        """Return what has a key, simulated now where it is not there yet."""
        if key not in self.values:
            self.values[key] = simulate()
            if self.file is not None:
                with self.file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps([key, self.values[key]]) + "\n")
        return self.values[key]


def coverage(design: Design, trials: int, samples: int, name: str = "", results: Results | None = None) -> Coverages:
    """Return the coverage of every metric on a design, whose results are kept under a name."""
    results = Results() if results is None else results
    reference = design.reference()
    drawn = make_bootstrap(reference, samples, 0)

    def simulate_truth(batch: int) -> Values:
        return {metric: [value] for metric, value in true_values(design, batch).items()}

    def simulate(trial: int) -> Values:
        outcome = {}
        for metric, values in values_of(reference, draw(design, trial), drawn.weights).items():
            ends = bootstrap_interval(drawn, values, *METRICS[metric].range)
            outcome[metric] = [float(values[0]), *(ends or (np.nan, np.nan))]
        return outcome

    truths = [results.get(f"{name} truth {batch}", partial(simulate_truth, batch)) for batch in range(BATCHES)]
    outcomes = [results.get(f"{name} {samples} {trial}", partial(simulate, trial)) for trial in range(trials)]
    coverages = {}
    for metric in truths[0]:
        true_value = float(np.mean([truth[metric] for truth in truths]))
        values, low, high = np.array([outcome[metric] for outcome in outcomes]).T
        deviation = float(np.std(values, ddof=1))
        coverages[metric] = Coverage(
            float(np.mean((low <= true_value) & (true_value <= high))),
            float(np.mean(high - low) / (2 * 1.96 * deviation)),
            (float(np.mean(values)) - true_value) / deviation,
        )
    return coverages


def table(by_design: dict[str, Coverages], trials: int, samples: int) -> str:
    """Return the table in Markdown, and under it which metrics have too narrow intervals, and why."""
    names = list(dict.fromkeys(name for of_design in by_design.values() for name in of_design))
    lines = [
        f"| coverage (bias in standard deviations) | {' | '.join(by_design)} |",
        f"| --- | {' | '.join('---:' for _ in by_design)} |",
    ]
    low = []
    for name in names:
        of_metric = [of_design[name] for of_design in by_design.values()]
        cells = [f"{100 * part.share:.0f} ({part.bias:+.1f})" for part in of_metric]
        lines.append(f"| {METRICS[name].title} | {' | '.join(cells)} |")
        share, width, bias = np.mean([(100 * part.share, part.width, part.bias) for part in of_metric], axis=0)
        if share < ENOUGH:
            low.append(f"{METRICS[name].title} ({share:.0f}; width {width:.2f}, bias {bias:+.1f})")
    error = 100 * np.sqrt(LEVEL * (1 - LEVEL) / trials)
    below = f"Below {ENOUGH:g} in the mean over designs, with the width of their intervals over that of perfect ones:"
    lines += [
        "",
        f"{trials} trials per design, {samples} bootstrap samples; the standard error of a share of 95 is {error:.1f}. "
        + (f"{below} {'; '.join(low)}." if low else f"None is below {ENOUGH:g} in the mean over designs."),
    ]
    return "\n".join(lines)


def write_docs(text: str) -> None:
    """Put the table into docs/benchmark.md, between its comments."""
    file = ROOT / "docs" / "benchmark.md"
    before, rest = file.read_text(encoding="utf-8").split(COMMENTS[0])
    after = rest.split(COMMENTS[1])[1]
    file.write_text(f"{before}{COMMENTS[0]}\n\n{text}\n\n{COMMENTS[1]}{after}", encoding="utf-8")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--design", nargs="+", default=DESIGNS, help="MANIFEST:FOLD")
    parser.add_argument("--keep", type=Path, help="file of results, trial by trial; a run that was stopped continues")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/benchmark.md")
    options = parser.parse_args()
    results = Results(options.keep)
    shown = {}
    for stream, name in enumerate(options.design):
        manifest, fold = name.rsplit(":", 1)
        title = f"{manifest}, fold {fold}"
        design = read_design(manifest, int(fold), stream)
        shown[title] = coverage(design, options.trials, options.samples, f"{name}:{stream}", results)
        for metric, part in shown[title].items():
            print(
                f"{title:26} {metric:24} {100 * part.share:5.1f} %  width × {part.width:.2f}  bias {part.bias:+.2f}",
                flush=True,
            )
    text = table(shown, options.trials, options.samples)
    print(text)
    if options.docs:
        write_docs(text)


if __name__ == "__main__":
    main()
