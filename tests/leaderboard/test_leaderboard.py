"""The leaderboard: what is scored, how rows come about, what stands in the tables and what is left out."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_dataset import accept_files, fake_dataset
from fake_runs import Said, fake_run, tags_text, write_frames
from sklearn.metrics import average_precision_score, roc_auc_score

from remixbench import score
from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.files import content_digest, file_sha256, write_sealed
from remixbench.leaderboard import evaluate, grouping
from remixbench.leaderboard.board_tables import (
    alpha_table,
    class_table,
    details_table,
    fraction_table,
    main_table,
    make_tables,
)
from remixbench.leaderboard.grouping import Group, group_records
from remixbench.leaderboard.leaderboard import Leaderboard, load_leaderboard, make_leaderboard
from remixbench.leaderboard.published import load_published
from remixbench.leaderboard.record import Entry, Record
from remixbench.leaderboard.renderers import render
from remixbench.leaderboard.rows import Estimate, Row
from remixbench.leaderboard.table_maker import TableMaker
from remixbench.leaderboard.tables import Column, Table
from remixbench.scoring import SCORING_VERSION


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return fake_dataset(tmp_path)


def row(board: Leaderboard, name: str) -> Row:
    return next(row for row in board.rows if row.name == name)


def first_table(board: Leaderboard) -> Table:
    return make_tables(board)[0]


def files_of(workspace: Path) -> dict[str, bytes]:
    return {str(f.relative_to(workspace)): f.read_bytes() for f in sorted(workspace.rglob("*")) if f.is_file()}


def test_the_figures_of_a_run_are_those_of_scikit_learn(tmp_path: Path, dataset: Dataset) -> None:
    folder = fake_run(tmp_path, dataset, snr=20.0)
    tags = pd.read_csv(folder / "predictions" / "tags.csv").drop(columns="filename").to_numpy()
    truth = dataset.weak[dataset.folds == 4]
    figures = row(score(workspace=tmp_path), "gap").conditions[20.0].metrics
    assert figures["micro_ap"].value == pytest.approx(average_precision_score(truth, tags, average="micro"), abs=1e-12)
    assert figures["macro_ap"].value == pytest.approx(average_precision_score(truth, tags, average="macro"), abs=1e-12)
    assert figures["macro_auc"].value == pytest.approx(roc_auc_score(truth, tags, average="macro"), abs=1e-12)


def test_every_record_names_what_it_was_made_from(tmp_path: Path, dataset: Dataset) -> None:
    folder = fake_run(tmp_path, dataset)
    score(workspace=tmp_path, bootstrap=20)
    made = json.loads((folder / "metrics.json").read_text())["provenance"]
    assert made["manifest_digest"] == dataset.manifest_digest
    assert made["run"] == "runs/fake/gap/snr_0/fold_4/seed_0"
    assert (made["clips"], made["resamples"], made["scoring_version"]) == (12, 20, SCORING_VERSION)
    board = json.loads((tmp_path / "leaderboard" / "fake.json").read_text())
    origin = board["rows"][0]["conditions"][0]["provenance"][0]
    assert origin["predictions"].keys() == {"tags.csv"}
    assert origin["remixbench"] == made["remixbench"]
    assert origin["fold"] == 4


def test_score_again_changes_no_byte_and_computes_nothing(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for system in ("gap", "gmp"):
        fake_run(tmp_path, dataset, system)
    score(workspace=tmp_path, bootstrap=50)
    before = files_of(tmp_path)
    monkeypatch.setattr(evaluate, "score_predictions", None)
    said = Said()
    score(workspace=tmp_path, bootstrap=50, progress=said)
    assert files_of(tmp_path) == before
    assert said.lines[0] == "0 runs scored, 2 up to date"


def test_two_jobs_write_the_same_bytes_as_one(tmp_path: Path, dataset: Dataset) -> None:
    folders = [fake_run(tmp_path, dataset, system) for system in ("gap", "gmp", "gwrp")]
    score(workspace=tmp_path, bootstrap=50, jobs=1)
    before = files_of(tmp_path)
    for folder in folders:
        (folder / "metrics.json").unlink()
    score(workspace=tmp_path, bootstrap=50, jobs=2)
    assert files_of(tmp_path) == before


def test_workers_follow_into_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        dataset = fake_dataset(Path("."))
        for system in ("gap", "gmp"):
            fake_run(Path("."), dataset, system)
        assert len(score(jobs=2, bootstrap=0).rows) == 2


def test_a_broken_run_is_named_and_the_others_keep_their_figures(tmp_path: Path, dataset: Dataset) -> None:
    first, second = (fake_run(tmp_path, dataset, system) for system in ("gap", "gmp"))
    tags = second / "predictions" / "tags.csv"
    tags.write_text(tags.read_text().replace("filename", "file", 1))
    with pytest.raises(InputError, match=re.escape(str(tags))):
        score(workspace=tmp_path, bootstrap=0, jobs=1)
    assert not (second / "metrics.json").exists()
    tags.write_text(tags.read_text().replace("file", "filename", 1))
    said = Said()
    score(workspace=tmp_path, bootstrap=0, jobs=1, progress=said)
    assert said.lines[0] == "1 run scored, 1 up to date"
    assert (first / "metrics.json").exists()


def test_only_what_changed_is_computed_again(tmp_path: Path, dataset: Dataset) -> None:
    first, second = (fake_run(tmp_path, dataset, system) for system in ("gap", "gmp"))
    score(workspace=tmp_path, bootstrap=0)
    before = (first / "metrics.json").read_bytes(), (second / "metrics.json").read_bytes()
    fake_run(tmp_path, dataset, "gmp", noise=0.9)
    said = Said()
    score(workspace=tmp_path, bootstrap=0, progress=said)
    assert (first / "metrics.json").read_bytes() == before[0]
    assert (second / "metrics.json").read_bytes() != before[1]
    assert said.lines[0] == "1 run scored, 1 up to date"
    score(workspace=tmp_path, bootstrap=10, progress=said)
    assert said.lines[1] == "2 runs scored, 0 up to date"


@pytest.mark.parametrize("key", ["metrics", "intervals", "bootstrap_samples"])
def test_an_edited_metrics_json_is_noticed_and_scored_again(tmp_path: Path, dataset: Dataset, key: str) -> None:
    file = fake_run(tmp_path, dataset) / "metrics.json"
    score(workspace=tmp_path, bootstrap=20)
    before = file.read_bytes()
    record = json.loads(before)
    record[key]["micro_ap"] = {"metrics": 0.999, "intervals": [0.998, 0.999]}.get(key, record[key]["macro_ap"])
    file.write_text(json.dumps(record))
    said = Said()
    board = score(workspace=tmp_path, bootstrap=20, progress=said)
    assert "metrics.json: was changed after it was written" in said.lines[0]
    assert "1 run scored, 0 up to date" in said.lines
    assert file.read_bytes() == before
    estimate = row(board, "gap").estimate(0.0, "micro_ap")
    assert estimate is not None
    assert estimate.value < 0.99


def test_a_flag_that_changed_is_taken_over_without_computing(tmp_path: Path, dataset: Dataset) -> None:
    fake_run(tmp_path, dataset)
    score(workspace=tmp_path, bootstrap=0)
    changed = {"code": "setting", "text": "epochs 2, default 3"}
    fake_run(tmp_path, dataset, epochs=2, flags=[changed])
    said = Said()
    board = score(workspace=tmp_path, bootstrap=0, progress=said)
    assert said.lines[0] == "0 runs scored, 1 up to date"
    (flag,) = row(board, "gap").flags
    assert (flag.code, flag.text) == ("setting", "epochs 2, default 3")


def test_folds_and_seeds_give_mean_and_spread(tmp_path: Path, dataset: Dataset) -> None:
    for fold, seed in ((3, 0), (4, 0), (4, 1)):
        fake_run(tmp_path, dataset, fold=fold, seed=seed)
    board = score(workspace=tmp_path, bootstrap=40)
    column = row(board, "gap").conditions[0.0]
    values = [record.metrics["micro_ap"] for record in column.records]
    figure = column.metrics["micro_ap"]
    assert (column.folds, column.seeds, column.clips) == ((3, 4), (0, 1), 24)
    assert figure.value == pytest.approx((values[0] + np.mean(values[1:])) / 2)  # each fold counts once
    assert figure.std == pytest.approx(np.std(values[1:], ddof=1))  # over the seeds of fold 4
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= figure.value <= figure.high
    cell = first_table(board).blocks[0].lines[0].cells[0].below
    assert "–" in cell
    assert "±" in cell
    assert any(
        "over seeds where a row has several. ±: standard deviation over seeds" in n for n in first_table(board).notes
    )
    assert first_table(board).blocks[0].lines[0].tested == "folds 3-4, seeds 0-1 (3 runs)"


def test_rows_of_other_settings_are_kept_apart_and_marked(tmp_path: Path, dataset: Dataset) -> None:
    fake_run(tmp_path, dataset)
    fake_run(tmp_path, dataset, place="seed_0-12345678", select="paper")
    fake_run(tmp_path, dataset, "gmp", select="last")
    board = score(workspace=tmp_path, bootstrap=0)
    assert {row.name: tuple(flag.text for flag in row.flags) for row in board.rows} == {
        "gap (select paper)": ("epoch chosen on the test fold",),
        "gap (select validation)": (),
        "gmp": ("last epoch kept, none chosen",),
    }
    table = first_table(board)
    assert [line.letters for line in table.blocks[0].lines] == [("a",), (), ("b",)]
    assert table.notes[1:3] == ("a: epoch chosen on the test fold", "b: last epoch kept, none chosen")


def test_the_same_run_twice_stands_once(tmp_path: Path, dataset: Dataset) -> None:
    fake_run(tmp_path, dataset)
    fake_run(tmp_path, dataset, place="seed_0-12345678")
    board = score(workspace=tmp_path, bootstrap=0)
    assert len(row(board, "gap").conditions[0.0].records) == 1
    assert "which is in the table" in board.left_out[0]


def test_runs_that_cannot_be_ranked_are_left_out_and_reported(tmp_path: Path, dataset: Dataset) -> None:
    fake_run(tmp_path, dataset)
    fake_run(tmp_path, dataset, "gmp", status="training")
    fake_run(tmp_path, dataset, "gwrp", manifest_digest="0" * 64)
    old = fake_run(tmp_path, dataset, "2ap")
    said = Said()
    score(workspace=tmp_path, bootstrap=0)
    metrics = json.loads((old / "metrics.json").read_text())
    metrics["provenance"]["scoring_version"] = "0"
    metrics["digest"] = content_digest(metrics)
    (old / "metrics.json").write_text(json.dumps(metrics))
    broken = tmp_path / "runs" / "fake" / "x" / "metrics.json"
    broken.parent.mkdir()
    broken.write_text("{")
    board = score(tmp_path / "runs" / "fake" / "gap", workspace=tmp_path, bootstrap=0, progress=said)
    assert [row.name for row in board.rows] == ["gap"]
    assert f"scoring version 0, this is {SCORING_VERSION}; score it again" in board.left_out[0]
    assert "not readable as JSON" in board.left_out[1]
    score(workspace=tmp_path, bootstrap=0, progress=said)  # without targets the old one is scored again
    assert any("gmp" in line and "unfinished" in line for line in said.lines)
    assert any("gwrp" in line and "another manifest" in line for line in said.lines)
    assert [row.name for row in load_leaderboard(tmp_path, dataset).rows] == ["gap", "2ap"]


def test_flags_that_differ_between_folds_do_not_split_a_row(tmp_path: Path, dataset: Dataset) -> None:
    """A class without training clips, or an encoder that has heard test recordings, is flagged by fold."""
    for fold, code, text in ((3, "unseen-class", "no training clip has Bark"), (4, "heard", "has heard 2 of 9")):
        for seed in (0, 1):
            flags = [{"code": code, "text": text}, {"code": "training", "text": "epochs 3, default 50"}]
            fake_run(tmp_path, dataset, fold=fold, seed=seed, flags=flags)
    (row,) = score(workspace=tmp_path, bootstrap=0).rows
    assert row.conditions[0.0].folds == (3, 4)
    assert row.conditions[0.0].seeds == (0, 1)
    texts = [flag.text for flag in row.flags]
    assert texts == ["no training clip has Bark (fold 3)", "epochs 3, default 50", "has heard 2 of 9 (fold 4)"]
    assert [flag.code for flag in row.flags] == ["unseen-class", "training", "heard"]


def test_of_a_name_folder_runs_those_that_are_done_are_scored(tmp_path: Path, dataset: Dataset) -> None:
    done = fake_run(tmp_path, dataset)
    failed = fake_run(tmp_path, dataset, seed=1, status="training")
    said = Said()
    board = score(done.parent, workspace=tmp_path, bootstrap=0, progress=said)
    assert [row.name for row in board.rows] == ["gap"]
    assert any(str(failed) in line and "unfinished" in line for line in said.lines)
    with pytest.raises(InputError, match="seed_1: unfinished; `remixbench train` resumes it"):
        score(failed, workspace=tmp_path)
    (done / "run.json").unlink()
    with pytest.raises(InputError, match=r"fold_4: none of its 1 runs is done"):
        score(done.parent, workspace=tmp_path)


def test_labels_that_changed_leave_old_figures_out(tmp_path: Path, dataset: Dataset) -> None:
    fake_run(tmp_path, dataset)
    score(workspace=tmp_path, bootstrap=0)
    strong = dataset.path / "labels" / "strong.tsv"
    strong.write_text(strong.read_text().replace("\t0.75\t", "\t0.74\t"))
    with pytest.raises(InputError, match=r"strong.tsv: differs from its digest in dataset.json; restore it"):
        score(workspace=tmp_path, bootstrap=0)
    accept_files(dataset)  # as if the data set had been made anew
    with pytest.raises(InputError, match="nothing is scored"):
        load_leaderboard(tmp_path, Dataset.open(dataset.path))
    assert len(score(workspace=tmp_path, bootstrap=0).rows) == 1


@pytest.mark.parametrize("change", [{"epochs": 12}, {"flags": []}, {"seed": 1}, {"system": "gmp"}, {"width": 1.0}])
def test_an_edited_run_json_is_detected(tmp_path: Path, dataset: Dataset, change: dict[str, Any]) -> None:
    flag = {"code": "training", "text": "optimizer adamw, default adam"}
    file = fake_run(tmp_path, dataset, flags=[flag]) / "run.json"
    fake_run(tmp_path, dataset, "gwrp")
    assert len(score(workspace=tmp_path, bootstrap=0).rows) == 2
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    board = score(workspace=tmp_path, bootstrap=0)
    assert [row.name for row in board.rows] == ["gwrp"]
    assert "run.json: was edited since it was written; restore it, or train again with --rerun" in board.left_out[0]
    with pytest.raises(InputError, match=r"seed_0/run.json: was edited since it was written"):
        score(file.parent, workspace=tmp_path, bootstrap=0)


@pytest.mark.parametrize("name", ["weak.tsv", "strong.tsv"])
def test_labels_that_contradict_the_manifest_are_refused(tmp_path: Path, dataset: Dataset, name: str) -> None:
    fake_run(tmp_path, dataset)
    path, clip = dataset.path / "labels" / name, dataset.filenames[-1]
    lines = path.read_text().splitlines()
    (place,) = [k for k, line in enumerate(lines) if line.startswith(clip)][:1]
    absent = next(label for label in dataset.classes if label not in "".join(lines[place:]))
    lines[place] = "\t".join([*lines[place].split("\t")[:-1], absent])
    path.write_text("\n".join([*lines, ""]))
    accept_files(dataset)  # a forger gives dataset.json the new digest
    with pytest.raises(InputError, match=rf"{name}: clip '{clip}' has other classes than in .*events.csv; restore"):
        score(workspace=tmp_path, bootstrap=0)


@pytest.mark.parametrize("form", ["tags", "frames", "events", "both", "folder"])
def test_anyones_predictions(tmp_path: Path, dataset: Dataset, form: str) -> None:
    files: list[Path] = []
    if form in ("tags", "both"):
        files.append(tmp_path / "my_tags.csv")
        files[-1].write_text(tags_text(dataset, 4, noise=0.3, seed=1))
    if form in ("frames", "both"):
        files.append(tmp_path / "my_frames.npz")
        write_frames(dataset, 4, files[-1], seed=1)
    if form == "events":
        files.append(tmp_path / "my_events.tsv")
        mine = {dataset.filenames[i] for i in np.flatnonzero(dataset.folds == 4)}
        rows = [f"{n}\t{a}\t{b}\t{label}" for n, a, b, label in dataset.strong() if n in mine]
        files[-1].write_text("\n".join(["filename\tonset\toffset\tevent_label", *rows, ""]))
    if form == "folder":
        files.append(tmp_path / "mine")
        files[0].mkdir()
        for i in np.flatnonzero(dataset.folds == 4):
            lines = ["\t".join(("onset", "offset", *dataset.classes))]
            lines += [f"{k / 2}\t{k / 2 + 0.5}" + "\t0.25" * len(dataset.classes) for k in range(4)]
            (files[0] / f"{dataset.clips[i].id}.tsv").write_text("\n".join([*lines, ""]))
    name = "Ünï | our_system <b> [bold] ../.."
    board = score(*files, workspace=tmp_path, name=name, snr=0.0, fold=4, bootstrap=10)
    figures = row(board, name).conditions[0.0].metrics
    assert ("micro_ap" in figures) == (form in ("tags", "both"))
    assert ("psds1" in figures) == (form in ("frames", "both", "folder"))
    assert ("event_f1" in figures) == (form != "tags")
    if form == "events":
        assert figures["event_f1"].value == 1.0  # the truth itself
    (folder,) = (tmp_path / "runs" / "fake").iterdir()
    assert folder.name.startswith("n-our-system-b-bold-")
    assert folder.name.isascii()
    assert json.loads((tmp_path / "leaderboard" / "fake.json").read_text())["rows"][0]["name"] == name
    without_tags = form in ("frames", "events", "folder")
    assert (main_table(TableMaker(board)) is None) == without_tags
    table = first_table(board)
    assert table.title == ("Detection at 0 dB" if without_tags else "Tagging on fake")
    assert table.caption[0].startswith("Data set fake, recipe fake, manifest ")
    assert any(note.startswith("low–high: ") for note in table.notes)
    latex = render(board, "latex")
    assert r"\multicolumn{0}" not in latex
    assert r"\cmidrule(lr){2-1}" not in latex


def test_predictions_submitted_again_replace_the_old(tmp_path: Path, dataset: Dataset) -> None:
    file, said = tmp_path / "tags.csv", Said()
    values = []
    for seed in (1, 2):
        file.write_text(tags_text(dataset, 4, noise=0.3, seed=seed))
        board = score(file, workspace=tmp_path, name="mine", snr=0, fold=4, bootstrap=0, progress=said)
        values.append(row(board, "mine").conditions[0.0].metrics["micro_ap"].value)
    assert values[0] != values[1]
    assert sum("replaced" in line for line in said.lines) == 1


def comparable(dataset: Dataset) -> Dataset:
    """The same clips, taken for the published data set."""
    recipe = dataset.recipe.model_copy(update={"name": "remix2019"})
    return replace(dataset, info=dataset.info.model_copy(update={"not_comparable": (), "recipe": recipe}))


def test_differences_to_published_values_only_on_the_published_data(tmp_path: Path, dataset: Dataset) -> None:
    fake_run(tmp_path, dataset)
    fake_run(tmp_path, dataset, "2ap")  # is in no row of Table 1
    fake_run(tmp_path, dataset, variant="gap,fraction=0.5", fraction=0.5)
    board = score(workspace=tmp_path, bootstrap=20)
    assert not board.comparable
    assert board.why_not_comparable == ("made up for a test",)
    assert [block.heading for block in first_table(board).blocks] == ["Trained here", ""]
    assert any("are in the tables of remix2019" in note for note in first_table(board).notes)
    assert "made up for a test" in first_table(board).caption[1]

    records = [record for row in board.rows for column in row.conditions.values() for record in column.records]
    there = board_of(comparable(dataset), records)
    ours = row(there, "gap").conditions[0.0].metrics["micro_ap"].value
    values = json.loads(render(there, "json"))["rows"][0]["conditions"][0]["metrics"]["micro_ap"]
    assert (values["published"], values["difference"]) == (0.3295, ours - 0.3295)
    assert first_table(there).blocks[-1].heading == "Published: Deshmukh, Raj, Singh 2021"
    assert {line.letters for line in first_table(there).blocks[-1].lines} == {("b",)}  # epoch chosen on the test fold


def board_of(dataset: Dataset, records: Sequence[Record]) -> Leaderboard:
    """The leaderboard of a data set, of these records alone."""
    return make_leaderboard(
        group_records(map(Entry, records)), dataset=dataset.name, recipe=dataset.recipe.name,
        manifest_digest=dataset.manifest_digest, classes=dataset.classes, reasons=dataset.not_comparable,
    )  # fmt: skip


@pytest.mark.parametrize("samples", [-1, 1.5, "many", True, 1_000_001])
def test_bootstrap_samples_are_a_whole_number(tmp_path: Path, dataset: Dataset, samples: Any) -> None:
    fake_run(tmp_path, dataset)
    with pytest.raises(InputError, match=f"--bootstrap {samples}: expected 0 for none, or a number of samples"):
        score(workspace=tmp_path, bootstrap=samples)


def test_thousands_of_rows_are_named_in_seconds(tmp_path: Path, dataset: Dataset) -> None:
    fake_run(tmp_path, dataset)
    (row,) = score(workspace=tmp_path, bootstrap=0).rows
    ((record,),) = [condition.records for condition in row.conditions.values()]
    records = [
        replace_system(record, settings={"learning_rate": number // 2, "note": "same"}, seed=number)
        for number in range(3000)
    ]
    groups = [Group(f"{number:08x}" if number % 3 else "", (Entry(each),)) for number, each in enumerate(records)]
    began = time.process_time()
    names = grouping._names(groups)
    assert time.process_time() - began < 3  # 60 s where every row looks at all others
    assert len(set(names)) == len(names)
    assert names[:4] == [
        "gap (learning rate 0)",
        "gap (learning rate 0, 00000001)",
        "gap (learning rate 1, 00000002)",
        "gap (learning rate 1)",
    ]


def replace_system(record: Record, **changed: Any) -> Record:
    return record.model_copy(update={"system": record.system.model_copy(update=changed)})


def test_another_recipe_is_not_comparable_even_if_it_says_nothing(tmp_path: Path, dataset: Dataset) -> None:
    fake_run(tmp_path, dataset)
    records = [r for row in score(workspace=tmp_path).rows for c in row.conditions.values() for r in c.records]
    own = replace(dataset, info=dataset.info.model_copy(update={"not_comparable": ()}))
    board = board_of(own, records)
    assert board.why_not_comparable == ("the published rows are on remix2019, these on fake",)


def test_the_published_figures() -> None:
    published = load_published()
    assert published.value("gap", 20, "micro_ap") == 0.5067
    assert published.value("2ap-aux", 0, "macro_auc") == 0.9177
    assert published.value("2ap", 0, "micro_ap") is None
    assert len(published.table1.rows) == 5
    assert all(len(values) == 3 for line in published.table1.rows for values in line.scores.values())
    # Table 2 repeats a figure of Table 1
    assert published.table2.rows[1].scores[0] == (published.value("2ap-aux", 0, "micro_ap"),)


def test_the_weight_of_the_reconstruction_has_a_table(tmp_path: Path, dataset: Dataset) -> None:
    fake_run(tmp_path, dataset, "2ap-aux")
    assert alpha_table(TableMaker(score(workspace=tmp_path, bootstrap=0))) is None
    fake_run(tmp_path, dataset, "2ap")
    fake_run(tmp_path, dataset, "2ap-aux", variant="2ap-aux,alpha=0.1", alpha=0.1)
    fake_run(tmp_path, dataset, "gap")
    table = alpha_table(TableMaker(replace(score(workspace=tmp_path, bootstrap=0), comparable=True)))
    assert table is not None
    assert [line.head for line in table.blocks[0].lines] == ["α = 0", "α = 0.001", "α = 0.1"]
    assert [line.head for line in table.blocks[1].lines] == ["chance"]
    assert [line.cells[0].text for line in table.blocks[2].lines] == ["0.6937", "0.6986", "0.6792"]


def test_the_size_of_the_training_data_has_a_table(tmp_path: Path, dataset: Dataset) -> None:
    for fraction in (1.0, 0.125):
        variant = "gap" if fraction == 1 else f"gap,fraction={fraction:g}"
        fake_run(tmp_path, dataset, variant=variant, fraction=fraction)
    fake_run(tmp_path, dataset, "gmp")
    table = fraction_table(TableMaker(score(workspace=tmp_path, bootstrap=0)))
    assert table is not None
    (first, second), (chance,) = (block.lines for block in table.blocks)
    assert chance.head == "chance"
    assert (first.head, second.head) == ("12.5 % of the training clips", "100 % of the training clips")


def test_the_classes_have_a_table(tmp_path: Path, dataset: Dataset) -> None:
    fake_run(tmp_path, dataset)
    board = score(workspace=tmp_path, bootstrap=0)
    table = class_table(TableMaker(board))
    assert table is not None
    each = row(board, "gap").conditions[0.0].per_class["ap"]
    shown = dict(zip((column.title for column in table.columns), table.blocks[0].lines[0].cells, strict=True))
    assert {label: cell.text for label, cell in shown.items()} == {label: f"{each[label]:.3f}" for label in shown}
    ranked = [float(cell.text) for cell in table.blocks[0].lines[0].cells]
    worst = ranked[: len(table.groups[0][1])]
    assert worst == sorted(worst)
    assert max(worst) <= min(ranked[len(worst) :])


def test_detection_figures_have_a_table_for_each_snr(tmp_path: Path, dataset: Dataset) -> None:
    for snr in (0.0, 20.0):
        fake_run(tmp_path, dataset, snr=snr, frames=True)
    fake_run(tmp_path, dataset, "gmp")
    maker = TableMaker(score(workspace=tmp_path, bootstrap=0))
    tables = [table for snr in (20.0, 0.0) if (table := details_table(maker, "Detection", snr)) is not None]
    assert [table.title for table in tables] == ["Detection at 20 dB", "Detection at 0 dB"]
    gap, gmp = tables[1].blocks[0].lines
    assert all(cell.text for cell in gap.cells)
    assert not any(cell.text for cell in gmp.cells)  # clip scores alone cannot express it
    assert any("median" in note and "0.5" in note for note in tables[1].notes)
    where = "Published detection results (Kong et al. 2019) are beside the tables of remix2019."
    assert where in tables[1].notes
    assert not any("0.398" in note for note in tables[1].notes)
    there = details_table(TableMaker(replace(maker.leaderboard, comparable=True)), "Detection", 0.0)
    assert there is not None
    assert any("report for GWRP at 0 dB" in note and "frame F1 at threshold 0.1 0.398" in note for note in there.notes)
    assert dict(there.groups)["Kong et al."] == (
        Column("macro frame F1", "higher"),
        Column("macro event F1", "higher"),
    )


def test_the_best_and_those_like_it_are_bold(tmp_path: Path, dataset: Dataset) -> None:
    best = fake_run(tmp_path, dataset, "gap", noise=0.1)
    same = fake_run(tmp_path, dataset, "gmp", noise=0.1)
    (same / "predictions" / "tags.csv").write_bytes((best / "predictions" / "tags.csv").read_bytes())
    fake_run(tmp_path, dataset, "gwrp", noise=3.0)
    board = score(workspace=tmp_path, bootstrap=300)
    bold = {each.name: each.conditions[0.0].metrics["micro_ap"].best for each in board.rows}
    assert bold == {"gap": True, "gmp": True, "gwrp": False}
    assert not any(f.best for row in score(workspace=tmp_path, bootstrap=0).rows[2:] for f in _figures(row))


def _figures(row: Row) -> list[Estimate]:
    return [figure for column in row.conditions.values() for figure in column.metrics.values()]


def test_one_row_alone_is_not_the_best(tmp_path: Path, dataset: Dataset) -> None:
    fake_run(tmp_path, dataset)
    assert not any(figure.best for figure in _figures(score(workspace=tmp_path, bootstrap=20).rows[0]))


def test_all_tables_have_as_many_cells_as_columns(tmp_path: Path, dataset: Dataset) -> None:
    for system in ("gap", "2ap", "2ap-aux"):
        fake_run(tmp_path, dataset, system, frames=system == "gap")
    fake_run(tmp_path, dataset, "2ap-aux", variant="2ap-aux,fraction=0.5", fraction=0.5)
    tables = make_tables(score(workspace=tmp_path, bootstrap=10))
    assert len(tables) == 6
    for table in tables:
        assert {len(line.cells) for block in table.blocks for line in block.lines} == {len(table.columns)}


def resealed(**changes: Any) -> Callable[[Path], None]:
    """A change to run.json that it knows of, as another program would write it; `...` takes a key away."""

    def change(file: Path) -> None:
        info = {key: value for key, value in json.loads(file.read_text()).items() if key != "content_digest"} | changes
        write_sealed(file, {key: value for key, value in info.items() if value is not ...})

    return change


def in_its_place(content: bytes) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.write_bytes(content)

    return change


@pytest.mark.parametrize("scored", [False, True], ids=["new", "scored before"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (in_its_place(b""), "not readable as JSON"),
        (in_its_place(b"\xff\xfe\0"), "not readable as JSON"),
        (in_its_place(b"[]"), "expected a JSON object, found list"),
        (in_its_place(b'{"name": "a run of another program", "status": "done"}'), "format None, this version reads"),
        (resealed(format=2), "format 2, this version reads format 3"),
        (resealed(flags=None), "flags: found None; expected a list"),
        (resealed(flags=...), "key 'flags' is missing"),
        (resealed(snr="0"), "snr: found '0'; expected a number"),
        (resealed(status=["done"]), r"status: found \['done'\]; expected 'training' or 'done'"),
        (resealed(results={"predictions/tags.csv": 1}), r"results.predictions/tags.csv: found 1; expected a string"),
        (resealed(fodl=4), "unknown key 'fodl'"),
    ],
)
def test_a_run_json_that_is_damaged_or_foreign(
    tmp_path: Path, dataset: Dataset, damage: Callable[[Path], None], message: str, scored: bool
) -> None:
    """A line names file and key; the other runs are scored, and the damaged one is refused where it is named."""
    fake_run(tmp_path, dataset, "gwrp")
    file = fake_run(tmp_path, dataset) / "run.json"
    if scored:
        score(workspace=tmp_path, bootstrap=0)
    damage(file)
    for targets in ([], [tmp_path / "runs"]):
        said = Said()
        board = score(*targets, workspace=tmp_path, bootstrap=0, progress=said)
        assert [row.name for row in board.rows] == ["gwrp"]
        (line, *_) = [line for line in said.lines if line.startswith("skipped")]
        assert re.search(f"{re.escape(str(file))}: .*{message}", line)
        assert all(
            re.search(rf"^runs/fake/gap/snr_0/fold_4/seed_0/run.json: .*{message}", line) for line in board.left_out
        )
        assert len(board.left_out) == scored
    with pytest.raises(InputError, match=f"{re.escape(str(file))}: .*{message}"):
        score(file.parent, workspace=tmp_path)
    with pytest.raises(InputError, match="none of its 1 runs is done and usable"):
        score(file.parent.parent, workspace=tmp_path)


def without_predictions(file: Path) -> None:
    shutil.rmtree(file.parent / "predictions")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (resealed(parameters=-5), "parameters: found -5; expected greater than or equal to 0"),
        (resealed(macs=10**30), "macs: found 1000.*; expected less than or equal to"),
        (resealed(device_name="x" * 300), "device: found 'xxx.*; string should have at most 200 characters"),
        (without_predictions, r"a finished run without predictions/"),
    ],
)
def test_a_run_that_cannot_be_scored_keeps_no_other_from_it(
    tmp_path: Path, dataset: Dataset, damage: Callable[[Path], None], message: str
) -> None:
    fake_run(tmp_path, dataset, "gwrp")
    file = fake_run(tmp_path, dataset) / "run.json"
    damage(file)
    for targets in ([], [tmp_path / "runs"]):
        said = Said()
        board = score(*targets, workspace=tmp_path, bootstrap=0, progress=said)
        assert [row.name for row in board.rows] == ["gwrp"]
        assert [line for line in said.lines if re.search(f"^skipped {re.escape(str(file.parent))}.*: {message}", line)]
    with pytest.raises(InputError, match=f"{re.escape(str(file.parent))}.*: {message}"):
        score(file.parent, workspace=tmp_path)
    with pytest.raises(InputError, match="none of its 1 runs is done and usable"):
        score(file.parent.parent, workspace=tmp_path)


def test_predictions_altered_since_the_training_are_refused(tmp_path: Path, dataset: Dataset) -> None:
    folder = fake_run(tmp_path, dataset)
    file, info = folder / "predictions" / "tags.csv", json.loads((folder / "run.json").read_text())
    del info["content_digest"]
    write_sealed(folder / "run.json", info | {"results": {"predictions/tags.csv": file_sha256(file)}})
    score(workspace=tmp_path, bootstrap=0)
    file.write_text(tags_text(dataset, 4, noise=0.0, seed=0))
    with pytest.raises(InputError, match=r"tags.csv: differs from its digest in run.json; restore it, or train again"):
        score(workspace=tmp_path, bootstrap=0)
