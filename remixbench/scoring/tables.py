"""Reading small text tables as people write them: any encoding with a mark, any usual separator and line end.

A table keeps the number of the line that each row stood on, so that errors can name it.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from remixbench.errors import InputError
from remixbench.files import read_bytes
from remixbench.tables import check_header, decode, parse_number


@dataclass(frozen=True)
class Table:
    """A header and rows of text fields, each row with as many fields as the header."""

    path: Path
    header: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    """Line in the file (from 1) on which each row stands."""


def read_text(path: Path) -> str:
    """Read text by its byte order mark; without one UTF-8, or UTF-16 where every other byte is nul.

    Raises
    ------
    InputError
        If the file cannot be read, is not a regular file, or is not text.
    """
    return decode(path, read_bytes(path))


def read_table(path: Path) -> Table:
    """Read a table with a header line, separated by tabs, semicolons or commas (by what the header holds).

    Blank lines are skipped; fields lose blanks around them.

    Raises
    ------
    InputError
        If the file is no text or empty, a row has another number of fields than the header, or a quote is
        left open.
    """
    return parse_table(path, read_text(path))


def parse_table(path: Path, text: str) -> Table:
    """Parse the text of a table; `path` is for messages. Raises InputError as `read_table`."""
    first = next((line for line in text.splitlines() if line.strip()), None)
    if first is None:
        raise InputError(f"{path}: empty, expected a header line")
    separator = next((mark for mark in "\t;," if mark in first), ",")
    header: tuple[str, ...] | None = None
    rows: list[list[str]] = []
    lines: list[int] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for fields in reader:
            fields = [field.strip() for field in fields]
            if header is not None and len(fields) == len(header):
                if any(fields):
                    rows.append(fields)
                    lines.append(reader.line_num)
            elif not any(fields):
                continue
            elif header is None:
                header = tuple(fields)
            else:
                raise InputError(
                    f"{path}: line {reader.line_num} has {len(fields)} fields, expected the {len(header)} of the header"
                )
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num} is broken ({error})") from None
    if header is None:
        raise InputError(f"{path}: its lines hold nothing but separators, expected a header line")
    check_header(path, header)
    return Table(path, header, rows, lines)


def number(text: str, path: Path, line: int, column: str) -> float:
    """Return the finite number that a field holds.

    Raises
    ------
    InputError
        If the field is empty, not a number, or not finite; names file, line and column.
    """
    return parse_number(text, f"{path}: line {line}, column '{column}'")
