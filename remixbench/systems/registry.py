"""The systems by name: bundled, of installed packages, of a Python file, or registered in this process.

Imports no torch, so that the list can be shown at once; `building.py` makes the networks. A reference names a system:

* the name of a bundled system, such as `2ap-aux`;
* the name of an entry point of the group `remixbench.systems` of an installed package,

      [project.entry-points."remixbench.systems"]
      my-system = "my_package:my_system"

* a class or function in a file, `my_file.py:MySystem`;
* a name given to `register`.

Each leads to a factory: a callable that takes by keyword what it needs of classes, frames, n_mels, samples,
sample_rate, frame_seconds, width and its own options, and returns a torch.nn.Module. docs/systems.md is the contract.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from remixbench.errors import InputError, nearest, one_line, unknown
from remixbench.files import check_short_name
from remixbench.recipe import Training

OptionValue = str | float  # int where the default is one and the value is whole
Factory = Callable[..., Any]
GROUP = "remixbench.systems"
SIZES = (
    "classes", "frames", "n_mels", "width", "samples", "sample_rate", "frame_seconds", "dimensions", "embedding_frames",
    "embedding_seconds",
)  # fmt: skip
"""What a factory may take besides its own options."""
INPUTS = ("logmel", "waveform", "embeddings", "logmel+embeddings")
"""What a network may take; the last one takes two tensors."""
ENCODER = "encoder"
"""The option of every system on embeddings."""
TRAINING_DEFAULTS = tuple(Training.model_fields)
"""The settings of a training whose defaults a system may name."""
_NOT_IN_A_FOLDER = set("/\\:,=\0\n")
"""Choices of options are part of the name of a run's folder."""


@dataclass(frozen=True)
class Option:
    """A named choice: one of `choices`, any text where it is `free`, or else a number above `low`, up to `high`."""

    default: OptionValue
    description: str = ""
    choices: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    added_later: bool = False
    """Whether its default is left out of a run's identity, so that runs keep the one that they had before."""

    free: bool = False

    def allowed(self) -> str:
        """Describe the values allowed."""
        if self.free:
            return "a name or FILE.py:NAME"
        if self.choices:
            return " or ".join(self.choices)
        if math.isinf(self.low) and math.isinf(self.high):
            return "a number"
        return f"a number above {self.low:g}, at most {self.high:g}"

    def parse(self, value: OptionValue) -> OptionValue | None:
        """Return the value as one of the choices or a number, or None where it is not allowed."""
        if self.free:
            return str(value)
        if self.choices:
            return value if value in self.choices else None
        try:
            number = float(value)
        except (ValueError, TypeError):
            return None
        if not (self.low < number <= self.high and math.isfinite(number)):
            return None
        # a whole number may be a count, which torch takes only as int
        return int(number) if isinstance(self.default, int) and number.is_integer() else number


@dataclass(frozen=True)
class SystemSpec:
    """The specification of a system.

    Attributes
    ----------
    name : short name, as folders and tables have it.
    reference : what `spec` and `build_system` find it by; for a system of a file `/path/to/file.py:NAME`.
    decoder : whether it returns a reconstruction, so that `alpha`, its default weight in the loss, may be set.
    inputs : what its forward takes: standardised `logmel` (batch, frames, n_mels), the `waveform` (batch, samples),
        standardised `embeddings` (batch, frames, dimensions), or with `logmel+embeddings` the two one after the other.
    training_defaults : by name of the setting, such as {"optimizer": "adamw"}; the rest are the recipe's.
    published : its row in the paper's tables.
    package, version : of a third-party system: where it comes from; None for a bundled one.
    """

    name: str
    description: str
    factory: str | Factory
    reference: str = ""
    alpha: float = 0.0
    decoder: bool = False
    options: Mapping[str, Option] = field(default_factory=dict)
    inputs: str = "logmel"
    training_defaults: Mapping[str, object] = field(default_factory=dict)
    published: str | None = None
    package: str | None = None
    version: str | None = None

    def defaults(self) -> dict[str, OptionValue]:
        """Return every option with its default."""
        return {name: option.default for name, option in self.options.items()}

    @property
    def takes_embeddings(self) -> bool:
        """Whether it is trained on the embeddings of an encoder, which its option `encoder` names."""
        return "embeddings" in self.inputs

    @property
    def takes_logmel(self) -> bool:
        """Whether it needs the data set's log-mel."""
        return "logmel" in self.inputs

    @property
    def bundled(self) -> bool:
        """Whether the system is part of remixbench."""
        return self.package is None

    @property
    def origin(self) -> str:
        """Say where the system comes from, for messages."""
        return "" if self.bundled else f" of {self.package}"

    def error(self, what: str) -> InputError:
        """Make the error for something that is wrong with the system."""
        return InputError(f"system '{self.name}'{self.origin}: {what}")


