"""`export`: write a data set and its card as AudioFolder, WebDataset, Lhotse or Croissant."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from remixbench.dataset.dataset import Dataset, as_tuple, find_dataset
from remixbench.dataset.export.card import write_card, write_croissant
from remixbench.dataset.export.formats import (
    Export,
    ExportedClip,
    exported_clips,
    write_audiofolder,
    write_lhotse,
    write_webdataset,
)
from remixbench.dataset.finalize import NOTICES
from remixbench.errors import InputError, unknown
from remixbench.files import as_path, is_system_file, make_folder, write_bytes
from remixbench.progress import Progress, reporter

FORMATS: dict[str, Callable[[Export, dict[float, list[ExportedClip]], Progress], None]] = {
    "audiofolder": write_audiofolder,
    "webdataset": write_webdataset,
    "lhotse": write_lhotse,
    "croissant": write_croissant,
}
WITH_LINKS = ("audiofolder", "lhotse")


def export(
    dataset: str | Path | Dataset | None = None,
    *,
    format: str,
    out: str | Path,
    snr: float | Sequence[float] | None = None,
    fold: int | None = None,
    link: bool = False,
    workspace: str | Path = ".",
    progress: Progress | bool = False,
) -> Path:
    """Write a data set in the format of another tool; the data set itself is not changed.

    Parameters
    ----------
    dataset : name, folder or Dataset; the most recent one by default
    format : audiofolder (Hugging Face `datasets`), webdataset (tar shards), lhotse (JSONL manifests) or croissant
        (metadata and label tables, without audio)
    out : a new or empty folder
    snr : SNRs in dB; default all of the data set
    fold : test fold; default 4, or the last one if there is no fold 4
    link : hard-link audio instead of copying it; for lhotse, link it into `out` instead of naming the data set's files
    workspace : folder with `datasets/`
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter

    Returns
    -------
    The folder `out`. If the export fails or is interrupted, it is left empty.

    Raises
    ------
    InputError
        If an argument is not usable, or `out` is not empty.
    """
    progress = reporter(progress)
    if format not in FORMATS:
        raise unknown("--format", format, FORMATS)
    if link and format not in WITH_LINKS:
        raise InputError(f"--link: needs --format {' or '.join(WITH_LINKS)}, not {format}")
    data = find_dataset(workspace, dataset)
    snrs = tuple(float(value) for value in as_tuple(snr)) or data.snrs
    for value in snrs:
        data.require_snr(value)
    folds = data.manifest.folds
    tested = fold if fold is not None else 4 if 4 in folds else folds[-1]
    folder = as_path(out, "out")
    if folder.exists() and (not folder.is_dir() or not all(map(is_system_file, folder.iterdir()))):
        raise InputError(f"--out {folder}: already exists and is not an empty folder; choose another")
    request = Export(data, folder, tested, link)
    clips = {value: exported_clips(data, value, tested) for value in snrs}
    make_folder(folder)
    try:
        FORMATS[format](request, clips, progress)
        for name in ("ATTRIBUTION.csv", NOTICES):
            if name in data.info.files:
                write_bytes(folder / name, (data.path / name).read_bytes())
        write_card(request, format, clips)
    except BaseException:  # also an interrupt: `out` is empty again, so the same call can be repeated
        _empty(folder)
        raise
    return folder


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
