"""Probes in the leaderboard: what a system that knows positions loses, and a shift-invariant one does not."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_dataset import CLASSES, ONSETS, fake_dataset
from fake_runs import Said, fake_run, write_frames
from sklearn.metrics import average_precision_score

from remixbench import report, score
from remixbench.cli import run
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.probes import ProbesInfo, probe_shifts, roll, shift_folder, write_probes
from remixbench.errors import InputError
from remixbench.files import content_digest
from remixbench.leaderboard.board_tables import make_tables
from remixbench.leaderboard.grouping import mean_probes
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.renderers import render
from remixbench.leaderboard.rows import Estimate, Probes
from remixbench.training.run_files import write_tags

FOLD, SNR = 4, 20.0


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return fake_dataset(tmp_path)


def detector(features: np.ndarray) -> np.ndarray:
    """Clip scores (clips, classes): the highest level of the class's bands, wherever it is in the clip."""
    levels = np.stack([features[:, :, 3 * k : 3 * k + 3].mean(axis=2) for k in range(len(CLASSES))], axis=2)
    return squash(levels.max(axis=1))


def memory(features: np.ndarray) -> np.ndarray:
    """Clip scores of a system that knows where events begin: it takes the level in these two frames alone."""
    levels = np.stack([features[:, :, 3 * k : 3 * k + 3].mean(axis=2) for k in range(len(CLASSES))], axis=2)
    return squash(levels[:, [round(onset / 0.064) for onset in ONSETS]].max(axis=1))


def squash(levels: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-8 - levels))).astype(np.float32)


def probed_run(workspace: Path, dataset: Dataset, system: str, scores: Any, shifts: tuple[float, ...]) -> Path:
    """Write a run and its probes, as training leaves them, of a function from log-mel to clip scores."""
    folder = fake_run(workspace, dataset, system, snr=SNR)
    rows = dataset.test_rows(FOLD)
    names = [dataset.filenames[row] for row in rows]
    features = np.asarray(dataset.features(SNR)[rows])
    write_tags(folder / "predictions" / "tags.csv", names, CLASSES, scores(features))
    place = folder / "predictions" / "probes"
    for shift in shifts:
        rolled = roll(features, shift, dataset.recipe.frame_seconds, axis=1)
        write_tags(place / shift_folder(shift) / "tags.csv", names, CLASSES, scores(rolled))
    write_tags(place / "snr_0" / "tags.csv", names, CLASSES, scores(np.asarray(dataset.features(0)[rows])))
    info = ProbesInfo(
        run="0" * 64, model="0" * 64, manifest_digest=dataset.manifest_digest, snr=SNR, fold=FOLD, shifts=list(shifts),
        snrs=[0.0],
    )  # fmt: skip
    write_probes(folder, info)
    return folder


def probes(board: Leaderboard, name: str) -> Probes:
    found = next(row for row in board.rows if row.name == name).conditions[SNR].probes
    assert found is not None
    return found


def micro_ap(board: Leaderboard, name: str) -> float:
    return next(row for row in board.rows if row.name == name).conditions[SNR].metrics["micro_ap"].value


def test_a_memory_of_positions_loses_and_a_detector_does_not(tmp_path: Path, dataset: Dataset) -> None:
    shifts = probe_shifts(dataset, FOLD)
    probed_run(tmp_path, dataset, "gmp", detector, shifts)
    probed_run(tmp_path, dataset, "2ap", memory, shifts)
    board = score(workspace=tmp_path, bootstrap=200)
    whole, known = probes(board, "gmp"), probes(board, "2ap")
    assert whole.mean is not None
    assert whole.mean.value == micro_ap(board, "gmp")
    assert whole.difference is not None
    assert (whole.difference.value, whole.difference.low, whole.difference.high) == (0, 0, 0)
    assert micro_ap(board, "2ap") > 0.8
    assert known.difference is not None
    assert known.difference.high is not None
    assert known.difference.high < -0.1
    assert known.worst is not None
    assert known.worst[0] in shifts
    assert known.worst[1].value == min(each.value for each in known.shifted.values())


