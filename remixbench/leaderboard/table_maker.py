"""What the tables of a leaderboard share: lines of rows, of chance and of published results, and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from string import ascii_lowercase
from typing import Any

from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.record import CHANCE, SCORING_SETTINGS, Flag, weakest
from remixbench.leaderboard.rows import Condition, Estimate, Row, Tested, about_row, tested_alike
from remixbench.leaderboard.tables import (
    AT_CHANCE,
    DEVIATION,
    INTERVAL,
    NOT_REPORTED,
    NOT_VERIFIED,
    Block,
    Cell,
    Line,
    Table,
    folds_of,
    numbered,
    shows,
    span,
    tested_on,
    title,
    value_cell,
)

KIND_HEADINGS = {
    "run": "Trained here",
    "predictions": "Submitted",
    "added": "Added from submissions",
    "ideal": "From the stems",
}


class TableMaker:
    """Makes the tables of one leaderboard, with one letter per flag, of published rows too, in all of them."""

    def __init__(self, leaderboard: Leaderboard) -> None:
        self.leaderboard = leaderboard
        flags = [flag for row in leaderboard.rows for flag in row.flags]
        if leaderboard.comparable:
            flags += leaderboard.published.table1.flags
        self.letters = {
            flag: ascii_lowercase[index % 26] * (index // 26 + 1) for index, flag in enumerate(dict.fromkeys(flags))
        }

    def line(self, row: Row, cells: Sequence[Cell], snrs: Sequence[float]) -> Line:
        """Return a row's line."""
        conditions = [row.conditions[snr] for snr in snrs if snr in row.conditions]
        state = weakest(evidence for condition in conditions for evidence in condition.evidence)
        tested, letters = tested_on(conditions), self.letters_of(row.flags)
        return Line(row.name, tuple(cells), letters, tested, state, about=about_row(row))

    def letters_of(self, flags: Sequence[Flag]) -> tuple[str, ...]:
        """Return the letters of some flags, in order."""
        return tuple(sorted({self.letters[flag] for flag in flags}, key=lambda letter: (len(letter), letter)))

    def blocks(
        self,
        cells_of: Callable[[Row], Sequence[Cell] | None],
        snrs: Sequence[float],
        chance: Callable[[tuple[int, ...]], Sequence[Cell]] | None = None,
    ) -> list[Block]:
        """Return the lines of all rows that have cells, under the headings of their kinds.

        Rows that were not tested on the clips of most rows stand below, under headings that say so.

        Parameters
        ----------
        chance : the cells of chance on some folds.
        """
        all_blocks: list[Block] = []
        for index, (tested, rows) in enumerate(tested_alike(self.leaderboard.rows, snrs)):
            blocks = []
            for kind, heading in KIND_HEADINGS.items():
                lines = tuple(
                    self.line(row, cells, snrs)
                    for row in rows
                    if row.kind == kind
                    and (cells := cells_of(row)) is not None
                    and (kind != "ideal" or any(cell.text for cell in cells))
                )
                if lines:
                    blocks.append(Block(f"{heading}, tested on {folds_of(tested)}" if index else heading, lines))
            if blocks and chance is not None and len(tested) == 1:
                blocks += self.chance_block(tested[0][0], chance(tested[0][0]))
            all_blocks += blocks
        return all_blocks

    def ranked_lines(
        self, rows: Sequence[Row], snr: float, ranked_by: str, cells_of: Callable[[Condition], Sequence[Cell]]
    ) -> dict[Tested, tuple[Line, ...]]:
        """Return the lines of rows at one SNR in the order of a metric, and chance among them.

        What was not verified is ranked below what was, and equal values share a rank. Ideal masks and rows without the
        metric come last.

        Parameters
        ----------
        cells_of : the cells of a row at an SNR, and of chance.

        Returns
        -------
        The lines by what they were tested on, that of most rows first.
        """
        lines_of = {}
        for (tested,), alike in tested_alike(rows, [snr]):
            unranked = 2, 0.0
            keyed: list[tuple[tuple[int, float], bool, Line]] = []
            for row in alike:
                estimate = None if row.kind == "ideal" else row.estimate(snr, ranked_by)
                cells = cells_of(row.conditions[snr])
                if row.kind != "ideal" or any(cell.text for cell in cells):
                    key = unranked if estimate is None else (int(not estimate.verified), -estimate.value)
                    line = replace(self.line(row, cells, [snr]), kind=KIND_HEADINGS[row.kind].lower())
                    keyed.append((key, estimate is not None, line))
            chance = self.chance(tested[0], snr)
            level = chance.metrics.get(ranked_by)
            for block in self.chance_block(tested[0], cells_of(chance)):
                keyed += [(unranked if level is None else (0, -level.value), False, line) for line in block.lines]
            keyed.sort(key=lambda keyed_line: keyed_line[0])
            ranked = [key for key, has_rank, _ in keyed if has_rank]
            lines_of[tested] = tuple(
                replace(line, rank=ranked.index(key) + 1) if has_rank else line for key, has_rank, line in keyed
            )
        return lines_of

    def chance(self, folds: tuple[int, ...], snr: float) -> Condition:
        """Return the metrics of chance on some folds as those of a row without records."""
        values = self.leaderboard.chance.metrics(folds)
        return Condition(snr, {name: Estimate(value) for name, value in values.items()}, {}, ())

    def chance_block(self, folds: tuple[int, ...], cells: Sequence[Cell]) -> list[Block]:
        """Return the line of chance, without a heading; none where no cell has a value."""
        if not any(cell.text for cell in cells):
            return []
        return [Block("", (Line(CHANCE, tuple(cells), (), numbered(folds, "fold")),))]

    def common_chance(self, rows: Sequence[Row], snrs: Sequence[float], metrics: Sequence[str]) -> list[Block]:
        """Return the line of chance of rows that were all tested on the same clips; none where they were not."""
        groups = tested_alike(rows, snrs)
        if len(groups) != 1 or len(groups[0][0]) != 1:
            return []
        folds, _ = groups[0][0][0]
        return self.chance_block(folds, self.chance_cells(folds, metrics))

    def chance_cells(self, folds: Sequence[int], metrics: Sequence[str], digits: int = 4) -> list[Cell]:
        """Return some metrics of chance on some folds."""
        values = self.leaderboard.chance.metrics(folds)
        return [value_cell(values.get(metric), digits) for metric in metrics]

    def line_notes(self, blocks: Sequence[Block]) -> tuple[str, ...]:
        """Return what chance is where lines name it, and the flags that lines carry, each after its letter."""
        lines = [line for block in blocks for line in block.lines]
        used = {letter for line in lines for letter in line.letters}
        return (
            *chance_note(lines),
            *(f"{letter}: {flag.text}" for flag, letter in self.letters.items() if letter in used),
        )

    def published_block(self, source: str, lines: Sequence[Line]) -> list[Block]:
        """Return a block of published lines; none where they are on another data set."""
        if not lines or not self.leaderboard.comparable:
            return []
        return [Block(f"Published: {self.leaderboard.published.sources[source].name}", tuple(lines))]

    def published_rows(self, snrs: Sequence[float], metrics: Sequence[str], digits: int = 4) -> list[Block]:
        """Return the published rows of the paper's Table 1 that have a value: metrics at each SNR."""
        published, table = self.leaderboard.published, self.leaderboard.published.table1
        lines = []
        for row in table.rows if self.leaderboard.comparable else ():
            values = [published.value(row.system, snr, metric) for snr in snrs for metric in metrics]
            if any(value is not None for value in values):
                cells = tuple(value_cell(value, digits) for value in values)
                lines.append(Line(row.name, cells, self.letters_of(table.flags), NOT_REPORTED))
        return self.published_block(table.source, lines)

    def where_published(self) -> tuple[str, ...]:
        """Say where published rows are, in the tables of other data sets."""
        board = self.leaderboard
        if board.comparable:
            return ()
        name = board.published.sources[board.published.table1.source].name
        return (f"Published rows ({name}) are in the tables of {board.published.recipe}, the data set they are on.",)

    def interval_notes(self, tables: Sequence[Table]) -> list[str]:
        """Return the notes on intervals, bold type and evidence, as far as `tables` have them."""
        board = self.leaderboard
        conditions = [condition for row in board.rows for condition in row.conditions.values()]
        provenances = [record.provenance for condition in conditions for record in condition.records]
        resamples = sorted({provenance.resamples for provenance in provenances if provenance.resamples})
        deviation = f"{DEVIATION}: standard deviation over seeds within folds, or over folds where a row has one seed."
        notes = [deviation] if any(table.shows(DEVIATION) for table in tables) else []
        version = f"Scoring version {board.scoring_version}."
        if not resamples:
            return [f"{version} No intervals (--bootstrap 0).", *notes, *evidence_notes(board, tables)]
        recordings = span(provenance.groups for provenance in provenances)
        per_fold = f"{span(provenance.clips for provenance in provenances)} clips of {recordings} event recordings"
        several = any(len(condition.seeds) > 1 for condition in conditions)
        interval = (
            f"low{INTERVAL}high: 95 % interval from {span(resamples)} bootstrap samples over event recordings"
            f" ({per_fold} per fold){', and by Student’s t over seeds where a row has several' * several}."
        )
        if any(table.shows(INTERVAL) for table in tables):
            notes = [" ".join([interval, *notes])]
        if any(table.has_bold for table in tables):
            notes.append(
                "Bold: no row tested on the same folds is significantly better (paired, 95 %), and the value is above"
                " chance."
            )
        return [*notes, version, *evidence_notes(board, tables)]


