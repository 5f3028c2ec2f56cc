"""What does a trained system know of where in the clip events are? Micro-AP on test clips rolled in time.

    python benchmarks/positions.py WORKSPACE DATASET [--snr DB] [--shift SECONDS ...]

Unlike `remixbench score --probe shift` it takes any shift, also one that cuts events in two. How little that costs is
seen in the systems that treat all frames alike (gap, gmp, gwrp).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.probes import roll
from remixbench.inference.probes import predict_clips
from remixbench.inference.system import load_system
from remixbench.leaderboard.discover import run_folders, run_tasks
from remixbench.progress import SILENT
from remixbench.training.evaluate import micro_average_precision
from remixbench.training.run_files import read_run


def micro_aps(run: Path, dataset: Dataset, shifts: list[float]) -> list[float]:
    """Return micro-AP for every shift, each rounded to whole frames."""
    info, system = read_run(run), load_system(run)
    rows, step = dataset.test_rows(info.fold), dataset.recipe.frame_seconds
    features = np.asarray(dataset.features(info.snr)[rows])
    found = []
    for shift in shifts:
        rolled = roll(features, round(shift / step) * step, step, axis=1)
        found.append(micro_average_precision(dataset.weak[rows], predict_clips(system, rolled, info.batch_size)[0]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("--snr", type=float, default=20.0)
    parser.add_argument("--shift", type=float, nargs="+", default=[0.0, 0.256, 0.512, 1.024, 2.048])
    options = parser.parse_args()
    dataset = find_dataset(options.workspace, options.dataset)
    systems: dict[str, list[list[float]]] = {}
    folders = run_folders(options.workspace / "runs" / dataset.name)
    for task in run_tasks(options.workspace, folders, dataset, SILENT):
        run = task.folder
        if task.system.snr == options.snr:
            systems.setdefault(run.parents[2].name, []).append(micro_aps(run, dataset, options.shift))
    print(f"{'micro-AP, rolled by (s)':<24}", *(f"{shift:>7g}" for shift in options.shift), " runs")
    for name, values in sorted(systems.items()):
        print(f"{name:<24}", *(f"{value:7.3f}" for value in np.mean(values, axis=0)), f"{len(values):5d}")


if __name__ == "__main__":
    main()
