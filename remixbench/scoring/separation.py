"""Separation: signal-to-distortion ratios of waveforms against the stems, in dB.

"SDR" is the plain signal-to-noise ratio of the estimate here, 10·lg(‖s‖² / ‖s - ŝ‖²), not the SDR of BSS Eval, which
forgives a filter of 512 taps. SI-SDR (Le Roux et al. 2019) forgives a factor; means are not removed. An improvement
is the value of the estimate less that of the unprocessed mixture.

In the scores of a system, SDR, SDR improvement and SI-SDR improvement are of single events: in the samples from onset
to offset, the waveform of the event's class against the stem, and the mean over all events is given, and that of each
class. The class-aware improvement is of whole clips.

Silence: a reference of zeros has no ratio (NaN) and is left out of means. An estimate of zeros is a miss: its
improvements are 0 dB, like those of the mixture. In SDR improvement and the class-aware improvement, so is an estimate
whose energy is `SILENCE` dB below the mixture's or lower: where the mixture has an SDR of -14 dB, next to nothing,
whose SDR is 0 dB, would otherwise gain 14 dB. SI-SDR does not depend on the level of an estimate.

DCASE 2025 Task 4 defines the class-aware improvement without that rule and without `LIMIT`: there a detected class
whose waveform is silent counts as the mixture's SDR with the sign changed, which is a gain below 0 dB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError
from remixbench.scoring.types import BoolArray, FloatArray, Inputs, MetricValues, divide

Signal = npt.NDArray[np.floating]
LIMIT = 100.0
"""dB; ratios beyond it, such as that of a perfect estimate, count as this, so that means exist."""
LEVELS = (1e-140, 1e140)
"""Peaks of signals whose energy is neither infinite nor zero as a double."""
SILENCE = -50.0
"""dB; an estimate whose energy relative to the mixture's is no more than this is silent."""


def sdr(reference: Signal, estimate: Signal) -> float:
    """Return the plain signal-to-noise ratio of an estimate, 10·lg(‖s‖² / ‖s - ŝ‖²), in dB.

    Not the SDR of BSS Eval. 0 dB for a silent estimate, infinite for a perfect one, NaN for a silent reference.

    Parameters
    ----------
    reference, estimate : (samples,), of one length.

    Raises
    ------
    InputError
        If they are not signals of one length, or hold NaN or infinity.
    """
    s, e = _signals(reference, estimate)
    return _decibels(s, s - e) if s.any() else math.nan


def si_sdr(reference: Signal, estimate: Signal) -> float:
    """Return the scale-invariant signal-to-distortion ratio (Le Roux et al. 2019), in dB.

    10·lg(‖α·s‖² / ‖ŝ - α·s‖²) with α = ⟨ŝ, s⟩ / ‖s‖². Infinite for a perfect estimate, minus infinity for one that
    holds nothing of the reference, as a silent one does; NaN for a silent reference. Arguments and errors as in `sdr`.
    """
    s, e = _signals(reference, estimate)
    if not s.any():
        return math.nan
    target = (e @ s) / (s @ s) * s
    if not target.any():
        return -math.inf
    return _decibels(target, e - target)


def sdr_improvement(reference: Signal, estimate: Signal, mixture: Signal) -> float:
    """Return by how many dB the `sdr` of an estimate is above that of the mixture.

    0 for an estimate that is silent next to the mixture (`SILENCE`), NaN for a silent reference. Either ratio is
    limited to ±`LIMIT`. Arguments and errors as in `sdr`.
    """
    return _improvement(sdr, reference, estimate, mixture, is_silent(estimate, mixture))


def si_sdr_improvement(reference: Signal, estimate: Signal, mixture: Signal) -> float:
    """Return by how many dB the `si_sdr` of an estimate is above that of the mixture.

    0 for an estimate of zeros, however quiet another one is; the rest as in `sdr_improvement`.
    """
    return _improvement(si_sdr, reference, estimate, mixture, not np.any(estimate))


def _improvement(
    ratio: Callable[[Signal, Signal], float], reference: Signal, estimate: Signal, mixture: Signal, silent: bool
) -> float:
    before, after = ratio(reference, mixture), ratio(reference, estimate)
    if math.isnan(before):
        return math.nan
    return 0.0 if silent else _limited(after) - _limited(before)


def is_silent(estimate: Signal, mixture: Signal) -> bool:
    """Say whether an estimate has next to no energy compared with the mixture (`SILENCE`)."""
    m, e = _signals(mixture, estimate, "mixture")
    return bool(e @ e <= 10 ** (SILENCE / 10) * (m @ m))


def _limited(decibels: float) -> float:
    """Return a ratio within ±`LIMIT`; NaN stays NaN."""
    return min(max(decibels, -LIMIT), LIMIT)


def ca_sdr_improvement(references: Mapping[str, Signal], estimates: Mapping[str, Signal], mixture: Signal) -> float:
    """Return the class-aware SDR improvement of a clip (CA-SDRi, DCASE 2025 Task 4), in dB.

    The mean over the classes that are in the clip or in the estimates: the improvement in `sdr` of a class that is in
    both, 0 for one that is missed and for one that is not in the clip. NaN where there is no class at all. A class
    whose reference is silent counts as one that is not in the clip, a class whose estimate is silent (`SILENCE`) as one
    that is not among the estimates.

    Parameters
    ----------
    references, estimates : (samples,) each, by class.
    mixture : (samples,).
    """
    present = {label for label, signal in references.items() if np.any(signal)}
    classes = sorted(present | {label for label, signal in estimates.items() if not is_silent(signal, mixture)})
    values = [
        sdr_improvement(references[label], estimates[label], mixture)
        if label in present and label in estimates
        else 0.0
        for label in classes
    ]
    return math.fsum(values) / len(values) if values else math.nan


