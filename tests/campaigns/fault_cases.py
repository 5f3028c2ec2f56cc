"""The families of `faults.py`: each disturbs a copy of the workspace, runs a command, and returns what was wrong."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from damage import damaged, twisted
from fault_workspace import HANGS_AFTER, MAKE, SCORE, TRAIN, Outcome, contents, in_process

from remixbench.files import write_sealed

OTHER = (*TRAIN, "--seed", "1")
"""A training that is not done before."""
VERIFY = ("verify",)
PREDICT = ("predict", "runs/tiny/gap/snr_0/fold_2/seed_0", "sources/scenes/bus/00.wav")
THIRD = ("score", "tags.csv", "frames.npz", "--name", "mine", "--snr", "0", "--fold", "2", "--bootstrap", "0")
ADD = ("score", "--add", "submission.json")
SHOW = ("show", "00001", "--out", "shown.svg")
RUN = "runs/tiny/gap/snr_0/fold_2/seed_0"
DATASET = "datasets/tiny"
LABELS = ("labels/weak.tsv", "labels/strong.tsv", "labels/durations.tsv", "labels/levels.csv", "digests.csv",
          "recordings.csv", "ATTRIBUTION.csv", "logmel_digests.csv", "stems_digests.csv")  # fmt: skip


@dataclass
class Case:
    """A copy of the workspace, what is drawn for it, and what came of it: what was done, whether it was refused."""

    base: Path
    folder: Path
    draw: random.Random
    what: str = ""
    shown: str = ""
    refused: bool = False

    def path(self, name: str) -> Path:
        """Return a file of the copy."""
        return self.folder / name

    def judged(self, done: Outcome) -> str:
        """Keep what a command printed, and return what was wrong with how it ended."""
        self.shown, self.refused = done.output[-1500:], done.status != 0
        return done.fault


def prepare(base: Path, folder: Path, draw: random.Random) -> Case:
    """Copy the workspace."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    return Case(base, folder, draw)


def undone(case: Case, command: tuple[str, ...]) -> tuple[str, ...]:
    """Remove what a command writes, so that it has something to do; returns the folders in which that lies."""
    if command[0] == "make":
        for name in ("datasets", "runs", "leaderboard"):
            shutil.rmtree(case.path(name))
        return ("datasets",)
    if command[0] == "train":
        shutil.rmtree(case.path("runs"))
        return ("runs",)
    shutil.rmtree(case.path("leaderboard"))
    case.path(f"{RUN}/metrics.json").unlink()
    return ("leaderboard", "runs")


def recovered(case: Case, command: tuple[str, ...], folders: tuple[str, ...]) -> str:
    """Run the command again undisturbed: it must leave what it leaves in a workspace that was never disturbed."""
    done = in_process(command, case.folder)
    if done.status != 0:
        case.shown = done.output[-1500:]
        return done.fault or "lost"
    skip = "metrics.json" if command[0] == "train" else "/never"
    expected, actual = (
        {name: data for name, data in contents(folder).items() if name.startswith(folders) and skip not in name}
        for folder in (case.base, case.folder)
    )
    different = sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))
    case.shown = f"differ: {', '.join(different[:5])}"
    return "lost" if different else ""


def killed(case: Case) -> str:
    """SIGKILL a command once or twice, at a random moment or at a random rename."""
    command = case.draw.choice((MAKE, MAKE, TRAIN, SCORE))
    folders = undone(case, command)
    for _ in range(case.draw.choice((1, 1, 2))):
        if case.draw.random() < 0.5:
            seconds = case.draw.uniform(0, 1.0)
            case.what += f"{command[0]} killed after {seconds:.3f} s; "
            in_process(command, case.folder, kill_after=seconds)
        else:
            number, before = case.draw.randrange(1, 30), case.draw.random() < 0.5
            case.what += f"{command[0]} killed {'before' if before else 'after'} rename {number}; "
            in_process(command, case.folder, lambda n=number, b=before: _die_at_rename(n, b))  # type: ignore[misc]  # types of defaults
    return recovered(case, command, folders)


def _die_at_rename(number: int, before: bool) -> None:
    replace, count = os.replace, 0

    def counting(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count == number and before:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = counting  # type: ignore[assignment]  # replaced on purpose


def full_disk(case: Case) -> str:
    """Let no file grow beyond a random size."""
    command = case.draw.choice((MAKE, TRAIN, SCORE, SCORE))
    folders, size = undone(case, command), int(10 ** case.draw.uniform(0, 5.3))
    case.what = f"{command[0]} with at most {size} bytes a file"
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    done = in_process(command, case.folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard)))
    wrong = case.judged(done)
    if not wrong and done.status != 0 and "File too large" not in done.output:
        wrong = "own fault"
    return wrong or recovered(case, command, folders)


