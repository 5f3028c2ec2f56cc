"""`remixbench recipes`."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """List the built-in recipes, one per line.

    Example: remixbench recipes
    """
    from remixbench.recipe import load_recipe, recipes

    names = recipes()
    width = max(map(len, names))
    for name in names:
        click.echo(f"{name:{width}}  {load_recipe(name).description}")
