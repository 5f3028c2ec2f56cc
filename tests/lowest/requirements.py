"""Print every requirement of pyproject.toml at the lowest version that it allows; torch as in constraints.txt."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("report", "dask", "test")


def lowest(requirement: str) -> str:
    """Return `name==version` for `name>=version`."""
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", requirement)
    if match is None:
        raise SystemExit(f"pyproject.toml: found '{requirement}', expected name>=version")
    return f"{match[1]}=={match[2]}"


def requirements() -> list[str]:
    """Return the lowest versions, one requirement each, sorted."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    torch = next(line for line in pinned if line.startswith("torch=="))
    return sorted({torch if line.startswith("torch>") else lowest(line) for line in wanted})


if __name__ == "__main__":
    print("\n".join(requirements()))
