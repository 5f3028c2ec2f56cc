"""The strict reader of tables and the bounded reader of files beneath it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from remixbench.errors import InputError
from remixbench.files import read_bytes, read_json
from remixbench.tables import format_table, number, parse_table, read_table

ROWS = [["a.wav", 'Bark, "loud"'], ["b.wav", ""]]


def write(folder: Path, data: bytes | str) -> Path:
    path = folder / "t.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_what_is_written_is_read(separator: str, tmp_path: Path) -> None:
    path = write(tmp_path, format_table(["file", "label"], ROWS, separator))
    table = read_table(path, ("file",), separator)
    assert (table.header, table.rows, table.lines) == (("file", "label"), ROWS, [2, 3])
    assert list(table.records()) == [
        (2, {"file": "a.wav", "label": 'Bark, "loud"'}), (3, {"file": "b.wav", "label": ""})
    ]  # fmt: skip
    assert table.frame(["label"]).to_dict() == {"label": {2: 'Bark, "loud"', 3: ""}}
    assert read_table(path, lenient=True).rows == ROWS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_lenient_takes_what_spreadsheets_save(encoding: str, tmp_path: Path) -> None:
    path = write(tmp_path, "file;label\r\n\r\n a ; b \r\n;\r\n".encode(encoding))
    assert read_table(path, lenient=True).rows == [["a", "b"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty, expected a header line"),
        ("file,lable\n", r"column 'label' is missing \(did you mean 'lable'\?\); found: file, lable"),
        ("file,label\na\n", "line 2: 1 values, expected 2 as in the header"),
        ("file,label\na,b,c\n", "line 2: 3 values"),
        ("file,file,label\n", "column 'file' appears twice; found: file, file, label"),
        ('file,label\n"a,b\n', "line 2: not readable as a table"),
        (b"file,label\n\xff,b\n", "not UTF-8 at byte 11"),
    ],
)
def test_strict_refuses(text: bytes | str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_table(write(tmp_path, text), ("file", "label"))


@pytest.mark.parametrize(
    ("text", "message"),
    [("file,file\n", "two columns are named 'file'"), ("file,,label\n", "column 2 of the header has no name")],
)
def test_lenient_wants_every_column_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_table(write(tmp_path, text), lenient=True)


def test_values_and_their_uniqueness(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "file,label\na,x\n\na, \n"))
    with pytest.raises(InputError, match="line 4: no value in column 'label'"):
        table.require_values(("file", "label"))
    with pytest.raises(InputError, match="line 4: 'a' appears twice"):
        table.require_unique("file")


def test_numbers() -> None:
    at = (Path("t.csv"), 3, "onset")
    assert [number(text, *at) for text in ("1", "-.5", "1e3")] == [1.0, -0.5, 1000.0]
    for text, message in (("", "empty"), ("nan", "not finite"), ("1e999", "not finite"), ("1,5", "decimal comma")):
        with pytest.raises(InputError, match=rf"t\.csv, line 3, column 'onset': .*{message}"):
            number(text, *at)


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InputError, match="is a pipe or device, expected a regular file"):
            read_table(path)
    with pytest.raises(InputError, match="is a folder"):
        read_json(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "none.json")
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(InputError, match=r"has 1,099,511,627,776 bytes, expected at most 1,073,741,824"):
        read_bytes(big)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("filename,rain; heavy,wind\nx,1,2\n", ("filename", "rain; heavy", "wind")),
        ("filename;a,b\nx;1\n", ("filename", "a,b")),
        ("filename\ta;b,c\nx\t1\n", ("filename", "a;b,c")),
        ('"file;name",a\nx,1\n', ("file;name", "a")),
        ("filename\nx\n", ("filename",)),
    ],
)
def test_the_mark_after_the_first_name_separates(text: str, header: tuple[str, ...]) -> None:
    assert parse_table(Path("t.csv"), text.encode(), lenient=True).header == header
