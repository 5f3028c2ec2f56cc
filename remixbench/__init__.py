"""remixbench: weakly supervised sound event detection in noise, from little data, as a benchmark.

Every command of the command line is a function here, imported when it is first used::

    import remixbench

    dataset = remixbench.make(recipe="mini", snr=[0, 10, 20], workspace="work")
    remixbench.train(dataset=dataset, system=["gap"], workspace="work")
    remixbench.score(dataset=dataset, workspace="work")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from remixbench.dataset.dataset import Dataset, find_dataset, load_dataset
    from remixbench.dataset.make import make
    from remixbench.dataset.plan import plan
    from remixbench.dataset.verify import verify
    from remixbench.errors import InputError, RemixbenchError
    from remixbench.leaderboard.report.report import report
    from remixbench.leaderboard.score import score
    from remixbench.plots.show import show
    from remixbench.recipe import Recipe, load_recipe
    from remixbench.sources.check import check_sources
    from remixbench.sources.download import download
    from remixbench.training.fresh import FreshMixtures
    from remixbench.training.predict import predict
    from remixbench.training.train import train
    from remixbench.training.trained import load_system

# name: the module that has it
_HOME = {
    "Dataset": "remixbench.dataset.dataset",
    "FreshMixtures": "remixbench.training.fresh",
    "InputError": "remixbench.errors",
    "Recipe": "remixbench.recipe",
    "RemixbenchError": "remixbench.errors",
    "check_sources": "remixbench.sources.check",
    "download": "remixbench.sources.download",
    "find_dataset": "remixbench.dataset.dataset",
    "load_dataset": "remixbench.dataset.dataset",
    "load_recipe": "remixbench.recipe",
    "load_system": "remixbench.training.trained",
    "make": "remixbench.dataset.make",
    "plan": "remixbench.dataset.plan",
    "predict": "remixbench.training.predict",
    "report": "remixbench.leaderboard.report.report",
    "score": "remixbench.leaderboard.score",
    "show": "remixbench.plots.show",
    "train": "remixbench.training.train",
    "verify": "remixbench.dataset.verify",
}

__all__ = [
    "Dataset",
    "FreshMixtures",
    "InputError",
    "Recipe",
    "RemixbenchError",
    "check_sources",
    "download",
    "find_dataset",
    "load_dataset",
    "load_recipe",
    "load_system",
    "make",
    "plan",
    "predict",
    "report",
    "score",
    "show",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in ("systems", "scoring"):
        return import_module(f"remixbench.{name}")
    raise AttributeError(f"module 'remixbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