def denied(case: Case) -> str:
    """Let the operating system deny a file, or all of a folder."""
    command = case.draw.choice((MAKE, TRAIN, OTHER, SCORE, THIRD, ADD, PREDICT, SHOW, VERIFY))
    target = case.draw.choice(sorted(case.folder.rglob("*")))
    how = case.draw.choice(("read", "write", "both"))
    case.what = f"{command[0]}, {target.relative_to(case.folder)} denied to {how}"
    place = str(target.resolve())

    def deny() -> None:
        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event not in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove"):
                return
            writes = event in ("os.mkdir", "os.rename", "os.remove")
            if event == "open":
                mode, flags = arguments[1] or "", arguments[2] or 0
                writes = bool(set("wax+") & set(mode)) or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if how in ("both", "write" if writes else "read"):
                for path in arguments[: 2 if event == "os.rename" else 1]:
                    if isinstance(path, str | bytes | os.PathLike):
                        full = os.path.abspath(os.fsdecode(path))
                        if full == place or full.startswith(place + "/"):
                            raise PermissionError(13, "Permission denied", full)

        sys.addaudithook(hook)

    wrong = case.judged(in_process(command, case.folder, deny))
    return wrong or recovered(case, MAKE, ("datasets",))


# --- alterations


def exchange(one: Path, other: Path) -> None:
    """Exchange the content of two files."""
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)


def other_field(draw: random.Random, path: Path) -> None:
    """Replace a field of a table by another of its column, or a number by another."""
    separator = "\t" if path.suffix == ".tsv" else ","
    rows = [line.split(separator) for line in path.read_text().splitlines()]
    places = [(r, c) for r in range(1, len(rows)) for c in range(len(rows[r])) if rows[r][c]]
    while True:
        row, column = draw.choice(places)
        value = draw.choice(rows[1:])[min(column, len(rows[1]) - 1)]
        if rows[row][column].replace(".", "").isdigit() and draw.random() < 0.5:
            value = str(float(rows[row][column]) + 0.125)
        if value and value != rows[row][column]:
            rows[row][column] = value
            path.write_text("\n".join([*map(separator.join, rows), ""]))
            return


def other_value(draw: random.Random, value: Any) -> Any:
    """Return a JSON value with one of its leaves changed to another of its type."""
    if isinstance(value, dict) and value:
        key = draw.choice(sorted(value))
        return value | {key: other_value(draw, value[key])}
    if isinstance(value, list) and value:
        place = draw.randrange(len(value))
        return [*value[:place], other_value(draw, value[place]), *value[place + 1 :]]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else value / 2 + 0.1
    if isinstance(value, str) and value:
        return value[:-1] + ("0" if value[-1] != "0" else "1")
    return "x" if value is None or isinstance(value, str) else [0]


def edit_json(draw: random.Random, path: Path, keys: tuple[str, ...] = ()) -> str:
    """Change one value of a JSON file, below one of `keys` where given; returns the key."""
    content = json.loads(path.read_text())
    key = draw.choice(keys or sorted(content))
    content[key] = other_value(draw, content[key])
    path.write_text(json.dumps(content))
    return key


