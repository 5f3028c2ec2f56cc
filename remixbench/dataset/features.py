"""Log-mel spectrograms as the released code computes them.

Symmetric Hamming window, no padding, magnitude scaled by sqrt(1 / Σ w²) (scipy's `spectrogram` with
`mode="magnitude"` and `fs=1`), librosa's Slaney mel filter bank, ln(x + offset). The float32 values agree with the
released float64 values to 2e-6.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from remixbench.recipe import Features

FRAMES_AT_ONCE = 4096


def load_librosa() -> ModuleType:
    """Import librosa lazily, and give numba a cache folder first.

    numba caches compiled code in the installation or in the user's cache folder. If neither is writable (a read-only
    installation, a service without HOME), a temporary folder per user is used.
    """
    if "NUMBA_CACHE_DIR" not in os.environ and not any(map(_is_writable, _numba_folders())):
        os.environ["NUMBA_CACHE_DIR"] = _temporary_folder()
    import librosa

    return librosa


def _temporary_folder() -> str:
    """Return a temporary folder that only this user can write to, as numba executes what it finds there.

    It is the same in every process, unless another user has made a folder of that name.
    """
    if not hasattr(os, "getuid"):  # Windows has temporary folders per user
        return os.path.join(tempfile.gettempdir(), "remixbench-numba")
    folder = os.path.join(tempfile.gettempdir(), f"remixbench-numba-{os.getuid()}")
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    status = os.lstat(folder)
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
        return folder
    folder = tempfile.mkdtemp(prefix="remixbench-numba-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _numba_folders() -> tuple[Path, ...]:
    """Return the folders in which numba would cache what it compiles for librosa."""
    spec = importlib.util.find_spec("librosa")
    installed = [Path(spec.origin).parent] if spec is not None and spec.origin else []
    home = os.path.expanduser("~")
    return (*installed, Path(os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")))


def _is_writable(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)


@lru_cache(maxsize=4)
def _window_and_bank(features: Features, rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the scaled window, (n_fft,), and the mel filter bank, (bins, n_mels), which librosa builds slowly."""
    librosa = load_librosa()
    window = np.hamming(features.n_fft)
    window /= np.sqrt(np.sum(window**2))
    bank = librosa.filters.mel(
        sr=rate, n_fft=features.n_fft, n_mels=features.n_mels, fmin=features.fmin, fmax=features.fmax
    )
    return window.astype(np.float32), np.ascontiguousarray(bank.T, dtype=np.float32)


def mel_magnitude(samples: NDArray[np.float32], features: Features, rate: int) -> NDArray[np.float32]:
    """Return the mel magnitude spectrogram of a signal, (samples,) -> (frames, n_mels)."""
    from scipy.fft import rfft

    window, bank = _window_and_bank(features, rate)
    framed = np.lib.stride_tricks.sliding_window_view(samples, features.n_fft)[:: features.hop_length]
    mel = np.empty((len(framed), features.n_mels), np.float32)
    for start in range(0, len(framed), FRAMES_AT_ONCE):  # bounds the memory for recordings of hours
        spectrum = rfft(framed[start : start + FRAMES_AT_ONCE] * window, axis=1)
        parts = spectrum.view(np.float32).reshape(len(spectrum), -1, 2)
        np.square(parts, out=parts)
        magnitude = parts[..., 0] + parts[..., 1]
        np.sqrt(magnitude, out=magnitude)
        np.matmul(magnitude, bank, out=mel[start : start + FRAMES_AT_ONCE])
    return mel


def logmel(samples: NDArray[np.float32], features: Features, rate: int) -> NDArray[np.float32]:
    """Return the log-mel spectrogram of a signal in [-1, 1], (samples,) -> (frames, n_mels), natural logarithm.

    Frame i covers the samples from i·hop_length to i·hop_length + n_fft; an incomplete last window is dropped.
    """
    mel = mel_magnitude(samples, features, rate)
    mel += np.float32(features.offset)
    return np.log(mel, out=mel)
