"""Unpacking: nothing lands outside, nothing is half there, nothing is done twice."""

from __future__ import annotations

import errno
import io
import os
import random
import stat
import warnings
import zipfile
from pathlib import Path

import pytest
from download_tools import end_of_first_member, is_one_line, patched_zip, zipped

from remixbench.errors import RemixbenchError
from remixbench.sources.download.unzip import CorruptArchiveError, missing_bytes, read_members, unpack
from remixbench.sources.published import published_source

FILES = {f"top/audio/{n}.wav": random.Random(n).randbytes(3000 * n) for n in range(5)}


def put(folder: Path, data: bytes) -> Path:
    path = folder / "a.zip"
    path.write_bytes(data)
    return path


def members(archive: Path, max_bytes: int = 1 << 20) -> list[zipfile.ZipInfo]:
    return read_members(archive, "top", lambda _: max_bytes)[0]


def run(archive: Path, to: Path) -> dict[str, int]:
    return unpack(archive, members(archive), to, lambda _: None, lambda: None)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def special(name: str, mode: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = mode << 16
        archive.writestr(info, b"/etc/passwd")
    return out.getvalue()


def test_members_land_beneath_their_folder(tmp_path: Path) -> None:
    archive = put(tmp_path, zipped({"top/": b"", **FILES}))
    assert missing_bytes(members(archive), tmp_path / "to") == sum(map(len, FILES.values()))
    assert run(archive, tmp_path / "to") == {name: len(data) for name, data in FILES.items()}
    assert tree(tmp_path / "to") == FILES
    assert missing_bytes(members(archive), tmp_path / "to") == 0


def test_members_outside_the_folder_are_left_out_and_reported(tmp_path: Path) -> None:
    archive = put(tmp_path, zipped({**FILES, "__MACOSX/x": b"1", "readme": b"2"}))
    run(archive, tmp_path / "to")
    assert tree(tmp_path / "to") == FILES
    assert read_members(archive, "top", lambda _: 1 << 20)[1] == ["__MACOSX/x", "readme"]


def test_a_member_larger_than_its_source_can_have_is_refused(tmp_path: Path) -> None:
    # a recording of TAU is 10 s of 48 kHz stereo; 20 MB of zeros pack into 20 kB
    archive = put(tmp_path, zipped({"top/audio/bomb.wav": bytes(20_000_000)}))
    assert archive.stat().st_size < 50_000
    limit = published_source("tau2019").max_member_bytes("top/audio/bomb.wav")
    assert 2_880_044 < limit < 4_000_000
    with pytest.raises(RemixbenchError, match=r"bomb\.wav' has 20,000,000 bytes unpacked, expected at most 3,905,536"):
        members(archive, limit)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RemixbenchError, match="has no file in 'top/'"):
        run(put(tmp_path, zipped({"other/a.wav": b"1"})), tmp_path / "to")


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "top/../../evil", "/evil", "top//evil", "top/./evil", "..", "top/..", "C:/evil", "..\\evil",
        "top\\..\\..\\evil", "\\\\host\\evil", "top/new\nline", "top/\x1b[2Jevil", "top/evil/../../../x",
    ],
)  # fmt: skip
def test_an_unsafe_member_name_stops_unpacking(name: str, tmp_path: Path) -> None:
    # The harmless member comes first: it must not be unpacked either.
    archive = put(tmp_path, zipped({"top/a.wav": b"good", name: b"evil"}))
    with pytest.raises(RemixbenchError, match="nothing was unpacked"):
        run(archive, tmp_path / "to")
    assert tree(tmp_path) == {"a.zip": archive.read_bytes()}


def test_a_zero_byte_does_not_hide_the_rest_of_a_name(tmp_path: Path) -> None:
    data = patched_zip(zipped({"top/evil.wavX.txt": b"1"}), b"top/evil.wavX.txt", b"top/evil.wav\x00.txt")
    with pytest.raises(RemixbenchError, match="nothing was unpacked"):
        run(put(tmp_path, data), tmp_path / "to")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(kind: int, tmp_path: Path) -> None:
    with pytest.raises(RemixbenchError, match="is a link or a special file"):
        run(put(tmp_path, special("top/a.wav", kind | 0o777)), tmp_path / "to")


