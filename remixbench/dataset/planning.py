"""`plan`: writes the manifest of a recipe from the sources' own tables. Needs no audio."""

from __future__ import annotations

from pathlib import Path

from remixbench.dataset.manifest import Manifest, write_manifest
from remixbench.dataset.plan import draw
from remixbench.recipe import Recipe, load_recipe
from remixbench.sources.open import open_sources


def plan(
    *,
    recipe: str | Path | Recipe,
    out: str | Path,
    workspace: str | Path = ".",
    sources: str | Path | None = None,
) -> Manifest:
    """Draw the manifest of a recipe and write it to the folder `out`.

    Raises
    ------
    InputError
        If the recipe or a table is missing or malformed.
    """
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    folder = Path(workspace) / "sources" if sources is None else Path(sources)
    manifest = draw(loaded, *open_sources(loaded, folder))
    write_manifest(manifest, Path(out))
    return manifest
