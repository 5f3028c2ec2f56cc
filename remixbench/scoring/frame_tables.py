"""Reading frame scores from a folder of one TSV a clip, `onset offset class...`, the layout of sed_scores_eval."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from remixbench.errors import InputError
from remixbench.scoring.events import DECIMALS, FloatArray, IntArray
from remixbench.scoring.predictions import (
    Float32Array,
    check_scores,
    fit_edges,
    match_classes,
    match_clips,
)
from remixbench.scoring.reference import Reference
from remixbench.scoring.tables import number, parse_table, read_text

SUFFIX = ".tsv"


def read_frame_tables(folder: Path, reference: Reference) -> tuple[Float32Array, FloatArray]:
    """Return (clips, frames, classes) and the frames' edges in seconds from the .tsv files of a folder.

    Raises
    ------
    InputError
        If a clip has no file or two, a file belongs to no clip, or a file's columns, times or scores are
        wrong: frames must follow each other without gaps and be the same in every file.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and not path.name.startswith("."))
    names = [path.name[: -len(SUFFIX)] for path in paths]
    at = match_clips(names, reference, str(folder), [f"file {path.name}" for path in paths])
    header: tuple[str, ...] = ()
    columns: IntArray = np.zeros(0, np.int64)
    edges: FloatArray = np.zeros(0)
    scores: Float32Array = np.zeros((0, 0, 0), np.float32)
    for row, index in enumerate(at):
        path = paths[index]
        found, values = _read(path)
        if found != header:
            columns, header = _columns(path, found, reference), found
        grid = _grid(path, values)
        if row == 0:
            edges = grid
            scores = np.empty((len(paths), len(grid) - 1, len(columns)), np.float32)
        elif len(grid) != len(edges) or (grid != edges).any():
            raise InputError(
                f"{path}: its {len(grid) - 1} frames up to {grid[-1]:g} s are not those of {paths[at[0]].name}, "
                f"{len(edges) - 1} up to {edges[-1]:g} s; give every clip the same frames"
            )
        where = ([f"line {line + 2}" for line in range(len(values))], [f"column '{name}'" for name in found[2:]])
        check_scores(values[:, 2:], str(path), where)
        scores[row] = values[:, 2:][:, columns]
    return scores, fit_edges(edges, float(reference.durations.max()), str(folder))


def _columns(path: Path, header: tuple[str, ...], reference: Reference) -> IntArray:
    if header[:2] != ("onset", "offset"):
        raise InputError(
            f"{path}: begins with columns {', '.join(header[:2])}; expected onset, offset and one column a class"
        )
    return match_classes(header[2:], reference, str(path))


def _grid(path: Path, values: FloatArray) -> FloatArray:
    onset, offset = np.round(values[:, 0], DECIMALS), np.round(values[:, 1], DECIMALS)
    if not len(values):
        raise InputError(f"{path}: has no frames")
    wrong = np.flatnonzero(~(np.append(offset[:-1], onset[0]) == np.append(onset[1:], 0.0)))
    if len(wrong):
        first = int(wrong[0])
        if first == len(values) - 1:
            raise InputError(f"{path}: line 2, column 'onset': the first frame begins at {onset[0]:g}, expected 0")
        raise InputError(
            f"{path}: line {first + 3}, column 'onset': {onset[first + 1]:g} is not where the frame before ends, "
            f"{offset[first]:g}; frames must follow each other without gaps"
        )
    return np.append(onset, offset[-1])


def _read(path: Path) -> tuple[tuple[str, ...], FloatArray]:
    """Return the header and the numbers of a table, by the quick way where its text is plain."""
    text = read_text(path)
    head, _, body = text.replace("\r\n", "\n").partition("\n")
    header = tuple(name.strip() for name in head.split("\t"))
    lines = body.rstrip("\n").split("\n")
    plain = '"' not in text and "\r" not in body and len(set(header)) == len(header) and all(header)
    if plain and all(line.count("\t") == len(header) - 1 for line in lines) and "\t\t" not in body:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a field that is no number: the slow way says which
            try:
                values = np.fromstring(body, sep="\t")
                if values.size == len(lines) * len(header):
                    return header, values.reshape(len(lines), len(header))
            except (DeprecationWarning, ValueError):
                pass
    table = parse_table(path, text)
    numbers = [
        [number(field, path, line, name) for field, name in zip(row, table.header, strict=True)]
        for row, line in zip(table.rows, table.lines, strict=True)
    ]
    return table.header, np.array(numbers).reshape(len(numbers), len(table.header))
