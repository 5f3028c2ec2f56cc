"""Submissions that were forged, malformed or mistaken: what each does to an honest one, and to its predictions."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from remixbench.files import content_digest

Body = dict[str, Any]
HUGE = 10**400
OTHER = "0123456789abcdef" * 4


@dataclass(frozen=True)
class Forgery:
    """One case.

    Attributes
    ----------
    name : what was done
    change : changes an honest submission; its digests are made to fit afterwards, unless not `signed`
    write : writes `submission.json` itself, instead
    evidence : changes the predictions in a folder, or None where none are handed in
    kind : "tags", "run" or "folds" (of two folds, with the predictions of one), the honest submission that is changed
    named : whether the record has the digests of the changed predictions
    refused : whether the submission has to be refused; else it may stand, with what is not verified marked
    """

    name: str
    change: Callable[[Body], object] | None = None
    write: Callable[[Path, Body], object] | None = None
    evidence: Callable[[Path], object] | None = lambda folder: None
    kind: str = "tags"
    refused: bool = True
    signed: bool = True
    named: bool = False


def write_submission(forgery: Forgery, honest: Body, file: Path) -> None:
    """Write a case's submission."""
    body = json.loads(json.dumps(honest))
    if forgery.write is not None:
        forgery.write(file, body)
        return
    if forgery.change is not None:
        forgery.change(body)
    if forgery.signed:
        sign(body)
    file.write_text(json.dumps(body), encoding="utf-8")


def sign(body: Body) -> None:
    """Write digests that fit, of every record and of the whole; where a value has none they stay."""
    for part in (*(record for record in body.get("records", []) if isinstance(record, dict)), body):
        try:
            part["digest"] = content_digest(part)
        except (ValueError, RecursionError):
            continue


def put(*path: str | int, value: Any) -> Callable[[Body], None]:
    """Return what sets a value at a path below the first record."""

    def change(body: Body) -> None:
        target = body["records"][0]
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return change


def drop(*path: str | int) -> Callable[[Body], None]:
    """Return what removes a value at a path below the first record."""

    def change(body: Body) -> None:
        target = body["records"][0]
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]

    return change


def samples(values: list[float]) -> str:
    """Return bootstrap samples as text."""
    with np.errstate(over="ignore"):
        return base64.b64encode(np.array(values, "<f4").tobytes()).decode("ascii")


def with_metric(name: str, value: Any) -> Callable[[Body], None]:
    """Return what adds a metric, with an interval and, where it has them, bootstrap samples."""

    def change(body: Body) -> None:
        record = body["records"][0]
        record["metrics"][name] = value
        record["intervals"][name] = [value, value]
        record["bootstrap_samples"][name] = samples([value] * record["provenance"]["resamples"])

    return change


def second(**changes: Any) -> Callable[[Body], None]:
    """Return what adds a second record, of other predictions, which differs in its provenance."""

    def change(body: Body) -> None:
        record = json.loads(json.dumps(body["records"][0]))
        record["provenance"] |= {"predictions": {"tags.csv": OTHER}, "predictions_digest": OTHER} | changes
        body["records"].append(record)

    return change


def liar_first(body: Body) -> None:
    """Put a record of the same system with better numbers, from other predictions, before the honest one."""
    record = json.loads(json.dumps(body["records"][0]))
    record["metrics"]["micro_ap"] = 0.999
    record["provenance"] |= {"predictions": {"tags.csv": OTHER}, "predictions_digest": OTHER}
    body["records"].insert(0, record)


def cloned(body: Body) -> None:
    """Make four trainings of one, which would have the narrowest interval."""
    body["records"] = [json.loads(json.dumps(body["records"][0])) for _ in range(4)]
    for seed, record in enumerate(body["records"]):
        record["system"]["seed"] = seed


