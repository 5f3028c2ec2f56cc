"""A source is added in two files: its module, and its name in `recipe.py`."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from download_tools import md5, zipped
from paths import ROOT

RATE, LABELS = 8000, ("Bell", "Gong", "Horn")

MODULE = """
from pathlib import Path

from remixbench.sources.audio import FileReader
from remixbench.sources.catalogue import EVENT_COLUMNS, Catalogue
from remixbench.sources.published import Archive, PublishedSource

SOURCE = PublishedSource(
    name="bells", title="Bells", licence="CC0", citation="Nobody: Bells.", record=1,
    archives=({archives}), unpacks_to="bells", member_prefix="audio", md5_confirmed=True, expansion=1.5,
    table=Path("bells/audio/table.csv"), separator=",", file_column="file", root=Path("bells/audio"),
    sample_rate=8000, channels=1, min_seconds=0.1, max_seconds=6000.0,
)


def events(sources: Path) -> Catalogue:
    published = SOURCE.read_table(sources, ("label",))
    table = published.frame(("file", "label"))
    table = table.assign(verified=True, origin=table["file"], licence="CC0", url="")
    return Catalogue(SOURCE.name, table[list(EVENT_COLUMNS)], published.digest, FileReader(sources / SOURCE.root))
"""

SCRIPT = """
import remixbench
from remixbench.cli import run
from remixbench.errors import InputError
from remixbench.recipe import Recipe
from remixbench.sources.download.check import check_sources

try:
    remixbench.download("tau2019", "bells", parts="3-5")
except InputError as error:
    print(error)
print(remixbench.download("bells").summary())
print(check_sources("bells")[0].summary())
recipe = Recipe(
    name="bells-in-noise", description="bells in synthetic scenes", scenes={"source": "synthetic", "sample_rate": 8000},
    events={"source": "bells"}, mix={"sample_rate": 8000, "duration": 2.0, "snrs": [0]},
    plan={"method": "grouped", "folds": 2, "clips_per_fold": 2, "polyphony": 1, "onsets": "drawn", "max_event": 0.5},
)
dataset = remixbench.make(recipe=recipe, jobs=1, backend="threading", features=False)
print(dataset.classes, {clip.events[0].file[:4] for clip in dataset.clips} <= set(dataset.classes))
run(["download", "--help"])
"""


def flac(seed: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.random.default_rng(seed).normal(0, 0.1, RATE // 2), RATE, format="FLAC")
    return out.getvalue()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of the package with the source added, and the source's archives, fetched by another program."""
    names = [f"{label}{number}.flac" for label in LABELS for number in range(6)]
    table = "file,label\n" + "".join(f"{name},{name[:4]}\n" for name in names)
    recordings = {f"audio/{name}": flac(seed) for seed, name in enumerate(names)}
    files = {
        "bells.meta.zip": zipped({"audio/table.csv": table.encode()}),
        "bells.1.zip": zipped(dict(list(recordings.items())[::2])),
        "bells.2.zip": zipped(dict(list(recordings.items())[1::2])),
    }
    (tmp_path / "sources" / "archives").mkdir(parents=True)
    for name, data in files.items():
        (tmp_path / "sources" / "archives" / name).write_bytes(data)
    shutil.copytree(ROOT / "remixbench", tmp_path / "remixbench")
    for data in ("recipes", "manifests"):
        (tmp_path / data).symlink_to(ROOT / data)
    archives = [
        f"Archive({name!r}, {md5(data)!r}, {len(data)}, part={part})"
        for part, (name, data) in zip((None, 1, 2), files.items(), strict=True)
    ]
    module = MODULE.format(archives=", ".join(archives))
    (tmp_path / "remixbench" / "sources" / "bells.py").write_text(module, encoding="utf-8")
    recipe = tmp_path / "remixbench" / "recipe.py"
    text = recipe.read_text(encoding="utf-8")
    line = 'PUBLISHED_SOURCES = ("tau2019", "fsdkaggle2018")'
    assert text.count(line) == 1
    recipe.write_text(text.replace(line, line.replace(")", ', "bells")')), encoding="utf-8")
    return tmp_path


def test_a_source_needs_a_module_and_a_name(workspace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=workspace, env=os.environ | {"PYTHONPATH": str(workspace)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "--parts 3-5: none is a part of bells, which has 1 to 2; name the sources that the parts are of",
        "sources: 0 archives fetched in 0 requests, 3 unpacked, 0 already present",
        "bells: 18 of 18 recordings are valid",
        "('Bell', 'Gong', 'Horn') True",
    ]
    assert "remixbench download [OPTIONS] [tau2019] [fsdkaggle2018] [bells]" in done.stdout
