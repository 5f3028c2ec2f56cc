"""Kills `embed` after a number of files were put in place: a program, since forking wants a process without threads.

    killed_embed.py DATASET ENCODER N...

For each N a child embeds the data set and is ended by SIGKILL before or after it renames its N-th file; afterwards
another one goes on undisturbed. Prints the SHA-256 of array and description after each.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path

import soundfile  # noqa: F401  (imported before forking, so that a round costs no imports)
import soxr  # noqa: F401

from remixbench.dataset.dataset import Dataset
from remixbench.training.embeddings import embed

DATASET, ENCODER, *MOMENTS = sys.argv[1:]


def forked(die_at: int | None, when: str) -> int:
    child = os.fork()
    if child == 0:
        try:
            if die_at is not None:
                _die_at_replace(die_at, when)
            embed(ENCODER, dataset=Dataset.open(Path(DATASET)), snr=0, jobs=1, device="cpu")
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(3)
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


def digests() -> str:
    folder = Path(DATASET) / "snr_0" / "embeddings"
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    assert [path.suffix for path in files] == [".json", ".npy"], files
    return " ".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


for moment in MOMENTS:
    number, when = moment.split("-")
    killed = forked(int(number), when)
    resumed = forked(None, "")
    print(killed, resumed, digests(), flush=True)
    for path in (Path(DATASET) / "snr_0" / "embeddings").glob("*"):
        path.unlink()
