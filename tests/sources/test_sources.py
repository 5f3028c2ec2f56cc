"""Sources: published tables and their damaged copies, recordings of every kind, folders of one's own."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remixbench.cli import run
from remixbench.dataset.make import make
from remixbench.dataset.verify import verify
from remixbench.errors import InputError
from remixbench.recipe import Columns, Source, parse_recipe
from remixbench.sources import folder, fsdkaggle2018, load_catalogues, tau2019
from remixbench.sources.audio import read_audio
from remixbench.sources.catalogue import label_problem
from remixbench.tables import format_table

TAU_ROWS = (
    "filename\tscene_label\tidentifier\tsource_label\n"
    "audio/park-paris-1-2-a.wav\tpark\tparis-1\ta\naudio/bus-lyon-3-4-a.wav\tbus\tlyon-3\ta\n"
)
FSD_ROWS = (
    "fname,label,manually_verified,freesound_id,license\n"
    "00044347.wav,Hi-hat,0,28739,Attribution\n001ca53d.wav,Saxophone,1,358827,Attribution\n"
)


def tau(sources: Path, text: str | bytes = TAU_ROWS) -> Any:
    path = sources / tiny.TAU / "meta.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return tau2019.scenes(sources)


def fsd(sources: Path, text: str | bytes = FSD_ROWS) -> Any:
    path = sources / tiny.FSD_TABLE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return fsdkaggle2018.events(sources)


# --- tables


def test_the_published_tables(published: Path) -> None:
    scenes, events = tau2019.scenes(published), fsdkaggle2018.events(published)
    assert len(scenes.table) == 14_400
    assert scenes.table["location"].nunique() == 514
    assert set(scenes.table["label"].value_counts()) == {1440}
    assert len(events.table) == 9473
    assert int(events.table["verified"].sum()) == 3710
    assert len(events.labels) == 41
    assert (events.labels[0], events.labels[-1]) == ("Acoustic_guitar", "Writing")
    assert dict(events.table["licence"].value_counts()) == {
        "Attribution": 5210, "Creative Commons 0": 4260, "Attribution Noncommercial": 3
    }  # fmt: skip


def test_rows_of_the_tables(tmp_path: Path) -> None:
    assert tau(tmp_path).table.to_numpy().tolist() == [
        ["park-paris-1-2-a.wav", "park", "paris-1", tau2019.LICENCE, tau2019.URL],
        ["bus-lyon-3-4-a.wav", "bus", "lyon-3", tau2019.LICENCE, tau2019.URL],
    ]
    assert fsd(tmp_path).table.to_numpy().tolist() == [
        ["00044347.wav", "Hi-hat", False, "28739", "Attribution", "https://freesound.org/s/28739"],
        ["001ca53d.wav", "Saxophone", True, "358827", "Attribution", "https://freesound.org/s/358827"],
    ]


def test_a_spreadsheet_may_have_saved_them(tmp_path: Path) -> None:
    saved = b"\xef\xbb\xbf" + TAU_ROWS.replace("\n", "\r\n").encode()
    assert tau(tmp_path, saved).table.equals(tau(tmp_path / "other").table)
    saved = b"\xef\xbb\xbf" + FSD_ROWS.replace("\n", "\r\n").encode()
    assert fsd(tmp_path, saved).table.equals(fsd(tmp_path / "other").table)
    assert len(fsd(tmp_path, FSD_ROWS + "\n\n").table) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty, expected a header line"),
        ("filename\n", "column 'scene_label' is missing"),
        (TAU_ROWS.replace("scene_label", "scene_lable"), r"column 'scene_label' is missing .did you mean 'scene_lab"),
        (TAU_ROWS.replace("\t", ","), "column 'filename' is missing.*; found: filename,scene_label"),
        (TAU_ROWS.splitlines()[0] + "\n", "has no rows"),
        (TAU_ROWS.replace("\tbus\t", "\t\t"), "line 3: no value in column 'scene_label'"),
        (TAU_ROWS.replace("lyon-3\ta", ""), "line 3: 3 values, expected 4"),
        (TAU_ROWS.replace("lyon-3\ta", " \ta"), "line 3: no value in column 'identifier'"),
        (TAU_ROWS.replace("source_label", "filename"), "column 'filename' appears twice"),
        (TAU_ROWS.replace("audio/bus-lyon-3-4-a.wav\tbus\tlyon-3\ta", "audio/bus-lyon-3-4-a.wav"), "line 3: 1 values"),
        (TAU_ROWS.replace("lyon-3\ta", "lyon-3\ta\tb"), "line 3: 5 values, expected 4"),
        (TAU_ROWS.replace("\ta\n", "\ta\tb\n"), "line 2: 5 values, expected 4"),
        (TAU_ROWS + TAU_ROWS.splitlines()[1] + "\n", "line 4: 'audio/park-paris-1-2-a.wav' appears twice"),
        (TAU_ROWS.replace("audio/bus", "../bus"), "line 3: .* is not the name of a file below its folder"),
        (TAU_ROWS.replace("audio/bus", "/audio/bus"), "line 3: .* is not the name of a file below its folder"),
        (TAU_ROWS.replace("audio/bus", "C:/bus"), "line 3: .* is not the name of a file below its folder"),
        (TAU_ROWS.replace("audio/bus", '"audio/bus'), "not readable as a table"),
        (TAU_ROWS.encode("utf-16"), "not readable as a table"),
        (TAU_ROWS.encode() + b"\xff\t\xff\t\xff\n", "not readable as a table"),
    ],
)  # fmt: skip
def test_a_broken_table_of_scenes(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        tau(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / tiny.TAU / "meta.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FSD_ROWS.replace("Saxophone,1", "Saxophone,yes"), "line 3: manually_verified is 'yes', expected 0 or 1"),
        (FSD_ROWS.replace("358827", "35.8"), "line 3: freesound_id is '35.8', expected a number"),
        (FSD_ROWS.replace("358827", "-5"), "line 3: freesound_id is '-5', expected a number"),
        (FSD_ROWS.replace("00044347.wav,Hi-hat", ",Hi-hat"), "line 2: no value in column 'fname'"),
        (FSD_ROWS.replace("\n001", "\n\n001").replace("358827", "x"), "line 4: freesound_id is 'x'"),
        (FSD_ROWS.replace("Saxophone", '"Sax,ophone"'), "line 3: .*label.*comma"),
    ],
)
def test_a_broken_table_of_events(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        fsd(tmp_path, text)


def test_a_missing_table_says_how_to_download_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"meta.csv: no such file; run `remixbench download tau2019` first"):
        tau2019.scenes(tmp_path)
    with pytest.raises(
        InputError, match=r"competition.csv: no such file; run `remixbench download fsdkaggle2018` first"
    ):
        fsdkaggle2018.events(tmp_path)


@pytest.mark.parametrize("name", ["audio/park-paris-1-2/", "audio/.", "audio/park/..", "audio\\\\"])
def test_the_name_of_a_folder_is_not_that_of_a_recording(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: .* is not the name of a file below its folder"):
        tau(tmp_path, TAU_ROWS.replace("audio/park-paris-1-2-a.wav", name).encode())


PIECES = st.sampled_from(["\t", ",", "\n", '"', "\r", "\x00", "\ufeff", "..", "/", "nan", "NA", "0", "\x85", "\u2028"])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 160), st.integers(0, 6), PIECES | st.text(max_size=2)), min_size=1, max_size=4
    ),
    scenes=st.booleans(),
)
def test_a_damaged_table_is_a_table_or_bad_input(
    changes: list[tuple[int, int, str]], scenes: bool, tmp_path: Path
) -> None:
    text = TAU_ROWS if scenes else FSD_ROWS
    for at, dropped, piece in changes:
        text = text[:at] + piece + text[at + dropped :]
    try:
        found = (tau if scenes else fsd)(tmp_path, text.encode("utf-8", errors="surrogatepass"))
    except InputError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017 (either outcome is right)
    else:
        assert len(found.table) >= 1
        assert all(isinstance(value, str) and value for value in found.table["file"])
        assert all(isinstance(value, str) and value for value in found.table["label"])


# --- recordings


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "PCM_U8"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_recordings_are_read_as_the_mean_of_their_channels(subtype: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.9, 0.9, (999, channels)), 7000, subtype=subtype)
    samples, rate = read_audio(path)
    expected = soundfile.read(path, dtype="float64", always_2d=True)[0].mean(axis=1)
    assert rate == 7000
    assert samples.dtype == np.float64
    assert samples.shape == (999,)
    assert np.abs(samples - expected).max() < 1e-15


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("kept", [0, 3, 11, 20, 36, 43, 44, 50, 100, 1000, 2000, -100, -3, -1])
def test_a_truncated_recording_is_bad_input(kept: int, subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.random.default_rng(1).uniform(-1, 1, (1000, 2)), 8000, subtype=subtype)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"x.wav: .*(truncated|not readable as audio|holds no samples)"):
        read_audio(path)


def test_a_truncated_flac_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, np.random.default_rng(1).uniform(-1, 1, 50_000), 8000)
    whole = path.read_bytes()
    for kept in (0, 10, 60, len(whole) // 3, len(whole) - 9000):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"x.flac: "):
            read_audio(path)


def test_a_recording_with_more_after_its_samples_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.full(1000, 0.5), 8000, subtype="PCM_16")
    path.write_bytes(path.read_bytes() + b"LIST\x04\x00\x00\x00abcd")
    samples, _ = read_audio(path)
    assert np.array_equal(samples, np.full(1000, 0.5))


def test_recordings_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    with pytest.raises(InputError, match=r"x.wav: missing; fetch or restore it"):
        read_audio(path)
    path.write_text("no audio")
    with pytest.raises(InputError, match=r"x.wav: not readable as audio"):
        read_audio(path)
    soundfile.write(path, np.zeros(0), 8000)
    with pytest.raises(InputError, match=r"x.wav: holds no samples"):
        read_audio(path)
    for bad in (np.nan, np.inf):
        soundfile.write(path, np.array([0.1, bad, 0.2]), 8000, subtype="FLOAT")
        with pytest.raises(InputError, match=r"x.wav: .*not finite"):
            read_audio(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"x.wav: "):
        read_audio(path)


# --- what is found while making


@pytest.fixture
def sources(corpus: Path, tmp_path: Path) -> Path:
    shutil.copytree(corpus, tmp_path / "sources")
    return tmp_path / "sources"


def made_from(sources: Path, **changes: Any) -> None:
    recipe = parse_recipe(tiny.changed(tiny.RECIPE, **changes), "tiny")
    make(recipe=recipe, sources=sources, out=sources.parent / "out", jobs=1, features=False)


def an_event(sources: Path) -> Path:
    return sources / tiny.FSD_AUDIO / "00000000.wav"


def a_scene(sources: Path) -> Path:
    return min((sources / tiny.TAU / "audio").iterdir())


def test_missing_recordings_are_reported_before_anything_is_made(sources: Path) -> None:
    an_event(sources).unlink()
    with pytest.raises(
        InputError,
        match=r"00000000.wav: missing, with 0 more of 40 recordings of fsdkaggle2018; \d+ of 24 clips could be made",
    ):
        made_from(sources)
    assert not (sources.parent / "out").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_truncated_recording_is_reported_from_any_process(jobs: int, sources: Path, tiny_recipe: Any) -> None:
    path = an_event(sources)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"00000000.wav: truncated"):
        make(recipe=tiny_recipe, sources=sources, out=sources.parent / "out", jobs=jobs, features=False)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("kind", ["event", "scene"])
def test_all_bad_recordings_of_a_source_are_reported_in_one_run(
    kind: str, jobs: int, sources: Path, tiny_recipe: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sources / (tiny.FSD_AUDIO if kind == "event" else f"{tiny.TAU}/audio")
    paths = sorted(folder.iterdir())[:5]
    for path in paths[:3]:
        info = soundfile.info(path)
        soundfile.write(path, np.zeros((info.frames, info.channels)), info.samplerate, subtype=info.subtype)
    paths[3].write_bytes(paths[3].read_bytes()[:-100])
    paths[4].write_text("no audio")
    with pytest.raises(InputError) as caught:
        make(recipe=tiny_recipe, sources=sources, out=sources.parent / "out", jobs=jobs)
    assert str(caught.value).startswith(f"5 problems with {kind} recordings: ")
    assert all(str(caught.value).count(path.name) == 1 for path in paths)
    assert not (sources.parent / "out" / "dataset.json").exists()


def test_silence_and_short_scenes_are_reported(sources: Path) -> None:
    event, scene = an_event(sources), a_scene(sources)
    kept = event.read_bytes(), scene.read_bytes()
    soundfile.write(event, np.zeros(9000), tiny.EVENT_RATE)
    with pytest.raises(InputError, match=r"00000000.wav: the event recording is silent.*leave it out of the table"):
        made_from(sources)
    soundfile.write(event, np.concatenate([np.zeros(9000), np.ones(500)]), tiny.EVENT_RATE)
    of_excerpt = parse_recipe(tiny.changed(tiny.RECIPE, mix__snr_reference="excerpt"), "of excerpts")
    with pytest.raises(InputError, match=r"00000000.wav: its excerpt of 0.5 s from 0 s is silent"):
        make(recipe=of_excerpt, sources=sources, out=sources.parent / "e", jobs=1)
    event.write_bytes(kept[0])
    soundfile.write(scene, np.zeros((24_000, 2)), tiny.SCENE_RATE)
    with pytest.raises(InputError, match=rf"{scene.name}: the scene is silent"):
        made_from(sources)
    soundfile.write(scene, np.ones((23_000, 2)), tiny.SCENE_RATE)
    with pytest.raises(InputError, match=rf"{scene.name}: the scene lasts 1.92 s, a clip of this recipe 2 s"):
        made_from(sources)
    # it resumes with what was made before the error
    scene.write_bytes(kept[1])
    made_from(sources)
    assert verify(dataset=sources.parent / "out") == []


# --- folders of one's own


def tone(path: Path, seconds: float, rate: int, channels: int = 1, hertz: float = 440) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate)


def own(root: Path) -> Path:
    """Write two folders of one's own in four formats, several rates and channels."""
    kinds = [("wav", 8000, 1), ("flac", 22050, 2), ("ogg", 44100, 1), ("mp3", 32000, 2), ("WAV", 16000, 3)]
    for k in range(10):
        suffix, rate, channels = kinds[k % 5]
        tone(root / "sounds" / f"class{k % 2}" / f"deep/{k}.{suffix}", 0.5 + 0.1 * k, rate, channels, 300 + 100 * k)
    for k in range(8):
        suffix, rate, channels = kinds[k % 4]
        tone(root / "places" / f"place{k % 2}" / f"{k}.{suffix}", 2.1, rate, channels, 100 + 10 * k)
    return root


