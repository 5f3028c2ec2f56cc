"""`remixbench report`."""

from __future__ import annotations

from pathlib import Path

import click

from remixbench.cli.console import Settings


@click.command()
@click.option("--dataset", metavar="NAME|DIR", help="Data set. [default: the most recent one]")
@click.option(
    "--submissions",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Make the page from the submission files in DIR, without runs.",
)
@click.option(
    "--require-predictions",
    is_flag=True,
    help="With --submissions: leave out what was not recomputed from predictions in this workspace.",
)
@click.option(
    "--clips", type=int, default=6, show_default=True, metavar="N", help="Clips with audio and spectrogram; 0 for none."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write. [default: leaderboard/<dataset>.html, or submissions.html]",
)
@click.pass_obj
def command(
    settings: Settings,
    dataset: str | None,
    submissions: Path | None,
    require_predictions: bool,
    clips: int,
    out: Path | None,
) -> None:
    """Make the leaderboard as one self-contained HTML page, which needs no network and no other file.

    Example: remixbench report --clips 12
    """
    from remixbench.leaderboard.report.report import report

    done = report(
        workspace=settings.workspace,
        dataset=dataset,
        submissions=submissions,
        require_predictions=require_predictions,
        clips=clips,
        out=out,
        progress=settings.progress(),
    )
    click.echo(done)
