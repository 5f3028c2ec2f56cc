"""The summary that `score` prints: one ranked table with every row. The other renderers show everything.

Rows are ranked at each SNR among those tested on the same folds. Where all SNRs of all rows are more than a screen, a
row has one line and each SNR a column.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from remixbench.leaderboard.grouping import by_fold
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.other_tables import quantity
from remixbench.leaderboard.record import CHANCE, Cost, weakest
from remixbench.leaderboard.rows import Condition, Estimate, Row, Tested, tested_alike
from remixbench.leaderboard.tables import AT_CHANCE, NOT_VERIFIED, folds_of, numbered, short, training_only

MAX_LINES = 30
MAX_WIDTH = 100
NAME_WIDTH = 16
"""Names may be cut down to so many columns before a column is left out."""
RANKED_BY = "micro_ap"
NARROWEST = 6
"""The level of narrowing at which the least is left."""
ONE_TRAINING = "‡"
FLAGGED = "†"
NAMES = "system"
"""The title of the column of names."""


@dataclass(frozen=True)
class Entry:
    """A row at one SNR, or chance; rank 1 is the best of those tested alike, None for chance and without micro-AP."""

    row: Row
    condition: Condition
    tested: Tested
    rank: int | None = None

    def estimate(self, metric: str) -> Estimate | None:
        """Return a metric."""
        return self.condition.metrics.get(metric)

    @property
    def value(self) -> float:
        """What it is ranked by; below everything where it is not there."""
        estimate = self.estimate(RANKED_BY)
        return -np.inf if estimate is None else estimate.value

    @property
    def verified(self) -> bool:
        """Whether what it is ranked by was computed here."""
        estimate = self.estimate(RANKED_BY)
        return estimate is None or estimate.verified

    @property
    def shifted(self) -> Estimate | None:
        """The micro-AP on rolled test clips, where that was probed."""
        return None if self.condition.probes is None else self.condition.probes.mean

    @property
    def cost(self) -> Cost:
        """The cost of one run; none for chance."""
        return self.condition.cost if self.condition.records else Cost()


Line = TypeVar("Line")


@dataclass(frozen=True)
class _Column(Generic[Line]):
    title: str
    cell: Callable[[Line], Text]
    right: bool = True


@dataclass(frozen=True)
class _Section(Generic[Line]):
    """Lines that were tested alike, under a heading where they are not the most."""

    heading: str
    lines: Sequence[Line]


def to_summary(
    leaderboard: Leaderboard, *, snr: float | None = None, files: str = "", width: int | None = None,
    colour: bool = False,
) -> str:  # fmt: skip
    """Return one ranked table of at most 100 columns, as text for a terminal.

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
    notes = _notes(leaderboard, entries, files)
    used = sum(len(Text(line).wrap(console, console.width)) for line in notes)
    sections = _sections(entries)
    parts = {(entry.tested, entry.condition.snr) for entry in entries}
    heads = 1 + 2 * len(sections) + 2 * (len(sections) - 1) + len(parts) - len(sections)
    if len(entries) + heads + used <= MAX_LINES or len(leaderboard.snrs) == 1 or snr is not None:
        console.print(Text(_caption(leaderboard, entries, "ranked by micro-AP at each SNR"), style="bold"))
        _print(console, sections, lambda level: _columns(leaderboard, entries, level), lambda e: e.condition.snr)
    else:
        console.print(Text(_caption(leaderboard, entries, "micro-AP, in order of its mean over SNRs"), style="bold"))
        rows = _systems(leaderboard, entries)
        _print(console, rows, lambda level: _matrix(leaderboard, rows, level), lambda _: None)
    for note in notes:
        console.print(Text(note, style="dim"))
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def ranked(leaderboard: Leaderboard, snr: float | None = None) -> list[Entry]:
    """Return every row at every SNR (or at one), and chance.

    Those tested on the same clips stand together, the most rows first, among them the highest SNR first, and there the
    highest micro-AP. What was not verified is ranked below what was. Ideal masks are left out.
    """
    entries = [
        Entry(row, row.conditions[decibels], row.conditions[decibels].tested)
        for decibels in (leaderboard.snrs if snr is None else [leaderboard.require_snr(snr)])
        for row in leaderboard.rows
        if decibels in row.conditions and row.kind != "ideal"
    ]
    sizes: dict[Tested, int] = {}
    for entry in entries:
        sizes[entry.tested] = sizes.get(entry.tested, 0) + 1
    ranked_entries: list[Entry] = []
    for tested in sorted(sizes, key=lambda tested_on: (-sizes[tested_on], -tested_on[1])):
        for decibels in leaderboard.snrs:
            group = [entry for entry in entries if entry.tested == tested and entry.condition.snr == decibels]
            if group:
                ranked_entries += _ranked(group, _chance(leaderboard, tested, decibels))
    return ranked_entries


