"""`remixbench embed`."""

from __future__ import annotations

from typing import Any

import click

from remixbench.cli.options import ManyCommand, Settings, device_option, snr_option
from remixbench.parallel import prepare_for_torch


@click.command(cls=ManyCommand)
@click.argument("encoder", nargs=-1, required=True, metavar="ENCODER...")
@click.option("--dataset", metavar="NAME|DIR", help="Data set. [default: the most recent one]")
@snr_option("Signal-to-noise ratios. [default: all that were made]")
@click.option("--jobs", type=int, default=-1, metavar="N", help="Threads on a CPU. [default: one per core]")
@device_option
@click.pass_obj
def command(settings: Settings, /, **values: Any) -> None:
    """Compute embeddings of every clip with frozen pretrained encoders.

    ENCODER is a name or FILE.py:NAME; append @FILE to load its weights from a file. Embeddings are stored with the data
    set and computed once: train uses them, and computes those that are missing. If interrupted, rerun to resume.

    Example: remixbench embed my_encoder.py:MyEncoder --snr 0
    """
    prepare_for_torch()
    from remixbench.training.embeddings import embed

    for path in embed(workspace=settings.workspace, progress=settings.progress(), **values):
        click.echo(path)
