"""Terms of the licence of a recording, read from its name, and joint terms of all licences of a data set.

A clip is made from a scene and several events, so anyone who passes it on must comply with all of their licences. A
licence that is not recognised counts as unknown, never as permission.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from remixbench.errors import InputError
from remixbench.files import read_bytes

UNKNOWN = "unknown"
_CLOSED = re.compile(
    r"all rights|\b(?:no|not|never|without) (?:be |for |to be )?(?:re)?distribut"
    r"|distribution (?:is )?(?:prohibited|forbidden|not)|proprietary|internal use|no licen[cs]e"
)
_FREE = re.compile(
    r"\bcc ?0\b|creative ?commons (?:0|zero)\b|publicdomain|public domain|\bpddl\b|\bunlicense\b|\bwtfpl\b"
)
# in the rest of a text, what limits the licence that it names; `gpl 3 0 only` is a name
_LIMITED = re.compile(
    r"\b(?:not|non|never|without|except|excluding|unless|like|(?<!\d )only|prohibited|forbidden"
    r"|no(?! rights| (?:known )?copyright| restriction| attribution| warrant))\b"
)
_BY = re.compile(
    r"\battribution\b|\b(?:cc|creative ?commons|licenses) by\b"
    r"|^by\b(?!.*\b(?:permission|courtesy|consent|arrangement|agreement|request)\b)"
)
# only alone, or followed by "licence": `mit` is also a German word, `apache` a helicopter
_SOFTWARE = re.compile(
    r"\bodc by\b|^(?:the )?(?:mit|bsd|apache|isc|zlib)(?: (?:\d+|clause|licen[cs]e|style|x11|new|modified))*$"
    r"|\b(?:mit|bsd|apache|isc|zlib)(?: \d+(?: clause)?)* licen[cs]e|\blicenses (?:mit|bsd|apache|isc|zlib)\b"
)
_COPYLEFT = re.compile(r"\b(?:[al]?gpl|gfdl|odbl)")
_NONCOMMERCIAL = re.compile(
    r"\bnc\b|\b(?:no|non|not|never) ?(?:be used )?(?:for )?commercial(?:(?: use| purposes)? only)?|\bacademic\b"
    r"|research (?:use|purposes)? ?only"
)
_SHARE_ALIKE = re.compile(r"\bsa\b|share ?alike")
_NO_DERIVATIVES = re.compile(r"\bnd\b|no ?deriv")
NOTICE_NAME = re.compile(r"(?i)(licen[cs]e|eula|notice|copying|copyright)([._-].*)?")
MAX_NOTICE_BYTES = 256 << 10


@dataclass(frozen=True)
class Terms:
    """Conditions on which clips made from recordings may be passed on.

    Attributes
    ----------
    attribution : the authors must be named
    share_alike : only under the same licence
    noncommercial : only for non-commercial use
    forbidden : the licence forbids copies, or altered copies, which clips are
    unknown : the licence was not recognised
    """

    attribution: bool = False
    share_alike: bool = False
    noncommercial: bool = False
    forbidden: bool = False
    unknown: bool = False

    def __or__(self, other: Terms) -> Terms:
        return Terms(*(getattr(self, field.name) or getattr(other, field.name) for field in fields(Terms)))

    def __str__(self) -> str:
        if self.unknown:
            return "unknown"
        if self.forbidden:
            return "not to be passed on in clips"
        conditions = [
            text
            for holds, text in (
                (self.noncommercial, "non-commercial"),
                (self.attribution, "with attribution"),
                (self.share_alike, "under the same licence"),
            )
            if holds
        ]
        return ", ".join(conditions) or "no conditions"


def terms_of(licence: str) -> Terms:
    """Return the terms of a licence, given by its name or URL."""
    text = re.sub(r"[^a-z0-9]+", " ", licence.lower()).strip()
    noncommercial = bool(_NONCOMMERCIAL.search(text))
    if _CLOSED.search(text):
        return Terms(forbidden=True)
    if _NO_DERIVATIVES.search(text) and _BY.search(text):
        return Terms(attribution=True, noncommercial=noncommercial, forbidden=True)
    if _LIMITED.search(_NONCOMMERCIAL.sub("", text)):
        return Terms(unknown=True)
    if _BY.search(text) or _SOFTWARE.search(text):
        return Terms(attribution=True, share_alike=bool(_SHARE_ALIKE.search(text)), noncommercial=noncommercial)
    if _COPYLEFT.search(text):
        return Terms(attribution=True, share_alike=True, noncommercial=noncommercial)
    if noncommercial:
        return Terms(attribution=True, noncommercial=True)
    return Terms() if _FREE.search(text) else Terms(unknown=True)


def joint_terms(licences: Iterable[str]) -> Terms:
    """Return the joint terms of several licences: each condition that any of them has."""
    joint = Terms()
    for licence in set(licences):
        joint |= terms_of(licence)
    return joint


def read_notices(folder: Path) -> str:
    """Return the text of the licence files in a folder of recordings, each below its name; empty if there are none."""
    texts = []
    try:
        paths = sorted(path for path in folder.iterdir() if NOTICE_NAME.fullmatch(path.name) and path.is_file())
    except OSError:  # missing or unreadable: reported when its recordings are read
        return ""
    for path in paths:
        try:
            text = read_bytes(path, MAX_NOTICE_BYTES).decode("utf-8").strip()
        except (UnicodeDecodeError, InputError):  # such as a PDF
            texts.append(f"{path.name}: not copied here (no text, or too long); see the source\n")
        else:
            texts.append(f"{path.name}:\n\n{text}\n")
    return "\n".join(texts)
