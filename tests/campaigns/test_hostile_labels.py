"""Labels that could be separators, markup, formulas or names of columns: refused at the table, or read back everywhere.

A share of the campaign; REMIXBENCH_NAMES=1 runs 2,000 labels through data set, predictions, export and leaderboard.
"""

from __future__ import annotations

import csv
import json
import os
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.export import export
from remixbench.dataset.make import make
from remixbench.errors import InputError
from remixbench.leaderboard.report import report
from remixbench.leaderboard.score import score
from remixbench.recipe import Source, parse_recipe
from remixbench.scoring.io import read_predictions, read_reference
from remixbench.sources import folder
from remixbench.tables import format_table

LABELS = round(2_000 * float(os.environ.get("REMIXBENCH_NAMES", "0.03")))
CLASSES = 20
PIECES = (
    "a", "A", "é", "e\u0301", "ß", "💥", "1", "1.0", "nan", "NA", "None", "true", "filename", "onset", "event_label",
    ",", "\t", "\n", "\r", '"', "'", "|", "\\", "/", "..", ".", "*", "_", "`", "#", "~", "$", "%", "&", "{", "}", "^",
    "<xss>", "</script>", "<xss src=x onerror=alert(1)>", "&amp;", "]]>", "<!--", "[x](y)", "=1+1", "@", "+", "-", ":",
    ";", " ", "\u00a0", "\u2028", "\u202e", "\x00", "\x1b[31m", "\ufeff", "\\input{x}", "x" * 60, "../",
)  # fmt: skip
FIXED = (
    '"q"',
    "filename",
    "onset",
    "offset",
    "event_label",
    "event_labels",
    "=HYPERLINK(1)",
    "",
    " ",
    "a,b",
    "x" * 201,
)
RATE = 8000


def hostile() -> list[str]:
    draw = np.random.default_rng(11)
    labels = dict.fromkeys(FIXED)
    while len(labels) < LABELS:
        labels["".join(PIECES[k] for k in draw.choice(len(PIECES), draw.integers(1, 4)))] = None
    return list(labels)


def accepted(label: str, workspace: Path) -> str | None:
    """Return a label as a folder source has it, None where it is refused in one line."""
    (workspace / "one").mkdir(exist_ok=True)
    table = format_table(("file", "label"), [("a.wav", label)])
    (workspace / "one" / "t.csv").write_bytes(table)
    try:
        events = folder.catalogue(Source(source="folder", folder="one", table="t.csv"), workspace, "events")
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 (either outcome is right)
        return None
    return str(events.table["label"].iloc[0])


def dataset_of(labels: list[str], workspace: Path) -> Dataset:
    """Make a data set whose classes and scenes have these labels."""
    draw = np.random.default_rng(3)
    for kind, seconds, names in (("scenes", 2.0, labels[:4] * 2), ("events", 0.3, labels * 2)):
        rows = []
        (workspace / "sources" / kind).mkdir(parents=True)
        for k, label in enumerate(names):
            soundfile.write(workspace / "sources" / kind / f"{k}.wav", draw.normal(0, 0.1, int(RATE * seconds)), RATE)
            rows.append((f"{k}.wav", label))
        (workspace / "sources" / kind / "t.csv").write_bytes(format_table(("file", "label"), rows))
    recipe = {
        "name": "hostile",
        "description": "noise",
        "scenes": {"source": "folder", "folder": "scenes", "table": "t.csv"},
        "events": {"source": "folder", "folder": "events", "table": "t.csv"},
        "plan": {"folds": 2, "clips_per_fold": 20, "onsets": "drawn", "max_event": 0.3, "polyphony": 2},
        "mix": {"sample_rate": RATE, "duration": 2.0, "snrs": [0]},
        "features": {"n_fft": 256, "hop_length": 128, "n_mels": 12},
    }
    dataset = make(recipe=parse_recipe(recipe, "hostile"), workspace=workspace, jobs=1, features=False)
    assert dataset is not None
    return dataset


