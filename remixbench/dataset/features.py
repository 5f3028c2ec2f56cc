"""Log-mel spectrograms as the released code computes them.

Symmetric Hamming window, no padding, magnitude scaled by sqrt(1 / Σ w²) (scipy's `spectrogram` in mode
'magnitude' at a rate of 1), librosa's Slaney mel bank, ln(x + offset). In float32 the values agree with the
released float64 ones to 2e-6.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from remixbench.recipe import Features

FRAMES_AT_ONCE = 4096


def load_librosa() -> ModuleType:
    """Import librosa, which takes long, after making sure that numba has a cache folder.

    numba caches what it compiles in the installation or in the user's cache folder. Where neither can be written (a
    read-only installation, a service without HOME), it takes a temporary folder of the user's.
    """
    if "NUMBA_CACHE_DIR" not in os.environ and not any(map(_is_writable, _numba_folders())):
        user = os.getuid() if hasattr(os, "getuid") else "user"
        os.environ["NUMBA_CACHE_DIR"] = os.path.join(tempfile.gettempdir(), f"remixbench-numba-{user}")
    import librosa

    return librosa


def _numba_folders() -> tuple[Path, ...]:
    """Return the folders in which numba would keep what it compiles for librosa."""
    spec = importlib.util.find_spec("librosa")
    installed = [Path(spec.origin).parent] if spec is not None and spec.origin else []
    home = os.path.expanduser("~")
    return (*installed, Path(os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")))


def _is_writable(folder: Path) -> bool:
    """Say whether a folder can be written to, or made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)


@lru_cache(maxsize=4)
def _window_and_bank(features: Features, rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the scaled window (window,) and the mel bank (bins, bands); librosa takes long to build it."""
    librosa = load_librosa()
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
