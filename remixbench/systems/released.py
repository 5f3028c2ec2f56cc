"""Checkpoints of the released code: their tensors under our names."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import torch
from torch import nn

from remixbench.errors import InputError
from remixbench.systems.building import build_system
from remixbench.systems.registry import spec

# beginnings of names: the released one, ours; what follows is the same
_MAPS = {f"bottleneck.conv_block{i}.": f"encoder.block{i}." for i in range(1, 5)} | {
    "bottleneck.final_conv.": "class_maps."
}
_ATROUS = {"emb.": "encoder.", "attention.att.": "pooling.attention.", "attention.cla.": "pooling.classification."}
_TWO_STEP = {
    f"{theirs}.cb{i}.": f"{ours}.block{i}."
    for theirs, ours in (("enc", "encoder"), ("dec", "decoder"))
    for i in range(1, 5)
} | {
    "enc.class_conv.": "class_maps.",
    "dsa.fc_mel_prob.": "attention.frequency_classification.",
    "dsa.fc_mel_att.": "attention.frequency_attention.",
    "dsa.fc_time_prob.": "attention.time_classification.",
    "dsa.fc_time_att.": "attention.time_attention.",
}
_PREFIXES: dict[str, dict[str, str]] = {
    "gap": _MAPS,
    "gmp": _MAPS,
    "gwrp": _MAPS,
    "atrous-ap": _ATROUS,
    "2ap": _TWO_STEP,
    "2ap-aux": _TWO_STEP,
}


_OURS_ALONE = ("num_batches_tracked", "attention.direction")
"""Ends of names of tensors that a released checkpoint need not have."""


def released_name(system: str, name: str) -> str:
    """Return what the released code calls the tensor that our `system` calls `name`."""
    theirs, ours = next((theirs, ours) for theirs, ours in _PREFIXES[system].items() if name.startswith(ours))
    return theirs + name.removeprefix(ours)


def load_released(system: str, state_dict: Mapping[str, object], *, frames: int = 311, n_mels: int = 64) -> nn.Module:
    """Build a system with the weights of a checkpoint of the released code.

    Classes and width are taken from the tensors, and so are frames and mel bands where the network has layers
    of that size (`2ap`, `2ap-aux`). `num_batches_tracked` may be missing, names may begin with
    `module.`, and the weights may lie under a key `model` or `state_dict`. For `2ap` a decoder in the
    checkpoint is left out.

    Parameters
    ----------
    system : `gap`, `gmp`, `gwrp`, `atrous-ap`, `2ap` or `2ap-aux`.
    state_dict : what `torch.load(path, weights_only=True)` gives.
    frames, n_mels : of the input, for systems whose checkpoint does not contain them.

    Returns
    -------
    The network in evaluation mode, float32, on the CPU. Frame scores of two-step attention are raw until
    `network.calibrate(batches)` with training clips.

    Raises
    ------
    InputError
        Naming the tensor that is missing, unexpected, or of the wrong shape.
    """
    if system not in _PREFIXES:
        spec(system)  # an unknown name gets its own message
        raise InputError(f"system '{system}' has no released checkpoint; choose from {', '.join(_PREFIXES)}")
    tensors = _tensors(system, state_dict)
    network = _network_like(system, tensors, frames, n_mels)
    weights = {}
    for ours, like in network.state_dict().items():
        if ours.endswith(_OURS_ALONE):
            continue
        name = released_name(system, ours)
        if name not in tensors:
            raise InputError(f"checkpoint for '{system}': tensor {name} is missing, expected {_shape(like)}")
        weights[ours] = tensors.pop(name)
        if weights[ours].shape != like.shape:
            raise InputError(
                f"checkpoint for '{system}': tensor {name} is {_shape(weights[ours])}, expected {_shape(like)}"
            )
    if tensors:
        name, tensor = next(iter(tensors.items()))
        raise InputError(
            f"checkpoint for '{system}': tensor {name} {_shape(tensor)} has no place in this network; "
            "is it another system's?"
        )
    network.load_state_dict(weights, strict=False)
    return network.eval()


def _tensors(system: str, state_dict: Mapping[str, object]) -> dict[str, torch.Tensor]:
    if not isinstance(state_dict, Mapping):
        raise InputError(
            f"checkpoint for '{system}': it is of type {type(state_dict).__name__}, expected a state dict; "
            "save it with torch.save(network.state_dict(), path)"
        )
    for wrapper in ("model", "state_dict"):
        inner = state_dict.get(wrapper)
        if isinstance(inner, Mapping):
            state_dict = inner
    tensors = {}
    for key, value in state_dict.items():
        name = str(key).removeprefix("module.")
        if name.endswith("num_batches_tracked") or (system == "2ap" and name.startswith("dec.")):
            continue
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"checkpoint for '{system}': {key} is of type {type(value).__name__}, expected a tensor; "
                "give the state dict, or a dict with it under 'model' or 'state_dict'"
            )
        tensors[name] = value
    return tensors


def _network_like(system: str, tensors: Mapping[str, torch.Tensor], frames: int, n_mels: int) -> nn.Module:
    """Build the system in the sizes that most of the tensors have, so that a wrong one stands out."""
    full = build_system(system, classes=1, frames=1, n_mels=1).state_dict()
    ratios = [
        tensors[name].shape[0] / tensor.shape[0]
        for ours, tensor in full.items()
        if ours.startswith("encoder.")
        and (name := released_name(system, ours)) in tensors
        and tensors[name].ndim == tensor.ndim > 0
    ]
    sizes = {}
    for size, ours in (
        ("classes", "pooling.classification.bias" if system == "atrous-ap" else "class_maps.bias"),
        ("frames", "attention.time_attention.bias"),
        ("n_mels", "attention.frequency_attention.bias"),
    ):
        if ours in full and (name := released_name(system, ours)) in tensors and tensors[name].ndim:
            sizes[size] = tensors[name].shape[0]
    if "classes" not in sizes or not ratios or min(*ratios, *sizes.values()) <= 0:
        holds = f"{next(iter(tensors))} and {len(tensors) - 1} more" if tensors else "no tensor"
        raise InputError(
            f"checkpoint for '{system}': it holds {holds}, expected {released_name(system, next(iter(full)))} "
            "and so on; is it another system's?"
        )
    return build_system(
        system,
        classes=sizes["classes"],
        frames=sizes.get("frames", frames),
        n_mels=sizes.get("n_mels", n_mels),
        width=median(ratios),
    )


def _shape(tensor: torch.Tensor) -> str:
    return str(list(tensor.shape))
