"""How long scoring takes, and how that compares with the field's scorers in the same run.

    python benchmarks/score.py [--clips 2000] [--others DIR]
    python benchmarks/score.py --psds [--clips 15000] [--classes 400]

Noisy scores of 2,000 clips × 41 classes × 311 frames. The other scorers run in the environment that
tests/oracles/setup.sh makes (DIR); without it only our own times are given. sed_scores_eval is asked for a tenth of the
clips: PSDS 2 of all takes it minutes and 10 GB. Peak memory is that of the whole process, inputs included.

With `--psds`, exact PSDS 1 and 2 at the size of AudioSet Strong: the scores of one class at a time are made up, since
those of all classes would take 7.5 GB; they are 0 but for a few stretches per clip, as those of networks nearly are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from remixbench.scoring import (
    EventTable,
    Inputs,
    Predictions,
    Reference,
    event_table,
    make_reference,
    score_predictions,
)
from remixbench.scoring.bounding_boxes import sebb_metrics, tune
from remixbench.scoring.detection import active_frames, event_counts, f1_values, segment_counts
from remixbench.scoring.postprocessing import POSTPROCESSINGS, detect_events
from remixbench.scoring.psds_exact import (
    PSDS,
    Detections,
    detections_of,
    psds_metrics,
    psds_of_detections,
    psds_of_scores,
)

ROOT = Path(__file__).resolve().parents[1]
CLASSES, FRAMES, STEP = 41, 311, 0.032
TARGETS = {
    "tagging with 1,000 resamples": 3.0,
    "PSDS 1 and 2, exact": 15.0,
    "everything with 1,000 resamples": 60.0,
}


def noisy_fold(clips: int, seed: int = 0) -> tuple[Reference, Predictions]:
    """Return three events a clip on the published grid, and noise that rises by a random amount where they are."""
    rng = np.random.default_rng(seed)
    onset = np.tile([0.5, 3.0, 5.5], clips)
    offset = onset + rng.uniform(0.3, 2.0, 3 * clips)
    events = event_table(np.repeat(np.arange(clips), 3), rng.integers(0, CLASSES, 3 * clips), onset, offset)
    names = [f"{i:05d}.wav" for i in range(clips)]
    labels = [f"class_{k:02d}" for k in range(CLASSES)]
    reference = make_reference(names, labels, events, 10.0, recordings=((clip // 6,) for clip in range(clips)))
    edges = np.round(np.arange(FRAMES + 1) * STEP, 6)
    logits = rng.standard_normal((clips, FRAMES, CLASSES), np.float32) - 4
    logits += 5 * rng.random((clips, 1, CLASSES), np.float32) * active_frames(events, edges, clips, CLASSES)
    scores = 1 / (1 + np.exp(-logits))
    return reference, Predictions(scores.max(1).astype(np.float64), scores, edges)


def timed(function: Callable[[], object], repeats: int = 3) -> float:
    """Return the least seconds of some calls: what it takes where nobody else has the machine."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def exact_psds(reference: Reference, predictions: Predictions) -> dict[str, float]:
    """Return PSDS 1 and 2 without resamples."""
    values = psds_of_scores(reference, *frame_part(predictions), np.ones((len(reference.filenames), 1)))
    return {name: float(values.overall[name][0]) for name in PSDS}


