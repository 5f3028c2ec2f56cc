"""A download that is killed at any moment resumes in the next run and ends with the same tree."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from download_tools import on_disk, packed, quick, small_records, write_sums
from faulty_server import FaultyServer

from remixbench.sources.download import download

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

# Imports once, then forks a download for each line "URL SUMS SOURCES": a fork is quick to start, so the moment at
# which it is killed falls into its work. Reports "PID", and "done STATUS" if it ends by itself.
LAUNCHER = """
import os, sys, time
from pathlib import Path
import filelock, requests, yaml
from remixbench.sources.download import download

class Slow:
    def say(self, line): pass
    def bar(self, label, total, unit):
        class Bar:
            def __enter__(self):
                return lambda by: time.sleep(0.001) if label.startswith("unpacking") else None
            def __exit__(self, *_): pass
        return Bar()

for line in sys.stdin:
    url, sums, sources = line.split()
    pid = os.fork()
    if pid == 0:
        download(mirror=url, checksums=Path(sums), sources=Path(sources), jobs=2, progress=Slow())
        os._exit(0)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print("done", status, flush=True)
"""

# Small recordings, so that many files are unpacked; 150 of them hardly compressible.
TREE = small_records(scenes_a_part=1, events=2) | {
    f"FSDKaggle2018/FSDKaggle2018.audio_train/x{n:07x}.wav": random.Random(n).randbytes(1500) for n in range(150)
}
ARCHIVES = packed(TREE)


@pytest.fixture(scope="module")
def launcher() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    yield process
    assert process.stdin is not None
    process.stdin.close()
    process.wait(10)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with FaultyServer(dict(ARCHIVES), pace=0.003) as running:
        yield running


def start(launcher: subprocess.Popen[str], server: FaultyServer, sums: Path, sources: Path) -> int:
    assert launcher.stdin is not None
    assert launcher.stdout is not None
    launcher.stdin.write(f"{server.url} {sums} {sources}\n")
    return int(launcher.stdout.readline())


def status(launcher: subprocess.Popen[str]) -> int:
    assert launcher.stdout is not None
    return int(launcher.stdout.readline().split()[1])


@pytest.fixture(scope="module")
def duration(launcher: subprocess.Popen[str], server: FaultyServer, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a download takes that nobody kills."""
    folder = tmp_path_factory.mktemp("whole")
    begin = time.monotonic()
    start(launcher, server, write_sums(ARCHIVES, folder / "sums"), folder / "sources")
    assert status(launcher) == 0
    assert on_disk(folder / "sources") == TREE
    return time.monotonic() - begin


def kill_after(seconds: float, pid: int, launcher: subprocess.Popen[str]) -> bool:
    """Tell whether the kill came before the end."""
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    ended = status(launcher)
    assert ended in (signal.SIGKILL, 0)
    return ended == signal.SIGKILL


def test_killed_at_ten_moments_and_finished_by_the_next_run(
    launcher: subprocess.Popen[str], server: FaultyServer, duration: float, tmp_path: Path
) -> None:
    sums, draw, killed, half_done = write_sums(ARCHIVES, tmp_path / "sums"), random.Random(0), 0, set()
    with FaultyServer(dict(ARCHIVES)) as good_server:
        for attempt in range(100):
            sources = tmp_path / f"sources{attempt}"
            pid = start(launcher, server, sums, sources)
            if not kill_after(draw.uniform(0, duration), pid, launcher):
                duration *= 0.9  # this machine has become faster
                continue
            left = on_disk(sources) if sources.exists() else {}
            finished = {name: data for name, data in left.items() if name in TREE}
            assert finished.items() <= TREE.items()  # whatever has its name is whole
            half_done.add(len(finished))
            download(mirror=good_server.url, checksums=sums, sources=sources, retry_policy=quick())
            assert on_disk(sources) == TREE
            assert not list(sources.rglob(".*unpacking*")) + list(sources.rglob("*.part*"))
            killed += 1
            if killed == 10:
                break
    assert killed == 10
    assert len(half_done) >= 4  # the moments fell into the download and into the unpacking


def test_killed_again_and_again_it_still_arrives(
    launcher: subprocess.Popen[str], server: FaultyServer, duration: float, tmp_path: Path
) -> None:
    sums, sources, draw = write_sums(ARCHIVES, tmp_path / "sums"), tmp_path / "sources", random.Random(0)
    for _attempt in range(60):
        if not kill_after(draw.uniform(0.4, 0.7) * duration, start(launcher, server, sums, sources), launcher):
            break
    else:
        pytest.fail("60 runs, each longer than two fifths of a whole one, did not finish")
    assert on_disk(sources) == TREE
