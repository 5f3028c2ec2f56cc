"""Is one system better than another? A paired bootstrap: both on the same draws of the same clips.

The draws are in the records, so no predictions are needed. Two rows are compared on the folds that both were tested
on; over seeds the mean is taken first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from remixbench.errors import InputError, unknown
from remixbench.leaderboard.board import Board, Column, Comparison, Difference, Row, mean_draws
from remixbench.leaderboard.record import DEFINED, DRAWN, Record
from remixbench.scoring.bootstrap import interval


def compare_columns(first: Column, second: Column, metric: str) -> Difference | None:
    """Compare two rows at one SNR; None where they have no fold, no figure or no draws in common."""
    ours, theirs = _by_fold(first), _by_fold(second)
    folds = tuple(sorted(ours.keys() & theirs.keys()))
    differences, draws = [], []
    for fold in folds:
        pair = (ours[fold], theirs[fold])
        alike = {
            (r.made_from.reference_digest, r.made_from.resamples, r.made_from.bootstrap_seed) for rs in pair for r in rs
        }
        drawn = [mean_draws(metric, records) for records in pair]
        values = [[record.figures.get(metric) for record in records] for records in pair]
        if len(alike) > 1 or drawn[0] is None or drawn[1] is None or any(None in each for each in values):
            return None
        differences.append(np.mean(values[0]) - np.mean(values[1]))  # type: ignore[arg-type]  # no None is left
        draws.append(drawn[0] - drawn[1])
    if not folds:
        return None
    every = np.mean(draws, axis=0)
    change = every[~np.isnan(every)]
    if len(change) < DEFINED * len(every):
        return None
    mean = float(np.mean(differences))
    ends = interval(mean, change)
    if ends is None:
        return None
    superiority = float(np.mean((change > 0) + 0.5 * (change == 0)))
    return Difference(first.snr, metric, mean, *ends, superiority, folds, len(change))


def _by_fold(column: Column) -> dict[int, list[Record]]:
    folds: dict[int, list[Record]] = {}
    for record in column.records:
        folds.setdefault(record.entry.fold, []).append(record)
    return folds


def mark_best(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows with the best figure of each column marked, and those not to be told from it.

    Only figures with draws are marked, and only where two rows or more have one.
    """
    best: set[tuple[int, float, str]] = set()
    for snr in {snr for row in rows for snr in row.columns}:
        for metric in DRAWN:
            best |= {(index, snr, metric) for index in _best(rows, snr, metric)}
    marked = []
    for index, row in enumerate(rows):
        columns = {
            snr: replace(
                column,
                figures={
                    name: replace(figure, best=(index, snr, name) in best) for name, figure in column.figures.items()
                },
            )
            for snr, column in row.columns.items()
        }
        marked.append(replace(row, columns=columns))
    return tuple(marked)


def _best(rows: Sequence[Row], snr: float, metric: str) -> list[int]:
    values = {
        index: row.columns[snr].figures[metric].value
        for index, row in enumerate(rows)
        if snr in row.columns and metric in row.columns[snr].figures
    }
    if len(values) < 2 or not any(values.values()):
        return []
    top = max(values, key=lambda index: values[index])
    found = [top]
    for index in values:
        if index != top:
            pair = compare_columns(rows[top].columns[snr], rows[index].columns[snr], metric)
            if pair is not None and not pair.told_apart:
                found.append(index)
    return found


def compare_rows(board: Board, first: str, second: str) -> Comparison:
    """Compare two rows of a leaderboard by their names, figure by figure at every SNR that both have.

    Raises
    ------
    InputError
        If a name is unknown or that of several rows, the two are one, or they have no clips or draws in common.
    """
    rows = [find_row(board, first), find_row(board, second)]
    if rows[0] is rows[1]:
        raise InputError(f"--compare {first} {second}: both are the row '{rows[0].name}'; name two")
    common = [snr for snr in board.snrs if all(snr in row.columns for row in rows)]
    made = [
        difference
        for snr in common
        for metric in DRAWN
        if (difference := compare_columns(rows[0].columns[snr], rows[1].columns[snr], metric)) is not None
    ]
    if not made:
        raise InputError(
            f"--compare {first} {second}: no fold, SNR and figure in common that was resampled alike;"
            " score both with the same --bootstrap above 0"
        )
    return Comparison(rows[0].name, rows[1].name, tuple(made))


def find_row(board: Board, name: str) -> Row:
    """Return the row of that name, or the only row of the system of that name.

    Raises
    ------
    InputError
        If there is none, or several.
    """
    for chosen in (
        [row for row in board.rows if row.name == name],
        [row for row in board.rows if row.system == name and row.plain],
    ):
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            names = ", ".join(f"'{row.name}'" for row in chosen)
            raise InputError(f"'{name}' could be any of the rows {names}; name one in full")
    raise unknown("row of the leaderboard", name, [row.name for row in board.rows])
