"""Log-mel spectrograms as the released code computes them.

Symmetric Hamming window, no padding, magnitude scaled by sqrt(1 / Σ w²) (scipy's `spectrogram` in mode
'magnitude' at a rate of 1), Slaney's mel bank, ln(x + offset). In float32 the values agree with the
released float64 ones to 2e-6.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from remixbench.recipe import Features

FRAMES_AT_ONCE = 4096
HZ_PER_MEL = 200 / 3
"""Of the mel scale of Slaney's Auditory Toolbox (1998) below its knee."""
KNEE_HZ = 1000.0
"""From here on the scale is logarithmic."""
LOG_STEP = np.log(6.4) / 27
"""Natural logarithm of the factor from one mel to the next above the knee."""


def hz_to_mel(hertz: ArrayLike) -> NDArray[np.float64]:
    """Return frequencies in Hz on the mel scale of Slaney's Auditory Toolbox, any shape."""
    hertz = np.asarray(hertz, np.float64)
    above = KNEE_HZ / HZ_PER_MEL + np.log(np.maximum(hertz, KNEE_HZ) / KNEE_HZ) / LOG_STEP
    return np.where(hertz < KNEE_HZ, hertz / HZ_PER_MEL, above)


def mel_to_hz(mel: ArrayLike) -> NDArray[np.float64]:
    """Return the frequencies in Hz of places on the mel scale, any shape; the inverse of `hz_to_mel`."""
    mel, knee = np.asarray(mel, np.float64), KNEE_HZ / HZ_PER_MEL
    return np.where(mel < knee, mel * HZ_PER_MEL, KNEE_HZ * np.exp(LOG_STEP * (np.maximum(mel, knee) - knee)))


def mel_bank(features: Features, rate: int, n_fft: int, *, equal_area: bool) -> NDArray[np.float32]:
    """Return triangles at equal distances on the mel scale from `fmin` to `fmax`, (n_mels, n_fft // 2 + 1).

    Their peaks are 1 or, with `equal_area`, such that each has the area 1 over Hz. Rounded to float32 before and after
    they are scaled, so that they are equal, bit by bit, to those of `librosa.filters.mel`.
    """
    edges = mel_to_hz(np.linspace(hz_to_mel(features.fmin), hz_to_mel(features.fmax), features.n_mels + 2))
    distance = edges[:, None] - np.fft.rfftfreq(n_fft, 1 / rate)
    width = np.diff(edges)[:, None]
    rising, falling = -distance[:-2] / width[:-1], distance[2:] / width[1:]
    bank: NDArray[np.float32] = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return (bank * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32) if equal_area else bank


@lru_cache(maxsize=4)
def _window_and_bank(features: Features, rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the scaled window (window,) and the mel bank (bins, bands)."""
    window = np.hamming(features.n_fft)
    window /= np.sqrt(np.sum(window**2))
    bank = mel_bank(features, rate, features.n_fft, equal_area=True)
    if empty := int((bank.max(axis=1) == 0).sum()):
        warnings.warn(
            f"{empty} of {features.n_mels} mel bands hold no frequency of the spectrum and stay empty; lower n_mels or"
            " raise n_fft",
            stacklevel=2,
        )
    return window.astype(np.float32), np.ascontiguousarray(bank.T)


def mel_magnitude(samples: NDArray[np.float32], features: Features, rate: int) -> NDArray[np.float32]:
    """Return the mel magnitude spectrogram of a signal, (n,) -> (frames, bands)."""
    from scipy.fft import rfft

    window, bank = _window_and_bank(features, rate)
    framed = np.lib.stride_tricks.sliding_window_view(samples, features.n_fft)[:: features.hop_length]
    mel = np.empty((len(framed), features.n_mels), np.float32)
    for start in range(0, len(framed), FRAMES_AT_ONCE):  # a clip is one step; a recording of hours must not be
        spectrum = rfft(framed[start : start + FRAMES_AT_ONCE] * window, axis=1)
        parts = spectrum.view(np.float32).reshape(len(spectrum), -1, 2)
        np.square(parts, out=parts)
        magnitude = parts[..., 0] + parts[..., 1]
        np.sqrt(magnitude, out=magnitude)
        np.matmul(magnitude, bank, out=mel[start : start + FRAMES_AT_ONCE])
    return mel


def logmel(samples: NDArray[np.float32], features: Features, rate: int) -> NDArray[np.float32]:
    """Return the log-mel spectrogram of a signal in [-1, 1], (n,) -> (frames, bands), natural logarithm.

    Frame i covers samples i·hop to i·hop + window; the tail that fills no window is not covered.
    """
    mel = mel_magnitude(samples, features, rate)
    mel += np.float32(features.offset)
    return np.log(mel, out=mel)
