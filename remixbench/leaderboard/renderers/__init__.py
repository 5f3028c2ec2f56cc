"""A leaderboard as text in every format, and the files it is written to.

CSV has one value per line (`Leaderboard.to_dataframe`), JSON everything; the other formats are tables.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from remixbench.errors import unknown
from remixbench.files import write_text
from remixbench.leaderboard.board_tables import make_tables
from remixbench.leaderboard.leaderboard import FLOATS, TIDY_COLUMNS, TRUTHS, Leaderboard
from remixbench.leaderboard.record import Record
from remixbench.leaderboard.renderers.every_eval_ever import to_every_eval_ever
from remixbench.leaderboard.renderers.terminal import to_compact, to_terminal
from remixbench.leaderboard.renderers.text import to_latex, to_markdown
from remixbench.leaderboard.rows import Condition, Row, about_row
from remixbench.leaderboard.summary import LEVELS, matrix, ranking
from remixbench.leaderboard.table_maker import TableMaker
from remixbench.leaderboard.tables import Table
from remixbench.sources.catalogue import plain_text

EVERY_EVAL_EVER = "every-eval-ever"
TABLE_FORMATS = ("table", "md", "csv", "json", "latex")
FORMATS = (*TABLE_FORMATS, EVERY_EVAL_EVER)
JSON_FORMAT = 3
MAX_LINES = 30
"""A longer ranking is replaced by a table with one line per row."""
SUFFIXES = ("csv", "md", "json", "tex")
"""Of the leaderboard's files."""


def leaderboard_texts(leaderboard: Leaderboard) -> dict[str, str]:
    """Return the content of the leaderboard's files by their suffixes."""
    tables = make_tables(leaderboard)
    texts = to_csv(leaderboard), to_markdown(tables), to_json(leaderboard), to_latex(tables)
    return dict(zip(SUFFIXES, texts, strict=True))


def write_leaderboard(workspace: Path, leaderboard: Leaderboard, texts: Mapping[str, str] | None = None) -> None:
    """Write the leaderboard's files where they differ from what is there.

    `texts` is what `leaderboard_texts` returned, where that was called before.
    """
    for suffix, text in (texts or leaderboard_texts(leaderboard)).items():
        file = workspace / "leaderboard" / f"{leaderboard.dataset}.{suffix}"
        if not (file.is_file() and file.read_bytes() == text.encode("utf-8")):
            write_text(file, text)


def remove_leaderboard(workspace: Path, dataset: str) -> None:
    """Remove the leaderboard's files and page."""
    for suffix in (*SUFFIXES, "html"):
        (workspace / "leaderboard" / f"{dataset}.{suffix}").unlink(missing_ok=True)


def render(leaderboard: Leaderboard, style: str = "table", *, width: int | None = None, colour: bool = False) -> str:
    """Return the leaderboard as text.

    InputError for another format.

    Parameters
    ----------
    style : `table` for a terminal, `md`, `csv`, `json`, `latex` as its files are, or `every-eval-ever`, JSON lines in
        that schema.
    width, colour : of the terminal.
    """
    if style == "csv":
        return to_csv(leaderboard)
    if style == "json":
        return to_json(leaderboard)
    if style == EVERY_EVAL_EVER:
        return to_every_eval_ever(leaderboard, time.time())
    return render_tables(make_tables(leaderboard), style, width=width, colour=colour)


def render_summary(leaderboard: Leaderboard, *, files: str = "", width: int | None = None, colour: bool = False) -> str:
    """Return one table of at most 100 columns for a terminal: rows ranked, or where these are many, a line per row.

    Parameters
    ----------
    files : where the leaderboard's files are.
    width, colour : of the terminal.
    """
    maker = TableMaker(leaderboard)
    where = f"All metrics, classes, probes, ablations and cost: --details{f' or {files}' * bool(files)}"

    def text(table_of: Callable[[TableMaker, int], Table]) -> str:
        versions = (table_of(maker, level) for level in LEVELS)
        with_files = (replace(table, notes=(*table.notes, where)) for table in versions)
        return to_compact(with_files, width=width, colour=colour)

    if len(leaderboard.snrs) == 1:
        return text(ranking)
    lines = sum(len(row.conditions) for row in leaderboard.rows if row.kind != "ideal")
    ranked = text(ranking) if lines <= MAX_LINES else ""  # with headings and notes it has more lines than this
    return ranked if 0 < len(ranked.splitlines()) <= MAX_LINES else text(matrix)


