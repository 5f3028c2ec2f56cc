"""What a run is: every setting that decides what a network learns, and the list of runs that a command asks
for.

A `RunSettings` has an identity, a digest over itself and the data it is trained on. Two runs of one identity
are the same run; where anything differs they are two, and never share a folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from numbers import Integral
from typing import TYPE_CHECKING, Any

from remixbench.dataset.dataset import as_tuple
from remixbench.errors import InputError, unknown
from remixbench.files import sha256
from remixbench.systems.registry import OptionValue, resolve_options, spec

if TYPE_CHECKING:
    from remixbench.dataset.dataset import Dataset

TABLE = ("gap", "gmp", "gwrp", "atrous-ap", "2ap-aux")
"""The systems of the paper's Table 1."""
SELECT = ("validation", "paper", "last")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "32", "bf16")
RELEASED_FOLD = 4
"""The fold that the released example tests on."""


@dataclass(frozen=True)
class RunSettings:
    """All that decides what a run learns, besides its data.

    Attributes
    ----------
    options : every option of the system, defaults included, as sorted (name, value) pairs.
    alpha : weight of the reconstruction in the loss.
    fraction : part of the training clips that is used, in (0, 1].
    select : how the epoch is chosen: on the `validation` part, on the held-out fold as in the `paper`, or the
        `last`.
    precision : as asked (auto, 32, bf16); what auto came to is recorded with the run and kept when it goes
        on.
    """

    system: str
    options: tuple[tuple[str, OptionValue], ...]
    alpha: float
    fraction: float
    snr: float
    fold: int
    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    width: float
    select: str
    precision: str

    @property
    def label(self) -> str:
        """What to call the run in one line."""
        return f"{self.folder} {self.snr:g} dB fold {self.fold} seed {self.seed}"

    @property
    def folder(self) -> str:
        """Name of the system's folder: the system, and what of the grid is not as usual, in a fixed order."""
        known = spec(self.system)
        parts = [self.system]
        if self.alpha != known.alpha:
            parts.append(f"alpha={self.alpha:.12g}")
        if self.fraction != 1:
            parts.append(f"fraction={self.fraction:.12g}")
        defaults = resolve_options(self.system)
        parts += [f"{name}={_plain(value)}" for name, value in self.options if value != defaults[name]]
        return ",".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        return asdict(self) | {"options": dict(self.options)}

    def digest(self, data: str) -> str:
        """Return the identity of the run on the data of digest `data`, in hexadecimal.

        Another version of a package that adds the system makes another run.
        """
        known = spec(self.system)
        parts = [self.to_json(), data] + ([known.package, known.version] if known.package else [])
        return sha256(json.dumps(parts, sort_keys=True).encode())


def data_digest(dataset: Dataset) -> str:
    """Return a digest of what of a data set reaches a network: manifest, sources, classes, mixing, features.

    The list of ratios made is left out: making one more changes nothing for the others.
    """
    mix = dataset.recipe.mix.model_dump(mode="json")
    del mix["snrs"]
    features = dataset.recipe.features.model_dump(mode="json")
    parts = [dataset.manifest_digest, dataset.info.source_digests, dataset.classes, mix, features]
    return sha256(json.dumps(parts, sort_keys=True).encode())


