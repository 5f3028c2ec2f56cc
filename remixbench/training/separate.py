"""`separate`: the sounds in audio files, taken apart by a trained system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remixbench.errors import InputError
from remixbench.files import atomic_path
from remixbench.progress import Progress, reporter
from remixbench.training.audio import read_audio
from remixbench.training.inference import load_system
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
        class, one channel of 32-bit floats at the recording's own rate and as long as it.
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
        If the run is not usable or its system has no maps, for an unknown class, or for the first file that is not
        usable.
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
    with progress.bar("separate", len(paths), "files") as advance:
        for name, path, folder in zip(file_names(paths), paths, output_names(paths, ""), strict=True):
            samples, rate = read_audio(path)
            sources = system.separate(samples, rate, classes=wanted, background=background, origin=str(path))
            written[name] = {
                label: write_source(Path(out) / folder / f"{label}.wav", source, rate)
                for label, source in sources.items()
            }
            advance(1)
    return written


def write_source(path: Path, samples: NDArray[np.float32], rate: int) -> Path:
    """Write a waveform as WAV of 32-bit floats, whole or not at all; returns its path."""
    import soundfile

    with atomic_path(path) as beside:
        soundfile.write(beside, samples, rate, subtype="FLOAT")
    return path
