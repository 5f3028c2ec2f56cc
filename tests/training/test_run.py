"""Whole trainings on a small made-up data set: files, skipping, going on, other settings beside."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_dataset import CLASSES, fake_dataset, write_fake_info
from filelock import FileLock, Timeout
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score
from watcher import Watcher, run_json, stop_after

from remixbench.errors import InputError, RemixbenchError
from remixbench.files import file_sha256, write_sealed
from remixbench.training.evaluate import describe_thresholds
from remixbench.training.run import _flags_of_data, create_run
from remixbench.training.run_files import read_history
from remixbench.training.train import train
from remixbench.training.trainer import batches

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a data set and one run of two epochs."""
    workspace = tmp_path_factory.mktemp("made")
    fake_dataset(workspace)
    train(workspace=workspace, system="gap", snr=20, epochs=2, precision="32")
    return workspace


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "w")
    return tmp_path / "w"


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_has_all_its_files(made: Path) -> None:
    folder = made / "runs" / "fake" / "gap" / "snr_20" / "fold_4" / "seed_0"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "run.json", "history.csv", "model.safetensors", "predictions/tags.csv", "predictions/frames.npz",
        "predictions/validation.npz",
    }  # fmt: skip
    info = run_json(folder)
    assert info["status"] == "done"
    assert info["results"] == {name: file_sha256(folder / name) for name in names - {"run.json"}}
    assert info["classes"] == list(CLASSES)
    assert info["flags"] == [{"code": "setting", "text": "epochs 2, default 3"}]
    assert info["clips"] == {"train": 32, "validation": 4, "test": 12}
    assert len(info["validation_clips"]) == 4
    assert info["manifest_digest"] == json.loads((made / "datasets/fake/dataset.json").read_text())["manifest_digest"]


def test_a_run_has_frame_scores_of_its_validation_clips(made: Path, workspace: Path) -> None:
    folder = made / "runs" / "fake" / "gap" / "snr_20" / "fold_4" / "seed_0"
    with (
        np.load(folder / "predictions" / "validation.npz") as validation,
        np.load(folder / "predictions" / "frames.npz") as frames,
    ):
        assert validation["filename"].tolist() == run_json(folder)["validation_clips"]
        assert validation["classes"].tolist() == list(CLASSES)
        assert validation["frame_seconds"] == frames["frame_seconds"]
        assert validation["scores"].shape == (4, *frames["scores"].shape[1:])
    train(workspace=workspace, system="gap", snr=0, epochs=2, precision="32", select="paper")
    last = next((workspace / "runs" / "fake").glob("gap*/snr_0/fold_4/seed_0"))
    assert not (last / "predictions" / "validation.npz").exists()  # no validation clips


def test_the_epoch_kept_is_the_best_on_the_validation_clips(made: Path) -> None:
    folder = next(made.glob("runs/fake/gap/*/*/*"))
    epochs = history(folder)
    values = [float(epoch["validation_micro_ap"]) for epoch in epochs]
    info = run_json(folder)
    assert [epoch["epoch"] for epoch in epochs] == ["1", "2"]
    assert info["epoch"] == 1 + int(np.argmax(values))
    assert info["validation_micro_ap"] == pytest.approx(max(values))
    assert {epoch["test_micro_ap"] for epoch in epochs} == {""}  # the held-out fold was not looked at


