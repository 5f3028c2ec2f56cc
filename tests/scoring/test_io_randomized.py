"""Random damage to valid prediction files: each is scored right or refused with one line, never anything else.

"Right" is judged by an independent, plain reading of the damaged file. Together the four forms see 10,000 mutations
with REMIXBENCH_FUZZ=1, a twentieth by default.
"""

import csv
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remixbench.errors import InputError
from remixbench.scoring import event_table, make_reference, read_predictions, score_predictions

NAMES = ("00000.wav", "00001.wav", "00002.wav")
CLASSES = ("Bark", "Bus", "Hi-hat")
REFERENCE = make_reference(NAMES, CLASSES, event_table([0, 1, 2], [0, 1, 2], [0.5, 3, 1], [2, 5, 1.5]), 6.0)
SCORES = np.round(np.random.default_rng(0).random((3, 3)), 3)
FRAMES = np.round(np.random.default_rng(1).random((3, 6, 3)), 3)
EVENTS = [("00000.wav", 0.5, 2.0, "Bark"), ("00000.wav", 3.25, 4.0, "Bus"), ("00002.wav", 1.0, 1.75, "Hi-hat")]

TAGS_TEXT = "filename,Bark,Bus,Hi-hat\n" + "".join(
    f"{name},{','.join(map(repr, row))}\n" for name, row in zip(NAMES, SCORES.tolist(), strict=True)
)
EVENTS_TEXT = "filename\tonset\toffset\tevent_label\n" + "".join("\t".join(map(str, e)) + "\n" for e in EVENTS)
TABLE_TEXT = "onset\toffset\tBark\tBus\tHi-hat\n" + "".join(
    "\t".join(map(repr, [float(i), i + 1.0, *row])) + "\n" for i, row in enumerate(FRAMES[1].tolist())
)

PIECES = st.one_of(
    st.sampled_from(
        ["", ",", "\t", ";", "\n", "\r", "\r\n", '"', "nan", "inf", "-1", "1.5", "99", "1e3", "-", "0", ".5", "e", " "]
    ),
    st.sampled_from(
        ["\0", "\ufeff", "\u00a0", "\u0661", "_", "0x1", "Bus", "Bark", "00001", ".wav", "a/", "filename", "5000"]
    ),
    st.text(max_size=3),
)
MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "replace", "swap lines", "double line", "drop line", "field"]),
        st.integers(0, 400),
        st.integers(0, 400),
        PIECES,
    ),
    min_size=1,
    max_size=3,
)
ENCODINGS = st.sampled_from(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])


def mutated(text, mutations):
    for kind, first, second, piece in mutations:
        lines = text.split("\n")
        i, j = first % len(lines), second % len(lines)
        at = first % (len(text) + 1)
        if kind == "insert":
            text = text[:at] + piece + text[at:]
        elif kind == "delete":
            text = text[:at] + text[at + 1 + second % 4 :]
        elif kind == "replace":
            text = text[:at] + piece + text[at + 1 :]
        elif kind == "swap lines":
            lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
        elif kind == "double line":
            text = "\n".join([*lines[:i], lines[i], *lines[i:]])
        elif kind == "drop line":
            text = "\n".join(lines[:i] + lines[i + 1 :])
        else:
            separator = "\t" if "\t" in lines[i] else ","
            fields = lines[i].split(separator)
            fields[second % len(fields)] = piece
            lines[i] = separator.join(fields)
            text = "\n".join(lines)
    return text


def attempt(path):
    """Return what was read, or None where it was refused with one line."""
    try:
        read = read_predictions(path, REFERENCE)
    except InputError as error:
        message = str(error)
    else:
        score_predictions(REFERENCE, read, bootstrap=0)
        return read
    assert len(message.splitlines()) == 1
    return None


def plain_table(text):
    """Read a table in the simplest way: {header: [fields]}, blank lines skipped."""
    text = text.lstrip("\ufeff")
    lines = [
        line
        for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator_of(text))
        if "".join(line).strip()
    ]
    header, *rows = [[field.strip() for field in line] for line in lines]
    return {name: [row[k] for row in rows] for k, name in enumerate(header)}


def separator_of(text):
    header = next(line for line in text.splitlines() if line.strip())
    return next((mark for mark in "\t;," if mark in header), ",")


def bare(name):
    last = name.replace("\\", "/").split("/")[-1]
    return last[:-4] if last.lower().endswith(".wav") else last


EFFORT = float(os.environ.get("REMIXBENCH_FUZZ", "0.05"))
"""Share of the 10,000 mutations that are tried; the whole takes about two minutes."""


def many(examples):
    return settings(
        max_examples=round(EFFORT * examples), deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )


@many(4000)
@given(MUTATIONS, ENCODINGS)
def test_damaged_tags(mutations, encoding):
    text = mutated(TAGS_TEXT, mutations)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tags.csv"
        path.write_bytes(text.encode(encoding, "replace"))
        read = attempt(path)
    if read is not None:
        table = plain_table(text)
        for row, name in enumerate(map(bare, table["filename"])):
            for k, label in enumerate(CLASSES):
                assert float(table[label][row]) == read.clip_scores[int(name), k]


