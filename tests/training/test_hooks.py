"""Optimizers, schedules, augmentations, EMA, early stopping, clipping: from first principles, and through a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from fake_dataset import fake_dataset
from safetensors.torch import load_file
from torch import nn
from watcher import run_json, stop_after

from remixbench.dataset.splits import splits
from remixbench.errors import InputError
from remixbench.recipe import parse_recipe
from remixbench.systems import Output, register, registry
from remixbench.training.config import list_configs
from remixbench.training.train import train
from remixbench.training.trainer import WeightAverage, cosine_factor

pytestmark = pytest.mark.usefixtures("one_thread")


class WithDecoder(nn.Module):
    """A linear layer on every frame, and a decoder that its own training step trains."""

    def __init__(self, n_mels: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(n_mels, classes)
        self.decoder = nn.Linear(classes, n_mels)

    def forward(self, x: torch.Tensor) -> Output:
        frames = torch.sigmoid(self.layer(x))
        return Output(frames.mean(dim=1), frames)

    def training_step(self, x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(self.decoder(self.layer(x)), x)


class Tiny(nn.Module):
    """A linear layer on every frame."""

    def __init__(self, n_mels: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(n_mels, classes)

    def forward(self, x: torch.Tensor) -> Output:
        frames = torch.sigmoid(self.layer(x))
        return Output(frames.mean(dim=1), frames)


class ToldThePrior(Tiny):
    """Keeps the prior that it is told where the test reads it."""

    told: ClassVar[list[torch.Tensor]] = []

    def set_prior(self, prior: torch.Tensor) -> None:
        self.told.append(prior)
        with torch.no_grad():
            self.layer.bias.copy_(torch.logit(prior))


class RefusesThePrior(Tiny):
    def set_prior(self, prior: torch.Tensor) -> None:
        raise ValueError(f"{len(prior)} classes are too many")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    register("tiny", Tiny)


def test_a_network_is_told_the_mean_labels_of_the_training_clips(tmp_path: Path) -> None:
    register("told", ToldThePrior)
    dataset = fake_dataset(tmp_path, recordings=4)  # so that the fifth class is in no clip
    train(workspace=tmp_path, dataset=dataset, system="told", snr=20, epochs=1)
    weak = dataset.weak[splits(dataset, 4)["train"]]
    expected = weak.mean(axis=0)
    assert expected[-1] == 0
    expected[-1] = 0.5 / len(weak)
    prior = ToldThePrior.told[-1]  # it is tried on two clips of noise before
    np.testing.assert_allclose(prior.numpy(), expected, rtol=1e-6)


def test_a_network_that_refuses_the_prior_is_named(tmp_path: Path) -> None:
    register("refuses", RefusesThePrior)
    with pytest.raises(InputError, match=r"system 'refuses'.*set_prior fails \(ValueError: 5 classes are too many\)"):
        train(workspace=tmp_path, dataset=fake_dataset(tmp_path), system="refuses", snr=20, epochs=1)


def test_few_clips_are_trained_for_the_least_number_of_steps_also_after_a_resume(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path, clips_per_fold=6)
    asked: dict[str, Any] = {"system": "tiny", "snr": 20, "min_steps": 20, "batch_size": 4, "schedule": "cosine"}
    asked["dataset"] = dataset
    (whole,) = train(workspace=tmp_path / "a", **asked)
    clips = run_json(whole)["clips"]["train"]
    assert run_json(whole)["epochs_trained"] == -(-20 // -(-clips // 4)) > run_json(whole)["epochs"] == 3
    with pytest.raises(KeyboardInterrupt):
        train(workspace=tmp_path / "b", progress=stop_after(3 * clips + 1), **asked)
    (resumed,) = train(workspace=tmp_path / "b", **asked)
    assert (resumed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_decoder_that_a_training_step_uses_is_trained(tmp_path: Path) -> None:
    register("with-decoder", WithDecoder)
    fake_dataset(tmp_path)
    options: dict[str, Any] = {"workspace": tmp_path, "system": "with-decoder", "snr": 20, "select": "last"}
    short, longer = (load_file(train(**options, epochs=epochs)[0] / "model.safetensors") for epochs in (1, 2))
    assert not torch.equal(short["network.decoder.weight"], longer["network.decoder.weight"])


@pytest.mark.parametrize(
    "hook",
    [
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"schedule": "cosine"},
        {"schedule": "constant"},
        {"augment": "mixup"},
        {"augment": "specaugment"},
        {"augment": "time-shift"},
        {"augment": "filter-augment"},
        {"ema": 0.9},
        {"early_stopping": 2},
        {"gradient_clip": 0.01},
    ],
    ids=lambda hook: " ".join(map(str, hook.values())),
)
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path, hook: dict[str, Any]) -> None:
    ends = []
    for name in ("whole", "broken"):
        fake_dataset(tmp_path / name)
        options: dict[str, Any] = {"workspace": tmp_path / name, "system": "tiny", "snr": 20, "precision": "32"} | hook
        if name == "broken":
            with pytest.raises(KeyboardInterrupt):
                train(progress=stop_after(50), **options)
        ends.append(train(**options)[0])
    whole, broken = (load_file(folder / "model.safetensors") for folder in ends)
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    plain = train(workspace=tmp_path / "whole", system="tiny", snr=20, precision="32")[0]
    assert plain != ends[0]
    assert [flag["code"] for flag in run_json(ends[0])["flags"]] == ["training"] * len(hook)
    # early stopping changes no step, and a constant rate no step of so short a training
    if hook not in ({"early_stopping": 2}, {"schedule": "constant"}):
        weights = load_file(plain / "model.safetensors")
        assert not all(torch.equal(whole[name], weights[name]) for name in whole)


def test_training_ends_after_so_many_epochs_without_a_better_score(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    options: dict[str, Any] = {"workspace": tmp_path, "system": "tiny", "snr": 20, "epochs": 9, "learning_rate": 1e-12}
    folder = train(early_stopping=3, **options)[0]  # no score changes, so that the first epoch stays the best
    info = run_json(folder)
    assert (info["epochs_trained"], info["epoch"]) == (4, 1)
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 4


def test_the_moving_average_is_its_formula() -> None:
    """average ← d·average + (1 - d)·weights with d = min(decay, (1 + n) / (10 + n))."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    average = WeightAverage(network, decay=0.2)
    nn.init.constant_(network.weight, 2.0)
    average.update(network, 1)  # d = 2/11
    assert float(average.network.weight) == pytest.approx(1 + (1 - 2 / 11))
    nn.init.constant_(network.weight, 0.0)
    average.update(network, 2)  # d = 0.2, since 3/12 is more
    assert float(average.network.weight) == pytest.approx(0.2 * (2 - 2 / 11))


