"""Full disks, odd names and encodings, and sizes that no machine has: one line each, nothing half-written."""

from __future__ import annotations

import errno
import io
import os
import resource
import shutil
import signal
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny
from fake_dataset import fake_dataset
from fake_runs import fake_run, tags_text

from remixbench.cli import main, run
from remixbench.dataset.make import make
from remixbench.errors import InputError, RemixbenchError, is_out_of_memory
from remixbench.files import map_array, write_array
from remixbench.leaderboard.score import score
from remixbench.recipe import parse_recipe
from remixbench.sources.audio import read_audio
from remixbench.sources.catalogue import checked_label

ODD = os.fsdecode(b"caf\xe9.csv")  # Latin-1, not UTF-8


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: what a full disk does to a writer, with another errno."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def no_more_memory() -> Iterator[None]:
    """Let the process map no more than some MB beyond what it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_an_array_that_the_memory_does_not_suffice_for_is_not_said_to_be_broken(tmp_path: Path) -> None:
    """Whoever does as the message says would delete log-mel or embeddings that are intact."""
    size = 4 << 30
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (size,)})
        file.truncate(file.tell() + size)  # takes no room on the disk
    with no_more_memory(), pytest.raises(OSError, match="annot allocate") as caught:
        map_array(tmp_path / "x.npy", "an array", "delete it")
    assert is_out_of_memory(caught.value)
    assert map_array(tmp_path / "x.npy", "an array", "delete it").shape == (size,)


Disk = namedtuple("Disk", "total used free")


def test_make_refuses_what_the_disk_has_no_room_for(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 clips of 2 s at 8 kHz: mixtures and stems of 2 channels at 2 SNRs, log-mel, and the excerpts of events."""
    recipe = parse_recipe(tiny.RECIPE, "tiny")
    logmel = (2 + 1) * 24 * recipe.frames * 12 * 4  # of 2 SNRs, and the file that the blocks of one are joined to
    audio = 2 * 24 * (44 + 32_000 + 44 + 64_000)
    out = tmp_path / "datasets" / "tiny"

    def free(size: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10**12, 10**12 - size, size))

    free(audio + logmel)  # the excerpts, which are kept while it is made, do not fit
    with pytest.raises(RemixbenchError, match=r"datasets/tiny: needs about 6\.3 MB of disk, 5\.0 MB are free; "):
        make(recipe=recipe, sources=corpus, out=out, stems=True, jobs=1)
    assert list(tmp_path.iterdir()) == []
    excerpts = 8 * 4001 * len({file.name for file in (corpus / tiny.FSD_AUDIO).iterdir()})
    free(audio + logmel + excerpts)
    made = make(recipe=recipe, sources=corpus, out=out, stems=True, jobs=1)
    assert made is not None
    free(0)
    make(recipe=recipe, sources=corpus, out=out, stems=True, jobs=1)  # all is there
    made.stems_path("00003", 10).unlink()
    with pytest.raises(RemixbenchError, match="needs about"):
        make(recipe=recipe, sources=corpus, out=out, stems=True, jobs=1)