@dataclass(frozen=True)
class ClipSources:
    """The stems of a clip, by class.

    Attributes
    ----------
    labels : the classes that occur in it, ascending
    signals : (labels, samples), the stem of each, at the level that it has in the mixture
    mixture : (samples,)
    events : (place in `labels`, first sample, sample after the last) of each event
    """

    labels: tuple[int, ...]
    signals: npt.NDArray[np.float32]
    mixture: npt.NDArray[np.float32]
    events: tuple[tuple[int, int, int], ...]


def _limited_sdr(reference: Signal, estimate: Signal, mixture: Signal) -> float:
    return _limited(sdr(reference, estimate))


OF_EVENTS: dict[str, Callable[[Signal, Signal, Signal], float]] = {
    "sdr": _limited_sdr,
    "sdr_improvement": sdr_improvement,
    "si_sdr_improvement": si_sdr_improvement,
}
"""Metrics that are means over events: from the stem, estimate and mixture of one event to its value in dB."""
OF_CLIPS: dict[str, Callable[[Mapping[str, Signal], Mapping[str, Signal], Signal], float]] = {
    "ca_sdr_improvement": ca_sdr_improvement,
}
"""Metrics that are means over clips: from the stems and estimates of a clip by class, and its mixture."""
Values = dict[str, float]
"""Values in dB by metric, NaN where undefined."""


def measure_clip(
    sources: ClipSources, estimates: Mapping[int, Signal], detected: Sequence[int] | None
) -> tuple[list[Values], Values]:
    """Return the metrics `OF_EVENTS` of each event, and `OF_CLIPS` of the clip.

    Parameters
    ----------
    estimates : (samples,) by class; a class without one has a silent estimate.
    detected : the classes that the system finds in the clip; None where that is unknown, and the clip then has no
        values.
    """
    silence = np.zeros_like(sources.mixture)
    of_events = []
    for place, first, last in sources.events:
        estimate = estimates.get(sources.labels[place], silence)[first:last]
        reference, mixture = sources.signals[place, first:last], sources.mixture[first:last]
        of_events.append({name: measure(reference, estimate, mixture) for name, measure in OF_EVENTS.items()})
    if detected is None:
        return of_events, {}
    references = {str(label): signal for label, signal in zip(sources.labels, sources.signals, strict=True)}
    # a false class counts 0 whatever its waveform, so the mixture may stand for one
    waveforms = {str(label): estimates.get(label, sources.mixture) for label in detected}
    return of_events, {name: measure(references, waveforms, sources.mixture) for name, measure in OF_CLIPS.items()}


def separation_metrics(inputs: Inputs, weights: FloatArray) -> MetricValues:
    """Return the means over events, of all and of each class, and over clips, for weights (clips, samples).

    {} where nothing was separated.
    """
    separation = inputs.separation
    if separation is None:
        return MetricValues()
    metrics = MetricValues()
    for name, values in separation.of_events.items():
        defined = ~np.isnan(values)
        total, count = np.zeros((2, *inputs.reference.weak.shape))
        places = (separation.clip[defined], separation.label[defined])
        np.add.at(total, places, values[defined])
        np.add.at(count, places, 1)
        metrics.overall[name] = _weighted_mean(total.sum(axis=1), count.sum(axis=1), weights)
        metrics.per_class[name] = np.stack(
            [_weighted_mean(total[:, k], count[:, k], weights) for k in range(total.shape[1])]
        )
    for name, values in separation.of_clips.items():
        clips: BoolArray = ~np.isnan(values)
        metrics.overall[name] = _weighted_mean(np.where(clips, values, 0.0), clips.astype(np.float64), weights)
    return metrics


def _weighted_mean(total: FloatArray, count: FloatArray, weights: FloatArray) -> FloatArray:
    return divide(total @ weights, count @ weights)


def _signals(reference: Signal, estimate: Signal, name: str = "reference") -> tuple[FloatArray, FloatArray]:
    """Return two signals as doubles, checked; `name` is what messages call the first."""
    s, e = _signal(reference, name), _signal(estimate, "estimate")
    if s.ndim != 1 or s.shape != e.shape:
        raise InputError(f"{name} of shape {s.shape}, estimate of {e.shape}; expected (samples,) of one length")
    return s, e


def _signal(values: Signal, name: str) -> FloatArray:
    try:
        signal = np.asarray(values)
    except ValueError:  # rows of several lengths
        raise InputError(f"the {name} is not an array of samples; expected (samples,)") from None
    if signal.dtype.kind not in "iuf":
        raise InputError(f"the {name} is of type {signal.dtype}, expected samples as real numbers")
    if not np.isfinite(signal).all():
        raise InputError(f"the {name} holds NaN or infinite samples; give finite ones")
    peak = float(np.abs(signal.astype(np.float64)).max(initial=0))
    if peak and not LEVELS[0] < peak < LEVELS[1]:  # its energy is infinite, NaN or zero
        raise InputError(f"the {name} has a peak of {peak:.0e}, expected about 1; scale it")
    return signal.astype(np.float64)


def _decibels(signal: FloatArray, distortion: FloatArray) -> float:
    below = float(distortion @ distortion)
    return 10 * math.log10(float(signal @ signal) / below) if below > 0 else math.inf
