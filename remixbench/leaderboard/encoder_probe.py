"""`probe`: encoders compared by a fixed protocol, one row per encoder.

The head is `emb-mlp` with its default settings, the same for every encoder: a hidden layer on every embedding, linear
softmax over time. It is trained at every SNR, on all training clips and on about eight clips per class, with three
seeds, and tested on the fold's test clips. A stronger head would tell more about the head and less about the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from remixbench.dataset.dataset import Dataset, as_tuple, find_dataset
from remixbench.errors import InputError
from remixbench.leaderboard.rows import Row
from remixbench.leaderboard.score import score
from remixbench.leaderboard.table_maker import TableMaker, caption
from remixbench.leaderboard.tables import EVIDENCE, TESTED, Block, Cell, Column, Table, estimate_cell, quantity
from remixbench.progress import Progress, reporter

if TYPE_CHECKING:
    from remixbench.leaderboard.leaderboard import Leaderboard

HEAD = "emb-mlp"
SEEDS = (0, 1, 2)
CLIPS_PER_CLASS = 8
METRICS = ("micro_ap", "frame_ap")


@dataclass(frozen=True)
class EncoderProbe:
    """The table of a probe, and the leaderboard that its rows stand in."""

    table: Table
    leaderboard: Leaderboard


def probe(
    encoder: str | Sequence[str],
    *,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    snr: float | Sequence[float] | None = None,
    fold: int | Sequence[int] | None = None,
    seed: int | Sequence[int] = SEEDS,
    device: str = "auto",
    progress: Progress | bool = False,
) -> EncoderProbe:
    """Compare encoders: the same head on each, at all SNRs, on all training clips and on 8 clips per class.

    Existing embeddings and trainings are kept, and an interrupted probe resumes.

    Parameters
    ----------
    encoder : names or `FILE.py:NAME`, with `@FILE` for the file of weights.
    workspace, dataset : where data sets are, and the name or folder of one; by default the most recent one.
    snr, fold, seed : by default all SNRs made, fold 4, and seeds 0, 1, 2.
    device : auto, cpu, cuda, cuda:N or mps.
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter.

    Raises
    ------
    InputError
        For an unknown encoder or SNR, or an encoder that breaks the contract.
    """
    from remixbench.training.run_files import read_run
    from remixbench.training.train import train

    progress = reporter(progress)
    opened = find_dataset(workspace, dataset)
    references = as_tuple(encoder)
    if not references:
        raise InputError("no encoder given")
    few = few_clips(opened)
    runs: dict[str, list[Path]] = {}
    for reference in references:
        runs[reference] = train(
            workspace=workspace, dataset=opened, system=HEAD, options={"encoder": reference}, snr=snr, fold=fold,
            seed=seed, fraction=(1.0, few) if few < 1 else 1.0, device=device, precision="32", progress=progress,
        )  # fmt: skip
    board = score(workspace=workspace, dataset=opened, progress=progress)
    digests = [str(read_run(folders[0]).encoder_digest) for folders in runs.values() if folders]
    return EncoderProbe(probe_table(board, digests, few), board)


def few_clips(dataset: Dataset) -> float:
    """Return the part of the training clips that has about eight clips per class, to four digits.

    The training clips are those of all folds but one; folds are taken to be of equal size.
    """
    folds = len(dataset.manifest.folds)
    per_class = dataset.weak.sum() / len(dataset.classes) * (folds - 1) / folds
    return min(1.0, float(np.format_float_positional(CLIPS_PER_CLASS / per_class, 4, fractional=False)))


def probe_table(board: Leaderboard, digests: Sequence[str], few: float) -> Table:
    """Return the table of some encoders: micro-AP and frame AP at every SNR, of all training clips and of few.

    Parameters
    ----------
    digests : of the encoders, in the order of the lines.
    few : the part of the training clips that the second group is trained on.
    """
    rows = [
        row
        for row in board.rows
        if row.system == HEAD and row.settings.get("encoder_digest") in digests and _as_it_comes(row)
    ]
    sizes = {"all training clips": 1.0, f"{CLIPS_PER_CLASS} clips per class": few}
    sizes = {heading: part for heading, part in sizes.items() if any(_fraction(row) == part for row in rows)}
    snrs = tuple(snr for snr in board.snrs if any(snr in row.conditions for row in rows))
    maker = TableMaker(board)
    lines = []
    for digest in dict.fromkeys(digests):
        of_encoder = {_fraction(row): row for row in rows if row.settings["encoder_digest"] == digest}
        if not of_encoder:
            continue
        cells: list[Cell] = []
        for part in sizes.values():
            row = of_encoder.get(part)
            pairs = [(snr, metric) for metric in METRICS for snr in snrs]
            cells += [Cell() if row is None else estimate_cell(row.estimate(*pair)) for pair in pairs]
        first = next(iter(of_encoder.values()))
        name = str(first.settings["options"]["encoder"])
        weights = [Cell(quantity(first.cost.frozen_parameters)), Cell(quantity(first.cost.frozen_macs))]
        line = maker.line(first, [*weights, *cells], snrs)
        lines.append(replace(line, head=name))
    titles = {"micro_ap": "micro-AP", "frame_ap": "frame AP"}
    groups: list[tuple[str, tuple[Column, ...]]] = [("encoder", (Column("parameters"), Column("MACs per clip")))]
    groups += [
        (heading, tuple(Column(f"{titles[metric]} {board.snr_text(snr)}") for metric in METRICS for snr in snrs))
        for heading in sizes
    ]
    return Table(
        f"Encoders on {board.dataset}",
        "encoder",
        tuple(groups),
        (Block("", tuple(lines)),),
        (
            f"Head: {HEAD} with its default settings. Below a value: its 95 % interval, and the standard deviation over"
            " seeds.",
            *maker.line_notes((Block("", tuple(lines)),)),
        ),
        (TESTED, EVIDENCE),
        caption(board),
    )


def _fraction(row: Row) -> float:
    return float(row.settings.get("fraction", 1.0))


def _as_it_comes(row: Row) -> bool:
    """Say whether a row's head was trained as the protocol has it: no setting or option changed."""
    name = next(iter(row.conditions.values())).records[0].system.name  # the row's name may add what tells it apart
    changed = {part.partition("=")[0] for part in name.split(",")[1:]}
    return changed <= {"encoder", "fraction"} and not any(flag.code in ("setting", "training") for flag in row.flags)
