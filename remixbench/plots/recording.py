"""The eight panels of `attention.py` for any recording, without a reference.

A recording longer than the clips of the training is shown by one window of that length: the one with the
most seconds of detected events over all classes, the first where several are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from remixbench.plots.activations import from_output
from remixbench.plots.attention import attention_height, draw_attention
from remixbench.plots.scales import Scales
from remixbench.plots.style import sheet, write_figure

if TYPE_CHECKING:
    from remixbench.training.inference import Prediction, Recording, TrainedSystem
    from remixbench.training.thresholds import Event


@dataclass(frozen=True)
class Window:
    """A window of a recording that has no reference."""

    logmel: NDArray[np.float32]
    scales: Scales
    bars: None = None
    labels: tuple[str, ...] = ()


def draw_recording(
    system: TrainedSystem, recording: Recording, prediction: Prediction, name: str, target: Path
) -> None:
    """Write the picture of a recording, or of its most eventful window; the suffix of `target` says how.

    Parameters
    ----------
    recording : as `system.extract_features` returns it.
    prediction : the prediction of the system for it.
    name : its name in the title.
    """
    description = system.model.config
    frames, step = description.frames, system.logmel_frame_seconds
    first = most_eventful(prediction.events, recording.starts(frames), frames, step)
    scales = Scales.of_frames(frames, system.features, system.mix, first * step)
    logmel = recording.logmel[first : first + frames]
    activations = from_output(system.forward(logmel), system.model)
    title = f"{description.system}, {name}, {which_part(recording.seconds, scales)}"
    with sheet(attention_height(len(system.classes))) as figure:
        draw_attention(figure, Window(logmel, scales), activations, system.classes, title)
        write_figure(figure, target)


def most_eventful(events: Sequence[Event], starts: Sequence[int], frames: int, step: float) -> int:
    """Return the start of the window (of `frames` frames, `step` seconds apart) that holds most seconds of events."""

    def seconds_detected(start: int) -> float:
        left, right = start * step, (start + frames) * step
        return sum(max(0.0, min(event.offset, right) - max(event.onset, left)) for event in events)

    return max(starts, key=lambda start: (round(seconds_detected(start), 6), -start))


def which_part(seconds: float, scales: Scales) -> str:
    """Say how long the recording is, and which part of it is shown."""
    end = scales.start + scales.duration
    if seconds < scales.duration - scales.frame_seconds:
        return f"{seconds:.1f} s, repeated to fill {scales.duration:g} s"
    if scales.start == 0 and seconds - end < scales.frame_seconds:
        return f"{seconds:.1f} s"
    return f"{scales.start:.1f} to {min(end, seconds):.1f} s of {seconds:.1f} s, the window with most detections"
