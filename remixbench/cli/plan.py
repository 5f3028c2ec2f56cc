"""`remixbench plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from remixbench.cli.options import PATH, Settings


@click.command()
@click.option("--recipe", required=True, metavar="NAME|FILE", help="Built-in recipe or YAML file.")
@click.option("--out", type=PATH, metavar="DIR", help="Folder to write the manifest to; optional with --report.")
@click.option("--sources", type=PATH, metavar="DIR", help="Folder of the sources' tables. [default: WORKSPACE/sources]")
@click.option(
    "--report",
    is_flag=True,
    help="Print what the folds share and how classes are balanced; with --out, also write report.json.",
)
@click.pass_obj
def command(settings: Settings, /, out: Path | None, **values: Any) -> None:
    """Draw a manifest from the tables of the sources; needs no audio unless the recipe draws `scene_start`.

    Example: remixbench plan --recipe remix2019 --out my-manifest --report
    """
    from remixbench.dataset.leakage import leakage_lines
    from remixbench.dataset.plan import plan

    manifest, leakage = plan(out=out, workspace=settings.workspace, progress=settings.progress(), **values)
    for line in leakage_lines(leakage) if leakage else ():
        click.echo(line)
    clips = f"{len(manifest.clips)} clips in {len(manifest.folds)} folds"
    click.echo(f"{clips}; nothing written" if out is None else f"{out}: {clips}, digest {manifest.digest}")