def check_labels(dataset: Dataset) -> None:
    """Read the label files as csv and pandas do, and against what the manifest says."""
    present = {
        name: sorted({event.label for event in clip.events})
        for name, clip in zip(dataset.filenames, dataset.clips, strict=True)
    }
    with (dataset.path / "labels" / "weak.tsv").open(encoding="utf-8", newline="") as file:
        assert {
            row["filename"]: row["event_labels"].split(",") for row in csv.DictReader(file, delimiter="\t")
        } == present
    strong = pd.read_csv(dataset.path / "labels" / "strong.tsv", sep="\t", keep_default_na=False, dtype=str)
    assert {name: sorted(set(rows)) for name, rows in strong.groupby("filename")["event_label"]} == present
    with (dataset.path / "labels" / "levels.csv").open(encoding="utf-8", newline="") as file:
        assert {row["event_label"] for row in csv.DictReader(file)} == {
            label for own in present.values() for label in own
        }


class Tags(HTMLParser):
    """Collects the names of the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def check_scores(dataset: Dataset, workspace: Path) -> None:
    """Hand in predictions for these classes; every format of the leaderboard has the labels as they are."""
    rows = dataset.test_rows(2)
    names = [dataset.filenames[row] for row in rows]
    scores = np.random.default_rng(0).random((len(rows), len(dataset.classes))).round(3)
    for pandas in (False, True):  # as we write it, and as a third party does
        tags = workspace / f"tags{pandas}.csv"
        if pandas:
            frame = pd.DataFrame(scores, columns=list(dataset.classes))
            frame.insert(0, "filename", names)
            frame.to_csv(tags, index=False)
        else:
            table = [(name, *values) for name, values in zip(names, scores.tolist(), strict=True)]
            tags.write_bytes(format_table(("filename", *dataset.classes), table))
        reference = read_reference(dataset.path / "labels", names, dataset.classes)
        predictions = read_predictions(tags, reference)
        assert predictions.clip_scores is not None
        assert np.array_equal(predictions.clip_scores, scores)
    score(tags, name="theirs", snr=0, fold=2, workspace=workspace, bootstrap=10)
    with (workspace / "leaderboard" / "hostile.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["class"] for row in csv.DictReader(file) if row["name"] == "theirs" and row["metric"] == "ap"}
    assert labels == set(dataset.classes)
    assert json.loads((workspace / "leaderboard" / "hostile.json").read_text(encoding="utf-8"))
    tags_of_page = Tags()
    tags_of_page.feed(report(workspace=workspace, clips=0).read_text(encoding="utf-8"))
    assert not tags_of_page.seen & {"xss"}
    for line in (workspace / "leaderboard" / "hostile.tex").read_text(encoding="utf-8").splitlines():
        assert "\\input" not in line


def check_exports(dataset: Dataset, workspace: Path) -> None:
    """Read the exported labels, and the card as Markdown shows it."""
    weak = {
        name: [label for label, there in zip(dataset.classes, row, strict=True) if there]
        for name, row in zip(dataset.filenames, dataset.weak, strict=True)
    }
    scenes = dict(zip(dataset.filenames, (clip.scene_label for clip in dataset.clips), strict=True))
    croissant = export(dataset, format="croissant", out=workspace / "croissant")
    assert json.loads((croissant / "croissant.json").read_text(encoding="utf-8"))
    with (croissant / "clips.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert row["labels"].split(",") == weak[row["filename"]]
            assert row["scene"] == scenes[row["filename"]]
    lines = export(dataset, format="audiofolder", out=workspace / "audiofolder", link=True)
    for part in lines.glob("snr_0/*/metadata.jsonl"):
        for line in part.read_text(encoding="utf-8").split("\n")[:-1]:
            row = json.loads(line)
            assert (row["labels"], row["scene"]) == (weak[row["file_name"]], scenes[row["file_name"]])
    card = (lines / "README.md").read_text(encoding="utf-8").partition("* **Classes**")[2].partition("\n")[0]
    for mark in "<>[*`":
        assert card.count(mark) == card.count(f"\\{mark}")


@pytest.mark.usefixtures("one_thread")
def test_every_label_is_refused_in_one_line_or_read_back_everywhere(tmp_path: Path) -> None:
    labels = hostile()
    taken = dict.fromkeys(label for label in (accepted(label, tmp_path) for label in labels) if label is not None)
    assert len(labels) * 0.2 < len(taken) < len(labels) - len(FIXED)
    usable = list(taken)
    for first in range(0, len(usable), CLASSES):
        group = usable[first : first + CLASSES]
        if len(group) < 4:
            continue
        workspace = tmp_path / str(first)
        dataset = dataset_of(group, workspace)
        check_labels(dataset)
        check_scores(dataset, workspace)
        check_exports(dataset, workspace)
