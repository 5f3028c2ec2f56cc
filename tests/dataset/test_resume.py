"""Never lost, never half: killed at any moment, out of disk, two at once."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
from paths import ROOT
from tiny import differing, tree

from remixbench.cli import run
from remixbench.dataset import make as make_module
from remixbench.dataset import work
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.make import make
from remixbench.errors import InputError, RemixbenchError
from remixbench.recipe import Recipe
from remixbench.sources.audio import FileReader

KILLED = ROOT / "tests" / "helpers" / "killed_make.py"


def of_one_name(folder: Path) -> dict[str, bytes]:
    files = tree(folder)
    # the name is part of dataset.json's own digest
    files["dataset.json"] = json.dumps(json.loads(files["dataset.json"]) | {"name": "any", "digest": ""}).encode()
    return files


@pytest.mark.slow
@pytest.mark.parametrize(("how", "kills"), [(["random", "6"], 6), (["replaces"], 20)], ids=["random", "replaces"])
def test_killed_at_any_moment_it_resumes_to_the_same_bytes(
    how: list[str], kills: int, corpus: Path, tmp_path: Path
) -> None:
    recipe = tiny.write_recipe(tmp_path, tiny.RECIPE)
    done = subprocess.run(
        [sys.executable, str(KILLED), str(corpus), str(recipe), str(tmp_path / "killed"), *how],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[-2]) >= kills
    whole = of_one_name(tmp_path / "killed" / "whole")
    rounds = [folder for folder in (tmp_path / "killed").iterdir() if folder.is_dir()]
    assert len(rounds) >= 3
    for folder in rounds:
        assert differing(whole, of_one_name(folder)) == [], folder


def test_several_processes_killed_together_resume_to_the_same_bytes(
    made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = tiny.write_recipe(tmp_path, tiny.RECIPE)
    call = "import sys, remixbench; remixbench.make(recipe=sys.argv[1], sources=sys.argv[2], out=sys.argv[3], jobs=2, "
    call += "stems=True)"
    command = [sys.executable, "-c", call, str(recipe), str(corpus), str(tmp_path / "tiny")]
    child = subprocess.Popen(command, start_new_session=True)
    audio = tmp_path / "tiny" / "snr_0" / "audio"
    deadline = time.monotonic() + 60
    while not (audio.is_dir() and any(audio.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=1, stems=True)
    assert differing(tree(made.path), tree(tmp_path / "tiny")) == []


def test_a_killed_worker_is_reported_in_one_line(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    killed.__module__ = "__main__"  # so that the function itself is sent to the workers
    monkeypatch.setattr(make_module, "prepare_block", killed)
    recipe = tiny.write_recipe(tmp_path, tiny.RECIPE)
    status = run(["make", "--recipe", str(recipe), "--sources", str(corpus), "--out", str(tmp_path / "tiny"),
                  "--jobs", "2"])  # fmt: skip
    lines = capfd.readouterr().err.splitlines()
    assert status == 1
    assert [line for line in lines if line.startswith("remixbench: a worker process was killed")]
    assert not [line for line in lines if "Traceback" in line]


def arguments(corpus: Path, recipe: Path, out: Path) -> list[str]:
    return ["-q", "make", "--recipe", str(recipe), "--sources", str(corpus), "--out", str(out), "--jobs", "1"]


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_one_line_and_nothing_is_lost(
    audio_format: str,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # as where another program fills the disk after `make` has looked
    monkeypatch.setattr(make_module, "bytes_needed", lambda *_: 0)
    recipe = tiny.write_recipe(tmp_path, tiny.RECIPE)
    kind = ["--audio-format", audio_format]
    assert run([*arguments(corpus, recipe, tmp_path / "whole" / "tiny"), *kind]) == 0
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2300k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        capsys.readouterr()
        assert run([*arguments(corpus, recipe, small / "tiny"), *kind]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "No space left on device" in error
        subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
        assert run([*arguments(corpus, recipe, small / "tiny"), *kind]) == 0
        assert differing(tree(tmp_path / "whole" / "tiny"), tree(small / "tiny")) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("after", [0, 3, 20, 60, 118])
def test_a_full_disk_at_any_file_leaves_the_rest_resumable(
    after: int, made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, count = os.replace, 0

    def full(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=1, stems=True)
    monkeypatch.setattr(os, "replace", replace)
    make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=1, stems=True)
    assert differing(tree(made.path), tree(tmp_path / "tiny")) == []


def test_a_second_make_at_the_same_time_is_refused(
    made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny.write_recipe(tmp_path, tiny.RECIPE)
    read, tried = FileReader.read, []

    def try_another(self: FileReader, file: str) -> object:
        if not tried:
            call = [sys.executable, "-m", "remixbench", *arguments(corpus, recipe, tmp_path / "tiny"), "--stems"]
            tried.append(subprocess.run(call, capture_output=True, text=True, check=False))
        return read(self, file)

    monkeypatch.setattr(FileReader, "read", try_another)
    make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=1, stems=True)
    (second,) = tried
    assert second.returncode == 1
    assert second.stderr == (
        f"remixbench: {tmp_path / 'tiny'}: another `make` is already running on it; wait for it, or choose"
        " another --out\n"
    )
    assert differing(tree(made.path), tree(tmp_path / "tiny")) == []


def interrupted(monkeypatch: pytest.MonkeyPatch, clip: str) -> None:
    """Let the next `make` end when it comes to a clip."""
    write = work.write_audio

    def stop(path: Path, *rest: object) -> None:
        if path.stem == clip:
            raise KeyboardInterrupt
        write(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(work, "write_audio", stop)


def test_interrupted_work_is_kept_while_another_ratio_is_made(
    made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, "00017")
        with pytest.raises(KeyboardInterrupt):
            make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, stems=True, snr=0)
    with pytest.raises(InputError, match="not a finished data set"):
        Dataset.open(out)
    make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, stems=True, snr=10)
    assert Dataset.open(out).snrs == (10,)
    make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, stems=True, snr=0)
    assert differing(tree(made.path), tree(out)) == []


def test_unfinished_work_with_other_settings_is_not_resumed(corpus: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, "00017")
        with pytest.raises(KeyboardInterrupt):
            make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1)
    with pytest.raises(InputError, match="holds an unfinished data set of another stems; delete the unfinished work"):
        make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, stems=True)
    with pytest.raises(InputError, match="holds an unfinished data set of another manifest"):
        make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, clips_per_fold=2)
    (out / ".work" / "job.json").write_text("")
    with pytest.raises(InputError, match=r"job.json: not readable as JSON .*; delete the unfinished work, .*\.work \("):
        make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1)


def test_the_remedy_for_unfinished_work_leaves_the_finished_data_set(
    corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "tiny"
    make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, snr=0)
    finished = tree(out)
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, "00017")
        with pytest.raises(KeyboardInterrupt):
            make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, snr=10, features=False)
    with pytest.raises(InputError, match="unfinished data set of another features") as caught:
        make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, snr=10)
    assert f"delete the unfinished work, {out / '.work'} (finished files are kept)" in str(caught.value)
    shutil.rmtree(out / ".work")  # what the message says
    shutil.rmtree(out / "snr_10")
    assert differing(finished, tree(out)) == []
    make(recipe=tiny_recipe, sources=corpus, out=out, jobs=1, snr=10)
    assert Dataset.open(out).snrs == (0, 10)


def test_an_interrupt_exits_with_130_and_says_how_to_resume(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, "00003")
    recipe = tiny.write_recipe(tmp_path, tiny.RECIPE)
    assert run(arguments(corpus, recipe, tmp_path / "tiny")) == 130
    assert capsys.readouterr().err.strip() == "remixbench: interrupted; rerun to resume"


def test_a_read_only_finished_data_set_is_not_written_to(
    copied: Dataset, corpus: Path, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_lock(*_: object, **__: object) -> None:
        raise RemixbenchError("a lock was asked for")

    monkeypatch.setattr(make_module, "exclusive_lock", no_lock)
    monkeypatch.setattr(make_module, "waiting_lock", no_lock)
    assert make(recipe=tiny_recipe, sources=corpus, out=copied.path, jobs=1, stems=True) is not None
    shutil.rmtree(copied.path / "snr_10")
    with pytest.raises(RemixbenchError, match="a lock was asked for"):
        make(recipe=tiny_recipe, sources=corpus, out=copied.path, jobs=1, stems=True)
