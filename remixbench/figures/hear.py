"""Let a trained network hear one clip, and keep all it says on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remixbench.errors import InputError
from remixbench.figures.attention import Seen
from remixbench.figures.clip import ClipView

if TYPE_CHECKING:
    from remixbench.systems.output import Output
    from remixbench.training.model import Model


def hear(model: Model, view: ClipView, place: Path) -> Seen:
    """Return what the network makes of a clip; `place` names the model in errors.

    The reconstruction is brought from the standardised scale that the network works in back to log-mel.

    Raises
    ------
    InputError
        If the network was made for log-mel of another size.
    """
    import torch

    sizes = (model.description.frames, model.description.bands)
    if view.logmel.shape != sizes:
        raise InputError(
            f"{place}: was trained on log-mel of {sizes[0]} frames × {sizes[1]} bands, clip {view.id} has"
            f" {view.logmel.shape[0]} × {view.logmel.shape[1]}; name the run's data set with --dataset"
        )
    with torch.inference_mode():
        return seen_from(model.network(torch.from_numpy(model.standardisation.apply(view.logmel)[None])), model)


def seen_from(output: Output, model: Model) -> Seen:
    """Return the first clip of a forward pass as arrays, its reconstruction as log-mel."""
    from remixbench.systems.two_step import TwoStepAttention

    arrays: dict[str, Any] = {
        name: None if value is None else value[0].float().numpy() for name, value in output._asdict().items()
    }
    seen = Seen(**arrays, two_steps=any(isinstance(part, TwoStepAttention) for part in model.network.modules()))
    if seen.reconstruction is None:
        return seen
    scale = model.standardisation
    return replace(seen, reconstruction=seen.reconstruction * scale.std + scale.mean)
