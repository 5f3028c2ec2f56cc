"""`remixbench verify`."""

from __future__ import annotations

from pathlib import Path

import click

from remixbench.cli.options import PATH, Settings


@click.command()
@click.argument("dataset", required=False)
@click.option(
    "--deep",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Also render N clips again and compare their samples.",
)
@click.option(
    "--sources", type=PATH, metavar="DIR", help="For --deep: folder of the sources. [default: WORKSPACE/sources]"
)
@click.pass_obj
def command(settings: Settings, dataset: str | None, deep: int, sources: Path | None) -> int:
    """Check every file of DATASET, a name or folder (default: the most recent one), against manifest and digests.

    Prints the differences; the exit status is 1 if there are any.

    Example: remixbench verify remix2019 --deep 20
    """
    from remixbench.dataset.dataset import Dataset, find_folder
    from remixbench.dataset.verify import verify

    folder = find_folder(settings.workspace, dataset)
    differences = verify(
        workspace=settings.workspace, dataset=folder, deep=deep, sources=sources, progress=settings.progress()
    )
    for line in differences:
        click.echo(line)
    if differences:
        click.echo(f"{folder}: {len(differences)} difference{'s' * (len(differences) > 1)}")
        return 1
    opened = Dataset.open(folder)
    again = f", {min(deep, len(opened.clips))} rendered again" if deep else ""
    snrs = "1 SNR" if len(opened.snrs) == 1 else f"{len(opened.snrs)} SNRs"
    click.echo(f"{folder}: {len(opened.clips)} clips at {snrs}{again}; no differences")
    return 0
