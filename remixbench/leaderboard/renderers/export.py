"""A leaderboard for programs: CSV with one value per line (`Leaderboard.to_dataframe`), and JSON with everything."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from remixbench.leaderboard.leaderboard import TRUTHS, Condition, Leaderboard, Row
from remixbench.leaderboard.record import FORMULA, Record
from remixbench.leaderboard.significance import Comparison
from remixbench.leaderboard.submission import Value, Verification

FORMAT = 3


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
    """Return a text behind an apostrophe if a spreadsheet took it for a formula otherwise."""
    return f"'{text}" if isinstance(text, str) and text[:1] in ("\t", "\r", *FORMULA) else text


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
    return _dumps(value)


def _row(board: Leaderboard, row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "evidence": row.evidence,
        "submission": row.submission or None,
        "system": row.system,
        "settings": row.settings,
        "flags": [flag.model_dump() for flag in row.flags],
        "pretrained_on": list(row.pretrained_on),
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
    known = estimate.as_dict()
    return known if published is None else known | {"published": published, "difference": estimate.value - published}


def provenance(record: Record) -> dict[str, Any]:
    """Return what one record's metrics were computed from and with."""
    system = {"fold": record.system.fold, "seed": record.system.seed}
    return system | record.provenance.model_dump(mode="json") | {"settings": record.settings}


def comparison_to_json(comparison: Comparison) -> str:
    """Return a comparison as JSON."""
    return _dumps(asdict(comparison))


def comparison_to_csv(comparison: Comparison) -> str:
    """Return a comparison as CSV, one metric at one SNR per line."""
    import pandas as pd

    lines = [asdict(each) | {"folds": "; ".join(map(str, each.folds))} for each in comparison.differences]
    text: str = pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")
    return text


def verification_to_json(verification: Verification) -> str:
    """Return what of a submitted row agrees as JSON."""
    return _dumps(
        {
            "row": verification.row,
            "agrees": verification.agrees,
            "values": [_value(verification, value) for value in verification.values],
        }
    )


def verification_to_csv(verification: Verification) -> str:
    """Return what of a submitted row agrees as CSV, a value per line."""
    import pandas as pd

    lines = [_value(verification, value) for value in verification.values]
    text: str = pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")
    return text


def _value(verification: Verification, value: Value) -> dict[str, Any]:
    return asdict(value) | {"record": verification.records[value.record]}


def _dumps(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
