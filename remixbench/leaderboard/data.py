"""A leaderboard for programs: CSV with one figure a line (tidy, for pandas or R), and JSON with everything.

CSV columns: `kind` (run, predictions, added, published), `name`, `system`, `snr`, `metric`, `class` (empty for a
figure over all classes), `value`, `low` and `high` (95 % interval), `spread` (standard deviation over runs), `folds`,
`seeds`, `clips`, `best` (true where it is bold), `marks`, `comparable`, `dataset`, `manifest_digest`,
`scoring_version`, `source` (citation of a published figure). Lists are joined with "; ".
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from remixbench.leaderboard.board import Board, Column, Figure, Row
from remixbench.leaderboard.record import Record

CSV_COLUMNS = (
    "kind", "name", "system", "snr", "metric", "class", "value", "low", "high", "spread", "folds", "seeds", "clips",
    "best", "marks", "comparable", "dataset", "manifest_digest", "scoring_version", "source",
)  # fmt: skip
FORMAT = 1


def to_csv(board: Board) -> str:
    r"""Return every figure as a line of CSV, with `\n` line ends."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for line in tidy(board):
        writer.writerow({key: _plain(value) for key, value in line.items()})
    return text.getvalue()


def tidy(board: Board) -> Iterator[dict[str, Any]]:
    """Yield every figure of the board, ours first, then the published ones."""
    here = {
        "comparable": board.comparable, "dataset": board.dataset, "manifest_digest": board.manifest_digest,
        "scoring_version": board.scoring_version,
    }  # fmt: skip
    for row in board.rows:
        for column in row.columns.values():
            for line in _figures(row, column):
                yield line | here
    yield from _published(board)


def _figures(row: Row, column: Column) -> Iterator[dict[str, Any]]:
    about = {
        "kind": row.kind, "name": row.name, "system": row.system or "", "snr": column.snr,
        "folds": "; ".join(map(str, column.folds)), "seeds": "; ".join(map(str, column.seeds)), "clips": column.clips,
        "marks": "; ".join(row.marks),
    }  # fmt: skip
    for metric, figure in column.figures.items():
        yield about | {"metric": metric} | _figure(figure)
    for metric, classes in column.per_class.items():
        for label, value in classes.items():
            yield about | {"metric": metric, "class": label, "value": value}


def _figure(figure: Figure) -> dict[str, Any]:
    known = {"value": figure.value, "low": figure.low, "high": figure.high, "spread": figure.spread}
    return {key: value for key, value in known.items() if value is not None} | {"best": figure.best}


def _published(board: Board) -> Iterator[dict[str, Any]]:
    published = board.published
    on = {"kind": "published", "comparable": board.comparable, "dataset": published.recipe}
    one, two, three, four = published.table1, published.table2, published.table3, published.detection
    sources = {key: f"{source.citation}, {source.doi}" for key, source in published.sources.items()}
    for row in one.rows:
        for snr, values in row.scores.items():
            for metric, value in zip(one.metrics, values, strict=True):
                yield on | {
                    "name": row.name, "system": row.system, "snr": snr, "metric": metric, "value": value,
                    "marks": "; ".join(one.marks), "source": sources[one.source],
                }  # fmt: skip
    for weight in two.rows:
        for snr, value in weight.scores.items():
            yield on | {
                "name": f"VGGish, 2AP, α = {weight.alpha:g}", "system": "2ap-aux" if weight.alpha else "2ap",
                "snr": snr, "metric": "micro_ap", "value": value, "source": sources[two.source],
            }  # fmt: skip
    for each in three.rows:
        for label, value in zip(three.classes, each.scores, strict=True):
            yield on | {
                "name": each.name, "system": each.system, "snr": three.snr, "metric": "ap", "class": label,
                "value": value, "source": sources[three.source],
            }  # fmt: skip
    for other in four.rows:
        for metric, value in other.scores.items():
            yield on | {
                "name": other.name, "system": other.system, "snr": four.snr, "metric": metric, "value": value,
                "source": sources[four.source],
            }  # fmt: skip


def to_json(board: Board) -> str:
    """Return the whole board as JSON: rows with figures and what each was made from, published rows, notes."""
    value = {
        "format": FORMAT,
        "dataset": {
            "name": board.dataset,
            "recipe": board.recipe,
            "manifest_digest": board.manifest_digest,
            "comparable": board.comparable,
            "not_comparable": list(board.why_not),
        },
        "scoring_version": board.scoring_version,
        "rows": [_row(board, row) for row in board.rows],
        "published": [{k: v for k, v in line.items() if k != "comparable"} for line in _published(board)],
        "left_out": list(board.left_out),
    }
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _row(board: Board, row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "submission": row.origin or None,
        "system": row.system,
        "settings": row.settings,
        "marks": list(row.marks),
        "snrs": [
            {
                "snr": column.snr,
                "folds": list(column.folds),
                "seeds": list(column.seeds),
                "clips": column.clips,
                "figures": {name: _with_published(board, row, column, name) for name in column.figures},
                "per_class": column.per_class,
                "made_from": [_origin(record) for record in column.records],
            }
            for column in row.columns.values()
        ],
    }


def _with_published(board: Board, row: Row, column: Column, metric: str) -> dict[str, Any]:
    figure = column.figures[metric]
    published = board.published.value(row.system, column.snr, metric) if board.comparable and row.plain else None
    known = _figure(figure)
    return known if published is None else known | {"published": published, "difference": figure.value - published}


def _origin(record: Record) -> dict[str, Any]:
    """Say what one record's figures were made from and with."""
    entry = {"fold": record.entry.fold, "seed": record.entry.seed}
    return entry | record.made_from.model_dump(mode="json") | {"settings": record.settings}


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else value
