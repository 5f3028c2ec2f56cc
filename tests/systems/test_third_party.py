"""Systems of a file, registered ones and ones that take the waveform: trained, scored, used, and what they do wrong."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_dataset import fake_dataset
from own_systems import LINEAR_SYSTEM
from paths import ROOT
from safetensors.torch import load_file
from torch import nn
from watcher import stop_after

import remixbench
from remixbench.cli import run as command
from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.inference.probes import predict_probes
from remixbench.systems import Output, build_system, count_cost, register, registry, spec
from remixbench.systems.registry import source_digest
from remixbench.systems.third_party import load_from_file

MEL128 = ROOT / "docs" / "examples" / "mel128.py"
pytestmark = pytest.mark.usefixtures("one_thread")

FILE = (
    "import numpy as np\n"
    + LINEAR_SYSTEM
    + '''

class TooHigh(Mine):
    def forward(self, x):
        return Output(2 + 0 * super().forward(x).clip_scores, super().forward(x).frame_scores)


class FewFrames(Mine):
    def forward(self, x):
        return Output(super().forward(x).clip_scores, super().forward(x).frame_scores[:, ::2])


class NoForward(nn.Module):
    def __init__(self, classes):
        super().__init__()


class WrongRate(FewFrames):
    frame_seconds = 0.064


class OwnStep(Mine):
    """Mean squared error, by its own optimizer."""

    def training_step(self, x, y):
        return nn.functional.mse_loss(self(nn.functional.dropout(x, 0.2)).clip_scores, y)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5, momentum=0.9)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)}


class NoLoss(Mine):
    def training_step(self, x, y):
        return {"loss": 0.0}


class StepFails(Mine):
    def training_step(self, x, y):
        return self.no_such_layer(x)


class LightningStep(Mine):
    def training_step(self, batch, batch_idx):
        return self(batch[0]).clip_scores.sum()


class PriorFails(Mine):
    def set_prior(self, prior):
        raise ValueError("no prior")


class CalibrateFails(Mine):
    def calibrate(self, batches):
        next(batches).no_such_method()


class NoGradient(Mine):
    def forward(self, x):
        return Output(super().forward(x).clip_scores.detach(), super().forward(x).frame_scores)


class Arrays(Mine):
    def forward(self, x):
        return Output(*(scores.detach().numpy() for scores in super().forward(x)[:2]))


class OtherInTraining(Mine):
    def forward(self, x):
        return super().forward(x)[0] if self.training else super().forward(x)


class NothingToTrain(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, x):
        frames = torch.full((*x.shape[:2], self.classes), 0.5)
        return Output(frames.mean(dim=1), frames)


class ConfigureFails(Mine):
    def configure_optimizers(self):
        return {}["x"]


class Pair(Mine):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters())
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1)


class Closure(Mine):
    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters())


class Downwards(Mine):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters())
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}


class Unreadable(Mine):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=np.float64(0.1))


class NoSuchDefault(Mine):
    training_defaults = {"lerning_rate": 0.1}


class WrongDefault(Mine):
    training_defaults = {"schedule": "Cosine"}


class TextForANumber(Mine):
    training_defaults = {"ema": "0.9"}


class Path(Mine):
    options = {"pretrained": ("none", "a/b")}


class TakenOption(Mine):
    options = {"width": ("small", "large")}


class gap(Mine):
    pass
'''
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_file.py"
    path.write_text(FILE)
    return path


def test_a_system_of_a_file_trains_scores_and_predicts(tmp_path: Path, file: Path) -> None:
    fake_dataset(tmp_path)
    status = command(
        ["--workspace", str(tmp_path), "-q", "train", "--system", f"{file}:Mine", "--snr", "20", "--epochs", "2"]
    )
    assert status == 0
    folder = tmp_path / "runs" / "fake" / "Mine" / "snr_20" / "fold_4" / "seed_0"
    info = json.loads((folder / "run.json").read_text())
    assert (info["system"], info["package"], info["status"]) == ("Mine", "my_file.py", "done")
    assert (info["parameters"], info["macs"]) == (16 * 5 + 5, 31 * 16 * 5)
    table = remixbench.score(workspace=tmp_path, dataset="fake", bootstrap=0).to_dataframe()
    assert "Mine" in set(table["name"])
    assert remixbench.load_system(folder).predict(np.zeros(9000, np.float32), 8000).tags.shape == (5,)


def test_a_relative_path_names_the_same_run(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dataset(tmp_path)
    absolute = remixbench.train(workspace=tmp_path, system=f"{file}:Mine", snr=20, epochs=1)
    monkeypatch.chdir(tmp_path)
    assert remixbench.train(workspace=tmp_path, system="my_file.py:Mine", snr=20, epochs=1) == absolute


def test_a_changed_file_is_another_run_and_does_not_load_the_old_one(tmp_path: Path, file: Path) -> None:
    fake_dataset(tmp_path)
    old = remixbench.train(workspace=tmp_path, system=f"{file}:Mine", snr=20, epochs=1)[0]
    file.write_text(FILE.replace("dim=1", "1"))
    with pytest.raises(InputError, match=r"the source files of system 'Mine' of my_file\.py changed since"):
        remixbench.load_system(old)
    new = remixbench.train(workspace=tmp_path, system=f"{file}:Mine", snr=20, epochs=1)[0]
    assert new.parent == old.parent
    assert new.name.startswith("seed_0-")
    remixbench.load_system(new)
    board = remixbench.score(workspace=tmp_path, bootstrap=20)
    assert {row.name for row in board.rows if row.kind == "run"} == {
        f"Mine (sources {json.loads((folder / 'run.json').read_text())['sources']})" for folder in (old, new)
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Mien", "has no class 'Mien' (did you mean 'Mine'?)"),
        ("TooHigh", "its clip_scores range from 2 to 2, expected values in [0, 1]; apply a sigmoid"),
        ("Arrays", "its clip_scores are of type ndarray, expected a tensor of shape (2, 5)"),
        ("FewFrames", "its frame_scores are (2, 16, 5), expected (2, 31, 5); a system of another frame rate sets"),
        ("WrongRate", "its 16 frame scores, 0.064 s apart, cover 1.024 s, expected the 2 s of a clip"),
        ("NoForward", "system 'NoForward' of my_file.py: its forward fails on input (2, 31, 16) (NotImplementedError"),
        ("NoLoss", "its training_step returns dict, expected the mean loss, a scalar tensor with a gradient"),
        ("StepFails", "system 'StepFails' of my_file.py: its training step fails (AttributeError: 'StepFails' object"),
        ("LightningStep", "its training_step takes a batch and batch_idx; expected training_step(x, y) with inputs"),
        ("NoGradient", "its training step fails (RuntimeError: element 0 of tensors does not require grad"),
        ("OtherInTraining", "in training mode its forward returns Tensor, expected remixbench.systems.Output"),
        ("PriorFails", "its set_prior fails (ValueError: no prior)"),
        ("CalibrateFails", "its calibrate fails (AttributeError: 'Tensor' object has no attribute 'no_such_method'"),
        ("NothingToTrain", "it has no parameters to train"),
        ("ConfigureFails", "its configure_optimizers fails (KeyError: 'x')"),
        ("Pair", "its configure_optimizers returns tuple of another form; expected an optimizer, or {'optimizer'"),
        ("Closure", "its training step fails (TypeError"),
        ("Downwards", "leave monitor and frequency out, and make a ReduceLROnPlateau with mode='max'"),
        ("Unreadable", "its checkpoint could not be read to resume from"),
        ("NoSuchDefault", "training default 'lerning_rate' (did you mean 'learning_rate'?)"),
        ("WrongDefault", "its training_defaults: unknown value 'Cosine' of --schedule (did you mean 'cosine'?)"),
        ("TextForANumber", "its training_defaults: --ema 0.9: expected a number"),
        ("Path", "'a/b' cannot be part of a folder's name"),
        ("TakenOption", "option 'width': expected a name of a parameter other than classes, frames, n_mels, width"),
        ("gap", "'gap' is the name of a bundled system; rename yours"),
    ],
)
def test_what_a_system_does_wrong_is_one_line(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    fake_dataset(tmp_path)
    arguments = ["--workspace", str(tmp_path), "-q", "train", "--system", f"{file}:{name}", "--snr", "20"]
    assert command(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()  # nothing is written for a system that breaks the contract


@pytest.mark.parametrize(
    ("setting", "value"),
    [("learning_rate", 0.5), ("optimizer", "adamw"), ("weight_decay", 0.5), ("schedule", "cosine")],
)
def test_an_option_of_the_optimizer_is_refused_where_the_system_brings_its_own(
    tmp_path: Path, file: Path, setting: str, value: object
) -> None:
    fake_dataset(tmp_path)
    option = re.escape(f"--{setting.replace('_', '-')} {value}: system 'OwnStep' has an optimizer of its own")
    with pytest.raises(InputError, match=option):
        remixbench.train(workspace=tmp_path, system=f"{file}:OwnStep", **{setting: value})


def test_defaults_in_other_forms_are_no_deviation(tmp_path: Path, file: Path) -> None:
    fake_dataset(tmp_path)
    file.write_text(FILE + '\n\nclass Mixed(Mine):\n    training_defaults = {"augment": "mixup", "learning_rate": 1}\n')
    folder = remixbench.train(workspace=tmp_path, system=f"{file}:Mixed", snr=20, epochs=3)[0]
    assert json.loads((folder / "run.json").read_text())["flags"] == []
    assert folder.parts[-4] == "Mixed"


def test_a_part_called_decoder_is_trained_like_any_other(tmp_path: Path, file: Path) -> None:
    fake_dataset(tmp_path)
    file.write_text(LINEAR_SYSTEM.replace("self.layer", "self.decoder"))
    options = {"workspace": tmp_path, "system": f"{file}:Mine", "snr": 20, "select": "last"}
    short, longer = (remixbench.train(**options, epochs=epochs)[0] for epochs in (1, 2))
    weights = [load_file(folder / "model.safetensors")["network.decoder.weight"] for folder in (short, longer)]
    assert not torch.equal(*weights)


def test_each_file_imports_the_modules_of_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # the cache of compiled modules sees no edit of this second
    for folder, value in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sizes.py").write_text(f"SIZE = {value}\n")
        (tmp_path / folder / "net.py").write_text("import sizes\n\n\ndef net():\n    return sizes.SIZE\n")
    assert [load_from_file(f"{tmp_path}/{folder}/net.py:net")[0]() for folder in ("one", "two", "one")] == [1, 2, 1]
    (tmp_path / "one" / "sizes.py").write_text("SIZE = 3\n")
    assert load_from_file(f"{tmp_path}/one/net.py:net")[0]() == 3


def test_a_change_in_any_module_that_the_file_imports_changes_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    blocks = tmp_path / "blocks"
    blocks.mkdir()
    (blocks / "__init__.py").write_text("from .layers import Layer\n")
    (blocks / "layers.py").write_text("from blocks import sizes\n\n\nclass Layer:\n    size = sizes.SIZE\n")
    (blocks / "sizes.py").write_text("SIZE = 1\n")
    (tmp_path / "net.py").write_text("import functools\nfrom blocks import Layer\nNet = functools.partial(Layer)\n")
    digests = []
    for size in (1, 2, 1):
        (blocks / "sizes.py").write_text(f"SIZE = {size}\n")
        assert load_from_file(f"{tmp_path}/net.py:Net")[0]().size == size
        digests.append(source_digest(spec(f"{tmp_path}/net.py:Net")))
    assert digests[0] == digests[2] != digests[1]


def test_what_was_typed_at_a_prompt_is_told_apart_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    digests = []
    for number, source in enumerate((LINEAR_SYSTEM, LINEAR_SYSTEM.replace("dim=1", "1"), f"\n\n{LINEAR_SYSTEM}")):
        typed: dict[str, type] = {}
        exec(compile(source, "<cell>", "exec"), typed)
        register(f"typed-{number}", typed["Mine"])
        digests.append(source_digest(spec(f"typed-{number}")))
    assert digests[0] == digests[2] != digests[1]


def test_an_edit_during_the_training_does_not_pass_for_what_was_trained(tmp_path: Path, file: Path) -> None:
    fake_dataset(tmp_path)
    file.write_text(FILE.replace(
        "frames = torch", "open(__file__, 'a').write('# edited\\n') if self.training else None\n        frames = torch"
    ))  # fmt: skip
    folder = remixbench.train(workspace=tmp_path, system=f"{file}:Mine", snr=20, epochs=1)[0]
    with pytest.raises(InputError, match="changed since"):
        remixbench.load_system(folder)


def test_own_step_and_optimizer_take_part_in_resume(tmp_path: Path, file: Path) -> None:
    ends = []
    for name in ("whole", "broken"):
        fake_dataset(tmp_path / name)
        options = {"workspace": tmp_path / name, "system": f"{file}:OwnStep", "snr": 20, "epochs": 3, "precision": "32"}
        if name == "broken":
            with pytest.raises(KeyboardInterrupt):
                remixbench.train(progress=stop_after(70), **options)  # type: ignore[arg-type]
        ends.append(remixbench.train(**options)[0])  # type: ignore[arg-type]
    whole, broken = (load_file(folder / "model.safetensors") for folder in ends)
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    rates = [line.split(",")[4] for line in (ends[0] / "history.csv").read_text().splitlines()[1:]]
    assert rates == ["0.5", "0.25", "0.125"]


def test_own_step_is_computed_in_bfloat16(tmp_path: Path, file: Path) -> None:
    fake_dataset(tmp_path)
    folder = remixbench.train(workspace=tmp_path, system=f"{file}:OwnStep", snr=20, epochs=1, precision="bf16")[0]
    assert json.loads((folder / "run.json").read_text())["precision"] == "bf16"


class Registered(nn.Module):
    """A recurrent layer."""

    options = {"size": 6}  # noqa: RUF012 - as a user writes it

    def __init__(self, n_mels: int, classes: int, size: float) -> None:
        super().__init__()
        self.recurrent = nn.GRU(n_mels, int(size), batch_first=True)
        self.classify = nn.Linear(int(size), classes)

    def forward(self, x: torch.Tensor) -> Output:
        frames = torch.sigmoid(self.classify(self.recurrent(x)[0]))
        return Output(frames.amax(dim=1), frames)


def test_a_registered_system_is_listed_counted_and_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    register("mine", Registered)
    assert spec("mine").description == "A recurrent layer"
    assert command(["systems"]) == 0
    assert "mine            A recurrent layer\n                  size=6 (a number)\n" in capsys.readouterr().out
    network = build_system("mine", classes=5, frames=31, n_mels=16, options={"size": 4})
    cost = count_cost(network, 31, 16)
    # a GRU has three gates, each with a weight per input and per state, and two biases
    assert cost.parameters == 3 * 4 * (16 + 4 + 2) + 4 * 5 + 5
    assert cost.macs == 31 * (3 * 4 * (16 + 4) + 4 * 5)
    fake_dataset(tmp_path)
    assert remixbench.train(workspace=tmp_path, system="mine", snr=20, epochs=1)[0].parts[-4] == "mine"
    with pytest.raises(InputError, match="system name 'gap' is taken by remixbench"):
        register("gap", Registered)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("A" * 300, "has 300 characters, expected at most 100"),
        ("\u6f22" * 60, "has 60 characters, expected at most 100"),
        ("g\u0430p", "mixes letters of alphabets that look alike"),  # a Cyrillic a
        ("cr\u03bdn", "mixes letters of alphabets that look alike"),  # a Greek nu
    ],
)
def test_names_that_no_folder_holds_or_that_read_as_others(tmp_path: Path, name: str, problem: str) -> None:
    fake_dataset(tmp_path)
    (tmp_path / "own.py").write_text(f"import torch\n\n\nclass {name}(torch.nn.Module):\n    pass\n")
    for call in (
        lambda: remixbench.train(workspace=tmp_path, system=f"{tmp_path / 'own.py'}:{name}", snr=20),
        lambda: register(name, Registered),
    ):
        with pytest.raises(InputError, match=rf"system '.{{,100}}': its name {problem}"):
            call()
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def trained(made: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the example that takes the waveform."""
    workspace = tmp_path_factory.mktemp("waveform")
    options = {"snr": 10, "epochs": 2, "precision": "32", "width": 0.25}
    return remixbench.train(workspace=workspace, dataset=made.path, system=f"{MEL128}:Mel128", **options)[0]  # type: ignore[arg-type]


