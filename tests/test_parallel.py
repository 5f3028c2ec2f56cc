"""Tasks in worker processes, wherever the process that hands them out came from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STARTED_BY_MULTIPROCESSING = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def work():
    from remixbench.parallel import Workers
    return list(Workers(2).run(divmod, [(7, 2)] * 4, 4))

def check():
    assert work() == [(3, 1)] * 4

if __name__ == "__main__":
    contexts = [multiprocessing.get_context(method) for method in ("fork", "forkserver", "spawn")]
    processes = [context.Process(target=check) for context in contexts]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    print([process.exitcode for process in processes], flush=True)
    for process in processes:
        process.kill()
    with ProcessPoolExecutor(1, contexts[2]) as pool:
        assert pool.submit(work).result() == [(3, 1)] * 4
"""


GROWING = """
import os, sys, time
from remixbench.parallel import Workers

def small(number):
    return os.getpid()

def large(number):
    sys.kept = [*getattr(sys, "kept", []), b"x" * 200_000_000]
    time.sleep(1.1)  # loky looks at the memory of a worker once a second
    return os.getpid()

if __name__ == "__main__":
    tasks = [(number,) for number in range(6)]
    processes = {*Workers(2).run(small, tasks, 6), *Workers(2).run(large, tasks, 6, batch_size=1)}
    print(len(processes) <= 2)
"""


def test_a_worker_that_needs_more_memory_than_before_is_kept(tmp_path: Path) -> None:
    """loky would take it for a leaking one, end it with a warning and start another."""
    pytest.importorskip("psutil", reason="only with psutil loky knows the memory of its workers")
    script = tmp_path / "script.py"
    script.write_text(GROWING)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


def test_a_process_of_multiprocessing_ends_with_its_work(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(STARTED_BY_MULTIPROCESSING)
    done = subprocess.run(
        [sys.executable, str(script)], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=100,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("[0, 0, 0]\n", "", 0)
