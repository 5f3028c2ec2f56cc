"""The tables of detection: events, segments, intersections and frames, at each SNR, and how they were decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from remixbench.leaderboard import words
from remixbench.leaderboard.board import Board, Row
from remixbench.leaderboard.grid import Block, Grid, Line, Notes
from remixbench.leaderboard.grids import blocks_of
from remixbench.leaderboard.published import DetectionRow
from remixbench.leaderboard.studies import number_cell

DETECTION = ("segment_f1", "segment_er", "event_f1_onset", "event_f1", "intersection_f1", "frame_f1")
OTHERS = ("hysteresis",)
"""The decodings besides the main one that have columns; CSV and JSON have all."""
OTHER_DECODINGS = ("segment_f1", "event_f1", "frame_f1")
THRESHOLD_FREE = ("psds1", "psds2", "frame_ap")
TIME_FREQUENCY = ("mask_f1", "mask_auc", "mask_ap")


def detection_grids(board: Board) -> list[Grid]:
    """Return one table of detection figures for each SNR at which there are any."""
    grids = (_detection_grid(board, snr) for snr in board.snrs)
    return [grid for grid in grids if grid is not None]


def _detection_grid(board: Board, snr: float) -> Grid | None:
    rows = {index: row for index, row in enumerate(board.rows) if snr in row.columns}
    there = {name for row in rows.values() for name in row.columns[snr].figures}
    groups = _detection_columns(there)
    if not groups:
        return None
    shown = [name for _, names in groups for name in names]
    notes = Notes()
    lines = {
        index: Line(
            row.name,
            tuple(words.cell(row.columns[snr].figures.get(name)) for name in shown),
            notes.letters(row.marks),
            words.runs([row.columns[snr]]),
        )
        for index, row in rows.items()
    }
    blocks = blocks_of(board, lines)
    table = board.published.detection
    published = tuple(
        Line(_with_rest(row, shown), tuple(number_cell(row.scores.get(name), 3) for name in shown), "", "not said")
        for row in table.rows
        if snr == table.snr and set(row.scores) & set(shown)
    )
    if published:
        name = board.published.sources[table.source].name
        blocks.append(
            Block(f"Published: {name} (on a mixing of their own; not comparable with the rows above)", published)
        )
    return Grid(
        f"Detection at {words.decibel(snr)}",
        "system",
        tuple((name, tuple(map(words.title, metrics))) for name, metrics in groups),
        tuple(blocks),
        (
            *notes.lines(),
            *_how(list(rows.values()), snr),
        ),
        "tested on",
    )


def _with_rest(row: DetectionRow, shown: Sequence[str]) -> str:
    """Return the name of a published row, with those of its figures that have no column."""
    rest = [f"{words.title(name)} {value:g}" for name, value in row.scores.items() if name not in shown]
    return f"{row.name} ({', '.join(rest)})" if rest else row.name


def _detection_columns(there: set[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the groups of columns: the main decoding, each other one, and what needs no threshold."""
    others = [name for name in OTHERS if any(f"[{name}]" in metric for metric in there)]
    groups = [("decided events", tuple(name for name in DETECTION if name in there))]
    for other in others:
        groups.append((other, tuple(f"{name}[{other}]" for name in OTHER_DECODINGS if f"{name}[{other}]" in there)))
    for name, metrics in (("all thresholds", THRESHOLD_FREE), ("time-frequency", TIME_FREQUENCY)):
        groups.append((name, tuple(metric for metric in metrics if metric in there)))
    return [(name, metrics) for name, metrics in groups if metrics]


def _how(rows: Sequence[Row], snr: float) -> list[str]:
    """Say with which thresholds and tolerances the figures were made, as their records have them."""
    said: dict[str, None] = {}
    for row in rows:
        for record in row.columns[snr].records:
            said |= dict.fromkeys(_parameters(record.settings))
    lines = [f"{'; '.join(said)}."] if said else []
    return [
        *lines,
        "Decided events are those of an event list, or of the main decoding of frame scores. ER: error rate, lower is"
        " better; it may exceed 1. Blank: the form of the predictions cannot express it.",
    ]


def _parameters(settings: dict[str, Any]) -> Iterator[str]:
    """Yield what records say of their thresholds, each in a few words."""
    main = settings.get("main_postprocessing")
    for name, how in _pairs(settings.get("postprocessings")):
        if given := _listed(how):
            yield f"post-processing {name}{' (main)' if name == main else ''}: {given}"
    if isinstance(seconds := settings.get("time_resolution"), (int, float)):
        yield f"segments of {seconds:g} s"
    for name, how in (
        *((key, settings.get(key)) for key in ("collar", "intersection")),
        *_pairs(settings.get("psds")),
    ):
        if given := _listed(how):
            yield f"{words.TITLES.get(name, name)}: {given}"
    margin, threshold = settings.get("mask_margin_db"), settings.get("mask_threshold")
    if isinstance(margin, (int, float)) and isinstance(threshold, (int, float)):
        yield f"masks: events above the scene less {margin:g} dB, F1 at {threshold:g}, bins pooled over clips"


def _listed(how: Any) -> str:
    numbers = [(key, value) for key, value in _pairs(how) if isinstance(value, (int, float))]
    return ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in numbers)


def _pairs(value: Any) -> list[tuple[str, Any]]:
    """Return the entries of an object; none of anything else, since records come from strangers too."""
    return list(value.items()) if isinstance(value, dict) else []
