"""From the leaderboard's JSON to what the page shows: tables by SNR, series for the charts, marks explained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remixbench.errors import InputError
from remixbench.files import read_json
from remixbench.leaderboard.words import counted, title

FORMAT = 1
METRICS = (
    "micro_ap", "macro_ap", "macro_auc", "lwlrap", "event_f1", "segment_f1", "segment_er", "frame_ap", "psds1", "psds2",
    "mask_f1", "mask_auc",
)  # fmt: skip
"""The figures that the page shows, in this order, where there are any."""
LOWER_IS_BETTER = ("segment_er",)
PER_CLASS = "ap"
KINDS = {"run": "trained here", "predictions": "submitted", "added": "added", "published": "published"}
_MARKS = (
    ("epoch chosen on the test fold", "The epoch with the best figure on the very clips that are reported was kept, so"
     " the figure is too high by an unknown amount."),
    ("last epoch kept", "No epoch was chosen: the network is as it was after the last one."),
    ("trained on .* of the training clips", "Learned from a part of the training clips; to be compared with rows of"
     " the same part."),
    (".*, the recipe has .*", "Trained with another setting than the benchmark's; not its standard figure."),
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A figure in a table; `low` and `high` are its 95 % interval, `spread` is over runs; None where not known."""

    value: float
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    best: bool = False
    difference: float | None = None


@dataclass(frozen=True)
class TableRow:
    """One system at one SNR; `cells` are in the order of the page's metrics, `index` its place in the board."""

    index: int
    name: str
    kind: str
    letters: tuple[str, ...]
    tested: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Panel:
    """All rows at one SNR; the published ones apart where they are on other data."""

    snr: float
    rows: tuple[TableRow, ...]
    published: tuple[TableRow, ...]


@dataclass(frozen=True)
class Mark:
    """A mark that rows carry: its letter, its words, and what they mean for a reader."""

    letter: str
    text: str
    meaning: str


@dataclass(frozen=True)
class Tables:
    """What the page shows of a leaderboard."""

    panels: tuple[Panel, ...]
    metrics: tuple[tuple[str, str], ...]
    marks: tuple[Mark, ...]
    sources: tuple[str, ...]


def read_board(file: Path) -> dict[str, Any]:
    """Read a leaderboard's JSON.

    Raises
    ------
    InputError
        If it is missing, or not what this version writes.
    """
    if not file.is_file():
        raise InputError(f"{file}: no leaderboard yet; `remixbench score` writes it")
    board = read_json(file)
    if board.get("format") != FORMAT:
        raise InputError(f"{file}: format {board.get('format')!r}, expected {FORMAT}; run `remixbench score` again")
    return board


def make_tables(board: dict[str, Any], file: Path) -> Tables:
    """Make the tables of a board that was read from `file`.

    Raises
    ------
    InputError
        If the board lacks something or holds something of another type.
    """
    try:
        return _tables(board)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{file}: not a leaderboard of this version ({type(error).__name__}: {error}); run `remixbench score` again"
        ) from None


def _tables(board: dict[str, Any]) -> Tables:
    rows = board["rows"]
    there = {name for row in rows for column in row["snrs"] for name in column["figures"]}
    metrics = tuple(name for name in METRICS if name in there)
    published = [line for line in board["published"] if "class" not in line]
    known = [mark for row in rows for mark in row["marks"]]
    known += [line["marks"] for line in published if line.get("marks")]
    letters = {text: chr(ord("a") + k) if k < 26 else f"m{k}" for k, text in enumerate(dict.fromkeys(known))}
    snrs = sorted({float(column["snr"]) for row in rows for column in row["snrs"]}, reverse=True)
    return Tables(
        tuple(
            Panel(
                snr,
                tuple(_ours(rows, snr, metrics, letters)),
                tuple(_published(published, snr, metrics, letters)),
            )
            for snr in snrs
        ),
        tuple((name, title(name)) for name in metrics),
        tuple(Mark(letter, text, meaning_of(text)) for text, letter in letters.items()),
        tuple(dict.fromkeys(str(line["source"]) for line in board["published"] if line.get("source"))),
    )


def _ours(
    rows: Sequence[dict[str, Any]], snr: float, metrics: Sequence[str], letters: dict[str, str]
) -> Iterable[TableRow]:
    for index, row in enumerate(rows):
        for column in row["snrs"]:
            if float(column["snr"]) == snr:
                yield TableRow(
                    index,
                    str(row["name"]),
                    KINDS[row["kind"]],
                    tuple(letters[mark] for mark in row["marks"]),
                    tested(column),
                    tuple(_cell(column["figures"].get(name)) for name in metrics),
                )


def tested(column: dict[str, Any]) -> str:
    """Say on which folds and clips, with how many seeds a row was tested."""
    folds = counted(column["folds"], "fold")
    seeds = column["seeds"]
    return f"{folds}, {column['clips']} clips" + (f", {len(seeds)} seeds" if len(seeds) > 1 else "")


def _published(
    lines: Sequence[dict[str, Any]], snr: float, metrics: Sequence[str], letters: dict[str, str]
) -> Iterable[TableRow]:
    here = [line for line in lines if float(line["snr"]) == snr and line["metric"] in metrics]
    for name in dict.fromkeys(str(line["name"]) for line in here):
        mine = {line["metric"]: line for line in here if line["name"] == name}
        marks = dict.fromkeys(line["marks"] for line in mine.values() if line.get("marks"))
        cells = tuple(Cell(float(mine[metric]["value"])) if metric in mine else None for metric in metrics)
        yield TableRow(-1, name, "published", tuple(letters[mark] for mark in marks), "not said", cells)


def _cell(figure: dict[str, Any] | None) -> Cell | None:
    if figure is None:
        return None
    return Cell(
        float(figure["value"]), figure.get("low"), figure.get("high"), figure.get("spread"), bool(figure["best"]),
        figure.get("difference"),
    )  # fmt: skip


def meaning_of(mark: str) -> str:
    """Return what a mark means for a reader, or "" where its words say it all."""
    return next((meaning for pattern, meaning in _MARKS if re.match(pattern, mark)), "")


def chart_rows(board: dict[str, Any], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the board's rows with what the charts need of them: figures and the classes' average precision."""
    return [
        {
            "name": row["name"],
            "kind": KINDS[row["kind"]],
            "system": row["system"],
            "fraction": (row["settings"] or {}).get("fraction"),
            "family": _family(row),
            "snrs": [
                {
                    "snr": column["snr"],
                    "figures": {name: column["figures"][name] for name in metrics if name in column["figures"]},
                    "ap": column["per_class"].get(PER_CLASS, {}),
                }
                for column in row["snrs"]
            ],
        }
        for row in board["rows"]
    ]


def _family(row: dict[str, Any]) -> str:
    """Return the row's name without the part of the training clips, so that rows of one system form a curve."""
    name = str(row["name"])
    parts = re.fullmatch(r"(.*?) \((.*)\)", name)
    if parts is None:
        return name
    kept = [said for said in parts[2].split(", ") if not said.startswith("fraction ")]
    return f"{parts[1]} ({', '.join(kept)})" if kept else parts[1]


def chart_published(board: dict[str, Any], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the published figures that may stand beside the board's; none where they are on other data."""
    if not board["dataset"]["comparable"]:
        return []
    keys = ("name", "snr", "metric", "value")
    return [
        {key: line[key] for key in keys}
        for line in board["published"]
        if "class" not in line and line["metric"] in metrics
    ]
