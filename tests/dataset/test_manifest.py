"""The manifest's files: written and read as the same, and every broken row named by its number."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remixbench.dataset.manifest import Clip, Event, Manifest, read_manifest, write_manifest
from remixbench.errors import InputError

CLIPS = b"clip_id,fold,scene_file,scene_label,scene_location\n00000,1,a.wav,park,town-1\n00001,2,b.wav,bus,town-2\n"
EVENTS = b"""clip_id,event_index,event_file,event_label,onset,max_duration
00000,0,x.wav,Knock,0.5,2.0
00000,1,y.wav,Bark,3.0,2.0
00001,0,x.wav,Knock,0.25,1.5
"""
ROLES = b"clip_id,fold_1,fold_2\n00000,test,train\n00001,validation,test\n"
MANIFEST = Manifest(
    (
        Clip(
            "00000", 1, "a.wav", "park", "town-1",
            (Event(0, "x.wav", "Knock", 0.5, 2.0), Event(1, "y.wav", "Bark", 3.0, 2.0)),
        ),
        Clip("00001", 2, "b.wav", "bus", "town-2", (Event(0, "x.wav", "Knock", 0.25, 1.5),)),
    )
)  # fmt: skip

WITH_ROLES = Manifest(
    tuple(
        replace(clip, roles=roles)
        for clip, roles in zip(MANIFEST.clips, (("test", "train"), ("train", "test")), strict=True)
    )
)


def written(folder: Path, clips: bytes = CLIPS, events: bytes = EVENTS, roles: bytes | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "clips.csv").write_bytes(clips)
    (folder / "events.csv").write_bytes(events)
    if roles is not None:
        (folder / "roles.csv").write_bytes(roles)
    return folder


def test_the_files_are_these(tmp_path: Path) -> None:
    assert MANIFEST.files() == {"clips.csv": CLIPS, "events.csv": EVENTS}
    write_manifest(MANIFEST, tmp_path)
    assert read_manifest(tmp_path) == MANIFEST
    assert MANIFEST.folds == (1, 2)
    assert MANIFEST.event_files == ("x.wav", "y.wav")


def test_roles_are_kept(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, roles=ROLES))
    assert [clip.roles for clip in manifest.clips] == [("test", "train"), ("validation", "test")]
    assert manifest.files()["roles.csv"] == ROLES
    assert manifest.digest != MANIFEST.digest


def test_a_spreadsheet_may_have_saved_it(tmp_path: Path) -> None:
    with_mark = written(tmp_path, b"\xef\xbb\xbf" + CLIPS.replace(b"\n", b"\r\n"), EVENTS.replace(b"\n", b"\r\n"))
    assert read_manifest(with_mark) == MANIFEST
    assert read_manifest(with_mark).digest == MANIFEST.digest


NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters='/\\:'), min_size=1, max_size=8).filter(
    lambda name: ".." not in name
)  # fmt: skip
SECONDS = st.floats(0, 1e5)
EVENTS_OF_A_CLIP = st.lists(
    st.tuples(NAMES, NAMES, SECONDS, st.floats(1e-6, 1e5), st.none() | SECONDS, st.floats(-100, 100)), max_size=4
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clips=st.lists(st.tuples(st.integers(1, 20), NAMES, NAMES, NAMES, EVENTS_OF_A_CLIP), min_size=1, max_size=5))
def test_write_and_read_round_trip(
    clips: list[tuple[int, str, str, str, list[tuple[str, str, float, float, float | None, float]]]], tmp_path: Path
) -> None:
    manifest = Manifest(
        tuple(
            Clip(f"{n:05d}", fold, file, label, place, tuple(Event(k, *event) for k, event in enumerate(events)))
            for n, (fold, file, label, place, events) in enumerate(clips)
        )
    )
    write_manifest(manifest, tmp_path)
    again = read_manifest(tmp_path)
    assert again == manifest
    assert again.digest == manifest.digest
    assert math.isclose(sum(e.onset for c in again.clips for e in c.events),
                        sum(e.onset for c in manifest.clips for e in c.events))  # fmt: skip


@pytest.mark.parametrize(
    ("line", "change", "message"),
    [
        (0, "clip,fold,scene_file,scene_label,scene_location", "clips.csv: column 'clip_id' is missing"),
        (1, "00000,1,a.wav,park", "clips.csv, line 2: 4 values, expected 5 as in the header"),
        (2, "00001,2,b.wav,bus,town-2,x", "clips.csv, line 3: 6 values, expected 5 "),
        (2, "00001,two,b.wav,bus,town-2", "clips.csv, line 3: fold: found 'two'; expected an integer"),
        (2, "00001,0,b.wav,bus,town-2", "clips.csv, line 3: fold: found '0'; expected greater than or equal to 1"),
        (2, "00001,\u0662,b.wav,bus,town-2", "clips.csv, line 3: fold: found '\u0662'; expected an integer"),
        (2, "00001,-1,b.wav,bus,town-2", "clips.csv, line 3: fold: found '-1'; expected greater than"),
        (2, "00000,2,b.wav,bus,town-2", "clips.csv, line 3: clip '00000' appears twice"),
        (2, "../1,2,b.wav,bus,town-2", "clips.csv, line 3: clip_id: found '../1'; string should match pattern"),
        (2, "00001,2,,bus,town-2", "clips.csv, line 3: scene_file: found ''; expected the name of a file"),
        (
            2,
            "00001,2,../b.wav,bus,town-2",
            "line 3: scene_file: found .*; expected the name of a file below its source's",
        ),
        (2, "00001,2,/b.wav,bus,town-2", "clips.csv, line 3: .*: found .*; expected the name of a file below"),
        (2, "00001,2,a\\b.wav,bus,town-2", "clips.csv, line 3: .*: found .*; expected the name of a file below"),
        (2, "00002,2,b.wav,bus,town-2", "events.csv: clip '00001' is not in clips.csv"),
        (2, '00001,2,"b.wav,bus,town-2', "clips.csv(, line 3)?: not readable as a table"),
        (2, '00001,2,"b"x.wav,bus,town-2', "clips.csv(, line 3)?: not readable as a table"),
    ],
)
def test_a_broken_row_of_clips(line: int, change: str, message: str, tmp_path: Path) -> None:
    lines = CLIPS.decode().splitlines()
    lines[line] = change
    with pytest.raises(InputError, match=message):
        read_manifest(written(tmp_path, "\n".join([*lines, ""]).encode()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("00000,1,y.wav,Bark,3.0", "events.csv, line 3: 5 values, expected 6 "),
        ("00000,2,y.wav,Bark,3.0,2.0", "events.csv, line 3: event_index is 2, expected 1, in order from 0"),
        ("00000,0,y.wav,Bark,3.0,2.0", "events.csv, line 3: event_index is 0, expected 1, in order from 0"),
        ("00000,x,y.wav,Bark,3.0,2.0", "events.csv, line 3: event_index: found 'x'; expected an integer"),
        ("00000,1,,Bark,3.0,2.0", "events.csv, line 3: event_file: found ''; expected the name of a file"),
        (
            "00000,1,y.wav,,3.0,2.0",
            "events.csv, line 3: event_label: found ''; string should have at least 1 char",
        ),
        ("00000,1,y.wav,Bark,soon,2.0", "events.csv, line 3: onset: found 'soon'; expected a number"),
        ("00000,1,y.wav,Bark,,2.0", "events.csv, line 3: onset: found ''; expected a number"),
        ("00000,1,y.wav,Bark,nan,2.0", "events.csv, line 3: onset: found 'nan'; expected a finite number"),
        ("00000,1,y.wav,Bark,inf,2.0", "events.csv, line 3: onset: found 'inf'; expected a finite number"),
        ("00000,1,y.wav,Bark,-0.1,2.0", "events.csv, line 3: onset: found '-0.1'; expected greater than or equal to 0"),
        ("00000,1,y.wav,Bark,3.0,0", "events.csv, line 3: max_duration: found '0'; expected greater than 0"),
        ("00000,1,y.wav,Bark,3.0,-2", "events.csv, line 3: max_duration: found '-2'; expected greater than"),
        ("00000,1,../y.wav,Bark,3.0,2.0", "events.csv, line 3: .*: found .*; expected the name of a file below"),
        ("00007,0,y.wav,Bark,3.0,2.0", "events.csv: clip '00007' is not in clips.csv"),
    ],
)
def test_a_broken_row_of_events(change: str, message: str, tmp_path: Path) -> None:
    lines = EVENTS.decode().splitlines()
    lines[2] = change
    with pytest.raises(InputError, match=message):
        read_manifest(written(tmp_path, events="\n".join([*lines, ""]).encode()))


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (b"clip_id,fold_1,fold_2\n00000,test,train\n", "roles.csv: clip '00001' of clips.csv is missing"),
        (ROLES.replace(b"validation", b"dev"), "roles.csv, line 3: fold_1 is 'dev', expected train, validation, test"),
        (ROLES.replace(b"fold_2", b"fold_3"), "roles.csv: expected the columns clip_id, fold_1, fold_2, ..., found "),
        (ROLES + b"00002,test,test\n", "roles.csv: clip '00002' is not in clips.csv"),
        (ROLES + b"00001,test,test\n", "roles.csv, line 4: clip '00001' appears twice"),
        (b"clip_id,fold_1\n00000,test\n00001,train\n", "roles.csv: column fold_2 is missing; clip '00001'"),
        (ROLES.replace(b"test,train", b"train,test"), "roles.csv: clip .00000. is .test. for fold 2, expected fold 1"),
        (b"", "roles.csv: empty, expected a header line"),
    ],
)
def test_broken_roles(roles: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_manifest(written(tmp_path, roles=roles))


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clips.csv: no such file"):
        read_manifest(tmp_path)
    with pytest.raises(InputError, match=r"clips.csv: empty, expected a header line"):
        read_manifest(written(tmp_path, clips=b""))
    with pytest.raises(InputError, match=r"events.csv: clip '00000' is not in clips.csv"):
        read_manifest(written(tmp_path, clips=CLIPS.splitlines(keepends=True)[0]))
    with pytest.raises(InputError, match=r"clips.csv: has no rows"):
        read_manifest(written(tmp_path, CLIPS.splitlines(keepends=True)[0], EVENTS.splitlines(keepends=True)[0]))
    with pytest.raises(InputError, match=r"clips.csv(, line 3)?: not readable as a table"):
        read_manifest(written(tmp_path, clips=CLIPS + b"\xff\xfe"))


def test_a_file_that_was_changed_after_its_digest_was_written(tmp_path: Path) -> None:
    write_manifest(MANIFEST, tmp_path)
    (tmp_path / "events.csv").write_bytes(EVENTS.replace(b"0.5", b"0.6"))
    with pytest.raises(InputError, match=r"events.csv: differs from its digest in SHA256SUMS; restore it, or remove"):
        read_manifest(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    assert read_manifest(tmp_path).clips[0].events[0].onset == 0.6


def test_sums_are_complete_or_refused(tmp_path: Path) -> None:
    write_manifest(WITH_ROLES, tmp_path)
    sums = (tmp_path / "SHA256SUMS").read_text()
    roles = (tmp_path / "roles.csv").read_bytes()
    (tmp_path / "roles.csv").unlink()
    with pytest.raises(InputError, match=r"roles.csv: missing, although SHA256SUMS has it; restore it"):
        read_manifest(tmp_path)
    (tmp_path / "roles.csv").write_bytes(roles)
    for name in ("clips.csv", "events.csv", "roles.csv"):
        kept = [line for line in sums.splitlines(keepends=True) if name not in line]
        (tmp_path / "SHA256SUMS").write_text("".join(kept))
        with pytest.raises(InputError, match=rf"SHA256SUMS: has no digest of {name}"):
            read_manifest(tmp_path)
    for broken in ("zz" + sums[2:], sums.replace("  clips.csv", ""), "not a sum\n"):
        (tmp_path / "SHA256SUMS").write_text(broken)
        with pytest.raises(InputError, match=r"SHA256SUMS, line 1: found .* as `sha256sum` writes it"):
            read_manifest(tmp_path)


def test_a_manifest_written_over_another_leaves_nothing_of_it(tmp_path: Path) -> None:
    write_manifest(WITH_ROLES, tmp_path)
    assert write_manifest(MANIFEST, tmp_path)
    assert read_manifest(tmp_path) == MANIFEST
    assert not write_manifest(MANIFEST, tmp_path)


def test_sums_in_the_forms_of_sha256sum(tmp_path: Path) -> None:
    write_manifest(WITH_ROLES, tmp_path)
    sums = (tmp_path / "SHA256SUMS").read_text()
    others = sums + "0" * 64 + "  report.json\n"
    for form in (sums.replace("  ", " *"), sums.replace("  ", "  ./"), sums.upper().replace("CSV", "csv"), others):
        names = form.replace("CLIPS", "clips").replace("EVENTS", "events").replace("ROLES", "roles")
        (tmp_path / "SHA256SUMS").write_text(names)
        assert read_manifest(tmp_path) == WITH_ROLES


def test_the_first_clips_of_folds() -> None:
    assert MANIFEST.first(None) == MANIFEST
    assert [clip.id for clip in MANIFEST.first(1, [2]).clips] == ["00001"]
    with pytest.raises(InputError, match="--fold 3: the manifest has folds 1, 2"):
        MANIFEST.first(None, [3])
    with pytest.raises(InputError, match="--clips-per-fold 2: fold 1 of the manifest has 1 clips"):
        MANIFEST.first(2)


FILES = (CLIPS, EVENTS, ROLES)
BYTES = st.sampled_from(
    [b",", b"\n", b'"', b"\r", b"\x00", b"\xff", b"-", b"e9", b"nan", b"9" * 5000, b"/", b"..", b" "]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 200), st.integers(0, 5), BYTES | st.binary(max_size=3)),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_damaged_files_are_a_manifest_or_bad_input(changes: list[tuple[int, int, int, bytes]], tmp_path: Path) -> None:
    contents = list(FILES)
    for which, at, dropped, piece in changes:
        contents[which] = contents[which][:at] + piece + contents[which][at + dropped :]
    try:
        manifest = read_manifest(written(tmp_path, *contents))
    except InputError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017 (either outcome is right)
    else:
        write_manifest(manifest, tmp_path / "again")
        assert read_manifest(tmp_path / "again") == manifest
