"""Forged, malformed and mistaken submissions: refused alone in one line, or shown with every unverified value marked.

A quarter of the cases by default; all of them with REMIXBENCH_FORGERIES=all.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_dataset import fake_dataset
from fake_runs import Said, fake_run, tags_text
from forged_submissions import Body, Forgery, forgeries, sign, write_submission
from paths import ROOT

from remixbench import report, score
from remixbench.cli import run as command_line
from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.receipts import write_receipt
from remixbench.leaderboard.record import digests_of, files_digest, parse_record
from remixbench.leaderboard.renderers import FORMATS, render
from remixbench.leaderboard.report.submissions import submitted_leaderboards
from remixbench.leaderboard.submission import read_submission

ALL = list(forgeries())
EVERY = 1 if os.environ.get("REMIXBENCH_FORGERIES") == "all" else 4
CHECK = ROOT / "docs" / "examples" / "leaderboard-repository" / "check.py"
Values = dict[tuple[str, str], float]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another group's workspace: honest submissions of predictions and of a run, and the predictions of each."""
    workspace = tmp_path_factory.mktemp("theirs")
    dataset = fake_dataset(workspace)
    tags = workspace / "tags" / "tags.csv"
    tags.parent.mkdir()
    tags.write_text(tags_text(dataset, 4, noise=0.2, seed=5))
    score(tags, workspace=workspace, name="Lab X", snr=0, fold=4, bootstrap=10, submission=workspace / "tags.json")
    folder = fake_run(workspace, dataset, fraction=0.5)
    score(folder, workspace=workspace, bootstrap=10, submission=workspace / "run.json")
    shutil.copytree(folder / "predictions", workspace / "run")
    other = workspace / "fold3.csv"
    other.write_text(tags_text(dataset, 3, noise=0.2, seed=7))
    score(other, workspace=workspace, name="Lab X", snr=0, fold=3, bootstrap=10, submission=workspace / "fold3.json")
    both = json.loads((workspace / "fold3.json").read_text())
    both["records"] += json.loads((workspace / "tags.json").read_text())["records"]
    sign(both)
    (workspace / "folds.json").write_text(json.dumps(both))
    shutil.copytree(workspace / "tags", workspace / "folds")
    score(workspace=workspace, remove="Lab X")
    score(tags, workspace=workspace, name="Lab X", snr=0, fold=4, bootstrap=10)
    return workspace


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host: a run of its own, and the submission of somebody with predictions."""
    workspace, guest = tmp_path_factory.mktemp("host"), tmp_path_factory.mktemp("guest")
    dataset = fake_dataset(workspace)
    shutil.rmtree(dataset.path / "snr_0")
    fake_run(workspace, dataset, "gmp", noise=0.5)
    score(workspace=workspace, bootstrap=10)
    fake_dataset(guest)
    tags = guest / "guest.csv"
    tags.write_text(tags_text(dataset, 4, noise=0.4, seed=6))
    score(tags, workspace=guest, name="Guest", snr=0, fold=4, bootstrap=10, submission=workspace / "guest.json")
    score(tags, workspace=workspace, add=workspace / "guest.json")
    return workspace


@pytest.fixture(scope="module")
def before(host: Path) -> Values:
    """What the host's leaderboard shows before anything is handed in."""
    return values_of(score(workspace=host, bootstrap=10))


@pytest.fixture(scope="module")
def truth(honest: Path) -> Values:
    """What the predictions of the honest submissions give."""
    return values_of(score(workspace=honest, bootstrap=10))


def values_of(board: Leaderboard, *, verified: bool = True) -> Values:
    """Every value of the rows of others that is shown as verified, in CSV, by metric and class."""
    rows = csv.DictReader(io.StringIO(render(board, "csv")))
    kinds = ("run", "predictions", "added")
    return {
        (row["name"].split(" (")[0], f"{row['metric']}/{row['class']}"): float(row["value"])
        for row in rows
        if row["kind"] in kinds and (row["evidence"] != "self-reported") == verified
    }


def hand_in(forgery: Forgery, honest: Path, folder: Path) -> tuple[Path, list[Path]]:
    """Write a case's submission and predictions into a folder."""
    folder.mkdir(parents=True)
    body = json.loads((honest / f"{forgery.kind}.json").read_text())
    predictions: list[Path] = []
    if forgery.evidence is not None:
        evidence = folder / "predictions"
        shutil.copytree(honest / forgery.kind, evidence)
        forgery.evidence(evidence)
        predictions = sorted(evidence.iterdir())
        if forgery.named:
            made = body["records"][0]["provenance"]
            made["predictions"] = digests_of(predictions)
            made["predictions_digest"] = files_digest(made["predictions"])
    file = folder / "submission.json"
    write_submission(forgery, body, file)
    return file, predictions


