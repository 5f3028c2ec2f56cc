"""Every record of a data set in a workspace, and which of them stand in its leaderboard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.leaderboard.board import Board, Group, make_board
from remixbench.leaderboard.measure import Truth, truth_of
from remixbench.leaderboard.paired import mark_best
from remixbench.leaderboard.published import load_published
from remixbench.leaderboard.record import METRICS, Record, read_record
from remixbench.leaderboard.submission import folder_of, read_submission
from remixbench.progress import SILENT, Progress
from remixbench.scoring import SCORING_VERSION


def read_board(workspace: Path, dataset: Dataset, progress: Progress = SILENT) -> Board:
    """Make the leaderboard of a data set from all records in the workspace; what is left out is said.

    Raises
    ------
    InputError
        If there is nothing to show.
    """
    left_out: list[str] = []
    truths: dict[int, Truth] = {}
    own = _own(workspace, dataset, truths, left_out)
    added = _added(workspace, dataset, own, truths, left_out)
    for line in left_out:
        progress.say(f"left out: {line}")
    if not own and not added:
        raise InputError(
            f"{workspace / 'runs' / dataset.name}: nothing is scored on data set '{dataset.name}' yet;"
            " `remixbench train` makes runs"
        )
    board = make_board(dataset, grouped(own, ""), added, load_published(), SCORING_VERSION, left_out)
    return replace(board, rows=mark_best(board.rows))


def stale(record: Record, dataset: Dataset, truths: dict[int, Truth]) -> str:
    """Say why a record may not stand in the data set's table; empty where it may."""
    made, fold = record.made_from, record.entry.fold
    if made.manifest_digest != dataset.manifest_digest:
        return (
            f"is of another manifest ({made.manifest_digest[:12]}) than the data set ({dataset.manifest_digest[:12]})"
        )
    if made.scoring_version != SCORING_VERSION:
        return f"is of scoring version {made.scoring_version}, this is {SCORING_VERSION}; score it again"
    try:
        truths[fold] = truths.get(fold) or truth_of(dataset, fold)
    except InputError as error:
        return str(error)
    if made.reference_digest != truths[fold].digest:
        return "was scored against other labels than the data set has now; score it again"
    return ""


def _own(workspace: Path, dataset: Dataset, truths: dict[int, Truth], left_out: list[str]) -> list[Record]:
    kept: dict[str, Record] = {}
    for file in sorted((workspace / "runs" / dataset.name).rglob(METRICS)):
        place = file.relative_to(workspace).as_posix()
        try:
            record = read_record(file)
        except InputError as error:
            left_out.append(str(error).replace(str(file), place))
            continue
        why = stale(record, dataset, truths)
        key = _identity(record)
        if not why and key in kept:
            why = f"has the settings, SNR, fold and seed of {kept[key].made_from.run}, which stands in the table"
        if why:
            left_out.append(f"{place}: {why}")
        else:
            kept[key] = record
    return list(kept.values())


def _added(
    workspace: Path, dataset: Dataset, own: Sequence[Record], truths: dict[int, Truth], left_out: list[str]
) -> list[Group]:
    """Read the submissions that were added; what is the workspace's own work stands in the table already."""
    here = {(record.made_from.predictions_digest, record.entry.snr, record.entry.fold) for record in own}
    groups: list[Group] = []
    for file in sorted(folder_of(workspace, dataset.name).glob("*.json")):
        place = file.relative_to(workspace).as_posix()
        kept: dict[str, Record] = {}
        try:
            submission = read_submission(file)
        except InputError as error:
            left_out.append(str(error).replace(str(file), place))
            continue
        for record in submission.records:
            if why := stale(record, dataset, truths):
                left_out.append(f"{place}: '{record.entry.name}': {why}")
            elif (record.made_from.predictions_digest, record.entry.snr, record.entry.fold) not in here:
                kept.setdefault(_identity(record), record)
        groups += grouped(list(kept.values()), submission.digest[:8])
        here |= {(r.made_from.predictions_digest, r.entry.snr, r.entry.fold) for r in kept.values()}
    return groups


def _identity(record: Record) -> str:
    return json.dumps(record.entry.model_dump(mode="json"), sort_keys=True)


def grouped(records: Sequence[Record], origin: str) -> list[Group]:
    """Gather records into rows: everything of an entry but SNR, fold and seed tells rows apart."""
    gathered: dict[str, list[Record]] = {}
    for record in records:
        entry = record.entry.model_dump(mode="json", exclude={"snr", "fold", "seed"})
        gathered.setdefault(json.dumps(entry, sort_keys=True), []).append(record)
    return [Group(origin, tuple(group)) for group in gathered.values()]
