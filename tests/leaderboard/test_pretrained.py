"""Rows with a frozen pretrained encoder say so in every format, what both parts cost, and what may have been heard."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import RECIPE, changed, write_corpus, write_recipe
from tiny_encoders import TINY_ENCODER, write_encoder

from remixbench.cli import run as cli
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.make import make
from remixbench.dataset.overlap import freesound_ids, from_freesound, overlap, read_ids, read_overlap
from remixbench.errors import InputError
from remixbench.files import write_sealed
from remixbench.leaderboard.encoder_probe import few_clips, probe
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.renderers import render, render_summary
from remixbench.leaderboard.report import report
from remixbench.leaderboard.rows import Row
from remixbench.leaderboard.score import score
from remixbench.recipe import load_recipe
from remixbench.systems import registry, spec
from remixbench.training.train import train


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run of a system on embeddings and one without."""
    workspace = tmp_path_factory.mktemp("pretrained")
    write_corpus(workspace / "sources")
    recipe = load_recipe(write_recipe(workspace, changed(RECIPE, plan__clips_per_fold=12)))
    make(recipe=recipe, workspace=workspace, jobs=1, snr=0)
    encoder = write_encoder(workspace, TINY_ENCODER.replace('["Noise"]', '["AudioSet", "FSD50K"]'))
    shared = {"workspace": workspace, "snr": 0, "epochs": 1, "precision": "32", "device": "cpu"}
    train(system="emb-mlp", options={"encoder": encoder}, **shared)  # type: ignore[arg-type]
    train(system="crnn", width=0.25, **shared)  # type: ignore[arg-type]
    return workspace


@pytest.fixture
def workspace(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "work", ignore=shutil.ignore_patterns("sources"))
    return tmp_path / "work"


def row_of(board: Leaderboard, name: str) -> Row:
    (row,) = (row for row in board.rows if row.name.startswith(name))
    return row


def test_every_format_has_the_column_and_the_cost_of_both_parts(workspace: Path) -> None:
    board = score(workspace=workspace, bootstrap=20)
    pretrained, plain = row_of(board, "emb-mlp"), row_of(board, "crnn")
    assert pretrained.pretrained_on == ("AudioSet", "FSD50K")
    assert plain.pretrained_on == ()
    assert any(flag.code == "pretrained" and "AudioSet, FSD50K" in flag.text for flag in pretrained.flags)
    lines = list(csv.DictReader(io.StringIO(render(board, "csv"))))
    assert {line["pretrained_on"] for line in lines if line["name"] == pretrained.name} == {"AudioSet; FSD50K"}
    assert {line["pretrained_on"] for line in lines if line["name"] == plain.name} == {""}
    assert {line["frozen_parameters"] for line in lines if line["name"] == pretrained.name} == {"1134"}
    assert {row["name"]: row["pretrained_on"] for row in json.loads(render(board, "json"))["rows"]} == {
        pretrained.name: ["AudioSet", "FSD50K"],
        plain.name: [],
    }
    assert "pretrained on" in board._repr_html_()
    for form in ("md", "latex", "html"):
        text = render(board, form) if form != "html" else report(workspace=workspace).read_text(encoding="utf-8")
        assert text.lower().count("pretrained on") >= 3, form  # tagging, details, cost
        assert "AudioSet; FSD50K" in text, form
    for text in (render(board, "table", width=200), render_summary(board, width=100), render_summary(board, width=200)):
        assert "pretrained" in text
        assert "AudioSet" in text
    cost = next(line for line in render(board, "md").split("## Cost")[1].splitlines() if pretrained.name in line)
    assert f"{pretrained.cost.parameters} | 1.84 k" in cost  # 708 trained, 1,134 frozen
    assert "1.84 k" in cost
    assert pretrained.cost.frozen_macs == 83_200


def test_without_encoders_there_is_no_such_column(workspace: Path) -> None:
    shutil.rmtree(next((workspace / "runs" / "tiny").glob("emb-mlp*")))
    board = score(workspace=workspace, bootstrap=20)
    for form in ("md", "latex"):
        assert "pretrained" not in render(board, form).lower()
    assert "| parameters | MACs per clip |" in render(board, "md")


def test_runs_of_other_weights_are_other_rows(workspace: Path) -> None:
    write_encoder(workspace, TINY_ENCODER, seed=1)
    encoder = f"{workspace / 'tiny_encoder.py'}:TinyEncoder"
    train(system="emb-mlp", options={"encoder": encoder}, workspace=workspace, snr=0, epochs=1, precision="32",
          device="cpu")  # fmt: skip
    board = score(workspace=workspace, bootstrap=20)
    assert len([row for row in board.rows if row.name.startswith("emb-mlp")]) == 2


def codes(board: Leaderboard) -> set[str]:
    return {flag.code for flag in row_of(board, "emb-mlp").flags} - {"pretrained", "setting"}


def test_what_may_have_been_heard_is_marked(workspace: Path) -> None:
    assert codes(score(workspace=workspace, bootstrap=20)) == {"may-have-heard"}
    dataset = Dataset.open(workspace / "datasets" / "tiny")
    ids = freesound_ids(dataset)
    tested = sorted({event.file for row in dataset.test_rows(4) for event in dataset.clips[row].events})
    others = sorted(ids.keys() - set(tested))
    heard = workspace / "heard.csv"
    heard.write_text("\n".join(["fname,labels", *(f"{ids[name]}.wav,x" for name in tested[:2]), "99999999.wav,y"]))
    result = overlap(heard, encoder="TinyEncoder", workspace=workspace)
    assert result.shared == tested[:2]
    assert result.ids == 3
    assert result.tested["4"] == [2, len(tested)]
    board = score(workspace=workspace, bootstrap=20)
    assert codes(board) == {"heard"}
    (text,) = (flag.text for flag in row_of(board, "emb-mlp").flags if flag.code == "heard")
    assert text == f"encoder TinyEncoder has heard 2 of the {len(tested)} event recordings of the test clips"
    assert codes(score(workspace=workspace, bootstrap=20)) == {"heard"}
    heard.write_text(f"{ids[others[0]]}\n")
    overlap(heard, encoder="TinyEncoder", workspace=workspace)
    assert codes(score(workspace=workspace, bootstrap=20)) == set()  # compared, and the test clips are clean


