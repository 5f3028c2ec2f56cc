"""Submissions: what is written is what is read, and whatever was changed on the way is found."""

from __future__ import annotations

import copy
import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from fake_dataset import fake_dataset
from fake_runs import Said, fake_run, tags_text, write_frames
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remixbench import score
from remixbench.cli import run as command_line
from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.files import content_digest
from remixbench.leaderboard.evaluate import evaluate
from remixbench.leaderboard.leaderboard import Leaderboard, load_leaderboard
from remixbench.leaderboard.record import check_system_name, parse_record
from remixbench.leaderboard.renderers import FORMATS, render
from remixbench.leaderboard.report.submissions import submitted_leaderboards
from remixbench.leaderboard.significance import compare_rows
from remixbench.leaderboard.submission import read_submission
from remixbench.scoring import SCORING_VERSION
from remixbench.sources.catalogue import plain_text


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another installation: a run of gap, predictions of a third party, and the submission of both."""
    workspace = tmp_path_factory.mktemp("theirs")
    dataset = fake_dataset(workspace)
    fake_run(workspace, dataset)
    fake_run(workspace, dataset, seed=1)
    score(workspace=workspace, bootstrap=50, submission=workspace / "runs.json")
    (workspace / "tags.csv").write_text(tags_text(dataset, 4, noise=0.2, seed=5))
    score(
        workspace / "tags.csv", workspace=workspace, name="Lab X", snr=0, fold=4, bootstrap=50,
        submission=workspace / "lab.json",
    )  # fmt: skip
    return workspace


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    fake_dataset(tmp_path)
    return tmp_path


def names(board: Leaderboard) -> list[tuple[str, str]]:
    return [(row.kind, row.name) for row in board.rows]


def sign(record: dict[str, Any]) -> None:
    """Write the digest that fits a record."""
    record["digest"] = content_digest(record)


def changed(file: Path, to: Path, **figures: float) -> Path:
    """A copy of a submission with other figures and a digest that fits them."""
    body = json.loads(file.read_text())
    body["records"][0]["metrics"].update(figures)
    sign(body["records"][0])
    body["digest"] = content_digest(body)
    to.write_text(json.dumps(body))
    return to


def test_a_submission_is_added_and_stays(theirs: Path, ours: Path) -> None:
    board = score(workspace=ours, add=theirs / "runs.json")
    assert names(board) == [("added", "gap")]
    board = score(workspace=ours, add=theirs / "lab.json")
    assert names(board) == [("added", "gap"), ("added", "Lab X")]
    there = load_leaderboard(theirs, Dataset.open(theirs / "datasets" / "fake"))
    for row in board.rows:
        (same,) = (each for each in there.rows if each.name == row.name)
        expected = same.conditions[0.0].metrics
        assert row.conditions[0.0].metrics == {
            name: replace(estimate, best=False, verified=False) for name, estimate in expected.items()
        }
    assert names(score(workspace=ours)) == [("added", "gap"), ("added", "Lab X")]


def test_predictions_in_several_forms_are_checked_together(ours: Path) -> None:
    dataset = Dataset.open(ours / "datasets" / "fake")
    (ours / "tags.csv").write_text(tags_text(dataset, 4, noise=0.2, seed=5))
    write_frames(dataset, 4, ours / "frames.npz", seed=6)
    both = ours / "tags.csv", ours / "frames.npz"
    score(*both, workspace=ours, name="Both", snr=0, fold=4, bootstrap=20, submission=ours / "both.json")
    said = Said()
    score(*both, workspace=ours, add=ours / "both.json", progress=said)
    assert any("1 record added, 1 recomputed from predictions" in line for line in said.lines)
    with pytest.raises(InputError, match=r"tags\.csv: no record of .*both\.json was made from it"):
        score(both[0], workspace=ours, add=ours / "both.json")


def test_adding_twice_changes_nothing(theirs: Path, ours: Path) -> None:
    score(workspace=ours, add=theirs / "runs.json")
    before = {f: f.read_bytes() for f in ours.rglob("*") if f.is_file()}
    score(workspace=ours, add=theirs / "runs.json")
    assert {f: f.read_bytes() for f in ours.rglob("*") if f.is_file()} == before


def test_the_same_submission_is_written_every_time(theirs: Path) -> None:
    before = (theirs / "runs.json").read_bytes()
    score(theirs / "runs" / "fake" / "gap", workspace=theirs, bootstrap=50, submission=theirs / "runs.json")
    assert (theirs / "runs.json").read_bytes() == before


def test_ones_own_submission_adds_no_second_row(theirs: Path, tmp_path: Path) -> None:
    shutil.copytree(theirs, tmp_path / "copy")
    board = score(workspace=tmp_path / "copy", add=theirs / "runs.json")
    assert names(board) == [("run", "gap"), ("predictions", "Lab X")]


def test_two_submissions_with_one_name_are_two_rows(theirs: Path, ours: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    dataset = fake_dataset(other)
    fake_run(other, dataset, noise=0.7)
    score(workspace=other, bootstrap=50, submission=tmp_path / "other.json")
    score(workspace=ours, add=theirs / "runs.json")
    board = score(workspace=ours, add=tmp_path / "other.json")
    digests = sorted(read_submission(f).digest[:8] for f in (theirs / "runs.json", tmp_path / "other.json"))
    assert sorted(row.name for row in board.rows) == sorted(f"gap ({digest})" for digest in digests)


def test_a_row_that_came_in_a_submission_can_be_told_from_an_own_of_its_name(theirs: Path, ours: Path) -> None:
    fake_run(ours, Dataset.open(ours / "datasets" / "fake"), noise=0.7)
    score(workspace=ours, bootstrap=50)
    board = score(workspace=ours, add=theirs / "runs.json")
    added = f"gap ({read_submission(theirs / 'runs.json').digest[:8]})"
    assert names(board) == [("run", "gap"), ("added", added)]
    assert compare_rows(board, "gap", added).differences
    assert names(score(workspace=ours, remove=added)) == [("run", "gap")]


def test_the_same_predictions_stand_once_under_each_name(theirs: Path, ours: Path, tmp_path: Path) -> None:
    """With and without the data set; one training does not count twice because it is said to have two seeds."""
    other = tmp_path / "other"
    dataset = fake_dataset(other)
    first, second = (fake_run(other, dataset, "gmp", seed=seed) for seed in (0, 1))
    shutil.copy(*(run / "predictions" / "tags.csv" for run in (first, second)))
    score(workspace=other, bootstrap=50, submission=tmp_path / "runs.json")
    about: dict[str, Any] = {"workspace": other, "snr": 0, "fold": 4, "bootstrap": 50}
    for name in ("Lab X", "Lab Y"):
        score(theirs / "tags.csv", name=name, submission=tmp_path / f"{name}.json", **about)
    for file in (theirs / "lab.json", *(tmp_path / f"{name}.json" for name in ("runs", "Lab X", "Lab Y"))):
        board = score(workspace=ours, add=file)
    (alone,) = submitted_leaderboards(ours / "submissions")
    for rows in (board.rows, alone.rows):
        assert {row.name: row.conditions[0.0].seeds for row in rows} == {"gmp": (0,), "Lab X": (), "Lab Y": ()}
        assert next(row.conditions[0.0].one_training for row in rows if row.name == "gmp")


def test_a_changed_figure_does_not_fit_the_digest(theirs: Path, ours: Path, tmp_path: Path) -> None:
    text = (theirs / "lab.json").read_text()
    figure = json.loads(text)["records"][0]["metrics"]["micro_ap"]
    (tmp_path / "bad.json").write_text(text.replace(repr(figure), "0.99", 1))
    with pytest.raises(InputError, match="was changed after it was written"):
        score(workspace=ours, add=tmp_path / "bad.json")
    assert not (ours / "submissions").exists()


def test_a_forged_digest_is_found_where_the_predictions_are_given(theirs: Path, ours: Path, tmp_path: Path) -> None:
    forged = changed(theirs / "lab.json", tmp_path / "forged.json", micro_ap=0.99)
    with pytest.raises(InputError, match=r"'Lab X' at 0 dB: micro_ap is 0.99, but its predictions give 0\.\d+"):
        score(theirs / "tags.csv", workspace=ours, add=forged)
    assert not (ours / "submissions").exists()


def test_every_kind_of_figure_is_checked_against_the_predictions(theirs: Path, ours: Path, tmp_path: Path) -> None:
    def forge(change: Any) -> Path:
        body = json.loads((theirs / "lab.json").read_text())
        change(body["records"][0])
        sign(body["records"][0])
        body["digest"] = content_digest(body)
        (tmp_path / "forged.json").write_text(json.dumps(body))
        return tmp_path / "forged.json"

    def raise_class(record: Any) -> None:
        record["per_class"]["ap"]["Bark"] = 0.999

    def widen(record: Any) -> None:
        record["intervals"]["micro_ap"] = [0.0, 1.0]

    def redraw(record: Any) -> None:
        record["bootstrap_samples"]["micro_ap"] = record["bootstrap_samples"]["macro_auc"]

    def turn_into_text(record: Any) -> None:
        record["intervals"]["micro_ap"] = ["low", 1.0]

    for change, message in (
        (turn_into_text, r"intervals\.micro_ap\.0: found 'low'; expected a number"),
        (raise_class, "ap of Bark"),
        (widen, "interval of micro_ap"),
        (redraw, "its bootstrap samples"),
    ):
        with pytest.raises(InputError, match=message):
            score(theirs / "tags.csv", workspace=ours, add=forge(change))


def test_the_right_predictions_are_right_under_any_name(theirs: Path, ours: Path, tmp_path: Path) -> None:
    shutil.copy(theirs / "tags.csv", tmp_path / "renamed.csv")
    assert names(score(tmp_path / "renamed.csv", workspace=ours, add=theirs / "lab.json")) == [("added", "Lab X")]
    with pytest.raises(InputError, match=r"no record of .* was made from it"):
        score(tmp_path / "renamed.csv", workspace=ours, add=theirs / "runs.json")


def test_a_run_folder_serves_as_evidence(theirs: Path, ours: Path) -> None:
    assert names(score(theirs / "runs" / "fake" / "gap", workspace=ours, add=theirs / "runs.json"))


def test_other_data_are_refused(theirs: Path, tmp_path: Path) -> None:
    fake_dataset(tmp_path, seed=1)
    with pytest.raises(InputError, match="is on another manifest"):
        score(workspace=tmp_path, add=theirs / "lab.json")


def test_other_labels_are_refused(theirs: Path, ours: Path) -> None:
    strong = ours / "datasets" / "fake" / "labels" / "strong.tsv"
    strong.write_text(strong.read_text().replace("\t0.75\t", "\t0.74\t"))
    with pytest.raises(InputError, match=r"strong\.tsv: differs from its digest in dataset\.json"):
        score(workspace=ours, add=theirs / "lab.json")


def test_another_scoring_version_is_refused(
    theirs: Path, ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = json.loads((theirs / "lab.json").read_text())
    body["records"][0]["provenance"]["scoring_version"] = "0"
    sign(body["records"][0])
    body["digest"] = content_digest(body)
    (tmp_path / "old.json").write_text(json.dumps(body))
    with pytest.raises(InputError, match=f"scoring version 0, this is {SCORING_VERSION}"):
        score(workspace=ours, add=tmp_path / "old.json")
    assert command_line(["-q", "--workspace", str(ours), "score", "--add", str(tmp_path / "old.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_submission_that_was_changed_in_its_place_is_left_out(theirs: Path, ours: Path) -> None:
    score(workspace=ours, add=theirs / "runs.json")
    score(workspace=ours, add=theirs / "lab.json")
    (file,) = (f for f in (ours / "submissions" / "fake").iterdir() if "Lab X" in f.read_text())
    file.write_text(file.read_text().replace("Lab X", "Lab Y"))
    board = score(workspace=ours)
    assert names(board) == [("added", "gap")]
    assert "was changed after it was written" in board.left_out[0]


def test_broken_files_beside_a_submission_do_not_keep_its_rows(theirs: Path, ours: Path) -> None:
    for name in ("runs.json", "lab.json"):
        score(workspace=ours, add=theirs / name)
    (ours / "submissions" / "fake" / "0.json").write_text("{")
    said = Said()
    assert names(score(workspace=ours, remove="gap", progress=said)) == [("added", "Lab X")]
    assert any(line.startswith("skipped submissions/fake/0.json: ") for line in said.lines)
    assert names(score(workspace=ours, remove="Lab X")) == []
    assert not list((ours / "leaderboard").iterdir())


def test_without_its_receipt_a_submission_was_not_recomputed(theirs: Path, ours: Path) -> None:
    (row,) = score(theirs / "tags.csv", workspace=ours, add=theirs / "lab.json").rows
    assert row.evidence == "recomputed"
    (receipt,) = (ours / "receipts").glob("*.json")
    for text in ("{", "{}"):
        receipt.write_text(text)
        for board in (score(workspace=ours), *submitted_leaderboards(ours / "submissions" / "fake", workspace=ours)):
            assert [row.evidence for row in board.rows] == ["self-reported"]
            (line,) = board.left_out
            assert receipt.name in line


def test_a_submission_added_again_replaces_broken_files(theirs: Path, ours: Path) -> None:
    score(theirs / "tags.csv", workspace=ours, add=theirs / "lab.json")
    (stored,), (receipt,) = (ours / "submissions" / "fake").iterdir(), (ours / "receipts").glob("*.json")
    for file in (stored, receipt):
        file.write_text("")
    score(theirs / "tags.csv", workspace=ours, add=theirs / "lab.json")
    (row,) = score(workspace=ours).rows
    assert (row.name, row.evidence) == ("Lab X", "recomputed")


def renamed(submission: Path, file: Path, name: str) -> Path:
    """Write a submission anew, its first record under another name, with matching digests."""
    body = json.loads(submission.read_text())
    body["records"][0]["system"]["name"] = name
    sign(body["records"][0])
    body["digest"] = content_digest(body)
    file.write_text(json.dumps(body))
    return file


@pytest.mark.parametrize("name", ["gap", "GAP, better", "2ap-aux (ours)", "gap†", "gap*"])
def test_third_party_predictions_cannot_take_the_name_of_a_system(
    theirs: Path, ours: Path, tmp_path: Path, name: str
) -> None:
    posing = renamed(theirs / "lab.json", tmp_path / "posing.json", name)
    with pytest.raises(InputError, match="is the name of a system"):
        score(workspace=ours, add=posing)


@pytest.mark.parametrize("name", ["g\u0430p", "my crn\u0438", "\u0397ybrid", "2\u0430p-aux", "\u0441rnn-sep"])
def test_names_of_letters_of_two_alphabets_are_refused(theirs: Path, ours: Path, tmp_path: Path, name: str) -> None:
    posing = renamed(theirs / "lab.json", tmp_path / "posing.json", name)
    with pytest.raises(InputError, match="mixes letters of alphabets that look alike"):
        score(workspace=ours, add=posing)
    with pytest.raises(InputError, match=f"--name: '{name}' mixes letters of alphabets"):
        check_system_name(name, [])


@pytest.mark.parametrize(
    "name",
    [
        "\u0421\u0438\u0441\u0442\u0435\u043c\u0430 2",
        "\u6f22\u5b57net",
        "\u03b2-VAE",
        "M\u00fcller \u00b5-law",
        "\u05e7\u05d5\u05dc",
    ],
)
def test_names_of_one_alphabet_are_names(name: str) -> None:
    assert check_system_name(name, []) == name


@pytest.mark.parametrize("option", [{"name": "x"}, {"snr": 0.0}, {"fold": 4}, {"submission": "x.json"}])
def test_options_that_do_not_go_with_add(theirs: Path, ours: Path, option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"--{next(iter(option))}: cannot be combined with --add"):
        score(workspace=ours, add=theirs / "lab.json", **option)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in items for place in leaves(each, (*path, key)))]


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=20), st.just([]),
    st.just({}), st.just({"a": {"b": [1]}}), st.just([["x"]]), st.just("\x1b[31m"), st.just("A" * 300),
)  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mutation_is_added_whole_or_refused_in_one_line(theirs: Path, data: st.DataObject) -> None:
    """Also where the digest was forged to fit: no traceback, and no format that breaks."""
    source = theirs / "mutated"
    body = json.loads((theirs / "runs.json").read_text())
    body["records"] = body["records"][:1]
    body = copy.deepcopy(body)
    place = data.draw(st.sampled_from([path for path in leaves(body) if path]))
    target = body
    for key in place[:-1]:
        target = target[key]
    if data.draw(st.booleans()):
        target[place[-1]] = data.draw(JUNK)
    else:
        del target[place[-1]]
    with suppress(ValueError, AttributeError, TypeError, KeyError, IndexError):
        if data.draw(st.booleans()):
            sign(body["records"][0])
    with suppress(ValueError):  # a number that is not finite: the digest stays the old one
        body["digest"] = content_digest(body)
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(theirs / "datasets", source / "datasets")
    file = source / "mutated.json"
    file.write_text(json.dumps(body))
    try:
        board = score(workspace=source, add=file)
    except InputError as refused:
        lines = str(refused).splitlines()
        assert len(lines) == 1
        return
    for style in FORMATS:
        assert render(board, style)


def test_one_score_at_a_time_works_in_a_workspace(theirs: Path, ours: Path) -> None:
    """A second one waits, and shows what the first has added."""
    said = Said()
    lock = FileLock(ours / ".score.lock")
    done: list[Leaderboard] = []
    with lock:
        second = Thread(target=lambda: done.append(score(workspace=ours, add=theirs / "lab.json", progress=said)))
        second.start()
        second.join(timeout=1)
        assert second.is_alive()
        assert not (ours / "submissions").exists()
    second.join(timeout=60)
    assert [row.name for row in done[0].rows] == ["Lab X"]
    assert any("another `remixbench score` is at work; waiting" in line for line in said.lines)


def test_predictions_that_change_while_they_are_scored_are_not_submitted(
    ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = ours / "tags.csv"
    dataset = Dataset.open(ours / "datasets" / "fake")
    tags.write_text(tags_text(dataset, 4, noise=0.2, seed=5))

    def evaluate_changed(*given: Any) -> Any:
        tags.write_text(tags_text(dataset, 4, noise=0.1, seed=6) + "\n")
        return evaluate(*given)

    monkeypatch.setattr("remixbench.leaderboard.score.evaluate", evaluate_changed)
    options: dict[str, Any] = {"workspace": ours, "name": "Lab X", "snr": 0, "fold": 4, "bootstrap": 10, "jobs": 1}
    with pytest.raises(InputError, match=r"tags\.csv: was changed while it was scored; score it again"):
        score(tags, submission=ours / "x.json", **options)
    assert not (ours / "x.json").exists()
    monkeypatch.undo()
    score(tags, submission=ours / "x.json", **options)
    assert score(tags, workspace=ours, add=ours / "x.json").find_row("Lab X").evidence == "ours"


def test_a_submission_that_no_table_can_show_is_not_kept(
    theirs: Path, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever nobody thought of: it is refused before it is stored."""

    def overflow(board: Leaderboard) -> str:
        raise OverflowError("int too large to convert to float")

    monkeypatch.setattr("remixbench.leaderboard.hosting.leaderboard_texts", overflow)
    with pytest.raises(InputError, match=r"cannot be shown in a table \(OverflowError: int too large"):
        score(workspace=ours, add=theirs / "lab.json")
    assert not (ours / "submissions").exists()