def _ranked(entries: Sequence[Entry], chance: Entry | None) -> list[Entry]:
    """Return entries in the order of their ranks, chance where its value is."""
    ordered = sorted(
        [*entries, *([] if chance is None else [chance])], key=lambda entry: (not entry.verified, -entry.value)
    )
    places = iter(range(1, len(ordered) + 1))
    return [
        Entry(entry.row, entry.condition, entry.tested, None)
        if entry is chance or entry.value == -np.inf
        else Entry(entry.row, entry.condition, entry.tested, next(places))
        for entry in ordered
    ]


def _chance(leaderboard: Leaderboard, tested: Tested, snr: float) -> Entry | None:
    values = leaderboard.chance.metrics(tested[0])
    if not values:
        return None
    condition = Condition(snr, {name: Estimate(value) for name, value in values.items()}, {}, ())
    return Entry(Row(CHANCE, CHANCE, None, {}, (), {snr: condition}, False), condition, tested)


def _sections(entries: Sequence[Entry]) -> list[_Section[Entry]]:
    groups: dict[Tested, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.tested, []).append(entry)
    return [
        _Section(f"Tested on {folds_of([tested])}, not ranked with those above:" if index else "", group)
        for index, (tested, group) in enumerate(groups.items())
    ]


@dataclass(frozen=True)
class _System:
    """A row, or chance, at all SNRs."""

    row: Row
    entries: dict[float, Entry]

    @property
    def mean(self) -> float:
        """The mean of what it is ranked by over SNRs."""
        return float(np.mean([entry.value for entry in self.entries.values()]))


def _systems(leaderboard: Leaderboard, entries: Sequence[Entry]) -> list[_Section[_System]]:
    """Return the rows with all of their SNRs, those of the most SNRs and the highest mean first."""
    sections = []
    for index, (tested, rows) in enumerate(tested_alike(leaderboard.rows, leaderboard.snrs)):
        systems = [
            _System(row, {entry.condition.snr: entry for entry in entries if entry.row is row})
            for row in rows
            if row.kind != "ideal"
        ]
        if len(tested) == 1:
            chance = {e.condition.snr: e for e in entries if e.row.kind == CHANCE and e.tested == tested[0]}
            systems += [_System(next(iter(chance.values())).row, chance)] if chance else []
        systems.sort(
            key=lambda system: (
                -len(system.entries),
                not all(entry.verified for entry in system.entries.values()),
                -system.mean,
            )
        )
        heading = f"Tested on {folds_of(tested)}, not ranked with those above:" if index else ""
        sections += [_Section(heading, systems)] if systems else []
    return sections


def _columns(board: Leaderboard, entries: Sequence[Entry], level: int) -> list[_Column[Entry]]:
    """Return the columns for which there are values; the higher the level, the fewer and narrower."""
    columns: list[_Column[Entry]] = [
        _Column("SNR", lambda entry: Text(board.snr_text(entry.condition.snr))),
        _Column("#", lambda entry: Text("" if entry.rank is None else str(entry.rank))),
        _Column(NAMES, lambda entry: _name(entry.row), right=False),
        _Column("micro-AP", lambda entry: _value(entry.estimate("micro_ap"), interval=level < 6)),
        _Column("±", lambda entry: _spread(entry.estimate("micro_ap"))),
    ]
    if level < 2:
        columns.append(_Column("shifted", lambda entry: _value(entry.shifted)))
    columns.append(_Column("macro-AP", lambda entry: _value(entry.estimate("macro_ap"), interval=level < 1)))
    if level < 5:
        columns.append(_Column("frame\nAP", lambda entry: _value(entry.estimate("frame_ap"))))
    if level < 4:
        columns.append(_Column("micro\nevent F1", lambda entry: _value(entry.estimate("event_f1"))))
    columns.append(_Column("folds ×\nseeds", lambda entry: _trainings([entry])))
    if level < 2:
        columns.append(_Column("para-\nmeters", lambda entry: Text(quantity(entry.cost.parameters))))
    if level < 3:
        columns.append(_Column("MACs\nper clip", lambda entry: Text(quantity(entry.cost.macs))))
    if any(entry.condition.state != "ours" for entry in entries):
        columns.append(_Column("evidence", lambda entry: _evidence([entry]), right=False))
    columns.append(_Column("pretrained\non", lambda entry: _pretrained(entry.row, level), right=False))
    return [column for column in columns if any(column.cell(entry).plain for entry in entries)]


