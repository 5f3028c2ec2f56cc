"""What a finished archive leaves behind, so that it is neither fetched nor unpacked twice.

A receipt lists the members of one archive with their sizes, under `sources/.receipts/`. While all of them lie
there with these sizes, the archive is settled, whether it is still there or not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remixbench.files import write_json


@dataclass(frozen=True)
class Receipt:
    """A verified and unpacked archive: MD5 expected and found, whether it was to be kept, member sizes."""

    expected: str
    md5: str
    kept: bool
    members: dict[str, int]


def receipt_path(sources: Path, file: str) -> Path:
    """Return where the receipt of an archive lies."""
    return sources / ".receipts" / f"{file}.json"


def write_receipt(sources: Path, file: str, receipt: Receipt) -> None:
    """Note that an archive is verified and unpacked."""
    write_json(receipt_path(sources, file), vars(receipt))


def read_receipt(sources: Path, file: str) -> Receipt | None:
    """Return the receipt of an archive, None where there is none or none that can be read."""
    try:
        value: Any = json.loads(receipt_path(sources, file).read_text(encoding="utf-8"))
        members = {str(name): int(size) for name, size in value["members"].items()}
        return Receipt(str(value["expected"]), str(value["md5"]), bool(value["kept"]), members)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def absent(folder: Path, members: dict[str, int]) -> list[str]:
    """Return the members that do not lie beneath `folder` with their size, in their order."""
    return [name for name, size in members.items() if _size(folder / name) != size]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
