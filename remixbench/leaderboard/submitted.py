"""Leaderboards from submission files alone, without the data sets that they are on: one per manifest.

What cannot be checked without a data set is shown as unchecked: whether a record was recomputed is read from the
receipts that `remixbench score --add` leaves beside the submissions that it keeps.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from remixbench.dataset.inputs import frozen_manifest
from remixbench.errors import InputError
from remixbench.files import read_json
from remixbench.leaderboard.leaderboard import Group, Leaderboard, Shown, assemble, group_records, new_records
from remixbench.leaderboard.probes import with_probes
from remixbench.leaderboard.published import load_published
from remixbench.leaderboard.record import Record
from remixbench.leaderboard.significance import mark_best
from remixbench.leaderboard.submission import FORMAT, Submission, read_submission
from remixbench.leaderboard.submission_store import RECEIPT, evidence_of, usable_receipt
from remixbench.progress import SILENT, Progress
from remixbench.recipe import load_recipe
from remixbench.scoring import SCORING_VERSION


def read_submissions(folder: Path, progress: Progress = SILENT) -> tuple[list[tuple[Path, Submission]], list[str]]:
    """Read every submission in a folder and those in it; returns them, and why others are left out.

    JSON files that are no submissions are passed over.

    Raises
    ------
    InputError
        If there is no such folder, or no submission in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --submissions names one with submission files in it")
    found: dict[str, tuple[Path, Submission]] = {}
    left_out = []
    for file in sorted(folder.rglob("*.json")):
        if file.name.endswith(RECEIPT):
            continue
        try:
            if read_json(file).get("format") == FORMAT:
                submission = read_submission(file)
                found.setdefault(submission.digest, (file, submission))
        except InputError as error:
            left_out.append(str(error).replace(str(file), file.relative_to(folder).as_posix(), 1))
    for line in left_out:
        progress.say(f"left out: {line}")
    if not found:
        why = f" ({left_out[0]})" if left_out else ""
        raise InputError(
            f"{folder}: no submission in it{why}; `remixbench score --submission FILE` of a workspace writes one"
        )
    return list(found.values()), left_out


def submitted_leaderboards(folder: Path, progress: Progress = SILENT) -> list[Leaderboard]:
    """Return one leaderboard per manifest, that of the most rows first.

    Raises
    ------
    InputError
        If there is nothing to show.
    """
    submissions, left_out = read_submissions(folder, progress)
    groups: dict[str, list[tuple[Path, Submission]]] = {}
    for file, submission in submissions:
        groups.setdefault(submission.manifest_digest, []).append((file, submission))
    boards = [_leaderboard(folder, group, left_out, progress) for group in groups.values()]
    boards = [board for board in boards if board.rows]
    if not boards:
        raise InputError(f"{folder}: no record of its submissions can be shown; the lines above say why")
    return sorted(boards, key=lambda board: (-len(board.rows), board.dataset, board.manifest_digest))


def _leaderboard(
    folder: Path, submissions: list[tuple[Path, Submission]], unread: list[str], progress: Progress
) -> Leaderboard:
    """Make the leaderboard of the submissions on one manifest."""
    records = [record for _, submission in submissions for record in submission.records]
    audio = Counter(record.provenance.audio_digest for record in records).most_common(1)[0][0]
    references: dict[int, str] = {}
    for fold in sorted({record.system.fold for record in records}):
        here = Counter(r.provenance.reference_digest for r in records if r.system.fold == fold)
        references[fold] = here.most_common(1)[0][0]
    groups: list[Group] = []
    shown: set[Shown] = set()
    left_out = list(unread)
    for file, submission in submissions:
        kept = []
        for record in submission.records:
            if why := _why_not(record, audio, references):
                left_out.append(f"{file.relative_to(folder).as_posix()}: '{record.system.name}': {why}")
                progress.say(f"left out: {left_out[-1]}")
            else:
                kept.append(record)
        unusable: list[str] = []
        recomputed = usable_receipt(file, submission, folder, unusable)
        new, states = new_records(kept, shown, [evidence_of(record, recomputed) for record in kept])
        groups += group_records(new, submission.digest[:8], states)
        for line in unusable:
            progress.say(f"left out: {line}")
        left_out += unusable
    first = submissions[0][1]
    labels = {label for record in records for classes in record.per_class.values() for label in classes}
    board = assemble(
        dataset=first.dataset,
        recipe=first.recipe,
        manifest_digest=first.manifest_digest,
        classes=tuple(sorted(labels)),
        reasons=_reasons(first),
        groups=groups,
        left_out=left_out,
    )
    return replace(board, rows=with_probes(mark_best(board.rows)))


def _why_not(record: Record, audio: str, references: dict[int, str]) -> str:
    """Say why a record may not stand in the table of the others; empty where it may."""
    made = record.provenance
    if made.scoring_version != SCORING_VERSION:
        return f"is of scoring version {made.scoring_version}, this is {SCORING_VERSION}; ask for it scored again"
    if made.audio_digest != audio:
        return "is of other audio than most records on this manifest"
    if made.reference_digest != references[record.system.fold]:
        return f"was scored against other labels of fold {record.system.fold} than most records on this manifest"
    return ""


def _reasons(submission: Submission) -> tuple[str, ...]:
    """Say why published results may not stand beside a submission; by its manifest, whatever the submission states."""
    recipe = load_published().recipe
    frozen = frozen_manifest(load_recipe(recipe))
    if frozen is not None and frozen.digest == submission.manifest_digest:
        return ()
    return (f"published results are on the manifest of {recipe}, these on another",)