def test_scores_are_those_of_scikit_learn(tmp_path: Path, dataset: Dataset) -> None:
    shifts = (0.128, 0.448)
    probed_run(tmp_path, dataset, "2ap", memory, shifts)
    found = probes(score(workspace=tmp_path, bootstrap=0), "2ap")
    rows = dataset.test_rows(FOLD)
    truth, features = dataset.weak[rows], np.asarray(dataset.features(SNR)[rows])

    def expected(inputs: np.ndarray) -> float:
        return float(average_precision_score(truth, memory(inputs), average="micro"))

    rolled = [expected(roll(features, shift, dataset.recipe.frame_seconds, axis=1)) for shift in shifts]
    assert [each.value for each in found.shifted.values()] == pytest.approx(rolled, abs=1e-6)
    assert found.mean is not None
    assert found.mean.value == pytest.approx(np.mean(rolled), abs=1e-6)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(np.mean(rolled) - expected(features), abs=1e-6)
    assert found.difference.low is None
    assert found.tested[0.0].value == pytest.approx(expected(np.asarray(dataset.features(0)[rows])), abs=1e-6)


def test_the_probes_are_in_every_format(tmp_path: Path, dataset: Dataset) -> None:
    probed_run(tmp_path, dataset, "2ap", memory, probe_shifts(dataset, FOLD))
    board = score(workspace=tmp_path, bootstrap=50)
    found = probes(board, "2ap")
    assert found.mean is not None
    assert found.worst is not None
    mean, worst = f"{found.mean.value:.4f}", f"{found.worst[1].value:.4f}"
    page = report(workspace=tmp_path, clips=0).read_text()
    for text in (render(board, "table"), render(board, "md"), render(board, "latex"), page):
        assert "micro-AP, shifted" in text
        assert mean in text
        assert worst in text
        assert "2ap, 20 dB" in text
    for title in (
        "micro-AP, shifted: test clips rolled in time",
        "micro-AP by the SNR trained at and the SNR tested at",
    ):
        assert title in [table.title for table in make_tables(board)]
    lines = {line["metric"]: line for line in csv.DictReader(render(board, "csv").splitlines())}
    assert float(lines["micro_ap_shifted"]["value"]) == found.mean.value
    assert lines["micro_ap_shifted_difference"]["low"]
    assert float(lines["micro_ap[tested at 0 dB]"]["value"]) == found.tested[0.0].value
    content = json.loads(render(board, "json"))["rows"][0]["conditions"][0]["probes"]
    assert content["shift"]["worst"]["shift"] == found.worst[0]
    assert [each["tested"] for each in content["snr"]] == [0.0]


def test_other_probes_are_scored_again_and_nothing_else(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = probed_run(tmp_path, dataset, "2ap", memory, (0.064,))
    score(workspace=tmp_path, bootstrap=20)
    before = (folder / "metrics.json").read_bytes()
    score(workspace=tmp_path, bootstrap=20)
    assert (folder / "metrics.json").read_bytes() == before
    place = folder / "predictions" / "probes" / "shift_0.064" / "tags.csv"
    place.write_bytes((folder / "predictions" / "tags.csv").read_bytes())
    monkeypatch.setattr("remixbench.leaderboard.evaluate.score_predictions", None)
    found = probes(score(workspace=tmp_path, bootstrap=20, jobs=1), "2ap")
    assert found.difference is not None
    assert found.difference.value == 0


def test_a_fold_without_shift_says_so(tmp_path: Path, dataset: Dataset) -> None:
    probed_run(tmp_path, dataset, "2ap", memory, ())
    board = score(workspace=tmp_path, bootstrap=0)
    assert "No shift in time keeps every event of the test clips of fold 4 whole" in render(board, "md")


def said_so(made: Probes) -> Probes:
    """The same, as if a submission alone said so."""

    def each(estimate: Estimate | None) -> Estimate | None:
        return None if estimate is None else replace(estimate, verified=False)

    return replace(
        made,
        shifted={shift: each(estimate) for shift, estimate in made.shifted.items()},
        tested={snr: each(estimate) for snr, estimate in made.tested.items()},
        mean=each(made.mean),
        difference=each(made.difference),
    )


def test_probes_travel_in_submissions(tmp_path: Path, dataset: Dataset) -> None:
    probed_run(tmp_path, dataset, "2ap", memory, probe_shifts(dataset, FOLD))
    there = probes(score(workspace=tmp_path, bootstrap=20, submission=tmp_path / "ours.json"), "2ap")
    other = tmp_path / "other"
    fake_dataset(other)
    added = score(workspace=other, add=tmp_path / "ours.json")
    assert said_so(probes(added, "2ap")) == said_so(there)


def test_a_submission_has_every_shift_of_the_fold(tmp_path: Path, dataset: Dataset) -> None:
    """The mean over the easiest shifts alone is not that of the others."""
    probed_run(tmp_path, dataset, "2ap", memory, (0.064,))
    score(workspace=tmp_path, bootstrap=20, submission=tmp_path / "ours.json")
    other = tmp_path / "other"
    fake_dataset(other)
    with pytest.raises(InputError, match=r"rolled by 0\.064 s, but the shifts of fold 4 are -0\.192, -0\.128"):
        score(workspace=other, add=tmp_path / "ours.json")


def test_a_probe_that_is_not_what_its_predictions_give_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    probed_run(tmp_path, dataset, "2ap", memory, probe_shifts(dataset, FOLD))
    file = tmp_path / "ours.json"
    score(workspace=tmp_path, bootstrap=20, submission=file)
    content = json.loads(file.read_text())
    (record,) = content["records"]
    record["probes"][0]["metrics"]["micro_ap"] = 0.999
    record["digest"] = content_digest(record)
    content["digest"] = content_digest(content)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"probe shift -0.192 is not what its predictions give; nothing was added"):
        score(workspace=tmp_path, add=file)


