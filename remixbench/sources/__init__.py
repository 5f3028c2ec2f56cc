"""Sources of recordings: published data sets, folders of one's own, and the synthetic sounds of `mini`.

Each is a `Catalogue` (catalogue.py): a table of recordings and a reader of their samples. `download` fetches the
published ones.
"""

from __future__ import annotations

from pathlib import Path

from remixbench.errors import InputError
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Catalogue


def load_catalogues(recipe: Recipe, sources: Path) -> tuple[Catalogue, Catalogue]:
    """Return the catalogues of scenes and of events of a recipe; its data sets lie below `sources`.

    Raises
    ------
    InputError
        If a table is missing or malformed, or a source has no recordings of the kind asked for.
    """
    return _scenes(recipe, sources), _events(recipe, sources)


def _scenes(recipe: Recipe, sources: Path) -> Catalogue:
    from remixbench.sources import folder, synthetic, tau2019

    source = recipe.scenes
    match source.source:
        case "tau2019":
            return tau2019.scenes(sources)
        case "synthetic":
            return synthetic.scenes(source.per_class, source.sample_rate)
        case "folder":
            return folder.catalogue(source, sources, "scenes")
        case _:
            raise InputError(f"recipe {recipe.name}: source '{source.source}' has events, not scenes; use tau2019")


def _events(recipe: Recipe, sources: Path) -> Catalogue:
    from remixbench.sources import folder, fsdkaggle2018, synthetic

    source = recipe.events
    match source.source:
        case "fsdkaggle2018":
            return fsdkaggle2018.events(sources)
        case "synthetic":
            return synthetic.events(source.per_class, source.sample_rate)
        case "folder":
            return folder.catalogue(source, sources, "events")
        case _:
            raise InputError(
                f"recipe {recipe.name}: source '{source.source}' has scenes, not events; use fsdkaggle2018"
            )
