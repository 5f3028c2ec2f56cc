"""A leaderboard for programs: CSV, JSON, and JSON lines in the schema of Every Eval Ever.

CSV has one value per line (`Leaderboard.to_dataframe`), JSON everything. A line of Every Eval Ever (version 0.3.0) is
an evaluation of one row at one SNR. The schema and its validator are in the package `every-eval-ever` (Python 3.12 or
later), which is not needed to write these lines. Published rows are left out, as they were not evaluated here.
"""

from __future__ import annotations

import json
import re
from typing import Any

from remixbench import __version__
from remixbench.leaderboard.leaderboard import TRUTHS, Leaderboard
from remixbench.leaderboard.record import Record, starts_formula
from remixbench.leaderboard.rows import Condition, Estimate, Row, about_row
from remixbench.scoring.bootstrap import LEVEL
from remixbench.scoring.metrics import METRICS, Metric

FORMAT = 3
SCHEMA_VERSION = "0.3.0"
"""Of Every Eval Ever."""
ORGANISATION = "remixbench"


def to_csv(leaderboard: Leaderboard) -> str:
    r"""Return every value as a line of CSV, with `\n` line ends."""
    table = leaderboard.to_dataframe()
    texts = table.select_dtypes("object").columns
    table[texts] = table[texts].map(plain_text)
    for name in (*TRUTHS, "comparable"):
        table[name] = table[name].map({True: "true", False: "false"})
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


def plain_text(text: Any) -> Any:
    """Return a text, with an apostrophe before it if a spreadsheet would take it for a formula."""
    return f"'{text}" if isinstance(text, str) and starts_formula(text) else text


def to_json(leaderboard: Leaderboard) -> str:
    """Return the whole leaderboard as JSON: rows with metrics and their provenance, published rows, notes."""
    board = leaderboard
    value = {
        "format": FORMAT,
        "dataset": {
            "name": board.dataset,
            "recipe": board.recipe,
            "manifest_digest": board.manifest_digest,
            "comparable": board.comparable,
            "not_comparable": list(board.why_not_comparable),
        },
        "scoring_version": board.scoring_version,
        "rows": [_row(board, row) for row in board.rows],
        "chance": [
            {
                "folds": list(folds),
                "clips": clips,
                "metrics": board.chance.metrics(folds),
                "per_class": {"ap": board.chance.classes(folds)},
            }
            for folds, clips in sorted({tested for snr in board.snrs for tested in board.tested(snr)})
        ],
        "published": list(board.published.tidy()),
        "left_out": list(board.left_out),
    }
    return dumps(value)


def _row(board: Leaderboard, row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "evidence": row.evidence,
        "submission": row.submission or None,
        "system": row.system,
        "settings": row.settings,
        "flags": [flag.model_dump() for flag in row.flags],
        **{key: list(texts) for key, texts in about_row(row).items()},
        "conditions": [
            {
                "snr": condition.snr,
                "folds": list(condition.folds),
                "seeds": list(condition.seeds),
                "one_training": condition.one_training,
                "clips": condition.clips,
                "evidence": condition.state,
                "not_verified": list(condition.not_verified),
                "metrics": {name: _with_published(board, row, condition, name) for name in condition.metrics},
                "per_class": condition.per_class,
                "cost": condition.cost.model_dump(),
                "probes": {} if condition.probes is None else condition.probes.as_dict(),
                "provenance": [provenance(record) for record in condition.records],
            }
            for condition in row.conditions.values()
        ],
    }


def _with_published(board: Leaderboard, row: Row, condition: Condition, metric: str) -> dict[str, Any]:
    estimate = condition.metrics[metric]
    published = board.published.value(row.system, condition.snr, metric) if board.comparable and row.plain else None
    ours = estimate.as_dict()
    return ours if published is None else ours | {"published": published, "difference": estimate.value - published}


def provenance(record: Record) -> dict[str, Any]:
    """Return what one record's metrics were computed from and with."""
    system = {"fold": record.system.fold, "seed": record.system.seed}
    return system | record.provenance.model_dump(mode="json") | {"settings": record.settings}


def dumps(value: Any) -> str:
    """Return a value as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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
