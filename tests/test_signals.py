"""Processes that are ended from outside: one line, no worker left behind, nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

SLEEPING = """
import os, time
from remixbench.parallel import Workers

def sleep(number):
    os.write(1, f"{number}\\n".encode())  # one write, so that lines of two processes never mix
    time.sleep(600)

list(Workers(2).run(sleep, [(k,) for k in range(2)], 2))
"""

KILLED_BEFORE_THE_FIRST_TASK = """
import os, signal, time
from remixbench.parallel import Workers

def kill_owner(owner):  # called where a worker reads its task
    if os.getpid() != owner:
        if os.getppid() == owner:
            os.kill(owner, signal.SIGKILL)
        while os.getppid() == owner:
            time.sleep(0.01)
    return owner

class Task:
    def __init__(self):
        self.owner = os.getpid()

    def __reduce__(self):
        return kill_owner, (self.owner,)

def sleep(task):
    time.sleep(600)

list(Workers(2).run(sleep, [(Task(),)] * 2, 2))
"""

LATE_FEEDER = """
import atexit, importlib, threading, time, warnings
from remixbench.parallel import Workers
import joblib.externals.loky.process_executor

queues, synchronize, tracker = (
    importlib.import_module(f"joblib.externals.loky.backend.{name}")
    for name in ("queues", "synchronize", "resource_tracker")
)
feed, exiting = queues.Queue._feed, threading.Event()

def late_feed(*arguments):  # ends when the process does, and only then drops its semaphores
    feed(*arguments)
    exiting.wait()

def slow_cleanup(name):
    synchronize.sem_unlink(name)
    time.sleep(0.5)
    tracker.unregister(name, "semlock")

def begin_exit():
    exiting.set()
    time.sleep(0.1)

queues.Queue._feed, synchronize.SemLock._cleanup = staticmethod(late_feed), staticmethod(slow_cleanup)
results = Workers(2).run(divmod, [(7, 2)] * 1000, 1000)
print(next(results))
warnings.simplefilter("ignore")  # what joblib says of unfinished tasks
results.close()  # as an interrupt does
atexit.register(begin_exit)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status", "word"), [(15, 143, "terminated"), (2, 130, "interrupted")])
def test_a_signal_ends_make_with_one_line_and_all_its_workers(
    corpus: Path, tmp_path: Path, number: int, status: int, word: str
) -> None:
    recipe = tiny.write_recipe(tmp_path, tiny.changed(tiny.RECIPE, plan__clips_per_fold=150))
    command = [sys.executable, "-m", "remixbench", "--workspace", str(tmp_path), "-q", "make", "--recipe", str(recipe)]
    process = subprocess.Popen(
        [*command, "--sources", str(corpus), "--jobs", "2"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
    )  # fmt: skip
    records = tmp_path / "datasets" / "tiny" / ".work" / "records"
    while process.poll() is None and not (records.is_dir() and any(records.rglob("*.json"))):
        time.sleep(0.02)
    process.send_signal(number)
    output, error = process.communicate(timeout=300)  # ends when the last worker has closed them
    assert process.returncode == status
    assert output == ""
    assert error.strip() == f"remixbench: {word}; rerun to resume"
    assert not (tmp_path / "datasets" / "tiny" / "dataset.json").exists()


def test_workers_end_with_a_main_process_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "sleeping.py"
    script.write_text(SLEEPING)
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert sorted(process.stdout.readline() for _ in range(2)) == ["0\n", "1\n"]
    process.send_signal(signal.SIGKILL)
    # the workers sleep for 600 s and hold the other end; the bound is generous for busy machines
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL


def test_workers_end_with_a_main_process_that_was_killed_before_their_first_task(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED_BEFORE_THE_FIRST_TASK)
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE)
    process.communicate(timeout=120)  # the workers hold the other end, and would sleep for 600 s
    assert process.returncode == -signal.SIGKILL


def test_workers_leave_no_semaphore_to_report_at_exit() -> None:
    done = subprocess.run([sys.executable, "-c", LATE_FEEDER], capture_output=True, text=True, check=True)
    assert done.stdout == "(3, 1)\n"
    assert done.stderr == ""
