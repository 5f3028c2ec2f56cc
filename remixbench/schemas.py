"""Reading files as pydantic models, with one-line error messages."""

from __future__ import annotations

import re
import reprlib
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from remixbench.errors import InputError, nearest
from remixbench.files import SEAL, is_sealed, read_json

Model = TypeVar("Model", bound=BaseModel)


def read_json_as(
    path: Path,
    model: type[Model],
    *,
    remedy: str,
    format: int | None = None,
    edited: str | None = None,
    sealed: bool = True,
) -> Model:
    """Read a JSON file as a `model`.

    Parameters
    ----------
    remedy : remedy for a broken file, for error messages.
    format : expected value of `format` in the file, if it has one.
    edited : remedy for an edited file; by default `remedy`.
    sealed : whether the file was written by `write_sealed`, so that edits can be detected.

    Raises
    ------
    InputError
        If the file is of another format, malformed or edited.
    """
    content = read_json(path, remedy=remedy)
    intact = is_sealed(content)
    content.pop(SEAL, None)
    if format is not None and content.get("format") != format:
        raise InputError(f"{path}: format {content.get('format')!r}, this version reads format {format}; {remedy}")
    try:
        value = model.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error, model)}; {remedy}") from None
    if sealed and not intact:
        raise InputError(f"{path}: was edited since it was written; {edited or remedy}")
    return value


BRANCH = re.compile(r"(int|tuple|literal|constrained-\w+|list|mapping|number)(\[.*)?")
"""Names of the branches of a union in pydantic's locations."""


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first problem of a validation in one line: the key, what was found, what was expected."""
    problems = error.errors(include_url=False)
    # a misspelt key also makes the correct one missing: report the misspelt one
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"] if not BRANCH.fullmatch(str(part)))
    if first["type"] == "extra_forbidden":
        parents = [str(part) for part in first["loc"][:-1]]
        keys = _keys_below(model, parents)
        return f"unknown key '{key}'{nearest(str(first['loc'][-1]), keys)}; the keys are {', '.join(keys)}"
    if first["type"] == "missing":
        return f"key '{key}' is missing"
    message = _expectation(first["msg"])
    if not key:
        return message
    if isinstance(first["input"], dict) and first["type"] == "value_error":  # the message names the keys that disagree
        return f"{key}: {message}"
    return f"{key}: found {_shortened(first['input'])}; {message[0].lower()}{message[1:]}"


def _expectation(message: str) -> str:
    """Rephrase a message of pydantic: "expected an integer"."""
    text = message.removeprefix("Value error, ")
    if not text.startswith("Input should be "):
        return text
    text = re.sub(r", (unable|got) .*", "", text.removeprefix("Input should be "))
    text = re.sub(r"^a valid (dictionary|mapping).*", "keys with values", text)
    text = re.sub(r"^a valid (?=[aeiou])", "an ", text)
    return f"expected {re.sub('^a valid ', 'a ', text)}"


def _shortened(value: object) -> str:
    """Return a short repr of a value, which may be huge: YAML aliases can multiply."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 60
    short.maxlevel = 2
    return short.repr(value)


def _keys_below(model: type[BaseModel], parents: list[str]) -> list[str]:
    """Return the keys of the model at a location; `parents` may include list indices and branches of unions."""
    for parent in parents:
        if parent in model.model_fields:
            model = _model_in(model.model_fields[parent].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model in an annotation such as `Model`, `list[Model]` or `Annotated[Model, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
