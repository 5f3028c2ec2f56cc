"""Audio files in, events or separated waveforms out: `predict` and `separate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remixbench.errors import InputError
from remixbench.files import check_name, is_system_file, replaced_folder, safe_names, write_bytes
from remixbench.inference.system import BACKGROUND, Prediction, load_system
from remixbench.progress import Progress, reporter
from remixbench.sources.audio import read_audio
from remixbench.tables import format_table
from remixbench.training.device import enough_memory
from remixbench.training.evaluate import describe_thresholds
from remixbench.training.run_files import write_tags


def predict(
    run: str | Path,
    audio: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    threshold: float | None = None,
    frames: bool = False,
    figure: bool = False,
    device: str = "auto",
    progress: Progress | bool = False,
) -> dict[str, Prediction]:
    """Detect events with a trained system in audio files of any format, rate and length.

    Parameters
    ----------
    run : the folder of a run that is done.
    audio : one file or several.
    out : folder for `tags.csv` (`filename` and one column per class) and `events.tsv` (`filename onset offset
        event_label score`, seconds; a file without events has one row with only its name); by default neither is
        written.
    threshold : of clip and frame scores of every class, in (0, 1]; by default the run's own thresholds, one per class.
    frames : also write the frame scores of each file into `out`/frames: its name with .tsv for the suffix, `onset`,
        `offset` and one column per class, as sed_scores_eval has them.
    figure : also write a picture of each file into `out`, by default into the current folder: its name with .png for
        the suffix (numbered where files share a name), in it the eight panels of `show` with a run, without a
        reference. A recording longer than the clips of the training is shown whole: log-mel, frame and clip scores.
    device : auto, cpu, cuda, cuda:N or mps.
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter.

    Returns
    -------
    The prediction of each file, by its name; by its path where two files have one name.

    Raises
    ------
    InputError
        If the run is not usable, for the first file that is not, or if a picture is wanted without matplotlib.
    """
    progress = reporter(progress)
    if out is not None:
        check_out(out)
    if threshold is not None and not 0 < threshold <= 1:
        raise InputError(f"--threshold {threshold:g}: expected a number above 0, at most 1")
    if frames and out is None:
        raise InputError("--frames: give a folder to write into with --out")
    if figure:
        from remixbench.plots.style import require_matplotlib

        require_matplotlib()
    paths = [Path(path) for path in ([audio] if isinstance(audio, str | Path) else audio)]
    if not paths:
        raise InputError("no audio file given")
    system = load_system(run, device=device)
    if threshold is None:
        progress.say(describe_thresholds(system.model.tag_thresholds, system.model.frame_thresholds))
    names = file_names(paths)
    check_files(paths)
    pictures = _pictures(paths, out) if figure else [None] * len(paths)
    predictions = {}
    with progress.bar("Predicting", len(paths), "files") as advance:
        for name, path, picture in zip(names, paths, pictures, strict=True):
            with enough_memory(str(path), system.device, "predict it in parts"):
                recording = system.extract_features(*read_audio(path, np.float32), origin=str(path))
                predictions[name] = system.predict_features(recording, threshold)
            if picture is not None:
                from remixbench.plots.figures import draw_recording

                draw_recording(system, recording, predictions[name], path.name, picture)
                progress.say(f"{picture}: written")
            advance(1)
    if out is not None:
        tags = np.stack([prediction.tags for prediction in predictions.values()])
        write_tags(Path(out) / "tags.csv", list(predictions), system.classes, tags)
        write_bytes(Path(out) / "events.tsv", events_table(predictions))
        for name, prediction in zip(output_names(paths, ".tsv"), predictions.values(), strict=True) if frames else ():
            write_bytes(Path(out) / "frames" / name, frames_table(prediction))
    return predictions


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
    paths = [Path(path) for path in ([audio] if isinstance(audio, str | Path) else audio)]
    if not paths:
        raise InputError("no audio file given")
    wanted = [classes] if isinstance(classes, str) else classes
    system = load_system(run, device=device)
    system.check_separable(wanted, background=background)
    check_files(paths)
    written: dict[str, dict[str, Path]] = {}
    folders = [Path(out) / name for name in output_names(paths, "")]
    for folder in folders:
        check_replaceable(folder, system.classes)
    with progress.bar("Separating", len(paths), "files") as advance:
        for name, path, folder in zip(file_names(paths), paths, folders, strict=True):
            with enough_memory(str(path), system.device, "separate it in parts"):
                samples, rate = read_audio(path, np.float32)
                labels, blocks = system.separate_blocks(
                    samples, rate, classes=wanted, background=background, origin=str(path)
                )
                written[name] = write_sources(folder, labels, blocks, rate, system.classes)
            advance(1)
    return written


def check_replaceable(folder: Path, classes: Sequence[str]) -> None:
    """Refuse a folder that holds anything but an earlier separation into `classes`, which is replaced.

    Raises
    ------
    InputError
        Naming what would be lost.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder}: is a link or a file, expected a folder; choose another --out")
    results = {f"{name}.wav" for name in safe_names((*classes, BACKGROUND)).values()}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (path.name not in results and not is_system_file(path)) or path.is_dir():
            raise InputError(
                f"{path}: is not a class of the run, and the folder is replaced as a whole; choose another --out"
            )


