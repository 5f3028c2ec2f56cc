"""Augmentations: what they keep, what they draw, and that they are seeded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fake_dataset import fake_dataset

from remixbench.errors import InputError
from remixbench.files import read_json
from remixbench.training.augment import apply, draw, filter_augment, mask, mixup, spec_augment, take, time_shift
from remixbench.training.train import train

NAMES = ("mixup", "specaugment", "time-shift", "filter-augment")
FRAMES, N_MELS = 30, 16


def some_clips(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, FRAMES, N_MELS, generator=torch.Generator().manual_seed(1))


def test_time_shift_rolls_each_clip_as_torch_does() -> None:
    x = some_clips(2)
    shifted = time_shift(x, torch.tensor([3, 29]))
    assert torch.equal(shifted[0], torch.roll(x[0], 3, 0))
    assert torch.equal(shifted[1], torch.roll(x[1], 29, 0))


def test_mixup_keeps_the_label_mass() -> None:
    x, y = some_clips(2), torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    weight = torch.tensor([0.75, 1.0])
    mixed_x, mixed_y = mixup(x, y, x.flip(0), y.flip(0), weight)
    assert torch.allclose(mixed_y, torch.tensor([[0.75, 0.25, 0.75], [0.0, 1.0, 0.0]]))
    assert torch.allclose(mixed_x[0], 0.75 * x[0] + 0.25 * x[1])
    assert torch.equal(mixed_x[1], x[1])


def test_time_shift_and_mixup_take_waveforms_too() -> None:
    x = some_clips(2)[:, :, 0]  # (batch, samples)
    assert torch.equal(time_shift(x, torch.tensor([5, 0]))[0], torch.roll(x[0], 5))
    y = torch.eye(2)
    mixed_x, mixed_y = mixup(x, y, x.flip(0), y.flip(0), torch.tensor([0.5, 0.75]))
    assert torch.allclose(mixed_x[1], 0.75 * x[1] + 0.25 * x[0])
    assert torch.allclose(mixed_y, torch.tensor([[0.5, 0.5], [0.25, 0.75]]))


def test_spec_augment_hides_exactly_its_masks() -> None:
    x = torch.ones(1, FRAMES, N_MELS)
    out = spec_augment(x, torch.tensor([[[2, 5], [0, 0]]]), torch.tensor([[[10, 12], [3, 3]]]))
    hidden = out == 0
    assert hidden[0, 2:5].all()
    assert hidden[0, :, 10:12].all()
    assert hidden.sum() == 3 * N_MELS + 2 * (FRAMES - 3)


def test_a_filter_of_20_db_is_a_factor_of_ten_in_magnitude() -> None:
    std = torch.full((N_MELS,), 2.0)
    x = torch.zeros(1, FRAMES, N_MELS)
    out = filter_augment(x, torch.full((1, N_MELS), 20.0), std)
    assert torch.allclose(out * std, torch.full_like(x, np.log(10)))


def test_draws_are_seeded_bounded_and_independent_of_each_other() -> None:
    one, again = (draw(NAMES, 8, FRAMES, N_MELS, np.random.default_rng(3)) for _ in range(2))
    other = draw(NAMES, 8, FRAMES, N_MELS, np.random.default_rng(4))
    alone = draw(["time-shift"], 8, FRAMES, N_MELS, np.random.default_rng(3))
    for name, values in vars(one).items():
        assert np.array_equal(values, getattr(again, name)), name
    assert not np.array_equal(one.gain, other.gain)
    assert np.array_equal(one.shift, alone.shift)
    assert alone.partner is None
    assert ((one.weight >= 0.5) & (one.weight <= 1)).all()
    assert sorted(one.partner) == list(range(8))
    assert ((one.shift >= 0) & (one.shift < FRAMES)).all()


def test_a_process_that_takes_its_share_augments_as_one_process_does() -> None:
    x, std = some_clips(6), torch.ones(N_MELS)
    draws = draw(["time-shift", "specaugment", "filter-augment"], 6, FRAMES, N_MELS, np.random.default_rng(0))
    whole = mask(draws, apply(draws, x, std))
    mine = np.array([1, 4])
    share = take(draws, mine)
    assert torch.equal(mask(share, apply(share, x[mine], std)), whole[mine])


@pytest.mark.usefixtures("one_thread")
def test_a_run_with_all_hooks_is_repeatable_and_flagged(tmp_path: Path) -> None:
    hooks = {
        "system": "gap", "snr": 20, "epochs": 2, "precision": "32", "optimizer": "adamw", "weight_decay": 0.01,
        "schedule": "cosine", "augment": NAMES, "ema": 0.9, "gradient_clip": 1.0,
    }  # fmt: skip
    runs = []
    for name in ("a", "b"):
        workspace = tmp_path / name
        fake_dataset(workspace)
        runs.append(train(workspace=workspace, **hooks)[0])
    assert (runs[0] / "model.safetensors").read_bytes() == (runs[1] / "model.safetensors").read_bytes()
    info = read_json(runs[0] / "run.json")
    assert (info["optimizer"], info["schedule"], sorted(info["augment"])) == ("adamw", "cosine", sorted(NAMES))
    assert any("optimizer" in flag["text"] for flag in info["flags"])
    assert info["macs"] > 0
    plain = train(workspace=tmp_path / "a", system="gap", snr=20, epochs=2, precision="32")[0]
    assert plain != runs[0]


def test_an_unknown_augmentation_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    with pytest.raises(InputError, match="did you mean 'mixup'"):
        train(workspace=tmp_path, system="gap", snr=20, augment="mixupp")
