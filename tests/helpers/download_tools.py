"""What the tests of the download share: a quick retry policy, small archives, and a mirror of the two records."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import threading
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

from remixbench.sources.download.http import HttpClient, RateLimiter, RetryPolicy
from remixbench.sources.published import published_sources

TAU = "TAU-urban-acoustic-scenes-2019-development"
FSD = "FSDKaggle2018"


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def quick(seed: int = 0, waits: list[float] | None = None, **changes: object) -> RetryPolicy:
    """A policy with as many retries as the real one, but no delays; `waits` collects what they would be."""

    def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    settings = {"connect_timeout": 2.0, "read_timeout": 0.1, "min_progress_bytes": 4096} | changes
    return RetryPolicy(sleep=sleep, rng=random.Random(seed), **settings)  # type: ignore[arg-type]


def quick_client(policy: RetryPolicy | None = None, say: Callable[[str], None] = lambda _: None) -> HttpClient:
    policy = policy or quick()
    return HttpClient(policy, RateLimiter(policy, threading.Event()), say)


def wav(rate: int, channels: int, width: int, seconds: float, seed: int) -> bytes:
    """A recording of repeated noise, so that it packs well and each file differs."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        beat = random.Random(seed).randbytes(width * channels * 50)
        frames = round(rate * seconds)
        file.writeframes((beat * (frames // 50 + 1))[: frames * width * channels])
    return out.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2019, 3, 7, 12, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def small_records(scenes_a_part: int = 2, events: int = 3, parts: tuple[int, ...] = (1, 2)) -> dict[str, bytes]:
    """The unpacked tree of a small copy of both sources: path under sources/ to bytes."""
    tree: dict[str, bytes] = {}
    rows = ["filename\tscene_label\tidentifier\tsource_label"]
    for part in parts:
        for number in range(scenes_a_part):
            name = f"audio/airport-lisbon-{part}-{number}-a.wav"
            rows.append(f"{name}\tairport\tlisbon-{part}\ta")
            tree[f"{TAU}/{name}"] = wav(48000, 2, 3, 10.0, seed=part * 1000 + number)
    tree[f"{TAU}/meta.csv"] = ("\n".join(rows) + "\n").encode()
    rows = ["fname,label,manually_verified,freesound_id,license"]
    for number in range(events):
        rows.append(f"{number:08x}.wav,Bark,1,{number},Attribution")
        tree[f"{FSD}/{FSD}.audio_train/{number:08x}.wav"] = wav(44100, 1, 2, 0.5 + number % 5, seed=number)
    tree[f"{FSD}/{FSD}.meta/train_post_competition.csv"] = ("\n".join(rows) + "\n").encode()
    return tree


def packed(tree: dict[str, bytes]) -> dict[str, bytes]:
    """The archives that hold a tree, by their path on a mirror."""
    parts = sorted({int(name.split("-")[-3]) for name in tree if name.startswith(f"{TAU}/audio/")})
    tau = "/records/2589280/files/" + TAU
    fsd = "/records/2552860/files/" + FSD
    files = {f"{tau}.meta.zip": zipped({f"{TAU}/meta.csv": tree[f"{TAU}/meta.csv"]})}
    for part in parts:
        inside = {n: d for n, d in tree.items() if n.startswith(f"{TAU}/audio/") and n.split("-")[-3] == str(part)}
        files[f"{tau}.audio.{part}.zip"] = zipped(inside)
    for stem in ("meta", "audio_train"):
        inside = {n.removeprefix(f"{FSD}/"): d for n, d in tree.items() if n.startswith(f"{FSD}/{FSD}.{stem}/")}
        files[f"{fsd}.{stem}.zip"] = zipped(inside)
    return files


def write_sums(files: dict[str, bytes], path: Path) -> Path:
    path.write_text("".join(f"{md5(data)}  {name.removeprefix('/')}\n" for name, data in files.items()))
    return path


def on_disk(sources: Path) -> dict[str, bytes]:
    """What lies under sources/, without the download's own notes."""
    files = (path for path in sorted(sources.rglob("*")) if path.is_file())
    names = ((path.relative_to(sources).as_posix(), path) for path in files)
    return {name: path.read_bytes() for name, path in names if not name.startswith((".receipts/", ".download.lock"))}


def known_md5(file: str) -> str:
    return next(a.md5 for s in published_sources().values() for a in s.archives if a.file == file)


def patched_zip(data: bytes, old: bytes, new: bytes) -> bytes:
    """Replace a member's name in an archive by another of the same length, in both places."""
    assert len(old) == len(new)
    assert data.count(old) == 2
    return data.replace(old, new)


def is_one_line(error: Exception) -> bool:
    assert "\n" not in str(error)
    return True


def end_of_first_member(data: bytes) -> int:
    """Where the packed bytes of an archive's first member end."""
    name, extra = struct.unpack("<HH", data[26:30])
    size: int = struct.unpack("<I", data[18:22])[0]
    return 30 + name + extra + size
