"""Rolling clips in time, and the shifts that cut no event."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_dataset import fake_dataset

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.features import logmel
from remixbench.dataset.probes import margins, probe_shifts, roll, shift_folder
from remixbench.errors import InputError
from remixbench.recipe import load_recipe


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Clips of 31 frames of 0.064 s, with events from 0.25 to 0.75 s and from 1 to 1.5 s."""
    return fake_dataset(tmp_path)


def test_a_roll_moves_the_end_to_the_start() -> None:
    frames = np.arange(12.0).reshape(4, 3)
    assert roll(frames, 0.5, 0.25).tolist() == [*frames[2:].tolist(), *frames[:2].tolist()]
    assert roll(frames, -0.25, 0.25).tolist() == [*frames[1:].tolist(), *frames[:1].tolist()]
    assert roll(frames[None], 0.25, 0.25, axis=1)[0].tolist() == roll(frames, 0.25, 0.25).tolist()


def test_rolling_back_gives_the_same_again() -> None:
    frames = np.random.default_rng(0).normal(size=(31, 16)).astype(np.float32)
    for steps in (0, 1, 7, 31, -40):
        back = roll(roll(frames, steps * 0.064, 0.064), -steps * 0.064, 0.064)
        assert back.dtype == np.float32
        assert back.tobytes() == frames.tobytes()


@pytest.mark.parametrize("seconds", [0.03, 0.0641, float("nan"), float("inf")])
def test_parts_of_a_frame_are_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="expected a whole number"):
        roll(np.zeros((31, 16)), seconds, 0.064)


def test_rolled_log_mel_is_that_of_the_rolled_waveform_but_at_the_seam() -> None:
    recipe = load_recipe("remix2019")
    rate, features = recipe.mix.sample_rate, recipe.features
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, recipe.mix.samples).astype(np.float32)
    rolled = logmel(roll(samples, 0.48, 1 / rate), features, rate)
    expected = roll(logmel(samples, features, rate), 0.48, recipe.frame_seconds)
    # 0.48 s are 15 frames; products of matrices are summed in another order
    np.testing.assert_allclose(rolled[15:], expected[15:], rtol=0, atol=2e-6)


def test_the_shifts_of_the_published_grid() -> None:
    # 7.5 s is in frame 234 of 311; frame 14 is the first whose window of 64 ms reaches 0.5 s
    assert margins(0.5, 7.5, load_recipe("remix2019")) == (14, 76)
    assert margins(0.25, 4.75, load_recipe("mini")) == (1, 1)
    assert margins(0.0, 10.0, load_recipe("remix2019-strict")) == (0, 0)


def test_shifts_keep_every_event_whole(dataset: Dataset) -> None:
    shifts = probe_shifts(dataset, 4)
    assert shifts == (-0.192, -0.128, -0.064, 0.064, 0.128, 0.192, 0.256, 0.32, 0.384, 0.448)
    names = {dataset.filenames[row] for row in dataset.test_rows(4)}
    end = dataset.recipe.frames * dataset.recipe.frame_seconds
    for name, onset, offset, _ in dataset.strong():
        if name in names:
            assert all(onset + shift >= 0 and offset + shift <= end for shift in shifts)


def test_rolled_frame_labels_are_the_labels_of_rolled_events(dataset: Dataset) -> None:
    recipe = dataset.recipe
    starts = np.arange(recipe.frames) * recipe.frame_seconds

    def active(shift: float) -> np.ndarray:
        labels = np.zeros((recipe.frames, len(dataset.classes)), bool)
        for name, onset, offset, label in dataset.strong():
            if name == dataset.filenames[dataset.test_rows(4)[0]]:
                inside = (starts + recipe.frame_seconds > onset + shift) & (starts < offset + shift)
                labels[inside, dataset.classes.index(label)] = True
        return labels

    for shift in probe_shifts(dataset, 4):
        assert (roll(active(0), shift, recipe.frame_seconds) == active(shift)).all()


def test_onsets_over_the_whole_clip_leave_no_shift(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = [(name, 0.01, 1.99, "Bell") for name in dataset.filenames]
    monkeypatch.setattr(Dataset, "strong", lambda _: everywhere)
    assert probe_shifts(dataset, 4) == ()
    monkeypatch.setattr(Dataset, "strong", lambda _: [])
    assert probe_shifts(dataset, 4) == ()


def test_an_unknown_fold_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="has no fold 5; it has 1, 2, 3, 4"):
        probe_shifts(dataset, 5)


def test_folders_are_named_after_their_shift() -> None:
    assert [shift_folder(seconds) for seconds in (0.48, 2.4, -0.128)] == ["shift_0.48", "shift_2.4", "shift_-0.128"]