def test_a_system_that_takes_the_waveform_has_its_own_frames(made: Dataset, trained: Path) -> None:
    system = remixbench.load_system(trained)
    rows = made.test_rows(4)
    with np.load(trained / "predictions" / "frames.npz") as frames:
        assert float(frames["frame_seconds"]) == 0.02
        assert frames["scores"].shape == (len(rows), 100, 4)
        outputs = [system.forward(made.audio(made.clips[row], 10)).frame_scores[0] for row in rows]
        np.testing.assert_allclose(frames["scores"], np.stack(outputs), atol=1e-6)


def test_its_scores_are_those_of_predict(made: Dataset, trained: Path) -> None:
    system = remixbench.load_system(trained)
    audio = made.audio(made.clips[-1], 10)
    prediction = system.predict(audio, 8000)
    assert prediction.frame_seconds == 0.02
    tags = (trained / "predictions" / "tags.csv").read_text().splitlines()[-1].split(",")
    np.testing.assert_allclose(prediction.tags, [float(score) for score in tags[1:]], atol=1e-5)
    long = system.predict(np.concatenate([audio, audio]), 8000)  # windows at 0, 1 and 2 s
    assert len(long.frames) == 200
    np.testing.assert_allclose(long.frames[:49], prediction.frames[:49], atol=1e-6)


