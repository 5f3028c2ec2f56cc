"""Runs side by side: the same weights, one display, and nothing lost when they are interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_dataset import fake_dataset
from paths import ROOT
from torch import nn
from watcher import Watcher

from remixbench.cli import run
from remixbench.errors import InputError
from remixbench.progress import duration
from remixbench.systems import register, registry
from remixbench.training.grid import InTurn, TimeLeft
from remixbench.training.train import train

GRID = ["train", "--system", "gap", "crnn", "--snr", "0", "20", "--epochs", "2", "--precision", "32"]


def start(workspace: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "remixbench", "--workspace", str(workspace), *GRID, "--jobs", "2"], cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
    )  # fmt: skip


def models(workspace: Path) -> dict[str, bytes]:
    """Return weights and predictions of every run below a workspace."""
    files = [path for pattern in ("*.safetensors", "tags.csv", "frames.npz") for path in workspace.rglob(pattern)]
    return {path.relative_to(workspace).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Weights and predictions of the grid, trained one after another."""
    workspace = tmp_path_factory.mktemp("turns")
    fake_dataset(workspace)
    assert run(["--workspace", str(workspace), "-q", *GRID, "--jobs", "1"]) == 0
    return models(workspace)


@pytest.mark.slow
def test_side_by_side_runs_have_the_weights_that_they_have_one_by_one(
    tmp_path: Path, one_by_one: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    fake_dataset(tmp_path)
    assert run(["--workspace", str(tmp_path), *GRID, "--jobs", "2"]) == 0
    output, said = capsys.readouterr()
    assert len(one_by_one) == 4 * 3
    assert models(tmp_path) == one_by_one
    runs = tmp_path / "runs" / "fake"
    assert output.splitlines() == [
        str(runs / system / snr / "fold_4" / "seed_0") for system in ("gap", "crnn") for snr in ("snr_0", "snr_20")
    ]
    assert "Training 4 runs" in said
    assert said.count("side by side") == 1
    assert len(re.findall("validation micro-AP", said)) == 4
    assert re.search(r"^Training: 4 runs \(", said, re.MULTILINE)


@pytest.mark.slow
def test_what_fails_in_a_worker_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_dataset(tmp_path)
    assert run(["--workspace", str(tmp_path), *GRID, "--jobs", "2", "--learning-rate", "1e30"]) == 1
    said = capsys.readouterr().err
    assert re.search(r"^remixbench: .* 4 seed 0: the loss is .* in epoch \d; a lower --learning-rate", said, re.M)
    assert "Traceback" not in said


def test_relative_paths_begin_where_the_caller_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # worker processes are kept between calls: the second call must not look where the first was made
    for name in ("one", "two"):
        fake_dataset(tmp_path / name, clips_per_fold=4)
        monkeypatch.chdir(tmp_path / name)
        folders = train(workspace=".", system=["gap", "gmp"], snr=20, epochs=1, precision="32", width=0.1, jobs=2)
        assert all((tmp_path / name / folder / "model.safetensors").is_file() for folder in folders)


@pytest.mark.slow
def test_interrupted_they_resume_to_the_same_weights(tmp_path: Path, one_by_one: dict[str, bytes]) -> None:
    fake_dataset(tmp_path)
    process = start(tmp_path)
    while process.poll() is None and not list(tmp_path.glob("runs/**/checkpoint.pt")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)  # ends when the last worker has closed the pipes
    assert process.returncode == 130, said
    assert said.splitlines()[-1].endswith("; rerun to resume")
    assert "Traceback" not in said
    assert run(["--workspace", str(tmp_path), "-q", *GRID, "--jobs", "1"]) == 0
    assert models(tmp_path) == one_by_one


def test_the_list_says_what_is_done_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_dataset(tmp_path)
    train(workspace=tmp_path, system="gap", snr=0, epochs=2, precision="32")
    before = sorted(tmp_path.rglob("*"))
    assert run(["--workspace", str(tmp_path), *GRID, "--list"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    captured = capsys.readouterr()
    states = [line.removeprefix(f"{tmp_path}/runs/fake/") for line in captured.out.splitlines()]
    assert states == [
        "gap/snr_0/fold_4/seed_0  done",
        "gap/snr_20/fold_4/seed_0  not begun",
        "crnn/snr_0/fold_4/seed_0  not begun",
        "crnn/snr_20/fold_4/seed_0  not begun",
    ]
    assert captured.err == "4 runs:\n"
    assert run(["--workspace", str(tmp_path), "--quiet", *GRID, "--list", "--shard", "1/4"]) == 0
    captured = capsys.readouterr()
    assert (captured.out.count("\n"), captured.err) == (1, "")


def test_no_jobs_are_refused(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    with pytest.raises(InputError, match="--jobs 0: expected a number of processes"):
        train(workspace=tmp_path, system="gap", snr=20, jobs=0)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"jobs": "all"}, "--jobs all: expected a number of processes, or -1 for one per core"),
        ({"shard": "1/3"}, r"--shard '1/3': expected a pair \(I, N\) of whole numbers, 1 <= I <= N, such as"),
        ({"shard": (0, 3)}, "--shard 0/3: expected I/N, 1 <= I <= N, such as 3/16"),
        ({"system": 5}, "system: found 5, expected a name, or FILE.py:NAME"),
        ({"device": 5}, "unknown value '5' of --device"),
        ({"width": 1e9}, r"system 'gap': .* at width 1e\+09 do not fit into memory; give a smaller --width"),
        ({"width": 1e300}, r"system 'gap': .* at width 1e\+300 do not fit into memory; give a smaller --width"),
    ],
)
def test_arguments_that_mean_nothing_are_one_line(tmp_path: Path, argument: dict[str, Any], message: str) -> None:
    fake_dataset(tmp_path)
    with pytest.raises(InputError, match=message):
        train(**({"workspace": tmp_path, "system": "gap", "snr": 20} | argument))
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("one_thread")
def test_systems_that_only_this_process_knows_are_trained_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Known(nn.Module):
        """A linear layer on every frame."""

        def __init__(self, n_mels: int, classes: int) -> None:
            super().__init__()
            self.layer = nn.Linear(n_mels, classes)

        def forward(self, x: Any) -> Any:
            from remixbench.systems import Output

            frames = self.layer(x).sigmoid()
            return Output(frames.mean(dim=1), frames)

    monkeypatch.setattr(registry, "_registered", {})
    register("known", Known)
    fake_dataset(tmp_path)
    assert len(train(workspace=tmp_path, system="known", snr=[0, 20], epochs=1, jobs=2)) == 2