def shown_wrongly(board: Leaderboard, truth: Values) -> list[tuple[str, str]]:
    """The values of others that are shown as verified, and are not what their predictions give."""
    shown = values_of(board)
    return [
        key
        for key, value in shown.items()
        if key[0] not in ("gmp", "Guest")
        and not abs(value - truth.get(("gap" if key[0] == "gap" else "Lab X", key[1]), 9.0)) < 1e-6
    ]


@pytest.mark.parametrize("forgery", ALL[::EVERY], ids=lambda forgery: forgery.name.replace(" ", "-"))
def test_a_forgery_is_refused_alone_or_marked(
    forgery: Forgery,
    honest: Path,
    host: Path,
    before: Values,
    truth: Values,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace = tmp_path / "host"
    shutil.copytree(host, workspace)
    file, predictions = hand_in(forgery, honest, tmp_path / "received")
    capsys.readouterr()
    status = command_line(["-q", "--workspace", str(workspace), "score", "--add", str(file), *map(str, predictions)])
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "internal error" not in error
    assert error.count("\n") == (status != 0)
    assert (status == 2) == forgery.refused, error
    board = score(workspace=workspace, bootstrap=10)
    assert {row.name for row in board.rows} >= {"gmp", "Guest"}
    assert before.items() <= values_of(board).items()
    assert shown_wrongly(board, truth) == []
    assert (len(board.rows) > 2) == (status == 0)
    for style in FORMATS:
        assert render(board, style)
    for cell in (cell for row in csv.reader(io.StringIO(render(board, "csv"))) for cell in row):
        assert cell[:1] not in ("=", "+", "@", "\t")
    for row in board.rows:
        for condition in row.conditions.values():
            assert not [estimate for estimate in condition.metrics.values() if estimate.best and not estimate.verified]


def load_check(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("check", repository / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_forgery_keeps_a_repository_or_a_page_from_being_made(
    honest: Path,
    host: Path,
    truth: Values,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All of a share at once, beside an honest group: check.py, and report with and without a pinned data set."""
    pytest.importorskip("jinja2", reason="the page needs jinja2")
    cases = ALL[:: 2 * EVERY]
    repository = tmp_path / "repository"
    shutil.copytree(CHECK.parent, repository)
    shutil.copytree(host / "datasets" / "fake", repository / "datasets" / "fake")
    for number, forgery in enumerate(cases):
        hand_in(forgery, honest, repository / "submissions" / f"group{number:03d}")
    hand_in(Forgery("honest"), honest, repository / "submissions" / "zzz")
    monkeypatch.setattr("sys.argv", ["check.py"])
    check = load_check(repository)
    assert check.main() == 1
    refused = [line for line in capsys.readouterr().err.splitlines() if line.startswith("refused: ")]
    assert [line.split(":")[1].strip() for line in refused] == [
        f"group{number:03d}" for number, forgery in enumerate(cases) if forgery.refused
    ]
    board = score(workspace=repository / "build", bootstrap=10)
    assert shown_wrongly(board, truth) == []
    assert any(row.evidence == "recomputed" and row.name.startswith("Lab X") for row in board.rows)
    page = (repository / "build" / "site" / "index.html").read_text(encoding="utf-8")
    assert "<td>recomputed</td>" in page

    said = Said()
    for pin in (None, host / "datasets" / "fake"):
        page = report(
            submissions=repository / "submissions", workspace=tmp_path / "empty", dataset=pin,
            out=tmp_path / "pages" / "index.html", progress=said,
        )  # fmt: skip
        assert "Lab X" in page.read_text(encoding="utf-8")
    for pinned in submitted_leaderboards(repository / "submissions", workspace=tmp_path / "empty"):
        assert {row.evidence for row in pinned.rows} == {"self-reported"}


def forged_receipt(folder: Path, digest: str, names: list[list[str]]) -> None:
    """What an older version wrote beside submissions, and what this one writes, with a key of the sender's."""
    value: dict[str, Any] = {"format": "remixbench receipt", "submission": digest, "recomputed": ["0" * 64]}
    (folder / f"{digest[:16]}.recomputed.json").write_text(json.dumps(value))
    (folder / "receipts").mkdir()
    (folder / "receipts" / "key").write_text("0" * 64)
    value = {"format": "remixbench receipt", "submission": digest, "verified": names, "signature": "0" * 64}
    (folder / "receipts" / f"{digest[:16]}.json").write_text(json.dumps(value))


def better(honest: Path, file: Path) -> dict[str, Any]:
    """Write the honest submission with a better score, signed."""
    body: dict[str, Any] = json.loads((honest / "tags.json").read_text())
    body["records"][0]["metrics"]["micro_ap"] = 0.999
    sign(body)
    file.write_text(json.dumps(body))
    return body


def test_a_workspace_in_the_folder_of_submissions_is_the_senders(
    honest: Path, host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`report --submissions .` in a received folder with a key, a receipt and a data set in it, each of which fits."""
    received = tmp_path / "received"
    shutil.copytree(host / "datasets" / "fake", received / "datasets" / "fake")
    body = better(honest, received / "x.json")
    record = parse_record(body["records"][0], "x")
    write_receipt(received, read_submission(received / "x.json"), [record.value_names])
    monkeypatch.chdir(received)
    for folder in (Path(), tmp_path):
        (board,) = submitted_leaderboards(folder)
        assert {row.evidence for row in board.rows} == {"self-reported"}
        assert "not pinned" in board.caveat
        assert any("lie in the folder of submissions" in line for line in board.left_out)
    monkeypatch.chdir(tmp_path)
    (board,) = submitted_leaderboards(Path("received"), workspace=host)
    assert board.caveat == ""
    assert {row.evidence for row in board.rows} == {"self-reported"}


def test_what_a_submission_says_of_pretraining_is_marked(honest: Path, host: Path, tmp_path: Path) -> None:
    """Even beside metrics that were recomputed, in every format with a column of it; the mark is explained."""
    workspace = tmp_path / "host"
    shutil.copytree(host, workspace)
    body = json.loads((honest / "run.json").read_text())
    body["records"][0]["system"]["pretrained_on"] = ["AudioSet", "libraries (sound effects)"]
    sign(body)
    (tmp_path / "x.json").write_text(json.dumps(body))
    board = score(honest / "run", workspace=workspace, add=tmp_path / "x.json")
    assert board.find_row("gap").evidence == "recomputed"
    assert "AudioSet; libraries (sound effects)?" in render(board, "md")
    assert "AudioSet; libraries (sound effects)?" in render(board, "latex")
    assert re.search(r"recomputed.*\?$", render(board, "table"), re.MULTILINE)
    for style in ("md", "latex", "table"):
        assert "?: not verified" in render(board, style)


@pytest.mark.parametrize("where", ["beside", "folder", "copied", "another's", "of another submission"])
def test_a_receipt_counts_only_where_this_workspace_wrote_it(
    honest: Path, host: Path, tmp_path: Path, where: str
) -> None:
    workspace, received = tmp_path / "host", tmp_path / "received"
    shutil.copytree(host, workspace)
    received.mkdir()
    body = better(honest, received / "x.json")
    names = [sorted(body["records"][0]["metrics"])]
    if where in ("beside", "folder"):
        forged_receipt(received, body["digest"], names)
        folder = received
        if where == "folder":  # as if all of it had been copied into the workspace
            shutil.copytree(received, workspace / "submissions" / "fake", dirs_exist_ok=True)
            folder = workspace / "submissions" / "fake"
    else:
        score(workspace=workspace, add=received / "x.json")
        folder = workspace / "submissions" / "fake"
        target = workspace / "receipts" / f"{body['digest'][:16]}.json"
        if where == "copied":  # of the sender's making, key and all but the host's own key stays
            forged_receipt(received, body["digest"], names)
            shutil.copy(received / "receipts" / target.name, target)
        elif where == "another's":  # made by another installation, in whose data set the predictions are right
            theirs = tmp_path / "theirs"
            shutil.copytree(host, theirs)
            shutil.rmtree(theirs / "receipts")
            score(honest / "tags" / "tags.csv", workspace=theirs, add=honest / "tags.json")
            (made,) = (theirs / "receipts").glob("*.json")
            content = json.loads(made.read_text()) | {"submission": body["digest"]}
            target.write_text(json.dumps(content))
        else:
            (made,) = (workspace / "receipts").glob("*.json")
            shutil.copy(made, target)
    boards = [score(workspace=workspace, bootstrap=10), *submitted_leaderboards(folder, workspace=workspace)]
    rows = [row for board in boards for row in board.rows if row.name == "Lab X"]
    assert rows
    assert {row.evidence for row in rows} == {"self-reported"}


def test_all_records_are_required_to_be_recomputed_where_the_host_says_so(
    honest: Path, host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "host"
    shutil.copytree(host, workspace)
    with pytest.raises(InputError, match="'Lab X' at 0 dB, fold 4 was not recomputed; give the predictions of every"):
        score(workspace=workspace, add=honest / "tags.json", require_predictions=True)
    assert len(score(workspace=workspace, bootstrap=10).rows) == 2
    score(workspace=workspace, add=honest / "tags.json")
    folder = workspace / "submissions"
    (board,) = submitted_leaderboards(folder, workspace=workspace, require_predictions=True)
    assert [row.name for row in board.rows] == ["Guest"]
    assert any("1 of 1 records were not recomputed" in line for line in board.left_out)
    score(honest / "tags" / "tags.csv", workspace=workspace, add=honest / "tags.json", require_predictions=True)
    (board,) = submitted_leaderboards(folder, workspace=workspace, require_predictions=True)
    assert {row.name: row.evidence for row in board.rows} == {"Guest": "recomputed", "Lab X": "recomputed"}


def test_a_pinned_data_set_decides_and_without_one_a_submission_is_one_vote(
    honest: Path, host: Path, tmp_path: Path
) -> None:
    """Two records of an invented audio digest and name neither outvote an honest one nor name the page."""
    received, dataset = tmp_path / "received", Dataset.open(host / "datasets" / "fake")
    (crowd,) = (forgery for forgery in ALL if forgery.name == "changed: two records of another audio")
    hand_in(crowd, honest, received / "crowd")
    shutil.copy(honest / "run.json", received)
    for pin, workspace in ((dataset.path, tmp_path), (None, host)):
        (board,) = submitted_leaderboards(received, workspace=workspace, dataset=pin)
        assert (board.dataset, board.caveat, [row.name for row in board.rows]) == ("fake", "", ["gap"])
        assert any("was scored on other audio" in line for line in board.left_out)
    boards = submitted_leaderboards(received, workspace=tmp_path)  # one vote against one: a page for each
    assert sorted(board.dataset for board in boards) == ["fake", "fake (official)"]
    shutil.copy(honest / "tags.json", received)
    (board,) = submitted_leaderboards(received, workspace=tmp_path)
    assert (board.dataset, sorted(row.name for row in board.rows)) == ("fake", ["Lab X", "gap"])
    assert "those that 2 of 3 senders on this manifest name, one vote each" in board.caveat
    assert any("is on other audio or labels than those of most senders" in line for line in board.left_out)


def test_a_sender_has_one_vote_however_many_submissions(honest: Path, tmp_path: Path) -> None:
    """A folder with submissions of an invented audio digest and name, beside two groups with one each."""
    received = tmp_path / "received"
    (crowd,) = (forgery for forgery in ALL if forgery.name == "changed: two records of another audio")
    for number in range(4):
        hand_in(replace(crowd, change=many(crowd.change, number)), honest, received / "crowd" / f"{number}")
    for kind in ("run", "tags"):
        (received / kind).mkdir()
        shutil.copy(honest / f"{kind}.json", received / kind)
    (board,) = submitted_leaderboards(received, workspace=tmp_path)
    assert (board.dataset, sorted(row.name for row in board.rows)) == ("fake", ["Lab X", "gap"])
    assert "those that 2 of 3 senders on this manifest name, one vote each" in board.caveat


def many(change: Callable[[Body], object] | None, number: int) -> Callable[[Body], None]:
    """Return a change that differs in what is not looked at, so that no two submissions are the same."""

    def changed(body: Body) -> None:
        assert change is not None
        change(body)
        body["records"][0]["system"]["settings"] = {"number": number}

    return changed


@pytest.mark.parametrize(
    "forge",
    [
        lambda group, secret: (group / "predictions" / "tags.csv").symlink_to(secret),
        lambda group, secret: (group / "submission.json").symlink_to(secret),
        lambda group, secret: (group / "predictions").rmdir() or (group / "predictions").symlink_to(secret.parent),
        lambda group, secret: (
            (group / "predictions" / "a" / "b").mkdir(parents=True)
            or (group / "predictions" / "a" / "b" / "c.wav").symlink_to(secret)
        ),
        lambda group, secret: group.rename(group.with_name("x\n::error::refused: honest")),
        lambda group, secret: group.rename(group.with_name("\x1b[2Jx")),
        lambda group, secret: group.rename(group.with_name("x\u202e")),
    ],
    ids=["predictions", "submission", "folder", "below", "lines", "escape", "right to left"],
)
def test_a_repository_follows_no_link_and_prints_no_name_that_writes_lines(
    forge: Callable[[Path, Path], object],
    honest: Path,
    host: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("jinja2", reason="the page needs jinja2")
    repository, secret = tmp_path / "repository", tmp_path / "elsewhere" / "token.csv"
    shutil.copytree(CHECK.parent, repository, ignore=shutil.ignore_patterns("submissions"))
    shutil.copytree(host / "datasets" / "fake", repository / "datasets" / "fake")
    secret.parent.mkdir()
    shutil.copy(honest / "tags" / "tags.csv", secret)  # what would be read is right
    hand_in(Forgery("honest"), honest, repository / "submissions" / "zzz")
    group = repository / "submissions" / "aaa"
    (group / "predictions").mkdir(parents=True)
    shutil.copy(honest / "run.json", group / "honest.json")
    forge(group, secret)
    monkeypatch.setattr("sys.argv", ["check.py"])
    assert load_check(repository).main() == 1
    lines = capsys.readouterr().err.splitlines()
    (refused,) = (line for line in lines if line.startswith("refused: "))
    assert "is a link" in refused or "cannot be printed" in refused
    assert not [line for line in lines if line.startswith("::") or not line.isprintable()]
    board = score(workspace=repository / "build", bootstrap=10)
    assert [(row.name, row.evidence) for row in board.rows] == [("Lab X", "recomputed")]


def test_verify_says_value_by_value_what_agrees(
    honest: Path, host: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "host"
    shutil.copytree(host, workspace)
    score(workspace=workspace, add=honest / "tags.json")
    tags = str(honest / "tags" / "tags.csv")
    verify = ["-q", "--workspace", str(workspace), "score", "--verify", "Lab X", tags, "--format"]
    assert command_line([*verify, "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["verdict"] for row in rows} == {"agrees"}
    assert {"micro_ap", "ap of classes", "scoring settings"} <= {row["name"] for row in rows}
    assert score(workspace=workspace, bootstrap=10).find_row("Lab X").evidence == "recomputed"

    score(workspace=workspace, remove="Lab X")
    better(honest, tmp_path / "x.json")
    score(workspace=workspace, add=tmp_path / "x.json")
    assert command_line([*verify, "json"]) == 1
    out, error = capsys.readouterr()
    values = {value["name"]: value for value in json.loads(out)["values"]}
    assert {name for name, value in values.items() if value["verdict"] == "differs"} == {"micro_ap"}
    assert values["micro_ap"]["submitted"] == 0.999
    assert error == "remixbench: --verify 'Lab X': does not agree with its predictions\n"
    assert command_line([*verify, "table"]) == 1
    assert "micro_ap is 0.999, but its predictions give 0.95" in " ".join(capsys.readouterr().out.split())
    assert score(workspace=workspace, bootstrap=10).find_row("Lab X").evidence == "self-reported"
    with pytest.raises(InputError, match="--verify 'gmp': not from a submission"):
        score(tags, workspace=workspace, verify="gmp")
    with pytest.raises(InputError, match="--verify 'Lab X': give the predictions that it was made from"):
        score(workspace=workspace, verify="Lab X")


def digests_below(honest: str, body: dict[str, Any]) -> dict[str, Any]:
    """Vary a text until the digest comes before that of an honest submission, which decides the order of rows."""
    for number in range(10_000):
        body["recipe"] = f"fake {number}"
        sign(body)
        if body["digest"] < honest:
            return body
    raise AssertionError


def test_nobody_takes_the_place_of_a_row_by_naming_its_predictions(honest: Path, host: Path, tmp_path: Path) -> None:
    """A record of the same name and predictions with other numbers, read before the honest one."""
    workspace, received = tmp_path / "host", tmp_path / "received"
    shutil.copytree(host, workspace)
    received.mkdir()
    body: dict[str, Any] = json.loads((honest / "tags.json").read_text())
    expected, digest = body["records"][0]["metrics"]["micro_ap"], body["digest"]
    body["records"][0]["metrics"]["micro_ap"] = 0.001
    (received / "a.json").write_text(json.dumps(digests_below(digest, body)))
    shutil.copy(honest / "tags.json", received / "b.json")

    def rows(board: Leaderboard) -> list[tuple[str, float]]:
        named = [row for row in board.rows if row.name.startswith("Lab X")]
        return sorted((row.evidence, row.conditions[0.0].metrics["micro_ap"].value) for row in named)

    for file in received.iterdir():
        board = score(workspace=workspace, add=file)
    both = [("self-reported", 0.001), ("self-reported", expected)]
    assert rows(board) == both
    (alone,) = submitted_leaderboards(received, workspace=tmp_path / "empty")
    assert rows(alone) == both
    board = score(honest / "tags" / "tags.csv", workspace=workspace, add=honest / "tags.json")
    assert rows(board) == [("recomputed", expected)]
    (alone,) = submitted_leaderboards(received, workspace=workspace)
    assert rows(alone) == [("recomputed", expected)]
