"""A leaderboard from submissions alone: the page, what is believed, and the example repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_dataset import fake_dataset
from fake_runs import Said, fake_run, tags_text
from paths import ROOT

from remixbench import report, score
from remixbench.cli import run
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.info import write_info
from remixbench.errors import InputError
from remixbench.leaderboard.report.submissions import submitted_leaderboards
from remixbench.recipe import SnrRange

REPOSITORY = ROOT / "docs" / "examples" / "leaderboard-repository"


def submit(workspace: Path, dataset: Dataset, name: str, file: Path, *, noise: float = 0.3) -> Path:
    """Score made-up predictions as `name`; writes the submission to `file` and returns the predictions."""
    tags = workspace / f"{name} tags.csv"
    tags.write_text(tags_text(dataset, 4, noise=noise, seed=len(name)))
    score(tags, workspace=workspace, name=name, snr=0, fold=4, bootstrap=20, submission=file)
    return tags


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return fake_dataset(tmp_path / "theirs")


@pytest.fixture
def received(tmp_path: Path, dataset: Dataset) -> Path:
    """A folder with submissions of two groups on one data set, and of one on another."""
    pytest.importorskip("jinja2", reason="the page needs jinja2")
    folder = tmp_path / "received"
    (folder / "b").mkdir(parents=True)
    submit(tmp_path / "theirs", dataset, "Lab X", folder / "x.json")
    submit(tmp_path / "theirs", dataset, "Lab Y", folder / "b" / "y.json", noise=0.05)
    other = fake_dataset(tmp_path / "theirs", name="other", seed=1)
    tags = tmp_path / "theirs" / "other.csv"
    tags.write_text(tags_text(other, 4, noise=0.3, seed=9))
    score(tags, workspace=tmp_path / "theirs", dataset="other", name="Lab Z", snr=0, fold=4, bootstrap=20,
          submission=folder / "z.json")  # fmt: skip
    return folder


def test_there_is_one_leaderboard_per_manifest(received: Path) -> None:
    boards = submitted_leaderboards(received)
    assert [(board.dataset, [row.name for row in board.rows]) for board in boards] == [
        ("fake", ["Lab X", "Lab Y"]),
        ("other", ["Lab Z"]),
    ]
    assert not any(board.comparable for board in boards)
    assert not any(row.conditions[0.0].metrics["micro_ap"].best for row in boards[0].rows)


def test_the_page_needs_no_data_set(received: Path, tmp_path: Path, dataset: Dataset) -> None:
    shutil.rmtree(tmp_path / "theirs")
    page = report(submissions=received, out=tmp_path / "site" / "index.html")
    text = page.read_text(encoding="utf-8")
    assert [word for word in ("Lab X", "Lab Y", "self-reported") if word not in text] == []
    assert "Lab Z" not in text
    second = page.with_name(f"index-{submitted_leaderboards(received)[1].manifest_digest[:8]}.html")
    assert f'<a href="{second.name}">' in text
    assert "Lab Z" in second.read_text(encoding="utf-8")


def test_what_does_not_fit_is_left_out_with_the_reason(received: Path, tmp_path: Path) -> None:
    (received / "notes.json").write_text('{"not": "a submission"}')
    broken = received / "broken.json"
    broken.write_text((received / "x.json").read_text().replace("Lab X", "Lab Q"))
    said = Said()
    (first, _) = submitted_leaderboards(received, said)
    assert [row.name for row in first.rows] == ["Lab X", "Lab Y"]
    assert said.lines == [line for line in said.lines if line.startswith("skipped broken.json: was changed after")]
    assert "notes.json" not in "".join(first.left_out)


def test_a_data_set_here_says_what_range_its_snrs_are_drawn_from(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path, snrs=(0.0,))
    mix = dataset.recipe.mix.model_copy(update={"snrs": SnrRange(range=(-5.0, 5.0))})
    plan = dataset.recipe.plan.model_copy(update={"method": "grouped"})
    recipe = dataset.recipe.model_copy(update={"mix": mix, "plan": plan})
    write_info(dataset.path, dataset.info.model_copy(update={"recipe": recipe}))
    (tmp_path / "received").mkdir()
    submit(tmp_path, Dataset.open(dataset.path), "Lab X", tmp_path / "received" / "x.json")
    ours = score(workspace=tmp_path, bootstrap=0)
    (board,) = submitted_leaderboards(tmp_path / "received", workspace=tmp_path)
    assert board.snr_text(0.0) == ours.snr_text(0.0) == "−5 to 5 dB"


def test_bad_input_is_one_line(received: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder; give --submissions a folder"):
        report(submissions=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no submission in it; `remixbench score --submission FILE`"):
        report(submissions=tmp_path / "empty")
    with pytest.raises(InputError, match="--require-predictions: only works with --submissions"):
        report(workspace=tmp_path / "theirs", require_predictions=True)


def test_a_row_says_whether_it_was_recomputed(tmp_path: Path, dataset: Dataset) -> None:
    file = tmp_path / "x.json"
    tags = submit(tmp_path / "theirs", dataset, "Lab X", file)
    ours = tmp_path / "ours"
    fake_dataset(ours)
    said = Said()
    assert score(workspace=ours, add=file, progress=said).find_row("Lab X").evidence == "self-reported"
    digest = json.loads(file.read_text())["records"][0]["provenance"]["predictions_digest"][:12]
    assert f"{file}: not recomputed: 'Lab X' at 0 dB, fold 4; needs Lab X tags.csv (SHA-256 {digest})" in said.lines
    assert score(tags, workspace=ours, add=file).find_row("Lab X").evidence == "recomputed"
    # it stays so, also for the page of submissions alone, in that workspace and nowhere else
    assert score(workspace=ours, add=file).find_row("Lab X").evidence == "recomputed"
    for workspace, evidence in ((ours, "recomputed"), (tmp_path / "elsewhere", "self-reported")):
        (board,) = submitted_leaderboards(ours / "submissions", workspace=workspace)
        assert board.find_row("Lab X").evidence == evidence


def test_all_folds_of_a_row_are_one_submission(tmp_path: Path, dataset: Dataset) -> None:
    theirs, ours, file = tmp_path / "theirs", tmp_path / "ours", tmp_path / "x.json"
    predictions: list[Path] = []
    for fold in (1, 4):
        tags, events = theirs / f"tags {fold}.csv", theirs / f"events {fold}.tsv"
        tags.write_text(tags_text(dataset, fold, noise=0.3, seed=fold))
        clips = [dataset.filenames[row] for row in dataset.test_rows(fold)]
        rows = [f"{name}\t1.0\t2.0\t{dataset.classes[0]}\n" for name in clips[: fold + 1]]
        events.write_text("".join(["filename\tonset\toffset\tevent_label\n", *rows]))
        score(tags, events, workspace=theirs, name="Lab X", snr=0, fold=fold, bootstrap=20)
        predictions += [tags, events]
    row = score(workspace=theirs, name="Lab X", submission=file).find_row("Lab X")
    fake_dataset(ours)
    added = score(*predictions, workspace=ours, add=file).find_row("Lab X")
    assert added.evidence == "recomputed"
    assert added.conditions[0].folds == row.conditions[0].folds == (1, 4)
    with pytest.raises(InputError, match="--name 'Lab X': is of a submission; expected a row that was scored in this"):
        score(workspace=ours, name="Lab X", submission=file)
    with pytest.raises(InputError, match="unknown leaderboard row 'Lab Y'"):
        score(workspace=theirs, name="Lab Y", submission=file)
    with pytest.raises(InputError, match="--fold: only works with predictions or runs, and none are given"):
        score(workspace=theirs, name="Lab X", fold=1, submission=file)


def test_rows_are_removed_by_name(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    ours = tmp_path / "ours"
    fake_run(ours, fake_dataset(ours))
    score(workspace=ours, bootstrap=20)
    submit(ours, Dataset.open(ours / "datasets" / "fake"), "Mine", tmp_path / "mine.json")
    submit(tmp_path / "theirs", dataset, "Lab X", tmp_path / "x.json")
    score(workspace=ours, add=tmp_path / "x.json")

    def remove(name: str) -> int:
        return run(["--workspace", str(ours), "score", "--remove", name])

    assert remove("Lab X") == 0
    assert list((ours / "submissions").rglob("*.json")) == []
    capsys.readouterr()
    assert remove("Mine") == 0
    assert "Mine" not in capsys.readouterr().out
    assert (tmp_path / "mine.json").exists()
    assert remove("gap") == 2
    assert "was trained in this workspace; delete its folder runs/fake/gap" in capsys.readouterr().err
    assert remove("Lab X") == 2
    assert "unknown leaderboard row 'Lab X'" in capsys.readouterr().err


def test_the_last_row_is_removed_as_well(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = tmp_path / "theirs"
    submit(workspace, dataset, "Lab X", tmp_path / "x.json")
    assert run(["-q", "--workspace", str(workspace), "score", "--remove", "Lab X"]) == 0
    assert capsys.readouterr().out == "no rows are left on data set fake\n"
    assert list((workspace / "leaderboard").iterdir()) == []


def test_the_example_repository(tmp_path: Path, dataset: Dataset) -> None:
    pytest.importorskip("jinja2", reason="the page needs jinja2")
    repository = tmp_path / "repository"
    shutil.copytree(REPOSITORY, repository)
    for name in ("manifest", "labels"):
        shutil.copytree(dataset.path / name, repository / "datasets" / "fake" / name)
    for file in (dataset.path / "dataset.json", *dataset.path.glob("*.csv")):
        shutil.copy(file, repository / "datasets" / "fake")
    good, bare, forged = (repository / "submissions" / name for name in ("good", "bare", "forged"))
    for group, name in ((good, "Lab X"), (bare, "Lab Y")):
        group.mkdir()
        tags = submit(tmp_path / "theirs", dataset, name, group / "submission.json")
        if group == good:
            (group / "predictions").mkdir()
            shutil.copy(tags, group / "predictions")

    def check() -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "check.py"]
        return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)

    done = check()
    assert done.returncode == 0, done.stderr
    page = (repository / "build" / "site" / "index.html").read_text(encoding="utf-8")
    assert "<td>recomputed</td>" in page
    assert "<td>self-reported</td>" in page

    shutil.copytree(good, forged)
    (forged / "predictions" / "Lab X tags.csv").write_text(tags_text(dataset, 4, noise=0.3, seed=99))
    done = check()
    assert done.returncode == 1
    assert "refused: forged: " in done.stderr
    assert "no record of" in done.stderr