def frame_part(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return the frame scores and their edges."""
    assert predictions.frame_scores is not None
    assert predictions.frame_edges is not None
    return predictions.frame_scores, predictions.frame_edges


def by_others(
    python: Path, scorer: str, reference: Reference, predictions: Predictions, events: EventTable
) -> dict[str, float]:
    """Return the figures and seconds of another scorer, run in its own environment."""
    scores, edges = frame_part(predictions)

    def rows(table: EventTable) -> list[list[object]]:
        columns = (table.clip.tolist(), table.onset.tolist(), table.offset.tolist(), table.label.tolist())
        return [[reference.filenames[c], a, b, reference.classes[k]] for c, a, b, k in zip(*columns, strict=True)]

    case = {
        "classes": list(reference.classes),
        "durations": dict(zip(reference.filenames, reference.durations.tolist(), strict=True)),
        "reference": rows(reference.events),
        "estimate": rows(events),
        "edges": edges.tolist(),
        "scores": {}
        if scorer == "sed_eval"
        else {name: scores[i].tolist() for i, name in enumerate(reference.filenames)},
        "threshold": 0.5,
    }
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "cases.json", Path(folder) / "figures.json"
        asked.write_text(json.dumps([case]))
        subprocess.run([python, ROOT / "tests/oracles/check.py", scorer, asked, answered], check=True)
        figures: dict[str, float] = json.loads(answered.read_text())[0]
    return figures


def sparse_psds(clips: int, classes: int) -> dict[str, float]:
    """Return PSDS 1 and 2 of scores that are made up class by class, three events and a few false alarms per clip."""
    rng = np.random.default_rng(0)
    onset = np.tile([0.5, 3.0, 5.5], clips)
    offset = onset + rng.uniform(0.3, 2.0, 3 * clips)
    events = event_table(np.repeat(np.arange(clips), 3), rng.integers(0, classes, 3 * clips), onset, offset)
    labels = [f"class_{k:03d}" for k in range(classes)]
    reference = make_reference([f"{i:05d}.wav" for i in range(clips)], labels, events, 10.0)
    edges = np.round(np.arange(FRAMES + 1) * STEP, 6)

    def detections(label: int) -> Detections:
        draw = np.random.default_rng([1, label])
        scores = np.zeros((FRAMES, clips), np.float32)
        mine = events.label == label
        first = np.searchsorted(edges, events.onset[mine])
        last = np.searchsorted(edges, events.offset[mine])
        for clip, start, stop in zip(events.clip[mine], first, last, strict=True):
            scores[start:stop, clip] = draw.uniform(0.2, 1.0) * draw.uniform(0.7, 1.0, stop - start)
        for clip in np.flatnonzero(draw.random(clips) < 0.05):  # in 20 classes of 400 there is something wrong
            start = int(draw.integers(0, FRAMES - 20))
            scores[start : start + 20, clip] = np.maximum(
                scores[start : start + 20, clip], draw.uniform(0.0, 0.6) * draw.uniform(0.5, 1.0, 20)
            )
        return detections_of(scores)

    values = psds_of_detections(reference, detections, edges, np.ones((clips, 1)))
    return {name: float(value[0]) for name, value in values.overall.items()}


def measure_psds(clips: int, classes: int) -> None:
    """Print time and peak memory of exact PSDS of sparse scores."""
    began, busy = time.perf_counter(), time.process_time()
    values = sparse_psds(clips, classes)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    print(f"{clips} clips × {classes} classes × {FRAMES} frames, sparse scores, exact PSDS")
    print(" ".join(f"{name} {value:.4f}" for name, value in values.items()))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{seconds:.0f} s, {busy:.0f} s of one core, {busy / classes:.2f} s per class; peak memory {memory:.2f} GB")


def compare_boxes(clips: int = 600) -> None:
    """Print PSDS 1 of raw scores, of median-filtered ones, and of bounding boxes that were tuned on another fold."""
    tuning, scores = noisy_fold(clips, seed=0)
    boxes = tune(tuning, *frame_part(scores))
    reference, predictions = noisy_fold(clips, seed=1)
    inputs, once = Inputs(reference, predictions, sebbs=boxes), np.ones((clips, 1))
    values = psds_metrics(inputs, once).overall | sebb_metrics(inputs, once).overall
    shown = {name: values[name] for name in ("psds1", "psds1[median]", "psds1[sebb]")}
    print(f"\n{clips} clips, boxes tuned on {clips} others")
    print(", ".join(f"{name} {float(value[0]):.2f}" for name, value in shown.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, help="2,000 by default, 15,000 with --psds")
    parser.add_argument("--classes", type=int, default=400, help="with --psds")
    parser.add_argument("--psds", action="store_true", help="exact PSDS of many clips and classes")
    parser.add_argument("--others", type=Path, default=ROOT / ".venv-oracles")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if options.psds:
        measure_psds(options.clips or 15_000, options.classes)
        return
    clips = options.clips or 2000
    reference, predictions = noisy_fold(clips)
    decided = detect_events(*frame_part(predictions), POSTPROCESSINGS["threshold"])
    print(f"{clips} clips × {CLASSES} classes × {FRAMES} frames; {len(decided)} events at threshold 0.5\n")

    tags = Predictions(predictions.clip_scores)
    ours = {"tagging with 1,000 resamples": timed(lambda: score_predictions(reference, tags))}
    shape = (clips, CLASSES)
    truth = reference.events
    ours["segment-based F1"] = timed(lambda: segment_counts(truth, decided, reference.durations, CLASSES))
    ours["event-based F1, onset"] = timed(lambda: event_counts(truth, decided, *shape, evaluate_offset=False))
    ours["event-based F1"] = timed(lambda: event_counts(truth, decided, *shape))
    ours["PSDS 1 and 2, exact"] = timed(lambda: exact_psds(reference, predictions))
    ours["everything with 1,000 resamples"] = timed(lambda: score_predictions(reference, predictions))
    for name, seconds in ours.items():
        target = f"  (to reach: {TARGETS[name]:g} s)" if name in TARGETS else ""
        print(f"{name:34} {seconds:8.3f} s{target}")
    print(f"{'peak memory':34} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:8.2f} GB  (to reach: 2 GB)")

    compare_boxes()
    python = options.others / "bin" / "python"
    if not python.exists():
        print(f"\nno other scorers at {python}; tests/oracles/setup.sh sets them up")
        return
    print("\nagainst sed_eval, same events")
    theirs = by_others(python, "sed_eval", reference, predictions, decided)
    names = {
        "segment_f1": "segment-based F1",
        "event_f1_onset": "event-based F1, onset",
        "event_f1": "event-based F1",
    }
    for key, name in names.items():
        other = theirs[f"{key} seconds"]
        print(f"{name:34} {other:8.3f} s there, {other / ours[name]:6.0f} times ours")
    once = np.ones((clips, 1))
    found = {
        key: f1_values(key, event_counts(truth, decided, *shape, evaluate_offset=key == "event_f1"), once)
        for key in ("event_f1_onset", "event_f1")
    }
    for key, values in found.items():
        value = float(values.overall[key][0])
        print(f"{names[key]:34} {value:.6f} here, {theirs[key]:.6f} there (exact collars missed)")
    small = max(1, clips // 10)
    part, some = noisy_fold(small)
    few = detect_events(*frame_part(some), POSTPROCESSINGS["threshold"])
    seconds = timed(lambda: exact_psds(part, some))
    theirs = by_others(python, "sed_scores_eval", part, some, few)
    other = theirs["psds1 seconds"] + theirs["psds2 seconds"]
    ours_too = exact_psds(part, some)
    print(f"\nagainst sed_scores_eval, {small} clips")
    print(f"{'PSDS 1 and 2, exact':34} {other:8.3f} s there, {seconds:.3f} s here, {other / seconds:.0f} times ours")
    print("difference of the figures", {name: abs(value - theirs[name]) for name, value in ours_too.items()})


if __name__ == "__main__":
    main()
