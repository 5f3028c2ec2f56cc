"""Results of the literature, each with its source; read from published.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from remixbench.leaderboard.record import Flag


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Frozen):
    """Where results were published."""

    name: str
    citation: str
    doi: str


class PublishedRow(_Frozen):
    """A row of a table: values by SNR, one per column; `alpha` is the weight of the reconstruction."""

    name: str
    system: str
    scores: dict[float, tuple[float, ...]]
    alpha: float = 0.0


class PublishedTable(_Frozen):
    """A table: its columns are metrics, or classes of its only metric.

    `dataset` is what it is on, if not the paper's data set; `what` says how each metric was computed.
    """

    source: str
    metrics: tuple[str, ...]
    rows: tuple[PublishedRow, ...]
    classes: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    dataset: str = ""
    what: tuple[str, ...] = ()


class Published(_Frozen):
    """All published results, and the recipe whose data set Tables 1 to 3 are on; `detection` is on another."""

    recipe: str
    sources: dict[str, Source]
    table1: PublishedTable
    table2: PublishedTable
    table3: PublishedTable
    detection: PublishedTable

    @property
    def tables(self) -> dict[str, PublishedTable]:
        """Every table, by its name here."""
        return {"table1": self.table1, "table2": self.table2, "table3": self.table3, "detection": self.detection}

    def at(self, snr: float) -> Published:
        """Return the results at one SNR alone."""

        def at_snr(table: PublishedTable) -> PublishedTable:
            rows = [row for row in table.rows if snr in row.scores]
            rows_at = tuple(row.model_copy(update={"scores": {snr: row.scores[snr]}}) for row in rows)
            return table.model_copy(update={"rows": rows_at})

        return self.model_copy(update={name: at_snr(table) for name, table in self.tables.items()})

    @property
    def systems(self) -> tuple[str, ...]:
        """The registered systems that published rows belong to, in the order of Tables 1 and 3."""
        later = [row.system for row in self.table3.rows]
        first = [row.system for row in self.table1.rows if row.system not in later]
        return tuple(dict.fromkeys([*first, *later]))

    def value(self, system: str | None, snr: float, metric: str) -> float | None:
        """Return the published value of a system, or None where there is none."""
        for row in self.table1.rows:
            if row.system == system and snr in row.scores and metric in self.table1.metrics:
                return row.scores[snr][self.table1.metrics.index(metric)]
        return None

    def best_line(self, snrs: Sequence[float]) -> str:
        """Return the best published micro-AP at some SNRs in a sentence; "" where there is none."""
        column = self.table1.metrics.index("micro_ap")
        texts = []
        for snr in dict.fromkeys(snrs):
            rows = [row for row in self.table1.rows if snr in row.scores]
            if rows:
                best = max(rows, key=lambda row: row.scores[snr][column])
                texts.append(f"{best.scores[snr][column]:.3f} at {snr:g} dB ({best.name})")
        return f"Best published micro-AP: {', '.join(texts)}" if texts else ""

    def cite(self, source: str) -> str:
        """Return the citation of a source with its DOI."""
        return f"{self.sources[source].citation}, {self.sources[source].doi}"

    def detection_line(self) -> str:
        """Return the published detection results in a sentence, as they are on other data than any table here."""
        table = self.detection
        ((row, snr, values),) = [(row, snr, values) for row in table.rows for snr, values in row.scores.items()]
        results = "; ".join(f"{what} {value:g}" for what, value in zip(table.what, values, strict=True))
        return (
            f"{self.sources[table.source].name} report for {row.name} at {snr:g} dB, as means over all classes:"
            f" {results}. The columns of their settings are computed in the same way, but their clips have other scenes"
            " (TUT Urban Acoustic Scenes 2018), so the values are not comparable."
        )

    def where_detection_is(self) -> str:
        """Say where the published detection results are, in the tables of other data sets."""
        name = self.sources[self.detection.source].name
        return f"Published detection results ({name}) are beside the tables of {self.recipe}."

    def tidy(self) -> Iterator[dict[str, Any]]:
        """Yield every published value with name, system, snr, metric, class and source."""
        for table in self.tables.values():
            last = {"flags": "; ".join(flag.text for flag in table.flags)} if table.flags else {}
            last["source"] = self.cite(table.source)
            for row in table.rows:
                for snr, values in row.scores.items():
                    for index, value in enumerate(values):
                        column = {"metric": table.metrics[0 if table.classes else index]}
                        if table.classes:
                            column["class"] = table.classes[index]
                        yield {
                            "kind": "published", "dataset": table.dataset or self.recipe, "name": row.name,
                            "system": row.system, "snr": snr, **column, "value": value, **last,
                        }  # fmt: skip


@cache
def load_published() -> Published:
    """Read the results that come with the package."""
    text = (files("remixbench.leaderboard") / "published.yaml").read_text(encoding="utf-8")
    return Published.model_validate(yaml.safe_load(text))
