"""Labels in DCASE's form: what the files say, against the manifest and the recordings' real lengths."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import tiny

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.finalize import attribution, durations_table, strong_labels, weak_labels
from remixbench.dataset.manifest import Clip, Event, Manifest
from remixbench.recipe import parse_recipe
from remixbench.sources.audio import FileReader
from remixbench.sources.catalogue import Catalogue

CLIPS = (
    Clip(
        "00000", 1, "a.wav", "park", "town-1",
        (
            Event(0, "x.wav", "Knock", 0.5, 2.0),
            Event(1, "y.wav", "Bark", 1.25, 2.0),
            Event(2, "x.wav", "Knock", 9.0, 2.0),
        ),
    ),
    Clip("00001", 2, "b.wav", "bus", "town-2", ()),
    Clip("00002", 2, "b.wav", "bus", "town-2", (Event(0, "z.wav", "Hi-hat", 0.1, 0.75),)),
)  # fmt: skip
NAMES = ("00000.wav", "00001.wav", "00002.wav")
AVAILABLE = {("x.wav", None): 30.0, ("y.wav", None): 1 / 3, ("z.wav", None): 0.7500001}
RECIPE = parse_recipe(tiny.RECIPE | {"plan": {}, "mix": {"sample_rate": 32000}, "features": {}}, "ten seconds")


def test_strong_labels_end_with_the_recording_the_longest_event_or_the_clip() -> None:
    assert strong_labels(RECIPE, CLIPS, NAMES, AVAILABLE).decode().splitlines() == [
        "filename\tonset\toffset\tevent_label",
        "00000.wav\t0.5\t2.5\tKnock",  # 30 s recorded, 2 s at most
        "00000.wav\t1.25\t1.583333\tBark",  # a third of a second recorded
        "00000.wav\t9.0\t10.0\tKnock",  # the clip ends
        "00001.wav\t\t\t",
        "00002.wav\t0.1\t0.85\tHi-hat",
    ]


@pytest.mark.parametrize(("rate", "seconds"), [(22050, 3.3333), (44100, 1 / 3), (8000, 2.00007), (16000, 7.7777)])
def test_labels_never_exceed_a_clip_of_a_fractional_number_of_samples(rate: int, seconds: float) -> None:
    mix = {"sample_rate": rate, "duration": seconds, "snrs": 0}
    content = {"plan": {"onsets": 0.1, "polyphony": 1, "max_event": 2.0}, "mix": mix, "features": {"n_fft": 256}}
    recipe = parse_recipe(tiny.RECIPE | content, "odd")
    clips = [Clip("00000", 1, "a.wav", "park", "town-1", (Event(0, "x.wav", "Knock", 0.1, 60.0),))]
    strong = strong_labels(recipe, clips, NAMES[:1], AVAILABLE).decode().splitlines()[1].split("\t")
    duration = durations_table(recipe, NAMES[:1]).decode().splitlines()[1].split("\t")[1]
    assert float(duration) == round(rate * seconds) / rate
    assert float(duration) - 1e-6 <= float(strong[2]) <= float(duration)


def test_weak_labels_are_sorted_unique_and_joined_by_commas() -> None:
    assert weak_labels(CLIPS, NAMES) == (
        b"filename\tevent_labels\n00000.wav\tBark,Knock\n00001.wav\t\n00002.wav\tHi-hat\n"
    )


def test_durations() -> None:
    assert durations_table(RECIPE, NAMES[:2]) == b"filename\tduration\n00000.wav\t10.0\n00001.wav\t10.0\n"


def test_attribution_names_every_recording_once_sorted() -> None:
    rows = [
        ("z.wav", "Hi-hat", True, "7", "Creative Commons 0", "https://example.org/7"),
        ("unused.wav", "Hi-hat", True, "8", "Attribution", ""),
        ("x.wav", "Knock", True, "9", "by, with a comma", ""),
        ("y.wav", "Bark", True, "10", "Attribution", "u"),
    ]
    table = pd.DataFrame(rows, columns=["file", "label", "verified", "origin", "licence", "url"])
    events = Catalogue("made up", table, "", FileReader(Path()))
    places = [("b.wav", "bus", "town-2", "CC BY-NC 4.0", ""), ("a.wav", "park", "town-1", "unknown", "https://a.org")]
    columns = ["file", "label", "location", "licence", "url"]
    scenes = Catalogue("folder street", pd.DataFrame(places, columns=columns), "", FileReader(Path()))
    assert attribution(Manifest(CLIPS), scenes, events).decode().splitlines() == [
        "kind,file,label,source_url,licence,terms",
        'event,x.wav,Knock,9,"by, with a comma",with attribution',
        "event,y.wav,Bark,u,Attribution,with attribution",
        "event,z.wav,Hi-hat,https://example.org/7,Creative Commons 0,no conditions",
        "scene,a.wav,park,https://a.org,unknown,unknown",
        'scene,b.wav,bus,folder street,CC BY-NC 4.0,"non-commercial, with attribution"',
    ]


def test_attribution_holds_no_formula_that_a_spreadsheet_would_execute() -> None:
    link = '=HYPERLINK("https://example.org")'
    table = pd.DataFrame([("x.wav", "Knock", True, "+1", link, ""), ("y.wav", "Bark", True, "10", "-", "@A1")])
    table.columns = pd.Index(["file", "label", "verified", "origin", "licence", "url"])
    events = Catalogue("made up", table, "", FileReader(Path()))
    scenes = Catalogue(
        "street", pd.DataFrame(columns=["file", "label", "location", "licence", "url"]), "", events.reader
    )
    assert list(csv.reader(attribution(Manifest(CLIPS), scenes, events).decode().splitlines()))[1:] == [
        ["event", "x.wav", "Knock", "'+1", f"'{link}", "unknown"],
        ["event", "y.wav", "Bark", "'@A1", "'-", "unknown"],
    ]


def test_strong_labels_of_files_are_where_the_events_sound(made: Dataset, corpus: Path) -> None:
    strong = made.strong()
    assert len(strong) == 24 * 3
    at = 0
    for clip in made.clips:
        events_channel = soundfile.read(made.stems_path(clip, 10), dtype="int16")[0][:, 0]
        quiet = np.ones(len(events_channel), dtype=bool)
        for event in clip.events:
            name, onset, offset, label = strong[at]
            at += 1
            info = soundfile.info(corpus / tiny.FSD_AUDIO / event.file)
            assert (name, onset, label) == (f"{clip.id}.wav", event.onset, event.label)
            assert offset == round(onset + min(info.frames / info.samplerate, 0.5), 6)
            quiet[int(onset * 8000) : int(offset * 8000) + 1] = False
            assert np.any(events_channel[int(offset * 8000) - 20 : int(offset * 8000)])
        assert not np.any(events_channel[quiet] > 0)
        assert not np.any(events_channel[quiet] < 0)


def test_label_files_have_the_dcase_format(made: Dataset) -> None:
    strong = pd.read_csv(made.path / "labels" / "strong.tsv", sep="\t")
    assert list(strong.columns) == ["filename", "onset", "offset", "event_label"]
    weak = pd.read_csv(made.path / "labels" / "weak.tsv", sep="\t")
    assert {name: set(found.split(",")) for name, found in weak.to_numpy()} == {
        name: set(rows["event_label"]) for name, rows in strong.groupby("filename")
    }
    durations = pd.read_csv(made.path / "labels" / "durations.tsv", sep="\t")
    assert set(durations["duration"]) == {2.0}
    with (made.path / "labels" / "levels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["target_is_on"] for row in rows} == {"rms of recording"}
    assert len(rows) == 24 * 3 * 2
