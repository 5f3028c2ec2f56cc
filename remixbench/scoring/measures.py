"""Which figures a set of predictions can have, each as a function of how often every clip counts.

Names: tagging figures from clip scores; detection figures from decided events, `name[decoding]` for decodings
other than the main one; PSDS and frame average precision from frame scores. Thresholds and decodings are in
`described`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from remixbench.dataset.masks import KONG_MARGIN_DB
from remixbench.scoring import decoding, psds, tagging
from remixbench.scoring.bootstrap import Figures, Measure
from remixbench.scoring.counting import Counts, f1_figures
from remixbench.scoring.event_based import COLLAR, SHARE, event_counts
from remixbench.scoring.events import EventTable, FloatArray
from remixbench.scoring.frames import frame_counts, frame_precision, frame_truth
from remixbench.scoring.intersection import DTC, GTC, intersection_counts
from remixbench.scoring.masks import MASK_THRESHOLD, Masks, mask_figures
from remixbench.scoring.predictions import Float32Array, Predictions
from remixbench.scoring.psds_points import curves, truth_of
from remixbench.scoring.reference import Reference
from remixbench.scoring.segment import SEGMENT, segment_counts

TAGGING_THRESHOLD = 0.5
MAIN_DECODING = "median"
HANDED_IN = "events"


def decided(predictions: Predictions) -> dict[str, EventTable]:
    """Return the events by the name of how they were decided: handed in as "events", or by each decoding."""
    if predictions.events is not None:
        return {HANDED_IN: predictions.events}
    made = {name: decoding.decode(predictions, each) for name, each in decoding.DECODINGS.items()}
    return {name: events for name, events in made.items() if events is not None}


def measures_for(
    reference: Reference,
    predictions: Predictions,
    events: dict[str, EventTable],
    masks: Masks | None = None,
) -> list[Measure]:
    """Return the measures that the predictions, and the events decided from them, can express."""
    measures: list[Measure] = []
    if predictions.clip_scores is not None:
        measures.append(_tagging(reference, predictions.clip_scores))
    for name, found in events.items():
        suffix = "" if name in (MAIN_DECODING, HANDED_IN) else f"[{name}]"
        measures.append(_detection(reference, found, predictions.frame_edges, suffix))
    scores, edges = predictions.frame_scores, predictions.frame_edges
    if scores is not None and edges is not None:
        measures += [_frames(reference, scores, edges), _psds(reference, scores, edges)]
    if masks is not None:
        measures.append(lambda weights: mask_figures(reference, masks, weights))
    return measures


def described(predictions: Predictions, events: dict[str, EventTable], masks: Masks | None = None) -> dict[str, Any]:
    """Return the thresholds and decodings behind the figures."""
    how: dict[str, Any] = {}
    if predictions.clip_scores is not None:
        how["tagging_threshold"] = TAGGING_THRESHOLD
    if events:
        how["decodings"] = {name: {} if name == HANDED_IN else asdict(decoding.DECODINGS[name]) for name in events}
        how["main_decoding"] = HANDED_IN if HANDED_IN in events else MAIN_DECODING
        how["segment_seconds"] = SEGMENT
        how["collar"] = {"seconds": COLLAR, "share_of_length": SHARE}
        how["intersection"] = {"dtc": DTC, "gtc": GTC}
    if predictions.frame_scores is not None:
        how["psds"] = {name: asdict(criteria) for name, criteria in psds.PSDS.items()}
    if masks is not None:
        how["mask_threshold"], how["mask_margin_db"] = MASK_THRESHOLD, KONG_MARGIN_DB
    return how


def _tagging(reference: Reference, scores: FloatArray) -> Measure:
    weak = reference.weak
    classes, pairs = tagging.rank_classes(weak, scores), tagging.rank_pairs(weak, scores)
    precision_sums, positives = tagging.label_ranking(weak, scores)
    said = (scores >= TAGGING_THRESHOLD).astype(np.float64)
    counts = Counts(said * weak, weak.astype(np.float64), said)

    def measure(weights: FloatArray) -> Figures:
        ap = np.stack([tagging.average_precision(ranking, weights) for ranking in classes])
        auc = np.stack([tagging.area_under_roc(ranking, weights) for ranking in classes])
        best, threshold = tagging.best_f1(pairs, weights)
        return {
            "micro_ap": tagging.average_precision(pairs, weights),
            "macro_ap": tagging.mean_defined(ap),
            "macro_auc": tagging.mean_defined(auc),
            "per_class_ap": ap,
            "per_class_auc": auc,
            "lwlrap": tagging.divide(precision_sums @ weights, positives @ weights),
            **f1_figures(f"tagging_f1@{TAGGING_THRESHOLD}", counts, weights),
            "tagging_f1_best": best,
            "tagging_f1_best_threshold": threshold,
        }

    return measure


def _detection(reference: Reference, events: EventTable, edges: FloatArray | None, suffix: str) -> Measure:
    truth, shape = reference.events, reference.weak.shape
    segments, errors = segment_counts(truth, events, reference.durations, shape[1])
    counts = {
        "segment_f1": segments,
        "event_f1_onset": event_counts(truth, events, *shape, offsets=False),
        "event_f1": event_counts(truth, events, *shape, offsets=True),
        "intersection_f1": intersection_counts(truth, events, *shape),
    }
    if edges is not None:
        counts["frame_f1"] = frame_counts(frame_truth(truth, edges, *shape), frame_truth(events, edges, *shape))
    active = segments.truth.sum(1)

    def measure(weights: FloatArray) -> Figures:
        figures = {f"segment_er{suffix}": tagging.divide(errors @ weights, active @ weights)}
        for name, count in counts.items():
            figures.update(f1_figures(name, count, weights, suffix))
        return figures

    return measure


def _frames(reference: Reference, scores: Float32Array, edges: FloatArray) -> Measure:
    def measure(weights: FloatArray) -> Figures:
        truth = frame_truth(reference.events, edges, *reference.weak.shape)
        return frame_precision(truth, scores, weights)

    return measure


def _psds(reference: Reference, scores: Float32Array, edges: FloatArray) -> Measure:
    def measure(weights: FloatArray) -> Figures:
        truth = truth_of(reference, edges)
        made = curves(reference, truth, scores, edges, list(psds.PSDS.values()))
        figures: dict[str, FloatArray] = {}
        for (name, criteria), each in zip(psds.PSDS.items(), made, strict=True):
            figures.update(psds.psds_figures(name, criteria, reference, truth, each, weights))
        return figures

    return measure
