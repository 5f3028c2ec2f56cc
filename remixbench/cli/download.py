"""`remixbench download`: fetch, verify and unpack the two real sources."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from remixbench.cli.console import Settings

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(short_help="Fetch, check and unpack the sources.")
@click.argument("names", nargs=-1, metavar="[tau2019] [fsdkaggle2018]")
@click.option("--sources", type=FOLDER, metavar="DIR", help="Where to. [default: sources/ of the workspace]")
@click.option("--mirror", metavar="URL", help="A copy of the records: files at URL/records/<id>/files/<name>.")
@click.option(
    "--checksums",
    type=FILE,
    metavar="FILE",
    help="What the mirror has, as md5sum writes it; nothing else is asked for.",
)
@click.option("--parts", metavar="LIST", help="Some of the scene archives, such as 1-3,5. [default: all 21]")
@click.option("--keep-archives", is_flag=True, help="Do not remove an archive once it is unpacked.")
@click.option("--accept-changed", is_flag=True, help="Take archives that their record lists with a new MD5.")
@click.option("--jobs", type=click.IntRange(1, 16), default=3, show_default=True, metavar="N", help="Archives at once.")
@click.option("--yes", is_flag=True, help="Do not ask before starting (asked on a terminal only).")
@click.option("--print-urls", is_flag=True, help="Only print the addresses, for aria2 or wget.")
@click.option("--check", is_flag=True, help="Only verify the recordings that are there against the tables.")
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    sources: Path | None,
    mirror: str | None,
    checksums: Path | None,
    parts: str | None,
    keep_archives: bool,
    accept_changed: bool,
    jobs: int,
    yes: bool,
    print_urls: bool,
    check: bool,
) -> None:
    """Fetch, verify and unpack the sources of the published benchmark (about 40 GB), both by default.

    What an earlier run left, finished or not, is used. Archives fetched by other means are found in
    sources/archives/.

    Example: remixbench download --parts 1-3
    """
    settings: Settings = ctx.obj
    if print_urls:
        from remixbench.sources.selection import select_urls

        click.echo("\n".join(select_urls(*names, mirror=mirror, parts=parts, checksums=checksums)))
        return
    if check:
        from remixbench.sources.check import check_sources, demand_sound

        checked = check_sources(
            *names, workspace=settings.workspace, sources=sources, parts=parts, progress=settings.progress()
        )
        for outcome in checked:
            click.echo(outcome.line())
        demand_sound(checked)
        return
    from remixbench.sources.download import download

    ask: Callable[[str], bool] | None = None
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        ask = _ask
    done = download(
        *names,
        workspace=settings.workspace,
        sources=sources,
        mirror=mirror,
        parts=parts,
        checksums=checksums,
        keep_archives=keep_archives,
        accept_changed=accept_changed,
        jobs=jobs,
        confirm=ask,
        progress=settings.progress(),
    )
    click.echo(done.line())


def _ask(question: str) -> bool:
    return click.confirm(question, default=True, err=True)