def chance_note(lines: Sequence[Line]) -> list[str]:
    """Explain chance where it has a line, and the sign after values that are not above it."""
    texts = []
    if any(line.head == CHANCE and not line.evidence for line in lines):
        texts.append("chance: a system that gives every clip and frame the same score")
    if shows(lines, AT_CHANCE):
        alone = "" if texts else ", which gives every clip and frame the same score"
        texts.append(f"{AT_CHANCE}: not above chance{alone}")
    return [f"{'; '.join(texts)}."] if texts else []


def evidence_notes(board: Leaderboard, tables: Sequence[Table]) -> list[str]:
    """Explain the column of evidence and the mark of unverified values, where rows need it."""
    if all(row.evidence == "ours" for row in board.rows) and not any(
        condition.not_verified for row in board.rows for condition in row.conditions.values()
    ):
        return []
    heads = [line.head for table in tables for line in table.lines]
    marks = any(table.shows(NOT_VERIFIED) for table in tables) or any(head.endswith(NOT_VERIFIED) for head in heads)
    return [
        "Evidence: ours, scored here; recomputed, submitted and computed again here from its predictions;"
        " self-reported, as submitted."
        + f" {NOT_VERIFIED}: not verified, the submission alone says so; never bold." * marks
        + " Names, settings, flags, cost and pretraining of submitted rows are always self-reported."
    ]


