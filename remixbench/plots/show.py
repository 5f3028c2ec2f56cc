"""`show`: draw a clip, or the activations of a trained system for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.errors import InputError
from remixbench.files import as_path
from remixbench.plots.figures import draw_activations, draw_clip, draw_separated
from remixbench.plots.style import format_of, require_matplotlib
from remixbench.plots.view import ClipView, find_clip, from_output, view_clip

if TYPE_CHECKING:
    from remixbench.training.run_files import RunInfo


def show(
    *,
    clip: str,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    snr: float | None = None,
    run: str | Path | None = None,
    separated: bool = False,
    out: str | Path | None = None,
) -> Path:
    """Draw a clip: waveform, log-mel, reference events and levels; with a run, Figure 2 of the paper.

    Parameters
    ----------
    clip : id or file name of the clip.
    workspace : folder of data sets and runs.
    dataset : name or folder of a data set; by default the run's, otherwise the most recent one.
    snr : SNR in dB; by default the run's, otherwise the highest of the data set.
    run : folder of a run, whose outputs and attention are drawn.
    separated : with a run, draw the spectrogram of each class that it separates, and of the rest, instead; onsets and
        offsets of reference events are marked.
    out : a PNG, SVG or PDF file; by default CLIP.png in the current folder.

    Returns
    -------
    The file written.

    Raises
    ------
    InputError
        If clip, data set, SNR or run do not exist, the run does not fit the data set, `out` has another suffix, or
        matplotlib is not installed.
    """
    require_matplotlib()
    if separated and run is None:
        raise InputError("--separated: needs --run, the run of a system with time-frequency maps")
    if out is not None:
        format_of(Path(out))
    workspace = as_path(workspace, "workspace")
    folder, info = (None, None) if run is None else _read_run(workspace, as_path(run, "run"))
    opened = find_dataset(workspace, _dataset_of(workspace, info) if dataset is None and info else dataset)
    row = find_clip(opened, clip)
    snr_db = float(snr) if snr is not None else info.snr if info else max(opened.snrs)
    view = view_clip(opened, row, snr_db)
    target = Path(f"{view.id}.png") if out is None else Path(out)
    if folder is None or info is None:
        draw_clip(view, f"{opened.name}, {_clip_title(opened, view)}", target)
        return target
    _draw_run(folder, info, opened, view, target, separated)
    return target


def _draw_run(folder: Path, info: RunInfo, dataset: Dataset, view: ClipView, target: Path, separated: bool) -> None:
    from remixbench.inference.system import load_system

    system = load_system(folder)
    classes = system.classes
    if classes != dataset.classes:
        raise InputError(
            f"{folder}: was trained on classes other than those of data set '{dataset.name}';"
            " name the data set of the run with --dataset"
        )
    role = (
        dataset.roles(info.fold)[view.row] if info.manifest_digest == dataset.manifest_digest else "of another manifest"
    )
    trained = "" if info.snr == view.snr else f" (trained at {dataset.snr_text(info.snr)})"
    title = f"{info.system}{trained}, {dataset.name}, {_clip_title(dataset, view)}, {_ROLES.get(role, role)} clip"
    if separated:
        system.check_separable(background=True)
        draw_separated(view, system, title, target)
        return
    clip = view.logmel if system.inputs == "logmel" else dataset.audio(view.id, view.snr)
    try:
        activations = from_output(system.forward(clip), system.model)
    except InputError as error:
        raise InputError(f"{folder}: clip {view.id}: {error}; name the run's data set with --dataset") from None
    draw_activations(view, activations, classes, title, target)


_ROLES = {"train": "training", "validation": "validation", "test": "test"}


def _clip_title(dataset: Dataset, view: ClipView) -> str:
    snr = dataset.snr_text(view.snr)
    return f"clip {view.id}, {view.scene.replace('_', ' ')}, {snr}"


def _read_run(workspace: Path, run: Path) -> tuple[Path, RunInfo]:
    """Return the folder of a finished run and its run.json."""
    from remixbench.training.run_files import read_run

    for folder in (run, workspace / run, workspace / "runs" / run):
        if (folder / "run.json").is_file():
            info = read_run(folder)
            if info.status != "done":
                raise InputError(f"{folder}: the run is not finished; `remixbench train` resumes it")
            return folder, info
    raise InputError(f"{run}: not a run (no run.json in it); name a folder that `remixbench train` printed")


def _dataset_of(workspace: Path, info: RunInfo) -> Path | str:
    """Return the folder of a run's data set in the workspace, or its name if there is none."""
    folder = workspace / "datasets" / info.dataset
    return folder if folder.is_dir() else info.dataset
