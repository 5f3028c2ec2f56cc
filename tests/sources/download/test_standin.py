"""Real recordings in the layout and packaging of the two records, from a plain static server to the sources."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from download_tools import FSD, TAU, on_disk, write_sums, zipped

from remixbench.sources.download import download
from remixbench.sources.download.check import check_sources


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Python's own static server: no ranges, no ETags."""

    def log_message(self, format: str, *args: object) -> None:
        pass


def part_of(table: Path, separator: bytes) -> tuple[bytes, list[str]]:
    """A tenth of a table's rows, and the file names in its first column."""
    header, *rows = table.read_bytes().splitlines(keepends=True)
    return b"".join([header, *rows[::10]]), [row.split(separator)[0].decode() for row in rows[::10]]


@pytest.fixture(scope="module")
def mirror(standin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    scene_table, scenes = part_of(standin / TAU / "meta.csv", b"\t")
    event_table, events = part_of(standin / FSD / f"{FSD}.meta" / "train_post_competition.csv", b",")
    scene_files = [{f"{TAU}/{name}": (standin / TAU / name).read_bytes() for name in scenes[k::2]} for k in (0, 1)]
    event_files = {f"{FSD}.audio_train/{name}": standin / FSD / f"{FSD}.audio_train" / name for name in events}
    tau, fsd = f"/records/2589280/files/{TAU}", f"/records/2552860/files/{FSD}"
    archives = {
        f"{tau}.meta.zip": zipped({f"{TAU}/meta.csv": scene_table}),
        f"{tau}.audio.1.zip": zipped(scene_files[0]),
        f"{tau}.audio.2.zip": zipped(scene_files[1]),
        f"{fsd}.meta.zip": zipped({f"{FSD}.meta/train_post_competition.csv": event_table}),
        f"{fsd}.audio_train.zip": zipped({name: file.read_bytes() for name, file in event_files.items()}),
    }
    folder = tmp_path_factory.mktemp("mirror")
    for name, data in archives.items():
        file = folder / name.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", write_sums(archives, folder / "md5sums.txt")
        server.shutdown()


def test_the_stand_in_arrives_whole(mirror: tuple[str, Path], standin: Path, tmp_path: Path) -> None:
    url, sums = mirror
    done = download(workspace=tmp_path, mirror=url, checksums=sums)
    assert len(done.fetched) == 5
    tree = on_disk(tmp_path / "sources")
    assert {str(Path(name).parent) for name in tree} == {
        TAU,
        f"{TAU}/audio",
        f"{FSD}/{FSD}.meta",
        f"{FSD}/{FSD}.audio_train",
    }
    recordings = {name: data for name, data in tree.items() if name.endswith(".wav")}
    assert len(recordings) == 12 + 28
    assert all((standin / name).read_bytes() == data for name, data in recordings.items())
    assert [(c.checked, c.failures) for c in check_sources(workspace=tmp_path)] == [(12, ()), (28, ())]
    assert download(workspace=tmp_path, mirror=url, checksums=sums).requests == 0
