"""How to read frame scores from two-step attention: `python benchmarks/orientation.py WORKSPACE [SYSTEM]`.

The first step's output z of a two-step system may be high or low where a class is present. For every finished run of
the system (2ap-aux by default) on the data set made last, this prints the frame average precision (mean over classes)
on the *validation* clips of several ways to turn z into frame scores; c is the clip score, s the sign of the mean of
dc/dz over training clips, o is z or 1 - z by that sign.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

import remixbench
from remixbench.systems.models import TwoStepNetwork
from remixbench.training.model_file import read_model

TRAINING_CLIPS = 96
Array = NDArray[np.float32]


def first_step(network: TwoStepNetwork, x: Array) -> tuple[Array, Array, Array]:
    """Return z and dc/dz, (clips, frames, classes), and c, (clips, 1, classes), of standardised log-mel."""
    with torch.no_grad():
        maps = network.class_maps(network.encoder(torch.from_numpy(x).unsqueeze(1)))
        z = network.attention._pool_frequency(maps)[2]
    z.requires_grad_(True)
    clip = network.attention._pool_time(z)[0]
    (gradient,) = torch.autograd.grad(clip.sum(), z)
    return z.detach().numpy().swapaxes(1, 2), gradient.numpy().swapaxes(1, 2), clip.detach().numpy()[:, None, :]


def candidates(z: Array, gradient: Array, c: Array, slope: Array) -> Iterator[tuple[str, Array]]:
    """Yield (name, frame scores); `slope` is the mean of dc/dz over training clips for each class, (classes,)."""
    o = z if slope.sum() > 0 else 1 - z
    yield "z", z
    yield "o", o
    yield "o c", o * c
    yield "o c, sign per class", np.where(slope > 0, z, 1 - z) * c
    yield "o sqrt(c)", o * np.sqrt(c)
    yield "(o - min o) c", (o - o.min(axis=1, keepdims=True)) * c
    yield "|dc/dz| o c", np.abs(gradient) * o * c
    yield "min(o, c)", np.minimum(o, c)


def frame_reference(dataset: remixbench.Dataset, frames: int, step: float) -> NDArray[np.bool_]:
    """Return which class is active at the middle of each frame, (clips, frames, classes)."""
    middle = (np.arange(frames) + 0.5) * step
    active = np.zeros((len(dataset.filenames), frames, len(dataset.classes)), dtype=bool)
    row = {name: number for number, name in enumerate(dataset.filenames)}
    for name, onset, offset, label in dataset.strong():
        active[row[name], (middle >= onset) & (middle < offset), dataset.classes.index(label)] = True
    return active


def main(workspace: Path, system: str = "2ap-aux") -> None:
    """Print one line per SNR and way: mean and standard deviation over the runs."""
    dataset = remixbench.find_dataset(workspace)
    reference = frame_reference(dataset, dataset.recipe.frames, dataset.recipe.frame_seconds)
    found: dict[tuple[float, str], list[float]] = defaultdict(list)
    for folder in sorted((workspace / "runs" / dataset.name / system).glob("snr_*/fold_*/seed_*")):
        model = read_model(folder / "model.safetensors")
        snr, fold, seed = (float(part.split("_")[1]) for part in folder.parts[-3:])
        roles = remixbench.splits(dataset, int(fold), int(seed))
        log_mel = model.standardisation.apply(np.asarray(dataset.features(snr)))
        assert isinstance(model.network, TwoStepNetwork)
        network = model.network.eval()
        slope = first_step(network, log_mel[np.sort(roles["train"])[:TRAINING_CLIPS]])[1].sum(axis=(0, 1))
        rows = np.sort(roles["validation"])
        present = np.flatnonzero(reference[rows].any(axis=(0, 1)))
        for name, scores in candidates(*first_step(network, log_mel[rows]), slope):
            each = [average_precision_score(reference[rows][..., k].ravel(), scores[..., k].ravel()) for k in present]
            found[snr, name].append(float(np.mean(each)))
    print(f"frame AP on validation clips of {dataset.name}, {system}: mean ± standard deviation over runs")
    for (snr, name), values in sorted(found.items(), key=lambda item: -item[0][0]):
        spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
        print(f"{snr:3g} dB  {name:22} {np.mean(values):.3f}{spread}  ({len(values)} runs)")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), *sys.argv[2:])
