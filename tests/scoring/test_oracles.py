"""Ours against sed_eval, sed_scores_eval and psds_eval on random cases, with degenerate ones.

They need older libraries than we do, so they run in an environment of their own: tests/oracles/setup.sh makes it.
"""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
from paths import ORACLES_PYTHON as PYTHON
from paths import ROOT
from scoring_cases import THRESHOLD, make_case

from remixbench import scoring
from remixbench.scoring import Predictions, event_table, make_reference
from remixbench.scoring.detection import event_metrics
from remixbench.scoring.psds_exact import psds_of_scores
from remixbench.scoring.types import merge_events

CASES = 80

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason=f"no scorers at {PYTHON}; tests/oracles/setup.sh sets them up"
)


def as_json(reference, predictions, decided):
    def rows(events):
        columns = (events.clip, events.onset, events.offset, events.label)
        return [
            [reference.filenames[c], float(a), float(b), reference.classes[k]]
            for c, a, b, k in zip(*columns, strict=True)
        ]

    scores = predictions.frame_scores.astype(float)
    return {
        "classes": list(reference.classes),
        "durations": dict(zip(reference.filenames, reference.durations.tolist(), strict=True)),
        "reference": rows(reference.events),
        "estimate": rows(decided),
        "edges": predictions.frame_edges.tolist(),
        "scores": {name: scores[i].tolist() for i, name in enumerate(reference.filenames)},
        "threshold": THRESHOLD,
    }


@pytest.fixture(scope="module")
def cases():
    return [make_case(seed) for seed in range(CASES)]


def ask(scorer, cases, folder):
    return ask_json(scorer, [as_json(*case) for case in cases], folder)


