"""Read every record of a data set in a workspace, and make its leaderboard of those that may stand in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.leaderboard.discover import why_unusable
from remixbench.leaderboard.evaluate import References, why_incompatible
from remixbench.leaderboard.grouping import Group, Submitted, group_records, group_submissions, identity, make_rows
from remixbench.leaderboard.hosting import kept_evidence, read_submissions
from remixbench.leaderboard.leaderboard import Leaderboard, chance_of, make_leaderboard
from remixbench.leaderboard.probes import with_probes
from remixbench.leaderboard.record import METRICS_FILE, Evidence, Record, own_evidence, read_record
from remixbench.leaderboard.significance import mark_best, mark_chance
from remixbench.leaderboard.submission import Submission, why_unfit
from remixbench.progress import SILENT, Progress
from remixbench.training.run_files import RUN_FILE, read_run

Candidate = tuple[Submission, Sequence[Evidence]]


def load_leaderboard(
    workspace: Path,
    dataset: Dataset,
    progress: Progress = SILENT,
    *,
    references: References | None = None,
    current: Mapping[Path, Record] | None = None,
    candidate: Candidate | None = None,
    may_be_empty: bool = False,
) -> Leaderboard:
    """Make the leaderboard of a data set from all records in the workspace; what is left out is reported.

    Parameters
    ----------
    references : of the data set, where some were read already.
    current : records that were read or made already, by their files.
    candidate : a submission that was not added yet, and the evidence of its records.
    may_be_empty : whether a leaderboard without rows is returned.

    Raises
    ------
    InputError
        If there is nothing to show, unless it `may_be_empty`.
    """
    left_out: list[str] = []
    references = references or References(dataset)
    own = _own(workspace, references, current or {}, left_out)
    added = _added(workspace, references, own, candidate, left_out)
    for line in left_out:
        progress.say(f"skipped {line}")
    if not own and not added and not may_be_empty:
        raise InputError(
            f"{workspace / 'runs' / dataset.name}: nothing is scored on data set '{dataset.name}' yet;"
            " `remixbench train` makes runs"
        )
    board = make_leaderboard(
        dataset=dataset.name, recipe=dataset.recipe.name, manifest_digest=dataset.manifest_digest,
        classes=dataset.classes, reasons=dataset.not_comparable,
        rows=make_rows([*group_records(own, evidence=list(map(own_evidence, own))), *added]),
        left_out=left_out, snr_offsets=dataset.recipe.mix.snr_offsets,
    )  # fmt: skip
    folds = {fold for row in board.rows for condition in row.conditions.values() for fold in condition.folds}
    chance = chance_of(references, folds)
    return replace(board, chance=chance, rows=with_probes(mark_best(mark_chance(board.rows, chance))))


def _own(workspace: Path, references: References, current: Mapping[Path, Record], left_out: list[str]) -> list[Record]:
    dataset = references.dataset
    kept: dict[str, Record] = {}
    for file in sorted((workspace / "runs" / dataset.name).rglob(METRICS_FILE)):
        place = file.relative_to(workspace).as_posix()
        try:
            record = current[file] if file in current else read_record(file)
            why = why_incompatible(record, references)
            if not why and (file.parent / RUN_FILE).exists():
                why = why_unusable(read_run(file.parent), dataset)
        except InputError as error:
            left_out.append(str(error).replace(str(file.parent), str(Path(place).parent)))
            continue
        key = identity(record)
        if not why and key in kept:
            why = f"has the settings, SNR, fold and seed of {kept[key].provenance.run}, which is in the table"
        if why:
            left_out.append(f"{place}: {why}")
        else:
            kept[key] = record
    return list(kept.values())


def _added(
    workspace: Path,
    references: References,
    own: Sequence[Record],
    candidate: Candidate | None,
    left_out: list[str],
) -> list[Group]:
    """Read the submissions that were added; this workspace's own records are in the table already."""
    submissions: dict[str, tuple[str, Submission, Sequence[Evidence]]] = {}
    folder = workspace / "submissions" / references.dataset.name
    for file, submission in read_submissions(folder, workspace, left_out):
        if candidate is None or candidate[0].digest != submission.digest:
            place, states = file.relative_to(workspace).as_posix(), kept_evidence(workspace, submission, left_out)
            submissions[submission.digest] = place, submission, states
    if candidate is not None:
        submissions[candidate[0].digest] = candidate[0].dataset, *candidate
    fitting: list[Submitted] = []
    for digest, (place, submission, evidence) in sorted(submissions.items()):
        kept: list[tuple[Record, Evidence]] = []
        for record, state in zip(submission.records, evidence, strict=True):
            if why := why_unfit(record, references):
                left_out.append(f"{place}: '{record.system.name}': {why}")
            else:
                kept.append((record, state))
        fitting.append((digest, [record for record, _ in kept], [state for _, state in kept]))
    return group_submissions(fitting, own)