_BIAS = {
    "bias": Option(
        "released",
        "initial bias before the last sigmoid: as released, or the log odds of the mean label",
        ("released", "prior"),
        added_later=True,
    )
}
_DECAY = _BIAS | {"decay": Option(0.9998, "weight of a rank relative to the one before it", low=0.0, high=1.0)}
_TWO_STEP = _BIAS | {
    "attention": Option(
        "released",
        "sigmoid after the classification, as in the released code, or inside the attention, as in the paper",
        ("released", "paper"),
    ),
    "frame_scores": Option(
        "oriented",
        "frame scores and maps oriented (high means present) and gated by the clip score, or raw",
        ("oriented", "raw"),
    ),
}
_TWO_STEP_AUX = _TWO_STEP | {
    "decoder_input": Option(
        "features", "input of the decoder: the encoder's features or the class maps", ("features", "maps")
    ),
    "decoder_output": Option("relu", "activation of the decoder's last layer", ("relu", "linear")),
}
_CRNN = {
    "bias": Option(
        "prior",
        "initial bias of the classifier: the log odds of the mean label, or small and random",
        ("prior", "random"),
    ),
    "pooling": Option(
        "quadratic",
        "how frame scores become clip scores",
        ("quadratic", "linear", "mean", "max", "attention", "auto", "power"),
    ),
}
_CRNN_SEP = _CRNN | {"separation": Option(1.0, "weight of the loss of the masks", low=0.0, high=100.0)}
ENCODER_OPTION = {ENCODER: Option("", "frozen pretrained encoder whose embeddings it takes", free=True)}
_ON_EMBEDDINGS = ENCODER_OPTION | _CRNN
_CRNN_TRAINING = {
    "epochs": 30,
    "min_steps": 2000,
    "batch_size": 8,
    "learning_rate": 0.002,
    "width": 1.0,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "cosine",
    "augment": ("time-shift", "frequency-shift"),
    "ema": 0.998,
    "gradient_clip": 5.0,
}
_HEAD_TRAINING = _CRNN_TRAINING | {"batch_size": 16, "augment": ("mixup", "time-shift")}

