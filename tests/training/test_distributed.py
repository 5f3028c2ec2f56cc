"""Two processes under torchrun compute what one computes, one of them writes, and all stop when one fails."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_dataset import fake_dataset
from own_systems import LINEAR_SYSTEM
from paths import ROOT
from torch import nn
from watcher import run_json

from remixbench.cli import run
from remixbench.systems import build_system
from remixbench.training.device import CudaSyncBatchNorm, convert_sync_batchnorm

pytestmark = pytest.mark.slow


def torchrun(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, arguments)],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1", **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_a_step_of_two_processes_is_that_of_one() -> None:
    script = ROOT / "tests" / "helpers" / "distributed_script.py"
    done = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "agreed\n"), done.stderr[-3000:]


def test_on_gpus_torchs_own_batch_norm_takes_the_place_with_the_same_weights() -> None:
    network = build_system("2ap-aux", classes=3, frames=8, n_mels=6, width=0.1)
    before = {name: weight.data_ptr() for name, weight in network.state_dict(keep_vars=True).items()}
    shared = convert_sync_batchnorm(network, CudaSyncBatchNorm)
    kinds = {type(module) for module in shared.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}
    assert kinds == {CudaSyncBatchNorm}
    assert {name: weight.data_ptr() for name, weight in shared.state_dict(keep_vars=True).items()} == before


OWN_STEP = (
    LINEAR_SYSTEM
    + """

class OwnStep(Mine):
    def training_step(self, x, y):
        return nn.functional.mse_loss(self(x).clip_scores, y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)
"""
)


def test_torchrun_trains_as_one_process_does(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.py").write_text(OWN_STEP)
    options = ["train", "--system", "2ap-aux", f"{tmp_path}/own.py:OwnStep", "--snr", "20", "--epochs", "2",
               "--precision", "32", "--augment", "mixup"]  # fmt: skip
    histories = []
    for processes in (1, 2):
        workspace = tmp_path / str(processes)
        fake_dataset(workspace)
        command = ["--workspace", str(workspace), *options]
        if processes == 1:
            assert run([*command, "--jobs", "1"]) == 0
            printed = capfd.readouterr().out
        else:
            done = torchrun("-m", "remixbench", *command)
            assert done.returncode == 0, done.stderr[-3000:]
            printed = done.stdout
        folders = printed.splitlines()
        assert len(folders) == 2  # one process alone writes
        for folder in map(Path, folders):
            info = run_json(folder)
            assert (info["status"], info["processes"]) == ("done", processes)
            with (folder / "history.csv").open(newline="") as file:
                histories.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert histories[:2] == [pytest.approx(losses, rel=1e-3) for losses in histories[2:]]


def test_all_stop_when_one_fails(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    script = tmp_path / "fails.py"
    script.write_text(
        "import os, sys\n"
        "from remixbench.training import trainer\n"
        "from remixbench.cli import main\n"
        "train_epoch = trainer.train_epoch\n"
        "def failing(*a, **k):\n"
        "    if os.environ['RANK'] == '1' and a[4] == 2:\n"
        "        sys.exit(3)\n"
        "    return train_epoch(*a, **k)\n"
        "trainer.train_epoch = failing\n"
        "main(sys.argv[1:])\n"
    )
    command = ["--workspace", str(tmp_path), "train", "--system", "gap", "--snr", "20", "--epochs", "5"]
    done = torchrun(script, *command, PYTHONPATH=str(ROOT))
    assert done.returncode != 0
    (folder,) = (path.parent for path in tmp_path.glob("runs/**/run.json"))
    assert run_json(folder)["status"] == "training"
    assert run([*command, "--jobs", "1"]) == 0  # one process alone brings it to its end
    assert run_json(folder)["status"] == "done"
