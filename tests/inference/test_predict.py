"""A trained system on any audio, and what of a run is refused."""

from __future__ import annotations

import csv
import json
import re
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fake_dataset import CLASSES, fake_dataset, write_fake_info
from safetensors.torch import load_file as mapped_file
from safetensors.torch import save_file
from torch import Tensor, nn

from remixbench.cli import run as command_line
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.features import logmel
from remixbench.errors import InputError
from remixbench.files import write_sealed
from remixbench.inference.recordings import predict
from remixbench.inference.system import TrainedSystem, load_system, window_starts
from remixbench.systems import Output, register, registry
from remixbench.tables import read_table
from remixbench.training.evaluate import fit_thresholds
from remixbench.training.train import train

RATE = 8000


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose test clips have log-mel of real samples, so that predictions can be compared."""
    workspace = tmp_path_factory.mktemp("trained")
    dataset = fake_dataset(workspace)
    path = dataset.path / "snr_20" / "logmel.npy"
    features = np.load(path)
    for row in range(36, 48):
        features[row] = logmel(clip(row), dataset.recipe.features, RATE)
    np.save(path, features)
    info = dataset.info
    write_fake_info(dataset.path, info.name, info.made, dataset.recipe, dataset.manifest, dataset.snrs)
    return train(workspace=workspace, system="2ap-aux", snr=20, epochs=1, precision="32")[0]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def clip(seed: int, seconds: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def test_a_clip_of_the_data_set_gets_its_stored_predictions(trained: Path) -> None:
    system = load_system(trained)
    with np.load(trained / "predictions" / "frames.npz") as stored, (trained / "predictions/tags.csv").open() as file:
        tags = np.array([[float(v) for v in row[1:]] for row in list(csv.reader(file))[1:]])
        for place, row in enumerate(range(36, 48)):
            prediction = system.predict(clip(row), RATE)
            np.testing.assert_allclose(prediction.frames, stored["scores"][place], atol=1e-5)
            np.testing.assert_allclose(prediction.tags, tags[place], atol=1e-5)


@pytest.mark.parametrize(
    ("suffix", "subtype", "rate"),
    [
        *[("wav", "PCM_16", rate) for rate in (8000, 16000, 44100, 48000, 96000)],
        *[("wav", "FLOAT", 44100), ("flac", "PCM_24", 8000), ("flac", "PCM_24", 96000)],
        *[(suffix, subtype, rate) for suffix, subtype in (("ogg", "VORBIS"), ("mp3", None)) for rate in (8000, 48000)],
    ],
)
def test_any_format_and_rate(trained: Path, tmp_path: Path, suffix: str, subtype: str | None, rate: int) -> None:
    times = np.arange(3 * rate) / rate
    tone = 0.3 * np.sin(2 * np.pi * 440 * times)
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, np.column_stack([tone, tone]), rate, subtype=subtype)
    found = predict(trained, path, device="cpu")["tone." + suffix]
    expected = load_system(trained).predict(0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE), RATE)
    assert abs(len(found.frames) - len(expected.frames)) <= 2  # lossy coders pad a little
    if subtype is not None and suffix != "ogg" and rate == RATE:
        np.testing.assert_allclose(found.tags, expected.tags, atol=0.02)


@pytest.mark.parametrize("samples", [1, 100, 511, 512, 513, 5000, 15999, 16000, 16001, 40000, 200_003])
def test_any_length(trained: Path, samples: int) -> None:
    prediction = load_system(trained).predict(clip(0, 30.0)[:samples], RATE)
    assert prediction.frames.shape == (max(1, (samples - 512) // 512 + 1), 5)
    assert prediction.tags.shape == (5,)
    assert np.isfinite(prediction.frames).all()
    assert all(0 <= event.onset < event.offset <= samples / RATE + 0.064 for event in prediction.events)


def test_a_look_at_a_clip_has_all_that_a_picture_needs(trained: Path) -> None:
    system = load_system(trained)
    output = system.forward(logmel(clip(36), system.features, RATE))
    np.testing.assert_allclose(output.clip_scores[0], system.predict(clip(36), RATE).tags, atol=1e-6)
    assert output.reconstruction is not None
    assert output.reconstruction.shape == (1, 31, 16)
    with pytest.raises(InputError, match=r"30 × 16 \(frames × bands\), but the system was trained on 31 × 16"):
        system.forward(np.zeros((30, 16), np.float32))


def test_windows_cover_a_long_recording_half_over_one_another() -> None:
    assert window_starts(31, 31) == [0]
    assert window_starts(32, 31) == [0, 1]
    assert window_starts(70, 31) == [0, 15, 30, 39]
    assert window_starts(5, 1) == [0, 1, 2, 3, 4]


def test_a_recording_that_repeats_a_clip_says_what_the_clip_says(trained: Path) -> None:
    # four windows' length of one hop-periodic noise: every window sees the same spectrogram
    period = np.tile(clip(5, 512 / RATE), 200)
    system = load_system(trained)
    short, long = (system.predict(period[: length * 512], RATE) for length in (31, 120))
    np.testing.assert_allclose(long.tags, short.tags, atol=1e-5)


class Marked(nn.Module):
    """Scores that tell where in its window a frame was: half the first band's height at first, rising to all of it."""

    def forward(self, x: Tensor) -> Output:
        height = torch.sigmoid(x[:, :, :1]).expand(-1, -1, len(CLASSES))
        frames = height * torch.linspace(0.5, 1, x.shape[1]).view(1, -1, 1)
        return Output(height.amin(dim=1), frames)


