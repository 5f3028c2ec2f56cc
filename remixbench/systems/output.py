"""What a forward pass of any system returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from remixbench.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class Output(NamedTuple):
    """One forward pass; every field float32, scores in [0, 1], None where a system has no such thing.

    Attributes
    ----------
    clip_scores : (batch, classes), the tags.
    frame_scores : (batch, frames, classes), for detection in time.
    maps : (batch, classes, frames, bands), for detection in time and frequency.
    reconstruction : (batch, frames, bands), the standardised log-mel as the decoder gives it back.
    frequency_attention : (batch, classes, frames, bands); sums to 1 over the bands of a frame.
    time_attention : (batch, classes, frames); sums to 1 over the frames.
    """

    clip_scores: Tensor
    frame_scores: Tensor
    maps: Tensor | None = None
    reconstruction: Tensor | None = None
    frequency_attention: Tensor | None = None
    time_attention: Tensor | None = None


def check_output(output: object, *, batch: int, classes: int, frames: int, bands: int, system: str) -> Output:
    """Return `output` if it is an `Output` of the right shapes; for systems that are not ours.

    Raises
    ------
    InputError
        Naming the system, the field, its shape and the shape expected.
    """
    if not isinstance(output, Output):
        raise InputError(
            f"system '{system}': its forward returns {type(output).__name__}, expected remixbench.systems.Output"
        )
    expected = {
        "clip_scores": (batch, classes),
        "frame_scores": (batch, frames, classes),
        "maps": (batch, classes, frames, bands),
        "reconstruction": (batch, frames, bands),
        "frequency_attention": (batch, classes, frames, bands),
        "time_attention": (batch, classes, frames),
    }
    for field, shape in expected.items():
        value = getattr(output, field)
        if value is None and field not in ("clip_scores", "frame_scores"):
            continue
        found = tuple(value.shape) if hasattr(value, "shape") else type(value).__name__
        if found != shape:
            raise InputError(f"system '{system}': its {field} are {found}, expected {shape}")
    return output