# name, factory in systems/models.py, description, row in the paper's tables, options, alpha (of those with a decoder)
_FROM_PAPER = (
    ("gap", "gap", "VGG-like encoder, global average pooling", "VGGish, GAP", _BIAS, 0.0),
    ("gmp", "gmp", "VGG-like encoder, global max pooling", "VGGish, GMP", _BIAS, 0.0),
    ("gwrp", "gwrp", "VGG-like encoder, global weighted rank pooling", "VGGish, GWRP", _DECAY, 0.0),
    ("atrous-ap", "AtrousNetwork", "dilated encoder, attention pooling", "VGGish (dil.), AP", _BIAS, 0.0),
    ("2ap", "TwoStepNetwork", "VGG-like encoder, two-step attention pooling", "2AP, α = 0", _TWO_STEP, 0.0),
    (
        "2ap-aux", "TwoStepNetwork",
        "VGG-like encoder, two-step attention pooling, reconstruction as auxiliary task",
        "VGGish, 2AP, aux", _TWO_STEP_AUX, 0.001,
    ),
    (
        "atrous-2ap-aux", "atrous_two_step",
        "dilated encoder, two-step attention pooling, reconstruction as auxiliary task",
        None, _TWO_STEP_AUX, 0.001,
    ),
)  # fmt: skip
# name, factory, description, input, options, training defaults
_OTHERS = (
    (
        "crnn", "crnn:Crnn",
        "convolutional recurrent network with pooled frame scores, at a fraction of the cost",
        "logmel", _CRNN, _CRNN_TRAINING,
    ),
    (
        "crnn-sep", "crnn_sep:CrnnSep",
        "the crnn with a mask per class and one for the background, learned from mixtures of clips",
        "logmel", _CRNN_SEP, _CRNN_TRAINING,
    ),
    (
        "emb-linear", "embedding_heads:emb_linear",
        "linear layer on the embeddings of a frozen encoder, pooled frame scores",
        "embeddings", _ON_EMBEDDINGS, _HEAD_TRAINING,
    ),
    (
        "emb-mlp", "embedding_heads:emb_mlp",
        "small perceptron on the embeddings of a frozen encoder, pooled frame scores",
        "embeddings", _ON_EMBEDDINGS, _HEAD_TRAINING,
    ),
    (
        "crnn-emb", "embedding_heads:CrnnEmb",
        "the crnn with the embeddings of a frozen encoder beside its features",
        "logmel+embeddings", _ON_EMBEDDINGS, _CRNN_TRAINING,
    ),
)  # fmt: skip
_BUNDLED = {
    name: SystemSpec(
        name, description, f"remixbench.systems.models:{factory}", name, alpha, alpha > 0, options, published=published
    )
    for name, factory, description, published, options, alpha in _FROM_PAPER
} | {
    name: SystemSpec(
        name, description, f"remixbench.systems.{factory}", name, 0.0, False, options, inputs, training_defaults
    )
    for name, factory, description, inputs, options, training_defaults in _OTHERS
}
_registered: dict[str, Factory] = {}


def register(name: str, factory: Factory) -> None:
    """Register a system under a name, in this process: a module class, or a function that returns a module.

    Raises
    ------
    InputError
        For a name that a folder cannot have or that is taken, and for attributes that break the contract.
    """
    check_registration("system", name, factory, _BUNDLED, GROUP)
    _described(SystemSpec(name, "registered", factory, package=factory.__module__))
    _registered[name] = factory


def is_registered(reference: str) -> bool:
    """Say whether a reference is a name given to `register`, which only this process knows."""
    return reference in _registered


def available() -> dict[str, SystemSpec]:
    """Return the bundled systems, the registered ones and those of installed packages, by name.

    A package's system is listed without importing it, so its description only names the package.
    """
    specs = dict(_BUNDLED)
    for name, factory in _registered.items():
        specs.setdefault(name, _described(SystemSpec(name, "registered", factory, name, package=factory.__module__)))
    for point in entry_points_of(GROUP):
        specs.setdefault(point.name, _of_package(point, point.value))
    return specs


def _of_package(point: EntryPoint, factory: str | Factory) -> SystemSpec:
    package, version = package_of(point), point.dist.version if point.dist is not None else None
    return SystemSpec(point.name, f"of the package {package}", factory, point.name, package=package, version=version)


def list_systems() -> list[str]:
    """Return the names of `available`, the bundled ones first."""
    return list(available())


def spec(reference: str) -> SystemSpec:
    """Return the specification of one system; a system of a package or a file is imported for it.

    Raises
    ------
    InputError
        For an unknown name, a name that two packages claim, a file or package that cannot be imported, or a file
        without such a class.
    """
    if not isinstance(reference, str):
        raise InputError(f"system: found {reference!r}, expected a name, or FILE.py:NAME; `register` names a class")
    if is_file_reference(reference):
        from remixbench.systems.third_party import load_from_file

        factory, file = load_from_file(reference)
        name = reference.rpartition(":")[2]
        if name in _BUNDLED:
            raise InputError(f"system '{reference}': '{name}' is the name of a bundled system; rename yours")
        check_short_name(name, "system")
        return _described(SystemSpec(name, f"of {file.name}", factory, f"{file}:{name}", package=file.name))
    point, factory = load_entry_point("system", reference, _BUNDLED, GROUP)
    if point is not None:
        check_short_name(reference, "system")
        return _described(_of_package(point, factory))
    if reference not in (systems := available()):
        raise unknown("system", reference, systems)
    return systems[reference]


