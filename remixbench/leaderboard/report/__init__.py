"""`report`: the leaderboard as one HTML page, with the runs' histories and some clips.

It needs no network and no other file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from remixbench import __version__
from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.export.card import terms_and_notice
from remixbench.errors import InputError
from remixbench.files import as_path, write_text
from remixbench.leaderboard.board_tables import DETAILS, cost_table, fraction_table, probe_tables, ranked_table
from remixbench.leaderboard.leaderboard import Leaderboard, load_leaderboard, runs_of
from remixbench.leaderboard.record import FLAGS, class_values
from remixbench.leaderboard.renderers import provenance
from remixbench.leaderboard.report.clips import explore
from remixbench.leaderboard.report.submissions import submitted_leaderboards
from remixbench.leaderboard.table_maker import TableMaker, chance_note, evidence_notes
from remixbench.leaderboard.tables import title
from remixbench.progress import Progress, reporter
from remixbench.scoring.metrics import METRICS, Family, metrics_shown
from remixbench.training.run_files import HISTORY, read_history

CLIPS = 6
MOST_CLIPS = 40


def report(
    *,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    submissions: str | Path | None = None,
    require_predictions: bool = False,
    clips: int = CLIPS,
    out: str | Path | None = None,
    progress: Progress | bool = False,
) -> Path:
    """Write the leaderboard of a data set as one self-contained HTML page, and return its path.

    Parameters
    ----------
    workspace : folder of data sets, runs and leaderboards.
    dataset : name or folder of a data set; by default the most recent one. With `submissions`: the only one to make a
        page of, which submissions must fit; by default every data set of the workspace.
    submissions : a folder of submission files: the page is made from these and the receipts of the workspace, without
        runs. Where they are on several manifests, each has a page of its own beside the first, which names the others.
    require_predictions : with `submissions`: leave out records that were not recomputed in this workspace.
    clips : number of clips with audio, spectrogram and scores; 0 for none.
    out : where to write; by default `leaderboard/<dataset>.html`, or `leaderboard/submissions.html`, in the workspace.
    progress : True for bars on a terminal and lines elsewhere, or a progress reporter.

    Raises
    ------
    InputError
        If nothing was scored on the data set, or files of runs or clips are missing or broken.
    """
    progress = reporter(progress)
    if not 0 <= clips <= MOST_CLIPS:
        raise InputError(f"--clips {clips}: expected 0 to {MOST_CLIPS}")
    workspace = as_path(workspace, "workspace")
    if submissions is not None:
        target = workspace / "leaderboard" / "submissions.html" if out is None else Path(out)
        boards = submitted_leaderboards(
            Path(submissions), progress, workspace=workspace, dataset=dataset, require_predictions=require_predictions
        )
        return _submissions_pages(boards, target, progress)
    if require_predictions:
        raise InputError("--require-predictions: only works with --submissions; leave it out")
    opened = find_dataset(workspace, dataset)
    leaderboard = load_leaderboard(workspace, opened, progress)
    target = workspace / "leaderboard" / f"{opened.name}.html" if out is None else Path(out)
    try:
        explored = explore(leaderboard, opened, workspace, clips, progress) if clips else []
    except InputError as error:
        raise InputError(f"{error}; --clips 0 makes a page without clips") from None
    facts = [
        f"{len(opened.clips)} clips of {opened.recipe.mix.duration:g} s in {len(opened.manifest.folds)} folds",
        f"{len(opened.classes)} classes",
    ]
    curves = learning_curves(leaderboard, workspace)
    _write_page(
        target, leaderboard, opened.recipe.description, facts, progress, curves=curves, clips=explored,
        terms=terms_and_notice(opened) if explored else (),
    )  # fmt: skip
    return target


def _submissions_pages(boards: Sequence[Leaderboard], target: Path, progress: Progress) -> Path:
    """Write a page per leaderboard of submissions; returns that of the first."""
    stems = [target.stem, *(f"{target.stem}-{board.manifest_digest[:8]}" for board in boards[1:])]
    stems = [stem if stem not in stems[:k] else f"{stem}-{k}" for k, stem in enumerate(stems)]
    files = [target.with_stem(stem) for stem in stems]
    names = [f"{board.dataset} (manifest {board.manifest_digest[:8]})" for board in boards]
    for index, (board, file) in enumerate(zip(boards, files, strict=True)):
        submitted = len({row.submission for row in board.rows})
        facts = [
            f"{len(board.rows)} row{'s' * (len(board.rows) != 1)} of {submitted} submission{'s' * (submitted != 1)}",
            f"{len(board.classes)} classes",
        ]
        others = [(name, file.name) for k, (name, file) in enumerate(zip(names, files, strict=True)) if k != index]
        _write_page(file, board, "", facts, progress, others=others)
    return target


def _write_page(
    target: Path,
    leaderboard: Leaderboard,
    lead: str,
    facts: Sequence[str],
    progress: Progress,
    *,
    curves: Sequence[dict[str, Any]] = (),
    clips: Sequence[dict[str, Any]] = (),
    others: Sequence[tuple[str, str]] = (),
    terms: Sequence[str] = (),
) -> None:
    available = leaderboard.metrics()
    metrics = [metric.name for metric in metrics_shown(None, "main", "details") if metric.name in available]
    about = {"lead": lead, "facts": facts, "others": others, "curves": bool(curves), "explored": len(clips),
             "terms": terms}  # fmt: skip
    about["snr_text"] = leaderboard.snr_text
    about["separated"] = any(clip["separated"] for clip in clips)
    page = render_page(
        about | _context(leaderboard),
        {
            "metrics": [
                {
                    "name": name,
                    "title": title(name),
                    "lower": METRICS[name].direction == "lower",
                    "range": [end if math.isfinite(end) else None for end in METRICS[name].range],
                }
                for name in metrics
            ],
            "snrs": list(leaderboard.snrs),
            "rows": chart_rows(leaderboard, metrics),
            "published": chart_published(leaderboard, metrics),
            "curves": list(curves),
            "clips": list(clips),
        },
    )
    write_text(target, page)
    progress.say(f"{target}: {len(page.encode('utf-8')) / 1e6:.2f} MB")


def learning_curves(leaderboard: Leaderboard, workspace: Path) -> list[dict[str, Any]]:
    """Return one curve per run: row, SNR, fold, seed, the epoch kept, and the history as lists by column.

    InputError if a history is broken, or was edited since its run was finished.
    """
    return [
        {
            "row": row,
            "snr": system.snr,
            "fold": system.fold,
            "seed": system.seed,
            "epoch": info.epoch,
            **read_history(folder / HISTORY, (info.results or {}).get(HISTORY)),
        }
        for row, system, folder, info in runs_of(leaderboard, workspace)
        if (folder / HISTORY).is_file()
    ]


def chart_rows(leaderboard: Leaderboard, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows with what the charts need of them: metrics and the classes' average precision.

    Rows of one `family` differ only in the part of the training clips. The name of a self-reported row says so; of a
    recomputed row, what was not verified is left out, including settings and cost.
    """
    families: dict[str, int] = {}
    rows = []
    for row in leaderboard.rows:
        claimed = row.evidence == "self-reported"
        rest = {key: value for key, value in row.settings.items() if key != "fraction"}
        family = json.dumps([row.kind, row.system, rest], sort_keys=True)
        conditions = [
            {
                "snr": snr,
                "metrics": {
                    name: {k: v for k, v in estimate.as_dict().items() if k in ("value", "low", "high")}
                    for name, estimate in condition.metrics.items()
                    if name in metrics and (claimed or estimate.verified)
                },
                "ap": condition.per_class.get("ap", {}) if claimed or condition.verified(class_values("ap")) else {},
            }
            for snr, condition in row.conditions.items()
        ]
        rows.append(
            {
                "name": f"{row.name} (self-reported)" if claimed else row.name,
                "fraction": row.settings.get("fraction") if claimed or not row.submission else None,
                "parameters": row.cost.parameters if claimed or not row.submission else None,
                "macs": row.cost.macs if claimed or not row.submission else None,
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


def _context(leaderboard: Leaderboard) -> dict[str, Any]:
    maker = TableMaker(leaderboard)
    panels = [
        (snr, [t for family in DETAILS if (t := ranked_table(maker, family, snr)) is not None])
        for snr in leaderboard.snrs
    ]
    ranked = [table for _, tables in panels for table in tables]
    lines = [line for table in ranked for line in table.lines]
    estimates = [cell.estimate for line in lines for cell in line.cells if cell.estimate is not None]
    probes, cost = probe_tables(maker), cost_table(maker)
    conditions = [condition for row in leaderboard.rows for condition in row.conditions.values()]
    records = [record for condition in conditions for record in condition.records]
    return {
        "board": leaderboard,
        "version": __version__,
        "panels": panels,
        "intervals": any(estimate.low is not None for estimate in estimates),
        "deviations": any(estimate.std is not None for estimate in estimates),
        "bold": any(table.has_bold for table in ranked),
        "blank": any(not cell.text for line in lines for cell in line.cells),
        "chance": [f"{note[:1].upper()}{note[1:]}" for note in chance_note(lines)],
        "probes": probes,
        "cost": cost,
        "classes": any(condition.per_class.get("ap") for condition in conditions),
        "noise": len(leaderboard.snrs) > 1,
        "sizes": fraction_table(maker) is not None,
        "families": get_args(Family),
        "flags": [(letter, flag.text, FLAGS.get(flag.code, "")) for flag, letter in maker.letters.items()],
        "evidence": evidence_notes(leaderboard, [*ranked, *probes, *([] if cost is None else [cost])]),
        "where_published": maker.where_published(),
        "sources": [leaderboard.published.cite(source) for source in leaderboard.published.sources],
        "resamples": sorted({record.provenance.resamples for record in records}),
        "provenance": provenance,
        # every copy of the page has to carry the notices of its libraries
        "licences": [("D3", part("vendor/d3.LICENSE")), ("Observable Plot", part("vendor/plot.LICENSE"))],
    }


EARLY = "theme.js"
SCRIPTS = ("vendor/d3.min.js", "vendor/plot.umd.min.js", "core.js", "charts.js", "explorer.js")


def render_page(context: dict[str, Any], data: dict[str, Any]) -> str:
    """Return the page.

    InputError if Jinja is not installed.

    Parameters
    ----------
    context : what the template shows by itself.
    data : what the scripts draw.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise InputError("the page needs jinja2; install it with `pip install 'remixbench[report]'`") from None
    engine = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    engine.filters["score"] = lambda value: f"{value:.3f}"
    engine.filters["signed"] = lambda value: f"{value:+.3f}"
    engine.filters["percent"] = lambda value: f"{100 * min(max(value, 0.0), 1.0):.2f}%"
    scripts = [part(name) for name in SCRIPTS]
    page: str = engine.from_string(part("template.html")).render(
        **context,
        style=Markup(part("style.css")),  # ours, as are the scripts: nothing in them comes from data
        early=Markup(part(EARLY)),
        scripts=[Markup(script) for script in scripts],
        policy=policy([part(EARLY), *scripts]),
        data=Markup(json_for_script(data)),
    )
    return page


def part(name: str) -> str:
    """Return a file that comes with the package."""
    return (files("remixbench.leaderboard.report") / "assets" / name).read_text(encoding="utf-8")


def json_for_script(value: Any) -> str:
    r"""Return JSON that is safe inside a script element: <, > and & are written as \u003c, \u003e and \u0026."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for unsafe in "<>&\u2028\u2029":
        text = text.replace(unsafe, f"\\u{ord(unsafe):04x}")
    return text


def policy(scripts: list[str]) -> str:
    """Return the page's content security policy: its own scripts by their digests, data from within, nothing else."""
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; media-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