def shifted_files(folder: Path, dataset: Dataset, scores: Any) -> list[Path]:
    """Write a third party's tags.csv and one file per shift, and return these."""
    rows = dataset.test_rows(FOLD)
    names, features = [dataset.filenames[row] for row in rows], np.asarray(dataset.features(SNR)[rows])
    write_tags(folder / "tags.csv", names, CLASSES, scores(features))
    files = []
    for shift in probe_shifts(dataset, FOLD):
        files.append(folder / f"shift_{shift:g}.csv")
        write_tags(files[-1], names, CLASSES, scores(roll(features, shift, dataset.recipe.frame_seconds, axis=1)))
    return files


def test_third_parties_hand_in_predictions_on_rolled_clips(tmp_path: Path, dataset: Dataset) -> None:
    files = shifted_files(tmp_path / "mine", dataset, memory)
    about: dict[str, Any] = {"workspace": tmp_path, "name": "Mine", "snr": SNR, "fold": FOLD, "bootstrap": 20}
    found = probes(score(tmp_path / "mine" / "tags.csv", shifted=files, **about), "Mine")
    probed_run(tmp_path, dataset, "2ap", memory, probe_shifts(dataset, FOLD))
    board = score(workspace=tmp_path, bootstrap=20)
    assert probes(board, "2ap").shifted == found.shifted == probes(board, "Mine").shifted
    assert found.tested == {}
    again = score(tmp_path / "mine" / "tags.csv", **about)  # what was handed in before is kept
    assert probes(again, "Mine").shifted == found.shifted


def other_snr_file(folder: Path, dataset: Dataset, scores: Any, snr: float = 0) -> Path:
    """Write a third party's predictions on the clips at another SNR."""
    rows = dataset.test_rows(FOLD)
    file = folder / f"snr_{snr:g}.csv"
    write_tags(file, [dataset.filenames[row] for row in rows], CLASSES, scores(np.asarray(dataset.features(snr)[rows])))
    return file


def test_third_parties_hand_in_predictions_at_other_snrs(tmp_path: Path, dataset: Dataset) -> None:
    files = shifted_files(tmp_path / "mine", dataset, memory)
    noisy = other_snr_file(tmp_path / "mine", dataset, memory)
    about: dict[str, Any] = {"workspace": tmp_path, "name": "Mine", "snr": SNR, "fold": FOLD, "bootstrap": 20}
    found = probes(score(tmp_path / "mine" / "tags.csv", other_snrs=noisy, **about), "Mine")
    assert found.shifts is None
    probed_run(tmp_path, dataset, "2ap", memory, probe_shifts(dataset, FOLD))
    assert probes(score(workspace=tmp_path, bootstrap=20), "2ap").tested == found.tested
    both = probes(score(tmp_path / "mine" / "tags.csv", shifted=files, **about), "Mine")
    assert (both.tested, both.shifts) == (found.tested, probe_shifts(dataset, FOLD))  # what was handed in is kept


