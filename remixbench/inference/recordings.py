"""`predict` and `separate`: from audio files to events or separated waveforms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remixbench.errors import InputError
from remixbench.files import check_name, is_system_file, replaced_folder, safe_names, write_bytes
from remixbench.inference.system import BACKGROUND, Prediction, check_threshold, load_system
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
    """Detect events with a trained system in audio files of any format, sample rate and length.

    Parameters
    ----------
    run : folder of a finished run.
    audio : one or several files.
    out : folder for `tags.csv` (`filename` and one column per class) and `events.tsv` (`filename onset offset
        event_label score`, times in seconds; a file without events has one row with only its name); by default neither
        is written.
    threshold : threshold of the clip and frame scores of all classes, in (0, 1]; by default the run's own, per class.
    frames : also write frame scores, in the format of sed_scores_eval (`onset`, `offset` and one column per class), to
        `out`/frames/NAME.tsv.
    figure : also draw each file, without a reference, as NAME.png in `out` or the current folder; names are numbered if
        files share one. The panels are those of `show` with a run; for a recording longer than the training clips,
        log-mel, frame scores and clip scores over its whole length.
    device : auto, cpu, cuda, cuda:N or mps.
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter.

    Returns
    -------
    The prediction of each file by name, or by path if two files have the same name.

    Raises
    ------
    InputError
        If the run or a file is not usable, or a figure is requested without matplotlib.
    """
    progress = reporter(progress)
    if out is not None:
        check_out(out)
    check_threshold(threshold)
    if frames and out is None:
        raise InputError("--frames: give a folder to write to with --out")
    if figure:
        from remixbench.plots.style import require_matplotlib

        require_matplotlib()
    paths = audio_files(audio)
    system = load_system(run, device=device)
    if threshold is None:
        progress.say(describe_thresholds(system.model.tag_thresholds, system.model.frame_thresholds))
    names = file_names(paths)
    pictures = output_names(paths, ".png") if figure else [""] * len(paths)
    predictions = {}
    with progress.bar("Predicting", len(paths), "files") as advance:
        for name, path, picture in zip(names, paths, pictures, strict=True):
            with enough_memory(str(path), system.device, "predict it in parts"):
                recording = system.extract_features(*read_audio(path, np.float32), origin=str(path))
                predictions[name] = system.predict_features(recording, threshold)
            if picture:
                from remixbench.plots.figures import draw_recording

                picture_path = Path("." if out is None else out) / picture
                draw_recording(system, recording, predictions[name], path.name, picture_path)
                progress.say(f"{picture_path}: written")
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
    """Separate the classes in audio files of any format, sample rate and length with a system's time-frequency maps.

    Parameters
    ----------
    run : folder of a finished run, of a system with maps.
    audio : one or several files.
    out : folder to write to. Each recording gets a folder, named after the file without suffix, with `<class>.wav` per
        class: mono, 32-bit floats, with the sample rate and length of the recording. An earlier folder is replaced.
    classes : classes to write; by default those detected, by the thresholds of `predict`.
    background : also write `background.wav`, the recording minus the classes written.
    device : auto, cpu, cuda, cuda:N or mps.
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter.

    Returns
    -------
    The files written, by recording (its name, or its path if two files have the same name) and class.

    Raises
    ------
    InputError
        If the run or a file is not usable, the system has no maps, a class is unknown, or a folder to be replaced
        contains other files than separated classes.
    """
    progress = reporter(progress)
    check_out(out)
    paths = audio_files(audio)
    requested = [classes] if isinstance(classes, str) else classes
    system = load_system(run, device=device)
    system.check_separable(requested, background=background)
    written: dict[str, dict[str, Path]] = {}
    folders = [Path(out) / name for name in output_names(paths, "")]
    for folder in folders:
        check_replaceable(folder, system.classes)
    with progress.bar("Separating", len(paths), "files") as advance:
        for name, path, folder in zip(file_names(paths), paths, folders, strict=True):
            with enough_memory(str(path), system.device, "separate it in parts"):
                samples, rate = read_audio(path, np.float32)
                labels, blocks = system.separate_blocks(
                    samples, rate, classes=requested, background=background, origin=str(path)
                )
                written[name] = write_sources(folder, labels, blocks, rate, system.classes)
            advance(1)
    return written


def check_replaceable(folder: Path, classes: Sequence[str]) -> None:
    """Refuse to replace a folder that contains anything but separated `classes`."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder}: is a link or a file, expected a folder; choose another --out")
    results = {f"{name}.wav" for name in safe_names((*classes, BACKGROUND)).values()}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (path.name not in results and not is_system_file(path)) or path.is_dir():
            raise InputError(
                f"{path}: is not a class of the run, and the whole folder would be replaced; choose another --out"
            )


