"""The common form of every source: a table of recordings, and a way to read one of them.

A catalogue of scenes has the columns `file`, `label`, `location`, `licence`, `url`; one of events has `file`, `label`,
`verified`, `origin`, `licence`, `url`. Rows keep the order of the published table, because the released
draws depend on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from remixbench.errors import InputError
from remixbench.tables import Table, read_table

if TYPE_CHECKING:
    import pandas as pd

MAX_LABEL = 200
"""The largest number of characters of a label."""
RESERVED = ("filename", "onset", "offset", "event_label", "event_labels")
"""Names of columns of label files and predictions, which no label may have."""
OUTSIDE = re.compile(r"^/|^[A-Za-z]:|\\|(^|/)\.\.(/|$)|[\x00-\x1f\ud800-\udfff]")
"""Names of files that would leave their folder, or that no table of ours can hold."""
FORMULA_SIGNS = ("=", "+", "-", "@")
SCENE_COLUMNS = ("file", "label", "location", "licence", "url")
EVENT_COLUMNS = ("file", "label", "verified", "origin", "licence", "url")


@dataclass(frozen=True)
class Stretch:
    """Part of a recording, or all of it.

    Attributes
    ----------
    samples : (n,), the mean of the channels
    rate : sample rate in Hz
    first : index in the recording of the first sample, a multiple of `rate`
    complete : whether it is the whole recording
    """

    samples: NDArray[np.float64]
    rate: int
    first: int
    complete: bool


class Reader(Protocol):
    """Reads recordings of one source by the name they have in its table. Must be picklable."""

    def read(self, file: str) -> tuple[NDArray[np.float64], int]:
        """Return one recording as mono samples in [-1, 1] (the mean of its channels) and its rate in hertz.

        Raises
        ------
        InputError
            If the recording is missing, truncated, empty, or not audio.
        """

    def read_stretch(self, file: str, start: float, stop: float) -> Stretch:
        """Return at least what lies between two times of a recording, in seconds.

        It begins at a whole second and has room around it, so that resampled it has the samples of the whole recording
        resampled.

        Raises
        ------
        InputError
            As `read`.
        """


@dataclass(frozen=True)
class Catalogue:
    """The recordings of one source.

    Attributes
    ----------
    source : name of the source, for messages
    table : one row a recording; columns as in the module's docstring
    digest : SHA-256 of the published table, to tell whether two catalogues are the same
    reader : reads the recordings
    origin_gap : origins of one label that are numbers closer than this are taken for one; 0 where numbers are names
    notice : what must accompany every copy of the recordings, empty where nothing must
    left_out : recordings that lie there and are not in the table, and why, as lines of text
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
    """Read a table of recordings, one per row, named in the first of `columns`, all of which must be filled.

    Raises
    ------
    InputError
        If the table is missing or malformed, or names a recording twice.
    """
    table = read_table(path, columns, separator)
    table.require_values(columns)
    table.require_unique(columns[0])
    return table


def label_problem(text: str) -> str:
    """Say why label files, tables of predictions or records cannot hold a label; empty where they can.

    Weak labels are joined by commas in a column, a table of tags has a column per label beside that of the file names,
    and a spreadsheet runs what begins with a sign of its formulas.
    """
    if not 1 <= len(text) <= MAX_LABEL:
        return f"has {len(text)} characters, expected 1 to {MAX_LABEL}"
    if text in RESERVED:
        return "is the name of a column of label files"
    if not text.isprintable() or text != text.strip() or any(mark in text for mark in ',"'):
        return "has a comma, a double quote, a character that cannot be printed or a blank at an end"
    if text[0] in FORMULA_SIGNS:
        return f"begins with one of {' '.join(FORMULA_SIGNS)}, which a spreadsheet takes for a formula"
    return ""


def checked_label(where: str, label: str) -> str:
    """Return a label of a scene or event if label files can hold it.

    Raises
    ------
    InputError
        If they cannot.
    """
    if problem := label_problem(label):
        shown = repr(label) if len(label) <= MAX_LABEL else f"{label[:20]!r}..."
        raise InputError(f"{where}: label {shown} {problem}; rename it")
    return label


def stays_below(name: str) -> bool:
    """Say whether a name, with `/` between folders, is that of a file below its folder that every table can hold.

    The one rule for the names of recordings in tables, folders and manifests.
    """
    return bool(name) and not OUTSIDE.search(name)


def checked_name(where: str, name: str) -> str:
    """Return the name of a recording in a table, with `/` between folders; `where` is its place, for messages.

    Raises
    ------
    InputError
        If it is empty, absolute, climbs out with `..`, or has a character that no table of ours can hold.
    """
    path = name.replace("\\", "/")
    if not stays_below(path):
        raise InputError(f"{where}: {name!r} is not the name of a file below its folder")
    return path