def altered(case: Case) -> str:
    """Alter a file so that it stays well-formed; the first command that uses it must notice."""
    draw, data = case.draw, case.path(DATASET)
    audio = sorted((data / "snr_0" / "audio").iterdir())
    kind = draw.randrange(13)
    command, name = SCORE, ""
    if kind == 0:
        one, other = draw.sample(audio, 2)
        exchange(one, other)
        command, name = VERIFY, one.name
    elif kind == 1:
        path = draw.choice(audio)
        samples, rate = soundfile.read(path, dtype="int16")
        samples[draw.randrange(len(samples))] ^= 1
        soundfile.write(path, samples, rate, subtype="PCM_16")
        command, name = VERIFY, path.name
    elif kind == 2:
        logmel = np.load(data / "snr_0" / "logmel.npy")
        one_row, other_row = draw.sample(range(len(logmel)), 2)
        logmel[[one_row, other_row]] = logmel[[other_row, one_row]]
        np.save(data / "snr_0" / "logmel.npy", logmel)
        command, name = OTHER, "logmel.npy"
    elif kind in (3, 4):
        name = draw.choice(LABELS)
        other_field(draw, data / name)
        command = draw.choice((SCORE, OTHER, SHOW))
    elif kind == 5:
        name = f"manifest/{draw.choice(('clips.csv', 'events.csv', 'roles.csv'))}"
        other_field(draw, data / name)
        command, name = draw.choice((SCORE, OTHER)), "manifest"
    elif kind == 6:
        keys = [key for key in json.loads((data / "dataset.json").read_text()) if key not in ("made", "created")]
        name, command = "dataset.json", draw.choice((SCORE, OTHER, SHOW))
        case.what = edit_json(draw, data / name, tuple(keys))
    elif kind == 7:
        name = "run.json"
        case.what = edit_json(draw, case.path(RUN) / name)
        command = draw.choice((SCORE, PREDICT))
    elif kind == 8:
        name = "metrics.json"
        case.what = edit_json(draw, case.path(RUN) / name)
    elif kind == 9:
        name = draw.choice(("tags.csv", "frames.npz", "maps.npz"))
        path = case.path(RUN) / "predictions" / name
        if name == "tags.csv":
            other_field(draw, path)
        else:
            arrays = dict(np.load(path))
            key = "scores" if "scores" in arrays else "maps"
            arrays[key] = arrays[key][:, ::-1]
            np.savez(path, **arrays)
        name = "predictions"
    elif kind == 10:
        one, other = draw.sample(sorted((data / "snr_0" / "stems").iterdir()), 2)
        exchange(one, other)
        case.path(f"{RUN}/metrics.json").unlink()
        command, name = draw.choice((SCORE, VERIFY)), one.name
        case.what = f"with {other.name} "
    elif kind == 11:
        name, command = "submission.json", ADD
        edit_json(draw, case.path(name))
    else:
        name = "sources"
        for path in (case.path(name) / "scenes").rglob("*.wav"):
            samples, rate = soundfile.read(path)
            soundfile.write(path, samples[::-1], rate)
        if draw.random() < 0.5:
            command = (*MAKE, "--snr", "10")
        else:  # everything made anew: the run is of other audio
            shutil.rmtree(data)
            in_process(MAKE, case.folder)
    case.what = f"{name} altered {case.what}: {' '.join(command)[:60]}"
    before = contents(case.folder)
    done = in_process(command, case.folder)
    wrong = case.judged(done)
    noticed = done.status != 0 or name in done.output or is_harmless(case, command, before)
    return wrong or ("" if noticed else "unnoticed")


def is_harmless(case: Case, command: tuple[str, ...], before: dict[str, bytes]) -> bool:
    """Say whether a command that succeeded on altered files (`before`) never used them.

    Its results must be those of the undisturbed workspace, and what is still altered must be in the data set, where
    `verify` finds it.
    """
    undisturbed = case.folder.with_name("undisturbed")
    shutil.rmtree(undisturbed, ignore_errors=True)
    shutil.copytree(case.base, undisturbed)
    in_process(command, undisturbed)
    expected, actual = contents(undisturbed), contents(case.folder)
    different = {name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name)}
    if not different:
        return True  # made again
    unused = all(name.startswith("datasets/") and actual.get(name) == before.get(name) for name in different)
    return unused and in_process(VERIFY, case.folder).status == 1


# --- malformed metadata

READ_BY: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    (f"{DATASET}/dataset.json", (SCORE, OTHER, MAKE, VERIFY, SHOW)),
    (f"{DATASET}/manifest/clips.csv", (SCORE, OTHER, MAKE, VERIFY)),
    (f"{DATASET}/manifest/events.csv", (SCORE, OTHER, MAKE, VERIFY)),
    (f"{DATASET}/manifest/roles.csv", (SCORE, OTHER, MAKE, VERIFY)),
    *((f"{DATASET}/{name}", (SCORE, MAKE, VERIFY, SHOW)) for name in LABELS),
    (f"{DATASET}/snr_0/logmel.npy", (OTHER, MAKE, VERIFY, SHOW)),
    (f"{DATASET}/snr_0/audio/00001.wav", (MAKE, VERIFY, SHOW)),
    (f"{DATASET}/snr_0/stems/00001.wav", (MAKE, VERIFY, SHOW, SCORE)),
    (f"{RUN}/run.json", (SCORE, TRAIN, PREDICT, ADD)),
    (f"{RUN}/metrics.json", (SCORE, ADD, THIRD)),
    (f"{RUN}/model.safetensors", (PREDICT, TRAIN)),
    (f"{RUN}/predictions/tags.csv", (SCORE, ADD)),
    (f"{RUN}/predictions/frames.npz", (SCORE, ADD)),
    (f"{RUN}/predictions/maps.npz", (SCORE, ADD)),
    ("recipe.yaml", (MAKE, (*MAKE, "--out", "new"), ("plan", "--recipe", "recipe.yaml", "--out", "planned"))),
    ("submission.json", (ADD,)),
    ("tags.csv", (THIRD,)),
    ("frames.npz", (THIRD,)),
    ("sources/scenes/bus/00.wav", (PREDICT, (*MAKE, "--out", "new"))),
    ("sources/events/Bark/00.wav", ((*MAKE, "--out", "new"),)),
)


