"""Separation: signal-to-distortion ratios of waveforms against the stems, in dB.

"SDR" is the plain signal-to-noise ratio of the estimate here, 10·lg(|s|² / |s - ŝ|²), not the SDR of BSS Eval, which
forgives a filter of 512 taps. SI-SDR (Le Roux et al. 2019) forgives a factor; means are not removed. An improvement
is the value of the estimate less that of the unprocessed mixture.

Silence: a silent reference has no ratio (NaN) and is left out of means. A silent estimate is a missed one: its
improvements are 0 dB, as are those of the mixture, so that nothing is gained by silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError
from remixbench.scoring.types import FloatArray

Signal = npt.NDArray[np.floating]
LIMIT = 100.0
"""dB; what is beyond, as the ratio of a perfect estimate, counts as this, so that means exist."""


def sdr(reference: Signal, estimate: Signal) -> float:
    """Return the plain signal-to-noise ratio of an estimate, 10·lg(|s|² / |s - ŝ|²), in dB.

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

    10·lg(|α·s|² / |ŝ - α·s|²) with α = ⟨ŝ, s⟩ / |s|². Infinite for a perfect estimate, minus infinity for one that
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

    0 for a silent estimate, NaN for a silent reference. Either ratio is limited to ±`LIMIT`. Arguments and errors as in
    `sdr`.
    """
    return _improvement(sdr, reference, estimate, mixture)


def si_sdr_improvement(reference: Signal, estimate: Signal, mixture: Signal) -> float:
    """Return by how many dB the `si_sdr` of an estimate is above that of the mixture; see `sdr_improvement`."""
    return _improvement(si_sdr, reference, estimate, mixture)


def _improvement(
    ratio: Callable[[Signal, Signal], float], reference: Signal, estimate: Signal, mixture: Signal
) -> float:
    before, after = ratio(reference, mixture), ratio(reference, estimate)
    if math.isnan(before):
        return math.nan
    return _limited(after) - _limited(before) if np.any(estimate) else 0.0


def _limited(decibels: float) -> float:
    return min(max(decibels, -LIMIT), LIMIT)


def ca_sdr_improvement(references: Mapping[str, Signal], estimates: Mapping[str, Signal], mixture: Signal) -> float:
    """Return the class-aware SDR improvement of a clip (CA-SDRi, DCASE 2025 Task 4), in dB.

    The mean over the classes that are in the clip or in the estimates: the improvement in `sdr` of a class that is in
    both, 0 for one that is missed and for one that is not in the clip. NaN where there is no class at all. A class
    whose reference is silent counts as one that is not in the clip, a silent estimate as a class that is missed.

    Parameters
    ----------
    references, estimates : (samples,) each, by class.
    mixture : (samples,).
    """
    present = {label for label, signal in references.items() if np.any(signal)}
    classes = sorted(present | {label for label, signal in estimates.items() if np.any(signal)})
    values = [
        sdr_improvement(references[label], estimates[label], mixture)
        if label in present and label in estimates
        else 0.0
        for label in classes
    ]
    return math.fsum(values) / len(values) if values else math.nan


def _signals(reference: Signal, estimate: Signal) -> tuple[FloatArray, FloatArray]:
    s, e = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    if s.ndim != 1 or s.shape != e.shape:
        raise InputError(f"reference of shape {s.shape}, estimate of {e.shape}; expected (samples,) of one length")
    for name, signal in (("reference", s), ("estimate", e)):
        if not np.isfinite(signal).all():
            raise InputError(f"the {name} holds NaN or infinite samples; give finite ones")
    return s, e


def _decibels(signal: FloatArray, distortion: FloatArray) -> float:
    below = float(distortion @ distortion)
    return 10 * math.log10(float(signal @ signal) / below) if below > 0 else math.inf
