"""Does this tree write what a commit wrote, byte by byte? For moves of code that must change no output.

    python benchmarks/same_outputs.py COMMIT

Both score the same made-up runs, predictions and submissions with the helpers of their own tests, and render them in
every format; a line per output that differs, and the exit status is 1 if one does. Texts that an output holds by
nature, such as the version, are those of each tree; a format that holds the time is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def outputs(folder: Path) -> dict[str, str]:
    """Make a workspace and return the digest of everything that is written or printed of it."""
    from fake_dataset import fake_dataset
    from fake_leaderboard import scored_workspace
    from fake_runs import fake_run, tags_text, write_frames

    from remixbench import figure, report, score
    from remixbench.cli import run
    from remixbench.dataset.probes import probe_shifts
    from remixbench.leaderboard.renderers import FORMATS, render

    os.chdir(folder)  # outputs name paths as they were given
    ours, theirs = Path("ours"), Path("theirs")
    scored_workspace(ours)
    dataset = fake_dataset(theirs, clips_per_fold=6)
    for seed in (0, 1):
        for fold in (3, 4):
            fake_run(theirs, dataset, "gmp", seed=seed, fold=fold)
    score(workspace=theirs, bootstrap=30, submission="runs.json")
    Path("tags.csv").write_text(tags_text(dataset, 4, noise=0.2, seed=1))
    write_frames(dataset, 4, Path("frames.npz"), seed=2)
    probes = {f"shift_{shift:g}.csv": shift for shift in probe_shifts(dataset, 4)} | {"snr_20.csv": 0.0}
    for name, noise in probes.items():
        Path(name).write_text(tags_text(dataset, 4, noise=0.3 + noise, seed=2))
    score(
        "tags.csv", "frames.npz", workspace=theirs, name="Lab X", snr=0, fold=4, bootstrap=30, submission="lab.json",
        shifted=[name for name in probes if name.startswith("shift")], other_snrs="snr_20.csv",
    )  # fmt: skip
    texts: dict[str, bytes] = {}
    for name, arguments in {
        "runs": [], "details": ["--details"], "one SNR": ["--snr", "20"], "compared": ["--compare", "gap", "2ap-aux"],
        "compared as CSV": ["--compare", "gap", "chance", "--format", "csv"],
        "compared as JSON": ["--compare", "gap", "chance", "--format", "json"],
        "added": ["--add", "runs.json"], "recomputed": ["tags.csv", "frames.npz", *probes, "--add", "lab.json"],
        "verified": ["tags.csv", "frames.npz", "--verify", "Lab X"],
        "verified as CSV": ["tags.csv", "--verify", "Lab X", "--format", "csv"],
        "verified as JSON": ["tags.csv", "frames.npz", "--verify", "Lab X", "--format", "json"],
        "verified by others": ["printed.txt", "--verify", "gap"],
    }.items():  # fmt: skip
        printed = Path("printed.txt")
        bootstrap = [] if {"--add", "--verify"} & {*arguments} else ["--bootstrap", "20"]
        with printed.open("w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = run(["--workspace", str(ours), "score", *bootstrap, *arguments])
        texts[f"printed: {name}"] = printed.read_bytes() + str(status).encode()
    board = score(workspace=ours, bootstrap=20)
    texts |= {f"format: {style}": render(board, style).encode() for style in FORMATS if style != "every-eval-ever"}
    for name, kind in {"curves.svg": None, "table.svg": "table", "table.tex": None}.items():
        texts[f"figure: {name}"] = figure(name, workspace=ours, kind=kind).read_bytes()
    texts["page"] = report(workspace=ours, clips=2).read_bytes()
    texts["page of submissions"] = report(submissions=".", out="page.html", workspace=ours).read_bytes()
    for file in sorted([*ours.rglob("metrics.json"), *theirs.rglob("metrics.json"), *Path().glob("*.json")]):
        texts[f"file: {file}"] = file.read_bytes()
    for index, row in enumerate(row for row in board.rows if row.kind in ("predictions", "added")):
        score(workspace=ours, remove=row.name)
        texts[f"removed: {index}"] = (ours / "leaderboard" / f"{board.dataset}.csv").read_bytes()
    return {name: hashlib.sha256(data).hexdigest() for name, data in texts.items()}


def outputs_of(tree: Path) -> dict[str, str]:
    """Return what `outputs` returns for the code and the helpers of a tree."""
    paths = os.pathsep.join(map(str, (tree, tree / "tests" / "helpers")))
    environment = os.environ | {"PYTHONPATH": paths, "REMIXBENCH_TREE": str(tree), "COLUMNS": "100"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).resolve()), "--inside", folder]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    digests: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return digests


def main() -> int:
    """Compare this tree with a commit."""
    parser = argparse.ArgumentParser(description="Compare all outputs of this tree with those of a commit.")
    parser.add_argument("commit", nargs="?")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        import remixbench

        if not Path(remixbench.__file__).is_relative_to(os.environ["REMIXBENCH_TREE"]):
            raise SystemExit("the installed remixbench was imported, not that of the tree")
        print(json.dumps(outputs(options.inside)))
        return 0
    if options.commit is None:
        parser.error("name a commit")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "-q", str(tree), options.commit], check=True)
        try:
            before, after = outputs_of(tree), outputs_of(ROOT)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
    differing = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    for name in differing:
        print(f"differs: {name}" if name in before and name in after else f"in one alone: {name}")
    print(f"{len(after)} outputs, {len(differing)} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