def _matrix(board: Leaderboard, sections: Sequence[_Section[_System]], level: int) -> list[_Column[_System]]:
    """Return a column of micro-AP per SNR, beside those that hold of all SNRs."""

    def at(snr: float) -> Callable[[_System], Text]:
        def cell(system: _System) -> Text:
            entry = system.entries.get(snr)
            estimate = None if entry is None else entry.estimate(RANKED_BY)
            text = _value(estimate, interval=level < 2)
            return text.append(f" {spread}", style="not bold dim") if level < 3 and (spread := _pm(estimate)) else text

        return cell

    systems = [system for section in sections for system in section.lines]
    columns: list[_Column[_System]] = [
        _Column(NAMES, lambda system: _name(system.row), right=False),
        *(_Column(board.snr_text(snr), at(snr)) for snr in board.snrs),
        _Column("folds ×\nseeds", lambda system: _trainings(list(system.entries.values()))),
    ]
    if level < 1:
        columns.append(_Column("MACs\nper clip", lambda system: Text(_macs(system))))
    if any(entry.condition.state != "ours" for system in systems for entry in system.entries.values()):
        columns.append(_Column("evidence", lambda system: _evidence(list(system.entries.values())), right=False))
    columns.append(_Column("pretrained\non", lambda system: _pretrained(system.row, level), right=False))
    return [column for column in columns if any(column.cell(system).plain for system in systems)]


def _macs(system: _System) -> str:
    return "" if system.row.kind == CHANCE else quantity(system.row.cost.macs)


def _name(row: Row) -> Text:
    """Return the name of a row; of a system on embeddings without a word that would push the encoder's name out."""
    return Text(row.name.replace(",encoder=", ",") + (FLAGGED if row.flags else ""))


def _pretrained(row: Row, level: int) -> Text:
    """Return what a row's encoder was pretrained on, without what is in brackets, and shorter where space is short."""
    names = "; ".join(name.partition(" (")[0] for name in row.pretrained_on)
    return Text(names if len(names) <= (longest := 24 - 2 * level) else f"{names[: longest - 1]}…")


def _evidence(entries: Sequence[Entry]) -> Text:
    if not any(entry.condition.records for entry in entries):
        return Text("")
    return Text(weakest(state for entry in entries for state in entry.condition.evidence))


def _trainings(entries: Sequence[Entry]) -> Text:
    """Return how many folds and seeds per fold, marked where every fold has one training."""
    texts = []
    for condition in (entry.condition for entry in entries if entry.condition.records):
        seeds = sorted(len(records) for records in by_fold(condition.records).values())
        seeds_per_fold = f"{seeds[0]}" if seeds[0] == seeds[-1] else f"{seeds[0]}-{seeds[-1]}"
        texts.append(f"{len(seeds)} × {seeds_per_fold}{ONE_TRAINING * condition.one_training}")
    return Text(", ".join(dict.fromkeys(texts)))


def _value(estimate: Estimate | None, *, interval: bool = False) -> Text:
    if estimate is None:
        return Text("")
    best = estimate.best and estimate.verified
    mark = "" if estimate.verified else NOT_VERIFIED
    mark += "*" if best else AT_CHANCE if estimate.at_chance else ""
    text = Text(f"{estimate.value + 0.0:.3f}{mark or ' '}", style="bold" if best else "")
    if interval and estimate.low is not None and estimate.high is not None:
        text.append(f" {short(estimate.low)}–{short(estimate.high)}", style="not bold dim")
    return text


def _spread(estimate: Estimate | None) -> Text:
    return Text("" if estimate is None or estimate.std is None else short(estimate.std))


def _pm(estimate: Estimate | None) -> str:
    return "" if estimate is None or estimate.std is None else f"±{short(estimate.std)}"


