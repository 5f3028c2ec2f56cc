"""`show --separated`: a panel per class, and what cannot be drawn."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

import soundfile
from fake_dataset import fake_dataset

from remixbench.cli import run as command_line
from remixbench.dataset.dataset import find_dataset
from remixbench.errors import InputError
from remixbench.plots.figures import separated_classes
from remixbench.plots.show import show
from remixbench.plots.view import view_clip
from remixbench.training.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    workspace = tmp_path_factory.mktemp("runs")
    dataset = fake_dataset(workspace)
    (dataset.path / "snr_20" / "audio").mkdir()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    soundfile.write(dataset.path / "snr_20" / "audio" / "00040.wav", noise, 8000)
    systems = ("gwrp", "crnn")
    made = train(workspace=workspace, system=systems, snr=20, epochs=1, precision="32", device="cpu")
    return {"workspace": workspace, **dict(zip(systems, made, strict=True))}


def test_each_class_of_the_clip_and_the_rest_have_a_panel(runs: dict[str, Path], tmp_path: Path) -> None:
    out = show(
        clip="00040", workspace=runs["workspace"], run=runs["gwrp"], separated=True, out=tmp_path / "separated.svg"
    )
    text = " ".join(re.findall(r">([^<>]+)</(?:text|tspan)>", out.read_text(encoding="utf-8")))
    assert "(a) Mixture" in text
    assert re.search(r"\(b\) \w+: in the clip, (not )?detected", text)
    assert re.search(r"\([b-z]\) Background", text)


def test_classes_of_the_clip_come_first() -> None:
    assert separated_classes(["Bell", "Bark"], ["Cough", "Bell"]) == ("Bell", "Bark", "Cough")


def test_what_cannot_be_drawn_is_one_line(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the system 'crnn' has no time-frequency maps"):
        show(clip="00040", workspace=runs["workspace"], run=runs["crnn"], separated=True, out=tmp_path / "a.png")
    workspace = str(runs["workspace"])
    assert command_line(["--workspace", workspace, "show", "00040", "--separated"]) == 2


def test_stems_of_single_events_are_drawn_as_their_sum(runs: dict[str, Path]) -> None:
    dataset = find_dataset(runs["workspace"])
    folder = dataset.path / "snr_20" / "stems"
    folder.mkdir()
    channels = np.random.default_rng(0).integers(-1000, 1000, (16000, 3)).astype(np.int16)
    soundfile.write(folder / "00040.wav", channels, 8000)
    stems = view_clip(dataset, 40, 20.0).stems
    assert stems is not None
    np.testing.assert_allclose(stems * 32768, np.stack((channels[:, 0] + channels[:, 1], channels[:, 2])))
