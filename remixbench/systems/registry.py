"""The systems by name: the table of the bundled ones, those of installed packages, and `build`.

Imports no torch, so that the list can be shown at once; `build` does.

A package adds a system with an entry point of the group `remixbench.systems`, for instance in pyproject.toml

    [project.entry-points."remixbench.systems"]
    my-system = "my_package:my_system"

naming a callable `my_system(classes, frames, bands, width, **options) -> torch.nn.Module`, whose forward
takes the standardised log-mel (batch, frames, bands) and returns `remixbench.systems.Output`. It may
carry the attributes `description` (a line), `alpha` (default weight of the reconstruction, 0.0) and `options`
(a dict: for each option the allowed words, the default first, or a default number, or an `Option`). Nothing of the
package is imported until its system is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from remixbench.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import nn

OptionValue = str | float
GROUP = "remixbench.systems"


@dataclass(frozen=True)
class Option:
    """A named choice: one of `words`, or where there are none a number above `low`, up to `high`."""

    default: OptionValue
    description: str = ""
    words: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf

    def allowed(self) -> str:
        """Say in words what values there are."""
        if self.words:
            return " or ".join(self.words)
        if math.isinf(self.low) and math.isinf(self.high):
            return "a number"
        return f"a number above {self.low:g}, at most {self.high:g}"

    def parse(self, value: OptionValue) -> OptionValue | None:
        """Return the value as a word or float, or None where it is not allowed."""
        if self.words:
            return value if value in self.words else None
        try:
            number = float(value)
        except ValueError:
            return None
        return number if self.low < number <= self.high else None


@dataclass(frozen=True)
class SystemSpec:
    """One system; `alpha` is its default weight of the reconstruction, `published` the paper's row it is.

    `package` and `version` say where it comes from; both None for a bundled one.
    """

    name: str
    description: str
    alpha: float = 0.0
    options: Mapping[str, Option] = field(default_factory=dict)
    published: str | None = None
    package: str | None = None
    version: str | None = None

    def defaults(self) -> dict[str, OptionValue]:
        """Return every option with its default."""
        return {name: option.default for name, option in self.options.items()}


_ATTENTION = {
    "attention": Option(
        "released",
        "sigmoid on the classification as the released code, or inside the attention as the paper",
        ("released", "paper"),
    )
}
_DECODER = {
    "decoder_input": Option(
        "features", "what the decoder reads: the encoder's features or the class maps", ("features", "maps")
    ),
    "decoder_output": Option("relu", "whether the decoder's last ReLU stays", ("relu", "linear")),
}
_DECAY = {"decay": Option(0.9998, "weight of a rank relative to the one before it", low=0.0, high=1.0)}

_BUNDLED = {
    spec.name: spec
    for spec in (
        SystemSpec("gap", "VGG-like encoder, global average pooling", published="VGGish, GAP"),
        SystemSpec("gmp", "VGG-like encoder, global max pooling", published="VGGish, GMP"),
        SystemSpec(
            "gwrp",
            "VGG-like encoder, global weighted rank pooling",
            options=_DECAY,
            published="VGGish, GWRP",
        ),
        SystemSpec("atrous-ap", "dilated encoder, attention pooling", published="VGGish (dil.), AP"),
        SystemSpec("2ap", "VGG-like encoder, two-step attention pooling", options=_ATTENTION, published="2AP, α = 0"),
        SystemSpec(
            "2ap-aux",
            "VGG-like encoder, two-step attention pooling, reconstruction as auxiliary task",
            alpha=0.001,
            options=_ATTENTION | _DECODER,
            published="VGGish, 2AP, aux",
        ),
        SystemSpec(
            "atrous-2ap-aux",
            "dilated encoder, two-step attention pooling, reconstruction as auxiliary task",
            alpha=0.001,
            options=_ATTENTION | _DECODER,
        ),
    )
}


def available() -> dict[str, SystemSpec]:
    """Return the bundled systems and those of installed packages, by name.

    A package's system is listed without importing it: its line says which package it is of.
    """
    specs = dict(_BUNDLED)
    for point in _entry_points():
        specs.setdefault(
            point.name,
            SystemSpec(
                point.name,
                f"of the package {_package(point)}",
                package=_package(point),
                version=point.dist.version if point.dist is not None else None,
            ),
        )
    return specs


def list_systems() -> list[str]:
    """Return the names of `available`, the bundled ones first."""
    return list(available())


def spec(name: str) -> SystemSpec:
    """Return what is known of one system; a package's system is imported for it.

    Raises
    ------
    InputError
        For an unknown name, a name that two packages claim, or a package's system that cannot be imported.
    """
    found = available().get(name)
    if found is None:
        raise unknown("system", name, available())
    claims = [_package(point) for point in _entry_points() if point.name == name]
    if found.package is None and claims:
        raise InputError(
            f"system '{name}': the package {claims[0]} registers a system of that name, which remixbench has "
            f"itself; rename it there or uninstall {claims[0]}"
        )
    if len(claims) > 1:
        raise InputError(
            f"system '{name}': the packages {' and '.join(claims)} both register it; uninstall one of them"
        )
    if found.package is None:
        return found
    factory = _factory(name)
    try:
        return replace(
            found,
            description=str(getattr(factory, "description", found.description)),
            alpha=float(getattr(factory, "alpha", 0.0)),
            options={key: _option(given) for key, given in dict(getattr(factory, "options", {})).items()},
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            f"system '{name}': the package {found.package} gives it an alpha or options that cannot be read "
            f"({_one_line(error)}); expected a number, and a dict from name to allowed words, number or Option"
        ) from error


def resolve_options(name: str, options: Mapping[str, OptionValue] | None = None) -> dict[str, OptionValue]:
    """Return all options of a system, as given or else by default; numbers may be given as text.

    Raises
    ------
    InputError
        For an option that the system does not have, or a value that it does not allow.
    """
    found = spec(name)
    known, resolved = found.options, found.defaults()
    for key, value in (options or {}).items():
        if key not in known:
            if not known:
                raise InputError(f"system '{name}' has no options, but '{key}' was given; leave it out")
            raise unknown(f"option of system '{name}'", key, known)
        parsed = known[key].parse(value)
        if parsed is None:
            raise InputError(f"system '{name}': option {key} is '{value}', expected {known[key].allowed()}")
        resolved[key] = parsed
    return resolved


def build(
    name: str,
    *,
    classes: int,
    frames: int,
    bands: int,
    width: float = 1.0,
    options: Mapping[str, OptionValue] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Make a system with its first weights, on the CPU, in training mode.

    Parameters
    ----------
    name : one of `list_systems()`.
    classes, frames, bands : of the data set: events to tell apart, frames of a clip, mel bands.
    width : factor on the number of channels of every layer (rounded, at least 4).
    options : named options, see `spec(name).options`; the rest keep their defaults.
    seed : of the first weights; the global generator is neither read nor moved.

    Returns
    -------
    A module whose forward maps standardised log-mel (batch, frames, bands) to `Output`.

    Raises
    ------
    InputError
        For an unknown system or option, a size below 1, or a package's system that breaks the contract.
    """
    chosen = _checked(name, classes, frames, bands, width, options)
    if name in _BUNDLED:
        from remixbench.systems.networks import create

        try:
            return create(name, classes, frames, bands, width, chosen, seed)
        except (RuntimeError, MemoryError, TypeError, OverflowError):  # sizes that no tensor can have, or no machine
            raise InputError(
                f"system '{name}': {classes} classes, {frames} × {bands} frames × bands at width {width:g} do not fit"
                " into memory; give a smaller --width"
            ) from None
    return _build_external(name, classes, frames, bands, width, chosen, seed)


