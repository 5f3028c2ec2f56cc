"""Checkpoints of the released code: their tensors under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from statistics import median

import torch
from torch import nn

from remixbench.errors import InputError
from remixbench.systems.registry import build, spec

_MAPS = ((r"bottleneck\.conv_block(\d)\.", r"encoder.block\1."), (r"bottleneck\.final_conv\.", "class_maps."))
_ATROUS = (
    (r"emb\.", "encoder."),
    (r"attention\.att\.", "pooling.attention."),
    (r"attention\.cla\.", "pooling.classification."),
)
_TWO_STEP = (
    (r"enc\.cb(\d)\.", r"encoder.block\1."),
    (r"enc\.class_conv\.", "class_maps."),
    (r"dec\.cb(\d)\.", r"decoder.block\1."),
    (r"dsa\.fc_mel_prob\.", "attention.frequency_classification."),
    (r"dsa\.fc_mel_att\.", "attention.frequency_attention."),
    (r"dsa\.fc_time_prob\.", "attention.time_classification."),
    (r"dsa\.fc_time_att\.", "attention.time_attention."),
)
_RULES = {
    "gap": _MAPS,
    "gmp": _MAPS,
    "gwrp": _MAPS,
    "atrous-ap": _ATROUS,
    "2ap": _TWO_STEP,
    "2ap-aux": _TWO_STEP,
}


def load_released(
    system: str, state_dict: Mapping[str, object], *, frames: int = 311, bands: int = 64
) -> nn.Module:
    """Build a system with the weights of a checkpoint of the released code.

    Classes and width are taken from the tensors, and so are frames and bands where the network has layers
    of that size (`2ap`, `2ap-aux`). `num_batches_tracked` may be there or not, names may begin with
    `module.`, and the weights may lie under a key `model` or `state_dict`. For `2ap` a decoder in the
    checkpoint is left out.

    Parameters
    ----------
    system : `gap`, `gmp`, `gwrp`, `atrous-ap`, `2ap` or `2ap-aux`.
    state_dict : what `torch.load(path, weights_only=True)` gives.
    frames, bands : of the input, for the systems whose checkpoint does not tell.

    Returns
    -------
    The network in evaluation mode, float32, on the CPU.

    Raises
    ------
    InputError
        Naming the tensor that is missing, too many, or of another shape than expected.
    """
    if system not in _RULES:
        spec(system)  # an unknown name gets its own message
        raise InputError(f"system '{system}' has no released checkpoint; there are: {', '.join(_RULES)}")
    tensors = _tensors(system, state_dict)
    network = _network_like(system, tensors, frames, bands)
    expected = network.state_dict()
    names = {_our_name(system, name): name for name in tensors}
    for ours, like in expected.items():
        if ours.endswith("num_batches_tracked"):
            continue
        if ours not in names:
            raise InputError(
                f"checkpoint for '{system}': the tensor for {ours} is missing, expected {_shape(like)}"
            )
        found = tensors[names[ours]]
        if found.shape != like.shape:
            raise InputError(
                f"checkpoint for '{system}': tensor {names[ours]} is {_shape(found)}, expected {_shape(like)}"
            )
    extra = [name for ours, name in names.items() if ours not in expected]
    if extra:
        raise InputError(
            f"checkpoint for '{system}': tensor {extra[0]} {_shape(tensors[extra[0]])} has no place in this "
            "network; is it another system's?"
        )
    network.load_state_dict({ours: tensors[name] for ours, name in names.items()}, strict=False)
    return network.eval()


def _tensors(system: str, state_dict: Mapping[str, object]) -> dict[str, torch.Tensor]:
    for wrapper in ("model", "state_dict"):
        inner = state_dict.get(wrapper)
        if isinstance(inner, Mapping):
            state_dict = inner
    tensors = {}
    for key, value in state_dict.items():
        name = key.removeprefix("module.")
        if name.endswith("num_batches_tracked") or (system == "2ap" and name.startswith("dec.")):
            continue
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"checkpoint for '{system}': {key} is a {type(value).__name__}, expected a tensor; "
                "give the state dict, or a dict with it under 'model' or 'state_dict'"
            )
        tensors[name] = value
    return tensors


def _our_name(system: str, name: str) -> str:
    for pattern, ours in _RULES[system]:
        renamed, count = re.subn(f"^{pattern}", ours, name)
        if count:
            return renamed
    return name


def _network_like(system: str, tensors: Mapping[str, torch.Tensor], frames: int, bands: int) -> nn.Module:
    """Build the system in the sizes that most of the tensors have, so that a wrong one stands out."""
    ours = {_our_name(system, name): tensor for name, tensor in tensors.items()}
    full = build(system, classes=1, frames=1, bands=1).state_dict()
    class_layer = "pooling.classification.weight" if system == "atrous-ap" else "class_maps.weight"
    ratios = [
        ours[name].shape[0] / tensor.shape[0]
        for name, tensor in full.items()
        if name.startswith("encoder.") and name in ours and ours[name].ndim == tensor.ndim > 0
    ]
    sizes = {
        "classes": class_layer,
        "frames": "attention.time_attention.weight",
        "bands": "attention.frequency_attention.weight",
    }
    found = {
        key: ours[name].shape[0]
        for key, name in sizes.items()
        if name in ours and ours[name].ndim and ours[name].numel()
    }
    if not ratios or "classes" not in found:
        first = next(iter(tensors), "nothing")
        raise InputError(
            f"checkpoint for '{system}': it holds {first} and {max(len(tensors) - 1, 0)} more "
            f"tensors, but none for {'encoder' if not ratios else class_layer}; is it another system's?"
        )
    return build(
        system,
        classes=found["classes"],
        frames=found.get("frames", frames),
        bands=found.get("bands", bands),
        width=median(ratios),
    )


def _shape(tensor: torch.Tensor) -> str:
    return str(list(tensor.shape))
