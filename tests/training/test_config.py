"""Which runs a command asks for, what they are called, and what makes two of them the same."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pytest
from fake_dataset import fake_dataset
from pydantic import Field, model_validator

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.recipe import Setting, Training
from remixbench.systems import registry
from remixbench.training.config import check_settings, data_digest, flags, list_configs


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return fake_dataset(tmp_path_factory.mktemp("settings"))


def test_without_options_the_five_systems_of_the_table_at_every_ratio(dataset: Dataset) -> None:
    runs = list_configs(dataset)
    assert [(run.system, run.snr) for run in runs] == [
        (system, snr) for system in ("gap", "gmp", "gwrp", "atrous-ap", "2ap-aux") for snr in (0.0, 20.0)
    ]
    assert {(run.fold, run.seed, run.fraction, run.select) for run in runs} == {(4, 0, 1.0, "validation")}
    assert {(run.epochs, run.batch_size, run.learning_rate, run.width) for run in runs} == {(3, 8, 0.003, 0.25)}
    assert [run.alpha for run in runs[-2:]] == [0.001, 0.001]


def test_a_grid_has_every_combination_once(dataset: Dataset) -> None:
    runs = list_configs(dataset, system=["gap", "gap"], snr=[0, -0.0], fold=[1, 2], seed=[0, 1, 1], fraction=[0.5, 1])
    assert len(runs) == len(set(runs)) == 8
    assert {math.copysign(1, run.snr) for run in runs} == {1.0}


def test_alpha_goes_to_the_systems_that_reconstruct(dataset: Dataset) -> None:
    runs = list_configs(dataset, system=["gap", "2ap-aux"], snr=20, alpha=[0, 0.001, 0.1])
    assert [run.folder for run in runs] == ["gap", "2ap-aux,alpha=0", "2ap-aux", "2ap-aux,alpha=0.1"]


def test_options_go_to_the_systems_that_have_them(dataset: Dataset) -> None:
    runs = list_configs(
        dataset, system=["gap", "gwrp", "2ap-aux"], snr=20, fraction=0.25, options={"attention": "paper", "decay": 0.5}
    )
    assert [run.folder for run in runs] == [
        "gap,fraction=0.25",
        "gwrp,fraction=0.25,decay=0.5",
        "2ap-aux,fraction=0.25,attention=paper",
    ]


def test_every_setting_makes_another_identity(dataset: Dataset) -> None:
    data = data_digest(dataset, 20)
    run = list_configs(dataset, system="2ap-aux", snr=20, precision="32")[0]
    others = [
        run.model_copy(update=change)
        for change in (
            {"system": "2ap"}, {"options": ()}, {"alpha": 0.0}, {"fraction": 0.5}, {"snr": 0.0}, {"fold": 1},
            {"seed": 1}, {"epochs": 9}, {"batch_size": 9}, {"learning_rate": 0.1}, {"width": 0.5}, {"select": "last"},
            {"precision": "bf16"}, {"min_steps": 100},
        )
    ]  # fmt: skip
    digests = {other.digest(data) for other in others} | {run.digest(data), run.digest("other data")}
    assert len(digests) == len(others) + 2


IDENTITIES = {
    "gap": "3afe0f5eb21fdc1f",
    "gwrp": "fe1a0a8f3a1ab923",
    "atrous-ap": "22a0653575c0b569",
    "2ap": "9692db4ad7975eee",
    "2ap-aux": "dd750ed5cb73125f",
    "crnn": "2e1ac54c18500f71",
    "crnn-sep": "c239d49b5e1617d3",
    "gwrp,fresh,decay=0.9": "7e144a00dd97795c",
    "2ap-aux,alpha=0,fraction=0.1,optimizer=adamw,weight_decay=0.1,schedule=cosine,augment=mixup+time-shift"
    ",ema=0.9,early_stopping=3,gradient_clip=1": "920a954eb89b8777",
}
"""Of runs on data of digest "data", by folder, as they were before options and settings were added; of `crnn`
since its training defaults are others."""


def test_runs_keep_the_identity_that_they_had(dataset: Dataset) -> None:
    many = {
        "alpha": 0, "fraction": 0.1, "augment": ["mixup", "time-shift"], "ema": 0.9, "schedule": "cosine",
        "optimizer": "adamw", "weight_decay": 0.1, "early_stopping": 3, "gradient_clip": 1.0, "select": "paper",
        "precision": "bf16",
    }  # fmt: skip
    grids: list[dict[str, Any]] = [
        {"system": ["gap", "gwrp", "atrous-ap", "2ap", "2ap-aux", "crnn", "crnn-sep"]},
        {"system": "gwrp", "options": {"decay": 0.9}, "fresh": True},
        {"system": "2ap-aux", **many},
    ]
    runs = [run for grid in grids for run in list_configs(dataset, snr=0, **grid)]
    assert {run.folder: run.digest("data")[:16] for run in runs} == IDENTITIES


def test_a_least_number_of_steps_gives_few_clips_more_epochs(dataset: Dataset) -> None:
    run = list_configs(dataset, system="gap", snr=0, epochs=3, min_steps=100)[0]
    assert [run.epochs_of(steps) for steps in (1, 3, 33, 34, 50, 1000)] == [100, 34, 4, 3, 3, 3]
    assert "min steps 100, default 0" in [flag["text"] for flag in flags(run, dataset.recipe)]


def test_whoever_asks_for_epochs_gets_as_many(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(registry._BUNDLED["crnn"], training_defaults={"min_steps": 500})
    monkeypatch.setitem(registry._BUNDLED, "crnn", own)
    steps = [
        list_configs(dataset, system="crnn", snr=0, **asked)[0].min_steps
        for asked in ({}, {"epochs": 2}, {"epochs": 2, "min_steps": 40}, {"min_steps": 0})
    ]
    assert steps == [500, 0, 40, 0]


class Extended(Training):
    """A training with settings of all types, in ranges of all forms."""

    warm_up: Annotated[int, Field(ge=3), Setting("Steps of warm-up.")] = 10
    layers: Annotated[int, Setting("Number of layers.")] = 2
    dropout: Annotated[float, Field(ge=0.1, le=0.5), Setting("Part of the features.")] = 0.25
    shift: Annotated[float, Field(gt=-1, lt=1), Setting("Shift.")] = 0.0
    nesterov: Annotated[bool, Setting("Nesterov momentum.")] = False
    norm: Annotated[Literal["batch", "layer"], Setting("Norm.")] = "batch"

    @model_validator(mode="after")
    def _norm_fits(self) -> Self:
        if self.norm == "layer" and self.layers > 4:
            raise ValueError("norm layer has at most 4 layers")
        return self


def test_a_new_setting_is_checked_by_its_field_alone() -> None:
    settings = Extended().model_dump()
    changes = {"warm_up": np.int64(3), "layers": -1, "dropout": 0.5, "shift": np.float32(0.5), "nesterov": True}
    assert check_settings(settings | changes, Extended) == settings | changes
    assert check_settings(settings | {"learning_rate": 1}, Extended)["learning_rate"] == 1.0
    assert check_settings(settings | {"nesterov": np.False_}, Extended)["nesterov"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warm_up": 2}, "--warm-up 2: expected a whole number from 3 up"),
        ({"warm_up": "many"}, "--warm-up many: expected a whole number"),
        ({"layers": 2.5}, "--layers 2.5: expected a whole number"),
        ({"dropout": 0.05}, "--dropout 0.05: expected a number from 0.1 up, at most 0.5"),
        ({"dropout": 0.6}, "--dropout 0.6: expected a number from 0.1 up, at most 0.5"),
        ({"shift": -1}, "--shift -1: expected a number above -1, below 1"),
        ({"ema": 1.0}, "--ema 1: expected a number from 0 up, below 1"),
        ({"ema": math.nan}, "--ema nan: expected a number"),
        ({"nesterov": "yes"}, "--nesterov yes: expected True or False"),
        ({"norm": "bach"}, "unknown value 'bach' of --norm (did you mean 'batch'?); choose from batch, layer"),
        ({"norm": "layer", "layers": 5}, "norm layer has at most 4 layers"),
        ({"epochs": 10**400}, f"--epochs {10**400}: expected a whole number from 1 up, at most 100000"),
    ],
)
def test_a_new_setting_out_of_its_range_is_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        check_settings(Extended().model_dump() | change, Extended)
    assert str(error.value) == message


def test_a_default_of_none_is_the_recipes(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(registry._BUNDLED["gap"], training_defaults={"batch_size": None, "ema": 0.5})
    monkeypatch.setitem(registry._BUNDLED, "gap", own)
    run = list_configs(dataset, system="gap", snr=0)[0]
    assert (run.batch_size, run.ema, run.folder) == (8, 0.5, "gap")


def test_another_ratio_made_does_not_change_the_data_but_other_clips_do(tmp_path: Path) -> None:
    one = fake_dataset(tmp_path / "a", snrs=(0.0,))
    more = fake_dataset(tmp_path / "b", snrs=(0.0, 20.0))
    other = fake_dataset(tmp_path / "c", seed=1)
    assert data_digest(one, 0) == data_digest(more, 0) != data_digest(other, 0)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"system": "2ap-aus"}, "unknown system '2ap-aus' (did you mean '2ap-aux'?)"),
        ({"snr": 10}, "has no SNR of 10 dB, only 0, 20"),
        ({"fold": 5}, "has no fold 5; it has 1, 2, 3, 4"),
        ({"fold": 0}, "--fold 0: expected a whole number from 1 up"),
        ({"seed": -1}, "--seed -1: expected a whole number from 0 up, at most 4294967295"),
        ({"seed": True}, "--seed True: expected a whole number"),
        ({"fraction": 0}, "--fraction 0: expected a number above 0, at most 1"),
        ({"fraction": 1.5}, "--fraction 1.5"),
        ({"fraction": math.nan}, "--fraction nan"),
        ({"epochs": 0}, "--epochs 0: expected a whole number from 1 up"),
        ({"min_steps": -1}, "--min-steps -1: expected a whole number from 0 up"),
        ({"epochs": 2.0}, "--epochs 2.0: expected a whole number from 1 up"),
        ({"fraction": 1.0000001}, "--fraction 1.0000001: expected a number above 0, at most 1"),
        ({"width": np.True_}, "--width True: expected a number"),
        ({"alpha": "", "system": "gap"}, "--alpha : none of gap has a decoder"),
        ({"alpha": np.array([0.0, 0.1]), "system": "gap"}, "--alpha [0.  0.1]: none of gap has a decoder"),
        ({"augment": np.array(["mixup", "none"])}, "unknown value '['mixup' 'none']' of --augment"),
        ({"options": 3}, "options: found 3, expected names and values, such as {'attention': 'paper'}"),
        ({"options": {1: "paper"}, "system": "gap"}, "unknown option '1' of gap"),
        ({"min_steps": 1.5}, "--min-steps 1.5: expected a whole number from 0 up"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"learning_rate": 0.0}, "--learning-rate 0: expected a number above 0"),
        ({"learning_rate": math.inf}, "--learning-rate inf"),
        ({"width": -1.0}, "--width -1"),
        ({"alpha": -0.1}, "--alpha -0.1: expected a number from 0 up"),
        ({"fresh": "yes"}, "--fresh yes: expected True or False"),
        ({"snr": [[0, 20]]}, "--snr [0, 20]: expected a number"),
        ({"alpha": 0.1, "system": ["gap", "2ap"]}, "none of gap, 2ap has a decoder; use 2ap-aux"),
        ({"learning_rate": "0.1"}, "--learning-rate 0.1: expected a number"),
        ({"width": True}, "--width True: expected a number"),
        ({"alpha": "x", "system": "2ap-aux"}, "--alpha x: expected a number"),
        ({"snr": "loud"}, "--snr loud: expected a number"),
        ({"fraction": "half"}, "--fraction half: expected a number"),
        ({"augment": ["none", "mixup"]}, "--augment none mixup: none cannot be combined with others"),
        ({"lerning_rate": 1}, "unknown training setting 'lerning_rate' (did you mean 'learning_rate'?)"),
        ({"options": {"decay": None}, "system": "gwrp"}, "option decay is 'None', expected a number above 0"),
        ({"select": "vlidation"}, "unknown value 'vlidation' of --select (did you mean 'validation'?)"),
        ({"precision": "16"}, "unknown value '16' of --precision"),
        ({"options": {"atention": "paper"}, "system": "2ap"}, "(did you mean 'attention'?)"),
        ({"options": {"attention": "papers"}, "system": "2ap"}, "expected released or paper"),
        ({"options": {"attention": "paper"}, "system": "gap"}, "unknown option 'attention' of gap"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(dataset: Dataset, asked: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        list_configs(dataset, **asked)  # type: ignore[arg-type]
    assert message in str(error.value)
    assert "\n" not in str(error.value)
