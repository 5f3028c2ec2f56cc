"""Damaged files for every reader: a share of what `tests/campaigns/fuzz.py` tries, whole with REMIXBENCH_FUZZ=1."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from paths import ROOT

from remixbench.errors import InputError, RemixbenchError

SCRIPT = ROOT / "tests" / "campaigns" / "fuzz.py"
INPUTS = round(20_000 * float(os.environ.get("REMIXBENCH_FUZZ", "0.05")))


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("remixbench_fuzz", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(SCRIPT.parent))  # where a script finds the modules beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPT.parent))
    return module


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_any_input_is_read_or_refused_in_one_line(fuzz: ModuleType, tmp_path: Path) -> None:
    counts, failures = fuzz.fuzz(INPUTS, seed=1, workspace=tmp_path)
    assert failures == []
    assert sum(each["tried"] for each in counts.values()) == INPUTS
    # damage that is never accepted, or always, tests nothing
    assert 0 < sum(each["accepted"] for each in counts.values()) < INPUTS / 2


def misbehaving(path: Path, how: str) -> None:
    if how == "traceback":
        raise IndexError("list index out of range")
    if how == "writes elsewhere":
        (path.parent / "elsewhere").write_text("x")
    if how == "executes":
        os.system("true")
    if how == "hangs":
        time.sleep(60)
    if how == "refuses":
        raise InputError("x: expected y")


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ("traceback", "IndexError"),
        ("writes elsewhere", "did what a reader must not"),
        ("executes", "os.system"),
        ("hangs", "took more than"),
        ("refuses", ""),
        ("reads", ""),
    ],
)
def test_what_is_wrong_is_noticed(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, fault: str
) -> None:
    monkeypatch.setattr(fuzz, "LIMIT", 0.2)
    folder = tmp_path / "inputs"
    folder.mkdir()
    accepted, found = fuzz.attempt(fuzz.Target("x", {}, lambda path: misbehaving(path, how)), folder)
    assert fault in found
    assert bool(found) == bool(fault)
    assert accepted == (how != "refuses")


def test_a_message_is_one_line_whatever_stands_in_it() -> None:
    for kind in (InputError, RemixbenchError):
        message = str(kind("a.csv: found 'x\n\x1b[31m\u202e\ud800y', expected z"))
        assert message == "a.csv: found 'x  [31m  y', expected z"