def test_frames_are_the_mean_and_tags_the_highest_of_all_windows(trained: Path) -> None:
    system = load_system(trained)
    audio = clip(3, 4.6) * np.linspace(0.1, 1, round(4.6 * RATE), dtype=np.float32)
    recording = system.extract_features(audio, RATE)
    system.network = Marked()
    found = system.predict_features(recording)
    height = 1 / (1 + np.exp(-system.model.standardisation.apply(recording.logmel)[:, 0].astype(np.float64)))
    assert window_starts(len(recording.logmel), 31) == [0, 15, 30, 40]
    for frame in range(71):
        indices = [frame - start for start in (0, 15, 30, 40) if 0 <= frame - start < 31]
        expected = np.mean([height[frame] * (0.5 + 0.5 * place / 30) for place in indices])
        np.testing.assert_allclose(found.frames[frame], expected, atol=1e-6)
    np.testing.assert_allclose(found.tags, max(height[s : s + 31].min() for s in (0, 15, 30, 40)), atol=1e-6)


def test_tags_and_frames_have_separate_thresholds(trained: Path) -> None:
    system = load_system(trained)
    recording = system.extract_features(clip(3), RATE)
    tags, frames = system.predict_features(recording).tags, system.predict_features(recording).frames
    never, always = np.full(5, 1.1, np.float32), np.full(5, 1e-9, np.float32)
    system.model = replace(system.model, tag_thresholds=tags, frame_thresholds=never)
    assert len(system.predict_features(recording).detected) == 5
    assert system.predict_features(recording).events == ()
    system.model = replace(system.model, tag_thresholds=never, frame_thresholds=always)
    assert system.predict_features(recording).detected == ()
    assert {event.label for event in system.predict_features(recording).events} == set(
        np.array(CLASSES)[frames.max(axis=0) > 0]
    )


def test_thresholds_come_from_the_validation_clips(trained: Path) -> None:
    system, dataset = load_system(trained), Dataset.open(trained.parents[5] / "datasets" / "fake")
    names = json.loads((trained / "run.json").read_text())["validation_clips"]
    rows = [dataset.filenames.index(name) for name in names]
    looks = [system.forward(dataset.features(20.0)[row]) for row in rows]
    tags = np.stack([look.clip_scores[0].numpy() for look in looks])
    peaks = np.stack([look.frame_scores[0].numpy().max(axis=0) for look in looks])
    np.testing.assert_allclose(system.model.tag_thresholds, fit_thresholds(dataset.weak[rows], tags), rtol=1e-5)
    np.testing.assert_allclose(system.model.frame_thresholds, fit_thresholds(dataset.weak[rows], peaks), rtol=1e-5)


