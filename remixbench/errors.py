"""The two kinds of errors that a user can meet, and how they are worded.

A message is one line: the file, row or key; what was found; what was expected; the remedy. The command
line prints it as it is and ends with `exit_status`; it never shows a traceback unless asked with `-v`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class RemixbenchError(Exception):
    """A valid request failed (exit status 1)."""

    exit_status = 1

    def __init__(self, message: str) -> None:
        # messages contain names and values from untrusted files: what breaks a line or terminal becomes a blank
        super().__init__("".join(letter if letter.isprintable() else " " for letter in message))


class InputError(RemixbenchError):
    """What was asked, or a file that was given, is not usable as it is (exit status 2)."""

    exit_status = 2


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
"""What libraries say in errors of other types when memory runs out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means out of memory: of numpy, of torch on any device, or of a library being loaded."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError | ImportError | OSError) and any(words in text for words in MEMORY_WORDS)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the name most like `name`, or "" where none is close."""
    # of two that differ in case alone, either is a fair guess
    folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    # transposed letters come first: gpa, gap
    close.sort(key=lambda candidate: sorted(candidate) != sorted(name.casefold()))
    return f" (did you mean '{folded[close[0]]}'?)" if close else ""


def unknown(kind: str, name: str, names: Iterable[str]) -> InputError:
    """Make the error for a name that is not among `names`, with the nearest one and the whole list.

    `kind` is what the name should be one of: "system", or "option of system 'gap'".
    """
    choices = sorted(names)
    noun, of, owner = kind.partition(" of ")
    return InputError(f"unknown {noun} '{name}'{of}{owner}{nearest(name, choices)}; choose from {', '.join(choices)}")


def one_line(what: BaseException | str) -> str:
    """Return a message, or type and message of an error, in one line, without control characters."""
    text = what if isinstance(what, str) else f"{type(what).__name__}: {what}"
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def shortened(names: Sequence[str], most: int = 8) -> str:
    """Return names separated by commas, the first few of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
