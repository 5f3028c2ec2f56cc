"""`remixbench make`."""

from __future__ import annotations

from typing import Any, Literal

import click

from remixbench.cli.options import PATH, ManyCommand, Settings, many, shard_option, snr_option


@click.command(cls=ManyCommand)
@snr_option("Signal-to-noise ratios. [default: the recipe's]")
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="Built-in recipe or YAML file. [default: remix2019 if its sources are in the workspace, otherwise mini]",
)
@click.option("--manifest", type=PATH, metavar="DIR", help="Manifest to use instead of the recipe's.")
@click.option("--replan", is_flag=True, help="Draw a new manifest from the tables of the sources.")
@click.option("--sources", type=PATH, metavar="DIR", help="Folder of the sources. [default: WORKSPACE/sources]")
@click.option("--out", type=PATH, metavar="DIR", help="Folder of the data set.")
@many("--fold", type=click.IntRange(1), metavar="N...", help="Make only these folds.")
@click.option("--clips-per-fold", type=click.IntRange(1), metavar="N", help="Make only the first N clips of each fold.")
@click.option("--jobs", type=int, default=-1, metavar="N", help="Number of parallel processes. [default: one per core]")
@click.option("--backend", type=click.Choice(["loky", "threading", "dask"]), default="loky", show_default=True,
              help="joblib backend.")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS", help="Address of the Dask scheduler, such as tcp://node1:8786.")
@shard_option
@click.option("--audio-format", type=click.Choice(["wav", "flac"]), default="wav", show_default=True,
              help="Audio format; the samples are the same in both.")  # fmt: skip
@click.option("--stems", is_flag=False, flag_value="sum", type=click.Choice(["sum", "events"]), metavar="[events]",
              help="Also write stems: two channels (events, scene), or with `events` one per event.")  # fmt: skip
@click.option("--no-features", is_flag=True, help="Do not write log-mel features.")
@click.pass_obj
def command(settings: Settings, /, stems: Literal["sum", "events"] | None, no_features: bool, **values: Any) -> None:
    """Make a data set: audio, labels and features at every SNR, from a recipe's manifest.

    If interrupted, rerun to resume.

    Example: remixbench make --snr 0 10 20 --jobs 8
    """
    from remixbench.dataset.make import make

    dataset = make(
        workspace=settings.workspace, stems=stems or False, features=not no_features, progress=settings.progress(),
        **values,
    )  # fmt: skip
    if dataset is not None:
        click.echo(dataset.path)
