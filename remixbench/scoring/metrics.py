"""The one registry of every metric: what it is called, what it measures, and where it is shown.

To add a metric, add its `Metric` here and compute it in the module of its family (`clip_based`, `detection`,
`psds_exact`, `tf_masks`, `separation`), under the same name. Every table, file and check of the leaderboard reads
this registry, so nothing else has to change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from remixbench.dataset.masks import KONG_MARGIN_DB
from remixbench.errors import unknown
from remixbench.progress import SILENT, Progress
from remixbench.scoring import detection, psds_exact
from remixbench.scoring.bootstrap import MetricValues
from remixbench.scoring.bounding_boxes import SebbParameters, sebb_metrics
from remixbench.scoring.clip_based import TAGGING_THRESHOLD, frame_average_precision, tagging_metrics
from remixbench.scoring.kong import PERCENTAGE_OF_LENGTH, THRESHOLD, kong_metrics
from remixbench.scoring.postprocessing import MAIN, POSTPROCESSINGS, detections, filter_frames, median_filtered
from remixbench.scoring.separation import Separation, separation_metrics
from remixbench.scoring.tf_masks import MASK_THRESHOLD, Masks, mask_metrics
from remixbench.scoring.types import DECIMALS, FloatArray, Predictions, Reference

SCORING_VERSION = "3"
"""Raised whenever a value could come out differently; rows of different versions are not compared."""
EVENT_LIST = "events"
"""Events as handed in, without post-processing."""

Family = Literal["tagging", "detection", "time-frequency", "separation"]
Average = Literal["micro", "macro", "none"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name : key in records, CSV and JSON; `name[post-processing]` where the events were detected otherwise than by
        the main post-processing, `psds1[median]` where scores were median-filtered as by that one, `name[kong]` with
        the settings of Kong et al. 2019
    title : column heading
    family : "tagging", "detection", "time-frequency" or "separation"
    average : "micro" (all counts or pairs pooled), "macro" (mean over the classes that occur) or "none" (of single
        classes, or not an average over classes)
    direction : which values are better, "higher" or "lower"
    range : smallest and largest possible value
    shown : "main" (in the main table), "details" (in the tables of its family) or "files" (in CSV and JSON alone)
    paired : whether bootstrap samples are kept, so that two systems can be compared by it
    fitted : whether its threshold is fitted on the test clips; such a metric has no interval
    """

    name: str
    title: str
    family: Family
    average: Average
    direction: Literal["higher", "lower"] = "higher"
    range: tuple[float, float] = (0.0, 1.0)
    shown: Literal["main", "details", "files"] = "files"
    paired: bool = False
    fitted: bool = False


_INF = float("inf")

