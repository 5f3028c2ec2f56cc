"""The table that `score` prints: a line per row, and few columns. The other tables show everything.

Rows are ranked at each SNR among those tested on the same folds (`ranking`); where that is more than a screen, a row
has one line and each SNR a column (`matrix`). Both can be made narrower, so that a terminal shows what fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from remixbench.leaderboard.grouping import by_fold
from remixbench.leaderboard.record import Cost
from remixbench.leaderboard.rows import Condition, Tested, tested_alike
from remixbench.leaderboard.table_maker import TableMaker
from remixbench.leaderboard.tables import (
    AT_CHANCE,
    BEST,
    DEVIATION,
    EVIDENCE,
    FLAGGED,
    INTERVAL,
    NOT_VERIFIED,
    ONE_TRAINING,
    Block,
    Cell,
    Column,
    Line,
    Table,
    estimate_cell,
    folds_of,
    numbered,
    quantity,
    short,
    training_only,
)

RANKED_BY = "micro_ap"
LEVELS = range(7)
"""How narrow a table is: at 0 it has all of its columns, at each higher level fewer or narrower ones."""
SHIFTED = "shifted"

Sections = Sequence[tuple[tuple[Tested, ...], Sequence[Sequence[Line]]]]
"""Lines in groups, by what they were tested on."""


def ranking(maker: TableMaker, level: int) -> Table:
    """Return every row at every SNR, and chance, ranked by micro-AP. Ideal masks are left out.

    Lines tested on the same clips stand together, the most first, among them the highest SNR first.
    """
    board = maker.leaderboard
    rows = [row for row in board.rows if row.kind != "ideal"]
    sizes = Counter(row.conditions[snr].tested for row in rows for snr in board.snrs if snr in row.conditions)
    contents = _contents(level)
    groups: dict[Tested, list[list[Line]]] = {}
    for snr in board.snrs:
        lines_of = maker.ranked_lines(
            rows, snr, RANKED_BY, lambda condition: [cell(condition) for cell in contents.values()]
        )
        for tested, lines in lines_of.items():
            groups.setdefault(tested, []).append([replace(line, snr=board.snr_text(snr)) for line in lines])
    sections = [
        ((tested,), groups[tested]) for tested in sorted(groups, key=lambda tested: (-sizes[tested], -tested[1]))
    ]
    return _table(maker, "ranked by micro-AP at each SNR", list(contents), sections, level)


def _contents(level: int) -> dict[str, Callable[[Condition], Cell]]:
    """Return the columns of a ranking: what the cell of a row at one SNR, or of chance, is."""

    def metric(name: str, *, interval: bool = False) -> Callable[[Condition], Cell]:
        return lambda condition: estimate_cell(condition.metrics.get(name), 3, interval=interval, deviation=False)

    def deviation(condition: Condition) -> Cell:
        estimate = condition.metrics.get(RANKED_BY)
        return Cell("" if estimate is None or estimate.std is None else short(estimate.std))

    def shifted(condition: Condition) -> Cell:
        mean = None if condition.probes is None else condition.probes.mean
        return estimate_cell(mean, 3, interval=False, deviation=False)

    contents = {"micro-AP": metric(RANKED_BY, interval=level < 6), DEVIATION: deviation}
    if level < 2:
        contents[SHIFTED] = shifted
    contents["macro-AP"] = metric("macro_ap", interval=level < 1)
    if level < 5:
        contents["frame\nAP"] = metric("frame_ap")
    if level < 4:
        contents["micro\nevent F1"] = metric("event_f1")
    contents["folds ×\nseeds"] = lambda condition: _trainings([condition])
    if level < 2:
        contents["para-\nmeters"] = lambda condition: Cell(quantity(condition.cost.parameters))
    if level < 3:
        contents["MACs\nper clip"] = lambda condition: Cell(quantity(condition.cost.macs))
    return contents


def _trainings(conditions: Sequence[Condition]) -> Cell:
    """Return how many folds and seeds per fold, marked where every fold has one training."""
    texts = []
    for condition in conditions:
        if condition.records:
            seeds = sorted(len(records) for records in by_fold(condition.records).values())
            seeds_per_fold = f"{seeds[0]}" if seeds[0] == seeds[-1] else f"{seeds[0]}-{seeds[-1]}"
            texts.append(f"{len(seeds)} × {seeds_per_fold}{ONE_TRAINING * condition.one_training}")
    return Cell(", ".join(dict.fromkeys(texts)))


def matrix(maker: TableMaker, level: int) -> Table:
    """Return micro-AP by row and SNR; rows with the most SNRs and the highest mean come first, without ideal masks."""
    board = maker.leaderboard
    titles = [*(board.snr_text(snr) for snr in board.snrs), "folds ×\nseeds", *["MACs\nper clip"] * (level < 1)]

    def cells(conditions: Mapping[float, Condition], cost: Cost) -> list[Cell]:
        estimates = [conditions[snr].metrics.get(RANKED_BY) if snr in conditions else None for snr in board.snrs]
        values = [estimate_cell(estimate, 3, interval=level < 2, deviation=level < 3) for estimate in estimates]
        return [*values, _trainings(list(conditions.values())), Cell(quantity(cost.macs))][: len(titles)]

    rows = [row for row in board.rows if row.kind != "ideal"]
    sections = []
    for tested, alike in tested_alike(rows, board.snrs):
        keyed = [
            (_order(row.conditions), maker.line(row, cells(row.conditions, row.cost), board.snrs)) for row in alike
        ]
        if len(tested) == 1:
            folds = tested[0][0]
            snrs = [snr for snr in board.snrs if any(snr in row.conditions for row in alike)]
            chance = {snr: maker.chance(folds, snr) for snr in snrs}
            for block in maker.chance_block(folds, cells(chance, Cost())):
                keyed += [(_order(chance), line) for line in block.lines]
        sections.append((tested, [[line for _, line in sorted(keyed, key=lambda keyed_line: keyed_line[0])]]))
    return _table(maker, "micro-AP, in order of its mean over SNRs", titles, sections, level)


def _order(conditions: Mapping[float, Condition]) -> tuple[int, bool, float]:
    estimates = [condition.metrics.get(RANKED_BY) for condition in conditions.values()]
    verified = all(estimate is None or estimate.verified for estimate in estimates)
    mean = np.mean([-np.inf if estimate is None else estimate.value for estimate in estimates])
    return -len(estimates), not verified, -float(mean)


def _table(maker: TableMaker, order: str, titles: Sequence[str], sections: Sections, level: int) -> Table:
    """Return the table of lines in `sections`, each after the first under a heading; `order` is part of the title."""
    title = [f"Data set {maker.leaderboard.dataset}"]
    if sections:
        title.append(f"tested on {' or '.join(numbered(folds, 'fold') for folds, _ in sections[0][0])}")
    blocks = [
        Block(
            f"Tested on {folds_of(tested)}, not ranked with those above:" if section and not part else "",
            tuple(_shortened(line, level) for line in lines),
        )
        for section, (tested, parts) in enumerate(sections)
        for part, lines in enumerate(parts)
    ]
    columns = tuple(Column(name) for name in titles)
    table = Table(", ".join([*title, order]), "system", (("", columns),), tuple(blocks), texts=(EVIDENCE,))
    return replace(table, notes=tuple(_notes(maker, table)))


def _shortened(line: Line, level: int) -> Line:
    """Return a line with a shorter name and shorter texts, so that more columns fit."""
    longest = 24 - 2 * level
    about = {}
    for key, texts in line.about.items():
        text = "; ".join(part.partition(" (")[0] for part in texts)
        about[key] = (text if len(text) <= longest else f"{text[: longest - 1]}…",) if text else ()
    return replace(line, head=line.head.replace(",encoder=", ","), about=about)


def _notes(maker: TableMaker, table: Table) -> list[str]:
    """Explain the signs that stand in the table, and say what is published."""
    board = maker.leaderboard
    rows = [row for row in board.rows if row.kind != "ideal"]
    columns = {
        column.title
        for index, column in enumerate(table.columns)
        if any(line.cells[index].text for line in table.lines)
    }
    interval = [f"low{INTERVAL}high: 95 % interval"] if table.shows(INTERVAL) else []
    best = [f"{BEST}: no row tested on the same folds is significantly better"] if table.has_bold else []
    notes = ["; ".join([*interval, *best])] if interval or best else []
    if DEVIATION in columns or table.shows(DEVIATION):
        notes.append(f"{DEVIATION}: standard deviation over seeds, or over folds where a row has one seed")
    if table.shows(ONE_TRAINING):
        conditions = [condition for row in rows for condition in row.conditions.values()]
        folds = sorted({len(condition.folds) for condition in conditions if condition.one_training})
        trainings = " or ".join(dict.fromkeys(map(training_only, folds)))
        notes.append(
            f"{ONE_TRAINING}: the interval is of {trainings}; another seed may differ by more"
            if interval
            else f"{ONE_TRAINING}: of {trainings}; another seed may differ"
        )
    if table.shows(AT_CHANCE):
        notes.append(f"{AT_CHANCE}: not above chance, which gives every clip and frame the same score")
    if SHIFTED in columns:
        notes.append(f"{SHIFTED}: mean micro-AP on test clips rolled in time")
    if table.shows(NOT_VERIFIED):
        notes.append(f"{NOT_VERIFIED}: not verified, the submission alone says so; ranked below what was verified")
    flags = {flag.text for row in rows for flag in row.flags}
    if flags:
        notes.append(f"{FLAGGED}: {flags.pop() if len(flags) == 1 else 'flagged; --details says why'}")
    if not board.comparable:
        notes.append(f"Not comparable with published results: {'; '.join(board.why_not_comparable)}")
    elif published := board.published.best_line(board.snrs):
        notes.append(published)
    return notes