def probe(kind: str, *values: float, score: float = 0.99) -> Callable[[Body], None]:
    """Return what adds the scores of a probe without predictions of it."""

    def change(body: Body) -> None:
        record = body["records"][0]
        count = record["provenance"]["resamples"]
        record["probes"] = [
            {
                "probe": kind, "value": value, "predictions_digest": OTHER, "metrics": {"micro_ap": score},
                "bootstrap_samples": {"micro_ap": samples([score] * count)},
            }
            for value in values
        ]  # fmt: skip
        record["shifts"] = list(values) if kind == "shift" else None

    return change


def everywhere(key: str, value: str) -> Callable[[Body], None]:
    """Return what sets a digest in every record's provenance."""

    def change(body: Body) -> None:
        for record in body["records"]:
            record["provenance"][key] = value

    return change


def other_manifest(body: Body) -> None:
    """Say another manifest, throughout."""
    everywhere("manifest_digest", OTHER)(body)
    body["manifest_digest"] = OTHER


def other_audio_twice(body: Body) -> None:
    """Two records of an invented audio digest, and a name for the data set: a majority by records."""
    second()(body)
    body["records"][1]["system"]["name"] = "Lab X again"
    everywhere("audio_digest", OTHER)(body)
    body["dataset"] = "fake (official)"


def nested(depth: int) -> dict[str, Any]:
    """Return an object of some depth."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def raw(text: str | bytes) -> Callable[[Path, Body], object]:
    """Return what writes a file as it is."""
    data = text.encode() if isinstance(text, str) else text
    return lambda file, body: file.write_bytes(data)


def infinite(file: Path, body: Body) -> None:
    """Write a number that JSON reads as infinity, under a digest that fits nothing."""
    body["records"][0]["cost"]["parameters"] = 7777777
    file.write_text(json.dumps(body).replace("7777777", "1e999"))


def twice(where: str, first: str, file: Path, body: Body) -> None:
    """Write one key twice, first with another value: readers differ in which counts."""
    text = json.dumps(body)
    assert where in text
    file.write_text(text.replace(where, f"{where}{first}, {where}", 1))


def npz(**members: bytes) -> bytes:
    """Return a zip archive of members as they are named."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return data.getvalue()


def npz_twice(**members: bytes) -> bytes:
    """Return the same with every member twice, of which readers choose either."""
    data = io.BytesIO(npz(**members))
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(data, "a") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return data.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    """Return an array as .npy."""
    data = io.BytesIO()
    np.save(data, array, **options)
    return data.getvalue()


def shadowed_npz(folder: Path) -> None:
    """Scores that numpy reads from a member which a check of `scores.npy` does not look at."""
    only(folder, "frames.npz", npz(scores=npy(np.zeros(1 << 22)), scores__npy=npy(np.zeros((1, 1, 1), np.float32))))