def ask_json(scorer, cases, folder):
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [
        PYTHON,
        ROOT / "tests" / "oracles" / "check.py",
        scorer,
        folder / "cases.json",
        folder / "out.json",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return json.loads((folder / "out.json").read_text())


def ours_of(reference, decided):
    return one_value(lambda weights: event_metrics(reference, decided, None, weights), reference)


def one_value(compute, reference):
    """Return the values over all classes and of each class ("name class")."""
    values = compute(np.ones((len(reference.filenames), 1)))
    found = {name: value[0] for name, value in values.overall.items()}
    for name, each in values.per_class.items():
        found |= {f"{name} {label}": value[0] for label, value in zip(reference.classes, each, strict=True)}
    return found


def agree(ours, theirs):
    return theirs is None if np.isnan(ours) else theirs is not None and abs(ours - theirs) < 1e-9


def test_segment_and_event_scores_are_those_of_sed_eval(cases, tmp_path):
    compared = 0
    for seed, (case, theirs) in enumerate(zip(cases, ask("sed_eval", cases, tmp_path), strict=True)):
        for name, value in ours_of(case[0], case[2]).items():
            if name not in theirs or (name.startswith("event") and seed % 2):
                continue  # on the frames' grid sed_eval's float comparison misses exact collars: see detection
            if name == "segment_er" and np.isnan(value):
                continue  # nothing is true: sed_eval divides by 2.2e-16
            assert agree(value, theirs[name]), (seed, name, value, theirs[name])
            compared += 1
    assert compared > 600


def touching_case(seed):
    """Return a random fold whose estimates of a class touch, overlap, and contain one another, off the frames' grid."""
    rng = np.random.default_rng(seed)
    reference, predictions, _ = make_case(2 * seed)  # even seeds: times off the grid, so never exactly on a collar
    truth, seconds = reference.events, float(reference.durations[0])
    count = len(truth)
    cut = np.round(truth.onset + rng.uniform(0.2, 0.8, count) * (truth.offset - truth.onset), 4)
    shift = np.round(rng.uniform(-0.3, 0.3, count), 4)
    # each reference event as two halves that touch, and as a whole moved by up to 0.3 s, which overlaps them
    onset = np.concatenate([truth.onset, cut, np.maximum(truth.onset + shift, 0)])
    offset = np.concatenate([cut, truth.offset, np.minimum(truth.offset + shift, seconds)])
    kept = (rng.random(3 * count) < 0.6) & (offset - onset > 1e-3)
    clip, label = np.tile(truth.clip, 3), np.tile(truth.label, 3)
    return reference, predictions, event_table(clip[kept], label[kept], onset[kept], offset[kept], merge=False)


def test_estimates_that_touch_or_overlap_count_as_in_sed_eval(tmp_path):
    touching = [touching_case(seed) for seed in range(40)]
    decided = [events for _, _, events in touching]
    assert sum(len(merge_events(events)) < len(events) for events in decided) > 25
    compared = 0
    for seed, (case, theirs) in enumerate(zip(touching, ask("sed_eval", touching, tmp_path), strict=True)):
        for name, value in ours_of(case[0], case[2]).items():
            if name not in theirs or (name == "segment_er" and np.isnan(value)):
                continue
            assert agree(value, theirs[name]), (seed, name, value, theirs[name])
            compared += 1
    assert compared > 250


def as_frame(case):
    """Return reference and estimate of a case for the oracles as DCASE tables; the estimate names every clip."""
    columns = ["filename", "onset", "offset", "event_label"]
    empty = [[clip, np.nan, np.nan, np.nan] for clip in case["durations"]]
    return (pd.DataFrame([*case[key], *empty], columns=columns) for key in ("reference", "estimate"))


def test_event_and_segment_scores_in_one_line_are_those_of_sed_eval_whatever_touches_or_overlaps(tmp_path):
    asked = []
    for seed in range(30):
        reference, predictions, estimate = touching_case(seed)
        case = as_json(reference, predictions, estimate)
        # references that touch and overlap too: the same events, and halves of them
        halves = [[clip, onset, (onset + offset) / 2, label] for clip, onset, offset, label in case["reference"][::2]]
        wholes = case["reference"] if seed % 2 else case["estimate"]
        case["reference"] = wholes + [[c, round(a, 4), round(b, 4), k] for c, a, b, k in halves]
        asked.append(case)
    compared = 0
    for seed, (case, theirs) in enumerate(zip(asked, ask_json("sed_eval", asked, tmp_path), strict=True)):
        reference, estimate = as_frame(case)
        for name, scores in {
            "event_f1": scoring.event_based(reference, estimate),
            "event_f1_onset": scoring.event_based(reference, estimate, evaluate_offset=False),
            "segment_f1": scoring.segment_based(reference, estimate),
        }.items():
            if case["reference"]:
                assert agree(scores.f1, theirs[name]), (seed, name, scores.f1, theirs[name])
                compared += 1
            for label, value in scores.per_class.items():
                if not np.isnan(value) and value > 0:  # theirs is NaN where nothing was detected
                    assert agree(value, theirs[f"{name} {label}"]), (seed, name, label)
                    compared += 1
    assert compared > 150


def test_psds_in_one_line_is_that_of_sed_scores_eval_for_clips_of_any_length(tmp_path):
    asked = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        classes = ["x", "y", "z"][: rng.integers(2, 4)]
        case = {"classes": classes, "durations": {}, "reference": [], "estimate": [], "edges": {}, "scores": {}}
        for k in range(int(rng.integers(2, 7))):
            step, frames = rng.choice([0.064, 0.1, 0.25]), int(rng.integers(1, 60))
            edges = np.round(np.arange(frames + 1) * step, 6)
            case["durations"][f"c{k}"] = float(edges[-1])
            case["edges"][f"c{k}"] = edges.tolist()
            scores = 0.3 * rng.random((frames, len(classes)))
            for column, label in enumerate(classes):
                if rng.random() < 0.6 or k == 0:
                    onset = float(np.round(rng.uniform(0, edges[-1] * 0.6), 4))
                    offset = float(np.round(onset + rng.uniform(0.1, 0.99) * (edges[-1] - onset), 4))
                    case["reference"].append([f"c{k}", onset, offset, label])
                    scores[(edges[1:] > onset) & (edges[:-1] < offset), column] += rng.uniform(0, 0.7)
            if seed % 3 == 0:
                scores = 1 - 1e-9 * np.round(scores * 100)  # differences that float32 does not have
            case["scores"][f"c{k}"] = scores.tolist()
        case["threshold"] = 0.5
        asked.append(case)
    compared = 0
    for seed, (case, theirs) in enumerate(zip(asked, ask_json("sed_scores_eval", asked, tmp_path), strict=True)):
        reference, _ = as_frame(case)
        durations = pd.DataFrame(case["durations"].items(), columns=["filename", "duration"])
        tables = {}
        for clip, scores in case["scores"].items():
            edges = np.array(case["edges"][clip])
            tables[clip] = pd.DataFrame(np.array(scores), columns=case["classes"]).assign(
                onset=edges[:-1], offset=edges[1:]
            )[["onset", "offset", *case["classes"]]]
        for name, options in (("psds1", {}), ("psds2", {"dtc": 0.1, "gtc": 0.1, "cttc": 0.3, "alpha_ct": 0.5})):
            for suffix, alpha_st in (("", 1.0), ("[alpha_st 0]", 0.0)):
                value = scoring.psds(reference, tables, durations, alpha_st=alpha_st, **options)
                assert agree(value, theirs[f"{name}{suffix}"]), (seed, name, suffix, value, theirs[f"{name}{suffix}"])
                compared += value > 0
    assert compared > 25


def test_psds_event_and_intersection_scores_are_those_of_sed_scores_eval(cases, tmp_path):
    compared = 0
    some = [with_truth(case) for case in cases if case[0].weak.any()]
    for seed, (case, theirs) in enumerate(zip(some, ask("sed_scores_eval", some, tmp_path), strict=True)):
        ours = ours_of(case[0], case[2]) | psds_of(case[0], case[1])
        for name, value in ours.items():
            if name not in theirs:
                continue
            assert agree(value, theirs[name]), (seed, name, value, theirs[name])
            compared += 1
    assert compared > 1000


def psds_of(reference, predictions):
    scores, edges = predictions.frame_scores, predictions.frame_edges
    return one_value(lambda weights: psds_of_scores(reference, scores, edges, weights), reference)


def with_truth(case):
    """Return the case without the classes that have no events, which sed_scores_eval does not take."""
    reference, predictions, decided = case
    used = np.flatnonzero(reference.weak.any(0))
    place = np.full(len(reference.classes), -1)
    place[used] = np.arange(len(used))

    def kept(events):
        mine = place[events.label] >= 0
        return event_table(events.clip[mine], place[events.label[mine]], events.onset[mine], events.offset[mine])

    classes = [reference.classes[k] for k in used]
    smaller = make_reference(reference.filenames, classes, kept(reference.events), reference.durations)
    scores = np.ascontiguousarray(predictions.frame_scores[:, :, used])
    return smaller, Predictions(None, scores, predictions.frame_edges), kept(decided)


def test_a_class_without_events_changes_no_psds(cases):
    for case in cases:
        if case[0].weak.any():
            whole, part = psds_of(case[0], case[1]), psds_of(*with_truth(case)[:2])
            assert all(np.isnan(v) if n not in part else v == part[n] for n, v in whole.items())


@pytest.mark.slow
def test_psds_is_that_of_psds_eval_where_it_is_given_every_threshold(cases, tmp_path):
    few_levels = [case for case in cases if len(np.unique(case[1].frame_scores)) < 12]
    # With a single class theirs averages nothing over the other classes, and is 0 whatever the scores.
    some = [with_truth(case) for case in few_levels if case[0].weak.any(0).sum() > 1][:4]
    for seed, (case, theirs) in enumerate(zip(some, ask("psds_eval", some, tmp_path), strict=True)):
        ours = psds_of(case[0], case[1])
        for name in ("psds1", "psds2"):
            assert agree(ours[name], theirs[name]), (seed, name, ours[name], theirs[name])
    assert len(some) == 4  # it takes half a second a case