def list_runs(
    dataset: Dataset,
    *,
    system: str | Sequence[str] | None = None,
    snr: float | Sequence[float] | None = None,
    fold: int | Sequence[int] | None = None,
    seed: int | Sequence[int] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    width: float | None = None,
    alpha: float | Sequence[float] | None = None,
    fraction: float | Sequence[float] | None = None,
    options: Mapping[str, OptionValue] | None = None,
    select: str = "validation",
    precision: str = "auto",
) -> list[RunSettings]:
    """Return the runs of the grid, each once, systems slowest; what is None is as the recipe or the paper has
    it.

    Raises
    ------
    InputError
        For a value that cannot be, or that this data set or these systems do not have.
    """
    training = dataset.recipe.training
    systems = _unique(as_tuple(system)) or TABLE
    snrs = _unique(float(value) + 0.0 for value in as_tuple(snr)) or dataset.snrs  # -0 is 0
    last = dataset.manifest.folds[-1]
    folds = _unique(_whole("--fold", value, 1) for value in as_tuple(fold)) or (
        RELEASED_FOLD if RELEASED_FOLD in dataset.manifest.folds else last,
    )
    seeds = _unique(_whole("--seed", value, 0) for value in as_tuple(seed)) or (0,)
    fractions = _unique(float(value) for value in as_tuple(fraction)) or (1.0,)
    one_for_all: dict[str, Any] = {
        "epochs": _whole("--epochs", training.epochs if epochs is None else epochs, 1),
        "batch_size": _whole("--batch-size", training.batch_size if batch_size is None else batch_size, 1),
        "learning_rate": _positive(
            "--learning-rate", training.learning_rate if learning_rate is None else learning_rate
        ),
        "width": _positive("--width", training.width if width is None else width),
        "select": one_of("--select", select, SELECT),
        "precision": one_of("--precision", precision, PRECISIONS),
    }
    for value in snrs:
        dataset.require_snr(value)
    for value in folds:
        dataset.roles(value)
    for value in fractions:
        if not 0 < value <= 1:
            raise InputError(f"--fraction {value:g}: expected a number above 0, at most 1")
    chosen = _options_by_system(systems, options or {})
    alphas = _alphas_by_system(systems, as_tuple(alpha))
    return [
        RunSettings(name, chosen[name], weight, part, decibel, held_out, number, **one_for_all)
        for name in systems
        for weight, part, decibel, held_out, number in product(alphas[name], fractions, snrs, folds, seeds)
    ]


def one_of(option: str, value: str, allowed: Sequence[str]) -> str:
    """Return `value`, or fail naming the nearest of the `allowed` ones."""
    if value not in allowed:
        raise unknown(f"value of {option}", str(value), allowed)
    return value


def _options_by_system(
    systems: Sequence[str], options: Mapping[str, OptionValue]
) -> dict[str, tuple[tuple[str, OptionValue], ...]]:
    """An option goes to the systems that have it; one that none of them has is a mistake."""
    known = {name: spec(name).options for name in systems}
    for option in options:
        if not any(option in names for names in known.values()):
            every = {key for names in known.values() for key in names}
            if not every:
                raise InputError(f"--option {option}: none of {', '.join(systems)} has an option; leave it out")
            raise unknown(f"option of {', '.join(systems)}", option, every)
    return {
        name: tuple(sorted(resolve_options(name, {k: v for k, v in options.items() if k in known[name]}).items()))
        for name in systems
    }


def _alphas_by_system(systems: Sequence[str], alphas: Sequence[float]) -> dict[str, tuple[float, ...]]:
    """A weight of the reconstruction goes to the systems that reconstruct; the others are trained once."""
    for value in alphas:
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"--alpha {value:g}: expected a number from 0 up, such as 0.001")
    wanted = tuple(float(value) + 0.0 for value in dict.fromkeys(alphas))
    decoders = [name for name in systems if spec(name).decoder]
    if any(wanted) and not decoders:
        raise InputError(
            f"--alpha {max(wanted):g}: none of {', '.join(systems)} has a decoder; use 2ap-aux, or leave --alpha out"
        )
    return {name: wanted if wanted and name in decoders else (spec(name).alpha,) for name in systems}


def _unique(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _whole(option: str, value: int, low: int) -> int:
    if not (isinstance(value, Integral) and low <= value < 2**32):
        raise InputError(f"{option} {value}: expected a whole number from {low} up")
    return int(value)


def _positive(option: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{option} {value:g}: expected a number above 0")
    return float(value)


def _plain(value: OptionValue) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)
