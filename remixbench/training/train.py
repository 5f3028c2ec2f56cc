"""`train`: the runs of a grid, one after another; each is started, gone on with, or found done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from remixbench.dataset.dataset import find_dataset
from remixbench.errors import InputError
from remixbench.files import remove_temp_files, write_json
from remixbench.progress import SILENT, Progress
from remixbench.systems.registry import OptionValue
from remixbench.training.engine import choose_device
from remixbench.training.logs import require_tensorboard
from remixbench.training.one import Work, begin, describe, go_on
from remixbench.training.runs import RESULTS, RUN_FILE, read_run, run_folder
from remixbench.training.settings import RunSettings, data_digest, list_runs
from remixbench.training.team import gather, local_rank

if TYPE_CHECKING:
    from remixbench.dataset.dataset import Dataset


def train(
    *,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    system: str | Sequence[str] | None = None,
    snr: float | Sequence[float] | None = None,
    fold: int | Sequence[int] | None = None,
    seed: int | Sequence[int] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    alpha: float | Sequence[float] | None = None,
    fraction: float | Sequence[float] | None = None,
    options: Mapping[str, OptionValue] | None = None,
    width: float | None = None,
    select: str = "validation",
    device: str = "auto",
    precision: str = "auto",
    shard: tuple[int, int] = (1, 1),
    tensorboard: bool = False,
    progress: Progress = SILENT,
) -> list[Path]:
    """Train systems on a data set: every combination of the values given is a run.

    A run that is done is not repeated; one that was interrupted goes on from its last epoch and ends with the
    same weights as if it had not been. A run with any other setting is another run in another folder.

    Parameters
    ----------
    workspace : where data sets and runs lie.
    dataset : name or folder of a data set; by default the one made last.
    system : names of systems; by default the five of the paper's Table 1.
    snr : signal-to-noise ratios in dB; by default all that were made.
    fold : folds to test on; by default 4, as the released example.
    seed : seeds of weights, order and choice of clips; by default 0.
    epochs, batch_size, learning_rate, width : by default as the data set's recipe says.
    alpha : weights of the reconstruction, for the systems that have a decoder; by default each system's own.
    fraction : parts of the training clips to learn from, in (0, 1]; seeded, class-balanced, each within the
        larger.
    options : named options of the systems, such as {"attention": "paper"}; see `remixbench.systems.spec`.
    select : the epoch kept is the best on the `validation` part, on the held-out fold as in the `paper`, or
        the `last`.
    device : auto, cpu or cuda.
    precision : 32, bf16, or auto: bf16 where the hardware has it.
    shard : (i, n), only every n-th run beginning with the i-th, counted from 1.
    tensorboard : also write curves for TensorBoard into each run's folder.
    progress : what is told of the work.

    Returns
    -------
    The folders of the runs, in order, that are done now. Where `torchrun` started several processes, the first returns
    them and the others nothing.

    Raises
    ------
    InputError
        For a value that cannot be, a data set that lacks what is asked for, or broken files.
    RemixbenchError
        If a training diverges.
    """
    workspace = Path(workspace)
    opened = find_dataset(workspace, dataset)
    runs = list_runs(
        opened, system=system, snr=snr, fold=fold, seed=seed, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, width=width, alpha=alpha, fraction=fraction, options=options, select=select,
        precision=precision,
    )  # fmt: skip
    if not 1 <= shard[0] <= shard[1]:
        raise InputError(f"--shard {shard[0]}/{shard[1]}: expected I/N with 1 <= I <= N")
    where = choose_device(device, local_rank())
    if tensorboard:
        require_tensorboard()
    for settings in runs:
        opened.features(settings.snr)  # all of what is missing is to be known before the first hour has passed
    with gather(where) as team:
        work = Work(opened, where, team, tensorboard, progress if team.writes else SILENT)
        folders = [_train_one(workspace, work, settings) for settings in runs[shard[0] - 1 :: shard[1]]]
    return [folder for folder in folders if folder is not None and team.writes]


def _train_one(workspace: Path, work: Work, settings: RunSettings) -> Path | None:
    """Bring one run to its end; returns its folder, or None if another process is at it."""
    with ExitStack() as held:
        start: tuple[Path, dict[str, Any]] | None = None
        if work.team.writes:
            try:
                start = _take(workspace, work, settings, held)
            except Timeout:
                work.progress.say(f"{settings.label}: another process is training it; left to that")
        start = work.team.agree(start)
        if start is None:
            return None
        folder, info = start
        if info["status"] == "done":
            work.progress.say(f"{settings.label}: done before ({describe(info)}), in {folder}")
        else:
            go_on(folder, info, work, settings)
        return folder


def _take(workspace: Path, work: Work, settings: RunSettings, held: ExitStack) -> tuple[Path, dict[str, Any]]:
    """Keep others from the run while `held` lasts; returns where it lies and how far it is."""
    digest = settings.digest(data_digest(work.dataset))
    locks = workspace / "runs" / work.dataset.name / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    held.enter_context(FileLock(locks / f"{digest[:16]}.lock", timeout=0))
    # two different runs that start at once must not both find the plain name free
    with FileLock(locks / "place.lock"):
        folder = run_folder(workspace, work.dataset.name, settings, digest)
        if not (folder / RUN_FILE).exists():
            return folder, begin(folder, work, settings, digest)
        info = read_run(folder)
        for place in (folder, folder / "predictions"):
            remove_temp_files(place)
        lost = [name for name in RESULTS if info["status"] == "done" and not (folder / name).exists()]
        if lost:
            work.progress.say(f"{settings.label}: done before, but {lost[0]} is missing, so it is trained again")
            info["status"] = "training"
            write_json(folder / RUN_FILE, info)  # what is left of the old results must not pass for the new ones
        return folder, info
