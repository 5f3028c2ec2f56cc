"""Faults of every kind against the command line: each must end in a result or in one line, and nothing may be lost.

    python tests/campaigns/faults.py [--cases 1000] [--seed 0] [--family NAME ...]

A tiny workspace is made: recordings, a data set with stems, a run, predictions, records, a submission. Every case is a
copy of it, a fault, and a command in a process of its own. The families:

kills          SIGKILL at a random moment of make, train or score, or before or after a random rename
full-disk      no file may grow beyond a random size
permissions    a random file or folder may not be read, written or both
alterations    files that stay well-formed but are not what they were: samples, labels, log-mel, settings, metrics
metadata       damaged JSON, CSV, YAML and archives (see damage.py), half of them with their digests made to fit
environments   encodings, terminals, odd names, closed and full outputs

After kills and full disks the same command is run again undisturbed, and must leave the bytes of a workspace that was
never disturbed. An alteration is noticed if the command fails or names the file. Where the command does not read the
altered file, its results must equal those of the undisturbed workspace byte for byte, and `verify` must find the
alteration; an altered record may also be made again. Anything else counts as "unnoticed".

Prints each failure on standard error when it is found, and a tally as JSON at the end; ends with status 1 if anything
failed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fault_cases
from fault_cases import Case, prepare
from fault_workspace import make_workspace

FAMILIES: dict[str, tuple[int, Callable[[Case], str]]] = {
    "kills": (4, fault_cases.killed),
    "full-disk": (4, fault_cases.full_disk),
    "permissions": (5, fault_cases.denied),
    "alterations": (5, fault_cases.altered),
    "metadata": (10, fault_cases.malformed),
    "environments": (2, fault_cases.odd_environment),
}
"""The families: the share of the cases that each gets, and how one case is run; it returns what was wrong, or ""."""
FAULTS = ("traceback", "own fault", "hang", "more than one line", "unnoticed", "lost")


def campaign(cases: int, seed: int, folder: Path, families: list[str]) -> dict[str, Counter[str]]:
    """Run `cases` cases and print each failure as it is found; returns the tally of every family."""
    base = make_workspace(folder / "base")
    # each family's cases evenly among the others', so that few cases are of every family too
    places = [((case + 0.5) / FAMILIES[name][0], name) for name in families for case in range(FAMILIES[name][0])]
    shares = [name for _, name in sorted(places)]
    tally: dict[str, Counter[str]] = {name: Counter() for name in families}
    for number in range(cases):
        draw = random.Random(f"{seed} {number}")
        family = shares[number % len(shares)]
        case = prepare(base, folder / "case", draw)
        wrong = FAMILIES[family][1](case)
        tally[family].update(["cases", *(["refused"] if case.refused else []), *([wrong] if wrong else [])])
        if wrong:
            print(f"case {number} ({family}): {wrong}: {case.what}\n{case.shown}", file=sys.stderr, flush=True)
    return tally


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    chosen = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = campaign(chosen.cases, chosen.seed, Path(folder), chosen.family)
    total: Counter[str] = sum(tally.values(), Counter())
    counts = {what: total[what] for what in ("cases", "refused", *FAULTS)}
    print(
        json.dumps(
            {"seed": chosen.seed, **counts, "seconds": round(time.monotonic() - start), "families": tally}, indent=1
        )
    )
    return 1 if any(total[what] for what in FAULTS) else 0


if __name__ == "__main__":
    sys.exit(main())
