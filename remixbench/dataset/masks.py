"""Time-frequency masks: ideal masks from stems, and waveforms from masks.

Masks on mel bands are applied to the short-time spectrum of a recording, with the window of the features (symmetric
Hamming) and the phase of the recording. The signal is padded at both ends, so that every sample lies in the same number
of windows. The waveform is the overlap-add of the masked spectra, divided by the sum of the windows: a mask of ones
restores everything that the mel bands cover. The background is the recording minus all waveforms, so that they sum to
the recording.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.features import load_librosa, mel_magnitude
from remixbench.dataset.mix import Stems, as_float
from remixbench.recipe import Features

KONG_MARGIN_DB = 5.0


def ideal_binary_mask(
    stems: Stems, features: Features, rate: int, margin_db: float = KONG_MARGIN_DB
) -> NDArray[np.bool_]:
    """Return where events are audible over the scene, (frames, n_mels).

    True where 20·log10(events / scene) + `margin_db` > 0 on mel magnitudes (Kong et al. 2019, with 5 dB).
    """
    events, scene = _magnitudes(stems, features, rate)
    mask: NDArray[np.bool_] = events * 10 ** (margin_db / 20) > scene
    return mask


def ideal_ratio_mask(stems: Stems, features: Features, rate: int) -> NDArray[np.float32]:
    """Return the events' share of the energy, E² / (E² + S²) of mel magnitudes, (frames, n_mels); 0 in silence."""
    events, scene = (magnitude**2 for magnitude in _magnitudes(stems, features, rate))
    total = events + scene
    ratio: NDArray[np.float32] = np.divide(events, total, out=np.zeros_like(total), where=total > 0)
    return ratio