def test_predictions_are_of_the_held_out_fold(made: Path) -> None:
    folder = next(made.glob("runs/fake/gap/*/*/*"))
    with (folder / "predictions" / "tags.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["filename", *CLASSES]
    assert [row[0] for row in rows[1:]] == [f"{clip:05d}.wav" for clip in range(36, 48)]
    tags = np.array([[float(value) for value in row[1:]] for row in rows[1:]])
    with np.load(folder / "predictions" / "frames.npz") as frames:
        assert frames["scores"].shape == (12, 31, 5)
        assert list(frames["filename"]) == [row[0] for row in rows[1:]]
        assert list(frames["classes"]) == list(CLASSES)
        assert float(frames["frame_seconds"]) == 512 / 8000
        # of `gap` both scores are means of one map
        np.testing.assert_allclose(frames["scores"].mean(axis=1), tags, atol=1e-6)


def test_a_done_run_is_skipped_and_reported(workspace: Path) -> None:
    folder = next(workspace.glob("runs/fake/gap/*/*/*"))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    watcher = Watcher()
    assert train(workspace=workspace, system="gap", snr=20, epochs=2, precision="32", progress=watcher) == [folder]
    assert "done before" in watcher.lines[1]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_done_run_that_lost_a_file_is_trained_again(workspace: Path) -> None:
    folder = next(workspace.glob("runs/fake/gap/*/*/*"))
    tags = (folder / "predictions" / "tags.csv").read_bytes()
    (folder / "predictions" / "tags.csv").unlink()
    watcher = Watcher()
    train(workspace=workspace, system="gap", snr=20, epochs=2, precision="32", progress=watcher)
    assert "predictions/tags.csv is missing" in watcher.lines[1]
    assert (folder / "predictions" / "tags.csv").read_bytes() == tags


def test_old_and_new_results_are_never_taken_for_one_run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = next(workspace.glob("runs/fake/gap/*/*/*"))
    frames = (folder / "predictions" / "frames.npz").read_bytes()
    (folder / "predictions" / "frames.npz").write_bytes(b"of another training")
    (folder / "predictions" / "tags.csv").unlink()
    settings = {"workspace": workspace, "system": "gap", "snr": 20, "epochs": 2, "precision": "32"}
    with monkeypatch.context() as patch:
        patch.setattr(
            "remixbench.training.run_files.np.savez", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            train(**settings)  # type: ignore[arg-type]
    assert run_json(folder)["status"] == "training"
    train(**settings)  # type: ignore[arg-type]
    assert run_json(folder)["status"] == "done"
    assert (folder / "predictions" / "frames.npz").read_bytes() == frames


def test_a_broken_run_json_is_named_with_the_remedy(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    (tmp_path / "runs/fake/gap/snr_0/fold_4/seed_0").mkdir(parents=True)
    (tmp_path / "runs/fake/gap/snr_0/fold_4/seed_0/run.json").touch()
    with pytest.raises(InputError, match=r"seed_0/run.json: not readable as JSON .*; delete it and train again"):
        train(workspace=tmp_path, system="gap", snr=0, dry_run=True)


def test_what_a_killed_writer_left_is_cleared_away(workspace: Path) -> None:
    folder = next(workspace.glob("runs/fake/gap/*/*/*"))
    left = [folder / ".checkpoint.d8d7ad4f.part.pt", folder / "predictions" / ".tags.00112233.part.csv"]
    for path in left:
        path.write_bytes(b"half")
    train(workspace=workspace, system="gap", snr=20, epochs=2, precision="32")
    assert not any(path.exists() for path in left)


def test_a_place_is_chosen_under_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dataset(tmp_path)
    held = []

    def looks(*arguments: object) -> object:
        try:
            with FileLock(tmp_path / "runs" / "fake" / ".locks" / "place.lock", timeout=0):
                held.append(False)
        except Timeout:
            held.append(True)
        return create_run(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("remixbench.training.train.create_run", looks)
    train(workspace=tmp_path, system="gap", snr=20, epochs=1)
    assert held == [True]


def test_a_run_resumed_on_another_device_records_it(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(workspace=tmp_path, system="gap", snr=20, progress=stop_after(40))
    file = next(tmp_path.glob("runs/**/run.json"))
    info = run_json(file.parent)
    assert info["device"] == "cpu"
    here = info["versions"]["torch"]  # type: ignore[index]
    write_sealed(file, info | {"versions": {**info["versions"], "torch": "1.0.0"}})  # type: ignore[dict-item]
    watcher = Watcher()
    train(workspace=tmp_path, system="gap", snr=20, progress=watcher)
    assert any("started with other software or on another device" in line for line in watcher.lines)
    done = run_json(file.parent)
    assert done["versions"]["torch"] == "1.0.0"  # type: ignore[index]
    assert [(each["after_epoch"], each["versions"]["torch"]) for each in done["resumed"]] == [(1, here)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", ["another shape", "a part missing"])
def test_a_checkpoint_that_does_not_fit_is_named(tmp_path: Path, damage: str) -> None:
    fake_dataset(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(workspace=tmp_path, system="gap", snr=20, progress=stop_after(40))
    file = next(tmp_path.glob("runs/**/checkpoint.pt"))
    saved = torch.load(file, weights_only=True)
    if damage == "another shape":
        saved["network"]["class_maps.bias"] = torch.zeros(99)
    else:
        del saved["schedule"]
    torch.save(saved, file)
    with pytest.raises(InputError, match=r"checkpoint\.pt: does not fit the run \(.*\); delete it") as caught:
        train(workspace=tmp_path, system="gap", snr=20)
    assert "\n" not in str(caught.value)


def test_other_settings_are_another_run_beside(workspace: Path) -> None:
    first = next(workspace.glob("runs/fake/gap/*/*/*"))
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    again = [
        train(workspace=workspace, system="gap", snr=20, epochs=2, precision="32", **other)[0]
        for other in ({"learning_rate": 0.001}, {"batch_size": 4}, {"learning_rate": 0.001})
    ]
    assert again[0] == again[2] != again[1]
    for folder in again:
        assert folder.parent == first.parent
        assert folder.name == f"seed_0-{run_json(folder)['digest'][:8]}"
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before


def test_another_data_set_of_the_same_name_is_another_run(workspace: Path) -> None:
    first = next(workspace.glob("runs/fake/gap/*/*/*"))
    shutil.rmtree(workspace / "datasets")
    fake_dataset(workspace, seed=5)
    second = train(workspace=workspace, system="gap", snr=20, epochs=2, precision="32")[0]
    assert second.name.startswith("seed_0-")
    assert run_json(second)["manifest_digest"] != run_json(first)["manifest_digest"]


INTERRUPTED = {"system": "2ap-aux", "snr": 20, "epochs": 3, "precision": "32"}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never interrupted."""
    workspace = tmp_path_factory.mktemp("uninterrupted")
    fake_dataset(workspace)
    return train(workspace=workspace, **INTERRUPTED)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("clips", [20, 36, 95], ids=["before any epoch", "in the second", "near the end"])
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path, uninterrupted: Path, clips: int) -> None:
    fake_dataset(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(workspace=tmp_path, progress=stop_after(clips), **INTERRUPTED)  # type: ignore[arg-type]
    torch.manual_seed(99)  # whatever the global generator is at
    resumed = train(workspace=tmp_path, **INTERRUPTED)[0]  # type: ignore[arg-type]
    expected, weights = (load_file(folder / "model.safetensors") for folder in (uninterrupted, resumed))
    assert expected.keys() == weights.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, weights[name]), name
    for file in ("model.safetensors", "predictions/tags.csv", "predictions/frames.npz"):
        assert (uninterrupted / file).read_bytes() == (resumed / file).read_bytes()
    assert not (resumed / "checkpoint.pt").exists()
    columns = ("epoch", "loss", "validation_micro_ap", "learning_rate")
    rows = [[[row[column] for column in columns] for row in history(folder)] for folder in (uninterrupted, resumed)]
    assert rows[0] == rows[1]


def test_a_run_killed_after_its_last_epoch_only_writes_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_dataset(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("remixbench.training.run.write_model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(workspace=tmp_path, system="gap", snr=20, epochs=2)
    watcher = Watcher()
    folder = train(workspace=tmp_path, system="gap", snr=20, epochs=2, progress=watcher)[0]
    assert "resumes after epoch 2" in watcher.lines[1]
    assert run_json(folder)["status"] == "done"


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(workspace=tmp_path, system="gap", snr=20, progress=stop_after(40))
    checkpoint = next(tmp_path.glob("runs/**/checkpoint.pt"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(InputError, match=r"checkpoint\.pt: not a checkpoint .*delete it"):
        train(workspace=tmp_path, system="gap", snr=20)


def test_a_checkpoint_that_would_execute_something_is_refused(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(workspace=tmp_path, system="gap", snr=20, progress=stop_after(40))
    torch.save({"digest": Path("/")}, next(tmp_path.glob("runs/**/checkpoint.pt")))
    with pytest.raises(InputError, match="not a checkpoint"):
        train(workspace=tmp_path, system="gap", snr=20)


def test_the_paper_chooses_on_the_held_out_fold_and_is_marked(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path)
    folder = train(workspace=tmp_path, system="gap", snr=20, select="paper", precision="32")[0]
    info = run_json(folder)
    assert info["flags"] == [{"code": "test-epoch", "text": "epoch chosen on the test fold"}]
    assert info["clips"] == {"train": 36, "validation": 0, "test": 12}
    assert info["thresholds_from"] == "training clips"
    with (folder / "predictions" / "tags.csv").open(newline="") as file:
        tags = np.array([[float(value) for value in row[1:]] for row in list(csv.reader(file))[1:]])
    micro = average_precision_score(dataset.weak[36:], tags, average="micro")
    assert info["test_micro_ap"] == pytest.approx(micro, abs=1e-4)
    assert max(float(epoch["test_micro_ap"]) for epoch in history(folder)) == pytest.approx(micro, abs=1e-4)


def test_the_last_epoch_is_kept_if_asked(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    folder = train(workspace=tmp_path, system="gap", snr=20, select="last")[0]
    assert run_json(folder)["epoch"] == 3
    assert {epoch["test_micro_ap"] for epoch in history(folder)} == {""}


def test_a_fraction_is_marked(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    folder = train(workspace=tmp_path, system="gap", snr=20, fraction=0.25)[0]
    assert folder.parts[-4] == "gap,fraction=0.25"
    assert run_json(folder)["flags"] == [{"code": "fraction", "text": "trained on 0.25 of the training clips"}]
    assert run_json(folder)["clips"] == {"train": 8, "validation": 1, "test": 12}


def test_the_shards_are_all_of_the_runs(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    settings = {"system": "gap", "seed": [0, 1, 2], "epochs": 1, "jobs": 1}
    shards = [train(workspace=tmp_path, shard=(i, 4), **settings) for i in (1, 2, 3, 4)]  # type: ignore[arg-type]
    assert [len(folders) for folders in shards] == [2, 2, 1, 1]
    assert len({folder for folders in shards for folder in folders}) == 6
    with pytest.raises(InputError, match="--shard 5/4"):
        train(workspace=tmp_path, shard=(5, 4), **settings)  # type: ignore[arg-type]


def test_it_learns(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path, clips_per_fold=24)
    folder = train(workspace=tmp_path, system="atrous-ap", snr=20, epochs=8)[0]
    losses = [float(epoch["loss"]) for epoch in history(folder)]
    assert losses[-1] < 0.7 * losses[0]
    assert run_json(folder)["validation_micro_ap"] > 2 * dataset.weak.mean()


@pytest.mark.parametrize(("batch_size", "found"), [(64, "inf"), (8, "nan")], ids=["at its end", "on the way"])
def test_a_training_that_diverges_says_so(tmp_path: Path, batch_size: int, found: str) -> None:
    fake_dataset(tmp_path)
    with pytest.raises(RemixbenchError, match=rf"the loss is {found} in epoch 1; a lower --learning-rate than 0.003"):
        train(workspace=tmp_path, system="2ap-aux", snr=20, alpha=1e39, batch_size=batch_size, precision="32")


def test_altered_features_are_refused(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    path = tmp_path / "datasets" / "fake" / "snr_20" / "logmel.npy"
    np.save(path, np.load(path)[::-1])
    with pytest.raises(InputError, match=r"logmel\.npy: the log-mel of clip \d+ was altered since it was made"):
        train(workspace=tmp_path, system="gap", snr=20)


def test_nan_features_are_named(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path)
    path = tmp_path / "datasets" / "fake" / "snr_20" / "logmel.npy"
    features = np.load(path)
    features[3, 4, 5] = np.nan
    np.save(path, features)
    info = dataset.info
    write_fake_info(dataset.path, info.name, info.made, dataset.recipe, dataset.manifest, dataset.snrs)
    with pytest.raises(InputError, match="the log-mel at 20 dB holds NaN or infinity"):
        train(workspace=tmp_path, system="gap", snr=20)


def test_missing_features_are_found_before_anything_is_trained(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    (tmp_path / "datasets" / "fake" / "snr_20" / "logmel.npy").unlink()
    with pytest.raises(InputError, match=r"logmel\.npy: not there"):
        train(workspace=tmp_path, system="gap", snr=[0, 20])
    assert not (tmp_path / "runs").exists()


def test_a_gpu_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fake_dataset(tmp_path)
    with pytest.raises(InputError, match="--device cuda: this machine"):
        train(workspace=tmp_path, device="cuda")


def test_every_epoch_goes_through_all_clips_in_an_order_of_its_own() -> None:
    orders = [torch.cat(list(batches(10, 4, seed, epoch))).tolist() for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) == 3
    assert [len(batch) for batch in batches(10, 4, 0, 1)] == [4, 4, 2]


def test_a_checkpoint_left_by_a_kill_at_the_very_end_is_removed(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    folder = train(workspace=tmp_path, system="gap", snr=20)[0]
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    (folder / "checkpoint.pt").write_bytes(b"of the last epoch")
    assert train(workspace=tmp_path, system="gap", snr=20) == [folder]
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_few_validation_clips_and_classes_without_training_clips_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = fake_dataset(tmp_path, recordings=4)  # so that the fifth class is in no clip
    watcher = Watcher()
    (folder,) = train(workspace=tmp_path, dataset=dataset, system="gap", snr=20, epochs=1, progress=watcher)
    said = "\n".join(watcher.lines)
    unseen = dataset.classes[-1]
    assert f"no training clip has {unseen}; the scores of such classes mean nothing" in said
    assert {"code": "unseen-class", "text": f"no training clip has {unseen}"} in run_json(folder)["flags"]
    assert re.search(r"from \d validation clips; too few for precise thresholds", said)
    assert describe_thresholds(np.ones(2, np.float32), np.ones(2, np.float32), 100, "validation clips").endswith(
        "from 100 validation clips"
    )


def test_a_flag_names_three_of_many_classes_without_training_clips() -> None:
    """All of them would not fit under a table, nor into a record."""
    classes = [f"a class with a rather long name, number {k}" for k in range(400)]
    data = SimpleNamespace(train=SimpleNamespace(weak=np.zeros((5, 400), bool)), split=SimpleNamespace(flag=""))
    (flag,) = _flags_of_data(SimpleNamespace(classes=classes), data)  # type: ignore[arg-type]  # all that it reads
    assert flag.text == f"no training clip has {', '.join(classes[:3])} and 397 other classes"


def test_a_broken_history_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text("epoch,loss,validation_micro_ap,test_micro_ap\n1,much,,\n")
    with pytest.raises(InputError, match=r"history\.csv: not a history"):
        read_history(file)
