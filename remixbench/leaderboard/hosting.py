"""Other people's rows: the submissions of a workspace, receipts of what was recomputed, boards of submissions alone.

    submissions/<dataset>/<digest>.json     a submission that was added, as it was read
    receipts/<digest>.json                  which of its values were computed again in this workspace
    receipts/key                            signs the receipts, so that those of another workspace count for nothing

Submissions lie where others can write, such as a folder of pull requests; receipts are looked up in the host's own
workspace alone.
"""

from __future__ import annotations

import hmac
import json
import secrets
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.make import frozen_manifest
from remixbench.dataset.probes import probe_folder
from remixbench.errors import InputError
from remixbench.files import read_bytes, read_json, write_json, write_text
from remixbench.leaderboard.discover import name_folder
from remixbench.leaderboard.evaluate import References
from remixbench.leaderboard.grouping import Group, Submitted, group_submissions, make_rows
from remixbench.leaderboard.leaderboard import Chance, Leaderboard, chance_of, make_leaderboard
from remixbench.leaderboard.probes import with_probes
from remixbench.leaderboard.published import load_published
from remixbench.leaderboard.record import SELF_REPORTED, Evidence, Record, digests_of, files_digest, probe_value
from remixbench.leaderboard.rows import Row
from remixbench.leaderboard.significance import mark_best, mark_chance
from remixbench.leaderboard.submission import OtherFormatError, Submission, read_submission, why_unfit
from remixbench.progress import SILENT, Progress
from remixbench.recipe import load_recipe
from remixbench.scoring import SCORING_VERSION

RECEIPT_FORMAT = "remixbench receipt"

Verified = Sequence[frozenset[str]]
"""Of every record of a submission the names of the values that were computed again here, as `Evidence` has them."""


def receipt_file(workspace: Path, digest: str) -> Path:
    """Return where the receipt of a submission lies."""
    return workspace / "receipts" / f"{digest[:16]}.json"


def read_submissions(folder: Path, above: Path, left_out: list[str]) -> list[tuple[Path, Submission]]:
    """Read every submission in a folder and its subfolders, with its file; other JSON files are skipped.

    Parameters
    ----------
    left_out : why a submission cannot be read is added to it, with the path from `above`.
    """
    submissions = []
    for file in sorted(folder.rglob("*.json")):
        try:
            submissions.append((file, read_submission(file)))
        except OtherFormatError:
            continue
        except InputError as error:
            left_out.append(str(error).replace(str(file), file.relative_to(above).as_posix(), 1))
    return submissions


def store_submission(workspace: Path, dataset: str, file: Path, submission: Submission, verified: Verified) -> None:
    """Keep a submission that was read from a file among those whose rows are shown, and write its receipt."""
    kept = workspace / "submissions" / dataset / f"{submission.digest[:16]}.json"
    if not kept.is_file():
        write_json(kept, read_json(file))
    write_receipt(workspace, submission, verified)


def write_receipt(workspace: Path, submission: Submission, verified: Verified) -> None:
    """Write which values of a submission were computed again, unless its receipt says so already."""
    file = receipt_file(workspace, submission.digest)
    content = {
        "format": RECEIPT_FORMAT,
        "submission": submission.digest,
        "verified": [sorted(names) for names in verified],
    }
    if any(verified):
        key = workspace / "receipts" / "key"
        if not key.is_file():
            write_text(key, secrets.token_hex(32) + "\n")
            key.chmod(0o600)
        signed = content | {"signature": _signature(key, content)}
        if not (file.is_file() and read_json(file) == signed):
            write_json(file, signed)


def read_receipt(workspace: Path, submission: Submission) -> Verified:
    """Return which values of a submission were computed again in this workspace.

    Raises
    ------
    InputError
        If its receipt is broken, of another submission, or was not written by this workspace.
    """
    file, key = receipt_file(workspace, submission.digest), workspace / "receipts" / "key"
    if not file.is_file():
        return [frozenset()] * len(submission.records)
    content = read_json(file)
    signature, verified = content.pop("signature", None), content.get("verified")
    if (
        (content.get("format"), content.get("submission")) != (RECEIPT_FORMAT, submission.digest)
        or not key.is_file()
        or not hmac.compare_digest(str(signature).encode(), _signature(key, content).encode())
        or not isinstance(verified, list)
        or len(verified) != len(submission.records)
    ):
        raise InputError(f"{file}: not a receipt of this workspace; delete it, and add the submission again")
    return [frozenset(names) for names in verified]


