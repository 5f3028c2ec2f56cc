"""Options that take several values (`--snr 0 10 20`), and options that several commands share.

click has no such options. A command of class `ManyCommand` rewrites `--snr 0 10 20` to `--snr 0 --snr 10 --snr 20`
before click parses, for each option declared with `many(...)`. The values end at the next option, at `--`, and, for an
option with choices, at the first value that is not a choice. Positional arguments come before such an option, or after
`--`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import click

from remixbench.errors import InputError
from remixbench.progress import SILENT, Progress, reporter

F = TypeVar("F", bound=Callable[..., Any])
_NUMBER = re.compile(r"[-+]?(\d|\.\d)|[-+]?(inf|nan)", re.IGNORECASE)


PATH = click.Path(path_type=Path)
FILE, FOLDER = click.Path(dir_okay=False, path_type=Path), click.Path(file_okay=False, path_type=Path)

device_option = click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="Where to compute."
)


class ManyOption(click.Option):
    """An option that takes one or more values."""


class ManyCommand(click.Command):
    """A command with options that may be `ManyOption`s.

    Parameters
    ----------
    groups
        Headings of `--help`, in order, with the names of their parameters; all others are under a last heading,
        "Options".
    """

    def __init__(
        self, *arguments: Any, groups: Mapping[str, Collection[str]] = MappingProxyType({}), **attributes: Any
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options by group, without arguments, which the text above explains."""
        headings = {name: heading for heading, names in self.groups.items() for name in names}
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*self.groups, "Options")}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections[headings.get(parameter.name or "", "Options")].append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite options with several values, then parse."""
        options = [p for p in self.params if isinstance(p, ManyOption)]
        names = {name: p.type.choices if isinstance(p.type, click.Choice) else None for p in options for name in p.opts}
        return super().parse_args(ctx, spread(args, names))


def spread(args: list[str], names: Mapping[str, Sequence[str] | None]) -> list[str]:
    """Repeat an option's name before each of its values: --snr 0 -5 becomes --snr 0 --snr -5.

    `names` maps the names of options to their choices, or None.
    """
    out: list[str] = []
    current: str | None = None
    fresh = False
    for position, token in enumerate(args):
        if token == "--":
            return out + args[position:]
        name = token.split("=", 1)[0]
        if name in names:
            current, fresh = name, token == name
            out.append(token)
        elif current is not None and not fresh and token not in (names[current] or (token,)):
            current = None
            out.append(token)
        elif current is not None and (not token.startswith("-") or _NUMBER.match(token)):
            out += [token] if fresh else [current, token]
            fresh = False
        else:
            current = None
            out.append(token)
    return out


def many(*names: str, **attributes: Any) -> Callable[[F], F]:
    """Declare an option that takes several values, passed as a tuple."""
    return click.option(*names, cls=ManyOption, multiple=True, **attributes)


def decibel(value: str) -> float:
    """Parse an SNR in dB; used as the type of an option."""
    from remixbench.recipe import parse_snr

    try:
        return parse_snr(value)
    except InputError as error:
        raise click.BadParameter(str(error).removeprefix(f"--snr {value}: ")) from None


def shard(value: str | tuple[int, int]) -> tuple[int, int]:
    """Parse I/N, the I-th of N shards of the work, as (I, N); used as the type of an option."""
    if isinstance(value, tuple):
        return value
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", value)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"'{value}' is not a shard of the work; expected I/N, 1 <= I <= N, such as 3/16")
    return int(match[1]), int(match[2])


def shard_option(function: F) -> F:
    """Declare `--shard I/N`."""
    return click.option(
        "--shard",
        type=shard,
        default=(1, 1),
        metavar="I/N",
        help="Do only the I-th of N equal parts of the work. [default: 1/1]",
    )(function)


def snr_option(help_text: str) -> Callable[[F], F]:
    """Declare `--snr DB...`."""
    return many("--snr", "snr", type=decibel, metavar="DB...", help=help_text)


@dataclass(frozen=True)
class Settings:
    """The options before the command."""

    workspace: Path
    quiet: bool

    def progress(self) -> Progress:
        """Return the progress reporter: silent with `-q`, bars on a terminal, plain lines otherwise."""
        return SILENT if self.quiet else reporter(True)
