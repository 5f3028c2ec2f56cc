"""Sources of recordings: published data sets, a user's folders, and the synthetic sounds of `mini`.

Each is a `Catalogue` (catalogue.py): a table of recordings and a reader of their samples. `download` fetches published
sources.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Literal

from remixbench.errors import InputError
from remixbench.recipe import PUBLISHED_SOURCES, Recipe, Source
from remixbench.sources.catalogue import Catalogue


def load_catalogues(recipe: Recipe, sources: Path) -> tuple[Catalogue, Catalogue]:
    """Return the catalogues of scenes and events of a recipe, whose data sets are below `sources`.

    Raises `InputError` if a table is missing or malformed, or a source has no recordings of the requested kind.
    """
    return _catalogue(recipe, recipe.scenes, sources, "scenes"), _catalogue(recipe, recipe.events, sources, "events")


def _catalogue(recipe: Recipe, source: Source, sources: Path, kind: Literal["scenes", "events"]) -> Catalogue:
    from remixbench.sources import folder, synthetic

    if source.source == "folder":
        return folder.catalogue(source, sources, kind)
    if source.source == "synthetic":
        return (synthetic.scenes if kind == "scenes" else synthetic.events)(source.per_class, source.sample_rate)
    load = getattr(import_module(f"remixbench.sources.{source.source}"), kind, None)
    if load is None:
        available = "events" if kind == "scenes" else "scenes"
        suited = next(name for name in PUBLISHED_SOURCES if hasattr(import_module(f"remixbench.sources.{name}"), kind))
        raise InputError(f"recipe {recipe.name}: source '{source.source}' has {available}, not {kind}; use {suited}")
    catalogue: Catalogue = load(sources)
    return catalogue
