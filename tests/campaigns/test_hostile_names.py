"""Labels and names of recordings that would be paths: nothing is written outside `--out`, and no two share a file.

A share of the campaign; REMIXBENCH_NAMES=1 runs 2,000 labels.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_dataset import CLASSES, fake_dataset
from safetensors import safe_open
from safetensors.numpy import save_file

from remixbench.errors import InputError
from remixbench.files import file_sha256, write_sealed
from remixbench.inference.recordings import predict, separate
from remixbench.training.train import train

LABELS = round(2_000 * float(os.environ.get("REMIXBENCH_NAMES", "0.05")))
PIECES = (
    "..", "/", "\\", ".", "~", "-", ":", "%", "%2F", "a", "A", "é", "e\u0301", "\x00", "\n", "\r", "\t", " ", "con",
    "nul", "$HOME", "`id`", "$(id)", ";", "|", "*", "?", '"', "'", "<b>", "&amp;", "\u202e", "\u200b", "\ufeff", "💥",
    "x" * 90, "{OUT}", "/tmp/", "file://", "C:", "background", ".wav", "=1+1", "@", "\x1b[31m", "\x7f", "\x85",
)  # fmt: skip
FIXED = (
    "{OUT}/../precious", "../precious", "../../precious", "/", ".", "..", "{OUT}", "a/b", "background", "BACKGROUND",
)  # fmt: skip


def hostile(count: int, out: Path) -> list[str]:
    draw = np.random.default_rng(5)
    labels = dict.fromkeys(label.replace("{OUT}", str(out)) for label in FIXED)
    while len(labels) < count:
        picked = draw.choice(len(PIECES), draw.integers(1, 5))
        labels["".join(PIECES[k] for k in picked).replace("{OUT}", str(out))] = None
    return list(labels)[:count]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("run")
    fake_dataset(workspace)
    (folder,) = train(workspace=workspace, system="gwrp", snr=20, epochs=1, precision="32", device="cpu")
    return folder


def relabelled(run: Path, labels: list[str], to: Path) -> Path:
    """Return a run as somebody else could send it, whose classes have these labels."""
    shutil.copytree(run, to)
    with safe_open(to / "model.safetensors", framework="np") as file:
        metadata = {**file.metadata(), "classes": json.dumps(labels)}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    save_file(tensors, to / "model.safetensors", metadata=metadata)
    info = json.loads((to / "run.json").read_text())
    info["results"]["model.safetensors"] = file_sha256(to / "model.safetensors")
    write_sealed(to / "run.json", info | {"classes": labels})
    return to


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_labels_of_a_received_run_never_become_paths(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    out = place / "out"
    out.mkdir(parents=True)
    (place / "precious").write_text("mine")
    (place / "precious.wav").write_text("mine")
    soundfile.write(place / "street.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 8000)
    before = everything(tmp_path)
    written = refused = 0
    labels = hostile(LABELS, out)
    for first in range(0, len(labels) - len(CLASSES) + 1, len(CLASSES)):
        group = labels[first : first + len(CLASSES)]
        received = relabelled(run, group, tmp_path / f"run{first}")
        try:
            files = separate(received, place / "street.wav", out=out, classes=group, device="cpu")["street.wav"]
        except InputError:
            refused += 1
        else:
            assert set(files) == set(group)
            assert len({str(file).casefold() for file in files.values()}) == len(group)
            assert all(file.parent == out / "street" and file.is_file() for file in files.values())
            predict(received, place / "street.wav", out=out, frames=True, device="cpu")
            written += 1
        shutil.rmtree(received)
        shutil.rmtree(out)
        out.mkdir()
        assert everything(tmp_path) == before
    assert written + refused == len(labels) // len(CLASSES)
    assert written > refused


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["..wav", "...wav", ".hidden.wav", "a b.wav", "-rf.wav"])
def test_names_of_recordings_never_lead_out_of_the_folder(name: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "place" / "out").mkdir(parents=True)
    soundfile.write(tmp_path / name, np.random.default_rng(0).normal(0, 0.1, 8000), 8000, format="WAV")
    out = tmp_path / "place" / "out"
    written = separate(run, tmp_path / name, out=out, classes="Bark", device="cpu")
    assert [file.parent.parent for file in written[name].values()] == [out]
    predict(run, tmp_path / name, out=out, frames=True, device="cpu")
    assert sorted(path.name for path in (tmp_path / "place").iterdir()) == ["out"]
