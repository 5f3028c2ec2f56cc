"""What is computed on, how precisely, and what networks are asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from remixbench.errors import InputError
from remixbench.systems import build_system
from remixbench.training.data import ClipTensors, InputArray, Standardisation
from remixbench.training.device import TIMEOUT, Engine, choose_device, choose_precision, cpu_has_bf16
from remixbench.training.evaluate import evaluating, micro_average_precision, score_clips, score_frames

CPU = torch.device("cpu")


def some_clips(count: int) -> ClipTensors:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(count, 31, 16)).astype(np.float32)
    unit = Standardisation(np.zeros(16, np.float32), np.ones(16, np.float32))
    return ClipTensors([InputArray(features, unit)], draw.random((count, 5)) < 0.3, np.arange(count), CPU)


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        ("model name\t: A\nflags\t\t: fpu avx512f avx512_bf16 sse\n", True),
        ("model name\t: B\nflags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("model name\t: C\nflags\t\t: fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd bf16\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_used_where_the_processor_multiplies_it(cpuinfo: str, has: bool) -> None:
    assert cpu_has_bf16(cpuinfo) == has


def test_auto_follows_the_processor_and_explicit_precisions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remixbench.training.device._cpuinfo", lambda: "flags : avx512_bf16\n")
    assert [choose_precision(word, CPU) for word in ("auto", "32", "bf16")] == ["bf16", "32", "bf16"]
    monkeypatch.setattr("remixbench.training.device._cpuinfo", lambda: "flags : avx2\n")
    assert choose_precision("auto", CPU) == "32"


def machine_with(monkeypatch: pytest.MonkeyPatch, *, gpus: int = 0, apple: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)


def test_a_device_is_chosen_by_name_without_changing_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: pytest.fail("the current device is the caller's"))
    machine_with(monkeypatch, gpus=2, apple=True)
    names = {name: str(choose_device(name)) for name in ("auto", "cpu", "cuda", "cuda:1", "mps")}
    assert names == {"auto": "cuda:0", "cpu": "cpu", "cuda": "cuda:0", "cuda:1": "cuda:1", "mps": "mps"}
    assert choose_device("cuda", local_rank=1) == torch.device("cuda:1")
    machine_with(monkeypatch)
    assert choose_device("auto") == CPU


@pytest.mark.parametrize(
    ("device", "local_rank", "message"),
    [
        ("cuda:2", None, r"--device cuda:2: this machine has 2 GPU\(s\), the last is cuda:1"),
        ("cuda:1", 0, "torchrun gives each process a GPU of its own; use --device cuda"),
        ("cuda", 2, "process 3 of this machine has no GPU, there are 2; start fewer"),
        ("mps", None, "has no Apple GPU; use --device cpu"),
        ("gpu", None, "'gpu'"),
    ],
)
def test_a_device_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, device: str, local_rank: int | None, message: str
) -> None:
    machine_with(monkeypatch, gpus=2)
    with pytest.raises(InputError, match=message):
        choose_device(device, local_rank)


def test_evaluation_restores_the_mode_after_an_error_too() -> None:
    network = torch.nn.Dropout()

    def failing() -> None:
        with evaluating(network):
            assert not network.training
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        failing()
    assert network.training


def test_processes_that_lost_the_others_fail_within_an_hour() -> None:
    assert TIMEOUT.total_seconds() <= 3600


@pytest.mark.parametrize("system", ["gap", "gmp", "gwrp", "atrous-ap", "2ap-aux"])
@pytest.mark.usefixtures("one_thread")
def test_bfloat16_moves_scores_little(system: str) -> None:
    network = build_system(system, classes=5, frames=31, n_mels=16, width=0.25)
    plain, fast = (score_clips(network, some_clips(6), Engine(CPU, precision), 4) for precision in ("32", "bf16"))
    assert plain.dtype == fast.dtype == np.float32
    np.testing.assert_allclose(fast, plain, atol=0.02)
    assert system in ("2ap-aux", "atrous-ap") or (fast != plain).any()  # or else bfloat16 was not used


def test_scores_do_not_depend_on_the_batch_and_the_mode_is_put_back() -> None:
    network = build_system("gap", classes=5, frames=31, n_mels=16, width=0.25)
    clips, engine = some_clips(7), Engine(CPU, "32")
    tags, frames = score_frames(network, clips, engine, 3)
    assert network.training
    np.testing.assert_allclose(score_clips(network, clips, engine, 7), tags, atol=1e-6)
    highest = score_frames(network, clips, engine, 2, keep="highest")[1]
    np.testing.assert_allclose(highest, frames.max(axis=1), atol=1e-6)


@pytest.mark.parametrize("decimals", [1, 9])
def test_micro_average_precision_is_scikit_learns_to_the_last_bit(decimals: int) -> None:
    draw = np.random.default_rng(1)
    for clips, classes in draw.integers(1, 60, (50, 2)):
        weak = draw.random((clips, classes)) < 0.2
        weak[0, 0] = True
        tags = draw.random((clips, classes)).round(decimals).astype(np.float32)
        assert micro_average_precision(weak, tags) == average_precision_score(weak, tags, average="micro")
    assert micro_average_precision(np.zeros((3, 2), bool), np.ones((3, 2), np.float32)) == 0
