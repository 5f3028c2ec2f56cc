"""`remixbench systems`."""

from __future__ import annotations

import click

_TAKES = {
    "waveform": "the waveform",
    "embeddings": "the embeddings of an encoder",
    "logmel+embeddings": "log-mel and the embeddings of an encoder",
}


def setting_text(value: object) -> str:
    """Return the value of a setting of the training as text."""
    return "+".join(map(str, value)) or "none" if isinstance(value, tuple | list) else str(value)


@click.command()
def command() -> None:
    """List the systems that can be trained, with their options and training defaults.

    Example: remixbench systems
    """
    from remixbench.errors import InputError
    from remixbench.systems import list_systems, spec

    names = list_systems()
    wide = max(map(len, names))
    for name in names:
        try:
            system = spec(name)
        except InputError as error:  # a package that cannot be imported does not hide the others
            click.echo(f"{name:{wide}}  unusable: {error}")
            continue
        takes = "" if system.inputs == "logmel" else f" (takes {_TAKES[system.inputs]})"
        click.echo(f"{name:{wide}}  {system.description}{takes}")
        for key, option in system.options.items():
            meaning = f": {option.description}" if option.description else ""
            click.echo(f"{'':{wide}}    {key}={option.default or '...'} ({option.allowed()}){meaning}")
        if system.training_defaults:
            settings = " ".join(f"{key}={setting_text(value)}" for key, value in system.training_defaults.items())
            click.echo(f"{'':{wide}}    trained with {settings}")
