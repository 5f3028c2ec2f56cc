"""The leaderboards of the submissions in a folder, such as one of pull requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.make import frozen_manifest
from remixbench.errors import InputError
from remixbench.leaderboard.discover import manifests_of
from remixbench.leaderboard.evaluate import References
from remixbench.leaderboard.grouping import Group, Submitted, group_submissions
from remixbench.leaderboard.leaderboard import Leaderboard, board_on, make_leaderboard
from remixbench.leaderboard.published import load_published
from remixbench.leaderboard.receipts import kept_entries, read_submissions, record_name
from remixbench.leaderboard.record import SELF_REPORTED, Entry
from remixbench.leaderboard.submission import Submission, why_unfit
from remixbench.progress import SILENT, Progress
from remixbench.recipe import load_recipe
from remixbench.scoring.metrics import SCORING_VERSION


@dataclass(frozen=True)
class _Received:
    """A submission, its path below the folder that was given, and its records."""

    place: str
    submission: Submission
    entries: Sequence[Entry]

    @property
    def sender(self) -> str:
        """Whose it is: the sub-folder that it lies in, such as `submissions/<group>/`, or else itself."""
        return PurePosixPath(self.place).parts[0]

    @property
    def labels(self) -> dict[int, str]:
        """The digest of the reference of every fold."""
        return {record.system.fold: record.provenance.reference_digest for record in self.submission.records}

    @property
    def audio(self) -> str:
        """The digest of the audio."""
        return self.submission.records[0].provenance.audio_digest

    def agrees(self, other: _Received) -> bool:
        """Say whether both are on the same audio, and on the same labels in the folds that both have."""
        common = self.labels.keys() & other.labels.keys()
        return self.audio == other.audio and all(self.labels[fold] == other.labels[fold] for fold in common)


def submitted_leaderboards(
    folder: Path,
    progress: Progress = SILENT,
    *,
    workspace: Path = Path(),
    dataset: str | Path | Dataset | None = None,
    require_predictions: bool = False,
) -> list[Leaderboard]:
    """Return the leaderboards of the submissions in a folder and its sub-folders: one per data set, the largest first.

    A submission must fit the workspace's data set on its manifest, or `dataset` if that is given. Where there is none,
    each sender has one vote: a sub-folder is one sender, and so is a submission outside any.

    InputError if there is nothing to show.

    Parameters
    ----------
    workspace : its data sets and receipts count, unless it lies in the folder, where senders could have made them
    dataset : name or folder of the only data set to show
    require_predictions : leave out records that were not recomputed
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give --submissions a folder of submission files")
    left_out: list[str] = []
    by_manifest: dict[str, list[_Received]] = {}
    digests: set[str] = set()
    of_host = not workspace.resolve().is_relative_to(folder.resolve())
    if not of_host and any((workspace / name).exists() for name in ("receipts", "datasets")):
        left_out.append("receipts and data sets of the workspace: lie in the folder of submissions; give --workspace")
    for file, submission in read_submissions(folder, folder, left_out):
        if submission.digest not in digests:
            digests.add(submission.digest)
            entries = [Entry(record, SELF_REPORTED) for record in submission.records]
            if of_host:
                entries = kept_entries(workspace, submission, left_out)
            received = _Received(file.relative_to(folder).as_posix(), submission, entries)
            by_manifest.setdefault(submission.manifest_digest, []).append(received)
    if not digests:
        why = f" ({left_out[0]})" if left_out else ""
        raise InputError(f"{folder}: no submission in it{why}; `remixbench score --submission FILE` writes one")
    pins = _pins(workspace, dataset, by_manifest.keys()) if of_host or dataset is not None else {}
    boards = []
    for manifest, submissions in by_manifest.items():
        if manifest in pins:
            boards.append(_pinned_board(pins[manifest], submissions, left_out, require_predictions))
        elif dataset is not None:
            left_out += [
                f"{received.place}: is on another manifest ({manifest[:12]}) than {dataset}" for received in submissions
            ]
        else:
            boards += _unpinned_boards(submissions, left_out, require_predictions)
    for line in left_out:
        progress.say(f"skipped {line}")
    boards = [replace(board, left_out=tuple(left_out)) for board in boards if board.rows]
    if not boards:
        raise InputError(f"{folder}: no record of its submissions can be shown; the lines above say why")
    return sorted(boards, key=lambda b: (-len({row.submission for row in b.rows}), -len(b.rows), b.dataset))


