"""The two kinds of errors that users see, and their wording.

A message is one line: the file, row or key; what was found; what was expected; the remedy. The command line prints it
and exits with `exit_status`; it shows a traceback only with `-v`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import TypeGuard


class RemixbenchError(Exception):
    """A valid request failed (exit status 1)."""

    exit_status = 1

    def __init__(self, message: str) -> None:
        # messages quote untrusted files: replace control characters, which could break the line or the terminal
        super().__init__("".join(letter if letter.isprintable() else " " for letter in message))


class InputError(RemixbenchError):
    """An argument or a file is not usable (exit status 2)."""

    exit_status = 2


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number, also numpy's; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


MEMORY_WORDS = (
    "out of memory",  # CUDA and Apple's GPUs
    "DefaultCPUAllocator",
    "bad_alloc",
    "ALLOC_FAILED",  # cuBLAS, cuDNN
    "could not create a primitive",  # oneDNN, which gives no reason
    "could not create a memory",
    "failed to map segment",  # the loader of shared libraries
    "annot allocate memory",
)
"""Parts of messages by which libraries report, in errors of other types, that memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means out of memory: in numpy, in torch on any device, or on loading a library."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError | ImportError | OSError) and any(words in text for words in MEMORY_WORDS)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the most similar name, or "" if none is similar."""
    # of names that differ only in case, the last one is suggested
    folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    # transposed letters come first: gpa, gap
    close.sort(key=lambda candidate: sorted(candidate) != sorted(name.casefold()))
    return f" (did you mean '{folded[close[0]]}'?)" if close else ""


def unknown(kind: str, name: str, names: Iterable[str]) -> InputError:
    """Return the error for a name that is not in `names`, with the most similar one and all choices.

    `kind` describes the names: "system", or "option of system 'gap'".
    """
    choices = sorted(names)
    noun, of, owner = kind.partition(" of ")
    return InputError(f"unknown {noun} '{name}'{of}{owner}{nearest(name, choices)}; choose from {', '.join(choices)}")


def one_line(error: BaseException | str) -> str:
    """Return a message, or the type and message of an error, in one line, without control characters."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def shortened(names: Sequence[str], most: int = 8) -> str:
    """Return names separated by commas; of more than `most`, only the first and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
