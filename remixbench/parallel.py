"""Parallel tasks: with joblib on this machine, or with Dask on others."""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.util import Finalize
from typing import Any, Literal

from remixbench.errors import InputError, RemixbenchError, is_whole

WATCH_EVERY_S = 0.5
"""Seconds between a worker process's checks that the main process still exists."""

FEEDER_TIMEOUT_S = 2.0
"""Seconds to wait at exit for a thread that may be blocked by a pipe that no worker reads any more."""

AHEAD = 2
"""Tasks submitted per thread before waiting for the first result."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
SPINS = "10000"


def prepare_for_torch() -> None:
    """Tune torch for the CPU before it is imported.

    Called only by the command line and its workers, never when the package is used as a library.

    Waiting threads of GNU OpenMP spin for a fraction of a millisecond, then sleep, unless the environment says
    otherwise: sleeping at once doubles the time of small networks on an idle machine, and long spinning on a busy one.
    glibc keeps freed memory, since every training step allocates the same blocks.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, 2**30)
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def available_cores() -> int:
    """Return the number of CPU cores available to this process."""
    import joblib

    return int(joblib.cpu_count())


def check_jobs(jobs: int) -> None:
    """Raise `InputError` unless this is a whole number of processes other than 0."""
    if not is_whole(jobs) or jobs == 0:
        raise InputError(f"--jobs {jobs}: expected a number of processes, or -1 for one per core")


def check_shard(shard: tuple[int, int]) -> None:
    """Raise `InputError` if this is not (I, N) with 1 <= I <= N."""
    pair = shard if isinstance(shard, tuple | list) and len(shard) == 2 and all(map(is_whole, shard)) else None
    if pair is None:
        raise InputError(f"--shard {shard!r}: expected a pair (I, N) of whole numbers, 1 <= I <= N, such as (3, 16)")
    if not 1 <= pair[0] <= pair[1]:
        raise InputError(f"--shard {pair[0]}/{pair[1]}: expected I/N, 1 <= I <= N, such as 3/16")


def _run_task(owner: int | None, function: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    """Run a task in a worker process of the process `owner`, or in this one (None)."""
    if owner is not None:
        _keep_worker()
        _end_with(owner)
    return function(*task)


@cache
def _keep_worker() -> None:
    """Keep this worker process, however much memory its tasks use.

    If psutil is installed, loky restarts a worker that has grown by 300 MB since its first task, assuming a leak. Tasks
    that import torch or need larger arrays would cause needless restarts, with a warning and all imports again.
    """
    from joblib.externals.loky import process_executor

    process_executor._USE_PSUTIL = False


@cache
def _end_with(owner: int) -> None:
    """End this worker process soon after its owner ends, even if killed; joblib would let it wait for minutes.

    A thread compares the id of the parent, which is portable; Linux's PR_SET_PDEATHSIG follows the thread that started
    the worker, not the process.
    """

    def watch() -> None:
        while os.getppid() == owner:
            time.sleep(WATCH_EVERY_S)
        os._exit(1)

    started_by = multiprocessing.parent_process()
    if started_by is not None and started_by.pid == owner:  # even if the owner has ended before the first task began
        threading.Thread(target=watch, name="parent watch", daemon=True).start()


@cache
def _end_workers_before(process: int) -> None:
    """End loky's workers before this process (with id `process`), which was started by `multiprocessing`.

    Such a process waits for its children at exit, but does not call the `atexit` functions with which loky ends its
    workers, so it would wait for minutes, until they time out.
    """
    from joblib.executor import MemmappingExecutor
    from joblib.externals.loky import reusable_executor

    def end() -> None:
        if isinstance(reusable_executor._executor, MemmappingExecutor):  # otherwise they have already ended
            reusable_executor._executor.terminate()

    Finalize(None, end, exitpriority=100)  # before those of loky's queues, which deliver the message to end


@atexit.register  # runs after loky has told its workers to end
def _join_feeders() -> None:
    """Join the threads that feed loky's queues before the interpreter exits.

    They are daemon threads. If one is stopped while it releases a semaphore, loky's resource tracker reports a leak.
    """
    for thread in threading.enumerate():
        if thread.name == "QueueFeederThread":
            thread.join(timeout=FEEDER_TIMEOUT_S)


def _in_threads(function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], jobs: int) -> Iterator[Any]:
    """Yield function(*task) for every task, in order.

    After an error or an interrupt, running tasks are completed, because a process that exits while a thread is in
    compiled code (such as torch's) may abort.
    """
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(function, *task))
                if len(waiting) >= AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@dataclass(frozen=True)
class Workers:
    """How tasks run in parallel: `jobs` processes (-1: one per core) or threads, or the workers of a scheduler."""

    jobs: int = -1
    backend: str = "loky"
    scheduler: str | None = None

    def run(
        self,
        function: Callable[..., Any],
        tasks: Iterable[tuple[Any, ...]],
        count: int,
        *,
        batch_size: int | Literal["auto"] = "auto",
    ) -> Iterator[Any]:
        """Yield function(*task) for every task, in order, as they finish.

        `batch_size` tasks are sent to a worker at a time; by default, more if they are short.
        """
        import joblib
        from threadpoolctl import threadpool_limits

        if count == 0:
            return
        jobs = min(joblib.effective_n_jobs(self.jobs), count)
        if self.backend == "threading" and jobs > 1:
            with threadpool_limits(1, "blas"):
                yield from _in_threads(function, tasks, jobs)
            return
        owner = os.getpid() if self.backend == "loky" and jobs > 1 else None
        if owner is not None and multiprocessing.parent_process() is not None:
            _end_workers_before(owner)
        # the limit also applies to tasks in this process, of threads or a single job
        with threadpool_limits(1, "blas"), self._configured(jobs):
            try:
                yield from joblib.Parallel(return_as="generator", batch_size=batch_size)(
                    joblib.delayed(_run_task)(owner, function, task) for task in tasks
                )
            except BrokenExecutor:
                raise RemixbenchError(
                    "a worker process was killed, perhaps because memory ran out; finished work is kept, run the"
                    " command again with fewer --jobs"
                ) from None

    @contextmanager
    def _configured(self, jobs: int) -> Iterator[None]:
        import joblib

        if self.backend != "dask":
            with joblib.parallel_config(backend=self.backend, n_jobs=jobs):
                yield
            return
        try:
            from distributed import Client
        except ImportError:
            raise InputError("--backend dask needs Dask; install it with `pip install 'remixbench[dask]'`") from None
        try:
            client = Client(self.scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            raise RemixbenchError(f"--scheduler {self.scheduler}: no Dask scheduler answers there ({error})") from None
        with client, joblib.parallel_config(backend="dask"):
            yield
