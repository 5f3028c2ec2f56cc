"""What a forward pass of any system returns, and the loss of its clip scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SCORES = ("clip_scores", "frame_scores", "tf_maps")
"""The fields whose values lie in [0, 1]."""


class Output(NamedTuple):
    """One forward pass; every field is float32, scores in [0, 1], or None where a system has no such output.

    Attributes
    ----------
    clip_scores : (batch, classes), the tags.
    frame_scores : (batch, frames, classes), for detection in time.
    tf_maps : (batch, classes, frames, n_mels), for detection in time and frequency.
    reconstruction : the decoder's reconstruction of the input: standardised log-mel (batch, frames, n_mels), or the
        waveform (batch, samples).
    frequency_attention : (batch, classes, frames, n_mels); sums to 1 over the mel bands of a frame.
    time_attention : (batch, classes, frames); sums to 1 over the frames.
    raw_frame_scores : (batch, frames, classes), the first step of two-step attention before it is oriented and gated
        (see `TwoStepAttention`).
    """

    clip_scores: Tensor
    frame_scores: Tensor
    tf_maps: Tensor | None = None
    reconstruction: Tensor | None = None
    frequency_attention: Tensor | None = None
    time_attention: Tensor | None = None
    raw_frame_scores: Tensor | None = None


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of scores in [0, 1], float32; labels of the same shape.

    A score that is NaN, or above 1 by rounding, would end the process on a GPU and the run on a CPU, so scores are
    bounded first; for NaN the loss is NaN all the same.
    """
    with torch.autocast(scores.device.type, enabled=False):
        scores = scores.float()
        bounded = scores.nan_to_num(0.5).clamp(0, 1)
        return F.binary_cross_entropy(bounded, labels.float()) + 0 * scores.sum()


@contextmanager
def switched_off(network: nn.Module, switch: str) -> Iterator[None]:
    """Set an attribute of a network, which says whether `forward` computes some output, to False for a while."""
    before = getattr(network, switch)
    setattr(network, switch, False)
    try:
        yield
    finally:
        setattr(network, switch, before)