def _print(
    console: Console,
    sections: Sequence[_Section[Line]],
    columns_at: Callable[[int], list[_Column[Line]]],
    part: Callable[[Line], object],
) -> None:
    """Print the sections with the most columns that fit, each below its heading, a blank line between two parts."""
    lines = [line for section in sections for line in section.lines]
    for level in range(NARROWEST + 1):
        columns = columns_at(level)
        if _fits(columns, lines, console):
            break
    gap = 2 if _fits(columns, lines, console, 2) else 1
    widths = {column.title: _widest(column, lines) for column in columns}
    others = sum(widths.values()) - widths[NAMES]
    widths[NAMES] = min(widths[NAMES], max(NAME_WIDTH, console.width - others - gap * (len(columns) - 1)))
    for section in sections:
        if section.heading:
            console.print(Text(f"\n{section.heading}", style="italic"))
        table = RichTable(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="")
        for column in columns:
            size = widths[column.title]
            justify: Literal["left", "right"] = "right" if column.right else "left"
            table.add_column(
                column.title, justify=justify, vertical="bottom", no_wrap=True, min_width=size, max_width=size
            )
        for index, line in enumerate(section.lines):
            if index and part(line) != part(section.lines[index - 1]):
                table.add_row()
            table.add_row(*(_cut(column.cell(line), widths[column.title]) for column in columns))
        console.print(table)


def _widest(column: _Column[Line], lines: Sequence[Line]) -> int:
    return max(map(len, [*column.title.split("\n"), *(column.cell(line).plain for line in lines)]))


def _cut(text: Text, width: int) -> Text:
    """Return a text of at most so many columns; a mark of flags at its end stays."""
    if len(text) <= width:
        return text
    mark = FLAGGED if text.plain.endswith(FLAGGED) else ""
    return Text(f"{text.plain[: width - 1 - len(mark)]}…{mark}")


def _fits(columns: Sequence[_Column[Line]], lines: Sequence[Line], console: Console, gap: int = 1) -> bool:
    widths = [
        min(size, NAME_WIDTH) if column.title == NAMES else size
        for column, size in zip(columns, (_widest(column, lines) for column in columns), strict=True)
    ]
    return sum(widths) + gap * (len(columns) - 1) <= console.width


def _caption(board: Leaderboard, entries: Sequence[Entry], order: str) -> str:
    """Say which data set, which folds most rows were tested on, and in which order rows stand."""
    parts = [f"Data set {board.dataset}"]
    if entries:
        parts.append(f"tested on {numbered(entries[0].tested[0], 'fold')}")
    return ", ".join([*parts, order])


def _notes(board: Leaderboard, entries: Sequence[Entry], files: str) -> list[str]:
    estimates = [estimate for entry in entries for estimate in entry.condition.metrics.values()]
    notes = []
    if any(estimate.low is not None for estimate in estimates):
        notes.append("low–high: 95 % interval; *: no row tested on the same folds is significantly better")
    if any(estimate.std is not None for estimate in estimates):
        notes.append("±: standard deviation over seeds, or over folds where a row has one seed")
    folds = {
        len(entry.condition.folds) for entry in entries if entry.condition.records and entry.condition.one_training
    }
    if folds:
        notes.append(
            f"{ONE_TRAINING}: the interval is of {' or '.join(map(training_only, sorted(folds)))};"
            " another seed may differ by more"
        )
    if any(estimate.at_chance for estimate in estimates):
        notes.append(f"{AT_CHANCE}: not above chance, which gives every clip and frame the same score")
    if any(entry.shifted is not None for entry in entries):
        notes.append("shifted: mean micro-AP on test clips rolled in time")
    if not all(estimate.verified for estimate in estimates):
        notes.append(f"{NOT_VERIFIED}: not verified, the submission alone says so; ranked below what was verified")
    flags = {flag.text for entry in entries for flag in entry.row.flags}
    if flags:
        notes.append(f"{FLAGGED}: {flags.pop() if len(flags) == 1 else 'flagged; --details says why'}")
    if board.comparable:
        best = board.published.best_line([entry.condition.snr for entry in entries])
        notes += [best] if best else []
    else:
        notes.append(f"Not comparable with published results: {'; '.join(board.why_not_comparable)}")
    notes.append("All metrics, classes, probes, ablations and cost: --details" + (f" or {files}" if files else ""))
    return notes
