"""The runs that the rows of a page are made from, and their learning curves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remixbench.errors import InputError
from remixbench.files import read_bytes, sha256
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.tables import read_table
from remixbench.training.run_files import RUN_FILE, RunInfo, read_run

HISTORY = "history.csv"
NUMBERS = ("loss", "validation_micro_ap", "test_micro_ap")


@dataclass(frozen=True)
class Run:
    """A run that a row is made from: the row's index, the run's folder, and its run.json."""

    row: int
    snr: float
    fold: int
    seed: int | None
    folder: Path
    info: RunInfo


def runs_of(leaderboard: Leaderboard, workspace: Path) -> Iterator[Run]:
    """Yield every run of this workspace that a row is made from.

    Rows may come from third parties: only folders below the workspace's runs are read.
    """
    above = (workspace / "runs").resolve()
    for index, row in enumerate(leaderboard.rows):
        for condition in row.conditions.values() if row.kind == "run" else ():
            for record in condition.records:
                folder = (workspace / (record.provenance.run or "")).resolve()
                if folder.is_relative_to(above) and (folder / RUN_FILE).is_file():
                    system = record.system
                    yield Run(index, system.snr, system.fold, system.seed, folder, read_run(folder))


def learning_curves(leaderboard: Leaderboard, workspace: Path) -> list[dict[str, Any]]:
    """Return one curve per run: row, SNR, fold, seed, the epoch kept, and the history as lists by column.

    Raises
    ------
    InputError
        If a history is broken, or was edited since its run was finished.
    """
    return [
        {
            "row": run.row,
            "snr": run.snr,
            "fold": run.fold,
            "seed": run.seed,
            "epoch": run.info.epoch,
            **read_history(run.folder / HISTORY, (run.info.results or {}).get(HISTORY)),
        }
        for run in runs_of(leaderboard, workspace)
        if (run.folder / HISTORY).is_file()
    ]


def read_history(file: Path, digest: str | None = None) -> dict[str, list[float | None]]:
    """Return epochs, losses and average precisions of a history, None where one was not computed.

    Raises
    ------
    InputError
        If the file does not have the SHA-256 `digest` (None where it is not known), lacks a column, or holds something
        other than numbers.
    """
    if digest is not None and sha256(read_bytes(file)) != digest:
        raise InputError(f"{file}: was edited since it was written; restore it, or train again with --rerun")
    try:
        rows = [row for _, row in read_table(file).records()]
        history: dict[str, list[float | None]] = {"epochs": [int(row["epoch"]) for row in rows]}
        for name in NUMBERS:
            history[name] = [_number(row[name]) for row in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{file}: not a history ({error}); train the run again") from None
    return history


def _number(text: str) -> float | None:
    value = float(text) if text else math.nan
    return round(value, 6) if math.isfinite(value) else None
