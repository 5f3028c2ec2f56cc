"""The checkpoint of a data set in the making: which blocks of clips are finished, so that a killed `make` resumes.

`<data set>/.work/` holds job.json (which data set this is to become), excerpts/, tmp/, records/snr_20/00007.json (a
record for each finished block of clips) and snr_20.npy (log-mel rows). It is removed when the data set is finished.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from remixbench.dataset.dataset import snr_folder
from remixbench.errors import InputError
from remixbench.files import atomic_path, read_json, write_json

CLIPS_PER_BLOCK = 8


def block_count(clips: int) -> int:
    """Return the number of blocks that so many clips are worked on in."""
    return -(-clips // CLIPS_PER_BLOCK)


@dataclass(frozen=True)
class Checkpoint:
    """The folder of unfinished work of a data set."""

    folder: Path

    def open(self, job: dict[str, Any], snrs: Sequence[float]) -> None:
        """Make the folder for `job` at `snrs`, or check that the one there is for the same.

        Raises
        ------
        InputError
            If it holds work of another data set.
        """
        file = self.folder / "job.json"
        for name in ("excerpts", "tmp", *(f"records/{snr_folder(snr)}" for snr in snrs)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if not file.exists():
            write_json(file, job)
        elif (there := read_json(file)) != job:
            differs = [key for key in job if there.get(key) != job[key]]
            raise InputError(
                f"{self.folder.parent}: holds an unfinished data set of another {' and '.join(differs)};"
                f" delete that folder, or choose another with --out"
            )

    def is_open(self, snr: float) -> bool:
        """Say whether there is unfinished work at `snr`."""
        return (self.folder / "records" / snr_folder(snr)).is_dir()

    def close(self, snrs: Sequence[float]) -> None:
        """Drop the work at `snrs`, which is finished, and the folder unless there is work at other SNRs."""
        records = self.folder / "records"
        for snr in snrs:
            shutil.rmtree(records / snr_folder(snr), ignore_errors=True)
        if not (records.is_dir() and any(records.iterdir())):
            shutil.rmtree(self.folder, ignore_errors=True)

    def is_done(self, snr: float, block: int) -> bool:
        """Say whether a block is finished at `snr`."""
        return self._record(snr, block).exists()

    def records(self, snr: float, blocks: int) -> list[dict[str, Any]]:
        """Return the records of all blocks at `snr`, in the order of the clips."""
        files = (self._record(snr, block) for block in range(blocks))
        return [record for file in files for record in json.loads(file.read_text("utf-8"))]

    def keep(self, snr: float, block: int, records: list[dict[str, Any]]) -> None:
        """Note that a block is finished at `snr`."""
        write_json(self._record(snr, block), records)

    def _record(self, snr: float, block: int) -> Path:
        return self.folder / "records" / snr_folder(snr) / f"{block:06d}.json"

    def logmel(self, snr: float) -> Path:
        """Return the log-mel file in the making at `snr`."""
        return self.folder / f"{snr_folder(snr)}.npy"

    def open_logmel(self, snr: float, shape: tuple[int, int, int], existing: Path | None) -> None:
        """Make the log-mel file at its full size, empty or with the rows of an `existing` one, unless it is there."""
        path = self.logmel(snr)
        if path.exists():
            return
        with atomic_path(path) as beside:
            if existing is not None:
                shutil.copyfile(existing, beside)
                return
            with beside.open("wb") as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                file.truncate(file.tell() + 4 * shape[0] * shape[1] * shape[2])


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock, waiting for it."""
    with FileLock(path):
        yield