def bomb(folder: Path) -> None:
    """An array of 4 GB in a few bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 10, 1 << 10, 1 << 10)}
    )
    only(folder, "frames.npz", npz(scores__npy=header.getvalue() + bytes(1 << 16)))


def pickled(folder: Path) -> None:
    """An array that is unpickled when it is read."""
    only(folder, "frames.npz", npz(scores__npy=npy(np.array([{}], dtype=object), allow_pickle=True)))


def only(folder: Path, name: str, data: bytes) -> None:
    """Make a file the only one in a folder."""
    for file in folder.iterdir():
        file.unlink()
    (folder / name).write_bytes(data)


def edit_tags(change: Callable[[list[list[str]]], object]) -> Callable[[Path], None]:
    """Return what changes the rows of tags.csv."""

    def edit(folder: Path) -> None:
        (file,) = folder.iterdir()
        rows = list(csv.reader(io.StringIO(file.read_text())))
        change(rows)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        file.write_text(text.getvalue())

    return edit


def loop(folder: Path) -> None:
    """A link to itself."""
    (folder / "loop.csv").symlink_to(folder / "loop.csv")


def pipe(folder: Path) -> None:
    """A pipe, which a reader would wait at for ever."""
    os.mkfifo(folder / "pipe.csv")


NAMES = {
    "a formula": "=HYPERLINK(\"http://evil.example\",\"Lab X\")", "a formula with plus": "+1+cmd|'/C calc'!A0",
    "a formula with minus": "-2+3", "a formula with at": "@SUM(1)", "a tab": "\tLab", "a line end": "Lab\nX",
    "a terminal's escape": "\x1b[31mLab", "text from right to left": "Lab \u202eX", "half a letter": "\ud800",
    "201 characters": "A" * 201, "only a blank": " ", "nothing": "", "a system": "gap",
    "a system with options": "GAP (ours)", "chance": "chance", "an ideal mask": "ideal binary mask",
    "a blank before": " Lab X", "a letter that shows nothing": "Guest\u3164", "nothing that shows": "\u3164\u2800",
    "a variation selector": "Guest\ufe0f", "a joiner": "Gu\u034fest", "accents apart": "Lab e\u0301",
    "a stack of accents": "L" + "\u0335" * 9, "a wide formula": "\uff1d1+1", "evidence": "Lab X (Recomputed)",
    "evidence in wide letters": "Lab X \uff52\uff45\uff43omputed", "evidence with another hyphen": "self\u2010reported",
    "a system in wide letters": "\uff47\uff41\uff50", "a system in bold letters": "\U0001d420\U0001d41a\U0001d429",
    "the mixture": "mixture, not separated",
}  # fmt: skip
SHIFTS = tuple(round(0.064 * k, 9) for k in range(-3, 8) if k)
"""Of the shift probe on the data set that submissions are on."""
SHOWN_NAMES = {
    "markup": "<script>alert(1)</script>", "markdown": "**[x](javascript:1)** | a |",
    "LaTeX": "\\input{/etc/passwd} % $x$",
    "a path": "../../etc/passwd", "braces": "{{ 7 * 7 }} {% include 'x' %}", "quotes": "'\" --",
}  # fmt: skip
NUMBERS: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "parameters of 400 digits": (("cost", "parameters"), HUGE),
    "parameters below zero": (("cost", "parameters"), -1),
    "parameters that are a float": (("cost", "parameters"), 1.5),
    "parameters that are true": (("cost", "parameters"), True),
    "MACs of 20 digits": (("cost", "macs"), 10**20),
    "seconds of 1e308": (("cost", "seconds"), 1e308),
    "seconds of 400 digits": (("cost", "seconds"), HUGE),
    "a device of 10,000 letters": (("cost", "device"), "A" * 10_000),
    "an error rate of 1e308": (("metrics", "segment_er"), 1e308),
    "a metric of 400 digits": (("metrics", "segment_er"), HUGE),
    "a metric that is text": (("metrics", "micro_ap"), "0.99"),
    "a metric above its range": (("metrics", "micro_ap"), 1.01),
    "an interval in the wrong order": (("intervals", "micro_ap"), [0.9, 0.1]),
    "an interval of one end": (("intervals", "micro_ap"), [0.9]),
    "an interval of 1e308": (("intervals", "micro_ap"), [0.0, 1e308]),
    "an SNR of 400 digits": (("system", "snr"), HUGE),
    "an SNR that is true": (("system", "snr"), True),
    "an SNR that the data set lacks": (("system", "snr"), 7.0),
    "a fold of 30 digits": (("system", "fold"), 10**30),
    "a fold that there is not": (("system", "fold"), 9),
    "a seed of 300 digits": (("system", "seed"), 10**300),
    "clips of 30 digits": (("provenance", "clips"), 10**30),
    "fewer clips": (("provenance", "clips"), 3),
    "more recordings": (("provenance", "groups"), 10_000),
    "a million bootstrap samples": (("provenance", "resamples"), 1_000_000),
    "another seed of the bootstrap": (("provenance", "bootstrap_seed"), 7),
    "α of 400 digits": (("system", "settings"), {"alpha": HUGE, "options": {}}),
    "settings nested deeply": (("system", "settings"), nested(40)),
    "settings of 10,000 keys": (("system", "settings"), {f"k{k}": k for k in range(10_000)}),
    "settings with a terminal's escape": (("system", "settings"), {"\x1b[31m": 1}),
    "scoring settings of 400 digits": (("settings", "collar"), {"seconds": HUGE}),
    "1,000 flags": (("system", "flags"), [{"code": "x", "text": f"flag {k}"} for k in range(1000)]),
    "values of 20,000 classes": (("per_class", "ap"), {f"class {k}": 1.0 for k in range(20_000)}),
    "infinite bootstrap samples": (("bootstrap_samples", "micro_ap"), samples([float("inf")] * 10)),
    "bootstrap samples of 1e38": (("bootstrap_samples", "micro_ap"), samples([1e38] * 10)),
    "too many bootstrap samples": (("bootstrap_samples", "micro_ap"), samples([0.9] * 11)),
    "bootstrap samples that are no base64": (("bootstrap_samples", "micro_ap"), "!" * 56),
    "bootstrap samples without a metric": (("bootstrap_samples", "psds1"), samples([0.9] * 10)),
    "a metric named like a formula": (("metrics", "=1+1"), 0.5),
    "predictions of another digest than their files": (("provenance", "predictions_digest"), OTHER),
    "no predictions": (("provenance", "predictions"), {}),
    "an unknown key": (("note", ), "trust me"),
    "an ideal mask": (("system", "kind"), "ideal"),
    "a run without a system": (("system", "kind"), "run"),
    "another format": (("format", ), 4),
    "a fold that is text": (("system", "fold"), "4"),
    "a fold that is a float": (("system", "fold"), 4.0),
    "an SNR that is text": (("system", "snr"), "0"),
    "a seed that is true": (("system", "seed"), True),
    "recordings below zero": (("provenance", "groups"), -5),
    "flags that are text": (("system", "flags"), "true"),
    "a flag from right to left": (("system", "flags"), [{"code": "x", "text": "a\u202eb"}]),
    "metrics that are a list": (("metrics", ), []),
    "cost that is a list": (("cost", ), []),
    "shifts that are text": (("shifts", ), "0.064"),
}  # fmt: skip
CHANGED = {
    "a better score": put("metrics", "micro_ap", value=0.999),
    "a better score in the last digits": lambda body: with_last_digits(body),
    "a bad score left out": drop("metrics", "macro_ap"),
    "a bad score undefined": put("metrics", "macro_ap", value=None),
    "separation from tags": with_metric("sdr", 25.0),
    "improvement of separation from tags": with_metric("ca_sdr_improvement", 25.0),
    "mask F1 from tags": with_metric("mask_f1", 0.99),
    "frame AP from tags": with_metric("frame_ap", 0.99),
    "PSDS from tags": with_metric("psds1", 0.99),
    "a better class": put("per_class", "ap", "Bell", value=0.999),
    "a class left out": drop("per_class", "ap", "Bell"),
    "a class that there is not": put("per_class", "ap", "Dragon", value=1.0),
    "classes of a metric that has none": put("per_class", "event_f1", value={"Bark": 1.0}),
    "a narrower interval": put("intervals", "micro_ap", value=[0.95, 0.96]),
    "an interval left out": drop("intervals", "micro_ap"),
    "an interval undefined": put("intervals", "micro_ap", value=None),
    "other bootstrap samples": put("bootstrap_samples", "micro_ap", value=samples([0.99] * 10)),
    "bootstrap samples left out": drop("bootstrap_samples", "micro_ap"),
    "bootstrap samples of one more metric": put("bootstrap_samples", "lwlrap", value=samples([0.99] * 10)),
    "another threshold": put("settings", "tagging_threshold", value=0.1),
    "one more setting": put("settings", "collar", value={"seconds": 9.0}),
    "a setting left out": drop("settings", "kong"),
    "another audio": everywhere("audio_digest", OTHER),
    "two records of another audio": other_audio_twice,
    "other labels": everywhere("reference_digest", OTHER),
    "another manifest": other_manifest,
    "another manifest in the record alone": everywhere("manifest_digest", OTHER),
    "two audios": second(audio_digest=OTHER),
    "two references of a fold": second(reference_digest=OTHER),
    "an old scoring version": everywhere("scoring_version", "0"),
    "a scoring version to come": everywhere("scoring_version", "99"),
    "a probe at an SNR that the data set lacks": probe("snr", 7.0),
    "a probe by more than a clip": probe("shift", 99.0),
    "a probe of a shift that the fold does not have": probe("shift", 0.25),
    "a probe of the easiest shift alone": probe("shift", SHIFTS[2]),
    "a probe of shifts that differ in digits that are not shown": probe("shift", SHIFTS[0], SHIFTS[0] + 1e-8),
    "a probe of 1e308": probe("snr", 20.0, score=1e308),
    "a metric named like a probe": with_metric(f"micro_ap[shift {SHIFTS[0]:g} s]", 0.99),
    "a metric named like the mean over shifts": with_metric("micro_ap_shifted", 0.99),
    "no records": lambda body: body.update(records=[]),
    "records that are text": lambda body: body.update(records=["x"]),
    "a data set that is a path": lambda body: body.update(dataset="../../x"),
    "a data set that is a formula": lambda body: body.update(dataset="=1+1"),
    "a data set that is half a letter": lambda body: body.update(dataset="\ud800"),
    "a recipe that is a list": lambda body: body.update(recipe=["remix2019"]),
    "one more key": lambda body: body.update(host="trusts me"),
    "another version": lambda body: body.update(version=1),
}
MARKED = {
    "a metric of a version to come": with_metric("psds9", 0.99),
    "a liar before the honest record": liar_first,
    "one training as four seeds": cloned,
    "a probe at another SNR": probe("snr", 20.0),
    "a probe of every shift": probe("shift", *SHIFTS),
}
FILES: dict[str, Callable[[Path, Body], object]] = {
    "an empty file": raw(""), "no JSON": raw("{"), "a list": raw("[]"), "UTF-16": raw('{"format": 1}'.encode("utf-16")),
    "nested brackets": raw("[" * 100_000), "another format": raw('{"format": "x"}'), "zeros": raw(bytes(1000)),
    "an integer of 10,000 digits": raw('{"format": "remixbench submission", "version": ' + "9" * 10_000 + "}"),
    "an infinite number": infinite, "nothing at all": lambda file, body: None,
    "a folder": lambda file, body: file.mkdir(),
    "a link to nothing": lambda file, body: file.symlink_to(file.with_name("gone")),
    "a link to itself": lambda file, body: file.symlink_to(file),
    "a pipe": lambda file, body: os.mkfifo(file), "an endless file": lambda file, body: file.symlink_to("/dev/zero"),
    "a key twice": partial(twice, '"dataset": ', '"hidden"'),
    "a key of a record twice": partial(twice, '"micro_ap": ', "0.999"),
    "a number that is none": lambda file, body: file.write_text(json.dumps(body).replace('"snr": 0.0', '"snr": NaN')),
    "a byte order mark": lambda file, body: file.write_bytes(b"\xef\xbb\xbf" + json.dumps(body).encode()),
    "Latin-1": lambda file, body: file.write_bytes(json.dumps(body).replace("Lab X", "Läb").encode("latin-1")),
}  # fmt: skip
EVIDENCE: dict[str, Callable[[Path], object]] = {
    "other predictions": edit_tags(lambda rows: rows[1].__setitem__(1, "0.123")),
    "predictions in an array that shadows another": shadowed_npz,
    "predictions that swell": bomb,
    "predictions that are unpickled": pickled,
    "predictions that are a link to itself": loop,
    "predictions that are a pipe": pipe,
    "predictions of nothing": lambda folder: only(folder, "tags.csv", b""),
    "predictions beside others": lambda folder: (folder / "more.csv").write_text("filename,Bark\n"),
}
BROKEN: dict[str, Callable[[Path], object]] = {
    "an array that shadows another": shadowed_npz,
    "an array that swells": bomb,
    "an array that is unpickled": pickled,
    "an archive of nothing": lambda folder: only(folder, "frames.npz", npz()),
    "an array twice": lambda folder: only(folder, "frames.npz", npz_twice(scores__npy=npy(np.zeros((1, 1, 1))))),
    "an array outside its archive": lambda folder: only(
        folder, "frames.npz", npz(**{"../scores__npy": npy(np.zeros(3))})
    ),
    "an array under a table's name": lambda folder: only(folder, "tags.csv", npz(scores__npy=npy(np.zeros(3)))),
    "tags that are not numbers": edit_tags(lambda rows: rows[1].__setitem__(1, "nan")),
    "tags above one": edit_tags(lambda rows: rows[1].__setitem__(1, "1.5")),
    "tags of one clip less": edit_tags(lambda rows: rows.pop()),
    "tags of a clip twice": edit_tags(lambda rows: rows.append(rows[-1])),
    "tags of one class less": edit_tags(lambda rows: [row.pop() for row in rows]),
    "tags of no class": edit_tags(lambda rows: rows[0].__setitem__(1, "Dragon")),
}


def with_last_digits(body: Body) -> None:
    """Raise a score by less than is shown."""
    body["records"][0]["metrics"]["micro_ap"] += 1e-6


def forgeries() -> Iterator[Forgery]:
    """Yield every case."""
    for name, text in NAMES.items():
        yield Forgery(f"name: {name}", put("system", "name", value=text))
    for name, text in SHOWN_NAMES.items():
        yield Forgery(f"name: {name}", put("system", "name", value=text), evidence=None, refused=False)
    for name, (path, value) in NUMBERS.items():
        yield Forgery(f"number: {name}", put(*path, value=value))
    for name, change in CHANGED.items():
        yield Forgery(f"changed: {name}", change)
        if name in ("a better score", "separation from tags", "a better class"):
            yield Forgery(f"changed: {name}, without predictions", change, evidence=None, refused=False)
    for name, change in MARKED.items():
        yield Forgery(f"marked: {name}", change, refused=False)
    for name, write in FILES.items():
        yield Forgery(f"file: {name}", write=write)
    for name, evidence in EVIDENCE.items():
        yield Forgery(f"evidence: {name}", evidence=evidence)
    for name, evidence in BROKEN.items():
        yield Forgery(f"evidence: {name}, which the record names", evidence=evidence, named=True)
    yield Forgery("changed: not signed again", put("metrics", "micro_ap", value=0.999), signed=False)
    cost = {"parameters": 1, "macs": 1, "seconds": 0.1, "device": "=1"}
    maps = npz(maps__npy=npy(np.zeros(3)))
    for name, change in (
        ("cost of nothing", put("cost", value=cost)),
        ("settings that are better", put("system", "settings", "fraction", value=0.01)),
        ("flags removed", put("system", "flags", value=[])),
    ):
        yield Forgery(f"run: {name}", change, kind="run", refused=False)
    formulas = {"code": "x", "text": "=1+1"}
    for name, change in (
        ("a flag", put("system", "flags", value=[formulas])),
        ("a device", put("cost", value={"device": "@SUM(1)"})),
        ("settings", put("system", "settings", value={"=1": "+2"})),
        ("data sets of an encoder", put("system", "pretrained_on", value=['=HYPERLINK("x")', "-1+1"])),
    ):
        yield Forgery(f"formula: in {name}", change, evidence=None, refused=False)
    yield Forgery("marked: a fold without predictions", put("metrics", "micro_ap", value=0.999), kind="folds",
                  refused=False)  # fmt: skip
    for name in ("chance", "Ideal binary mask", "mixture, not separated", "\uff43hance"):
        names = {"name": name, "registry_name": name.split(",")[0]}
        yield Forgery(f"run: named {name}", lambda body, n=names: body["records"][0]["system"].update(n), kind="run")
    yield Forgery("run: named otherwise", put("system", "name", value="gmp"), kind="run")
    better = put("metrics", "micro_ap", value=0.999)
    yield Forgery("run: a score without predictions", better, kind="run", evidence=None, refused=False)
    yield Forgery("marked: maps without stems", evidence=lambda folder: only(folder, "maps.npz", maps), named=True,
                  refused=False)  # fmt: skip
