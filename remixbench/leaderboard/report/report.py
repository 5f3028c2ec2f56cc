"""`report`: the leaderboard as one HTML file, with the runs' histories and some clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remixbench import __version__
from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.errors import InputError
from remixbench.files import write_text
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.load import load_leaderboard
from remixbench.leaderboard.probes import probe_tables
from remixbench.leaderboard.record import FLAGS
from remixbench.leaderboard.renderers.export import provenance
from remixbench.leaderboard.report.clips import explore
from remixbench.leaderboard.report.html import part, render_page
from remixbench.leaderboard.report.learning_curves import learning_curves
from remixbench.leaderboard.tables import FAMILIES, TableMaker, title
from remixbench.progress import Progress, reporter
from remixbench.scoring.metrics import METRICS, metrics_shown
from remixbench.scoring.postprocessing import POSTPROCESSINGS

CLIPS = 6
MOST_CLIPS = 40


def report(
    *,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    clips: int = CLIPS,
    out: str | Path | None = None,
    progress: Progress | bool = False,
) -> Path:
    """Write the leaderboard of a data set as one self-contained HTML page, and return its path.

    Parameters
    ----------
    workspace : folder of data sets, runs and leaderboards.
    dataset : name or folder of a data set; by default the one made last.
    clips : number of clips with audio, spectrogram and scores; 0 for none.
    out : where to write; by default `leaderboard/<dataset>.html` in the workspace.
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter.

    Raises
    ------
    InputError
        If nothing was scored on the data set, or files of runs or clips are missing or broken.
    """
    progress = reporter(progress)
    if not 0 <= clips <= MOST_CLIPS:
        raise InputError(f"--clips {clips}: expected 0 to {MOST_CLIPS}")
    workspace = Path(workspace)
    opened = find_dataset(workspace, dataset)
    leaderboard = load_leaderboard(workspace, opened, progress)
    target = workspace / "leaderboard" / f"{opened.name}.html" if out is None else Path(out)
    explored = _explore(leaderboard, opened, workspace, clips, progress) if clips else []
    metrics = shown_metrics(leaderboard)
    page = render_page(
        _context(leaderboard, opened, len(explored)),
        {
            "metrics": [
                {"name": name, "title": title(name), "lower": METRICS[name].direction == "lower"} for name in metrics
            ],
            "snrs": list(leaderboard.snrs),
            "rows": chart_rows(leaderboard, metrics),
            "published": chart_published(leaderboard, metrics),
            "curves": learning_curves(leaderboard, workspace),
            "clips": explored,
        },
    )
    write_text(target, page)
    progress.say(f"{target}: {len(page.encode('utf-8')) / 1e6:.2f} MB")
    return target


def shown_metrics(leaderboard: Leaderboard) -> list[str]:
    """Return the metrics of the page's tables and charts that the leaderboard has."""
    there = leaderboard.metrics()
    return [each.name for each in metrics_shown(None, "main", "details") if each.name in there]


def chart_rows(leaderboard: Leaderboard, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows with what the charts need of them: metrics and the classes' average precision.

    Rows of one `family` differ in the part of the training clips alone.
    """
    families: dict[str, int] = {}
    rows = []
    for row in leaderboard.rows:
        rest = {key: value for key, value in row.settings.items() if key != "fraction"}
        family = json.dumps([row.kind, row.system, rest], sort_keys=True)
        conditions = [
            {
                "snr": snr,
                "metrics": {
                    name: {k: v for k, v in each.as_dict().items() if k in ("value", "low", "high")}
                    for name, each in condition.metrics.items()
                    if name in metrics
                },
                "ap": condition.per_class.get("ap", {}),
            }
            for snr, condition in row.conditions.items()
        ]
        rows.append(
            {
                "name": row.name,
                "fraction": row.settings.get("fraction"),
                "family": families.setdefault(family, len(families)),
                "conditions": conditions,
            }
        )
    return rows


def chart_published(leaderboard: Leaderboard, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the published values that may stand beside ours; none where they are on other data."""
    if not leaderboard.comparable:
        return []
    keys = ("name", "snr", "metric", "value", "class")
    return [
        {key: line.get(key) for key in keys}
        for line in leaderboard.published.tidy()
        if line["dataset"] == leaderboard.published.recipe and line["metric"] in {*metrics, "ap"}
    ]


def _explore(
    leaderboard: Leaderboard, dataset: Dataset, workspace: Path, clips: int, progress: Progress
) -> list[dict[str, Any]]:
    try:
        return explore(leaderboard, dataset, workspace, clips, progress)
    except InputError as error:
        raise InputError(f"{error}; --clips 0 makes a page without clips") from None


def _context(leaderboard: Leaderboard, dataset: Dataset, clips: int) -> dict[str, Any]:
    maker = TableMaker(leaderboard)
    panels = [
        (snr, [t for family in FAMILIES if (t := maker.details(family, snr, with_main=True)) is not None])
        for snr in leaderboard.snrs
    ]
    records = [r for row in leaderboard.rows for each in row.conditions.values() for r in each.records]
    return {
        "board": leaderboard,
        "recipe": dataset.recipe,
        "version": __version__,
        "clip_count": len(dataset.clips),
        "class_count": len(dataset.classes),
        "fold_count": len(dataset.manifest.folds),
        "panels": panels,
        "probes": probe_tables(maker),
        "postprocessings": list(POSTPROCESSINGS),
        "flags": [(letter, flag.text, FLAGS.get(flag.code, "")) for flag, letter in maker.letters.items()],
        "where_published": maker.where_published(),
        "sources": [leaderboard.published.cite(source) for source in leaderboard.published.sources],
        "resamples": sorted({record.provenance.resamples for record in records}),
        "provenance": provenance,
        "explored": clips,
        "licences": licences(),
    }


def licences() -> list[tuple[str, str]]:
    """Return name and licence of the libraries that the page carries; their notice has to go with every copy."""
    return [("D3", part("vendor/d3.LICENSE")), ("Observable Plot", part("vendor/plot.LICENSE"))]
