"""From time-frequency masks to waveforms: masks on mel bands, applied to a recording's short-time spectrum.

The spectrum has the window of the features (symmetric Hamming) and the recording's phase. Frames begin before the first
sample and end after the last, so that every sample lies in as many windows as any other. A masked spectrum is brought
back by overlap-add, divided by the sum of the windows: a mask of ones gives back all of the recording that the mel
bands cover. Whatever no mask takes is the background, the recording less the waveforms, so that all sum to it.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.features import load_librosa
from remixbench.recipe import Features

FRAMES_AT_ONCE = 1024
LEAST_REST = np.float32(1e-6)
"""What a map of 1 is taken to leave to others, so that its odds are finite."""


def share(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make masks of maps: where those of several classes sum to more than 1, these share the cell by their odds.

    Such maps are no shares, but say of each class by itself how much of the cell it may claim; odds m / (1 - m) keep
    apart two that are both almost 1. A map of 1 takes all, two of them half each.

    Parameters
    ----------
    maps : (classes, frames, n_mels) in [0, 1].

    Returns
    -------
    Masks of the same shape; what they lack to 1 is the mask of the background.
    """
    odds = maps / np.maximum(1 - maps, LEAST_REST)
    contested = maps.sum(axis=0) > 1
    masks: NDArray[np.float32] = np.divide(odds, odds.sum(axis=0), out=maps.copy(), where=contested)
    return masks


def apply_masks(
    samples: NDArray[np.float32], rate: int, masks: NDArray[np.float32], features: Features, mask_rate: int
) -> NDArray[np.float32]:
    """Return the waveform of each mask, (masks, samples).

    Parameters
    ----------
    samples : (samples,), a recording of any rate.
    rate : its samples per second.
    masks : (masks, frames, n_mels) in [0, 1]; frame i covers samples i · hop_length to i · hop_length + n_fft at
        `mask_rate`. At another rate the spectrum has windows of the same duration, and masks are interpolated at the
        centres of its frames. The first and last frame stand for what is before and after them.
    features : mel bands, window and hop of the masks.
    mask_rate : rate of the audio that the masks were made of.

    Notes
    -----
    A bin has the mean of the masks of its bands, weighted by the triangles of the mel filter bank. Bins outside all
    bands have a mask of 0: what is there stays in the background.
    """
    from scipy.fft import irfft, rfft

    n_fft = max(2, 2 * round(features.n_fft * rate / mask_rate / 2))
    hop = min(max(1, round(features.hop_length * rate / mask_rate)), n_fft)
    window = np.hamming(n_fft).astype(np.float32)
    bins = _bins_of_bands(features, rate, n_fft)
    before = math.ceil(n_fft / hop - 1) * hop
    frames = (len(samples) - 1 + before) // hop + 1
    padded = np.zeros((frames - 1) * hop + n_fft, np.float32)
    padded[before : before + len(samples)] = samples
    framed = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    centres = (np.arange(frames) * hop - before + n_fft / 2) / rate
    places = (centres * mask_rate - features.n_fft / 2) / features.hop_length

    sources = np.zeros((len(masks), len(padded)), np.float32)
    for first in range(0, frames, FRAMES_AT_ONCE):
        part = slice(first, min(first + FRAMES_AT_ONCE, frames))
        spectrum = rfft(framed[part] * window, axis=1)
        for source, mask in zip(sources, masks, strict=True):
            masked = irfft(spectrum * (_at(mask, places[part]) @ bins), n=n_fft, axis=1)
            for k, frame in enumerate(masked, start=first):
                source[k * hop : k * hop + n_fft] += frame
    sources = sources[:, before : before + len(samples)]
    sources /= _window_sum(window, hop, len(samples))
    return sources


def _at(mask: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Interpolate a mask (frames, n_mels) linearly at places between its frames, which are whole numbers."""
    inside = np.clip(places, 0, len(mask) - 1)
    left = np.minimum(inside.astype(np.int64), max(0, len(mask) - 2))
    weight = (inside - left).astype(np.float32)[:, None]
    found: NDArray[np.float32] = mask[left] * (1 - weight) + mask[np.minimum(left + 1, len(mask) - 1)] * weight
    return found


def _window_sum(window: NDArray[np.float32], hop: int, length: int) -> NDArray[np.float32]:
    """Return the sum of all windows at every sample, (length,); it repeats after each hop."""
    padded = np.zeros(math.ceil(len(window) / hop) * hop, np.float32)
    padded[: len(window)] = window
    return np.resize(padded.reshape(-1, hop).sum(axis=0), length)


@lru_cache(maxsize=8)
def _bins_of_bands(features: Features, rate: int, n_fft: int) -> NDArray[np.float32]:
    """Return what each band contributes to each bin, (n_mels, bins); a bin's sum is 1, or 0 outside all bands."""
    librosa = load_librosa()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # bands above half the rate of a recording are empty
        bank = librosa.filters.mel(
            sr=rate, n_fft=n_fft, n_mels=features.n_mels, fmin=features.fmin, fmax=features.fmax, norm=None
        )
    total = bank.sum(axis=0)
    bins: NDArray[np.float32] = np.divide(bank, total, out=np.zeros_like(bank), where=total > 0)
    return bins
