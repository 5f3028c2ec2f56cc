"""Names that strangers give their systems: what is allowed, and the folder that each gets."""

from __future__ import annotations

import re

from remixbench.errors import InputError
from remixbench.files import sha256

LONGEST = 100


def check_name(name: str, taken: list[str], place: str = "--name") -> str:
    """Return the name without blanks around it, if it is one line of printable text and nobody else's.

    `place` says in an error where the name stands.

    Raises
    ------
    InputError
        If it is empty, too long, holds control characters, or is that of a bundled or installed system, or of one with
        options.
    """
    clean = name.strip()
    if not clean or len(clean) > LONGEST or not clean.isprintable():
        shown = ascii(clean[:40])
        raise InputError(f"{place}: {shown}: expected one line of 1 to {LONGEST} printable characters")
    known = {other.casefold() for other in taken}
    if re.split(r"[,(]", clean)[0].strip().casefold() in known:
        raise InputError(f"{place}: '{clean}' is the name of a system that `remixbench train` knows; choose another")
    return clean


def folder_of(name: str) -> str:
    """Return a folder name for any system name: its letters and digits, and 8 digits of its digest.

    The digest keeps names apart that differ in other characters only, and no name can equal a bundled system's.
    """
    safe = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return f"{safe or 'system'}-{sha256(name.encode())[:8]}"
