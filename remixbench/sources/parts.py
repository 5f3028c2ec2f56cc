"""Which parts of the scenes were fetched, for those who took `remixbench download --parts`."""

from __future__ import annotations

from pathlib import Path

from remixbench.sources.receipts import read_receipt
from remixbench.sources.registry import registry


def fetched_parts(source: str, sources: Path) -> tuple[int, ...] | None:
    """Return the numbers of the parts of a source that `download` brought, rising.

    None where it brought all or none of them: recordings that are missing then are missing by mistake.
    """
    archives = [archive for archive in registry().source(source).archives if archive.part is not None]
    brought = sorted(a.part for a in archives if a.part is not None and read_receipt(sources, a.file) is not None)
    return tuple(brought) if 0 < len(brought) < len(archives) else None
