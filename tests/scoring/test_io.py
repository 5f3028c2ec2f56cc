"""The four forms of predictions: read whatever the separators, encodings and order; refused with one clear line."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from remixbench.errors import InputError
from remixbench.leaderboard.record import digests_of
from remixbench.scoring import event_table, make_reference, read_predictions, read_reference, score_predictions
from remixbench.scoring.io import _is_event_list
from remixbench.scoring.postprocessing import POSTPROCESSINGS, detect_events

NAMES = ("00000.wav", "00001.wav", "00002.wav")
CLASSES = ("Bark", "Bus", "Hi-hat")
SCORES = np.array([[0.1, 0.9, 0.5], [0.25, 0.125, 1.0], [0.0, 0.75, 0.3]])


@pytest.fixture
def reference():
    events = event_table([0, 1], [1, 2], [0.5, 3.0], [2.5, 5.0])
    return make_reference(NAMES, CLASSES, events, 10.0)


def tags_text(separator=",", end="\n", names=NAMES, classes=CLASSES, scores=SCORES):
    lines = [["filename", *classes]]
    lines += [[name, *map(repr, row)] for name, row in zip(names, scores.tolist(), strict=True)]
    return end.join(separator.join(line) for line in lines) + end


def refused(path, reference):
    with pytest.raises(InputError) as error:
        read_predictions(path, reference)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_separators_line_ends_and_encodings(tmp_path, reference, separator, end, encoding):
    (tmp_path / "tags.csv").write_bytes(tags_text(separator, end).encode(encoding))
    assert (read_predictions(tmp_path / "tags.csv", reference).clip_scores == SCORES).all()


@pytest.mark.parametrize("name", ["{}.wav", "{}", "{}.flac", "audio/{}.wav", "snr_0\\audio\\{}.WAV"])
def test_names_with_and_without_folder_and_suffix(tmp_path, reference, name):
    names = [name.format(bare[:5]) for bare in NAMES]
    (tmp_path / "tags.csv").write_text(tags_text(names=names))
    assert (read_predictions(tmp_path / "tags.csv", reference).clip_scores == SCORES).all()


def test_rows_and_columns_in_any_order(tmp_path, reference):
    text = tags_text(names=NAMES[::-1], classes=[CLASSES[i] for i in (2, 0, 1)], scores=SCORES[::-1][:, [2, 0, 1]])
    (tmp_path / "my.tsv").write_text(text)
    assert (read_predictions(tmp_path / "my.tsv", reference).clip_scores == SCORES).all()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0.125", "nan", "line 3, column 'Bus': nan is not finite"),
        ("0.125", "", "line 3, column 'Bus': empty"),
        ("0.125", "abc", "line 3, column 'Bus': 'abc' is not a number"),
        ("0.125", "1e999", "line 3, column 'Bus': 1e999 is not finite"),
        ("0.125", "-3.5", "line 3, column 'Bus': -3.5 is outside [0, 1] (these look like logits: apply a sigmoid)"),
        ("0.125", "12.5", "12.5 is outside [0, 1] (these look like percentages: divide them by 100)"),
        ("0.125", "1.0001", "clip the scores to [0, 1]"),
        ("0.125,", "", "line 3: 3 values, expected 4 as in the header"),
        ("00001.wav", "00000.wav", "line 3: clip '00000.wav' appears twice (before at line 2)"),
        ("00001.wav", "00009.wav", "line 3: no clip '00009.wav' in this fold"),
        ("00001.wav", "1", "leading zeros lost? '00001' is there"),
        ("Hi-hat", "Hi_hat", "column 'Hi_hat' is not a class of this data set (did you mean 'Hi-hat'?)"),
        ("Hi-hat", "Bus", "two columns are named 'Bus'"),
        ("filename", "file_name", "no column 'filename' in its first line (did you mean 'file_name'?)"),
        ("00001.wav,0.25,0.125,1.0\n", "", "1 of the fold's 3 clips missing, first '00001.wav'"),
        ("00001.wav", '"00001.wav', "not readable as a table"),
    ],
)
def test_what_is_wrong_with_tags_is_named(tmp_path, reference, old, new, expected):
    (tmp_path / "tags.csv").write_text(tags_text().replace(old, new, 1))
    message = refused(tmp_path / "tags.csv", reference)
    assert message.startswith(str(tmp_path / "tags.csv"))
    assert expected in message


def test_a_decimal_comma_is_recognised(tmp_path, reference):
    (tmp_path / "tags.csv").write_text(tags_text(";").replace(".25", ",25"))
    assert "line 3, column 'Bark': '0,25' has a decimal comma" in refused(tmp_path / "tags.csv", reference)


def test_a_missing_class_is_named(tmp_path, reference):
    (tmp_path / "tags.csv").write_text(tags_text(classes=CLASSES[:2], scores=SCORES[:, :2]))
    assert "1 of 3 classes missing, first 'Hi-hat'" in refused(tmp_path / "tags.csv", reference)


def test_an_ambiguous_name_asks_for_the_whole(tmp_path):
    names = ("a/0.wav", "b/0.wav")
    reference = make_reference(names, CLASSES, event_table([], [], [], []), 10.0)
    (tmp_path / "tags.csv").write_text(tags_text(names=names, scores=SCORES[:2]))
    assert (read_predictions(tmp_path / "tags.csv", reference).clip_scores == SCORES[:2]).all()
    (tmp_path / "tags.csv").write_text(tags_text(names=("0.wav", "b/0.wav"), scores=SCORES[:2]))
    assert "could be any of 2 clips, such as 'a/0.wav'" in refused(tmp_path / "tags.csv", reference)


def frames(seed=0, count=310):
    return np.random.default_rng(seed).random((3, count, 3)).astype(np.float32)


def save(path, scores, names=NAMES, classes=CLASSES, seconds=0.032):
    np.savez(path, scores=scores, filename=np.array(names), classes=np.array(classes), frame_seconds=seconds)
    return path


def test_frames_in_any_order(tmp_path, reference):
    path = save(tmp_path / "f.npz", frames()[::-1][:, :, [1, 2, 0]], NAMES[::-1], [CLASSES[i] for i in (1, 2, 0)])
    read = read_predictions(path, reference)
    assert (read.frame_scores == frames()).all()
    assert read.frame_edges[:3].tolist() == [0.0, 0.032, 0.064]
    assert read.clip_scores is None


def test_a_last_frame_may_stand_over_the_end_of_the_clip(tmp_path, reference):
    read = read_predictions(save(tmp_path / "f.npz", frames(count=313)), reference)
    assert read.frame_edges[-2:].tolist() == [9.984, 10.0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seconds": 32.0}, "end at 9920 s but the clips last 10 s (milliseconds? divide by 1000)"),
        ({"seconds": 0.0032}, "end at 0.992 s but the clips last 10 s"),
        ({"seconds": -1.0}, "'frame_seconds' is -1.0"),
        ({"scores": frames() * 100 - 50}, "logits"),
        ({"scores": frames() * 100}, "clip '00000.wav', frame 0, class 'Bark': 63"),
        ({"scores": frames()[:, :, 0]}, "'scores' has shape (3, 310)"),
        ({"scores": (frames() * 255).astype(np.uint8)}, "type uint8"),
        ({"names": NAMES[:2]}, "'filename' has shape (2,)"),
        ({"names": ("00000.wav", "00001.wav", "00003.wav")}, "row 2: no clip '00003.wav'"),
        ({"classes": ("Bark", "Bus", "Hihat")}, "did you mean 'Hi-hat'?"),
        ({"names": np.array(NAMES, object)}, "without pickled objects"),
    ],
)
def test_what_is_wrong_with_frames_is_named(tmp_path, reference, change, expected):
    path = save(tmp_path / "f.npz", **({"scores": frames()} | change))
    assert expected in refused(path, reference)


def test_a_missing_array_and_a_broken_archive(tmp_path, reference):
    np.savez(tmp_path / "f.npz", score=frames())
    assert "no array 'scores' (found score)" in refused(tmp_path / "f.npz", reference)
    (tmp_path / "f.npz").write_bytes(b"PK\x03\x04 and no more")
    assert "not readable as an .npz" in refused(tmp_path / "f.npz", reference)


def test_a_run_folder_gives_both(tmp_path, reference):
    (tmp_path / "tags.csv").write_text(tags_text())
    save(tmp_path / "frames.npz", frames())
    read = read_predictions(tmp_path, reference)
    assert (read.clip_scores == SCORES).all()
    assert (read.frame_scores == frames()).all()


def test_a_folder_as_predict_writes_it_gives_tags_and_events(tmp_path, reference):
    (tmp_path / "tags.csv").write_text(tags_text())
    (tmp_path / "events.tsv").write_text(
        "filename\tonset\toffset\tevent_label\tscore\n00000.wav\t0.5\t2.5\tBus\t0.9\n00001.wav\t\t\t\t\n"
    )
    read = read_predictions(tmp_path, reference)
    assert (read.clip_scores == SCORES).all()
    assert (read.events.onset.tolist(), read.events.offset.tolist()) == ([0.5], [2.5])
    assert "event_f1" in score_predictions(reference, read, bootstrap=0).values
    (tmp_path / "tags.csv").unlink()
    assert len(read_predictions(tmp_path, reference).events) == 1
    (tmp_path / "frames").mkdir()  # by --frames
    frame_tables(tmp_path / "frames", frames(count=40))
    read = read_predictions(tmp_path, reference)
    assert (read.frame_scores == frames(count=40)).all()
    assert len(read.events) == 1
    assert {"events.tsv", "frames/00000.tsv"} <= digests_of([tmp_path]).keys()


def test_tags_and_events_beside_frame_tables(tmp_path, reference):
    frame_tables(tmp_path, frames(count=40))
    (tmp_path / "tags.csv").write_text(tags_text())
    (tmp_path / "events.tsv").write_text(EVENTS)
    read = read_predictions(tmp_path, reference)
    assert (read.clip_scores == SCORES).all()
    assert (read.frame_scores == frames(count=40)).all()
    assert len(read.events) == 2
    save(tmp_path / "frames.npz", frames())
    assert "00000.tsv: frames.npz beside it gives frame scores already" in refused(tmp_path, reference)


def test_a_clip_may_be_called_events(tmp_path, reference):
    names = ("a.wav", "events.wav", "z.wav")
    frame_tables(tmp_path, frames(count=40), names=names)
    read = read_predictions(tmp_path, make_reference(names, CLASSES, reference.events, 10.0))
    assert (read.frame_scores == frames(count=40)).all()
    assert read.events is None


def test_a_file_of_maps_under_another_name(tmp_path, reference):
    np.savez(tmp_path / "my_maps.npz", clip=np.array(NAMES), label=np.array(CLASSES), maps=np.zeros((3, 5, 8)))
    message = refused(tmp_path / "my_maps.npz", reference)
    assert message.endswith("a file of time-frequency maps must be called maps.npz")


def frame_tables(folder, scores, step=0.25, names=NAMES, separator="\t"):
    for name, rows in zip(names, scores.tolist(), strict=True):
        lines = [["onset", "offset", *CLASSES]]
        lines += [[repr(i * step), repr((i + 1) * step), *map(repr, row)] for i, row in enumerate(rows)]
        text = "\n".join(separator.join(line) for line in lines) + "\n"
        (folder / f"{name.removesuffix('.wav')}.tsv").write_text(text)


@pytest.mark.parametrize("separator", ["\t", ","])
def test_a_folder_of_frame_tables(tmp_path, reference, separator):
    frame_tables(tmp_path, frames(count=40), separator=separator)
    read = read_predictions(tmp_path, reference)
    assert (read.frame_scores == frames(count=40)).all()
    assert (read.frame_edges == np.arange(41) * 0.25).all()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("\n0.25\t", "\n0.26\t", "00001.tsv: line 3, column 'onset': 0.26 is not where the frame before ends, 0.25"),
        ("\n0.0\t", "\n0.1\t", "line 2, column 'onset': the first frame begins at 0.1, expected 0"),
        ("\t10.0\t", "\t10.5\t", "40 frames up to 10.5 s are not those of 00000.tsv"),
        ("onset\t", "start\t", "begins with columns start, offset"),
        ("Bus", "Bux", "column 'Bux' is not a class of this data set (did you mean 'Bus'?)"),
        ("\n0.25\t0.5\t0.", "\n0.25\t0.5\tx0.", "line 3, column 'Bark': 'x0."),
        ("\n0.25\t0.5\t0.", "\n0.25\t0.5\t7.", "line 3, column 'Bark': 7."),
        ("\n0.25\t0.5\t", "\n0.25\t0.5\t\t", "line 3: 6 values, expected 5 as in the header"),
    ],
)
def test_what_is_wrong_with_frame_tables_is_named(tmp_path, reference, old, new, expected):
    frame_tables(tmp_path, frames(count=40))
    path = tmp_path / "00001.tsv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert expected in refused(tmp_path, reference)


def test_a_clip_without_a_frame_table(tmp_path, reference):
    frame_tables(tmp_path, frames(count=40)[:2], names=NAMES[:2])
    assert "1 of the fold's 3 clips missing, first '00002.wav'" in refused(tmp_path, reference)


EVENTS = "filename\tonset\toffset\tevent_label\n00000.wav\t0.5\t2.5\tBus\n00001.wav\t\t\t\n00002.wav\t3\t4.25\tBark\n"


def test_scores_of_a_class_called_start_are_no_event_list(tmp_path, reference):
    assert not _is_event_list(["filename", "start", "Bus"], ["Bus", "start"])
    assert not _is_event_list(["filename", "Bus", "start"], ["Bus"])  # a wrong column among classes
    assert not _is_event_list(["filename", "Restart", "Bend"], ["Bus"])


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_an_event_list(tmp_path, reference, separator):
    (tmp_path / "e.csv").write_text(EVENTS.replace("\t", separator))
    read = read_predictions(tmp_path / "e.csv", reference)
    assert read.clip_scores is None
    assert read.frame_scores is None
    events = read.events
    assert [*zip(events.clip, events.label, events.onset, events.offset, strict=True)] == [
        (0, 1, 0.5, 2.5),
        (2, 0, 3.0, 4.25),
    ]


def test_events_that_touch_or_overlap_are_read_unchanged(tmp_path, reference):
    rows = "00002.wav\t2\t3\tBark\n00002\t4\t5\tBark\n00002.wav\t4.25\t4.5\tBus\n"
    (tmp_path / "e.tsv").write_text(EVENTS + rows)
    events = read_predictions(tmp_path / "e.tsv", reference).events
    mine = [*zip(events.label, events.onset, events.offset, strict=True)][1:]
    assert mine == [(0, 2.0, 3.0), (0, 3.0, 4.25), (0, 4.0, 5.0), (1, 4.25, 4.5)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0.5\t2.5", "500\t2500", "line 2, column 'onset': 500 is after the end of the clip, 10 s (milliseconds?"),
        ("0.5\t2.5", "0.5\t10.5", "line 2, column 'offset': 10.5 is after the end of the clip"),
        ("0.5\t2.5", "2.5\t0.5", "line 2, column 'offset': 0.5 is not after the onset 2.5"),
        ("0.5\t2.5", "-1\t2.5", "line 2, column 'onset': -1 is before the start of the clip"),
        ("0.5\t2.5", "0.5\t", "line 2, column 'offset': empty"),
        (
            "\tBus",
            "\tBuss",
            "line 2, column 'event_label': 'Buss' is not a class of this data set (did you mean 'Bus'?)",
        ),
        ("00002.wav", "00007.wav", "line 4: no clip '00007.wav'"),
        ("onset", "begin", "no column 'onset'; expected filename, onset, offset, event_label, found filename, begin, "),
        ("onset\toffset\tevent_label", "start\tend\tlabel", "no columns 'onset', 'offset', 'event_label'; expected "),
        ("onset\toffset\tevent_label", "Start (s)\tStop (s)\tClass", "found filename, Start (s), Stop (s), Class"),
        ("filename\tonset\toffset\tevent_label", "x\ttmin\ttmax\ttext", "found x, tmin, tmax, text"),
    ],
)
def test_what_is_wrong_with_an_event_list_is_named(tmp_path, reference, old, new, expected):
    (tmp_path / "e.tsv").write_text(EVENTS.replace(old, new, 1))
    assert expected in refused(tmp_path / "e.tsv", reference)


@pytest.mark.parametrize(
    ("onset", "offset", "milliseconds"),
    [
        (4.0, 5.5, False),  # half a second too long, in a clip of 5 s
        (5.5, 6.0, False),
        (40.0, 55.0, False),  # of a longer recording
        (99.0, 99.9, False),
        (500.0, 2500.0, True),
        (0.0, 4900.0, True),
        (500.0, 5500.0, False),
        (1000.0, 60000.0, False),
    ],
)
def test_times_are_said_to_be_milliseconds_only_where_they_then_fit(tmp_path, onset, offset, milliseconds):
    reference = make_reference(NAMES, CLASSES, event_table([], [], [], []), 5.0)
    (tmp_path / "e.tsv").write_text(f"filename\tonset\toffset\tevent_label\n00000.wav\t{onset}\t{offset}\tBus\n")
    assert ("milliseconds" in refused(tmp_path / "e.tsv", reference)) == milliseconds


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_frame_scores_keep_their_precision(tmp_path, reference, save):
    scores = np.full((3, 40, 3), 0.5 - 1e-8)
    scores[0, 2:4, 1] = 0.5
    save(tmp_path / "f.npz", scores=scores, filename=NAMES, classes=CLASSES, frame_seconds=0.25)
    (tmp_path / "tables").mkdir()
    frame_tables(tmp_path / "tables", scores)
    for path in (tmp_path / "f.npz", tmp_path / "tables"):
        read = read_predictions(path, reference)
        assert read.frame_scores.dtype == np.float64
        assert (read.frame_scores == scores).all()
        events = detect_events(read.frame_scores, read.frame_edges, POSTPROCESSINGS["threshold"])
        assert (events.onset.tolist(), events.offset.tolist()) == ([0.5], [1.0])
        values = score_predictions(reference, read, bootstrap=0).values
        assert values["frame_ap"] is not None
    save(tmp_path / "f.npz", scores=scores.astype(np.float32), filename=NAMES, classes=CLASSES, frame_seconds=0.25)
    assert read_predictions(tmp_path / "f.npz", reference).frame_scores.dtype == np.float32


def test_labels_are_read_as_given_and_a_list_of_them_scores_one(tmp_path):
    """Events of one class that touch are two in the labels, and so they are in the list of them handed in."""
    strong = "filename\tonset\toffset\tevent_label\n0.wav\t1.0\t2.0\tBus\n0.wav\t2.0\t3.5\tBus\n"
    (tmp_path / "strong.tsv").write_text(strong)
    (tmp_path / "weak.tsv").write_text("filename\tevent_labels\n0.wav\tBus\n")
    (tmp_path / "durations.tsv").write_text("filename\tduration\n0.wav\t10.0\n")
    reference = read_reference(tmp_path, ["0.wav"], CLASSES)
    assert len(reference.events) == 2
    values = score_predictions(reference, read_predictions(tmp_path / "strong.tsv", reference), bootstrap=0).values
    assert {name: values[name] for name in ("event_f1", "event_f1_macro", "segment_f1", "intersection_f1")} == {
        "event_f1": 1,
        "event_f1_macro": 1,
        "segment_f1": 1,
        "intersection_f1": 1,
    }


@pytest.mark.parametrize(
    "data", [b"", b"\n \n", b"\n;\n", b"\xff\xfe\x00", b"\x89PNG\r\n\x1a\n\x00\x00", bytes(range(256))]
)
def test_what_is_no_table_is_refused(tmp_path, reference, data):
    (tmp_path / "tags.csv").write_bytes(data)
    assert str(tmp_path / "tags.csv") in refused(tmp_path / "tags.csv", reference)
    assert "no such file" in refused(tmp_path / "other.csv", reference)
    (tmp_path / "tags.csv").unlink()
    assert "holds no tags.csv" in refused(tmp_path, reference)


def test_the_reference_comes_from_label_files(tmp_path):
    (tmp_path / "strong.tsv").write_text(EVENTS)
    (tmp_path / "weak.tsv").write_text("filename\tevent_labels\n00002.wav\tBark\n00000.wav\tBark,Bus\n")
    (tmp_path / "durations.tsv").write_text("filename\tduration\n00000.wav\t10.0\n00001.wav\t9\n00002.wav\t10.0\n")
    made = read_reference(tmp_path, ["00002.wav", "00000.wav"], CLASSES)
    assert made.weak.tolist() == [[True, False, False], [True, True, False]]
    assert made.events.clip.tolist() == [0, 1]
    assert made.events.onset.tolist() == [3.0, 0.5]
    with pytest.raises(InputError, match=r"weak\.tsv: has no row for clip '00001\.wav'"):
        read_reference(tmp_path, ["00001.wav"], CLASSES)


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("strong.tsv", "0.5\t2.5", "3.0\t1.0", "line 2, column 'offset': 1 is not after the onset 3"),
        ("strong.tsv", "0.5\t2.5", "-5\t2.5", "line 2, column 'onset': -5 is before the start of the clip"),
        ("strong.tsv", "0.5\t2.5", "0.5\t99", "line 2, column 'offset': 99 is after the end of the clip, 10 s"),
        ("durations.tsv", "00001.wav\t9", "00000.wav\t9", "line 3: clip '00000.wav' appears twice; keep one"),
        ("durations.tsv", "00001.wav\t9", "00001.wav\t0", "line 3, column 'duration': 0, expected seconds above 0"),
        ("weak.tsv", "00001.wav\t", "00002.wav\tBus", "line 4: clip '00002.wav' appears twice; keep one"),
    ],
)
def test_broken_labels_are_refused(tmp_path, name, old, new, expected):
    texts = {
        "strong.tsv": EVENTS,
        "weak.tsv": "filename\tevent_labels\n00002.wav\tBark\n00000.wav\tBus\n00001.wav\t\n",
        "durations.tsv": "filename\tduration\n00000.wav\t10.0\n00001.wav\t9\n00002.wav\t10.0\n",
    }
    assert old in texts[name]
    for file, text in texts.items():
        (tmp_path / file).write_text(text.replace(old, new) if file == name else text)
    with pytest.raises(InputError) as error:
        read_reference(tmp_path, NAMES, CLASSES)
    assert f"{tmp_path / name}: {expected}" in str(error.value)


def test_a_label_of_no_length_is_no_event(tmp_path):
    (tmp_path / "strong.tsv").write_text("filename\tonset\toffset\tevent_label\n0.wav\t1.0\t1.0\tBus\n")
    (tmp_path / "weak.tsv").write_text("filename\tevent_labels\n0.wav\t\n")
    (tmp_path / "durations.tsv").write_text("filename\tduration\n0.wav\t10.0\n")
    assert len(read_reference(tmp_path, ["0.wav"], CLASSES).events) == 0


def test_an_array_that_asks_for_too_much_memory_is_refused_before_it_is_read(tmp_path, reference):
    path = save(tmp_path / "f.npz", frames(count=310))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = {"descr": "<f4", "fortran_order": False, "shape": (3, 10**10, 3)}
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (members | {"scores.npy": stream.getvalue()}).items():
            archive.writestr(name, data)
    assert "needs 360,000,000,000 bytes, expected at most" in refused(path, reference)


def test_an_array_larger_than_the_data_set_needs_is_refused(tmp_path, reference):
    # 3 clips of 10 s, 3 classes, up to 1000 float64 frames per second
    save(tmp_path / "frames.npz", np.zeros((3, 20_001, 3), np.float64))
    message = refused(tmp_path / "frames.npz", reference)
    assert "'scores' has shape (3, 20001, 3) and needs 1,440,072 bytes, expected at most 720,000" in message


@pytest.mark.parametrize("name", ["tags.csv", "frames.npz", "scores"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, reference, name):
    os.mkfifo(tmp_path / name)
    assert "is a pipe or device, expected a regular file" in refused(tmp_path / name, reference)


def test_an_endless_device_is_refused(reference):
    assert "/dev/zero: is a pipe or device, expected a regular file" in refused(Path("/dev/zero"), reference)
