"""The rules by which weights and input were filled when the released networks gave their figures.

The figures are in data/golden/released_outputs.json: the released networks as published (41 classes,
311 frames, 64 bands), torch 2.13 on a CPU, float32, one thread.
"""

import json

import numpy as np
import torch
from paths import ROOT

FIGURES = json.loads((ROOT / "tests" / "data" / "golden" / "released_outputs.json").read_text())


def released_weights(system: str) -> dict[str, torch.Tensor]:
    """Fill the released checkpoint's tensors, in their order, each from a generator of its own."""
    filled = {}
    for k, (name, shape) in enumerate(FIGURES[system]["tensors"]):
        count = int(np.prod(shape))
        w = np.random.RandomState(100 + k).uniform(-1, 1, count)
        if name.endswith("running_mean"):
            w = 0.05 * w
        elif name.endswith("running_var"):
            w = 1 + 0.1 * np.abs(w)
        elif ".bn" in name and name.endswith("weight"):
            w = 1 + 0.1 * w
        elif len(shape) == 1:
            w = 0.05 * w
        else:
            w = np.sqrt(6 / (count / shape[0])) * w
        filled[name] = torch.tensor(w.reshape(shape).astype(np.float32))
    return filled


def released_input() -> torch.Tensor:
    """Two clips: noise with a band, a stretch, a patch and a dip."""
    x = np.random.RandomState(7).standard_normal((2, 311, 64))
    x[0, 50:90, 10:20] += 3
    x[0, 150:170] += 2
    x[1, 200:260, 40:64] += 4
    x[1, :, 0:4] -= 2
    return torch.tensor(x.astype(np.float32))


def released_targets() -> torch.Tensor:
    """Every seventh class, shifted from one clip to the other."""
    clip, event = np.mgrid[:2, :41]
    return torch.tensor(((3 * event + clip) % 7 == 0).astype(np.float32))