def test_formulas_stand_behind_an_apostrophe_in_csv() -> None:
    assert [plain_text(text) for text in ("=1+1", "@x", "-y", "+z", "\tq", "x=1", "", 3)] == [
        "'=1+1", "'@x", "'-y", "'+z", "'\tq", "x=1", "", 3
    ]  # fmt: skip


def test_a_run_whose_settings_cannot_stand_in_a_record_is_named(ours: Path) -> None:
    folder = fake_run(ours, Dataset.open(ours / "datasets" / "fake"), options={"x": "A" * 600})
    with pytest.raises(InputError, match=r"run\.json: .*expected texts of at most 500 printable characters; train it"):
        score(folder, workspace=ours, bootstrap=10)


def test_settings_may_have_a_value_for_each_of_many_classes(theirs: Path) -> None:
    """As boxes that are tuned class by class have, on data sets of 400 classes and more."""
    body = json.loads((theirs / "lab.json").read_text())["records"][0]
    for count, allowed in ((456, True), (10_000, False)):
        body["settings"]["sebb"] = {f"class {k}": {"step": 0.1, "merge_absolute": None} for k in range(count)}
        sign(body)
        if allowed:
            assert len(parse_record(body, "x").settings["sebb"]) == count
        else:
            with pytest.raises(InputError, match=r"x: settings: expected at most 2000 values"):
                parse_record(body, "x")
