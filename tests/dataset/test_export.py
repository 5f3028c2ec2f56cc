"""Exports: files and labels of every format, read by hand, and by the libraries that they are for."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from paths import EXPORTS_PYTHON as PYTHON
from paths import ROOT

from remixbench.cli import run
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.export import export
from remixbench.dataset.make import make
from remixbench.dataset.splits import splits
from remixbench.errors import InputError
from remixbench.recipe import parse_recipe
from remixbench.tables import format_table


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
        patched.setattr("remixbench.dataset.export.write_card", interrupt)
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


def test_lhotse_references_the_files_of_the_data_set_unless_linked(made: Dataset, tmp_path: Path) -> None:
    for link in (False, True):
        folder = export(made, format="lhotse", out=tmp_path / str(link), snr=[10], link=link)
        first = json.loads((folder / "snr_10" / "test_recordings.jsonl").read_text().splitlines()[0])
        audio = Path(first["sources"][0]["source"])
        assert audio.samefile(made.audio_path("00018", 10))
        assert audio.is_relative_to(folder if link else made.path)


def test_croissant_comes_without_audio(made: Dataset, tmp_path: Path) -> None:
    folder = export(made, format="croissant", out=tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {
        "croissant.json", "clips.csv", "events.csv", "README.md", "ATTRIBUTION.csv", "NOTICE.txt"
    }  # fmt: skip
    described = json.loads((folder / "croissant.json").read_text())
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert "non-commercial" in described["license"]


def test_bad_input_of_export(made: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"unknown --format 'audiofoldr' \(did you mean 'audiofolder'\?\)"):
        export(made, format="audiofoldr", out=tmp_path / "x")
    with pytest.raises(InputError, match=r"--link: needs --format audiofolder or lhotse, not croissant"):
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
    assert "already exists and is not an empty folder" in capsys.readouterr().err


# --- terms, citations, and data sets of one's own


def own_dataset(folder: Path, licences: tuple[str, str] = ("CC0", "CC0"), **plan: Any) -> Dataset:
    """Make a data set of noise from folders whose tables have the licences of `scenes` and `events`."""
    draw = np.random.default_rng(5)
    for kind, count, seconds in (("scenes", 8, 2.0), ("events", 16, 0.3)):
        rows = []
        (folder / "sources" / kind).mkdir(parents=True)
        for k in range(count):
            soundfile.write(folder / "sources" / kind / f"{k}.wav", draw.normal(0, 0.1, int(8000 * seconds)), 8000)
            rows.append((f"{k}.wav", f"<i>{kind}</i> {k % 2}", licences[kind == "events"], f"https://example.org/{k}"))
        table = format_table(("file", "label", "licence", "url"), rows)
        (folder / "sources" / kind / "t.csv").write_bytes(table)
    columns = {"licence": "licence", "url": "url"}
    recipe = parse_recipe(
        {
            "name": "own",
            "description": "noise & <b>noise</b>",
            "scenes": {"source": "folder", "folder": "scenes", "table": "t.csv", "columns": columns},
            "events": {"source": "folder", "folder": "events", "table": "t.csv", "columns": columns},
            "plan": {"folds": 2, "clips_per_fold": 6, "onsets": "drawn", "max_event": 0.3, "polyphony": 1} | plan,
            "mix": {"sample_rate": 8000, "duration": 2.0, "snrs": [0]},
            "features": {"n_fft": 256, "hop_length": 128, "n_mels": 12},
        },
        "own",
    )
    dataset = make(recipe=recipe, workspace=folder, jobs=1)
    assert dataset is not None
    return dataset


@pytest.mark.parametrize(
    ("scenes", "events", "words", "licence"),
    [
        ("CC0", "CC0", "All recordings are in the public domain", "cc0-1.0"),
        ("ALL RIGHTS RESERVED", "CC0", "Clips may not be passed on: ", "other"),
        ("CC0", "ALL RIGHTS RESERVED", "('ALL RIGHTS RESERVED';", "other"),
        ("CC0", "ask Bob", "Clips may not be passed on: ", "other"),
        ("CC BY-NC 4.0", "CC0", "for non-commercial use only", "other"),
        ("CC0", "CC BY-SA 4.0", "under the licence of the recordings that ask for it", "other"),
    ],
)
def test_the_strictest_licence_decides_what_may_be_passed_on(
    scenes: str, events: str, words: str, licence: str, tmp_path: Path
) -> None:
    dataset = own_dataset(tmp_path, (scenes, events))
    folder = export(dataset, format="audiofolder", out=tmp_path / "a")
    card = (folder / "README.md").read_text()
    described = json.loads((export(dataset, format="croissant", out=tmp_path / "c") / "croissant.json").read_text())
    assert card.startswith(f"---\nlicense: {licence}\n")
    assert words in card
    assert words in described["license"]
    with (folder / "ATTRIBUTION.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["licence"] for row in rows if row["kind"] == "scene"} == {scenes}
    assert {row["licence"] for row in rows if row["kind"] == "event"} == {events}
    assert all(row["source_url"] == f"https://example.org/{row['file'].removesuffix('.wav')}" for row in rows)
    # a data set of one's own cites neither the paper nor sources that it does not have, and is shown as it is written
    for text in (card, described["citeAs"]):
        assert "Interspeech" not in text
        assert "The remixbench authors" in text
    assert "10.21437" not in json.dumps(described)
    assert "<b>" not in card.replace("\\<b\\>", "")
    assert "\\<i\\>events\\</i\\> 0" in card


def test_the_notice_of_the_scenes_travels_with_every_copy(made: Dataset, tmp_path: Path) -> None:
    notice = (made.path / "NOTICE.txt").read_text()
    assert "Tampere University" in notice
    for form in ("audiofolder", "webdataset", "lhotse", "croissant"):
        folder = export(made, format=form, out=tmp_path / form)
        assert (folder / "NOTICE.txt").read_text() == notice
        card = (folder / "README.md").read_text()
        for text in ("NOTICE.txt", "Interspeech 2021", "Mesaros", "Fonseca"):
            assert text in card


@pytest.mark.parametrize(("form", "link"), [("audiofolder", False), ("audiofolder", True), ("webdataset", False),
                                            ("lhotse", False), ("lhotse", True)])  # fmt: skip
def test_altered_audio_is_not_exported(form: str, link: bool, copied: Dataset, tmp_path: Path) -> None:
    path = copied.audio_path("00018", 0)
    samples, rate = soundfile.read(path, dtype="int16")
    samples[100] += 1
    soundfile.write(path, samples, rate, subtype="PCM_16")
    with pytest.raises(InputError, match=r"00018.wav: its samples differ from digests.csv"):
        export(copied, format=form, out=tmp_path / "out", link=link, snr=0)
    assert list((tmp_path / "out").iterdir()) == []
    path.unlink()
    with pytest.raises(InputError, match=r"00018.wav: missing"):
        export(copied, format=form, out=tmp_path / "out", link=link, snr=0)


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason=f"no libraries at {PYTHON}; tests/exports/setup.sh sets them up")
@pytest.mark.parametrize("form", ["audiofolder", "webdataset", "lhotse", "croissant"])
def test_the_library_reads_the_same_labels_and_splits_without_events(form: str, made: Dataset, tmp_path: Path) -> None:
    if form == "audiofolder":
        pytest.importorskip("pyarrow", reason="without events the metadata are Parquet, which needs pyarrow (extra)")
    sparse = own_dataset(tmp_path, polyphony={"range": [0, 1]}, seed=3, clips_per_fold=4)
    rows = splits(sparse, 2)
    counts = {split: sum(len(sparse.clips[row].events) for row in rows[split]) for split in rows}
    assert 0 in counts.values()
    assert max(counts.values()) > 0
    of_made = export(made, format=form, out=tmp_path / "made" / "out")
    of_sparse = export(sparse, format=form, out=tmp_path / "sparse" / "out", fold=2)
    command = [PYTHON, ROOT / "tests" / "exports" / "check.py", form, of_made, "snr_10", of_sparse, "snr_0"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    read, read_sparse = json.loads(done.stdout)
    assert read == expected(made)
    assert {split: len(clips) for split, clips in read_sparse.items()} == {
        split: len(rows[split]) for split in rows if len(rows[split])
    }


def test_a_split_without_events_is_refused_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = own_dataset(tmp_path, polyphony={"range": [0, 1]}, seed=3, clips_per_fold=4)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"at 0 dB a split has no events.*install pyarrow"):
        export(dataset, format="audiofolder", out=tmp_path / "out", fold=2)
    export(dataset, format="lhotse", out=tmp_path / "lhotse", fold=2)
