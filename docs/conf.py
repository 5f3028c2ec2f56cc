"""How Sphinx builds these pages into a static site: `sphinx-build -W docs site`."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

import remixbench

project = "remixbench"
author = "The remixbench authors"
project_copyright = "the remixbench authors"
version = release = remixbench.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["examples"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # the leaderboard's tables, in results.md, have headings of the third level

# the docstrings use single backticks as Markdown does
default_role = "code"
napoleon_google_docstring = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
add_module_names = False

html_theme = "furo"
html_title = f"remixbench {release}"
html_show_sphinx = False


def _plain_sections(_app: object, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Tell napoleon that `name : ...` and Returns of our docstrings hold descriptions and not types."""
    section = ""
    out: list[str] = []
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if below and set(below) == {"-"}:
            section = line
        entry = re.match(r"(\w[\w, ]*) : (.*)$", line)
        if section in ("Parameters", "Attributes") and entry:
            out += [entry[1], "    " + entry[2]]
        elif section == "Returns" and line == "Returns":
            out += ["", "", ":returns:"]  # two empty lines end the section before
        elif section == "Returns" and set(line) != {"-"}:
            out.append("    " + line)
        elif section != "Returns" or set(line) != {"-"}:
            out.append(line)
    lines[:] = out


def setup(app: Sphinx) -> None:
    """Register the above before napoleon reads the docstrings."""
    app.connect("autodoc-process-docstring", _plain_sections, priority=400)
