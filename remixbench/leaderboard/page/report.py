"""`report`: one HTML file made from the leaderboard, the runs' histories and some clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from remixbench import __version__
from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.errors import InputError
from remixbench.files import write_text
from remixbench.leaderboard.page.board import Board, read_board
from remixbench.leaderboard.page.clips import explore
from remixbench.leaderboard.page.curves import learning_curves
from remixbench.leaderboard.page.render import render_page
from remixbench.leaderboard.page.tables import (
    LOWER_IS_BETTER,
    Tables,
    chart_published,
    chart_rows,
    make_tables,
)
from remixbench.progress import SILENT, Progress

CLIPS = 6
MOST_CLIPS = 40


def report(
    *,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    clips: int = CLIPS,
    out: str | Path | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Write the leaderboard of a data set as one self-contained HTML page, and return its path.

    Parameters
    ----------
    workspace : where data sets, runs and leaderboards lie.
    dataset : name or folder of a data set; by default the one made last.
    clips : how many clips the page lets one hear and see; 0 for none.
    out : where to write; by default `leaderboard/<dataset>.html` in the workspace.
    progress : what is told of the work.

    Raises
    ------
    InputError
        If there is no leaderboard, it is another data set's, or files of runs or clips are missing or broken.
    """
    if not 0 <= clips <= MOST_CLIPS:
        raise InputError(f"--clips {clips}: expected 0 to {MOST_CLIPS}")
    workspace = Path(workspace)
    opened = find_dataset(workspace, dataset)
    file = workspace / "leaderboard" / f"{opened.name}.json"
    board = read_board(file)
    tables = make_tables(board)
    if board.dataset.manifest_digest != opened.manifest_digest:
        raise InputError(f"{file}: is of another manifest than data set '{opened.name}'; run `remixbench score` again")
    target = workspace / "leaderboard" / f"{opened.name}.html" if out is None else Path(out)
    explored = _explore(board, opened, workspace, clips, progress) if clips and tables.panels else []
    page = render_page(
        _context(board, tables, opened, len(explored)),
        {
            "metrics": [
                {"name": name, "title": words, "lower": name in LOWER_IS_BETTER} for name, words in tables.metrics
            ],
            "snrs": [panel.snr for panel in tables.panels],
            "rows": chart_rows(board, [name for name, _ in tables.metrics]),
            "published": chart_published(board, [name for name, _ in tables.metrics]),
            "curves": learning_curves(board, workspace),
            "clips": explored,
        },
    )
    write_text(target, page)
    progress.say(f"{target}: {len(page.encode('utf-8')) / 1e6:.2f} MB")
    return target


def _explore(board: Board, dataset: Dataset, workspace: Path, clips: int, progress: Progress) -> list[dict[str, Any]]:
    try:
        return explore(board, dataset, workspace, clips, progress)
    except InputError as error:
        raise InputError(f"{error}; --clips 0 makes a page without clips") from None


def _context(board: Board, tables: Tables, dataset: Dataset, clips: int) -> dict[str, Any]:
    recipe = dataset.recipe
    return {
        "name": dataset.name,
        "recipe": recipe,
        "digest": dataset.manifest_digest,
        "board": board,
        "version": __version__,
        "clip_count": len(dataset.clips),
        "class_count": len(dataset.classes),
        "fold_count": len(dataset.manifest.folds),
        "tables": tables,
        "resamples": sorted({made.resamples for row in board.rows for column in row.snrs for made in column.made_from}),
        "explored": clips,
        "licences": licences(),
    }


def licences() -> list[tuple[str, str]]:
    """Return name and licence of the libraries that the page carries; their notice has to go with every copy."""
    from remixbench.leaderboard.page.render import part

    return [("D3", part("vendor/d3.LICENSE")), ("Observable Plot", part("vendor/plot.LICENSE"))]
