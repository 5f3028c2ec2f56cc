"""Read every record of a data set in a workspace, and make its leaderboard of those that may stand in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.leaderboard.chance import chance_of
from remixbench.leaderboard.discover import RUN_FILE, why_unusable
from remixbench.leaderboard.evaluate_run import References, why_incompatible
from remixbench.leaderboard.leaderboard import (
    Group,
    Leaderboard,
    group_records,
    identity,
    make_leaderboard,
    new_records,
    shown_as,
)
from remixbench.leaderboard.probes import with_probes
from remixbench.leaderboard.record import METRICS_FILE, Record, read_record
from remixbench.leaderboard.significance import mark_best, mark_chance
from remixbench.leaderboard.submission import read_submission
from remixbench.leaderboard.submission_store import evidence_of, kept_submissions, usable_receipt
from remixbench.progress import SILENT, Progress


def load_leaderboard(
    workspace: Path,
    dataset: Dataset,
    progress: Progress = SILENT,
    *,
    references: References | None = None,
    known: Mapping[Path, Record] | None = None,
) -> Leaderboard:
    """Return what `find_leaderboard` does.

    Raises
    ------
    InputError
        If there is nothing to show.
    """
    found = find_leaderboard(workspace, dataset, progress, references=references, known=known)
    if found is None:
        raise InputError(
            f"{workspace / 'runs' / dataset.name}: nothing is scored on data set '{dataset.name}' yet;"
            " `remixbench train` makes runs"
        )
    return found


def find_leaderboard(
    workspace: Path,
    dataset: Dataset,
    progress: Progress = SILENT,
    *,
    references: References | None = None,
    known: Mapping[Path, Record] | None = None,
) -> Leaderboard | None:
    """Make the leaderboard of a data set from all records in the workspace; what is left out is reported.

    Parameters
    ----------
    references : of the data set, where some were read already.
    known : records that were read or made already, by their files.

    Returns
    -------
    None where there is nothing to show.
    """
    left_out: list[str] = []
    references = references or References(dataset)
    own = _own(workspace, references, known or {}, left_out)
    added = _added(workspace, references, own, left_out)
    for line in left_out:
        progress.say(f"left out: {line}")
    if not own and not added:
        return None
    made = make_leaderboard(dataset, group_records(own), added, left_out)
    folds = {fold for row in made.rows for condition in row.conditions.values() for fold in condition.folds}
    chance = chance_of(references, folds)
    return replace(made, chance=chance, rows=with_probes(mark_best(mark_chance(made.rows, chance))))


def _own(workspace: Path, references: References, known: Mapping[Path, Record], left_out: list[str]) -> list[Record]:
    dataset = references.dataset
    kept: dict[str, Record] = {}
    for file in sorted((workspace / "runs" / dataset.name).rglob(METRICS_FILE)):
        place = file.relative_to(workspace).as_posix()
        try:
            record = known[file] if file in known else read_record(file)
            why = why_incompatible(record, references)
            if not why and (file.parent / RUN_FILE).is_file():
                why = why_unusable(file.parent, dataset)
        except InputError as error:
            left_out.append(str(error).replace(str(file), place))
            continue
        key = identity(record)
        if not why and key in kept:
            why = f"has the settings, SNR, fold and seed of {kept[key].provenance.run}, which is in the table"
        if why:
            left_out.append(f"{place}: {why}")
        else:
            kept[key] = record
    return list(kept.values())


def _added(workspace: Path, references: References, own: Sequence[Record], left_out: list[str]) -> list[Group]:
    """Read the submissions that were added; this workspace's own records are in the table already."""
    shown = {shown_as(record) for record in own}
    groups: list[Group] = []
    for file in kept_submissions(workspace, references.dataset.name):
        place = file.relative_to(workspace).as_posix()
        try:
            submission = read_submission(file)
        except InputError as error:
            left_out.append(str(error).replace(str(file), place))
            continue
        kept = []
        for record in submission.records:
            if why := why_incompatible(record, references):
                left_out.append(f"{place}: '{record.system.name}': {why}")
            else:
                kept.append(record)
        recomputed = usable_receipt(file, submission, workspace, left_out)
        evidence = [evidence_of(record, recomputed) for record in kept]
        new, states = new_records(kept, shown, evidence)
        groups += group_records(new, submission.digest[:8], states)
    return groups