def build_to_fill(
    name: str, *, classes: int, frames: int, bands: int, width: float, options: Mapping[str, OptionValue]
) -> nn.Module:
    """Make a system whose weights are still to be assigned, with `load_state_dict(..., assign=True)`.

    A bundled one takes no memory until then, however large it is; arguments and errors as of `build`.
    """
    chosen = _checked(name, classes, frames, bands, width, options)
    if name in _BUNDLED:
        from remixbench.systems.networks import outline

        return outline(name, classes, frames, bands, width, chosen)
    return _build_external(name, classes, frames, bands, width, chosen, seed=0)


def _checked(
    name: str, classes: int, frames: int, bands: int, width: float, options: Mapping[str, OptionValue] | None
) -> dict[str, OptionValue]:
    """Return all options; raises InputError for what `build` does not take."""
    chosen = resolve_options(name, options)
    for what, size in (("classes", classes), ("frames", frames), ("bands", bands)):
        if size < 1:
            raise InputError(f"system '{name}': {what} is {size}, expected 1 or more")
    if not 0 < width < math.inf:
        raise InputError(f"system '{name}': width is {width}, expected a number above 0, such as 0.5")
    return chosen


def _build_external(
    name: str,
    classes: int,
    frames: int,
    bands: int,
    width: float,
    options: Mapping[str, OptionValue],
    seed: int,
) -> nn.Module:
    import torch

    from remixbench.systems.output import check_output

    factory = _factory(name)
    package = available()[name].package
    # such a network draws its weights from the global generator, as modules do: seed it, put it back after
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network = factory(classes=classes, frames=frames, bands=bands, width=width, **options)
            if not isinstance(network, torch.nn.Module):
                raise TypeError(f"it made a {type(network).__name__}, not a torch.nn.Module")
            network.eval()
            with torch.no_grad():
                output = network(torch.zeros(2, frames, bands))
        except Exception as error:
            raise InputError(
                f"system '{name}' of the package {package} could not be built: {_one_line(error)}"
            ) from error
    check_output(output, batch=2, classes=classes, frames=frames, bands=bands, system=name)
    return network.train()


def _option(given: object) -> Option:
    if isinstance(given, Option):
        return given
    if isinstance(given, int | float):
        return Option(float(given))
    if isinstance(given, tuple | list) and given and all(isinstance(word, str) for word in given):
        return Option(given[0], words=tuple(given))
    raise ValueError(f"option {given!r}")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _factory(name: str) -> Any:
    point = next(point for point in _entry_points() if point.name == name)
    try:
        return point.load()
    except Exception as error:
        raise InputError(
            f"system '{name}': the package {_package(point)} registers it as {point.value}, which cannot be "
            f"imported ({_one_line(error)}); repair or uninstall {_package(point)}"
        ) from error


def _entry_points() -> list[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda point: (point.name, _package(point)))


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
