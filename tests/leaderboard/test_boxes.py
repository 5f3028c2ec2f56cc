"""Bounding boxes are scored where frame scores of validation clips lie beside the predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_dataset import fake_dataset
from fake_runs import write_frames

from remixbench import score
from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.files import read_json
from remixbench.leaderboard.record import parse_record
from remixbench.leaderboard.submission import compare_records

SEBB = {"psds1[sebb]", "psds2[sebb]", "psds1[sebb alpha_st 0]", "psds2[sebb alpha_st 0]"}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return fake_dataset(tmp_path)


def predictions(dataset: Dataset, folder: Path, validation: int | None = 3) -> Path:
    """Frame scores of fold 4, and of a fold to tune on."""
    write_frames(dataset, 4, folder / "frames.npz", seed=1)
    if validation is not None:
        write_frames(dataset, validation, folder / "validation.npz", seed=2)
    return folder


def metrics_of(workspace: Path) -> dict[str, Any]:
    (file,) = (file for file in workspace.rglob("metrics.json"))
    return read_json(file)


def test_they_are_tuned_class_by_class_and_named(tmp_path: Path, dataset: Dataset) -> None:
    folder = predictions(dataset, tmp_path / "mine")
    score(folder, workspace=tmp_path, name="mine", snr=20, fold=4, bootstrap=20)
    record = metrics_of(tmp_path)
    assert record["metrics"].keys() >= SEBB
    assert record["intervals"].keys() >= SEBB
    assert record["settings"]["sebb"].keys() == set(dataset.classes)
    assert all(
        set(each) == {"step", "merge_absolute", "merge_relative"} for each in record["settings"]["sebb"].values()
    )
    steps, real = record["settings"]["sebb"], record["settings"]["sebb_step_frames"]
    length = dataset.recipe.frame_seconds
    assert real.keys() == steps.keys()
    for label, frames in real.items():  # an even number, nearest to the seconds that were chosen
        assert frames % 2 == 0
        assert abs(frames * length - steps[label]["step"]) <= length or frames == 2
    assert 0 < record["metrics"]["psds2[sebb alpha_st 0]"] <= 1
    assert "validation.npz" in record["provenance"]["predictions"]


def test_a_record_made_before_the_frames_of_a_step_were_stored_still_agrees(tmp_path: Path, dataset: Dataset) -> None:
    score(predictions(dataset, tmp_path / "mine"), workspace=tmp_path, name="mine", snr=20, fold=4, bootstrap=0)
    computed = parse_record(metrics_of(tmp_path), "metrics.json")
    settings = dict(computed.settings)
    frames = settings.pop("sebb_step_frames")
    earlier = computed.model_copy(update={"settings": settings})
    more = {label: count + 2 for label, count in frames.items()}
    altered = computed.model_copy(update={"settings": settings | {"sebb_step_frames": more}})
    assert {value.verdict for value in compare_records(0, earlier, computed, of_maps=False)} == {"agrees"}
    differing = [value.name for value in compare_records(0, altered, computed, of_maps=False) if value.why]
    assert differing == ["scoring settings"]


def test_without_validation_clips_they_are_left_blank(tmp_path: Path, dataset: Dataset) -> None:
    folder = predictions(dataset, tmp_path / "mine", validation=None)
    score(folder, workspace=tmp_path, name="mine", snr=20, fold=4, bootstrap=0)
    record = metrics_of(tmp_path)
    assert not SEBB & record["metrics"].keys()
    assert "sebb" not in record["settings"]


def test_files_may_be_given_one_by_one(tmp_path: Path, dataset: Dataset) -> None:
    folder = predictions(dataset, tmp_path / "mine")
    score(folder / "frames.npz", folder / "validation.npz", workspace=tmp_path, name="a", snr=20, fold=4, bootstrap=0)
    assert metrics_of(tmp_path)["metrics"].keys() >= SEBB


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d, f: write_frames(d, 4, f / "validation.npz", seed=2),
            "no clip '00036.wav' in the folds that are",
        ),
        (lambda d, f: (f / "validation.npz").write_bytes(b"PK"), "validation.npz: not readable as an .npz"),
        (lambda d, f: np.savez(f / "validation.npz", scores=np.zeros(3)), "validation.npz: no array 'filename'"),
    ],
)
def test_what_is_wrong_with_them_is_named(tmp_path: Path, dataset: Dataset, change: Any, message: str) -> None:
    folder = predictions(dataset, tmp_path / "mine")
    change(dataset, folder)
    with pytest.raises(InputError) as error:
        score(folder, workspace=tmp_path, name="mine", snr=20, fold=4, bootstrap=0)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_validation_clips_alone_are_no_predictions(tmp_path: Path, dataset: Dataset) -> None:
    file = predictions(dataset, tmp_path / "mine") / "validation.npz"
    with pytest.raises(
        InputError, match=r"validation\.npz: frame scores of validation clips, .*; give predictions with it"
    ):
        score(file, workspace=tmp_path, name="mine", snr=20, fold=4)


def test_two_files_of_validation_clips_are_refused(tmp_path: Path, dataset: Dataset) -> None:
    folder = predictions(dataset, tmp_path / "mine")
    write_frames(dataset, 2, tmp_path / "other" / "validation.npz", seed=2)
    with pytest.raises(InputError, match=r"validation\.npz: two files of that name are given"):
        score(folder, tmp_path / "other" / "validation.npz", workspace=tmp_path, name="mine", snr=20, fold=4)


def test_boxes_of_a_submission_are_computed_again(tmp_path: Path, dataset: Dataset) -> None:
    folder, host = predictions(dataset, tmp_path / "mine"), tmp_path / "host"
    score(folder, workspace=tmp_path, name="mine", snr=20, fold=4, bootstrap=20, submission=tmp_path / "x.json")
    fake_dataset(host)
    condition = score(folder, workspace=host, add=tmp_path / "x.json").find_row("mine").conditions[20.0]
    assert (condition.state, condition.not_verified) == ("recomputed", ())
    assert condition.metrics.keys() >= SEBB
