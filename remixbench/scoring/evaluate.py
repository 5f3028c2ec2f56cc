"""Everything that can be computed from one set of predictions: metrics, values per class, their intervals.

A class without positives in the fold is left out of macro means and its own values are None, whatever was
predicted; micro averages keep its predictions as false alarms. PSDS, a mean over classes, leaves it
out. What the format of the predictions cannot express is missing from the values, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from remixbench.dataset.masks import KONG_MARGIN_DB
from remixbench.errors import InputError
from remixbench.files import sha256
from remixbench.progress import SILENT, Progress
from remixbench.scoring import detection
from remixbench.scoring.bootstrap import (
    Difference,
    FoldRuns,
    Runs,
    bootstrap_interval,
    make_bootstrap,
    paired_difference,
    too_few_recordings,
)
from remixbench.scoring.bounding_boxes import frame_length, half_step, sebb_metrics
from remixbench.scoring.clip_based import TAGGING_THRESHOLD, frame_average_precision, micro_ap_by_snr, tagging_metrics
from remixbench.scoring.detection import active_frames
from remixbench.scoring.metrics import METRICS, SCORING_VERSION
from remixbench.scoring.postprocessing import MAIN, POSTPROCESSINGS, detections, filter_frames
from remixbench.scoring.psds_exact import PSDS, of_variant, psds_metrics, psds_of_scores
from remixbench.scoring.separation import separation_metrics
from remixbench.scoring.tf_masks import MASK_THRESHOLD, mask_metrics
from remixbench.scoring.types import (
    DECIMALS,
    FloatArray,
    Inputs,
    Masks,
    MetricValues,
    Predictions,
    Reference,
    SebbParameters,
    Separation,
    divide,
    is_count,
    mean_defined,
    reference_digest,
)
from remixbench.scoring.validate import check_measures, check_predictions

BOOTSTRAP_SAMPLES = 1000
"""Bootstrap samples for the intervals, by default."""


@dataclass(frozen=True)
class Scores:
    """Metrics of one system on one fold; None where a value is undefined.

    Attributes
    ----------
    values : {metric: value}
    per_class : {metric: {label: value}}
    intervals : {metric: (low, high)}, 95 %; none without bootstrap, where all clips share one recording, and of a
        metric whose threshold is fitted on these clips
    settings : how they were computed: scoring version, thresholds, post-processings, bootstrap, counts
    samples : {metric: (samples,)}, the bootstrap samples, NaN where undefined
    reference_digest : of the reference, with the full names of its clips, by which the samples are drawn
    by_snr : {metric: {bin: value}}, where the SNR differs between clips
    """

    values: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]]
    intervals: dict[str, tuple[float, float] | None]
    settings: dict[str, Any]
    samples: dict[str, FloatArray]
    reference_digest: str = ""
    by_snr: dict[str, dict[str, float | None]] = field(default_factory=dict)


def _class_means() -> set[str]:
    """Return the metrics that are means over classes."""
    return {
        name
        for name, metric in METRICS.items()
        if "macro" in metric.quantity or metric.quantity in ("frame_ap", "mask_ap", "mask_auc", "psds1", "psds2")
    }


def score_predictions(
    reference: Reference,
    predictions: Predictions,
    *,
    masks: Masks | None = None,
    separation: Separation | None = None,
    sebbs: Sequence[SebbParameters] | None = None,
    bootstrap: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Scores:
    """Score predictions against the reference.

    Parameters
    ----------
    masks : time-frequency maps and ideal masks, where the data set has stems.
    separation : how well events were separated, where the data set has stems.
    sebbs : how the frame scores of each class become bounding boxes (`tune_sebbs`), which are then scored too.
    bootstrap : number of bootstrap samples for the intervals; 0 for none.
    seed : of the bootstrap; the same seed draws the same samples for every system.

    Raises
    ------
    InputError
        If there is nothing to score, or the predictions or the masks were not made for this reference.
    """
    if not is_count(bootstrap):
        raise InputError(f"bootstrap {bootstrap}: expected a number of bootstrap samples, or 0 for none")
    if not is_count(seed):
        raise InputError(f"seed {seed}: expected a whole number of 0 or more")
    nothing = isinstance(predictions, Predictions) and predictions.is_empty
    if not nothing or (masks is None and separation is None):
        check_predictions(predictions, reference)
    check_measures(masks, separation, sebbs, reference)
    drawn = make_bootstrap(reference, bootstrap, seed)
    inputs = Inputs(reference, within_clips(predictions, reference.durations), masks, separation, sebbs)
    computed = metric_values(inputs, drawn.weights, progress)
    with_samples = [name for name in computed.overall if drawn.samples and not METRICS[name].fitted]
    if drawn.samples and too_few_recordings(reference):
        for name in set(with_samples) & _class_means():
            computed.overall[name][1:] = np.nan
    values = {name: float(values[0]) for name, values in computed.overall.items()}
    return Scores(
        values={name: _defined(value) for name, value in values.items()},
        per_class={
            name: {label: _defined(value) for label, value in zip(reference.classes, of_metric[:, 0], strict=True)}
            for name, of_metric in computed.per_class.items()
        },
        intervals={
            name: bootstrap_interval(drawn, computed.overall[name], *METRICS[name].range) for name in with_samples
        },
        settings={
            "scoring_version": SCORING_VERSION,
            "clips": len(reference.filenames),
            "recordings": len({recording for of_clip in reference.recordings for recording in of_clip}),
            "classes": len(reference.classes),
            "classes_used": int(reference.weak.any(0).sum()),
            "bootstrap_samples": bootstrap,
            "bootstrap_seed": seed,
            **settings_of(inputs),
        },
        samples={name: drawn.samples_of(computed.overall[name]) for name in with_samples},
        reference_digest=sha256("\0".join((reference_digest(reference), *reference.filenames)).encode()),
        by_snr=_by_snr(reference, predictions),
    )


def within_clips(predictions: Predictions, durations: FloatArray) -> Predictions:
    """Return predictions whose frames after the end of a shorter clip have score 0.

    Frames are the same for all clips and cover the longest, so shorter ones have scores that mean nothing.
    """
    scores, edges = predictions.frame_scores, predictions.frame_edges
    if scores is None or edges is None:
        return predictions
    after = edges[:-1] >= durations[:, None]
    return replace(predictions, frame_scores=np.where(after[..., None], 0, scores)) if after.any() else predictions


def _by_snr(reference: Reference, predictions: Predictions) -> dict[str, dict[str, float | None]]:
    if predictions.clip_scores is None or not reference.snr_bins:
        return {}
    values = micro_ap_by_snr(reference, predictions.clip_scores)
    return {"micro_ap": {name: _defined(value) for name, value in values.items()}}


def compare(first: Scores, second: Scores) -> dict[str, Difference | None]:
    """Compare two systems, scored with the same reference, seed and number of bootstrap samples, metric by metric.

    None where either value is undefined.

    Raises
    ------
    ValueError
        If the two do not have the same bootstrap samples, so that they cannot be paired.
    """
    alike = ("scoring_version", "clips", "recordings", "bootstrap_samples", "bootstrap_seed")
    same_clips = first.reference_digest == second.reference_digest
    if not same_clips or any(first.settings[key] != second.settings[key] for key in alike):
        raise ValueError("the two systems were not scored on the same bootstrap samples")
    recordings = first.settings["recordings"] or first.settings["clips"]

    def runs(scores: Scores, name: str) -> Runs | None:
        value = scores.values[name]
        return None if value is None else {0: FoldRuns(np.array([value]), scores.samples[name][None], recordings)}

    pairs = {name: (runs(first, name), runs(second, name)) for name in first.samples if name in second.samples}
    return {name: None if a is None or b is None else paired_difference(a, b) for name, (a, b) in pairs.items()}


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


EVENT_LIST = "events"
"""Events as handed in, without post-processing."""


FAMILIES: tuple[Callable[[Inputs, FloatArray], MetricValues], ...] = (
    tagging_metrics,
    detection.detection_metrics,
    frame_average_precision,
    psds_metrics,
    sebb_metrics,
    mask_metrics,
    separation_metrics,
)
"""Functions from inputs and weights (clips, samples) to the metrics that the inputs can express."""


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
        settings["collar"] = {"seconds": detection.COLLAR, "percentage_of_length": detection.PERCENTAGE_OF_LENGTH}
        settings["intersection"] = {"dtc": detection.DTC, "gtc": detection.GTC}
    if predictions.frame_scores is not None and edges is not None:
        frames = filter_frames(POSTPROCESSINGS["median"].median_filter, edges)
        seconds = float(np.round(frames * np.median(np.diff(edges)), DECIMALS))
        settings["median_filter"] = {"frames": frames, "seconds": seconds}
        settings["psds"] = {name: asdict(criteria) for name, criteria in PSDS.items()}
        if inputs.sebbs is not None:
            boxes = dict(zip(inputs.reference.classes, inputs.sebbs, strict=True))
            length = frame_length(edges)
            settings["sebb"] = {label: asdict(parameters) for label, parameters in boxes.items()}
            settings["sebb_step_frames"] = {
                label: 2 * half_step(parameters.step, length) for label, parameters in boxes.items()
            }
    if predictions.clip_scores is not None or inputs.masks is not None:
        settings["kong"] = {
            "threshold": detection.KONG_THRESHOLD,
            "collar": detection.COLLAR,
            "percentage_of_length": detection.KONG_PERCENTAGE_OF_LENGTH,
        }
    if inputs.masks is not None:
        settings["mask_threshold"], settings["mask_margin_db"] = MASK_THRESHOLD, KONG_MARGIN_DB
    return settings


def chance_values(reference: Reference, frame_edges: FloatArray) -> MetricValues:
    """Return the metrics of a system that gives every clip and frame the same score.

    Only metrics over all thresholds have such a value; those at a threshold depend on which side of it the score lies.
    The area under the ROC curve is 1/2 and an average precision the share of positives, since all scores tie. lwlrap
    ranks all classes of a clip alike, so the precision of a label is the share of the clip's classes. PSDS counts one
    detection of every class per clip, from its start to its end.

    Parameters
    ----------
    frame_edges : (frames + 1,) seconds; the frames of frame average precision.

    Returns
    -------
    Metrics (1,), and the average precision of each class, (classes, 1).
    """
    weak = reference.weak.astype(np.float64)
    clips, classes = weak.shape
    labels = weak.sum(axis=1)
    precision = _shares(weak.mean(axis=0))
    frame_precision = _shares(active_frames(reference.events, frame_edges, clips, classes).mean(axis=(0, 1)))
    values = MetricValues(
        {
            "micro_ap": np.array([weak.mean()]),
            "macro_ap": mean_defined(precision),
            "macro_auc": np.array([0.5]),
            "lwlrap": divide(np.array([(labels**2).sum() / classes]), np.array([labels.sum()])),
            "frame_ap": mean_defined(frame_precision),
        },
        {"ap": precision, "frame_ap": frame_precision},
    )
    constant = np.full((clips, 1, classes), 0.5, np.float32)
    edges = np.array([0.0, reference.durations.max()])
    # a median filter leaves a constant as it is, and its bounding box is the whole clip
    criteria = PSDS | of_variant("median") | of_variant("sebb")
    psds = psds_of_scores(reference, constant, edges, np.ones((clips, 1)), criteria)
    values.update(MetricValues(psds.overall))
    return values


def _shares(positive: FloatArray) -> FloatArray:
    """Return the shares of positives by class, (classes, 1), NaN for a class without any."""
    return np.where(positive > 0, positive, np.nan)[:, None]
