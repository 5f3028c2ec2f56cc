"""The main table, in the form of the paper's Table 1, the differences to it, and what two systems differ by."""

from __future__ import annotations

from remixbench.leaderboard import words
from remixbench.leaderboard.board import MAIN, Board, Comparison, Row
from remixbench.leaderboard.grid import Block, Cell, Grid, Line, Notes

KINDS = {"run": "Trained here", "predictions": "Submitted", "added": "Added from submissions"}


def blocks_of(board: Board, lines: dict[int, Line]) -> list[Block]:
    """Put the lines of rows (by the row's place in the board) under the headings of their kinds."""
    made = []
    for kind, heading in KINDS.items():
        mine = tuple(line for index, line in lines.items() if board.rows[index].kind == kind)
        if mine:
            made.append(Block(heading, mine))
    return made


def heading(board: Board, source: str) -> str:
    """Return the heading of published rows, with a warning where they are on other data."""
    name = f"Published: {board.published.sources[source].name}"
    return (
        name
        if board.comparable
        else f"{name} (on the published {board.published.recipe}; not comparable with the rows above)"
    )


def main_grid(board: Board) -> Grid:
    """Table 1: systems down, SNRs across, each with micro AP, macro AP and AUC."""
    snrs, notes = board.snrs, Notes()
    lines = {
        index: Line(
            row.name,
            tuple(_cell(row, snr, metric) for snr in snrs for metric in MAIN),
            notes.letters(row.marks),
            words.runs(list(row.columns.values())),
        )
        for index, row in enumerate(board.rows)
    }
    table = board.published.table1
    published = tuple(
        Line(
            row.name,
            tuple(
                Cell() if value is None else Cell(words.number(value))
                for snr in snrs
                for metric in MAIN
                for value in [board.published.value(row.system, snr, metric)]
            ),
            notes.letters(table.marks),
            "not said",
        )
        for row in table.rows
        if set(row.scores) & set(snrs)
    )
    blocks = blocks_of(board, lines)
    if published:
        blocks.append(Block(heading(board, table.source), published))
    return Grid(
        f"Tagging on {board.dataset}",
        "system",
        tuple((words.decibel(snr), tuple(words.title(metric) for metric in MAIN)) for snr in snrs),
        tuple(blocks),
        (*notes.lines(), *_sureness(board)),
        "tested on",
        caption(board),
    )


def caption(board: Board) -> tuple[str, ...]:
    """Say above the table what the figures are on, and why they may not be compared if so."""
    lines = [f"Data set {board.dataset}, recipe {board.recipe}, manifest {board.manifest_digest[:12]}."]
    if not board.comparable:
        lines.append(f"Not comparable with published figures: {'; '.join(board.why_not)}.")
    return tuple(lines)


def _sureness(board: Board) -> list[str]:
    """Say under the table how intervals and bold type came about."""
    made = [record.made_from for row in board.rows for column in row.columns.values() for record in column.records]
    resamples = sorted({each.resamples for each in made if each.resamples})
    if not resamples:
        return [f"Scoring version {board.scoring_version}. No intervals (--bootstrap 0)."]
    counts = sorted({(each.clips, each.groups) for each in made})
    folds = " or ".join(f"{clips} clips in {groups} groups" for clips, groups in counts)
    return [
        f"low–high: 95 % interval from {' or '.join(map(str, resamples))} bootstrap resamples of clips, those of the"
        f" same event recordings together ({folds} a fold). ±: standard deviation over folds and seeds, given instead"
        " where a figure is the mean of several runs.",
        "Bold: the best of a column, and those that a paired bootstrap over the same clips does not tell from it"
        " (95 %).",
        f"Scoring version {board.scoring_version}.",
    ]


def difference_grid(board: Board) -> Grid | None:
    """Ours minus published, where both are on the same clips."""
    if not board.comparable:
        return None
    snrs = [snr for snr in board.snrs if any(snr in row.scores for row in board.published.table1.rows)]
    lines: dict[int, Line] = {}
    for index, row in enumerate(board.rows):
        cells = tuple(_difference(board, row, snr, metric) for snr in snrs for metric in MAIN)
        if row.plain and any(cell.text for cell in cells):
            lines[index] = Line(row.name, cells)
    if not lines:
        return None
    return Grid(
        "Difference to the published figures",
        "system",
        tuple((words.decibel(snr), tuple(words.title(metric) for metric in MAIN)) for snr in snrs),
        tuple(blocks_of(board, lines)),
        (
            "Ours minus published, and the 95 % interval that our figure's own leaves for it. Of which folds and seeds"
            " the published figures are the mean is not said.",
        ),
    )


def _difference(board: Board, row: Row, snr: float, metric: str) -> Cell:
    published = board.published.value(row.system, snr, metric)
    ours = row.columns[snr].figures.get(metric) if snr in row.columns else None
    if published is None or ours is None:
        return Cell()
    beside = ""
    if ours.low is not None and ours.high is not None:
        beside = f"{words.signed(ours.low - published, 3)} to {words.signed(ours.high - published, 3)}"
    return Cell(words.signed(ours.value - published), beside)


def _cell(row: Row, snr: float, metric: str) -> Cell:
    return words.cell(row.columns[snr].figures.get(metric)) if snr in row.columns else Cell()


def comparison_grid(comparison: Comparison, board: Board) -> Grid:
    """Return what two systems differ by: SNRs down, figures across."""
    metrics = tuple(dict.fromkeys(each.metric for each in comparison.differences))
    found = {(each.snr, each.metric): each for each in comparison.differences}
    lines = []
    for snr in dict.fromkeys(each.snr for each in comparison.differences):
        cells = []
        for metric in metrics:
            each = found.get((snr, metric))
            if each is None:
                cells.append(Cell())
            else:
                beside = f"{words.signed(each.low, 3)} to {words.signed(each.high, 3)}, P {each.superiority:.3f}"
                cells.append(Cell(words.signed(each.difference), beside, each.told_apart))
        folds = sorted({fold for each in comparison.differences if each.snr == snr for fold in each.folds})
        lines.append(Line(words.decibel(snr), tuple(cells), "", words.counted(folds, "fold")))
    resamples = sorted({each.resamples for each in comparison.differences})
    return Grid(
        f"{comparison.first} minus {comparison.second} on {board.dataset}",
        "SNR",
        tuple(("", (words.title(metric),)) for metric in metrics),
        (Block("", tuple(lines)),),
        (
            f"Under each difference its 95 % interval from {' or '.join(map(str, resamples))} paired bootstrap"
            " resamples (both systems on the same draws of clips, those of the same event recordings together), and P,"
            f" the share of resamples in which {comparison.first} is better. Bold: the interval leaves out zero, and P"
            " is at least 0.975 or at most 0.025.",
        ),
        "tested on",
        caption(board),
    )
