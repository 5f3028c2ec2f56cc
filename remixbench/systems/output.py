"""What a forward pass of any system returns, the check that it does, and the loss of its clip scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remixbench.errors import InputError

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


def check_output(
    output: object,
    *,
    batch: int,
    classes: int,
    frames: int,
    n_mels: int,
    own_frame_rate: bool,
    system: str,
    reconstruction: tuple[int, ...] | None = None,
) -> Output:
    """Return `output` if it is an `Output` of the right shapes and ranges; for systems that are not bundled.

    Parameters
    ----------
    own_frame_rate : whether the system states its own `frame_seconds`, so that its frame scores may have any number of
        frames.
    reconstruction : shape of a decoder's reconstruction; by default that of the log-mel.

    Raises
    ------
    InputError
        Naming the system, the field, what was found and what was expected.
    """
    if not isinstance(output, Output):
        raise InputError(
            f"system '{system}': its forward returns {type(output).__name__}, expected remixbench.systems.Output"
        )
    expected = {
        "clip_scores": (batch, classes),
        "frame_scores": (batch, frames, classes),
        "tf_maps": (batch, classes, frames, n_mels),
        "reconstruction": reconstruction or (batch, frames, n_mels),
        "frequency_attention": (batch, classes, frames, n_mels),
        "time_attention": (batch, classes, frames),
        "raw_frame_scores": (batch, frames, classes),
    }
    for field, shape in expected.items():
        value = getattr(output, field)
        if value is None and field not in ("clip_scores", "frame_scores"):
            continue
        given = tuple(getattr(value, "shape", ()))
        if own_frame_rate and field.endswith("frame_scores") and len(given) == 3 and given[1] > 0:
            shape = (batch, given[1], classes)
        if given != shape:
            remedy = "; a system of another frame rate sets `frame_seconds`" if field == "frame_scores" else ""
            raise InputError(
                f"system '{system}': its {field} are {given or type(value).__name__}, expected {shape}{remedy}"
            )
        if field in SCORES:
            low, high = float(value.min()), float(value.max())
            if not (low >= 0 and high <= 1):  # false for NaN, too
                remedy = "" if math.isnan(low + high) else "; apply a sigmoid"
                raise InputError(
                    f"system '{system}': its {field} range from {low:g} to {high:g}, expected values in [0, 1]{remedy}"
                )
    return output


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
