"""The short answer of `score`: one ranked table that fits a screen. The other renderers show everything."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from remixbench.leaderboard.cost import quantity
from remixbench.leaderboard.leaderboard import Condition, Estimate, Leaderboard, Row
from remixbench.leaderboard.tables import NOT_VERIFIED, format_snr, short, tested_on

MAX_LINES = 25
MAX_WIDTH = 100
NAME_WIDTH = 16
"""Names may be cut down to so many columns before a column is left out."""
RANKED_BY = "micro_ap"
NARROWEST = 4
"""The level of narrowing at which only names, ranks and metrics without macro-AP's interval are left."""


@dataclass(frozen=True)
class Entry:
    """A row at one SNR; rank 1 is the best, None where the row has no micro-AP."""

    row: Row
    condition: Condition
    rank: int | None

    def estimate(self, metric: str) -> Estimate | None:
        """Return a metric."""
        return self.condition.metrics.get(metric)

    @property
    def shifted(self) -> Estimate | None:
        """The micro-AP on rolled test clips, where that was probed."""
        return None if self.condition.probes is None else self.condition.probes.mean


@dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable[[Entry], Text]
    right: bool = True


def to_summary(
    leaderboard: Leaderboard, *, snr: float | None = None, files: str = "", width: int | None = None,
    colour: bool = False,
) -> str:  # fmt: skip
    """Return one ranked table of at most 25 lines and 100 columns, as text for a terminal.

    Parameters
    ----------
    snr : show this SNR alone.
    files : where the leaderboard's files are.
    width, colour : of the terminal.

    Raises
    ------
    InputError
        If no row has that SNR.
    """
    text = io.StringIO()
    console = Console(
        file=text, force_terminal=colour, color_system="standard" if colour else None, highlight=False, emoji=False,
        markup=False, legacy_windows=False, width=min(width or MAX_WIDTH, MAX_WIDTH),
    )  # fmt: skip
    entries = ranked(leaderboard, snr)
    for level in range(NARROWEST + 1):
        columns = _columns(entries, level)
        if _fits(columns, entries, console):
            break
    head, notes = _caption(leaderboard, entries), _notes(leaderboard, entries, files)
    used = sum(len(Text(line).wrap(console, console.width)) for line in (head, *notes))
    room = MAX_LINES - used - max(column.title.count("\n") + 1 for column in columns)
    shown = _first(entries, room)
    console.print(Text(head, style="bold"))
    gap = 2 if _fits(columns, shown, console, 2) else 1
    spaced = len(shown) + len(leaderboard.snrs) < room
    console.print(_table(columns, shown, gap=gap, spaced=spaced, width=console.width))
    if len(shown) < len(entries):
        console.print(Text(f"{len(entries) - len(shown)} more rows: --details shows all, --snr one SNR"))
    for note in notes:
        console.print(Text(note, style="dim"))
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def ranked(leaderboard: Leaderboard, snr: float | None = None) -> list[Entry]:
    """Return every row at every SNR (or at one), the highest SNR first, and there the highest micro-AP first.

    What was not verified is ranked below what was.
    """
    entries = []
    for each in leaderboard.snrs if snr is None else [leaderboard.require_snr(snr)]:
        here = [
            (row, row.conditions[each]) for row in leaderboard.rows if each in row.conditions and row.kind != "ideal"
        ]
        scored = [(row, condition) for row, condition in here if RANKED_BY in condition.metrics]
        scored.sort(key=lambda pair: (not pair[1].metrics[RANKED_BY].verified, -pair[1].metrics[RANKED_BY].value))
        entries += [Entry(row, condition, place) for place, (row, condition) in enumerate(scored, start=1)]
        entries += [Entry(row, condition, None) for row, condition in here if RANKED_BY not in condition.metrics]
    return entries


