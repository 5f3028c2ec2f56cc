"""`predict`: a trained system on audio files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from remixbench.errors import InputError
from remixbench.files import write_text
from remixbench.progress import SILENT, Progress
from remixbench.training.audio import read_audio
from remixbench.training.inference import Prediction, load_system
from remixbench.training.storage import write_tags


def predict(
    run: str | Path,
    audio: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    figure: bool = False,
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict[str, Prediction]:
    """Detect events with a trained system in audio files of any format, rate and length.

    Parameters
    ----------
    run : the folder of a run that is done.
    audio : one file or several.
    out : folder for `tags.csv` (`filename` and one column per class) and `events.tsv` (`filename onset offset
        event_label`, seconds; a file without events has one row with nothing behind its name); by default neither is
        written.
    figure : also write a picture of each file into `out`, by default into the current folder: its name with .png for
        the suffix (numbered where files share a name), in it the eight panels of `show` with a run, without a
        reference. Of a recording longer than the clips of the training it shows the window of their length in which
        most seconds of events are detected.
    device : auto, cpu, cuda, cuda:N or mps.
    progress : progress reporter.

    Returns
    -------
    The prediction of each file, by its name; by its path where two files have one name.

    Raises
    ------
    InputError
        If the run is not usable, for the first file that is not, or if a picture is wanted without matplotlib.
    """
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise InputError(f"{out}: is a file, expected a folder to write into; give another --out")
    if figure:
        from remixbench.plots.style import require_matplotlib

        require_matplotlib()
    paths = [Path(one) for one in ([audio] if isinstance(audio, str | Path) else audio)]
    if not paths:
        raise InputError("no audio file is given")
    system = load_system(run, device=device)
    names = file_names(paths)
    pictures = _pictures(paths, out) if figure else [None] * len(paths)
    predictions = {}
    with progress.bar("predict", len(paths), "files") as advance:
        for name, path, picture in zip(names, paths, pictures, strict=True):
            recording = system.extract_features(*read_audio(path), origin=str(path))
            predictions[name] = system.predict_features(recording)
            if picture is not None:
                from remixbench.plots.recording import draw_recording

                draw_recording(system, recording, predictions[name], path.name, picture)
                progress.say(f"{picture}: written")
            advance(1)
    if out is not None:
        tags = np.stack([prediction.tags for prediction in predictions.values()])
        write_tags(Path(out) / "tags.csv", list(predictions), system.classes, tags)
        write_text(Path(out) / "events.tsv", events_table(predictions))
    return predictions


def _pictures(paths: Sequence[Path], out: str | Path | None) -> Sequence[Path | None]:
    from remixbench.plots.recording import picture_names

    return [Path("." if out is None else out) / name for name in picture_names(paths)]


def file_names(paths: Sequence[Path]) -> list[str]:
    """Return the name of each file in tables: its name, or where two have one name, its path.

    Raises
    ------
    InputError
        If a file is given twice.
    """
    twice = [str(path) for path, times in Counter(paths).items() if times > 1]
    if twice:
        raise InputError(f"{min(twice)}: given twice; leave one")
    alone = len({path.name for path in paths}) == len(paths)
    return [path.name if alone else path.as_posix() for path in paths]


def events_table(predictions: dict[str, Prediction]) -> str:
    """Return the events as TSV, `filename onset offset event_label`, with a header."""
    lines = ["filename\tonset\toffset\tevent_label"]
    for name, prediction in predictions.items():
        lines += [f"{name}\t{event.onset:.3f}\t{event.offset:.3f}\t{event.label}" for event in prediction.events] or [
            f"{name}\t\t\t"
        ]
    return "\n".join(lines) + "\n"
