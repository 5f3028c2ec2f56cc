"""The figures of the literature that stand in the tables, each with its source; read from published.yaml."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Frozen):
    """Where figures were published."""

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
    marks: tuple[str, ...]
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


class DetectionRow(_Frozen):
    """Figures of one system by their name."""

    name: str
    system: str
    scores: dict[str, float]


class DetectionTable(_Frozen):
    """Detection figures at one SNR."""

    source: str
    snr: float
    rows: tuple[DetectionRow, ...]


class Published(_Frozen):
    """All published figures, and the recipe whose data they are on."""

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
        """Return the published figure of a system, or None where there is none."""
        for row in self.table1.rows:
            if row.system == system and snr in row.scores and metric in self.table1.metrics:
                return row.scores[snr][self.table1.metrics.index(metric)]
        return None


@cache
def load_published() -> Published:
    """Read the figures that come with the package."""
    text = (files("remixbench.leaderboard") / "published.yaml").read_text(encoding="utf-8")
    return Published.model_validate(yaml.safe_load(text))
