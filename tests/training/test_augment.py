"""Augmentations: what they keep, what they draw, and that they are seeded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import pytest
import torch
from fake_dataset import fake_dataset

from remixbench.errors import InputError
from remixbench.files import read_json
from remixbench.recipe import Augmentation
from remixbench.training.augment import (
    AUGMENTATIONS,
    augment,
    filter_augment,
    frequency_shift,
    mixup,
    spec_augment,
    time_shift,
)
from remixbench.training.config import derived_seed
from remixbench.training.train import train

NAMES = ("mixup", "specaugment", "time-shift", "frequency-shift", "filter-augment")
FRAMES, N_MELS = 30, 16
STD = torch.ones(N_MELS)


def some_clips(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, FRAMES, N_MELS, generator=torch.Generator().manual_seed(1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augmented(
    x: torch.Tensor, y: torch.Tensor, names: tuple[str, ...], std: torch.Tensor | None = None, seed: int = 3
) -> tuple[torch.Tensor, torch.Tensor]:
    std = torch.ones(x.shape[-1]) if std is None else std
    (first,), labels = augment((x,), y, std, names, lambda name: derived_seed(seed, name))
    return first, labels


def test_two_inputs_are_shifted_and_mixed_alike() -> None:
    """The place of a mark in both inputs, and the labels, tell by how much each was rolled and with whom mixed."""
    batch, coarse = 64, 6
    logmel, embeddings = torch.zeros(batch, FRAMES, N_MELS), torch.zeros(batch, coarse, batch)
    logmel[:, 2] = 1
    embeddings[:, 0] = torch.eye(batch)
    (x, z), y = augment((logmel, embeddings), torch.eye(batch), STD, ("time-shift",), lambda name: 3)
    turns = z.sum(dim=2).argmax(dim=1)
    assert set(turns.tolist()) == set(range(coarse))
    assert torch.equal(x[:, :, 0].argmax(dim=1), (2 + turns * FRAMES // coarse) % FRAMES)
    (x, z), y = augment((logmel, embeddings), torch.eye(batch), STD, ("mixup",), lambda name: 3)
    assert torch.equal(z[:, 0], y)
    assert (y.max(dim=1)[0] < 0.999).any()
    (x, z), y = augment(
        (logmel, embeddings),
        torch.eye(batch),
        STD,
        ("specaugment", "frequency-shift", "filter-augment"),
        lambda name: 3,
    )
    assert torch.equal(z, embeddings)
    assert not torch.equal(x, logmel)


def test_every_name_of_the_recipes_has_a_function_and_the_other_way_round() -> None:
    assert set(AUGMENTATIONS) == set(get_args(Augmentation))


def test_time_shift_rolls_each_clip_as_torch_does() -> None:
    x, y = some_clips(64), torch.zeros(64, 2)
    shifted, _ = time_shift(x, y, seeded(), STD)
    shifts = set()
    for clip, rolled in zip(x, shifted, strict=True):
        equal = [shift for shift in range(FRAMES) if torch.equal(torch.roll(clip, shift, 0), rolled)]
        assert len(equal) == 1
        shifts.add(equal[0])
    assert len(shifts) > FRAMES / 2


def test_frequency_shift_moves_all_frames_of_a_clip_alike_and_repeats_the_band_at_the_edge() -> None:
    bands, batch = 64, 300
    number = torch.arange(bands, dtype=torch.float32).expand(batch, FRAMES, bands)
    shifted, _ = frequency_shift(number, torch.zeros(batch, 1), seeded(), STD)
    shifts = (number - shifted)[:, 0, bands // 2].long()
    for clip, shift in zip(shifted, shifts.tolist(), strict=True):
        expected = [min(max(band - shift, 0), bands - 1) for band in range(bands)]
        assert clip.tolist() == [expected] * FRAMES
    assert set(shifts.tolist()) == set(range(-5, 6))


def test_mixup_mixes_clips_and_labels_by_the_same_weight() -> None:
    batch = 2000
    x, y = torch.eye(batch)[:, :, None], torch.eye(batch)  # so that clip and labels tell who was mixed, and how much
    mixed, labels = mixup(x, y, seeded(), STD)
    torch.testing.assert_close(mixed[:, :, 0], labels)
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(batch))
    torch.testing.assert_close((labels > 0).sum(dim=0) <= 2, torch.ones(batch, dtype=torch.bool))  # a permutation
    weight = labels.diagonal()
    assert 0.5 <= float(weight.min()) <= float(weight.max()) <= 1
    # of Beta(1/2, 1/2) folded at 1/2: P(weight < w) = 1 - 4 arcsin(√(1 - w)) / π
    for bound in (0.6, 0.75, 0.9, 0.99):
        expected = 1 - 4 * math.asin(math.sqrt(1 - bound)) / math.pi
        assert float((weight < bound).float().mean()) == pytest.approx(expected, abs=0.04)


def test_time_shift_and_mixup_take_waveforms_too() -> None:
    x, y = torch.randn(4, 100, generator=seeded(1)), torch.eye(4)
    shifted, _ = time_shift(x, y, seeded(), torch.ones(1))
    assert any(torch.equal(shifted[0], torch.roll(x[0], shift)) for shift in range(100))
    mixed, labels = mixup(x, y, seeded(), torch.ones(1))
    torch.testing.assert_close(mixed, labels @ x)


def test_spec_augment_hides_two_bands_of_time_and_two_of_frequency_up_to_their_lengths() -> None:
    frames, bands, batch = 300, 64, 400
    hidden = spec_augment(torch.ones(batch, frames, bands), torch.zeros(batch, 1), seeded(), STD)[0] == 0
    in_time, in_frequency = hidden.all(dim=2), hidden.all(dim=1)
    torch.testing.assert_close(hidden, in_time[:, :, None] | in_frequency[:, None, :])
    for covered, longest in ((in_time, 20), (in_frequency, 8)):
        edges = torch.nn.functional.pad(covered.int(), (1, 1)).diff(dim=1)
        assert int((edges == 1).sum(dim=1).max()) == 2
        runs = [int(length) for length in (edges == -1).nonzero()[:, 1] - (edges == 1).nonzero()[:, 1]]
        assert longest in runs  # a single mask of the greatest length
        assert int(covered.sum(dim=1).max()) <= 2 * longest
        assert bool(covered[:, 0].any())
        assert bool(covered[:, -1].any())  # masks reach both ends


def test_filters_are_constant_in_time_bounded_and_piecewise_linear() -> None:
    batch, bands = 200, 64
    std = torch.full((bands,), 2.0)
    out, _ = filter_augment(torch.zeros(batch, FRAMES, bands), torch.zeros(batch, 1), seeded(), std)
    assert torch.equal(out, out[:, :1].expand_as(out))
    decibels = out[:, 0] * std / math.log(10) * 20  # log-mel is the logarithm of a magnitude
    assert 5.5 < float(decibels.abs().max()) <= 6.0001
    bends = (decibels.diff(n=2, dim=1).abs() > 1e-3).sum(dim=1)  # an inner point bends at most at two bands
    assert int(bends.max()) <= 8
    assert int(bends.min()) <= 2
    assert len({int(number) for number in bends}) > 3


def test_draws_are_seeded_and_independent_of_each_other() -> None:
    x, y = some_clips(8), torch.eye(8)
    for name in NAMES:
        one, again = (augmented(x, y, (name,)) for _ in range(2))
        assert torch.equal(one[0], again[0])
        assert not torch.equal(one[0], augmented(x, y, (name,), seed=4)[0])
        assert not torch.equal(one[0], x)
    both = augmented(x, y, ("mixup", "time-shift"))
    one_by_one = augmented(*augmented(x, y, ("time-shift",)), ("mixup",))
    assert torch.equal(both[0], one_by_one[0])
    assert torch.equal(both[1], one_by_one[1])
    assert torch.equal(augmented(x, y, NAMES)[0], augmented(x, y, NAMES[::-1])[0])


def test_the_clips_themselves_stay_as_they_are() -> None:
    x, y = some_clips(8), torch.eye(8)
    kept = x.clone()
    augmented(x, y, NAMES)
    assert torch.equal(x, kept)
    assert torch.equal(y, torch.eye(8))


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
