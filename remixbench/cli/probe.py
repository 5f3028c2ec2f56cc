"""`remixbench probe`."""

from __future__ import annotations

from typing import Any

import click

from remixbench.cli.options import ManyCommand, Settings, device_option, many, snr_option
from remixbench.parallel import prepare_for_torch


@click.command(cls=ManyCommand)
@click.argument("encoder", nargs=-1, required=True, metavar="ENCODER...")
@click.option("--dataset", metavar="NAME|DIR", help="Data set. [default: the most recent one]")
@snr_option("Signal-to-noise ratios. [default: all that were made]")
@many("--fold", type=int, metavar="N...", help="Folds to test on. [default: 4, as released]")
@many("--seed", type=int, metavar="N...", default=(0, 1, 2), help="Seeds of the head. [default: 0 1 2]")
@click.option("--format", "style", type=click.Choice(["table", "md", "latex"]), default="table", show_default=True,
              metavar="table|md|latex", help="Output format.")  # fmt: skip
@device_option
@click.pass_obj
def command(settings: Settings, /, style: str, **values: Any) -> None:
    """Compare frozen pretrained encoders: train the same small head on each and print one row per encoder.

    The head (emb-mlp) is trained at every SNR, on all training clips and on about 8 clips per class, with three seeds.
    Embeddings are computed once. If interrupted, rerun to resume. The rows are added to the leaderboard.

    Example: remixbench probe aisfx my_encoder.py:MyEncoder --snr 0 20
    """
    prepare_for_torch()
    from remixbench.leaderboard.encoder_probe import probe
    from remixbench.leaderboard.renderers import render_tables

    result = probe(workspace=settings.workspace, progress=settings.progress(), **values)
    click.echo(render_tables([result.table], style), nl=False)
