"""Download of the published sources: from the files of Zenodo records to verified recordings on disk.

`download` estimates the sizes, checks the disk space, and processes all archives in parallel. `select` chooses
archives; `archive` has the steps of one archive; `transfer` resumes and verifies one file; `http` retries requests and
counts them; `unzip` unpacks; `check` checks recordings against the tables.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.filesize import decimal as size_text

from remixbench.errors import InputError, RemixbenchError
from remixbench.files import as_path, check_room, exclusive_lock, remove_temp_files
from remixbench.progress import Advance, Progress, reporter
from remixbench.sources.download.archive import (
    archive_path,
    is_absent,
    is_complete,
    process_archive,
    read_receipt,
    tidy_complete,
    unpack_folder,
    write_absence,
)
from remixbench.sources.download.check import table_recordings
from remixbench.sources.download.http import (
    DownloadCancelled,
    FatalDownloadError,
    HttpClient,
    MissingFileError,
    RateLimiter,
    RetryPolicy,
)
from remixbench.sources.download.select import RemoteFile, select
from remixbench.sources.download.unzip import file_size, missing_bytes, read_members
from remixbench.sources.published import PublishedSource

T = TypeVar("T")
_JOIN_TIMEOUT_S = 1.0
_MAX_FATAL_IN_A_ROW = 2


@dataclass(frozen=True)
class Downloaded:
    """The outcome of a download.

    Attributes
    ----------
    fetched, requests : archives fetched over the network, and the number of requests
    unpacked : archives unpacked, including those that were already on disk
    ready : archives verified and unpacked by an earlier run
    """

    sources: Path
    fetched: tuple[str, ...]
    unpacked: tuple[str, ...]
    ready: tuple[str, ...]
    requests: int

    def summary(self) -> str:
        """Return the outcome in one line."""
        return (
            f"{self.sources}: {len(self.fetched)} archives fetched in {self.requests} requests, "
            f"{len(self.unpacked)} unpacked, {len(self.ready)} already present"
        )


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of an archive; sizes in bytes.

    Attributes
    ----------
    size, to_fetch : size of the archive (0 if unknown), and the part still to be fetched
    unpacked : disk space that its members will add
    on_disk : whether the archive is already on disk
    """

    remote: RemoteFile
    size: int
    to_fetch: int
    unpacked: int
    on_disk: bool


def download(
    *names: str,
    workspace: str | Path = ".",
    sources: str | Path | None = None,
    mirror: str | None = None,
    parts: str | None = None,
    checksums: str | Path | None = None,
    keep_archives: bool = False,
    jobs: int = 3,
    confirm: Callable[[str], bool] | None = None,
    progress: Progress | bool = False,
    retry_policy: RetryPolicy | None = None,
) -> Downloaded:
    """Fetch, verify and unpack the sources; resumes an interrupted download.

    Parameters
    ----------
    names : names of published sources; by default all, those of `remixbench.recipe.PUBLISHED_SOURCES`
    workspace, sources : the folder of the sources; by default `sources/` in the workspace
    mirror : URL of a copy of the records, with files at `records/<id>/files/<name>`
    parts : parts of sources that come in parts to fetch, such as "1-3,5"
    checksums : MD5s of the mirror's archives in the format of `md5sum`, if they are not the published ones
    keep_archives : keep the archives in `archives/` after unpacking
    jobs : number of parallel downloads
    confirm : called with a question before anything is fetched; by default nothing is asked
    retry_policy : timeouts, retries and delays

    Raises
    ------
    InputError
        If a name, part, address or file of checksums is not usable.
    RemixbenchError
        If another download is running in the folder, the disk is too small, an archive could not be fetched, or
        recordings of the table are missing from complete archives. Everything fetched is kept, to be resumed.
    """
    progress = reporter(progress)
    if jobs < 1:
        raise InputError(f"--jobs {jobs}: expected at least 1 parallel download")
    folder = as_path(workspace, "workspace") / "sources" if sources is None else Path(sources)
    selected = select(names, mirror, parts, None if checksums is None else Path(checksums))
    policy, cancel = retry_policy or RetryPolicy(), threading.Event()
    context = DownloadContext(folder, keep_archives, jobs, policy, RateLimiter(policy, cancel), cancel, progress)
    with _locked_folder(folder):
        selected = [remote for remote in selected if not is_absent(remote, folder)]
        ready = [remote for remote in selected if is_complete(remote, folder)]
        for remote in ready:
            tidy_complete(remote, folder, keep_archives, progress)
        to_do = [remote for remote in selected if remote not in ready]
        fetched = _process_all(to_do, selected, context, confirm) if to_do else []
        _report_recordings(dict.fromkeys(remote.source for remote in selected), folder, progress)
    outcome = {remote.name: is_new for remote, is_new in zip(to_do, fetched, strict=True) if is_new is not None}
    return Downloaded(
        folder,
        tuple(name for name, is_new in outcome.items() if is_new),
        tuple(outcome),
        tuple(remote.name for remote in ready),
        context.limiter.requests,
    )


