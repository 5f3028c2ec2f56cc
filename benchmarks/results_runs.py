"""What docs/results.md is about: corpora, recipes, what is trained for which part of the page, and the rows of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remixbench.leaderboard.rows import Estimate
from remixbench.recipe import Recipe, load_recipe
from remixbench.systems.registry import resolve_options, spec
from remixbench.training.config import RELEASED

SEEDS = (0, 1, 2)
RECIPES = ("remix2019", "remix2019-strict")
COARSE = "-coarse"
"""Ends the name of a recipe whose log-mel is coarse, for systems that cost too much otherwise."""
COARSE_LOGMEL = {"n_fft": 4096, "hop_length": 4096, "n_mels": 32}
"""A frame every 0.128 s and 32 bands, an eighth of the 0.032 s and 64 bands of `RECIPES`."""
COARSE_RECIPES = tuple(recipe + COARSE for recipe in RECIPES)
ORDINARY = "-ordinary"
"""Ends the name of a recipe whose folds share origins, as folds that are drawn at random do."""
ORDINARY_RECIPE = RECIPES[1] + ORDINARY
MADE = (*RECIPES, ORDINARY_RECIPE, *COARSE_RECIPES)
SMALL = {"width": 0.125, "epochs": 24, "batch_size": 4}
"""The size of the published systems, on coarse log-mel, that two cores can train."""
PRIOR = {"options": {"bias": "prior"}}
CONSTANT = {"schedule": "constant"}
SNRS = (-5.0, 5.0, 10.0, 20.0)
"""Beside 0 dB."""
FRACTIONS = {"fraction": [0.125, 0.25, 0.5]}
PAPER = ("gap", "gmp", "gwrp", "atrous-ap", "2ap-aux")
"""By micro-AP, the order of the paper's Table 1 at every SNR."""


@dataclass(frozen=True)
class Corpus:
    """Recordings in the layout of the two data sets."""

    title: str
    text: str
    clips_per_fold: int


CORPORA = {
    "stand_in": Corpus(
        "stand-in",
        "280 event recordings in 19 classes, most of them single notes and strokes of instruments from sample"
        " libraries, and 120 scenes of 10 s cut from 32 recordings. It cannot be passed on, because some of its"
        " recordings may not",
        500,
    ),
    "fsd10": Corpus(
        "FSDKaggle2018, 10 classes",
        "real FSDKaggle2018 events (248 recordings of 10 classes), other scenes (115 clips of rain, sea waves,"
        " helicopter and fire from ESC-10)",
        250,
    ),
}
"""By option that names their workspace."""
PLAIN = RELEASED | {"batch_size": 24, "min_steps": 0}
"""What is used where neither the system nor a call says otherwise."""


@dataclass(frozen=True)
class Training:
    """Runs that one call of `remixbench.train` makes, for each recipe."""

    system: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    snr: Sequence[float] = (0.0,)
    seed: Sequence[int] = (0,)
    recipes: Sequence[str] = RECIPES
    corpora: Sequence[str] = tuple(CORPORA)

    def includes(self, info: Mapping[str, Any]) -> bool:
        """Whether the run with this run.json is one of them, whatever its seed and recipe."""
        system = info["system"]
        if system not in self.system:
            return False
        least = {"min_steps": 0} if "epochs" in self.settings else {}
        wanted = {**PLAIN, **spec(system).training_defaults, **least, **self.settings}
        options = [resolve_options(system, source.get("options", {})) for source in (info, self.settings)]
        return (
            info["snr"] in self.snr
            and info["fraction"] in self.settings.get("fraction", [1.0])
            and options[0] == options[1]
            and set(info["augment"]) == set(wanted["augment"])
            and all(info.get(name, 0) == wanted[name] for name in (*PLAIN, "epochs") if name != "augment")
        )


