"""Leaderboards from records: of a workspace, and of the submissions in a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.make import frozen_manifest
from remixbench.errors import InputError
from remixbench.files import read_json
from remixbench.leaderboard.discover import why_unusable
from remixbench.leaderboard.evaluate import References, why_incompatible
from remixbench.leaderboard.grouping import Group, Submitted, group_records, group_submissions, identity, make_rows
from remixbench.leaderboard.hosting import kept_evidence, read_submissions, record_name
from remixbench.leaderboard.leaderboard import Chance, Leaderboard, chance_of, make_leaderboard
from remixbench.leaderboard.probes import with_probes
from remixbench.leaderboard.published import load_published
from remixbench.leaderboard.record import METRICS_FILE, SELF_REPORTED, Evidence, Record, own_evidence, read_record
from remixbench.leaderboard.significance import mark_best, mark_chance
from remixbench.leaderboard.submission import Submission, why_unfit
from remixbench.progress import SILENT, Progress
from remixbench.recipe import load_recipe
from remixbench.scoring.metrics import SCORING_VERSION
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
    candidate : a submission that is not added yet, and the evidence of its records.
    may_be_empty : whether a leaderboard without rows may be returned.

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
    board = _board_on(references, [*group_records(own, evidence=list(map(own_evidence, own))), *added])
    return replace(board, left_out=tuple(left_out))


def _board_on(references: References, groups: Sequence[Group]) -> Leaderboard:
    """Make the leaderboard of groups of records on a data set."""
    dataset = references.dataset
    board = make_leaderboard(
        dataset=dataset.name,
        recipe=dataset.recipe.name,
        manifest_digest=dataset.manifest_digest,
        classes=dataset.classes,
        reasons=dataset.not_comparable,
        rows=make_rows(groups),
        snr_offsets=dataset.recipe.mix.snr_offsets,
    )
    return _marked(board, chance_of(references, {record.system.fold for group in groups for record in group.records}))


def _marked(board: Leaderboard, chance: Chance) -> Leaderboard:
    """Return a leaderboard with chance, its best values and those at chance marked, and its probes averaged."""
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


@dataclass(frozen=True)
class _Received:
    """A submission, its path below the folder that was given, and the evidence of its records."""

    place: str
    submission: Submission
    evidence: Sequence[Evidence]

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

    Parameters
    ----------
    workspace : its data sets and receipts count, unless it lies in the folder, where senders could have made them
    dataset : name or folder of the only data set to show
    require_predictions : leave out records that were not recomputed

    Raises
    ------
    InputError
        If there is nothing to show.
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
            reported = [SELF_REPORTED] * len(submission.records)
            evidence = kept_evidence(workspace, submission, left_out) if of_host else reported
            received = _Received(file.relative_to(folder).as_posix(), submission, evidence)
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
    return sorted(boards, key=lambda board: (-_submissions(board), -len(board.rows), board.dataset))


def _submissions(board: Leaderboard) -> int:
    return len({row.submission for row in board.rows})


def _pins(workspace: Path, dataset: str | Path | Dataset | None, manifests: Collection[str]) -> dict[str, Dataset]:
    """Return the data sets that the host has pinned, by their manifests.

    Raises
    ------
    InputError
        If one is broken, or two are on one manifest.
    """
    if dataset is not None:
        opened = find_dataset(workspace, dataset)
        return {opened.manifest_digest: opened}
    pins: dict[str, Dataset] = {}
    for file in sorted((workspace / "datasets").glob("*/dataset.json")):
        if read_json(file).get("manifest_digest") in manifests:
            opened = Dataset.open(file.parent)
            if opened.manifest_digest in pins:
                other = pins[opened.manifest_digest].path
                raise InputError(f"{file.parent}: has the same manifest as {other}; choose one with --dataset")
            pins[opened.manifest_digest] = opened
    return pins


def _pinned_board(
    dataset: Dataset, submissions: Sequence[_Received], left_out: list[str], require_predictions: bool
) -> Leaderboard:
    """Make the leaderboard of the submissions that fit a data set of the host."""
    references = References(dataset)
    fitting = []
    for received in submissions:
        whys = ((record, why_unfit(record, references)) for record in received.submission.records)
        problem = next(((record, why) for record, why in whys if why), None)
        if problem is None:
            fitting.append(received)
        else:
            why = problem[1].replace("score it again", "ask for a submission that fits")
            left_out.append(f"{received.place}: {record_name(problem[0])}: {why}")
    return _board_on(references, _groups(fitting, left_out, require_predictions))


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
    most = max(votes, default=0)
    boards = []
    for group, count in zip(agreeing, votes, strict=True):
        if count < most:
            why = "is on other audio or labels than those of most senders on this manifest"
            left_out += [f"{received.place}: {why}" for received in group]
            continue
        manifest = group[0].submission.manifest_digest
        classes = {
            label
            for received in group
            for record in received.submission.records
            for values in record.per_class.values()
            for label in values
        }
        board = make_leaderboard(
            dataset=_most_common((received.sender, received.submission.dataset) for received in group),
            recipe=_most_common((received.sender, received.submission.recipe) for received in group),
            manifest_digest=manifest,
            classes=tuple(sorted(classes)),
            reasons=_reasons(manifest),
            rows=make_rows(_groups(group, left_out, require_predictions)),
        )
        caveat = (
            f"The host has not pinned this data set: its name, labels and audio are those that {most} of {senders}"
            " senders on this manifest name, one vote each."
        )
        boards.append(_marked(replace(board, caveat=caveat), Chance()))
    return boards


def _most_common(votes: Iterable[tuple[str, str]]) -> str:
    """Return the text that most senders give."""
    return min(Counter(text for _, text in {*votes}).items(), key=lambda item: (-item[1], item[0]))[0]


def _groups(submissions: Sequence[_Received], left_out: list[str], require_predictions: bool) -> list[Group]:
    """Gather the records of submissions into rows, only recomputed ones if these are required."""
    chosen: list[Submitted] = []
    for received in submissions:
        records, evidence = list(received.submission.records), list(received.evidence)
        if require_predictions:
            recomputed = [k for k, state in enumerate(evidence) if state.state == "recomputed"]
            if missing := len(records) - len(recomputed):
                why = f"{missing} of {len(records)} records were not recomputed from predictions"
                left_out.append(f"{received.place}: {why}")
            records, evidence = [records[k] for k in recomputed], [evidence[k] for k in recomputed]
        chosen.append((received.submission.digest, records, evidence))
    return group_submissions(chosen)


def _reasons(manifest: str) -> tuple[str, ...]:
    """Say why published results may not stand beside submissions, judged by their manifest alone."""
    recipe = load_published().recipe
    frozen = frozen_manifest(load_recipe(recipe))
    if frozen is not None and frozen.digest == manifest:
        return ()
    return (f"published results are on the manifest of {recipe}, these on another",)
