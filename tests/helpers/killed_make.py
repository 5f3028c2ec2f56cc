"""Kills `make` again and again: a program for test_resume.py, since forking wants a process without threads.

    killed_make.py SOURCES RECIPE FOLDER how [argument]

Every round forks a child that makes a data set in FOLDER/<round>, in a process group of its own, and ends it by
SIGKILL; then `make` runs to its end undisturbed. FOLDER/whole was never disturbed.

random KILLS     kill after seeded random times, each data set up to four times
replaces         end before or after the n-th file is renamed into place: the first ones, some in the middle,
                 and before each of the last sixteen, which is after the one before it, and after the very last
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa.filters
import pandas as pd  # noqa: F401  (imported before forking, so that a round costs no imports)
import scipy.fft  # noqa: F401
import soxr  # noqa: F401
from killing import When, count_replaces, forked

from remixbench.dataset.make import make
from remixbench.recipe import load_recipe

librosa.filters.mel(sr=8000, n_fft=256)
SOURCES, RECIPE, FOLDER, HOW, *REST = sys.argv[1:]
RECIPE_LOADED = load_recipe(Path(RECIPE))


def making(folder: Path, **options: object) -> Callable[[], object]:
    settings: dict[str, Any] = {"jobs": 1, "stems": True, **options}
    return lambda: make(recipe=RECIPE_LOADED, sources=SOURCES, out=folder, **settings)


def at_random(kills_wanted: int) -> None:
    folder = Path(FOLDER)
    assert forked(making(folder / "whole")) == 0
    start = time.monotonic()
    assert forked(making(folder / "timed")) == 0
    duration = time.monotonic() - start
    draw = random.Random(2019)
    kills = rounds = 0
    while kills < kills_wanted:
        rounds += 1
        options: dict[str, object] = {"jobs": 2, "backend": "threading"} if rounds % 2 else {}
        place = folder / f"{rounds:03d}"
        for _ in range(4):
            kills += forked(making(place, **options), kill_after=draw.uniform(0, 0.9 * duration)) != 0
        assert forked(making(place, **options)) == 0
    print(f"{kills} kills")


def at_replaces() -> None:
    folder = Path(FOLDER)
    count = count_replaces(making(folder / "whole", clips_per_fold=3, stems=False))
    last = range(count - 15, count + 1)
    moments: list[tuple[int, When]] = [
        (n, "before" if n % 2 else "after") for n in [*range(1, 5), *range(10, last.start, 18)]
    ]
    moments += [*((n, "before") for n in last), (count, "after")]
    for number, when in moments:
        place = folder / f"{number:03d}-{when}"
        action = making(place, clips_per_fold=3, stems=False)
        assert forked(action, die_at=(number, when)) == -signal.SIGKILL
        assert forked(action) == 0, place
    print(f"{len(moments)} kills")


if HOW == "random":
    at_random(int(REST[0]))
else:
    at_replaces()
