"""`remixbench score` as it is typed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from fake_dataset import fake_dataset
from fake_runs import fake_run, tags_text

from remixbench.cli import run
from remixbench.dataset.dataset import Dataset
from remixbench.leaderboard import submission


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return fake_dataset(tmp_path)


def test_score_prints_the_leaderboard_and_writes_it_in_every_format(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    for system in ("gap", "2ap-aux"):
        for snr in (0.0, 20.0):
            fake_run(tmp_path, dataset, system, snr=snr)
    assert run(["-q", "--workspace", str(tmp_path), "score", "--bootstrap", "20"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [word for word in ("gap", "2ap-aux", "20 dB") if word not in out] == []
    for style, suffix in (("md", "md"), ("csv", "csv"), ("json", "json"), ("latex", "tex")):
        assert run(["-q", "--workspace", str(tmp_path), "score", "--bootstrap", "20", "--format", style]) == 0
        assert capsys.readouterr().out == (tmp_path / "leaderboard" / f"fake.{suffix}").read_text()


def test_score_with_standard_output_closed(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_run(tmp_path, dataset)
    monkeypatch.setattr("sys.stdout", None)  # as `>&-` leaves it
    assert run(["-q", "--workspace", str(tmp_path), "score", "--bootstrap", "0"]) == 0
    assert (tmp_path / "leaderboard" / "fake.json").exists()


def test_one_run_or_a_name_folder_runs(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (fake_run(tmp_path, dataset, "gap", snr=snr) for snr in (0.0, 20.0))
    third = fake_run(tmp_path, dataset, "gmp")
    score = ["-q", "--workspace", str(tmp_path), "score", "--bootstrap", "0"]
    assert run([*score, str(first)]) == 0
    assert [(each / "metrics.json").exists() for each in (first, second, third)] == [True, False, False]
    assert run([*score, str(tmp_path / "runs" / "fake" / "gap")]) == 0
    assert [(each / "metrics.json").exists() for each in (first, second, third)] == [True, True, False]
    capsys.readouterr()


@pytest.mark.parametrize("options", ["", "--details", "--format md", "--format csv", "--format json", "--format latex"])
def test_one_snr_in_every_format(
    tmp_path: Path, dataset: Dataset, options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_0, _ = (fake_run(tmp_path, dataset, "gap", snr=snr) for snr in (0.0, 20.0))
    score = ["-q", "--workspace", str(tmp_path), "score", "--bootstrap", "0"]
    assert run(score) == 0
    files = [tmp_path / "leaderboard" / f"fake.{suffix}" for suffix in ("csv", "md", "json", "tex")]
    whole = [file.read_bytes() for file in files]
    capsys.readouterr()
    for target in ([], [str(run_0)]):
        assert run([*score, *target, *options.split(), "--snr", "0"]) == 0
        out = capsys.readouterr().out
        if "json" in options:
            assert {each["snr"] for row in json.loads(out)["rows"] for each in row["conditions"]} == {0.0}
            assert {line["snr"] for line in json.loads(out)["published"]} == {0.0}
        elif "csv" in options:
            assert {line["snr"] for line in csv.DictReader(out.splitlines())} == {"0.0"}
        else:
            assert "20 dB" not in out
            assert "20\\,dB" not in out
    assert [file.read_bytes() for file in files] == whole  # only what is printed is of one SNR
    assert "no row of the leaderboard is at that SNR" in fails(capsys, *score[2:], *options.split(), "--snr", "7")


def test_third_party_predictions(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "my tags.csv"
    file.write_text(tags_text(dataset, 4, noise=0.2, seed=0))
    arguments = ["score", str(file), "--name", "My [system]", "--snr", "0", "--fold", "4", "--bootstrap", "10"]
    assert run(["-q", "--workspace", str(tmp_path), *arguments]) == 0
    assert "My [system]" in capsys.readouterr().out


def test_replaced_is_said_once_it_is_done(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tags.csv"
    call = ["--workspace", str(tmp_path), "score", str(file), "--name", "mine", "--snr", "0", "--fold", "4"]
    said = {}
    for seed, spoil in ((1, ""), (2, "7"), (3, "")):
        file.write_text(tags_text(dataset, 4, noise=0.3, seed=seed).replace("0.", f"{spoil}0.", 1))
        assert run([*call, "--bootstrap", "0"]) == (2 if spoil else 0)
        said[seed] = "'mine' at 0 dB, fold 4: other predictions than before; replaced" in capsys.readouterr().err
    assert said == {1: False, 2: False, 3: True}


def test_compare(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    fake_run(tmp_path, dataset, "gap", noise=0.05)
    fake_run(tmp_path, dataset, "gmp", noise=3.0)
    arguments = ["-q", "--workspace", str(tmp_path), "score", "--bootstrap", "100", "--compare", "gap", "gmp"]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("gap minus gmp on fake\n")
    assert "P 1.000" in out
    assert run([*arguments, "--format", "json"]) == 0
    micro = json.loads(capsys.readouterr().out)["differences"][0]
    assert (micro["metric"], micro["superiority"]) == ("micro_ap", pytest.approx(1.0, abs=1e-6))
    assert 0 < micro["low"] <= micro["difference"] <= micro["high"]
    for style in ("md", "csv", "latex"):
        assert run([*arguments, "--format", style]) == 0
        assert "superiority" in (text := capsys.readouterr().out) or "gap minus gmp" in text


def test_submit_and_add(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    fake_run(tmp_path, dataset)
    file = tmp_path / "out.json"
    assert run(["--workspace", str(tmp_path), "score", "--bootstrap", "10", "--submission", str(file)]) == 0
    other = tmp_path / "other"
    fake_dataset(other)
    capsys.readouterr()
    assert run(["--workspace", str(other), "score", "--add", str(file)]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:4] for line in out.splitlines() if "gap" in line] == [["0", "dB", "1", "gap"]]
    assert "1 record added, 0 recomputed from predictions" in err


def test_what_is_added_is_recomputed_with_the_jobs_given_and_its_own_bootstrap(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fake_run(tmp_path, dataset)
    file = tmp_path / "out.json"
    assert run(["--workspace", str(tmp_path), "score", "--bootstrap", "10", "--submission", str(file)]) == 0
    jobs = []
    monkeypatch.setattr(submission, "separation_of", lambda *given: jobs.append(given[-2].jobs))
    assert run(["--workspace", str(tmp_path), "score", "--add", str(file), str(folder), "--jobs", "1"]) == 0
    assert set(jobs) == {1}
    capsys.readouterr()
    line = fails(capsys, tmp_path, "score", "--add", file, "--bootstrap", "20")
    assert "--bootstrap: cannot be combined with --add; leave it out" in line
    line = fails(capsys, tmp_path, "score", "--remove", "gap", "--bootstrap", "20")
    assert "--bootstrap: cannot be combined with --remove; leave it out" in line


@pytest.mark.parametrize(
    "options",
    [
        "--verify X tags.csv --name Y", "--verify X tags.csv --snr 0", "--verify X tags.csv --bootstrap 0",
        "--verify X tags.csv --probe shift", "--verify X tags.csv --shifted tags.csv",
        "--verify X tags.csv --submission out.json", "--verify X tags.csv --add out.json",
        "--verify X tags.csv --remove Y", "--verify X tags.csv --require-predictions",
        "--verify X tags.csv --compare A B", "--verify X tags.csv --details", "--compare A B --details",
    ],
)  # fmt: skip
def test_an_option_that_would_be_ignored_is_refused(
    tmp_path: Path, options: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tags.csv").touch()
    Path("out.json").touch()
    refused = [word for word in options.split() if word.startswith("--")][1]
    command = options.split()[0]
    assert f"{refused}: cannot be combined with {command}; leave it out" in fails(capsys, "", "score", *options.split())


def fails(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run, expect status 2 and one line, and return it."""
    assert run(["--workspace", *map(str, arguments)]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("remixbench: ")
    return line


def test_without_data_or_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no data set yet; `remixbench make` makes one" in fails(capsys, tmp_path, "score")
    fake_dataset(tmp_path)
    line = fails(capsys, tmp_path, "score")
    assert "nothing is scored on data set 'fake' yet; `remixbench train` makes runs" in line


@pytest.mark.parametrize("form", ["list", "folder", "list beside tags"])
def test_an_event_list_says_how_many_clips_have_events(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    events = tmp_path / "predictions" / "events.tsv"
    events.parent.mkdir()
    tags = events.parent / "tags.csv"
    if form != "list":
        tags.write_text(tags_text(dataset, 4, noise=0.2, seed=0))
    paths = {"list": [events], "folder": [events.parent], "list beside tags": [tags, events]}[form]
    clips = [dataset.filenames[row] for row in dataset.test_rows(4)]
    rows = [
        f"{clip}\t{onset}\t{onset + 0.5}\t{dataset.classes[0]}" for clip, onset in zip(clips[:2], (0, 1), strict=True)
    ]
    rows.append(f"{clips[0]}\t1.2\t1.5\t{dataset.classes[1]}")
    events.write_text("filename\tonset\toffset\tevent_label\n" + "\n".join(rows) + "\n")
    arguments = [*map(str, paths), "--name", "mine", "--snr", "0", "--fold", "4", "--bootstrap", "0"]
    assert run(["--workspace", str(tmp_path), "score", *arguments]) == 0
    assert f"{paths[-1]}: 3 events in 2 of {len(clips)} clips" in capsys.readouterr().err


def test_bad_input(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    fake_run(tmp_path, dataset)
    tags = tmp_path / "tags.csv"
    tags.write_text(tags_text(dataset, 4, noise=0.2, seed=0))
    full = {"--name": "mine", "--snr": "0", "--fold": "4"}

    def score_tags(**changes: str | None) -> str:
        options = full | {f"--{key}": value for key, value in changes.items()}
        given = [word for option, value in options.items() if value is not None for word in (option, value)]
        return fails(capsys, tmp_path, "score", tags, *given)

    assert "add --name 'My system' or the like" in score_tags(name=None)
    assert "add --snr 0 or the like" in score_tags(snr=None)
    assert "add --fold 4 or the like" in score_tags(fold=None)
    assert "add --name 'My system' --snr 0 --fold 4 or the like" in score_tags(name=None, snr=None, fold=None)
    assert "is the name of a system" in score_tags(name="2ap-aux")
    assert "has no SNR of 10 dB, only 0, 20" in score_tags(snr="10")
    assert "has no fold 5; it has 1, 2, 3, 4" in score_tags(fold="5")
    assert "expected values such as" in score_tags(snr="nan")
    assert "no such run or file of predictions" in fails(capsys, tmp_path, "score", "nowhere.csv")
    assert "--name: only works with predictions" in fails(capsys, tmp_path, "score", "--name", "x")
    assert "(did you mean 'fake'?)" in fails(capsys, tmp_path, "score", "--dataset", "fakes")
    assert "unknown leaderboard row 'gmp'" in fails(capsys, tmp_path, "score", "--compare", "gmp", "gap")
    assert "both are the row 'gap'" in fails(capsys, tmp_path, "score", "--compare", "gap", "gap")
    assert "no such file" in fails(capsys, tmp_path, "score", "--add", tmp_path / "none.json")
    assert "not a submission" in fails(capsys, tmp_path, "score", "--add", dataset.path / "dataset.json")
    outside = fails(capsys, tmp_path / "elsewhere", "score", tmp_path / "runs")
    assert "is not in the workspace" in outside


def test_an_unfinished_run_asked_for_by_name(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fake_run(tmp_path, dataset, status="training")
    assert "unfinished; `remixbench train` resumes it" in fails(capsys, tmp_path, "score", folder)
    folder = fake_run(tmp_path, dataset, manifest_digest="0" * 64)
    assert "trained on another manifest (000000000000)" in fails(capsys, tmp_path, "score", folder)


def test_broken_predictions_harm_nothing(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fake_run(tmp_path, dataset)
    assert run(["-q", "--workspace", str(tmp_path), "score", "--bootstrap", "0"]) == 0
    before = (tmp_path / "leaderboard" / "fake.json").read_bytes()
    tags = folder / "predictions" / "tags.csv"
    tags.write_text(tags.read_text().replace("0.", "7.", 1))
    assert "is outside [0, 1]" in fails(capsys, tmp_path, "score", "--bootstrap", "0")
    assert (tmp_path / "leaderboard" / "fake.json").read_bytes() == before