OWN = tiny.changed(
    tiny.RECIPE,
    scenes={"source": "folder", "folder": "places"},
    events={"source": "folder", "folder": "sounds"},
    plan__polyphony=2,
    plan__folds=2,
)


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    own(tmp_path)
    (tmp_path / "sounds" / "readme.txt").write_text("not audio")
    tone(tmp_path / "sounds" / ".trash" / "x.wav", 1, 8000)
    tone(tmp_path / "sounds" / "class0" / "._7.wav", 1, 8000)
    tone(tmp_path / "sounds" / "loose.wav", 1, 8000)
    events = folder.catalogue(Source(source="folder", folder="sounds"), tmp_path, "events")
    assert events.labels == ("class0", "class1")
    assert [line.partition(": left")[2] for line in events.left_out] == [
        " out, not in a sub-folder and so without a class: loose.wav"
    ]
    assert list(events.table["file"][:2]) == ["class0/deep/0.wav", "class0/deep/2.ogg"]
    assert len(events.table) == 10
    assert set(events.table["licence"]) == {"unknown"}


def test_every_format_and_linked_folders_are_read(tmp_path: Path) -> None:
    tone(tmp_path / "sounds" / "a" / "0.wav", 1, 8000)
    for suffix in ("aiff", "AIF", "au", "caf", "oga", "opus", "rf64", "w64"):
        data, format = np.ones(8000) * 0.1, {"AIF": "AIFF", "oga": "OGG", "opus": "OGG"}.get(suffix, suffix.upper())
        soundfile.write(tmp_path / "sounds" / "a" / f"1.{suffix}", data, 8000, format=format,
                        subtype="OPUS" if suffix == "opus" else None)  # fmt: skip
    tone(tmp_path / "elsewhere" / "deep" / "2.wav", 1, 8000)
    (tmp_path / "sounds" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "sounds" / "a" / "linked.wav").symlink_to(tmp_path / "elsewhere" / "deep" / "2.wav")
    events = folder.catalogue(Source(source="folder", folder="sounds"), tmp_path, "events")
    assert events.labels == ("a", "b")
    assert "b/deep/2.wav" in set(events.table["file"])
    assert len(events.table) == 11
    for file in events.table["file"]:
        assert len(events.reader.read(file)[0])


