"""Shares of the work on many machines: any order, any of them repeated, on a Dask cluster; the same bytes."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from tiny import differing, tree

from remixbench.cli import run
from remixbench.dataset import make as make_module
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.make import make
from remixbench.errors import InputError, RemixbenchError
from remixbench.recipe import Recipe


@pytest.mark.parametrize(
    ("shares", "of"), [((1, 2), 2), ((3, 1, 2), 3), ((5, 2, 2, 4, 1, 5, 3), 5)], ids=["in order", "mixed", "repeated"]
)
def test_shards_in_any_order_give_the_same_bytes(
    shares: tuple[int, ...], of: int, made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "tiny"
    for number, share in enumerate(shares):
        done = make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, stems=True, shard=(share, of))
        assert (done is not None) == (set(shares[: number + 1]) == set(range(1, of + 1)))
    assert differing(tree(made.path), tree(out)) == []
    again = make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, stems=True, shard=(1, of))
    assert again is not None
    assert differing(tree(made.path), tree(out)) == []


def test_more_shards_than_blocks(made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    for share in (7, 3, 1, 2):
        make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=1, stems=True, shard=(share, 7))
    assert differing(tree(made.path), tree(tmp_path / "tiny")) == []


@pytest.mark.slow
def test_shards_as_concurrent_processes_of_a_job_array(made: Dataset, corpus: Path, tmp_path: Path) -> None:
    recipe = tiny.write_recipe(tmp_path, tiny.RECIPE)
    out = tmp_path / "tiny"
    command = [sys.executable, "-m", "remixbench", "make", "--recipe", recipe, "--sources", corpus, "--out", out,
               "--jobs", "1", "--stems", "--shard"]  # fmt: skip
    tasks = [
        subprocess.Popen([*command, f"{number}/2"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in (1, 2)
    ]
    said = [task.communicate(timeout=120) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert [bool(printed) for printed, _ in said].count(True) >= 1
    assert differing(tree(made.path), tree(out)) == []


def test_a_running_shard_cannot_be_started_twice(
    corpus: Path, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "tiny"
    real, refused = make_module._render_blocks, []

    def meanwhile(*args: object) -> None:
        if not refused:
            refused.append(pytest.raises(RemixbenchError, match="another `make` is already running on it"))
            with refused[0]:
                make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, shard=(1, 2))
            # the other shard may
            make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, shard=(2, 2))
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(make_module, "_render_blocks", meanwhile)
    assert make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, shard=(1, 2)) is not None


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ((1, 2), (1, 1), "a job array of 2 shards is already running on it .shard 1 of 2., so a `make` without --shard"
         " cannot join; wait for it, or join with --shard I/2"),
        ((1, 2), (2, 3), "a job array of 2 shards is already running on it .shard 1 of 2., so a `make` with --shard"
         " 2/3 cannot join"),
        ((1, 1), (2, 3), "a `make` without --shard is already running on it .* --shard 2/3 cannot join; wait for it$"),
    ],
)  # fmt: skip
def test_running_shards_must_agree_on_their_number(
    first: tuple[int, int], second: tuple[int, int], message: str, made: Dataset, corpus: Path, tiny_recipe: Recipe,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "tiny"
    real, refused = make_module._render_blocks, []

    def meanwhile(*args: object) -> None:
        if not refused:
            refused.append(pytest.raises(RemixbenchError, match=message))
            with refused[0]:
                make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, stems=True, shard=second)
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(make_module, "_render_blocks", meanwhile)
    make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, stems=True, shard=first)
    assert refused
    make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, stems=True)  # nothing is running any more
    assert differing(tree(made.path), tree(out)) == []


def test_shards_never_write_to_the_same_file(
    corpus: Path, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "tiny", []

    def files() -> dict[Path, int]:
        return {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()}

    for number in (1, 2):
        before = files()
        make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, shard=(number, 3))
        written.append({path for path, inode in files().items() if before.get(path) != inode})
        log_mel = [path for path in written[-1] if path.suffix == ".npy" and "excerpts" not in path.parts]
        assert [path.relative_to(out).as_posix() for path in sorted(log_mel)] == [
            f".work/logmel/snr_{snr}/{number - 1:06d}.npy" for snr in (0, 10)
        ]  # fmt: skip
    manifest = {out / "manifest" / name for name in ("clips.csv", "events.csv", "SHA256SUMS")}
    assert written[0].isdisjoint(written[1] - manifest)


def test_a_file_system_without_locks_is_reported(
    corpus: Path, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(RemixbenchError, match=r"its file system has no file locks.*mount it with locks"):
        make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=1)


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0), (-1, 2)])
def test_a_share_that_does_not_exist_is_bad_input(
    shard: tuple[int, int], corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--shard"):
        make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=1, shard=shard)


def started(command: list[str], marker: str) -> tuple[subprocess.Popen[str], str]:
    """Start a Dask program; returns it with the line of its log that has `marker`."""
    child = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True, env=environment())
    assert child.stderr is not None
    for line in child.stderr:
        if marker in line:
            return child, line
    raise AssertionError(f"{command}: ended without '{marker}'")


def environment() -> dict[str, str]:
    return os.environ | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "30s"}


@pytest.mark.slow
def test_a_dask_scheduler_with_two_workers_gives_the_same_bytes(made: Dataset, corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    recipe = tiny.write_recipe(tmp_path, tiny.RECIPE)
    children = []
    try:
        scheduler, line = started(
            ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
            "Scheduler at:",
        )
        children.append(scheduler)
        address = line.split("Scheduler at:")[1].strip()
        for _ in range(2):
            worker, _ = started(
                ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny",
                 "--local-directory", str(tmp_path / "dask")],
                "Registered to:",
            )  # fmt: skip
            children.append(worker)
        status = run(["make", "--recipe", str(recipe), "--sources", str(corpus), "--out", str(tmp_path / "tiny"),
                      "--backend", "dask", "--scheduler", address, "--stems"])  # fmt: skip
    finally:
        for child in reversed(children):
            child.kill()
            child.communicate()
    assert status == 0
    assert differing(tree(made.path), tree(tmp_path / "tiny")) == []


def test_a_scheduler_that_does_not_answer_is_one_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    recipe = tiny.write_recipe(tmp_path, tiny.RECIPE)
    call = ["-q", "make", "--recipe", str(recipe), "--sources", str(corpus), "--out", str(tmp_path / "tiny"),
            "--backend", "dask", "--scheduler"]  # fmt: skip
    assert run([*call, "nonsense://x"]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("remixbench: --scheduler nonsense://x: no Dask scheduler answers there")


def test_without_dask_the_error_says_how_to_install_it(
    corpus: Path, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'remixbench\[dask\]'"):
        make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", backend="dask")
