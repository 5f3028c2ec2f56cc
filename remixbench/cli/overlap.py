"""`remixbench overlap`."""

from __future__ import annotations

from pathlib import Path

import click

from remixbench.cli.options import PATH, Settings

SHOWN = 20
"""Largest number of shared recordings to list."""


@click.command()
@click.argument("ids", type=PATH, metavar="IDS.csv")
@click.option("--encoder", required=True, metavar="NAME", help="Encoder trained on these sounds.")
@click.option("--dataset", metavar="NAME|DIR", help="Data set. [default: the most recent one]")
@click.pass_obj
def command(settings: Settings, /, ids: Path, encoder: str, dataset: str | None) -> None:
    """List the event recordings that an encoder was trained on, by the Freesound IDs of its training data.

    IDS.csv has one id per line, in the first column or in a column named freesound_id, id or fname. The result is
    stored, and score flags the rows of the encoder.

    Example: remixbench overlap FSD50K.ground_truth/dev.csv --encoder MyEncoder
    """
    from remixbench.dataset.overlap import overlap

    result = overlap(ids, encoder=encoder, workspace=settings.workspace, dataset=dataset)
    for name in result.shared[:SHOWN]:
        click.echo(name)
    if len(result.shared) > SHOWN:
        click.echo(f"... and {len(result.shared) - SHOWN} more")
    folds = ", ".join(f"fold {fold}: {shared} of {total}" for fold, (shared, total) in result.tested.items())
    settings.progress().say(
        f"{encoder} has heard {len(result.shared)} event recordings of {result.dataset} ({result.ids} ids); of the test"
        f" clips' recordings {folds}"
    )
    if result.without_id:
        settings.progress().say(f"{result.without_id} event recordings have no Freesound id and were not compared")
