"""The activations of a trained network for one clip: scores, attention, maps and reconstruction, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from remixbench.plots.scales import Scales
from remixbench.systems.building import frame_seconds_of

if TYPE_CHECKING:
    from remixbench.systems.output import Output
    from remixbench.training.model_file import TrainedModel


Array = NDArray[np.float32]


@dataclass(frozen=True)
class Activations:
    """Outputs of a network for one clip; None where the system has no such output.

    Attributes
    ----------
    clip_scores : (classes,)
    frame_scores : (frames, classes)
    tf_maps : (classes, frames, n_mels)
    reconstruction : (frames, n_mels), natural logarithm as the log-mel
    frequency_attention : (classes, frames, n_mels), sums to 1 over the mel bands
    time_attention : (classes, frames), sums to 1 over the frames
    raw_frame_scores : (frames, classes), output of the first attention step before orientation and gating
    """

    clip_scores: Array
    frame_scores: Array
    tf_maps: Array | None = None
    reconstruction: Array | None = None
    frequency_attention: Array | None = None
    time_attention: Array | None = None
    raw_frame_scores: Array | None = None


def from_output(output: Output, model: TrainedModel) -> Activations:
    """Return the first clip of a forward pass as arrays, its reconstruction as log-mel.

    Frame scores of another rate than the log-mel's are held over its frames.
    """
    arrays: dict[str, Any] = {
        name: None if value is None else value[0].float().numpy() for name, value in output._asdict().items()
    }
    scales = Scales.of_frames(model.config.frames, model.config.features, model.config.mix)
    step = frame_seconds_of(model.network, scales.frame_seconds)
    for name in ("frame_scores", "raw_frame_scores"):
        if arrays[name] is not None:
            arrays[name] = scales.hold(arrays[name], step)
    activations = Activations(**arrays)
    if activations.reconstruction is None:
        return activations
    scale = model.standardisation
    return replace(activations, reconstruction=activations.reconstruction * scale.std + scale.mean)
