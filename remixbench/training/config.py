"""The identity of a run: every setting that affects training, and the grid of runs that a command trains.

The identity of a `TrainConfig` is a digest of it and of the data it is trained on. Runs of one identity are the same
run; runs that differ in anything never share a folder.

A setting is what the caller gives, else the system's own default (`SystemSpec.training_defaults`), else that of the
recipe's `training` section, whose defaults are the released code's. Other values than these defaults are flagged.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from numbers import Integral, Real
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import numpy as np
from pydantic import AfterValidator, Field, ValidationError
from pydantic.fields import FieldInfo

from remixbench.dataset.dataset import Dataset, as_tuple
from remixbench.errors import InputError, unknown
from remixbench.files import sha256
from remixbench.recipe import Augmentation, Recipe, Training, format_snr, training_settings
from remixbench.schemas import first_problem
from remixbench.systems.encoders import PretrainedEncoder, list_encoders, load_encoder
from remixbench.systems.registry import (
    ENCODER,
    TRAINING_DEFAULTS,
    OptionValue,
    SystemSpec,
    resolve_options,
    source_digest,
    spec,
)

TABLE = ("gap", "gmp", "gwrp", "atrous-ap", "2ap-aux")
"""The systems of the paper's Table 1."""
PRECISIONS = ("auto", "32", "bf16")
AUGMENTATIONS = get_args(Augmentation)

NO_AUGMENTATION = "none"
KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "True or False"}
LIMITS = {"gt": " above {:.12g}", "ge": " from {:.12g} up", "lt": " below {:.12g}", "le": " at most {:.12g}"}
"""The limits of a setting in words, by their names in pydantic."""
RELEASED_FOLD = 4
"""The fold that the released example tests on."""
RELEASED = {name: Training().model_dump()[name] for name, (_, setting) in training_settings().items() if setting.named}
"""How the released code trains; its other settings are in the recipe's `training`."""


Number = Annotated[float, Field(allow_inf_nan=False), AfterValidator(lambda value: value + 0.0)]
"""A finite number; -0 is 0."""
Model = TypeVar("Model", bound=Training)


@dataclass(frozen=True)
class EncoderKey:
    """The encoder of a run's embeddings: short name, reference, digest, and the data sets that it was trained on."""

    name: str
    reference: str
    digest: str
    pretrained_on: tuple[str, ...] = ()


