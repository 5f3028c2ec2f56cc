"""Damaged and hostile files for every reader: each must be read, or refused in one line.

    python tests/campaigns/fuzz.py [--inputs 20000] [--seed 0]

Valid files of every kind are made (a tiny data set of the recipe `mini`, a run on it, predictions, a submission,
tables, audio), then damaged at random: bits, bytes, lines, fields, values of JSON, numbers that are too large, names
that lead elsewhere. A failure is any exception but remixbench's own, a message of more than one line, more than LIMIT
seconds, a file written outside the workspace while reading, or an attempt to execute anything or to reach the network.
Prints what failed with the bytes that did it (base64), and a JSON object of the counts; ends with status 1 if anything
failed.
"""

from __future__ import annotations

import argparse
import base64
import collections
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from damage import damaged, twisted

import remixbench
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.manifest import read_manifest
from remixbench.errors import RemixbenchError
from remixbench.files import content_digest
from remixbench.inference.system import prepare
from remixbench.leaderboard.evaluate import References
from remixbench.leaderboard.record import read_record
from remixbench.leaderboard.submission import check_submission, read_submission
from remixbench.recipe import load_recipe, parse_recipe, recipes
from remixbench.scoring import read_predictions, read_reference, score_predictions
from remixbench.scoring.io import MAPS
from remixbench.scoring.maps import read_maps
from remixbench.sources import load_catalogues
from remixbench.sources.audio import read_audio
from remixbench.sources.download.select import list_urls
from remixbench.training.model_file import read_model
from remixbench.training.run_files import read_checkpoint, read_run, write_checkpoint

LIMIT = 30.0
"""Seconds that one small file may take."""


@dataclass(frozen=True)
class Target:
    """A reader: the valid files it is shown, and how it is called with the folder that holds a damaged copy."""

    name: str
    files: dict[str, bytes]
    read: Callable[[Path], object]
    reseal: Callable[[Any], None] | None = None


def spoilt(target: Target, name: str, draw: random.Random) -> bytes:
    """Return a damaged copy of one file of a target."""
    data = target.files[name]
    if not name.endswith(".json") or draw.random() < 0.3:
        return damaged(data, draw)
    value = json.loads(data)
    for _ in range(draw.choice((1, 1, 2, 3))):
        value = twisted(value, draw)
    if target.reseal is not None and isinstance(value, dict) and draw.random() < 0.8:
        target.reseal(value)
    return json.dumps(value).encode("utf-8")


class Watch:
    """Notes every file written outside a folder, and everything executed, while it is on."""

    def __init__(self) -> None:
        self.inside = ""
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.inside:
            return
        if event in (
            "os.system",
            "subprocess.Popen",
            "os.exec",
            "os.posix_spawn",
            "pickle.find_class",
            "socket.connect",
        ):
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            mode, flags = arguments[1] or "", arguments[2] or 0
            if set("wax+") & set(mode) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._check(event, arguments[0])
        elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"):
            self._check(event, arguments[0])

    def _check(self, event: str, path: str | bytes) -> None:
        full = os.path.abspath(os.fsdecode(path))
        if not full.startswith(self.inside) and full != os.devnull:
            self.seen.append(f"{event} {full}")

    @contextmanager
    def over(self, folder: Path) -> Iterator[list[str]]:
        self.seen = []
        self.inside = str(folder.resolve())
        try:
            yield self.seen
        finally:
            self.inside = ""


WATCH = Watch()


class TooLongError(BaseException):
    """A reader took more than LIMIT seconds; no reader can catch it by mistake."""


def _too_long(*_: object) -> None:
    raise TooLongError


def attempt(target: Target, folder: Path) -> tuple[bool, str]:
    """Read once; returns whether the input was accepted, and what was wrong with how it was treated."""
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    accepted, fault = True, ""
    try:
        with warnings.catch_warnings(), WATCH.over(folder) as seen:
            warnings.simplefilter("ignore")
            try:
                target.read(folder)
            except RemixbenchError as error:
                accepted = False
                if len(str(error).splitlines()) != 1:
                    fault = f"a message of {len(str(error).splitlines())} lines: {str(error)!r:.300}"
        if seen:
            fault = f"did what a reader must not: {seen[0]}"
    except TooLongError:
        fault = f"took more than {LIMIT:g} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{type(error).__name__}: {error!s:.200} ({Path(last.filename).name}, line {last.lineno})"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return accepted, fault


