"""Float32 is exact while we compute, whichever switches the caller has used; running out of memory says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from fake_dataset import fake_dataset
from torch import nn

from remixbench.cli import run
from remixbench.errors import InputError
from remixbench.inference.system import load_system
from remixbench.systems import Output, register, registry
from remixbench.systems.building import ClipShape
from remixbench.training.config import TrainConfig
from remixbench.training.device import exact_float32, process_number
from remixbench.training.train import train
from remixbench.training.trial import check_size

backends: Any = torch.backends


def switches() -> list[Any]:
    operators = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]
    return [*operators, backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn]


def set_switch(switch: Any, value: str) -> Callable[[], None]:
    return lambda: setattr(switch, "fp32_precision", value)


CHOICES: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "matmul": set_switch(backends.cuda.matmul, "tf32"),
    "everything": set_switch(backends, "tf32"),
    "convolutions": set_switch(backends.cudnn.conv, "tf32"),
    "cudnn": set_switch(backends.cudnn, "tf32"),
    "bfloat16 on the CPU": set_switch(backends.mkldnn.matmul, "bf16"),
    "the older switch": lambda: torch.set_float32_matmul_precision("high"),
}


@pytest.fixture(params=CHOICES)
def choice(request: pytest.FixtureRequest) -> Iterator[str]:
    """Make a caller's choice of precision, and undo it after the test."""
    general = [backends, backends.cudnn, backends.mkldnn]
    before = [(switch, switch.fp32_precision) for switch in (*general, *switches())]
    CHOICES[request.param]()
    yield request.param
    torch.set_float32_matmul_precision("highest")
    for switch, value in before:
        switch.fp32_precision = value


def test_float32_is_exact_inside_and_as_before_outside(choice: str) -> None:
    general = [backends, backends.cudnn, backends.mkldnn]
    before = [switch.fp32_precision for switch in (*general, *switches())]
    benchmark = backends.cudnn.benchmark
    with suppress(KeyboardInterrupt), exact_float32():
        assert {switch.fp32_precision for switch in switches()} == {"ieee"}
        assert backends.cudnn.benchmark
        raise KeyboardInterrupt
    assert [switch.fp32_precision for switch in (*general, *switches())] == before
    assert backends.cudnn.benchmark == benchmark
    if choice == "the older switch":
        assert torch.get_float32_matmul_precision() == "high"


def test_operators_that_followed_a_general_switch_still_do() -> None:
    backends.fp32_precision = "tf32"
    try:
        with exact_float32():
            pass
        assert backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        backends.fp32_precision = "none"
    assert backends.cuda.matmul.fp32_precision != "tf32"


@pytest.mark.usefixtures("choice", "one_thread")
def test_training_and_inference_run_whatever_the_caller_chose(tmp_path: Path) -> None:
    fake_dataset(tmp_path, clips_per_fold=6)
    (folder,) = train(workspace=tmp_path, system="crnn", snr=20, epochs=1, width=0.1)
    audio = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    assert load_system(folder).predict(audio, 8000).tags.shape == (5,)


class TooLarge(nn.Module):
    """Runs out of memory in its first forward pass, as the test has set it."""

    fails: ClassVar[Callable[[], object]]

    def __init__(self, n_mels: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(n_mels, classes)

    def forward(self, x: torch.Tensor) -> Output:
        frames = torch.sigmoid(self.layer(x))
        if self.training:
            type(self).fails()
        return Output(frames.mean(dim=1), frames)


def gpu_is_full() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 1.00 GiB free.")


def raising(error: Exception) -> Callable[[], object]:
    def fails() -> None:
        raise error

    return fails


OTHER_WORDS = [
    RuntimeError("could not create a primitive"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, max allowed: 9.07 GB)."),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported asynchronously"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    OSError(12, "Cannot allocate memory"),
]


@pytest.mark.parametrize(
    "fails", [lambda: torch.empty(2**60), lambda: np.ones(2**50), gpu_is_full, *map(raising, OTHER_WORDS)]
)
def test_out_of_memory_names_the_run_and_what_needs_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: Callable[[], object]
) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    register("too-large", TooLarge)
    TooLarge.fails = staticmethod(fails)
    fake_dataset(tmp_path)
    assert run(["--workspace", str(tmp_path), "-q", "train", "--system", "too-large", "--snr", "20"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("remixbench: too-large 20 dB fold 4 seed 0: the memory of this machine is not enough; ")
    assert "--batch-size than 8 or --width than 0.25" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("system", ["crnn", "2ap-aux"])
def test_a_network_that_no_memory_holds_is_refused_before_its_weights_are_drawn(
    monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    def drawn(*_: object, **__: object) -> None:
        raise AssertionError("its weights are drawn")

    monkeypatch.setattr("remixbench.training.trial.build_network", drawn)
    shape = ClipShape(classes=5, frames=32, n_mels=16)
    config = TrainConfig(system=system, snr=0, fold=1, width=1e4)
    with pytest.raises(InputError, match=r"million parameters at width 10000 do not fit into memory: .* free; give a"):
        check_size(config, shape, torch.device("cpu"))
    check_size(config.model_copy(update={"width": 0.25}), shape, torch.device("cpu"))
    # what is enough for the weights alone is not for training them
    monkeypatch.setattr("remixbench.training.trial.free_bytes", lambda _: 1e5)
    with pytest.raises(InputError, match=r"0\.0 GiB are free"):
        check_size(config.model_copy(update={"width": 1.0}), shape, torch.device("cpu"))


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"])
@pytest.mark.parametrize("value", ["two", "-1", "1.5", "1\n2"])
def test_a_variable_of_torchrun_that_is_no_number_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
) -> None:
    fake_dataset(tmp_path, clips_per_fold=6)
    monkeypatch.setenv(variable, value)
    assert run(["--workspace", str(tmp_path), "-q", "train", "--system", "crnn", "--snr", "20", "--epochs", "1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"remixbench: environment variable {variable} is '{value.split()[0]}")
    assert said.count("\n") == 1


def test_an_empty_variable_of_torchrun_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "")
    assert process_number("LOCAL_RANK") is None
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert process_number("LOCAL_RANK") == 3