def is_file_reference(reference: str) -> bool:
    """Say whether a reference names a class in a file, such as `my_file.py:MySystem`."""
    return reference.rpartition(":")[0].endswith(".py") or reference.endswith(".py")


def resolve_options(name: str, options: Mapping[str, OptionValue] | None = None) -> dict[str, OptionValue]:
    """Return all options of a system, as given or else by default; numbers may be given as text.

    Raises
    ------
    InputError
        For an option that the system does not have, or a value that it does not allow.
    """
    system = spec(name)
    declared, resolved = system.options, system.defaults()
    for key, value in (options or {}).items():
        if key not in declared:
            if not declared:
                raise InputError(f"system '{system.name}' has no options, but '{key}' was given; leave it out")
            raise unknown(f"option of system '{system.name}'", key, declared)
        parsed = declared[key].parse(value)
        if parsed is None:
            raise InputError(f"system '{system.name}': option {key} is '{value}', expected {declared[key].allowed()}")
        resolved[key] = parsed
    return resolved


def _described(system: SystemSpec) -> SystemSpec:
    """Add the attributes of a third-party system's factory."""
    factory = system.factory
    try:
        alpha = float(getattr(factory, "alpha", 0.0))
        declared = getattr(factory, "inputs", "logmel")
        inputs = declared if isinstance(declared, str) else "+".join(declared)
        if inputs not in INPUTS:
            raise ValueError(f"inputs {declared!r}")
        return replace(
            system,
            description=_first_line(factory) or system.description,
            alpha=alpha,
            decoder=bool(getattr(factory, "decoder", alpha > 0)),
            options={_option_name(key): _option(value) for key, value in dict(getattr(factory, "options", {})).items()}
            | (ENCODER_OPTION if "embeddings" in inputs else {}),
            inputs=inputs,
            training_defaults={
                _training_default(key): value for key, value in dict(getattr(factory, "training_defaults", {})).items()
            },
        )
    except (TypeError, ValueError) as error:
        raise system.error(
            f"its attributes cannot be read ({one_line(error)}); expected"
            " alpha: a number, inputs: 'logmel', 'waveform', 'embeddings' or ('logmel', 'embeddings'),"
            " training_defaults: a dict, options: a dict from name to"
            " a tuple of choices, a number or an Option"
        ) from error


def _first_line(factory: object) -> str:
    """Return the description of a factory: its attribute, or else the first line of its own docstring."""
    docstring = (vars(factory).get("__doc__") if isinstance(factory, type) else factory.__doc__) or ""
    return str(getattr(factory, "description", "") or docstring.strip().partition("\n")[0].rstrip("."))


def _option(value: object) -> Option:
    if isinstance(value, Option):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Option(value)
    if isinstance(value, tuple | list) and value and all(isinstance(choice, str) and choice for choice in value):
        for choice in value:
            if set(choice) & _NOT_IN_A_FOLDER:
                raise ValueError(f"option {value!r}: '{choice}' cannot be part of a folder's name")
        return Option(value[0], choices=tuple(value))
    raise ValueError(f"option {value!r}")


def _option_name(name: object) -> str:
    if not (isinstance(name, str) and name.isidentifier()) or name in SIZES:
        raise ValueError(f"option {name!r}: expected a name of a parameter other than {', '.join(SIZES)}")
    return name


def _training_default(name: str) -> str:
    if name not in TRAINING_DEFAULTS:
        raise ValueError(f"training default {name!r}{nearest(str(name), TRAINING_DEFAULTS)}")
    return name


