"""Log-mel features against scipy's spectrogram and against what a tone must give."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray

from remixbench.dataset.features import hz_to_mel, logmel, mel_bank, mel_to_hz
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
def test_values_are_those_of_scipy_and_librosa(features: Features, rate: int, level: float) -> None:
    draw = np.random.default_rng(3)
    # 16-bit steps, as all our signals have
    samples = np.round(draw.uniform(-1, 1, rate) * level * 32768) / 32768
    found = logmel(samples.astype(np.float32), features, rate)
    expected = by_scipy(samples, features, rate)
    assert found.dtype == np.float32
    assert found.shape == expected.shape == ((rate - features.n_fft) // features.hop_length + 1, features.n_mels)
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("features", "rate"),
    [
        (PAPER, 32000),
        (Features(n_fft=255, n_mels=7, fmin=0, fmax=11025), 22050),
        (Features(n_fft=4096, n_mels=128, fmin=930.5, fmax=96000), 192000),
        (Features(n_fft=64, n_mels=200, fmin=20, fmax=4000), 8000),
        (Features(n_mels=64, fmin=50, fmax=16000), 16000),
    ],
    ids=["paper", "odd window, linear part", "logarithmic part", "empty bands", "bands above half the rate"],
)
@pytest.mark.filterwarnings("ignore:Empty filters detected")
def test_mel_banks_are_those_of_librosa_bit_by_bit(features: Features, rate: int) -> None:
    for norm in ("slaney", None):
        expected = librosa.filters.mel(
            sr=rate, n_fft=features.n_fft, n_mels=features.n_mels, fmin=features.fmin, fmax=features.fmax, norm=norm
        )
        bank = mel_bank(features, rate, features.n_fft, equal_area=norm is not None)
        assert bank.dtype == np.float32
        assert np.array_equal(bank, expected)


def test_the_mel_scale_is_that_of_librosa_and_leads_back() -> None:
    hertz = np.array([[0.0, 50.0, 999.9], [1000.0, 1000.1, 16000.0]])
    assert np.array_equal(hz_to_mel(hertz), librosa.hz_to_mel(hertz))
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hertz)), hertz, rtol=1e-12)


def test_bands_without_a_frequency_are_named() -> None:
    features = Features(n_fft=64, n_mels=200, fmin=20, fmax=4000)
    with pytest.warns(UserWarning, match=r"of 200 mel bands hold no frequency .* lower n_mels or raise n_fft"):
        logmel(np.zeros(640, np.float32), features, 8000)


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


def test_the_tail_that_fills_no_window_is_not_covered() -> None:
    samples = np.zeros(320_000, dtype=np.float32)
    silent = logmel(samples, PAPER, 32000)
    samples[-512:] = 0.5
    assert np.array_equal(logmel(samples, PAPER, 32000), silent)
    samples[-513] = 0.5
    assert not np.array_equal(logmel(samples, PAPER, 32000), silent)
