"""A run's folder: where it is, what `run.json` holds, and how its files are written and read.

    <workspace>/runs/<dataset>/<system>/snr_20/fold_4/seed_0/
        run.json  history.csv  model.safetensors (see model_file.py)  checkpoint.pt (to resume, until it is done)
        predictions/{tags.csv,frames.npz} and, where the data set has stems, maps.npz

The first run gets the plain name. A run with other settings, or on other data of the same name, gets
`seed_0-<8 digits of its digest>`, so that nothing is ever mixed or overwritten.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from remixbench.dataset.dataset import snr_folder
from remixbench.errors import InputError
from remixbench.files import atomic_path, check_regular, read_bytes, read_json, sha256, write_bytes, write_sealed
from remixbench.recipe import Training
from remixbench.schemas import read_json_as
from remixbench.tables import format_table, read_table

if TYPE_CHECKING:
    from remixbench.training.config import TrainConfig

FORMAT: Literal[3] = 3
RUN_FILE = "run.json"
CHECKPOINT = "checkpoint.pt"
MODEL = "model.safetensors"
HISTORY = "history.csv"
HISTORY_NUMBERS = ("loss", "validation_micro_ap", "test_micro_ap")
"""The columns that `read_history` returns besides the epochs."""
PREDICTIONS = Path("predictions")
TAGS, FRAMES, MAPS = PREDICTIONS / "tags.csv", PREDICTIONS / "frames.npz", PREDICTIONS / "maps.npz"
VALIDATION = PREDICTIONS / "validation.npz"
RESULTS = (MODEL, TAGS, FRAMES)
MAPS_COMPRESSION = 1
"""Level of zlib; higher ones take several times as long and save a few per cent."""


@dataclass(frozen=True)
class Epoch:
    """One line of `history.csv`; an average precision is None where it was not computed.

    `learning_rate` is that of the epoch's last step.
    """

    epoch: int
    loss: float
    validation_micro_ap: float | None
    test_micro_ap: float | None
    learning_rate: float
    seconds: float


HISTORY_COLUMNS = tuple(field.name for field in fields(Epoch))


class Flag(BaseModel):
    """What a reader has to know before comparing a run: a code, and a text for this run."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    code: str
    text: str


class Software(BaseModel):
    """A point at which a run resumed with other software or on another device."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    after_epoch: int
    device: str
    versions: dict[str, str]


class EncoderInfo(BaseModel):
    """The frozen encoder of a system on embeddings; its weights are not stored with the run.

    `macs` is of a forward pass on one clip; None where it cannot be counted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    pretrained_on: list[str]
    licence: str = ""
    citation: str = ""
    parameters: int
    macs: int | None = None
    frames: int
    dimensions: int
    frame_seconds: float


