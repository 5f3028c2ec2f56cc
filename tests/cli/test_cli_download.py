"""The command: what it prints, its exit status, and an interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from download_tools import TAU, on_disk, packed, small_records, write_sums
from faulty_server import Fault, FaultyServer

from remixbench.cli import run

TREE = small_records()
ARCHIVES = packed(TREE)


def test_download_then_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sums = write_sums(ARCHIVES, tmp_path / "sums")
    begin = ["--workspace", str(tmp_path), "download"]
    with FaultyServer(dict(ARCHIVES)) as server:
        assert run([*begin, "--mirror", server.url, "--checksums", str(sums), "--yes"]) == 0
    assert on_disk(tmp_path / "sources") == TREE
    out, err = capsys.readouterr()
    assert out.endswith("5 archives fetched in 10 requests, 5 unpacked, 0 already present\n")
    assert "licence: " in err
    assert run([*begin, "--check"]) == 0
    (tmp_path / "sources" / TAU / "audio/airport-lisbon-1-0-a.wav").unlink()
    assert run([*begin, "--check", "tau2019"]) == 1
    out, err = capsys.readouterr()
    assert "tau2019: 3 of 4 recordings are valid; " in out
    assert err.splitlines()[-1].startswith("remixbench: 1 recordings are missing or invalid (tau2019)")


def test_addresses_are_printed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["download", "--print-urls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 26
    assert all(line.startswith("https://zenodo.org/records/25") for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [["tau"], ["--parts", "0"], ["--jobs", "0"], ["--jobs", "x"], ["--mirror", "nowhere"], ["--checksums", "none.txt"]],
)
def test_bad_input_is_one_line_and_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["download", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("option", ["--mirror http://x", "--checksums sums", "--print-urls"])
def test_a_check_refuses_options_of_a_download(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["download", "--check", *option.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{option.split()[0]}: has no effect with --check, which fetches nothing; leave it out" in line


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interrupt_ends_soon_even_when_the_server_hangs(tmp_path: Path) -> None:
    sums = write_sums(ARCHIVES, tmp_path / "sums")
    command = [
        sys.executable,
        "-c",
        # a suite that was started in the background has the signal ignored
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from remixbench.cli import main; main()",
        "--workspace",
        str(tmp_path),
        "download",
    ]
    with FaultyServer(dict(ARCHIVES), pace=2.0) as server:
        process = subprocess.Popen(
            [*command, "--mirror", server.url, "--checksums", str(sums)], stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 300
        while server.count("GET") == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        # without the interrupt the paced server would take hours; the bound is generous for busy machines
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "remixbench: interrupted; rerun to resume"
    with FaultyServer(dict(ARCHIVES), {path: [Fault("drop", 10)] for path in ARCHIVES}) as server:
        assert (
            run(["--workspace", str(tmp_path), "-q", "download", "--mirror", server.url, "--checksums", str(sums)]) == 0
        )
    assert on_disk(tmp_path / "sources") == TREE