_TAGGING = (
    Metric("micro_ap", "micro-AP", "tagging", "micro", shown="main", paired=True),
    Metric("macro_ap", "macro-AP", "tagging", "macro", shown="main", paired=True),
    Metric("macro_auc", "AUC", "tagging", "macro", shown="main", paired=True),
    Metric("lwlrap", "lwlrap", "tagging", "none", shown="details"),
    Metric("tagging_f1", "tagging F1 @0.5", "tagging", "micro"),
    Metric("tagging_f1_macro", "macro tagging F1 @0.5", "tagging", "macro"),
    Metric("tagging_f1_oracle", "oracle tagging F1", "tagging", "micro", fitted=True),
    Metric("tagging_f1_oracle_threshold", "oracle tagging threshold", "tagging", "none", fitted=True),
    Metric("ap", "AP", "tagging", "none"),
    Metric("auc", "AUC of a class", "tagging", "none"),
)
_DETECTED = (
    Metric("segment_f1", "segment F1", "detection", "micro", shown="details", paired=True),
    Metric("segment_f1_macro", "macro segment F1", "detection", "macro"),
    Metric("segment_er", "segment ER", "detection", "micro", "lower", (0.0, _INF), shown="details"),
    Metric("event_f1_onset", "onset F1", "detection", "micro", shown="details"),
    Metric("event_f1_onset_macro", "macro onset F1", "detection", "macro"),
    Metric("event_f1", "micro event F1", "detection", "micro", shown="details", paired=True),
    Metric("event_f1_macro", "macro event F1", "detection", "macro", shown="details"),
    Metric("intersection_f1", "intersection F1", "detection", "micro", shown="details"),
    Metric("intersection_f1_macro", "macro intersection F1", "detection", "macro"),
    Metric("frame_f1", "frame F1", "detection", "micro", shown="details"),
    Metric("frame_f1_macro", "macro frame F1", "detection", "macro"),
)
_THRESHOLD_FREE = (
    Metric("frame_ap", "frame AP", "detection", "macro", shown="details", paired=True),
    Metric("psds1", "PSDS 1 raw", "detection", "macro", shown="details", paired=True),
    Metric("psds2", "PSDS 2 raw", "detection", "macro", shown="details", paired=True),
    Metric("psds1[alpha_st 0]", "PSDS 1 raw (α_ST = 0)", "detection", "macro", shown="details", paired=True),
    Metric("psds2[alpha_st 0]", "PSDS 2 raw (α_ST = 0)", "detection", "macro", shown="details", paired=True),
    Metric("psds1[median]", "PSDS 1 (median)", "detection", "macro", shown="details"),
    Metric("psds2[median]", "PSDS 2 (median)", "detection", "macro", shown="details"),
    Metric("psds1[sebb]", "PSDS 1 (SEBB)", "detection", "macro", shown="details"),
    Metric("psds2[sebb]", "PSDS 2 (SEBB)", "detection", "macro", shown="details"),
    Metric("psds1[sebb alpha_st 0]", "PSDS 1 (SEBB, α_ST = 0)", "detection", "macro"),
    Metric("psds2[sebb alpha_st 0]", "PSDS 2 (SEBB, α_ST = 0)", "detection", "macro"),
    Metric("psds1[median alpha_st 0]", "PSDS 1 (median, α_ST = 0)", "detection", "macro"),
    Metric("psds2[median alpha_st 0]", "PSDS 2 (median, α_ST = 0)", "detection", "macro"),
)
_TIME_FREQUENCY = (
    Metric("mask_f1", "mask F1", "time-frequency", "micro", shown="details"),
    Metric("mask_f1_macro", "macro mask F1", "time-frequency", "macro"),
    Metric("mask_auc", "mask AUC", "time-frequency", "macro", shown="details"),
    Metric("mask_ap", "mask AP", "time-frequency", "macro", shown="details"),
)

_KONG = (
    Metric("tagging_f1_macro[kong]", "macro tagging F1 (kong)", "tagging", "macro", shown="details"),
    Metric("frame_f1_macro[kong]", "macro frame F1 (kong)", "detection", "macro", shown="details"),
    Metric("event_f1_macro[kong]", "macro event F1 (kong)", "detection", "macro", shown="details"),
    Metric("mask_f1_macro[kong]", "macro mask F1 (kong)", "time-frequency", "macro", shown="details"),
)
"""With the settings of Kong et al. 2019 (kong.py)."""
_SEPARATION = (
    Metric("sdr", "SDR (dB)", "separation", "none", range=(-_INF, _INF), shown="details"),
    Metric("sdr_improvement", "SDRi (dB)", "separation", "none", range=(-_INF, _INF)),
    Metric(
        "si_sdr_improvement", "SI-SDRi (dB)", "separation", "none", range=(-_INF, _INF), shown="details", paired=True
    ),
    Metric(
        "ca_sdr_improvement", "CA-SDRi (dB)", "separation", "none", range=(-_INF, _INF), shown="details", paired=True
    ),
)

SHOWN_OTHERWISE_DETECTED = {"hysteresis": ("segment_f1", "event_f1", "event_f1_macro", "frame_f1")}
"""Metrics that have columns for a post-processing besides the main one."""


def _otherwise(metric: Metric, how: str) -> Metric:
    shown: Literal["details", "files"] = "details" if metric.name in SHOWN_OTHERWISE_DETECTED.get(how, ()) else "files"
    return replace(metric, name=f"{metric.name}[{how}]", title=f"{metric.title} ({how})", shown=shown, paired=False)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *_TAGGING,
        *_DETECTED,
        *(_otherwise(metric, how) for how in POSTPROCESSINGS if how != MAIN for metric in _DETECTED),
        *_THRESHOLD_FREE,
        *_TIME_FREQUENCY,
        *_SEPARATION,
        *_KONG,
    )
}
"""Every metric by its name, in the order in which tables show them."""


def find_metric(name: str) -> Metric:
    """Return the metric of that name.

    Raises
    ------
    InputError
        If there is none; the nearest name is suggested.
    """
    if name not in METRICS:
        raise unknown("metric", name, list(METRICS))
    return METRICS[name]


def metric_range(name: str) -> tuple[float, float]:
    """Return the smallest and largest possible value of a metric; of one that is unknown, 0 and 1."""
    return METRICS[name].range if name in METRICS else (0.0, 1.0)


