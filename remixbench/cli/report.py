"""`remixbench report`."""

from __future__ import annotations

from typing import Any

import click

from remixbench.cli.options import FILE, FOLDER, Settings


@click.command()
@click.option("--dataset", metavar="NAME|DIR", help="Data set. [default: the most recent one]")
@click.option(
    "--submissions", type=FOLDER, metavar="DIR", help="Make the page from the submission files in DIR instead of runs."
)
@click.option(
    "--require-predictions",
    is_flag=True,
    help="With --submissions: omit records that were not recomputed in this workspace.",
)
@click.option("--clips", type=int, default=6, show_default=True, metavar="N", help="Number of clips to listen to.")
@click.option(
    "--out",
    type=FILE,
    metavar="FILE",
    help="HTML file to write. [default: leaderboard/<dataset>.html, or submissions.html]",
)
@click.pass_obj
def command(settings: Settings, /, **values: Any) -> None:
    """Write the leaderboard as one self-contained HTML page.

    Example: remixbench report --clips 12
    """
    from remixbench.leaderboard.report import report

    click.echo(report(workspace=settings.workspace, progress=settings.progress(), **values))
