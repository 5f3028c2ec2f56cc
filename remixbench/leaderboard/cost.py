"""What systems cost, as a table: parameters, MACs per clip, training time, device."""

from __future__ import annotations

from remixbench.leaderboard.leaderboard import Row
from remixbench.leaderboard.record import Cost
from remixbench.leaderboard.tables import EVIDENCE, NOT_REPORTED, TESTED, Cell, Column, Table, TableMaker, marked

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity(value: float | None) -> str:
    """Return a count in three digits with an SI prefix: 4.69 M, 38.1 k; "" for None."""
    if value is None:
        return ""
    for factor, prefix in _PREFIXES:
        if value >= 0.9995 * factor:
            return f"{_three_digits(value / factor)} {prefix}"
    return f"{value:.0f}"


def _three_digits(value: float) -> str:
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def duration(seconds: float | None) -> str:
    """Return a time in a unit that suits it: 8.1 s, 12.4 min, 3.2 h; "" for None."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def cost_table(maker: TableMaker) -> Table | None:
    """Return parameters, MACs, training time and device of every row; None where no row reports one.

    Where some row has a frozen encoder, parameters are told apart into those trained and all, and its MACs have a
    column.
    """
    board = maker.leaderboard
    if all(row.cost == Cost() for row in board.rows):
        return None
    frozen = any(row.pretrained_on or row.cost.frozen_parameters for row in board.rows)

    def cells_of(row: Row) -> list[Cell]:
        cost = row.cost
        trained, macs = quantity(cost.parameters), quantity(cost.macs)
        texts = [trained, macs, duration(cost.seconds), cost.device or ""]
        if frozen:
            of_encoder = ("", "")  # not reported
            if cost.frozen_parameters is not None:
                of_encoder = quantity(cost.frozen_parameters + (cost.parameters or 0)), quantity(cost.frozen_macs)
            elif not row.pretrained_on:
                of_encoder = trained, "0"
            texts = [trained, of_encoder[0], macs, of_encoder[1], *texts[2:]]
        return [Cell(marked(text, not row.submission) if text else NOT_REPORTED) for text in texts]

    titles = ["parameters", "MACs per clip", "training time", "device"]
    if frozen:
        titles = ["trainable parameters", "all parameters", titles[1], "MACs of the encoder", *titles[2:]]
    return Table(
        "Cost",
        "system",
        (("", tuple(Column(title) for title in titles)),),
        tuple(maker.blocks(cells_of, board.snrs)),
        (
            "MACs: multiply-accumulate operations of a forward pass on one clip. Training time: of one run, the mean"
            " over SNRs, folds and seeds, with the predictions of the tested clips"
            + (", without the embeddings, which are computed once." if frozen else "."),
        ),
        (TESTED, EVIDENCE),
    )
