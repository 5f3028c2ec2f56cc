"""`remixbench train` and `remixbench systems` on the command line; a system of an installed package."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import click
import pytest
import torch
from click.testing import CliRunner
from fake_dataset import fake_dataset
from paths import ROOT
from safetensors.torch import load_file

from remixbench.cli import run
from remixbench.cli.train import training_options
from remixbench.inference.system import load_system
from remixbench.recipe import Setting, Training
from remixbench.systems import spec
from remixbench.training.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "remixbench", *map(str, arguments)],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_the_options_reach_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_dataset(tmp_path)
    status = run(
        ["--workspace", str(tmp_path), "-q", "train", "--system", "gap", "2ap-aux", "--snr", "0", "--fold", "1", "2",
         "--seed", "7", "--epochs", "1", "--alpha", "0.1", "--fraction", "0.5", "--option", "attention=paper",
         "--select", "last", "--shard", "2/2", "--width", "0.125", "--precision", "32", "--jobs", "1"]
    )  # fmt: skip
    assert status == 0
    folders = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [folder.relative_to(tmp_path / "runs" / "fake").as_posix() for folder in folders] == [
        "gap,fraction=0.5/snr_0/fold_2/seed_7",
        "2ap-aux,alpha=0.1,fraction=0.5,attention=paper/snr_0/fold_2/seed_7",
    ]
    info = json.loads((folders[1] / "run.json").read_text())
    assert (info["width"], info["select"], info["precision"], info["epochs"]) == (0.125, "last", "32", 1)
    assert info["options"]["attention"] == "paper"


def test_every_type_of_setting_has_an_option() -> None:
    class Extended(Training):
        layers: Annotated[int, Setting("Layers.")] = 2
        dropout: Annotated[float, Setting("Dropout.")] = 0.1
        nesterov: Annotated[bool, Setting("Nesterov momentum.")] = False
        norm: Annotated[Literal["batch", "layer"], Setting("Norm.")] = "batch"

    @click.command()
    @training_options(Extended)
    def command(**values: object) -> None:
        click.echo([value for value in values.values() if value is not None])

    def output(*arguments: str) -> str:
        return CliRunner().invoke(command, arguments).output.strip()

    assert output("--layers", "3", "--dropout", "0.5", "--nesterov", "--norm", "layer") == "[3, 0.5, True, 'layer']"
    assert output("--no-nesterov") == "[False]"
    assert output() == "[]"
    assert "--norm batch|layer" in output("--help")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--snr", "10"], "has no SNR of 10 dB"),
        (["--system", "gapp"], "did you mean 'gap'?"),
        (["--dataset", "faked"], "no data set 'faked' (did you mean 'fake'?)"),
        (["--option", "attention"], "expected NAME=VALUE"),
        (["--option", "attention=paper", "attention=released", "--system", "2ap"], "'attention' is given twice"),
        (["--shard", "3/2"], "I/N"),
        (["--epochs", "many"], "many"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    fake_dataset(tmp_path)
    assert run(["--workspace", str(tmp_path), "train", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_workspace_without_data_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", str(tmp_path), "train"]) == 2
    assert "there is no data set yet; `remixbench make` makes one" in capsys.readouterr().err


def test_a_killed_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    options = ("train", "--system", "2ap", "--snr", "20", "--epochs", "6", "--precision", "32")
    for name in ("whole", "killed"):
        fake_dataset(tmp_path / name)
    process = start("--workspace", tmp_path / "killed", *options)
    checkpoints: list[Path] = []
    while not checkpoints and process.poll() is None:
        time.sleep(0.02)
        checkpoints = list(tmp_path.glob("killed/runs/**/checkpoint.pt"))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    ends = [
        train(workspace=tmp_path / name, system="2ap", snr=20, epochs=6, precision="32")[0]
        for name in ("killed", "whole")
    ]
    killed, whole = (load_file(folder / "model.safetensors") for folder in ends)
    assert all(torch.equal(killed[name], whole[name]) for name in whole)
    assert not list(ends[0].rglob("*.part*"))


def test_a_run_that_another_process_trains_is_left_to_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_dataset(tmp_path)
    process = start("--workspace", tmp_path, "train", "--system", "gap", "--snr", "20", "--epochs", "10000")
    try:
        while not list(tmp_path.glob("runs/**/checkpoint.pt")) and process.poll() is None:
            time.sleep(0.02)
        status = run(["--workspace", str(tmp_path), "train", "--system", "gap", "--snr", "20", "--epochs", "10000"])
    finally:
        process.kill()
        process.communicate()
    assert status == 0
    assert "another process is training it" in capsys.readouterr().err


def test_the_list_of_systems_imports_no_torch() -> None:
    code = (
        "import sys; from remixbench.cli import run; assert run(['systems']) == 0; "
        "assert not {'torch', 'librosa', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert names[:7] == ["gap", "gmp", "gwrp", "atrous-ap", "2ap", "2ap-aux", "atrous-2ap-aux"]


def test_a_training_imports_no_compiler_and_nothing_for_analysis(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    code = (
        "import sys; from remixbench.cli import run; status = run(sys.argv[1:]); "
        "heavy = {'torch._dynamo', 'sklearn', 'scipy.stats', 'pandas', 'matplotlib'} & set(sys.modules); "
        "print(heavy, file=sys.stderr); sys.exit(status or bool(heavy))"
    )
    arguments = ["--workspace", tmp_path, "train", "--system", "gap", "--snr", "20", "--epochs", "1", "--jobs", "1"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_list_of_systems_has_the_training_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["systems"]) == 0
    listed = capsys.readouterr().out
    block = listed[listed.index("\ncrnn ") : listed.index("\ncrnn-sep ")]
    (line,) = [line.strip() for line in block.splitlines() if line.strip().startswith("trained with ")]
    shown = dict(pair.split("=") for pair in line.removeprefix("trained with ").split())
    own = spec("crnn").training_defaults
    assert shown.keys() == own.keys()
    assert (shown["optimizer"], shown["augment"]) == (own["optimizer"], "+".join(own["augment"]))


PACKAGE = '''
import torch
from torch import nn
from remixbench.systems import Output

class Tiny(nn.Module):
    """A linear layer on every frame; dropout, so that the order of random numbers matters."""

    def __init__(self, n_mels, classes):
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.layer = nn.Linear(n_mels, classes)

    def forward(self, x):
        frames = torch.sigmoid(self.layer(self.drop(x)))
        return Output(frames.mean(dim=1), frames)

def tiny(classes, n_mels):
    return Tiny(n_mels, classes)

tiny.description = "a linear layer"
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package that registers a system, as pip would lay it."""
    site = tmp_path / "site"
    about = site / "tiny_system-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "tiny_system.py").write_text(PACKAGE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-system\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[remixbench.systems]\ntiny = tiny_system:tiny\n")
    monkeypatch.syspath_prepend(str(site))


