"""`separate`: the sounds in audio files, taken apart by a trained system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remixbench.errors import InputError
from remixbench.files import replaced_folder
from remixbench.progress import Progress, reporter
from remixbench.training.audio import read_audio
from remixbench.training.inference import BACKGROUND, load_system
from remixbench.training.predict import check_out, file_names, output_names


def separate(
    run: str | Path,
    audio: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    classes: str | Sequence[str] | None = None,
    background: bool = False,
    device: str = "auto",
    progress: Progress | bool = False,
) -> dict[str, dict[str, Path]]:
    """Separate the classes in audio files of any format, rate and length, by the time-frequency maps of a system.

    Parameters
    ----------
    run : the folder of a run that is done, of a system with maps.
    audio : one file or several.
    out : folder to write into: for each recording a folder of its name without suffix, in it `<class>.wav` of each
        class, one channel of 32-bit floats at the recording's own rate and as long as it. The folder holds the last
        result only: an earlier one is replaced as a whole.
    classes : the classes to write; by default those that are detected, by the thresholds of `predict`.
    background : also write `background.wav`, the recording less the classes written.
    device : auto, cpu, cuda, cuda:N or mps.
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter.

    Returns
    -------
    The files written, by the name of the recording (its path where two have one name) and the class.

    Raises
    ------
    InputError
        If the run is not usable or its system has no maps, for an unknown class, for the first file that is not
        usable, or if a folder to be replaced holds other files than separated classes.
    """
    progress = reporter(progress)
    check_out(out)
    paths = [Path(one) for one in ([audio] if isinstance(audio, str | Path) else audio)]
    if not paths:
        raise InputError("no audio file is given")
    wanted = [classes] if isinstance(classes, str) else classes
    system = load_system(run, device=device)
    system.check_separable(wanted, background=background)
    written: dict[str, dict[str, Path]] = {}
    folders = [Path(out) / name for name in output_names(paths, "")]
    for folder in folders:
        check_replaceable(folder, system.classes)
    with progress.bar("Separating", len(paths), "files") as advance:
        for name, path, folder in zip(file_names(paths), paths, folders, strict=True):
            samples, rate = read_audio(path)
            sources = system.separate(samples, rate, classes=wanted, background=background, origin=str(path))
            written[name] = write_sources(folder, sources, rate)
            advance(1)
    return written


def check_replaceable(folder: Path, classes: Sequence[str]) -> None:
    """Refuse a folder that holds anything else than an earlier separation into `classes`, which is replaced.

    Raises
    ------
    InputError
        Naming what would be lost.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder}: is a link or a file, expected a folder; choose another --out")
    results = {f"{label}.wav" for label in (*classes, BACKGROUND)}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in results or path.is_dir():
            raise InputError(
                f"{path}: is not a class of the run, and the folder is replaced as a whole; choose another --out"
            )


def write_sources(folder: Path, sources: Mapping[str, NDArray[np.float32]], rate: int) -> dict[str, Path]:
    """Write waveforms as WAV of 32-bit floats in place of an earlier result; returns their paths by class."""
    import soundfile

    with replaced_folder(folder) as beside:
        for label, samples in sources.items():
            soundfile.write(beside / f"{label}.wav", samples, rate, subtype="FLOAT")
    return {label: folder / f"{label}.wav" for label in sources}
