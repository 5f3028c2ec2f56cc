"""A leaderboard in the schema of Every Eval Ever, version 0.3.0: JSON lines, an evaluation of one row at one SNR each.

The schema and its validator are in the package `every-eval-ever` (Python 3.12 or later), which is not needed to write
these lines. Published rows are left out, as they were not evaluated here.
"""

from __future__ import annotations

import json
import re
from typing import Any

from remixbench import __version__
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.rows import Condition, Estimate, Row
from remixbench.scoring.bootstrap import LEVEL
from remixbench.scoring.metrics import METRICS, Metric

SCHEMA_VERSION = "0.3.0"
ORGANISATION = "remixbench"


def to_every_eval_ever(leaderboard: Leaderboard, retrieved: float) -> str:
    """Return an evaluation per line; `retrieved` is the time of writing, in seconds since 1970."""
    lines = [
        json.dumps(_evaluation(leaderboard, row, condition, retrieved), ensure_ascii=False, allow_nan=False)
        for row in leaderboard.rows
        if row.kind != "ideal"
        for condition in row.conditions.values()
    ]
    return "".join(f"{line}\n" for line in lines)


def _evaluation(board: Leaderboard, row: Row, condition: Condition, retrieved: float) -> dict[str, Any]:
    model = f"{ORGANISATION}/{re.sub(r'[^A-Za-z0-9._-]+', '-', row.name).strip('-') or 'unnamed'}"
    name = f"{board.dataset} at {board.snr_text(condition.snr)}"
    at = f"{retrieved:.0f}"
    verified = condition.state != "self-reported"
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{board.dataset}-at-{condition.snr:g}-dB/{model}/{at}",
        "retrieved_timestamp": at,
        "source_metadata": {
            "source_name": f"remixbench leaderboard of {board.dataset}",
            "source_type": "evaluation_run" if verified else "documentation",
            "source_organization_name": ORGANISATION,
            "evaluator_relationship": "first_party" if row.kind == "run" or not verified else "third_party",
            "additional_details": {
                "evidence": condition.state,
                "not_verified": ", ".join(condition.not_verified),
                "manifest_digest": board.manifest_digest,
                "comparable": str(board.comparable).lower(),
            },
        },
        "eval_library": {
            "name": "remixbench",
            "version": __version__,
            "additional_details": {"scoring_version": board.scoring_version},
        },
        "model_info": {
            "name": row.name,
            "id": model,
            "additional_details": {
                "deployment_type": "self_deployed" if row.kind == "run" else "unknown",
                "model_availability": "unknown",
                "kind": row.kind,
                "settings": json.dumps(row.settings, sort_keys=True, ensure_ascii=False),
                "flags": "; ".join(flag.text for flag in row.flags),
            },
        },
        "evaluation_results": [
            _result(board, name, condition, METRICS[metric], estimate)
            for metric, estimate in condition.metrics.items()
            if metric in METRICS
        ],
    }


def _result(board: Leaderboard, name: str, condition: Condition, metric: Metric, estimate: Estimate) -> dict[str, Any]:
    uncertainty: dict[str, Any] = {"num_samples": condition.clips}
    if estimate.low is not None and estimate.high is not None:
        uncertainty["confidence_interval"] = {
            "lower": estimate.low,
            "upper": estimate.high,
            "confidence_level": LEVEL,
            "method": "bootstrap over event recordings, and over seeds where there are several",
        }
        uncertainty["num_bootstrap_samples"] = max(record.provenance.resamples for record in condition.records)
    return {
        "evaluation_result_id": metric.name,
        "evaluation_name": name,
        "source_data": {
            "dataset_name": board.dataset,
            "source_type": "other",
            "additional_details": {
                "recipe": board.recipe,
                "snr": board.snr_text(condition.snr),
                "folds": ", ".join(map(str, condition.folds)),
                "seeds": ", ".join(map(str, condition.seeds)),
                "clips": str(condition.clips),
            },
        },
        "metric_config": {
            "metric_id": f"remixbench.{metric.name}",
            "metric_name": metric.title,
            "metric_unit": "dB" if metric.family == "separation" else "proportion",
            "lower_is_better": metric.direction == "lower",
            "score_type": "continuous",
            "min_score": _bound(metric.range[0]),
            "max_score": _bound(metric.range[1]),
        },
        "score_details": {
            "score": estimate.value,
            "details": {"verified": str(condition.verified(metric.name)).lower()},
            "uncertainty": uncertainty,
        },
    }


def _bound(value: float) -> float | str:
    return {float("inf"): "Infinity", float("-inf"): "-Infinity"}.get(value, value)
