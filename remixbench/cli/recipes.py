"""`remixbench recipes`."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """List the built-in recipes, one per line.

    Example: remixbench recipes
    """
    from remixbench.recipe import load_recipe, recipes

    for name in recipes():
        click.echo(f"{name:<16} {load_recipe(name).description}")
