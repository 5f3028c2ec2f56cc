"""A table before it is written in some format: headed columns, blocks of lines, notes.

One model serves Markdown, LaTeX, the terminal and the page. Texts are plain; each format escapes them itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from remixbench.leaderboard.rows import ROW_COLUMNS, Condition, Estimate, RowColumn, Tested
from remixbench.recipe import format_snr
from remixbench.scoring.metrics import METRICS

NOT_REPORTED = "not reported"
NOT_VERIFIED = "?"
"""Stands after a submitted value that was not computed here."""
AT_CHANCE = "≈"
"""Stands after a value that is not above chance."""
BEST = "*"
"""Stands after a value in bold type, on a terminal."""
FLAGGED = "†"
"""Stands after the name of a row with flags, where there is no room for their letters."""
ONE_TRAINING = "‡"
"""Stands after what is of one training per fold, so that the spread between trainings is unknown."""
INTERVAL, DEVIATION = "–", "±"
"""Between the ends of an interval, and before a standard deviation."""


@dataclass(frozen=True)
class Cell:
    """A value as text, with its interval or standard deviation below, and its numbers if it is one of ours."""

    text: str = ""
    below: str = ""
    bold: bool = False
    estimate: Estimate | None = None


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes
    ----------
    cells : one per column of values
    letters : of its flags
    tested : what it was tested on
    evidence : what a row's values are: "ours", "recomputed" or "self-reported"; "" for a published line
    kind : in ranked tables, what the heading would be elsewhere
    rank : in ranked tables, the place among lines tested on the same clips
    about : the texts of a row's columns that are no metrics, by key (`RowColumn`)
    snr : its SNR, in a table with several
    """

    head: str
    cells: tuple[Cell, ...]
    letters: tuple[str, ...] = ()
    tested: str = ""
    evidence: str = ""
    kind: str = ""
    rank: int | None = None
    about: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    snr: str = ""


@dataclass(frozen=True)
class TextColumn:
    """A column of texts after the values: its heading, and what it says of a line.

    Attributes
    ----------
    usual : the usual text; where all lines have it, narrow tables leave the column out
    """

    heading: str
    text: Callable[[Line], str]
    usual: str | None = None

    def says_something(self, lines: Sequence[Line]) -> bool:
        """Whether a line has another text than the usual one."""
        return self.usual is None or any(self.text(line) not in ("", self.usual) for line in lines)


TESTED = TextColumn("tested on", lambda line: line.tested)
EVIDENCE = TextColumn("evidence", lambda line: line.evidence, usual="ours")


def _text_column(column: RowColumn) -> TextColumn:
    """Return the column of a table; texts of submitted rows are never verified."""

    def text(line: Line) -> str:
        texts = line.about.get(column.key)
        return marked("; ".join(texts), line.evidence in ("", "ours")) if texts else ""

    return TextColumn(column.heading, text)


OPTIONAL = tuple(map(_text_column, ROW_COLUMNS))
"""Columns that every table has where a line has a text in them."""


