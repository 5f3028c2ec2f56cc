"""`remixbench export`."""

from __future__ import annotations

from typing import Any

import click

from remixbench.cli.options import PATH, ManyCommand, Settings, snr_option

FORMATS = ["audiofolder", "webdataset", "lhotse", "croissant"]


@click.command(cls=ManyCommand)
@click.argument("dataset", required=False)
@click.option("--format", required=True, type=click.Choice(FORMATS), help="Format to write.")
@click.option("--out", required=True, type=PATH, metavar="DIR", help="New or empty folder to write to.")
@snr_option("Only these SNRs. [default: all that were made]")
@click.option("--fold", type=click.IntRange(1), metavar="N", help="Test fold. [default: 4, or the last fold]")
@click.option("--link", is_flag=True, help="Hard-link audio instead of copying it.")
@click.pass_obj
def command(settings: Settings, /, **values: Any) -> None:
    """Export DATASET, a name or folder (default: the most recent one), for other tools.

    To read the result: audiofolder needs `datasets[audio]`, which brings torchcodec, and FFmpeg; lhotse needs urllib3
    besides, which it does not install. Writing a split without events as audiofolder needs pyarrow.

    Example: remixbench export remix2019 --format audiofolder --snr 20 --out remix2019-20dB --link
    """
    from remixbench.dataset.export import export

    click.echo(export(workspace=settings.workspace, progress=settings.progress(), **values))
