"""Probes: a trained network on rolled clips and at other SNRs, and what it leaves with the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_dataset import fake_dataset
from fake_runs import Said
from safetensors.torch import safe_open, save_file

from remixbench.dataset.dataset import Dataset, load_dataset
from remixbench.dataset.probes import probe_shifts, read_probes, roll
from remixbench.errors import InputError
from remixbench.inference.probes import Features, predict_clips, predict_probes
from remixbench.inference.system import TrainedSystem, load_system
from remixbench.training.data import ClipDataset
from remixbench.training.evaluate import Scores
from remixbench.training.run_files import read_run, write_run
from remixbench.training.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with runs of a shift-invariant system and of one with weights by frame."""
    workspace = tmp_path_factory.mktemp("made")
    fake_dataset(workspace, snrs=(0.0, 10.0, 20.0))
    train(workspace=workspace, system=["gap", "2ap"], snr=20, epochs=1, precision="32", jobs=1)
    return workspace


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "w")
    return tmp_path / "w"


def run_of(workspace: Path, system: str = "gap") -> Path:
    return workspace / "runs" / "fake" / system / "snr_20" / "fold_4" / "seed_0"


def tags(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "tags.csv", index_col="filename")


def test_every_condition_leaves_tags_and_frames(workspace: Path) -> None:
    run, dataset = run_of(workspace), load_dataset("fake", workspace)
    made = predict_probes(run, workspace=workspace)
    shifts = probe_shifts(dataset, 4)
    assert (tuple(made.shifts or ()), made.snrs) == (shifts, [0.0, 10.0])
    names = [*(f"shift_{shift:.9g}" for shift in shifts), "snr_0", "snr_10"]
    assert sorted(made.predictions) == sorted(f"{name}/{file}" for name in names for file in ("frames.npz", "tags.csv"))
    assert list(tags(run / "predictions" / "probes" / "snr_0").index) == list(tags(run / "predictions").index)
    assert read_probes(run) == made


def test_predictions_use_the_rolled_features(workspace: Path) -> None:
    run, dataset = run_of(workspace, "2ap"), load_dataset("fake", workspace)
    predict_probes(run, workspace=workspace, probe="shift")
    rows, system = dataset.test_rows(4), load_system(run)
    unmoved, _ = predict_clips(system, dataset.features(20)[rows], 8)
    np.testing.assert_array_equal(tags(run / "predictions").to_numpy(np.float32), unmoved)
    for shift in (-0.192, 0.448):
        rolled = np.stack([roll(dataset.features(20)[row], shift, dataset.recipe.frame_seconds) for row in rows])
        expected, frames = predict_clips(system, rolled, 8)
        folder = run / "predictions" / "probes" / f"shift_{shift}"
        np.testing.assert_array_equal(tags(folder).to_numpy(np.float32), expected)
        np.testing.assert_array_equal(np.load(folder / "frames.npz")["scores"], frames)


