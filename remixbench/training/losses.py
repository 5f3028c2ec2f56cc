"""What training minimises."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from remixbench.errors import InputError
from remixbench.systems.output import Output


def loss(output: Output, weak_targets: Tensor, standardised_input: Tensor, alpha: float) -> Tensor:
    """Mean binary cross-entropy of the clip scores plus alpha times the reconstruction's mean squared error.

    Parameters
    ----------
    output : what the system returned.
    weak_targets : (batch, classes), 1 where the class is in the clip, else 0.
    standardised_input : (batch, frames, n_mels), what the system was given and the decoder is to return.
    alpha : weight of the reconstruction, 0 or more; at 0 the decoder gets no gradient.

    Returns
    -------
    A scalar, float32.

    Raises
    ------
    InputError
        Where alpha is not 0 and the system reconstructs nothing.
    """
    with torch.autocast(output.clip_scores.device.type, enabled=False):
        scores = output.clip_scores.float()
        # NaN, or a score above 1 by rounding, ends the process on a GPU and the run on a CPU; so it is kept away
        # from the cross-entropy, and NaN stays NaN by the product
        bounded = scores.nan_to_num(0.5).clamp(0, 1)
        total = F.binary_cross_entropy(bounded, weak_targets.float()) + 0 * scores.sum()
        if alpha:
            if output.reconstruction is None:
                raise InputError(f"alpha is {alpha:g}, but this system has no decoder; use alpha 0 or an -aux system")
            total = total + alpha * F.mse_loss(output.reconstruction.float(), standardised_input.float())
    return total


def shard_of_loss(output: Output, weak_targets: Tensor, x: Tensor, alpha: float, batch: int) -> Tensor:
    """Return what these clips add to the mean loss over a batch of `batch` clips, the rest of which other processes
    may have.
    """
    if len(x) == 0:  # a mean over nothing is NaN, yet every process must go back through its network
        parts = [output.clip_scores] + ([output.reconstruction] if alpha and output.reconstruction is not None else [])
        return torch.stack([part.sum() for part in parts]).sum()
    return loss(output, weak_targets, x, alpha) * (len(x) / batch)
