"""Faults of every kind: a share of the cases of `tests/campaigns/faults.py`, more with REMIXBENCH_FAULTS=1000."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest
from paths import ROOT

CAMPAIGNS = ROOT / "tests" / "campaigns"
CASES = int(os.environ.get("REMIXBENCH_FAULTS", "8"))


@pytest.mark.slow
def test_every_fault_ends_in_a_result_or_in_one_line() -> None:
    command = [sys.executable, str(CAMPAIGNS / "faults.py"), "--cases", str(CASES), "--seed", "1"]
    families = ["kills", "full-disk", "permissions", "alterations", "metadata"]  # environments start a process each
    done = subprocess.run([*command, "--family", *families], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    tally = json.loads(done.stdout)
    assert tally["cases"] == CASES
    assert all(tally["families"][name]["cases"] for name in families)


@pytest.mark.parametrize(
    ("status", "output", "hung", "fault"),
    [
        (0, "done", False, ""),
        (2, "remixbench: x.csv: found 1, expected 2; restore it", False, ""),
        (1, "Traceback (most recent call last):\nremixbench: x", False, "traceback"),
        (-11, "", False, "traceback"),
        (1, "remixbench: internal error (KeyError)", False, "own fault"),
        (2, "remixbench: one\nremixbench: two", False, "more than one line"),
        (2, "", False, "more than one line"),
        (-9, "", True, "hang"),
    ],
)
def test_what_is_wrong_is_noticed(
    monkeypatch: pytest.MonkeyPatch, status: int, output: str, hung: bool, fault: str
) -> None:
    monkeypatch.syspath_prepend(str(CAMPAIGNS))
    outcome = importlib.import_module("fault_workspace").Outcome(status, output, hung)
    assert outcome.fault == fault
