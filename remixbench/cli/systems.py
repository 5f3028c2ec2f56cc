"""`remixbench systems`."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """List the systems that can be trained, with their options.

    Example: remixbench systems
    """
    from remixbench.systems import available

    specs = available()
    wide = max(map(len, specs))
    for spec in specs.values():
        click.echo(f"{spec.name:{wide}}  {spec.description}")
        for name, option in spec.options.items():
            click.echo(f"{'':{wide}}    {name}={option.default} ({option.allowed()}): {option.description}")
