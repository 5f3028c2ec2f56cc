"""Recipes: sources, folds, mixing, features and training defaults of a benchmark, read from a YAML file.

A `Recipe` is validated when it is loaded, and immutable. Its defaults are those of the released data set (Deshmukh,
Raj, Singh, Interspeech 2021), so that a custom recipe states only the differences.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, SupportsFloat, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from remixbench.errors import InputError, unknown
from remixbench.files import read_bytes
from remixbench.schemas import first_problem

PUBLISHED_SOURCES = ("tau2019", "fsdkaggle2018")
"""Published data sets, each with a module of its name in `sources/`."""
SOURCES = (*PUBLISHED_SOURCES, "synthetic", "folder")
MAX_BYTES = 1 << 20
"""Size limit of a recipe."""

SNR_DECIMALS = 6
"""Precision of SNRs, after which folders are named."""

Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Decibels = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
Optimizer = Literal["adam", "adamw"]
Schedule = Literal["plateau", "cosine", "constant"]
Augmentation = Literal["mixup", "specaugment", "time-shift", "frequency-shift", "filter-augment"]
SnrList = Annotated[tuple[Decibels, ...], Field(min_length=1)]


def _count_or_range(value: object) -> object:
    """Refuse anything but a number or a range; lists are refused because elsewhere they are lists of values."""
    if isinstance(value, list | tuple):
        raise ValueError(f"expected a number or a range; write a range as {{range: {list(value)}}}")
    if not isinstance(value, int | float) and not (isinstance(value, str) and value.strip().isdecimal()):
        raise ValueError("expected a number or a range such as {range: [1, 3]}")
    return value


def _as_range(value: object) -> object:
    """Accept a list of two numbers as a range, where it cannot mean anything else."""
    if value is None or isinstance(value, dict | SnrRange):
        return value
    if isinstance(value, list | tuple):
        return {"range": value}
    raise ValueError("expected a range such as {range: [-6, 6]}")


def _listed(value: object) -> object:
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Columns(_Part):
    """Column names in the table of a `folder` source."""

    file: str = "file"
    label: str = "label"
    location: str | None = None
    origin: str | None = None
    licence: str | None = None
    url: str | None = None


def _source_name(name: str) -> str:
    if name not in SOURCES:
        *names, last = (f"'{source}'" for source in SOURCES)
        raise ValueError(f"expected {', '.join(names)} or {last}")
    return name


class Source(_Part):
    """The source of recordings: a published data set, the synthetic sounds, or a folder of the user."""

    source: Annotated[str, AfterValidator(_source_name)]
    folder: str | None = Field(None, description="for `folder`: its path, relative to the sources directory")
    table: str | None = Field(None, description="for `folder`: a CSV or TSV in it; without, one sub-folder per class")
    columns: Columns = Columns()
    verified_only: bool = False
    per_class: Annotated[int, Field(ge=1, le=9999)] = 12
    sample_rate: Annotated[int, Field(ge=4000, le=192000)] = 16000

    @model_validator(mode="after")
    def _folder_is_named(self) -> Self:
        if (self.source == "folder") != (self.folder is not None):
            raise ValueError("key 'folder' and source 'folder' need each other")
        return self


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("expected the lower bound first")
    return bounds


class CountRange(_Part):
    """A range from which the number of events per clip is drawn uniformly."""

    range: Annotated[
        tuple[Annotated[int, Field(ge=0, le=20)], Annotated[int, Field(ge=0, le=20)]], AfterValidator(_ascending)
    ]


class SnrRange(_Part):
    """A range in dB from which an SNR, or its offset from the nominal SNR, is drawn uniformly."""

    range: Annotated[tuple[Decibels, Decibels], AfterValidator(_ascending)]


class Plan(_Part):
    """How clips are drawn.

    The method `released` repeats the draws of the released data set. The method `grouped` deals recordings to folds by
    group (location of a scene, origin of an event), draws onsets, and has a validation part in every fold.
    """

    method: Literal["released", "grouped"] = "released"
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 1234
    folds: Annotated[int, Field(ge=2, le=20)] = 4
    clips_per_fold: Annotated[int, Field(ge=1, le=200_000)] = 2000
    polyphony: Annotated[
        Annotated[int, Field(ge=0, le=20), BeforeValidator(_count_or_range), Tag("number")]
        | Annotated[CountRange, Tag("mapping")],
        Discriminator(lambda value: "mapping" if isinstance(value, dict | CountRange) else "number"),
    ] = 3
    onsets: Annotated[tuple[Seconds, ...] | Literal["drawn"], BeforeValidator(_listed)] = (0.5, 3.0, 5.5)
    max_event: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 2.0
    overlap: bool = True
    origin_gap: Annotated[int, Field(ge=0)] | None = None
    scene_start: Literal["zero", "drawn"] = "zero"
    validation: Annotated[float, Field(ge=0, lt=0.9)] = 0.0
    snr_spread: Annotated[SnrRange | None, BeforeValidator(_as_range)] = None

    @model_validator(mode="after")
    def _has_events(self) -> Self:
        if self.most_events == 0:
            raise ValueError("polyphony 0 makes a data set without events; expected a range such as {range: [0, 2]}")
        return self

    @model_validator(mode="after")
    def _methods_agree(self) -> Self:
        fixed = isinstance(self.polyphony, int) and self.onsets != "drawn"
        drawn = self.snr_spread or self.validation or self.scene_start == "drawn"
        if self.method == "released" and (not fixed or drawn):
            raise ValueError(
                "the 'released' draws have fixed polyphony and onsets, no validation part, no snr_spread, no drawn"
                " scene_start; method 'grouped' has them"
            )
        if self.onsets != "drawn" and self.most_events > len(self.onsets):
            raise ValueError(f"polyphony {self.most_events} needs as many onsets, found {len(self.onsets)}")
        return self

    @model_validator(mode="after")
    def _fixed_onsets_are_apart(self) -> Self:
        """Refuse onsets at which events touch: scorers would merge two of one class."""
        used = () if self.onsets == "drawn" else sorted(self.onsets[: self.most_events])
        for onset, next_onset in pairwise(used):
            if next_onset - onset < self.max_event - 1e-9:
                raise ValueError(
                    f"onsets {onset:g} and {next_onset:g} s are closer than max_event {self.max_event:g} s, so events"
                    " would overlap; lower max_event, move the onsets apart, or set onsets to drawn with method grouped"
                )
        return self

    @property
    def fewest_events(self) -> int:
        """The smallest number of events in a clip."""
        return self.polyphony if isinstance(self.polyphony, int) else self.polyphony.range[0]

    @property
    def most_events(self) -> int:
        """The largest number of events in a clip."""
        return self.polyphony if isinstance(self.polyphony, int) else self.polyphony.range[1]


class Mix(_Part):
    """How scenes and events are mixed."""

    sample_rate: Annotated[int, Field(ge=4000, le=192000)] = 32000
    duration: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 10.0
    snrs: Annotated[
        Annotated[SnrList, BeforeValidator(_listed), Tag("list")] | Annotated[SnrRange, Tag("mapping")],
        Discriminator(lambda value: "mapping" if isinstance(value, dict | SnrRange) else "list"),
    ] = (0.0, 10.0, 20.0)
    excerpt: Literal["start", "loudest"] = "start"
    level: Literal["rms", "lufs"] = "rms"
    snr_reference: Literal["recording", "excerpt"] = "recording"
    short_scenes: Literal["refuse", "loop"] = "refuse"
    quantisation: Literal["floor", "round"] = "floor"

    @property
    def nominal_snrs(self) -> tuple[float, ...]:
        """The SNRs in dB; for a range, from which the SNR of each clip is drawn, its middle."""
        return (sum(self.snrs.range) / 2,) if isinstance(self.snrs, SnrRange) else self.snrs

    @property
    def snr_offsets(self) -> tuple[float, float] | None:
        """Range of clips' SNRs relative to the nominal SNR, in dB; None if all clips have the same SNR."""
        if not isinstance(self.snrs, SnrRange):
            return None
        low, high = self.snrs.range
        return low - (low + high) / 2, high - (low + high) / 2

    @property
    def samples(self) -> int:
        """Length of a clip in samples."""
        return round(self.sample_rate * self.duration)

    @property
    def seconds(self) -> float:
        """Length of a clip in seconds: `duration` to the nearest sample."""
        return self.samples / self.sample_rate


