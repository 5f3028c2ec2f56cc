"""The one registry of every metric: what it is called, what it measures and needs, and where it is shown.

To add a metric, add its `Metric` here and compute it in the module of its family (`clip_based`, `detection`,
`psds_exact`, `bounding_boxes`, `tf_masks`, `separation`), under the same name. Every table, file and check of the
leaderboard reads this registry, so nothing else has to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from remixbench.dataset.masks import KONG_MARGIN_DB
from remixbench.errors import unknown
from remixbench.progress import SILENT, Progress
from remixbench.scoring import detection
from remixbench.scoring.bootstrap import MetricValues, metric_name
from remixbench.scoring.bounding_boxes import sebb_metrics
from remixbench.scoring.clip_based import TAGGING_THRESHOLD, frame_average_precision, tagging_metrics
from remixbench.scoring.postprocessing import MAIN, POSTPROCESSINGS, detections, filter_frames
from remixbench.scoring.psds_exact import PSDS, psds_metrics
from remixbench.scoring.separation import separation_metrics
from remixbench.scoring.tf_masks import MASK_THRESHOLD, mask_metrics
from remixbench.scoring.types import DECIMALS, FloatArray, Inputs

SCORING_VERSION = "3"
"""Raised whenever a value could come out differently; rows of different versions are not compared."""
EVENT_LIST = "events"
"""Events as handed in, without post-processing."""

Family = Literal["tagging", "detection", "time-frequency", "separation"]
Need = Literal["stems", "event stems", "validation clips"]
VARIANT_TITLES = {
    "alpha_st 0": "α_ST = 0",
    "median alpha_st 0": "median, α_ST = 0",
    "sebb": "SEBB",
    "sebb alpha_st 0": "SEBB, α_ST = 0",
}
"""What a variant is called in titles, where that is not its name."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    quantity : what is measured, such as "event_f1"; "macro" in it is a mean over the classes that occur
    heading : how columns call it
    family : "tagging", "detection", "time-frequency" or "separation"
    variant : how it is computed where that is not the main way: the post-processing, "median" of median-filtered
        scores, "sebb" of bounding boxes, "alpha_st 0" without the penalty for spread, "kong" with the settings of Kong
        et al. 2019
    direction : which values are better, "higher" or "lower"
    range : smallest and largest possible value
    shown : "main" (in the main table), "details" (in the tables of its family) or "files" (in CSV and JSON alone)
    paired : whether bootstrap samples are kept, so that two systems can be compared by it
    fitted : whether its threshold is fitted on the test clips; such a metric has no interval
    needs : what it takes besides predictions for the test clips: the data set's "stems", "event stems" (which tell
        overlapping events apart), or predictions for "validation clips"
    """

    quantity: str
    heading: str
    family: Family
    variant: str = ""
    direction: Literal["higher", "lower"] = "higher"
    range: tuple[float, float] = (0.0, 1.0)
    shown: Literal["main", "details", "files"] = "files"
    paired: bool = False
    fitted: bool = False
    needs: tuple[Need, ...] = ()

    @property
    def name(self) -> str:
        """Its key in records, CSV and JSON: `event_f1`, or `event_f1[hysteresis]` of a variant."""
        return metric_name(self.quantity, self.variant)

    @property
    def title(self) -> str:
        """Its heading, with the variant."""
        return f"{self.heading} ({VARIANT_TITLES.get(self.variant, self.variant)})" if self.variant else self.heading


_INF = float("inf")

_TAGGING = (
    Metric("micro_ap", "micro-AP", "tagging", shown="main", paired=True),
    Metric("macro_ap", "macro-AP", "tagging", shown="main", paired=True),
    Metric("macro_auc", "AUC", "tagging", shown="main", paired=True),
    Metric("lwlrap", "lwlrap", "tagging", shown="details"),
    Metric("tagging_f1", "tagging F1 @0.5", "tagging"),
    Metric("tagging_f1_macro", "macro tagging F1 @0.5", "tagging"),
    Metric("tagging_f1_oracle", "oracle tagging F1", "tagging", fitted=True),
    Metric("tagging_f1_oracle_threshold", "oracle tagging threshold", "tagging", fitted=True),
    Metric("ap", "AP", "tagging"),
    Metric("auc", "AUC of a class", "tagging"),
)
_DETECTED = (
    Metric("segment_f1", "segment F1", "detection", shown="details", paired=True),
    Metric("segment_f1_macro", "macro segment F1", "detection"),
    Metric("segment_er", "segment ER", "detection", direction="lower", range=(0.0, _INF), shown="details"),
    Metric("event_f1_onset", "onset F1", "detection", shown="details"),
    Metric("event_f1_onset_macro", "macro onset F1", "detection"),
    Metric("event_f1", "micro event F1", "detection", shown="details", paired=True),
    Metric("event_f1_macro", "macro event F1", "detection", shown="details"),
    Metric("intersection_f1", "intersection F1", "detection", shown="details"),
    Metric("intersection_f1_macro", "macro intersection F1", "detection"),
    Metric("frame_f1", "frame F1", "detection", shown="details"),
    Metric("frame_f1_macro", "macro frame F1", "detection"),
)
_THRESHOLD_FREE = (
    Metric("frame_ap", "frame AP", "detection", shown="details", paired=True),
    Metric("psds1", "PSDS 1 raw", "detection", shown="details", paired=True),
    Metric("psds2", "PSDS 2 raw", "detection", shown="details", paired=True),
    Metric("psds1", "PSDS 1 raw", "detection", "alpha_st 0", shown="details", paired=True),
    Metric("psds2", "PSDS 2 raw", "detection", "alpha_st 0", shown="details", paired=True),
    Metric("psds1", "PSDS 1", "detection", "median", shown="details"),
    Metric("psds2", "PSDS 2", "detection", "median", shown="details"),
    Metric("psds1", "PSDS 1", "detection", "sebb", shown="details", needs=("validation clips",)),
    Metric("psds2", "PSDS 2", "detection", "sebb", shown="details", needs=("validation clips",)),
    Metric("psds1", "PSDS 1", "detection", "sebb alpha_st 0", needs=("validation clips",)),
    Metric("psds2", "PSDS 2", "detection", "sebb alpha_st 0", needs=("validation clips",)),
    Metric("psds1", "PSDS 1", "detection", "median alpha_st 0"),
    Metric("psds2", "PSDS 2", "detection", "median alpha_st 0"),
)
_TIME_FREQUENCY = (
    Metric("mask_f1", "mask F1", "time-frequency", shown="details", needs=("stems",)),
    Metric("mask_f1_macro", "macro mask F1", "time-frequency", needs=("stems",)),
    Metric("mask_auc", "mask AUC", "time-frequency", shown="details", needs=("stems",)),
    Metric("mask_ap", "mask AP", "time-frequency", shown="details", needs=("stems",)),
)

_KONG = (
    Metric("tagging_f1_macro", "macro tagging F1", "tagging", "kong", shown="details"),
    Metric("frame_f1_macro", "macro frame F1", "detection", "kong", shown="details"),
    Metric("event_f1_macro", "macro event F1", "detection", "kong", shown="details"),
    Metric("mask_f1_macro", "macro mask F1", "time-frequency", "kong", shown="details", needs=("stems",)),
)
"""With the settings of Kong et al. 2019 (`detection`)."""
_SEPARATION = tuple(
    replace(metric, range=(-_INF, _INF), needs=("event stems",))
    for metric in (
        Metric("sdr", "SDR (dB)", "separation", shown="details"),
        Metric("sdr_improvement", "SDRi (dB)", "separation"),
        Metric("si_sdr_improvement", "SI-SDRi (dB)", "separation", shown="details", paired=True),
        Metric("ca_sdr_improvement", "CA-SDRi (dB)", "separation", shown="details", paired=True),
    )
)

SHOWN_OTHERWISE_DETECTED = {"hysteresis": ("segment_f1", "event_f1", "event_f1_macro", "frame_f1")}
"""Metrics that have columns for a post-processing besides the main one."""


def _otherwise(metric: Metric, how: str) -> Metric:
    shown: Literal["details", "files"] = "details" if metric.name in SHOWN_OTHERWISE_DETECTED.get(how, ()) else "files"
    return replace(metric, variant=how, shown=shown, paired=False)


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


def scored_with(names: Iterable[str], need: Need) -> bool:
    """Say whether metrics that need something, such as stems, are among those of these names."""
    return any(need in METRICS[name].needs for name in names if name in METRICS)


FAMILIES: tuple[Callable[[Inputs, FloatArray], MetricValues], ...] = (
    tagging_metrics,
    detection.detection_metrics,
    frame_average_precision,
    psds_metrics,
    sebb_metrics,
    mask_metrics,
    separation_metrics,
)
"""What computes the metrics: from inputs and weights (clips, samples) to those values that the inputs can express."""


def metric_values(inputs: Inputs, weights: FloatArray, progress: Progress = SILENT) -> MetricValues:
    """Compute every metric that the inputs can express, in the order of `METRICS`.

    Parameters
    ----------
    weights : (clips, samples), how often each clip counts in each bootstrap sample.
    """
    values = MetricValues()
    with progress.bar("Scoring", len(FAMILIES), "families") as advance:
        for family in FAMILIES:
            values.update(family(inputs, weights))
            advance(1)
    return MetricValues(
        {name: values.overall[name] for name in METRICS if name in values.overall},
        {name: values.per_class[name] for name in METRICS if name in values.per_class},
    )


def settings_of(inputs: Inputs) -> dict[str, Any]:
    """Return the thresholds and post-processings behind the metrics, as plain values."""
    predictions, edges = inputs.predictions, inputs.predictions.frame_edges
    settings: dict[str, Any] = {}
    if predictions.clip_scores is not None:
        settings["tagging_threshold"] = TAGGING_THRESHOLD
    hows = [EVENT_LIST] if predictions.events is not None else list(detections(predictions))
    if hows:
        settings["postprocessings"] = {how: asdict(POSTPROCESSINGS[how]) if how != EVENT_LIST else {} for how in hows}
        settings["main_postprocessing"] = EVENT_LIST if EVENT_LIST in hows else MAIN
        settings["time_resolution"] = detection.TIME_RESOLUTION
        settings["collar"] = {
            "seconds": detection.COLLAR,
            "percentage_of_length": detection.PERCENTAGE_OF_LENGTH,
        }
        settings["intersection"] = {"dtc": detection.DTC, "gtc": detection.GTC}
    if predictions.frame_scores is not None and edges is not None:
        frames = filter_frames(POSTPROCESSINGS["median"].median_filter, edges)
        seconds = float(np.round(frames * np.median(np.diff(edges)), DECIMALS))
        settings["median_filter"] = {"frames": frames, "seconds": seconds}
        settings["psds"] = {name: asdict(criteria) for name, criteria in PSDS.items()}
        if inputs.sebbs is not None:
            by_class = zip(inputs.reference.classes, inputs.sebbs, strict=True)
            settings["sebb"] = {label: asdict(parameters) for label, parameters in by_class}
    if predictions.clip_scores is not None or inputs.masks is not None:
        settings["kong"] = {
            "threshold": detection.KONG_THRESHOLD,
            "collar": detection.COLLAR,
            "percentage_of_length": detection.KONG_PERCENTAGE_OF_LENGTH,
        }
    if inputs.masks is not None:
        settings["mask_threshold"], settings["mask_margin_db"] = MASK_THRESHOLD, KONG_MARGIN_DB
    return settings
