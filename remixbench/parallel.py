"""Tasks run side by side by joblib, on this machine or by Dask on others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from remixbench.errors import InputError, RemixbenchError


def check_jobs(jobs: int) -> None:
    """Refuse a number of processes that means nothing."""
    if jobs == 0:
        raise InputError("--jobs 0: expected a number of processes, or -1 for one per core")


@dataclass(frozen=True)
class Workers:
    """How tasks run in parallel: `jobs` processes (-1: one per core) or threads, or the workers of a scheduler."""

    jobs: int = -1
    backend: str = "loky"
    scheduler: str | None = None

    def run(self, function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], count: int) -> Iterator[Any]:
        """Yield function(*task) for every task, in order, as they are finished."""
        import joblib
        from threadpoolctl import threadpool_limits

        if count == 0:
            return
        jobs = min(joblib.effective_n_jobs(self.jobs), count)
        # set here too for threads and for a single job, where tasks share this process
        with threadpool_limits(1, "blas"), self._configured(jobs):
            try:
                yield from joblib.Parallel(return_as="generator")(joblib.delayed(function)(*task) for task in tasks)
            except BrokenExecutor:
                raise RemixbenchError(
                    "a worker process was killed, perhaps for want of memory; nothing already made is harmed, run the"
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