class Features(_Part):
    """Log-mel settings: `n_fft` and `hop_length` in samples, `fmin` and `fmax` in Hz, `offset` in ln(x + offset)."""

    n_fft: Annotated[int, Field(ge=16, le=65536)] = 2048
    hop_length: Annotated[int, Field(ge=1, le=65536)] = 1024
    n_mels: Annotated[int, Field(ge=4, le=512)] = 64
    fmin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 50.0
    fmax: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 16000.0
    offset: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-8


@dataclass(frozen=True)
class Setting:
    """Metadata of a training setting.

    Attributes
    ----------
    help : help text of its option.
    named : whether a value other than the system's default is part of the folder name of a run.
    identity : whether its default is part of the identity of a run; False for settings added later.
    of_optimizer : whether it has no effect on a system with an optimizer of its own (`configure_optimizers`).
    """

    help: str
    named: bool = True
    identity: bool = True
    of_optimizer: bool = False


class Training(_Part):
    """Training settings; the defaults are those of the released code.

    The `training` section of a recipe, the options of `train`, run.json and the identity of a run all derive from this
    class. A new setting, of type int, float, bool or Literal, needs a field here and its use in
    `remixbench/training/trainer.py`.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000), Setting("Number of epochs.", named=False)] = 50
    min_steps: Annotated[
        int,
        Field(ge=0, le=10**9),
        Setting(
            "Minimum number of optimizer steps: with few clips, more epochs. 0 if only --epochs is given.",
            named=False,
            identity=False,
        ),
    ] = 0
    batch_size: Annotated[int, Field(ge=1, le=65536), Setting("Clips per batch.", named=False)] = 24
    learning_rate: Annotated[
        float, Field(gt=0, allow_inf_nan=False), Setting("Learning rate.", named=False, of_optimizer=True)
    ] = 1e-3
    width: Annotated[
        float, Field(gt=0, allow_inf_nan=False), Setting("Factor on the number of channels.", named=False)
    ] = 1.0
    optimizer: Annotated[Optimizer, Setting("Optimizer.", of_optimizer=True)] = "adam"
    weight_decay: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False),
        Setting("Weight decay, except for biases and norms.", of_optimizer=True),
    ] = 0.0
    schedule: Annotated[
        Schedule,
        Setting(
            "Learning rate schedule: divide by 10 after 4 epochs without a better score (plateau), or linear warm-up"
            " and cosine.",
            of_optimizer=True,
        ),
    ] = "plateau"
    augment: Annotated[
        tuple[Augmentation, ...],
        Field(strict=False),
        Setting(f"Augmentations: {', '.join(get_args(Augmentation))}, or none."),
    ] = ()
    ema: Annotated[
        float, Field(ge=0, lt=1), Setting("Decay per step of the moving average of the weights; 0 for none.")
    ] = 0.0
    early_stopping: Annotated[
        int, Field(ge=0, le=100_000), Setting("Stop after N epochs without a better score; 0 to never stop.")
    ] = 0
    gradient_clip: Annotated[
        float, Field(ge=0, allow_inf_nan=False), Setting("Clip the gradient to this norm; 0 for no clipping.")
    ] = 0.0

    @model_validator(mode="before")
    @classmethod
    def _none_is_the_default(cls, content: Any) -> Any:
        """Drop settings that are None, as in older recipes and data sets."""
        if not isinstance(content, dict):
            return content
        return {key: value for key, value in content.items() if value is not None or key not in Training.model_fields}


def training_settings(model: type[Training] = Training) -> dict[str, tuple[FieldInfo, Setting]]:
    """Return the field and the `Setting` of every training setting, by name."""
    return {
        name: (field, next(entry for entry in field.metadata if isinstance(entry, Setting)))
        for name, field in model.model_fields.items()
    }


class Recipe(_Part):
    """The complete definition of a benchmark."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    description: Annotated[str, Field(min_length=1, max_length=1000)]
    not_comparable: str | None = Field(None, description="why results must not be compared with published ones")
    scenes: Source
    events: Source
    plan: Plan = Plan()
    mix: Mix = Mix()
    features: Features = Features()
    training: Training = Training()

    @model_validator(mode="before")
    @classmethod
    def _defaults_that_depend(cls, content: Any) -> Any:
        """Fill in defaults: `fmax` is half the sample rate; `folder` sources have grouped plans, drawn scene starts."""
        if not isinstance(content, dict):
            return content
        # a section may also be an object from Python, of which only the fields that were set count as given
        contents = {
            key: section.model_dump(exclude_unset=True) if isinstance(section, _Part) else section
            for key, section in content.items()
        }
        sections = {key: contents.get(key, {}) for key in ("scenes", "events", "plan", "mix", "features")}
        if not all(isinstance(section, dict) for section in sections.values()):
            return contents
        plan, features = dict(sections["plan"]), dict(sections["features"])
        rate = sections["mix"].get("sample_rate")
        if isinstance(rate, int) and "fmax" not in features:
            features["fmax"] = rate / 2
        folders = [key for key in ("scenes", "events") if sections[key].get("source") == "folder"]
        if folders:
            plan.setdefault("method", "grouped")
        if "scenes" in folders and plan["method"] == "grouped":
            plan.setdefault("scene_start", "drawn")
        filled = {"plan": plan, "features": features}
        return contents | {key: section for key, section in filled.items() if section or key in contents}

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if self.features.fmin >= self.features.fmax:
            raise ValueError(f"features.fmin {self.features.fmin:g} is not below features.fmax {self.features.fmax:g}")
        if self.features.fmax > self.mix.sample_rate / 2:
            raise ValueError(
                f"features.fmax {self.features.fmax:g} Hz is above half of mix.sample_rate {self.mix.sample_rate} Hz;"
                " lower it"
            )
        if self.features.n_fft > self.mix.samples:
            raise ValueError("features.n_fft is longer than a clip")
        if self.plan.onsets != "drawn" and max(self.plan.onsets) >= self.mix.duration:
            raise ValueError(f"an onset of {max(self.plan.onsets):g} s lies beyond the clip of {self.mix.duration:g} s")
        if self.plan.method == "released" and isinstance(self.mix.snrs, SnrRange):
            raise ValueError("mix.snrs is a range, which the 'released' draws do not have; set plan.method to grouped")
        most = 1 if self.plan.overlap else self.plan.most_events
        if self.plan.method == "grouped" and self.plan.max_event * most > self.mix.duration:
            raise ValueError(f"{most} event(s) of plan.max_event {self.plan.max_event:g} s are longer than the clip")
        return self

    @property
    def frames(self) -> int:
        """Number of log-mel frames in a clip, without padding: 311 for 10 s at 32 kHz."""
        return (self.mix.samples - self.features.n_fft) // self.features.hop_length + 1

    @property
    def frame_seconds(self) -> float:
        """Hop in seconds."""
        return self.features.hop_length / self.mix.sample_rate