def caption(board: Leaderboard) -> tuple[str, ...]:
    """Return the caption: the data set, and why it is not comparable with published results, if so."""
    lines = [f"Data set {board.dataset}, recipe {board.recipe}, manifest {board.manifest_digest[:12]}."]
    if not board.comparable:
        lines.append(f"Not comparable with published results: {'; '.join(board.why_not_comparable)}.")
    return tuple(lines)


def detection_notes(conditions: Sequence[Condition], metrics: Sequence[str], *, blank: bool) -> list[str]:
    """Say with which thresholds and tolerances metrics were computed, as the records have them.

    What is only self-reported is a sentence of its own; `blank` says whether blank cells are to be explained.
    """
    verified: dict[str, None] = {}
    claimed: dict[str, None] = {}
    for condition in conditions:
        settings = verified if condition.verified(SCORING_SETTINGS) else claimed
        for record in condition.records:
            settings |= dict.fromkeys(_parameters(record.settings))
    claimed = {text: None for text in claimed if text not in verified}
    lines = [f"{'; '.join(verified)}."] if verified else []
    lines += [f"Self-reported: {'; '.join(claimed)}."] if claimed else []
    error_rate = any("ER" in title(metric).split() for metric in metrics)
    return [
        *lines,
        "Detected events are those of an event list, or of the main post-processing of frame scores."
        + " ER: error rate, lower is better; it may exceed 1." * error_rate
        + " Blank: the form of the predictions cannot express it." * blank,
    ]


def _parameters(settings: dict[str, Any]) -> Iterator[str]:
    """Yield the settings of a record, in short."""
    main = settings.get("main_postprocessing")
    for name, values in _pairs(settings.get("postprocessings")):
        if given := _listed(values):
            yield f"post-processing {name}{' (main)' if name == main else ''}: {given}"
    if isinstance(seconds := settings.get("time_resolution"), (int, float)):
        yield f"segments of {seconds:g} s"
    for name, values in (
        *((key, settings.get(key)) for key in ("collar", "intersection", "kong")),
        *_pairs(settings.get("psds")),
    ):
        if given := _listed(values):
            yield f"{title(name)}: {given}"
    margin, threshold = settings.get("mask_margin_db"), settings.get("mask_threshold")
    if isinstance(margin, (int, float)) and isinstance(threshold, (int, float)):
        yield f"masks: events above the scene less {margin:g} dB, F1 at {threshold:g}, bins pooled over clips"


def _listed(settings: Any) -> str:
    numbers = [(key, value) for key, value in _pairs(settings) if isinstance(value, (int, float))]
    return ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in numbers)


def _pairs(value: Any) -> list[tuple[str, Any]]:
    """Return the entries of an object; none of anything else, since records come from third parties too."""
    return list(value.items()) if isinstance(value, dict) else []
