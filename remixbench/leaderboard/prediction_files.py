"""The files of one system's predictions: which forms they hold, their digests, and what is read of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from remixbench.errors import InputError
from remixbench.files import check_name, file_sha256, sha256
from remixbench.scoring.io import FRAME_FOLDER, MAPS, VALIDATION, holds_scores, read_predictions
from remixbench.scoring.types import Predictions, Reference

WAVEFORM_SUFFIXES = (".wav", ".flac")
MOST_NAMED = 10
"""The most files of predictions that a record names; more (one per clip) share one digest."""


def has_waveforms(path: Path) -> bool:
    """Say whether a folder holds waveforms, `<clip>/<class>.wav` or .flac."""
    return path.is_dir() and any(file.suffix.lower() in WAVEFORM_SUFFIXES for file in path.glob("*/*"))


def files_named(paths: Sequence[Path], name: str) -> list[Path]:
    """Return the files of a name among files and folders of predictions."""
    files = [path / name if path.is_dir() else path for path in paths]
    return [file for file in files if file.name == name and file.exists()]


def map_files(paths: Sequence[Path]) -> list[Path]:
    """Return the maps.npz among files and folders of predictions."""
    return files_named(paths, MAPS)


def is_separated(paths: Sequence[Path]) -> bool:
    """Say whether predictions hold maps or waveforms."""
    return bool(map_files(paths)) or any(map(has_waveforms, paths))


def stems_alone(path: Path) -> bool:
    """Say whether predictions are maps or waveforms only, which are scored against the stems alone."""
    if path.is_dir():
        return (has_waveforms(path) or (path / MAPS).is_file()) and not holds_scores(path)
    return path.name == MAPS


def read_all(paths: Sequence[Path], reference: Reference) -> Predictions:
    """Read what can be scored without stems of one system's predictions, files and folders of different forms.

    InputError if one is not usable, or two are of the same form.
    """
    forms: dict[str, Any] = {}
    for path in paths:
        if stems_alone(path) or path.name == VALIDATION:
            continue
        predictions = read_predictions(path, reference)
        for form in fields(Predictions):
            if (value := getattr(predictions, form.name)) is None:
                continue
            if form.name in forms:
                what = form.name.replace("_", " ")
                raise InputError(f"{path}: gives {what}, and so does a file before it; leave one out")
            forms[form.name] = value
    return Predictions(**forms)


def stamps_of(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Return name, size and modification time of every prediction file, so that a change is noticed."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return sorted((str(file), status.st_size, status.st_mtime_ns) for file in files for status in [file.stat()])


def digests_of(paths: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of every prediction file by its name, or one of all files where there are many.

    InputError if a file is missing, unreadable or not a regular file, or two have the same name.
    """
    files: dict[str, str] = {}
    for path in paths:
        # waveforms and tables of frame scores lie one level below, and tags or events beside their folders
        below = "*/*" if has_waveforms(path) else f"{FRAME_FOLDER}/*.tsv"
        inside = [*path.iterdir(), *path.glob(below)] if path.is_dir() else [path]
        for file in sorted(inside):
            if file.is_dir() or file.name.startswith("."):
                continue
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            if name in files:
                raise InputError(f"{file}: two files of that name are given; give each once")
            try:
                check_name(file)
                files[name] = file_sha256(file)
            except OSError as error:
                raise InputError(f"{file}: not readable ({error.strerror})") from None
    if not files:
        raise InputError(f"{paths[0]}: holds no predictions")
    return files if len(files) <= MOST_NAMED else {f"{len(files)} files": files_digest(files)}


def files_digest(digests: Mapping[str, str]) -> str:
    """Return the digest of a set of prediction files: of the bytes of one file, else of names and digests together."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return sha256("".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode())