HALF = {"fraction": [0.5]}
"""The size of the ablation."""
ABLATION: dict[str, dict[str, Any]] = {
    "all defaults": {},
    "bias random": {"options": {"bias": "random"}},
    "linear softmax": {"options": {"pooling": "linear"}},
    "no frequency shift": {"augment": ["time-shift"]},
    "no time shift": {"augment": ["frequency-shift"]},
    "with mixup": {"augment": ["frequency-shift", "mixup", "time-shift"]},
    "with SpecAugment": {"augment": ["frequency-shift", "specaugment", "time-shift"]},
    "no moving average of the weights": {"ema": 0.0},
    "constant learning rate": {"schedule": "constant"},
    "Adam, no weight decay": {"optimizer": "adam", "weight_decay": 0.0},
    "batches of 16": {"batch_size": 16},
}
"""By name of the row, what is given instead of a training default of `crnn`."""
PARTS: dict[str, tuple[Training, ...]] = {
    "systems": (
        Training(("crnn",), seed=SEEDS),
        Training(("crnn",), seed=SEEDS, recipes=(ORDINARY_RECIPE,), corpora=("fsd10",)),
        Training(("crnn",), recipes=COARSE_RECIPES),
    ),
    "published": (
        Training((*PAPER[:-1], "2ap", "2ap-aux"), SMALL | PRIOR, seed=SEEDS, recipes=COARSE_RECIPES),
        Training((*PAPER[:-1], "2ap", "2ap-aux"), SMALL, seed=SEEDS, recipes=COARSE_RECIPES),
        Training((*PAPER[:-1], "2ap", "2ap-aux"), SMALL | CONSTANT, seed=SEEDS, recipes=COARSE_RECIPES),
    ),
    "snr": (Training(("crnn",), snr=SNRS, recipes=RECIPES[1:]),),
    "size": (Training(("crnn",), FRACTIONS, recipes=RECIPES[1:]),),
    "ablation": tuple(Training(("crnn",), HALF | off, seed=SEEDS, recipes=RECIPES[1:]) for off in ABLATION.values()),
}
"""By part of the page, what is trained."""
ON_ENCODERS = ("emb-mlp", "crnn-emb")
"""What is trained on the embeddings of each encoder."""


def on_encoder(encoder: str) -> tuple[Training, ...]:
    """Return what is trained on the embeddings of an encoder."""
    options = {"options": {"encoder": encoder}}
    return (
        Training(ON_ENCODERS, options, seed=SEEDS),
        Training(("crnn-emb",), options, snr=SNRS, recipes=RECIPES[1:]),
        Training(("crnn-emb",), options | FRACTIONS, recipes=RECIPES[1:]),
    )


def recipe_of(name: str) -> Recipe:
    """Return a built-in recipe, or one with a coarse log-mel or ordinary folds, by the ending of its name."""
    recipe = load_recipe(name.removesuffix(COARSE).removesuffix(ORDINARY))
    if name.endswith(COARSE):
        return recipe.model_copy(update={"name": name, "features": recipe.features.model_copy(update=COARSE_LOGMEL)})
    if name.endswith(ORDINARY):
        return recipe.model_copy(update={"name": name, "plan": recipe.plan.model_copy(update={"origin_gap": 0})})
    return recipe


@dataclass(frozen=True)
class Run:
    """A run: index of its row, what it was trained and tested on, its folder, and run.json without what is empty."""

    row: int
    snr: float
    fold: int
    seed: int
    folder: Path
    info: dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """The runs of a row at one SNR.

    Attributes
    ----------
    micro_ap : mean with its 95 % interval
    values : metrics of every run
    shift_loss : per run, the greatest relative loss of micro-AP when the test clips are rolled; empty where no roll
        keeps every event whole
    """

    name: str
    runs: tuple[Run, ...]
    micro_ap: Estimate
    values: tuple[dict[str, float], ...]
    shift_loss: tuple[float, ...]

    @property
    def micro_aps(self) -> list[float]:
        """Of the runs."""
        return [values["micro_ap"] for values in self.values]

    def mean(self, metric: str) -> float:
        """Over the runs."""
        return statistics.fmean(values[metric] for values in self.values)

    def deviation(self, metric: str) -> float:
        """Over the runs; 0 of one run."""
        return statistics.stdev(values[metric] for values in self.values) if len(self.values) > 1 else 0.0

    @property
    def minutes(self) -> float:
        """Of training, per run."""
        return statistics.fmean(run.info["seconds"] for run in self.runs) / 60

    @property
    def parts(self) -> set[str]:
        """The parts of the page that it belongs to."""
        info = self.runs[0].info
        return {part for part, trainings in PARTS.items() if any(training.includes(info) for training in trainings)}

    @property
    def ablation(self) -> str | None:
        """What the row is called in the ablation; None where it is no part of it."""
        info = self.runs[0].info
        return next((name for name, off in ABLATION.items() if Training(("crnn",), HALF | off).includes(info)), None)

    @property
    def pretrained(self) -> bool:
        """Whether it is one of `ON_ENCODERS`, as it comes."""
        info = self.runs[0].info
        return self.name in {f"{system},encoder={info['options'].get('encoder')}" for system in ON_ENCODERS}

    @property
    def published(self) -> bool:
        """Whether it is one of the paper's systems, as it comes."""
        return "," not in self.name and spec(self.name).published is not None