@pytest.mark.parametrize(
    "names",
    [
        ["top/a.wav", "top/a.wav"], ["top/a.wav", "top/A.wav"], ["top/a/b.wav", "TOP/A/b.wav"],
        ["top/a", "top/a/b.wav"], ["top/a/b/c.wav", "TOP/A"],
    ],
)  # fmt: skip
def test_members_that_would_overwrite_each_other_are_refused(names: list[str], tmp_path: Path) -> None:
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    with pytest.raises(RemixbenchError, match="appears twice"):
        run(put(tmp_path, out.getvalue()), tmp_path / "to")
    assert tree(tmp_path / "to") == {}


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"top/a.wav": b"1"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(RemixbenchError, match="is encrypted"):
        run(put(tmp_path, bytes(data)), tmp_path / "to")


def test_a_link_already_there_is_replaced_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    (tmp_path / "to/top/audio").mkdir(parents=True)
    (tmp_path / "to/top/audio/3.wav").symlink_to(outside)
    run(put(tmp_path, zipped(FILES)), tmp_path / "to")
    assert outside.read_bytes() == b"mine"
    assert tree(tmp_path / "to") == FILES


def test_a_file_of_the_right_size_but_other_content_is_replaced(tmp_path: Path) -> None:
    archive = put(tmp_path, zipped(FILES))
    run(archive, tmp_path / "to")
    (tmp_path / "to/top/audio/2.wav").write_bytes(bytes(6000))
    (tmp_path / "to/top/audio/4.wav").write_bytes(b"short")
    kept = (tmp_path / "to/top/audio/3.wav").stat().st_mtime_ns
    run(archive, tmp_path / "to")
    assert tree(tmp_path / "to") == FILES
    assert (tmp_path / "to/top/audio/3.wav").stat().st_mtime_ns == kept  # right, so not written again


def test_a_damaged_member_is_reported_and_earlier_ones_are_kept(tmp_path: Path) -> None:
    data = bytearray(zipped({name: FILES[name] for name in sorted(FILES, reverse=True)}))
    data[end_of_first_member(bytes(data)) + 100] ^= 0xFF  # in the second, 3.wav
    with pytest.raises(CorruptArchiveError, match=r"a\.zip: member top/audio/3\.wav is damaged"):
        run(put(tmp_path, bytes(data)), tmp_path / "to")
    assert tree(tmp_path / "to") == {"top/audio/4.wav": FILES["top/audio/4.wav"]}
    run(put(tmp_path, zipped(FILES)), tmp_path / "to")
    assert tree(tmp_path / "to") == FILES


@pytest.mark.parametrize("keep", [0, 1, 100, 5000, -1, -30])
def test_a_truncated_archive_is_refused(keep: int, tmp_path: Path) -> None:
    with pytest.raises(CorruptArchiveError, match="not a readable zip archive"):
        members(put(tmp_path, zipped(FILES)[:keep]))


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bits_never_give_a_wrong_file(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    data = bytearray(zipped(FILES))
    for _ in range(draw.randrange(1, 4)):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    try:
        run(put(tmp_path, bytes(data)), tmp_path / "to")
    except RemixbenchError as error:
        is_one_line(error)
    # A flip in the directory may rename a file, but bytes beneath a name are always some member's, whole.
    assert all(content in FILES.values() for content in tree(tmp_path / "to").values())


def test_a_full_disk_leaves_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = put(tmp_path, zipped(FILES))
    replace, done = os.replace, 0

    def full(source: Path, target: Path) -> None:
        nonlocal done
        done += 1
        if done == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        run(archive, tmp_path / "to")
    assert sorted(tree(tmp_path / "to")) == ["top/audio/0.wav", "top/audio/1.wav"]
    run(archive, tmp_path / "to")
    assert tree(tmp_path / "to") == FILES