@pytest.mark.usefixtures("installed")
def test_a_system_of_another_package_trains_resumes_and_predicts(tmp_path: Path) -> None:
    ends = []
    for name in ("a", "b"):
        fake_dataset(tmp_path / name)
        options = {"system": "tiny", "snr": 20, "epochs": 3, "precision": "32"}
        if name == "b":  # stopped after the second epoch; dropout continues as if it had not been
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("remixbench.training.run.write_history", _stop_at_second)
                with pytest.raises(KeyboardInterrupt):
                    train(workspace=tmp_path / name, **options)  # type: ignore[arg-type]
        ends.append(train(workspace=tmp_path / name, **options)[0])  # type: ignore[arg-type]
    first, second = (load_file(folder / "model.safetensors") for folder in ends)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert json.loads((ends[0] / "run.json").read_text())["package"] == "tiny-system"
    assert load_system(ends[0]).predict(torch.zeros(9000).numpy(), 8000).tags.shape == (5,)


@pytest.mark.usefixtures("installed")
def test_another_version_of_a_package_is_another_run(tmp_path: Path) -> None:
    fake_dataset(tmp_path / "w")
    options = {"workspace": tmp_path / "w", "system": "tiny", "snr": 20, "epochs": 1}
    old = train(**options)[0]  # type: ignore[arg-type]
    assert json.loads((old / "run.json").read_text())["versions"]["tiny-system"] == "1.0"
    about = tmp_path / "site" / "tiny_system-1.0.dist-info"
    (about / "METADATA").write_text((about / "METADATA").read_text().replace("Version: 1.0", "Version: 1.1"))
    about.rename(about.with_name("tiny_system-1.1.dist-info"))
    importlib.invalidate_caches()
    new = train(**options)[0]  # type: ignore[arg-type]
    assert new.name.startswith("seed_0-")
    assert json.loads((new / "run.json").read_text())["versions"]["tiny-system"] == "1.1"


def _stop_at_second(folder: Path, history: list[object]) -> None:
    if len(history) == 2:
        raise KeyboardInterrupt