class RunInfo(Training):
    """`run.json`: settings and provenance of a run, and what came of it once its status is `done`.

    The settings of the training come first; the others are those of `TrainConfig`. `frames`, `n_mels` and
    `frame_seconds` are of the log-mel that the system takes. `sources` are the first digits of the digest of a
    third-party system's source files. `results` are the digests of history, weights and predictions by their path.
    `parameters` and `macs` are of what was trained; those of a frozen encoder are in `encoder`. `epoch` is the one
    whose weights were kept, `seconds` the time that training and predictions took.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[3]
    status: Literal["training", "done"]
    dataset: str
    manifest_digest: str
    audio_digest: str
    not_comparable: list[str]
    system: str
    options: dict[str, str | float]
    alpha: float
    fraction: float
    snr: float
    fold: int
    seed: int
    select: str
    precision: str
    fresh: bool = False
    encoder_digest: str | None = None
    encoder: EncoderInfo | None = None
    flags: list[Flag]
    digest: str
    package: str | None
    sources: str | None = None
    started: str
    device: str
    versions: dict[str, str]
    frames: int
    n_mels: int
    frame_seconds: float
    classes: list[str]
    resumed: list[Software] = Field(default_factory=list)
    finished: str | None = None
    epoch: int | None = None
    epochs_trained: int | None = None
    validation_micro_ap: float | None = None
    test_micro_ap: float | None = None
    thresholds_from: str | None = None
    seconds: float | None = None
    device_name: str | None = None
    processes: int | None = None
    parameters: int | None = None
    macs: int | None = None
    standardisation_digest: str | None = None
    results: dict[str, str] | None = None
    clips: dict[str, int] | None = None
    validation_from: str | None = None
    train_digest: str | None = None
    validation_clips: list[str] | None = None


def run_folder(workspace: Path, dataset: str, settings: TrainConfig, digest: str) -> Path:
    """Return the folder of the run with this digest: where it exists already, or where it will be made."""
    above = workspace / "runs" / dataset / settings.folder / snr_folder(settings.snr) / f"fold_{settings.fold}"
    seed_folder, digest_folder = above / f"seed_{settings.seed}", above / f"seed_{settings.seed}-{digest[:8]}"
    if not (seed_folder / RUN_FILE).exists():
        return digest_folder if (digest_folder / RUN_FILE).exists() else seed_folder
    content = read_json(seed_folder / RUN_FILE, remedy="delete it and train again")
    return seed_folder if content.get("digest") == digest else digest_folder


def read_run(folder: Path) -> RunInfo:
    """Read `run.json` of a run."""
    file = folder / RUN_FILE
    if not file.is_file():
        raise InputError(f"{folder}: not a run (no {RUN_FILE}); `remixbench train` makes runs")
    edited = "restore it, or train again with --rerun"
    return read_json_as(file, RunInfo, format=FORMAT, remedy="delete it and train again", edited=edited)


def describe_state(folder: Path) -> str:
    """Return the state of a folder's run: done, interrupted, or not begun."""
    if not (folder / RUN_FILE).exists():
        return "not begun"
    if read_run(folder).status == "done":
        return "done"
    history = folder / HISTORY
    epochs = len(history.read_text(encoding="utf-8").splitlines()) - 1 if history.exists() else 0
    return f"interrupted after epoch {epochs}" if epochs else "interrupted in its first epoch"


def write_run(folder: Path, info: RunInfo) -> None:
    """Write `run.json` with a digest of its content, without what is not known yet."""
    write_sealed(folder / RUN_FILE, info.model_dump(mode="json", exclude_unset=True))


def write_history(folder: Path, history: Sequence[Epoch]) -> None:
    """Write `history.csv`: a line per epoch, empty where an average precision was not computed."""
    rows = [["" if value is None else _shortest(value) for value in asdict(epoch).values()] for epoch in history]
    write_bytes(folder / HISTORY, format_table(HISTORY_COLUMNS, rows))


def read_history(file: Path, digest: str | None = None) -> dict[str, list[float | None]]:
    """Return epochs, losses and average precisions of a history, None where one was not computed."""
    if digest is not None and sha256(read_bytes(file)) != digest:
        raise InputError(f"{file}: was edited since it was written; restore it, or train again with --rerun")
    try:
        rows = [row for _, row in read_table(file).records()]
        history: dict[str, list[float | None]] = {"epochs": [int(row["epoch"]) for row in rows]}
        for name in HISTORY_NUMBERS:
            history[name] = [_number(row[name]) for row in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{file}: not a history ({error}); train the run again") from None
    return history


def _number(text: str) -> float | None:
    value = float(text) if text else math.nan
    return round(value, 6) if math.isfinite(value) else None


def write_predictions(
    folder: Path,
    filenames: Sequence[str],
    classes: Sequence[str],
    tags: NDArray[np.float32],
    frames: NDArray[np.float32],
    frame_seconds: float,
) -> None:
    """Write tags.csv and frames.npz into a folder of predictions.

    Parameters
    ----------
    tags : (clips, classes) in [0, 1].
    frames : (clips, frames, classes) in [0, 1]; frame i begins at i · `frame_seconds`.
    """
    write_tags(folder / TAGS.name, filenames, classes, tags)
    write_frames(folder / FRAMES.name, filenames, classes, frames, frame_seconds)


def write_frames(
    path: Path,
    filenames: Sequence[str],
    classes: Sequence[str],
    frames: NDArray[np.float32] | NDArray[np.float16],
    frame_seconds: float,
) -> None:
    """Write frame scores (clips, frames, classes) as .npz; arguments as in `write_predictions`."""
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            scores=frames,
            filename=np.array(filenames),
            classes=np.array(classes),
            frame_seconds=np.float64(frame_seconds),
        )


