"""What separation costs: `separate` against real time, and scoring against the number of clips.

    python benchmarks/separate.py [--seconds 300] [--clips 500 2000] [--jobs 2] [--workspace DIR]

Untrained systems separate two classes in a recording of noise, on `--jobs` threads; the factor is seconds of audio per
second of time. Scoring is of random maps of `mini` (5 s clips with three events) and of its ideal masks, `--jobs`
processes; memory is the highest that this process, which reads the maps, has had by then. Where the data set has fewer
clips in the fold, they are measured several times.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from remixbench.dataset.make import make
from remixbench.dataset.masks import apply_masks, share
from remixbench.leaderboard.evaluate import read_fold_reference
from remixbench.leaderboard.separation import jobs_of, measure
from remixbench.parallel import Workers
from remixbench.recipe import load_recipe
from remixbench.systems import build_system

SYSTEMS = ("crnn-sep", "2ap", "gwrp")
CLASSES = 41
SNR, FOLD = 0.0, 4
WAYS: tuple[Literal["maps", "IBM", "IRM"], ...] = ("maps", "IBM", "IRM")


def real_time_factor(name: str, seconds: float, threads: int) -> float:
    """Return how much faster than real time a system separates two classes in noise, at the rate of `remix2019`."""
    recipe = load_recipe("remix2019")
    features, rate, frames = recipe.features, recipe.mix.sample_rate, recipe.frames
    torch.set_num_threads(threads)
    network = build_system(name, classes=CLASSES, frames=frames, n_mels=features.n_mels).eval()
    clips = max(1, round(seconds / recipe.mix.duration))
    rng = np.random.default_rng(0)
    audio = rng.normal(0, 0.1, (clips, recipe.mix.samples)).astype(np.float32)
    began = time.perf_counter()
    with torch.inference_mode():
        for clip in audio:
            x = torch.from_numpy(rng.normal(size=(1, frames, features.n_mels)).astype(np.float32))
            maps = network(x).tf_maps
            assert maps is not None
            apply_masks(clip, rate, share(maps[0, :2].clamp(0, 1).numpy()), features, rate)
    return clips * recipe.mix.duration / (time.perf_counter() - began)


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="audio to separate per system")
    parser.add_argument("--clips", type=int, nargs="+", default=[500, 2000], help="clips to score")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--workspace", type=Path, help="where `mini` with stems is made [default: a temporary folder]")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.jobs} used")
    for name in SYSTEMS:
        factor = real_time_factor(name, options.seconds, options.jobs)
        print(f"{name}: {factor:.0f} times faster than real time", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        place = (options.workspace or Path(temporary)) / "mini"
        dataset = make(recipe="mini", out=place, snr=[SNR], stems=True, jobs=options.jobs)
        assert dataset is not None
        reference = read_fold_reference(dataset, FOLD).reference
        size = (dataset.recipe.frames, dataset.recipe.features.n_mels)
        rng = np.random.default_rng(0)
        plain = jobs_of(dataset, reference)
        for count in options.clips:
            for way in WAYS:
                jobs = [
                    replace(job, maps=rng.integers(0, 65536, (len({k for k, _, _ in job.events}), *size), np.uint16))
                    if way == "maps"
                    else replace(job, ideal=way)
                    for job in islice(cycle(plain), count)
                ]
                began = time.perf_counter()
                measure(dataset, SNR, jobs, Workers(options.jobs))
                seconds = time.perf_counter() - began
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f"{way} of {count} clips: {seconds:.0f} s, at most {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
