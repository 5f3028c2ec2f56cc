"""`remixbench figure`."""

from __future__ import annotations

from typing import Any

import click

from remixbench.cli.options import FILE, ManyCommand, Settings, many, snr_option


@click.command(cls=ManyCommand)
@click.option("--out", type=FILE, required=True, metavar="FILE", help="PDF, SVG or LaTeX file to write.")
@click.option(
    "--kind",
    type=click.Choice(["snr", "table"]),
    help="Curves over the SNR, or a table. [default: table for LaTeX, otherwise snr]",
)
@many("--metric", metavar="NAME...", help="Metrics. [default: micro_ap, and macro_ap in a table]")
@many("--row", metavar="NAME...", help="Rows, in this order. [default: all except ideal masks]")
@many("--without", metavar="NAME...", help="Omit rows by name or by flag, such as setting, fraction or test-epoch.")
@snr_option("SNRs. [default: all]")
@click.option("--intervals/--no-intervals", default=True, show_default=True, help="Show 95 % intervals.")
@click.option("--published/--no-published", default=True, show_default=True, help="Show published results.")
@click.option("--dataset", metavar="NAME|DIR", help="Data set. [default: the most recent one]")
@click.pass_obj
def command(settings: Settings, /, **values: Any) -> None:
    """Write the leaderboard as a figure or table for a paper.

    LaTeX tables need only the booktabs package.

    Example: remixbench figure --metric micro_ap psds1 --without fraction --out table1.tex
    """
    from remixbench.leaderboard.figure import figure

    click.echo(figure(workspace=settings.workspace, progress=settings.progress(), **values))
