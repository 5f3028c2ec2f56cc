"""`remixbench train`."""

from __future__ import annotations

from typing import Any

import click

from remixbench.cli.console import Settings
from remixbench.cli.options import ManyCommand, device_option, many, shard_option, snr_option
from remixbench.errors import InputError
from remixbench.parallel import prepare_for_torch


@click.command(cls=ManyCommand)
@click.option("--dataset", metavar="NAME|DIR", help="Data set. [default: the one made last]")
@many("--system", metavar="NAME...", help="Systems; `remixbench systems` lists them. [default: the paper's five]")
@snr_option("Signal-to-noise ratios. [default: all that were made]")
@many("--fold", type=int, metavar="N...", help="Folds to test on. [default: 4, as released]")
@many("--seed", type=int, metavar="N...", help="Seeds. [default: 0]")
@click.option("--epochs", type=int, metavar="N", help="Epochs. [default: the system's or the recipe's]")
@click.option(
    "--min-steps", type=int, metavar="N",
    help="At least N optimizer steps, in more epochs where clips are few. [default: the system's; 0 with --epochs]",
)  # fmt: skip
@click.option("--batch-size", type=int, metavar="N", help="Clips per batch. [default: the system's or the recipe's]")
@click.option("--learning-rate", type=float, metavar="X", help="Learning rate. [default: the system's or the recipe's]")
@click.option("--optimizer", metavar="adam|adamw", help="Optimizer. [default: the system's, or adam]")
@click.option("--weight-decay", type=float, metavar="X", help="Weight decay. [default: the system's, or 0]")
@click.option(
    "--schedule",
    metavar="plateau|cosine|constant",
    help="Learning rate schedule; cosine has a linear warm-up. [default: the system's, or plateau]",
)
@many(
    "--augment",
    metavar="NAME...",
    help="Augmentations: mixup, specaugment, time-shift, filter-augment, or none. [default: the system's, or none]",
)
@click.option("--ema", type=float, metavar="X", help="Decay of the moving average of the weights; 0 for none.")
@click.option("--early-stopping", type=int, metavar="N", help="Stop after N epochs without a better score; 0: never.")
@click.option("--gradient-clip", type=float, metavar="X", help="Clip the gradient to this norm; 0 for no clipping.")
@click.option(
    "--width", type=float, metavar="X", help="Factor on the number of channels. [default: the system's or the recipe's]"
)
@many("--alpha", type=float, metavar="A...", help="Weights of the reconstruction loss. [default: the system's]")
@many(
    "--fraction", type=float, metavar="F...", help="Fractions of the training and validation clips to use. [default: 1]"
)
@many("--option", metavar="NAME=VALUE...", help="Options of the systems, such as attention=paper.")
@click.option(
    "--select",
    default="validation",
    show_default=True,
    metavar="paper|validation|last",
    help="The epoch kept: best on the test fold (paper), best on a validation part, or last.",
)
@device_option
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    metavar="32|bf16|auto",
    help="Precision of the training; auto: bf16 where it is fast.",
)
@click.option(
    "--fresh", is_flag=True, help="Mix the training clips anew in every epoch (dynamic mixing); the row is flagged."
)
@click.option("--sources", metavar="DIR", help="For --fresh: folder of the recordings. [default: WORKSPACE/sources]")
@shard_option
@click.option(
    "--jobs",
    type=int,
    metavar="N",
    help="Runs side by side, one thread each. [default: one per core on a CPU, else 1]",
)
@click.option("--list", "dry_run", is_flag=True, help="List the runs and what is done of them; train nothing.")
@click.option("--rerun", is_flag=True, help="Train finished runs again, from scratch.")
@click.option("--tensorboard", is_flag=True, help="Also write logs for TensorBoard.")
@click.option(
    "--compile", "compiled", is_flag=True, help="Compile the network with torch.compile; may be faster on a GPU."
)
@click.pass_obj
def command(settings: Settings, /, option: tuple[str, ...], augment: tuple[str, ...], **values: Any) -> None:
    """Train systems on a data set: every combination of the values given is a run.

    Interrupted runs resume, finished runs are skipped, and other settings make a new run.

    Example: remixbench train --system gap 2ap-aux --snr 0 20 --epochs 10
    """
    prepare_for_torch()
    from remixbench.training.storage import describe_state
    from remixbench.training.train import train

    folders = train(
        workspace=settings.workspace,
        options=parse_options(option),
        augment=augment or None,
        progress=settings.progress(),
        **values,
    )
    for folder in folders:
        click.echo(f"{folder}  {describe_state(folder)}" if values["dry_run"] else folder)
    if folders and not values["dry_run"] and not settings.quiet:
        place = "" if str(settings.workspace) == "." else f" --workspace {settings.workspace}"
        click.echo(f"Next: remixbench{place} score", err=True)


def parse_options(pairs: tuple[str, ...]) -> dict[str, str | float]:
    """Return NAME=VALUE pairs as a dict, or fail naming one that is not."""
    options: dict[str, str | float] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise InputError(f"--option {pair}: expected NAME=VALUE, such as attention=paper")
        if name in options:
            raise InputError(f"--option {pair}: '{name}' is given twice; train one after the other")
        options[name] = value
    return options
