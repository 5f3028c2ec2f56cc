"""The public API of systems; `__init__.py` imports each name when it is first used."""

from .building import build_system
from .cost import count_cost
from .encoders import Encoder, list_encoders, load_encoder, register_encoder
from .output import Output
from .registry import Option, SystemSpec, available, list_systems, register, resolve_options, spec
from .released import load_released

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
