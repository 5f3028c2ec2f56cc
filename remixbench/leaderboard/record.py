"""One scored set of predictions, as it stands in metrics.json and in a submission: metrics and their provenance.

A record is one system on one fold at one SNR with one seed. Records are read from files that third parties hand
in, so every field is checked, every number and length is bounded, and unknown fields are refused.
`bootstrap_samples` are the metrics of every bootstrap sample (float32, little-endian, base64), kept so that two
systems can be compared sample by sample without their predictions. `digest` covers all the rest, so that an edited
record is noticed and scored again.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from remixbench.errors import InputError
from remixbench.files import (
    MIXED_SCRIPTS,
    check_name,
    content_digest,
    file_sha256,
    mixes_scripts,
    read_json,
    sha256,
    write_json,
)
from remixbench.schemas import first_problem
from remixbench.scoring.io import FRAME_FOLDER, has_waveforms
from remixbench.scoring.metrics import metric_range
from remixbench.sources.catalogue import starts_formula

METRICS_FILE = "metrics.json"
ROUNDING = 1e-9
"""How far rounding may put a metric outside its range."""
Ideal = Literal["IBM", "IRM", "mixture"]
IDEAL: dict[Ideal, str] = {
    "IBM": "ideal binary mask",
    "IRM": "ideal ratio mask",
    "mixture": "mixture, not separated",
}
"""What is separated with the stems alone, and the names of its rows."""
CHANCE = "chance"
"""The name of the row of a constant score."""
LARGEST = 1e6
"""The largest magnitude of a metric of unbounded range: an error rate, or dB."""
LARGEST_INTEGER = 10**18
"""The largest count or seed: it fits a 64-bit integer."""
MOST_SAMPLES = 1_000_000
"""The most bootstrap samples."""
LARGEST_SETTING = 1e15
MOST_NAMED = 10
"""The most files of predictions that a record names; more (one per clip) share one digest."""
MOST_SETTINGS = 2000
"""The most values in one level of settings; thresholds and boxes have one per class."""
State = Literal["ours", "recomputed", "self-reported"]
STATES: tuple[State, ...] = ("self-reported", "recomputed", "ours")
"""The kinds of evidence of a row, in every format; the weakest first."""
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that count as printable but are invisible: with one, a name could look like another, or empty."""
MAX_NAME = 100
"""The most characters of a name chosen for a system."""
MOST_ACCENTS = 4
"""The most accents on one letter of a name; a taller stack would cover the lines above and below."""

Number = Annotated[
    float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False), AfterValidator(lambda value: value + 0.0)
]
Integer = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Samples = NDArray[np.float32]


