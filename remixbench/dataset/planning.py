"""`plan`: writes the manifest of a recipe from the sources' own tables. Needs no audio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from remixbench.dataset.leaks import leak_report
from remixbench.dataset.manifest import Manifest, write_manifest
from remixbench.dataset.plan import draw
from remixbench.files import write_json
from remixbench.recipe import Recipe, load_recipe
from remixbench.sources import load_catalogues


def plan(
    *,
    recipe: str | Path | Recipe,
    out: str | Path,
    workspace: str | Path = ".",
    sources: str | Path | None = None,
    report: bool = False,
) -> tuple[Manifest, dict[str, Any] | None]:
    """Draw the manifest of a recipe and write it to the folder `out`; with `report`, also its report.json.

    Returns the manifest, and what is in the report: leaks between roles, balance of classes, coverage of onsets.

    Raises
    ------
    InputError
        If the recipe or a table is missing or malformed.
    """
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    folder = Path(workspace) / "sources" if sources is None else Path(sources)
    scenes, events = load_catalogues(loaded, folder)
    manifest = draw(loaded, scenes, events)
    write_manifest(manifest, Path(out))
    if not report:
        return manifest, None
    found = leak_report(loaded, manifest, events)
    write_json(Path(out) / "report.json", found)
    return manifest, found
