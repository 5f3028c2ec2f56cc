"""Exports: files and labels of every format, read by hand, and by the libraries that they are for."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from paths import EXPORTS_PYTHON as PYTHON
from paths import ROOT

from remixbench.cli import run
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.export.export import export
from remixbench.dataset.splits import splits
from remixbench.errors import InputError


def expected(dataset: Dataset) -> dict[str, dict[str, dict[str, Any]]]:
    """Labels and onsets of every clip by split, from the data set's own label files."""
    onsets: dict[str, list[float]] = {}
    for name, onset, _, _ in dataset.strong():
        onsets.setdefault(name, []).append(onset)
    with (dataset.path / "labels" / "weak.tsv").open() as file:
        weak = {row["filename"]: row["event_labels"].split(",") for row in csv.DictReader(file, delimiter="\t")}
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for split, rows in splits(dataset, 4).items():
        for name in (dataset.filenames[row] for row in rows):
            found.setdefault(split, {})[name] = {"labels": weak[name], "events": onsets[name]}
    return found


def test_audiofolder_has_a_config_per_snr_and_a_folder_per_split(made: Dataset, tmp_path: Path) -> None:
    folder = export(made, format="audiofolder", out=tmp_path / "out", link=True)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n")
    for text in ("- config_name: snr_0\n", "path: snr_10/test/**", "non-commercial use only", "Interspeech 2021"):
        assert text in card
    for split, clips in expected(made).items():
        lines = (folder / "snr_10" / split / "metadata.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        assert {row["file_name"]: row["labels"] for row in rows} == {k: v["labels"] for k, v in clips.items()}
        assert [[event["onset"] for event in row["events"]] for row in rows] == [v["events"] for v in clips.values()]
        for row in rows:
            audio = folder / "snr_10" / split / row["file_name"]
            assert audio.samefile(made.audio_path(row["file_name"], 10))
            assert all(abs(event["snr_db"]) < 60 for event in row["events"])
    assert (folder / "ATTRIBUTION.csv").read_bytes() == (made.path / "ATTRIBUTION.csv").read_bytes()


@pytest.mark.parametrize("form", ["audiofolder", "webdataset", "croissant"])
def test_an_interrupted_export_leaves_nothing_behind(
    form: str, made: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def interrupt(*_: object) -> None:
        assert any(out.iterdir())
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("remixbench.dataset.export.export.write_card", interrupt)
        with pytest.raises(KeyboardInterrupt):
            export(made, format=form, out=out, snr=0)
    assert list(out.iterdir()) == []
    export(made, format=form, out=out, snr=0)  # which takes a new or empty folder only
    assert any(out.iterdir())


def test_webdataset_shards_are_the_same_bytes_every_time(made: Dataset, tmp_path: Path) -> None:
    one, two = (export(made, format="webdataset", out=tmp_path / name, snr=0) for name in ("one", "two"))
    shards = sorted(path.relative_to(one) for path in one.rglob("*.tar"))
    assert all((one / shard).read_bytes() == (two / shard).read_bytes() for shard in shards)
    with tarfile.open(one / "snr_0" / "test-000000.tar") as tar:
        names = tar.getnames()
        assert names == [f"{clip.id}.{end}" for clip in made.clips if clip.fold == 4 for end in ("wav", "json")]


def test_lhotse_names_the_data_sets_own_files_unless_they_are_linked(made: Dataset, tmp_path: Path) -> None:
    for link in (False, True):
        folder = export(made, format="lhotse", out=tmp_path / str(link), snr=[10], link=link)
        first = json.loads((folder / "snr_10" / "test_recordings.jsonl").read_text().splitlines()[0])
        audio = Path(first["sources"][0]["source"])
        assert audio.samefile(made.audio_path("00018", 10))
        assert audio.is_relative_to(folder if link else made.path)


def test_croissant_comes_without_audio(made: Dataset, tmp_path: Path) -> None:
    folder = export(made, format="croissant", out=tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {
        "croissant.json", "clips.csv", "events.csv", "README.md", "ATTRIBUTION.csv"
    }  # fmt: skip
    described = json.loads((folder / "croissant.json").read_text())
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert "non-commercial" in described["license"]


@pytest.mark.skipif(not PYTHON.exists(), reason=f"no libraries at {PYTHON}; tests/exports/setup.sh sets them up")
@pytest.mark.parametrize("form", ["audiofolder", "webdataset", "lhotse", "croissant"])
def test_the_library_reads_the_same_labels(form: str, made: Dataset, tmp_path: Path) -> None:
    folder = export(made, format=form, out=tmp_path / "out")
    command = [PYTHON, ROOT / "tests" / "exports" / "check.py", form, folder, "snr_10"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == expected(made)


def test_bad_input_of_export(made: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"unknown --format 'audiofoldr' \(did you mean 'audiofolder'\?\)"):
        export(made, format="audiofoldr", out=tmp_path / "x")
    with pytest.raises(InputError, match=r"--link: goes with --format audiofolder or lhotse, not croissant"):
        export(made, format="croissant", out=tmp_path / "x", link=True)
    with pytest.raises(InputError, match=r"has no SNR of 5 dB"):
        export(made, format="lhotse", out=tmp_path / "x", snr=5)
    with pytest.raises(InputError, match=r"has no fold 9"):
        export(made, format="lhotse", out=tmp_path / "x", fold=9)
    assert not (tmp_path / "x").exists()
    arguments = [
        "-q",
        "export",
        str(made.path),
        "--snr",
        "0",
        "10",
        "--format",
        "croissant",
        "--out",
        str(tmp_path / "y"),
    ]
    assert run(arguments) == 0
    assert run(arguments) == 2
    assert "is there already and not an empty folder" in capsys.readouterr().err
