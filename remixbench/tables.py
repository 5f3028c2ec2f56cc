r"""Strict reading and writing of CSV and TSV tables.

`read_table(path, columns=..., separator=...)` reads a table of remixbench or of a source: UTF-8, a known separator,
fields unchanged. `read_table(path, lenient=True)` reads a table of another program: any encoding with a byte order
mark, the separator of the header, fields stripped of blanks; column names must be unique. Both refuse rows of another
length than the header, and keep the line number of each row for error messages::

    table = read_table(path, columns=("filename", "event_labels"), separator="\t")
    table.require_values(("filename",))
    table.require_unique("filename")
    for line, row in table.records():
        onset = number(row["onset"], path, line, "onset")
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from remixbench.errors import InputError, nearest
from remixbench.files import MAX_BYTES, read_bytes, sha256

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_QUOTED = re.compile(r'"[^"]*"')
_LONGEST_FIELD = 60


@dataclass(frozen=True)
class Table:
    """A header and rows of text fields, each row with as many fields as the header.

    Attributes
    ----------
    path : file, for messages
    header : column names
    rows : fields of each row
    lines : line number of each row in the file, from 1
    digest : SHA-256 of the file
    """

    path: Path
    header: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    digest: str

    def column(self, name: str) -> list[str]:
        """Return the fields of a column."""
        index = self.header.index(name)
        return [row[index] for row in self.rows]

    def records(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield (line number, fields by column name) for every row."""
        for line, row in zip(self.lines, self.rows, strict=True):
            yield line, dict(zip(self.header, row, strict=True))

    def frame(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return columns as a DataFrame of text, indexed by line number."""
        import pandas as pd

        return pd.DataFrame({name: self.column(name) for name in columns}, index=self.lines, dtype=str)

    def require_columns(self, columns: Sequence[str]) -> None:
        """Raise `InputError` if a column is missing or appears twice."""
        for column in columns:
            if self.header.count(column) != 1:
                fault = "appears twice" if column in self.header else f"is missing{nearest(column, self.header)}"
                raise InputError(f"{self.path}: column '{column}' {fault}; found: {', '.join(self.header)}")

    def require_values(self, columns: Sequence[str]) -> None:
        """Raise `InputError` if there are no rows, or a field in `columns` is empty."""
        if not self.rows:
            raise InputError(f"{self.path}: has no rows")
        indices = [(self.header.index(column), column) for column in columns]
        for line, row in zip(self.lines, self.rows, strict=True):
            for index, column in indices:
                if not row[index].strip():
                    raise InputError(f"{self.path}, line {line}: no value in column '{column}'")

    def require_unique(self, column: str) -> None:
        """Raise `InputError` if a value of `column` appears twice."""
        seen: set[str] = set()
        for line, value in zip(self.lines, self.column(column), strict=True):
            if value in seen:
                raise InputError(f"{self.path}, line {line}: '{value}' appears twice")
            seen.add(value)


def read_table(
    path: Path,
    columns: Sequence[str] = (),
    separator: str = ",",
    *,
    lenient: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Table:
    """Read a table with a header line; blank lines are skipped.

    Parameters
    ----------
    path
        A regular file.
    columns
        Required columns; there may be others.
    separator
        Field separator; ignored if `lenient`.
    lenient
        Accept any encoding with a byte order mark, detect the separator (tab, semicolon or comma) from the header, and
        strip blanks around fields.
    max_bytes
        Size limit, checked before reading.

    Raises
    ------
    InputError
        If the file cannot be read, is not text, is empty, lacks a column, or has a row with another number of fields
        than the header; names file and line.
    """
    return parse_table(path, read_bytes(path, max_bytes), columns, separator, lenient=lenient)


def parse_table(
    path: Path, data: bytes, columns: Sequence[str] = (), separator: str = ",", *, lenient: bool = False
) -> Table:
    """Parse the bytes of a table; `path` is for messages, other arguments and errors as for `read_table`."""
    text = decode(path, data) if lenient else _utf8(path, data)
    if lenient:
        first = next((line for line in text.splitlines() if line.strip()), "")
        unquoted = _QUOTED.sub("", first)
        # names may contain other separators, so the first one decides
        separator = min((mark for mark in "\t;," if mark in unquoted), key=unquoted.index, default=",")
    header: list[str] | None = None
    rows: list[list[str]] = []
    lines: list[int] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for fields in reader:
            if lenient:
                fields = [field.strip() for field in fields]
            if not fields or (lenient and not any(fields)):
                continue
            if header is None:
                header = fields
            elif len(fields) != len(header):
                raise InputError(
                    f"{path}, line {reader.line_num}: {len(fields)} values, expected {len(header)} as in the header"
                )
            else:
                rows.append(fields)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not readable as a table ({error})") from None
    if header is None:
        raise InputError(f"{path}: empty, expected a header line")
    if lenient:
        check_header(path, header)
    table = Table(path, tuple(header), rows, lines, sha256(data))
    table.require_columns(columns)
    return table


def check_header(path: Path, header: Sequence[str]) -> None:
    """Raise `InputError` if a column name is empty or appears twice."""
    seen: set[str] = set()
    for index, name in enumerate(header, 1):
        if not name.strip():
            raise InputError(f"{path}: column {index} of the header has no name")
        if name in seen:
            raise InputError(f"{path}: two columns are named '{name}'; keep one")
        seen.add(name)


def _utf8(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not readable as a table (not UTF-8 at byte {error.start})") from None


def decode(path: Path, data: bytes) -> str:
    """Decode text by its byte order mark; without one as UTF-8, or as UTF-16 if every other byte is nul.

    Raises
    ------
    InputError
        If the bytes are not text.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and len(data) >= 4:
        encoding = {(0, 1): "utf-16-be", (1, 0): "utf-16-le"}.get((data[0] and 1, data[1] and 1), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in {encoding} (byte {error.start}); save it as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{path}: holds nul characters, so it is not a text table; save it as UTF-8 text")
    return text


def number(text: str, path: Path, line: int, column: str) -> float:
    """Return the finite number in a field; see `parse_number`."""
    return parse_number(text, f"{path}, line {line}, column '{column}'")


def parse_number(text: str, location: str) -> float:
    """Return the finite number in a text; `location` is its place, for messages.

    Raises
    ------
    InputError
        If the text is empty, not a number, or not finite.
    """
    if _NUMBER.fullmatch(text):
        value = float(text)
        if value - value == 0:
            return value
    if not text:
        raise InputError(f"{location}: empty, expected a number")
    field = text if len(text) <= _LONGEST_FIELD else text[:_LONGEST_FIELD] + "..."
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity") or _NUMBER.fullmatch(text):
        raise InputError(f"{location}: {field} is not finite, expected a number")
    if _NUMBER.fullmatch(text.replace(",", ".", 1)):
        raise InputError(f"{location}: {field!r} has a decimal comma, write a decimal point")
    raise InputError(f"{location}: {field!r} is not a number")


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]], separator: str = ",") -> bytes:
    r"""Format a table as UTF-8 with `\n` line ends, quoting fields only if necessary."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")
