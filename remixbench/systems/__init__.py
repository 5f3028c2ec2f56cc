"""The networks: the published ones (models.py), and the registry of systems by name.

Names are imported when first used: listing the systems must not cost the import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from remixbench.systems.building import build_system
    from remixbench.systems.cost import count_cost
    from remixbench.systems.encoders import Encoder, list_encoders, load_encoder, register_encoder
    from remixbench.systems.output import Output
    from remixbench.systems.registry import Option, SystemSpec, available, list_systems, register, resolve_options, spec
    from remixbench.systems.released import load_released

_MODULES = {
    "Encoder": "encoders",
    "Option": "registry",
    "Output": "output",
    "SystemSpec": "registry",
    "available": "registry",
    "build_system": "building",
    "count_cost": "cost",
    "list_encoders": "encoders",
    "list_systems": "registry",
    "load_encoder": "encoders",
    "load_released": "released",
    "register": "registry",
    "register_encoder": "encoders",
    "resolve_options": "registry",
    "spec": "registry",
}

__all__ = [
    "Encoder",
    "Option",
    "Output",
    "SystemSpec",
    "available",
    "build_system",
    "count_cost",
    "list_encoders",
    "list_systems",
    "load_encoder",
    "load_released",
    "register",
    "register_encoder",
    "resolve_options",
    "spec",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'remixbench.systems' has no attribute '{name}'")
    return getattr(import_module(f"remixbench.systems.{_MODULES[name]}"), name)
