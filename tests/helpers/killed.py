"""Kills `make` again and again: a program for test_resume.py, since forking wants a process without threads.

    killed.py SOURCES RECIPE FOLDER how [argument]

Every round forks a child that makes a data set in FOLDER/<round>, in a process group of its own, and ends it by
SIGKILL; afterwards `make` goes on undisturbed. FOLDER/whole was never disturbed.

random KILLS     kill after seeded random times, each data set up to four times
replaces         end before or after the n-th file is renamed into place: the first ones, some in the middle,
                 and both before and after each of the last sixteen
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

import librosa.filters
import scipy.fft  # noqa: F401  (imported before forking, so that a round costs no imports)
import soxr  # noqa: F401

from remixbench.dataset.make import make
from remixbench.recipe import load_recipe

librosa.filters.mel(sr=8000, n_fft=256)
SOURCES, RECIPE, FOLDER, HOW, *REST = sys.argv[1:]
RECIPE_LOADED = load_recipe(Path(RECIPE))


def make_in(folder: Path, **options: object) -> None:
    make(recipe=RECIPE_LOADED, sources=SOURCES, out=folder, **{"jobs": 1, "stems": True, **options})  # type: ignore[arg-type]


def forked(
    folder: Path, kill_after: float | None = None, die_at: tuple[int, str] | None = None, **options: object
) -> int:
    """Run `make` in a child; returns how it ended, as os.waitstatus_to_exitcode."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        try:
            if die_at is not None:
                _die_at_replace(*die_at)
            make_in(folder, **options)
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(3)
    if kill_after is not None:
        time.sleep(kill_after)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _die_at_replace(which: int, when: str) -> None:
    replace, count = os.replace, 0

    def counting(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count == which and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if count == which and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = counting  # type: ignore[assignment]


def at_random(kills_wanted: int) -> None:
    folder = Path(FOLDER)
    assert forked(folder / "whole") == 0
    start = time.monotonic()
    assert forked(folder / "timed") == 0
    whole = time.monotonic() - start
    draw = random.Random(2019)
    kills = rounds = 0
    while kills < kills_wanted:
        rounds += 1
        options: dict[str, object] = {"jobs": 2, "backend": "threading"} if rounds % 2 else {}
        place = folder / f"{rounds:03d}"
        for _ in range(4):
            kills += forked(place, kill_after=draw.uniform(0, 0.9 * whole), **options) != 0
        assert forked(place, **options) == 0
    print(f"{kills} kills")


def at_replaces() -> None:
    folder = Path(FOLDER)
    count, replace = 0, os.replace

    def counting(source: str, target: str) -> None:
        nonlocal count
        count += 1
        replace(source, target)

    os.replace = counting  # type: ignore[assignment]
    make_in(folder / "whole", clips_per_fold=3, stems=False)
    os.replace = replace
    last = range(count - 15, count + 1)
    moments = [(n, "before" if n % 2 else "after") for n in [*range(1, 10), *range(10, last.start, 9)]]
    for which, when in [*moments, *((n, when) for n in last for when in ("before", "after"))]:
        place = folder / f"{which:03d}-{when}"
        assert forked(place, die_at=(which, when), clips_per_fold=3, stems=False) == -signal.SIGKILL
        assert forked(place, clips_per_fold=3, stems=False) == 0, place
    print(f"{len(moments) + 2 * len(last)} kills")


if HOW == "random":
    at_random(int(REST[0]))
else:
    at_replaces()
