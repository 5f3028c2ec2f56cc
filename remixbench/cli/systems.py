"""`remixbench systems`."""

from __future__ import annotations

import shutil
import sys

import click

from remixbench.progress import is_terminal

UNBROKEN = 10_000
"""Width of output that is not a terminal."""
_TAKES = {
    "waveform": "the waveform",
    "embeddings": "the embeddings of an encoder",
    "logmel+embeddings": "log-mel and the embeddings of an encoder",
}


def setting_text(value: object) -> str:
    """Format the value of a training setting."""
    return "+".join(map(str, value)) or "none" if isinstance(value, tuple | list) else str(value)


@click.command()
def command() -> None:
    """List the systems that can be trained, with their options and training defaults.

    Example: remixbench systems
    """
    from remixbench.errors import InputError
    from remixbench.systems import list_systems, spec

    names = list_systems()
    margin = max(map(len, names)) + 2
    columns = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else UNBROKEN

    def write(head: str, text: str, indent: int = 0) -> None:
        start, rest = f"{head:{margin}}{'':{indent}}", " " * (margin + indent + 2)
        click.echo(click.wrap_text(text, columns, initial_indent=start, subsequent_indent=rest))

    for name in names:
        try:
            system = spec(name)
        except InputError as error:  # a package that cannot be imported must not hide the others
            write(name, f"unusable: {error}")
            continue
        takes = "" if system.inputs == "logmel" else f" (takes {_TAKES[system.inputs]})"
        write(name, f"{system.description}{takes}")
        for key, option in system.options.items():
            meaning = f": {option.description}" if option.description else ""
            write("", f"{key}={option.default or '...'} ({option.allowed()}){meaning}", indent=2)
        if system.training_defaults:
            settings = " ".join(f"{key}={setting_text(value)}" for key, value in system.training_defaults.items())
            write("", f"trained with {settings}", indent=2)
