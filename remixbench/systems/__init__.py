"""The networks: encoders, pooling, decoder, and the registry that names their combinations.

Names are imported when first used: listing the systems must not cost the import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from remixbench.systems.output import Output
    from remixbench.systems.registry import (
        Option,
        SystemSpec,
        available,
        build,
        list_systems,
        resolve_options,
        spec,
    )
    from remixbench.systems.released import load_released

__all__ = [
    "Option",
    "Output",
    "SystemSpec",
    "available",
    "build",
    "list_systems",
    "load_released",
    "resolve_options",
    "spec",
]

_HOMES = {"Output": "output", "load_released": "released"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'remixbench.systems' has no attribute '{name}'")
    return getattr(import_module(f"remixbench.systems.{_HOMES.get(name, 'registry')}"), name)
