"""Check every submission of this repository, recompute it from its predictions, and rebuild the page.

    python check.py                          # all of submissions/; the page is build/site/index.html
    python check.py --require-predictions    # refuse a submission some record of which is not recomputed

A submission is a folder `submissions/<group>/` with `submission.json`, and in `predictions/` the files that its records
were made from: one file or one folder for each record or probe. A link in it is refused, as it could lead to any file
of the machine that checks. What it has to be on is decided by `datasets/`, and
what was recomputed by the workspace in build/, which always starts empty. The exit status is 1 if a submission is
refused; nothing of that submission is on the page then.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import remixbench

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"


def check(group: Path, require_predictions: bool) -> str:
    """Add a group's submission to the workspace in build/; returns why it is refused, or ""."""
    if not group.name.isprintable():
        return "its folder has a name that cannot be printed; rename it"
    if links := [path for path in (group, *sorted(group.rglob("*"))) if path.is_symlink()]:
        return f"{links[0].relative_to(HERE).as_posix()!a}: is a link; put the file itself there"
    predictions = group / "predictions"
    evidence = sorted(path for path in predictions.iterdir() if path.name[0] != ".") if predictions.is_dir() else []
    submission = group / "submission.json"
    try:
        remixbench.score(
            *evidence, workspace=BUILD, add=submission, require_predictions=require_predictions, progress=True
        )
    except remixbench.RemixbenchError as error:
        return str(error)
    except Exception as error:  # one submission must not keep the others from being checked
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def main() -> int:
    """Check all submissions and make the page; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--require-predictions", action="store_true")
    require_predictions = parser.parse_args().require_predictions
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(HERE / "datasets", BUILD / "datasets")
    refused = {}
    for group in sorted(path for path in (HERE / "submissions").iterdir() if path.is_dir()):
        if why := check(group, require_predictions):
            refused[group.name if group.name.isprintable() else ascii(group.name)] = why
    for name, why in refused.items():
        print(f"refused: {name}: {why}", file=sys.stderr)
    if (BUILD / "submissions").is_dir():
        page = remixbench.report(
            workspace=BUILD,
            submissions=BUILD / "submissions",
            require_predictions=require_predictions,
            out=BUILD / "site" / "index.html",
        )
        print(page)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