def test_probes_that_a_new_score_lacks_are_named(tmp_path: Path, dataset: Dataset) -> None:
    files = shifted_files(tmp_path / "mine", dataset, memory)
    noisy = other_snr_file(tmp_path / "mine", dataset, memory)

    def lines(bootstrap: int, **options: Any) -> list[str]:
        said = Said()
        about: dict[str, Any] = {"workspace": tmp_path, "name": "Mine", "snr": SNR, "fold": FOLD, "progress": said}
        score(tmp_path / "mine" / "tags.csv", bootstrap=bootstrap, **about, **options)
        return [line.partition(": ")[2] for line in said.lines if line.startswith("'Mine' at 20 dB, fold 4: ")]

    assert lines(20, shifted=files, other_snrs=noisy) == []
    assert lines(20) == []
    assert lines(30, shifted=files) == ["scored again without its probes; give --other-snrs again to keep them"]
    assert lines(20, other_snrs=noisy) == ["scored again without its probes; give --shifted again to keep them"]


def test_predictions_of_probes_are_matched_by_their_digest(tmp_path: Path, dataset: Dataset) -> None:
    """Given with --add they are recomputed; of those that are missing a line says which."""
    files = shifted_files(tmp_path / "mine", dataset, memory)
    noisy = other_snr_file(tmp_path / "mine", dataset, memory)
    tags, mine = tmp_path / "mine" / "tags.csv", tmp_path / "mine.json"
    about: dict[str, Any] = {"workspace": tmp_path, "name": "Mine", "snr": SNR, "fold": FOLD, "bootstrap": 20}
    score(tags, shifted=files, other_snrs=noisy, submission=mine, **about)
    other = tmp_path / "other"
    fake_dataset(other)

    def lines(*evidence: Path) -> list[str]:
        said = Said()
        score(*evidence, workspace=other, add=mine, progress=said)
        return [line.split(": ", 1)[1] for line in said.lines if line.startswith(f"{mine}: ")]

    assert lines(tags, noisy, *files) == ["1 record added, 1 recomputed from predictions"]
    assert lines(tags, files[0]) == [
        "1 record added, 1 recomputed from predictions",
        "not recomputed: probes of 'Mine' at 20 dB, fold 4; needs their predictions, "
        + ", ".join([*(shift_folder(shift) for shift in probe_shifts(dataset, FOLD)[1:]), "snr_0"]),
    ]
    files[1].write_text(files[1].read_text().replace("0.", "0.1", 1))
    with pytest.raises(InputError, match=rf"{files[1].name}: no record of .*mine\.json was made from it"):
        lines(tags, files[1])