def render_tables(tables: Sequence[Table], style: str, *, width: int | None = None, colour: bool = False) -> str:
    """Return tables as text; parameters and errors as in `render`."""
    if style == "table":
        return to_terminal(tables, width=width, colour=colour)
    if style == "md":
        return to_markdown(tables)
    if style == "latex":
        return to_latex(tables)
    raise unknown("table format", style, TABLE_FORMATS)


def to_csv(leaderboard: Leaderboard) -> str:
    r"""Return every value as a line of CSV, with `\n` line ends."""
    columns = [(name, _csv_text_of(name)) for name in TIDY_COLUMNS]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TIDY_COLUMNS)
    writer.writerows([text_of(line.get(name)) for name, text_of in columns] for line in leaderboard.tidy())
    return text.getvalue()


def _csv_text_of(column: str) -> Callable[[Any], str]:
    """Return how a value of a column is written; what is not known is empty."""
    if column in FLOATS:
        return lambda value: "" if value is None or math.isnan(value) else repr(float(value))
    if column in (*TRUTHS, "comparable"):
        return lambda value: "" if value is None else "true" if value else "false"
    return lru_cache(lambda value: "" if value is None else str(plain_text(value)))  # mostly that of the line before


def to_json(leaderboard: Leaderboard) -> str:
    """Return the whole leaderboard as JSON: rows with metrics and their provenance, published rows, notes."""
    board = leaderboard
    value = {
        "format": JSON_FORMAT,
        "dataset": {
            "name": board.dataset,
            "recipe": board.recipe,
            "manifest_digest": board.manifest_digest,
            "comparable": board.comparable,
            "not_comparable": list(board.why_not_comparable),
        },
        "scoring_version": board.scoring_version,
        "rows": [_row(board, row) for row in board.rows],
        "chance": [
            {
                "folds": list(folds),
                "clips": clips,
                "metrics": board.chance.metrics(folds),
                "per_class": {"ap": board.chance.classes(folds)},
            }
            for folds, clips in sorted({tested for snr in board.snrs for tested in board.tested(snr)})
        ],
        "published": list(board.published.tidy()),
        "left_out": list(board.left_out),
    }
    return dumps(value)


def _row(board: Leaderboard, row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "evidence": row.evidence,
        "submission": row.submission or None,
        "system": row.system,
        "settings": row.settings,
        "flags": [flag.model_dump() for flag in row.flags],
        **{key: list(texts) for key, texts in about_row(row).items()},
        "conditions": [
            {
                "snr": condition.snr,
                "folds": list(condition.folds),
                "seeds": list(condition.seeds),
                "one_training": condition.one_training,
                "clips": condition.clips,
                "evidence": condition.state,
                "not_verified": list(condition.not_verified),
                "metrics": {name: _with_published(board, row, condition, name) for name in condition.metrics},
                "per_class": condition.per_class,
                "cost": condition.cost.model_dump(),
                "probes": {} if condition.probes is None else condition.probes.as_dict(),
                "provenance": [provenance(record) for record in condition.records],
            }
            for condition in row.conditions.values()
        ],
    }


def _with_published(board: Leaderboard, row: Row, condition: Condition, metric: str) -> dict[str, Any]:
    estimate = condition.metrics[metric]
    published = board.published.value(row.system, condition.snr, metric) if board.comparable and row.plain else None
    ours = estimate.as_dict()
    return ours if published is None else ours | {"published": published, "difference": estimate.value - published}


def provenance(record: Record) -> dict[str, Any]:
    """Return what one record's metrics were computed from and with."""
    system = {"fold": record.system.fold, "seed": record.system.seed}
    return system | record.provenance.model_dump(mode="json") | {"settings": record.settings}


def dumps(value: Any) -> str:
    """Return a value as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
