"""Ideal masks: two tones far apart in frequency, one an event, the other the scene."""

from __future__ import annotations

import numpy as np

from remixbench.dataset.masks import active_frames, class_masks, ideal_binary_mask, ideal_ratio_mask
from remixbench.dataset.mix import Stems
from remixbench.recipe import Features

RATE = 16000
FEATURES = Features(n_fft=1024, hop_length=512, n_mels=20, fmin=50, fmax=8000)


def tone(hertz: float, amplitude: int, samples: int = 8192) -> np.ndarray:
    return np.rint(amplitude * np.sin(2 * np.pi * hertz / RATE * np.arange(samples))).astype(np.int16)


def test_each_cell_goes_to_the_louder_side() -> None:
    stems = Stems(tone(500, 8000), tone(4000, 8000))
    binary, ratio = ideal_binary_mask(stems, FEATURES, RATE), ideal_ratio_mask(stems, FEATURES, RATE)
    low, high = 3, 15  # the bands of 500 and 4000 Hz
    assert binary[:, low].all()
    assert not binary[:, high].any()
    assert (ratio[:, low] > 0.999).all()
    assert (ratio[:, high] < 0.001).all()


def test_the_margin_shifts_the_border_by_its_decibels() -> None:
    event = tone(500, 4000)
    louder = Stems(event, tone(500, 4000 * 2))  # the event is 6.02 dB below the scene
    assert not ideal_binary_mask(louder, FEATURES, RATE, margin_db=5.9)[:, 3].any()
    assert ideal_binary_mask(louder, FEATURES, RATE, margin_db=6.1)[:, 3].all()
    np.testing.assert_allclose(ideal_ratio_mask(louder, FEATURES, RATE)[:, 3], 0.2, atol=1e-3)  # 1 / (1 + 2²)


def test_masks_are_zero_in_silence() -> None:
    silent = Stems(np.zeros(8192, np.int16), np.zeros(8192, np.int16))
    assert not ideal_binary_mask(silent, FEATURES, RATE).any()
    assert not ideal_ratio_mask(silent, FEATURES, RATE).any()


def test_class_masks_are_the_mask_while_the_class_is_active() -> None:
    active = active_frames([(0.1, 0.3, 1)], classes=2, features=FEATURES, rate=RATE, frames=15)
    centres = (np.arange(15) * 512 + 512) / RATE
    np.testing.assert_array_equal(active[:, 1], (centres >= 0.1) & (centres < 0.3))
    mask = np.ones((15, 20), dtype=bool)
    by_class = class_masks(mask, active)
    assert by_class.shape == (2, 15, 20)
    assert not by_class[0].any()
    np.testing.assert_array_equal(by_class[1].all(axis=1), active[:, 1])
