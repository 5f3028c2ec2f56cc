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


class SystemRow(_Frozen):
    """A row of Table 1: at each SNR the values of the table's metrics."""

    name: str
    system: str
    scores: dict[float, tuple[float, ...]]


class SystemTable(_Frozen):
    """Table 1."""

    source: str
    metrics: tuple[str, ...]
    flags: tuple[Flag, ...]
    rows: tuple[SystemRow, ...]


class AlphaRow(_Frozen):
    """A row of Table 2: micro AP at each SNR."""

    alpha: float
    scores: dict[float, float]


class AlphaTable(_Frozen):
    """Table 2."""

    source: str
    rows: tuple[AlphaRow, ...]


class ClassRow(_Frozen):
    """A row of Table 3: AP of each of the table's classes."""

    name: str
    system: str
    scores: tuple[float, ...]


class ClassTable(_Frozen):
    """Table 3."""

    source: str
    snr: float
    classes: tuple[str, ...]
    rows: tuple[ClassRow, ...]


class DetectionResult(_Frozen):
    """One class-averaged metric, and in words how it was computed."""

    metric: str
    value: float
    what: str


class DetectionTable(_Frozen):
    """Detection metrics of one system at one SNR, on a data set that is not the paper's."""

    source: str
    dataset: str
    name: str
    system: str
    snr: float
    results: tuple[DetectionResult, ...]


class Published(_Frozen):
    """All published results, and the recipe whose data set Tables 1 to 3 are on."""

    recipe: str
    sources: dict[str, Source]
    table1: SystemTable
    table2: AlphaTable
    table3: ClassTable
    detection: DetectionTable

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
        place = self.table1.metrics.index("micro_ap")
        texts = []
        for snr in dict.fromkeys(snrs):
            rows = [row for row in self.table1.rows if snr in row.scores]
            if rows:
                best = max(rows, key=lambda row: row.scores[snr][place])
                texts.append(f"{best.scores[snr][place]:.3f} at {snr:g} dB ({best.name})")
        return f"Best published micro-AP: {', '.join(texts)}" if texts else ""

    def cite(self, source: str) -> str:
        """Return the citation of a source with its DOI."""
        return f"{self.sources[source].citation}, {self.sources[source].doi}"

    def detection_line(self) -> str:
        """Return the published detection results in a sentence, as they are on other data than any table here."""
        table = self.detection
        results = "; ".join(f"{result.what} {result.value:g}" for result in table.results)
        return (
            f"{self.sources[table.source].name} report for {table.name} at {table.snr:g} dB, as means over all"
            f" classes: {results}. The columns of their settings are computed in the same way, but their clips have"
            " other scenes (TUT Urban Acoustic Scenes 2018), so the values are not comparable."
        )

    def where_detection_is(self) -> str:
        """Say where the published detection results are, in the tables of other data sets."""
        name = self.sources[self.detection.source].name
        return f"Published detection results ({name}) are beside the tables of {self.recipe}."

    def tidy(self) -> Iterator[dict[str, Any]]:
        """Yield every published value with name, system, snr, metric, class and source."""
        on = {"kind": "published", "dataset": self.recipe}
        one, two, three, four = self.table1, self.table2, self.table3, self.detection
        for row in one.rows:
            for snr, values in row.scores.items():
                for metric, value in zip(one.metrics, values, strict=True):
                    yield on | {
                        "name": row.name, "system": row.system, "snr": snr, "metric": metric, "value": value,
                        "flags": "; ".join(flag.text for flag in one.flags), "source": self.cite(one.source),
                    }  # fmt: skip
        for weight in two.rows:
            for snr, value in weight.scores.items():
                yield on | {
                    "name": f"VGGish, 2AP, α = {weight.alpha:g}", "system": "2ap-aux" if weight.alpha else "2ap",
                    "snr": snr, "metric": "micro_ap", "value": value, "source": self.cite(two.source),
                }  # fmt: skip
        for line in three.rows:
            for label, value in zip(three.classes, line.scores, strict=True):
                yield on | {
                    "name": line.name, "system": line.system, "snr": three.snr, "metric": "ap", "class": label,
                    "value": value, "source": self.cite(three.source),
                }  # fmt: skip
        for result in four.results:
            yield on | {
                "name": four.name, "system": four.system, "snr": four.snr, "metric": result.metric,
                "value": result.value, "source": self.cite(four.source), "dataset": four.dataset,
            }  # fmt: skip


@cache
def load_published() -> Published:
    """Read the results that come with the package."""
    text = (files("remixbench.leaderboard") / "published.yaml").read_text(encoding="utf-8")
    return Published.model_validate(yaml.safe_load(text))
