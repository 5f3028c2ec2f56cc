"""Log-mel spectrograms as the released code computes them.

Symmetric Hamming window, no padding, magnitude scaled by sqrt(1 / Σ w²) (scipy's `spectrogram` in mode
'magnitude' at a rate of 1), librosa's Slaney mel bank, ln(x + offset). In float32 the values agree with the
released float64 ones to 2e-6.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from remixbench.recipe import Features

FRAMES_AT_ONCE = 4096


@lru_cache(maxsize=4)
def _window_and_bank(features: Features, rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the scaled window (window,) and the mel bank (bins, bands); librosa takes long to build it."""
    import librosa

    window = np.hamming(features.n_fft)
    window /= np.sqrt(np.sum(window**2))
    bank = librosa.filters.mel(
        sr=rate, n_fft=features.n_fft, n_mels=features.n_mels, fmin=features.fmin, fmax=features.fmax
    )
    return window.astype(np.float32), np.ascontiguousarray(bank.T, dtype=np.float32)


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