def write_sources(
    folder: Path, labels: Sequence[str], blocks: Iterable[NDArray[np.float32]], rate: int, classes: Sequence[str]
) -> dict[str, Path]:
    """Write waveforms as 32-bit float WAV, replacing an earlier result; return their paths by class.

    Files are named by `safe_names` of all `classes` of the system.

    Parameters
    ----------
    blocks : blocks of the waveforms, (labels, samples), in order.
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


def audio_files(audio: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the paths of recordings, which have to exist; InputError for the first that does not."""
    paths = [Path(path) for path in ([audio] if isinstance(audio, str | Path) else audio)]
    if not paths:
        raise InputError("no audio file given")
    for path in paths:
        if not path.exists() or path.is_dir():
            problem = "is a folder; give the files in it" if path.is_dir() else "no such audio file"
            raise InputError(f"{path}: {problem}")
    return paths


def check_out(out: str | Path) -> None:
    """Check that the output folder is not a file."""
    if Path(out).exists() and not Path(out).is_dir():
        raise InputError(f"{out}: is a file, expected a folder to write to; give another --out")


def output_names(paths: Sequence[Path], suffix: str) -> list[str]:
    """Return an output name for each recording: its own with another suffix.

    If two would be the same (ignoring case), all are numbered in the given order.
    """
    # a name such as "..wav" has the stem ".", which would be the output folder itself
    stems = [path.name if path.stem in (".", "..") else path.stem for path in paths]
    if len({stem.casefold() for stem in stems}) < len(stems):
        stems = [f"{number}-{stem}" for number, stem in enumerate(stems, start=1)]
    return [f"{stem}{suffix}" for stem in stems]


def file_names(paths: Sequence[Path]) -> list[str]:
    """Return the name of each file for tables: its name, or its path if two files have the same name.

    InputError if a file is given twice, or its name is not UTF-8.
    """
    for path in paths:
        check_name(path)
    repeated = [str(path) for path, times in Counter(paths).items() if times > 1]
    if repeated:
        raise InputError(f"{min(repeated)}: given twice; keep one")
    unique = len({path.name for path in paths}) == len(paths)
    return [path.name if unique else path.as_posix() for path in paths]


def events_table(predictions: dict[str, Prediction]) -> bytes:
    """Format the events as TSV: filename, onset, offset, event_label, score."""
    rows: list[tuple[str, ...]] = []
    for name, prediction in predictions.items():
        rows += [
            (name, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label, f"{event.score:.4f}")
            for event in prediction.events
        ] or [(name, "", "", "", "")]
    return format_table(("filename", "onset", "offset", "event_label", "score"), rows, "\t")


def frames_table(prediction: Prediction) -> bytes:
    """Format frame scores as TSV, as for sed_scores_eval: onset, offset (seconds) and one column per class."""
    edges = [f"{frame * prediction.frame_seconds:.6g}" for frame in range(len(prediction.frames) + 1)]
    scores = [[f"{score:.6g}" for score in row] for row in prediction.frames.tolist()]
    rows = [(start, stop, *row) for start, stop, row in zip(edges[:-1], edges[1:], scores, strict=True)]
    return format_table(("onset", "offset", *prediction.classes), rows, "\t")
