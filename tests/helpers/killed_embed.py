"""Kills `embed` after a number of files were put in place: a program, since forking wants a process without threads.

    killed_embed.py DATASET ENCODER N...

For each N a child embeds the data set and is ended by SIGKILL before or after it renames its N-th file; afterwards
another one resumes undisturbed. Prints the SHA-256 of array and description after each.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import soundfile  # noqa: F401  (imported before forking, so that a round costs no imports)
import soxr  # noqa: F401
from killing import forked

from remixbench.dataset.dataset import Dataset
from remixbench.training.embeddings import embed

DATASET, ENCODER, *MOMENTS = sys.argv[1:]


def embed_all() -> None:
    embed(ENCODER, dataset=Dataset.open(Path(DATASET)), snr=0, jobs=1, device="cpu")


def digests() -> str:
    folder = Path(DATASET) / "snr_0" / "embeddings"
    files = sorted(folder.iterdir(), key=lambda path: path.suffix)
    assert [path.suffix for path in files] == [".json", ".lock", ".npy"], files
    return " ".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.suffix != ".lock")


for moment in MOMENTS:
    number, when = moment.split("-")
    killed = forked(embed_all, die_at=(int(number), when))  # type: ignore[arg-type]
    resumed = forked(embed_all)
    print(killed, resumed, digests(), flush=True)
    for path in (Path(DATASET) / "snr_0" / "embeddings").glob("*"):
        path.unlink()
