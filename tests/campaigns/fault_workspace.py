"""The workspace that `faults.py` disturbs, and how a command is run on it in a process of its own."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from remixbench.cli import run

RECIPE = """\
name: tiny
description: noise and tones
scenes: {source: folder, folder: scenes}
events: {source: folder, folder: events}
plan: {folds: 2, clips_per_fold: 9, polyphony: 2, onsets: drawn, max_event: 0.5, validation: 0.3}
mix: {sample_rate: 8000, duration: 2, snrs: [0]}
features: {n_fft: 256, hop_length: 256, n_mels: 12, fmin: 50}
training: {epochs: 2, batch_size: 8}
"""
MAKE = ("make", "--recipe", "recipe.yaml", "--jobs", "1", "--stems")
TRAIN = ("train", "--system", "gap", "--fold", "2", "--width", "0.05", "--device", "cpu", "--precision", "32")
SCORE = ("score", "--bootstrap", "10", "--jobs", "1")
SUBMIT = ("score", "--bootstrap", "10", "--jobs", "1", "--submission", "submission.json")
HANGS_AFTER = 180.0
"""Seconds after which a command of a fraction of a second counts as hanging; generous for busy machines."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit status (negative: a signal), what it printed, whether it had to be ended."""

    status: int
    output: str
    hung: bool = False

    @property
    def fault(self) -> str:
        """What must never be: a traceback, a fault of ours, a hang, a refusal of more than one line; "" if none."""
        errors = [line for line in self.output.splitlines() if line.startswith("remixbench: ")]
        if self.hung:
            return "hang"
        if "Traceback (most recent call last)" in self.output or self.status < 0:
            return "traceback"
        if "internal error (" in self.output:
            return "own fault"
        differences = self.status == 1 and " difference" in self.output  # what `verify` reports, on standard output
        return "more than one line" if self.status > 0 and len(errors) != 1 and not differences else ""


def in_process(
    arguments: tuple[str, ...],
    workspace: Path,
    first: Callable[[], object] = lambda: None,
    kill_after: float | None = None,
) -> Outcome:
    """Run a command in a forked process, in the folder of the workspace, after calling `first` there."""
    sys.stdout.flush()
    reading, writing = os.pipe()  # not a file, whose size a case may limit
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            os.close(reading)
            os.chdir(workspace)
            first()
            status = run(["--workspace", ".", *arguments])
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    os.close(writing)
    deadline = time.monotonic() + (HANGS_AFTER if kill_after is None else kill_after)
    printed, hung = b"", False
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reading], [], [], left)[0]:
            hung = True
            os.kill(child, signal.SIGKILL)
            break
        if not (data := os.read(reading, 65536)):
            break
        printed += data
    os.close(reading)
    ended = os.waitpid(child, 0)
    return Outcome(os.waitstatus_to_exitcode(ended[1]), printed.decode(errors="replace"), hung and kill_after is None)


def preload() -> None:
    """Import what commands import, once for all the processes forked from this one."""
    package = importlib.import_module("remixbench")
    modules = [module.name for module in pkgutil.walk_packages(package.__path__, "remixbench.")]
    libraries = ("librosa.core.audio", "librosa.filters", "matplotlib.backends.backend_svg", "pandas", "pyloudnorm",
                 "scipy.optimize")  # fmt: skip
    for name in (*modules, *libraries):
        if not name.endswith("__main__"):
            importlib.import_module(name)


def make_workspace(folder: Path) -> Path:
    """Make recordings, a data set, a run, its record, a submission and predictions of a third party."""
    preload()
    torch.set_num_threads(1)
    write_recordings(folder / "sources")
    (folder / "recipe.yaml").write_text(RECIPE)
    for arguments in (MAKE, TRAIN, SUBMIT):
        done = in_process(arguments, folder)
        if done.status != 0:
            raise SystemExit(f"{arguments[0]} failed on an undisturbed workspace; fix this script\n{done.output}")
    (run_json,) = (folder / "runs").rglob("run.json")
    for name in ("tags.csv", "frames.npz"):
        (folder / name).write_bytes((run_json.parent / "predictions" / name).read_bytes())
    return folder


def write_recordings(sources: Path) -> None:
    """Write noise as scenes of two kinds and tones as events of three."""
    draw = np.random.default_rng(0)
    for number in range(16):
        path = sources / "scenes" / ("park" if number % 2 else "bus") / f"{number:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, draw.normal(0, 0.05, 16000), 8000)
    time_s = np.arange(4000) / 8000
    for number in range(36):
        path = sources / "events" / ("Bark", "Bell", "Cough")[number % 3] / f"{number:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * draw.uniform(200, 3000) * time_s), 8000)


TIMES = ("made", "created", "started", "finished", "seconds", "content_digest")


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a workspace that a command writes, without times, and what follows from them."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or "/." in f"/{name}" or not name.startswith(("datasets", "runs", "leaderboard")):
            continue
        data = path.read_bytes()
        if path.name in ("dataset.json", "run.json"):
            value = json.loads(data)
            value.get("results", {}).pop("history.csv", None)  # it holds times
            data = json.dumps({key: content for key, content in value.items() if key not in TIMES}).encode()
        elif path.name == "history.csv":
            data = b"\n".join(line.rsplit(b",", 1)[0] for line in data.splitlines())
        files[name] = data
    return files