def _magnitudes(stems: Stems, features: Features, rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    events, scene = (mel_magnitude(as_float(channel), features, rate) for channel in (stems.events, stems.scene))
    return events, scene


def ideal_class_masks(
    sources: NDArray[np.float32], rest: NDArray[np.float32], features: Features, rate: int, kind: Literal["IBM", "IRM"]
) -> NDArray[np.float32]:
    """Return the ideal mask of each source against all other signals, (sources, frames, n_mels).

    The ideal binary mask (IBM) assigns each mel band of a frame to the loudest signal; the ideal ratio mask (IRM) gives
    each signal its share of the energy, E² / Σ E² of mel magnitudes. With the mask of the rest, masks sum to 1; in
    silence all are 0.

    Parameters
    ----------
    sources : (sources, samples).
    rest : (samples,), everything that belongs to no source.
    """
    magnitudes = np.stack([mel_magnitude(signal, features, rate) for signal in (*sources, rest)])
    if kind == "IBM":
        loudest = magnitudes.argmax(axis=0)
        present = magnitudes.max(axis=0) > 0
        return np.stack([((loudest == k) & present).astype(np.float32) for k in range(len(sources))])
    energies = magnitudes[:-1] ** 2
    total = energies.sum(axis=0) + magnitudes[-1] ** 2
    masks: NDArray[np.float32] = np.divide(energies, total, out=np.zeros_like(energies), where=total > 0)
    return masks


def class_masks(mask: NDArray[np.bool_], active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Divide the events' mask among classes: (frames, n_mels) and (frames, classes) -> (classes, frames, n_mels).

    `active` are the strong labels by frame. If two classes are active at once, both get the cell, as the stems do not
    tell them apart.
    """
    return active.T[:, :, None] & mask[None]


def active_frames(
    events: list[tuple[float, float, int]], classes: int, features: Features, rate: int, frames: int
) -> NDArray[np.bool_]:
    """Return in which frames each class is active, (frames, classes).

    `events` are (onset, offset, class), times in seconds; a frame is active if the centre of its window is.
    """
    centres = (np.arange(frames) * features.hop_length + features.n_fft / 2) / rate
    active = np.zeros((frames, classes), dtype=bool)
    for onset, offset, label in events:
        active[(centres >= onset) & (centres < offset), label] = True
    return active


FRAMES_AT_ONCE = 1024
LEAST_REST = np.float32(1e-6)
"""Lower limit of 1 - map, which keeps the odds of a map of 1 finite."""


def share(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn maps into masks: classes and the background share each cell by their odds.

    A map m states how one class and the background alone would share a cell, so the odds of the class against the
    background are o = m / (1 - m). The mask of a class is o / (1 + Σo), summed over classes: a class that is alone
    keeps its map, and two maps of 1 take half each.

    Parameters
    ----------
    maps : (classes, frames, n_mels) in [0, 1].

    Returns
    -------
    Masks of the same shape; the background's mask is 1 minus their sum.
    """
    odds = maps / np.maximum(1 - maps, LEAST_REST)
    masks: NDArray[np.float32] = odds / (1 + odds.sum(axis=0))
    return masks


class Masks(Protocol):
    """Masks of shape (masks, frames, n_mels) that are read in order, some frames at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Masks, frames, n_mels."""

    def __getitem__(self, index: tuple[slice, slice]) -> NDArray[np.float32]:
        """Return the masks of a range of frames."""


def apply_masks(
    samples: NDArray[np.float32], rate: int, masks: Masks, features: Features, mask_rate: int
) -> NDArray[np.float32]:
    """Return the waveform of each mask, (masks, samples); parameters as for `masked_blocks`."""
    return np.concatenate(list(masked_blocks(samples, rate, masks, features, mask_rate)), axis=1)


def masked_blocks(
    samples: NDArray[np.float32], rate: int, masks: Masks, features: Features, mask_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Yield the waveform of each mask in blocks, (masks, samples), in bounded memory.

    Parameters
    ----------
    samples : (samples,), a recording.
    rate : its sample rate in Hz.
    masks : (masks, frames, n_mels) in [0, 1], an array or an object that returns slices of one. Frame i covers the
        samples from i · hop_length to i · hop_length + n_fft at `mask_rate`; the first and last frame extend to the
        ends of the recording. If `rate` differs, windows have the same duration, and masks are interpolated at the
        centres of their frames.
    features : mel bands, window and hop of the masks.
    mask_rate : sample rate of the audio that the masks were estimated from.

    Notes
    -----
    The mask of a bin is the mean over its bands, weighted by the triangles of the mel filter bank. Bins outside all
    bands have a mask of 0 and stay in the background.
    """
    from scipy.fft import irfft, rfft

    n_fft = max(2, 2 * round(features.n_fft * rate / mask_rate / 2))
    hop = min(max(1, round(features.hop_length * rate / mask_rate)), n_fft)
    window = np.hamming(n_fft).astype(np.float32)
    window_sum = _window_sum(window, hop)
    bins = _bins_of_bands(features, rate, n_fft)
    padding = math.ceil(n_fft / hop - 1) * hop
    frames = (len(samples) - 1 + padding) // hop + 1
    centres = (np.arange(frames) * hop - padding + n_fft / 2) / rate
    positions = ((centres * mask_rate - features.n_fft / 2) / features.hop_length).clip(0, masks.shape[1] - 1)

    overlap = np.zeros((masks.shape[0], n_fft), np.float32)  # of earlier frames with the next samples
    for first in range(0, frames, FRAMES_AT_ONCE):
        part = slice(first, min(first + FRAMES_AT_ONCE, frames))
        length = (part.stop - first) * hop
        start = first * hop - padding  # first sample of these frames
        spectrum = rfft(_framed(samples, start, length + n_fft - hop, n_fft, hop) * window, axis=1)
        lowest, highest = int(positions[first]), min(math.ceil(positions[part.stop - 1]) + 1, masks.shape[1] - 1)
        chunk = masks[:, slice(lowest, highest + 1)]
        sources = np.zeros((len(chunk), length + n_fft), np.float32)
        sources[:, :n_fft] = overlap
        for source, mask in zip(sources, chunk, strict=True):
            masked = irfft(spectrum * (_at(mask, positions[part] - lowest) @ bins), n=n_fft, axis=1)
            for k, frame in enumerate(masked):
                source[k * hop : k * hop + n_fft] += frame
        overlap = sources[:, length:].copy()
        inside = slice(max(0, -start), min(length, len(samples) - start))
        if inside.stop > inside.start:
            phase = np.arange(inside.start, inside.stop) % hop
            yield sources[:, inside] / window_sum[phase]


def _framed(samples: NDArray[np.float32], start: int, length: int, n_fft: int, hop: int) -> NDArray[np.float32]:
    """Return the frames, (frames, n_fft), of `length` samples from `start`, which may be negative; zero-padded."""
    padded = np.zeros(length, np.float32)
    inside = samples[max(0, start) : max(0, start + length)]
    padded[max(0, -start) : max(0, -start) + len(inside)] = inside
    return np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]


def _at(mask: NDArray[np.float32], positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Interpolate a mask, (frames, n_mels), linearly at fractional frames from 0 to frames - 1."""
    left = np.minimum(positions.astype(np.int64), max(0, len(mask) - 2))
    weight = (positions - left).astype(np.float32)[:, None]
    interpolated: NDArray[np.float32] = mask[left] * (1 - weight) + mask[np.minimum(left + 1, len(mask) - 1)] * weight
    return interpolated


def _window_sum(window: NDArray[np.float32], hop: int) -> NDArray[np.float32]:
    """Return the sum of all overlapping windows, (hop,), which is periodic in the hop."""
    padded = np.zeros(math.ceil(len(window) / hop) * hop, np.float32)
    padded[: len(window)] = window
    summed: NDArray[np.float32] = padded.reshape(-1, hop).sum(axis=0)
    return summed


@lru_cache(maxsize=8)
def _bins_of_bands(features: Features, rate: int, n_fft: int) -> NDArray[np.float32]:
    """Return the weight of each band in each bin, (n_mels, bins); a bin sums to 1, or 0 outside all bands."""
    librosa = load_librosa()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # bands above the Nyquist frequency are empty
        bank = librosa.filters.mel(
            sr=rate, n_fft=n_fft, n_mels=features.n_mels, fmin=features.fmin, fmax=features.fmax, norm=None
        )
    total = bank.sum(axis=0)
    bins: NDArray[np.float32] = np.divide(bank, total, out=np.zeros_like(bank), where=total > 0)
    return bins
