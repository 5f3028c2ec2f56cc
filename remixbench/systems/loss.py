"""What training minimises."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from remixbench.errors import InputError
from remixbench.systems.output import Output
from remixbench.systems.pooling import float32


def loss(output: Output, weak_targets: Tensor, standardised_input: Tensor, alpha: float) -> Tensor:
    """Mean binary cross-entropy of the clip scores plus alpha times the reconstruction's mean squared error.

    Parameters
    ----------
    output : what the system returned.
    weak_targets : (batch, classes), 1 where the class is in the clip, else 0.
    standardised_input : (batch, frames, bands), what the system was given and the decoder is to return.
    alpha : weight of the reconstruction, 0 or more; at 0 it is not computed and the decoder gets no gradient.

    Returns
    -------
    A scalar, float32.

    Raises
    ------
    InputError
        Where alpha is not 0 and the system reconstructs nothing.
    """
    with float32(output.clip_scores):
        total = F.binary_cross_entropy(output.clip_scores.float(), weak_targets.float())
        if alpha:
            if output.reconstruction is None:
                raise InputError(f"alpha is {alpha:g}, but this system has no decoder; use alpha 0 or an -aux system")
            total = total + alpha * F.mse_loss(output.reconstruction.float(), standardised_input.float())
    return total
