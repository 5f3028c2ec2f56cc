"""Log-mel features against scipy's spectrogram and against what a tone must give."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray

from remixbench.dataset.features import _temporary_folder, logmel
from remixbench.recipe import Features

PAPER = Features()


def by_scipy(samples: NDArray[np.float64], features: Features, rate: int) -> NDArray[np.float64]:
    _, _, spectrum = scipy.signal.spectrogram(
        samples, window=np.hamming(features.n_fft), nperseg=features.n_fft,
        noverlap=features.n_fft - features.hop_length, detrend=False, mode="magnitude",
    )  # fmt: skip
    bank = librosa.filters.mel(
        sr=rate, n_fft=features.n_fft, n_mels=features.n_mels, fmin=features.fmin, fmax=features.fmax
    )
    values: NDArray[np.float64] = np.log(spectrum.T @ bank.T + features.offset)
    return values


@pytest.mark.parametrize(
    ("features", "rate"),
    [
        (PAPER, 32000),
        (Features(n_fft=256, hop_length=100, n_mels=12, fmax=4000), 8000),
        (Features(n_fft=500, hop_length=500, n_mels=20, fmin=0, fmax=8000), 16000),
    ],
    ids=["paper", "overlap that is no power of two", "no overlap"],
)
@pytest.mark.parametrize("level", [1.0, 1e-4])
def test_values_equal_scipy_and_librosa(features: Features, rate: int, level: float) -> None:
    draw = np.random.default_rng(3)
    # 16-bit steps, as all our signals have
    samples = np.round(draw.uniform(-1, 1, rate) * level * 32768) / 32768
    found = logmel(samples.astype(np.float32), features, rate)
    expected = by_scipy(samples, features, rate)
    assert found.dtype == np.float32
    assert found.shape == expected.shape == ((rate - features.n_fft) // features.hop_length + 1, features.n_mels)
    assert np.abs(found - expected).max() < 1e-4


def test_ten_seconds_of_the_paper_are_311_frames() -> None:
    assert logmel(np.zeros(320_000, dtype=np.float32), PAPER, 32000).shape == (311, 64)


def test_silence_is_the_logarithm_of_the_offset() -> None:
    values = logmel(np.zeros(32000, dtype=np.float32), PAPER, 32000)
    assert np.allclose(values, np.log(1e-8), atol=1e-6)


@pytest.mark.parametrize("hertz", [300, 1000, 5000])
def test_a_tone_lies_in_the_band_whose_centre_is_nearest(hertz: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(32000) / 32000)
    values = logmel(tone.astype(np.float32), PAPER, 32000)
    centres = librosa.mel_frequencies(66, fmin=50, fmax=16000)[1:-1]
    assert set(values.argmax(axis=1)) <= set(np.argsort(np.abs(centres - hertz))[:2])


def test_a_long_recording_is_worked_on_in_parts() -> None:
    features = Features(n_fft=64, hop_length=16, n_mels=4, fmin=0, fmax=400)
    samples = np.random.default_rng(1).normal(0, 0.1, 10_000 * 16).astype(np.float32)
    whole = logmel(samples, features, 800)
    assert len(whole) == 9997
    for frame in (0, 4095, 4096, 8191, 8192, 9996):
        alone = logmel(samples[16 * frame : 16 * frame + 64], features, 800)
        np.testing.assert_allclose(whole[frame], alone[0], atol=1e-5)


def test_an_incomplete_last_window_is_dropped() -> None:
    samples = np.zeros(320_000, dtype=np.float32)
    silent = logmel(samples, PAPER, 32000)
    samples[-512:] = 0.5
    assert np.array_equal(logmel(samples, PAPER, 32000), silent)
    samples[-513] = 0.5
    assert not np.array_equal(logmel(samples, PAPER, 32000), silent)


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.getuid() != 0, reason="mounting needs root on Linux")
def test_a_read_only_installation_without_home(tmp_path: Path) -> None:
    site = Path(importlib.util.find_spec("librosa").origin).parents[1]  # type: ignore[union-attr, arg-type]
    code = "from remixbench.dataset.features import load_librosa; load_librosa().filters.mel(sr=8000, n_fft=256)"
    read_only = f'mount --bind "{site}" "{site}" && mount -o remount,ro,bind "{site}"'
    shell = f'{read_only} && exec "{sys.executable}" -B -c "{code}"'
    environment = {"PATH": os.environ["PATH"], "HOME": f"{site}/nobody", "TMPDIR": str(tmp_path)}
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("no namespace of mounts can be had here")
    command = ["unshare", "-m", "sh", "-c", shell]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has temporary folders per user")
def test_numba_caches_in_no_folder_that_others_can_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code in the cache is executed; anybody can make a folder of the expected name in /tmp."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    expected = tmp_path / f"remixbench-numba-{os.getuid()}"
    assert Path(_temporary_folder()) == expected == Path(_temporary_folder())
    assert expected.stat().st_mode & 0o777 == 0o700
    expected.chmod(0o777)
    another = Path(_temporary_folder())
    assert another.parent == tmp_path
    assert another != expected
    assert another.stat().st_mode & 0o777 == 0o700
    expected.rmdir()
    expected.symlink_to(another)
    assert Path(_temporary_folder()) not in (expected, another)