def test_no_recording_is_dropped_silently(tmp_path: Path) -> None:
    def refused() -> str:
        with pytest.raises(InputError) as caught:
            folder.catalogue(Source(source="folder", folder="sounds"), tmp_path, "events")
        return str(caught.value)

    tone(tmp_path / "sounds" / "a" / "0.wav", 1, 8000)
    for name in ("1.m4a", "2.m4a", "3.WMA"):
        (tmp_path / "sounds" / "b").mkdir(exist_ok=True)
        (tmp_path / "sounds" / "b" / name).write_bytes(b"x")
    assert "b/1.m4a, b/2.m4a, b/3.WMA: libsndfile does not read .m4a files; convert them" in refused()
    shutil.rmtree(tmp_path / "sounds" / "b")
    (tmp_path / "sounds" / "a" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    assert "a/gone.wav: expected a file, found a link to nothing, a pipe or a device" in refused()
    (tmp_path / "sounds" / "a" / "gone.wav").unlink()
    os.mkfifo(tmp_path / "sounds" / "a" / "pipe.wav")
    assert "a/pipe.wav: expected a file" in refused()
    (tmp_path / "sounds" / "a" / "pipe.wav").unlink()
    (tmp_path / "sounds" / "a" / "round").symlink_to(tmp_path / "sounds")
    assert "a/round: links to a folder that contains it; remove the link" in refused()


def test_recordings_that_are_left_out_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own(tmp_path / "sources")
    sounds = tmp_path / "sources" / "sounds"
    tone(sounds / "loose.wav", 1, 8000)
    for suffix, format in ((".wave", "WAV"), (".aic", "AIFF"), ("", "FLAC"), (".audio", "OGG")):
        soundfile.write(sounds / "class0" / f"x{suffix}", np.ones(800) * 0.1, 8000, format=format)
    (sounds / "class0" / "notes.txt").write_text("of the microphone")
    for name, format in (("x.sph", "NIST"), ("x.voc", "VOC")):
        (sounds / name[2:]).mkdir()
        soundfile.write(sounds / name[2:] / name, np.ones(800) * 0.1, 8000, format=format, subtype="PCM_16")
    (sounds / "bare").mkdir()
    soundfile.write(sounds / "bare" / "x", np.ones(8000) * 0.1, 8000, format="MP3")
    (sounds / "empty").mkdir()
    (sounds / ".hidden").mkdir()
    plan = ["plan", "--recipe", str(tiny.write_recipe(tmp_path, OWN)), "--out", str(tmp_path / "m")]
    assert run(["--workspace", str(tmp_path), *plan]) == 0
    said = capsys.readouterr().err
    assert "sounds: left out, not in a sub-folder and so without a class: loose.wav\n" in said
    names = ", ".join(f"class0/{name}" for name in ("notes.txt", "x", "x.aic", "x.audio", "x.wave"))
    assert f"sounds: left out, without the suffix of a recording: bare/x, {names}, sph/x.sph, voc/x.voc\n" in said
    assert "sounds: left out, sub-folders without recordings: bare, empty, sph, voc\n" in said


def test_recordings_without_samples_are_reported_but_do_not_stop_plan(tmp_path: Path) -> None:
    own(tmp_path / "sources")
    for name in ("0.wav", "1.flac"):
        soundfile.write(tmp_path / "sources" / "sounds" / "class0" / name, np.zeros(0), 8000)
    (tmp_path / "sources" / "sounds" / "class1" / "1.wav").write_bytes(b"")
    with pytest.raises(InputError, match="3 problems with event recordings: ") as caught:
        make(recipe=tiny.write_recipe(tmp_path, OWN), workspace=tmp_path, jobs=1)
    assert "class0/0.wav: holds no samples" in str(caught.value)
    assert "class1/1.wav: not readable as audio, it is empty" in str(caught.value)


def test_a_recipe_with_folders_is_made_end_to_end(tmp_path: Path) -> None:
    own(tmp_path / "sources")
    path = tiny.write_recipe(tmp_path, OWN)
    dataset = make(recipe=path, workspace=tmp_path, jobs=1)
    assert dataset is not None
    assert dataset.path == tmp_path / "datasets" / "tiny"
    assert dataset.classes == ("class0", "class1")
    assert len(dataset.clips) == 12
    assert verify(dataset=dataset, workspace=tmp_path, deep=5) == []
    assert {event.file.rsplit(".")[-1] for clip in dataset.clips for event in clip.events} == {
        "wav", "flac", "ogg", "mp3", "WAV"
    }  # fmt: skip


def test_a_table_with_custom_columns(tmp_path: Path) -> None:
    own(tmp_path)
    rows = [f"{k}\tclass{k % 2}\\deep\\{k}.wav\tlabel {k % 2}\tuploader{k // 4}\tCC BY\tu{k}" for k in (0, 5)]
    (tmp_path / "sounds" / "list.tsv").write_text("\n".join(["n\tpath\twhat\twho\tterms\twhere", *rows, ""]))
    columns = {"file": "path", "label": "what", "origin": "who", "licence": "terms", "url": "where"}
    source = Source.model_validate({"source": "folder", "folder": "sounds", "table": "list.tsv", "columns": columns})
    events = folder.catalogue(source, tmp_path, "events")
    assert events.table.to_numpy().tolist() == [
        ["class0/deep/0.wav", "label 0", True, "uploader0", "CC BY", "u0"],
        ["class1/deep/5.wav", "label 1", True, "uploader1", "CC BY", "u5"],
    ]
    assert list(folder.catalogue(source, tmp_path, "scenes").table["location"]) == [
        "class0/deep/0.wav", "class1/deep/5.wav"
    ]  # fmt: skip
    wrong = source.model_copy(update={"columns": source.columns.model_copy(update={"label": "whta"})})
    with pytest.raises(InputError, match=r"list.tsv: column 'whta' is missing \(did you mean 'what'\?\)"):
        folder.catalogue(wrong, tmp_path, "events")


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    source = Source(source="folder", folder="mine")
    with pytest.raises(InputError, match=r"mine: no such folder; the recipe's events name it"):
        folder.catalogue(source, tmp_path, "events")
    (tmp_path / "mine").mkdir()
    with pytest.raises(
        InputError, match=r"mine: no .wav, .flac, .ogg, .mp3 or other file that libsndfile reads in any sub-folder"
    ):
        folder.catalogue(source, tmp_path, "events")
    tone(tmp_path / "mine" / "rain, heavy" / "x.wav", 1, 8000)
    with pytest.raises(
        InputError, match="has a comma, a double quote, a character that cannot be printed or a blank at an end"
    ):
        folder.catalogue(source, tmp_path, "events")


@pytest.mark.parametrize("name", [b"a\tb.wav", b"a\nb.wav", b"a\\b.wav", b"\xff.wav"])
def test_file_names_that_no_table_can_hold_are_reported_before_anything_is_made(name: bytes, tmp_path: Path) -> None:
    tone(tmp_path / "mine" / "rain" / "x.wav", 1, 8000)
    os.rename(tmp_path / "mine" / "rain" / "x.wav", os.fsencode(tmp_path / "mine" / "rain") + b"/" + name)
    with pytest.raises(InputError, match="rename it"):
        folder.catalogue(Source(source="folder", folder="mine"), tmp_path, "events")


def test_workers_that_began_in_another_folder_find_the_recordings(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(corpus.parent)
    scenes, events = load_catalogues(parse_recipe(tiny.RECIPE, "tiny"), Path(corpus.name))
    monkeypatch.chdir("/")
    for catalogue in (scenes, events):
        assert len(catalogue.reader.read(catalogue.table["file"].iloc[0])[0])


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ('"q"', "has a comma, a double quote"),
        ('q"', "has a comma, a double quote"),
        ("a,b", "has a comma"),
        ("a\tb", "a character that cannot be printed"),
        ("a\u202eb", "a character that cannot be printed"),
        ("filename", "is the name of a column of label files"),
        ("event_label", "is the name of a column of label files"),
        ("onset", "is the name of a column of label files"),
        ("=HYPERLINK(1)", "begins with one of = + - @, which a spreadsheet takes for a formula"),
        ("-cmd", "begins with one of = + - @"),
        ("\uff1d1+1", "begins with one of = + - @"),  # of full width, which spreadsheets take for = too
    ],
)
def test_labels_that_could_not_be_read_back_are_refused(label: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(format_table(("file", "label"), [("a.wav", label)]).decode(), encoding="utf-8")
    (tmp_path / "mine").mkdir()
    (tmp_path / "t.csv").rename(tmp_path / "mine" / "t.csv")
    for kind in ("scenes", "events"):
        with pytest.raises(InputError, match=re.escape(problem)) as caught:
            folder.catalogue(Source(source="folder", folder="mine", table="t.csv"), tmp_path, kind)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "label", ["NA", "None", "nan", "1", "1.0", "true", "AC/DC", "R&B", "<b>", "it's", "50%", "_x_", "#1"]
)
def test_labels_that_can_be_read_back_are_taken(label: str) -> None:
    assert label_problem(label) == ""