def write_tags(path: Path, filenames: Sequence[str], classes: Sequence[str], tags: NDArray[np.float32]) -> None:
    """Write clip scores (clips, classes) as CSV: `filename` and one column per class."""
    rows = [[name, *(f"{score:.9g}" for score in row)] for name, row in zip(filenames, tags, strict=True)]
    write_bytes(path, format_table(["filename", *classes], rows))


@contextmanager
def writing_maps(
    path: Path,
    filenames: Sequence[str],
    classes: Sequence[str],
    thresholds: NDArray[np.float32],
    weak: NDArray[np.bool_],
    frames: int,
    n_mels: int,
) -> Iterator[Callable[[NDArray[np.uint16], NDArray[np.int64]], None]]:
    """Write `maps.npz`, a few clips at a time, so that the maps never have to fit into memory.

    It holds, compressed, `clip` and `label` (pairs,) strings and `maps` (pairs, frames, n_mels) uint16 of the classes
    that occur in each clip, and `filename` (clips), `classes` and `active_bins` (clips, classes) of all;
    `thresholds` are the clip scores from which on each class is detected.

    Yields a function that takes maps and active bins in the order of the clips, any number at a time. The same maps
    give the same bytes.
    """
    rows, columns = (indices.tolist() for indices in np.nonzero(weak))
    clip, label = [filenames[row] for row in rows], [classes[column] for column in columns]
    active_bins: list[NDArray[np.int64]] = []
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=MAPS_COMPRESSION) as archive,
    ):
        for name, values in (
            ("clip", clip),
            ("label", label),
            ("filename", filenames),
            ("classes", classes),
            ("thresholds", thresholds),
        ):
            with _entry(archive, name) as stream:
                np.lib.format.write_array(stream, np.array(values), allow_pickle=False)
        with _entry(archive, "maps") as stream:
            header = {"descr": "<u2", "fortran_order": False, "shape": (len(clip), frames, n_mels)}
            np.lib.format.write_array_header_1_0(stream, header)

            def write(maps: NDArray[np.uint16], bins: NDArray[np.int64]) -> None:
                stream.write(np.ascontiguousarray(maps, "<u2").tobytes())
                active_bins.append(bins)

            yield write
        with _entry(archive, "active_bins") as stream:
            np.lib.format.write_array(stream, np.concatenate([*active_bins, np.zeros((0, len(classes)), np.int64)]))


def _entry(archive: zipfile.ZipFile, name: str) -> Any:
    info = zipfile.ZipInfo(f"{name}.npy")  # its date is fixed
    info.compress_type = zipfile.ZIP_DEFLATED
    return archive.open(info, "w", force_zip64=True)


def write_checkpoint(folder: Path, digest: str, state: dict[str, Any]) -> None:
    """Write the state from which a training resumes."""
    import torch

    saved = io.BytesIO()  # torch does not report a full disk
    torch.save({"digest": digest, **state}, saved)
    with atomic_path(folder / CHECKPOINT) as temporary, temporary.open("wb") as file:
        file.write(saved.getbuffer())
        file.flush()
        os.fsync(file.fileno())  # since renaming it replaces the previous one


def read_checkpoint(folder: Path, digest: str) -> dict[str, Any] | None:
    """Read the checkpoint of a run, or None where there is none. Nothing in it is executed."""
    import torch  # here, since run.json is read without it

    file = folder / CHECKPOINT
    if not file.exists():
        return None
    check_regular(file)
    try:
        saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        run_digest = saved["digest"]
    except Exception as error:  # torch.load raises almost anything on a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{file}: not a checkpoint ({reason[:120]}); delete it to start the run again") from None
    if run_digest != digest:
        raise InputError(f"{file}: belongs to a run of other settings; delete it to start the run again")
    return saved


def _shortest(value: float) -> str:
    return str(value) if isinstance(value, int) or not math.isfinite(value) else f"{value:.9g}"
