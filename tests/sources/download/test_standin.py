"""Real recordings in the layout and packaging of the two records, from a plain static server to the sources."""

from __future__ import annotations

import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from download_tools import FSD, TAU, on_disk
from paths import SHARED

from remixbench.sources.download import download
from remixbench.sources.download.check import check_sources

EXPAND = SHARED / "standin" / "expand"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXPAND.exists(), reason="the stand-in corpus (../shared/standin) is not here"),
]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Python's own static server: no ranges, no ETags."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("mirror")
    subprocess.run([sys.executable, str(EXPAND), "--zips", str(folder)], check=True, stdout=subprocess.DEVNULL)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder / "md5sums.txt"
        server.shutdown()


def test_the_stand_in_arrives_whole(mirror: tuple[str, Path], tmp_path: Path) -> None:
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
    assert sum(name.endswith(".wav") for name in tree) == 120 + 280
    assert [(c.checked, c.failures) for c in check_sources(workspace=tmp_path)] == [(120, ()), (280, ())]
    assert download(workspace=tmp_path, mirror=url, checksums=sums).requests == 0