def format_snr(snr: float, offsets: tuple[float, float] | None = None) -> str:
    """Format a nominal SNR with its unit, or with `offsets` (`Mix.snr_offsets`) the range of the clips' SNRs."""
    if offsets is None:
        return f"{snr:g} dB"
    low, high = (f"{snr + offset:g}".replace("-", "\N{MINUS SIGN}") for offset in offsets)
    return f"{low} to {high} dB"


def format_snrs(snrs: Sequence[float], offsets: tuple[float, float] | None = None) -> str:
    """Format several SNRs: 0, 10, 20 dB."""
    if offsets is None:
        return f"{', '.join(f'{snr:g}' for snr in snrs)} dB"
    return ", ".join(format_snr(snr, offsets) for snr in snrs)


def parse_snr(value: str | SupportsFloat) -> float:
    """Parse a signal-to-noise ratio in dB.

    Raises
    ------
    InputError
        If it is not a number from -100 to 100.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not abs(number) <= 100:
        raise InputError(f"--snr {value}: '{value}' is not an SNR in dB; expected values such as 0 10 20")
    return round(number, SNR_DECIMALS) + 0.0  # -0 becomes 0


class _UniqueKeys(yaml.SafeLoader):
    """A safe loader that refuses duplicate keys, of which PyYAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is a list or mapping", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key '{key}' is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def data_folder(kind: Literal["recipes", "manifests"]) -> Path:
    """Return the folder of the recipes or manifests in the package (wheel or checkout)."""
    package = Path(__file__).parent
    inside = package / "_data" / kind
    return inside if inside.is_dir() else package.parent / kind