def metrics_shown(family: Family | None = None, *shown: str) -> tuple[Metric, ...]:
    """Return the metrics of a family (of all where None) shown in any of the places `shown`, in table order."""
    return tuple(
        metric
        for metric in METRICS.values()
        if family in (None, metric.family) and (not shown or metric.shown in shown)
    )


def paired_metrics() -> tuple[str, ...]:
    """Return the names of the metrics that two systems are compared by."""
    return tuple(metric.name for metric in METRICS.values() if metric.paired)


def metric_values(
    reference: Reference,
    predictions: Predictions,
    weights: FloatArray,
    masks: Masks | None = None,
    progress: Progress = SILENT,
    separation: Separation | None = None,
    sebbs: Sequence[SebbParameters] | None = None,
) -> MetricValues:
    """Compute every metric that the predictions can express.

    Parameters
    ----------
    weights : (clips, samples), how often each clip counts in each bootstrap sample.
    sebbs : how frame scores of each class become boxes; None for no metrics of boxes.
    """
    scores, edges = predictions.frame_scores, predictions.frame_edges
    steps: list[tuple[str, Callable[[FloatArray], MetricValues]]] = []
    if predictions.clip_scores is not None:
        steps.append(("", tagging_metrics(reference, predictions.clip_scores)))
    if predictions.events is not None:
        steps.append(("", detection.event_metrics(reference, predictions.events, edges)))
    else:
        for how, events in detections(predictions).items():
            suffix = "" if how == MAIN else f"[{how}]"
            steps.append((suffix, detection.event_metrics(reference, events, edges)))
    if scores is not None and edges is not None:
        steps.append(("", frame_average_precision(reference, scores, edges)))
        steps.append(("", psds_exact.psds_metrics(reference, scores, edges)))
        filtered = median_filtered(scores, edges, POSTPROCESSINGS["median"].median_filter)
        steps.append(("", psds_exact.psds_metrics(reference, filtered, edges, psds_exact.MEDIAN_PSDS)))
        if sebbs is not None:
            steps.append(("", sebb_metrics(reference, scores, edges, sebbs)))
    if masks is not None:
        steps.append(("", lambda weights: mask_metrics(reference, masks, weights)))
    steps.append(("", kong_metrics(reference, predictions, masks)))
    if separation is not None:
        steps.append(("", lambda weights: separation_metrics(reference, separation, weights)))
    values = MetricValues()
    with progress.bar("Scoring", len(steps), "families") as advance:
        for suffix, compute in steps:
            values.update(compute(weights).renamed(suffix))
            advance(1)
    return values


def settings_of(
    predictions: Predictions,
    masks: Masks | None = None,
    sebbs: Mapping[str, SebbParameters] | None = None,
) -> dict[str, Any]:
    """Return the thresholds and post-processings behind the metrics, as plain values."""
    settings: dict[str, Any] = {}
    if predictions.clip_scores is not None:
        settings["tagging_threshold"] = TAGGING_THRESHOLD
    found = [EVENT_LIST] if predictions.events is not None else list(detections(predictions))
    if found:
        settings["postprocessings"] = {how: asdict(POSTPROCESSINGS[how]) if how != EVENT_LIST else {} for how in found}
        settings["main_postprocessing"] = EVENT_LIST if EVENT_LIST in found else MAIN
        settings["time_resolution"] = detection.TIME_RESOLUTION
        settings["collar"] = {
            "seconds": detection.COLLAR,
            "percentage_of_length": detection.PERCENTAGE_OF_LENGTH,
        }
        settings["intersection"] = {"dtc": detection.DTC, "gtc": detection.GTC}
    if predictions.frame_scores is not None and predictions.frame_edges is not None:
        frames = filter_frames(POSTPROCESSINGS["median"].median_filter, predictions.frame_edges)
        seconds = float(np.round(frames * np.median(np.diff(predictions.frame_edges)), DECIMALS))
        settings["median_filter"] = {"frames": frames, "seconds": seconds}
        settings["psds"] = {name: asdict(criteria) for name, criteria in psds_exact.PSDS.items()}
        if sebbs is not None:
            settings["sebb"] = {label: asdict(parameters) for label, parameters in sebbs.items()}
    if predictions.clip_scores is not None or masks is not None:
        settings["kong"] = {
            "threshold": THRESHOLD,
            "collar": detection.COLLAR,
            "percentage_of_length": PERCENTAGE_OF_LENGTH,
        }
    if masks is not None:
        settings["mask_threshold"], settings["mask_margin_db"] = MASK_THRESHOLD, KONG_MARGIN_DB
    return settings