def targets(workspace: Path) -> list[Target]:
    """Make valid files of every kind below `workspace` and return the readers with them."""
    dataset = remixbench.make(workspace=workspace, recipe="mini", clips_per_fold=2, snr=0, jobs=1, stems=True)
    assert dataset is not None
    (run,) = remixbench.train(
        workspace=workspace, dataset=dataset, system="gap", epochs=1, width=0.05, precision="32", device="cpu"
    )
    submission = workspace / "submission.json"
    remixbench.score(run, workspace=workspace, dataset=dataset, bootstrap=5, submission=submission)
    return [
        *_input_targets(workspace),
        *_data_targets(dataset),
        *_run_targets(run),
        *_handed_in(dataset, run, submission),
    ]


def _input_targets(workspace: Path) -> list[Target]:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (800, 2))
    audio = {}
    for name, subtype in (
        ("a.wav", "PCM_16"),
        ("b.wav", "PCM_24"),
        ("c.flac", "PCM_16"),
        ("d.ogg", "VORBIS"),
        ("e.wav", "FLOAT"),
    ):
        soundfile.write(workspace / name, noise, 16000, subtype=subtype)
        audio[name] = (workspace / name).read_bytes()
    soundfile.write(workspace / "f.mp3", noise, 16000)
    audio["f.mp3"] = (workspace / "f.mp3").read_bytes()

    def recipe(folder: Path) -> None:
        load_recipe(folder / "r.yaml")

    def read_all_audio(folder: Path) -> None:
        (path,) = folder.iterdir()
        samples, rate = read_audio(path)
        prepare(samples, rate, 16000, str(path))

    tau, fsd = (
        "TAU-urban-acoustic-scenes-2019-development/meta.csv",
        "FSDKaggle2018/FSDKaggle2018.meta/train_post_competition.csv",
    )
    scenes = "filename\tscene_label\tidentifier\tsource_label\n" + "".join(
        f"audio/park-x-{n}-a.wav\tpark\tx-{n}\ta\n" for n in range(4)
    )
    events = "fname,label,manually_verified,freesound_id,license\n" + "".join(
        f"{n:08x}.wav,Bark,1,{n * 50},Attribution\n" for n in range(4)
    )
    real = load_recipe("remix2019")
    own = parse_recipe(
        {"name": "own", "description": "x", "scenes": {"source": "folder", "folder": "s", "table": "t.csv"},
         "events": {"source": "folder", "folder": "e", "table": "t.tsv", "columns": {"origin": "who"}}},
        "own",
    )  # fmt: skip
    return [
        *(Target("recipe", {"r.yaml": path.read_bytes()}, recipe) for path in recipes().values()),
        *(Target(f"audio {Path(name).suffix[1:]}", {name: data}, read_all_audio) for name, data in audio.items()),
        Target("tables as published", {tau: scenes.encode(), fsd: events.encode()}, lambda f: load_catalogues(real, f)),
        Target(
            "tables of folders",
            {
                "s/t.csv": b"file,label\na.wav,park\nb.wav,bus\n",
                "e/t.tsv": b"file\tlabel\twho\na.wav\tBark\t1\nb.wav\tBus\t2\n",
            },
            lambda f: load_catalogues(own, f),
        ),
        Target(
            "checksums",
            {"md5sums.txt": b"a8b47ff4b52022c178f88fa5c6f080d0  FSDKaggle2018.meta.zip\n"},
            lambda f: list_urls("fsdkaggle2018", mirror="http://127.0.0.1:9", checksums=f / "md5sums.txt"),
        ),
    ]  # fmt: skip


def _data_targets(dataset: Dataset) -> list[Target]:
    path = dataset.path
    manifest = {name: (path / "manifest" / name).read_bytes() for name in ("clips.csv", "events.csv")}
    roles = ["clip_id,fold_1,fold_2,fold_3,fold_4"] + [
        ",".join([clip.id, *("test" if k == clip.fold else "train" for k in range(1, 5))]) for clip in dataset.clips
    ]
    labels = {name: (path / "labels" / name).read_bytes() for name in ("strong.tsv", "weak.tsv", "durations.tsv")}
    whole = {name: (path / name).read_bytes() for name in ("dataset.json", *dataset.info.files)}
    whole |= {f"manifest/{name}": content for name, content in manifest.items()}
    names = [dataset.filenames[row] for row in range(4)]
    return [
        Target("manifest", manifest | {"roles.csv": ("\n".join(roles) + "\n").encode()}, read_manifest),
        Target("labels", labels, lambda f: read_reference(f, names, dataset.classes)),
        Target("data set", whole, Dataset.open),
    ]


