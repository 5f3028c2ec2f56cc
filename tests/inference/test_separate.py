"""Separation by a trained system: the parts sum to the recording, at its own rate and length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_dataset import CLASSES, fake_dataset

from remixbench.cli import run as command_line
from remixbench.errors import InputError
from remixbench.inference.recordings import separate
from remixbench.inference.system import load_system
from remixbench.training.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    workspace = tmp_path_factory.mktemp("runs")
    fake_dataset(workspace)
    systems = ("gwrp", "crnn")
    made = train(workspace=workspace, system=systems, snr=20, epochs=1, precision="32", device="cpu")
    return dict(zip(systems, made, strict=True))


def noise(seconds: float, rate: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


@pytest.mark.parametrize(("rate", "seconds"), [(8000, 2.0), (44100, 3.3), (16000, 0.01), (8000, 5.0)])
def test_all_classes_and_the_background_sum_to_the_recording(runs: dict[str, Path], rate: int, seconds: float) -> None:
    audio = noise(seconds, rate)
    sources = load_system(runs["gwrp"]).separate(audio, rate, classes=CLASSES, background=True)
    assert list(sources) == [*CLASSES, "background"]
    np.testing.assert_allclose(sum(sources.values()), audio, atol=1e-5)
    assert all(np.abs(source).max() > 0 for source in sources.values())


def test_detected_classes_equal_those_of_predict(runs: dict[str, Path]) -> None:
    system = load_system(runs["gwrp"])
    audio = noise(2, 8000)
    assert tuple(system.separate(audio, 8000)) == system.predict(audio, 8000).detected


def test_a_class_is_the_same_whichever_are_written(runs: dict[str, Path]) -> None:
    system = load_system(runs["gwrp"])
    audio = noise(2, 8000)
    detected = system.separate(audio, 8000)
    for label, source in detected.items():
        alone = system.separate(audio, 8000, classes=[label])[label]
        np.testing.assert_allclose(alone, source, atol=1e-6)


def test_channels_are_averaged(runs: dict[str, Path]) -> None:
    system = load_system(runs["gwrp"])
    left, right = noise(2, 8000), noise(4, 8000)[16000:]
    both = system.separate(np.column_stack([left, right]), 8000, classes=["Bark"])["Bark"]
    np.testing.assert_allclose(both, system.separate((left + right) / 2, 8000, classes=["Bark"])["Bark"], atol=1e-6)


@pytest.mark.parametrize(("suffix", "rate"), [("wav", 44100), ("flac", 16000)])
def test_files_have_the_rate_and_length_of_the_recording(
    runs: dict[str, Path], tmp_path: Path, suffix: str, rate: int
) -> None:
    path = tmp_path / f"street.{suffix}"
    soundfile.write(path, noise(2.5, rate), rate)
    out = tmp_path / "out"
    written = separate(runs["gwrp"], path, out=out, classes=["Bell", "Bark"], background=True, device="cpu")
    assert written == {path.name: {name: out / "street" / f"{name}.wav" for name in ("Bell", "Bark", "background")}}
    read = [soundfile.read(file, dtype="float32") for file in written[path.name].values()]
    assert {found for _, found in read} == {rate}
    np.testing.assert_allclose(sum(samples for samples, _ in read), soundfile.read(path)[0], atol=1e-5)
    assert sorted(file.name for file in (out / "street").iterdir()) == ["Bark.wav", "Bell.wav", "background.wav"]


def test_the_folder_of_a_recording_holds_the_last_result_only(runs: dict[str, Path], tmp_path: Path) -> None:
    path, out = tmp_path / "street.wav", tmp_path / "out"
    soundfile.write(path, noise(1, 8000), 8000)
    separate(runs["gwrp"], path, out=out, classes=["Bark", "Bell"], background=True, device="cpu")
    separate(runs["gwrp"], path, out=out, classes=["Cough"], device="cpu")
    assert [file.relative_to(out).as_posix() for file in sorted(out.rglob("*"))] == ["street", "street/Cough.wav"]


def test_a_folder_with_other_files_is_not_replaced(runs: dict[str, Path], tmp_path: Path) -> None:
    path, notes = tmp_path / "street.wav", tmp_path / "street" / "notes.txt"
    soundfile.write(path, noise(1, 8000), 8000)
    notes.parent.mkdir()
    notes.write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt: is not a class of the run, .*; choose another --out"):
        separate(runs["gwrp"], path, out=tmp_path, classes=["Bark"], device="cpu")
    assert [file.name for file in notes.parent.iterdir()] == ["notes.txt"]


def test_the_command_prints_the_files(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", noise(1, 8000), 8000)
    audio = [str(tmp_path / f"{name}.wav") for name in ("a", "b")]
    out = str(tmp_path / "out")
    assert command_line(["separate", str(runs["gwrp"]), *audio, "--out", out, "--class", "Bark", "Bell"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"{out}/{clip}/{label}.wav" for clip in ("a", "b") for label in ("Bark", "Bell")]


def test_separation_errors_are_one_line(runs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1, 8000), 8000)
    with pytest.raises(InputError, match="the system 'crnn' has no time-frequency maps to separate with"):
        separate(runs["crnn"], path, out=tmp_path / "out", device="cpu")
    with pytest.raises(InputError, match=r"unknown class 'Barc' \(did you mean 'Bark'"):
        separate(runs["gwrp"], path, out=tmp_path / "out", classes="Barc", device="cpu")
    with pytest.raises(InputError, match="is a file, expected a folder"):
        separate(runs["gwrp"], path, out=path, device="cpu")
    with pytest.raises(InputError, match="no such audio file"):
        separate(runs["gwrp"], tmp_path / "b.wav", out=tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_a_recording_too_large_for_memory_is_reported(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "day.wav", noise(1, 8000), 8000)

    def too_long(*_: object) -> None:
        raise MemoryError("Unable to allocate 10.0 GiB")

    monkeypatch.setattr("remixbench.inference.recordings.read_audio", too_long)
    for command in ("predict", "separate"):
        out = tmp_path / command
        assert command_line([command, str(runs["gwrp"]), str(tmp_path / "day.wav"), "--out", str(out)]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith(f"remixbench: {tmp_path / 'day.wav'}: the memory of this machine is not enough")
        assert not out.exists()