def write_sources(
    folder: Path, labels: Sequence[str], blocks: Iterable[NDArray[np.float32]], rate: int, classes: Sequence[str]
) -> dict[str, Path]:
    """Write waveforms as WAV of 32-bit floats in place of an earlier result; returns their paths by class.

    A class that cannot be the name of a file, of all `classes` of the system, gets one that stands for it.

    Parameters
    ----------
    blocks : the waveforms (labels, samples), one block after another.
    """
    import soundfile

    names = safe_names((*classes, BACKGROUND))
    with replaced_folder(folder) as temporary, ExitStack() as files:
        writers = [
            files.enter_context(soundfile.SoundFile(temporary / f"{names[label]}.wav", "w", rate, 1, subtype="FLOAT"))
            for label in labels
        ]
        for block in blocks:
            for writer, samples in zip(writers, block, strict=True):
                writer.write(samples)
    return {label: folder / f"{names[label]}.wav" for label in labels}


def check_files(paths: Sequence[Path]) -> None:
    """Refuse missing recordings before any is read.

    Raises
    ------
    InputError
        Naming the first.
    """
    for path in paths:
        if not path.exists() or path.is_dir():
            what = "is a folder; give the files in it" if path.is_dir() else "no such audio file"
            raise InputError(f"{path}: {what}")


def check_out(out: str | Path) -> None:
    """Refuse a file where a folder is to be written into."""
    if Path(out).exists() and not Path(out).is_dir():
        raise InputError(f"{out}: is a file, expected a folder to write into; give another --out")


def _pictures(paths: Sequence[Path], out: str | Path | None) -> Sequence[Path | None]:
    return [Path("." if out is None else out) / name for name in output_names(paths, ".png")]


def output_names(paths: Sequence[Path], suffix: str) -> list[str]:
    """Return the name of a file for each recording: its own with another suffix.

    Where two would be the same (whatever their case), all are numbered in the order given.
    """
    # a name such as "..wav" has the stem ".", which as a folder would be the one that the results go into
    stems = [path.name if path.stem in (".", "..") else path.stem for path in paths]
    if len({stem.casefold() for stem in stems}) < len(stems):
        stems = [f"{number}-{stem}" for number, stem in enumerate(stems, start=1)]
    return [f"{stem}{suffix}" for stem in stems]


def file_names(paths: Sequence[Path]) -> list[str]:
    """Return the name of each file in tables: its name, or where two have one name, its path.

    Raises
    ------
    InputError
        If a file is given twice, or its name is not UTF-8.
    """
    for path in paths:
        check_name(path)
    twice = [str(path) for path, times in Counter(paths).items() if times > 1]
    if twice:
        raise InputError(f"{min(twice)}: given twice; keep one")
    alone = len({path.name for path in paths}) == len(paths)
    return [path.name if alone else path.as_posix() for path in paths]


def events_table(predictions: dict[str, Prediction]) -> bytes:
    """Return the events as TSV, `filename onset offset event_label score`, with a header."""
    rows: list[tuple[str, ...]] = []
    for name, prediction in predictions.items():
        rows += [
            (name, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label, f"{event.score:.4f}")
            for event in prediction.events
        ] or [(name, "", "", "", "")]
    return format_table(("filename", "onset", "offset", "event_label", "score"), rows, "\t")


def frames_table(prediction: Prediction) -> bytes:
    """Return frame scores as TSV, `onset`, `offset` (seconds) and one column per class, as sed_scores_eval has them."""
    edges = [f"{frame * prediction.frame_seconds:.6g}" for frame in range(len(prediction.frames) + 1)]
    scores = [[f"{score:.6g}" for score in row] for row in prediction.frames.tolist()]
    rows = [(start, stop, *row) for start, stop, row in zip(edges[:-1], edges[1:], scores, strict=True)]
    return format_table(("onset", "offset", *prediction.classes), rows, "\t")
