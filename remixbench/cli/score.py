"""`remixbench score`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from remixbench.cli.options import FILE, PATH, ManyCommand, Settings, decibel, many
from remixbench.errors import RemixbenchError
from remixbench.progress import is_terminal

GROUPS = {
    "Predictions": ("dataset", "name", "snr", "fold", "bootstrap", "jobs"),
    "Probes": ("probe", "shifted", "other_snrs"),
    "Submissions": ("submission", "add", "require_predictions", "verify", "remove"),
    "Output": ("compare", "details", "style"),
}


@click.command(cls=ManyCommand, groups=GROUPS)
@click.argument("targets", nargs=-1, type=PATH, metavar="[RUN|PREDICTIONS]...")
@click.option("--dataset", metavar="NAME|DIR", help="Data set. [default: that of the runs, or the most recent one]")
@click.option("--name", metavar="NAME", help="Name of the row.")
@click.option(
    "--snr", type=decibel, metavar="DB", help="SNR of the predictions; without predictions, print only this SNR."
)
@click.option("--fold", type=click.IntRange(1), metavar="N", help="Fold of the predictions.")
@click.option("--bootstrap", type=click.IntRange(0, 1_000_000), metavar="N",
              help="Bootstrap samples for the 95 % intervals; 0 for none. [default: 1000]")  # fmt: skip
@many("--probe", type=click.Choice(["shift", "snr"]), metavar="shift|snr...",
      help="Also test the runs on clips shifted in time, or at the other SNRs.")  # fmt: skip
@many("--shifted", type=PATH, metavar="FILE...",
      help="Predictions on shifted clips, each named after its shift, such as shift_0.48.csv.")  # fmt: skip
@many("--other-snrs", type=PATH, metavar="FILE...",
      help="Predictions on the clips at other SNRs, each named after its SNR, such as snr_0.csv.")  # fmt: skip
@click.option("--compare", type=str, nargs=2, metavar="A B", help="Print the difference of two rows, with intervals.")
@click.option("--submission", type=FILE, metavar="FILE",
              help="Also write the scored records as a submission; with --name alone, all of that row.")  # fmt: skip
@click.option("--add", type=FILE, metavar="FILE",
              help="Check a submission and add it; its metrics are recomputed from the predictions given.")  # fmt: skip
@click.option("--require-predictions", is_flag=True,
              help="With --add: refuse a submission unless every record is recomputed.")  # fmt: skip
@click.option("--verify", metavar="ROW",
              help="Recompute a submitted row from its predictions, and print which values agree.")  # fmt: skip
@click.option("--remove", metavar="NAME", help="Remove a row made from predictions or a submission.")
@click.option("--details", is_flag=True, help="Print every table: detection, classes, probes, ablations, cost.")
@click.option("--jobs", type=int, default=-1, metavar="N", help="Runs scored in parallel. [default: one per core]")
@click.option("--format", "style",
              type=click.Choice(["table", "md", "csv", "json", "latex", "every-eval-ever"]), default="table",
              show_default=True,
              help="Output format; every-eval-ever: JSON Lines in that schema.")  # fmt: skip
@click.pass_obj
def command(
    settings: Settings,
    /,
    targets: tuple[Path, ...],
    dataset: str | None,
    snr: float | None,
    compare: tuple[str, str] | None,
    verify: str | None,
    details: bool,
    jobs: int,
    style: str,
    **values: Any,
) -> None:
    """Score runs, or anyone's predictions; print a ranked table and write the leaderboard.

    Without arguments, score all runs of the data set. Scores that exist are reused.

    Example: remixbench score my_tags.csv --name "My system" --snr 0 --fold 4
    """
    from remixbench.leaderboard.board_tables import probe_tables
    from remixbench.leaderboard.comparisons import render_comparison, render_verification
    from remixbench.leaderboard.discover import refuse_options, run_folders
    from remixbench.leaderboard.hosting import verify_row
    from remixbench.leaderboard.leaderboard import at_snr
    from remixbench.leaderboard.renderers import render, render_summary, render_tables
    from remixbench.leaderboard.score import score
    from remixbench.leaderboard.significance import compare_rows
    from remixbench.leaderboard.table_maker import TableMaker

    width, colour = shutil.get_terminal_size().columns, is_terminal(sys.stdout)
    if verify is not None:
        others = values | {"snr": snr, "compare": compare, "details": details}
        refuse_options(_given(others), "cannot be combined with --verify")
        verification = verify_row(
            verify, *targets, workspace=settings.workspace, dataset=dataset, jobs=jobs, progress=settings.progress()
        )
        click.echo(render_verification(verification, style, width=width, colour=colour), nl=False)
        if not verification.agrees:
            raise RemixbenchError(f"--verify '{verification.row}': does not agree with its predictions")
        return
    if compare is not None:
        refuse_options(_given({"details": details}), "cannot be combined with --compare")
    predictions = not all(map(run_folders, targets))
    leaderboard = score(
        *targets, workspace=settings.workspace, dataset=dataset, snr=snr if predictions else None, jobs=jobs,
        progress=settings.progress(), **values,
    )  # fmt: skip
    if not leaderboard.rows:
        text = f"no rows are left on data set {leaderboard.dataset}\n"
    elif compare is not None:
        comparison = compare_rows(leaderboard, *compare, snr=snr)
        text = render_comparison(comparison, leaderboard, style, width=width, colour=colour)
    else:
        shown = leaderboard if snr is None or predictions else at_snr(leaderboard, snr)
        if style == "table" and not details:
            files = str(settings.workspace / "leaderboard" / f"{leaderboard.dataset}.{{csv,md,json,tex}}")
            text = render_summary(shown, files=files, width=width, colour=colour)
            if values["probe"] or values["shifted"] or values["other_snrs"]:
                text += "\n" + render_tables(probe_tables(TableMaker(shown)), style, width=width, colour=colour)
        else:
            text = render(shown, style, width=width, colour=colour)
    click.echo(text, nl=False)


def _given(values: Mapping[str, Any]) -> dict[str, object]:
    """Return values by the options that they are of; None where an option is not given."""
    return {
        f"--{name.replace('_', '-')}": None if value in (None, ()) or value is False else value
        for name, value in values.items()
    }