COMPOSED, DECOMPOSED = "Caf\u00e9", "Cafe\u0301"


@pytest.mark.parametrize(("on_disk", "in_table"), [(DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED)])
def test_accents_may_be_written_in_another_normal_form_than_in_the_table(
    on_disk: str, in_table: str, tmp_path: Path
) -> None:
    for k in range(2):
        tone(tmp_path / "mine" / on_disk / f"{on_disk} {k}.wav", 0.5, 8000, hertz=440 + k)
    rows = [(f"{in_table}/{in_table} {k}.wav", in_table, f"{in_table} {k % 2}") for k in range(2)]
    (tmp_path / "mine" / "t.csv").write_bytes(format_table(("file", "label", "origin"), rows))
    with_table = Source(source="folder", folder="mine", table="t.csv", columns=Columns(origin="origin"))
    without = Source(source="folder", folder="mine")
    for source in (with_table, without):
        events = folder.catalogue(source, tmp_path, "events")
        assert events.labels == (COMPOSED,)
        assert list(events.table["file"]) == [f"{COMPOSED}/{COMPOSED} {k}.wav" for k in range(2)]
        for file in events.table["file"]:
            assert len(events.reader.read(file)[0]) == 4000


def test_two_names_that_differ_only_in_the_normal_form_are_refused(tmp_path: Path) -> None:
    for name in (COMPOSED, DECOMPOSED):
        tone(tmp_path / "mine" / "a" / f"{name}.wav", 0.5, 8000)
    with pytest.raises(InputError, match="in different Unicode forms; rename one"):
        folder.catalogue(Source(source="folder", folder="mine"), tmp_path, "events")


def test_an_origin_with_a_blank_at_its_end_is_the_same_and_one_left_blank_is_refused(tmp_path: Path) -> None:
    for k in range(2):
        tone(tmp_path / "mine" / f"{k}.wav", 0.5, 8000, hertz=440 + k)
    source = Source(source="folder", folder="mine", table="t.csv", columns=Columns(origin="who"))
    for others, origins in (("ann ", ["ann", "ann"]), (" ", None)):
        rows = [("0.wav", "a", "ann"), ("1.wav", "a", others)]
        (tmp_path / "mine" / "t.csv").write_bytes(format_table(("file", "label", "who"), rows))
        if origins:
            assert list(folder.catalogue(source, tmp_path, "events").table["origin"]) == origins
        else:
            with pytest.raises(InputError, match=r"t.csv, line 3: no value in column 'who'"):
                folder.catalogue(source, tmp_path, "events")
