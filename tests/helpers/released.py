"""The released procedure, plainly: one clip at a time, librosa and soundfile with floats, scipy's spectrogram.

Written from its description for comparison; shares nothing with the package that is tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
import scipy.signal
import soundfile
from numpy.typing import NDArray

LONGEST = 2.0


def load(path: Path, rate: int) -> tuple[NDArray[np.float64], float]:
    """Return a recording as mono at `rate`, and its length in seconds."""
    samples, own_rate = soundfile.read(path, dtype="float64", always_2d=True)
    mono = np.mean(samples, axis=-1)
    return librosa.resample(mono, orig_sr=own_rate, target_sr=rate, res_type="soxr_hq"), len(samples) / own_rate


def write_clip(
    out: Path,
    scene: Path,
    events: Sequence[tuple[Path, float]],
    snr: float,
    rate: int = 32000,
    longest: float = LONGEST,
) -> NDArray[np.int16]:
    """Mix a clip of (event file, onset) into a scene, write the two-channel file, return it as read again."""
    background, _ = load(scene, rate)
    background = background / np.sqrt(np.mean(background**2))
    foreground = np.zeros(len(background))
    for path, onset in events:
        event, seconds = load(path, rate)
        event = event / np.sqrt(np.mean(event**2)) * 10 ** (snr / 20)
        first, end = int(onset * rate), int((onset + min(seconds, longest)) * rate)
        foreground[first:end] = event[: end - first]
    both = np.stack([foreground, background], axis=-1)
    soundfile.write(out, both / np.max(np.abs(both)), rate, subtype="PCM_16")
    stems: NDArray[np.int16] = soundfile.read(out, dtype="int16")[0]
    return stems


def logmel(
    path: Path, window: int = 2048, hop: int = 1024, bands: int = 64, fmin: float = 50, fmax: float = 16000
) -> NDArray[np.float32]:
    """Return the log-mel features of a two-channel file, (frames, bands)."""
    stems, rate = soundfile.read(path, dtype="float64")
    _, _, spectrum = scipy.signal.spectrogram(
        np.mean(stems, axis=-1), window=np.hamming(window), nperseg=window, noverlap=window - hop, detrend=False,
        mode="magnitude",
    )  # fmt: skip
    bank = librosa.filters.mel(sr=rate, n_fft=window, n_mels=bands, fmin=fmin, fmax=fmax)
    return np.log(spectrum.T @ bank.T + 1e-8).astype(np.float32)
