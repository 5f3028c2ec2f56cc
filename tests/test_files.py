"""Names of files for texts of any kind, arrays in files, locks, and free space."""

from __future__ import annotations

import errno
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from threading import Thread

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from remixbench.errors import InputError, RemixbenchError
from remixbench.files import (
    atomic_path,
    check_room,
    replaced_folder,
    safe_names,
    waiting_lock,
    write_array,
    write_text,
)

TEXTS = st.text(max_size=12) | st.text(st.sampled_from("./\\~-:aA%\u0301é \x00\n"), max_size=12) | st.text(min_size=150)


@given(st.lists(TEXTS, unique=True, max_size=6))
def test_any_texts_have_distinct_names_of_files(texts: list[str]) -> None:
    names = safe_names(texts)
    assert list(names) == texts
    for name in names.values():
        assert name
        assert len(f"{name}.wav".encode()) < 255
        assert name.isprintable() or all(c.isprintable() or unicodedata.category(c)[0] in "CZ" for c in name)
        assert PurePosixPath(f"{name}.wav").parts == (f"{name}.wav",)
        assert PureWindowsPath(f"{name}.wav").parts == (f"{name}.wav",)
        assert not name.startswith((".", "-"))
    folded = [unicodedata.normalize("NFC", name).casefold() for name in names.values()]
    assert len(set(folded)) == len(texts)
    assert safe_names(reversed(texts)) == names


@pytest.mark.parametrize(
    "label", ["Hi-hat", "Bass drum", "Acoustic_guitar", "Möwe", "犬", "a.b", "(x) [y] #1 & co."[:-1]]
)
def test_usual_labels_are_their_own_names(label: str) -> None:
    assert safe_names([label]) == {label: label}


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("..", "%2E%2E"), ("/etc/passwd", "%2Fetc%2Fpasswd"), ("..\\x", "%2E.%5Cx"), ("C:x", "C%3Ax"),
        ("a\0b", "a%00b"), (".hidden", "%2Ehidden"), ("end.", "end%2E"), ("100%", "100%25"),
    ],
)  # fmt: skip
def test_what_would_be_a_path_is_encoded(label: str, name: str) -> None:
    assert safe_names([label]) == {label: name}


def test_names_that_differ_in_case_alone_or_that_are_reserved_are_told_apart(tmp_path: Path) -> None:
    names = safe_names(["Dog", "dog", "cat", "nul", "e\u0301", "\u00e9"])
    assert names["cat"] == "cat"
    assert all(names[label].startswith(f"{label}~") for label in ("Dog", "dog", "nul", "e\u0301", "\u00e9"))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2, 1)])
def test_arrays_of_any_order_in_memory_are_written(tmp_path: Path, order: tuple[int, int, int]) -> None:
    values = np.arange(24, dtype=np.float16).reshape(2, 3, 4).transpose(order)
    write_array(tmp_path / "a.npy", values)
    assert np.array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), values)


def test_the_room_for_a_folder_that_is_not_made_yet(tmp_path: Path) -> None:
    check_room(tmp_path / "a" / "b", 1, "free some")
    with pytest.raises(RemixbenchError, match=r"a/b: needs about 1\.0 EB of disk, .* are free; free some"):
        check_room(tmp_path / "a" / "b", 10**18, "free some")


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError()])
def test_where_there_are_no_locks_an_optional_one_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with waiting_lock(tmp_path / "a.lock", optional=True):
        pass
    with pytest.raises(RemixbenchError, match="its file system has no file locks"), waiting_lock(tmp_path / "a.lock"):
        pass


def test_whoever_waits_for_a_lock_is_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    with waiting_lock(tmp_path / "a.lock", lambda: said.append("free")):
        other = Thread(target=lambda: _hold(tmp_path / "a.lock", said))
        other.start()
        other.join(timeout=0.3)
        assert other.is_alive()
        assert said == ["waits"]
    other.join(timeout=30)
    assert said == ["waits", "holds"]


def _hold(path: Path, said: list[str]) -> None:
    with waiting_lock(path, lambda: said.append("waits")):
        said.append("holds")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_names_the_file_that_was_written(tmp_path: Path, number: int) -> None:
    with pytest.raises(OSError, match="no space") as caught, atomic_path(tmp_path / "tags.csv"):
        raise OSError(number, "no space")  # what write(2) says, without a name
    assert caught.value.filename == str(tmp_path / "tags.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["taken", "taken/x.csv", "taken/deeper/x.csv", "nowhere/x.csv", "itself/x.csv"])
def test_what_is_in_the_place_of_a_folder_is_named(tmp_path: Path, path: str) -> None:
    (tmp_path / "taken").write_text("x")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    blocked = tmp_path / path.partition("/")[0]
    message = f"^{blocked}: is not a folder; choose another place, or move this file away"
    with pytest.raises(InputError, match=message), replaced_folder(tmp_path / path):
        pass
    assert (tmp_path / "taken").read_text() == "x"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}: is a folder, expected the name of a file"):
        write_text(tmp_path, "x")
    assert not list(tmp_path.iterdir())
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}*"))