def _signature(key: Path, content: Mapping[str, Any]) -> str:
    data = json.dumps(content, sort_keys=True).encode()
    return hmac.new(read_bytes(key), data, "sha256").hexdigest()


def merged(first: Verified, second: Verified) -> Verified:
    """Return the values that were computed again in either of two verifications."""
    return [values | more for values, more in zip(first, second, strict=True)]


def evidence_of(submission: Submission, verified: Verified) -> list[Evidence]:
    """Return the evidence of every record of a submission."""
    return [
        Evidence("recomputed", names) if names & record.metrics.keys() else replace(SELF_REPORTED, verified=names)
        for record, names in zip(submission.records, verified, strict=True)
    ]


def kept_evidence(workspace: Path, submission: Submission, left_out: list[str]) -> list[Evidence]:
    """Return the evidence of every record by the submission's receipt; why that is not used is added to `left_out`."""
    try:
        return evidence_of(submission, read_receipt(workspace, submission))
    except InputError as error:
        left_out.append(str(error).replace(f"{workspace.as_posix()}/", "", 1))
        return [SELF_REPORTED] * len(submission.records)


def added_lines(submission: Submission, verified: Verified) -> list[str]:
    """Say how many records were added and recomputed, and which files the others and their probes would need."""
    evidence = evidence_of(submission, verified)
    count, recomputed = len(submission.records), sum(state.state == "recomputed" for state in evidence)
    lines = [f"{count} record{'s' * (count != 1)} added, {recomputed} recomputed from predictions"]
    for record, state in zip(submission.records, evidence, strict=True):
        what = record_name(record)
        if state.state != "recomputed":
            files = ", ".join(
                f"{name} (SHA-256 {digest[:12]})" for name, digest in record.provenance.predictions.items()
            )
            lines.append(f"not recomputed: {what}; needs {files}")
        elif values := [name for name in record.metrics if not state.covers(name)]:
            lines.append(f"not verified: {', '.join(values)} of {what}; cannot be computed with what is here")
        missing = [
            probe_folder(probe.probe, probe.value)
            for probe in record.probes
            if not all(state.covers(probe_value(probe.probe, probe.value, name)) for name in probe.metrics)
        ]
        if missing:
            lines.append(f"not recomputed: probes of {what}; needs their predictions, {', '.join(missing)}")
    return lines


def record_name(record: Record) -> str:
    """Return what a record is of, for messages."""
    system = record.system
    seed = "" if system.seed is None else f", seed {system.seed}"
    return f"'{system.name}' at {system.snr:g} dB, fold {system.fold}{seed}"


def remove_row(workspace: Path, dataset: Dataset, row: Row, progress: Progress = SILENT) -> None:
    """Remove a row from the leaderboard: the submission that it came in, or the record of a third party's predictions.

    Raises
    ------
    InputError
        If the row is of runs that were trained in this workspace.
    """
    if row.kind == "run":
        run = next(iter(row.conditions.values())).records[0].provenance.run or ""
        raise InputError(
            f"--remove '{row.name}': was trained in this workspace; delete its folder {Path(run).parents[2]}"
        )
    if row.submission:
        for file, submission in submissions_of(workspace, dataset, row):
            names = dict.fromkeys(record.system.name for record in submission.records)
            file.unlink()
            receipt_file(workspace, submission.digest).unlink(missing_ok=True)
            progress.say(f"{file}: removed, with its row{'s' * (len(names) > 1)} {', '.join(names)}")
        return
    name = next(iter(row.conditions.values())).records[0].system.name
    folder = workspace / "runs" / dataset.name / name_folder(name)
    shutil.rmtree(folder)
    progress.say(f"{folder}: removed")


def submissions_of(workspace: Path, dataset: Dataset, row: Row) -> list[tuple[Path, Submission]]:
    """Return the submission that a row came in, with its file, if it came in one."""
    folder = workspace / "submissions" / dataset.name
    return [
        (file, submission)
        for file, submission in read_submissions(folder, workspace, [])
        if row.submission and submission.digest.startswith(row.submission)
    ]


