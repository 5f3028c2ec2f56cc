"""The short answer of `score`, and what rows cost."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_dataset import fake_dataset
from fake_runs import fake_run, tags_text
from rich.cells import cell_len

from remixbench import score
from remixbench.cli import run
from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.leaderboard.board_tables import details_table, main_table, time_text
from remixbench.leaderboard.comparisons import render_comparison
from remixbench.leaderboard.leaderboard import Leaderboard, at_snr
from remixbench.leaderboard.record import Cost, Flag
from remixbench.leaderboard.renderers import render, render_summary
from remixbench.leaderboard.renderers.terminal import to_terminal
from remixbench.leaderboard.rows import Condition, Estimate, Probes, Row
from remixbench.leaderboard.significance import compare_rows
from remixbench.leaderboard.summary import ranking
from remixbench.leaderboard.table_maker import TableMaker
from remixbench.leaderboard.tables import Block, Cell, Column, Line, Table, quantity

SYSTEMS = ("gap", "gmp", "gwrp", "atrous-ap", "atrous-2ap-aux")
SNRS = (0.0, 10.0, 20.0)
COST = {"parameters": 4_686_144, "macs": 1_234_567_890, "seconds": 754.0, "device_name": "NVIDIA H100"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return fake_dataset(tmp_path_factory.mktemp("workspace"), snrs=SNRS)


@pytest.fixture(scope="module")
def workspace(dataset: Dataset) -> Path:
    return dataset.path.parents[1]


@pytest.fixture(scope="module")
def board(workspace: Path, dataset: Dataset) -> Leaderboard:
    for system in SYSTEMS:
        for snr in SNRS:
            fake_run(workspace, dataset, system, snr=snr, noise=0.6, frames=True, **COST)
    tags = workspace / "tags.csv"
    tags.write_text(tags_text(dataset, 4, noise=0.1, seed=1))
    score(workspace=workspace, bootstrap=20)
    return score(tags, workspace=workspace, name="Lab X", snr=20, fold=4, bootstrap=20)


def shown_at(board: Leaderboard, snr: float | None) -> Leaderboard:
    """The leaderboard at one SNR; whole where that is None."""
    return board if snr is None else at_snr(board, snr)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("snr", [None, 20.0])
def test_it_fits_a_screen_at_any_width_and_no_column_is_cut(board: Leaderboard, width: int, snr: float | None) -> None:
    lines = render_summary(shown_at(board, snr), width=width, files="leaderboard/fake.{csv,md,json,tex}").splitlines()
    assert len(lines) <= 30
    assert max(map(cell_len, lines)) <= min(width, 100)
    assert lines[0].startswith("Data set fake, ")
    assert "leaderboard/fake." in "".join(lines)
    assert [line for line in lines if "…" in line] == []
    for system in SYSTEMS:
        shown = [line for line in lines if f" {system} " in f" {line}"]
        assert len(shown) in (1, len(SNRS))
        assert all(line.endswith(("1 × 1‡", "1.23 G")) for line in shown)


def test_rows_are_ranked_at_every_snr_by_micro_ap(board: Leaderboard) -> None:
    ranked = ranking(TableMaker(board), 0).lines
    assert [line.snr for line in ranked] == ["20 dB"] * 7 + ["10 dB"] * 6 + ["0 dB"] * 6
    for snr in SNRS:
        at_snr = [line for line in ranked if line.snr == f"{snr:g} dB"]
        values = [line.cells[0].estimate.value for line in at_snr if line.cells[0].estimate is not None]
        assert [line.rank for line in at_snr if line.head != "chance"] == list(range(1, len(at_snr)))
        assert [line.rank for line in at_snr if line.head == "chance"] == [None]
        assert values == sorted(values, reverse=True)
        assert len(values) == len(at_snr)
    assert ranked[0].head == "Lab X"


def test_rows_of_equal_values_share_a_rank(board: Leaderboard) -> None:
    def of_value(row: Row, value: float) -> Row:
        condition = replace(row.conditions[20.0], metrics={"micro_ap": Estimate(value)})
        return replace(row, conditions={20.0: condition})

    values = (0.5, 0.7, 0.5, 0.7, 0.3)
    rows = tuple(of_value(row, value) for row, value in zip(board.rows, values, strict=False))
    lines = ranking(TableMaker(replace(board, rows=rows)), 0).lines
    assert [(line.rank, line.cells[0].text) for line in lines if line.head != "chance"] == [
        (1, "0.700"), (1, "0.700"), (3, "0.500"), (3, "0.500"), (5, "0.300"),
    ]  # fmt: skip


def test_at_100_columns_it_has_intervals_and_cost(board: Leaderboard) -> None:
    lines = render_summary(at_snr(board, 20.0), width=100).splitlines()
    words = next(line for line in lines if "gwrp" in line and line.startswith("20 dB")).split()
    assert words[-4:] == ["4.69", "M", "1.23", "G"]
    assert sum("–" in word for word in words) == 2  # intervals of micro-AP and macro-AP


def test_a_long_name_is_cut_rather_than_the_metrics(board: Leaderboard) -> None:
    rows = tuple(replace(row, name="A system with a name " * 5) if row.name == "Lab X" else row for row in board.rows)
    lines = render_summary(replace(board, rows=rows), width=100).splitlines()
    (line,) = (line for line in lines if "A system with" in line)
    assert "…" in line
    short = next(line for line in render_summary(board, width=100).splitlines() if "Lab X" in line)
    words, expected = line.split("…")[1].split(), short.split("Lab X")[1].split()
    assert (words[:2], words[-3:]) == (expected[:2], expected[-3:])


def test_names_with_wide_letters_are_cut_to_their_column_and_flags_stay(board: Leaderboard) -> None:
    flags = (Flag(code="setting", text="epochs 4, the recipe has 30"),)
    row = replace(board.rows[0], name="東京大学の検出器とその仲間たち", flags=flags)  # 15 letters in 30 columns
    for width in (60, 80, 100):
        lines = render_summary(at_snr(replace(board, rows=(row, *board.rows[1:3])), 20.0), width=width).splitlines()
        shown = [line for line in lines if line.startswith("20 dB") and "chance" not in line]
        assert len(shown) == 3
        assert max(map(cell_len, lines)) <= width
        assert [line.count("†") for line in shown if "東京" in line] == [1]
        assert len({cell_len(re.split(r"[01]\.\d{3}", line)[0]) for line in shown}) == 1


def test_rows_without_micro_ap_stand_below_all_that_have_it(board: Leaderboard) -> None:
    def changed(row: Row, metrics: Callable[[Condition], dict[str, Estimate]]) -> Row:
        return replace(row, conditions={snr: replace(c, metrics=metrics(c)) for snr, c in row.conditions.items()})

    first, second, *others = board.rows
    no_tags = changed(first, lambda c: {name: m for name, m in c.metrics.items() if name != "micro_ap"})
    claim = changed(second, lambda c: {name: replace(m, verified=False) for name, m in c.metrics.items()})
    rows = (replace(no_tags, name="no tags"), replace(claim, name="claim"), *others)
    ranked = ranking(TableMaker(at_snr(replace(board, rows=rows), 10.0)), 0).lines
    assert [(line.head, line.rank) for line in ranked][-2:] == [("claim", 4), ("no tags", None)]


def test_ideal_masks_alone_are_no_error(board: Leaderboard) -> None:
    alone = replace(board, rows=tuple(replace(row, kind="ideal") for row in board.rows))
    assert "All metrics" in render_summary(alone)


def test_the_only_flag_is_named(board: Leaderboard) -> None:
    assert "†" not in render_summary(board)
    flagged = [replace(row, flags=(Flag(code="setting", text="epochs 4, the recipe has 30"),)) for row in board.rows]
    text = render_summary(replace(board, rows=tuple(flagged)), width=100)
    assert "†: epochs 4, the recipe has 30\n" in text
    assert "gwrp†" in text


def test_names_that_differ_at_their_ends_alone_are_told_apart_at_any_width(board: Leaderboard) -> None:
    """Of another digest of an encoder, of another setting, and in wide letters."""
    flags = (Flag(code="setting", text="epochs 4, the recipe has 30"),)
    for start in ("emb-mlp,encoder=My (encoder digest 9dcc9c975937", "東京大学の検出器とその仲間たち"):
        rows = tuple(replace(row, name=f"{start}{k})", flags=flags) for k, row in enumerate(board.rows[:3]))
        for width in (60, 80, 100):
            lines = render_summary(at_snr(replace(board, rows=rows), 20.0), width=width).splitlines()
            shown = [line.split("†")[0] for line in lines if "†" in line and line.startswith("20 dB")]
            assert len(shown) == 3
            assert sorted(name[-2:] for name in shown) == ["0)", "1)", "2)"]
            assert max(map(cell_len, lines)) <= width


def test_rows_of_other_encoders_are_told_apart_and_flags_stay_at_80_columns(board: Leaderboard) -> None:
    names = [
        "emb-mlp,encoder=yamnet",
        "emb-mlp,encoder=aisfx",
        "crnn-emb,encoder=yamnet",
        "emb-linear,encoder=beats_iter3",
    ]
    flags = (Flag(code="setting", text="epochs 4, the recipe has 30"),)
    rows = tuple(replace(row, name=name, flags=flags) for row, name in zip(board.rows, names, strict=False))
    for snr in (None, 20.0):
        text = render_summary(shown_at(replace(board, rows=rows), snr), width=80)
        for shown in ("emb-mlp,yamnet†", "emb-mlp,aisfx†", "crnn-emb,yamnet†", "emb-linear,bea"):
            assert shown in text


LEGEND = {
    "–": "low–high: ", "*": "*: no row", "±": "±: ", "‡": "‡: ", "≈": "≈: ", "?": "?: not verified", "†": "†: ",
    "shifted": "shifted: ", "is of this training": "–",
}  # fmt: skip
"""A sign in the table, and how its explanation begins; an interval is spoken of where one is shown."""
CASES: dict[str, Callable[[str, Estimate], Estimate]] = {
    "as it is": lambda name, estimate: estimate,
    "signs in metrics that are not shown": lambda name, estimate: replace(
        estimate, at_chance=name == "lwlrap", verified=name != "lwlrap", best=name == "lwlrap",
        std=0.1 if name == "lwlrap" else None,
    ),
    "no signs": lambda name, estimate: Estimate(estimate.value),
    "all signs": lambda name, estimate: replace(
        estimate, at_chance=name == "micro_ap", verified=name != "macro_ap", best=name == "frame_ap", std=0.1,
    ),
    "only micro-AP has a deviation": lambda name, estimate: replace(
        estimate, std=0.1 if name == "micro_ap" else None
    ),
    "only frame AP is at chance": lambda name, estimate: replace(estimate, at_chance=name == "frame_ap", best=False),
    "only macro-AP is not verified": lambda name, estimate: replace(estimate, verified=name != "macro_ap"),
    "only macro-AP has an interval": lambda name, estimate: (
        estimate if name == "macro_ap" else replace(estimate, low=None, high=None)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_legend_explains_the_signs_that_stand_in_the_table_and_no_other(board: Leaderboard, case: str) -> None:
    def changed(condition: Condition) -> Condition:
        shown = Estimate(0.5, at_chance=True)
        probes = Probes(shifts=(0.1,), shifted={}, tested={}, mean=shown) if case == "all signs" else None
        metrics = {name: CASES[case](name, estimate) for name, estimate in condition.metrics.items()}
        return replace(condition, metrics=metrics, probes=probes)

    flags = (Flag(code="setting", text="epochs 4"),) if case == "all signs" else ()
    rows = [
        replace(row, flags=flags, conditions={snr: changed(condition) for snr, condition in row.conditions.items()})
        for row in board.rows
    ]
    few = replace(board, rows=tuple(rows))
    many = replace(board, rows=tuple(replace(row, name=f"{row.name} {k}") for k in range(4) for row in rows))
    explained = set()
    views = [*itertools.product([few], (60, 70, 80, 100), (None, 20.0)), (many, 60, None), (many, 100, 20.0)]
    for shown, width, snr in views:
        lines = render_summary(shown_at(shown, snr), width=width).splitlines()
        end = next(k for k, line in enumerate(lines) if line.startswith(("Not comparable", *LEGEND.values())))
        table, legend = "\n".join(lines[:end]), " ".join(lines[end:])
        for sign, start in LEGEND.items():
            if sign == "is of this training":
                assert (sign in legend) == (start in table and "‡" in table)
            else:
                assert (sign in table) == (start in legend), (sign, width, snr)
                explained |= {sign} & set(table)
    assert case != "all signs" or explained == set("–*±‡≈?†")


def test_published_results_stand_below_where_they_are_on_the_same_data(board: Leaderboard) -> None:
    assert "published micro-AP" not in render_summary(board)
    text = render_summary(replace(board, comparable=True, why_not_comparable=()), width=100)
    best = max(row.scores[20.0][0] for row in board.published.table1.rows)
    assert f"Best published micro-AP: {best:.3f} at 20 dB (" in text


def test_where_all_rows_do_not_fit_each_has_a_line(board: Leaderboard) -> None:
    many = replace(board, rows=tuple(replace(row, name=f"{row.name} {k}") for k in range(8) for row in board.rows))
    for width in (80, 100):
        lines = render_summary(many, width=width).splitlines()
        assert "in order of its mean over SNRs" in lines[0]
        shown = [line for line in lines if "1 × 1‡" in line]
        assert len(shown) == 8 * 6
        values = [float(line.split()[3].rstrip("*≈")) for line in shown if line.startswith("Lab X")]
        assert values == [board.find_row("Lab X").conditions[20.0].metrics["micro_ap"].value] * 8
        (chance,) = (line for line in lines if line.startswith("chance"))
        assert chance.split()[1:] == ["0.400"] * 3


def test_rows_tested_on_other_folds_stand_below_and_are_ranked_apart(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path)
    fake_run(tmp_path, dataset, "gap", noise=0.2)
    fake_run(tmp_path, dataset, "gmp", noise=0.3)
    for fold in (1, 2, 3, 4):
        for seed in (0, 1):
            fake_run(tmp_path, dataset, "gwrp", fold=fold, seed=seed, noise=0.01)
    board = score(workspace=tmp_path, bootstrap=50)
    ranked = ranking(TableMaker(board), 0).lines
    assert {line.head: line.rank for line in ranked if line.head != "chance"} == {"gap": 1, "gmp": 2, "gwrp": 1}
    lines = render_summary(board, width=80).splitlines()
    heading = lines.index("Tested on folds 1-4 (48 clips), not ranked with those above:")
    assert [i > heading for i, line in enumerate(lines) if " gwrp " in line] == [True]
    assert [i > heading for i, line in enumerate(lines) if " chance " in line] == [False, True]
    assert next(line for line in lines if " gwrp " in line).endswith("4 × 2")
    assert "of this training only" in "".join(lines)
    table = main_table(TableMaker(board))
    assert table is not None
    headings = [block.heading for block in table.blocks]
    assert headings == ["Trained here", "", "Trained here, tested on folds 1-4 (48 clips)", ""]
    assert [line.tested for line in table.lines] == [
        "fold 4, this training only", "fold 4, this training only", "fold 4", "folds 1-4, seeds 0-1", "folds 1-4",
    ]  # fmt: skip
    for style in ("md", "latex", "csv", "json"):
        assert "chance" in render(board, style)
    with pytest.raises(InputError, match=r"tested on different folds \('gap' on 4 \(12 clips\); 'gwrp' on 1, 2, 3, 4"):
        compare_rows(board, "gap", "gwrp")
    text = render_comparison(compare_rows(board, "gap", "chance"), board)
    assert "this training only" in " ".join(text.split())


def test_a_row_of_other_folds_at_another_snr_says_so_wherever_it_stands(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path)
    fake_run(tmp_path, dataset, "gap", fold=1, snr=20.0)
    for fold, system in itertools.product((1, 2, 3), ("gap", "gmp")):
        fake_run(tmp_path, dataset, system, fold=fold, snr=0.0)
    board = score(workspace=tmp_path, bootstrap=50)
    comparison = render_comparison(compare_rows(board, "gap", "chance"), board, "md")
    assert "| 20 dB: fold 1, this training only; 0 dB: folds 1-3, these trainings only |" in comparison
    legend = " ".join(render_summary(board, width=80).split())
    assert "the interval is of this training only or these trainings only; another seed" in legend


def test_one_snr_alone(board: Leaderboard, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="--snr 5"):
        at_snr(board, 5.0)
    text = render_summary(at_snr(board, 10.0))
    assert "10 dB" in text
    assert "20 dB" not in text
    arguments = ["-q", "--workspace", str(workspace), "score", "--bootstrap", "20", "--snr"]
    assert run([*arguments, "10"]) == 0
    out = capsys.readouterr().out
    assert "10 dB" in out
    assert "20 dB" not in out
    assert run([*arguments, "5"]) == 2
    assert "there are rows at 20, 10, 0 dB" in capsys.readouterr().err


def test_details_print_every_table(workspace: Path, board: Leaderboard, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-q", "--workspace", str(workspace), "score", "--bootstrap", "20"]
    assert run([*arguments, "--details"]) == 0
    out = capsys.readouterr().out
    assert [title for title in ("Tagging on fake", "Cost", "Detection at 10 dB") if title not in out] == []


def test_details_at_80_columns_cut_no_heading(board: Leaderboard) -> None:
    text = render(board, width=80)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert [line for line in text.splitlines() if "…" in line and not line.startswith("  atrous-2")] == []
    assert text.count("intersection F1") == len(SNRS)


def test_a_wide_group_of_columns_becomes_several_tables() -> None:
    columns = tuple(Column(f"a long heading {k}") for k in range(6))
    lines = (Line("gap", tuple(Cell(f"{k}.000") for k in range(6))),)
    text = to_terminal([Table("T", "system", (("a group", columns),), (Block("", lines),))], width=52)
    assert max(map(cell_len, text.splitlines())) <= 52
    assert [text.count(f"a long heading {k}") for k in range(6)] == [1] * 6
    assert text.count("gap") == 3


def test_every_column_of_the_details_has_the_metric_of_its_heading(board: Leaderboard) -> None:
    table = details_table(TableMaker(board), "Detection", 20.0)
    assert table is not None
    (line,) = (line for line in table.lines if line.head == "gwrp")
    row = board.find_row("gwrp")
    found = {
        (group, column.title): cell
        for (group, column), cell in zip(
            [(group, column) for group, columns in table.groups for column in columns], line.cells, strict=True
        )
    }
    for place, metric in (
        (("detection", "frame AP"), "frame_ap"),
        (("detection", "PSDS 2 raw"), "psds2"),
        (("hysteresis", "micro event F1"), "event_f1[hysteresis]"),
    ):
        estimate = row.estimate(20.0, metric)
        assert estimate is not None
        assert found[place].text == f"{estimate.value:.4f}"


def test_cost_is_in_every_format(board: Leaderboard) -> None:
    row = board.find_row("gwrp")
    assert row.cost == Cost(parameters=4_686_144, macs=1_234_567_890, seconds=754.0, device="NVIDIA H100")
    assert board.find_row("Lab X").cost == Cost()
    value = json.loads(render(board, "json"))
    made = next(each for each in value["rows"] if each["name"] == "gwrp")
    assert made["conditions"][0]["cost"] == row.cost.model_dump()
    frame = board.to_dataframe()
    ours = frame[(frame["name"] == "gwrp") & (frame["metric"] == "micro_ap")]
    columns = ["parameters", "macs", "training_seconds", "device"]
    assert ours[columns].drop_duplicates().to_numpy().tolist() == [[4_686_144, 1_234_567_890, 754.0, "NVIDIA H100"]]
    assert "4686144,1234567890,754.0,NVIDIA H100" in render(board, "csv")
    for style in ("md", "latex"):
        text = render(board, style)
        assert [word for word in ("4.69 M", "1.23 G", "12.6 min", "NVIDIA H100") if word not in text] == []


def test_what_differs_between_the_runs_of_a_row_is_their_cost_and_splits_no_row(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path)
    fake_run(tmp_path, dataset, seed=0, parameters=10, seconds=1.0, device_name="CPU")
    fake_run(tmp_path, dataset, seed=1, parameters=13, seconds=2.5, device_name="NVIDIA H100")
    fake_run(tmp_path, dataset, seed=2, parameters=10, seconds=None, device_name="CPU")
    (row,) = score(workspace=tmp_path, bootstrap=0).rows
    assert row.cost == Cost(parameters=11, seconds=1.75, device="CPU; NVIDIA H100")


def test_a_record_from_before_gets_the_cost_that_its_run_reports(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path)
    fake_run(tmp_path, dataset)
    assert score(workspace=tmp_path, bootstrap=0).find_row("gap").cost == Cost()
    fake_run(tmp_path, dataset, **COST)
    assert score(workspace=tmp_path, bootstrap=0).find_row("gap").cost.parameters == 4_686_144


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0"),
        (999, "999"),
        (999.6, "1.00 k"),
        (38_100, "38.1 k"),
        (4_686_144, "4.69 M"),
        (2e12, "2.00 T"),
    ],
)
def test_counts_have_three_digits(value: float | None, text: str) -> None:
    assert quantity(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (8.12, "8.1 s"), (754, "12.6 min"), (7200, "2.0 h")])
def test_times_are_in_a_unit_that_suits_them(seconds: float | None, text: str) -> None:
    assert time_text(seconds) == text


def test_counts_of_many_folds_are_a_range(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path)
    for fold in (1, 2, 3, 4):
        fake_run(tmp_path, dataset, "gap", fold=fold)
    board = score(workspace=tmp_path, bootstrap=20)
    groups = sorted({record.provenance.groups for record in board.rows[0].conditions[0.0].records})
    assert len(groups) > 1
    assert f"12 clips of {groups[0]} to {groups[-1]} event recordings per fold" in render(board, "md")