@dataclass(frozen=True)
class DownloadContext:
    """What the archives of a download share."""

    folder: Path
    keep: bool
    jobs: int
    policy: RetryPolicy
    limiter: RateLimiter
    cancel: threading.Event
    progress: Progress

    def client(self) -> HttpClient:
        """Return a client for one thread."""
        return HttpClient(self.policy, self.limiter, self.progress.say)


def _process_all(
    to_do: Sequence[RemoteFile],
    selected: Sequence[RemoteFile],
    context: DownloadContext,
    confirm: Callable[[str], bool] | None,
) -> list[bool | None]:
    """Fetch, verify and unpack archives in parallel, after the question whether to; see `_process`."""
    with context.client() as client:
        sizes = _listed_sizes(to_do, client)
        estimates = [estimate(remote, context.folder, client, sizes.get(remote.name)) for remote in to_do]
    question = _announce(selected, estimates, context)
    if confirm is not None and not confirm(question):
        raise RemixbenchError("not started; nothing was fetched")
    total = sum(cost.size for cost in estimates if not cost.on_disk)
    with context.progress.bar("all archives", total, "B") as advance_all:
        tasks = [partial(_process, cost, context, advance_all) for cost in estimates]
        return run_in_threads(tasks, context.jobs, context.cancel)


def _process(cost: Estimate, context: DownloadContext, advance_all: Advance) -> bool | None:
    """Return whether an archive was fetched, None if it is optional and the server lacks it."""
    remote, folder = cost.remote, context.folder
    with context.client() as client:
        try:
            return process_archive(
                remote, folder, client, context.progress, advance_all, size=cost.size, keep=context.keep
            )
        except MissingFileError:
            if not remote.archive.optional:
                raise
    write_absence(remote, folder)
    context.progress.say(f"{remote.name}: not on the server; the recordings are complete without it")
    return None


