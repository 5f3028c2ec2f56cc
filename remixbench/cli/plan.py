"""`remixbench plan`."""

from __future__ import annotations

from pathlib import Path

import click

from remixbench.cli.console import Settings


@click.command()
@click.option("--recipe", required=True, metavar="NAME|FILE", help="Built-in recipe or YAML file.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder to write the manifest to."
)
@click.option(
    "--sources",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the sources' tables. [default: WORKSPACE/sources]",
)
@click.option(
    "--report", is_flag=True, help="Print what the folds share and how classes are balanced, and write report.json."
)
@click.pass_obj
def command(settings: Settings, recipe: str, out: Path, sources: Path | None, report: bool) -> None:
    """Draw a manifest from the tables of the sources; needs no audio unless the recipe draws `scene_start`.

    Example: remixbench plan --recipe remix2019 --out my-manifest --report
    """
    from remixbench.dataset.leakage import leakage_lines
    from remixbench.dataset.plan import plan

    manifest, found = plan(recipe=recipe, out=out, workspace=settings.workspace, sources=sources, report=report,
                           progress=settings.progress())  # fmt: skip
    for line in leakage_lines(found) if found else ():
        click.echo(line)
    click.echo(f"{out}: {len(manifest.clips)} clips in {len(manifest.folds)} folds, digest {manifest.digest}")