def test_a_full_disk_is_named_when_an_array_is_written(tmp_path: Path) -> None:
    with largest_file(10_000), pytest.raises(OSError, match="File too large") as caught:
        write_array(tmp_path / "a.npy", np.zeros(100_000))
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_when_a_checkpoint_is_written(tmp_path: Path) -> None:
    import torch

    from remixbench.training.run_files import read_checkpoint, write_checkpoint

    write_checkpoint(tmp_path, "0", {"epoch": 1})
    with largest_file(10_000), pytest.raises(OSError, match="File too large") as caught:
        write_checkpoint(tmp_path, "0", {"weights": torch.zeros(100_000)})
    assert caught.value.errno == errno.EFBIG
    assert read_checkpoint(tmp_path, "0") == {"digest": "0", "epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_full_disk_is_named_when_a_model_is_written(tmp_path: Path) -> None:
    import torch

    from remixbench.training.data import Standardisation
    from remixbench.training.model_file import ModelConfig, write_model

    level, even = np.zeros(8, np.float32), np.full(2, 0.5, np.float32)
    config = ModelConfig(
        system="gap",
        options={},
        width=1.0,
        classes=("a", "b"),
        frames=9,
        n_mels=8,
        recipe={"mix": {}, "features": {}},
        digest="0",
    )
    with largest_file(10_000), pytest.raises(OSError, match="File too large") as caught:
        write_model(
            tmp_path / "m.safetensors",
            config,
            {"w": torch.zeros(9999)},
            Standardisation(level, level + 1),
            even,
            1 - even,
        )
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_an_output_encoding_may_lack_a_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the command's own handler stays out of this process
    dataset = fake_dataset(tmp_path)
    fake_run(tmp_path, dataset)
    (tmp_path / "mine.csv").write_text(tags_text(dataset, 4, noise=0.1, seed=0))
    command = ["--workspace", str(tmp_path), "score", "--bootstrap", "20"]
    for arguments in (["--format", "md"], [str(tmp_path / "mine.csv"), "--name", "Ж–", "--snr", "0", "--fold", "4"]):
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main([*command, *arguments])
        assert ended.value.code == 0
        for stream in (out, err):
            stream.flush()
        assert b"Error" not in err.buffer.getvalue()  # type: ignore[attr-defined]
        assert b"gap" in out.buffer.getvalue()  # type: ignore[attr-defined]


def test_a_file_name_that_is_not_utf8_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = fake_dataset(tmp_path)
    (tmp_path / ODD).write_text(tags_text(dataset, 4, noise=0.1, seed=0))
    with pytest.raises(InputError, match=r"caf\\udce9.csv': its name is not UTF-8, which tables cannot hold; rename"):
        score(tmp_path / ODD, workspace=tmp_path, name="mine", snr=0, fold=4, bootstrap=0)
    out = tmp_path / os.fsdecode(b"caf\xe9")
    assert run(["--workspace", str(tmp_path), "make", "--recipe", "mini", "--out", str(out)]) == 2
    assert "expected the name of a folder, of 1 to 100 characters" in capsys.readouterr().err
    assert not out.exists()


def test_a_long_label_is_refused_where_it_is_read() -> None:
    assert checked_label("t.csv, line 2", "x" * 200) == "x" * 200
    with pytest.raises(InputError, match=r"t.csv, line 2: label 'xxx.*'... has 5000 characters, expected 1 to 200"):
        checked_label("t.csv, line 2", "x" * 5000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"plan__polyphony": 1, "plan__max_event": 3600, "mix__sample_rate": 192000, "mix__duration": 3600},
            "a clip would need .* 32 excerpts of events 165 GiB, expected at most 16 GiB; lower mix.duration",
        ),
        (
            {"mix__sample_rate": 192000, "mix__duration": 3600, "features__hop_length": 1, "features__n_mels": 512},
            "a clip would need 1,360 GiB of memory, .* expected at most 16 GiB; lower mix.duration",
        ),
    ],
)
def test_a_recipe_that_no_machine_has_memory_for_is_refused(
    corpus: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    recipe = parse_recipe(tiny.changed(tiny.RECIPE, **changes), "big")
    with pytest.raises(InputError, match=message):
        make(recipe=recipe, sources=corpus, workspace=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_levels_beyond_100_db_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", str(tmp_path), "make", "--recipe", "mini", "--snr", "1e308"]) == 2
    assert "'1e308' is not an SNR in dB" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"plan.snr_spread.range.1: found 1e\+308; expected less"):
        parse_recipe(tiny.changed(tiny.STRICT, plan__snr_spread=[0, 1e308]), "loud")


@pytest.mark.parametrize("suffix", ["wav", "aiff", "mp3"])
def test_truncated_audio_is_refused_by_predict_as_by_make(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"a.{suffix}: truncated, "):
        read_audio(path)


@pytest.mark.parametrize("rate", [1, 2_000_000_000])
def test_a_sample_rate_that_no_recording_has_is_refused(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), rate)
    with pytest.raises(InputError, match=rf"a.wav: has a sample rate of {rate:,} Hz, expected 1,000 to 1,000,000"):
        read_audio(tmp_path / "a.wav")
