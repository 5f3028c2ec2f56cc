"""The common form of every source: a table of recordings, and a reader of their samples.

A catalogue of scenes has the columns `file`, `label`, `location`, `licence`, `url`; one of events has `file`, `label`,
`verified`, `origin`, `licence`, `url`. Rows are in the order of the published table, on which the released draws
depend.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remixbench.errors import InputError
from remixbench.sources.audio import Reader
from remixbench.tables import Table, read_table

if TYPE_CHECKING:
    import pandas as pd

MAX_LABEL = 200
"""Largest number of characters in a label."""
RESERVED = ("filename", "onset", "offset", "event_label", "event_labels")
"""Column names of label files and predictions, which no label may have."""
OUTSIDE = re.compile(r"^/|^[A-Za-z]:|\\|(^|/)\.\.(/|$)|[\x00-\x1f\ud800-\udfff]")
"""File names that lead out of their folder, or that tables cannot hold."""
MOST_PROBLEMS = 100
"""The largest number of unusable recordings that are named."""
FORMULA_SIGNS = ("=", "+", "-", "@")
SCENE_COLUMNS = ("file", "label", "location", "licence", "url")
EVENT_COLUMNS = ("file", "label", "verified", "origin", "licence", "url")


@dataclass(frozen=True)
class Catalogue:
    """The recordings of one source.

    Attributes
    ----------
    source : name of the source, for messages
    table : one row per recording; columns as in the module's docstring
    digest : SHA-256 of the published table, which identifies the catalogue
    reader : reads the recordings
    origin_gap : numeric origins of one label that are closer than this count as one; 0 to compare names only
    notice : text that must accompany every copy of the recordings, empty if none must
    left_out : lines about recordings in the folder that are not in the table, and why
    """

    source: str
    table: pd.DataFrame
    digest: str
    reader: Reader
    origin_gap: int = 0
    notice: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the table, sorted."""
        return tuple(sorted(set(self.table["label"])))


def read_catalogue_table(path: Path, columns: tuple[str, ...], separator: str) -> Table:
    """Read a table with one recording per row, named in the first of `columns`; no column may be empty."""
    table = read_table(path, columns, separator)
    table.require_values(columns)
    table.require_unique(columns[0])
    return table


def starts_formula(text: str) -> bool:
    """Return whether a spreadsheet takes a text for a formula, wide characters included."""
    return unicodedata.normalize("NFKC", text[:1]).startswith(("\t", "\r", *FORMULA_SIGNS))


def plain_text(text: Any) -> Any:
    """Return a text, with an apostrophe before it if a spreadsheet would take it for a formula."""
    return f"'{text}" if isinstance(text, str) and starts_formula(text) else text


def label_problem(text: str) -> str:
    """Return why label files, predictions or records cannot hold a label; empty if they can.

    Weak labels are joined by commas, labels are column names in tables of tags, and spreadsheets execute text that
    begins like a formula.
    """
    if not 1 <= len(text) <= MAX_LABEL:
        return f"has {len(text)} characters, expected 1 to {MAX_LABEL}"
    if text in RESERVED:
        return "is the name of a column of label files"
    if not text.isprintable() or text != text.strip() or any(mark in text for mark in ',"'):
        return "has a comma, a double quote, a character that cannot be printed or a blank at an end"
    if starts_formula(text):
        return f"begins with one of {' '.join(FORMULA_SIGNS)}, which a spreadsheet takes for a formula"
    return ""


def checked_label(location: str, label: str) -> str:
    """Return a label, if label files can hold it.

    Raises `InputError` if they cannot; `location` is its place, for the message.
    """
    if problem := label_problem(label):
        text = repr(label) if len(label) <= MAX_LABEL else f"{label[:20]!r}..."
        raise InputError(f"{location}: label {text} {problem}; rename it")
    return label


def stays_below(name: str) -> bool:
    """Return whether a name, with `/` as separator, is a path below its folder that tables can hold.

    This rule applies to the names of recordings in tables, folders and manifests.
    """
    return bool(name) and not OUTSIDE.search(name)


def checked_name(location: str, name: str) -> str:
    """Return the name of a recording in a table, with `/` as separator; `location` is its place, for messages.

    Raises `InputError` if it is empty or absolute, names a folder, leads out of its own, or has a character that tables
    cannot hold.
    """
    path = name.replace("\\", "/")
    if not stays_below(path) or path.rpartition("/")[2] in ("", ".", ".."):
        raise InputError(f"{location}: {name!r} is not the name of a file below its folder")
    return path


def refuse_recordings(kind: str, problems: Iterable[str]) -> None:
    """Raise one error that names all unusable recordings of a source, so that one run finds them all."""
    problems = sorted(set(problems))
    if len(problems) > MOST_PROBLEMS:
        problems[MOST_PROBLEMS:] = [f"{len(problems) - MOST_PROBLEMS} more"]
    if len(problems) == 1:
        raise InputError(problems[0])
    if problems:
        raise InputError(f"{len(problems)} problems with {kind} recordings: {' | '.join(problems)}")
