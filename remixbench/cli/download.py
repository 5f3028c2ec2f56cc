"""`remixbench download`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from remixbench.cli.options import FILE, FOLDER, Settings
from remixbench.progress import is_terminal
from remixbench.recipe import PUBLISHED_SOURCES


@click.command()
@click.argument("names", nargs=-1, metavar=" ".join(f"[{name}]" for name in PUBLISHED_SOURCES))
@click.option("--sources", type=FOLDER, metavar="DIR", help="Folder to download to. [default: WORKSPACE/sources]")
@click.option("--mirror", metavar="URL", help="A copy of the records, with files at URL/records/<id>/files/<name>.")
@click.option(
    "--checksums",
    type=FILE,
    metavar="FILE",
    help="MD5s of the mirror's archives, in md5sum format; archives that it does not list are not fetched.",
)
@click.option("--parts", metavar="LIST", help="Scene archives to download, such as 1-3,5. [default: all]")
@click.option("--keep-archives", is_flag=True, help="Keep the archives after unpacking.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 16),
    default=3,
    show_default=True,
    metavar="N",
    help="Number of parallel downloads.",
)
@click.option("--yes", is_flag=True, help="Do not ask before starting (it asks only on a terminal).")
@click.option("--print-urls", is_flag=True, help="Print the URLs, for aria2 or wget, and exit.")
@click.option("--check", is_flag=True, help="Verify the recordings on disk against the tables, and exit.")
@click.pass_obj
def command(
    settings: Settings,
    /,
    names: tuple[str, ...],
    mirror: str | None,
    checksums: Path | None,
    yes: bool,
    print_urls: bool,
    check: bool,
    **values: Any,
) -> None:
    """Download, verify and unpack published sources; by default all (those of remix2019: about 40 GB).

    If interrupted, rerun to resume. Archives that you downloaded yourself are picked up from sources/archives/.

    Example: remixbench download --parts 1-3
    """
    from remixbench.sources.download import download
    from remixbench.sources.download.check import check_sources, raise_if_invalid
    from remixbench.sources.download.select import list_urls

    for option, value in (("--mirror", mirror), ("--checksums", checksums), ("--print-urls", print_urls)):
        if check and value:
            raise click.UsageError(f"{option}: has no effect with --check, which fetches nothing; leave it out")
    if print_urls:
        click.echo("\n".join(list_urls(*names, mirror=mirror, checksums=checksums, parts=values["parts"])))
        return
    if check:
        checks = check_sources(
            *names, workspace=settings.workspace, sources=values["sources"], parts=values["parts"],
            progress=settings.progress(),
        )  # fmt: skip
        for outcome in checks:
            click.echo(outcome.summary())
        raise_if_invalid(checks)
        return
    confirm: Callable[[str], bool] | None = None
    if not yes and is_terminal(sys.stdin) and is_terminal(sys.stderr):
        confirm = partial(click.confirm, default=True, err=True)
    done = download(
        *names, workspace=settings.workspace, mirror=mirror, checksums=checksums, confirm=confirm,
        progress=settings.progress(), **values,
    )  # fmt: skip
    click.echo(done.summary())
