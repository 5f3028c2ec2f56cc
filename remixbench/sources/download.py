"""`remixbench download`: the real sources on disk, as their readers want them, over any network."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from remixbench.errors import InputError, RemixbenchError
from remixbench.progress import SILENT, Progress
from remixbench.sources.bring import Brought, bring, settled, tidy
from remixbench.sources.budget import Load, announce, demand_space, disk_need, size_text, weigh
from remixbench.sources.check import missing_files
from remixbench.sources.crew import in_parallel
from remixbench.sources.patience import Gate, Patience
from remixbench.sources.receipts import read_receipt
from remixbench.sources.selection import Item, select
from remixbench.sources.server import Line, open_session


@dataclass(frozen=True)
class Downloaded:
    """What a download did.

    `fetched` archives came over the network, in `requests` requests; `unpacked` archives were unpacked, with
    those that lay there already; `ready` archives were verified and unpacked by an earlier run.
    """

    sources: Path
    fetched: tuple[str, ...]
    unpacked: tuple[str, ...]
    ready: tuple[str, ...]
    requests: int

    def line(self) -> str:
        """Say it in one line."""
        return (
            f"{self.sources}: {len(self.fetched)} archives fetched in {self.requests} requests, "
            f"{len(self.unpacked)} unpacked, {len(self.ready)} were there already"
        )


def download(
    *names: str,
    workspace: Path = Path("."),
    sources: Path | None = None,
    mirror: str | None = None,
    parts: str | None = None,
    checksums: Path | None = None,
    keep_archives: bool = False,
    accept_changed: bool = False,
    jobs: int = 3,
    confirm: Callable[[str], bool] | None = None,
    progress: Progress = SILENT,
    patience: Patience | None = None,
) -> Downloaded:
    """Fetch, verify and unpack the sources; goes on from what an earlier run left.

    Parameters
    ----------
    names
        `tau2019`, `fsdkaggle2018`; both where none is named.
    workspace, sources
        The sources go to `sources`, by default the folder `sources` of the workspace.
    mirror
        The address of a copy of the records: files lie beneath it at `records/<id>/files/<name>`.
    parts
        Some of the scene archives, such as "1-3,5".
    checksums
        What the mirror has, in the format of `md5sum`, where its archives are not the published ones.
    keep_archives
        Leave the archives in `archives/` once they are unpacked.
    accept_changed
        Take archives that the record itself lists with another MD5 than the one known to us.
    jobs
        Archives at once.
    confirm
        Asked before anything is fetched, with a question in one line; None goes on without asking.
    patience
        Timeouts, tries and waits.

    Raises
    ------
    InputError
        If a name, part, address or file of checksums is not usable.
    RemixbenchError
        If another download is at work in the folder, the disk is too small, an archive could not be had, or
        recordings of the table are missing although all archives are there. All that arrived is kept.
    """
    if jobs < 1:
        raise InputError(f"--jobs {jobs}: expected at least 1 archive at a time")
    folder = sources if sources is not None else workspace / "sources"
    items = select(names, mirror, parts, checksums)
    patience, stop = patience or Patience(), threading.Event()
    gate = Gate(patience, stop)
    with _alone(folder):
        ready = []
        for item in items:
            if (receipt := settled(item, folder)) is None:
                continue
            ready.append(item)
            tidy(item, folder, keep_archives)
            if receipt.md5 != item.md5:
                progress.say(f"{item.archive.file}: MD5 was {receipt.md5}, not {item.md5}, when it was accepted")
        brought: list[Brought] = []
        if len(ready) < len(items):
            with open_session() as session:
                line = Line(session, gate, patience, progress.say)
                loads = [weigh(item, folder, line) for item in items if item not in ready]
            question = _announce(items, loads, folder, keep_archives, jobs, progress)
            if confirm is not None and not confirm(question):
                raise RemixbenchError("not started, as answered; nothing was fetched")
            with progress.bar("all archives", sum(load.size for load in loads if not load.lies_there), "B") as overall:

                def have(load: Load) -> Brought:
                    with open_session() as session:
                        line = Line(session, gate, patience, progress.say)
                        return bring(
                            load.item,
                            load.size,
                            folder,
                            keep_archives,
                            accept_changed,
                            line,
                            progress,
                            overall,
                        )

                brought = in_parallel([partial(have, load) for load in loads], jobs, stop)
        _count(items, folder, progress)
    return Downloaded(
        folder,
        tuple(b.file for b in brought if b.fetched),
        tuple(b.file for b in brought),
        tuple(item.archive.file for item in ready),
        gate.requests,
    )


def _announce(items: list[Item], loads: list[Load], folder: Path, keep: bool, jobs: int, progress: Progress) -> str:
    """Say what will be done and what it needs; returns the question whether to start."""
    for text in announce(list(dict.fromkeys(item.source for item in items)), loads, len(items) - len(loads)):
        progress.say(text)
    need = disk_need(loads, keep, jobs)
    progress.say(demand_space(need, shutil.disk_usage(folder).free, folder, keep, disk_need(loads, keep, 1)))
    return f"Fetch {size_text(sum(load.to_come for load in loads))} and unpack it in {folder}?"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make the folder and keep other downloads out of it; sweep up what a killed run left half written."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "archives").mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another with --sources") from None
    lock = FileLock(folder / ".download.lock")
    try:
        with lock.acquire(timeout=0):
            for half in [*folder.glob("archives/.*.part.*"), *folder.glob(".receipts/.*.part.*")]:
                half.unlink(missing_ok=True)
            yield
    except Timeout:
        raise RemixbenchError(
            f"{folder}: another download is at work there; wait until it has ended, then try again"
        ) from None


def _count(items: list[Item], folder: Path, progress: Progress) -> None:
    """Say how many recordings of each table are there.

    Raises
    ------
    RemixbenchError
        If some are missing although every published archive of the source was unpacked.
    """
    for source in dict.fromkeys(item.source for item in items):
        if not (folder / source.table.path).is_file():
            continue
        missing, named = missing_files(source, folder)
        progress.say(f"{source.name}: {named - len(missing)} of {named} recordings of the table are there")
        receipts = [read_receipt(folder, archive.file) for archive in source.archives]
        if missing and all(receipt is not None for receipt in receipts):
            raise RemixbenchError(
                f"{folder / source.table.path}: names {missing[0]} and {len(missing) - 1} more recordings "
                "that no archive brought although all are unpacked; the archives do not belong to this table"
            )