@pytest.mark.parametrize("probe", ["shift", "snr"])
def test_a_probe_has_some_clips_in_memory_at_a_time(
    workspace: Path, probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, dataset = run_of(workspace, "2ap"), load_dataset("fake", workspace)
    write_run(run, read_run(run).model_copy(update={"batch_size": 5}))
    expected = predict_probes(run, workspace=workspace, probe=probe).predictions
    shutil.rmtree(run / "predictions" / "probes")
    sizes: list[int] = []

    def counted(system: TrainedSystem, clips: Features, batch_size: int) -> tuple[Scores, Scores]:
        sizes.append(len(clips))
        return predict_clips(system, clips, batch_size)

    monkeypatch.setattr("remixbench.inference.probes.VALUES_AT_ONCE", 7 * dataset.features(0)[0].size)
    monkeypatch.setattr("remixbench.inference.probes.predict_clips", counted)
    assert predict_probes(run, workspace=workspace, probe=probe).predictions == expected
    assert sizes == [5, 5, 2] * (len(expected) // 2)


def test_rolled_features_equal_a_rolled_clip_dataset(workspace: Path) -> None:
    dataset = load_dataset("fake", workspace)
    for shift in probe_shifts(dataset, 4):
        clips = ClipDataset(dataset, snr=20, fold=4, role="test", roll=shift)
        features = dataset.features(20)[clips.rows]
        expected = roll(np.asarray(features), shift, dataset.recipe.frame_seconds, axis=1)
        np.testing.assert_array_equal(np.stack([clips[index][0] for index in range(len(clips))]), expected)


def test_at_another_snr_the_features_of_that_snr_are_used(workspace: Path) -> None:
    run, dataset = run_of(workspace), load_dataset("fake", workspace)
    predict_probes(run, workspace=workspace, probe="snr")
    expected, _ = predict_clips(load_system(run), dataset.features(0)[dataset.test_rows(4)], 8)
    found = tags(run / "predictions" / "probes" / "snr_0").to_numpy(np.float32)
    np.testing.assert_array_equal(found, expected)
    assert not (run / "predictions" / "probes" / "snr_20").exists()


def test_probes_are_reused_unless_the_model_differs(workspace: Path) -> None:
    run = run_of(workspace)
    first = predict_probes(run, workspace=workspace, probe="snr")
    file = run / "predictions" / "probes" / "snr_0" / "tags.csv"
    before = file.stat().st_mtime_ns
    both = predict_probes(run, workspace=workspace)
    assert file.stat().st_mtime_ns == before
    assert first.predictions.items() < both.predictions.items()
    train(workspace=workspace, system="gap", snr=20, epochs=1, precision="32", rerun=True)
    assert not file.exists()
    predict_probes(run, workspace=workspace, probe="snr")
    settings = json.loads((run / "predictions" / "probes" / "probes.json").read_text())
    (run / "predictions" / "probes" / "probes.json").write_text(json.dumps(settings | {"model": "0" * 64}))
    assert predict_probes(run, workspace=workspace, probe="snr").model == first.model
    assert file.is_file()


def test_a_fold_without_shifts(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dataset, "strong", lambda self: [(name, 0.0, 2.0, "Bell") for name in self.filenames])
    said = Said()
    made = predict_probes(run_of(workspace), workspace=workspace, probe="shift", progress=said)
    assert made.shifts == []
    assert "no shift in time keeps every event of the test clips of fold 4 whole" in said.lines[-1]


def test_bad_input_takes_one_line(workspace: Path) -> None:
    run = run_of(workspace)
    with pytest.raises(InputError, match="unknown probe 'shfit' \\(did you mean 'shift'\\?\\)"):
        predict_probes(run, workspace=workspace, probe="shfit")
    fake_dataset(workspace, name="other", seed=1)
    with pytest.raises(InputError, match="was trained on another manifest"):
        predict_probes(run, workspace=workspace, dataset="other")
    file = workspace / "datasets" / "fake" / "snr_0" / "logmel.npy"
    features = np.load(file)
    features[load_dataset("fake", workspace).test_rows(4)[0]] += 1
    np.save(file, features)
    with pytest.raises(InputError, match="was altered since it was made; `remixbench verify`"):
        predict_probes(run, workspace=workspace, probe="snr")
    write_run(run, read_run(run).model_copy(update={"status": "training"}))
    with pytest.raises(InputError, match="the run is not done"):
        predict_probes(run, workspace=workspace, probe="shift")


def test_a_run_without_stored_direction_is_refused(workspace: Path) -> None:
    run = run_of(workspace, "2ap")
    with safe_open(run / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    assert float(tensors.pop("network.attention.direction")) in (-1.0, 1.0)
    save_file(tensors, run / "model.safetensors", metadata)
    with pytest.raises(InputError, match=r"direction of two-step attention is missing.* train it again with --rerun"):
        predict_probes(run, workspace=workspace, probe="shift")


def test_raw_frame_scores_are_the_first_step_unturned(workspace: Path) -> None:
    options = {"frame_scores": "raw"}
    (raw,) = train(workspace=workspace, system="2ap", snr=20, epochs=1, precision="32", options=options)
    oriented = run_of(workspace, "2ap")
    np.testing.assert_array_equal(tags(raw / "predictions"), tags(oriented / "predictions"))  # tags are the same
    z, found = (np.load(run / "predictions" / "frames.npz")["scores"] for run in (raw, oriented))
    with safe_open(oriented / "model.safetensors", framework="pt") as file:
        direction = float(file.get_tensor("network.attention.direction"))
    clip_scores = tags(oriented / "predictions").to_numpy(np.float32)[:, None]
    np.testing.assert_allclose(found, (1 - z if direction < 0 else z) * clip_scores, atol=1e-6)