def recipes() -> dict[str, Path]:
    """Return the files of the built-in recipes by name."""
    return dict(sorted((path.stem, path) for path in data_folder("recipes").glob("*.yaml")))


def load_recipe(name_or_file: str | Path) -> Recipe:
    """Load a built-in recipe by name, or a recipe from a YAML file.

    Raises
    ------
    InputError
        If there is no such recipe, the file is not YAML, or a key or value is invalid.
    """
    text = str(name_or_file)
    looks_like_file = isinstance(name_or_file, Path) or text.endswith((".yaml", ".yml")) or "/" in text
    if not looks_like_file:
        built_in = recipes()
        if text not in built_in:
            raise unknown("recipe", text, built_in)
        path = built_in[text]
    else:
        path = Path(name_or_file)
        if not os.path.exists(path):
            raise InputError(f"{path}: no such recipe file; `remixbench recipes` lists the built-in ones")
    try:
        content = yaml.load(read_bytes(path, MAX_BYTES).decode("utf-8"), Loader=_UniqueKeys)
    except (RecursionError, ValueError, TypeError, AttributeError, LookupError) as error:
        # errors that escape PyYAML's conversions, such as for `!!timestamp x`
        raise InputError(f"{path}: not readable as a recipe ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', None) or error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected keys and values, found {type(content).__name__}")
    return parse_recipe(content, str(path))


def parse_recipe(content: dict[str, Any], origin: str) -> Recipe:
    """Validate the content of a recipe; `origin` names it in error messages.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value is invalid.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{origin}: {first_problem(error, Recipe)}") from None
