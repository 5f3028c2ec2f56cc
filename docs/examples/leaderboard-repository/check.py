"""Check every submission of this repository, recompute it from its predictions, and rebuild the page.

    python check.py              # all of submissions/; the page is build/site/index.html

A submission is a folder `submissions/<group>/` with `submission.json`, and in `predictions/` the files that its records
were made from: one file or one folder for each record or probe. The exit status is 1 if a submission is refused;
nothing of that submission is on the page then.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import remixbench

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"


def check(group: Path) -> str:
    """Add a group's submission to the workspace in build/; returns why it is refused, or ""."""
    predictions = group / "predictions"
    evidence = sorted(predictions.iterdir()) if predictions.is_dir() else []
    try:
        remixbench.score(*evidence, workspace=BUILD, add=group / "submission.json", progress=True)
    except remixbench.RemixbenchError as error:
        return str(error)
    return ""


def main() -> int:
    """Check all submissions and make the page; returns the exit status."""
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(HERE / "datasets", BUILD / "datasets")
    refused = {}
    for group in sorted(path for path in (HERE / "submissions").iterdir() if path.is_dir()):
        if why := check(group):
            refused[group.name] = why
    for name, why in refused.items():
        print(f"refused: {name}: {why}", file=sys.stderr)
    if (BUILD / "submissions").is_dir():
        print(remixbench.report(submissions=BUILD / "submissions", out=BUILD / "site" / "index.html"))
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