def test_digital_silence_has_no_events(trained: Path) -> None:
    system = load_system(trained)
    always = np.full(5, 0.01, np.float32)
    system.model = replace(system.model, tag_thresholds=always, frame_thresholds=always)
    for seconds in (0.5, 2.0, 7.0):
        silence = system.predict(np.zeros(round(seconds * RATE), np.float32), RATE)
        assert (silence.detected, silence.events, silence.tags.max(), silence.frames.max()) == ((), (), 0, 0)
    # silence after a sound: nothing is detected in it, and what is before keeps its scores
    sound = clip(3, 4.0)
    followed = system.predict(np.concatenate([sound, np.zeros(4 * RATE, np.float32)]), RATE)
    assert followed.events
    assert max(event.offset for event in followed.events) < 4.0 + 0.3


def test_channels_are_averaged(trained: Path) -> None:
    system = load_system(trained)
    left, right = clip(1), clip(2)
    both = system.predict(np.column_stack([left, right]), RATE)
    np.testing.assert_allclose(both.tags, system.predict((left + right) / 2, RATE).tags, atol=1e-5)


def test_tags_and_events_are_written(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / "a.wav", tmp_path / "b.flac"]
    for seed, path in enumerate(files):
        soundfile.write(path, clip(seed, 3.0), RATE)
    status = command_line(["-q", "predict", str(trained), *map(str, files), "--out", str(tmp_path / "out")])
    assert status == 0
    with (tmp_path / "out" / "tags.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["filename", *CLASSES]
    assert [row[0] for row in rows[1:]] == ["a.wav", "b.flac"]
    written = (tmp_path / "out" / "events.tsv").read_text()
    assert capsys.readouterr().out == written
    assert written.splitlines()[0] == "filename\tonset\toffset\tevent_label\tscore"
    assert {line.split("\t")[0] for line in written.splitlines()[1:]} == {"a.wav", "b.flac"}


def test_frame_scores_and_the_score_of_each_event(trained: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", clip(1, 3.0), RATE)
    prediction = predict(trained, tmp_path / "a.wav", out=tmp_path / "out", threshold=0.05, frames=True)["a.wav"]
    assert set(prediction.detected) == {name for name, tag in zip(CLASSES, prediction.tags, strict=True) if tag >= 0.05}
    table = read_table(tmp_path / "out" / "frames" / "a.tsv", ("onset", "offset", *CLASSES), "\t")
    onsets = np.array(table.column("onset"), float)
    for found in prediction.events:
        inside = (onsets >= found.onset - 1e-6) & (onsets < found.offset - 1e-6)
        assert max(np.array(table.column(found.label), float)[inside]) == pytest.approx(found.score, abs=1e-5)
    assert prediction.events
    with pytest.raises(InputError, match=r"--threshold 2: expected a number above 0, at most 1"):
        predict(trained, tmp_path / "a.wav", threshold=2)
    system = load_system(trained)
    audio = np.zeros(8000, np.float32)
    for threshold in (0, 2, "0.5", np.nan):
        with pytest.raises(InputError, match=rf"--threshold {threshold}: expected a number above 0, at most 1"):
            system.predict(audio, 8000, threshold=threshold)
    for rate in (0, "8000", np.inf, None):
        with pytest.raises(InputError, match=rf"audio: a rate of {rate} Hz, expected 1 or more"):
            system.predict(audio, rate)
    with pytest.raises(InputError, match="--frames: give a folder to write to with --out"):
        predict(trained, tmp_path / "a.wav", frames=True)


def test_files_of_one_name_are_identified_by_their_paths(trained: Path, tmp_path: Path) -> None:
    paths = [tmp_path / folder / "a.wav" for folder in ("x", "y")]
    for path in paths:
        path.parent.mkdir()
        soundfile.write(path, clip(0), RATE)
    assert list(predict(trained, paths)) == [path.as_posix() for path in paths]
    with pytest.raises(InputError, match="given twice"):
        predict(trained, [paths[0], paths[0]])


def test_a_figure_is_written_per_file(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    monkeypatch.chdir(tmp_path)
    for name, seconds in (("short.wav", 0.3), ("long.flac", 7.0)):
        soundfile.write(tmp_path / name, clip(1, seconds), RATE)
    called = ["-q", "predict", str(trained), "short.wav", "long.flac", "--figure"]
    assert command_line([*called, "--out", "out"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "events.tsv", "long.png", "short.png", "tags.csv",
    ]  # fmt: skip
    assert (tmp_path / "out" / "long.png").read_bytes().startswith(b"\x89PNG")
    with_pictures = capsys.readouterr().out
    assert command_line(called) == 0  # without --out the pictures alone, in the current folder
    assert {path.name for path in tmp_path.glob("*.*")} == {"short.wav", "long.flac", "short.png", "long.png"}
    assert capsys.readouterr().out == with_pictures


def test_a_picture_without_matplotlib_is_refused_before_any_work(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"figures need matplotlib.*pip install 'remixbench\[report\]'"):
        predict(trained, tmp_path / "absent.wav", out=tmp_path / "out", figure=True)
    assert not (tmp_path / "out").exists()


def test_a_figure_shows_the_whole_recording_without_a_reference(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from remixbench.plots.figures import draw_recording

    system = load_system(trained)
    texts = {}
    for seconds in (0.3, 2.0, 7.0):
        recording = system.extract_features(clip(1, seconds), RATE)
        draw_recording(system, recording, system.predict_features(recording), "street.wav", tmp_path / "out.svg")
        texts[seconds] = " ".join(re.findall(r">([^<>]+)</(?:text|tspan)>", (tmp_path / "out.svg").read_text()))
    assert "2ap-aux, street.wav, 0.3 s, repeated to fill 2 s" in texts[0.3]
    assert "2ap-aux, street.wav, 2.0 s" in texts[2.0]
    assert "2ap-aux, street.wav, 2.0 s," not in texts[2.0]  # nothing to add: it is all there is
    assert "2ap-aux, street.wav, 7.0 s" in texts[7.0]
    for seconds, text in texts.items():
        # attention belongs to one window, so a recording of several has none
        letters = [letter for letter in "abcdefghi" if f"({letter}) " in text]
        assert letters == list("abcdefghi" if seconds <= 2 else "abc")
        assert "detected event" in text
        assert "in the clip" not in text
        assert "reference" not in text


def test_pictures_of_files_of_one_name_are_numbered() -> None:
    from remixbench.inference.recordings import output_names

    assert output_names([Path("x/a.wav"), Path("b.c.flac")], ".png") == ["a.png", "b.c.png"]
    assert output_names([Path("x/a.wav"), Path("y/A.flac"), Path("b.wav")], ".png") == ["1-a.png", "2-A.png", "3-b.png"]


def bad_audio(folder: Path) -> dict[str, str]:
    soundfile.write(folder / "empty.wav", np.zeros(0), RATE)
    (folder / "text.wav").write_text("no audio")
    soundfile.write(folder / "nan.wav", np.array([0.0, np.nan]), RATE, subtype="FLOAT")
    return {
        "empty.wav": "holds no samples",
        "text.wav": "not readable as audio",
        "nan.wav": "holds NaN or infinite samples",
        "absent.wav": "no such audio file",
    }


@pytest.mark.parametrize("name", ["empty.wav", "text.wav", "nan.wav", "absent.wav"])
def test_invalid_audio_files(trained: Path, tmp_path: Path, name: str) -> None:
    message = bad_audio(tmp_path)[name]
    with pytest.raises(InputError, match=message) as error:
        predict(trained, tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_samples_that_are_not_floats(trained: Path) -> None:
    with pytest.raises(InputError, match=r"expected an array of floats in .*; found int16"):
        load_system(trained).predict(np.zeros(100, np.int16), RATE)  # type: ignore[arg-type]


def change_info(run: Path, **changes: object) -> None:
    info = json.loads((run / "run.json").read_text())
    write_sealed(run / "run.json", info | changes)


def metadata(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    return json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]


def load_file(path: Path) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in mapped_file(path).items()}


def refused(run: Path) -> str:
    with pytest.raises(InputError) as error:
        load_system(run)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_that_is_not_a_run(tmp_path: Path) -> None:
    assert "not a run (no run.json)" in refused(tmp_path)


def test_a_run_that_is_not_done(run: Path) -> None:
    change_info(run, status="training")
    assert "the run is not done" in refused(run)


@pytest.mark.parametrize(("key", "value"), [("status", None), ("digest", 3), ("format", 99), ("frames", "31")])
def test_an_edited_run_json(run: Path, key: str, value: object) -> None:
    change_info(run, **{key: value})
    assert f"{key}" in refused(run)


def test_a_setting_edited_by_hand_is_found(run: Path) -> None:
    (run / "run.json").write_text((run / "run.json").read_text().replace('"seed": 0', '"seed": 1'))
    assert "run.json: was edited since it was written; restore it, or train again with --rerun" in refused(run)


def test_weights_altered_since_the_training_are_found(run: Path) -> None:
    path = run / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the last bits of a weight
    path.write_bytes(data)
    assert "model.safetensors: differs from its digest in run.json; restore it, or train again" in refused(run)


def test_weights_of_another_run(run: Path) -> None:
    change_info(run, digest="0" * 64)
    assert "is not of the run that run.json describes" in refused(run)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_model(run: Path, keep: int) -> None:
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "not readable as safetensors" in refused(run)


def test_a_model_of_another_shape(run: Path) -> None:
    path = run / "model.safetensors"
    tensors = load_file(path)
    tensors["network.encoder.block1.conv1.weight"] = torch.zeros(3, 1, 3, 3)
    save_file(tensors, path, metadata(path))
    assert "tensor network.encoder.block1.conv1.weight is [3, 1, 3, 3], system '2ap-aux'" in refused(run)


def test_a_model_that_lacks_a_tensor_or_has_one_too_many(run: Path) -> None:
    path = run / "model.safetensors"
    tensors, about = load_file(path), metadata(path)
    kept = tensors.pop("thresholds.tags")
    save_file(tensors, path, about)
    assert "tensor thresholds.tags of system '2ap-aux' is missing" in refused(run)
    save_file({**tensors, "thresholds.tags": kept, "other": kept.clone()}, path, about)
    assert "tensor other has no place" in refused(run)


def test_a_model_with_nan_or_infinite_values(run: Path) -> None:
    path = run / "model.safetensors"
    tensors = load_file(path)
    tensors["standardisation.mean"][0] = torch.nan
    save_file(tensors, path, metadata(path))
    assert "tensor standardisation.mean holds NaN or infinity" in refused(run)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("system", '"gapp"'),
        ("width", '"wide"'),
        ("frames", "1000000000"),
        ("classes", "3"),
        ("recipe", "{}"),
        ("options", '{"a":' * 100_000),
        ("width", "1e30"),
        ("frames", "-1"),
    ],
)
def test_a_model_with_a_wrong_description(run: Path, key: str, value: str) -> None:
    path = run / "model.safetensors"
    save_file(load_file(path), path, metadata(path) | {key: value})
    refused(run)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("frames", '"many"', "frames: found 'many'; expected an integer"),
        ("recipe", '{"mix": {}}', "key 'recipe.features' is missing"),
        ("encoder", '{"name": "a", "reference": "a", "digest": "b"}', "'encoder' and 'embedding' need each other"),
        ("options", "{", "Expecting property name"),
    ],
)
def test_a_broken_description_is_reported(run: Path, key: str, value: str, problem: str) -> None:
    path = run / "model.safetensors"
    save_file(load_file(path), path, metadata(path) | {key: value})
    assert problem in refused(run)


def test_a_model_that_claims_to_be_huge_allocates_no_memory(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run / "model.safetensors"
    save_file(load_file(path), path, metadata(path) | {"frames": "60000"})  # 29 GB, were it made
    monkeypatch.setattr(nn.Module, "to_empty", None)  # by which it would be
    assert "time_classification.weight is [31, 31]" in refused(run)


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        (np.zeros((2, 9000), np.float32), r"\(samples, channels\); found float32 of \(2, 9000\)"),
        (np.full(9000, 1e30, np.float32), r"holds samples of 1e\+30, expected -1 to 1"),
        (np.full(9000, 32767, np.float32), "holds samples of 32767, expected -1 to 1"),
        ([0.0] * 9000, "expected an array of floats .*; found list"),
        ("a.wav", "expected an array of floats .*; found str"),
    ],
)
def test_audio_of_another_form(trained: Path, audio: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_system(trained).predict(audio, RATE)  # type: ignore[arg-type]


def test_paths_that_cannot_be(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; give the files in it"):
        predict(trained, tmp_path)
    (tmp_path / "there").write_text("mine")
    with pytest.raises(InputError, match="there: is a file, expected a folder to write to"):
        predict(trained, tmp_path / "never looked at.wav", out=tmp_path / "there")


def test_a_file_of_another_program(run: Path) -> None:
    save_file({"weight": torch.zeros(3)}, run / "model.safetensors")
    assert "has no description of a remixbench model" in refused(run)


class ByFour(nn.Module):
    """A frame score is the mean of four frames of the log-mel, whatever lies around them."""

    stride = 4

    def __init__(self, classes: int, frame_seconds: float) -> None:
        super().__init__()
        self.classes, self.frame_seconds = classes, self.stride * frame_seconds
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> Output:
        missing = -x.shape[1] % self.stride
        filled = torch.nn.functional.pad(x.transpose(1, 2), (0, missing), mode="replicate").transpose(1, 2)
        means = filled.unflatten(1, (-1, self.stride)).mean(dim=(2, 3)) * self.weight
        frames = means.sigmoid()[:, :, None].expand(-1, -1, self.classes)
        return Output(frames.amax(dim=1), frames)


@pytest.fixture(scope="module")
def by_four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainedSystem]:
    workspace = tmp_path_factory.mktemp("by-four")
    fake_dataset(workspace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_registered", {})
        register("by-four", ByFour)
        (run,) = train(workspace=workspace, system="by-four", snr=20, epochs=1, learning_rate=1e-9)
        yield load_system(run)


@pytest.mark.parametrize("frames", [31, 32, 33, 34, 46, 47, 48, 61, 100, 333])
def test_frame_scores_of_a_long_recording_match_its_frames(by_four: TrainedSystem, frames: int) -> None:
    """Windows of 31 frames whose halves, 15, are no multiple of the four frames of a score."""
    config = by_four.model.config
    assert config.frames == 31
    draw = np.random.default_rng(frames)
    samples = (frames - 1) * config.features.hop_length + config.features.n_fft
    audio = (draw.normal(0, 0.1, samples) * np.exp(3 * draw.normal(0, 1, samples).cumsum() / samples)).astype(
        np.float32
    )
    recording = by_four.extract_features(audio, config.mix.sample_rate)
    assert len(recording.logmel) == frames
    x = torch.from_numpy(by_four.model.standardisation.apply(recording.logmel))[None]
    with torch.no_grad():
        expected = by_four.network(x).frame_scores[0].numpy()
    scored = by_four.predict_features(recording).frames
    # where a window ends within a score, the rest of that score is filled up; no other window does that at its place
    whole = frames // 4 - (frames > 31)
    np.testing.assert_allclose(scored[:7], expected[:7], atol=1e-5)
    ends_within = {place + 7 for place in window_starts(frames, 31, 4.0)}
    inner = [frame for frame in range(whole) if frame not in ends_within]
    np.testing.assert_allclose(scored[inner], expected[inner], atol=1e-5)


def test_inference_time_is_linear_in_the_length_of_a_recording(by_four: TrainedSystem) -> None:
    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor) -> Output:
            return Output(torch.zeros(len(x), 5), torch.zeros(len(x), 2, 5))

    def seconds(steps: int) -> float:
        x, silent = np.zeros((steps, 1), np.float32), np.zeros(steps, np.bool_)
        start = time.process_time()
        system._windows(x, 8, 4.0, silent)
        return time.process_time() - start

    system = TrainedSystem(replace(by_four.model, network=Nothing()), torch.device("cpu"))
    seconds(1000)
    assert seconds(320_000) < 8 * seconds(80_000)  # four times, where windows are added up in place