@many(3000)
@given(MUTATIONS, ENCODINGS)
def test_damaged_event_lists(mutations, encoding):
    text = mutated(EVENTS_TEXT, mutations)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.tsv"
        path.write_bytes(text.encode(encoding, "replace"))
        read = attempt(path)
    if read is not None:
        table = plain_table(text)
        columns = (table[name] for name in ("filename", "onset", "offset", "event_label"))
        rows = [row for row in zip(*columns, strict=True) if any(row[1:])]
        assert all(row[3] in CLASSES for row in rows)
        expected = np.zeros((3, 3, 6000), bool)  # every millisecond
        for name, onset, offset, label in rows:
            a, b = round(float(onset) * 1000), round(float(offset) * 1000)
            expected[int(bare(name)), CLASSES.index(label), a:b] = True
        got = np.zeros_like(expected)
        events = read.events
        for c, k, a, b in zip(events.clip, events.label, events.onset, events.offset, strict=True):
            assert not got[c, k, max(0, round(a * 1000) - 1) : round(b * 1000)].all()
            got[c, k, round(a * 1000) : round(b * 1000)] = True
        assert (got == expected).all()


@many(1500)
@given(MUTATIONS, ENCODINGS)
def test_damaged_frame_tables(mutations, encoding):
    text = mutated(TABLE_TEXT, mutations)
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            (Path(folder) / name).with_suffix(".tsv").write_text(TABLE_TEXT)
        (Path(folder) / "00001.tsv").write_bytes(text.encode(encoding, "replace"))
        read = attempt(Path(folder))
    if read is not None:
        table = plain_table(text)
        assert [float(x) for x in table["onset"]] == [0, 1, 2, 3, 4, 5]
        for k, label in enumerate(CLASSES):
            assert (np.array(table[label], float) == read.frame_scores[1, :, k]).all()


ARRAYS = {
    "scores": FRAMES,
    "filename": np.array(NAMES),
    "classes": np.array(CLASSES),
    "frame_seconds": np.array(1.0),
}
CHANGES = [
    lambda a, i: a.ravel(),
    lambda a, i: a[:-1] if a.ndim else a,
    lambda a, i: a[::-1] if a.ndim else a,
    lambda a, i: a.astype(np.float16) if a.dtype.kind == "f" else a.astype("S20"),
    lambda a, i: a.astype(object),
    lambda a, i: (
        np.where(np.arange(a.size).reshape(a.shape) == i % max(1, a.size), np.nan, a) if a.dtype.kind == "f" else a
    ),
    lambda a, i: (
        np.where(np.arange(a.size).reshape(a.shape) == i % max(1, a.size), -4.0, a) if a.dtype.kind == "f" else a
    ),
    lambda a, i: (
        np.where(np.arange(a.size).reshape(a.shape) == i % max(1, a.size), "Bus", a) if a.dtype.kind == "U" else a
    ),
    lambda a, i: a * 1000 if a.dtype.kind == "f" else a,
    lambda a, i: a[None],
    lambda a, i: np.asfortranarray(a),
    lambda a, i: a.astype(">f8") if a.dtype.kind == "f" else a,
    lambda a, i: np.array([]),
]


@many(1500)
@given(st.data())
def test_damaged_archives(data):
    arrays = dict(ARRAYS)
    for _ in range(data.draw(st.integers(0, 2))):
        key = data.draw(st.sampled_from(sorted(arrays)))
        arrays[key] = data.draw(st.sampled_from(CHANGES))(arrays[key], data.draw(st.integers(0, 60)))
    if data.draw(st.integers(0, 9)) == 0:
        arrays.pop(data.draw(st.sampled_from(sorted(arrays))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.npz"
        (np.savez_compressed if data.draw(st.booleans()) else np.savez)(path, **arrays)
        for _ in range(data.draw(st.integers(0, 2))):
            content = bytearray(path.read_bytes())
            at = data.draw(st.integers(0, len(content)))
            if data.draw(st.booleans()):
                content[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
            else:
                del content[at : at + data.draw(st.integers(1, 40))]
            path.write_bytes(content)
        read = attempt(path)
    if read is not None:
        names = [n.decode() if isinstance(n, bytes) else n for n in arrays["filename"].tolist()]
        labels = [n.decode() if isinstance(n, bytes) else n for n in arrays["classes"].tolist()]
        expected = arrays["scores"][
            np.ix_([names.index(n) for n in NAMES], range(6), [labels.index(c) for c in CLASSES])
        ]
        assert (read.frame_scores == expected.astype(np.float32 if expected.itemsize < 8 else np.float64)).all()
        assert read.frame_edges.tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_the_undamaged_files_are_read():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "e.tsv").write_text(EVENTS_TEXT)
        (Path(folder) / "t.csv").write_text(TAGS_TEXT)
        np.savez(Path(folder) / "f.npz", **ARRAYS)
        assert len(attempt(Path(folder) / "e.tsv").events) == 3
        assert attempt(Path(folder) / "t.csv").clip_scores == pytest.approx(SCORES)
        assert attempt(Path(folder) / "f.npz").frame_scores == pytest.approx(FRAMES)
