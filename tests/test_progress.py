"""How long work reports its progress to callers of the Python API."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_dataset import fake_dataset
from fake_runs import Said, fake_run

from remixbench import score
from remixbench.progress import SILENT, Bars, Lines, counted, finished, of_total, reporter


def test_true_is_lines_where_standard_error_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reporter(False) is SILENT
    assert isinstance(reporter(True), Lines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(reporter(True), Bars)
    own = Said()
    assert reporter(own) is own


def test_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines().bar("Scoring", 2, "runs") as advance:
        advance(2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Scored 2 runs (")


def test_a_line_is_written_whole_so_that_threads_do_not_write_into_each_others(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("sys.stderr.write", written.append)
    Lines().say("tau2019 meta: 291 bytes (0.0 s)")
    assert written == ["tau2019 meta: 291 bytes (0.0 s)\n"]


def test_one_of_a_unit_is_singular() -> None:
    assert finished("Predicting", counted(1, "files"), 0.25) == "Predicted 1 file (0.2 s)"
    assert finished("Mixing at 3 SNRs", counted(12, "clips"), 9.84) == "Mixing at 3 SNRs: 12 clips (9.8 s)"


def test_a_function_reports_what_it_does_where_asked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_run(tmp_path, fake_dataset(tmp_path))
    score(workspace=tmp_path, bootstrap=0)
    assert capsys.readouterr().err == ""
    score(workspace=tmp_path, bootstrap=0, progress=True)
    assert "0 runs scored, 1 up to date" in capsys.readouterr().err


def test_amounts_are_said_once_with_their_unit() -> None:
    assert of_total(3, 12, "clips") == "3 of 12 clips"
    assert of_total(1_200_000, 1_600_000, "B") == "1.2 MB of 1.6 MB"