class TrainConfig(Training):
    """All that determines what a run learns, besides its data: the settings of the training, and these.

    Attributes
    ----------
    system : its reference.
    options : every option of the system, defaults included, as sorted (name, value) pairs.
    alpha : weight of the reconstruction in the loss.
    fraction : part of the training clips that is used, in (0, 1].
    select : how the epoch is chosen: on the `validation` part, on the held-out fold as in the `paper`, or the
        `last`.
    precision : of training: 32 or bf16.
    fresh : whether the training clips are mixed anew in every epoch (dynamic mixing).
    encoder : of a system on embeddings.
    """

    system: str
    options: tuple[tuple[str, Any], ...] = ()
    alpha: Annotated[Number, Field(ge=0)] = 0.0
    fraction: Annotated[Number, Field(gt=0, le=1)] = 1.0
    snr: Number
    fold: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    select: Literal["validation", "paper", "last"] = "validation"
    precision: Literal["32", "bf16"] = "32"  # `auto` is resolved before: what is used is part of the identity
    fresh: bool = False
    encoder: EncoderKey | None = None

    def epochs_of(self, steps_per_epoch: int) -> int:
        """Return how many epochs are trained at most: `epochs`, or as many as `min_steps` takes."""
        return max(self.epochs, -(-self.min_steps // steps_per_epoch))

    def label(self, snr_offsets: tuple[float, float] | None = None) -> str:
        """Return the run in one line; `snr_offsets` are those of the data set's recipe (`Mix.snr_offsets`)."""
        return f"{self.folder} {format_snr(self.snr, snr_offsets)} fold {self.fold} seed {self.seed}"

    @property
    def folder(self) -> str:
        """Name of the system's folder: the system, and what differs from its usual form, in a fixed order."""
        system = spec(self.system)
        parts = [system.name]
        if self.alpha != system.alpha:
            parts.append(f"alpha={self.alpha:.12g}")
        if self.fraction != 1:
            parts.append(f"fraction={self.fraction:.12g}")
        if self.fresh:
            parts.append("fresh")
        defaults = resolve_options(self.system)
        parts += [f"{name}={_plain(value)}" for name, value in self.options if value != defaults[name]]
        usual = RELEASED | _system_defaults(system)
        parts += [f"{name}={_plain(getattr(self, name))}" for name in RELEASED if getattr(self, name) != usual[name]]
        return ",".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values; a system from a file by its name.

        `fresh`, `encoder` and settings that were added later are left out where they are not set, and so are the
        defaults of options that were added later, so that runs keep their identity. An encoder counts by its digest,
        wherever its file lies.
        """
        system = spec(self.system)
        later = {name: option.default for name, option in system.options.items() if option.added_later}
        options = {name: value for name, value in self.options if value != later.get(name)}
        values = self.model_dump() | {"system": system.name, "options": options, "augment": list(self.augment)}
        del values["encoder"]
        if self.encoder is not None:
            values["encoder_digest"] = self.encoder.digest
        for name in ("fresh", *(name for name, (_, setting) in training_settings().items() if not setting.identity)):
            if values[name] == type(self).model_fields[name].default:
                del values[name]
        return values

    def digest(self, data: str) -> str:
        """Return the identity of the run on the data of digest `data`, in hexadecimal.

        A changed source file of a third-party system, or another version of its package, makes another run.
        """
        system = spec(self.system)
        sources = source_digest(system)
        parts = [
            self.to_json(),
            data,
            *([system.package, system.version, sources] if sources or system.package else []),
        ]
        return sha256(json.dumps(parts, sort_keys=True).encode())


def derived_seed(seed: int, purpose: str, *numbers: int) -> int:
    """Return a seed of 63 bits for one purpose of a run: the first weights, the order of an epoch, and so on.

    Draws of two purposes, or of two epochs, have nothing in common.
    """
    text = "\n".join([purpose, str(seed), *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def training_defaults(system: str, recipe: Recipe) -> dict[str, Any]:
    """Return the default of every training setting for a system on the data set of a recipe."""
    defaults = recipe.training.model_dump() | _system_defaults(spec(system))
    return defaults | {"augment": _augmentations(defaults["augment"])}


def _system_defaults(system: SystemSpec) -> dict[str, Any]:
    """Return the training defaults that a system names, in the form in which a `TrainConfig` has them."""
    defaults = {name: value for name, value in system.training_defaults.items() if value is not None}
    return defaults | ({"augment": _augmentations(defaults["augment"])} if "augment" in defaults else {})


def flags(config: TrainConfig, recipe: Recipe) -> list[dict[str, str]]:
    """Return the flags of a run, which a reader has to know before comparing it: a code and a text each."""
    notes = []
    if config.select == "paper":
        notes.append({"code": "test-epoch", "text": "epoch chosen on the test fold"})
    if config.select == "last":
        notes.append({"code": "last-epoch", "text": "last epoch kept, none chosen"})
    if config.fraction < 1:
        notes.append({"code": "fraction", "text": f"trained on {config.fraction:.6g} of the training clips"})
    if config.encoder is not None:
        corpora = ", ".join(config.encoder.pretrained_on)
        trained = f"pretrained on {corpora}" if corpora else "not pretrained"
        notes.append({"code": "pretrained", "text": f"takes the embeddings of {config.encoder.name}, {trained}"[:200]})
    if config.fresh:
        notes.append({"code": "fresh", "text": "trained on new mixtures in every epoch"})
    for name, usual in training_defaults(config.system, recipe).items():
        value = getattr(config, name)
        if value != usual:
            text = f"{name.replace('_', ' ')} {_plain(value)}, default {_plain(usual)}"
            notes.append({"code": "training" if name in RELEASED else "setting", "text": text})
    return notes


def data_digest(dataset: Dataset, snr: float, inputs: str = "logmel") -> str:
    """Return a digest of what a network gets of a data set at `snr` dB: manifest, classes, settings and inputs.

    The list of SNRs made is left out: making one more changes nothing for the others.
    """
    mix = dataset.recipe.mix.model_dump(mode="json")
    del mix["snrs"]
    features = dataset.recipe.features.model_dump(mode="json")
    values = dataset.features_digest(snr) if inputs == "logmel" else dataset.waveform_digest(snr)
    if inputs == "logmel+embeddings":
        values += dataset.features_digest(snr)
    parts = [dataset.manifest_digest, dataset.info.source_digests, dataset.classes, mix, features, values]
    return sha256(json.dumps(parts, sort_keys=True).encode())


def list_configs(
    dataset: Dataset,
    *,
    system: str | Sequence[str] | None = None,
    snr: float | Sequence[float] | None = None,
    fold: int | Sequence[int] | None = None,
    seed: int | Sequence[int] | None = None,
    alpha: float | Sequence[float] | None = None,
    fraction: float | Sequence[float] | None = None,
    options: Mapping[str, OptionValue] | None = None,
    select: str = "validation",
    precision: str = "32",
    fresh: bool = False,
    load: Callable[[str], PretrainedEncoder] = load_encoder,
    **training: Any,
) -> list[TrainConfig]:
    """Return the runs of the grid, each once, systems slowest.

    `load` loads the encoder of systems on embeddings. `training` holds settings of `remixbench.recipe.Training` for all
    runs; one that is None or left out has each system's own default. With `epochs` alone, `min_steps` is 0.

    Raises
    ------
    InputError
        For an impossible value, or one that this data set or these systems do not have.
    """
    systems = tuple(dict.fromkeys(spec(name).reference for name in as_tuple(system))) or TABLE
    folds = dataset.manifest.folds
    alphas = _alphas_by_system(systems, as_tuple(alpha))
    system_options = _options_by_system(systems, {} if options is None else options)
    arguments = {name: value for name, value in training.items() if value is not None}
    settings = {name: _settings(name, dataset.recipe, arguments) for name in systems}
    for name in systems:
        _fits_inputs(name, settings[name]["augment"])
        _fits_optimizer(name, arguments)
    fractions, snrs, seeds = as_tuple(fraction) or (1.0,), as_tuple(snr) or dataset.snrs, as_tuple(seed) or (0,)
    test_folds = as_tuple(fold) or (RELEASED_FOLD if RELEASED_FOLD in folds else folds[-1],)
    configs = dict.fromkeys(
        _validated(
            TrainConfig,
            {
                "system": name, "options": system_options[name], "alpha": weight, "fraction": part, "snr": decibel,
                "fold": test_fold, "seed": number, "select": select, "precision": precision, "fresh": fresh,
                **settings[name],
            },
        )
        for name in systems
        for weight, part, decibel, test_fold, number in product(alphas[name], fractions, snrs, test_folds, seeds)
    )  # fmt: skip
    for config in configs:
        dataset.require_snr(config.snr)
        dataset.roles(config.fold)
    encoders = {name: _encoder(name, dict(system_options[name]), load, fresh=fresh) for name in systems}
    return [_with_encoder(config, encoders[config.system]) for config in configs]


def _encoder(
    system: str, options: Mapping[str, OptionValue], load: Callable[[str], PretrainedEncoder], *, fresh: bool
) -> EncoderKey | None:
    """Load the encoder that the options of a system on embeddings name; None for any other system."""
    system_spec = spec(system)
    if not system_spec.takes_embeddings:
        return None
    reference = str(options[ENCODER])
    if not reference:
        raise InputError(
            f"system '{system_spec.name}' takes the embeddings of an encoder: add --option {ENCODER}=NAME or"
            f" FILE.py:NAME; encoders: {', '.join(list_encoders()) or 'none installed'}"
        )
    if fresh:
        raise InputError(
            f"--fresh: mixes clips anew in every epoch, but system '{system_spec.name}' takes embeddings that were"
            " computed once; leave it out"
        )
    encoder = load(reference)
    return EncoderKey(encoder.name, encoder.reference, encoder.digest, encoder.pretrained_on)


def _with_encoder(config: TrainConfig, encoder: EncoderKey | None) -> TrainConfig:
    """Return a run with its encoder, whose short name among the options is part of the run's folder."""
    if encoder is None:
        return config
    options = tuple((name, encoder.name if name == ENCODER else value) for name, value in config.options)
    return config.model_copy(update={"options": options, "encoder": encoder})


def _settings(system: str, recipe: Recipe, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that are the same for all runs of a system: the given ones, else its defaults."""
    unexpected = arguments.keys() - set(TRAINING_DEFAULTS)
    if unexpected:
        raise unknown("training setting", min(unexpected), TRAINING_DEFAULTS)
    system_spec = spec(system)
    try:
        defaults = check_settings(training_defaults(system, recipe))
    except InputError as error:
        if not system_spec.training_defaults:
            raise
        raise system_spec.error(f"its training_defaults: {error}") from None
    if "epochs" in arguments:  # a given number of epochs is exact
        defaults |= {"min_steps": 0}
    return check_settings(defaults | arguments)


def check_settings(settings: Mapping[str, Any], model: type[Training] = Training) -> dict[str, Any]:
    """Return the settings of a training, by its fields in `model` of their types and in their ranges.

    Raises
    ------
    InputError
        If a value is not what its field allows.
    """
    names = as_tuple(settings["augment"])
    for name in names:
        one_of("--augment", name, (*AUGMENTATIONS, NO_AUGMENTATION))
    if NO_AUGMENTATION in names and len(set(names)) > 1:
        raise InputError(f"--augment {' '.join(names)}: {NO_AUGMENTATION} cannot be combined with others")
    return _validated(model, {**settings, "augment": _augmentations(names)}).model_dump()


def _validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return the model of some values; the first that it does not allow is an error of one line."""
    try:
        return model.model_validate({name: _python_number(value) for name, value in values.items()}, strict=True)
    except ValidationError as error:
        location = error.errors()[0]["loc"]
        if not location:  # settings that do not fit together
            raise InputError(first_problem(error, model)) from None
        name = str(location[0])
        raise _wrong_setting(f"--{name.replace('_', '-')}", values[name], model.model_fields[name]) from None


def _python_number(value: Any) -> Any:
    """Return numbers, also numpy's, as int, float or bool, which is all that a strict model takes."""
    if isinstance(value, np.bool_):  # a float field would take it as 1
        return bool(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _wrong_setting(option: str, value: Any, field: FieldInfo) -> InputError:
    """Return the error for a value that a field does not allow."""
    if get_origin(field.annotation) is Literal:
        return unknown(f"value of {option}", str(value), get_args(field.annotation))
    value = _python_number(value)
    is_number = type(value) is int or (isinstance(value, float) and math.isfinite(value))
    return InputError(
        f"{option} {_found(value, field)}: expected {KINDS[field.annotation]}{_range_text(field) if is_number else ''}"
    )


def _found(value: Any, field: FieldInfo) -> str:
    """Return a value as a message shows it: a float in its short form, unless that would hide what is wrong with it."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if field.annotation is float and float(short) == value else repr(value)


def _range_text(field: FieldInfo) -> str:
    """Return the range of a number in words: " from 0 up, below 1"."""
    limits = {limit: getattr(entry, limit) for entry in field.metadata for limit in LIMITS if hasattr(entry, limit)}
    return ",".join(words.format(limits[limit]) for limit, words in LIMITS.items() if limit in limits)


def _fits_inputs(system: str, augment: Sequence[str]) -> None:
    """Refuse augmentations of the log-mel for a system that takes the waveform."""
    from remixbench.training.augment import AUGMENTATIONS  # imports torch, which this module does not need

    system_spec = spec(system)
    of_waveforms = sorted(name for name, augmentation in AUGMENTATIONS.items() if augmentation.waveform)
    for name in augment:
        if not system_spec.takes_logmel and name not in of_waveforms:
            taken = "the waveform" if system_spec.inputs == "waveform" else system_spec.inputs
            raise InputError(
                f"--augment {name}: alters log-mel, but system '{system_spec.name}' takes {taken}; it can have"
                f" {', '.join(of_waveforms)}"
            )


def _fits_optimizer(system: str, arguments: Mapping[str, Any]) -> None:
    """Refuse settings of the optimizer for a system that has its own."""
    system_spec = spec(system)
    for name, (_, setting) in training_settings().items():
        if setting.of_optimizer and name in arguments and hasattr(system_spec.factory, "configure_optimizers"):
            raise InputError(
                f"--{name.replace('_', '-')} {_plain(arguments[name])}: system '{system_spec.name}' has an optimizer of"
                " its own (configure_optimizers); leave it out"
            )


def one_of(option: str, value: str, allowed: Sequence[str]) -> str:
    """Return `value`, or fail naming the nearest of the `allowed` ones."""
    if not isinstance(value, str) or value not in allowed:
        raise unknown(f"value of {option}", str(value), allowed)
    return value


def _options_by_system(
    systems: Sequence[str], options: Mapping[str, OptionValue]
) -> dict[str, tuple[tuple[str, OptionValue], ...]]:
    """Assign options to the systems that have them; an option that no system has is an error."""
    if not isinstance(options, Mapping):
        raise InputError(f"options: found {options!r}, expected names and values, such as {{'attention': 'paper'}}")
    by_system = {name: spec(name).options for name in systems}
    for option in map(str, options):
        if not any(option in names for names in by_system.values()):
            options_of_all = {key for names in by_system.values() for key in names}
            if not options_of_all:
                raise InputError(f"--option {option}: none of {', '.join(systems)} has an option; leave it out")
            raise unknown(f"option of {', '.join(systems)}", option, options_of_all)
    return {
        name: tuple(sorted(resolve_options(name, {k: v for k, v in options.items() if k in by_system[name]}).items()))
        for name in systems
    }


def _alphas_by_system(systems: Sequence[str], alphas: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    """Assign weights of the reconstruction to the systems that have a decoder; the others are trained once."""
    decoders = [name for name in systems if spec(name).decoder]
    if not decoders and any(not isinstance(alpha, Real) or alpha != 0 for alpha in alphas):
        raise InputError(
            f"--alpha {' '.join(map(str, alphas))}: none of {', '.join(systems)} has a decoder; use 2ap-aux, or leave"
            " --alpha out"
        )
    return {name: alphas if alphas and name in decoders else (spec(name).alpha,) for name in systems}


def _augmentations(names: Any) -> tuple[str, ...]:
    """Return the names of augmentations sorted and unique, since their order does not matter; () for `none`."""
    return tuple(sorted(set(as_tuple(names)) - {NO_AUGMENTATION}))


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or NO_AUGMENTATION
    return f"{value:.12g}" if isinstance(value, float) else str(value)