def test_it_cannot_separate(trained: Path) -> None:
    with pytest.raises(InputError) as refused:
        remixbench.load_system(trained).separate(np.zeros(8000, np.float32), 8000)
    assert str(refused.value) == "the system 'Mel128' takes the waveform; separation needs one that takes log-mel"


def test_it_is_scored_probed_and_pictured(made: Dataset, trained: Path, tmp_path: Path) -> None:
    workspace = trained.parents[5]
    table = remixbench.score(trained, workspace=workspace, dataset=made, bootstrap=0).to_dataframe()
    assert {"micro_ap", "frame_ap"} <= set(table["metric"])
    predict_probes(trained, workspace=workspace, dataset=made, probe="snr")
    picture = remixbench.show(
        clip=made.clips[-1].id, workspace=workspace, dataset=made, run=trained, out=tmp_path / "clip.png"
    )
    assert picture.is_file()


def test_it_needs_no_log_mel(corpus: Path, tiny_recipe: remixbench.Recipe, tmp_path: Path) -> None:
    dataset = remixbench.make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=1, snr=10, features=False)
    options = {"workspace": tmp_path, "dataset": dataset, "snr": 10, "epochs": 1}
    folder = remixbench.train(system=f"{MEL128}:Mel128", augment="mixup", **options)[0]  # type: ignore[arg-type]
    assert json.loads((folder / "run.json").read_text())["status"] == "done"
    with pytest.raises(InputError, match="--augment specaugment: alters log-mel, but system 'Mel128' takes the wavef"):
        remixbench.train(system=f"{MEL128}:Mel128", augment="specaugment", **options)  # type: ignore[arg-type]