@dataclass(frozen=True)
class Block:
    """Lines under a heading of their own."""

    heading: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Column:
    """A column: its title, and which values are better where it is a metric."""

    title: str
    direction: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    head : heading of the first column
    groups : (heading, columns under it), from left to right
    texts : columns after the values, without optional ones
    caption : what stands above the table
    """

    title: str
    head: str
    groups: tuple[tuple[str, tuple[Column, ...]], ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    texts: tuple[TextColumn, ...] = ()
    caption: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of all groups."""
        return tuple(column for _, columns in self.groups for column in columns)

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of all blocks."""
        return tuple(line for block in self.blocks for line in block.lines)

    @property
    def text_columns(self) -> tuple[TextColumn, ...]:
        """The columns after the values."""
        return (*self.texts, *(column for column in OPTIONAL if any(map(column.text, self.lines))))

    def shows(self, sign: str) -> bool:
        """Whether a sign stands in a cell."""
        return shows(self.lines, sign)

    @property
    def has_bold(self) -> bool:
        """Whether a value is in bold type."""
        return any(cell.bold for line in self.lines for cell in line.cells)

    def place(self, column: int, value: float) -> float:
        """Return where a value lies on a column's whiskers, from 0 (left) to 1 (right).

        The axis runs from 0 to 1, or to the highest end where that is below 0.5 or above 1; in a column with negative
        values, from the lowest end to the highest.
        """
        shown = [estimate for line in self.lines if (estimate := line.cells[column].estimate) is not None]
        ends = [end for estimate in shown for end in (estimate.value, estimate.low, estimate.high) if end is not None]
        left, right = min(0.0, *ends), max(ends)
        if left == 0 and 0.5 < right <= 1:
            right = 1.0
        return (value - left) / (right - left) if right > left else 0.0

    def narrowed(self, spans: Sequence[tuple[int, int]]) -> tuple[Table, ...]:
        """Return one table per span of columns, where all are too wide; notes stay with the last."""
        headed = [heading for heading, columns in self.groups for _ in columns]
        parts = []
        for start, stop in spans:
            groups: list[tuple[str, tuple[Column, ...]]] = []
            for heading, column in zip(headed[start:stop], self.columns[start:stop], strict=True):
                if groups and groups[-1][0] == heading:
                    groups[-1] = (heading, (*groups[-1][1], column))
                else:
                    groups.append((heading, (column,)))
            blocks = tuple(
                replace(b, lines=tuple(replace(line, cells=line.cells[start:stop]) for line in b.lines))
                for b in self.blocks
            )
            parts.append(replace(self, title="", caption=(), notes=(), groups=tuple(groups), blocks=blocks))
        parts[0] = replace(parts[0], title=self.title, caption=self.caption)
        parts[-1] = replace(parts[-1], notes=self.notes)
        return tuple(parts)


def shows(lines: Iterable[Line], sign: str) -> bool:
    """Whether a sign, such as ±, stands in some lines: what does not occur is not explained."""
    texts = (
        (*(cell.text + cell.below for cell in line.cells), *(column.text(line) for column in OPTIONAL))
        for line in lines
    )
    return any(sign in text for of_line in texts for text in of_line)


def title(metric: str) -> str:
    """Return what a table calls a metric."""
    return METRICS[metric].title if metric in METRICS else metric.replace("_", " ")


def signed(value: float, digits: int = 4) -> str:
    """Return a difference with its sign."""
    return f"{value + 0.0:+.{digits}f}"


def estimate_cell(estimate: Estimate | None, digits: int = 4, *, interval: bool = True, deviation: bool = True) -> Cell:
    """Return a metric, with its 95 % `interval` and the standard `deviation` of several runs below."""
    if estimate is None:
        return Cell()
    below = []
    if interval and estimate.low is not None and estimate.high is not None:
        below.append(f"{short(estimate.low)}{INTERVAL}{short(estimate.high)}")
    if deviation and estimate.std is not None:
        below.append(f"{DEVIATION}{short(estimate.std)}")
    return Cell(
        marked(f"{estimate.value + 0.0:.{digits}f}", estimate.verified) + AT_CHANCE * estimate.at_chance,
        " ".join(below),
        estimate.best and estimate.verified,
        estimate,
    )


def difference_cell(difference: Estimate | None) -> Cell:
    """Return a difference with its sign, and its interval below; a blank where there is none."""
    if difference is None:
        return Cell()
    below = ""
    if difference.low is not None and difference.high is not None:
        below = f"{signed(difference.low, 3)} to {signed(difference.high, 3)}"
    return Cell(marked(signed(difference.value), difference.verified), below)


def value_cell(value: float | None, digits: int = 4, *, verified: bool = True) -> Cell:
    """Return a value without interval, or a blank where there is none."""
    if value is None:
        return Cell()
    return Cell(marked(f"{value:.{digits}f}", verified), estimate=Estimate(value, verified=verified))


def marked(text: str, verified: bool) -> str:
    """Return the text of a value, with a mark where it was not computed here."""
    return text if verified else text + NOT_VERIFIED


def short(value: float) -> str:
    """Return a value with three decimals, without a leading zero."""
    return f"{value + 0.0:.3f}".replace("0.", ".", 1) if 0 <= value < 0.9995 else f"{value:.3f}"


_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity(value: float | None) -> str:
    """Return a count in three digits with an SI prefix: 4.69 M, 38.1 k; "" for None."""
    if value is None:
        return ""
    for factor, prefix in _PREFIXES:
        if value >= 0.9995 * factor:
            scaled = value / factor
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {prefix}"
    return f"{value:.0f}"


def numbered(values: Sequence[int], one: str) -> str:
    """Return "fold 4", or "folds 1-4", or "seeds 0, 2"."""
    if len(values) == 1:
        return f"{one} {values[0]}"
    if list(values) == list(range(values[0], values[-1] + 1)):
        return f"{one}s {values[0]}-{values[-1]}"
    return f"{one}s {', '.join(map(str, values))}"


def tested_on(conditions: Sequence[Condition]) -> str:
    """Say which folds and seeds a row is the mean of; where its SNRs differ, for each."""
    texts = {}
    for condition in conditions:
        text = numbered(condition.folds, "fold")
        if condition.seeds and condition.seeds != (0,):
            text += f", {numbered(condition.seeds, 'seed')}"
        if len(condition.records) < len(condition.folds) * max(1, len(condition.seeds)):
            text += f" ({len(condition.records)} runs)"
        if condition.one_training:
            text += f", {training_only(len(condition.folds))}"
        texts[condition.snr] = text
    return at_snrs(texts)


def at_snrs(texts: Mapping[float, str]) -> str:
    """Return one text where all SNRs have the same, else one per SNR."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{format_snr(snr)}: {text}" for snr, text in texts.items())


def span(values: Iterable[int]) -> str:
    """Return "30", or "30 to 47" of several."""
    ordered = sorted(set(values))
    return f"{ordered[0]}" if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def training_only(folds: int) -> str:
    """Say that the spread between trainings is unknown, since there is one per fold."""
    return "this training only" if folds == 1 else "these trainings only"


def folds_of(tested: Sequence[Tested]) -> str:
    """Return "folds 1-4 (8000 clips)", or several of these."""
    return " or ".join(f"{numbered(folds, 'fold')} ({clips} clips)" for folds, clips in tested)