def test_the_command_lists_and_keeps(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = freesound_ids(Dataset.open(workspace / "datasets" / "tiny"))
    name, number = sorted(ids.items())[0]
    (workspace / "ids.txt").write_text(f"{number}\n")
    arguments = ["--workspace", str(workspace), "overlap", str(workspace / "ids.txt")]
    assert cli([*arguments, "--encoder", "TinyEncoder"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [name]
    assert "has heard 1 event recordings of tiny (1 ids)" in err
    assert cli([*arguments, "--encoder", "../x"]) == 2
    assert "cannot be used for a folder, expected letters, digits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("1\n2\n3\n", {1, 2, 3}),
        ("fname,labels\n64760,Guitar\n16399.wav,x\n", {64760, 16399}),
        ("label\tfreesound_id\nx\t7\n", {7}),
        ("Name;ID\nx;8\n", {8}),
        ("\ufeffid\n9\n\n10\n", {9, 10}),
        ("audio/123.flac\n", {123}),
        ('id,title\n4,"a, b"\n', {4}),
    ],
)
def test_lists_of_ids(tmp_path: Path, text: str, ids: set[int]) -> None:
    (tmp_path / "ids.csv").write_text(text, encoding="utf-8")
    assert read_ids(tmp_path / "ids.csv") == ids


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ids.csv: empty, expected a header line"),
        (b"id\n", "has no ids below its header"),
        (b"title,sound\nx,3\n", "line 1: found 'title', expected a Freesound id"),
        (b"id\n5\nfive\n", "line 3: found 'five'"),
        (b"id,x\n,3\n", "line 2: found ''"),
        (b"\xff\xfe\x00", "ids.csv: not text in utf-16"),
    ],
)
def test_broken_lists_of_ids(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "ids.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_ids(tmp_path / "ids.csv")


def test_an_overlap_of_another_manifest_or_an_edited_one_does_not_count(workspace: Path) -> None:
    dataset = Dataset.open(workspace / "datasets" / "tiny")
    (workspace / "ids.txt").write_text("1\n")
    result = overlap(workspace / "ids.txt", encoder="TinyEncoder", workspace=workspace)
    assert read_overlap(workspace, dataset, "TinyEncoder") == result
    path = workspace / "overlap" / "tiny" / "TinyEncoder.json"
    path.write_text(path.read_text().replace('"ids": 1', '"ids": 2'))
    with pytest.raises(InputError, match="was edited"):
        read_overlap(workspace, dataset, "TinyEncoder")
    path.write_text("{}")
    with pytest.raises(InputError, match="overlap` again"):
        read_overlap(workspace, dataset, "TinyEncoder")
    write_sealed(path, result.model_copy(update={"manifest_digest": "0" * 64}).model_dump(mode="json"))
    assert read_overlap(workspace, dataset, "TinyEncoder") is None


def test_names_of_data_sets_of_freesound() -> None:
    assert from_freesound(["AudioSet", "FSD50K"])
    assert from_freesound(["WavCaps (Freesound, BBC)"])
    assert not from_freesound(["AudioSet"])
    assert not from_freesound([])


def test_probe_has_one_row_per_encoder(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(
        spec("emb-mlp"), training_defaults=spec("emb-mlp").training_defaults | {"epochs": 2, "min_steps": 0}
    )
    monkeypatch.setitem(registry._BUNDLED, "emb-mlp", short)
    monkeypatch.setattr("remixbench.training.train.available_cores", lambda: 1)  # no worker processes
    other = write_encoder(workspace, TINY_ENCODER.replace("TinyEncoder", "OtherEncoder"), seed=1, name="other.py")
    encoders = [f"{workspace / 'tiny_encoder.py'}:TinyEncoder", other.replace("TinyEncoder", "OtherEncoder")]
    dataset = Dataset.open(workspace / "datasets" / "tiny")
    few = few_clips(dataset)
    clips = few * 36  # of three of the four folds
    assert dataset.weak.mean(axis=0).mean() * clips == pytest.approx(8, rel=1e-3)
    result = probe(encoders, workspace=workspace, seed=0, device="cpu")
    assert [line.head for line in result.table.lines] == ["TinyEncoder", "OtherEncoder"]
    assert [heading for heading, _ in result.table.groups] == ["encoder", "all training clips", "8 clips per class"]
    for line in result.table.lines:
        values = [cell.estimate for cell in line.cells[2:]]
        assert len(values) == 4
        assert all(value is not None and 0 < value.value <= 1 for value in values)
        assert line.about["pretrained_on"]
    runs = {path: path.stat().st_mtime_ns for path in (workspace / "runs").rglob("model.safetensors")}
    arguments = ["--workspace", str(workspace), "-q", "probe", *encoders, "--seed", "0", "--device", "cpu"]
    assert cli([*arguments, "--format", "csv"]) == 2
    assert "'csv' is not one of 'table', 'md', 'latex'" in capsys.readouterr().err
    assert cli([*arguments, "--format", "md"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (workspace / "runs").rglob("model.safetensors")} == runs
    out = capsys.readouterr().out
    assert "| TinyEncoder " in out
    assert "micro-AP 0 dB, 8 clips per class" in out