def test_the_weights_kept_are_the_averaged_ones(tmp_path: Path) -> None:
    """With a decay of 9/10 in the first steps the average lags behind the last weights."""
    fake_dataset(tmp_path)
    options: dict[str, Any] = {"workspace": tmp_path, "system": "tiny", "snr": 20, "select": "last", "precision": "32"}
    weights = [load_file(train(ema=ema, **options)[0] / "model.safetensors") for ema in (0.0, 0.01, 0.99)]
    last, near, far = (each["network.layer.weight"] for each in weights)
    assert 0 < float((near - last).norm()) < float((far - last).norm())


def test_the_cosine_schedule_warms_up_and_falls_to_zero() -> None:
    factors = [cosine_factor(step, 20) for step in range(20)]
    assert factors[:2] == [0.5, 1.0]  # a tenth of the steps
    assert factors[2] == 1.0
    assert factors[11] == pytest.approx(0.5)  # half of the other 18
    assert sorted(factors[2:], reverse=True) == factors[2:]
    assert 0 < factors[-1] < 0.01


def test_a_recipe_may_name_the_training(tmp_path: Path) -> None:
    training: dict[str, Any] = {"optimizer": "adamw", "augment": ["time-shift", "mixup"], "ema": 0.5}
    dataset = fake_dataset(tmp_path, training=training)
    named, other = (list_configs(dataset, system="tiny", snr=20, **given)[0] for given in ({}, {"optimizer": "adam"}))
    assert (named.optimizer, named.augment, named.ema) == ("adamw", ("mixup", "time-shift"), 0.5)
    assert named.weight_decay == 0
    assert other.optimizer == "adam"
    folders = train(workspace=tmp_path, system="tiny", snr=20), train(workspace=tmp_path, system="tiny", ema=0, snr=20)
    flags = [run_json(folder[0])["flags"] for folder in folders]
    assert flags == [[], [{"code": "training", "text": "ema 0, default 0.5"}]]
    # a system that names its own keeps them
    assert list_configs(dataset, system="crnn", snr=20)[0].ema == 0.998


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"optimizer": "adamm"}, "training.optimizer: found 'adamm'; expected 'adam' or 'adamw'"),
        ({"augment": ["mixupp"]}, "training.augment.0: found 'mixupp'; expected 'mixup', 'specaugment'"),
        ({"ema": 1}, "training.ema: found 1; expected less than 1"),
        ({"shedule": "cosine"}, "unknown key 'training.shedule' (did you mean 'schedule'?)"),
    ],
)
def test_a_recipe_that_names_it_wrong(training: dict[str, Any], said: str) -> None:
    sources = {"scenes": {"source": "synthetic"}, "events": {"source": "synthetic"}}
    with pytest.raises(InputError) as caught:
        parse_recipe({"name": "r", "description": "d", **sources, "training": training}, "r.yaml")
    assert said in str(caught.value)