def _printable(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("holds characters that cannot be printed")
    return text


def name_problem(text: str) -> str:
    """Say why a row may not have a printable name; empty if it may."""
    if text != text.strip():
        return "starts or ends with a blank"
    if starts_formula(text):
        return f"starts with '{text[0]}', which spreadsheets take for a formula"
    if INVISIBLE.search(text):
        return "holds an invisible character"
    if mixes_scripts(text):
        return MIXED_SCRIPTS
    if text != unicodedata.normalize("NFC", text):
        return "has accents separate from their letters; write it in Unicode NFC"
    if any(all(map(unicodedata.combining, text[k : k + MOST_ACCENTS + 1])) for k in range(len(text) - MOST_ACCENTS)):
        return f"has more than {MOST_ACCENTS} accents on one letter"
    letters = "".join(filter(str.isalnum, folded(text)))
    if evidence := next((state for state in STATES[:2] if state.replace("-", "") in letters), None):
        return f"holds '{evidence}', which tables use as evidence"
    return ""


def folded(text: str) -> str:
    """Return a text in lower case, of usual width and style: texts that fold to the same are read as the same."""
    return unicodedata.normalize("NFKC", text).casefold()


def check_system_name(name: str, taken: list[str], place: str = "--name") -> str:
    """Return the name in Unicode NFC without surrounding blanks, if it is one printable line and not taken.

    `place` says in errors where the name was given.

    InputError if it is empty, too long, not printable, not allowed for a row (`name_problem`), or the name of a bundled
    or installed system, with or without options, or of a row that remixbench makes.
    """
    clean = unicodedata.normalize("NFC", name.strip())
    if not clean or len(clean) > MAX_NAME or not clean.isprintable():
        shown = ascii(clean[:40])
        raise InputError(f"{place}: {shown}: expected one line of 1 to {MAX_NAME} printable characters")
    if problem := name_problem(clean):
        raise InputError(f"{place}: '{clean[:40]}' {problem}; choose another")
    names = (clean, CHANCE, *IDEAL.values(), *taken)
    # marks of the tables after a name are not a part of it
    first, *reserved = (re.split(r"[,(†‡≈*?]", folded(name))[0].strip() for name in names)
    if first in reserved:
        raise InputError(f"{place}: '{clean}' is the name of a system of remixbench; choose another")
    return clean


def _name(text: str) -> str:
    if problem := name_problem(text):
        raise ValueError(problem)
    return text


def _metric_name(text: str) -> str:
    if "[shift " in text or text.startswith(PROBED):
        raise ValueError("is reserved for scores of probes")
    return text


def _setting(value: Any, *, depth: int = 0) -> Any:
    """Check that a value is plain: nested at most four levels deep, texts printable, numbers and lengths bounded."""
    if isinstance(value, dict | list) and (depth > 3 or len(value) > MOST_SETTINGS):
        raise ValueError(f"expected at most {MOST_SETTINGS} values, nested at most 4 levels deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            _setting(key, depth=depth)
            _setting(inner, depth=depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _setting(inner, depth=depth + 1)
    elif isinstance(value, str):
        if len(value) > 500 or not all(letter.isprintable() or letter in "\n\t" for letter in value):
            raise ValueError("expected texts of at most 500 printable characters")
    elif isinstance(value, int | float) and not abs(value) <= LARGEST_SETTING:
        raise ValueError(f"expected numbers of at most {LARGEST_SETTING:g}")
    return value


Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Name = Annotated[Word, AfterValidator(_name)]
PROBED = "micro_ap_shifted"
"""Prefix of the metrics that tables derive from shift probes."""
MetricName = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}(\[[a-z0-9_ .-]{1,40}\])?$"), AfterValidator(_metric_name)
]
Classes = Annotated[dict[Word, Number | None], Field(max_length=10_000)]
Settings = Annotated[dict[str, Any], AfterValidator(_setting)]


class Frozen(BaseModel):
    """An immutable model that refuses unknown keys and values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Flag(Frozen):
    """What a reader has to know before comparing a row: a code of `FLAGS`, and the text for this row."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    text: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_printable)]


FLAGS = {
    "test-epoch": "The epoch was chosen on the test clips, so the score is too high by an unknown amount.",
    "last-epoch": "No epoch was chosen; the last one was kept.",
    "fresh": "Trained on new mixtures in every epoch, and so on more data than other rows.",
    "pretrained": "Uses embeddings of a frozen encoder that was trained on other data.",
    "heard": "The encoder was trained on recordings of the test clips, so the score may be too high.",
    "may-have-heard": "The encoder was trained on Freesound recordings; whether these include recordings of the test"
    " clips was not checked (`remixbench overlap`).",
    "fraction": "Trained on fewer clips; compare with rows of the same fraction.",
    "setting": "Trained with other settings than the benchmark's.",
    "training": "Trained with other settings than the system's defaults.",
}
"""What a flag means, by its code; other flags are explained by their text."""


class SystemInfo(Frozen):
    """Which system was scored, and on what.

    `kind` is "run" for a system trained here, "predictions" for a third party's, and "ideal" for what needs only stems:
    ideal masks, and the mixture as it is. `registry_name` is the registered name of a run's system; `settings` are its
    training settings besides SNR, fold and seed; `pretrained_on` are the data sets that its frozen encoder was trained
    on.
    """

    name: Name
    kind: Literal["run", "predictions", "ideal"]
    registry_name: Name | None = None
    settings: Settings = Field(default_factory=dict)
    snr: Annotated[Number, Field(ge=-100, le=100)]
    fold: Annotated[int, Field(ge=1, le=10**6)]
    seed: Integer | None = None
    flags: Annotated[tuple[Flag, ...], Field(max_length=20)] = ()
    pretrained_on: Annotated[tuple[Word, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _named_after_its_system(self) -> SystemInfo:
        if (self.kind == "run") != (self.registry_name is not None):
            raise ValueError("a run has a system, predictions have none")
        if self.registry_name is not None and self.name.split(",")[0] != self.registry_name:
            raise ValueError(f"is a run of '{self.registry_name}', but is named '{self.name}'")
        return self


def digests_of(paths: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of every prediction file by its name, or one of all files where there are many.

    InputError if a file is missing, unreadable or not a regular file, or two have the same name.
    """
    files: dict[str, str] = {}
    for path in paths:
        # waveforms and tables of frame scores lie one level below, and tags or events beside their folders
        below = "*/*" if has_waveforms(path) else f"{FRAME_FOLDER}/*.tsv"
        inside = [*path.iterdir(), *path.glob(below)] if path.is_dir() else [path]
        for file in sorted(inside):
            if file.is_dir() or file.name.startswith("."):
                continue
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            if name in files:
                raise InputError(f"{file}: two files of that name are given; give each once")
            try:
                check_name(file)
                files[name] = file_sha256(file)
            except OSError as error:
                raise InputError(f"{file}: not readable ({error.strerror})") from None
    if not files:
        raise InputError(f"{paths[0]}: holds no predictions")
    return files if len(files) <= MOST_NAMED else {f"{len(files)} files": files_digest(files)}


def files_digest(digests: Mapping[str, str]) -> str:
    """Return the digest of a set of prediction files: of the bytes of one file, else of names and digests together."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return sha256("".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode())


class Provenance(Frozen):
    """What the metrics were computed from and with.

    `audio_digest` is `Dataset.audio_digest`, which covers all that the audio is made from; `groups` is the number of
    event recordings in the clips, which the bootstrap draws.
    """

    remixbench: Word
    scoring_version: Word
    dataset: Word
    manifest_digest: Digest
    reference_digest: Digest
    audio_digest: Digest
    run: Word | None = None
    predictions: Annotated[dict[Word, Digest], Field(min_length=1, max_length=MOST_NAMED)]
    predictions_digest: Digest
    clips: Annotated[Integer, Field(ge=1)]
    groups: Annotated[Integer, Field(ge=1)]
    resamples: Annotated[int, Field(ge=0, le=MOST_SAMPLES)]
    bootstrap_seed: Integer

    @model_validator(mode="after")
    def _digest_fits(self) -> Provenance:
        if files_digest(self.predictions) != self.predictions_digest:
            raise ValueError("predictions_digest is not that of the predictions")
        return self


class Cost(Frozen):
    """What a run cost, as its run.json has it; None where that is not reported.

    Attributes
    ----------
    parameters : trainable parameters
    macs : multiply-accumulate operations of a forward pass on one clip, without those of a frozen encoder
    frozen_parameters, frozen_macs : of a frozen encoder
    seconds : wall-clock time of training and of predicting the tested clips
    device : name of the device trained on
    """

    parameters: Integer | None = None
    macs: Integer | None = None
    frozen_parameters: Integer | None = None
    frozen_macs: Integer | None = None
    seconds: Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)] | None = None
    device: Word | None = None


class ProbeRecord(Frozen):
    """Metrics of the same system on the same clips under another condition.

    `value` is the shift of the clips in seconds, or their SNR in dB. `bootstrap_samples` are paired with those of the
    `Record`.
    """

    probe: Literal["shift", "snr"]
    value: Number
    predictions_digest: Digest
    metrics: Annotated[dict[MetricName, Number | None], Field(max_length=100)]
    bootstrap_samples: dict[MetricName, str]


class Record(Frozen):
    """Metrics of one system on one fold, their intervals, and their provenance; None where a metric is undefined.

    `shifts` are the shifts of the shift probe in seconds: empty where no shift keeps every event whole, None where the
    probe was not made. `by_snr` are metrics per bin of SNRs, where these differ between clips; tables show them only
    for this workspace's own records.
    """

    format: Literal[3] = 3
    system: SystemInfo
    provenance: Provenance
    metrics: Annotated[dict[MetricName, Number | None], Field(max_length=1000)]
    intervals: dict[MetricName, tuple[Number, Number] | None]
    per_class: Annotated[dict[MetricName, Classes], Field(max_length=1000)]
    settings: Settings
    bootstrap_samples: dict[MetricName, str]
    cost: Cost = Cost()
    shifts: Annotated[tuple[Number, ...], Field(max_length=100)] | None = None
    probes: Annotated[tuple[ProbeRecord, ...], Field(max_length=200)] = ()
    by_snr: Annotated[
        dict[MetricName, Annotated[dict[Word, Number | None], Field(max_length=100)]], Field(max_length=10)
    ] = {}

    @model_validator(mode="after")
    def _in_range(self) -> Record:
        per_label = [
            (name, f" at {label}", value) for name, bins in self.by_snr.items() for label, value in bins.items()
        ]
        per_label += [
            (name, f" of {label}", value) for name, of in self.per_class.items() for label, value in of.items()
        ]
        for name, label, value in per_label:
            _check_range(name, value, f"{name}{label}")
        for name, ends in self.intervals.items():
            if name not in self.metrics:
                raise ValueError(f"interval of '{name}', which is not among the metrics")
            if ends is not None and ends[0] > ends[1]:
                raise ValueError(f"interval of '{name}' is [{ends[0]:g}, {ends[1]:g}], expected low before high")
            for end in ends or ():
                _check_range(name, end, f"interval of {name}")
        _check_scores(self, self.provenance.resamples)
        return self

    @model_validator(mode="after")
    def _probes_fit(self) -> Record:
        conditions = [(probe.probe, probe.value) for probe in self.probes]
        if len({probe_value(kind, value, "") for kind, value in conditions}) < len(conditions):
            raise ValueError("probes: expected each condition once")
        if {value for kind, value in conditions if kind == "shift"} != set(self.shifts or ()):
            raise ValueError("probes: expected one for each of the shifts")
        if conditions and "micro_ap" not in self.metrics:
            raise ValueError("probes are scored by micro_ap, which is not among the metrics")
        for probe in self.probes:
            _check_scores(probe, self.provenance.resamples, f" of probe {probe.probe} {probe.value:g}")
        return self

    def samples(self, metric: str) -> Samples | None:
        """Return a metric of every bootstrap sample, (resamples,), or None where they were not kept."""
        return unpack(self.bootstrap_samples[metric]) if metric in self.bootstrap_samples else None

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values, in the order of the fields, with its digest."""
        value = self.model_dump(mode="json", exclude=None if self.by_snr else {"by_snr"})
        return value | {"digest": content_digest(value)}

    @property
    def value_names(self) -> frozenset[str]:
        """The names of all values that are computed from predictions and labels, as in `Evidence`."""
        probes = (probe_value(probe.probe, probe.value, name) for probe in self.probes for name in probe.metrics)
        return frozenset((*self.metrics, *map(class_values, self.per_class), *probes, SCORING_SETTINGS))


SCORING_SETTINGS = "scoring settings"
"""The thresholds and post-processings in a record's `settings`."""


DECLARED = frozenset({"mask_f1_macro[kong]"})
"""Metrics computed from counts that the sender of maps.npz declares; verified only for our own runs."""


@dataclass(frozen=True)
class Evidence:
    """Which values of a record were computed in this workspace.

    Attributes
    ----------
    state : "ours" if the record was scored here; "recomputed" if it was submitted and recomputed from its predictions;
        else "self-reported"
    verified : names of the values that were computed here: metrics, `class_values`, `probe_value` and
        `SCORING_SETTINGS`; None for all of them
    """

    state: State
    verified: frozenset[str] | None = None

    def covers(self, value: str) -> bool:
        """Say whether a value was computed here."""
        return self.verified is None or value in self.verified


OURS = Evidence("ours")
SELF_REPORTED = Evidence("self-reported", frozenset())


def own_evidence(record: Record) -> Evidence:
    """Return the evidence of a record made in this workspace, of a run or a third party's predictions."""
    if record.system.kind == "predictions" and record.metrics.keys() & DECLARED:
        return Evidence("ours", record.value_names - DECLARED)
    return OURS


@dataclass(frozen=True)
class Entry:
    """A record, and which of its values were computed in this workspace."""

    record: Record
    evidence: Evidence = OURS


def weakest(evidence: Iterable[Evidence]) -> State:
    """Return the weakest of some states; "ours" where there are none."""
    return min((part.state for part in evidence), key=STATES.index, default="ours")


def class_values(metric: str) -> str:
    """Return the name, as evidence, of a metric's values per class."""
    return f"{metric} of classes"


def probe_value(probe: str, value: float, metric: str) -> str:
    """Return the name of a metric's value under the condition of a probe: `micro_ap[shift 0.48 s]`."""
    return f"{metric}[shift {value:g} s]" if probe == "shift" else f"{metric}[tested at {value:g} dB]"


def _check_range(name: str, value: float | None, what: str) -> None:
    low, high = metric_range(name)
    if value is not None and not low - ROUNDING <= value <= high + ROUNDING:
        raise ValueError(f"'{what}' is {value:g}, expected a value in [{low:g}, {high:g}]")


def _check_scores(scores: Record | ProbeRecord, resamples: int, of: str = "") -> None:
    """Check the metrics of a record or probe, and their bootstrap samples."""
    for name, value in scores.metrics.items():
        _check_range(name, value, f"{name}{of}")
    for name, text in scores.bootstrap_samples.items():
        if name not in scores.metrics:
            raise ValueError(f"bootstrap samples of '{name}', which is not among the metrics{of}")
        # the length is checked before decoding; samples may lie outside the range of the metric (Bootstrap.samples_of)
        samples = unpack(text) if len(text) == 4 * -(-4 * resamples // 3) else np.empty(0)
        if len(samples) != resamples or not np.all(np.isnan(samples) | (np.abs(samples) <= LARGEST)):
            raise ValueError(f"bootstrap samples of '{name}': expected {resamples} within ±{LARGEST:g}, or NaN")


def pack(samples: NDArray[np.float64]) -> str:
    """Return bootstrap samples as text."""
    return base64.b64encode(samples.astype("<f4").tobytes()).decode("ascii")


def unpack(text: str) -> Samples:
    """Return the bootstrap samples that `pack` wrote; ValueError for any other text."""
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        raise ValueError("not bootstrap samples of a metric") from None


def parse_record(value: Mapping[str, Any], place: str) -> Record:
    """Check a record that was read from a file.

    InputError naming `place`, the first field that is wrong, and what was expected.
    """
    try:
        digest = content_digest(value)
        record = Record.model_validate_json(json.dumps({k: v for k, v in value.items() if k != "digest"}))
    except ValidationError as error:
        raise InputError(f"{place}: {first_problem(error, Record)}; score it again") from None
    except (ValueError, RecursionError):
        raise InputError(f"{place}: holds NaN or infinity, or is nested too deeply; score it again") from None
    if value.get("digest") != digest:
        raise InputError(
            f"{place}: was changed after it was written (digest {digest[:12]}, it says"
            f" {str(value.get('digest'))[:12]}); score it again"
        )
    return record


def read_record(file: Path) -> Record:
    """Read a metrics.json; InputError if it is not one."""
    return parse_record(read_json(file, remedy="score it again"), str(file))


def write_record(file: Path, record: Record) -> None:
    """Write a metrics.json."""
    write_json(file, record.as_json())
