"""Learning curves: the history of every run that the leaderboard names."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remixbench.errors import InputError
from remixbench.files import read_json
from remixbench.leaderboard.page.board import Board

NUMBERS = ("loss", "validation_micro_ap", "test_micro_ap")


def runs_of(board: Board, workspace: Path) -> Iterator[tuple[int, float, Path, dict[str, Any]]]:
    """Yield row, SNR, folder and run.json of every run of this workspace that a row is made from.

    A board may hold what strangers handed in: only folders below the workspace's runs are looked at.
    """
    above = (workspace / "runs").resolve()
    for index, row in enumerate(board.rows):
        for column in row.snrs if row.kind == "run" else ():
            for made in column.made_from:
                folder = (workspace / (made.run or "")).resolve()
                if folder.is_relative_to(above) and (folder / "run.json").is_file():
                    yield index, column.snr, folder, read_json(folder / "run.json")


def learning_curves(board: Board, workspace: Path) -> list[dict[str, Any]]:
    """Return a curve a run: row, SNR, fold, seed, the epoch kept, and the history as lists by column.

    Raises
    ------
    InputError
        If a history is broken.
    """
    curves = []
    for row, snr, folder, info in runs_of(board, workspace):
        file = folder / "history.csv"
        if file.is_file():
            about = {key: info.get(key) for key in ("fold", "seed", "epoch")}
            curves.append({"row": row, "snr": snr, **about, **read_history(file)})
    return curves


def read_history(file: Path) -> dict[str, list[float | None]]:
    """Return epochs, losses and average precisions of a history, None where one was not looked at.

    Raises
    ------
    InputError
        If the file lacks a column or holds something else than numbers.
    """
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        history: dict[str, list[float | None]] = {"epochs": [int(row["epoch"]) for row in rows]}
        for name in NUMBERS:
            history[name] = [_number(row[name]) for row in rows]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{file}: not a history ({error}); train the run again") from None
    return history


def _number(text: str) -> float | None:
    value = float(text) if text else math.nan
    return round(value, 6) if math.isfinite(value) else None
