"""From masks to waveforms: tones apart in frequency, recordings of several rates and lengths."""

from __future__ import annotations

import numpy as np
import pytest

from remixbench.dataset.masks import FRAMES_AT_ONCE, apply_masks, ideal_class_masks, masked_blocks, share
from remixbench.recipe import Features
from remixbench.scoring import si_sdr

RATE = 16000
FEATURES = Features(n_fft=1024, hop_length=512, n_mels=20, fmin=0, fmax=8000)


def tone(hertz: float, rate: int = RATE, samples: int = 8192) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz / rate * np.arange(samples))).astype(np.float32)


@pytest.mark.parametrize("hop_length", [256, 512, 700, 1024])
def test_a_mask_of_ones_gives_the_recording_back_to_its_ends(hop_length: int) -> None:
    features = FEATURES.model_copy(update={"hop_length": hop_length})
    recording = tone(500) + tone(3000)
    whole = apply_masks(recording, RATE, np.ones((1, 15, 20), np.float32), features, RATE)[0]
    # cut off at its ends, a tone reaches a little below the lowest band
    np.testing.assert_allclose(whole, recording, atol=5e-3)
    np.testing.assert_allclose(whole[1024:-1024], recording[1024:-1024], atol=1e-5)


@pytest.mark.parametrize(("rate", "samples"), [(16000, 20_000), (44100, 50_001), (8000, 300), (16000, 1)])
def test_masks_that_sum_to_a_mask_give_waveforms_that_sum_to_its(rate: int, samples: int) -> None:
    rng = np.random.default_rng(0)
    recording = rng.normal(0, 0.1, samples).astype(np.float32)
    masks = share(rng.random((3, 7, 20), np.float32))
    parts = apply_masks(recording, rate, masks, FEATURES, RATE)
    assert parts.shape == (3, samples)
    whole = apply_masks(recording, rate, masks.sum(axis=0, keepdims=True), FEATURES, RATE)[0]
    np.testing.assert_allclose(parts.sum(axis=0), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("maps", "masks"),
    [
        ((0.7, 0.0), (0.7, 0.0)),  # alone with the background
        ((0.5, 0.5), (1 / 3, 1 / 3)),  # odds of 1, 1 and 1
        ((0.9, 0.5), (9 / 11, 1 / 11)),  # odds of 9, 1 and 1
        ((0.9, 0.9), (9 / 19, 9 / 19)),
        ((1.0, 1.0), (0.5, 0.5)),
        ((1.0, 0.9), (1.0, 0.0)),
        ((1.0, 0.0), (1.0, 0.0)),
        ((0.0, 0.0), (0.0, 0.0)),
    ],
)
def test_classes_and_background_share_a_cell_by_their_odds(maps: tuple[float, ...], masks: tuple[float, ...]) -> None:
    np.testing.assert_allclose(share(np.array(maps, np.float32).reshape(2, 1, 1)).ravel(), masks, atol=1e-4)


def test_masks_are_continuous_in_the_maps() -> None:
    second = np.linspace(0, 1, 2001, dtype=np.float32)
    for first in (0.1, 0.5, 0.9, 0.99):
        maps = np.stack([np.full_like(second, first), second])[:, :, None]
        masks = share(maps)
        assert np.abs(np.diff(masks, axis=1)).max() < 0.06  # at the end, where odds grow without bound
        assert np.abs(np.diff(masks[:, :1900], axis=1)).max() < 0.004
        assert (np.diff(masks[0, :, 0]) <= 0).all()
        assert (masks.sum(axis=0) <= 1).all()


def test_blocks_of_a_long_recording_are_that_recording() -> None:
    rng = np.random.default_rng(0)
    recording = rng.normal(0, 0.1, 1_200_000).astype(np.float32)
    masks = rng.random((2, 1 + (1_200_000 - 1024) // 512, 20), np.float32)
    blocks = list(masked_blocks(recording, RATE, masks, FEATURES, RATE))
    assert max(block.shape[1] for block in blocks) == FRAMES_AT_ONCE * 512
    assert len(blocks) == 3
    whole = np.concatenate(blocks, axis=1)
    assert whole.shape == (2, len(recording))
    # around the edge of two blocks, as if the recording began a little before it
    cut = 2 * FRAMES_AT_ONCE - 40
    part = apply_masks(recording[cut * 512 :], RATE, masks[:, cut:], FEATURES, RATE)
    np.testing.assert_allclose(whole[:, cut * 512 + 2048 :], part[:, 2048:], atol=1e-6)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_mask_in_frequency_takes_its_bands_at_any_rate(rate: int) -> None:
    low, high = tone(500, rate, rate), tone(3000, rate, rate)
    mask = np.zeros((1, 40, 20), np.float32)
    mask[..., :8] = 1  # the bands below 1.4 kHz
    taken = apply_masks(low + high, rate, mask, FEATURES, RATE)[0]
    inside = slice(rate // 20, -rate // 20)  # at its ends the tone is cut off, and so is not a tone
    np.testing.assert_allclose(taken[inside], low[inside], atol=0.01)


def test_a_mask_in_time_takes_its_stretch_at_another_rate() -> None:
    rate = 44100
    recording = tone(500, rate, rate)
    mask = np.zeros((1, 30, 20), np.float32)
    mask[:, 15:] = 1  # frame 15 is centred at 0.512 s
    taken = apply_masks(recording, rate, mask, FEATURES, RATE)[0]
    assert np.abs(taken[: round(0.45 * rate)]).max() < 1e-6
    np.testing.assert_allclose(taken[round(0.57 * rate) :], recording[round(0.57 * rate) :], atol=5e-3)


def test_above_the_highest_band_all_stays_in_the_background() -> None:
    features = FEATURES.model_copy(update={"fmax": 4000})
    taken = apply_masks(tone(6000), RATE, np.ones((1, 15, 20), np.float32), features, RATE)
    assert np.abs(taken[0, 1024:-1024]).max() < 1e-3


def test_ideal_masks_separate_tones_and_sum_to_1_with_the_rest() -> None:
    low, high, scene = tone(500), tone(3000), tone(6500)
    for kind in ("IBM", "IRM"):
        masks = ideal_class_masks(np.stack([low, high]), scene, FEATURES, RATE, kind)
        assert masks.sum(axis=0).max() <= 1 + 1e-6
        for estimate, reference in zip(
            apply_masks(low + high + scene, RATE, masks, FEATURES, RATE), (low, high), strict=True
        ):
            assert si_sdr(reference, estimate) > 20
    half = ideal_class_masks(np.stack([low, low]), np.zeros_like(low), FEATURES, RATE, "IRM")
    np.testing.assert_allclose(half[:, :, 2], 0.5)


def test_ideal_masks_are_zero_in_silence() -> None:
    silence = np.zeros(8192, np.float32)
    for kind in ("IBM", "IRM"):
        assert not ideal_class_masks(silence[None], silence, FEATURES, RATE, kind).any()