def run_in_threads(tasks: Sequence[Callable[[], T]], jobs: int, cancel: threading.Event) -> list[T]:
    """Run tasks on up to `jobs` threads; return their results in the order of the tasks.

    A failed task does not stop the others, as each fetches another archive, but after two `FatalDownloadError` in a row
    no more are started. An interrupt, or an error that is not a `RemixbenchError`, sets `cancel` and stops all. Raises
    the first error, with the number of tasks not done, once all threads have ended.
    """
    waiting = iter(enumerate(tasks))  # shared: each thread takes the next task
    results: dict[int, T] = {}
    errors: list[BaseException] = []
    fatal_in_a_row = 0  # unlocked: a race at worst starts one more task

    def work() -> None:
        nonlocal fatal_in_a_row
        for number, task in waiting:
            if cancel.is_set() or fatal_in_a_row >= _MAX_FATAL_IN_A_ROW:
                return
            try:
                results[number] = task()
                fatal_in_a_row = 0
            except DownloadCancelled:
                return
            except BaseException as error:
                errors.append(error)
                fatal_in_a_row = fatal_in_a_row + 1 if isinstance(error, FatalDownloadError) else 0
                if not isinstance(error, RemixbenchError):
                    cancel.set()

    # daemons: a thread blocked in a read must not keep an interrupted program alive
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(tasks)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)  # in steps, as some systems deliver an interrupt only between them
    except BaseException:
        cancel.set()
        for thread in threads:
            thread.join(_JOIN_TIMEOUT_S / len(threads))
        raise
    for error in errors:
        if not isinstance(error, RemixbenchError):
            raise error
    if errors:
        failed = len(tasks) - len(results) - 1
        raise RemixbenchError(f"{errors[0]}" + (f" ({failed} more not done)" if failed else "")) from errors[0]
    return [results[number] for number in range(len(tasks))]


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Create and lock the folder, and remove temporary files of killed runs."""
    try:
        for subfolder in (folder, folder / "archives", folder / ".receipts"):
            subfolder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be created ({error.strerror}); choose another with --sources") from None
    busy = f"{folder}: another download is running there; wait until it has ended, then try again"
    with exclusive_lock(folder / ".download.lock", busy):
        for subfolder in (folder / "archives", folder / ".receipts"):
            remove_temp_files(subfolder)
        yield


def _listed_sizes(remotes: Iterable[RemoteFile], client: HttpClient) -> dict[str, int]:
    """Return the sizes in bytes of published archives, by name, that only the list of their record has."""
    sizes: dict[str, int] = {}
    for url in dict.fromkeys(remote.listing_url for remote in remotes if remote.size is None and remote.published):
        name = next(remote.name for remote in remotes if remote.listing_url == url)
        sizes |= {file: listed.size for file, listed in client.listed_files(url, name).items() if listed.size}
    return sizes


def estimate(remote: RemoteFile, sources: Path, client: HttpClient, listed_size: int | None = None) -> Estimate:
    """Estimate the cost of an archive; requests its size from the server if it is not known.

    `listed_size` is the size in the list of its record. An optional archive that the server lacks costs nothing. Raises
    `RemixbenchError` if the server has no such file or cannot be reached.
    """
    path = archive_path(remote, sources)
    size = max(0, file_size(path))
    if size and remote.size in (None, size):
        try:
            inside, _ = read_members(path, remote.source.prefix_of(remote.archive), remote.source.max_member_bytes)
            return Estimate(remote, size, 0, missing_bytes(inside, unpack_folder(remote, sources)), True)
        except RemixbenchError:
            pass  # not a complete archive; verification reports the problem
    full_size = remote.size if remote.size is not None else listed_size
    if full_size is None:
        try:
            full_size = client.content_length(remote.url, remote.name) or 0
        except MissingFileError:
            if not remote.archive.optional:
                raise
            full_size = 0
    fetched = max(size, file_size(path.with_name(path.name + ".part")))
    return Estimate(remote, full_size, max(full_size - fetched, 0), round(full_size * remote.source.expansion), False)


def disk_need(estimates: Sequence[Estimate], keep: bool, jobs: int) -> int:
    """Return the peak of additional disk space in bytes while fetching and unpacking.

    Unless archives are kept, each is removed once it is unpacked, so at most `jobs` exist at a time.
    """
    to_fetch = sorted((cost.to_fetch for cost in estimates), reverse=True)
    return sum(cost.unpacked for cost in estimates) + sum(to_fetch if keep else to_fetch[:jobs])


def _announce(selected: Sequence[RemoteFile], estimates: Sequence[Estimate], context: DownloadContext) -> str:
    """Report the plan, the licences and the disk space; return the question whether to start."""
    folder, progress = context.folder, context.progress
    for source in dict.fromkeys(remote.source for remote in selected):
        costs = [cost for cost in estimates if cost.remote.source is source]
        progress.say(f"{source.name} ({source.title}): {_describe(costs) or 'nothing to do'}")
        progress.say(f"  licence: {source.licence}")
    if ready := len(selected) - len(estimates):
        progress.say(f"{_archives(ready)} already verified and unpacked")
    need = disk_need(estimates, context.keep, context.jobs)
    check_room(folder, need, "choose another disk with --sources, fetch a part with --parts 1-3, or use --jobs 1")
    progress.say(f"needs about {size_text(need)} of disk in {folder}")
    return f"Fetch {size_text(sum(estimate.to_fetch for estimate in estimates))} and unpack it in {folder}?"


def _describe(estimates: Sequence[Estimate]) -> str:
    remote, local = [cost for cost in estimates if not cost.on_disk], [cost for cost in estimates if cost.on_disk]
    steps = []
    if remote:
        to_fetch, size = sum(cost.to_fetch for cost in remote), sum(cost.size for cost in remote)
        steps.append(f"{_archives(len(remote))} to fetch, {size_text(to_fetch)}")
        if size > to_fetch:
            steps.append(f"the rest of {size_text(size)}")
    if local:
        steps.append(f"{_archives(len(local))} here to unpack")
    if estimates:
        about = "about " if remote else ""
        steps.append(f"{about}{size_text(sum(estimate.unpacked for estimate in estimates))} unpacked")
    return ", ".join(steps)


def _report_recordings(sources: Iterable[PublishedSource], folder: Path, progress: Progress) -> None:
    """Report how many recordings of each table are present; raise if any are missing from complete archives."""
    for source in sources:
        table = folder / source.table
        if not table.is_file():
            continue
        names = table_recordings(source, folder)
        missing = [name for name in names if not (folder / name).is_file()]
        progress.say(f"{source.name}: {len(names) - len(missing)} of {len(names)} recordings of the table are present")
        if missing and all(read_receipt(folder, a.file) is not None for a in source.archives if not a.optional):
            raise RemixbenchError(
                f"{table}: names {missing[0]} and {len(missing) - 1} more recordings that are in none of the archives "
                "although all are unpacked; the archives do not belong to this table"
            )


def _archives(number: int) -> str:
    return f"{number} archive{'' if number == 1 else 's'}"
