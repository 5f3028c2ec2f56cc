"""The leaderboard in the schema of Every Eval Ever; validated by its package where that is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_dataset import fake_dataset
from fake_runs import fake_run

from remixbench import score
from remixbench.cli import run
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.renderers import render
from remixbench.leaderboard.renderers.every_eval_ever import SCHEMA_VERSION, to_every_eval_ever


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    dataset = fake_dataset(tmp_path)
    for snr in (0.0, 20.0):
        fake_run(tmp_path, dataset, snr=snr, frames=True)
    predictions = tmp_path / "runs/fake/gap/snr_20/fold_4/seed_0/predictions/tags.csv"
    score(workspace=tmp_path, bootstrap=20)
    return score(predictions, workspace=tmp_path, name="a system/of ours", snr=20, fold=4, bootstrap=20)


def evaluations(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_row_and_snr_is_an_evaluation_with_its_metrics(board: Leaderboard) -> None:
    written = evaluations(to_every_eval_ever(board, 1_800_000_000.4))
    assert [(each["model_info"]["name"], each["evaluation_results"][0]["evaluation_name"]) for each in written] == [
        (row.name, f"fake at {snr:g} dB") for row in board.rows for snr in row.conditions
    ]
    assert {each["retrieved_timestamp"] for each in written} == {"1800000000"}
    assert "fake-at-20-dB/remixbench/a-system-of-ours/1800000000" in {each["evaluation_id"] for each in written}
    assert len({each["evaluation_id"] for each in written}) == len(written)
    by_name = {row.name: row for row in board.rows}
    for evaluation in written:
        row = by_name[evaluation["model_info"]["name"]]
        snr = float(evaluation["evaluation_results"][0]["evaluation_name"].split()[-2])
        estimates = row.conditions[snr].metrics
        assert {result["evaluation_result_id"] for result in evaluation["evaluation_results"]} == set(estimates)
        for result in evaluation["evaluation_results"]:
            estimate = estimates[result["evaluation_result_id"]]
            assert result["score_details"]["score"] == estimate.value
            interval = result["score_details"]["uncertainty"].get("confidence_interval")
            assert (interval is None) == (estimate.low is None)
            if interval is not None:
                assert (interval["lower"], interval["upper"]) == (estimate.low, estimate.high)
    names = {result["evaluation_result_id"]: result["metric_config"] for result in written[0]["evaluation_results"]}
    assert names["segment_er"]["lower_is_better"] is True
    assert names["segment_er"]["max_score"] == "Infinity"
    assert names["micro_ap"]["lower_is_better"] is False


def test_it_is_valid_json_in_the_published_schema(board: Leaderboard) -> None:
    pytest.importorskip("every_eval_ever", reason="every-eval-ever needs Python 3.12")
    import jsonschema
    from every_eval_ever.eval_types import EvaluationLog
    from every_eval_ever.schema import get_schema_version, schema_json

    assert get_schema_version() == SCHEMA_VERSION
    for evaluation in evaluations(render(board, "every-eval-ever")):
        jsonschema.validate(evaluation, schema_json())
        EvaluationLog.model_validate(evaluation)


def test_the_command_prints_it(board: Leaderboard, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", str(tmp_path), "-q", "score", "--bootstrap", "20", "--format", "every-eval-ever"]) == 0
    assert len(evaluations(capsys.readouterr().out)) == sum(len(row.conditions) for row in board.rows)
    command = ["--workspace", str(tmp_path), "-q", "score", "--bootstrap", "20", "--compare", "gap", "a system/of ours"]
    assert run([*command, "--format", "every-eval-ever"]) == 2
    assert "unknown table format 'every-eval-ever'" in capsys.readouterr().err