# What is shown


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_is_that_of_runs_of_the_same_system_or_else_of_all() -> None:
    clock = Clock()
    left = TimeLeft(["gap", "gap", "crnn"], clock=clock)
    left.update(0, 0.0)
    assert left.seconds() is None
    clock.now = 100.0
    left.update(0, 0.5)  # 100 s for half of it
    assert left.seconds() == pytest.approx(100 + 200 + 200)
    clock.now = 200.0
    left.update(0, 1.0)
    left.update(2, 0.0)
    clock.now = 210.0
    left.update(2, 0.5)  # crnn takes 20 s
    assert left.seconds() == pytest.approx(200 + 10)


def test_side_by_side_the_time_left_is_shared_out_and_what_was_done_before_counts_nothing() -> None:
    clock = Clock()
    left = TimeLeft(["gap"] * 4, jobs=2, clock=clock)
    left.update(0, 0.75)  # resumed
    left.update(1, 0.0)
    clock.now = 50.0
    left.update(0, 1.0)  # 50 s for a quarter, and as fast as the other
    left.update(1, 0.25)
    assert left.seconds() == pytest.approx((150 + 200 + 200) / 2)


class Detailed(Watcher):
    """Keeps what a bar says beside itself."""

    def __init__(self) -> None:
        super().__init__()
        self.details: list[str] = []

    @contextmanager
    def detailed_bar(self, label: str, total: int, unit: str, detail: Any) -> Any:
        with self.bar(label, total, unit) as advance:

            def detailed(by: float) -> None:
                advance(by)
                self.details.append(detail())

            yield detailed


def test_a_run_in_turn_says_which_it_is_its_epoch_and_the_time_left() -> None:
    clock, progress = Clock(), Detailed()
    left = TimeLeft(["gap"] * 15, clock=clock)
    display = InTurn(progress, left, 1, 15)
    with display.training("gap 0 dB", epochs=12, clips=100) as advance:
        advance(0)
        clock.now = 10.0
        advance(250)
    assert progress.details[0] == "run 2 of 15, epoch 1 of 12"
    assert progress.details[1] == "run 2 of 15, epoch 3 of 12, about 12 min left"
    alone = InTurn(progress, TimeLeft(["gap"], clock=clock), 0, 1)
    with alone.training("gap 0 dB", epochs=2, clips=100) as advance:
        advance(200)
    assert progress.details[-1] == "epoch 2 of 2"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (40, "40 s"), (240, "4 min"), (3600, "60 min"), (40_000, "11 h")]
)
def test_durations_are_said_as_one_would(seconds: float, text: str) -> None:
    assert duration(seconds) == text
