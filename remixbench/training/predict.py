"""`predict`: a trained system on audio files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from remixbench.errors import InputError
from remixbench.files import check_name, write_bytes
from remixbench.progress import Progress, reporter
from remixbench.tables import format_table
from remixbench.training.audio import read_audio
from remixbench.training.inference import Prediction, load_system
from remixbench.training.storage import write_tags
from remixbench.training.thresholds import describe_thresholds


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
    paths = [Path(one) for one in ([audio] if isinstance(audio, str | Path) else audio)]
    if not paths:
        raise InputError("no audio file is given")
    system = load_system(run, device=device)
    if threshold is None:
        progress.say(describe_thresholds(system.model.tag_thresholds, system.model.frame_thresholds))
    names = file_names(paths)
    pictures = _pictures(paths, out) if figure else [None] * len(paths)
    predictions = {}
    with progress.bar("Predicting", len(paths), "files") as advance:
        for name, path, picture in zip(names, paths, pictures, strict=True):
            recording = system.extract_features(*read_audio(path), origin=str(path))
            predictions[name] = system.predict_features(recording, threshold)
            if picture is not None:
                from remixbench.plots.recording import draw_recording

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
    stems = [path.stem for path in paths]
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
        raise InputError(f"{min(twice)}: given twice; leave one")
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
