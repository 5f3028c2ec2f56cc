"""The registry of all metrics: their names, what they measure and need, and where they are shown.

To add a metric, add its `Metric` here and compute it in the module of its family (`clip_based`, `detection`,
`psds_exact`, `bounding_boxes`, `tf_masks`, `separation`), under the same name. Every table, file and check of the
leaderboard reads this registry, so nothing else has to change but `SCORING_VERSION`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from remixbench.errors import unknown
from remixbench.scoring.postprocessing import MAIN, POSTPROCESSINGS
from remixbench.scoring.types import metric_name

SCORING_VERSION = "4"
"""Raised whenever a value could come out differently, or a metric is added or removed: records of one version have the
same metrics, so that one that lacks some is not taken for complete. Rows of different versions are not compared."""

Family = Literal["tagging", "detection", "time-frequency", "separation"]
Need = Literal["stems", "event stems", "validation clips"]
VARIANT_TITLES = {
    "alpha_st 0": "α_ST = 0",
    "median alpha_st 0": "median, α_ST = 0",
    "sebb": "SEBB",
    "sebb alpha_st 0": "SEBB, α_ST = 0",
}
"""Titles of variants, where they differ from the names."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    quantity : what is measured, such as "event_f1"; "macro" in it is a mean over the classes that occur
    heading : of its columns
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


def _otherwise(metric: Metric, variant: str) -> Metric:
    shown: Literal["details", "files"] = (
        "details" if metric.name in SHOWN_OTHERWISE_DETECTED.get(variant, ()) else "files"
    )
    return replace(metric, variant=variant, shown=shown, paired=False)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *_TAGGING,
        *_DETECTED,
        *(_otherwise(metric, variant) for variant in POSTPROCESSINGS if variant != MAIN for metric in _DETECTED),
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
    """Return the smallest and largest possible value of a metric; 0 and 1 for an unknown one."""
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
    """Say whether any of these metrics needs something, such as stems."""
    return any(need in METRICS[name].needs for name in names if name in METRICS)
