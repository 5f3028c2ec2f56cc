"""Tasks in worker processes, wherever the process that hands them out came from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_a_process_of_multiprocessing_ends_with_its_work(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(STARTED_BY_MULTIPROCESSING)
    done = subprocess.run(
        [sys.executable, str(script)], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=100,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("[0, 0, 0]\n", "", 0)
