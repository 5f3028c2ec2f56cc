"""`remixbench train`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import click

from remixbench.cli.options import F, ManyCommand, Settings, device_option, many, shard_option, snr_option
from remixbench.errors import InputError
from remixbench.parallel import prepare_for_torch
from remixbench.recipe import Setting, Training, training_settings

GROUPS = {
    "Runs": ("dataset", "system", "option", "snr", "fold", "seed", "alpha", "fraction", "fresh", "sources", "select"),
    "Training settings": tuple(training_settings()),
    "Execution": ("device", "precision", "jobs", "shard", "dry_run", "rerun"),
}


def training_options(model: type[Training] = Training) -> Callable[[F], F]:
    """Declare an option for every training setting."""

    def declare(function: F) -> F:
        for name, (field, setting) in reversed(training_settings(model).items()):
            function = _option(f"--{name.replace('_', '-')}", field.annotation, setting)(function)
        return function

    return declare


def _option(name: str, kind: Any, setting: Setting) -> Callable[[F], F]:
    text = f"{setting.help} [default: the system's]"
    if get_origin(kind) is tuple:
        return many(name, metavar="NAME...", help=text, callback=lambda *values: values[2] or None)
    if kind is bool:
        return click.option(f"{name}/--no-{name.removeprefix('--')}", default=None, help=text)
    if get_origin(kind) is Literal:
        return click.option(name, metavar="|".join(get_args(kind)), help=text)
    return click.option(name, type=kind, metavar="N" if kind is int else "X", help=text)


@click.command(cls=ManyCommand, groups=GROUPS)
@click.option("--dataset", metavar="NAME|DIR", help="Data set. [default: the most recent one]")
@many("--system", metavar="NAME...", help="Systems; `remixbench systems` lists them. [default: the paper's five]")
@snr_option("Signal-to-noise ratios. [default: all that were made]")
@many("--fold", type=int, metavar="N...", help="Folds to test on. [default: 4, as released]")
@many("--seed", type=int, metavar="N...", help="Seeds. [default: 0]")
@training_options()
@many("--alpha", type=float, metavar="A...", help="Weights of the reconstruction loss. [default: the system's]")
@many(
    "--fraction", type=float, metavar="F...", help="Fractions of the training and validation clips to use. [default: 1]"
)
@many("--option", metavar="NAME=VALUE...", help="Options of the system, such as attention=paper.")
@click.option(
    "--select",
    default="validation",
    show_default=True,
    metavar="paper|validation|last",
    help="Epoch to keep: the best on the test fold (paper) or on the validation part, or the last one.",
)
@device_option
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    metavar="32|bf16|auto",
    help="Precision; auto: bf16 if the device is fast at it.",
)
@click.option(
    "--fresh", is_flag=True, help="Mix new training clips in every epoch (dynamic mixing); the row is flagged."
)
@click.option("--sources", metavar="DIR", help="For --fresh: folder of the recordings. [default: WORKSPACE/sources]")
@shard_option
@click.option(
    "--jobs", type=int, metavar="N", help="Runs trained in parallel on a CPU, one thread each. [default: one per core]"
)
@click.option("--list", "dry_run", is_flag=True, help="List the runs, their state and their number, and exit.")
@click.option("--rerun", is_flag=True, help="Train finished runs again, from scratch.")
@click.pass_obj
def command(settings: Settings, /, option: tuple[str, ...], **values: Any) -> None:
    """Train systems on a data set, with one run per combination of the given values.

    If interrupted, rerun to resume. Finished runs are skipped; other settings make a new run.

    Example: remixbench train --system gap 2ap-aux --snr 0 20 --epochs 10
    """
    prepare_for_torch()
    from remixbench.training.run_files import describe_state
    from remixbench.training.train import train

    folders = train(workspace=settings.workspace, options=parse_options(option), progress=settings.progress(), **values)
    if values["dry_run"] and not settings.quiet:
        click.echo(f"{len(folders)} run{'s' * (len(folders) != 1)}:", err=True)
    for folder in folders:
        click.echo(f"{folder}  {describe_state(folder)}" if values["dry_run"] else folder)
    if folders and not values["dry_run"] and not settings.quiet:
        workspace = "" if str(settings.workspace) == "." else f" --workspace {settings.workspace}"
        click.echo(f"Next: remixbench{workspace} score", err=True)


def parse_options(pairs: tuple[str, ...]) -> dict[str, str | float]:
    """Return NAME=VALUE pairs as a dict.

    Raises
    ------
    InputError
        If a pair is malformed, or a name is given twice.
    """
    options: dict[str, str | float] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise InputError(f"--option {pair}: expected NAME=VALUE, such as attention=paper")
        if name in options:
            raise InputError(f"--option {pair}: '{name}' is given twice; train one after the other")
        options[name] = value
    return options