def load_factory(system: SystemSpec) -> Factory:
    """Return what makes a system's network."""
    if not isinstance(system.factory, str):
        return system.factory
    factory: Factory = EntryPoint(system.name, system.factory, GROUP).load()
    return factory


def source_digest(system: SystemSpec) -> str | None:
    """Return a digest of the source files of a third-party system, part of the identity of its runs; None for a bundled
    one.
    """
    if system.bundled:
        return None
    from remixbench.systems.third_party import digest_of_sources

    file = system.reference.rpartition(":")[0] if is_file_reference(system.reference) else None
    return digest_of_sources(load_factory(system), None if file is None else Path(file))


# Systems and encoders alike ---------------------------------------------------------------------------------


def entry_points_of(group: str) -> tuple[EntryPoint, ...]:
    """Return what installed packages register in a group, in a fixed order.

    Reading the metadata of every package takes tens of milliseconds, so it is done only where one was installed,
    upgraded or removed since the last time, which changes a folder of sys.path.
    """
    return _entry_points_at(tuple(map(_state_of, sys.path)), group)


@lru_cache(maxsize=8)
def _entry_points_at(_: tuple[object, ...], group: str) -> tuple[EntryPoint, ...]:
    return tuple(sorted(entry_points(group=group), key=lambda point: (point.name, package_of(point))))


def _state_of(folder: str) -> tuple[str, int, int] | None:
    try:
        status = os.stat(folder or ".")
    except OSError:
        return None
    return folder, status.st_ino, status.st_mtime_ns


def package_of(point: EntryPoint) -> str:
    """Return the name of the package that registers an entry point."""
    return point.dist.name if point.dist is not None else point.value


def _owners(name: str, bundled: Collection[str], group: str) -> list[str]:
    """Return the packages that have a system or encoder of that name."""
    packages = [package_of(point) for point in entry_points_of(group) if point.name == name]
    return ["remixbench", *packages] if name in bundled else packages


def check_registration(kind: str, name: str, registered: object, bundled: Collection[str], group: str) -> None:
    """Refuse a name that a folder cannot have or that is taken, and what cannot be called."""
    check_short_name(name, kind)
    if owners := _owners(name, bundled, group):
        raise InputError(f"{kind} name '{name}' is taken by {owners[0]}; choose another name")
    if not callable(registered):
        raise InputError(f"{kind} '{name}': expected a class or a function, found {type(registered).__name__}")


def load_entry_point(kind: str, name: str, bundled: Collection[str], group: str) -> tuple[EntryPoint | None, Any]:
    """Return the entry point of that name and what it loads; None for both where no package registers the name.

    InputError if two packages register it, or one does and it is bundled, or the package cannot be imported.
    """
    points = [point for point in entry_points_of(group) if point.name == name]
    owners = _owners(name, bundled, group)
    if not points:
        return None, None
    if len(owners) > 1:
        raise InputError(
            f"{kind} '{name}': the packages {' and '.join(owners)} both register it; rename it, or uninstall"
            f" {owners[-1]}"
        )
    try:
        return points[0], points[0].load()
    except Exception as error:
        raise InputError(
            f"{kind} '{name}': the package {owners[0]} registers it as {points[0].value}, which cannot be imported"
            f" ({one_line(error)}); repair or uninstall {owners[0]}"
        ) from error


FRAMES_COVER = 0.9
"""Part of a clip that frame scores and embeddings have to cover, as the scorer expects."""


def check_coverage(error: Callable[[str], InputError], what: str, count: int, step: float, seconds: float) -> None:
    """Raise an `error` unless `count` frames, `step` seconds apart, cover a clip of `seconds`."""
    if not (count - 1) * step < seconds <= count * step / FRAMES_COVER:
        raise error(
            f"its {count} {what}, {step:g} s apart, cover {count * step:g} s, expected the {seconds:g} s of a clip:"
            " frame i begins at i · frame_seconds"
        )