def _first(entries: list[Entry], count: int) -> list[Entry]:
    """Return the best of every SNR where there are more than `count` entries."""
    snrs = dict.fromkeys(entry.condition.snr for entry in entries)
    if len(entries) <= count:
        return entries
    each = max(1, (count - 1) // len(snrs))
    groups = [[entry for entry in entries if entry.condition.snr == snr][:each] for snr in snrs]
    return [entry for group in groups for entry in group][: max(1, count - 1)]


def _columns(entries: list[Entry], level: int) -> list[_Column]:
    """Return the columns for which there are values; the higher the level, the fewer and narrower."""
    columns = [
        _Column("SNR", lambda entry: Text(format_snr(entry.condition.snr))),
        _Column("#", lambda entry: Text("" if entry.rank is None else str(entry.rank))),
        _Column("system", lambda entry: Text(entry.row.name + ("†" if entry.row.flags else "")), right=False),
        _Column("micro-AP", lambda entry: _value(entry.estimate("micro_ap"), interval=True)),
        _Column("macro-AP", lambda entry: _value(entry.estimate("macro_ap"), interval=level < 1)),
        _Column("frame\nAP", lambda entry: _value(entry.estimate("frame_ap"))),
        _Column("micro\nevent F1", lambda entry: _value(entry.estimate("event_f1"))),
    ]
    if level < 2:
        columns.insert(4, _Column("shifted", lambda entry: _value(entry.shifted)))
    if level < 2:
        columns.append(_Column("para-\nmeters", lambda entry: Text(quantity(entry.condition.cost.parameters))))
    if level < 3:
        columns.append(_Column("MACs\nper clip", lambda entry: Text(quantity(entry.condition.cost.macs))))
    if any(entry.condition.state != "ours" for entry in entries):
        columns.append(_Column("evidence", lambda entry: Text(entry.condition.state), right=False))
    if level < NARROWEST and len({tested_on([entry.condition]) for entry in entries}) > 1:
        columns.append(_Column("tested on", lambda entry: Text(tested_on([entry.condition])), right=False))
    return [column for column in columns if any(column.cell(entry).plain for entry in entries)]


def _value(estimate: Estimate | None, *, interval: bool = False) -> Text:
    if estimate is None:
        return Text("")
    best = estimate.best and estimate.verified
    mark = "*" if best else " " if estimate.verified else NOT_VERIFIED
    text = Text(f"{estimate.value + 0.0:.3f}{mark}", style="bold" if best else "")
    if interval and estimate.low is not None and estimate.high is not None:
        text.append(f" {short(estimate.low)}–{short(estimate.high)}", style="not bold dim")
    return text


def _table(
    columns: list[_Column], entries: list[Entry], *, gap: int = 1, spaced: bool = False, width: int = 10_000
) -> RichTable:
    made = RichTable(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="")
    cells = [[column.cell(entry).plain for entry in entries] for column in columns]
    widest = [max(map(len, [*column.title.split("\n"), *texts])) for column, texts in zip(columns, cells, strict=True)]
    for column, size in zip(columns, widest, strict=True):
        name = column.title == "system"
        room = width - (sum(widest) - size) - gap * (len(columns) - 1)  # rich would cut other columns for a long name
        made.add_column(
            column.title, justify="right" if column.right else "left", vertical="bottom", no_wrap=True,
            overflow="ellipsis", min_width=min(size, NAME_WIDTH) if name else size,
            max_width=max(NAME_WIDTH, room) if name else None,
        )  # fmt: skip
    for place, entry in enumerate(entries):
        if spaced and place and entry.condition.snr != entries[place - 1].condition.snr:
            made.add_row()
        made.add_row(*(column.cell(entry) for column in columns))
    return made


def _fits(columns: list[_Column], entries: list[Entry], console: Console, gap: int = 1) -> bool:
    unbounded = console.options.update(max_width=10_000)
    table = _table(columns, entries, gap=gap, width=console.width)
    return Measurement.get(console, unbounded, table).minimum <= console.width


def _caption(board: Leaderboard, entries: list[Entry]) -> str:
    """Say which data set, which folds where all rows share them, and whether published results may stand beside."""
    parts = [f"Data set {board.dataset}"]
    tested = {tested_on([entry.condition]) for entry in entries}
    if len(tested) == 1:
        parts.append(f"tested on {tested.pop()}")
    parts.append("ranked by micro-AP at each SNR")
    return ", ".join(parts)


def _notes(board: Leaderboard, entries: list[Entry], files: str) -> list[str]:
    notes = []
    if any(estimate.low is not None for entry in entries for estimate in entry.condition.metrics.values()):
        notes.append("low–high: 95 % interval; *: no row tested on the same folds is significantly better")
    if any(entry.shifted is not None for entry in entries):
        notes.append("shifted: mean micro-AP on test clips rolled in time")
    if not all(estimate.verified for entry in entries for estimate in entry.condition.metrics.values()):
        notes.append(f"{NOT_VERIFIED}: not verified, the submission alone says so; ranked below what was verified")
    flags = {flag.text for entry in entries for flag in entry.row.flags}
    if flags:
        notes.append(f"†: {flags.pop() if len(flags) == 1 else 'flagged; --details says why'}")
    if board.comparable:
        best = board.published.best_line([entry.condition.snr for entry in entries])
        notes += [best] if best else []
    else:
        notes.append(f"Not comparable with published results: {'; '.join(board.why_not_comparable)}")
    notes.append("All metrics, classes, probes, ablations and cost: --details" + (f" or {files}" if files else ""))
    return notes
