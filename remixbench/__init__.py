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
    from remixbench.dataset.build import make
    from remixbench.dataset.layout import Dataset
    from remixbench.dataset.planning import plan
    from remixbench.errors import InputError, RemixbenchError
    from remixbench.figures.show import show
    from remixbench.leaderboard.page.report import report
    from remixbench.leaderboard.score import score
    from remixbench.recipe import Recipe, load_recipe

# name: the module that has it
_HOME = {
    "Dataset": "remixbench.dataset.layout",
    "InputError": "remixbench.errors",
    "Recipe": "remixbench.recipe",
    "RemixbenchError": "remixbench.errors",
    "load_recipe": "remixbench.recipe",
    "make": "remixbench.dataset.build",
    "plan": "remixbench.dataset.planning",
    "score": "remixbench.leaderboard.score",
    "report": "remixbench.leaderboard.page.report",
    "show": "remixbench.figures.show",
}

__all__ = [
    "Dataset",
    "InputError",
    "Recipe",
    "RemixbenchError",
    "load_recipe",
    "make",
    "plan",
    "report",
    "score",
    "show",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'remixbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
