"""Figures and tables for a paper: what is chosen, what stands in them, and that LaTeX sets them."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fake_dataset import fake_dataset
from fake_runs import fake_run

import remixbench
from remixbench import score
from remixbench.cli import run
from remixbench.errors import InputError

pytest.importorskip("matplotlib", reason="figures need matplotlib")
STRANGER = 'Ça & [50 %] "$x_1$" ę#~^\\ {a} → β'


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    dataset = fake_dataset(folder, snrs=(0.0, 10.0, 20.0))
    for system in ("gap", "gmp"):
        for snr in (0.0, 10.0, 20.0):
            for seed in (0, 1):
                fake_run(folder, dataset, system, snr=snr, seed=seed, noise=0.4, frames=True)
    fake_run(folder, dataset, "gwrp", snr=0.0, noise=0.4, frames=True, epochs=9, variant="gwrp,epochs=9")
    fake_run(folder, dataset, "gwrp", snr=0.0, noise=0.4, frames=True, fraction=0.5, variant="gwrp,fraction=0.5")
    tags = folder / "tags.csv"
    tags.write_text(next((folder / "runs").rglob("tags.csv")).read_text())
    score(workspace=folder, bootstrap=30)
    score(tags, workspace=folder, name=STRANGER, snr=20, fold=4, bootstrap=30)
    return folder


def test_a_table_has_the_metrics_and_rows_chosen(workspace: Path, tmp_path: Path) -> None:
    file = remixbench.figure(
        tmp_path / "table.tex", metric=["frame_ap", "event_f1"], row=["gmp", "gap"], snr=[0, 20], workspace=workspace
    )
    text = file.read_text()
    assert text.count("frame AP &") == 2
    assert r"\multicolumn{2}{c}{20 dB} & \multicolumn{2}{c}{0 dB}" in text
    assert [line.split(" & ")[0] for line in text.splitlines() if line.startswith("g")] == ["gmp", "gap"]
    board = score(workspace=workspace, bootstrap=30)
    estimate = board.find_row("gap").estimate(20, "frame_ap")
    assert estimate is not None
    assert f"{estimate.value:.3f}" in next(line for line in text.splitlines() if line.startswith("gap"))
    assert r"\textendash{}" in text
    plain = remixbench.figure(tmp_path / "plain.tex", intervals=False, workspace=workspace).read_text()
    assert r"\textendash{}" not in plain
    assert r"$\pm$" in plain


def test_rows_are_left_out_by_name_or_flag(workspace: Path, tmp_path: Path) -> None:
    whole = remixbench.figure(tmp_path / "whole.tex", workspace=workspace).read_text()
    part = remixbench.figure(tmp_path / "part.tex", without=["fraction", "gap"], workspace=workspace).read_text()
    assert "\ngap &" in whole
    assert "\ngap &" not in part
    assert "\ngmp &" in part
    assert "trained on 0.5" in whole
    assert "trained on 0.5" not in part


def test_rows_without_any_of_the_metrics_are_left_out_unless_asked_for(workspace: Path, tmp_path: Path) -> None:
    """Predictions of tags alone have no frame AP."""
    tags_only = r"50 \%"  # of the name of the row
    whole = remixbench.figure(tmp_path / "tags.tex", metric=["micro_ap", "frame_ap"], workspace=workspace).read_text()
    frames = remixbench.figure(tmp_path / "frames.tex", metric="frame_ap", workspace=workspace).read_text()
    asked = remixbench.figure(tmp_path / "row.tex", metric="frame_ap", row=["gap", STRANGER], workspace=workspace)
    assert tags_only in whole
    assert tags_only not in frames
    assert tags_only in asked.read_text()


@pytest.mark.parametrize("name", ["curve.svg", "table.svg", "table.tex"])
def test_rows_of_one_training_and_of_other_folds_are_told_apart(tmp_path: Path, name: str) -> None:
    """A row of one training a fold, one of two, and one on other folds; chance is that of some folds alone."""
    dataset = fake_dataset(tmp_path)
    for system, folds, seeds in (("gap", (3, 4), (0,)), ("gmp", (3, 4), (0, 1)), ("gwrp", (1,), (0,))):
        for snr, fold, seed in itertools.product((0.0, 20.0), folds, seeds):
            fake_run(tmp_path, dataset, system, snr=snr, fold=fold, seed=seed)
    score(workspace=tmp_path, bootstrap=30)
    kind = None if name == "table.tex" else name.removesuffix(".svg").replace("curve", "snr")
    text = remixbench.figure(tmp_path / name, kind=kind, workspace=tmp_path).read_text().replace(r"\ddag{}", "‡")
    assert "‡: one training per fold; another may differ by more." in text
    assert len(re.findall(r"(gap|gwrp)[^<&]*‡", text)) == 2
    assert not re.search(r"gmp[^<&]*‡", text)
    assert all(float(x) > 0 for x in re.findall(r"translate\((\S+) ", text))  # nothing begins beyond the edge
    if name == "curve.svg":
        assert "chance, folds 3-4" in text
    if name == "table.tex":
        assert "Tested on folds 3-4 (24 clips), where no heading says otherwise. 1 to 2 trainings per fold." in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
@pytest.mark.parametrize("intervals", [True, False])
@pytest.mark.parametrize("metrics", [["micro_ap"], ["micro_ap", "macro_ap"], ["micro_ap", "macro_ap", "frame_ap"]])
def test_latex_sets_it_in_two_columns_with_booktabs_alone(
    workspace: Path, tmp_path: Path, metrics: list[str], intervals: bool
) -> None:
    remixbench.figure(tmp_path / "table.tex", metric=metrics, intervals=intervals, workspace=workspace)
    (tmp_path / "paper.tex").write_text(
        "\\documentclass[twocolumn]{article}\n\\usepackage{booktabs}\n\\usepackage[margin=2cm]{geometry}\n"
        "\\begin{document}\nText.\n\\input{table}\n\\end{document}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "paper"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


@pytest.mark.parametrize("arguments", [["curve.pdf"], ["curve.svg", "--metric", "micro_ap", "psds1"],
                                       ["table.svg", "--kind", "table"], ["table.pdf", "--kind", "table"]])  # fmt: skip
def test_pictures_are_written_and_the_same_every_time(
    workspace: Path, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / arguments[0]
    command = ["-q", "--workspace", str(workspace), "figure", "--out", str(out), *arguments[1:]]
    assert run(command) == 0
    assert capsys.readouterr().out == f"{out}\n"
    first = out.read_bytes()
    if arguments[0] in ("curve.pdf", "table.svg"):
        assert run(command) == 0
        assert out.read_bytes() == first
    if out.suffix == ".svg":
        text = first.decode()
        assert all(word in text for word in (">gap<", ">gmp<", ">chance<", "micro-AP"))
        assert "Ça &amp; [50 %]" in text


def test_a_drawn_table_explains_its_marks_as_latex_does(workspace: Path, tmp_path: Path) -> None:
    remixbench.figure(tmp_path / "table.svg", kind="table", workspace=workspace)
    remixbench.figure(tmp_path / "table.tex", workspace=workspace)
    drawn = re.sub(r"\s+", " ", " ".join(re.findall(r">([^<>]+)</text>", (tmp_path / "table.svg").read_text())))
    latex = (tmp_path / "table.tex").read_text()
    for text in ("Below a value: its 95", "Bold: no system is significantly better.", "standard deviation over seeds"):
        assert (text in drawn) == (text in latex)
    assert "Below a value: its 95 % interval." in drawn
    assert "Tested on fold 4" in drawn


def test_curves_explain_their_whiskers_and_values_that_were_not_verified(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, out = score(workspace=workspace), tmp_path / "curve.svg"

    def drawn(**options: object) -> str:
        return remixbench.figure(out, row=["gap", "gmp"], workspace=workspace, **options).read_text()  # type: ignore[arg-type]

    text = drawn()
    assert "Whiskers: 95 % intervals." in text
    assert "self-reported" not in text
    assert "Whiskers" not in drawn(intervals=False)
    gap, gmp = (next(row for row in board.rows if row.name == name) for name in ("gap", "gmp"))
    unverified = {
        snr: replace(condition, metrics={k: replace(v, verified=False) for k, v in condition.metrics.items()})
        for snr, condition in gap.conditions.items()
    }
    changed = replace(board, rows=(replace(gap, conditions=unverified), gmp))
    monkeypatch.setattr("remixbench.leaderboard.figure.load_leaderboard", lambda *_: changed)
    text = drawn()
    assert ">gap?<" in text
    assert ">gmp<" in text
    assert "?: self-reported." in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "x.png"], "x.png: cannot write '.png'; expected a name ending in .pdf, .svg or .tex"),
        (["--out", "x.tex", "--kind", "snr"], "curves cannot be LaTeX"),
        (["--out", "x.pdf", "--metric", "micro"], "micro_ap"),
        (["--out", "x.pdf", "--metric", "sdr"], "--metric sdr: no row has it"),
        (["--out", "x.pdf", "--row", "gapp"], "gap"),
        (["--out", "x.pdf", "--without", "gapp"], "gap"),
        (["--out", "x.pdf", "--snr", "5"], "--snr 5: no row of the leaderboard is at that SNR"),
        (["--out", "x.pdf", "--row", "gap", "--without", "gap"], "no row is left to show"),
        (["--out", "x.pdf", "--snr", "0"], "a curve needs two SNRs or more"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    workspace: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options[1] = str(tmp_path / options[1])
    assert run(["-q", "--workspace", str(workspace), "figure", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_another_kind_is_refused(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown figure kind"):
        remixbench.figure(tmp_path / "x.pdf", kind="bars", workspace=workspace)