def own_predictions(workspace: Path, dataset: Dataset, digests: Collection[str]) -> list[tuple[Path, ...]]:
    """Return the folders of predictions of this workspace's runs on a data set that have one of some digests."""
    kept: dict[str, tuple[Path, ...]] = {}
    for folder in sorted((workspace / "runs" / dataset.name).rglob("predictions")):
        if folder.is_dir():
            try:
                kept.setdefault(files_digest(digests_of([folder])), (folder,))
            except InputError:
                continue
    return [paths for digest, paths in kept.items() if digest in digests]


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
        """Say whether both are of the same audio, and of the same labels in the folds that both have."""
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
    """Return the leaderboards of the submissions in a folder and those in it: one per data set, the largest first.

    A data set of the workspace on the manifest of a submission, or `dataset` alone where that is given, decides what
    that submission has to be on. Where there is none, a sender has one vote: a sub-folder is one sender, and so is a
    submission outside any.

    Parameters
    ----------
    workspace : whose data sets and receipts count
    dataset : name or folder of the only data set to show
    require_predictions : leave out records that were not recomputed

    Raises
    ------
    InputError
        If there is nothing to show.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --submissions names one with submission files in it")
    left_out: list[str] = []
    by_manifest: dict[str, list[_Received]] = {}
    digests: set[str] = set()
    for file, submission in read_submissions(folder, folder, left_out):
        if submission.digest not in digests:
            digests.add(submission.digest)
            evidence = kept_evidence(workspace, submission, left_out)
            received = _Received(file.relative_to(folder).as_posix(), submission, evidence)
            by_manifest.setdefault(submission.manifest_digest, []).append(received)
    if not digests:
        why = f" ({left_out[0]})" if left_out else ""
        raise InputError(
            f"{folder}: no submission in it{why}; `remixbench score --submission FILE` of a workspace writes one"
        )
    pins = _pins(workspace, dataset, by_manifest.keys())
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
                raise InputError(f"{file.parent}: is on the manifest of {other}; say with --dataset which one counts")
            pins[opened.manifest_digest] = opened
    return pins


def _pinned_board(
    dataset: Dataset, submissions: Sequence[_Received], left_out: list[str], require_predictions: bool
) -> Leaderboard:
    """Make the leaderboard of the submissions on a data set of the host, which decides what they have to be on."""
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
    groups = _groups(fitting, left_out, require_predictions)
    chance = chance_of(references, {record.system.fold for group in groups for record in group.records})
    return _board(
        groups,
        dataset.name,
        dataset.recipe.name,
        dataset.manifest_digest,
        dataset.classes,
        dataset.not_comparable,
        chance,
    )


def _unpinned_boards(
    submissions: Sequence[_Received], left_out: list[str], require_predictions: bool
) -> list[Leaderboard]:
    """Make the leaderboard of the submissions on one manifest that most of their senders agree with.

    Each sender has one vote for audio, labels and the name of the data set. Where votes are equal there are several
    boards, as rows of other audio or labels never share one.
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
            why = "is of other audio or labels than those of most senders on this manifest"
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
        board = _board(
            _groups(group, left_out, require_predictions),
            _most_common((received.sender, received.submission.dataset) for received in group),
            _most_common((received.sender, received.submission.recipe) for received in group),
            manifest,
            tuple(sorted(classes)),
            _reasons(manifest),
            Chance(),
        )
        caveat = (
            f"The host has not pinned this data set: its name, labels and audio are those that {most} of {senders}"
            " senders on this manifest name, one vote each."
        )
        boards.append(replace(board, caveat=caveat))
    return boards


def _most_common(votes: Iterable[tuple[str, str]]) -> str:
    """Return the text that most senders give."""
    return min(Counter(text for _, text in {*votes}).items(), key=lambda item: (-item[1], item[0]))[0]


def _groups(submissions: Sequence[_Received], left_out: list[str], require_predictions: bool) -> list[Group]:
    """Gather the records of submissions into rows, those that were recomputed alone if these are required."""
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


def _board(
    groups: Sequence[Group],
    dataset: str,
    recipe: str,
    manifest: str,
    classes: tuple[str, ...],
    reasons: Sequence[str],
    chance: Chance,
) -> Leaderboard:
    board = make_leaderboard(
        dataset=dataset, recipe=recipe, manifest_digest=manifest, classes=classes, reasons=reasons,
        rows=make_rows(groups),
    )  # fmt: skip
    return replace(board, chance=chance, rows=with_probes(mark_best(mark_chance(board.rows, chance))))


def _reasons(manifest: str) -> tuple[str, ...]:
    """Say why published results may not stand beside submissions; by their manifest, whatever they state."""
    recipe = load_published().recipe
    frozen = frozen_manifest(load_recipe(recipe))
    if frozen is not None and frozen.digest == manifest:
        return ()
    return (f"published results are on the manifest of {recipe}, these on another",)
