"""Pictures of any recording, without a reference.

A recording as long as the clips of the training, or shorter, gets the panels of `attention.py`. A longer one is shown
whole, with log-mel, frame scores, detected events and clip scores: attention belongs to one window of the network's
input, so there is none for the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from remixbench.plots.activations import Activations, Array, from_output
from remixbench.plots.attention import attention_height, draw_attention
from remixbench.plots.clip import Bar
from remixbench.plots.scales import Scales
from remixbench.plots.style import sheet, write_figure

if TYPE_CHECKING:
    from remixbench.inference.system import Prediction, Recording, TrainedSystem


@dataclass(frozen=True)
class RecordingView:
    """A recording that has no reference; `detected` are events to outline."""

    logmel: Array
    scales: Scales
    detected: tuple[Bar, ...]
    bars: None = None
    labels: tuple[str, ...] = ()


def draw_recording(
    system: TrainedSystem, recording: Recording, prediction: Prediction, name: str, target: Path
) -> None:
    """Write the picture of a whole recording; the suffix of `target` decides the format.

    Parameters
    ----------
    recording : as `system.extract_features` returns it.
    prediction : the prediction of the system for it.
    name : its name in the title.
    """
    config = system.model.config
    scales = Scales.of_frames(config.frames, system.features, system.mix)
    length = f"{recording.seconds:.1f} s"
    if len(recording.logmel) == config.frames:
        clip = recording.logmel if recording.waveform is None else recording.waveform[: config.samples]
        activations = from_output(system.forward(clip), system.model)
        if recording.seconds < scales.duration - scales.frame_seconds:
            length += f", repeated to fill {scales.duration:g} s"
    else:
        scales = replace(scales, duration=recording.seconds, frames=len(recording.logmel))
        activations = Activations(prediction.tags, scales.hold(prediction.frames, prediction.frame_seconds))
    detected = tuple(Bar(event.label, event.onset, event.offset) for event in prediction.events)
    view = RecordingView(recording.logmel, scales, detected)
    with sheet(attention_height(activations, system.classes)) as figure:
        draw_attention(figure, view, activations, system.classes, f"{config.name}, {name}, {length}")
        write_figure(figure, target)