def _pins(workspace: Path, dataset: str | Path | Dataset | None, manifests: Collection[str]) -> dict[str, Dataset]:
    """Return the data sets that the host has pinned, by their manifests.

    InputError if one is broken, or two are on one manifest.
    """
    if dataset is not None:
        opened = find_dataset(workspace, dataset)
        return {opened.manifest_digest: opened}
    pins: dict[str, Dataset] = {}
    for folder, manifest in manifests_of(workspace):
        if manifest in manifests:
            if manifest in pins:
                raise InputError(f"{folder}: has the same manifest as {pins[manifest].path}; choose one with --dataset")
            pins[manifest] = Dataset.open(folder)
    return pins


def _pinned_board(
    dataset: Dataset, submissions: Sequence[_Received], left_out: list[str], require_predictions: bool
) -> Leaderboard:
    """Make the leaderboard of the submissions that fit a data set of the host."""
    references = References(dataset)
    fitting = []
    for received in submissions:
        problems = [(record, why) for record in received.submission.records if (why := why_unfit(record, references))]
        if problems:
            record, why = problems[0]
            left_out.append(f"{received.place}: {record_name(record)}: {why}")
        else:
            fitting.append(received)
    return board_on(references, _groups(fitting, left_out, require_predictions))


def _unpinned_boards(
    submissions: Sequence[_Received], left_out: list[str], require_predictions: bool
) -> list[Leaderboard]:
    """Make the leaderboard that most senders of submissions on one manifest agree with.

    Each sender has one vote for audio, labels and the name of the data set. Equal votes give several boards, since rows
    on different audio or labels never share one.
    """
    agreeing: list[list[_Received]] = []
    for received in submissions:
        versions = {record.provenance.scoring_version for record in received.submission.records} - {SCORING_VERSION}
        if versions:
            why = f"is of scoring version {min(versions)}, this is {SCORING_VERSION}; ask for it scored again"
            left_out.append(f"{received.place}: {why}")
        elif others := next((group for group in agreeing if all(map(received.agrees, group))), None):
            others.append(received)
        else:
            agreeing.append([received])
    senders = len({received.sender for received in submissions})
    votes = [len({received.sender for received in group}) for group in agreeing]
    boards = []
    for group, count in zip(agreeing, votes, strict=True):
        if count < max(votes):
            why = "is on other audio or labels than those of most senders on this manifest"
            left_out += [f"{received.place}: {why}" for received in group]
            continue
        manifest = group[0].submission.manifest_digest
        records = [record for received in group for record in received.submission.records]
        classes = {label for record in records for values in record.per_class.values() for label in values}
        boards.append(
            make_leaderboard(
                _groups(group, left_out, require_predictions),
                dataset=_most_common((received.sender, received.submission.dataset) for received in group),
                recipe=_most_common((received.sender, received.submission.recipe) for received in group),
                manifest_digest=manifest,
                classes=tuple(sorted(classes)),
                reasons=_reasons(manifest),
                caveat="The host has not pinned this data set: its name, labels and audio are those that"
                f" {count} of {senders} senders on this manifest name, one vote each.",
            )
        )
    return boards


def _most_common(votes: Iterable[tuple[str, str]]) -> str:
    """Return the text that most senders give."""
    return min(Counter(text for _, text in {*votes}).items(), key=lambda item: (-item[1], item[0]))[0]


def _groups(submissions: Sequence[_Received], left_out: list[str], require_predictions: bool) -> list[Group]:
    """Gather the records of submissions into rows, only recomputed ones if these are required."""
    submitted: list[Submitted] = []
    for received in submissions:
        entries = received.entries
        if require_predictions:
            entries = [entry for entry in entries if entry.evidence.state == "recomputed"]
            if missing := len(received.entries) - len(entries):
                why = f"{missing} of {len(received.entries)} records were not recomputed from predictions"
                left_out.append(f"{received.place}: {why}")
        submitted.append((received.submission.digest, entries))
    return group_submissions(submitted)


def _reasons(manifest: str) -> tuple[str, ...]:
    """Say why published results may not stand beside submissions, judged by their manifest alone."""
    recipe = load_published().recipe
    if _frozen_digest(recipe) == manifest:
        return ()
    return (f"published results are on the manifest of {recipe}, these on another",)


@cache
def _frozen_digest(recipe: str) -> str | None:
    """Return the digest of the manifest that comes with a built-in recipe; to read it takes half a second."""
    frozen = frozen_manifest(load_recipe(recipe))
    return None if frozen is None else frozen.digest
