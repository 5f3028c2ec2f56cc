"""From data to HTML. Every text is escaped by the template engine; data for the scripts is JSON that cannot end a
script element; and the page forbids itself, by its content security policy, any script but its own and any network.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

from remixbench.errors import InputError

EARLY = "theme.js"
SCRIPTS = ("vendor/d3.min.js", "vendor/plot.umd.min.js", "core.js", "charts.js", "explorer.js")


def render_page(context: dict[str, Any], data: dict[str, Any]) -> str:
    """Return the page.

    Parameters
    ----------
    context : what the template shows by itself.
    data : what the scripts draw.

    Raises
    ------
    InputError
        If Jinja is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise InputError(
            "the page needs jinja2, which is not installed; `pip install 'remixbench[report]'` brings it"
        ) from None
    engine = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    engine.filters["score"] = lambda value: f"{value:.3f}"
    engine.filters["signed"] = lambda value: f"{value:+.3f}"
    engine.filters["percent"] = lambda value: f"{100 * min(max(value, 0.0), 1.0):.2f}%"
    scripts = [part(name) for name in SCRIPTS]
    page: str = engine.from_string(part("template.html")).render(
        **context,
        style=Markup(part("style.css")),  # ours, as are the scripts: nothing in them comes from data
        early=Markup(part(EARLY)),
        scripts=[Markup(script) for script in scripts],
        policy=policy([part(EARLY), *scripts]),
        data=Markup(json_for_script(data)),
    )
    return page


def part(name: str) -> str:
    """Return a file that comes with the package."""
    return (files("remixbench.leaderboard.report") / "assets" / name).read_text(encoding="utf-8")


def json_for_script(value: Any) -> str:
    r"""Return JSON that is safe inside a script element: <, > and & are written as \u003c, \u003e and \u0026."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for unsafe in "<>&\u2028\u2029":
        text = text.replace(unsafe, f"\\u{ord(unsafe):04x}")
    return text


def policy(scripts: list[str]) -> str:
    """Return the page's content security policy: its own scripts by their digests, data from within, nothing else."""
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; media-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