def malformed(case: Case) -> str:
    """Damage a file, or put a pipe, device, folder or sparse file of a terabyte in its place."""
    name, commands = case.draw.choice(READ_BY)
    command, path = case.draw.choice(commands), case.path(name)
    if case.draw.random() < 0.15:
        case.what = replace(case.draw, path)
    else:
        case.what = "damaged"
        path.write_bytes(spoilt(case.draw, path))
    case.what = f"{name} {case.what}: {' '.join(command)[:60]}"
    return case.judged(in_process(command, case.folder))


def spoilt(draw: random.Random, path: Path) -> bytes:
    """Return a damaged copy of a file; half of the JSON files with a digest that fits."""
    data = path.read_bytes()
    if path.suffix != ".json" or draw.random() < 0.3:
        return damaged(data, draw)
    value = json.loads(data)
    for _ in range(draw.choice((1, 1, 2, 3))):
        value = twisted(value, draw)
    if isinstance(value, dict) and draw.random() < 0.7:
        return resealed(path, value)
    return json.dumps(value).encode()


def resealed(path: Path, value: dict[str, Any]) -> bytes:
    """Return a JSON file with the digest of its content, as a forger would write it."""
    from remixbench.dataset.info import info_digest
    from remixbench.files import content_digest

    try:
        if path.name == "run.json":
            write_sealed(path, {key: each for key, each in value.items() if key != "content_digest"})
            return path.read_bytes()
        rest = {key: each for key, each in value.items() if key != "digest"}
        for record in rest.get("records") or () if path.name == "submission.json" else ():
            record["digest"] = content_digest(record)
        digest = info_digest(rest) if path.name == "dataset.json" else content_digest(rest)
        return json.dumps(rest | {"digest": digest}).encode()
    except (ValueError, TypeError, AttributeError):  # NaN has no digest; records may be anything
        return json.dumps(value).encode()


def replace(draw: random.Random, path: Path) -> str:
    """Put something that is no file in the place of one; returns what."""
    kind = draw.choice(("pipe", "device", "folder", "terabyte", "loop", "empty"))
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40 if kind == "terabyte" else 0)
    return f"is a {kind}"


# --- environments

ENVIRONMENTS: tuple[dict[str, str], ...] = (
    *({"PYTHONIOENCODING": name} for name in ("ascii", "latin-1", "cp1252", "koi8-r", "utf-16", "ascii:strict")),
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"COLUMNS": "1"}, {"COLUMNS": "x"}, {"TERM": "dumb"}, {"HOME": "/nonexistent"}, {"TMPDIR": "/nonexistent"},
    {"OMP_NUM_THREADS": "x"}, {"REMIXBENCH_WORKSPACE": ""}, {"FORCE_COLOR": "1"},
    {"PYTHONHASHSEED": "1"},
)  # fmt: skip
NAMES = ("a b", "größe", "a\nb", "-x", "a" * 100, os.fsdecode(b"\xff"), "$(x)", "'", "*", "%s", "\u202e")
OUTPUTS: tuple[tuple[str, Callable[[], None]], ...] = (
    ("full standard output", lambda: _redirect("/dev/full", 1)),
    ("full standard error", lambda: _redirect("/dev/full", 2)),
    ("closed standard output", lambda: os.close(1)),
    ("closed standard error", lambda: os.close(2)),
    ("closed standard input", lambda: os.close(0)),
)


def _redirect(path: str, to: int) -> None:
    os.dup2(os.open(path, os.O_WRONLY), to)


def odd_environment(case: Case) -> str:
    """Run a command with odd environment variables, outputs, or a workspace of an odd name."""
    command = case.draw.choice((SCORE, THIRD, VERIFY, ADD, SHOW, ("systems",), ("recipes",)))
    env, before, folder = {}, None, case.folder
    kind = case.draw.randrange(4)
    if kind < 2:
        env = case.draw.choice(ENVIRONMENTS)
        case.what = f"{env}"
    elif kind == 2:
        case.what, before = case.draw.choice(OUTPUTS)
    else:
        folder = case.folder.parent / case.draw.choice(NAMES)
        shutil.rmtree(folder, ignore_errors=True)
        case.folder.rename(folder)
        case.what = f"workspace {folder.name!r}"
    case.what += f": {' '.join(command)[:60]}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "remixbench", "--workspace", str(folder), *command], cwd=folder,
            env={**os.environ, **env}, preexec_fn=before, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=HANGS_AFTER, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "hang"
    finally:
        if folder != case.folder:
            folder.rename(case.folder)
    encoding = "utf-16" if env.get("PYTHONIOENCODING") == "utf-16" else "utf-8"
    output = (done.stdout + b"\n" + done.stderr).decode(encoding, "replace")
    wrong = case.judged(Outcome(done.returncode, output))
    return "" if wrong == "more than one line" and kind == 2 else wrong  # there is nowhere to say it