@pytest.mark.parametrize("form", ["frames", "events"])
def test_probes_of_predictions_without_clip_scores_are_refused(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    files = shifted_files(tmp_path / "mine", dataset, memory)
    mine = tmp_path / "mine" / {"frames": "frames.npz", "events": "events.tsv"}[form]
    write_frames(dataset, FOLD, mine, seed=1) if form == "frames" else mine.write_text(
        "filename\tonset\toffset\tevent_label\n"
    )
    about = (mine, "--name", "Mine", "--snr", "20", "--fold", "4", "--bootstrap", "20")
    for probe in (["--shifted", *files], ["--other-snrs", other_snr_file(tmp_path / "mine", dataset, memory)]):
        assert f"{mine}: holds no clip scores, which --shifted and" in fails(capsys, tmp_path, *about, *probe)
    assert not (tmp_path / "runs").exists()
    given = (*about[:1], tmp_path / "mine" / "tags.csv", *about[1:])
    assert run(["-q", "--workspace", str(tmp_path), "score", *map(str, given), "--shifted", *map(str, files)]) == 0


def test_a_submission_with_probes_but_without_micro_ap_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    probed_run(tmp_path, dataset, "2ap", memory, (0.064,))
    score(workspace=tmp_path, bootstrap=0, submission=tmp_path / "ours.json")
    content = json.loads((tmp_path / "ours.json").read_text())
    (record,) = content["records"]
    del record["metrics"]["micro_ap"]
    record["digest"] = content_digest(record)
    content["digest"] = content_digest(content)
    (tmp_path / "ours.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"probes are scored by micro_ap, which is not among the metrics"):
        score(workspace=tmp_path, add=tmp_path / "ours.json")


def test_without_the_unshifted_score_there_is_no_difference(tmp_path: Path, dataset: Dataset) -> None:
    probed_run(tmp_path, dataset, "2ap", memory, (0.064,))
    board = score(workspace=tmp_path, bootstrap=20)
    condition = board.rows[0].conditions[SNR]
    undefined = [each.model_copy(update={"metrics": each.metrics | {"micro_ap": None}}) for each in condition.records]
    found = mean_probes(replace(condition, records=tuple(undefined)))
    assert found is not None
    assert found.difference is None
    assert found.mean == probes(board, "2ap").mean
    assert found.as_dict()["shift"].keys() == {"shifts", "by_shift", "mean", "worst"}


def fails(capsys: pytest.CaptureFixture[str], workspace: Path, *arguments: str | Path) -> str:
    """Run, expect status 2 and one line, and return it."""
    assert run(["-q", "--workspace", str(workspace), "score", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_bad_input_takes_one_line(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    files = shifted_files(tmp_path / "mine", dataset, memory)
    about = (tmp_path / "mine" / "tags.csv", "--name", "Mine", "--snr", "20", "--fold", "4")

    def shifted(*given: Path) -> str:
        return fails(capsys, tmp_path, *about, "--shifted", *given)

    assert "--shifted: has nothing for -0.192 s" in shifted(*files[1:])
    other = files[0].with_name("shift_0.5.csv")
    other.write_bytes(files[0].read_bytes())
    assert "its name gives shift_0.5; expected one of the shifts of fold 4: -0.192, " in shifted(*files[1:], other)
    assert "and so does that of a file before it" in shifted(*files, files[0])
    unnamed = files[0].with_name("rolled.csv")
    unnamed.write_bytes(files[0].read_bytes())
    assert "its name gives no condition; name it like shift_-0.192.csv, one of the shifts" in shifted(
        *files[1:], unnamed
    )
    noisy = other_snr_file(tmp_path / "mine", dataset, memory)
    assert "name it like shift_-0.192.csv" in shifted(*files, noisy)
    own = other_snr_file(tmp_path / "mine", dataset, memory, SNR)
    expected = "its name gives snr_20; expected one of the other SNRs of data set 'fake': 0 dB"
    assert expected in fails(capsys, tmp_path, *about, "--other-snrs", own)
    assert "no such file of predictions" in shifted(files[0].with_name("none.csv"))
    files[0].write_text(files[0].read_text().replace(dataset.filenames[dataset.test_rows(FOLD)[0]], "99999.wav"))
    assert "99999.wav" in shifted(*files)
    assert "--probe: only works with runs" in fails(capsys, tmp_path, *about, "--probe", "shift")
    fake_run(tmp_path, dataset)
    assert "--shifted: only works with predictions" in fails(capsys, tmp_path, "--shifted", files[1])
    assert "--other-snrs: only works with predictions" in fails(capsys, tmp_path, "--other-snrs", noisy)
    assert "is not one of 'shift', 'snr'" in fails(capsys, tmp_path, "--probe", "shfit")
    assert "--probe: cannot be combined with --add" in fails(capsys, tmp_path, "--add", files[1], "--probe", "shift")


def test_runs_are_probed_on_demand(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    from remixbench.training.train import train

    (folder,) = train(workspace=tmp_path, system="gap", snr=20, epochs=1, precision="32")
    old = fake_run(tmp_path, dataset, "gmp", snr=SNR)  # without a model
    arguments = ["--workspace", str(tmp_path), "score", "--bootstrap", "0", "--jobs", "1", "--probe", "shift", "snr"]
    assert run(arguments) == 0
    captured = capsys.readouterr()
    assert "micro-AP, shifted" in captured.out
    assert "not probed: " in captured.err
    assert (folder / "predictions" / "probes" / "shift_0.448" / "frames.npz").is_file()
    metrics = json.loads((folder / "metrics.json").read_text())["probes"]
    assert [each["value"] for each in metrics if each["probe"] == "snr"] == [0.0]
    assert all(each["metrics"].keys() == {"micro_ap", "frame_ap"} for each in metrics)
    assert str(old) in fails(capsys, tmp_path, old, "--probe", "shift")