def _run_targets(run: Path) -> list[Target]:
    write_checkpoint(run, "digest", {"epoch": 1, "weights": {"a": __import__("torch").zeros(3)}})
    files = {
        name: (run / name).read_bytes() for name in ("run.json", "model.safetensors", "metrics.json", "checkpoint.pt")
    }
    return [
        Target("run.json", {"run.json": files["run.json"]}, read_run),
        Target(
            "model.safetensors",
            {"m.safetensors": files["model.safetensors"]},
            lambda f: read_model(f / "m.safetensors"),
        ),
        Target("metrics.json", {"metrics.json": files["metrics.json"]}, lambda f: read_record(f / "metrics.json")),
        Target("checkpoint.pt", {"checkpoint.pt": files["checkpoint.pt"]}, lambda f: read_checkpoint(f, "digest")),
    ]


def _handed_in(dataset: Dataset, run: Path, submission: Path) -> list[Target]:
    references = References(dataset)
    reference = references.fold(4).reference

    def predicted(path: Path) -> None:
        score_predictions(reference, read_predictions(path, reference), bootstrap=0)

    def submitted(folder: Path) -> None:
        file = folder / "submission.json"
        check_submission(read_submission(file), file, references)

    def reseal(body: dict[str, Any]) -> None:
        with suppress(ValueError, TypeError, AttributeError):  # NaN has no digest; records may be anything
            for record in body.get("records") or ():
                record["digest"] = content_digest(record)
            body["digest"] = content_digest(body)

    arrays = np.load(run / "predictions" / "frames.npz")
    header = "\t".join(["onset", "offset", *dataset.classes])
    step = dataset.recipe.frame_seconds
    tables = {}
    for name, scores in zip(arrays["filename"], arrays["scores"], strict=True):
        rows = ["\t".join([f"{i * step:.6f}", f"{(i + 1) * step:.6f}", *map(str, row)]) for i, row in enumerate(scores)]
        tables[f"t/{Path(str(name)).stem}.tsv"] = "\n".join([header, *rows, ""]).encode()
    strong = (dataset.path / "labels" / "strong.tsv").read_text().splitlines()
    events = [strong[0], *(line for line in strong[1:] if line.split("\t")[0] in reference.filenames)]
    tags, frames, maps = (run / "predictions" / name for name in ("tags.csv", "frames.npz", MAPS))
    size = (dataset.recipe.frames, dataset.recipe.features.n_mels)
    return [
        Target("tags.csv", {"tags.csv": tags.read_bytes()}, lambda f: predicted(f / "tags.csv")),
        Target("frames.npz", {"frames.npz": frames.read_bytes()}, lambda f: predicted(f / "frames.npz")),
        Target("maps.npz", {MAPS: maps.read_bytes()}, lambda f: read_maps(f / MAPS, reference, size)),
        Target("frame tables", tables, lambda f: predicted(f / "t")),
        Target("event list", {"e.tsv": "\n".join([*events, ""]).encode()}, lambda f: predicted(f / "e.tsv")),
        Target("submission", {"submission.json": submission.read_bytes()}, submitted, reseal),
    ]


def fuzz(inputs: int, seed: int, workspace: Path) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Try `inputs` damaged inputs; returns for each kind how many were tried, accepted and failed, and the failures."""
    kinds = targets(workspace)
    counts: dict[str, dict[str, int]] = collections.defaultdict(lambda: {"tried": 0, "accepted": 0, "failed": 0})
    failures = []
    draw = random.Random(seed)
    for number in range(-len(kinds), inputs):  # first every kind undamaged, which also warms up imports and caches
        target = kinds[number % len(kinds)]
        folder = workspace / "inputs" / target.name.replace(" ", "_")
        name = draw.choice(sorted(target.files))
        data = target.files[name] if number < 0 else spoilt(target, name, draw)
        for other, content in (target.files | {name: data}).items():
            (folder / other).parent.mkdir(parents=True, exist_ok=True)
            (folder / other).write_bytes(content)
        accepted, fault = attempt(target, folder)
        for other in target.files:
            (folder / other).unlink(missing_ok=True)
        if number < 0:
            if fault or not accepted:
                raise SystemExit(f"{target.name}: the undamaged files are refused ({fault}); fix this script")
            continue
        for what, happened in (("tried", True), ("accepted", accepted and not fault), ("failed", bool(fault))):
            counts[target.name][what] += happened
        if fault:
            failures.append(f"input {number}, {target.name}, {name}: {fault}\n{base64.b64encode(data[:3000]).decode()}")
    return dict(counts), failures


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts, failures = fuzz(asked.inputs, asked.seed, Path(folder))
    for failure in failures:
        print(failure, file=sys.stderr)
    total = {what: sum(each[what] for each in counts.values()) for what in ("tried", "accepted", "failed")}
    print(
        json.dumps(
            {"seed": asked.seed, **total, "seconds": round(time.monotonic() - start, 1), "kinds": counts}, indent=1
        )
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
