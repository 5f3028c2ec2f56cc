"""How figures, ratios and counts are written in every table."""

from __future__ import annotations

from collections.abc import Sequence

from remixbench.leaderboard.board import Column, Figure
from remixbench.leaderboard.grid import Cell

TITLES = {
    "micro_ap": "micro-AP",
    "macro_ap": "macro-AP",
    "macro_auc": "AUC",
    "segment_f1": "segment F1",
    "segment_er": "segment ER",
    "event_f1": "event F1",
    "event_f1_onset": "onset F1",
    "intersection_f1": "intersection F1",
    "psds1": "PSDS 1",
    "psds2": "PSDS 2",
    "frame_f1": "frame F1",
    "frame_ap": "frame AP",
    "tagging_f1": "tagging F1",
    "mask_f1": "mask F1",
    "mask_auc": "mask AUC",
    "mask_ap": "mask AP",
}
"""Figures by what a table calls them; others are called by their own name."""


def title(metric: str) -> str:
    """Return what a table calls a figure; a threshold (@) stays, a decoding ([...]) is named by the column's group."""
    name, at, threshold = metric.split("[")[0].partition("@")
    return f"{TITLES.get(name, name.replace('_', ' '))}{' ' if at else ''}{at}{threshold}"


def decibel(snr: float) -> str:
    """Return a ratio with its unit."""
    return f"{snr:g} dB"


def number(value: float) -> str:
    """Return a figure with four decimals, as the paper has them."""
    return f"{value + 0.0:.4f}"


def signed(value: float, digits: int = 4) -> str:
    """Return a difference with its sign."""
    return f"{value + 0.0:+.{digits}f}"


def cell(figure: Figure | None) -> Cell:
    """Return a figure with its spread over runs, or where there is one run its 95 % interval."""
    if figure is None:
        return Cell()
    beside = ""
    if figure.spread is not None:
        beside = f"±{figure.spread:.4f}"
    elif figure.low is not None and figure.high is not None:
        beside = f"{_short(figure.low)}–{_short(figure.high)}"
    return Cell(number(figure.value), beside, figure.best)


def _short(value: float) -> str:
    """Return a figure with three decimals, without a leading zero."""
    return f"{value + 0.0:.3f}".replace("0.", ".", 1) if 0 <= value < 0.9995 else f"{value:.3f}"


def counted(values: Sequence[int], one: str) -> str:
    """Return "fold 4", or "folds 1-4", or "seeds 0, 2"."""
    if len(values) == 1:
        return f"{one} {values[0]}"
    if list(values) == list(range(values[0], values[-1] + 1)):
        return f"{one}s {values[0]}-{values[-1]}"
    return f"{one}s {', '.join(map(str, values))}"


def runs(columns: Sequence[Column]) -> str:
    """Say over which folds and seeds a row is the mean; where its SNRs differ, for each."""
    said = []
    for column in columns:
        words = counted(column.folds, "fold")
        if column.seeds and column.seeds != (0,):
            words += f", {counted(column.seeds, 'seed')}"
        if len(column.records) < len(column.folds) * max(1, len(column.seeds)):
            words += f" ({len(column.records)} runs)"
        said.append(words)
    if len(set(said)) == 1:
        return said[0]
    return "; ".join(f"{decibel(column.snr)}: {words}" for column, words in zip(columns, said, strict=True))
